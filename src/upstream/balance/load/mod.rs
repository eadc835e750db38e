//! How many requests a Backend and its targets have at a time, and those that wait for room.
//!
//! One lock holds the counts and the queue of a Backend. Whenever room appears, the first of the queue that can use it
//! gets it before the lock is released. So no room is left unused while a request waits for it, and a request that
//! comes later never gets ahead.

mod entry;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use smallvec::SmallVec;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use self::queue::{FairQueue, Position};
pub use self::{
    entry::{Entry, Full},
    queue::Priority,
};
use super::TargetState;
use crate::telemetry::load::{LoadGauge, LoadMetrics, LoadSeries};

/// Most targets that one request waits for. In a Backend with more, the others are as full.
const MAX_CANDIDATES: usize = 32;
/// Targets that a request waits for without a list of its own in memory.
const INLINE: usize = 2;
/// The longest `Retry-After`: the vendors' clients ignore longer ones.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// The targets that a request waits for, the preferred ones first.
pub type Candidates = SmallVec<[Arc<TargetState>; INLINE]>;

/// The limits of a Backend as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests at a time; `None` for any number.
    pub requests: Option<u32>,
    /// Requests that wait.
    pub pending: usize,
    /// How long each of them waits.
    pub wait: Duration,
}

/// Why a request got no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// As many requests as allowed wait already.
    QueueFull,
    /// The queue was full, and a request with a better claim has taken the place in it.
    Displaced,
    /// No room appeared in time.
    WaitLimit,
}

impl Cause {
    /// Its name in metrics and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Displaced => "displaced",
            Self::WaitLimit => "wait_limit",
        }
    }
}

/// A request got no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Why.
    pub cause: Cause,
    /// When the client may try again: after as long as the last request has waited that got room.
    pub retry_after: Duration,
}

/// The room at one target. It is changed under the lock of its Backend's [`Load`] alone.
#[derive(Debug, Default)]
pub struct Room {
    /// Attempts at a time; 0 for any number.
    limit: AtomicU32,
    taken: AtomicU32,
}

impl Room {
    /// How many attempts the target may have at a time, if that is limited.
    pub fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    fn is_open(&self) -> bool {
        self.limit().is_none_or(|limit| self.taken.load(Ordering::Relaxed) < limit)
    }
}

/// The requests at one Backend with limits, over all snapshots.
#[derive(Debug, Default)]
pub struct Load {
    state: Mutex<State>,
    /// Wakes those that wait when the limit of their waiting has changed.
    changed: Notify,
    series: OnceLock<Arc<LoadSeries>>,
}

#[derive(Debug, Default)]
struct State {
    limits: Limits,
    in_flight: u32,
    queue: FairQueue<Waiter>,
    /// How many of the queue are at the Backend already.
    entered: usize,
    /// The targets that the queue waits for, each with the number of requests.
    sought: Vec<(Arc<TargetState>, usize)>,
    /// How long the last request has waited that got room from the queue.
    last_wait: Option<Duration>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    candidates: Candidates,
    /// It has a place at the Backend, and needs one at a target only: an earlier target has failed it.
    entered: bool,
    since: Instant,
    /// Gets the index of the candidate that has room.
    answer: oneshot::Sender<Result<usize, Cause>>,
}

/// A place among a Backend's requests. It is free again when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct RequestPermit(Arc<Load>);

/// A place among a target's attempts. It is free again when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct TargetPermit {
    load: Arc<Load>,
    target: Arc<TargetState>,
}

