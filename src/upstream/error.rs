//! The errors of requests that could not be sent or got no reply.

use std::{error::Error as StdError, io};

/// A request that got no reply. The cause is for logs, never for clients.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
pub struct SendError {
    /// What happened.
    pub kind: SendErrorKind,
    /// Whether the connection had served requests before.
    pub reused: bool,
    /// The cause.
    #[source]
    pub source: Box<dyn StdError + Send + Sync>,
}

/// What happened to a request that got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendErrorKind {
    /// The host's name has no address.
    #[error("can't resolve the host")]
    Resolve,
    /// No server listens, or the network is unreachable.
    #[error("can't connect")]
    Connect,
    /// The connection was not made in time.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The certificate was refused, or the peer does not speak TLS.
    #[error("TLS handshake failed")]
    Tls,
    /// The connection ended before the reply.
    #[error("connection closed before the reply")]
    Closed,
    /// The client's own body ended early.
    #[error("the request body broke off")]
    RequestBody,
    /// The reply is not HTTP.
    #[error("reply is not valid HTTP")]
    Protocol,
}

impl SendError {
    /// Whether a keep-alive connection was closed before any byte of the reply. It was most likely closed while idle,
    /// so that the server never saw the request, which may be sent again on a new connection.
    pub fn is_stale(&self) -> bool {
        self.reused && self.kind == SendErrorKind::Closed
    }

    /// An error of this kind.
    pub(super) fn new(kind: SendErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, reused: false, source: source.into() }
    }

    /// An error of hyper's client connection.
    pub(super) fn http(error: hyper::Error, reused: bool) -> Self {
        let kind = if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            SendErrorKind::Protocol
        } else {
            SendErrorKind::Closed
        };
        Self { kind, reused, source: error.into() }
    }

    /// An error of the TCP connector, classified by its cause.
    pub(super) fn tcp(error: impl StdError + Send + Sync + 'static) -> Self {
        let text = error.to_string();
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
        let mut timed_out = false;
        while let Some(current) = cause {
            timed_out |= current.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
            cause = current.source();
        }
        let kind = if text.contains("dns") {
            SendErrorKind::Resolve
        } else if timed_out {
            SendErrorKind::ConnectTimeout
        } else {
            SendErrorKind::Connect
        };
        Self::new(kind, error)
    }
}
