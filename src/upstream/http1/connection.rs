//! One connection: sends a request, reads the reply's head, then its body.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::{
    BodyError, Framing,
    head::{self, Sending},
};
use crate::upstream::{SendError, SendErrorKind, UpstreamBody, proxy::EgressProxy};

/// The smallest read. It is small enough to keep thousands of streams cheap.
const READ: usize = 16 * 1024;
/// The largest read, reached when reads fill the buffer.
const MAX_READ: usize = 64 * 1024;

/// The most of a chunked request body that is held before it is written, so that a slow server slows its client down.
const MAX_PENDING: usize = 64 * 1024;

/// The bytes of a request after which its task lets others run. A server that reads fast takes all of a large body at
/// once, and that takes longer than a small request.
const TURN: usize = 256 * 1024;

/// The transport below HTTP.
pub enum Stream {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// TLS in the tunnel of a proxy that is reached over TLS itself.
    TlsInTls(Box<TlsStream<TlsStream<TcpStream>>>),
}

impl Stream {
    /// The protocol that the server has chosen in the TLS handshake.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Self::TlsInTls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

/// The longest time after a request was written in which the end of a keep-alive connection may have crossed it.
const MAX_CROSSING: Duration = Duration::from_millis(50);

/// A connection between two requests. Tests put bytes in memory in the place of its stream.
pub struct Http1<S = Stream> {
    stream: S,
    buffer: BytesMut,
    /// How long a round trip takes, at most.
    round_trip: Duration,
    /// When it was last used.
    pub since: Instant,
    /// When it is used no more.
    pub expires: Instant,
    /// The proxy that forwards each request.
    pub proxy: Option<Arc<EgressProxy>>,
}

/// What a server has done with an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleState {
    /// It has done nothing: the connection can be used.
    Open,
    /// It has closed it.
    Closed,
    /// It has sent an unsolicited reply, which would be taken for the reply to the next request.
    Unrequested,
}

/// The connection's state of one exchange.
struct Exchange {
    sender: Sender,
    method: Method,
    /// Whether the connection has served requests before.
    reused: bool,
    /// Whether a byte of a reply has arrived.
    answered: bool,
}

