//! Serves a connection as a WebSocket.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{ErrorKind, ProxyError, Shared, budget::Share, peer::Peer, watch::Watch},
    Limits,
    handshake::{Accepted, Head},
    metered::Metered,
};
use crate::{
    conversation::Failure,
    dialect::responses::websocket::{Histories, Shown, connection_too_old, error_frame, too_many_events},
};

/// Bytes that are read at a time. Larger messages take more reads; a connection holds this much while it rests.
const READ_BUFFER: usize = 16 * 1024;
/// Bytes of frames that are gathered before they are written. What there is is written at once anyway.
const WRITE_BUFFER: usize = 16 * 1024;

/// A connection that is a WebSocket.
pub struct Session<S> {
    /// Closed by [`close`](Self::close) alone.
    pub socket: WebSocketStream<Metered<S>>,
    pub shared: Arc<Shared>,
    pub peer: Peer,
    pub head: Head,
    pub limits: Limits,
    /// What later events may continue from.
    pub histories: Histories,
    /// What the histories take of the memory for them.
    pub held: Share,
    /// Events that wait for the response under way, with what they take of the memory for bodies.
    waiting: VecDeque<(Bytes, Share)>,
    opened: Instant,
}

/// Why a session ends.
pub enum End {
    /// The client has closed the connection, or it broke.
    Gone,
    /// The gateway closes it.
    Close {
        code: CloseCode,
        /// Shown to clients that log it.
        reason: &'static str,
        /// The frame before it.
        frame: Option<String>,
    },
}

impl End {
    const fn close(code: CloseCode, reason: &'static str) -> Self {
        Self::Close { code, reason, frame: None }
    }

    /// The process ends, or the port is closed.
    const fn leaving() -> Self {
        Self::close(CloseCode::Away, "the gateway closes this connection")
    }

    fn failed(code: CloseCode, reason: &'static str, failure: &Failure<'_>) -> Self {
        Self::Close { code, reason, frame: Some(error_frame(failure, Shown::default())) }
    }
}

