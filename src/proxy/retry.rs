//! Part of step 5: whether a request is sent again to the backend that has failed it, as a rule's `retry` has it.
//!
//! The next target of a Backend needs no such rule: see `select`. Retries come before it, at the same target.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, Method, header};
use tokio::time::Instant;

use super::{ErrorKind, ProxyError, RouteContext, classify::ClassifiedRequest};
use crate::{
    dialect::Endpoint,
    policy::retry::{Failure, Retry},
    upstream::balance::{RetryBudget, RetryPermit},
};

/// Most attempts of one request, over all targets: a Backend may list hundreds, while a client waits.
pub const MAX_ATTEMPTS: u32 = 8;
/// The longest pause before a retry. A longer one is not made, as the client gives up meanwhile.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// The longest pause that a reply may ask for. Instead of a longer one, the next target gets the request, or the client
/// decides.
const MAX_HINT: Duration = Duration::from_secs(10);

/// The retries of one request.
pub struct Retries<'a> {
    /// Absent where the rule has none.
    retry: Option<&'a Retry>,
    /// Whether a request that the server may have processed is sent again.
    may_repeat: bool,
    /// How many were made, of all attempts and at the current target.
    made: u32,
    deadline: Option<Instant>,
    permit: Option<RetryPermit>,
}

impl<'a> Retries<'a> {
    /// The retries of a request that may be processed twice if `may_repeat` is true.
    pub fn new(context: &RouteContext<'a>, may_repeat: bool) -> Self {
        let retry = context.rule.retry.as_ref().filter(|retry| retry.retries > 0);
        Self { retry, may_repeat, made: 0, deadline: context.deadline, permit: None }
    }

    /// Whether the target that is tried now may be tried again.
    pub fn may_follow(&self) -> bool {
        self.retry.is_some_and(|retry| self.made < retry.retries)
    }

    /// The next target is tried: it has retries of its own.
    pub const fn at_next_target(&mut self) {
        self.made = 0;
    }

    /// When the request is to be sent again after this failure; `None` if it is not. `headers` are those of the reply,
    /// and `in_flight` is how many requests the backend has.
    pub fn next(
        &mut self,
        failure: Option<Failure>,
        headers: Option<&HeaderMap>,
        budget: &Arc<RetryBudget>,
        in_flight: impl FnOnce() -> u32,
    ) -> Option<Instant> {
        // The retry that was made has ended.
        self.permit = None;
        let (retry, failure) = (self.retry?, failure?);
        let repeats = self.may_repeat || failure == Failure::Unreachable;
        if !self.may_follow() || !repeats || !retry.covers(failure) {
            return None;
        }
        let pause = retry.pause(self.made, RandomState::new().hash_one(self.made));
        let pause = headers.map_or(Some(pause), |headers| longer(pause, headers))?;
        let at = Instant::now() + pause.min(MAX_PAUSE);
        if pause > MAX_PAUSE || self.deadline.is_some_and(|deadline| deadline <= at) {
            return None;
        }
        self.permit = Some(budget.permit(in_flight())?);
        self.made += 1;
        Some(at)
    }
}

/// The pause, or the longer one that the reply asks for; `None` when that is too long or can't be read.
fn longer(pause: Duration, headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name).map(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let hint = match (number("retry-after-ms"), number(header::RETRY_AFTER.as_str())) {
        (Some(millis), _) => Duration::from_millis(millis?),
        (None, Some(seconds)) => Duration::from_secs(seconds?),
        (None, None) => return Some(pause),
    };
    (hint <= MAX_HINT).then(|| pause.max(hint))
}

/// How an attempt with this error failed, if the rule may retry that.
pub const fn failure_of(error: &ProxyError) -> Option<Failure> {
    match error.kind {
        ErrorKind::Unreachable | ErrorKind::ConnectTimeout | ErrorKind::EgressProxy | ErrorKind::UpstreamTls => {
            Some(Failure::Unreachable)
        }
        ErrorKind::UpstreamClosed
        | ErrorKind::UpstreamProtocol
        | ErrorKind::UpstreamError
        | ErrorKind::UpstreamTimeout => Some(Failure::Unanswered),
        _ => None,
    }
}

/// Whether a server may process a request twice. It may not where the request makes something there: an answer that is
/// kept or made in the background, and whatever a Backend lists beside the APIs that are supported, such as files,
/// batches and images.
pub fn may_repeat(request: &ClassifiedRequest, method: &Method) -> bool {
    let is_kept = |field| {
        let top = request.body.as_ref().and_then(|body| body.top());
        top.and_then(|top| top.get(field)?.as_bool()) == Some(true)
    };
    match request.api.endpoint {
        Endpoint::Responses => !is_kept("background") && !is_kept("store"),
        Endpoint::ResponseResource(_) | Endpoint::Other(_) => method.is_idempotent(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_lengthens_the_pause_and_a_long_one_ends_the_retries() {
        let pause = Duration::from_millis(25);
        let with = |name: &'static str, value: &'static str| {
            longer(pause, &HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
        };
        assert_eq!(longer(pause, &HeaderMap::new()), Some(pause));
        assert_eq!(with("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(with("retry-after-ms", "400"), Some(Duration::from_millis(400)));
        assert_eq!(with("retry-after-ms", "1"), Some(pause));
        for (name, value) in [
            ("retry-after", "11"),
            ("retry-after", "-1"),
            ("retry-after", "1e9"),
            ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("retry-after-ms", "60000"),
        ] {
            assert_eq!(with(name, value), None, "{name}: {value}");
        }
    }
}
