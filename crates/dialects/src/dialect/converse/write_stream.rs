//! Writing streams.
//!
//! Converse's blocks come one after the other: a block that opens while a call is being written waits until the call ends.
//! Text and thoughts have no end of their own in some dialects: they end when another block opens, and go on as a new one.

use std::collections::VecDeque;

use super::{HOME, content, error, formats, write_reply};
use crate::{
    conversation::{BlockStart, Event, Failure, Finish, Signature, Text, TokenUsage},
    dialect::WriteEvents,
    stream::{aws, json::ObjectWriter},
};

/// Writes one stream.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent of each other: each is one thing that has happened")]
pub(super) struct Writer {
    started: bool,
    /// The block that is being written.
    current: Option<Current>,
    /// Blocks that came while a call was being written, in order.
    waiting: VecDeque<Waiting>,
    /// Texts and thoughts that were ended early; their number and whether they are thoughts.
    ended: Vec<(u32, bool)>,
    /// Converse's number of the next block.
    next: u64,
    calls: bool,
    refused: bool,
    usage: TokenUsage,
    /// `messageStop` is written.
    stopped: bool,
    /// Nothing more is written.
    over: bool,
}

struct Current {
    block: u32,
    index: u64,
    kind: Kind,
    /// Whether anything was written of it.
    begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Redacted,
    Call,
}

/// A block that could not be written yet.
struct Waiting {
    block: u32,
    opened: BlockStart<'static>,
    text: String,
    signature: Option<Signature<'static>>,
    closed: bool,
}

impl WriteEvents for Writer {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Start { usage, .. } => {
                self.usage.update(*usage);
                self.start(out);
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Error(failure) => self.fail(failure, out),
            Event::End => self.end(out),
            _ if self.stopped => {}
            Event::Open { choice: 0, block, opened } => self.open(*block, opened, out),
            Event::Delta { choice: 0, block, text } => self.delta(*block, text, out),
            Event::Signature { choice: 0, block, signature } => self.signed(*block, signature, out),
            Event::Citation { choice: 0, block, citation } => {
                // Nobody cites while a call is open: a block that waits has no citations.
                if let Some(index) = self.writable(*block, false, out) {
                    write_delta(out, index, |delta| {
                        let mut object = delta.object("citation");
                        content::write_citation(&mut object, citation);
                        object.end();
                    });
                }
            }
            Event::Close { choice: 0, block } => self.close(*block, out),
            Event::Finish { choice: 0, reason, stop_sequence } => self.stop(*reason, stop_sequence.as_ref(), out),
            // Other answers than the first, for which Converse has no place; log-probabilities.
            _ => {}
        }
    }
}

impl Writer {
    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            aws::write_event(out, "messageStart", |out| out.extend_from_slice(br#"{"role":"assistant"}"#));
        }
    }

    fn open(&mut self, block: u32, opened: &BlockStart<'_>, out: &mut Vec<u8>) {
        self.start(out);
        match &self.current {
            Some(current) if current.kind == Kind::Call || !self.waiting.is_empty() => {
                let opened = owned(opened);
                self.waiting.push_back(Waiting { block, opened, text: String::new(), signature: None, closed: false });
            }
            _ => {
                self.end_current(out);
                self.begin(block, opened, out);
            }
        }
    }

