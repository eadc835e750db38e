//! Registering, for every area of metrics.

use prometheus::{Registry, core::Collector};

/// Registers a metric and returns it: metrics are cheap to clone and share their values.
pub(super) fn register<T: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<T, prometheus::Error>,
) -> Result<T, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
