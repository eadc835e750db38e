//! All metrics of the process, and their text form.

use prometheus::{IntCounter, IntGaugeVec, Opts, Registry, TextEncoder};

use super::{
    config::ConfigMetrics, credentials::CredentialMetrics, guards::GuardMetrics, load::LoadMetrics,
    operator::OperatorMetrics, register::register, requests::RequestMetrics, targets::TargetMetrics,
    tokens::TokenMetrics, watches::WatchMetrics,
};

/// All metrics of the process. One instance lives as long as the process: snapshots come and go, counters stay.
pub struct Metrics {
    /// Where everything is registered.
    pub registry: Registry,
    /// Requests and connections.
    pub requests: RequestMetrics,
    /// Attempts at targets, and their health.
    pub targets: TargetMetrics,
    /// Queues before Backends with limits.
    pub load: LoadMetrics,
    /// Tokens and the times of LLM calls.
    pub tokens: TokenMetrics,
    /// The configuration that is served.
    pub config: ConfigMetrics,
    /// Credentials that are fetched.
    pub credentials: CredentialMetrics,
    /// Guards of content.
    pub guards: GuardMetrics,
    /// The operator.
    pub operator: OperatorMetrics,
    /// Watches on the API server.
    pub watches: WatchMetrics,
    /// Log lines that were dropped because standard output was not read fast enough.
    pub log_lines_dropped: IntCounter,
    /// Panics of this program.
    pub panics: IntCounter,
}

impl Metrics {
    /// All metrics, registered.
    ///
    /// # Errors
    ///
    /// When two metrics have one name, which is a mistake of this program.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = RequestMetrics::register(&registry)?;
        let targets = TargetMetrics::register(&registry)?;
        let load = LoadMetrics::register(&registry)?;
        let tokens = TokenMetrics::register(&registry)?;
        let config = ConfigMetrics::register(&registry)?;
        let credentials = CredentialMetrics::register(&registry)?;
        let guards = GuardMetrics::register(&registry)?;
        let operator = OperatorMetrics::register(&registry)?;
        let watches = WatchMetrics::register(&registry)?;
        let log_lines_dropped = register(
            &registry,
            IntCounter::new(
                "tollgate_log_lines_dropped_total",
                "Log lines dropped because standard output was not read fast enough or is closed.",
            ),
        )?;
        let panics = register(
            &registry,
            IntCounter::new(
                "tollgate_panics_total",
                "Panics, each a mistake of Tollgate that ended what it was doing.",
            ),
        )?;
        let build = register(
            &registry,
            IntGaugeVec::new(
                Opts::new("tollgate_build_info", "Always 1; the labels identify the build."),
                &["version"],
            ),
        )?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            registry,
            requests,
            targets,
            load,
            tokens,
            config,
            credentials,
            guards,
            operator,
            watches,
            log_lines_dropped,
            panics,
        })
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    ///
    /// When a metric family can't be written, which is a mistake of this program.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        self.targets.refresh();
        self.load.refresh();
        let families = self.registry.gather();
        // What has ended since the last time is shown once more, with its last values.
        self.prune();
        TextEncoder::new().encode_to_string(&families)
    }

    /// Removes the series of objects that are gone: no snapshot has them, and no request that is under way.
    pub fn prune(&self) {
        self.requests.prune();
        self.targets.prune();
        self.load.prune();
        self.tokens.prune();
    }
}

#[cfg(test)]
mod tests;
