//! What the cluster is told: statuses, Services of Gateways, Events.
//!
//! ```text
//! Published ─> wanted (compare, no IO) ─> queue (what is due, no IO) ─> write, up to 8 at a time ─> API server
//!                                           ▲ only while the Lease is ours: leader
//! ```
//!
//! **Any number of replicas serve, one writes.** Nothing in the data path depends on who it is.
//!
//! **Nothing is written that is so already**, and each write names the version of the object that it was made from, so that
//! it never undoes what it hasn't seen. Entries of other controllers are never sent.
//!
//! **Nothing is remembered.** What has to be written follows from the objects alone, so a new leader goes on where the last
//! one was stopped.

mod events;
mod leader;
mod queue;
mod status;
#[cfg(test)]
mod tests;
mod told;
mod wanted;
mod write;

use std::{sync::Arc, time::Duration};

use ::kube::Client;
use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    leader::{Election, TIMING, Timing},
    queue::{Job, Queue},
    told::Told,
    write::{Done, Pen},
};
use crate::{
    api::ObjectKey,
    compile::{Change, Objects, Reports},
    telemetry::Metrics,
};

/// Writes at a time: more would only wait at the API server, which has others to serve.
const MAX_WRITES: usize = 8;
/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What was compiled, and the objects to compare it with.
#[derive(Clone, Default)]
pub struct Published {
    /// The objects as they were last seen.
    pub objects: Arc<Objects>,
    /// What there is to say about them.
    pub reports: Arc<Reports>,
    /// Objects of ours that are not as they should be.
    pub services: Arc<Vec<Change>>,
}

/// Who writes, and which Lease says so.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The name of this pod.
    pub pod: String,
    /// The Lease that all replicas share.
    pub lease: ObjectKey,
}

/// Keeps the cluster told of what is published, whenever this replica leads, until `cancel`; then the Lease is free for
/// another replica. An API server that is gone, or refuses, is waited for.
///
/// # Errors
///
/// When a task of ours has panicked, from which there is no way on.
pub async fn run(
    client: Client,
    published: watch::Receiver<Option<Arc<Published>>>,
    replica: Replica,
    metrics: Arc<Metrics>,
    cancel: CancellationToken,
) -> Result<(), JoinError> {
    run_with(client, published, replica, metrics, cancel, TIMING).await
}

async fn run_with(
    client: Client,
    published: watch::Receiver<Option<Arc<Published>>>,
    replica: Replica,
    metrics: Arc<Metrics>,
    cancel: CancellationToken,
    timing: Timing,
) -> Result<(), JoinError> {
    let (leads, leading) = watch::channel(false);
    let pen = Pen::new(client.clone(), replica.pod.clone(), Arc::clone(&metrics));
    let election = Election::new(client, replica.lease, replica.pod, timing, metrics);
    // The Lease is let go of only when nothing is written any more.
    let written = CancellationToken::new();
    let writer = async {
        let outcome = Writer::new(pen).run(published, leading, &cancel).await;
        written.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(writer, election.run(&leads, written.clone()));
    outcome
}

/// Carries out what is wanted.
struct Writer {
    pen: Arc<Pen>,
    queue: Queue,
    told: Told,
    writes: JoinSet<(Job, Done)>,
}

impl Writer {
    fn new(pen: Pen) -> Self {
        Self { pen: Arc::new(pen), queue: Queue::default(), told: Told::default(), writes: JoinSet::new() }
    }

    async fn run(
        mut self,
        mut published: watch::Receiver<Option<Arc<Published>>>,
        mut leading: watch::Receiver<bool>,
        cancel: &CancellationToken,
    ) -> Result<(), JoinError> {
        loop {
            let due = self.queue.due().filter(|_| self.writes.len() < MAX_WRITES);
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                // Both end with the process only.
                Ok(()) = leading.changed() => {
                    if !*leading.borrow_and_update() {
                        // At once: what is under way may meet the writes of another.
                        self.writes = JoinSet::new();
                        self.queue = Queue::default();
                    }
                    self.compare(&mut published, &leading).await?;
                }
                Ok(()) = published.changed() => self.compare(&mut published, &leading).await?,
                Some(ended) = self.writes.join_next() => {
                    let (job, done) = ended?;
                    self.told.ended(&job, &done);
                    self.queue.ended(&job, done.went(), Instant::now());
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            self.start(&leading);
        }
    }

    /// Finds out what is wanted. A replica that doesn't lead wants nothing.
    async fn compare(
        &mut self,
        published: &mut watch::Receiver<Option<Arc<Published>>>,
        leading: &watch::Receiver<bool>,
    ) -> Result<(), JoinError> {
        let latest = published.borrow_and_update().clone();
        let Some(latest) = latest.filter(|_| *leading.borrow()) else { return Ok(()) };
        // Off the threads that serve: there may be thousands of objects.
        let jobs = spawn_blocking(move || wanted::wanted(&latest, Timestamp::now())).await?;
        self.queue.replace(jobs, Instant::now());
        Ok(())
    }

    fn start(&mut self, leading: &watch::Receiver<bool>) {
        while self.writes.len() < MAX_WRITES && *leading.borrow() {
            let Some(job) = self.queue.next(Instant::now()) else { return };
            let pen = Arc::clone(&self.pen);
            self.writes.spawn(async move {
                let done = timeout(WRITE_TIMEOUT, pen.write(&job)).await.unwrap_or_else(|_| pen.gave_up(&job));
                (job, done)
            });
        }
    }
}
