//! One event of a client: the request that it is, and its reply as frames.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    super::{finish::ReplyBody, handler, heavy, peer::Arrival, trace::RequestIds, watch::Watch},
    handshake::Handover,
    session::{End, Session},
};
use crate::dialect::responses::websocket::{Frames, Shown, Turn, read, reply_error_frame, warm_up_frames};

/// Headers of a reply on which clients act. Those whose names begin with [`RATE_LIMITS`] are shown, too.
const SHOWN: [&str; 5] = ["retry-after", "retry-after-ms", "x-request-id", "x-should-retry", "x-tollgate-request-id"];
/// The beginning of the names of headers about limits.
const RATE_LIMITS: &str = "x-ratelimit-";

/// What becomes of a reply.
enum Output {
    /// Frames of its events.
    Events(Box<Frames>),
    /// One frame, of an error, when its body was read.
    Error { status: u16, headers: HeaderMap, body: Vec<u8> },
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Serves one event, until the last frame of its reply.
    ///
    /// # Errors
    /// When the session ends with it.
    pub async fn turn(&mut self, event: Bytes, watch: &Watch) -> Result<(), End> {
        let histories = &self.histories;
        let read = heavy::run(event.len(), || read(&event, histories)).await;
        drop(event);
        let mut turn = match read {
            Ok(turn) => turn,
            Err(frame) => return self.send_all([frame]).await,
        };
        if !turn.generates {
            return self.warm_up(turn).await;
        }
        let response = self.respond(std::mem::take(&mut turn.body), watch).await?;
        let output = self.output(&turn, response.status().as_u16(), response.headers());
        let Some(frames) = self.forward(response.into_body(), output, turn.lane.as_deref()).await? else {
            return Ok(());
        };
        if let Some((id, output)) = frames.into_response() {
            self.remember(turn, id, &output);
        }
        Ok(())
    }

    /// Answers an event that only prepares the next one. The gateway has nothing to prepare but the conversation.
    async fn warm_up(&mut self, turn: Turn) -> Result<(), End> {
        #[expect(clippy::disallowed_methods, reason = "the time at which the response is made")]
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ids = RequestIds::of(&HeaderMap::new());
        let id = ids.request.as_str();
        self.send_all(warm_up_frames(&turn, id, created)).await?;
        self.remember(turn, format!("resp_{id}"), b"");
        Ok(())
    }

    /// Keeps a response for later events, if there is memory for it.
    fn remember(&mut self, turn: Turn, id: String, output: &[u8]) {
        let lane = turn.lane.clone();
        self.histories.remember(turn.lane, id, turn.input, output);
        if !self.held.resize(self.histories.bytes()) {
            self.histories.forget(lane.as_deref());
            self.held.resize(self.histories.bytes());
        }
    }

    /// Sends the request on its path, as if it had come over HTTP.
    async fn respond(&mut self, body: Bytes, watch: &Watch) -> Result<Response<ReplyBody>, End> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        let arrival = Arrival { peer: self.peer.clone(), progress: watch.begin(), handover: Handover::default() };
        let shared = Arc::clone(&self.shared);
        let mut responding = Box::pin(handler::respond(&shared, arrival, request.into_parts().0, Body::from(body)));
        let mut pings = self.limits.pings();
        loop {
            tokio::select! {
                response = &mut responding => return Ok(response),
                message = self.socket.next() => self.meanwhile(message).await?,
                _ = pings.tick() => self.send(Message::Ping(Bytes::new())).await?,
            }
        }
    }

    fn output(&self, turn: &Turn, status: u16, headers: &HeaderMap) -> Output {
        let content_type = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let is_stream = content_type.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"));
        if is_stream && (200..300).contains(&status) {
            let frames = Frames::new(turn.lane.clone(), turn.stores, self.histories.limit());
            return Output::Events(Box::new(frames));
        }
        // A reply that is no stream where one was requested is an error, too.
        let status = if status >= 400 { status } else { 502 };
        Output::Error { status, headers: headers.clone(), body: Vec::new() }
    }

    /// Forwards the reply to its end, and reads what the client sends meanwhile. Returns the frames of a stream.
    async fn forward(
        &mut self,
        mut body: ReplyBody,
        mut output: Output,
        lane: Option<&str>,
    ) -> Result<Option<Frames>, End> {
        let mut pings = self.limits.pings();
        let mut last: Option<Instant> = None;
        let mut frames = Vec::new();
        loop {
            let next = tokio::select! {
                frame = body.frame() => frame,
                message = self.socket.next() => {
                    self.meanwhile(message).await?;
                    continue;
                }
                _ = pings.tick() => {
                    self.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
                () = sleep_until(last.unwrap_or_else(Instant::now)), if last.is_some() => None,
            };
            let data = match next {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                // The reply of a stream that breaks has an error event; without one, its end is missing.
                Some(Err(_)) | None => break,
            };
            match &mut output {
                Output::Events(events) => {
                    events.push(&data, &mut frames);
                    if !frames.is_empty() {
                        self.send_all(frames.drain(..)).await?;
                    }
                    if events.has_ended() {
                        last.get_or_insert_with(|| Instant::now() + self.limits.last_event);
                    }
                }
                Output::Error { body, .. } => {
                    let room = self.limits.error_body.saturating_sub(body.len()).min(data.len());
                    body.extend_from_slice(data.get(..room).unwrap_or_default());
                }
            }
        }
        match output {
            Output::Events(mut events) => {
                events.finish(&mut frames);
                self.send_all(frames).await?;
                Ok(Some(*events))
            }
            Output::Error { status, headers, body } => {
                let headers = shown(&headers);
                let shown = Shown { lane, headers: &headers, ..Shown::default() };
                self.send_all([reply_error_frame(status, &body, shown)]).await?;
                Ok(None)
            }
        }
    }
}

/// The headers of a reply that its frame shows.
fn shown(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let shown =
        headers.iter().filter(|(name, _)| SHOWN.contains(&name.as_str()) || name.as_str().starts_with(RATE_LIMITS));
    shown.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}
