//! ReferenceGrants: which references may cross namespaces.

use std::collections::HashMap;

use super::Objects;
use crate::api::{Kind, ObjectKey};

/// One side of a reference: API group and kind.
#[derive(Clone, Copy, Debug)]
pub struct GroupKind<'a> {
    /// API group; core is empty.
    pub group: &'a str,
    /// Kind.
    pub kind: &'a str,
}

/// A Gateway that refers.
pub const GATEWAY: GroupKind<'static> = GroupKind { group: "gateway.networking.k8s.io", kind: "Gateway" };
/// An HTTPRoute that refers.
pub const HTTP_ROUTE: GroupKind<'static> = GroupKind { group: "gateway.networking.k8s.io", kind: "HTTPRoute" };

/// All grants, by the namespace that grants.
pub struct Grants<'a> {
    by_namespace: HashMap<&'a str, Vec<&'a crate::api::gateway::ReferenceGrant>>,
}

impl<'a> Grants<'a> {
    pub fn new(objects: &'a Objects) -> Self {
        let mut by_namespace: HashMap<&str, Vec<_>> = HashMap::new();
        for (key, grant) in &objects.reference_grants {
            by_namespace.entry(&key.namespace).or_default().push(&**grant);
        }
        Self { by_namespace }
    }

    /// Whether an object of kind `from` in namespace `from_namespace` may refer to `to` at `key`.
    pub fn allow(&self, from: GroupKind<'_>, from_namespace: &str, to: GroupKind<'_>, key: &ObjectKey) -> bool {
        if from_namespace == key.namespace {
            return true;
        }
        self.by_namespace.get(key.namespace.as_str()).into_iter().flatten().any(|grant| {
            let spec = &grant.spec;
            spec.from.iter().any(|f| f.group == from.group && f.kind == from.kind && f.namespace == from_namespace)
                && spec.to.iter().any(|t| {
                    t.group == to.group
                        && t.kind == to.kind
                        && t.name.as_ref().is_none_or(|n| n.is_empty() || *n == key.name)
                })
        })
    }
}

/// The message for a reference that is not allowed.
pub fn missing(kind: Kind, key: &ObjectKey, from: &str) -> String {
    format!(
        "reference to {kind} {key} in another namespace is not allowed: no ReferenceGrant in namespace \"{}\" permits {from} to refer to it",
        key.namespace
    )
}
