//! The queue of writes, without IO.
//!
//! A write is done once for each version of its object that was seen. After it succeeded, or met a newer version, the
//! watch brings the next version. A write that failed is tried again with a growing pause.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;
use tokio::time::Instant;

use super::{events::Transition, status::Update};
use crate::api::{Kind, ObjectKey};

/// Pause after the first failure of a write; it doubles with each one more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// Writes of one object in quick succession before they are slowed down: a change of many objects makes a Gateway's
/// status change a few times.
const BURST: u32 = 10;
/// Pause between writes of one object beyond [`BURST`]. It bounds the load on the API server where another controller
/// undoes each write.
const SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Time without a write of an object after which its next writes are a new burst.
const BURST_RESET: Duration = Duration::from_secs(10);

/// How long an Event that no status records has to wait. The next document that the same user applies often removes
/// its cause.
const EVENT_DELAY: Duration = Duration::from_secs(3);

/// The object that is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub kind: Kind,
    pub key: ObjectKey,
    /// Only Events about the object are written. They wait for no other write of it.
    pub event: bool,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// A status, and the object that Events about the change refer to.
    Status { update: Update, regarding: ObjectReference },
    /// Events about an object whose status does not have what they report.
    Events { transitions: Vec<Transition>, regarding: ObjectReference },
    /// The status of an object that can't be decoded. The object is read first.
    Undecodable { error: String },
    /// A whole object that Tollgate owns, by server-side apply.
    Apply(Value),
    /// The deletion of an object that Tollgate owns.
    Delete { uid: Option<String> },
}

/// One write, and the state of the object that it was made from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WriteJob {
    pub target: Target,
    /// Equal for jobs that were made from the same version of the object.
    pub version: String,
    pub write: Arc<Write>,
}

/// Whether a write has to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobOutcome {
    /// The write is done, or has to wait for the watch to bring a newer object.
    Settled,
    /// The write has to be tried again.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// It waits until then.
    Later(Instant),
    Running,
    Settled,
}

struct Item {
    job: WriteJob,
    state: State,
    failures: u32,
    /// The write is not needed any more. The item is removed when the write under way has ended.
    unwanted: bool,
}

/// How often one object was written lately.
struct WriteRate {
    last: Instant,
    writes: u32,
}

/// All writes that have to be done.
#[derive(Default)]
pub(super) struct Queue {
    items: BTreeMap<Target, Item>,
    /// Services and EndpointSlices, because traffic waits for them.
    urgent: VecDeque<Target>,
    /// Statuses, of which there may be thousands.
    ready: VecDeque<Target>,
    later: BTreeSet<(Instant, Target)>,
    rates: BTreeMap<Target, WriteRate>,
}

impl Queue {
    /// Replaces all writes that wait by `jobs`.
    pub(super) fn replace(&mut self, jobs: Vec<WriteJob>, now: Instant) {
        for item in self.items.values_mut() {
            item.unwanted = true;
        }
        for job in jobs {
            match self.items.get_mut(&job.target) {
                // It is made from the same version, so the item keeps its state.
                Some(item) if item.job.version == job.version => {
                    item.unwanted = false;
                    item.job.write = job.write;
                }
                Some(item) => {
                    item.unwanted = false;
                    item.failures = 0;
                    let target = job.target.clone();
                    item.job = job;
                    if item.state != State::Running {
                        self.schedule(&target, now);
                    }
                }
                None => {
                    let target = job.target.clone();
                    let item = Item { job, state: State::Settled, failures: 0, unwanted: false };
                    self.items.insert(target.clone(), item);
                    if target.event {
                        self.postpone(&target, now + EVENT_DELAY);
                    } else {
                        self.schedule(&target, now);
                    }
                }
            }
        }
        self.items.retain(|_, item| !item.unwanted || item.state == State::Running);
        self.rates.retain(|_, rate| now < rate.last + BURST_RESET);
    }

    /// The next write that is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<WriteJob> {
        while let Some((at, target)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.later.pop_first();
            if let Some(item) = self.items.get_mut(&target).filter(|item| item.state == State::Later(at)) {
                item.state = State::Ready;
                self.enqueue(target);
            }
        }
        while let Some(target) = self.urgent.pop_front().or_else(|| self.ready.pop_front()) {
            let Some(item) = self.items.get_mut(&target).filter(|item| item.state == State::Ready) else { continue };
            item.state = State::Running;
            let rate = self.rates.entry(target).or_insert(WriteRate { last: now, writes: 0 });
            rate.writes = if now < rate.last + BURST_RESET { rate.writes.saturating_add(1) } else { 1 };
            rate.last = now;
            return Some(item.job.clone());
        }
        None
    }

    /// Takes in that a write has ended.
    pub(super) fn ended(&mut self, job: &WriteJob, outcome: JobOutcome, now: Instant) {
        let Some(item) = self.items.get_mut(&job.target) else { return };
        if item.unwanted {
            self.items.remove(&job.target);
            return;
        }
        if item.job.version != job.version {
            // The object has changed meanwhile.
            item.state = State::Settled;
            return self.schedule(&job.target, now);
        }
        match outcome {
            JobOutcome::Settled => item.state = State::Settled,
            JobOutcome::Failed => {
                let pause = FIRST_PAUSE.saturating_mul(1 << item.failures.min(10)).min(MAX_PAUSE);
                item.failures = item.failures.saturating_add(1);
                item.state = State::Later(now + pause);
                self.later.insert((now + pause, job.target.clone()));
            }
        }
    }

    /// The time at which the next write that has to wait is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    fn schedule(&mut self, target: &Target, now: Instant) {
        let Some(item) = self.items.get_mut(target) else { return };
        let slow = self.rates.get(target).filter(|rate| rate.writes >= BURST).map(|rate| rate.last + SLOW_INTERVAL);
        if let Some(at) = slow.filter(|at| *at > now) {
            self.postpone(target, at);
        } else {
            item.state = State::Ready;
            self.enqueue(target.clone());
        }
    }

    fn postpone(&mut self, target: &Target, at: Instant) {
        if let Some(item) = self.items.get_mut(target) {
            item.state = State::Later(at);
            self.later.insert((at, target.clone()));
        }
    }

    fn enqueue(&mut self, target: Target) {
        match target.kind {
            Kind::Service | Kind::EndpointSlice => self.urgent.push_back(target),
            _ => self.ready.push_back(target),
        }
    }
}
