//! Reads the certificate of a TLS Secret.

use std::sync::Arc;

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::api::SecretData;

/// The certificate chain and key of a `kubernetes.io/tls` Secret.
///
/// # Errors
/// As the text of a condition's message; never with any part of the key.
pub fn certified_key(secret: &SecretData) -> Result<Arc<CertifiedKey>, String> {
    let chain = CertificateDer::pem_slice_iter(field(secret, "tls.crt")?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "tls.crt is not PEM".to_owned())?;
    if chain.is_empty() {
        return Err("tls.crt holds no certificate".into());
    }
    let key = PrivateKeyDer::from_pem_slice(field(secret, "tls.key")?)
        .map_err(|_| "tls.key holds no private key in PEM".to_owned())?;
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| format!("certificate and key can't be used: {error}"))?;
    Ok(Arc::new(key))
}

fn field<'a>(secret: &'a SecretData, name: &str) -> Result<&'a [u8], String> {
    match secret.get(name) {
        None => Err(format!("has no key \"{name}\"")),
        Some(Err(why)) => Err(format!("key \"{name}\": {why}")),
        Some(Ok(bytes)) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(crt: &str, key: &str) -> SecretData {
        let mut secret = SecretData::default();
        secret.insert("tls.crt", crt.as_bytes().to_vec());
        secret.insert("tls.key", key.as_bytes().to_vec());
        secret
    }

    #[test]
    fn certificates_are_read_or_explained() {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["b.example".to_owned()]).unwrap();
        let (crt, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert!(certified_key(&secret(&crt, &key)).is_ok());
        let problem = |s: &SecretData| certified_key(s).unwrap_err();
        assert_eq!(problem(&SecretData::default()), "has no key \"tls.crt\"");
        assert_eq!(problem(&secret("no certificate", &key)), "tls.crt holds no certificate");
        assert_eq!(problem(&secret(&crt, "no key")), "tls.key holds no private key in PEM");
        assert!(problem(&secret(&crt, &other.signing_key.serialize_pem())).contains("can't be used"));
    }
}
