//! Which objects a `parentRef` leads to.

use crate::api::{ObjectKey, gateway::ParentRef};

/// The key of the parent of an object at `key`.
pub fn parent_key(key: &ObjectKey, parent: &ParentRef) -> ObjectKey {
    ObjectKey::new(parent.namespace.as_deref().unwrap_or(&key.namespace), &parent.name)
}

/// Whether a parent is a Gateway.
pub fn is_gateway(parent: &ParentRef) -> bool {
    parent.group.as_deref().is_none_or(|g| g == "gateway.networking.k8s.io")
        && parent.kind.as_deref().is_none_or(|k| k == "Gateway")
}
