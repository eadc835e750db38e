//! The weights of a Backend's entries, and how it chooses among them.

use http::HeaderName;

use super::ProviderEntry;
use crate::{
    api::backend::{AiBackend, HashPolicy},
    provider::check::Problems,
};

/// The largest weight, as the schema and the Gateway API have it.
const MAX_WEIGHT: u32 = 1_000_000;
/// The most hash policies, as the schema has it.
const MAX_POLICIES: usize = 16;

/// The weight of the entry at `path`.
pub(super) fn weight(written: Option<u32>, path: &str, problems: &mut Problems) -> u32 {
    let weight = written.unwrap_or(1);
    if weight > MAX_WEIGHT {
        problems.push(format!("{path}.weight"), format!("{weight} is too large: at most {MAX_WEIGHT}"));
    }
    weight
}

/// Checks that some entry gets requests.
pub(super) fn check_weights(groups: &[Vec<ProviderEntry>], problems: &mut Problems) {
    let mut weights = groups.iter().flatten().map(|entry| entry.weight).peekable();
    if weights.peek().is_some() && weights.all(|weight| weight == 0) {
        problems
            .push("spec.ai", "every provider has the weight 0, so that none gets requests: give one of them another");
    }
}

/// Checks `spec.ai.loadBalancer`.
pub(super) fn check(ai: &AiBackend, problems: &mut Problems) {
    let Some(written) = &ai.load_balancer else { return };
    let path = "spec.ai.loadBalancer";
    let set = [written.round_robin.is_some(), written.least_request.is_some(), written.ring_hash.is_some()];
    if set.iter().filter(|is_set| **is_set).count() != 1 {
        problems.push(path, "exactly one of roundRobin, leastRequest and ringHash must be set");
    }
    let Some(ring) = &written.ring_hash else { return };
    let path = format!("{path}.ringHash.hashPolicies");
    let policies = ring.hash_policies.as_deref().unwrap_or_default();
    match policies.len() {
        0 => problems.push(&path, "no policy is there: write at least one, such as `promptPrefix: {}`"),
        n if n > MAX_POLICIES => problems.push(&path, format!("{n} policies are too many: at most {MAX_POLICIES}")),
        _ => {}
    }
    for (index, policy) in policies.iter().enumerate() {
        check_policy(policy, &format!("{path}[{index}]"), problems);
    }
}

fn check_policy(policy: &HashPolicy, path: &str, problems: &mut Problems) {
    let HashPolicy { header, credential, prompt_prefix, source_ip } = policy;
    let set = [header.is_some(), credential.is_some(), prompt_prefix.is_some(), source_ip.is_some()];
    if set.iter().filter(|is_set| **is_set).count() != 1 {
        problems.push(path, "exactly one of header, credential, promptPrefix and sourceIP must be set");
    }
    if let Some(header) = header {
        let name = header.name.as_deref().unwrap_or_default();
        if HeaderName::try_from(name).is_err() {
            problems.push(format!("{path}.header.name"), format!("'{name}' is not a header name"));
        }
    }
}
