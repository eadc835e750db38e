//! Connections that are being opened, and the requests that wait to share them.
//!
//! A hundred requests that come at once to a server without a connection need one connection, not a hundred. The first
//! of them opens it, and the others wait. Where more wait than the connections under way have room for, one of them
//! opens another beside those.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::MAX_STREAMS;

/// The connections to one origin that are being opened.
pub struct Openings {
    state: Mutex<State>,
    /// Changes when one of them has ended.
    ended: watch::Sender<()>,
}

struct State {
    under_way: usize,
    waiting: usize,
    /// How many have failed so far.
    failed: u64,
    /// How many requests the last connection had room for.
    streams: usize,
}

/// What a request does that needs a connection.
pub enum Turn {
    /// It opens one.
    Open(Opening),
    /// It waits for one that another request opens.
    Wait(Waiting),
}

/// A connection that is being opened. It has failed when this is dropped before [`succeeded`](Self::succeeded).
pub struct Opening(Option<Arc<Openings>>);

/// A request that waits.
pub struct Waiting {
    openings: Arc<Openings>,
    ended: watch::Receiver<()>,
    failed: u64,
}

impl Default for Openings {
    fn default() -> Self {
        let state = State { under_way: 0, waiting: 0, failed: 0, streams: MAX_STREAMS };
        Self { state: Mutex::new(state), ended: watch::Sender::new(()) }
    }
}

impl Openings {
    /// What the next request does.
    pub fn turn(self: &Arc<Self>) -> Turn {
        let mut state = self.state();
        // The request that opens a connection takes one of its streams.
        let room = state.under_way.saturating_mul(state.streams.saturating_sub(1));
        if state.waiting >= room {
            state.under_way += 1;
            return Turn::Open(Opening(Some(Arc::clone(self))));
        }
        state.waiting += 1;
        // Subscribed while the state is locked, so that no end is missed.
        Turn::Wait(Waiting { openings: Arc::clone(self), ended: self.ended.subscribe(), failed: state.failed })
    }

    /// A panic while the lock is held leaves valid counts.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opening {
    /// The connection is there, with room for this many requests.
    pub fn succeeded(mut self, streams: usize) {
        if let Some(openings) = self.0.take() {
            let mut state = openings.state();
            state.under_way -= 1;
            state.streams = streams;
            drop(state);
            openings.ended.send_replace(());
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(openings) = self.0.take() {
            let mut state = openings.state();
            state.under_way -= 1;
            state.failed += 1;
            drop(state);
            openings.ended.send_replace(());
        }
    }
}

impl Waiting {
    /// Waits until one of the connections is there. False when one has failed instead: the request opens its own then,
    /// because a server that can't be reached is not to be tried by one request after the other.
    pub async fn succeeded(mut self) -> bool {
        self.ended.changed().await.is_ok() && self.openings.state().failed == self.failed
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.openings.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// The next request has to wait.
    fn wait(openings: &Arc<Openings>) -> Waiting {
        let Turn::Wait(waiting) = openings.turn() else { panic!("it opens a connection") };
        waiting
    }

    /// The next request opens a connection.
    fn open(openings: &Arc<Openings>) -> Opening {
        let Turn::Open(opening) = openings.turn() else { panic!("it waits") };
        opening
    }

    #[test]
    fn one_request_opens_a_connection_for_as_many_as_it_has_room_for() {
        let openings = Arc::<Openings>::default();
        let first = open(&openings);
        let mut waiting: Vec<_> = (1..MAX_STREAMS).map(|_| wait(&openings)).collect();
        let second = open(&openings);
        let more = wait(&openings);
        // A client that goes away makes room for another.
        drop(waiting.pop());
        waiting.push(more);
        first.succeeded(10);
        assert!(waiting.pop().is_some_and(|waiting| waiting.succeeded().now_or_never() == Some(true)));
        drop((waiting, second));
        // From now on ten are expected to fit.
        let _third = open(&openings);
        let _others: Vec<_> = (1..10).map(|_| wait(&openings)).collect();
        let _fourth = open(&openings);
    }

    #[test]
    fn after_a_failure_each_request_opens_its_own() {
        let openings = Arc::<Openings>::default();
        let first = open(&openings);
        let waiting = [wait(&openings), wait(&openings)];
        drop(first);
        assert!(waiting.into_iter().all(|waiting| waiting.succeeded().now_or_never() == Some(false)));
        let again = open(&openings);
        let waiting = wait(&openings);
        again.succeeded(MAX_STREAMS);
        assert_eq!(waiting.succeeded().now_or_never(), Some(true), "the failure was another connection's");
    }
}
