//! The health of one target: what cools, and its breaker.
//!
//! Everything is a function of the instants that are passed in. A healthy target costs a request one atomic read when
//! it is chosen, and one atomic write when the attempt has ended.
//!
//! **Attempts overlap.** When a target fails, others are under way at it. What they find is about the time before: it
//! must neither make the wait grow nor end it. So each cooldown has a number, which an attempt remembers from its
//! beginning.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::window::Window;
use crate::upstream::failure::{Cooldown, Meaning, Scope, Trip, Verdict};

/// Models of one target that may cool at a time. Clients choose the names.
const MAX_MODELS: usize = 64;
/// The longest name of a model that is remembered, in bytes.
const MAX_MODEL: usize = 256;
/// How long after its end a cooldown that no success followed still makes the next one longer.
const REMEMBERED: Duration = Duration::from_mins(5);
/// The breaker also opens when more than half of so many attempts in the window have failed.
const MIN_ATTEMPTS: u64 = 10;
/// Failed connections in a row after which the only target of a Backend is left alone for a while.
const SOLE_CONNECTIONS: u32 = 3;

/// A target that is left alone, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it may be used again.
    pub until: Instant,
    /// The failure behind it.
    pub cause: Meaning,
}

/// Whether a request may be sent to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Ready,
    /// It may, as the one request that finds out whether the target has recovered. The number is for
    /// [`Health::release`].
    Probe(u32),
    /// Others should be tried first.
    Cooling(Wait),
}

/// The state of a breaker, as debug views show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerPhase {
    /// All requests pass.
    Closed,
    /// Others are tried first.
    Open,
    /// One request at a time passes.
    HalfOpen,
    /// A probe got a reply. All requests pass; the next failure opens it again, and the next complete reply closes it.
    Trial,
}

impl BreakerPhase {
    /// Its name in debug views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "halfOpen",
            Self::Trial => "trial",
        }
    }
}

/// The health of one target.
#[derive(Debug)]
pub struct Health {
    /// The window counts from here.
    began: Instant,
    /// Whether `state` has anything in it.
    troubled: AtomicBool,
    /// Failures in a row that the breaker counts.
    in_a_row: AtomicU32,
    /// The number of the last cooldown.
    number: AtomicU32,
    window: Window,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    target: Option<Cooling>,
    models: Vec<(String, Cooling)>,
    open: Option<Open>,
    /// Failed connections in a row.
    connections: u32,
}

/// A cooldown, which may have ended.
#[derive(Clone, Copy, Debug)]
struct Cooling {
    wait: Wait,
    number: u32,
    /// How often it has repeated.
    repeated: u32,
}

/// A breaker that is not closed.
#[derive(Clone, Copy, Debug)]
struct Open {
    wait: Wait,
    number: u32,
    /// How often it has opened again.
    repeated: u32,
    /// The probe that is under way.
    probe: Option<u32>,
    /// A probe got a reply.
    trial: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            troubled: AtomicBool::new(false),
            in_a_row: AtomicU32::new(0),
            number: AtomicU32::new(0),
            window: Window::default(),
            state: Mutex::default(),
        }
    }
}

impl Health {
    /// Whether the target has failed lately, or still cools: only then anything else has to be looked at.
    pub fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// The number of the last cooldown, for an attempt that begins.
    pub fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Whether a request for `model` may be sent now. `sole` states that the Backend has no other target: then nothing
    /// is gained by leaving it alone, unless no connection to it can be made.
    pub fn admit(&self, model: &str, sole: bool, now: Instant) -> Admission {
        if !self.is_troubled() {
            return Admission::Ready;
        }
        let mut state = self.lock();
        if sole {
            let wait = state.open.map(|open| open.wait).filter(|wait| wait.cause == Meaning::Network);
            let gone = state.connections >= SOLE_CONNECTIONS;
            return wait.filter(|wait| gone && now < wait.until).map_or(Admission::Ready, Admission::Cooling);
        }
        let of_model = state.models.iter().find(|(name, _)| name == model).map(|(_, cooling)| cooling.wait);
        let waits = [state.target.map(|cooling| cooling.wait), of_model, state.open.map(|open| open.wait)];
        let longest = waits.into_iter().flatten().max_by_key(|wait| wait.until).filter(|wait| now < wait.until);
        if let Some(wait) = longest {
            return Admission::Cooling(wait);
        }
        match &mut state.open {
            Some(open) if open.trial => Admission::Ready,
            // It may be over at any time.
            Some(open) if open.probe.is_some() => Admission::Cooling(Wait { until: now, ..open.wait }),
            Some(open) => {
                open.probe = Some(open.number);
                Admission::Probe(open.number)
            }
            None => Admission::Ready,
        }
    }

