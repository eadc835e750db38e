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
    /// From sending to the first content of a stream, per attempt, where another target follows.
    pub first_token: Option<FirstToken>,
    /// Longest pause within a stream.
    pub stream_idle: Option<Duration>,
}

/// The bound until the first content of a stream where none is written. Of 2,400 streams that users of another gateway
/// have measured, 1 % took longer than 15 s, and reasoning models take up to 94 s (p99).
const FIRST_TOKEN: Duration = Duration::from_mins(2);
/// What is added to any bound for a million tokens of input, which a model reads before it answers.
const PER_MILLION_TOKENS: Duration = Duration::from_mins(4);
/// The tokens of input that count at most: models take about a million, and what is longer is mostly media.
const MAX_TOKENS: u32 = 1_000_000;

/// How long the first content of a stream may take, before time for long prompts is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstToken {
    /// As long as the request.
    Unbounded,
    /// This long.
    Within(Duration),
}

impl FirstToken {
    /// The bound that is written: zero switches it off.
    pub fn of(written: &GoDuration) -> Self {
        Some(written.get()).filter(|bound| !bound.is_zero()).map_or(Self::Unbounded, Self::Within)
    }

    /// The bound for a request with about this many tokens of input. `written` is `None` where nothing is.
    pub fn bound(written: Option<Self>, tokens: u64) -> Option<Duration> {
        let base = match written {
            Some(Self::Unbounded) => return None,
            Some(Self::Within(bound)) => bound,
            None => FIRST_TOKEN,
        };
        let tokens = u32::try_from(tokens).unwrap_or(MAX_TOKENS).min(MAX_TOKENS);
        Some(base.saturating_add(PER_MILLION_TOKENS * tokens / MAX_TOKENS))
    }
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
        rule.timeouts.first_token = written.first_token.as_ref().map(FirstToken::of);
        rule.timeouts.stream_idle = bound(written.stream_idle.as_ref());
    }

    fn ineffective(&self, spec: &TrafficPolicySpec) -> Vec<String> {
        contradiction(spec).into_iter().collect()
    }
}

/// Why `spec.timeouts` can't have the effect that it seems to have, if so.
fn contradiction(spec: &TrafficPolicySpec) -> Option<String> {
    let written = spec.timeouts.as_ref()?;
    let (first, request) = (written.first_token.as_ref()?, written.request.as_ref()?);
    let never = !request.get().is_zero() && first.get() >= request.get();
    never.then(|| {
        let (first, request) = (first.as_str(), request.as_str());
        format!("timeouts.firstToken ({first}) is never reached, because timeouts.request ({request}) ends before it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(text: &str, tokens: u64) -> Option<Duration> {
        FirstToken::bound(Some(FirstToken::of(&text.parse().unwrap())), tokens)
    }

    #[test]
    fn long_prompts_have_more_time_until_the_first_token() {
        assert_eq!(FirstToken::bound(None, 0), Some(Duration::from_mins(2)));
        assert_eq!(FirstToken::bound(None, 500_000), Some(Duration::from_mins(2 + 2)));
        assert_eq!(FirstToken::bound(None, 1_000_000), Some(Duration::from_mins(2 + 4)));
        assert_eq!(FirstToken::bound(None, u64::MAX), Some(Duration::from_mins(2 + 4)));
        assert_eq!(bound("10s", 25_000), Some(Duration::from_secs(10 + 6)));
    }

    #[test]
    fn zero_switches_the_bound_off_and_a_year_is_one() {
        assert_eq!(bound("0s", 1_000_000), None);
        assert_eq!(bound("8760h", 0), Some(Duration::from_hours(8760)));
        assert!(bound("2562047h", u64::MAX).is_some(), "the longest one that can be written");
    }

    #[test]
    fn a_first_token_that_comes_after_the_end_is_named() {
        let named = |first: &str, request: &str| {
            let timeouts = serde_json::json!({"timeouts": {"firstToken": first, "request": request}});
            contradiction(&serde_json::from_value(timeouts).unwrap())
        };
        assert!(named("31s", "30s").unwrap().contains("firstToken (31s)"));
        assert!(named("30s", "30s").is_some());
        assert_eq!(named("20s", "30s"), None);
        assert_eq!(named("20s", "0s"), None, "without an end there is none before it");
        assert_eq!(named("0s", "30s"), None);
    }
}