impl Load {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the limits, also for the requests that wait. `targets` are those of the Backend, with their limits.
    pub fn configure<'a>(&self, limits: Limits, targets: impl Iterator<Item = (&'a TargetState, Option<u32>)>) {
        let mut state = self.state();
        for (target, limit) in targets {
            target.room().limit.store(limit.unwrap_or(0), Ordering::Relaxed);
        }
        let waits_differ = state.limits.wait != limits.wait;
        state.limits = limits;
        state.dispatch();
        while state.queue.len() > limits.pending {
            let Some(waiter) = state.queue.pop_last() else { break };
            state.forget(&waiter);
            let _ = waiter.answer.send(Err(Cause::Displaced));
        }
        drop(state);
        if waits_differ {
            self.changed.notify_waiters();
        }
    }

    /// Counts in these metrics, under this name.
    pub fn count_in(self: &Arc<Self>, metrics: &LoadMetrics, backend: &str) {
        let gauge: Arc<dyn LoadGauge> = Arc::clone(self) as _;
        // The name of a Backend never changes, and neither do its series.
        let _ = self.series.set(metrics.backend(backend, &Arc::downgrade(&gauge)));
    }

    /// The limits, the requests in flight, and those that wait, by priority.
    pub fn snapshot(&self) -> (Limits, u32, [(Priority, usize); Priority::ALL.len()]) {
        let state = self.state();
        let mut waiting = Priority::ALL.map(|priority| (priority, 0));
        waiting.iter_mut().zip(state.queue.lengths()).for_each(|(there, length)| *there = length);
        (state.limits, state.in_flight, waiting)
    }

    /// Takes a place at the target, and one at the Backend unless the request has `entered` it.
    fn try_enter(self: &Arc<Self>, entered: bool, target: &Arc<TargetState>) -> Option<Granted> {
        let mut state = self.state();
        // Were a request in the queue able to use it, it would have it.
        let is_free = (entered || state.has_room()) && target.room().is_open();
        is_free.then(|| {
            state.take(entered, target);
            self.granted(entered, target)
        })
    }

    /// Waits until one of `candidates` has room, and the Backend too unless the request has `entered` it.
    async fn enter(
        self: &Arc<Self>,
        entered: bool,
        candidates: Candidates,
        priority: Priority,
        flow: &Arc<str>,
    ) -> Result<(usize, Granted), NoRoom> {
        let since = Instant::now();
        let mut waiting = self.queue(entered, candidates, priority, flow, since).map_err(|cause| self.refuse(cause))?;
        let answer = loop {
            // Before the limit is read, so that no change of it is missed.
            let changed = self.changed.notified();
            let until = since.checked_add(self.state().limits.wait);
            let limit = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = &mut waiting.answer => break answer.unwrap_or(Err(Cause::Displaced)),
                () = changed => {}
                () = limit => break Err(Cause::WaitLimit),
            }
        };
        match answer {
            Ok(index) => {
                waiting.is_answered = true;
                if let Some(series) = self.series.get() {
                    series.waited(priority.as_str(), since.elapsed());
                }
                // The index is that of one of them.
                let target = waiting.candidates.get(index).ok_or_else(|| self.refuse(Cause::Displaced))?;
                Ok((index, self.granted(entered, target)))
            }
            Err(cause) => Err(self.refuse(cause)),
        }
    }

    /// Adds a request to the queue.
    fn queue<'a>(
        self: &'a Arc<Self>,
        entered: bool,
        mut candidates: Candidates,
        priority: Priority,
        flow: &Arc<str>,
        since: Instant,
    ) -> Result<Waiting<'a>, Cause> {
        candidates.truncate(MAX_CANDIDATES);
        let mut state = self.state();
        if state.queue.len() >= state.limits.pending {
            let displaced = if state.limits.pending > 0 { state.queue.displace(priority, flow) } else { None };
            let displaced = displaced.ok_or(Cause::QueueFull)?;
            state.forget(&displaced);
            let _ = displaced.answer.send(Err(Cause::Displaced));
        }
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter { candidates: candidates.clone(), entered, since, answer: sender };
        state.remember(&waiter);
        let position = state.queue.push(priority, flow, entered, waiter);
        // Room may have appeared since the request has looked for it.
        state.dispatch();
        Ok(Waiting { load: self, position, entered, candidates, answer, is_answered: false })
    }

    fn granted(self: &Arc<Self>, entered: bool, target: &Arc<TargetState>) -> Granted {
        Granted {
            request: (!entered).then(|| RequestPermit(Arc::clone(self))),
            target: TargetPermit { load: Arc::clone(self), target: Arc::clone(target) },
        }
    }

    fn refuse(&self, cause: Cause) -> NoRoom {
        if let Some(series) = self.series.get() {
            series.refused(cause.as_str());
        }
        let state = self.state();
        let wait = state.last_wait.unwrap_or(state.limits.wait).min(MAX_RETRY_AFTER);
        // Whole seconds, and never at once.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        NoRoom { cause, retry_after: Duration::from_secs(seconds.max(1)) }
    }
}

