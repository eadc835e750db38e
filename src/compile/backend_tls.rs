//! `BackendTLSPolicy`: which backends must only be reached by verified TLS. These policies are not implemented, so no
//! request is sent to the backends that they protect.

use super::{Condition, ObjectReport, Objects, Scope};
use crate::api::{
    Kind, ObjectKey,
    condition::{ConditionType, Reason},
};

/// The reason why nothing is sent to the object of this group and kind at `key`, if a policy protects it. `section` is
/// the name of the Service's port, or nothing.
pub fn protects(objects: &Objects, (group, kind): (&str, &str), key: &ObjectKey, section: &str) -> Option<String> {
    let (policy, _) = objects.backend_tls_policies.iter().find(|(policy_key, policy)| {
        policy_key.namespace == key.namespace
            && policy.spec.target_refs.iter().any(|target| {
                target.group == group
                    && target.kind == kind
                    && target.name == key.name
                    && target.section_name.as_deref().is_none_or(|wanted| wanted == section)
            })
    })?;
    Some(format!(
        "BackendTLSPolicy {policy} asks for TLS to {kind} {key}, which is not supported yet; nothing is sent in clear"
    ))
}

/// The reports about the policies. In a cluster they may be for another controller's routes; there the status of each
/// closed route of Tollgate reports the policy.
pub fn reports(objects: &Objects, scope: Scope) -> impl Iterator<Item = ObjectReport> {
    objects.backend_tls_policies.iter().filter(move |_| scope == Scope::Files).map(|(key, policy)| {
        let message = "BackendTLSPolicy is not supported yet; nothing is sent to its targets";
        let condition = Condition::new(ConditionType::Accepted, false, Reason::UnsupportedValue, message);
        ObjectReport {
            conditions: vec![condition],
            ..ObjectReport::new(Kind::BackendTlsPolicy, key.clone(), policy.metadata.generation)
        }
    })
}
