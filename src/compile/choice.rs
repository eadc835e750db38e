//! How targets are chosen inside a group, from `spec.ai.loadBalancer` of Backends.

use http::HeaderName;

use crate::{
    api::backend::{self, LoadBalancer},
    snapshot::{Choice, HashPolicy},
};

/// The choice that is written. `shape` has checked it.
pub fn of(written: Option<&LoadBalancer>) -> Choice {
    let Some(written) = written else { return Choice::default() };
    match (&written.ring_hash, &written.least_request) {
        (Some(ring), _) => Choice::ByKey(ring.hash_policies.iter().flatten().filter_map(policy).collect()),
        (None, Some(_)) => Choice::ByCost,
        (None, None) => Choice::InTurn,
    }
}

fn policy(written: &backend::HashPolicy) -> Option<HashPolicy> {
    let name = written.header.as_ref().and_then(|header| HeaderName::try_from(header.name.as_deref()?).ok());
    let others = [
        (written.credential.is_some(), HashPolicy::Credential),
        (written.prompt_prefix.is_some(), HashPolicy::PromptPrefix),
        (written.source_ip.is_some(), HashPolicy::SourceIp),
    ];
    name.map(HashPolicy::Header).or_else(|| others.into_iter().find(|(is_set, _)| *is_set).map(|(_, policy)| policy))
}
