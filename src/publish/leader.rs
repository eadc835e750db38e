//! Who writes: the replica that holds a Lease.
//!
//! The algorithm is that of Kubernetes' own components. A candidate takes the Lease when the record in it has not changed
//! for as long as the record says it holds, **by the candidate's own clock**: times in the record are for people, so clocks
//! that differ between nodes do no harm. Every write is guarded by the version that was read, so that of two candidates one
//! wins. A leader that could not renew for [`Timing::deadline`], which is shorter than the Lease holds, stops to write.

use std::{sync::Arc, time::Duration};

use ::kube::{Api, Client, Error, api::PostParams};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::ObjectKey,
    source::kube::words,
    telemetry::{Metrics, operator::WriteOutcome},
};

/// The times of an election.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// How long a record holds after it was last seen to change.
    pub holds: Duration,
    /// How long a leader goes on without having renewed. Shorter than `holds`, so that it has stopped before another begins.
    pub deadline: Duration,
    /// Pause between two looks, or two renewals.
    pub retry: Duration,
    /// How long one request may take.
    pub request: Duration,
}

/// Somewhat shorter than what Kubernetes' own components use: with two seconds to see a renewal and two to look again,
/// another leads at most 15 seconds after a leader has vanished.
pub(super) const TIMING: Timing = Timing {
    holds: Duration::from_secs(11),
    deadline: Duration::from_secs(8),
    retry: Duration::from_secs(2),
    request: Duration::from_secs(5),
};

/// What to do with the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none.
    Create,
    /// It is free, or its holder has let it expire.
    Take,
    /// It is ours.
    Renew,
    /// Another holds it.
    Wait,
}

/// What one candidate knows. No IO: times are told to it.
pub(super) struct Candidate {
    identity: String,
    timing: Timing,
    /// The Lease as it was last seen, and when its record was first seen to be this.
    seen: Option<(Lease, Instant)>,
    /// When the last renewal that succeeded was begun; `None` while another leads.
    renewed: Option<Instant>,
}

