//! The health of all targets, as operators see it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{AnswerKind, AttemptOutcome, Balance, TargetState, Wait, load::Load};
use crate::upstream::failure::Meaning;

/// The targets that are left alone, by Backend (`namespace/name`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthReport(BTreeMap<String, Vec<Degraded>>);

/// A target that is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// The provider entry's name.
    pub target: String,
    /// The failure behind it.
    pub cause: Meaning,
    /// Until when, in whole seconds.
    pub until: SystemTime,
}

impl HealthReport {
    /// A report of these targets of one Backend.
    pub fn of(backend: &str, degraded: Vec<Degraded>) -> Self {
        Self(BTreeMap::from([(backend.to_owned(), degraded)]))
    }

    /// The targets of `backend` that are left alone, by name.
    pub fn backend(&self, backend: &str) -> &[Degraded] {
        self.0.get(backend).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Balance {
    /// The targets that are left alone now, which is `time` on the clock.
    pub fn report(&self, now: Instant, time: SystemTime) -> HealthReport {
        let mut report = HealthReport::default();
        for ((backend, target), state) in self.all_targets() {
            if let Some(wait) = state.health().trouble(now) {
                let degraded = Degraded { target, cause: wait.cause, until: whole_seconds(time + left(&wait, now)) };
                report.0.entry(backend).or_default().push(degraded);
            }
        }
        report
    }

    /// The state of each target, for debug views. It holds no secret.
    pub fn to_json(&self, now: Instant) -> Value {
        let targets =
            self.all_targets().into_iter().map(|((backend, name), state)| target(&backend, &name, &state, now));
        let backends = self.all_loads().into_iter().map(|(name, load)| backend(&name, &load));
        json!({"targets": targets.collect::<Vec<_>>(), "backends": backends.collect::<Vec<_>>()})
    }

    /// The Backends with limits, by name.
    fn all_loads(&self) -> BTreeMap<String, Arc<Load>> {
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.by_key.iter().filter_map(|(key, load)| Some((key.clone(), load.upgrade()?))).collect()
    }

    /// The targets of providers, by Backend and name.
    fn all_targets(&self) -> BTreeMap<(String, String), Arc<TargetState>> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.by_key.iter().filter_map(|(key, state)| Some((key.clone(), state.upgrade()?))).collect()
    }
}

fn target(backend: &str, name: &str, state: &TargetState, now: Instant) -> Value {
    let health = state.health();
    let ended = AttemptOutcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), state.ended(*outcome).into()));
    let seconds = |wait: &Wait| left(wait, now).as_secs_f64();
    let models = health
        .models(now)
        .into_iter()
        .map(|(model, wait)| json!({"model": model, "cause": wait.cause.row().word, "seconds": seconds(&wait)}));
    let latency = |kind| {
        let latency = state.latencies().of(kind);
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        json!({"seconds": seconds(latency.estimate(now)), "p95Seconds": seconds(latency.p95())})
    };
    let trouble = health.trouble(now);
    let (phase, in_a_row) = health.breaker(now);
    json!({
        "backend": backend,
        "target": name,
        "healthy": trouble.is_none(),
        "cooling": trouble.map(|wait| json!({"cause": wait.cause.row().word, "seconds": seconds(&wait)})),
        "models": models.collect::<Vec<_>>(),
        "breaker": {"state": phase.as_str(), "failuresInARow": in_a_row},
        "inFlight": state.in_flight(),
        "firstContent": {"stream": latency(AnswerKind::Stream), "whole": latency(AnswerKind::Whole)},
        "limit": state.room().limit(),
        "attempts": ended.collect::<serde_json::Map<String, Value>>(),
    })
}

/// A Backend with limits. `null` is a limit that it does not have.
fn backend(name: &str, load: &Load) -> Value {
    let (limits, in_flight, waiting) = load.snapshot();
    let waiting = waiting.into_iter().map(|(priority, count)| (priority.as_str().to_owned(), count.into()));
    json!({
        "backend": name,
        "inFlight": in_flight,
        "limit": limits.requests,
        "waiting": waiting.collect::<serde_json::Map<String, Value>>(),
        "maxWaiting": limits.pending,
    })
}

fn left(wait: &Wait, now: Instant) -> Duration {
    wait.until.saturating_duration_since(now)
}

/// The time, rounded up to a second: reports that differ by less are the same.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs() + u64::from(since.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{balance::Attempt, failure::Verdict};

    #[test]
    fn a_report_has_the_targets_that_are_left_alone() {
        let (balance, time) = (Balance::default(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        let states: Vec<Arc<TargetState>> = ["limited", "fine"].map(|name| balance.target("ns/b", name)).into();
        let plain = balance.endpoint("ns/plain", "http://h:1");
        for (state, meaning) in [(&states[0], Meaning::Quota), (&states[1], Meaning::Client)] {
            Attempt::watched(state, "m", true, None).judged(Verdict::new(meaning), "m");
        }
        let report = balance.report(Instant::now(), time);
        let [degraded] = report.backend("ns/b") else { panic!("{report:?}") };
        assert_eq!((degraded.target.as_str(), degraded.cause), ("limited", Meaning::Quota));
        let until = degraded.until.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(until.subsec_nanos() == 0 && (271..=332).contains(&until.as_secs()), "{until:?}");
        assert!(report.backend("ns/other").is_empty());
        let json = balance.to_json(Instant::now());
        assert_eq!(json["targets"].as_array().unwrap().len(), 2, "no endpoints: {json}");
        assert_eq!(json["targets"][0]["healthy"], true);
        assert_eq!(json["targets"][1]["models"][0]["model"], "m");
        assert_eq!(json["targets"][1]["cooling"]["cause"], "quota");
        drop(plain);
    }
}
