//! A reply and its faults, step by step onto the connection.

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

use super::Traffic;
use super::fault::{Faults, Reset};
use super::serve::Connection;
use super::wire::{Content, Reply};

/// Time for what was written to leave this process before the connection is reset: a reset throws away what did not.
const FLUSH: Duration = Duration::from_millis(20);

/// Counts one request as started, and at its end as finished or, when it is dropped before, as cancelled.
pub(super) struct Ticket {
    traffic: Arc<Traffic>,
    finished: bool,
}

impl Ticket {
    /// Counts the start.
    pub(super) fn start(traffic: Arc<Traffic>) -> Self {
        traffic.started.fetch_add(1, Ordering::SeqCst);
        Self { traffic, finished: false }
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let outcome = if self.finished { &self.traffic.finished } else { &self.traffic.cancelled };
        outcome.fetch_add(1, Ordering::SeqCst);
    }
}

/// One thing that happens to a body.
#[derive(Debug, PartialEq)]
enum Step {
    Send(Bytes),
    Wait(Duration),
    /// The body fails: HTTP/1.1 closes without the last chunk, HTTP/2 resets the stream.
    Fail,
    /// The TCP connection is reset.
    Reset,
}

/// Turns a reply into a response whose body does what the faults ask.
pub(super) async fn play(
    reply: Reply,
    faults: &Faults,
    connection: Option<Connection>,
    mut ticket: Ticket,
) -> Response {
    if faults.reset == Some(Reset::Before)
        && let Some(connection) = connection
    {
        ticket.finish();
        connection.reset();
        return std::future::pending().await;
    }
    let (mut response, content) = reply.into_parts();
    let media_type = match &content {
        Content::Whole { media_type, .. } | Content::Events { media_type, .. } => *media_type,
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let steps = match content {
        Content::Whole { bytes, .. } if is_plain(faults) => {
            ticket.finish();
            *response.body_mut() = Body::from(bytes);
            return response;
        }
        Content::Whole { bytes, .. } => {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            whole_script(&bytes, faults)
        }
        Content::Events { events, .. } => {
            response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
            event_script(events, faults)
        }
    };
    let player =
        Player { steps: steps.into(), rest: Bytes::new(), split: faults.split, begun: false, connection, ticket };
    *response.body_mut() = Body::from_stream(stream::unfold(player, |mut player| async move {
        player.next().await.map(|item| (item, player))
    }));
    response
}

/// Whether nothing is to happen to the body on its way.
fn is_plain(faults: &Faults) -> bool {
    let Faults { first_token_delay, cut, reset, split, .. } = faults;
    first_token_delay.is_none() && cut.is_none() && reset.is_none() && split.is_none()
}

/// A buffered reply: cut and reset come after half of it.
fn whole_script(bytes: &Bytes, faults: &Faults) -> Vec<Step> {
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

/// A stream: cut comes after so many events, reset in the middle.
fn event_script(events: Vec<Bytes>, faults: &Faults) -> Vec<Step> {
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

struct Player {
    steps: VecDeque<Step>,
    /// What is left of the piece that is being split.
    rest: Bytes,
    split: Option<usize>,
    begun: bool,
    connection: Option<Connection>,
    ticket: Ticket,
}

impl Player {
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        if std::mem::replace(&mut self.begun, true) {
            // Lets the server write what it has, so that each piece leaves on its own, as from a model that is thinking.
            tokio::task::yield_now().await;
        }
        loop {
            if !self.rest.is_empty() {
                let size = self.split.unwrap_or(usize::MAX).min(self.rest.len());
                let piece = self.rest.split_to(size);
                if self.rest.is_empty() && self.steps.is_empty() {
                    self.ticket.finish();
                }
                return Some(Ok(piece));
            }
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => self.rest = bytes,
                Some(Step::Wait(time)) => tokio::time::sleep(time).await,
                Some(Step::Fail) => {
                    self.ticket.finish();
                    // The body's error ends the connection at once, with what was not written yet.
                    tokio::time::sleep(FLUSH).await;
                    return Some(Err(io::Error::other("cut, as the request asked")));
                }
                Some(Step::Reset) => {
                    self.ticket.finish();
                    tokio::time::sleep(FLUSH).await;
                    let Some(connection) = &self.connection else {
                        return Some(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
                    };
                    connection.reset();
                    return std::future::pending().await;
                }
                None => {
                    self.ticket.finish();
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
        assert_eq!(event_script(events, faults), expect, "{faults:?}");
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
        assert_eq!(whole_script(&Bytes::from("abcdef"), &cut), [send("abc"), Step::Fail]);
    }
}
