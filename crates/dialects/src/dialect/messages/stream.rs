//! Reads streams.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    HOME, JSON_TOOL, error,
    hosted::Waiting,
    usage::{END, WireUsage},
    wire::{Block, WireCitation, finish_of},
};
use crate::{
    conversation::{BlockStart, Event, Signature, Text},
    dialect::{
        blocks::{Blocks, Progress, ReadShapes, Sink},
        fields::{Place, find_type_error},
    },
};

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireEvent<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    message: Option<WireMessage<'a>>,
    content_block: Option<Block<'a>>,
    delta: Option<WireDelta<'a>>,
    usage: Option<WireUsage>,
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireMessage<'a> {
    id: Option<Text<'a>>,
    model: Option<Text<'a>>,
    usage: Option<WireUsage>,
}

/// Any delta: of a block, or of the message.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireDelta<'a> {
    text: Option<Text<'a>>,
    partial_json: Option<Text<'a>>,
    thinking: Option<Text<'a>>,
    signature: Option<Text<'a>>,
    citation: Option<WireCitation<'a>>,
    stop_reason: Option<Text<'a>>,
    stop_sequence: Option<Text<'a>>,
}

/// Reads one stream.
#[derive(Default)]
pub(super) struct Reader {
    progress: Progress,
    finished: bool,
    usage: WireUsage,
    /// Blocks by their index on the wire.
    blocks: Blocks<u64>,
    calls: bool,
    /// Whether the answer came as a call of [`JSON_TOOL`].
    answered: bool,
    hosted: Waiting,
}

impl ReadShapes for Reader {
    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn read(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> bool {
        let event = serde_json::from_slice::<WireEvent<'_>>(data);
        // An error of any form must end the stream.
        let failed = event.as_ref().map_or(name == Some(b"error"), |event| {
            event.kind == "error" || (event.kind.is_empty() && event.error.is_some())
        });
        if failed {
            self.progress.fail(error::read(200, data), sink);
            return true;
        }
        let Ok(event) = event else { return false };
        match &*event.kind {
            "message_start" => self.start(event.message, sink),
            "content_block_start" => self.open(event.index, event.content_block, sink),
            "content_block_delta" => {
                let Some(delta) = event.delta else { return true };
                match self.blocks.find(event.index) {
                    Some(block) => Self::delta(block, delta, sink),
                    None => delta.partial_json.iter().for_each(|json| self.hosted.delta(event.index, json)),
                }
            }
            "content_block_stop" => self.blocks.close(|index| index == event.index, sink),
            "message_delta" => self.message_delta(event.delta, event.usage, sink),
            END => {
                self.finish_once(None, None, sink);
                self.progress.end(sink);
            }
            _ => {}
        }
        true
    }

    fn wrong(_: Option<&[u8]>, json: &str) -> Option<Place> {
        find_type_error::<WireEvent<'_>>(json)
    }
}

impl Reader {
    fn start(&mut self, message: Option<WireMessage<'_>>, sink: Sink<'_>) {
        if self.progress.started {
            return;
        }
        let (id, model, usage) = message.map_or((None, None, None), |m| (m.id, m.model, m.usage));
        self.usage.update(usage.unwrap_or_default());
        self.progress.start(id, model, self.usage.into(), sink);
    }

    fn open(&mut self, index: u64, wire: Option<Block<'_>>, sink: Sink<'_>) {
        self.start(None, sink);
        // Content after the end of an answer is ignored.
        let Some(mut wire) = wire.filter(|_| !self.finished) else { return };
        let blocks = &mut self.blocks;
        let hosted = self.hosted.open(index, &wire, |call| match call {
            Some(call) => blocks.whole(BlockStart::Hosted(Box::new(call)), sink),
            None => sink(Event::Running),
        });
        if hosted {
            return;
        }
        let (text, thinking, signature) = (wire.text.take(), wire.thinking.take(), wire.signature.take());
        // Compatible servers may send the whole input at once.
        let input = wire.input.map(RawValue::get).filter(|input| input.len() > 2 && input.starts_with('{'));
        let kind = wire.kind.as_ref().map(|kind| kind.decode().into_owned());
        let Some(start) = self.block_start(wire) else {
            return sink(Event::Unsupported(kind.map_or("content_block".into(), Cow::Owned)));
        };
        let first = match &start {
            BlockStart::Text if self.answered && input.is_some() => input.map(Text::from),
            BlockStart::Text => text,
            BlockStart::Thinking => thinking,
            BlockStart::Call { .. } => input.map(Text::from),
            BlockStart::Redacted(_) | BlockStart::Refusal | BlockStart::Media(_) | BlockStart::Hosted(_) => None,
        };
        let signature = signature.filter(|text| start == BlockStart::Thinking && !text.is_empty());
        let (choice, block) = (0, self.blocks.open(index, start, sink));
        if let Some(text) = first.filter(|text| !text.is_empty()) {
            sink(Event::Delta { choice, block, text });
        }
        if let Some(signature) = signature {
            sink(Event::Signature { choice, block, signature: Signature::untagged(signature, HOME) });
        }
    }

    /// The kind of a block; `None` for blocks that only the provider can use.
    fn block_start<'a>(&mut self, wire: Block<'a>) -> Option<BlockStart<'a>> {
        Some(match &*wire.kind.as_ref()?.decode() {
            "text" => BlockStart::Text,
            "thinking" => BlockStart::Thinking,
            "redacted_thinking" => BlockStart::Redacted(Signature::untagged(wire.data?, HOME)),
            "tool_use" => {
                let name = wire.name?;
                if name.is(JSON_TOOL) {
                    self.answered = true;
                    return Some(BlockStart::Text);
                }
                self.calls = true;
                BlockStart::Call { id: wire.id?, name: name.into(), signature: None }
            }
            _ => return None,
        })
    }

    fn delta(block: u32, delta: WireDelta<'_>, sink: Sink<'_>) {
        let choice = 0;
        if let Some(text) = delta.text.or(delta.partial_json).or(delta.thinking).filter(|text| !text.is_empty()) {
            sink(Event::Delta { choice, block, text });
        }
        if let Some(signature) = delta.signature.filter(|text| !text.is_empty()) {
            sink(Event::Signature { choice, block, signature: Signature::untagged(signature, HOME) });
        }
        if let Some(citation) = delta.citation {
            sink(Event::Citation { choice, block, citation: citation.into() });
        }
    }

    fn message_delta(&mut self, delta: Option<WireDelta<'_>>, usage: Option<WireUsage>, sink: Sink<'_>) {
        self.start(None, sink);
        if let Some(usage) = usage {
            self.usage.update(usage);
            sink(Event::Usage(self.usage.into()));
        }
        if let Some(WireDelta { stop_reason: Some(reason), stop_sequence, .. }) = delta {
            self.finish_once(Some(&reason), stop_sequence, sink);
        }
    }

    fn finish_once(&mut self, reason: Option<&Text<'_>>, stop_sequence: Option<Text<'_>>, sink: Sink<'_>) {
        self.start(None, sink);
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let blocks = &mut self.blocks;
        self.hosted.finish(|call| blocks.whole(BlockStart::Hosted(Box::new(call)), sink));
        let reason = finish_of(reason).with_answer_tool(self.answered, self.calls);
        self.blocks.finish(reason, stop_sequence, sink);
    }
}
