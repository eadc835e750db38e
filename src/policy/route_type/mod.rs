//! `spec.ai.routeType`: whether a route's requests stream where neither path nor body decides.

use super::{PolicyField, RulePolicies};
use crate::api::traffic_policy::{RouteType, TrafficPolicySpec};

/// The field. Gemini and Bedrock name the streaming operation in the URL, so a route without it needs this setting.
pub struct RouteTypeField;

impl PolicyField for RouteTypeField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.ai.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        rule.streams = spec.ai.as_ref().is_some_and(|ai| ai.route_type == RouteType::ChatStreaming);
    }
}
