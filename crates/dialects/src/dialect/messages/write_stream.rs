//! Writes streams.
//!
//! Blocks of this dialect stand strictly one behind the other. What comes for another block than the open one waits until
//! that one ends.

use std::collections::VecDeque;

use super::{
    HOME, error,
    reply::failed,
    wire::{write_citation, write_stop, write_usage},
    write_reply::{write_head, write_redacted},
};
use crate::{
    conversation::{BlockStart, Event, Failure, Finish, Signature, Text, TokenUsage},
    dialect::{ReplyHead, WriteEvents},
    stream::json::{ObjectWriter, write_value},
};

/// What a block is, as far as its deltas differ.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Thinking,
    Call,
    /// Whole from its beginning.
    Redacted,
}

/// A block that can't be written yet.
struct Waiting {
    block: u32,
    kind: Kind,
    start: Vec<u8>,
    deltas: Vec<Vec<u8>>,
    closed: bool,
}

/// Writes one stream. Only the first of several answers: the dialect has one.
#[expect(clippy::struct_excessive_bools, reason = "independent of each other: each is one thing that has happened")]
pub(super) struct Writer {
    head: ReplyHead,
    begun: bool,
    done: bool,
    usage: TokenUsage,
    finish: Option<Finish>,
    stop_sequence: Option<Text<'static>>,
    calls: bool,
    refused: bool,
    /// The block that is being written: its number in the conversation.
    current: Option<(u32, Kind)>,
    /// Its index on the wire, or that of the next one.
    index: u32,
    waiting: VecDeque<Waiting>,
}

impl WriteEvents for Writer {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        match event {
            Event::Start { id, model, usage } => self.start(id.as_ref(), model.as_ref(), *usage, out),
            Event::Open { choice: 0, block, opened } => self.open(*block, opened, out),
            Event::Delta { choice: 0, block, text } => self.text(*block, text, out),
            Event::Signature { choice: 0, block, signature } => {
                // The proof of a text that has begun has no place.
                let write =
                    |_| Some(|out: &mut Vec<u8>| delta(out, "signature_delta", "signature", &signature.tagged(HOME)));
                self.delta(*block, |kind| kind == Kind::Thinking, write, out);
            }
            Event::Citation { choice: 0, block, citation } => {
                let write = |_| {
                    Some(|out: &mut Vec<u8>| {
                        let mut object = ObjectWriter::begin(out);
                        object.field("type", "citations_delta");
                        write_citation(citation, object.object("citation"));
                        object.end();
                    })
                };
                self.delta(*block, |kind| kind == Kind::Text, write, out);
            }
            Event::Close { choice: 0, block } => self.close(*block, out),
            Event::Finish { choice: 0, reason, stop_sequence } => {
                self.close_all(out);
                self.finish = Some(*reason);
                self.stop_sequence = stop_sequence.clone().map(Text::into_owned);
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Error(failure) => self.fail(failure, out),
            Event::End => self.end(out),
            // Other answers, and probabilities.
            _ => {}
        }
    }
}