    /// The probe with this number is over, whatever became of it.
    pub fn release(&self, probe: u32) {
        if let Some(open) = &mut self.lock().open
            && open.probe == Some(probe)
        {
            open.probe = None;
        }
    }

    /// The attempt that began at `number` has a reply that is no error.
    pub fn replied(&self, number: u32) {
        if !self.is_troubled() {
            return;
        }
        let state = &mut *self.lock();
        if let Some(open) = &mut state.open
            && number >= open.number
        {
            (open.trial, open.probe) = (true, None);
            state.connections = 0;
        }
    }

    /// The attempt for `model` that began at `number` had a complete reply.
    pub fn succeeded(&self, model: &str, number: u32, now: Instant) {
        self.window.record(false, now.saturating_duration_since(self.began));
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
        if !self.is_troubled() {
            return;
        }
        let mut state = self.lock();
        state.connections = 0;
        state.target.take_if(|cooling| number >= cooling.number);
        state.open.take_if(|open| number >= open.number);
        state.models.retain(|(name, cooling)| name != model || number < cooling.number);
        self.settle(state, now);
    }

    /// The attempt for `model` that began at `number` has failed. `random` varies the wait by a tenth, so that requests
    /// of many replicas do not come back together.
    pub fn failed(&self, failure: &Verdict, model: &str, number: u32, now: Instant, random: u64) {
        let row = failure.meaning.row();
        if self.is_troubled() && !matches!(failure.meaning, Meaning::Network | Meaning::NotSent) {
            // A connection was made.
            self.lock().connections = 0;
        }
        if let Some(cooldown) = &row.cooldown
            && !failure.of_clients_key
        {
            self.cool(cooldown, failure, model, number, now, random);
        }
        if let Some(trip) = &row.breaker {
            self.count(trip, failure.meaning, number, now, random);
        }
    }

    fn cool(&self, cooldown: &Cooldown, failure: &Verdict, model: &str, number: u32, now: Instant, random: u64) {
        let mut state = self.lock();
        let scoped = match cooldown.scope {
            Scope::Target => state.target,
            Scope::Model => state.models.iter().find(|(name, _)| name == model).map(|(_, cooling)| *cooling),
        };
        let last = scoped.filter(|last| last.wait.cause == failure.meaning && now < last.wait.until + REMEMBERED);
        let (number, repeated) = match last {
            // It was under way when the cooldown began.
            Some(last) if number < last.number => (last.number, last.repeated),
            Some(last) => (self.next_number(), last.repeated.saturating_add(1)),
            None => (self.next_number(), 0),
        };
        let grown = cooldown.first.saturating_mul(cooldown.factor.saturating_pow(repeated)).min(cooldown.most);
        let time = failure.wait.map_or_else(|| varied(grown, random, 10), |named| varied(named, random, 0));
        let mut wait = Wait { until: now + time, cause: failure.meaning };
        if let Some(longer) = scoped.map(|scoped| scoped.wait).filter(|scoped| scoped.until >= wait.until) {
            wait = longer;
        }
        let cooling = Cooling { wait, number, repeated };
        match cooldown.scope {
            Scope::Target => state.target = Some(cooling),
            Scope::Model => state.cool_model(model, cooling),
        }
        self.settle(state, now);
    }

