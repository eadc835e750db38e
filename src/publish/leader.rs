//! Leader election: the replica that holds the Lease writes to the cluster.
//!
//! The algorithm is that of client-go's `leaderelection`. A candidate takes the Lease when the record in it has not
//! changed for the record's lease duration, **by the candidate's own clock**. The times in the record are for people,
//! so clocks that differ between nodes do no harm. Every write carries the resource version that was read, so that one
//! of two candidates wins. A leader that could not renew for [`ElectionTiming::renew_deadline`] stops writing. The
//! renew deadline is shorter than the lease duration, so that the old leader has stopped before a new one begins.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ::kube::{Api, Client, Error, api::PostParams};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
    jiff::Timestamp,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Published, Replica,
    rivals::{Rival, Search, holder},
};
use crate::{
    api::ObjectKey,
    source::kube::error_summary,
    telemetry::{Metrics, operator::WriteOutcome},
};

/// The times of an election.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElectionTiming {
    /// How long a record is valid after it was last seen to change.
    pub lease_duration: Duration,
    /// How long a leader continues without having renewed. It is shorter than `lease_duration`, so that the leader has
    /// stopped before another begins.
    pub renew_deadline: Duration,
    /// Pause between two reads, or two renewals.
    pub retry_period: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
}

/// The times that Tollgate uses. They are somewhat shorter than those of Kubernetes' own components: with two seconds
/// to notice a renewal and two to read again, another replica leads at most 15 seconds after a leader has vanished.
pub(super) const ELECTION_TIMING: ElectionTiming = ElectionTiming {
    lease_duration: Duration::from_secs(11),
    renew_deadline: Duration::from_secs(8),
    retry_period: Duration::from_secs(2),
    request_timeout: Duration::from_secs(5),
};

/// The next step with the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The Lease does not exist.
    Create,
    /// The Lease is free, its holder has let it expire, or its holder's pod is gone.
    Take,
    /// This replica holds the Lease.
    Renew,
    /// Another replica holds the Lease.
    Wait,
}

/// The state of one candidate. It does no IO, and the current time is passed in.
pub(super) struct LeaderElector {
    identity: String,
    timing: ElectionTiming,
    /// The Lease as it was last seen, and when its record was first seen to be this.
    seen: Option<(Lease, Instant)>,
    /// When the last renewal that succeeded was begun; `None` while another leads.
    renewed: Option<Instant>,
    /// The pods of this installation, as Kubernetes lists them, and as it listed them before.
    pods: Pods,
}

/// The pods that Kubernetes has listed for Tollgate's own Service.
#[derive(Default)]
struct Pods {
    now: BTreeSet<String>,
    /// Those that were listed once. A leader that has just started may lead before it is listed.
    ever: BTreeSet<String>,
}

impl LeaderElector {
    pub(super) fn new(identity: String, timing: ElectionTiming) -> Self {
        Self { identity, timing, seen: None, renewed: None, pods: Pods::default() }
    }

