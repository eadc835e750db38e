//! One attempt at a target, and the state of the target that results from all of them.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    health::{Admission, Health, Wait},
    latency::Latencies,
    load::{Room, TargetPermit},
};
use crate::{
    dialect::ErrorClass,
    telemetry::targets::{TargetGauge, TargetMetrics, TargetSeries},
    upstream::failure::{Meaning, Verdict},
};

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
    /// No content of a stream came in time.
    NoFirstToken,
    /// The reply began and broke off, or could not be read.
    Broken,
    /// The gateway could not send the request: it had no credential, or the request could not be built.
    NotSent,
    /// The attempt was ended because another target's answer had begun.
    Outrun,
    /// The attempt was dropped before it had an outcome: the client went away, or the process ended.
    Abandoned,
}

impl AttemptOutcome {
    /// Every outcome, in the order of the counters.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::NoFirstToken,
        Self::Broken,
        Self::NotSent,
        Self::Outrun,
        Self::Abandoned,
    ];

    /// The outcome's name in debug output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timedOut",
            Self::NoFirstToken => "noFirstToken",
            Self::Broken => "broken",
            Self::NotSent => "notSent",
            Self::Outrun => "outrun",
            Self::Abandoned => "abandoned",
        }
    }

    /// What it means where no reply was judged; `None` if it is no failure.
    pub const fn meaning(self) -> Option<Meaning> {
        match self {
            Self::Answered | Self::Outrun | Self::Abandoned => None,
            // Within a stream: the generation has failed.
            Self::Refused | Self::Broken => Some(Meaning::Broken),
            Self::Unreachable => Some(Meaning::Network),
            Self::TimedOut | Self::NoFirstToken => Some(Meaning::Timeout),
            Self::NotSent => Some(Meaning::NotSent),
        }
    }
}

/// The state of one target, over all snapshots.
#[derive(Debug, Default)]
pub struct TargetState {
    in_flight: AtomicU32,
    ended: [AtomicU64; AttemptOutcome::ALL.len()],
    health: Health,
    latencies: Latencies,
    room: Room,
    /// Metrics; a plain server's endpoint has none.
    series: OnceLock<Arc<TargetSeries>>,
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

    /// The target's health. Of a plain server's endpoint it has only whether connections can be made.
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// How long its answers take to begin, where that was measured.
    pub const fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// The target's room, where that is limited.
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// Counts the attempts at the target in these metrics, under these names.
    pub fn count_in(self: &Arc<Self>, metrics: &TargetMetrics, backend: &str, target: &str) {
        let gauge = Arc::downgrade(&(Arc::clone(self) as Arc<dyn TargetGauge>));
        // The names of a state never change, and neither do its series.
        let _ = self.series.set(metrics.target(backend, target, Weak::clone(&gauge)));
    }

    /// Another target is tried after this failure.
    pub fn failed_over(&self, cause: Meaning) {
        if let Some(series) = self.series.get() {
            series.failed_over(cause.row().word);
        }
    }

    /// Asks whether a request for `model` may be sent now, perhaps as a probe. `sole` states that the Backend has no
    /// other target.
    ///
    /// # Errors
    /// When other targets should be tried first.
    pub fn admit(self: &Arc<Self>, model: &str, sole: bool, now: Instant) -> Result<Option<Probe>, Wait> {
        match self.health.admit(model, sole, now) {
            Admission::Ready => Ok(None),
            Admission::Probe(number) => Ok(Some(Probe { state: Arc::clone(self), number })),
            Admission::Cooling(wait) => Err(wait),
        }
    }
}

impl TargetGauge for TargetState {
    fn cooling(&self) -> Option<Duration> {
        let now = Instant::now();
        self.health.trouble(now).map(|wait| wait.until.saturating_duration_since(now))
    }
}

/// The place of the one request that finds out whether a target has recovered. It is free again when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Probe {
    state: Arc<TargetState>,
    number: u32,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.state.health.release(self.number);
    }
}

/// Whether an attempt was ended because another target's answer had begun.
#[derive(Clone, Debug, Default)]
pub struct Outrun(Arc<AtomicBool>);

impl Outrun {
    /// The other target's answer has begun.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A second attempt at a request whose first one is under way. What became of it is counted when this is dropped.
#[derive(Debug)]
pub struct HedgeCount {
    state: Arc<TargetState>,
    /// The word that is counted.
    word: &'static str,
}

impl HedgeCount {
    /// The second attempt is made at the target with this state.
    pub fn begin(state: &Arc<TargetState>) -> Self {
        Self { state: Arc::clone(state), word: "lost" }
    }

