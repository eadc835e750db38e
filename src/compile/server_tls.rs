//! How the certificate of a Backend's host is verified.

use std::sync::Arc;

use super::{
    Objects,
    shape::{AuthorityRef, TlsShape},
};
use crate::{
    api::{Kind, ObjectKey},
    upstream::{Authorities, ServerTls, Trust},
};

/// The key of the certificates in a ConfigMap or Secret, as the Gateway API has it.
const CA_KEY: &str = "ca.crt";

/// The verification that `shape` asks for, of a Backend in `namespace`.
///
/// # Errors
/// When a reference leads to no certificates. Then no other authority, such as one of the system's, takes its place.
pub fn server_tls(shape: &TlsShape, namespace: &str, objects: &Objects) -> Result<ServerTls, String> {
    let trust = match shape.authorities.as_slice() {
        _ if shape.insecure_skip_verify => Trust::Anyone,
        [] => Trust::System,
        refs => Trust::Authorities(Arc::new(authorities(refs, namespace, objects)?)),
    };
    Ok(ServerTls { trust, name: shape.sni.as_deref().map(Arc::from) })
}

fn authorities(refs: &[AuthorityRef], namespace: &str, objects: &Objects) -> Result<Authorities, String> {
    let bundles = refs.iter().map(|reference| bundle(reference, namespace, objects));
    let bundles = bundles.collect::<Result<Vec<_>, _>>()?;
    Authorities::from_pem(&bundles).map_err(|(index, why)| {
        let object = refs.get(index).map(|reference| describe(reference, namespace)).unwrap_or_default();
        format!("{object}: key \"{CA_KEY}\" {why}")
    })
}

fn bundle<'a>(reference: &AuthorityRef, namespace: &str, objects: &'a Objects) -> Result<&'a [u8], String> {
    let key = ObjectKey::new(namespace, &reference.name);
    let of_kind = if reference.kind == Kind::Secret { &objects.secrets } else { &objects.config_maps };
    let object = describe(reference, namespace);
    let found = of_kind.get(&key).ok_or_else(|| format!("{object} does not exist"))?;
    match found.get(CA_KEY) {
        None => Err(format!("{object} has no key \"{CA_KEY}\"")),
        Some(Err(why)) => Err(format!("{object}: key \"{CA_KEY}\": {why}")),
        Some(Ok(bytes)) => Ok(bytes),
    }
}

fn describe(reference: &AuthorityRef, namespace: &str) -> String {
    format!("{} {namespace}/{}", reference.kind, reference.name)
}