    /// Takes in the pods that Kubernetes lists now, whether they are ready or not.
    pub(super) fn observe_pods<'a>(&mut self, pods: impl Iterator<Item = &'a str>) {
        self.pods.now = pods.map(str::to_owned).collect();
        self.pods.ever.extend(self.pods.now.iter().cloned());
    }

    /// Whether the pod that holds the Lease was deleted. If the pod lives on, on a node that is cut off, its next
    /// renewal fails, because the Lease has another version.
    pub(super) fn holder_is_gone(&self) -> bool {
        let holder = self.seen.as_ref().map_or("", |(lease, _)| holder(lease));
        // Without any pod the list itself is missing: this replica is a pod too.
        !self.pods.now.is_empty() && self.pods.ever.contains(holder) && !self.pods.now.contains(holder)
    }

    /// Takes in the Lease as the API server returned it; `None` when there is none.
    pub(super) fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        self.seen = lease.map(|lease| {
            let since = self.seen.as_ref().filter(|(old, _)| old.spec == lease.spec).map_or(now, |(_, since)| *since);
            (lease, since)
        });
        if !self.holds_record() {
            self.renewed = None;
        }
    }

    /// Takes in the Lease that was written. `begun` is when the request was sent.
    pub(super) fn record_written(&mut self, lease: Lease, begun: Instant) {
        self.seen = Some((lease, begun));
        self.renewed = Some(begun);
    }

    /// The time until which this replica leads without another renewal; `None` when it does not lead.
    pub(super) fn leads_until(&self, now: Instant) -> Option<Instant> {
        self.renewed.map(|at| at + self.timing.renew_deadline).filter(|until| now < *until)
    }

    /// Whether this replica leads. It no longer does from the renew deadline on, until a renewal succeeds.
    pub(super) fn is_leader(&self, now: Instant) -> bool {
        self.leads_until(now).is_some()
    }

    /// The next step of the election.
    pub(super) fn step(&self, now: Instant) -> Step {
        let Some((lease, since)) = &self.seen else { return Step::Create };
        if self.holds_record() {
            return Step::Renew;
        }
        let spec = lease.spec.as_ref();
        let free = holder(lease).is_empty();
        let duration = spec.and_then(|s| s.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
        let expires = *since + duration.map_or(self.timing.lease_duration, Duration::from_secs);
        if free || now >= expires || self.holder_is_gone() { Step::Take } else { Step::Wait }
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
            // The API accepts whole seconds, at least one. Tests use shorter durations.
            lease_duration_seconds: Some(
                i32::try_from(self.timing.lease_duration.as_secs()).unwrap_or(i32::MAX).max(1),
            ),
            acquire_time,
            renew_time: Some(MicroTime(now)),
            lease_transitions,
            ..LeaseSpec::default()
        });
        lease
    }

    /// The Lease to write when this replica stops, so that another takes it at once; `None` when another holds it.
    pub(super) fn released_lease(&self, key: &ObjectKey, now: Timestamp) -> Option<Lease> {
        self.holds_record().then(|| {
            let mut lease = self.lease(key, Step::Renew, now);
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
            lease
        })
    }

    /// When the Lease was created, by the API server's clock.
    pub(super) fn created(&self) -> Option<&Time> {
        self.seen.as_ref().and_then(|(lease, _)| lease.metadata.creation_timestamp.as_ref())
    }

    /// Does not lead any more, although this replica holds the Lease.
    pub(super) fn resign(&mut self) {
        self.renewed = None;
    }

    fn holds_record(&self) -> bool {
        self.seen.as_ref().is_some_and(|(lease, _)| holder(lease) == self.identity)
    }
}

/// The loop that runs a [`LeaderElector`] against the API server.
pub(super) struct Election {
    api: Api<Lease>,
    key: ObjectKey,
    elector: LeaderElector,
    metrics: Arc<Metrics>,
    /// The objects, for the pods among them.
    published: watch::Receiver<Option<Arc<Published>>>,
    /// Whether the Lease has to be read before it is written.
    stale: bool,
    /// The error that was logged last.
    logged_error: Option<String>,
    /// Other installations of the same controller.
    search: Search,
    /// The one that writes in place of this one.
    rival: watch::Sender<Option<Rival>>,
}

impl Election {
    pub(super) fn new(
        client: Client,
        replica: Replica,
        timing: ElectionTiming,
        metrics: Arc<Metrics>,
        published: watch::Receiver<Option<Arc<Published>>>,
        rival: watch::Sender<Option<Rival>>,
    ) -> Self {
        let Replica { pod, lease: key, controller } = replica;
        let api = Api::namespaced(client.clone(), &key.namespace);
        let elector = LeaderElector::new(pod, timing);
        let search = Search::new(client, key.clone(), &controller, timing.lease_duration);
        Self { api, key, elector, metrics, published, stale: true, logged_error: None, search, rival }
    }

