//! Writes frames.

use serde::Serialize;

use super::create::Turn;
use crate::{
    conversation::Failure,
    dialect::{
        chat::error,
        responses::write_reply::{Ending, Envelope},
    },
    stream::{Member, Splice, TopLevel, ValueKind, json::ObjectWriter},
};

/// What a frame shows beside its error.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// The lane of the event to which it belongs.
    pub lane: Option<&'a str>,
    /// Its number in the stream of a response that had begun.
    pub sequence: Option<u64>,
    /// Headers of the reply over HTTP, on which clients act.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Headers as an object.
struct Headers<'a>(&'a [(&'a str, &'a str)]);

impl Serialize for Headers<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The frame of an error.
pub fn error_frame(failure: &Failure<'_>, shown: Shown<'_>) -> String {
    let mut object = Vec::new();
    error::write_object(failure, ObjectWriter::begin(&mut object));
    frame_of(error::status(failure), &object, shown)
}

/// The frame of an error that a reply or an event over HTTP has in its `body`. The status 200 is that of a stream that
/// had begun without an error.
pub fn reply_error_frame(status: u16, body: &[u8], shown: Shown<'_>) -> String {
    let failure = error::read(status, body);
    let status = if (400..600).contains(&status) { status } else { error::status(&failure) };
    let top = TopLevel::scan(body).ok();
    let nested = top.as_ref().and_then(|top| top.get("error")).filter(|error| error.kind == ValueKind::Object);
    if let Some(nested) = nested {
        return frame_of(status, nested.value, shown);
    }
    let mut object = Vec::new();
    // Its own code, whatever its class.
    let failure = Failure { by_gateway: failure.code.is_some(), ..failure };
    error::write_object(&failure, ObjectWriter::begin(&mut object));
    frame_of(status, &object, shown)
}

/// The frame of the error that `object` is. Its headers are in both places in which clients look for them: OpenAI's
/// SDKs in the error, and Codex beside it.
fn frame_of(status: u16, object: &[u8], shown: Shown<'_>) -> String {
    let headers = (!shown.headers.is_empty()).then_some(Headers(shown.headers));
    let mut out = Vec::with_capacity(object.len() + 64);
    let mut top = ObjectWriter::begin(&mut out).with("type", "error").with("status", &status);
    let inside = TopLevel::scan(object).ok().zip(headers.as_ref()).and_then(|(inside, headers)| {
        let headers = serde_json::to_vec(headers).ok()?;
        let mut edits = Splice::new(&inside);
        edits.set("headers", headers);
        Some(edits.apply(&bytes::Bytes::copy_from_slice(object)))
    });
    top.key("error").extend_from_slice(inside.as_deref().unwrap_or(object));
    top.maybe("sequence_number", shown.sequence.as_ref());
    top.maybe("headers", headers.as_ref());
    top.maybe("stream_id", shown.lane);
    top.end();
    text(out)
}

/// An event as a frame of its lane.
pub(super) fn in_lane(event: &TopLevel<'_>, lane: Option<&str>) -> String {
    let Some(lane) = lane else { return text(event.body().to_vec()) };
    let mut edits = Splice::new(event);
    edits.set_str("stream_id", lane);
    text(edits.apply(&bytes::Bytes::copy_from_slice(event.body())).into())
}

/// The frame that refuses to steer a response, with the input, which the client keeps for its next event.
pub(super) fn steer_failed_frame(event: &TopLevel<'_>) -> String {
    let mut out = Vec::new();
    let mut top = ObjectWriter::begin(&mut out).with("type", "response.steer.failed").with("sequence_number", &0);
    top.object("error")
        .with("type", "invalid_request_error")
        .with("code", "steering_not_supported")
        .with("message", "steering is not supported: send the input in the next 'response.create'");
    let raw = |key: &str| event.get(key).map_or("null", Member::as_json);
    top.object("steer").with_raw("input", raw("input")).with_raw("previous_response_id", raw("previous_response_id"));
    top.end();
    text(out)
}

/// The events of a response without output, for an event that only prepares the next one. The response's id is `id`
/// behind `resp_`.
pub fn warm_up_frames(turn: &Turn, id: &str, created: u64) -> [String; 2] {
    [("response.created", None), ("response.completed", Some(Ending::Completed))].map(|(kind, ending)| {
        let mut out = Vec::new();
        let model = turn.model.as_deref().unwrap_or_default();
        let sequence = u64::from(ending.is_some());
        let envelope = Envelope { id, model, created, ending, usage: None, service_tier: None };
        let mut event = ObjectWriter::begin(&mut out).with("type", kind).with("sequence_number", &sequence);
        envelope.write(event.key("response"), |_| {});
        event.maybe("stream_id", turn.lane.as_deref());
        event.end();
        text(out)
    })
}

/// Text that was written as JSON, or has been scanned, and so is UTF-8.
fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_default()
}
