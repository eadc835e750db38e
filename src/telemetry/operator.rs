//! Metrics of the operator: the leader, writes to the cluster, and the states of objects.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::register::register;
use crate::api::Kind;

/// Bounds of the publish time's buckets, in seconds; a change is to be served within one.
const PUBLISH_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The kinds that are written: their counters begin at 0, so that a first failure is an increase.
const WRITTEN: [&str; 11] = [
    Kind::GatewayClass.as_str(),
    Kind::Gateway.as_str(),
    Kind::GatewayParameters.as_str(),
    Kind::HttpRoute.as_str(),
    Kind::Backend.as_str(),
    Kind::TrafficPolicy.as_str(),
    Kind::BackendTlsPolicy.as_str(),
    Kind::Service.as_str(),
    Kind::EndpointSlice.as_str(),
    "Event",
    "Lease",
];

/// How one write to the cluster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is done.
    Written,
    /// The object has changed or was deleted meanwhile; it is read again first.
    Conflict,
    /// It was refused or got no reply; it is tried again.
    Failed,
}

impl WriteOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

/// The number of objects of one kind in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectStates {
    /// Nothing is wrong.
    pub ok: usize,
    /// A condition reports a problem.
    pub problem: usize,
    /// It could not be decoded.
    pub rejected: usize,
}

/// Metrics of the operator.
pub struct OperatorMetrics {
    leader: IntGaugeVec,
    refused: IntGaugeVec,
    writes: IntCounterVec,
    objects: IntGaugeVec,
    publish_seconds: Histogram,
}

impl OperatorMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            leader: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("tollgate_leader", "1 on the replica that holds the Lease and writes, else 0."),
                    // Without labels: a family that has no sample before this replica takes part in the election.
                    &[],
                ),
            )?,
            refused: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "tollgate_another_installation",
                        "1 while another installation with the same controller name writes in place of this one.",
                    ),
                    &[],
                ),
            )?,
            writes: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "tollgate_status_writes_total",
                        "Writes to the API server, by kind of the object and outcome: statuses, and whole objects of \
                            ours.",
                    ),
                    &["kind", "outcome"],
                ),
            )?,
            objects: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("tollgate_objects", "Objects whose status Tollgate writes, by kind and state."),
                    &["kind", "state"],
                ),
            )?,
            publish_seconds: register(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "tollgate_publish_seconds",
                        "From the moment that changed objects were read to the moment their snapshot is served.",
                    )
                    .buckets(PUBLISH_SECONDS.to_vec()),
                ),
            )?,
        })
    }

    /// This replica begins to write to a cluster. Without one, neither the leader nor writes have values.
    pub fn begin(&self) {
        self.set_leader(false);
        self.set_refused(false);
        for kind in WRITTEN.into_iter().chain(Kind::UNSERVED.map(Kind::as_str)) {
            for outcome in [WriteOutcome::Written, WriteOutcome::Conflict, WriteOutcome::Failed] {
                self.writes.with_label_values(&[kind, outcome.as_str()]);
            }
        }
    }

    /// Records whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.with_label_values::<&str>(&[]).set(i64::from(leads));
    }

    /// Records whether another installation writes in place of this one.
    pub fn set_refused(&self, refused: bool) {
        self.refused.with_label_values::<&str>(&[]).set(i64::from(refused));
    }

    /// Records one write of an object of `kind`.
    pub fn record_write(&self, kind: &str, outcome: WriteOutcome) {
        self.writes.with_label_values(&[kind, outcome.as_str()]).inc();
    }

    /// Records the states of the objects. A kind that is not named has no objects any more.
    pub fn objects(&self, kinds: impl IntoIterator<Item = (Kind, ObjectStates)>) {
        self.objects.reset();
        for (kind, states) in kinds {
            for (state, number) in [("ok", states.ok), ("problem", states.problem), ("rejected", states.rejected)] {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                self.objects.with_label_values(&[kind.as_str(), state]).set(number);
            }
        }
    }

    /// Records that a change is served, `took` after its objects were read.
    pub fn published(&self, took: Duration) {
        self.publish_seconds.observe(took.as_secs_f64());
    }
}
