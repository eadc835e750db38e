//! The request path. Each step is a module, and its page says what it may read, what it may change, and what has
//! happened before it.
//!
//! ```text
//! accept ─> route ─> classify ─> request policies ─> select ─┬─> encode ─> send ─┐
//!                                                    ▲       └── next target <───┤
//!                                        upstream::balance                       ▼
//! client <─ record <─ finish <─ relay <─ reply filters <─────────────────────────┘
//! ```
//!
//! | step | module | in one sentence |
//! | --- | --- | --- |
//! | 1 accept | `accept` | takes connections on the ports of the snapshot, and serves HTTP on them |
//! | 2 route | `route` | loads the snapshot, once, and finds the rule |
//! | 3 classify | `classify` | reads the body and finds out what is asked of an LLM API |
//! | 4 request policies | `policies` | runs the steps that rule and backend have for their requests |
//! | 5 select | `select` | the one loop of attempts: which target answers |
//! | 6 encode | `encode`, `translate`, `operation` | what one target is sent |
//! | 7 send | `send` | one attempt at one target |
//! | 8 reply filters, 9 relay | `relay` | the reply on its way back, frame by frame |
//! | 10 finish | `finish` | every reply passes here, whoever made it |
//! | 11 record | `record` | what one request was: metrics and log are made of it, in its drop |
//!
//! `handler` runs them in this order. Plain servers have a shorter path: `forward` stands for steps 3 and 5 to 7.

mod accept;
mod body;
mod budget;
mod classify;
mod encode;
mod error;
mod finish;
mod forward;
mod handler;
mod headers;
mod key_mask;
mod media;
mod operation;
mod peer;
mod policies;
mod record;
mod relay;
mod route;
mod select;
mod send;
mod trace;
mod translate;
mod watch;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub use accept::{BindStates, Listeners, Serving};
pub use body::ReplyBody;
pub use budget::Budget;
pub use error::{ErrorKind, ProxyError};
pub use record::RequestRecord;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    snapshot::{Matched, Rule, Snapshots, WeightedBackend},
    telemetry::{Metrics, requests::RouteMetrics},
    upstream::Fetcher,
};

/// What every request shares.
pub struct Shared {
    /// The current snapshot.
    pub snapshots: Arc<Snapshots>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Counters of requests that match no rule.
    pub unrouted: Arc<RouteMetrics>,
    /// Bounds.
    pub settings: Settings,
    /// Set when the process stops: HTTP/1 connections end with the reply that tells them, so that no client sends its
    /// next request into one that is being closed.
    pub leaving: AtomicBool,
    /// Cancelled when the time to drain is over: what is still open is cut.
    pub cut: CancellationToken,
}

/// Bounds of the data plane, each with its reason in `docs/configuration.md`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest request body to an LLM provider, in bytes.
    pub max_body: usize,
    /// How long a client may take to send a request's head, and how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How long a backend may take to the head of its reply, unless a route says otherwise.
    pub backend_timeout: Duration,
    /// How long a reply may be silent once it has begun, unless a policy says otherwise.
    pub idle_timeout: Duration,
    /// How long a client may leave a reply unread.
    pub write_timeout: Duration,
    /// The memory that bodies of requests may take together.
    pub body_budget: Arc<Budget>,
    /// Connections open at a time, over all listeners.
    pub max_connections: usize,
    /// Fetches media for providers that don't.
    pub fetcher: Fetcher,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body: 32 * 1024 * 1024,
            header_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_mins(2),
            backend_timeout: Duration::from_mins(10),
            idle_timeout: Duration::from_mins(5),
            write_timeout: Duration::from_mins(1),
            body_budget: Arc::new(Budget::new(512 * 1024 * 1024)),
            max_connections: 10_000,
            fetcher: Fetcher::default(),
        }
    }
}

/// Where a request was routed to, and the bounds that hold there.
pub struct RouteContext<'a> {
    /// Bounds of the data plane.
    settings: &'a Settings,
    /// The rule that matched.
    rule: &'a Rule,
    /// Length of the path's part that matched.
    matched: usize,
    /// The backend that was chosen.
    weighted: &'a WeightedBackend,
    /// How long one attempt may take to the head of its reply.
    attempt_timeout: Duration,
    /// How long a reply may be silent once it has begun.
    idle_timeout: Duration,
    /// When the reply must have ended, over all attempts.
    deadline: Option<Instant>,
}

impl<'a> RouteContext<'a> {
    fn new(settings: &'a Settings, matched: &'a Matched, weighted: &'a WeightedBackend) -> Self {
        let timeouts = matched.rule.timeouts;
        Self {
            settings,
            rule: &matched.rule,
            matched: matched.matched,
            weighted,
            attempt_timeout: timeouts.backend.unwrap_or(settings.backend_timeout),
            idle_timeout: timeouts.stream_idle.unwrap_or(settings.idle_timeout),
            deadline: None,
        }
    }

    /// The rule's bound on the whole request begins now.
    fn start_clock(&mut self) {
        self.deadline = self.rule.timeouts.request.map(|limit| Instant::now() + limit);
    }
}

#[cfg(test)]
mod tests;
