//! Fields of TrafficPolicies that Tollgate reads but does not implement.

use super::retry::is_ignored;
use crate::api::traffic_policy::{PromptGuardRequest, PromptGuardResponse, TrafficPolicySpec};

/// A field as manifests spell it below `spec`, and whether a spec has it.
type Field = (&'static str, fn(&TrafficPolicySpec) -> bool);

/// Fields that protect a backend. Serving without them would be worse than not serving: their rules reply with 500.
const PROTECTING: &[Field] = &[
    ("ai.promptGuard.request.webhook", |spec| request_guard(spec).is_some_and(|guard| guard.webhook.is_some())),
    ("ai.promptGuard.request.moderation", |spec| request_guard(spec).is_some_and(|guard| guard.moderation.is_some())),
    ("ai.promptGuard.response.webhook", |spec| response_guard(spec).is_some_and(|guard| guard.webhook.is_some())),
    ("apiKeyAuth.secretSelector", |spec| spec.api_key_auth.as_ref().is_some_and(|auth| auth.secret_selector.is_some())),
    ("rateLimit", |spec| spec.rate_limit.is_some()),
    ("extAuth", |spec| spec.ext_auth.is_some()),
    ("rbac", |spec| spec.rbac.is_some()),
    ("csrf", |spec| spec.csrf.is_some()),
];

/// Fields that shape traffic: rules are served without them, and the status reports that.
const SHAPING: &[Field] = &[
    // Failures of gRPC, of HTTP/3, and by a header of Envoy's.
    ("retry.retryOn, some of its values", |spec| {
        spec.retry.as_ref().is_some_and(|retry| retry.retry_on.iter().any(|failure| is_ignored(*failure)))
    }),
];

fn request_guard(spec: &TrafficPolicySpec) -> Option<&PromptGuardRequest> {
    spec.ai.as_ref()?.prompt_guard.as_ref()?.request.as_ref()
}

fn response_guard(spec: &TrafficPolicySpec) -> Option<&PromptGuardResponse> {
    spec.ai.as_ref()?.prompt_guard.as_ref()?.response.as_ref()
}

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