    fn count(&self, trip: &Trip, cause: Meaning, number: u32, now: Instant, random: u64) {
        let at = now.saturating_duration_since(self.began);
        self.window.record(true, at);
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut state = self.lock();
        if cause == Meaning::Network {
            state.connections = state.connections.saturating_add(1);
        }
        let repeated = match state.open {
            Some(open) if number < open.number => return self.settle(state, now),
            Some(open) if now < open.wait.until + REMEMBERED => open.repeated.saturating_add(1),
            Some(_) => 0,
            None => {
                let (all, bad) = self.window.counts(at);
                let mostly = all >= MIN_ATTEMPTS && bad * 2 > all;
                if in_a_row < trip.failures && !mostly {
                    return self.settle(state, now);
                }
                0
            }
        };
        let grown = trip.first.saturating_mul(2u32.saturating_pow(repeated)).min(trip.most);
        let wait = Wait { until: now + varied(grown, random, 10), cause };
        state.open = Some(Open { wait, number: self.next_number(), repeated, probe: None, trial: false });
        // What led to this is used up: after recovery one failure is one failure.
        self.in_a_row.store(0, Ordering::Relaxed);
        self.window.clear();
        self.settle(state, now);
    }

    /// Why and until when the target as a whole is left alone, or one of its models for a limit; the longest wait of
    /// these. Names of models that a client may have invented are no trouble of the target.
    pub fn trouble(&self, now: Instant) -> Option<Wait> {
        if !self.is_troubled() {
            return None;
        }
        let state = self.lock();
        let limits = state.models.iter().map(|(_, cooling)| cooling.wait);
        let limits = limits.filter(|wait| matches!(wait.cause, Meaning::Rate | Meaning::Quota));
        let cooling = state.target.map(|cooling| cooling.wait).into_iter().chain(limits);
        let open = state.open.filter(|open| !open.trial).map(|open| open.wait);
        cooling.chain(open).filter(|wait| now < wait.until).max_by_key(|wait| wait.until)
    }

    /// The models that cool, with their waits.
    pub fn models(&self, now: Instant) -> Vec<(String, Wait)> {
        let state = self.lock();
        let waits = state.models.iter().map(|(name, cooling)| (name.clone(), cooling.wait));
        waits.filter(|(_, wait)| now < wait.until).collect()
    }

    /// The breaker's state, and the failures in a row that it has counted.
    pub fn breaker(&self, now: Instant) -> (BreakerPhase, u32) {
        let phase = self.lock().open.map_or(BreakerPhase::Closed, |open| match open.wait.until {
            _ if open.trial => BreakerPhase::Trial,
            until if now < until => BreakerPhase::Open,
            _ => BreakerPhase::HalfOpen,
        });
        (phase, self.in_a_row.load(Ordering::Relaxed))
    }

    fn next_number(&self) -> u32 {
        self.number.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is long over, and notes whether anything is left.
    fn settle(&self, mut state: MutexGuard<'_, State>, now: Instant) {
        state.models.retain(|(_, cooling)| now < cooling.wait.until + REMEMBERED);
        let State { target, models, open, connections } = &*state;
        let troubled = target.is_some() || !models.is_empty() || open.is_some() || *connections > 0;
        self.troubled.store(troubled, Ordering::Relaxed);
    }
}

impl State {
    fn cool_model(&mut self, model: &str, cooling: Cooling) {
        if let Some((_, present)) = self.models.iter_mut().find(|(name, _)| name == model) {
            *present = cooling;
            return;
        }
        if model.len() > MAX_MODEL {
            return;
        }
        if self.models.len() >= MAX_MODELS {
            // The one that ends first makes room: names that clients invent can't push out a long wait.
            let first = self.models.iter().enumerate().min_by_key(|(_, (_, present))| present.wait.until);
            match first.map(|(at, (_, present))| (at, present.wait.until)) {
                Some((at, until)) if until < cooling.wait.until => drop(self.models.swap_remove(at)),
                _ => return,
            }
        }
        self.models.push((model.to_owned(), cooling));
    }
}

/// The time, up to a tenth longer, and up to `shorter` percent shorter.
fn varied(time: Duration, random: u64, shorter: u32) -> Duration {
    let part = u32::try_from(random % 256).unwrap_or(0);
    // The range in percent, of which `part` out of 255 is taken.
    let range = time / 100 * (10 + shorter);
    time.saturating_sub(time / 100 * shorter) + range * part / 255
}

#[cfg(test)]
mod tests;
