//! The request path. Each step is a module, whose documentation states what it may read, what it may change, and what
//! has happened before it.
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
//! | 3 classify | `classify` | reads the body and determines the operation of an LLM API |
//! | 4 request policies | `policies` | runs the steps that rule and backend have for their requests |
//! | 5 select | `select`, `queue`, `affinity`, `missing`, `first`, `hedge`, `failures`, `retry` | the loop of attempts: which target replies |
//! | 6 encode | `encode`, `translate`, `operation` | builds the request for one target |
//! | 7 send | `send` | one attempt at one target |
//! | 8 reply filters, 9 relay | `relay` | returns the reply to the client, frame by frame |
//! | 10 finish | `finish` | every reply passes here, of a backend or of the gateway |
//! | 11 record | `record` | records one request for metrics and log, which are written in its drop |
//!
//! `handler` runs them in this order. Plain servers have a shorter path: `forward` replaces steps 3 and 5 to 7. On a
//! WebSocket each event of the client is a request that takes this path: `websocket` makes it one.

mod accept;
mod adapt;
mod affinity;
mod body;
mod budget;
mod by_model;
mod classify;
mod client;
mod encode;
mod error;
mod failures;
mod finish;
mod first;
mod forward;
mod handler;
mod headers;
mod heavy;
mod hedge;
mod key_mask;
mod media;
mod missing;
mod model_list;
mod operation;
mod peer;
mod policies;
mod queue;
mod record;
mod relay;
mod retry;
mod route;
mod select;
mod send;
mod trace;
mod translate;
mod watch;
mod websocket;
mod wrapped;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub use accept::{BindStates, Listeners, Serving};
pub use budget::Budget;
pub use error::{ErrorKind, ProxyError};
pub use finish::ReplyBody;
pub use record::RequestRecord;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    policy::identity::Identity,
    snapshot::{Matched, Rule, Snapshots, WeightedBackend},
    telemetry::{Metrics, requests::RouteMetrics},
    upstream::Fetcher,
};

/// The state that all requests share.
pub struct Shared {
    /// The current snapshot.
    pub snapshots: Arc<Snapshots>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Counters of requests that match no rule.
    pub unrouted: Arc<RouteMetrics>,
    /// Bounds.
    pub settings: Settings,
    /// Set when the process stops: HTTP/1 connections end with their next reply, whose header announces it, so that no
    /// client sends its next request into a connection that is being closed.
    pub leaving: AtomicBool,
    /// Cancelled when the time to drain is over: replies that are still open are cut off.
    pub cut: CancellationToken,
}

/// Conversations on `WebSockets` may take, in addition, the memory for bodies divided by this. Half of a pod's memory is
/// for bodies, so an eighth of it is for them, which holds a hundred agents with a megabyte each in a pod of 1 GiB.
pub const HISTORY_PART: usize = 4;

/// Bounds of the data plane, each with its reason in `docs/configuration.md`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address at which the ports of Gateways are bound; `None` is every one of the machine.
    pub listen_address: Option<IpAddr>,
    /// Whether replies name the target and the number of attempts, in `x-tollgate-target` and `x-tollgate-attempts`.
    pub reply_target_headers: bool,
    /// Largest request body to an LLM provider, in bytes.
    pub max_body: usize,
    /// How long a client may take to send a request's head, and how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How long a backend may take until the head of its reply, unless a route sets another limit.
    pub backend_timeout: Duration,
    /// Longest pause within a reply, unless a policy sets another limit.
    pub idle_timeout: Duration,
    /// How long a client may leave a reply unread.
    pub write_timeout: Duration,
    /// The memory that bodies of requests may take together.
    pub body_budget: Arc<Budget>,
    /// The memory that conversations on `WebSockets` may take together. It is apart from that of bodies, because
    /// connections that rest must not keep requests out.
    pub history_budget: Arc<Budget>,
    /// Connections open at a time, over all listeners.
    pub max_connections: usize,
    /// Fetches media for providers that don't.
    pub fetcher: Fetcher,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen_address: None,
            reply_target_headers: false,
            max_body: 32 * 1024 * 1024,
            header_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_mins(2),
            backend_timeout: Duration::from_mins(10),
            idle_timeout: Duration::from_mins(5),
            write_timeout: Duration::from_mins(1),
            body_budget: Arc::new(Budget::new(512 * 1024 * 1024)),
            history_budget: Arc::new(Budget::new(512 * 1024 * 1024 / HISTORY_PART)),
            max_connections: 10_000,
            fetcher: Fetcher::default(),
        }
    }
}

/// The routing decision of a request, and the bounds that result from it.
pub struct RouteContext<'a> {
    /// Bounds of the data plane.
    settings: &'a Settings,
    /// The rule that matched.
    rule: &'a Rule,
    /// Length of the path's part that matched.
    matched: usize,
    /// The backend that was chosen.
    weighted: &'a WeightedBackend,
    /// How long one attempt may take until the head of its reply.
    attempt_timeout: Duration,
    /// Longest pause within a reply.
    idle_timeout: Duration,
    /// When the reply must have ended, over all attempts.
    deadline: Option<Instant>,
    /// The client, where the rule authenticates it.
    client: Option<Arc<Identity>>,
}

impl<'a> RouteContext<'a> {
    fn new(settings: &'a Settings, matched: &'a Matched, weighted: &'a WeightedBackend) -> Self {
        let timeouts = matched.rule.timeouts;
        Self {
            settings,
            rule: &matched.rule,
            matched: matched.matched,
            weighted,
            attempt_timeout: matched.rule.try_timeout().unwrap_or(settings.backend_timeout),
            idle_timeout: timeouts.stream_idle.unwrap_or(settings.idle_timeout),
            deadline: None,
            client: None,
        }
    }

    /// Starts the rule's timeout for the whole request.
    fn start_clock(&mut self) {
        self.deadline = self.rule.timeouts.request.map(|limit| Instant::now() + limit);
    }
}

#[cfg(test)]
mod tests;
