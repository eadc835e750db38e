//! Requests whose body is of another dialect than their endpoint: Bedrock's `InvokeModel` has the model's own format,
//! which for Claude is Anthropic's Messages.
//!
//! A server that has no such endpoint gets the inner request, and its reply is wrapped for the client:
//!
//! | | the client's | the server's |
//! | --- | --- | --- |
//! | request | model and framing are in the path | they are in the body |
//! | buffered reply | the same body | |
//! | stream | frames with one event each | server-sent events |
//! | errors | of the outer dialect | of the inner one |

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{ApiRequest, Dialect, DialectId, Progress, StreamMode};
use crate::{
    conversation::{ErrorClass, Failure, TokenUsage},
    stream::{SseDecoder, sse::MAX_EVENT_BYTES},
};

/// The request inside a wrapped one.
#[derive(Debug)]
pub struct InnerRequest {
    /// The operation.
    pub api: ApiRequest,
    /// The body.
    pub body: Bytes,
    /// What is in a header of the inner dialect and in the body of the outer one.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Wraps the stream of an inner dialect, piece by piece. The inner dialect streams server-sent events.
///
/// A failure ends the stream, and nothing is written after that.
pub struct WrappedStream {
    events: SseDecoder,
    inner: &'static dyn Dialect,
    outer: &'static dyn Dialect,
    usage: TokenUsage,
    over: bool,
    /// Why the stream was ended here, until it is taken.
    failure: Option<String>,
}

impl WrappedStream {
    /// A stream of `inner` for a client of `outer`.
    pub fn new(inner: DialectId, outer: DialectId) -> Self {
        let events = SseDecoder::new(MAX_EVENT_BYTES);
        let (inner, outer) = (inner.dialect(), outer.dialect());
        Self { events, inner, outer, usage: TokenUsage::default(), over: false, failure: None }
    }

    /// Wraps every event that ends in `piece`.
    pub fn push(&mut self, piece: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(piece.len() * 2);
        let Self { events, inner, outer, usage, over, .. } = self;
        events.push(piece, &mut |event| {
            // Without an event before it, the rest would be another answer.
            if event.oversized == 0 {
                wrap(*inner, *outer, usage, over, &event, &mut out);
            }
        });
        if self.events.oversized() > 0 {
            self.fail(format!("an event of the upstream's stream is larger than {MAX_EVENT_BYTES} bytes"), &mut out);
        }
        out.into()
    }

    /// The inner stream has ended: wraps an event that lacks its blank line. A stream without an end ends with an error.
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        let Self { events, inner, outer, usage, over, .. } = self;
        events.finish(&mut |event| wrap(*inner, *outer, usage, over, &event, &mut out));
        self.fail("the upstream's stream ended without an end that can be read".into(), &mut out);
        out.into()
    }

    /// Appends an error, unless the stream is over.
    fn fail(&mut self, message: String, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            let failure = Failure::new(502, ErrorClass::BadGateway, message.as_str());
            self.outer.write_error_event(&failure, StreamMode::EventStream, 0, out);
            self.failure = Some(message);
        }
    }

    /// Why the stream was ended with an error that the inner stream does not have; once.
    pub fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

/// Appends one event. What is not of the inner dialect is left out.
fn wrap(
    inner: &dyn Dialect,
    outer: &dyn Dialect,
    usage: &mut TokenUsage,
    over: &mut bool,
    event: &crate::stream::Event<'_>,
    out: &mut Vec<u8>,
) {
    if *over {
        return;
    }
    let Some(progress) = Progress::of(inner, event.name, event.data) else { return };
    usage.update(progress.usage.unwrap_or_default());
    *over = progress.ends;
    if progress.failed {
        // A status of success lets the error's type decide.
        outer.write_error_event(&inner.read_error(200, event.data), StreamMode::EventStream, 0, out);
    } else {
        outer.wrap_event(event.data, progress.ends.then_some(&*usage), out);
    }
}
