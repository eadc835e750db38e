//! The bytes of a reply, read by our client and by hyper's: both must read the same, or the difference has a reason in
//! the lists here. `tests` generates replies; the fuzz target `upstream_http1` is guided by coverage.

#![allow(clippy::missing_panics_doc, clippy::panic, clippy::unwrap_used, reason = "it is part of tests only")]

use std::{
    collections::VecDeque,
    error::Error,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{Http1, IdleState, Reuse, head};
use crate::upstream::UpstreamBody;

/// What our client refuses and hyper's accepts: the start of the error, and the reason.
const STRICTER: [(&str, &str); 7] = [
    ("the reply switches protocols", "no request is an upgrade, so the server breaks RFC 9110, section 7.8"),
    ("the reply's framing is ambiguous", "RFC 9112, section 6.3 leaves the length open; see `is_ambiguous`"),
    ("the reply's head is longer than", "a bound of ours"),
    ("invalid chunked framing: a line is too long", "a bound of ours, in place of hyper's bound on all extensions"),
    ("invalid chunked framing: a chunk has no valid size", "a bound of ours on digits; see `has_long_size`"),
    (
        "invalid chunked framing: a line ends without CR",
        "RFC 9112, section 2.2 allows both; hyper takes it in trailers",
    ),
    ("invalid chunked framing: trailers are too long", "the same bound, counted without names of fields"),
];

/// What hyper refuses and our client accepts: a part of the error, and the reason.
const LAXER: [(&str, &str); 2] = [
    ("chunk extensions over limit", "we bound each line and hold none; the relay bounds the body"),
    ("chunk trailers", "hyper bounds the number of trailers, and its bound on bytes counts the last line end"),
];

/// What a client read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    head: Option<(StatusCode, Version, HeaderMap)>,
    body: Vec<u8>,
    end: End,
}

/// How reading ended.
#[derive(Clone, Debug)]
enum End {
    /// At the body's end. `kept`: whether the connection can be used again.
    Complete { kept: bool },
    /// With an error, in the head or in the body.
    Failed(String),
    /// It waits for more bytes.
    Waiting,
}

impl PartialEq for End {
    /// Which of two errors is found first may depend on the reads.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Complete { kept }, Self::Complete { kept: other }) => kept == other,
            (Self::Failed(_), Self::Failed(_)) | (Self::Waiting, Self::Waiting) => true,
            _ => false,
        }
    }
}

impl Eq for End {}

/// A connection in memory: once a request was written, each read returns the next piece.
struct Wire {
    pieces: VecDeque<Bytes>,
    /// Whether the server closes the connection after the last piece.
    closes: bool,
    requested: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        match wire.pieces.front_mut() {
            Some(piece) if wire.requested => {
                buf.put_slice(&piece.split_to(piece.len().min(buf.remaining())));
                wire.pieces.pop_front_if(|piece| piece.is_empty());
                Poll::Ready(Ok(()))
            }
            None if wire.closes => Poll::Ready(Ok(())),
            _ => {
                wire.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.requested = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls until the result is there; `None` when nothing would wake the task again. There is no runtime, so that a case
/// costs microseconds.
fn drive<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = poll(&mut cx) {
            return Some(result);
        }
        if !woken.0.swap(false, Ordering::Relaxed) {
            return None;
        }
    }
}

/// The error and its causes.
fn failed(error: &dyn Error) -> End {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    End::Failed(text)
}

/// One way in which a reply arrives.
#[derive(Clone, Copy, Debug)]
struct Arrival<'a> {
    method: &'a Method,
    pieces: &'a [&'a [u8]],
    closes: bool,
}

