//! Watches the requests of one connection from outside: for clients that stop reading, and for connections without
//! requests.
//!
//! A reply is polled only when its client takes more. So the reply itself can't detect a client that stops reading, and
//! neither its idle timeout nor its deadline would fire: over HTTP/1.1 the socket is full, over HTTP/2 the stream's
//! window is empty. Therefore each connection has a [`Watch`], and ends when a reply has waited for its client for too
//! long.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// How many times a connection with requests is checked within the shortest of their limits.
const LOOKS: u32 = 4;

/// The requests under way on one connection.
#[derive(Debug, Default)]
pub struct Watch {
    requests: Mutex<Vec<Weak<Progress>>>,
    begun: Notify,
}

/// The reason why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A client has stopped reading a reply.
    Stalled,
    /// There is no request.
    Idle,
}

/// The reason why a reply that waits for its client is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The client has stopped reading.
    Client,
    /// The reply's own deadline or idle timeout has passed, and the client does not continue to read.
    Timeout,
}

/// The progress of one request. It lives until its reply has ended.
#[derive(Debug, Default)]
pub struct Progress {
    reply: Mutex<Option<ReplyState>>,
    stall: OnceLock<Stall>,
}

#[derive(Clone, Copy, Debug)]
struct ReplyState {
    /// Since when the reply waits for its client; `None` while the client waits for the reply.
    handed_over: Option<Instant>,
    /// Longest pause of the reply.
    idle: Duration,
    /// When the reply must have ended.
    deadline: Option<Instant>,
}

impl Watch {
    /// A request begins.
    pub fn begin(&self) -> Arc<Progress> {
        let progress = Arc::default();
        let mut requests = lock(&self.requests);
        // Requests that have ended are removed, so that a connection with many requests does not grow.
        if requests.len() == requests.capacity() {
            requests.retain(|request| request.strong_count() > 0);
        }
        requests.push(Arc::downgrade(&progress));
        drop(requests);
        self.begun.notify_one();
        progress
    }

    /// Waits until the connection should end: a client has left a reply waiting for `patience` or beyond the reply's
    /// own bounds, or there was no request for `idle`.
    pub async fn ending(&self, patience: Duration, idle: Duration) -> Ending {
        loop {
            match self.look(Instant::now(), patience) {
                Look::Stalled => return Ending::Stalled,
                Look::Busy(next) => sleep(next).await,
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
        if requests.is_empty() {
            return Look::Idle;
        }
        let mut next = patience / LOOKS;
        let mut stalled = false;
        for request in requests.iter().filter_map(Weak::upgrade) {
            let Some(reply) = *lock(&request.reply) else { continue };
            if let Some(stall) = reply.stall(now, patience) {
                stalled |= request.stall.set(stall).is_ok();
            }
            let left = reply.deadline.map(|deadline| deadline.saturating_duration_since(now));
            next = next.min(reply.idle / LOOKS).min(left.filter(|left| !left.is_zero()).unwrap_or(next));
        }
        if stalled { Look::Stalled } else { Look::Busy(next) }
    }
}

/// The result of a check of a connection's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Stalled,
    /// There are requests; the time to the next check.
    Busy(Duration),
    Idle,
}

impl ReplyState {
    fn stall(&self, now: Instant, patience: Duration) -> Option<Stall> {
        let waited = now.duration_since(self.handed_over?);
        if self.deadline.is_some_and(|deadline| now >= deadline) || (waited >= self.idle && self.idle < patience) {
            return Some(Stall::Timeout);
        }
        (waited >= patience).then_some(Stall::Client)
    }
}

impl Progress {
    /// The reply begins. It may pause for `idle`, and must have ended at `deadline`.
    pub fn reply_begins(&self, idle: Duration, deadline: Option<Instant>) {
        *lock(&self.reply) = Some(ReplyState { handed_over: Some(Instant::now()), idle, deadline });
    }

    /// A part of the reply was handed over: the client must come back for more.
    pub fn handed_over(&self) {
        self.set(Some(Instant::now()));
    }

    /// The client takes more, and waits for the backend.
    pub fn client_waits(&self) {
        self.set(None);
    }

    fn set(&self, handed_over: Option<Instant>) {
        if let Some(reply) = &mut *lock(&self.reply) {
            reply.handed_over = handed_over;
        }
    }

    /// The reason why the connection ended because of this reply, if it did.
    pub fn stall(&self) -> Option<Stall> {
        self.stall.get().copied()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// The result of a check of `watch` after this part of the patience.
    fn after(watch: &Watch, part: f64) -> Look {
        watch.look(Instant::now() + PATIENCE.mul_f64(part), PATIENCE)
    }

    fn is_busy(look: Look) -> bool {
        matches!(look, Look::Busy(_))
    }

    #[test]
    fn a_client_that_does_not_come_back_for_its_reply_has_stalled() {
        let watch = Watch::default();
        let request = watch.begin();
        assert!(is_busy(after(&watch, 9.0)), "the client waits for its reply");
        request.reply_begins(5 * PATIENCE, None);
        assert!(is_busy(after(&watch, 0.5)));
        assert_eq!(request.stall(), None);
        assert_eq!(after(&watch, 1.5), Look::Stalled);
        assert_eq!(request.stall(), Some(Stall::Client));
    }

    #[test]
    fn a_replys_own_bounds_hold_while_nobody_polls_it() {
        let (watch, now) = (Watch::default(), Instant::now());
        let request = watch.begin();
        request.reply_begins(5 * PATIENCE, Some(now + PATIENCE / 2));
        request.client_waits();
        assert!(is_busy(after(&watch, 9.0)), "a reply that is polled has its own timers");
        request.handed_over();
        assert!(is_busy(after(&watch, 0.2)));
        assert_eq!(after(&watch, 0.6), Look::Stalled);
        assert_eq!(request.stall(), Some(Stall::Timeout));
        drop(request);
        assert_eq!(after(&watch, 9.0), Look::Idle);
        let request = watch.begin();
        request.reply_begins(PATIENCE / 10, None);
        assert_eq!(after(&watch, 0.2), Look::Stalled);
        assert_eq!(request.stall(), Some(Stall::Timeout), "it may not pause for so long");
    }

    #[tokio::test]
    async fn a_connection_ends_when_it_stalls_and_when_it_idles() {
        let (watch, short) = (Watch::default(), Duration::from_millis(10));
        assert_eq!(watch.ending(PATIENCE, short).await, Ending::Idle);
        let request = watch.begin();
        request.reply_begins(PATIENCE, None);
        assert_eq!(watch.ending(short, PATIENCE).await, Ending::Stalled);
        assert_eq!(request.stall(), Some(Stall::Client));
    }
}