    /// It has ended before the first one: with the answer that counts, or without one.
    pub fn ended(mut self, won: bool) {
        self.word = if won { "won" } else { "failed" };
    }
}

impl Drop for HedgeCount {
    fn drop(&mut self) {
        if let Some(series) = self.state.series.get() {
            series.hedged(self.word);
        }
    }
}

/// What an attempt needs to report to the target's health.
#[derive(Debug)]
struct Watched {
    /// The number of the target's last cooldown when the attempt began.
    number: u32,
    /// The model, where the target's health has something to forget after a success.
    model: Option<Box<str>>,
    probe: Option<Probe>,
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
    /// Whether the request has the gateway's own key, and not the client's.
    own_key: bool,
    /// `None` after the attempt was reported.
    watched: Option<Watched>,
    /// Set while it goes on when another target's answer has begun.
    outrun: Option<Outrun>,
    /// Its place at the target, where these are limited.
    permit: Option<TargetPermit>,
}

impl Attempt {
    /// Begins an attempt at the endpoint of a plain server with this state, perhaps as a probe. Its health has only
    /// whether connections can be made: what a server's replies mean is between it and its clients.
    pub fn begin(state: &Arc<TargetState>, probe: Option<Probe>) -> Self {
        Self::new(state, true, Some(Watched { number: state.health.number(), model: None, probe }))
    }

    /// Begins an attempt at the target with this state, for `model`, perhaps as a probe. `own_key` states whether it
    /// has the gateway's own key, and not the client's.
    pub fn watched(state: &Arc<TargetState>, model: &str, own_key: bool, probe: Option<Probe>) -> Self {
        let model = state.health.is_troubled().then(|| model.into());
        Self::new(state, own_key, Some(Watched { number: state.health.number(), model, probe }))
    }

    fn new(state: &Arc<TargetState>, own_key: bool, watched: Option<Watched>) -> Self {
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            state: Arc::clone(state),
            outcome: AttemptOutcome::Abandoned,
            verdict: None,
            own_key,
            watched,
            outrun: None,
            permit: None,
        }
    }

    /// The same attempt, which may be ended because another target is faster.
    pub fn racing(mut self, outrun: &Outrun) -> Self {
        self.outrun = Some(outrun.clone());
        self
    }

    /// The same attempt, which gives its place at the target back when it ends.
    pub fn holding(mut self, permit: Option<TargetPermit>) -> Self {
        self.permit = permit;
        self
    }

    /// Takes the attempt's place at the target: another attempt goes on with it, or it is free.
    pub const fn take_permit(&mut self) -> Option<TargetPermit> {
        self.permit.take()
    }

    /// Records what the target's reply means, which is an error. The target's health has it at once: the reply may be
    /// kept while others are tried.
    pub fn judged(&mut self, verdict: Verdict, model: &str) {
        if verdict.meaning.row().tries_other() {
            self.ended(AttemptOutcome::Refused);
        }
        if let Some(watched) = self.watched.take() {
            self.state.health.failed(&verdict, model, watched.number, Instant::now(), random());
        }
        self.verdict = Some(Box::new(verdict));
    }

    /// Records that the reply has an error of this class in it, although its status is good. An error that the client
    /// has caused is an answer.
    pub fn failed_inside(&mut self, class: ErrorClass, model: &str) {
        self.judged(Verdict::of_error_inside(class, self.own_key), model);
    }

    /// There is a connection to the endpoint of a plain server.
    pub fn connected(&mut self) {
        if let Some(watched) = self.watched.take()
            && self.state.health.is_troubled()
        {
            self.state.health.succeeded("", watched.number, Instant::now());
        }
    }

    /// The target's reply has begun, and is no error.
    pub fn replied(&mut self) {
        if let Some(watched) = &mut self.watched {
            self.state.health.replied(watched.number);
            watched.probe = None;
        }
    }

    fn count(&self) {
        let Some(series) = self.state.series.get() else { return };
        let meaning = self.verdict.as_ref().map(|verdict| verdict.meaning).or_else(|| self.outcome.meaning());
        match meaning {
            Some(meaning) => series.ended(meaning.row().word),
            None if self.outcome == AttemptOutcome::Answered => series.answered(),
            None => series.ended(self.outcome.as_str()),
        }
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
        if self.outrun.as_ref().is_some_and(Outrun::is_set) {
            self.ended(AttemptOutcome::Outrun);
        }
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = self.state.ended.get(self.outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.count();
        let Some(watched) = self.watched.take() else { return };
        let (health, model) = (&self.state.health, watched.model.as_deref().unwrap_or_default());
        match self.outcome.meaning() {
            Some(meaning) => health.failed(&Verdict::new(meaning), model, watched.number, Instant::now(), random()),
            None if self.outcome == AttemptOutcome::Answered => {
                health.succeeded(model, watched.number, Instant::now());
            }
            None => {}
        }
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_is_counted_once_by_its_first_outcome() {
        let state = Arc::new(TargetState::default());
        let mut broken = Attempt::begin(&state, None);
        let dropped = Attempt::begin(&state, None);
        assert_eq!(state.in_flight(), 2);
        broken.ended(AttemptOutcome::Broken);
        broken.ended(AttemptOutcome::Answered);
        drop(broken);
        drop(dropped);
        assert_eq!(state.in_flight(), 0);
        let counts: Vec<u64> = AttemptOutcome::ALL.iter().map(|outcome| state.ended(*outcome)).collect();
        assert_eq!(counts, [0, 0, 0, 0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn counters_are_in_the_order_of_the_list() {
        for (index, outcome) in AttemptOutcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
