//! Converts streams of Bedrock's `InvokeModelWithResponseStream` to server-sent events, for Claude: each `chunk` frame
//! contains one event of Anthropic's own stream.
//!
//! ```text
//! frame chunk {"bytes":"eyJ0eXBlIjoicGluZyJ9"}   ->   event: ping
//!                                                      data: {"type":"ping"}
//! ```

#[cfg(test)]
mod tests;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::json;

use super::{AwsDecoder, AwsFrame, Splice, TopLevel};

/// The field that Bedrock adds to the last event, and that Anthropic's SDKs do not expect.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Converts one stream, piece by piece. Holds at most one unfinished frame, of at most
/// [`MAX_FRAME_BYTES`](super::aws::MAX_FRAME_BYTES).
///
/// The output is a stream that Anthropic's SDKs can read at every moment. A failure ends it with Anthropic's `error`
/// event, and nothing is written after that.
#[derive(Default)]
pub struct InvokeFilter {
    frames: AwsDecoder,
    /// Whether the last event was written: `message_stop` or `error`.
    over: bool,
}

impl InvokeFilter {
    /// Reads the next piece and appends every event that ends in it to `out`. Frames that are not events of Anthropic's
    /// are left out.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Self { frames, over } = self;
        if let Err(error) = frames.push(piece, &mut |frame| relay(frame, over, out))
            && !*over
        {
            write_error("api_error", &format!("the provider's stream is broken: {error}"), out);
            *over = true;
        }
    }

    /// Ends the stream when the provider's has ended. If the answer was cut, it ends with an error.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.over {
            write_error("api_error", "the provider ended its stream before the answer was complete", out);
            self.over = true;
        }
    }

    /// Whether the last event was written: everything after it is ignored.
    pub const fn is_over(&self) -> bool {
        self.over
    }
}

fn relay(frame: AwsFrame<'_>, over: &mut bool, out: &mut Vec<u8>) {
    if *over {
        return;
    }
    if frame.is_failure() {
        let told = TopLevel::scan(frame.payload).ok().and_then(|top| {
            let message = top.get("message").or_else(|| top.get("Message"))?.as_str()?;
            (!message.is_empty()).then(|| message.into_owned())
        });
        let told = told.or_else(|| frame.error.map(|text| String::from_utf8_lossy(text).into_owned()));
        write_error(error_type(frame.name), told.as_deref().unwrap_or("the provider's stream failed"), out);
        *over = true;
    } else if frame.name == b"chunk"
        && let Some(event) = unwrap(frame.payload)
    {
        *over = write_event(&event, out);
    }
}

/// The event in a chunk's payload, `{"bytes": BASE64, ...}`.
fn unwrap(payload: &[u8]) -> Option<Bytes> {
    let top = TopLevel::scan(payload).ok()?;
    let text = top.get("bytes")?.as_str()?;
    BASE64_STANDARD.decode(text.as_bytes()).ok().map(Bytes::from)
}

/// Appends `event` and returns whether it is the last one. An event that is not a JSON object is left out: it could not
/// be framed.
fn write_event(event: &Bytes, out: &mut Vec<u8>) -> bool {
    let Ok(top) = TopLevel::scan(event) else { return false };
    let kind = top.get("type").and_then(super::Member::as_str).unwrap_or_default();
    // A name with a line break in it would be two lines. Anthropic's names have letters and `_`.
    if !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_graphic()) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    let mut splice = Splice::new(&top);
    if top.contains(METRICS) {
        splice.remove(METRICS);
    }
    // Between JSON's tokens a line break is white space, and inside a string it is always escaped.
    out.extend(splice.apply(event).iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }));
    out.extend_from_slice(b"\n\n");
    matches!(&*kind, "message_stop" | "error")
}

/// Anthropic's error type for a failure.
fn error_type(exception: &[u8]) -> &'static str {
    match exception {
        b"throttlingException" => "rate_limit_error",
        b"serviceUnavailableException" => "overloaded_error",
        b"modelTimeoutException" => "timeout_error",
        b"validationException" => "invalid_request_error",
        b"accessDeniedException" => "permission_error",
        _ => "api_error",
    }
}

fn write_error(kind: &str, message: &str, out: &mut Vec<u8>) {
    let body = json!({ "type": "error", "error": { "type": kind, "message": message } });
    out.extend_from_slice(format!("event: error\ndata: {body}\n\n").as_bytes());
}