impl Arrival<'_> {
    fn wire(&self) -> Wire {
        let pieces = self.pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| Bytes::copy_from_slice(piece));
        Wire { pieces: pieces.collect(), closes: self.closes, requested: false, reader: None }
    }

    fn request<B>(&self, body: impl FnOnce(Bytes) -> B) -> Request<B> {
        let data = if *self.method == Method::POST { Bytes::from_static(b"{}") } else { Bytes::new() };
        Request::builder().method(self.method).uri("/").header(header::HOST, "a").body(body(data)).unwrap()
    }

    /// What our client reads.
    fn ours(&self) -> Outcome {
        let connection = Http1::new(self.wire(), Duration::ZERO, Instant::now());
        let mut outcome = Outcome { head: None, body: Vec::new(), end: End::Waiting };
        let mut exchange = pin!(connection.exchange(self.request(|data| UpstreamBody::Full(Some(data))), false));
        let response = match drive(|cx| exchange.as_mut().poll(cx)) {
            None => return outcome,
            Some(Err(error)) => return Outcome { end: failed(&error), ..outcome },
            Some(Ok(response)) => response,
        };
        outcome.head = Some(facts(&response));
        let mut body = response.into_body();
        let length = body.size_hint().exact();
        outcome.end = loop {
            match drive(|cx| body.poll_data(cx)) {
                None => break End::Waiting,
                Some(Some(Ok(data))) => outcome.body.extend_from_slice(&data),
                Some(Some(Err(error))) => break failed(&error),
                Some(None) => {
                    let (mut connection, reuse) = body.take_connection().expect("a body at its end");
                    let kept = reuse == Reuse::Clean && connection.idle_state() == IdleState::Open;
                    break End::Complete { kept };
                }
            }
        };
        let read = outcome.body.len() as u64;
        let is_complete = matches!(outcome.end, End::Complete { .. });
        assert!(
            length.is_none_or(|length| read == length || (read < length && !is_complete)),
            "{length:?}: {outcome:?}"
        );
        outcome
    }

    /// What hyper's client reads.
    fn hyper(&self) -> Outcome {
        let mut outcome = Outcome { head: None, body: Vec::new(), end: End::Waiting };
        let mut builder = hyper::client::conn::http1::Builder::new();
        let mut handshake = pin!(builder.max_headers(head::MAX_HEADERS).handshake(TokioIo::new(self.wire())));
        let (mut sender, connection) = drive(|cx| handshake.as_mut().poll(cx)).unwrap().unwrap();
        // Its errors are reported to the request too, apart from bytes after the reply.
        let mut connection = pin!(futures_util::FutureExt::fuse(connection));
        let mut response = pin!(sender.send_request(self.request(Full::new)));
        let both = |cx: &mut Context<'_>| {
            let _ = connection.as_mut().poll(cx);
            response.as_mut().poll(cx)
        };
        let response = match drive(both) {
            None => return outcome,
            Some(Err(error)) => return Outcome { end: failed(&error), ..outcome },
            Some(Ok(response)) => response,
        };
        outcome.head = Some(facts(&response));
        let mut body = response.into_body();
        outcome.end = loop {
            let frame = drive(|cx| {
                let frame = Pin::new(&mut body).poll_frame(cx);
                if frame.is_pending() {
                    let _ = connection.as_mut().poll(cx);
                }
                frame
            });
            match frame {
                None => break End::Waiting,
                Some(Some(Ok(frame))) => outcome.body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Some(Err(error))) => break failed(&error),
                Some(None) => {
                    let _ = drive(|cx| connection.as_mut().poll(cx));
                    break End::Complete { kept: sender.is_ready() };
                }
            }
        };
        outcome
    }
}

fn facts<B>(response: &Response<B>) -> (StatusCode, Version, HeaderMap) {
    (response.status(), response.version(), response.headers().clone())
}

/// Whether RFC 9112, section 6.3 lets a client refuse these headers: transfer codings other than `chunked` alone, or
/// lengths that are listed, repeated in another spelling or not numbers.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    if !codings.is_empty() {
        return codings.len() > 1 || !codings.iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    }
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    let is_number = |length: &&http::HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    !lengths.iter().all(is_number) || lengths.windows(2).any(|two| two.first() != two.last())
}

/// Whether `wire` has a run of so many digits as no size of a chunk may have.
fn has_long_size(wire: &[u8]) -> bool {
    wire.split(|byte| !byte.is_ascii_hexdigit()).any(|run| run.len() > super::chunked::MAX_DIGITS)
}

/// Whether hyper refuses for a reason of [`LAXER`].
fn is_laxer(hyper: &End) -> bool {
    matches!(hyper, End::Failed(error) if LAXER.iter().any(|(text, _)| error.contains(text)))
}

