//! The errors of requests that could not be sent or got no reply.

use std::{error::Error as StdError, io};

/// A request that got no reply. The cause is for logs, never for clients.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
pub struct SendError {
    /// What happened.
    pub kind: SendErrorKind,
    /// Whether the server can't have processed the request: see [`is_unprocessed`](Self::is_unprocessed).
    pub unprocessed: bool,
    /// The cause.
    #[source]
    pub source: Box<dyn StdError + Send + Sync>,
}

/// `EMFILE` and `ENFILE` of Linux: the process, or the system, has no file descriptor left.
const NO_DESCRIPTORS: [i32; 2] = [24, 23];

/// What happened to a request that got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendErrorKind {
    /// The host's name has no address.
    #[error("can't resolve the host")]
    Resolve,
    /// No server listens, or the network is unreachable.
    #[error("can't connect")]
    Connect,
    /// The process has no file descriptor for a connection.
    #[error("no file descriptor is left")]
    NoDescriptors,
    /// The connection was not made in time.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The egress proxy refused, could not be reached, or has closed the connection.
    #[error("the egress proxy gives no connection")]
    Proxy,
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
    /// Whether the server can't have processed the request, so that sending it once more has no double effect:
    ///
    /// * nothing of the request was written;
    /// * a keep-alive HTTP/1.1 connection ended without any byte of a reply, and so soon after the request was written
    ///   that the server had closed it before the request arrived;
    /// * an HTTP/2 server refused the stream, or went away without having seen it.
    pub const fn is_unprocessed(&self) -> bool {
        self.unprocessed
    }

    /// An error of this kind.
    pub(super) fn new(kind: SendErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, unprocessed: false, source: source.into() }
    }

    /// An error of an HTTP/2 connection.
    pub(super) fn http2(error: hyper::Error) -> Self {
        let kind = if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            SendErrorKind::Protocol
        } else {
            SendErrorKind::Closed
        };
        // hyper cancels a request that its connection never took.
        let unprocessed = error.is_canceled() || error.is_closed() || is_refused(&error);
        Self { kind, unprocessed, source: error.into() }
    }

    /// An error of a TCP connection that was not made.
    pub(super) fn tcp(error: io::Error) -> Self {
        let kind = match (error.kind(), error.raw_os_error()) {
            (_, Some(code)) if NO_DESCRIPTORS.contains(&code) => SendErrorKind::NoDescriptors,
            (io::ErrorKind::TimedOut, _) => SendErrorKind::ConnectTimeout,
            _ => SendErrorKind::Connect,
        };
        Self::new(kind, error)
    }
}

/// Whether an HTTP/2 server reports that it did not process the request (RFC 9113, section 8.7). h2 reports a server's
/// GOAWAY only for streams above the last one that the server has seen.
fn is_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}
