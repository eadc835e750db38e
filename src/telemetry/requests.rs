//! Metrics of requests and connections.
//!
//! A request looks up no metric by string: it holds a [`RouteMetrics`], made once for a gateway, route and backend,
//! which has its counters resolved.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::register::register;

/// Bounds of the duration's buckets, in seconds: from an error of the gateway itself to a long stream.
const DURATION_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0];

/// Requests and connections.
pub struct RequestMetrics {
    requests: IntCounterVec,
    in_flight: IntGaugeVec,
    duration: HistogramVec,
    connections: IntGaugeVec,
    connections_rejected: IntCounterVec,
    /// Handles by labels. A new snapshot gets the existing ones, so each is resolved once.
    routes: Mutex<HashMap<[String; 3], Arc<RouteMetrics>>>,
    listeners: Mutex<HashMap<String, Arc<IntGauge>>>,
}

impl RequestMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: register(
                registry,
                IntCounterVec::new(
                    Opts::new("tollgate_requests_total", "Requests that have ended, also those cancelled or failed."),
                    &["gateway", "route", "backend", "status", "error"],
                ),
            )?,
            in_flight: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("tollgate_requests_in_flight", "Requests whose reply has not ended."),
                    &["gateway"],
                ),
            )?,
            duration: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "tollgate_request_duration_seconds",
                        "Time from a request's head to the end of its reply.",
                    )
                    .buckets(DURATION_SECONDS.to_vec()),
                    &["gateway", "route"],
                ),
            )?,
            connections: register(
                registry,
                IntGaugeVec::new(Opts::new("tollgate_connections", "Open client connections."), &["listener"]),
            )?,
            connections_rejected: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "tollgate_connections_rejected_total",
                        "Client connections closed before their first request.",
                    ),
                    &["reason"],
                ),
            )?,
            routes: Mutex::default(),
            listeners: Mutex::default(),
        })
    }

    /// The handle for a gateway, route and backend; each is empty where there is none. The same names give the same
    /// handle. Takes a lock: for compile, not for requests.
    pub fn route(&self, gateway: &str, route: &str, backend: &str) -> Arc<RouteMetrics> {
        let names = [gateway, route, backend].map(str::to_owned);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(names).or_insert_with_key(|[gateway, route, backend]| {
            let ok = self.requests.with_label_values(&[gateway, route, backend, "200", ""]);
            Arc::new(RouteMetrics {
                requests: self.requests.clone(),
                duration: self.duration.with_label_values(&[gateway, route]),
                in_flight: self.in_flight.with_label_values(&[gateway]),
                others: ArcSwap::default(),
                names: [gateway, route, backend].map(String::clone),
                ok,
            })
        }))
    }

    /// The gauge of open connections of `listener`. For when a listener is bound.
    pub fn connections(&self, listener: &str) -> Arc<IntGauge> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(self.connections.with_label_values(&[listener]));
        Arc::clone(listeners.entry(listener.to_owned()).or_insert_with(make))
    }

    /// Removes the series of routes and listeners whose handles are no longer held: no snapshot has them, and no
    /// request or connection of an older one is open. Were they made again, they would begin at 0.
    pub(super) fn prune(&self) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for (listener, _) in listeners.extract_if(|_, handle| Arc::strong_count(handle) == 1) {
            let _ = self.connections.remove_label_values(&[&listener]);
        }
        drop(listeners);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = routes.extract_if(|_, handle| Arc::strong_count(handle) == 1).collect();
        if gone.is_empty() {
            return;
        }
        // Backends of a route share its time, and routes of a gateway its requests in flight.
        let kept: HashSet<(&str, &str)> = routes.keys().map(|[gateway, route, _]| (&**gateway, &**route)).collect();
        let gateways: HashSet<&str> = kept.iter().map(|(gateway, _)| *gateway).collect();
        for ([gateway, route, backend], handle) in &gone {
            let others = handle.others.load();
            for (status, error) in others.iter().map(|(outcome, _)| *outcome).chain([(200, "")]) {
                let status = status.to_string();
                let _ = self.requests.remove_label_values(&[gateway, route, backend, status.as_str(), error]);
            }
            if !kept.contains(&(gateway, route)) {
                let _ = self.duration.remove_label_values(&[gateway, route]);
            }
            if !gateways.contains(&**gateway) {
                let _ = self.in_flight.remove_label_values(&[gateway]);
            }
        }
    }

    /// The counter of connections closed for `reason`, a label. It is made when a listener is bound.
    pub fn connections_rejected(&self, reason: &'static str) -> IntCounter {
        self.connections_rejected.with_label_values(&[reason])
    }
}

/// Resolved metrics of one gateway, route and backend.
pub struct RouteMetrics {
    /// Status 200 without an error: nearly every request.
    ok: IntCounter,
    /// Sorted, and replaced as a whole when a new pair is seen: read without a lock.
    others: ArcSwap<Vec<(Outcome, IntCounter)>>,
    duration: Histogram,
    in_flight: IntGauge,
    requests: IntCounterVec,
    names: [String; 3],
}

