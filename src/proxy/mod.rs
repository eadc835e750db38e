//! The request path, read from top to bottom: listener, handler, exchange with a provider or a plain server, relay,
//! account.

mod record;
mod body;
mod encode;
mod error;
mod exchange;
mod forward;
mod handler;
mod headers;
mod listener;
mod lookup;
mod media;
mod peer;
mod relay;
mod trace;
mod translate;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub use body::ReplyBody;
pub use error::{ErrorKind, ProxyError};
pub use listener::{BindStates, Listeners};
pub use record::RequestRecord;

use tokio_util::sync::CancellationToken;

use crate::{
    snapshot::Snapshots,
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
    /// Set when the process stops: HTTP/1 connections end with the reply that tells them, so that no client sends its next
    /// request into one that is being closed.
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
            max_connections: 10_000,
            fetcher: Fetcher::default(),
        }
    }
}