    /// Begins the next block; nothing is being written.
    fn begin(&mut self, block: u32, opened: &BlockStart<'_>, out: &mut Vec<u8>) {
        if let BlockStart::Call { signature: Some(signature), .. } = opened {
            // Converse has no place for the signature of a call: it stands in front, as thoughts without text.
            let index = self.take_index();
            write_signature(out, index, signature);
            write_stop(out, index);
        }
        let index = self.take_index();
        let kind = match opened {
            BlockStart::Text | BlockStart::Refusal => {
                self.refused |= *opened == BlockStart::Refusal;
                Kind::Text
            }
            BlockStart::Thinking => Kind::Thinking,
            BlockStart::Redacted(signature) => {
                let blob = content::redacted_blob(signature);
                write_delta(out, index, |delta| {
                    let mut reasoning = delta.object("reasoningContent");
                    blob.write(reasoning.key("redactedContent"));
                    reasoning.end();
                });
                Kind::Redacted
            }
            BlockStart::Call { id, name, .. } => {
                self.calls = true;
                aws::write_event(out, "contentBlockStart", |out| {
                    let mut event = ObjectWriter::begin(out);
                    event.field("contentBlockIndex", &index);
                    let mut start = event.object("start");
                    let mut call = start.object("toolUse");
                    id.write(call.key("toolUseId"));
                    name.write(call.key("name"));
                    call.end();
                    start.end();
                    event.end();
                });
                Kind::Call
            }
        };
        self.current = Some(Current { block, index, kind, begun: kind == Kind::Redacted });
    }

    fn take_index(&mut self) -> u64 {
        let index = self.next;
        self.next += 1;
        index
    }

