//! Metrics of guards of content.

use prometheus::{IntCounterVec, Opts, Registry};

use super::register::register;

/// Metrics of guards.
pub struct GuardMetrics {
    matches: IntCounterVec,
}

impl GuardMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            matches: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "tollgate_guard_matches_total",
                        "Matches of guards of content, by rule and kind of text.",
                    ),
                    &["direction", "rule", "action", "kind"],
                ),
            )?,
        })
    }

    /// Counts `count` matches of `rule`. Rules have the names that policies give them, so there are as many as are
    /// written.
    pub fn matched(&self, direction: &str, rule: &str, action: &str, kind: &str, count: u64) {
        self.matches.with_label_values(&[direction, rule, action, kind]).inc_by(count);
    }
}