    /// Reads which pods there are. The Lease and the Service that selects the pods have one name.
    fn observe_pods(&mut self) {
        if let Some(published) = &*self.published.borrow_and_update() {
            self.elector.observe_pods(published.objects.pods_of(&self.key.namespace, &self.key.name));
        }
    }

    /// Waits until `next`, or until the holder of the Lease is gone.
    async fn pause(&mut self, next: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                // The sender lives as long as the process.
                Ok(()) = self.published.changed() => {
                    self.observe_pods();
                    if self.elector.holder_is_gone() {
                        return;
                    }
                }
            }
        }
    }

    /// Tries to lead until `stop`, and sends to `leads` whether this replica does; then releases the Lease.
    pub(super) async fn run(mut self, leads: &watch::Sender<bool>, stop: CancellationToken) {
        loop {
            let begun = Instant::now();
            let until = self.elector.leads_until(begun);
            let limit = begun + self.elector.timing.request_timeout;
            // A request that hangs must not extend the leadership.
            let limit = until.map_or(limit, |until| limit.min(until));
            let outcome = tokio::select! {
                () = stop.cancelled() => {
                    // The request under way may have been carried out.
                    self.stale = true;
                    break;
                }
                outcome = timeout_at(limit, self.attempt()) => outcome,
            };
            match outcome {
                Ok(Ok(())) => self.log_recovery(),
                Ok(Err(error)) => self.handle_error(&error),
                Err(_) => {
                    self.metrics.operator.record_write("Lease", WriteOutcome::Failed);
                    self.stale = true;
                    self.log_error("the API server does not answer".to_owned());
                }
            }
            self.report_leadership(leads);
            let next = begun + self.elector.timing.retry_period;
            let next = self.elector.leads_until(Instant::now()).map_or(next, |until| next.min(until));
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.pause(next) => {}
            }
            self.report_leadership(leads);
        }
        leads.send_replace(false);
        self.metrics.operator.set_leader(false);
        self.release_and_log().await;
    }

    /// Reads the Lease and writes it where the step requires it. A Lease that has changed meanwhile is read once more,
    /// because another replica may lead already.
    async fn attempt(&mut self) -> Result<(), Error> {
        for _ in 0..2 {
            if self.stale || !self.elector.is_leader(Instant::now()) {
                let lease = self.api.get_opt(&self.key.name).await?;
                self.elector.observe(lease, Instant::now());
                self.stale = false;
            }
            let step = self.elector.step(Instant::now());
            if self.yields(step).await? {
                return Ok(());
            }
            let begun = Instant::now();
            let mut lease = self.elector.lease(&self.key, step, Timestamp::now());
            self.search.mark(&mut lease.metadata);
            let written = match step {
                Step::Wait => return Ok(()),
                Step::Create => self.api.create(&PostParams::default(), &lease).await,
                Step::Take | Step::Renew => self.api.replace(&self.key.name, &PostParams::default(), &lease).await,
            };
            match written {
                Ok(lease) => {
                    self.metrics.operator.record_write("Lease", WriteOutcome::Written);
                    self.elector.record_written(lease, begun);
                    // Another may have begun in the same moment: one of the two sees the other now.
                    if step != Step::Renew {
                        self.search.hasten();
                        self.yields(Step::Renew).await?;
                    }
                    return Ok(());
                }
                Err(Error::Api(status)) if status.code == 409 || status.code == 404 && step != Step::Create => {
                    self.metrics.operator.record_write("Lease", WriteOutcome::Conflict);
                    self.stale = true;
                }
                Err(error) => {
                    self.metrics.operator.record_write("Lease", WriteOutcome::Failed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether another installation writes, so that this one must not. Releases the Lease if this replica holds it.
    async fn yields(&mut self, step: Step) -> Result<bool, Error> {
        let due = match step {
            Step::Wait => {
                self.report_rival(None);
                return Ok(false);
            }
            Step::Create | Step::Take => true,
            Step::Renew => self.search.is_due(),
        };
        if due {
            self.search.search().await?;
        }
        let older = self.search.rivals.older(self.elector.created(), Instant::now());
        let yields = older.is_some();
        // One that has just been deleted is not reported: its Lease expires unless a pod renews it.
        self.report_rival(older.filter(|(_, alive)| *alive).map(|(rival, _)| rival));
        if yields && step == Step::Renew {
            self.elector.resign();
            self.release().await?;
            self.stale = true;
        }
        Ok(yields)
    }

    fn report_rival(&self, rival: Option<Rival>) {
        let lease = self.key.to_string();
        let begun = |was: &mut Option<Rival>| {
            let before = was.as_ref().map(|rival| &rival.lease);
            match (before, rival.as_ref().map(|rival| &rival.lease)) {
                (before, Some(now)) if before != Some(now) => tracing::error!(
                    lease,
                    other = now.to_string(),
                    "another installation with the same controller name writes, so this one writes nothing: give one \
                     of them another controller name and other classes, or delete one"
                ),
                (Some(before), None) => {
                    tracing::info!(lease, other = before.to_string(), "the other installation does not write any more");
                }
                _ => {}
            }
            let changed = *was != rival;
            *was = rival;
            changed
        };
        if self.rival.send_if_modified(begun) {
            self.metrics.operator.set_refused(self.rival.borrow().is_some());
        }
    }

    fn report_leadership(&self, leads: &watch::Sender<bool>) {
        let now_leads = self.elector.is_leader(Instant::now());
        if leads.send_if_modified(|leads| std::mem::replace(leads, now_leads) != now_leads) {
            self.metrics.operator.set_leader(now_leads);
            let lease = self.key.to_string();
            if now_leads {
                tracing::info!(lease, identity = self.elector.identity, "leading: this replica writes statuses");
            } else {
                tracing::warn!(lease, identity = self.elector.identity, "no longer leading; traffic is not affected");
            }
        }
    }

    fn log_recovery(&mut self) {
        if self.logged_error.take().is_some() {
            tracing::info!(lease = self.key.to_string(), "the Lease is renewed again");
        }
    }

    fn handle_error(&mut self, error: &Error) {
        self.stale = true;
        self.log_error(error_summary(error));
    }

    fn log_error(&mut self, error: String) {
        if self.logged_error.as_ref() != Some(&error) {
            tracing::warn!(
                lease = self.key.to_string(),
                error,
                "the Lease can't be renewed, so this replica does not write statuses; traffic is not affected (RBAC: \
                    allow \
                 get, create and update on leases.coordination.k8s.io)"
            );
            self.logged_error = Some(error);
        }
    }

    async fn release_and_log(&mut self) {
        let limit = Instant::now() + self.elector.timing.request_timeout;
        match timeout_at(limit, self.release()).await {
            Ok(Ok(true)) => tracing::info!(lease = self.key.to_string(), "the Lease is free for another replica"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(
                lease = self.key.to_string(),
                error = error_summary(&error),
                "the Lease can't be released"
            ),
            Err(_) => tracing::warn!(
                lease = self.key.to_string(),
                "the Lease can't be released: the API server does not answer"
            ),
        }
    }

    /// Releases the Lease if this replica holds it, and returns whether it did. A Lease that has changed meanwhile, by
    /// a renewal that was cancelled, is read once more.
    async fn release(&mut self) -> Result<bool, Error> {
        loop {
            let was_read = self.stale;
            if was_read {
                let lease = self.api.get_opt(&self.key.name).await?;
                self.elector.observe(lease, Instant::now());
            }
            let Some(lease) = self.elector.released_lease(&self.key, Timestamp::now()) else { return Ok(false) };
            match self.api.replace(&self.key.name, &PostParams::default(), &lease).await {
                Err(Error::Api(status)) if status.code == 409 && !was_read => self.stale = true,
                written => return written.map(|_| true),
            }
        }
    }
}
