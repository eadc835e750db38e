//! One connection: sends a request, reads the reply's head, then its body.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, Response};
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
use crate::upstream::{SendError, SendErrorKind, UpstreamBody};

/// The smallest read. It is small enough to keep thousands of streams cheap.
const READ: usize = 16 * 1024;
/// The largest read, reached when reads fill the buffer.
const MAX_READ: usize = 64 * 1024;

/// The most of a chunked request body that is held before it is written, so that a slow server slows its client down.
const MAX_PENDING: usize = 64 * 1024;

/// The bytes below HTTP.
pub enum Stream {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection between two requests.
pub struct Http1 {
    stream: Stream,
    buffer: BytesMut,
    /// When it was last used.
    pub since: Instant,
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

impl Http1 {
    /// A fresh connection.
    pub fn new(stream: Stream, now: Instant) -> Self {
        Self { stream, buffer: BytesMut::new(), since: now }
    }

    /// Whether the server still has it open and sent no unrequested reply (such as "408, closing").
    pub fn is_open(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buf = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        self.buffer.is_empty() && Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf).is_pending()
    }

    /// Sends `request` and reads the head of the reply. `reused` is for the error.
    ///
    /// # Errors
    /// When the connection ends or breaks before the reply, or what comes is not HTTP/1.
    pub async fn exchange(
        mut self,
        request: Request<UpstreamBody>,
        reused: bool,
    ) -> Result<Response<Http1Body>, SendError> {
        let head_request = request.method() == Method::HEAD;
        let mut sender = Sender::new(request);
        let answered = poll_fn(|cx| self.poll_exchange(cx, &mut sender, head_request)).await;
        let head = answered.map_err(|mut error| {
            error.reused = reused;
            error
        })?;
        let keep_alive = head.keep_alive && sender.failed.is_none();
        let sender = (!sender.done && sender.failed.is_none()).then(|| Box::new(sender));
        let framing = head.framing;
        Ok(head.response.map(|()| Http1Body { connection: Some(self), framing, keep_alive, full: false, sender }))
    }

    /// Writes as long as there is something to write, and reads all the while: a server may answer early.
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        sender: &mut Sender,
        head_request: bool,
    ) -> Poll<Result<head::Head, SendError>> {
        let closed = |e: io::Error| SendError::new(SendErrorKind::Closed, e);
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
            match head::read(&mut self.buffer, head_request) {
                Err(error) => return Poll::Ready(Err(SendError::new(SendErrorKind::Protocol, error))),
                // "Go on", and hints: the reply itself comes later.
                Ok(Some(head)) if head.response.status().is_informational() => continue,
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
            }
            match ready!(self.poll_fill(cx, READ)) {
                Ok(0) => {
                    let why = sender.failed.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Poll::Ready(Err(closed(why)));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(closed(sender.failed.take().unwrap_or(error)))),
            }
        }
    }

    /// Reads more into the buffer, `room` bytes at most; 0 is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        self.buffer.reserve(room);
        let future = pin!(tokio::io::AsyncReadExt::read_buf(&mut self.stream, &mut self.buffer));
        std::future::Future::poll(future, cx)
    }
}

/// Why a request could not be sent to its end.
enum Unsent {
    Io(io::Error),
    /// The client's body broke off.
    Body(axum::Error),
}

/// A request on its way out.
struct Sender {
    head: BytesMut,
    data: Bytes,
    body: UpstreamBody,
    chunked: bool,
    /// The body has given everything.
    drained: bool,
    /// Everything is written.
    done: bool,
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
        Self { head, data: Bytes::new(), body, chunked, drained: false, done: false, failed: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), Unsent>> {
        loop {
            // The next piece of the body goes out together with what waits before it.
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
            let written = if self.head.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.data))
            } else {
                let both = [IoSlice::new(&self.head), IoSlice::new(&self.data)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &both))
            };
            let written = written.map_err(Unsent::Io)?;
            if written == 0 {
                return Poll::Ready(Err(Unsent::Io(io::ErrorKind::WriteZero.into())));
            }
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            self.data.advance(written - of_head);
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        let Ok(data) = frame.into_data() else { return };
        if data.is_empty() {
            return;
        }
        if self.chunked {
            // The size comes before the data and a line end after it; both fit before the next piece.
            self.head.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            self.head.extend_from_slice(&data);
            self.head.extend_from_slice(b"\r\n");
        } else {
            self.data = data;
        }
    }
}

/// The body of a reply, which holds its connection.
pub struct Http1Body {
    connection: Option<Http1>,
    framing: Framing,
    keep_alive: bool,
    /// The last read filled the buffer: more is waiting, so the next may be larger.
    full: bool,
    /// The rest of the request, where the server answered early: it may still wait for the rest.
    sender: Option<Box<Sender>>,
}

impl Http1Body {
    /// The connection, if the body has been read to its end and the connection can be used again.
    pub fn take_connection(&mut self) -> Option<Http1> {
        let mut connection = self.connection.take_if(|_| is_done(&self.framing))?;
        // An idle connection holds no buffer. A request that is not fully written would block the next.
        let clean = self.keep_alive && self.sender.is_none() && connection.buffer.is_empty();
        connection.buffer = BytesMut::new();
        clean.then_some(connection)
    }

    /// The next frame: all data of one read.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        if let Some(sender) = &mut self.sender
            && let Poll::Ready(sent) = sender.poll(cx, &mut connection.stream)
        {
            // The reply goes on even if the server takes no more of the request.
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

    /// Whether everything has been handed on.
    pub fn is_done(&self) -> bool {
        is_done(&self.framing)
    }

    /// The length, where it is known.
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