    fn delta(&mut self, block: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            waiting.text.push_str(&text.decode());
            return;
        }
        let thinking = self.ended.iter().any(|(ended, thinking)| *ended == block && *thinking);
        if let Some(index) = self.writable(block, thinking, out) {
            let kind = self.current.as_ref().map_or(Kind::Text, |current| current.kind);
            write_text(out, index, kind, text);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            // It had ended early, and now waits to go on.
            waiting.text.push_str(&text.decode());
        }
    }

    fn signed(&mut self, block: u32, signature: &Signature<'_>, out: &mut Vec<u8>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            waiting.signature = Some(Signature { maker: signature.maker, value: owned_text(&signature.value) });
            return;
        }
        let thinking = |current: &Current| current.block == block && current.kind == Kind::Thinking;
        // The signature of a text (Gemini) has no place; one that comes when its thoughts have ended belongs to nothing.
        if let Some(current) = self.current.as_mut().filter(|current| thinking(current)) {
            current.begun = true;
            write_signature(out, current.index, signature);
        }
    }

    /// Converse's number of `block`, if it can be written to now. A text that has ended early goes on as a new one.
    fn writable(&mut self, block: u32, thinking: bool, out: &mut Vec<u8>) -> Option<u64> {
        let other = match &mut self.current {
            Some(current) if current.block == block => {
                current.begun = true;
                return Some(current.index);
            }
            other => other.is_some(),
        };
        if other && !self.ended.iter().any(|(ended, _)| *ended == block) {
            return None;
        }
        self.open(block, if thinking { &BlockStart::Thinking } else { &BlockStart::Text }, out);
        self.current.as_mut().filter(|current| current.block == block).map(|current| {
            current.begun = true;
            current.index
        })
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        self.ended.retain(|(ended, _)| *ended != block);
        if self.current.as_ref().is_some_and(|current| current.block == block) {
            self.end_current(out);
            self.ended.retain(|(ended, _)| *ended != block);
            self.write_waiting(out);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
            waiting.closed = true;
        }
    }

    /// Writes blocks that have waited, up to a call that is still open.
    fn write_waiting(&mut self, out: &mut Vec<u8>) {
        while let Some(waiting) = self.waiting.pop_front() {
            let Waiting { block, opened, text, signature, closed } = waiting;
            self.begin(block, &opened, out);
            if let Some(current) = &mut self.current {
                if !text.is_empty() {
                    current.begun = true;
                    write_text(out, current.index, current.kind, &text.into());
                }
                if let Some(signature) = signature.filter(|_| current.kind == Kind::Thinking) {
                    current.begun = true;
                    write_signature(out, current.index, &signature);
                }
            }
            let is_call = self.current.as_ref().is_some_and(|current| current.kind == Kind::Call);
            if !closed && (is_call || self.waiting.is_empty()) {
                return;
            }
            self.end_current(out);
            self.ended.retain(|(ended, _)| !closed || *ended != block);
        }
    }

    /// Ends the block that is being written, if there is one.
    fn end_current(&mut self, out: &mut Vec<u8>) {
        let Some(current) = self.current.take() else { return };
        match current.kind {
            // Clients parse what they have collected, and nothing is no JSON.
            Kind::Call if !current.begun => write_text(out, current.index, Kind::Call, &"{}".into()),
            Kind::Text | Kind::Thinking if !current.begun => {
                // Nothing was said of it: its number is free again.
                self.next = current.index;
                self.ended.push((current.block, current.kind == Kind::Thinking));
                return;
            }
            Kind::Text | Kind::Thinking => self.ended.push((current.block, current.kind == Kind::Thinking)),
            _ => {}
        }
        write_stop(out, current.index);
    }

    fn stop(&mut self, reason: Finish, stop_text: Option<&Text<'_>>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.start(out);
        self.end_current(out);
        self.waiting.iter_mut().for_each(|waiting| waiting.closed = true);
        self.write_waiting(out);
        let reason = reason.with_calls(self.calls).with_refusal(self.refused);
        aws::write_event(out, "messageStop", |out| {
            let mut event = ObjectWriter::begin(out);
            event.field("stopReason", formats::stop_reason(reason, stop_text.is_some()));
            write_reply::write_stop_text(&mut event, stop_text.filter(|_| reason == Finish::Stop));
            event.end();
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.stop(Finish::Stop, None, out);
        self.over = true;
        aws::write_event(out, "metadata", |out| {
            let mut event = ObjectWriter::begin(out);
            write_reply::write_usage(&mut event, &self.usage);
            event.raw("metrics", r#"{"latencyMs":0}"#);
            event.end();
        });
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.over = true;
        error::write_frame(failure, out);
    }
}

fn owned_text(text: &Text<'_>) -> Text<'static> {
    text.decode().into_owned().into()
}

fn owned(opened: &BlockStart<'_>) -> BlockStart<'static> {
    let signature = |s: &Signature<'_>| Signature { maker: s.maker, value: owned_text(&s.value) };
    match opened {
        BlockStart::Text => BlockStart::Text,
        BlockStart::Refusal => BlockStart::Refusal,
        BlockStart::Thinking => BlockStart::Thinking,
        BlockStart::Redacted(data) => BlockStart::Redacted(signature(data)),
        BlockStart::Call { id, name, signature: proof } => {
            BlockStart::Call { id: owned_text(id), name: owned_text(name), signature: proof.as_ref().map(signature) }
        }
    }
}

fn write_text(out: &mut Vec<u8>, index: u64, kind: Kind, text: &Text<'_>) {
    write_delta(out, index, |delta| match kind {
        Kind::Text => text.write(delta.key("text")),
        Kind::Thinking => {
            let mut reasoning = delta.object("reasoningContent");
            text.write(reasoning.key("text"));
            reasoning.end();
        }
        Kind::Call | Kind::Redacted => {
            let mut call = delta.object("toolUse");
            text.write(call.key("input"));
            call.end();
        }
    });
}

fn write_signature(out: &mut Vec<u8>, index: u64, signature: &Signature<'_>) {
    write_delta(out, index, |delta| {
        let mut reasoning = delta.object("reasoningContent");
        signature.tagged(HOME).write(reasoning.key("signature"));
        reasoning.end();
    });
}

fn write_delta(out: &mut Vec<u8>, index: u64, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    aws::write_event(out, "contentBlockDelta", |out| {
        let mut event = ObjectWriter::begin(out);
        event.field("contentBlockIndex", &index);
        let mut delta = event.object("delta");
        write(&mut delta);
        delta.end();
        event.end();
    });
}

fn write_stop(out: &mut Vec<u8>, index: u64) {
    aws::write_event(out, "contentBlockStop", |out| {
        let mut event = ObjectWriter::begin(out);
        event.field("contentBlockIndex", &index);
        event.end();
    });
}
