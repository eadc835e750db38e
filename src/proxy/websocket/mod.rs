//! The WebSocket mode of `OpenAI`'s Responses: a client sends requests as events on one connection, and gets each event
//! of their replies as a frame.
//!
//! Only the transport to the client differs. Each event becomes a request to `POST /responses`, which takes the whole
//! path of requests: route, policies, failover, translation, record. Its streaming reply becomes frames. So upstream
//! stays HTTP, and a WebSocket works for every provider.
//!
//! | module | does |
//! | --- | --- |
//! | `handshake` | answers the request for a WebSocket, and leaves it for its connection |
//! | `session` | serves the connection after that: reads events, one after another, and ends it |
//! | `turn` | one event: its request, and its reply as frames |
//! | `metered` | counts what a client sends against the memory that all bodies share |
//!
//! The connection's own task runs the session, after hyper has handed the connection over. So it counts to the limit of
//! connections, and it is drained with the others.
//!
//! What the events mean is in [`dialect::responses::websocket`](crate::dialect::responses::websocket).

mod handshake;
mod metered;
mod session;
#[cfg(test)]
mod tests;
mod turn;

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

pub use handshake::{Handover, answer, requests_websocket};
pub use session::run;

/// Bounds of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection may rest between responses. Agents run tools and wait for their users meanwhile, so it is
    /// longer than for a connection of HTTP. Afterwards clients connect anew and send their input in full.
    pub idle: Duration,
    /// How long a connection lasts: `OpenAI`'s limit, so that clients are prepared for it.
    pub lifetime: Duration,
    /// How often a ping is sent: more often than the load balancers of clouds close idle connections. No pong is
    /// required, because simple clients read nothing while they run a tool.
    pub ping: Duration,
    /// How long a client may take to answer the close frame.
    pub close: Duration,
    /// How long the reply may stay open after its last event. A server that does not end it must not hold up the next
    /// response.
    pub last_event: Duration,
    /// Most events that wait for the response under way: `OpenAI` allows 16 at a time.
    pub waiting: usize,
    /// Most bytes that are kept of a reply that is an error.
    pub error_body: usize,
}

impl Limits {
    /// Ticks when a ping is due.
    fn pings(&self) -> Interval {
        let mut pings = interval_at(Instant::now() + self.ping, self.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            lifetime: Duration::from_hours(1),
            ping: Duration::from_secs(30),
            close: Duration::from_secs(5),
            last_event: Duration::from_secs(1),
            waiting: 15,
            error_body: 256 * 1024,
        }
    }
}
