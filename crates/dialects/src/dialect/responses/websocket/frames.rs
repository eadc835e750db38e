//! The events of a streaming reply as frames.

use crate::{
    conversation::{ErrorClass, Failure},
    stream::{Event, Member, SseDecoder, TopLevel, ValueKind, sse::MAX_EVENT_BYTES},
};

use super::{
    history::append,
    write::{self, Shown, error_frame},
};

/// Turns the server-sent events of one reply into frames, and collects what a later event may continue from.
pub struct Frames {
    decoder: SseDecoder,
    reply: Reply,
}

/// The reply, as far as its events have come.
struct Reply {
    lane: Option<String>,
    stores: bool,
    /// Most bytes of output that are kept.
    limit: usize,
    /// The items of the output: elements of a JSON array. `None` once there are too many.
    output: Option<Vec<u8>>,
    /// The id, once the response has ended well.
    id: Option<String>,
    /// The last event of the response, or an error, was written. Nothing follows it: a client takes what comes next for
    /// an event of its next response.
    ended: bool,
}

impl Frames {
    /// Frames for the events of `lane`. At most `limit` bytes of output are kept. `stores` states whether the provider
    /// stores the response.
    pub fn new(lane: Option<String>, stores: bool, limit: usize) -> Self {
        let reply = Reply { lane, stores, limit, output: Some(Vec::new()), id: None, ended: false };
        Self { decoder: SseDecoder::new(MAX_EVENT_BYTES), reply }
    }

    /// Takes the next bytes of the stream, and appends the frames of the events that end in them.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<String>) {
        let Self { decoder, reply } = self;
        decoder.push(bytes, &mut |event| reply.event(&event, out));
        if decoder.oversized() > 0 {
            reply.fail("an event of the upstream's stream is too large", out);
        }
    }

    /// The stream has ended: appends the last frames, which are an error if the response has no end.
    pub fn finish(&mut self, out: &mut Vec<String>) {
        let Self { decoder, reply } = self;
        decoder.finish(&mut |event| reply.event(&event, out));
        reply.fail("the upstream ended the stream before its end", out);
    }

    /// Whether the last frame of the response was written.
    pub const fn has_ended(&self) -> bool {
        self.reply.ended
    }

    /// The lane of the frames.
    pub fn lane(&self) -> Option<&str> {
        self.reply.lane.as_deref()
    }

    /// The id of the response and the items of its output, if it can be continued.
    pub fn into_response(self) -> Option<(String, Vec<u8>)> {
        self.reply.id.zip(self.reply.output)
    }
}

impl Reply {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<String>) {
        let data = event.data.trim_ascii();
        if self.ended || data.is_empty() || data == b"[DONE]" {
            return;
        }
        let Ok(top) = TopLevel::scan(data) else {
            // Half an event at the end of a stream that was cut; its end is reported.
            if event.terminated {
                self.fail("the upstream's stream can't be read", out);
            }
            return;
        };
        let kind = top.get("type").and_then(Member::as_str);
        match kind.as_deref() {
            Some("error") => return self.error(&top, out),
            None if top.contains("error") => return self.error(&top, out),
            Some("response.output_item.done") => self.item(&top),
            Some("response.completed" | "response.incomplete") => {
                let response = top.get("response").and_then(|field| TopLevel::scan(field.value).ok());
                let id = response.as_ref().and_then(|response| response.get("id")).and_then(Member::as_str);
                self.id = id.map(std::borrow::Cow::into_owned);
                self.ended = true;
            }
            Some("response.failed") => self.ended = true,
            _ => {}
        }
        out.push(write::in_lane(&top, self.lane.as_deref()));
    }

    /// Keeps the item of an event, if the item can be sent back.
    fn item(&mut self, event: &TopLevel<'_>) {
        let Some(item) = event.get("item").filter(|item| item.kind == ValueKind::Object) else { return };
        if !self.stores && TopLevel::scan(item.value).is_ok_and(|item| is_bare_reasoning(&item)) {
            return;
        }
        let Some(output) = &mut self.output else { return };
        if output.len() + item.value.len() > self.limit {
            self.output = None;
        } else {
            append(output, item.value);
        }
    }

    /// Writes an error of the stream in the form that errors have on a WebSocket.
    fn error(&mut self, event: &TopLevel<'_>, out: &mut Vec<String>) {
        let sequence = event.get("sequence_number").and_then(Member::as_u64);
        let shown = Shown { lane: self.lane.as_deref(), sequence, ..Shown::default() };
        out.push(write::reply_error_frame(200, event.body(), shown));
        self.ended = true;
    }

    /// Ends the response with an error, unless it has ended.
    fn fail(&mut self, message: &'static str, out: &mut Vec<String>) {
        if !std::mem::replace(&mut self.ended, true) {
            let failure = Failure::of_gateway(502, ErrorClass::BadGateway, "upstream_protocol", message);
            out.push(error_frame(&failure, Shown { lane: self.lane.as_deref(), ..Shown::default() }));
        }
    }
}

/// Whether an item is reasoning with nothing but an id. OpenAI finds no such item by its id when it stores nothing, and
/// refuses it.
fn is_bare_reasoning(item: &TopLevel<'_>) -> bool {
    let has = |key: &str| item.get(key).is_some_and(|field| !matches!(field.value, b"null" | b"[]" | b"\"\""));
    item.get("type").and_then(Member::as_str).as_deref() == Some("reasoning")
        && !has("encrypted_content")
        && !has("summary")
        && !has("content")
}
