//! HTTP/2 connections, which many requests share. hyper speaks the protocol, in a task of each connection.

mod openings;
mod task;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

pub use openings::{Opening, Openings, Turn};

use self::task::InTask;
use super::{SendError, UpstreamBody, body::InFlight, http1::Stream};

/// Requests under way on one connection before another is opened, although the server may allow more: what one lost
/// packet holds up is bounded, and so is the work of one task. It is the least that servers commonly allow.
pub const MAX_STREAMS: usize = 100;
/// The limit of streams before the server's own has arrived. No server can set it: limits that it sends have 32 bits,
/// and `usize::MAX` is that of a server without one.
const UNKNOWN: usize = usize::MAX - 1;

/// When connections are pinged. A request may wait minutes for a model, and a server that is gone looks the same.
#[derive(Clone, Copy, Debug)]
pub struct Pings {
    /// How long a connection may be silent before it is pinged.
    after: Duration,
    /// How long the answer may take. Then the connection is dead, and its requests fail.
    timeout: Duration,
}

impl Default for Pings {
    /// A dead connection is found within 25 seconds. Answers of models take longer than the silence before a ping, and
    /// round trips much less than its timeout.
    fn default() -> Self {
        Self { after: Duration::from_secs(15), timeout: Duration::from_secs(10) }
    }
}

/// A connection that requests share.
pub struct Multiplexed {
    sender: SendRequest<UpstreamBody>,
    in_flight: InFlight,
    /// How many streams the server allows at a time, or [`UNKNOWN`].
    streams: Arc<AtomicUsize>,
    opened: Instant,
    /// When it gets no more requests.
    expires: Instant,
    /// Since when no request is under way, as the last sweep found it.
    idle_since: Option<Instant>,
}

impl Multiplexed {
    /// Begins HTTP/2 on `stream`. Returns the connection, and the task that drives it. Requests that wait for `opening`
    /// go on when the server has sent its limit of streams.
    ///
    /// # Errors
    /// When the connection is closed already.
    pub async fn open(
        stream: Stream,
        expires: Instant,
        mut opening: Option<Opening>,
        pings: Pings,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), SendError> {
        let task = InTask::default();
        let mut builder = http2::Builder::new(task.clone());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(pings.after)
            .keep_alive_timeout(pings.timeout)
            // So that no request meets a connection that died while it was idle.
            .keep_alive_while_idle(true)
            .initial_max_send_streams(UNKNOWN)
            .adaptive_window(true);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(SendError::http2)?;
        let streams = Arc::new(AtomicUsize::new(UNKNOWN));
        let shown = Arc::clone(&streams);
        let driver = task.run(connection, move |connection| {
            let limit = connection.current_max_send_streams();
            shown.store(limit, Ordering::Relaxed);
            if limit != UNKNOWN
                && let Some(opening) = opening.take()
            {
                opening.succeeded(limit.min(MAX_STREAMS));
            }
        });
        let opened = Instant::now();
        Ok((Self { sender, in_flight: InFlight::default(), streams, opened, expires, idle_since: None }, driver))
    }

    /// Reserves the connection for one more request.
    pub fn reserve(&self) -> (SendRequest<UpstreamBody>, InFlight) {
        (self.sender.clone(), Arc::clone(&self.in_flight))
    }

    /// Whether the requests that `in_flight` counts are this connection's.
    pub fn is_counted_by(&self, in_flight: &InFlight) -> bool {
        Arc::ptr_eq(&self.in_flight, in_flight)
    }

    /// Whether the connection gets requests at all: it is neither closed, nor going away, nor too old.
    pub fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.expires
    }

    /// Whether it was opened at `since` or later.
    pub fn is_since(&self, since: Instant) -> bool {
        self.opened >= since
    }

    /// Whether the server allows one more stream.
    pub fn has_room(&self) -> bool {
        let limit = match self.streams.load(Ordering::Relaxed) {
            // The request that has opened it does not wait for the limit.
            UNKNOWN => 1,
            limit => limit.min(MAX_STREAMS),
        };
        self.in_flight() < limit
    }

    /// The requests under way.
    pub fn in_flight(&self) -> usize {
        Arc::strong_count(&self.in_flight) - 1
    }

    /// Whether the connection has idled for `timeout` at `now`.
    pub fn has_idled(&mut self, now: Instant, timeout: Duration) -> bool {
        if self.in_flight() > 0 {
            self.idle_since = None;
            return false;
        }
        now.duration_since(*self.idle_since.get_or_insert(now)) >= timeout
    }
}
