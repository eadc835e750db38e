//! What earlier replies have shown about a server: whether it has Responses.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// How long it is remembered. Servers get new versions, and looking again costs one reply of 404 without any work.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Whether a server has an API, as its replies show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasApi {
    /// It has answered in it.
    Yes,
    /// It has answered that there is no such endpoint.
    No,
}

/// What is known about a server, over all snapshots.
#[derive(Debug)]
pub struct ServerState {
    /// The times below count from here.
    began: Instant,
    /// Milliseconds until what is known about Responses is forgotten, twice, plus one if the server has them. One word,
    /// so that both are of one reply.
    responses: AtomicU64,
}

impl Default for ServerState {
    fn default() -> Self {
        Self { began: Instant::now(), responses: AtomicU64::new(0) }
    }
}

impl ServerState {
    /// Whether the server has Responses; `None` as long as that is unknown.
    pub fn has_responses(&self, now: Instant) -> Option<HasApi> {
        let word = self.responses.load(Ordering::Relaxed);
        let is_fresh = self.since_began(now) < word >> 1;
        is_fresh.then_some(if word & 1 == 1 { HasApi::Yes } else { HasApi::No })
    }

    /// A reply has shown whether the server has Responses. Returns whether that was not known before.
    pub fn shown(&self, has: HasApi, now: Instant) -> bool {
        let before = self.has_responses(now);
        let until = self.since_began(now).saturating_add(millis(REMEMBERED));
        self.responses.store(until << 1 | u64::from(has == HasApi::Yes), Ordering::Relaxed);
        before != Some(has)
    }

    fn since_began(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.began))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reply_has_shown_is_forgotten_after_a_while() {
        let state = ServerState::default();
        let now = Instant::now();
        assert_eq!(state.has_responses(now), None);
        assert!(state.shown(HasApi::No, now), "it is new");
        assert!(!state.shown(HasApi::No, now), "it is known");
        assert_eq!(state.has_responses(now + REMEMBERED - Duration::from_millis(5)), Some(HasApi::No));
        assert_eq!(state.has_responses(now + REMEMBERED + Duration::from_millis(5)), None);
        assert!(state.shown(HasApi::Yes, now), "the server was replaced");
        assert_eq!(state.has_responses(now), Some(HasApi::Yes));
    }
}