impl Candidate {
    pub(super) const fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None, renewed: None }
    }

    /// The API server has shown the Lease, or that there is none.
    pub(super) fn see(&mut self, lease: Option<Lease>, now: Instant) {
        self.seen = lease.map(|lease| {
            let since = self.seen.as_ref().filter(|(old, _)| old.spec == lease.spec).map_or(now, |(_, since)| *since);
            (lease, since)
        });
        if !self.holds_record() {
            self.renewed = None;
        }
    }

    /// What was written is in the Lease now. `begun` is when the request was sent.
    pub(super) fn wrote(&mut self, lease: Lease, begun: Instant) {
        self.seen = Some((lease, begun));
        self.renewed = Some(begun);
    }

    /// Until when we lead if nothing is renewed; `None` when we don't lead, or no more.
    pub(super) fn leads_until(&self, now: Instant) -> Option<Instant> {
        self.renewed.map(|at| at + self.timing.deadline).filter(|until| now < *until)
    }

    /// Whether we lead. From the deadline on we don't, until a renewal succeeds.
    pub(super) fn leads(&self, now: Instant) -> bool {
        self.leads_until(now).is_some()
    }

    pub(super) fn step(&self, now: Instant) -> Step {
        let Some((lease, since)) = &self.seen else { return Step::Create };
        if self.holds_record() {
            return Step::Renew;
        }
        let spec = lease.spec.as_ref();
        let free = holder(lease).is_empty();
        let holds = spec.and_then(|s| s.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
        let expires = *since + holds.map_or(self.timing.holds, Duration::from_secs);
        if free || now >= expires { Step::Take } else { Step::Wait }
    }

    /// The Lease to write for `step`, with the version that was seen.
    pub(super) fn lease(&self, key: &ObjectKey, step: Step, now: Timestamp) -> Lease {
        let mut lease = self.seen.as_ref().map(|(lease, _)| lease.clone()).unwrap_or_default();
        lease.metadata.name = Some(key.name.clone());
        lease.metadata.namespace = Some(key.namespace.clone());
        lease.metadata.managed_fields = None;
        let old = lease.spec.take().unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or(0);
        let (acquire_time, lease_transitions) = match step {
            Step::Renew | Step::Wait => (old.acquire_time, old.lease_transitions),
            Step::Create => (Some(MicroTime(now)), Some(0)),
            Step::Take => (Some(MicroTime(now)), Some(transitions.saturating_add(1))),
        };
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            // Whole seconds; tests have shorter ones, and a Lease must hold for something.
            lease_duration_seconds: Some(i32::try_from(self.timing.holds.as_secs()).unwrap_or(i32::MAX).max(1)),
            acquire_time,
            renew_time: Some(MicroTime(now)),
            lease_transitions,
            ..LeaseSpec::default()
        });
        lease
    }

    /// The Lease to write when we stop, so that another takes it at once; `None` when it isn't ours.
    pub(super) fn release(&self, key: &ObjectKey, now: Timestamp) -> Option<Lease> {
        self.holds_record().then(|| {
            let mut lease = self.lease(key, Step::Renew, now);
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
            lease
        })
    }

    fn holds_record(&self) -> bool {
        self.seen.as_ref().is_some_and(|(lease, _)| holder(lease) == self.identity)
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// The loop around a [`Candidate`].
pub(super) struct Election {
    api: Api<Lease>,
    key: ObjectKey,
    candidate: Candidate,
    metrics: Arc<Metrics>,
    /// Whether the Lease has to be read before it is written.
    stale: bool,
    /// The trouble that was logged last.
    told: Option<String>,
}

impl Election {
    pub(super) fn new(client: Client, key: ObjectKey, identity: String, timing: Timing, metrics: Arc<Metrics>) -> Self {
        let api = Api::namespaced(client, &key.namespace);
        Self { api, key, candidate: Candidate::new(identity, timing), metrics, stale: true, told: None }
    }

    /// Tries to lead and tells `leads` whether we do, until `stop`; then lets go of the Lease.
    pub(super) async fn run(mut self, leads: &watch::Sender<bool>, stop: CancellationToken) {
        loop {
            let begun = Instant::now();
            let until = self.candidate.leads_until(begun);
            let limit = begun + self.candidate.timing.request;
            // A request that hangs must not make us believe that we lead.
            let limit = until.map_or(limit, |until| limit.min(until));
            let outcome = tokio::select! {
                () = stop.cancelled() => {
                    // What was under way may have been done.
                    self.stale = true;
                    break;
                }
                outcome = timeout_at(limit, self.attempt()) => outcome,
            };
            match outcome {
                Ok(Ok(())) => self.works(),
                Ok(Err(error)) => self.fails(&error),
                Err(_) => {
                    self.metrics.operator.wrote("Lease", WriteOutcome::Failed);
                    self.stale = true;
                    self.tell("the API server does not answer".to_owned());
                }
            }
            self.announce(leads);
            let next = begun + self.candidate.timing.retry;
            let next = self.candidate.leads_until(Instant::now()).map_or(next, |until| next.min(until));
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {}
            }
            self.announce(leads);
        }
        leads.send_replace(false);
        self.metrics.operator.leads(false);
        self.release().await;
    }

    /// One look, and one write when it is ours to make. A Lease that has changed under us is looked at once more, because
    /// then another may lead already.
    async fn attempt(&mut self) -> Result<(), Error> {
        for _ in 0..2 {
            if self.stale || !self.candidate.leads(Instant::now()) {
                let lease = self.api.get_opt(&self.key.name).await?;
                self.candidate.see(lease, Instant::now());
                self.stale = false;
            }
            let begun = Instant::now();
            let step = self.candidate.step(begun);
            let lease = self.candidate.lease(&self.key, step, Timestamp::now());
            let written = match step {
                Step::Wait => return Ok(()),
                Step::Create => self.api.create(&PostParams::default(), &lease).await,
                Step::Take | Step::Renew => self.api.replace(&self.key.name, &PostParams::default(), &lease).await,
            };
            match written {
                Ok(lease) => {
                    self.metrics.operator.wrote("Lease", WriteOutcome::Written);
                    self.candidate.wrote(lease, begun);
                    return Ok(());
                }
                Err(Error::Api(status)) if status.code == 409 || status.code == 404 && step != Step::Create => {
                    self.metrics.operator.wrote("Lease", WriteOutcome::Conflict);
                    self.stale = true;
                }
                Err(error) => {
                    self.metrics.operator.wrote("Lease", WriteOutcome::Failed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn announce(&self, leads: &watch::Sender<bool>) {
        let now_leads = self.candidate.leads(Instant::now());
        if leads.send_if_modified(|leads| std::mem::replace(leads, now_leads) != now_leads) {
            self.metrics.operator.leads(now_leads);
            let lease = self.key.to_string();
            if now_leads {
                tracing::info!(lease, identity = self.candidate.identity, "leading: this replica writes status");
            } else {
                tracing::warn!(lease, identity = self.candidate.identity, "no longer leading: traffic goes on");
            }
        }
    }

    fn works(&mut self) {
        if self.told.take().is_some() {
            tracing::info!(lease = self.key.to_string(), "the Lease is kept again");
        }
    }

    fn fails(&mut self, error: &Error) {
        self.stale = true;
        self.tell(words(error));
    }

    fn tell(&mut self, error: String) {
        if self.told.as_ref() != Some(&error) {
            tracing::warn!(
                lease = self.key.to_string(),
                error,
                "the Lease can't be kept, so this replica does not write status; traffic goes on (RBAC: allow get, create \
                 and update on leases.coordination.k8s.io)"
            );
            self.told = Some(error);
        }
    }

    async fn release(&mut self) {
        let limit = Instant::now() + self.candidate.timing.request;
        match timeout_at(limit, self.let_go()).await {
            Ok(Ok(true)) => tracing::info!(lease = self.key.to_string(), "the Lease is free for another replica"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(lease = self.key.to_string(), error = words(&error), "release the Lease"),
            Err(_) => tracing::warn!(lease = self.key.to_string(), "release the Lease: the API server does not answer"),
        }
    }

    /// Empties the Lease if it is ours; whether it was. One that has changed under us, by a renewal that was broken off, is
    /// looked at once more.
    async fn let_go(&mut self) -> Result<bool, Error> {
        loop {
            let looked = self.stale;
            if looked {
                let lease = self.api.get_opt(&self.key.name).await?;
                self.candidate.see(lease, Instant::now());
            }
            let Some(lease) = self.candidate.release(&self.key, Timestamp::now()) else { return Ok(false) };
            match self.api.replace(&self.key.name, &PostParams::default(), &lease).await {
                Err(Error::Api(status)) if status.code == 409 && !looked => self.stale = true,
                written => return written.map(|_| true),
            }
        }
    }
}