impl Writer {
    /// A writer at the beginning of a stream.
    pub fn new(head: ReplyHead) -> Self {
        Self {
            head,
            begun: false,
            done: false,
            usage: TokenUsage::default(),
            finish: None,
            stop_sequence: None,
            calls: false,
            refused: false,
            current: None,
            index: 0,
            waiting: VecDeque::new(),
        }
    }

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, usage: TokenUsage, out: &mut Vec<u8>) {
        self.usage.update(usage);
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        out.extend_from_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
        let mut message = ObjectWriter::begin(out);
        write_head(id, model, &self.head, &mut message);
        message.raw("content", "[]");
        message.raw("stop_reason", "null");
        message.raw("stop_sequence", "null");
        write_usage(&self.usage, Some(self.head.estimated_input), message.object("usage"));
        message.end();
        out.extend_from_slice(b"}\n\n");
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.start(None, None, TokenUsage::default(), out);
    }

    fn open(&mut self, block: u32, opened: &BlockStart<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        match opened {
            BlockStart::Text | BlockStart::Refusal => {
                self.refused |= *opened == BlockStart::Refusal;
                self.add(block, Kind::Text, |out| out.extend_from_slice(br#"{"type":"text","text":""}"#), out);
            }
            BlockStart::Thinking => {
                let start = br#"{"type":"thinking","thinking":"","signature":""}"#;
                self.add(block, Kind::Thinking, |out| out.extend_from_slice(start), out);
            }
            BlockStart::Redacted(signature) => self.redacted(block, signature, out),
            BlockStart::Call { id, name, signature } => {
                if let Some(signature) = signature {
                    self.redacted(block, signature, out);
                }
                self.calls = true;
                let start = |out: &mut Vec<u8>| {
                    let mut object = ObjectWriter::begin(out);
                    object.field("type", "tool_use");
                    object.field("id", id);
                    object.field("name", name);
                    object.raw("input", "{}");
                    object.end();
                };
                self.add(block, Kind::Call, start, out);
            }
        }
    }

    fn redacted(&mut self, block: u32, signature: &Signature<'_>, out: &mut Vec<u8>) {
        self.add(block, Kind::Redacted, |out| write_redacted(signature, ObjectWriter::begin(out)), out);
    }

    /// Begins a block, now or when its turn comes.
    fn add(&mut self, block: u32, kind: Kind, start: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        let whole = kind == Kind::Redacted;
        if self.current.is_some() {
            let mut written = Vec::new();
            start(&mut written);
            let waiting = Waiting { block, kind, start: written, deltas: Vec::new(), closed: whole };
            return self.waiting.push_back(waiting);
        }
        self.write_start(start, out);
        if whole { self.write_stop(out) } else { self.current = Some((block, kind)) }
    }

    fn text(&mut self, block: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let write = |kind| {
            let (name, key) = match kind {
                Kind::Text => ("text_delta", "text"),
                Kind::Thinking => ("thinking_delta", "thinking"),
                Kind::Call => ("input_json_delta", "partial_json"),
                Kind::Redacted => return None,
            };
            Some(move |out: &mut Vec<u8>| delta(out, name, key, text))
        };
        self.delta(block, |_| true, write, out);
    }

    /// Writes a delta of `block` if its kind is right, or keeps it until the block's turn comes.
    fn delta<W: FnOnce(&mut Vec<u8>)>(
        &mut self,
        block: u32,
        fits: impl FnOnce(Kind) -> bool,
        write: impl FnOnce(Kind) -> Option<W>,
        out: &mut Vec<u8>,
    ) {
        match self.current {
            Some((current, kind)) if current == block => {
                if let Some(write) = write(kind).filter(|_| fits(kind)) {
                    self.write_delta(write, out);
                }
            }
            _ => {
                let waiting = self.waiting.iter_mut().find(|waiting| waiting.block == block && !waiting.closed);
                let Some(waiting) = waiting else { return };
                if let Some(write) = write(waiting.kind).filter(|_| fits(waiting.kind)) {
                    let mut written = Vec::new();
                    write(&mut written);
                    waiting.deltas.push(written);
                }
            }
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        if self.current.is_some_and(|(current, _)| current == block) {
            self.write_stop(out);
            self.advance(out);
        } else {
            self.waiting.iter_mut().filter(|waiting| waiting.block == block).for_each(|waiting| waiting.closed = true);
        }
    }

    /// Writes what has waited for the last block to end, up to one that is still open.
    fn advance(&mut self, out: &mut Vec<u8>) {
        while self.current.is_none() {
            let Some(next) = self.waiting.pop_front() else { return };
            self.write_start(|out| out.extend_from_slice(&next.start), out);
            for delta in &next.deltas {
                self.write_delta(|out| out.extend_from_slice(delta), out);
            }
            if next.closed { self.write_stop(out) } else { self.current = Some((next.block, next.kind)) }
        }
    }

    fn close_all(&mut self, out: &mut Vec<u8>) {
        while let Some((block, _)) = self.current {
            self.close(block, out);
        }
    }

    fn write_start(&self, start: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
        write_value(out, &self.index);
        out.extend_from_slice(b",\"content_block\":");
        start(out);
        out.extend_from_slice(b"}\n\n");
    }

    fn write_delta(&self, write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        write_value(out, &self.index);
        out.extend_from_slice(b",\"delta\":");
        write(out);
        out.extend_from_slice(b"}\n\n");
    }

    fn write_stop(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
        write_value(out, &self.index);
        out.extend_from_slice(b"}\n\n");
        self.index += 1;
        self.current = None;
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.done = true;
        error::write_event(failure, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close_all(out);
        if self.finish == Some(Finish::Failed) && self.index == 0 {
            return self.fail(&failed(), out);
        }
        self.done = true;
        out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":");
        let mut object = ObjectWriter::begin(out);
        let finish = self.finish.unwrap_or_default().with_calls(self.calls).with_refusal(self.refused);
        write_stop(finish, self.stop_sequence.as_ref(), &mut object);
        object.end();
        out.extend_from_slice(b",\"usage\":");
        // Where nobody counted, the beginning has said all there is.
        write_usage(&self.usage, None, ObjectWriter::begin(out));
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}

fn delta(out: &mut Vec<u8>, name: &str, key: &str, text: &Text<'_>) {
    let mut object = ObjectWriter::begin(out);
    object.field("type", name);
    object.field(key, text);
    object.end();
}
