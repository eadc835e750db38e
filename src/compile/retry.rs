//! `retry` of HTTPRoute rules, and the fields of rules that only shape traffic and are not served.

use std::time::Duration;

use http::StatusCode;

use super::rule::Flaws;
use crate::{
    api::{
        duration::GoDuration,
        gateway::{RouteRetry, RouteRule},
    },
    policy::retry::{BACKOFF, Retry},
};

/// The retries of the rule `index`: its own, or else those of its policies. What can't be served of them is reported,
/// and the rule is served without it.
pub fn compile(rule: &RouteRule, index: usize, policy: Option<Retry>, flaws: &mut Flaws) -> Option<Retry> {
    if rule.session_persistence.is_some() {
        flaws.ignored.push(format!("rule {index}: sessionPersistence, which is not acted on"));
    }
    let Some(written) = &rule.retry else { return policy };
    let mut problems = Vec::new();
    let retry = read(written, &mut problems);
    flaws.ignored.extend(problems.into_iter().map(|problem| format!("rule {index}: {problem}")));
    Some(retry)
}

fn read(written: &RouteRetry, problems: &mut Vec<String>) -> Retry {
    let codes = written.codes.iter().flatten().filter_map(|code| {
        let status = u16::try_from(*code).ok().filter(|code| (400..600).contains(code));
        let status = status.and_then(|code| StatusCode::from_u16(code).ok());
        if status.is_none() {
            problems.push(format!("retry.codes: {code} is not a status from 400 to 599"));
        }
        status
    });
    let statuses = codes.collect();
    let backoff: Duration = written.backoff.as_deref().map_or(BACKOFF, |text| match text.parse::<GoDuration>() {
        Ok(duration) => duration.get(),
        Err(why) => {
            problems.push(format!("retry.backoff: '{text}': {why}"));
            BACKOFF
        }
    });
    Retry {
        statuses,
        // A rule has no field for these: they are always retried.
        unreachable: true,
        unanswered: true,
        retries: written.attempts.map_or(1, |attempts| u32::try_from(attempts.max(0)).unwrap_or(u32::MAX)),
        backoff,
        ..Retry::default()
    }
}
