//! Responses whose bodies are sent step by step, with the faults that concern the connection.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::RequestCounts;
use super::fault::{Faults, Reset};
use super::serve::Connection;
use super::wire::{Content, Reply};

/// Time for written bytes to leave the process before a reset of the connection discards them.
const FLUSH: Duration = Duration::from_millis(20);

/// Counts one request: as started, then as finished, or as cancelled when it is dropped before its end.
pub(super) struct RequestCounter {
    counts: Arc<RequestCounts>,
    finished: bool,
}

impl RequestCounter {
    /// Counts the start.
    pub(super) fn start(counts: Arc<RequestCounts>) -> Self {
        counts.started.fetch_add(1, Ordering::SeqCst);
        Self { counts, finished: false }
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for RequestCounter {
    fn drop(&mut self) {
        let outcome = if self.finished { &self.counts.finished } else { &self.counts.cancelled };
        outcome.fetch_add(1, Ordering::SeqCst);
    }
}

/// One step of sending a body.
#[derive(Debug, PartialEq)]
enum Step {
    Send(Bytes),
    Wait(Duration),
    /// The body fails: HTTP/1.1 closes without the last chunk, HTTP/2 resets the stream.
    Fail,
    /// The TCP connection is reset.
    Reset,
}

/// Makes a response whose body applies the faults while it is sent.
pub(super) async fn respond(
    reply: Reply,
    faults: &Faults,
    connection: Option<Connection>,
    mut counter: RequestCounter,
) -> Response {
    if faults.reset == Some(Reset::Before)
        && let Some(connection) = connection
    {
        counter.finish();
        connection.reset();
        return std::future::pending().await;
    }
    let (mut response, content) = reply.into_parts();
    let media_type = match &content {
        Content::Buffered { media_type, .. } | Content::Events { media_type, .. } => *media_type,
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let steps = match content {
        Content::Buffered { bytes, .. } if is_plain(faults) => {
            counter.finish();
            *response.body_mut() = Body::from(bytes);
            return response;
        }
        Content::Buffered { bytes, .. } => {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            buffered_steps(&bytes, faults)
        }
        Content::Events { events, .. } => {
            response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
            stream_steps(events, faults)
        }
    };
    let body =
        BodySteps { steps: steps.into(), rest: Bytes::new(), split: faults.split, begun: false, connection, counter };
    *response.body_mut() =
        Body::from_stream(stream::unfold(body, |mut body| async move { body.next().await.map(|item| (item, body)) }));
    response
}

/// Whether no fault concerns the sending of the body.
fn is_plain(faults: &Faults) -> bool {
    let Faults { first_token_delay, cut, reset, split, .. } = faults;
    first_token_delay.is_none() && cut.is_none() && reset.is_none() && split.is_none()
}

/// The steps of a buffered reply. A cut or reset comes after half of it.
fn buffered_steps(bytes: &Bytes, faults: &Faults) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(faults.first_token_delay.map(Step::Wait));
    let half = bytes.slice(..bytes.len() / 2);
    match (faults.reset, faults.cut) {
        (Some(Reset::Before | Reset::Headers), _) => steps.push(Step::Reset),
        (Some(Reset::Mid), _) => steps.extend([Step::Send(half), Step::Reset]),
        (None, Some(_)) => steps.extend([Step::Send(half), Step::Fail]),
        (None, None) => steps.push(Step::Send(bytes.clone())),
    }
    steps
}

/// The steps of a stream. A cut comes after the given number of events, a reset in the middle.
fn stream_steps(events: Vec<Bytes>, faults: &Faults) -> Vec<Step> {
    let (sent, end) = match (faults.reset, faults.cut) {
        (Some(Reset::Before | Reset::Headers), _) => (0, Some(Step::Reset)),
        (Some(Reset::Mid), _) => (events.len() / 2, Some(Step::Reset)),
        (None, Some(count)) => (count, Some(Step::Fail)),
        (None, None) => (events.len(), None),
    };
    let mut steps = Vec::new();
    steps.extend(faults.first_token_delay.map(Step::Wait));
    for (index, event) in events.into_iter().take(sent).enumerate() {
        if index > 0 {
            steps.extend(faults.event_delay.map(Step::Wait));
        }
        steps.push(Step::Send(event));
    }
    steps.extend(end);
    steps
}

struct BodySteps {
    steps: VecDeque<Step>,
    /// The rest of the piece that is being split.
    rest: Bytes,
    split: Option<usize>,
    begun: bool,
    connection: Option<Connection>,
    counter: RequestCounter,
}

impl BodySteps {
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        if std::mem::replace(&mut self.begun, true) {
            // Lets the server write each piece on its own, as a model that generates tokens does.
            tokio::task::yield_now().await;
        }
        loop {
            if !self.rest.is_empty() {
                let size = self.split.unwrap_or(usize::MAX).min(self.rest.len());
                let piece = self.rest.split_to(size);
                if self.rest.is_empty() && self.steps.is_empty() {
                    self.counter.finish();
                }
                return Some(Ok(piece));
            }
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => self.rest = bytes,
                Some(Step::Wait(time)) => tokio::time::sleep(time).await,
                Some(Step::Fail) => {
                    self.counter.finish();
                    // The error ends the connection at once and discards what was not written yet.
                    tokio::time::sleep(FLUSH).await;
                    return Some(Err(io::Error::other("cut by a fault of the request")));
                }
                Some(Step::Reset) => {
                    self.counter.finish();
                    tokio::time::sleep(FLUSH).await;
                    let Some(connection) = &self.connection else {
                        return Some(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
                    };
                    connection.reset();
                    return std::future::pending().await;
                }
                None => {
                    self.counter.finish();
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(faults: &Faults, expect: &[Step]) {
        let events = ["a", "b", "c", "d"].map(Bytes::from).to_vec();
        assert_eq!(stream_steps(events, faults), expect, "{faults:?}");
    }

    fn send(text: &'static str) -> Step {
        Step::Send(Bytes::from(text))
    }

    #[test]
    fn a_stream_follows_its_faults() {
        let wait = Duration::from_millis(7);
        check(&Faults::default(), &[send("a"), send("b"), send("c"), send("d")]);
        check(&Faults { cut: Some(1), ..Faults::default() }, &[send("a"), Step::Fail]);
        check(&Faults { cut: Some(0), ..Faults::default() }, &[Step::Fail]);
        let late = Faults { cut: Some(9), ..Faults::default() };
        check(&late, &[send("a"), send("b"), send("c"), send("d"), Step::Fail]);
        check(&Faults { reset: Some(Reset::Mid), ..Faults::default() }, &[send("a"), send("b"), Step::Reset]);
        check(&Faults { reset: Some(Reset::Headers), ..Faults::default() }, &[Step::Reset]);
        let slow = Faults { event_delay: Some(wait), cut: Some(2), ..Faults::default() };
        check(&slow, &[send("a"), Step::Wait(wait), send("b"), Step::Fail]);
        let late = Faults { first_token_delay: Some(wait), cut: Some(1), ..Faults::default() };
        check(&late, &[Step::Wait(wait), send("a"), Step::Fail]);
    }

    #[test]
    fn a_buffered_reply_is_cut_at_its_half() {
        let cut = Faults { cut: Some(3), ..Faults::default() };
        assert_eq!(buffered_steps(&Bytes::from("abcdef"), &cut), [send("abc"), Step::Fail]);
    }
}
