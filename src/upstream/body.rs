//! Bodies of requests to providers and of their replies.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body as ClientBody;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BodyError, Pool, http1::Http1Body};

/// A request's body: buffered, so that it can be sent again to another target, or streaming.
pub enum UpstreamBody {
    /// The whole body; `None` once it has been sent.
    Full(Option<Bytes>),
    /// A client's body on its way to a plain Service.
    Stream(ClientBody),
}

impl UpstreamBody {
    /// No body.
    pub const fn empty() -> Self {
        Self::Full(None)
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// A reply's body. At its end the connection is returned to the pool. If it is dropped before, the connection is closed
/// (HTTP/1) or the stream reset (HTTP/2), so that the provider stops generating.
pub struct ReplyBody {
    inner: Inner,
    /// The part that was read together with the head: data, or the trailers of a body without any.
    first: Option<Result<Bytes, Box<HeaderMap>>>,
    /// Sees the data as it comes.
    watch: Option<Box<dyn Watch>>,
}

/// Looks at the beginning of a reply's body.
pub trait Watch: Send {
    /// Looks at the next part. Returns whether it needs to see more.
    fn sees(&mut self, data: &[u8]) -> bool;
}

enum Inner {
    Http1(Http1Body, Arc<Pool>),
    /// The guard that counts the request until the body ends.
    Http2(Incoming, #[expect(dead_code, reason = "held, not read")] InFlight),
}

/// Counts the requests under way on an HTTP/2 connection.
pub(super) type InFlight = Arc<()>;

impl ReplyBody {
    pub(super) fn http1(body: Http1Body, pool: Arc<Pool>) -> Self {
        let mut reply = Self { inner: Inner::Http1(body, pool), first: None, watch: None };
        reply.release();
        reply
    }

    pub(super) const fn http2(body: Incoming, in_flight: InFlight) -> Self {
        Self { inner: Inner::Http2(body, in_flight), first: None, watch: None }
    }

    /// Reads the part that has arrived with the head; if there is none, waits for this long.
    ///
    /// # Errors
    /// When the body is broken or cut off there already.
    pub(super) async fn begin(&mut self, wait: Duration) -> Result<(), BodyError> {
        if self.is_end_stream() {
            return Ok(());
        }
        let mut polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *self).poll_frame(cx))).await;
        if polled.is_pending() && !wait.is_zero() {
            let first = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx));
            polled = tokio::time::timeout(wait, first).await.map_or(Poll::Pending, Poll::Ready);
        }
        if let Poll::Ready(Some(frame)) = polled {
            let data = frame?.into_data();
            self.first = Some(data.map_err(|frame| Box::new(frame.into_trailers().unwrap_or_default())));
        }
        Ok(())
    }

    /// The part that arrived with the head, as long as nothing was read.
    pub fn begun(&self) -> &[u8] {
        self.first.as_ref().and_then(|first| first.as_ref().ok()).map_or(&[], |data| data)
    }

    /// Lets `watch` see the data, each part once: what has arrived with the head at once, the others as they are read.
    pub fn watch(&mut self, mut watch: Box<dyn Watch>) {
        let begun = self.begun();
        if begun.is_empty() || watch.sees(begun) {
            self.watch = Some(watch);
        }
    }

    fn show(&mut self, data: &[u8]) {
        self.watch.take_if(|watch| !watch.sees(data));
    }

    /// Puts back what was read, as the part that comes next. Nothing may be left there.
    pub fn put_back(&mut self, data: Bytes) {
        debug_assert!(self.first.is_none(), "it would come out of order");
        if !data.is_empty() {
            self.first = Some(Ok(data));
        }
    }

    /// Returns the connection to the pool if the body has ended.
    fn release(&mut self) {
        if let Inner::Http1(body, pool) = &mut self.inner
            && body.is_done()
            && let Some((connection, reuse)) = body.take_connection()
        {
            pool.take_back(connection, reuse);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take() {
            let frame = first.map_or_else(|trailers| Frame::trailers(*trailers), Frame::data);
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.inner {
            Inner::Http1(body, _) => {
                let data = ready!(body.poll_data(cx));
                self.release();
                if let Some(Ok(data)) = &data {
                    self.show(data);
                }
                Poll::Ready(data.map(|d| d.map(Frame::data)))
            }
            Inner::Http2(body, _) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    self.show(data);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let rest_is_empty = match &self.inner {
            Inner::Http1(body, _) => body.is_done(),
            Inner::Http2(body, _) => body.is_end_stream(),
        };
        self.first.is_none() && rest_is_empty
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.inner {
            Inner::Http1(body, _) => body.size_hint(),
            Inner::Http2(body, _) => body.size_hint(),
        };
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()).map_or(0, |data| data.len() as u64);
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => rest,
        }
    }
}