/// Panics when our client and hyper's disagree about `wire` without a reason, or when a rule of ours alone is broken:
/// neither the sizes of reads nor the end of the connection changes what was read, and a connection with bytes left
/// over is not kept. The bits of `plan` choose the method; those of `cuts`, where the reads end.
pub fn check(plan: u8, cuts: u64, wire: &[u8]) {
    let method = match plan % 4 {
        0 => Method::HEAD,
        1 => Method::POST,
        _ => Method::GET,
    };
    let (mut pieces, mut rest, mut random) = (Vec::new(), wire, cuts | 1);
    while !rest.is_empty() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Mostly a few bytes, now and then more than a buffer.
        let longest = 8 << (4 * (random >> 32 & 3));
        let length = usize::try_from(1 + (random >> 40) % longest).unwrap();
        let (piece, after) = rest.split_at(rest.len().min(length));
        pieces.push(piece);
        rest = after;
    }
    let closed = Arrival { method: &method, pieces: &pieces, closes: true };
    let open = Arrival { closes: false, ..closed };
    let (ours, ours_open) = (closed.ours(), open.ours());
    let whole = [wire];
    for (arrival, expected) in [(closed, &ours), (open, &ours_open)] {
        let arrival = Arrival { pieces: &whole, ..arrival };
        assert_eq!(arrival.ours(), *expected, "one read and {} reads of {}", pieces.len(), wire.escape_ascii());
    }
    let context = || format!("{method}, of {}", wire.escape_ascii());
    assert!(!matches!(ours.end, End::Waiting | End::Complete { kept: true }), "{ours:?}: {}", context());
    if let End::Complete { .. } = ours_open.end {
        assert_eq!((&ours.head, &ours.body), (&ours_open.head, &ours_open.body), "{}", context());
    }
    compare(&ours, &closed.hyper(), wire, &context);
    let hyper_open = open.hyper();
    if ours_open.end == (End::Complete { kept: true }) {
        let is_right = hyper_open.end == ours_open.end || is_laxer(&hyper_open.end);
        assert!(is_right, "only our client keeps the connection: {hyper_open:?}: {}", context());
    }
}

/// Compares what both read of a connection that closes.
fn compare(ours: &Outcome, hyper: &Outcome, wire: &[u8], context: &dyn Fn() -> String) {
    let both = || format!("ours: {ours:?}\nhyper: {hyper:?}\n{}", context());
    if let (Some(ours), Some(hyper)) = (&ours.head, &hyper.head) {
        let mut expected = hyper.clone();
        if ours.2.contains_key(header::TRANSFER_ENCODING) && !ours.2.contains_key(header::CONTENT_LENGTH) {
            // RFC 9112, section 6.3: a length beside chunks is not passed on.
            expected.2.remove(header::CONTENT_LENGTH);
        }
        assert_eq!(*ours, expected, "{}", both());
    }
    let shorter = ours.body.len().min(hyper.body.len());
    assert_eq!(ours.body.get(..shorter), hyper.body.get(..shorter), "{}", both());
    match (&ours.end, &hyper.end) {
        (End::Failed(_), End::Failed(_)) => {}
        (End::Failed(error), End::Complete { .. }) => {
            let listed = STRICTER.iter().any(|(text, _)| error.contains(text));
            let headers = hyper.head.as_ref().map(|(_, _, headers)| headers);
            let is_right = match error {
                error if error.contains("ambiguous") => headers.is_some_and(is_ambiguous),
                error if error.contains("no valid size") => has_long_size(wire),
                error if error.contains("too long") || error.contains("longer") => wire.len() > 1024,
                _ => true,
            };
            assert!(listed && is_right, "only our client refuses it: {}", both());
        }
        (End::Complete { .. }, End::Failed(_)) => {
            assert!(is_laxer(&hyper.end), "only hyper refuses it: {}", both());
        }
        (End::Complete { .. }, End::Complete { .. }) => {
            assert_eq!((ours.head.is_some(), &ours.body), (hyper.head.is_some(), &hyper.body), "{}", both());
        }
        _ => panic!("a client waits after the end: {}", both()),
    }
}
