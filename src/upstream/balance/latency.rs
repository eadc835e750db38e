//! How long a target takes until the first content of its answer, as the last attempts have shown.
//!
//! Streams and whole answers are apart: the first content of one that is not streamed comes when all of it is ready.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::TargetState;

/// The part of the estimate that a new attempt decides is one in this many.
const ONE_IN: u64 = 8;
/// After a pause a new attempt decides more: half after so many seconds.
const HALF_AFTER: u64 = 10;
/// An estimate that is older is none. The target is then chosen like one that is new, and so is measured again.
const FORGOTTEN: u64 = 60;
/// The last attempts of which the slowest are known. A power of two, so that a counter that wraps goes on.
const KEPT: usize = 64;
/// Fewer attempts than this have no 95th percentile.
const MIN_KEPT: usize = 20;

/// The kind of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// It is streamed.
    Stream,
    /// It comes as a whole.
    Whole,
}

/// The latencies of one target.
#[derive(Debug, Default)]
pub struct Latencies {
    stream: Latency,
    whole: Latency,
}

impl Latencies {
    /// The latency of answers of this kind.
    pub const fn of(&self, kind: AnswerKind) -> &Latency {
        match kind {
            AnswerKind::Stream => &self.stream,
            AnswerKind::Whole => &self.whole,
        }
    }
}

/// The time until the first content, of the last attempts.
#[derive(Debug)]
pub struct Latency {
    /// The times below count from here.
    began: Instant,
    /// The second of the last attempt, from 1, and the estimate in microseconds: one word, so that both are of one
    /// attempt. 0 if there was none.
    estimate: AtomicU64,
    /// How many attempts there were. It wraps.
    count: AtomicU32,
    /// The last ones, in microseconds.
    kept: [AtomicU32; KEPT],
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            estimate: AtomicU64::new(0),
            count: AtomicU32::new(0),
            kept: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl Latency {
    /// The estimate; `None` if there is none, or it is old.
    pub fn estimate(&self, now: Instant) -> Option<Duration> {
        let word = self.estimate.load(Ordering::Relaxed);
        let (second, micros) = (word >> 32, word & u64::from(u32::MAX));
        (second > 0 && self.second(now).saturating_sub(second) < FORGOTTEN).then(|| Duration::from_micros(micros))
    }

    /// The time within which 95 of 100 of the last attempts had their first content; `None` where they are few.
    pub fn p95(&self) -> Option<Duration> {
        let count = usize::try_from(self.count.load(Ordering::Relaxed)).unwrap_or(KEPT).min(KEPT);
        if count < MIN_KEPT {
            return None;
        }
        let mut kept: [u32; KEPT] =
            std::array::from_fn(|at| self.kept.get(at).map_or(0, |m| m.load(Ordering::Relaxed)));
        let (_, micros, _) = kept.get_mut(..count)?.select_nth_unstable(count * 95 / 100);
        Some(Duration::from_micros(u64::from(*micros)))
    }

    /// The first content came after this time.
    pub fn record(&self, time: Duration, now: Instant) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let at = usize::try_from(self.count.fetch_add(1, Ordering::Relaxed)).unwrap_or_default() % KEPT;
        if let Some(kept) = self.kept.get(at) {
            kept.store(micros, Ordering::Relaxed);
        }
        let (second, new) = (self.second(now), u64::from(micros));
        let averaged = |word: u64| {
            let (last, old) = (word >> 32, word & u64::from(u32::MAX));
            let pause = second.saturating_sub(last);
            // The larger one of 1 in 8 and the part that the pause gives it.
            let (part, whole) =
                if pause * ONE_IN > pause + HALF_AFTER { (pause, pause + HALF_AFTER) } else { (1, ONE_IN) };
            let estimate = if last == 0 { new } else { (old * (whole - part) + new * part) / whole };
            Some(second << 32 | estimate.min(u64::from(u32::MAX)))
        };
        let _ = self.estimate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, averaged);
    }

    /// No content came for this time, and the attempt was ended. That is news if it is longer than the estimate.
    fn exceeded(&self, time: Duration, now: Instant) {
        if self.estimate(now).is_some_and(|estimate| time > estimate) {
            self.record(time, now);
        }
    }

    /// The second of `now`, from 1.
    fn second(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.began).as_secs() + 1) & u64::from(u32::MAX)
    }
}

