//! Metrics of Backends with limits: the queue before them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::register::register;

/// Bounds of the histogram, in seconds: from a place that was nearly free to the longest waits that clients accept.
const BUCKETS: [f64; 12] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// The words of both labels, so that series can be removed.
const PRIORITIES: [&str; 2] = ["interactive", "batch"];
const CAUSES: [&str; 3] = ["queue_full", "displaced", "wait_limit"];

/// The queue of a Backend, read when metrics are.
pub trait LoadGauge: Send + Sync {
    /// How many requests wait.
    fn waiting(&self) -> usize;
}

/// The queues of Backends with limits.
pub struct LoadMetrics {
    waiting: IntGaugeVec,
    waited: HistogramVec,
    refused: IntCounterVec,
    backends: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    series: Arc<LoadSeries>,
    gauge: Weak<dyn LoadGauge>,
}

/// The series of one Backend.
#[derive(Debug)]
pub struct LoadSeries {
    backend: String,
    waited: HistogramVec,
    refused: IntCounterVec,
}

impl LoadMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let waited = HistogramOpts::new(
            "tollgate_backend_queue_seconds",
            "How long requests have waited that got room at a Backend from its queue.",
        );
        let options = |name: &str, help: &str| Opts::new(format!("tollgate_{name}"), help);
        Ok(Self {
            waiting: register(
                registry,
                IntGaugeVec::new(
                    options("backend_queue_length", "Requests that wait for room at a Backend."),
                    &["backend"],
                ),
            )?,
            waited: register(registry, HistogramVec::new(waited.buckets(BUCKETS.to_vec()), &["backend", "priority"]))?,
            refused: register(
                registry,
                IntCounterVec::new(
                    options("backend_refused_total", "Requests that got no room at a Backend, by cause."),
                    &["backend", "cause"],
                ),
            )?,
            backends: Mutex::default(),
        })
    }

    /// The series of a Backend, the same for the same name. Its queue is read from `gauge` until that is gone. For
    /// compile, not for requests.
    pub fn backend(&self, backend: &str, gauge: &Weak<dyn LoadGauge>) -> Arc<LoadSeries> {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = backends.entry(backend.to_owned()).or_insert_with_key(|backend| {
            let (waited, refused) = (self.waited.clone(), self.refused.clone());
            let series = LoadSeries { backend: backend.clone(), waited, refused };
            Entry { series: Arc::new(series), gauge: Weak::clone(gauge) }
        });
        entry.gauge = Weak::clone(gauge);
        Arc::clone(&entry.series)
    }

    /// Reads the queues of all Backends.
    pub(super) fn refresh(&self) {
        let backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        for (backend, entry) in &*backends {
            let Some(gauge) = entry.gauge.upgrade() else { continue };
            let waiting = i64::try_from(gauge.waiting()).unwrap_or(i64::MAX);
            self.waiting.with_label_values(&[backend]).set(waiting);
        }
    }

    /// Removes the series of Backends that are gone, or have no limit any more and no request that waits.
    pub(super) fn prune(&self) {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        for (backend, _) in backends.extract_if(|_, entry| entry.gauge.strong_count() == 0) {
            let _ = self.waiting.remove_label_values(&[&backend]);
            for priority in PRIORITIES {
                let _ = self.waited.remove_label_values(&[backend.as_str(), priority]);
            }
            for cause in CAUSES {
                let _ = self.refused.remove_label_values(&[backend.as_str(), cause]);
            }
        }
    }
}

impl LoadSeries {
    /// A request got room after it has waited so long.
    pub fn waited(&self, priority: &'static str, time: Duration) {
        self.waited.with_label_values(&[self.backend.as_str(), priority]).observe(time.as_secs_f64());
    }

    /// A request got no room.
    pub fn refused(&self, cause: &'static str) {
        self.refused.with_label_values(&[self.backend.as_str(), cause]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Queue;

    impl LoadGauge for Queue {
        fn waiting(&self) -> usize {
            3
        }
    }

    #[test]
    fn series_live_as_long_as_their_backend() {
        let registry = Registry::new();
        let metrics = LoadMetrics::register(&registry).unwrap();
        let queue: Arc<dyn LoadGauge> = Arc::new(Queue);
        let series = metrics.backend("b", &Arc::downgrade(&queue));
        for priority in PRIORITIES {
            series.waited(priority, Duration::from_millis(20));
        }
        for cause in CAUSES {
            series.refused(cause);
        }
        assert!(Arc::ptr_eq(&series, &metrics.backend("b", &Arc::downgrade(&queue))), "a recompile counts on");
        metrics.refresh();
        assert_eq!(metrics.waiting.with_label_values(&["b"]).get(), 3);
        let count = || {
            let families = registry.gather();
            families.iter().map(|family| family.get_metric().len()).sum::<usize>()
        };
        assert_eq!(count(), 1 + 2 + 3);
        drop(queue);
        metrics.prune();
        assert_eq!(count(), 0);
    }
}
