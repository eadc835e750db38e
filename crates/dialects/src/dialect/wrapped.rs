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

use super::{ApiRequest, Dialect, DialectId, StreamMode};
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
}

impl WrappedStream {
    /// A stream of `inner` for a client of `outer`.
    pub fn new(inner: DialectId, outer: DialectId) -> Self {
        let events = SseDecoder::new(MAX_EVENT_BYTES);
        let (inner, outer) = (inner.dialect(), outer.dialect());
        Self { events, inner, outer, usage: TokenUsage::default(), over: false }
    }

    /// Wraps every event that ends in `piece`.
    pub fn push(&mut self, piece: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(piece.len() * 2);
        let Self { events, inner, outer, usage, over } = self;
        events.push(piece, &mut |event| wrap(*inner, *outer, usage, over, &event, &mut out));
        if events.oversized() > 0 && !*over {
            let message = format!("an event of the upstream's stream is larger than {MAX_EVENT_BYTES} bytes");
            let failure = Failure::new(502, ErrorClass::BadGateway, message);
            outer.write_error_event(&failure, StreamMode::EventStream, 0, &mut out);
            *over = true;
        }
        out.into()
    }

    /// The inner stream has ended: wraps an event that lacks its blank line.
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        let Self { events, inner, outer, usage, over } = self;
        events.finish(&mut |event| wrap(*inner, *outer, usage, over, &event, &mut out));
        out.into()
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
    let Some(progress) = inner.read_progress(event.name, event.data) else { return };
    usage.update(progress.usage.unwrap_or_default());
    *over = progress.ends;
    if progress.failed {
        // A status of success lets the error's type decide.
        outer.write_error_event(&inner.read_error(200, event.data), StreamMode::EventStream, 0, out);
    } else {
        outer.wrap_event(event.data, progress.ends.then_some(&*usage), out);
    }
}