/// Status and error reason.
type Outcome = (u16, &'static str);

impl RouteMetrics {
    /// Records a request that has ended with `status` (outside of 100 to 599 it counts as 0) and `error`, the error's
    /// code or empty.
    pub fn record(&self, status: u16, error: &'static str, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
        if status == 200 && error.is_empty() {
            self.ok.inc();
            return;
        }
        // Upstreams choose the status; this bounds the number of label values.
        let outcome = (if (100..600).contains(&status) { status } else { 0 }, error);
        let others = self.others.load();
        if let Ok(at) = others.binary_search_by_key(&outcome, |(outcome, _)| *outcome)
            && let Some((_, counter)) = others.get(at)
        {
            counter.inc();
        } else {
            self.resolve(outcome).inc();
        }
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    fn resolve(&self, outcome: Outcome) -> IntCounter {
        let [gateway, route, backend] = &self.names;
        let status = outcome.0.to_string();
        let counter = self.requests.with_label_values(&[gateway, route, backend, status.as_str(), outcome.1]);
        self.others.rcu(|others| {
            let mut others = Vec::clone(others);
            if let Err(at) = others.binary_search_by_key(&outcome, |(outcome, _)| *outcome) {
                others.insert(at, (outcome, counter.clone()));
            }
            others
        });
        counter
    }
}

/// One request in flight.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> (Registry, RequestMetrics) {
        let registry = Registry::new();
        let metrics = RequestMetrics::register(&registry).unwrap();
        (registry, metrics)
    }

    fn count(metrics: &RequestMetrics, status: &str, error: &str) -> u64 {
        metrics.requests.with_label_values(&["g", "r", "b", status, error]).get()
    }

    #[test]
    fn outcomes_are_counted_each_in_its_series() {
        let (_, metrics) = metrics();
        let route = metrics.route("g", "r", "b");
        let cases: [(u16, &'static str, &str); 7] = [
            (200, "", "200"),
            (200, "client_gone", "200"),
            (503, "no_key", "503"),
            (404, "", "404"),
            (99, "", "0"),
            (999, "", "0"),
            (200, "", "200"),
        ];
        for (status, error, _) in cases {
            route.record(status, error, Duration::from_millis(20));
            route.record(status, error, Duration::from_millis(20));
        }
        for (_, error, label) in cases {
            let expect = 2 * cases.iter().filter(|c| (c.1, c.2) == (error, label)).count() as u64;
            assert_eq!(count(&metrics, label, error), expect, "{label} {error}");
        }
        assert_eq!(metrics.duration.with_label_values(&["g", "r"]).get_sample_count(), 14);
        assert_eq!(route.others.load().len(), 4);
    }

    #[test]
    fn threads_lose_no_count() {
        let (_, metrics) = metrics();
        let route = metrics.route("g", "r", "b");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (400..500).for_each(|status| route.record(status, "", Duration::ZERO)));
            }
        });
        assert!((400..500).all(|status: u16| count(&metrics, &status.to_string(), "") == 4));
        assert_eq!(route.others.load().len(), 100);
    }

    #[test]
    fn a_new_snapshot_counts_on() {
        let (_, metrics) = metrics();
        metrics.route("g", "r", "b").record(200, "", Duration::ZERO);
        let again = metrics.route("g", "r", "b");
        again.record(200, "", Duration::ZERO);
        assert!(Arc::ptr_eq(&again, &metrics.route("g", "r", "b")));
        assert_eq!(count(&metrics, "200", ""), 2);
    }

    #[test]
    fn series_end_with_the_last_who_counts_in_them() {
        let (registry, metrics) = metrics();
        let of = |label: &str| {
            let families = registry.gather();
            let series = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
            series.filter(|series| series.get_label().iter().any(|pair| pair.value() == label)).count()
        };
        let (one, two) = (metrics.route("g", "r", "one"), metrics.route("g", "r", "two"));
        let other = metrics.route("h", "r", "one");
        for route in [&one, &two, &other] {
            route.record(200, "", Duration::ZERO);
            route.record(503, "no_endpoints", Duration::ZERO);
        }
        // A request of the old snapshot, which holds its handle.
        let request = (one.begin(), Arc::clone(&one));
        drop((one, other));
        metrics.prune();
        assert_eq!((of("h"), of("one"), of("g")), (0, 2, 6), "only what is not held has gone");
        request.1.record(499, "client_closed", Duration::ZERO);
        drop(request);
        metrics.prune();
        assert_eq!((of("one"), of("two"), of("r")), (0, 2, 3), "two outcomes, and the route's time");
        drop(two);
        metrics.prune();
        assert_eq!(of("g"), 0);
        assert_eq!(count(&metrics, "200", ""), 0);
        let port = metrics.connections("8080");
        port.inc();
        metrics.prune();
        assert_eq!(of("8080"), 1);
        drop(port);
        metrics.prune();
        assert_eq!(of("8080"), 0);
    }

    #[test]
    fn requests_are_in_flight_until_dropped() {
        let (_, metrics) = metrics();
        let gauge = metrics.in_flight.with_label_values(&["g"]);
        let first = metrics.route("g", "r", "b").begin();
        let second = metrics.route("g", "other", "b").begin();
        assert_eq!(gauge.get(), 2);
        drop((first, second));
        assert_eq!(gauge.get(), 0);
    }
}
