//! Writes to the cluster: statuses, Services of Gateways, Events.
//!
//! ```text
//! Published ─> wanted (compare, no IO) ─> queue (due writes, no IO) ─> write, up to 8 at a time ─> API server
//!                                           ▲ only while this replica holds the Lease: leader
//! ```
//!
//! **Any number of replicas serve, one writes.** Nothing in the data path depends on which one writes.
//!
//! **Only differences are written.** Each write names the version of the object that it was made from, so that it never
//! undoes a change that it has not seen. Entries of other controllers are never sent.
//!
//! **The objects are the only state.** The writes follow from the objects alone, so a new leader continues where the
//! last one stopped.

mod events;
mod leader;
mod queue;
mod rivals;
mod status;
#[cfg(test)]
mod tests;
mod transition_log;
mod uninstall;
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
    leader::{ELECTION_TIMING, Election, ElectionTiming},
    queue::{Queue, WriteJob},
    transition_log::TransitionLog,
    write::{WriteResult, Writer},
};
pub use self::{rivals::Rival, uninstall::uninstall};
use crate::{
    api::ObjectKey,
    compile::{Change, Controller, Objects, Reports},
    telemetry::Metrics,
};

/// Writes at a time: more would only wait at the API server, which has other clients to serve.
const MAX_WRITES: usize = 8;
/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The compiled reports, and the objects to compare them with.
#[derive(Clone, Default)]
pub struct Published {
    /// The objects as they were last seen.
    pub objects: Arc<Objects>,
    /// The reports about the objects.
    pub reports: Arc<Reports>,
    /// Objects that Tollgate owns and that differ from what they should be.
    pub services: Arc<Vec<Change>>,
}

/// This replica, and the Lease that decides which replica writes.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The name of this pod.
    pub pod: String,
    /// The Lease that all replicas share.
    pub lease: ObjectKey,
    /// The controller whose entries in statuses are its own.
    pub controller: Controller,
}

/// Writes to the cluster what is published, while this replica leads, until `cancel`; then releases the Lease. When the
/// API server can't be reached, or refuses a write, the write is tried again.
///
/// # Errors
///
/// When a task has panicked, which can't be recovered from.
pub async fn run(
    client: Client,
    published: watch::Receiver<Option<Arc<Published>>>,
    replica: Replica,
    metrics: Arc<Metrics>,
    rival: watch::Sender<Option<Rival>>,
    cancel: CancellationToken,
) -> Result<(), JoinError> {
    run_with(client, published, replica, metrics, rival, cancel, ELECTION_TIMING).await
}

async fn run_with(
    client: Client,
    published: watch::Receiver<Option<Arc<Published>>>,
    replica: Replica,
    metrics: Arc<Metrics>,
    rival: watch::Sender<Option<Rival>>,
    cancel: CancellationToken,
    timing: ElectionTiming,
) -> Result<(), JoinError> {
    metrics.operator.begin();
    let (leads, leading) = watch::channel(false);
    let writer = Writer::new(client.clone(), replica.clone(), Arc::clone(&metrics));
    let refused = rival.subscribe();
    let election = Election::new(client, replica.clone(), timing, metrics, published.clone(), rival);
    // The Lease is released only after the last write has ended.
    let written = CancellationToken::new();
    let status_writer = async {
        let outcome = StatusWriter::new(writer, replica, leading, refused).run(published, &cancel).await;
        written.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(status_writer, election.run(&leads, written.clone()));
    outcome
}

/// The loop that carries out the writes of the queue.
struct StatusWriter {
    writer: Arc<Writer>,
    replica: Replica,
    /// Whether this replica leads.
    leading: watch::Receiver<bool>,
    /// The installation that writes in place of this one.
    refused: watch::Receiver<Option<Rival>>,
    queue: Queue,
    log: TransitionLog,
    writes: JoinSet<(WriteJob, WriteResult)>,
}

impl StatusWriter {
    fn new(
        writer: Writer,
        replica: Replica,
        leading: watch::Receiver<bool>,
        refused: watch::Receiver<Option<Rival>>,
    ) -> Self {
        Self {
            writer: Arc::new(writer),
            replica,
            leading,
            refused,
            queue: Queue::default(),
            log: TransitionLog::default(),
            writes: JoinSet::new(),
        }
    }

    async fn run(
        mut self,
        mut published: watch::Receiver<Option<Arc<Published>>>,
        cancel: &CancellationToken,
    ) -> Result<(), JoinError> {
        loop {
            let due = self.queue.due().filter(|_| self.writes.len() < MAX_WRITES);
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                // All senders live as long as the process.
                Ok(()) = self.leading.changed() => {
                    if !*self.leading.borrow_and_update() {
                        // Writes under way are cancelled, because they may collide with those of the new leader.
                        self.writes = JoinSet::new();
                        self.queue = Queue::default();
                    }
                    self.compare(&mut published).await?;
                }
                Ok(()) = self.refused.changed() => self.compare(&mut published).await?,
                Ok(()) = published.changed() => self.compare(&mut published).await?,
                Some(ended) = self.writes.join_next() => {
                    let (job, result) = ended?;
                    self.log.ended(&job, &result);
                    self.queue.ended(&job, result.job_outcome(), Instant::now());
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            self.start();
        }
    }

    /// Compares the published reports with the cluster and fills the queue. A replica that does not lead writes
    /// nothing, but Events that say why its installation may not.
    async fn compare(&mut self, published: &mut watch::Receiver<Option<Arc<Published>>>) -> Result<(), JoinError> {
        let latest = published.borrow_and_update().clone();
        let Some(latest) = latest else { return Ok(()) };
        let rival = self.refused.borrow_and_update().clone();
        let jobs = if *self.leading.borrow() {
            // Off the threads that serve: there may be thousands of objects.
            let controller = self.replica.controller.clone();
            spawn_blocking(move || wanted::wanted(&latest, &controller, Timestamp::now())).await?
        } else {
            rival.map(|rival| wanted::refused(&latest.objects, &self.replica, &rival)).unwrap_or_default()
        };
        self.queue.replace(jobs, Instant::now());
        Ok(())
    }

    fn start(&mut self) {
        // What is in the queue was made for the leadership that was last seen.
        while self.writes.len() < MAX_WRITES && !self.leading.has_changed().unwrap_or_default() {
            let Some(job) = self.queue.next(Instant::now()) else { return };
            let writer = Arc::clone(&self.writer);
            self.writes.spawn(async move {
                let result =
                    timeout(WRITE_TIMEOUT, writer.write(&job)).await.unwrap_or_else(|_| writer.record_timeout(&job));
                (job, result)
            });
        }
    }
}
