//! Metrics of the configuration: its generation, its age, and rejected documents.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, Histogram, HistogramOpts, IntGauge, IntGaugeVec, Opts, Registry};

use super::register::register;
use crate::api::Kind;

/// Bounds of the compile time's buckets, in seconds; the budget for 5,000 routes is 0.05.
const COMPILE_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Metrics of the configuration.
pub struct ConfigMetrics {
    generation: IntGauge,
    objects: IntGaugeVec,
    rejected: IntGaugeVec,
    compile_seconds: Histogram,
    last_change: Gauge,
}

impl ConfigMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            generation: register(
                registry,
                IntGauge::new("tollgate_config_generation", "Number of the snapshot that is served, from 1."),
            )?,
            objects: register(
                registry,
                IntGaugeVec::new(Opts::new("tollgate_config_objects", "Objects read, by kind."), &["kind"]),
            )?,
            rejected: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "tollgate_config_rejected_objects",
                        "Documents that could not become objects, by kind; `unknown` when the kind can't be read.",
                    ),
                    &["kind"],
                ),
            )?,
            compile_seconds: register(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new("tollgate_config_compile_seconds", "Time to compile all objects to a snapshot.")
                        .buckets(COMPILE_SECONDS.to_vec()),
                ),
            )?,
            last_change: register(
                registry,
                Gauge::new(
                    "tollgate_config_last_change_timestamp_seconds",
                    "When the snapshot that is served was published, in seconds since 1970.",
                ),
            )?,
        })
    }

    /// Records that snapshot `generation` was published at `now` and took `compile` to make.
    ///
    /// `objects` are the numbers of objects by kind; a kind that is not named keeps its number. `rejected` is the kind
    /// of each document that could not be decoded to an object.
    pub fn published(
        &self,
        generation: u64,
        objects: impl IntoIterator<Item = (Kind, usize)>,
        rejected: impl IntoIterator<Item = Option<Kind>>,
        compile: Duration,
        now: SystemTime,
    ) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        for (kind, number) in objects {
            self.objects.with_label_values(&[kind.as_str()]).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        self.rejected.reset();
        for kind in rejected {
            self.rejected.with_label_values(&[kind.map_or("unknown", Kind::as_str)]).inc();
        }
        self.compile_seconds.observe(compile.as_secs_f64());
        self.last_change.set(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }
}
