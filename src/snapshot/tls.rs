//! Certificates of a port, by server name.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::HostIndex;

/// Certificates of a port. A handshake without a server name, or with an unknown one, gets the listener for every
/// name, if there is one.
#[derive(Default)]
pub struct TlsTable {
    /// One certificate per listener.
    pub certificates: HostIndex<Option<Arc<CertifiedKey>>>,
}

impl TlsTable {
    /// The TLS configuration of a port that serves these certificates, for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// Never with the protocol versions this is built with.
    pub fn into_config(self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for TlsTable {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls returns the name in lower case.
        let name = hello.server_name().unwrap_or_default();
        self.certificates.matching(name).find_map(Clone::clone)
    }
}

impl fmt::Debug for TlsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTable").finish_non_exhaustive()
    }
}
