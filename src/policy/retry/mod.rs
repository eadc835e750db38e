//! Retries: `spec.retry` of TrafficPolicies. An HTTPRoute rule's own `retry` takes precedence.

use std::time::Duration;

use http::StatusCode;

use super::{PolicyField, RulePolicies};
use crate::api::{
    duration::GoDuration,
    traffic_policy::{RetryOn, TrafficPolicySpec},
};

/// The pause before the first retry where none is written: that of kgateway and Envoy.
pub const BACKOFF: Duration = Duration::from_millis(25);
/// How often a pause doubles at most.
const MAX_DOUBLINGS: u32 = 4;

/// Which failures of an attempt are retried, how often, and after which pause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Replies with these statuses.
    pub statuses: Vec<StatusCode>,
    /// Replies with any status of 5xx.
    pub server_errors: bool,
    /// No connection could be made.
    pub unreachable: bool,
    /// The connection closed before the reply, or no reply came in time.
    pub unanswered: bool,
    /// How often a request is sent again, after the first time.
    pub retries: u32,
    /// The pause before the first retry. It doubles with each.
    pub backoff: Duration,
    /// How long each attempt may take until the head of its reply.
    pub per_try: Option<Duration>,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With a reply of this status.
    Status(StatusCode),
    /// Without a connection, so that the server did not get the request.
    Unreachable,
    /// Without a reply.
    Unanswered,
}

impl Retry {
    /// Whether a request that failed like this is sent again.
    pub fn covers(&self, failure: Failure) -> bool {
        match failure {
            Failure::Status(status) => {
                (self.server_errors && status.is_server_error()) || self.statuses.contains(&status)
            }
            Failure::Unreachable => self.unreachable,
            Failure::Unanswered => self.unanswered,
        }
    }

    /// The pause before the retry with this number, counted from 0. It is never shorter than the one that is written,
    /// and up to a quarter longer at random, so that the requests of one failure do not come back together.
    pub fn pause(&self, number: u32, random: u64) -> Duration {
        let whole = self.backoff.saturating_mul(1 << number.min(MAX_DOUBLINGS));
        let part = u32::try_from(random % 256).unwrap_or(0);
        whole.saturating_add(whole / 4 * part / 256)
    }

    fn add(&mut self, failure: RetryOn) {
        match failure {
            RetryOn::Status5xx => (self.server_errors, self.unreachable, self.unanswered) = (true, true, true),
            RetryOn::GatewayError => {
                self.statuses.extend([
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ]);
            }
            RetryOn::Reset => (self.unreachable, self.unanswered) = (true, true),
            // What no server has processed. A request that an HTTP/2 server refuses is always sent again.
            RetryOn::ConnectFailure | RetryOn::ResetBeforeRequest | RetryOn::RefusedStream => self.unreachable = true,
            RetryOn::Retriable4xx => self.statuses.push(StatusCode::CONFLICT),
            // `statusCodes` are always retried; about the others see `is_ignored`.
            RetryOn::RetriableStatusCodes
            | RetryOn::EnvoyRatelimited
            | RetryOn::Http3PostConnectFailure
            | RetryOn::Cancelled
            | RetryOn::DeadlineExceeded
            | RetryOn::Internal
            | RetryOn::ResourceExhausted
            | RetryOn::Unavailable => {}
        }
    }
}

/// Whether `retryOn` has a failure that never occurs here: of gRPC, of HTTP/3, or by a header of Envoy's.
pub fn is_ignored(failure: RetryOn) -> bool {
    matches!(
        failure,
        RetryOn::EnvoyRatelimited
            | RetryOn::Http3PostConnectFailure
            | RetryOn::Cancelled
            | RetryOn::DeadlineExceeded
            | RetryOn::Internal
            | RetryOn::ResourceExhausted
            | RetryOn::Unavailable
    )
}

/// The field.
pub struct RetryField;

impl PolicyField for RetryField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.retry.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        let Some(written) = &spec.retry else { return };
        let codes = written.status_codes.iter().filter_map(|code| StatusCode::from_u16(*code).ok());
        let mut retry = Retry {
            statuses: codes.collect(),
            retries: written.attempts,
            backoff: written.backoff_base_interval.get(),
            per_try: written.per_try_timeout.as_ref().map(GoDuration::get).filter(|bound| !bound.is_zero()),
            ..Retry::default()
        };
        written.retry_on.iter().for_each(|failure| retry.add(*failure));
        rule.retry = Some(retry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(retry: &serde_json::Value) -> Retry {
        let mut rule = RulePolicies::default();
        RetryField.build(&serde_json::from_value(serde_json::json!({"retry": retry})).unwrap(), &mut rule);
        rule.retry.unwrap()
    }

    /// Envoy's documentation of `x-envoy-retry-on`.
    #[test]
    fn failures_in_envoys_words() {
        let covered = |word: &str| {
            let retry = of(&serde_json::json!({"retryOn": [word]}));
            let status = |status| Failure::Status(StatusCode::from_u16(status).unwrap());
            let all = [
                ("409", status(409)),
                ("429", status(429)),
                ("500", status(500)),
                ("503", status(503)),
                ("unreachable", Failure::Unreachable),
                ("unanswered", Failure::Unanswered),
            ];
            all.into_iter().filter(|(_, failure)| retry.covers(*failure)).map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(covered("5xx"), ["500", "503", "unreachable", "unanswered"]);
        assert_eq!(covered("gateway-error"), ["503"]);
        assert_eq!(covered("reset"), ["unreachable", "unanswered"]);
        assert_eq!(covered("connect-failure"), ["unreachable"]);
        assert_eq!(covered("retriable-4xx"), ["409"]);
        for ignored in ["retriable-status-codes", "cancelled", "unavailable", "envoy-ratelimited"] {
            assert!(covered(ignored).is_empty(), "{ignored}");
        }
    }

    #[test]
    fn fields_have_kgateways_defaults() {
        let retry = of(&serde_json::json!({"statusCodes": [429, 503]}));
        assert_eq!((retry.retries, retry.backoff, retry.per_try), (1, BACKOFF, None));
        assert!(retry.covers(Failure::Status(StatusCode::TOO_MANY_REQUESTS)));
        assert!(
            !retry.covers(Failure::Status(StatusCode::INTERNAL_SERVER_ERROR)) && !retry.covers(Failure::Unreachable)
        );
        let retry = of(&serde_json::json!({"retryOn": ["5xx"], "attempts": 1000, "perTryTimeout": "2s"}));
        assert_eq!((retry.retries, retry.per_try), (1000, Some(Duration::from_secs(2))));
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_never_too_short() {
        let retry = of(&serde_json::json!({"statusCodes": [503], "backoffBaseInterval": "100ms"}));
        for (number, shortest) in [(0, 100), (1, 200), (2, 400), (4, 1600), (5, 1600), (u32::MAX, 1600)] {
            let shortest = Duration::from_millis(shortest);
            assert_eq!(retry.pause(number, 0), shortest, "{number}");
            let longest = retry.pause(number, 255);
            assert!(longest > shortest && longest < shortest * 5 / 4, "{number}: {longest:?}");
        }
    }
}