/// Measures one attempt, from its beginning. Where it is dropped before the first content has come, the answer would
/// have taken longer.
#[derive(Debug)]
pub struct FirstContent {
    state: Arc<TargetState>,
    kind: AnswerKind,
    began: Instant,
    came: bool,
}

impl FirstContent {
    /// Begins to measure an attempt at the target with this state.
    pub fn begin(state: &Arc<TargetState>, kind: AnswerKind) -> Self {
        Self { state: Arc::clone(state), kind, began: Instant::now(), came: false }
    }

    /// The kind of the answer.
    pub const fn kind(&self) -> AnswerKind {
        self.kind
    }

    /// The first content has come.
    pub fn came(mut self) {
        self.came = true;
        let now = Instant::now();
        self.state.latencies().of(self.kind).record(now.saturating_duration_since(self.began), now);
    }
}

impl Drop for FirstContent {
    fn drop(&mut self) {
        if !self.came {
            let now = Instant::now();
            self.state.latencies().of(self.kind).exceeded(now.saturating_duration_since(self.began), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn the_estimate_follows_the_last_attempts_and_is_forgotten() {
        let latency = Latency::default();
        let now = Instant::now();
        assert_eq!(latency.estimate(now), None);
        latency.record(millis(100), now);
        assert_eq!(latency.estimate(now), Some(millis(100)), "the first one is all that is known");
        latency.record(millis(900), now);
        assert_eq!(latency.estimate(now), Some(millis(200)), "one of many changes it by an eighth");
        for _ in 0..50 {
            latency.record(millis(900), now);
        }
        assert!(latency.estimate(now).unwrap() > millis(890));
        assert!(latency.estimate(now + 59 * SECOND).is_some());
        assert_eq!(latency.estimate(now + 61 * SECOND), None);
        latency.record(millis(100), now + 1000 * SECOND);
        assert!(latency.estimate(now + 1000 * SECOND).unwrap() < millis(110), "after a pause the last one decides");
    }

    #[test]
    fn the_slowest_of_the_last_attempts_are_known() {
        let latency = Latency::default();
        let now = Instant::now();
        for number in 1..MIN_KEPT {
            latency.record(millis(number as u64), now);
        }
        assert_eq!(latency.p95(), None, "too few");
        latency.record(SECOND, now);
        assert_eq!(latency.p95(), Some(SECOND), "one of twenty");
        for number in 0..KEPT {
            latency.record(millis(number as u64), now);
        }
        assert_eq!(latency.p95(), Some(millis(60)), "the second is forgotten");
    }

    #[test]
    fn an_attempt_that_is_ended_before_its_first_content_shows_that_the_target_is_slow() {
        let state = Arc::new(TargetState::default());
        let estimate = || state.latencies().of(AnswerKind::Stream).estimate(Instant::now());
        let began = |ago| {
            let mut content = FirstContent::begin(&state, AnswerKind::Stream);
            content.began = Instant::now().checked_sub(ago).unwrap();
            content
        };
        drop(began(millis(1)));
        assert_eq!(estimate(), None, "a target that refuses is not fast");
        began(SECOND).came();
        let first = estimate().unwrap();
        assert!(first >= SECOND);
        assert_eq!(state.latencies().of(AnswerKind::Whole).estimate(Instant::now()), None);
        drop(began(millis(1)));
        assert_eq!(estimate(), Some(first), "it was ended early");
        drop(began(9 * SECOND));
        assert!(estimate().unwrap() >= 2 * SECOND);
    }
}
