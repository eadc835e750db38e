//! One attempt at a target, and the state of the target that results from all of them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::upstream::failure::{Meaning, Verdict};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The target replied, and its reply was handed over to its end.
    Answered,
    /// The target replied with a failure after which another target may do better.
    Refused,
    /// No connection could be made, or it ended before the reply began.
    Unreachable,
    /// The target took too long: until the head of its reply, or within it.
    TimedOut,
    /// The reply began and broke off, or could not be read.
    Broken,
    /// The gateway could not send the request: it had no credential, or the request could not be built.
    NotSent,
    /// The attempt was dropped before it had an outcome: the client went away, or the process ended.
    Abandoned,
}

impl AttemptOutcome {
    /// Every outcome, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::Answered,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Broken,
        Self::NotSent,
        Self::Abandoned,
    ];

    /// The outcome's name in debug output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timedOut",
            Self::Broken => "broken",
            Self::NotSent => "notSent",
            Self::Abandoned => "abandoned",
        }
    }

    /// What it means where no reply was judged; `None` if it is no failure.
    pub const fn meaning(self) -> Option<Meaning> {
        match self {
            Self::Answered | Self::Abandoned => None,
            // Within a stream: the generation has failed.
            Self::Refused | Self::Broken => Some(Meaning::Broken),
            Self::Unreachable => Some(Meaning::Network),
            Self::TimedOut => Some(Meaning::Timeout),
            Self::NotSent => Some(Meaning::NotSent),
        }
    }
}

/// The state of one target, over all snapshots.
#[derive(Debug, Default)]
pub struct TargetState {
    in_flight: AtomicU32,
    ended: [AtomicU64; AttemptOutcome::ALL.len()],
}

impl TargetState {
    /// Attempts that are under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many attempts have had this outcome since the process began.
    pub fn ended(&self, outcome: AttemptOutcome) -> u64 {
        self.ended.get(outcome as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// An attempt that is under way. The code that holds it records the outcome in it, which is reported when it is
/// dropped, so none is lost, wherever the request ends: in the attempt loop, or in the relay of a stream.
#[must_use]
#[derive(Debug)]
pub struct Attempt {
    state: Arc<TargetState>,
    outcome: AttemptOutcome,
    /// What a reply that is an error means.
    verdict: Option<Box<Verdict>>,
}

impl Attempt {
    /// Begins an attempt at the target with this state.
    pub fn begin(state: &Arc<TargetState>) -> Self {
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { state: Arc::clone(state), outcome: AttemptOutcome::Abandoned, verdict: None }
    }

    /// Records what the target's reply means, which is an error.
    pub fn judged(&mut self, verdict: Verdict) {
        if verdict.meaning.row().tries_other() {
            self.ended(AttemptOutcome::Refused);
        }
        self.verdict = Some(Box::new(verdict));
    }

    /// What the target's reply means, if it is an error.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_deref()
    }

    /// Records how the attempt ended. The first outcome counts: anything after a failure is its consequence.
    pub const fn ended(&mut self, outcome: AttemptOutcome) {
        if matches!(self.outcome, AttemptOutcome::Abandoned) {
            self.outcome = outcome;
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = self.state.ended.get(self.outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_is_counted_once_by_its_first_outcome() {
        let state = Arc::new(TargetState::default());
        let mut broken = Attempt::begin(&state);
        let dropped = Attempt::begin(&state);
        assert_eq!(state.in_flight(), 2);
        broken.ended(AttemptOutcome::Broken);
        broken.ended(AttemptOutcome::Answered);
        drop(broken);
        drop(dropped);
        assert_eq!(state.in_flight(), 0);
        let counts: Vec<u64> = AttemptOutcome::ALL.iter().map(|outcome| state.ended(*outcome)).collect();
        assert_eq!(counts, [0, 0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn counters_are_in_the_order_of_the_list() {
        for (index, outcome) in AttemptOutcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
