//! `BackendTLSPolicy`: which backends must only be reached by verified TLS. These policies are not implemented, so no
//! request is sent to the backends that they protect.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Condition, ObjectReport, Objects, ParentReport, Scope,
    gateway::Gateways,
    parent::{is_gateway, parent_key},
};
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

/// A backend as references name it: group, kind and key.
type Target<'a> = (&'a str, &'a str, ObjectKey);

/// The reports about the policies: towards each Gateway of Tollgate whose routes lead to a target. A policy without one
/// may be for another controller; of files, no other component would report it.
pub fn reports(objects: &Objects, scope: Scope, gateways: &Gateways) -> Vec<ObjectReport> {
    if objects.backend_tls_policies.is_empty() {
        return Vec::new();
    }
    let users = users(objects, gateways);
    let reports = objects.backend_tls_policies.iter().filter_map(|(key, policy)| {
        let message = "BackendTLSPolicy is not supported yet; nothing is sent to its targets";
        let conditions = vec![Condition::new(ConditionType::Accepted, false, Reason::UnsupportedValue, message)];
        let targets = policy.spec.target_refs.iter().filter_map(|target| {
            let name = ObjectKey::new(&key.namespace, &target.name);
            users.get(&(target.group.as_str(), target.kind.as_str(), name))
        });
        let ancestors: BTreeSet<&ObjectKey> = targets.flatten().collect();
        let mut report = ObjectReport::new(Kind::BackendTlsPolicy, key.clone(), policy.metadata.generation);
        if ancestors.is_empty() {
            report.conditions = if scope == Scope::Files { conditions } else { return None };
            return Some(report);
        }
        let parent = |gateway: &ObjectKey| ParentReport {
            kind: Kind::Gateway,
            key: gateway.clone(),
            section_name: None,
            port: None,
            conditions: conditions.clone(),
        };
        report.parents = ancestors.into_iter().map(parent).collect();
        Some(report)
    });
    reports.collect()
}

/// The Gateways of Tollgate whose routes lead to each backend.
fn users<'a>(objects: &'a Objects, gateways: &Gateways) -> BTreeMap<Target<'a>, BTreeSet<ObjectKey>> {
    let mut users: BTreeMap<Target<'a>, BTreeSet<ObjectKey>> = BTreeMap::new();
    for (key, route) in &objects.http_routes {
        let parents = route.spec.parent_refs.iter().flatten().filter(|parent| is_gateway(parent));
        let parents = parents.map(|parent| parent_key(key, parent)).filter(|key| gateways.by_key.contains_key(key));
        let parents: BTreeSet<ObjectKey> = parents.collect();
        if parents.is_empty() {
            continue;
        }
        for rule in route.spec.rules.iter().flatten() {
            let backends = rule.backend_refs.iter().flatten().map(|r| (&r.group, &r.kind, &r.namespace, &r.name));
            let filters = rule.filters.iter().flatten().filter_map(|filter| filter.request_mirror.as_ref());
            let mirrors = filters.map(|mirror| {
                let r = &mirror.backend_ref;
                (&r.group, &r.kind, &r.namespace, &r.name)
            });
            for (group, kind, namespace, name) in backends.chain(mirrors) {
                let namespace = namespace.as_deref().unwrap_or(&key.namespace);
                let kind = kind.as_deref().unwrap_or("Service");
                let target = (group.as_deref().unwrap_or_default(), kind, ObjectKey::new(namespace, name));
                users.entry(target).or_default().extend(parents.iter().cloned());
            }
        }
    }
    users
}
