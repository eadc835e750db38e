//! Metrics of credentials that are fetched: the outcomes of fetches, and when credentials expire.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

use super::register::register;

/// Counters and expiry of fetched credentials. `docs/metrics.md` lists the sources.
pub struct CredentialMetrics {
    fetches: IntCounterVec,
    expiry: GaugeVec,
    /// When each credential expires, in seconds since 1970, by source and a number of its own.
    expiries: Mutex<BTreeMap<(&'static str, u64), f64>>,
}

impl CredentialMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str| Opts::new(format!("tollgate_credential_{name}"), help);
        Ok(Self {
            fetches: register(
                registry,
                IntCounterVec::new(
                    options("fetches_total", "Credentials requested from a cloud's token endpoint, by source."),
                    &["source", "outcome"],
                ),
            )?,
            expiry: register(
                registry,
                GaugeVec::new(
                    options(
                        "expiry_timestamp_seconds",
                        "When the first credential of the source expires, in seconds since 1970.",
                    ),
                    &["source"],
                ),
            )?,
            expiries: Mutex::default(),
        })
    }

    /// A fetch from `source` has ended.
    pub fn fetched(&self, source: &'static str, good: bool) {
        self.fetches.with_label_values(&[source, if good { "fetched" } else { "failed" }]).inc();
    }

    /// Credential `number` of `source` expires at `at`; with `None` it was removed, or never expires.
    pub fn expires(&self, source: &'static str, number: u64, at: Option<SystemTime>) {
        // A panic while holding the lock leaves a map in a valid state.
        let mut expiries = self.expiries.lock().unwrap_or_else(PoisonError::into_inner);
        match at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            Some(since) => expiries.insert((source, number), since.as_secs_f64()),
            None => expiries.remove(&(source, number)),
        };
        let of_source = expiries.range((source, 0)..=(source, u64::MAX)).map(|(_, at)| *at);
        match of_source.min_by(f64::total_cmp) {
            Some(first) => self.expiry.with_label_values(&[source]).set(first),
            None => drop(self.expiry.remove_label_values(&[source])),
        }
    }
}
