//! HTTP/1.1 towards providers, read and written in the task of the request itself.
//!
//! hyper's client drives each connection in a task of its own and passes every chunk over a channel. For a stream of
//! hundreds of small events that costs more than the events: measured, it was two thirds of the proxy's time. Here the
//! relay reads the socket itself, removes the chunked framing, and passes on all data of one read as one frame.

mod chunked;
mod connection;
#[cfg(any(test, fuzzing))]
pub mod differential;
mod head;

pub use connection::{Http1, Http1Body, IdleState, Reuse, Stream};

/// How a reply's body ends.
#[derive(Debug)]
pub enum Framing {
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked(chunked::ChunkedDecoder),
    /// When the connection closes.
    Close,
}

impl PartialEq for Framing {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Length(a), Self::Length(b)) => a == b,
            (Self::Chunked(_), Self::Chunked(_)) | (Self::Close, Self::Close) => true,
            _ => false,
        }
    }
}

/// The error of a reply's body that ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke.
    #[error("connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The connection closed before the body's end.
    #[error("connection closed before the end of the body")]
    Incomplete,
    /// The framing is broken.
    #[error(transparent)]
    Chunked(#[from] chunked::ChunkedError),
    /// An HTTP/2 error.
    #[error("{0}")]
    Http2(#[from] hyper::Error),
}

#[cfg(test)]
mod tests;
