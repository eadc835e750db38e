//! Counts what a client sends against the memory that all bodies share.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::budget::Share;

/// A connection whose unread message takes from the memory for bodies of requests, byte by byte as it comes.
pub struct Metered<S> {
    inner: S,
    /// What the message that is being received has taken.
    share: Share,
    exhausted: bool,
}

impl<S> Metered<S> {
    /// Counts the bytes of `inner` in `share`.
    pub const fn new(inner: S, share: Share) -> Self {
        Self { inner, share, exhausted: false }
    }

    /// Whether the connection was ended because there was no memory.
    pub const fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// A message was received to its end: what it has taken is returned.
    pub fn received(&mut self) {
        self.share.resize(0);
    }

    /// The connection itself.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        if !self.share.take(read) {
            self.exhausted = true;
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
