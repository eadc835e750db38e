//! `spec.transformation`: headers that are set, added and removed. Templates and bodies are not supported.

use http::{HeaderName, HeaderValue};

use super::{PolicyField, RulePolicies, header_modifier::HeaderModifier};
use crate::api::traffic_policy::{HeaderTransformation, TrafficPolicySpec, Transform};

/// The field.
pub struct TransformationField;

impl PolicyField for TransformationField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.transformation.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        let [(_, request), (_, response)] = directions(spec);
        let modifier = |written: Option<&Transform>| {
            written.map(|written| modifier(written).0).filter(|modifier| !modifier.is_empty())
        };
        if let Some(modifier) = modifier(request) {
            rule.policies.request.push(Box::new(modifier));
        }
        if let Some(modifier) = modifier(response) {
            rule.policies.reply.push(Box::new(modifier));
        }
    }

    fn invalid(&self, spec: &TrafficPolicySpec) -> Vec<String> {
        let named = |(direction, written): (&str, Option<&Transform>)| {
            let problems = written.map(|written| modifier(written).1).unwrap_or_default();
            problems.into_iter().map(move |why| format!("transformation.{direction}: {why}")).collect::<Vec<_>>()
        };
        directions(spec).into_iter().flat_map(named).collect()
    }
}

fn directions(spec: &TrafficPolicySpec) -> [(&'static str, Option<&Transform>); 2] {
    let both = spec.transformation.as_ref();
    [("request", both.and_then(|t| t.request.as_ref())), ("response", both.and_then(|t| t.response.as_ref()))]
}

/// The edits that `written` makes, and what in it can't be a header.
fn modifier(written: &Transform) -> (HeaderModifier, Vec<String>) {
    let mut problems = Vec::new();
    let mut headers = |list: &[HeaderTransformation]| -> Vec<(HeaderName, HeaderValue)> {
        let literal = list.iter().filter(|header| !header.is_template());
        let read = literal.filter_map(|HeaderTransformation { name, value }| {
            let pair = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
            match pair {
                (Ok(name), Ok(value)) => return Some((name, value)),
                (Err(_), _) => problems.push(format!("'{name}' is not a header name")),
                (_, Err(_)) => problems.push(format!("the value for header '{name}' is not a header value")),
            }
            None
        });
        read.collect()
    };
    let (set, add) = (headers(&written.set), headers(&written.add));
    let mut remove = Vec::new();
    for name in &written.remove {
        match HeaderName::try_from(name.as_str()) {
            Ok(name) => remove.push(name),
            Err(_) => problems.push(format!("'{name}' is not a header name")),
        }
    }
    (HeaderModifier { set, add, remove }, problems)
}
