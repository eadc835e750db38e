//! Metrics of targets: how attempts end, failovers, and health.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::register::register;

/// The outcome of an attempt whose reply was complete.
const ANSWERED: &str = "answered";

/// The state of a target, read when metrics are.
pub trait TargetGauge: Send + Sync {
    /// How long the target is still left alone; `None` if it is healthy.
    fn cooling(&self) -> Option<Duration>;
}

/// Attempts, failovers and health of targets.
pub struct TargetMetrics {
    attempts: IntCounterVec,
    failovers: IntCounterVec,
    hedges: IntCounterVec,
    healthy: IntGaugeVec,
    cooldown: GaugeVec,
    targets: Mutex<HashMap<[String; 2], Entry>>,
}

struct Entry {
    series: Arc<TargetSeries>,
    gauge: Weak<dyn TargetGauge>,
}

/// The series of one target.
#[derive(Debug)]
pub struct TargetSeries {
    names: [String; 2],
    answered: IntCounter,
    attempts: IntCounterVec,
    failovers: IntCounterVec,
    hedges: IntCounterVec,
    /// The words that were counted, so that their series can be removed.
    used: Mutex<BTreeSet<&'static str>>,
}

impl TargetMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str| Opts::new(format!("tollgate_{name}"), help);
        let names = ["backend", "target"];
        Ok(Self {
            attempts: register(
                registry,
                IntCounterVec::new(
                    options("target_attempts_total", "Attempts at a target that have ended, by outcome."),
                    &["backend", "target", "outcome"],
                ),
            )?,
            failovers: register(
                registry,
                IntCounterVec::new(
                    options(
                        "target_failovers_total",
                        "Failed attempts after which another target was tried, by cause.",
                    ),
                    &["backend", "target", "cause"],
                ),
            )?,
            hedges: register(
                registry,
                IntCounterVec::new(
                    options(
                        "target_hedges_total",
                        "Requests that a target got because another one was slow, by outcome.",
                    ),
                    &["backend", "target", "outcome"],
                ),
            )?,
            healthy: register(
                registry,
                IntGaugeVec::new(options("target_healthy", "1 for a target that is used, 0 while it cools."), &names),
            )?,
            cooldown: register(
                registry,
                GaugeVec::new(
                    options("target_cooldown_seconds", "How long a target still cools, 0 if healthy."),
                    &names,
                ),
            )?,
            targets: Mutex::default(),
        })
    }

    /// The series of a target, the same for the same names. Its health is read from `gauge` until that is gone. For
    /// compile, not for requests.
    pub fn target(&self, backend: &str, target: &str, gauge: Weak<dyn TargetGauge>) -> Arc<TargetSeries> {
        let names = [backend, target].map(str::to_owned);
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = targets.entry(names).or_insert_with_key(|names| {
            let [backend, target] = names;
            let series = TargetSeries {
                names: names.clone(),
                answered: self.attempts.with_label_values(&[backend.as_str(), target.as_str(), ANSWERED]),
                attempts: self.attempts.clone(),
                failovers: self.failovers.clone(),
                hedges: self.hedges.clone(),
                used: Mutex::new(BTreeSet::from([ANSWERED])),
            };
            Entry { series: Arc::new(series), gauge: Weak::clone(&gauge) }
        });
        entry.gauge = gauge;
        Arc::clone(&entry.series)
    }

    /// Reads the health of all targets.
    pub(super) fn refresh(&self) {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        for ([backend, target], entry) in &*targets {
            let Some(gauge) = entry.gauge.upgrade() else { continue };
            let cooling = gauge.cooling();
            let names = [backend.as_str(), target.as_str()];
            self.healthy.with_label_values(&names).set(i64::from(cooling.is_none()));
            self.cooldown.with_label_values(&names).set(cooling.unwrap_or_default().as_secs_f64());
        }
    }

    /// Removes the series of targets that are gone: no snapshot has them, and no attempt of an older one goes on.
    pub(super) fn prune(&self) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        for ([backend, target], entry) in targets.extract_if(|_, entry| entry.gauge.strong_count() == 0) {
            let names = [backend.as_str(), target.as_str()];
            for word in entry.series.used.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = self.attempts.remove_label_values(&[names[0], names[1], word]);
                let _ = self.failovers.remove_label_values(&[names[0], names[1], word]);
                let _ = self.hedges.remove_label_values(&[names[0], names[1], word]);
            }
            let _ = self.healthy.remove_label_values(&names);
            let _ = self.cooldown.remove_label_values(&names);
        }
    }
}

impl TargetSeries {
    /// An attempt had a complete reply.
    pub fn answered(&self) {
        self.answered.inc();
    }

    /// An attempt has ended otherwise.
    pub fn ended(&self, outcome: &'static str) {
        self.count(&self.attempts, outcome);
    }

    /// Another target is tried after this failure.
    pub fn failed_over(&self, cause: &'static str) {
        self.count(&self.failovers, cause);
    }

    /// A second attempt that was made while another target was slow has ended.
    pub fn hedged(&self, outcome: &'static str) {
        self.count(&self.hedges, outcome);
    }

    fn count(&self, family: &IntCounterVec, word: &'static str) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(word);
        let [backend, target] = &self.names;
        family.with_label_values(&[backend.as_str(), target.as_str(), word]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Played(Option<Duration>);

    impl TargetGauge for Played {
        fn cooling(&self) -> Option<Duration> {
            self.0
        }
    }

    #[test]
    fn series_live_as_long_as_their_target() {
        let registry = Registry::new();
        let metrics = TargetMetrics::register(&registry).unwrap();
        let (cool, fine) = (Arc::new(Played(Some(Duration::from_millis(1500)))), Arc::new(Played(None)));
        let weak = |gauge: &Arc<Played>| -> Weak<dyn TargetGauge> { Arc::downgrade(&(Arc::clone(gauge) as Arc<_>)) };
        let series = metrics.target("b", "cool", weak(&cool));
        metrics.target("b", "fine", weak(&fine)).answered();
        series.ended("rate");
        series.failed_over("rate");
        series.hedged("won");
        assert!(Arc::ptr_eq(&series, &metrics.target("b", "cool", weak(&cool))), "a recompile counts on");
        metrics.refresh();
        assert_eq!(metrics.healthy.with_label_values(&["b", "cool"]).get(), 0);
        assert_eq!(metrics.healthy.with_label_values(&["b", "fine"]).get(), 1);
        assert!((metrics.cooldown.with_label_values(&["b", "cool"]).get() - 1.5).abs() < 1e-9);
        let count = || {
            let families = registry.gather();
            families.iter().map(|family| family.get_metric().len()).sum::<usize>()
        };
        // Two outcomes, a failover, a hedge and two gauges; an outcome and two gauges.
        assert_eq!(count(), 9);
        drop(cool);
        metrics.prune();
        assert_eq!(count(), 3);
    }
}
