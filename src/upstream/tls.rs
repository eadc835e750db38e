//! TLS of connections to providers.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// `host` as the name that a certificate must have.
///
/// # Errors
/// When it is neither a DNS name nor an address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is neither a DNS name nor an IP address"))
}

/// How a server's certificate is verified. It is a part of an origin, so that connections that were verified in one way
/// are never used where another one is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// Who has to have issued the certificate.
    pub trust: Trust,
    /// The name that the certificate must have, and that is sent as SNI; without one, the origin's host.
    pub name: Option<Arc<str>>,
}

/// Who has to have issued a server's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// One of the system's roots.
    #[default]
    System,
    /// One of these authorities, and none of the system's.
    Authorities(Arc<Authorities>),
    /// Anybody: the certificate is not verified.
    Anyone,
}

/// Certificate authorities that a Backend names. Two are equal when their certificates are.
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    config: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
}

impl Authorities {
    /// The certificates of all `bundles`, each of which is in PEM.
    ///
    /// # Errors
    /// With the index of a bundle that can't be used, and the problem with it.
    pub fn from_pem(bundles: &[&[u8]]) -> Result<Self, (usize, String)> {
        let (mut certificates, mut roots) = (Vec::new(), RootCertStore::empty());
        for (index, bundle) in bundles.iter().enumerate() {
            let before = certificates.len();
            for certificate in CertificateDer::pem_slice_iter(bundle) {
                let certificate = certificate.map_err(|_| (index, "is not PEM".to_owned()))?;
                let unusable = |error| (index, format!("holds a certificate that can't be used: {error}"));
                roots.add(certificate.clone()).map_err(unusable)?;
                certificates.push(certificate);
            }
            if certificates.len() == before {
                return Err((index, "holds no certificate in PEM".to_owned()));
            }
        }
        Ok(Self { certificates, roots: Arc::new(roots), config: OnceLock::new() })
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Authorities {}

impl Hash for Authorities {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.certificates.hash(state);
    }
}

/// The client configurations, made when the first connection needs one.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsConfigs {
    verified: Arc<OnceLock<Result<Arc<ClientConfig>, rustls::Error>>>,
    unverified: Arc<OnceLock<Result<Arc<ClientConfig>, rustls::Error>>>,
    http1: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl TlsConfigs {
    /// The configuration for `trust`. The first call for the system's roots reads files, on a blocking thread.
    pub(super) async fn get(
        &self,
        trust: &Trust,
    ) -> Result<Arc<ClientConfig>, Box<dyn std::error::Error + Send + Sync>> {
        let cell = match trust {
            Trust::System => &self.verified,
            Trust::Anyone => &self.unverified,
            Trust::Authorities(own) => return Ok(own.config.get_or_init(|| client_config(trust)).clone()?),
        };
        if let Some(made) = cell.get() {
            return Ok(made.clone()?);
        }
        let (cell, trust) = (Arc::clone(cell), trust.clone());
        let make = move || cell.get_or_init(|| client_config(&trust)).clone();
        Ok(tokio::task::spawn_blocking(make).await??)
    }

    /// The configuration for the system's roots and HTTP/1.1 alone.
    pub(super) async fn http1(&self) -> Result<Arc<ClientConfig>, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(made) = self.http1.get() {
            return Ok(Arc::clone(made));
        }
        let mut config = self.get(&Trust::System).await?;
        Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::clone(self.http1.get_or_init(|| config)))
    }
}

/// The client configuration for connections with this trust.
pub(super) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let roots = match trust {
        Trust::System => Some(system_roots()),
        Trust::Authorities(own) => Some(Arc::clone(&own.roots)),
        Trust::Anyone => None,
    };
    let mut config = match roots {
        Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
        None => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider))).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The roots of the system, or of `SSL_CERT_FILE`, read by the first call: they are files of some 200 KiB. Roots that
/// can't be read are skipped with a warning; without any, every handshake fails, which is logged with each request.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| Arc::new(read_system_roots())))
}

fn read_system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "can't read a part of the system's root certificates");
    }
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::error!(ignored, "no root certificate found: TLS to providers will fail; set SSL_CERT_FILE");
    }
    roots
}

/// `insecureSkipVerify`: accepts any certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_those_of_their_certificates() {
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        let (a, b) = (made("a.example"), made("b.example"));
        let both = format!("# two of them\n{a}\n{b}");
        let read = |bundles: &[&str]| {
            let bundles: Vec<&[u8]> = bundles.iter().map(|bundle| bundle.as_bytes()).collect();
            Authorities::from_pem(&bundles)
        };
        assert_eq!(read(&[&both]).unwrap(), read(&[&a, &b]).unwrap());
        assert_ne!(read(&[&a]).unwrap(), read(&[&b]).unwrap());
        let broken = a.replace('A', "!");
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for bad in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA", &broken, no_certificate] {
            assert_eq!(read(&[&a, bad]).map(|_| ()).unwrap_err().0, 1, "{bad}");
        }
    }

    #[test]
    fn the_roots_are_read_once() {
        assert!(Arc::ptr_eq(&system_roots(), &system_roots()));
    }
}
