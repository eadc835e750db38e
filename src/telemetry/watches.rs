//! Metrics of the watches on the API server.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

use super::register::register;
use crate::api::Kind;

/// Metrics of watches: their events and failures.
pub struct WatchMetrics {
    events: IntCounterVec,
    errors: IntCounterVec,
    last_event: GaugeVec,
}

impl WatchMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str| Opts::new(format!("tollgate_watch_{name}"), help);
        Ok(Self {
            events: register(
                registry,
                IntCounterVec::new(
                    options("events_total", "Objects that the API server has sent, by kind, those of lists included."),
                    &["kind"],
                ),
            )?,
            errors: register(
                registry,
                IntCounterVec::new(
                    options("errors_total", "Lists and watches that failed, by kind."),
                    &["kind", "error"],
                ),
            )?,
            last_event: register(
                registry,
                GaugeVec::new(
                    options(
                        "last_event_timestamp_seconds",
                        "When the API server last sent an object of the kind or ended a list of it, in seconds since \
                            1970.",
                    ),
                    &["kind"],
                ),
            )?,
        })
    }

    /// Records that the API server has sent an object of `kind` at `now` (`of_object`), or the end of a list.
    pub fn record_event(&self, kind: Kind, of_object: bool, now: SystemTime) {
        if of_object {
            self.events.with_label_values(&[kind.as_str()]).inc();
        }
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.last_event.with_label_values(&[kind.as_str()]).set(seconds);
    }

    /// A list or watch of `kind` failed. `error` is one of a few labels.
    pub fn failed(&self, kind: Kind, error: &'static str) {
        self.errors.with_label_values(&[kind.as_str(), error]).inc();
    }
}