/// Delegates to whichever stream it is.
macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut *$self {
            Stream::Clear($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
            Stream::TlsInTls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    /// A fresh connection, which is used once unless its `expires` is set.
    pub fn new(stream: S, round_trip: Duration, now: Instant) -> Self {
        Self { stream, buffer: BytesMut::new(), round_trip, since: now, expires: now, proxy: None }
    }

    /// Returns what the server has done with the connection since it became idle.
    pub fn idle_state(&mut self) -> IdleState {
        let mut status_line = [0; 12];
        let mut buf = ReadBuf::new(&mut status_line);
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf) {
            Poll::Pending => IdleState::Open,
            // Some servers announce with a 408 that they close an idle connection.
            Poll::Ready(Ok(())) if buf.filled().is_empty() || buf.filled().ends_with(b" 408") => IdleState::Closed,
            Poll::Ready(Ok(())) => IdleState::Unrequested,
            Poll::Ready(Err(_)) => IdleState::Closed,
        }
    }

    /// Sends `request` and reads the head of the reply. `reused`: whether the connection has served requests before.
    ///
    /// # Errors
    /// When the connection ends or breaks before the reply, or the bytes that arrive are not a reply to this request.
    pub async fn exchange(
        mut self,
        request: Request<UpstreamBody>,
        reused: bool,
    ) -> Result<Response<Http1Body<S>>, SendError> {
        let may_keep = may_keep_after(&request);
        let method = request.method().clone();
        let mut exchange = Exchange { sender: Sender::new(request), method, reused, answered: false };
        let head = poll_fn(|cx| self.poll_exchange(cx, &mut exchange)).await?;
        let sender = exchange.sender;
        let keep_alive = may_keep && head.keep_alive && sender.failed.is_none();
        let sender = (!sender.done && sender.failed.is_none()).then(|| Box::new(sender));
        let framing = head.framing;
        Ok(head.response.map(|()| Http1Body { connection: Some(self), framing, keep_alive, full: false, sender }))
    }

    /// Writes as long as there is data to write, and reads at the same time: a server may reply early.
    fn poll_exchange(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange) -> Poll<Result<head::Head, SendError>> {
        let sender = &mut exchange.sender;
        if !sender.done
            && sender.failed.is_none()
            && let Poll::Ready(Err(error)) = sender.poll(cx, &mut self.stream)
        {
            match error {
                // The server may have sent a reply before it closed.
                Unsent::Io(error) => sender.failed = Some(error),
                Unsent::Body(error) => {
                    return Poll::Ready(Err(SendError::new(SendErrorKind::RequestBody, error)));
                }
            }
        }
        loop {
            match ready!(self.poll_fill(cx, READ)) {
                Ok(0) => return Poll::Ready(Err(self.closed(exchange, io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => exchange.answered = true,
                Err(error) => return Poll::Ready(Err(self.closed(exchange, error))),
            }
            let early = !exchange.sender.done;
            if early && exchange.reused {
                // It could be the reply to another request.
                return Poll::Ready(Err(SendError::new(SendErrorKind::Protocol, EarlyReply)));
            }
            loop {
                match head::read(&mut self.buffer, &exchange.method) {
                    Err(error) => return Poll::Ready(Err(SendError::new(SendErrorKind::Protocol, error))),
                    // `100 Continue`, and hints: the real reply comes later.
                    Ok(Some(head)) if head.response.status().is_informational() => {}
                    // A whole request can be refused before it has been read, but not replied to with success.
                    Ok(Some(head)) if early && exchange.sender.is_whole() && !is_refusal(head.response.status()) => {
                        return Poll::Ready(Err(SendError::new(SendErrorKind::Protocol, EarlyReply)));
                    }
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Ok(None) => break,
                }
            }
        }
    }

    /// The error of a connection that ended before the reply's head was complete.
    fn closed(&self, exchange: &mut Exchange, error: io::Error) -> SendError {
        let sender = &mut exchange.sender;
        let crossed = |written: Instant| written.elapsed() <= (2 * self.round_trip).min(MAX_CROSSING);
        let unprocessed = !exchange.answered && sender.written.is_none_or(|at| exchange.reused && crossed(at));
        let mut error = SendError::new(SendErrorKind::Closed, sender.failed.take().unwrap_or(error));
        error.unprocessed = unprocessed;
        error
    }

    /// Reads more into the buffer, `room` bytes at most; 0 is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        self.buffer.reserve(room);
        let future = pin!(tokio::io::AsyncReadExt::read_buf(&mut self.stream, &mut self.buffer));
        let read = std::future::Future::poll(future, cx);
        if read.is_pending() && self.buffer.is_empty() {
            // A reply that is waited for holds no buffer: thousands of models may be thinking.
            self.buffer = BytesMut::new();
        }
        read
    }
}

/// Whether a connection can be used again after this request, as far as the request decides. Servers disagree on
/// whether a reply to HEAD has a body, and on whether they read the body of a method without one. Some mechanisms
/// authenticate a connection instead of a request.
fn may_keep_after(request: &Request<UpstreamBody>) -> bool {
    let has_body = !request.body().is_end_stream();
    let method = request.method();
    let bodiless = !matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    *method != Method::HEAD && !(bodiless && has_body) && !head::authenticates_connection(request.headers())
}

fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// The error when a reply began before its request was written.
#[derive(Debug, thiserror::Error)]
#[error("a reply began before the request was written")]
struct EarlyReply;

/// The reason why a request could not be sent to its end.
enum Unsent {
    Io(io::Error),
    /// The client's body broke off.
    Body(axum::Error),
}

/// A request that is being sent.
struct Sender {
    head: BytesMut,
    data: Bytes,
    body: UpstreamBody,
    chunked: bool,
    /// Whether the whole body has been taken.
    drained: bool,
    /// Whether everything is written.
    done: bool,
    /// When a part of it was last written.
    written: Option<Instant>,
    failed: Option<io::Error>,
}

impl Sender {
    fn new(request: Request<UpstreamBody>) -> Self {
        let sending = match request.body().size_hint().exact() {
            // A POST without a body has a length of 0, because some servers wait for one otherwise.
            Some(0) if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) => Sending::Length(0),
            Some(0) => Sending::Nothing,
            Some(length) => Sending::Length(length),
            None => Sending::Chunked,
        };
        let mut head = BytesMut::new();
        head::write(&request, sending, &mut head);
        let body = request.into_body();
        let chunked = sending == Sending::Chunked;
        Self { head, data: Bytes::new(), body, chunked, drained: false, done: false, written: None, failed: None }
    }

    fn poll<S: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<Result<(), Unsent>> {
        let mut left = TURN;
        loop {
            // The next piece of the body is written together with the data before it.
            while self.data.is_empty() && !self.drained && self.head.len() < MAX_PENDING {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Pending => break,
                    Poll::Ready(None) => {
                        self.drained = true;
                        if self.chunked {
                            self.head.extend_from_slice(b"0\r\n\r\n");
                        }
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Unsent::Body(error))),
                    Poll::Ready(Some(Ok(frame))) => self.take(frame),
                }
            }
            if self.head.is_empty() && self.data.is_empty() {
                if !self.drained {
                    return Poll::Pending;
                }
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Unsent::Io)?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            if left == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let data = self.data.get(..left).unwrap_or(&self.data);
            let written = if self.head.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, data))
            } else {
                let both = [IoSlice::new(&self.head), IoSlice::new(data)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &both))
            };
            let written = written.map_err(Unsent::Io)?;
            if written == 0 {
                return Poll::Ready(Err(Unsent::Io(io::ErrorKind::WriteZero.into())));
            }
            left = left.saturating_sub(written);
            self.written = Some(Instant::now());
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            self.data.advance(written - of_head);
            if self.data.is_empty() {
                // An empty view would hold the memory of the whole body until the reply.
                self.data = Bytes::new();
            }
        }
    }

    /// Whether the request's body was complete from the start, and is not still being received from the client.
    const fn is_whole(&self) -> bool {
        matches!(self.body, UpstreamBody::Full(_))
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        let Ok(data) = frame.into_data() else { return };
        if data.is_empty() {
            return;
        }
        if self.chunked {
            // The size comes before the data, and a line end after it.
            self.head.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            self.head.extend_from_slice(&data);
            self.head.extend_from_slice(b"\r\n");
        } else {
            self.data = data;
        }
    }
}

