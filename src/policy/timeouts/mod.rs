//! Timeouts: `spec.timeouts` of TrafficPolicies. An HTTPRoute rule's own `timeouts` take precedence.

use std::time::Duration;

use super::{PolicyField, RulePolicies};
use crate::api::{duration::GoDuration, traffic_policy::TrafficPolicySpec};

/// Timeouts; `None` means that the policy sets none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request to the end of the reply, over all attempts.
    pub request: Option<Duration>,
    /// From sending to the head of the reply, per attempt.
    pub backend: Option<Duration>,
    /// Longest pause within a stream.
    pub stream_idle: Option<Duration>,
}

/// The field.
pub struct TimeoutsField;

impl PolicyField for TimeoutsField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.timeouts.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        let Some(written) = &spec.timeouts else { return };
        // Zero switches the bound off.
        let bound = |duration: Option<&GoDuration>| duration.map(GoDuration::get).filter(|d| !d.is_zero());
        rule.timeouts.request = bound(written.request.as_ref());
        rule.timeouts.stream_idle = bound(written.stream_idle.as_ref());
    }
}