/// Serves the WebSocket that `accepted` has opened, until it ends. `closing` closes it, after the response under way.
pub async fn run(accepted: Accepted, shared: Arc<Shared>, peer: Peer, watch: &Watch, closing: &CancellationToken) {
    match accepted.upgraded.await {
        Ok(upgraded) => {
            let session = Session::new(TokioIo::new(upgraded), accepted.head, shared, peer, Limits::default()).await;
            session.serve(watch, closing).await;
        }
        Err(error) => tracing::debug!(client = %peer.address, %error, "the connection was not handed over"),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// A session on the connection `io`.
    pub async fn new(io: S, head: Head, shared: Arc<Shared>, peer: Peer, limits: Limits) -> Self {
        let settings = &shared.settings;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(settings.max_body))
            .max_frame_size(Some(settings.max_body));
        let counted = Metered::new(io, settings.body_budget.share());
        let socket = WebSocketStream::from_raw_socket(counted, Role::Server, Some(config)).await;
        let histories = Histories::new(settings.max_body);
        let kept = settings.history_budget.share();
        let (waiting, opened) = (VecDeque::new(), Instant::now());
        Self { socket, shared, peer, head, limits, histories, held: kept, waiting, opened }
    }

    /// Serves the client's events, one after another.
    pub async fn serve(mut self, watch: &Watch, closing: &CancellationToken) {
        let (shared, patience) = (Arc::clone(&self.shared), self.shared.settings.write_timeout);
        let end = loop {
            let event = match self.event(closing).await {
                Ok(event) => event,
                Err(end) => break end,
            };
            let ended = tokio::select! {
                // Boxed: it holds a whole request.
                ended = Box::pin(self.turn(event, watch)) => ended,
                // The client has stopped reading: no frame would reach it.
                _ = watch.ending(patience, Duration::MAX) => return,
                () = shared.cut.cancelled() => Err(End::leaving()),
            };
            if let Err(end) = ended {
                break end;
            }
            // As for HTTP/1: the next request goes to another process.
            if shared.leaving.load(Ordering::Relaxed) {
                break End::leaving();
            }
        };
        self.close(end).await;
    }

    /// The next event, which is that of a client that has waited first.
    async fn event(&mut self, closing: &CancellationToken) -> Result<Bytes, End> {
        if closing.is_cancelled() {
            return Err(End::leaving());
        }
        let now = Instant::now();
        let too_old = self.opened + self.limits.lifetime;
        if now < too_old
            && let Some((event, _)) = self.waiting.pop_front()
        {
            return Ok(event);
        }
        let idle = now + self.limits.idle;
        let mut pings = self.limits.pings();
        loop {
            tokio::select! {
                message = self.socket.next() => if let Some(event) = self.received(message)? {
                    return Ok(event);
                },
                _ = pings.tick() => self.send(Message::Ping(Bytes::new())).await?,
                () = closing.cancelled() => return Err(End::leaving()),
                () = sleep_until(too_old) => {
                    return Err(End::failed(CloseCode::Normal, "time limit reached", &connection_too_old()));
                }
                () = sleep_until(idle) => return Err(End::close(CloseCode::Normal, "no event for too long")),
            }
        }
    }

    /// A message came while a response is under way: an event waits for it.
    pub async fn meanwhile(&mut self, message: Option<Result<Message, SocketError>>) -> Result<(), End> {
        let Some(event) = self.received(message)? else { return Ok(()) };
        let waiting: usize = self.waiting.iter().map(|(event, _)| event.len()).sum();
        let fits = self.waiting.len() < self.limits.waiting && waiting + event.len() <= self.shared.settings.max_body;
        let mut share = self.shared.settings.body_budget.share();
        if fits && share.take(event.len()) {
            self.waiting.push_back((event, share));
            return Ok(());
        }
        self.send(Message::text(error_frame(&too_many_events(), Shown::default()))).await
    }

    /// The event in a message; `None` for messages of the protocol, which are answered when the next one is read.
    fn received(&mut self, message: Option<Result<Message, SocketError>>) -> Result<Option<Bytes>, End> {
        let refused = |code, reason, kind, message: Cow<'static, str>| {
            let error = ProxyError::new(kind, message);
            Err(End::failed(code, reason, &error.failure()))
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                self.socket.get_mut().received();
                Ok(Some(text.into()))
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                self.socket.get_mut().received();
                Ok(None)
            }
            Some(Ok(Message::Binary(_))) => {
                let message = "binary messages are not supported: send events as text";
                refused(CloseCode::Unsupported, "binary message", ErrorKind::BadBody, message.into())
            }
            Some(Err(SocketError::Capacity(_))) => {
                let limit = self.shared.settings.max_body;
                let message = format!("the message is larger than the limit of {limit} bytes");
                refused(CloseCode::Size, "message too large", ErrorKind::BodyTooLarge, message.into())
            }
            Some(Err(SocketError::Utf8(_))) => {
                refused(CloseCode::Invalid, "not UTF-8", ErrorKind::BadBody, "the message is not UTF-8".into())
            }
            Some(Err(SocketError::Protocol(error))) => {
                tracing::debug!(client = %self.peer.address, %error, "WebSocket protocol error");
                Err(End::close(CloseCode::Protocol, "protocol error"))
            }
            Some(Err(_)) if self.socket.get_ref().is_exhausted() => {
                let message = "the gateway has no memory left for this message: try again later";
                refused(CloseCode::Again, "no memory", ErrorKind::BodiesOverBudget, message.into())
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
        }
    }

    /// Sends a message at once.
    pub async fn send(&mut self, message: Message) -> Result<(), End> {
        self.socket.send(message).await.map_err(|_| End::Gone)
    }

    /// Sends frames in their order.
    pub async fn send_all(&mut self, frames: impl IntoIterator<Item = String>) -> Result<(), End> {
        for frame in frames {
            self.socket.feed(Message::text(frame)).await.map_err(|_| End::Gone)?;
        }
        self.socket.flush().await.map_err(|_| End::Gone)
    }

    /// Closes the connection. What the client still sends is read and discarded: closing while a client sends resets
    /// the connection, and the client loses the last frames.
    async fn close(mut self, end: End) {
        let patience = self.limits.close;
        let closing = async {
            if let End::Close { code, reason, frame } = end {
                tracing::debug!(client = %self.peer.address, reason, "WebSocket ends");
                self.send_all(frame).await.ok();
                self.socket.close(Some(CloseFrame { code, reason: reason.into() })).await.ok();
            }
            while let Some(Ok(_)) = self.socket.next().await {
                self.socket.get_mut().received();
            }
            let mut io = self.socket.into_inner().into_inner();
            io.shutdown().await.ok();
            let mut unread = [0; 4096];
            while io.read(&mut unread).await.is_ok_and(|read| read > 0) {}
        };
        // Boxed for its buffer.
        timeout(patience, Box::pin(closing)).await.ok();
    }
}