/// Whether a connection can be used again after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It can.
    Clean,
    /// One of both sides ends it.
    Ends,
    /// The server has sent more than the reply.
    Surplus,
}

/// The body of a reply, which holds its connection.
pub struct Http1Body<S = Stream> {
    connection: Option<Http1<S>>,
    framing: Framing,
    keep_alive: bool,
    /// Whether the last read filled the buffer: more data is waiting, so the next read may be larger.
    full: bool,
    /// The rest of the request, if the server replied early: it may still wait for the rest.
    sender: Option<Box<Sender>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1Body<S> {
    /// The connection, if the body has been read to its end, and whether it can be used again.
    pub fn take_connection(&mut self) -> Option<(Http1<S>, Reuse)> {
        let mut connection = self.connection.take_if(|_| is_done(&self.framing))?;
        // An idle connection holds no buffer. A request that is not fully written would block the next.
        let reuse = match std::mem::take(&mut connection.buffer) {
            surplus if !surplus.is_empty() => Reuse::Surplus,
            _ if self.keep_alive && self.sender.is_none() => Reuse::Clean,
            _ => Reuse::Ends,
        };
        Some((connection, reuse))
    }

    /// The next frame: all data of one read.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        if let Some(sender) = &mut self.sender
            && let Poll::Ready(sent) = sender.poll(cx, &mut connection.stream)
        {
            // The reply continues even if the server accepts no more of the request.
            self.keep_alive &= sent.is_ok();
            self.sender = None;
        }
        loop {
            if let Some(data) = decode(&mut self.framing, &mut connection.buffer)? {
                return Poll::Ready(Some(Ok(data)));
            }
            if is_done(&self.framing) {
                return Poll::Ready(None);
            }
            let room = if self.full { MAX_READ } else { READ };
            let before = connection.buffer.len();
            match ready!(connection.poll_fill(cx, room)) {
                Ok(0) if self.framing == Framing::Close => {
                    self.framing = Framing::Length(0);
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(BodyError::Incomplete))),
                Ok(read) => self.full = read >= READ || before + read == connection.buffer.capacity(),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Whether all data has been passed on.
    pub fn is_done(&self) -> bool {
        is_done(&self.framing)
    }

    /// The length, if it is known.
    pub fn size_hint(&self) -> SizeHint {
        match &self.framing {
            Framing::Length(length) => SizeHint::with_exact(*length),
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }
}

fn is_done(framing: &Framing) -> bool {
    match framing {
        Framing::Length(left) => *left == 0,
        Framing::Chunked(decoder) => decoder.is_done(),
        Framing::Close => false,
    }
}

/// The part of the body that is in `buffer`.
fn decode(framing: &mut Framing, buffer: &mut BytesMut) -> Result<Option<Bytes>, BodyError> {
    match framing {
        Framing::Chunked(decoder) => Ok(decoder.decode(buffer)?),
        Framing::Close => Ok((!buffer.is_empty()).then(|| buffer.split().freeze())),
        Framing::Length(left) => {
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
            *left -= here as u64;
            Ok((here > 0).then(|| buffer.split_to(here).freeze()))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::sleep,
    };

    use super::*;

    /// The result of a request on a connection with this round trip; `serve` runs at its other end.
    async fn exchange<F: Future<Output = ()> + Send + 'static>(
        round_trip: Duration,
        reused: bool,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> SendError {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
        let stream = Stream::Clear(TcpStream::connect(address).await.unwrap());
        let request = Request::post("/").body(UpstreamBody::Full(Some(Bytes::from_static(b"{}")))).unwrap();
        let connection = Http1::new(stream, round_trip, Instant::now());
        let error = connection.exchange(request, reused).await.map(|_| ()).unwrap_err();
        server.await.unwrap();
        error
    }

    /// A server that takes everything at once.
    struct Greedy(usize);

    impl AsyncWrite for Greedy {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            self.0 += data.len();
            Poll::Ready(Ok(data.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_large_body_is_written_in_turns() {
        let body = Bytes::from(vec![b'x'; 4 * TURN + 1]);
        let length = body.len();
        let mut sender = Sender::new(Request::post("/").body(UpstreamBody::Full(Some(body))).unwrap());
        let (mut server, mut cx) = (Greedy(0), Context::from_waker(std::task::Waker::noop()));
        let mut turns = 0;
        while sender.poll(&mut cx, &mut server).is_pending() {
            turns += 1;
            assert!(server.0 <= turns * (TURN + 1024), "{} bytes after {turns} turns", server.0);
        }
        assert!(server.0 > length && (4..8).contains(&turns), "{} bytes, {turns} turns", server.0);
    }

    #[tokio::test]
    async fn a_close_that_crosses_the_request_is_told_from_one_behind_it() {
        let (far, near) = (Duration::from_secs(1), Duration::ZERO);
        let at_once = |stream: TcpStream| async move { drop(stream) };
        assert!(exchange(far, true, at_once).await.is_unprocessed(), "the server had closed before");
        assert!(!exchange(near, true, at_once).await.is_unprocessed(), "it had time to read the request");
        assert!(!exchange(far, false, at_once).await.is_unprocessed(), "a fresh connection was not idle");
        let later = |stream: TcpStream| async move {
            sleep(4 * MAX_CROSSING).await;
            drop(stream);
        };
        assert!(!exchange(far, true, later).await.is_unprocessed(), "no round trip is that long");
        let after_a_byte = |mut stream: TcpStream| async move {
            stream.write_all(b"H").await.unwrap();
        };
        assert!(!exchange(far, true, after_a_byte).await.is_unprocessed(), "it had begun to answer");
    }

    #[tokio::test]
    async fn a_reply_that_begins_before_the_request_was_written_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let stream = Stream::Clear(TcpStream::connect(address).await.unwrap());
        // More than the socket accepts while the server reads only what fits into its buffers.
        let body = Bytes::from(vec![b'x'; 64 * 1024 * 1024]);
        let request = Request::post("/").body(UpstreamBody::Full(Some(body))).unwrap();
        let error = Http1::new(stream, Duration::ZERO, Instant::now()).exchange(request, false).await.map(|_| ());
        let error = error.unwrap_err();
        assert_eq!((error.kind, error.is_unprocessed()), (SendErrorKind::Protocol, false));
        server.await.unwrap();
    }
}
