//! Writes the model of the client's request into a reply that stays in its dialect.

use bytes::Bytes;

use super::StreamMode;
use crate::stream::{Splice, TopLevel};

/// A reply whose model is not found within so many bytes is passed on as it is.
const MAX_HELD: usize = 8 * 1024 * 1024;
/// The same for a stream, whose first event has the model.
const MAX_HELD_OF_STREAM: usize = 64 * 1024;

/// Replaces the model in one reply: in a buffered one, or in the event that begins a stream.
pub struct RenamedReply {
    name: String,
    mode: StreamMode,
    held: Vec<u8>,
    done: bool,
}

impl RenamedReply {
    /// A reply that is to name `name`. Frames with checksums stay as they are.
    pub fn new(name: String, mode: StreamMode) -> Self {
        let done = !matches!(mode, StreamMode::No | StreamMode::Sse);
        Self { name, mode, held: Vec::new(), done }
    }

    /// Takes the next bytes, and returns those that can be sent.
    pub fn push(&mut self, data: Bytes) -> Bytes {
        if self.done {
            return data;
        }
        self.held.extend_from_slice(&data);
        if self.mode == StreamMode::No {
            return if self.held.len() > MAX_HELD { self.release() } else { Bytes::new() };
        }
        let mut out = Vec::new();
        while let Some(end) = end_of_event(&self.held) {
            let event: Vec<u8> = self.held.drain(..end).collect();
            let renamed = self.event(&event);
            self.done = renamed.is_some();
            out.extend(renamed.unwrap_or(event));
            if self.done {
                break;
            }
        }
        if self.done || self.held.len() > MAX_HELD_OF_STREAM {
            out.extend(self.release());
        }
        out.into()
    }

    /// The reply has ended: returns the rest of it.
    pub fn finish(&mut self) -> Bytes {
        if self.mode == StreamMode::No
            && !self.done
            && let Some(renamed) = renamed(&self.held, &self.name)
        {
            self.held = renamed.to_vec();
        }
        self.release()
    }

    fn release(&mut self) -> Bytes {
        self.done = true;
        std::mem::take(&mut self.held).into()
    }

    /// An event with the new model; `None` if it names none.
    fn event(&self, event: &[u8]) -> Option<Vec<u8>> {
        let start = event.split_inclusive(|byte| *byte == b'\n').scan(0, |at, line| {
            let begin = *at;
            *at += line.len();
            Some((begin, line))
        });
        let (at, line) = start.into_iter().find(|(_, line)| line.starts_with(b"data:"))?;
        let (from, to) = (at + b"data:".len(), at + line.trim_ascii_end().len());
        let data = renamed(event.get(from..to)?, &self.name)?;
        Some([event.get(..from)?, b" ", &*data, event.get(to..)?].concat())
    }
}

/// The end of the first event in `text`: behind its blank line.
fn end_of_event(text: &[u8]) -> Option<usize> {
    let ends = [&b"\n\n"[..], b"\r\n\r\n", b"\n\r\n"];
    ends.iter().filter_map(|end| memchr::memmem::find(text, end).map(|at| at + end.len())).min()
}

/// An object with the new model, which is its own or that of the message in it; `None` if it has none.
fn renamed(object: &[u8], name: &str) -> Option<Bytes> {
    let object = Bytes::copy_from_slice(object.trim_ascii());
    let top = TopLevel::scan(&object).ok()?;
    let mut splice = Splice::new(&top);
    if top.get("model").is_some_and(|model| model.as_str().is_some()) {
        splice.set_str("model", name);
        return Some(splice.apply(&object));
    }
    let message = top.get("message").filter(|message| message.value.starts_with(b"{"))?;
    splice.set("message", renamed(message.value, name)?.to_vec());
    Some(splice.apply(&object))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply in pieces of `size` bytes.
    fn in_pieces(mode: StreamMode, reply: &str, size: usize) -> String {
        let mut renamed = RenamedReply::new("asked \"x\"".into(), mode);
        let mut out = Vec::new();
        for piece in reply.as_bytes().chunks(size) {
            out.extend_from_slice(&renamed.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&renamed.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_model_of_a_reply_changes() {
        let stream = "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: message_start\ndata: {\"type\":\"message_start\",\
            \"message\":{\"id\":\"m\", \"model\":\"served\",\"usage\":{}}}\n\nevent: x\ndata: {\"model\":\"served\"}\n\n";
        let expected = stream.replacen("\"model\":\"served\"", r#""model":"asked \"x\"""#, 1);
        let whole = r#"{"id":"m","content":[{"model":"served"}], "model" : "served","x":1}"#;
        let expected_whole = r#"{"id":"m","content":[{"model":"served"}], "model" : "asked \"x\"","x":1}"#;
        for size in [1, 2, 7, 64, 4096] {
            assert_eq!(in_pieces(StreamMode::Sse, stream, size), expected);
            let crlf = stream.replace('\n', "\r\n");
            assert_eq!(in_pieces(StreamMode::Sse, &crlf, size), expected.replace('\n', "\r\n"));
            assert_eq!(in_pieces(StreamMode::No, whole, size), expected_whole);
        }
    }

    #[test]
    fn a_reply_without_a_model_stays_as_it_is() {
        for (mode, reply) in [
            (StreamMode::No, "not json"),
            (StreamMode::No, r#"{"message":"text"}"#),
            (StreamMode::No, r#"{"model":null}"#),
            (StreamMode::Sse, "data: {\"type\":\"error\"}\n\ndata: broken\n\ndata: {\"mod"),
            (StreamMode::EventStream, r#"{"model":"served"}"#),
        ] {
            for size in [1, 4096] {
                assert_eq!(in_pieces(mode, reply, size), reply);
            }
        }
        let long = format!("data: {}\n\ndata: {{\"model\":\"served\"}}\n\n", "x".repeat(2 * MAX_HELD_OF_STREAM));
        assert_eq!(in_pieces(StreamMode::Sse, &long, 4096), long);
    }
}