impl LoadGauge for Load {
    fn waiting(&self) -> usize {
        self.state().queue.len()
    }
}

/// The places that a request has got.
struct Granted {
    /// Absent if it had one.
    request: Option<RequestPermit>,
    target: TargetPermit,
}

impl State {
    fn has_room(&self) -> bool {
        self.limits.requests.is_none_or(|limit| self.in_flight < limit)
    }

    fn take(&mut self, entered: bool, target: &TargetState) {
        self.in_flight += u32::from(!entered);
        target.room().taken.fetch_add(1, Ordering::Relaxed);
    }

    fn release(&mut self, of_backend: bool, of_target: Option<&TargetState>) {
        self.in_flight -= u32::from(of_backend);
        if let Some(target) = of_target {
            target.room().taken.fetch_sub(1, Ordering::Relaxed);
        }
        self.dispatch();
    }

    /// Gives all room to the queue.
    fn dispatch(&mut self) {
        // Searched only where it may find something: most of the time the first of the queue fits.
        while (self.entered > 0 || self.has_room()) && self.sought.iter().any(|(target, _)| target.room().is_open()) {
            let has_room = self.has_room();
            let fits = |waiter: &Waiter| {
                let may_enter = waiter.entered || has_room;
                waiter.candidates.iter().position(|target| may_enter && target.room().is_open())
            };
            let Some((waiter, index)) = self.queue.take_first(fits) else { return };
            self.forget(&waiter);
            let Waiter { candidates, entered, since, answer } = waiter;
            let Some(target) = candidates.get(index) else { continue };
            // It fails only if the request is gone, which takes itself out of the queue before.
            if answer.send(Ok(index)).is_ok() {
                self.take(entered, target);
                self.last_wait = Some(since.elapsed());
            }
        }
    }

    /// Counts a waiter that is added to the queue.
    fn remember(&mut self, waiter: &Waiter) {
        self.entered += usize::from(waiter.entered);
        for candidate in &waiter.candidates {
            match self.sought.iter_mut().find(|(target, _)| Arc::ptr_eq(target, candidate)) {
                Some((_, count)) => *count += 1,
                None => self.sought.push((Arc::clone(candidate), 1)),
            }
        }
    }

    /// Stops to count a waiter that has left the queue.
    fn forget(&mut self, waiter: &Waiter) {
        self.entered -= usize::from(waiter.entered);
        for candidate in &waiter.candidates {
            if let Some((_, count)) = self.sought.iter_mut().find(|(target, _)| Arc::ptr_eq(target, candidate)) {
                *count -= 1;
            }
        }
        self.sought.retain(|(_, count)| *count > 0);
    }
}

/// A request in the queue. It leaves the queue when this is dropped, and gives back what it was given meanwhile.
struct Waiting<'a> {
    load: &'a Load,
    position: Position,
    entered: bool,
    candidates: Candidates,
    answer: oneshot::Receiver<Result<usize, Cause>>,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let mut state = self.load.state();
        if let Some(waiter) = state.queue.remove(&self.position) {
            state.forget(&waiter);
        } else if let Ok(Ok(index)) = self.answer.try_recv() {
            state.release(!self.entered, self.candidates.get(index).map(|target| &**target));
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.state().release(true, None);
    }
}

impl Drop for TargetPermit {
    fn drop(&mut self) {
        self.load.state().release(false, Some(&self.target));
    }
}
