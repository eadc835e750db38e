//! Fields of TrafficPolicies that Tollgate reads but does not implement.

use super::retry::is_ignored;
use crate::api::traffic_policy::TrafficPolicySpec;

/// A field as manifests spell it below `spec`, and whether a spec has it.
type Field = (&'static str, fn(&TrafficPolicySpec) -> bool);

/// Fields that protect a backend. Serving without them would be worse than not serving: their rules reply with 500.
const PROTECTING: &[Field] = &[
    ("ai.promptGuard", |spec| spec.ai.as_ref().is_some_and(|ai| ai.prompt_guard.is_some())),
    ("rateLimit", |spec| spec.rate_limit.is_some()),
    ("extAuth", |spec| spec.ext_auth.is_some()),
    ("rbac", |spec| spec.rbac.is_some()),
    ("csrf", |spec| spec.csrf.is_some()),
];

/// Fields that shape traffic: rules are served without them, and the status reports that.
const SHAPING: &[Field] = &[
    ("ai.promptEnrichment", |spec| spec.ai.as_ref().is_some_and(|ai| ai.prompt_enrichment.is_some())),
    ("ai.defaults", |spec| spec.ai.as_ref().is_some_and(|ai| !ai.defaults.is_empty())),
    // Failures of gRPC, of HTTP/3, and by a header of Envoy's.
    ("retry.retryOn, some of its values", |spec| {
        spec.retry.as_ref().is_some_and(|retry| retry.retry_on.iter().any(|failure| is_ignored(*failure)))
    }),
];

fn set<'a>(fields: &'a [Field], spec: &'a TrafficPolicySpec) -> impl Iterator<Item = &'static str> + 'a {
    fields.iter().filter(|(_, is_set)| is_set(spec)).map(|(name, _)| *name)
}

/// The protecting fields of `spec` that are not implemented.
pub fn protecting(spec: &TrafficPolicySpec) -> Vec<&'static str> {
    set(PROTECTING, spec).collect()
}

/// The traffic-shaping fields of `spec` that are not implemented.
pub fn shaping(spec: &TrafficPolicySpec) -> Vec<&'static str> {
    let protecting = protecting(spec);
    let is_inside = |name: &str| {
        protecting
            .iter()
            .any(|outer| name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    set(SHAPING, spec).chain(spec.unsupported_fields()).filter(|name| !is_inside(name)).collect()
}
