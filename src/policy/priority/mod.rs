//! Priority: `spec.priority` of TrafficPolicies. It orders the requests that wait for room at a Backend with limits.

use http::{HeaderMap, HeaderName};

use super::{PolicyField, RulePolicies};
use crate::{
    api::traffic_policy::{PriorityClass, TrafficPolicySpec},
    upstream::balance::load::Priority,
};

/// The priority of a rule's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulePriority {
    /// That of requests without the header.
    class: Priority,
    /// The client's header that has it.
    header: Option<HeaderName>,
}

impl RulePriority {
    /// The priority of a request with these headers. A header that is there twice or has another value does not count.
    pub fn of(&self, headers: &HeaderMap) -> Priority {
        let written = self.header.as_ref().and_then(|name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?.trim();
            Priority::ALL.into_iter().find(|priority| value.eq_ignore_ascii_case(priority.as_str()))
        });
        written.unwrap_or(self.class)
    }
}

/// Why `spec.priority.header` has no effect, if so.
fn problem(spec: &TrafficPolicySpec) -> Option<String> {
    let name = spec.priority.as_ref()?.header.as_deref()?;
    let is_name = HeaderName::from_bytes(name.as_bytes()).is_ok();
    (!is_name).then(|| format!("priority.header: '{name}' is not a header's name; write one such as `X-Priority`"))
}

/// The field.
pub struct PriorityField;

impl PolicyField for PriorityField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.priority.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        let Some(written) = &spec.priority else { return };
        let class = match written.class {
            PriorityClass::Interactive => Priority::Interactive,
            PriorityClass::Batch => Priority::Batch,
        };
        let header = written.header.as_deref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        rule.priority = RulePriority { class, header };
    }

    fn ineffective(&self, spec: &TrafficPolicySpec) -> Vec<String> {
        problem(spec).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Batch, Interactive};

    fn of(priority: &serde_json::Value, values: &[&'static str]) -> Priority {
        let mut rule = RulePolicies::default();
        let spec = serde_json::from_value(serde_json::json!({"priority": priority})).unwrap();
        PriorityField.build(&spec, &mut rule);
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-priority", value.parse().unwrap());
        }
        rule.priority.of(&headers)
    }

    #[test]
    fn a_header_counts_only_where_a_policy_names_it() {
        let by_header = serde_json::json!({"header": "X-Priority"});
        assert_eq!(of(&by_header, &["batch"]), Batch);
        assert_eq!(of(&by_header, &[" Batch "]), Batch);
        assert_eq!(of(&by_header, &[]), Interactive);
        assert_eq!(of(&serde_json::json!({}), &["batch"]), Interactive);
        let batch = serde_json::json!({"class": "Batch"});
        assert_eq!(of(&batch, &["interactive"]), Batch);
        let both = serde_json::json!({"class": "Batch", "header": "x-priority"});
        assert_eq!((of(&both, &["INTERACTIVE"]), of(&both, &[])), (Interactive, Batch));
        assert_eq!(RulePriority::default().of(&HeaderMap::new()), Interactive);
    }

    #[test]
    fn nonsense_in_the_header_leaves_the_class_of_the_rule() {
        let both = serde_json::json!({"class": "Batch", "header": "x-priority"});
        for values in [&["high"][..], &[""], &["0"], &["interactive, batch"], &["interactive", "interactive"]] {
            assert_eq!(of(&both, values), Batch, "{values:?}");
        }
        let bytes = HeaderMap::from_iter([("x-priority".parse().unwrap(), b"\xff".as_slice().try_into().unwrap())]);
        let rule = RulePriority { class: Batch, header: Some("x-priority".parse().unwrap()) };
        assert_eq!(rule.of(&bytes), Batch);
    }

    #[test]
    fn a_header_that_is_no_name_is_reported() {
        let spec = |header: &str| serde_json::from_value(serde_json::json!({"priority": {"header": header}})).unwrap();
        assert_eq!(problem(&spec("X-Priority")), None);
        assert!(problem(&spec("x priority")).unwrap().contains("'x priority'"));
        assert!(problem(&spec("")).is_some());
    }
}
