//! Watches the requests of one connection from outside: for clients that stop reading, and for connections without
//! requests.
//!
//! A reply is polled when its client takes more. A client that stops reading is therefore never seen by the reply
//! itself, and neither its idle timeout nor its deadline would pass: over HTTP/1.1 the socket is full, over HTTP/2 the
//! stream's window is empty. So each connection has a [`Watch`], and ends when a reply has waited for its client for
//! too long.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// How often a connection with requests looks at them within its patience.
const LOOKS: u32 = 4;

/// The requests under way on one connection.
#[derive(Debug, Default)]
pub struct Watch {
    requests: Mutex<Vec<Weak<Progress>>>,
    begun: Notify,
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A client has stopped reading a reply.
    Stalled,
    /// There is no request.
    Idle,
}

/// How far one request has come. It lives until its reply has ended.
#[derive(Debug, Default)]
pub struct Progress {
    state: Mutex<State>,
    stalled: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Since when the reply waits for its client; `None` while the client waits.
    handed_over: Option<Instant>,
    /// When the reply must have ended.
    deadline: Option<Instant>,
}

impl Watch {
    /// A request begins.
    pub fn begin(&self) -> Arc<Progress> {
        let progress = Arc::default();
        let mut requests = lock(&self.requests);
        // Those that have ended make room, so that a connection with many requests does not grow.
        if requests.len() == requests.capacity() {
            requests.retain(|request| request.strong_count() > 0);
        }
        requests.push(Arc::downgrade(&progress));
        drop(requests);
        self.begun.notify_one();
        progress
    }

    /// Waits until the connection should end: a client has left a reply waiting for `patience` or beyond the reply's
    /// deadline, or there was no request for `idle`.
    pub async fn ending(&self, patience: Duration, idle: Duration) -> Ending {
        loop {
            match self.look(Instant::now(), patience) {
                Look::Stalled => return Ending::Stalled,
                Look::Busy => sleep(patience / LOOKS).await,
                Look::Idle => {
                    if timeout(idle, self.begun.notified()).await.is_err() {
                        return Ending::Idle;
                    }
                }
            }
        }
    }

    fn look(&self, now: Instant, patience: Duration) -> Look {
        let mut requests = lock(&self.requests);
        requests.retain(|request| request.strong_count() > 0);
        let mut look = if requests.is_empty() { Look::Idle } else { Look::Busy };
        for request in requests.iter().filter_map(Weak::upgrade).filter(|request| request.is_stalled(now, patience)) {
            request.stalled.store(true, Ordering::Relaxed);
            look = Look::Stalled;
        }
        look
    }
}

/// What a look at the requests of a connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Stalled,
    Busy,
    Idle,
}

impl Progress {
    /// The reply begins, and must have ended at `deadline`.
    pub fn reply_begins(&self, deadline: Option<Instant>) {
        *lock(&self.state) = State { handed_over: Some(Instant::now()), deadline };
    }

    /// A part of the reply was handed over: the client must come back for more.
    pub fn handed_over(&self) {
        lock(&self.state).handed_over = Some(Instant::now());
    }

    /// The client has come back, and waits for the backend.
    pub fn client_waits(&self) {
        lock(&self.state).handed_over = None;
    }

    /// Whether the client has stopped reading.
    pub fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    fn is_stalled(&self, now: Instant, patience: Duration) -> bool {
        let State { handed_over, deadline } = *lock(&self.state);
        handed_over.is_some_and(|since| {
            now.duration_since(since) >= patience || deadline.is_some_and(|deadline| now >= deadline)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// What a look at `watch` shows after so much of the patience.
    fn after(watch: &Watch, part: f64) -> Look {
        watch.look(Instant::now() + PATIENCE.mul_f64(part), PATIENCE)
    }

    #[test]
    fn a_client_that_does_not_come_back_for_its_reply_has_stalled() {
        let watch = Watch::default();
        let request = watch.begin();
        assert_eq!(after(&watch, 9.0), Look::Busy, "the client waits for its reply");
        request.reply_begins(None);
        assert_eq!(after(&watch, 0.5), Look::Busy);
        assert!(!request.has_stalled());
        assert_eq!(after(&watch, 1.5), Look::Stalled);
        assert!(request.has_stalled());
    }

    #[test]
    fn a_client_that_comes_back_has_not_stalled() {
        let watch = Watch::default();
        let request = watch.begin();
        request.reply_begins(Some(Instant::now()));
        request.client_waits();
        assert_eq!(after(&watch, 9.0), Look::Busy, "a reply that is polled has its own timeouts");
        request.handed_over();
        assert_eq!(after(&watch, 0.0), Look::Stalled, "nobody polls it, and its deadline has passed");
        drop(request);
        assert_eq!(after(&watch, 9.0), Look::Idle);
    }

    #[tokio::test]
    async fn a_connection_ends_when_it_stalls_and_when_it_idles() {
        let (watch, short) = (Watch::default(), Duration::from_millis(10));
        assert_eq!(watch.ending(PATIENCE, short).await, Ending::Idle);
        let request = watch.begin();
        request.reply_begins(None);
        assert_eq!(watch.ending(short, PATIENCE).await, Ending::Stalled);
        assert!(request.has_stalled());
    }
}
