//! What is to be written when, without IO.
//!
//! A write is done once for each version of its object that was seen: after it succeeded, or met a newer version, the watch
//! has the word. One that failed is tried again, ever more slowly.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;
use tokio::time::Instant;

use super::status::Update;
use crate::api::{Kind, ObjectKey};

/// Pause after the first failure of a write; it doubles with each one more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// Writes of one object in quick succession before they are slowed down: a change of many objects makes a Gateway's status
/// change a few times.
const BURST: u32 = 10;
/// Pause between writes of one object beyond [`BURST`]. Another controller that undoes what we write must not make us a
/// load on the API server.
const SLOW: Duration = Duration::from_secs(1);
/// How long an object must be left alone for its next writes to be a new burst.
const CALM: Duration = Duration::from_secs(10);

/// The object that is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub kind: Kind,
    pub key: ObjectKey,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// A status, and what to tell of the change.
    Status { update: Update, regarding: ObjectReference },
    /// That an object can't be decoded. It is read first.
    Undecodable { error: String },
    /// A whole object of ours, by server-side apply.
    Apply(Value),
    /// An object of ours that is to go.
    Delete { uid: Option<String> },
}

/// One write, and the state of the object that it was made from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub target: Target,
    /// The same for the same version of the object.
    pub version: String,
    pub write: Arc<Write>,
}

/// How a write went, as far as the queue wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// It is done, or nothing is to be done before the watch shows a newer object.
    Settled,
    /// It is to be tried again.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Not before then.
    Later(Instant),
    Running,
    Settled,
}

struct Item {
    job: Job,
    state: State,
    failures: u32,
    /// Nobody wants it any more; it goes when its write has ended.
    unwanted: bool,
}

/// The last writes of one object.
struct Pace {
    last: Instant,
    writes: u32,
}

/// All writes that are wanted.
#[derive(Default)]
pub(super) struct Queue {
    items: BTreeMap<Target, Item>,
    /// What traffic waits for: Services and EndpointSlices.
    urgent: VecDeque<Target>,
    /// Words: there may be thousands of statuses.
    ready: VecDeque<Target>,
    later: BTreeSet<(Instant, Target)>,
    paces: BTreeMap<Target, Pace>,
}

impl Queue {
    /// From now on `jobs` are wanted, and nothing else.
    pub(super) fn replace(&mut self, jobs: Vec<Job>, now: Instant) {
        for item in self.items.values_mut() {
            item.unwanted = true;
        }
        for job in jobs {
            match self.items.get_mut(&job.target) {
                // Made from the same version: what became of it holds.
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
                    self.schedule(&target, now);
                }
            }
        }
        self.items.retain(|_, item| !item.unwanted || item.state == State::Running);
        self.paces.retain(|_, pace| now < pace.last + CALM);
    }

    /// The next write that is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        while let Some((at, target)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.later.pop_first();
            if let Some(item) = self.items.get_mut(&target).filter(|item| item.state == State::Later(at)) {
                item.state = State::Ready;
                self.line_up(target);
            }
        }
        while let Some(target) = self.urgent.pop_front().or_else(|| self.ready.pop_front()) {
            let Some(item) = self.items.get_mut(&target).filter(|item| item.state == State::Ready) else { continue };
            item.state = State::Running;
            let pace = self.paces.entry(target).or_insert(Pace { last: now, writes: 0 });
            pace.writes = if now < pace.last + CALM { pace.writes.saturating_add(1) } else { 1 };
            pace.last = now;
            return Some(item.job.clone());
        }
        None
    }

    /// A write has ended.
    pub(super) fn ended(&mut self, job: &Job, went: Went, now: Instant) {
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
        match went {
            Went::Settled => item.state = State::Settled,
            Went::Failed => {
                let pause = FIRST_PAUSE.saturating_mul(1 << item.failures.min(10)).min(MAX_PAUSE);
                item.failures = item.failures.saturating_add(1);
                item.state = State::Later(now + pause);
                self.later.insert((now + pause, job.target.clone()));
            }
        }
    }

    /// When the next write is due that is not yet.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    fn schedule(&mut self, target: &Target, now: Instant) {
        let Some(item) = self.items.get_mut(target) else { return };
        let slow = self.paces.get(target).filter(|pace| pace.writes >= BURST).map(|pace| pace.last + SLOW);
        if let Some(at) = slow.filter(|at| *at > now) {
            item.state = State::Later(at);
            self.later.insert((at, target.clone()));
        } else {
            item.state = State::Ready;
            self.line_up(target.clone());
        }
    }

    fn line_up(&mut self, target: Target) {
        match target.kind {
            Kind::Service | Kind::EndpointSlice => self.urgent.push_back(target),
            _ => self.ready.push_back(target),
        }
    }
}
