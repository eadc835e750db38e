//! Reads streams.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    HOME, JSON_TOOL, error,
    usage::WireUsage,
    wire::{Block, WireCitation, finish_of},
};
use crate::{
    conversation::{BlockStart, Event, Finish, Signature, Text},
    dialect::{
        ReadEvents,
        events::{repaired, tell_lost},
        fields::{ANSWER, find_type_error},
    },
};

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    message: Option<WireMessage<'a>>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    #[serde(borrow)]
    delta: Option<WireDelta<'a>>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireMessage<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    usage: Option<WireUsage>,
}

/// Any delta: of a block, or of the message.
#[derive(Deserialize)]
struct WireDelta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    citation: Option<WireCitation<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_sequence: Option<Text<'a>>,
}

/// Blocks that are remembered as open. Anthropic opens one at a time; more are closed, so that no stream grows the list.
const MAX_OPEN: usize = 64;

/// How far a stream has come.
#[derive(Clone, Copy, Default, PartialEq, PartialOrd)]
enum Stage {
    #[default]
    Before,
    Begun,
    Finished,
    Ended,
}

/// Reads one stream.
#[derive(Default)]
pub(super) struct Reader {
    stage: Stage,
    usage: WireUsage,
    /// Blocks that have begun and not ended: their index on the wire and ours.
    open: Vec<(u64, u32)>,
    next: u32,
    calls: bool,
    /// The answer came as a call of [`JSON_TOOL`].
    answered: bool,
}

type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

impl ReadEvents for Reader {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) {
        if self.stage == Stage::Ended {
            return;
        }
        let event = serde_json::from_slice::<WireEvent<'_>>(data);
        // Whatever an error looks like, it must not pass for silence.
        let failed = event.as_ref().map_or(name == Some(b"error"), |event| {
            event.kind == "error" || (event.kind.is_empty() && event.error.is_some())
        });
        if failed {
            self.stage = Stage::Ended;
            return sink(Event::Error(error::read(200, data)));
        }
        let Ok(event) = event else {
            match repaired(name, data, ANSWER, &|json| find_type_error::<WireEvent<'_>>(json)) {
                Some(Ok((text, names))) => {
                    self.event(name, text.as_bytes(), sink);
                    if self.stage >= Stage::Begun && self.stage != Stage::Ended {
                        tell_lost(&names, sink);
                    }
                }
                Some(Err(failure)) => {
                    self.stage = Stage::Ended;
                    sink(Event::Error(failure));
                }
                None => {}
            }
            return;
        };
        match &*event.kind {
            "message_start" => self.start(event.message, sink),
            "content_block_start" => self.open(event.index, event.content_block, sink),
            "content_block_delta" => {
                if let (Some(block), Some(delta)) = (self.block(event.index), event.delta) {
                    Self::delta(block, delta, sink);
                }
            }
            "content_block_stop" => {
                if let Some(at) = self.open.iter().position(|(index, _)| *index == event.index) {
                    let (_, block) = self.open.remove(at);
                    sink(Event::Close { choice: 0, block });
                }
            }
            "message_delta" => self.message_delta(event.delta, event.usage, sink),
            "message_stop" => {
                self.finish_once(None, None, sink);
                self.stage = Stage::Ended;
                sink(Event::End);
            }
            _ => {}
        }
    }

    /// `message_stop` is the end; without it the stream was cut.
    fn finish(&mut self, _: Sink<'_>) {}
}

impl Reader {
    fn start(&mut self, message: Option<WireMessage<'_>>, sink: Sink<'_>) {
        if self.stage >= Stage::Begun {
            return;
        }
        self.stage = Stage::Begun;
        let (id, model, usage) = message.map_or((None, None, None), |m| (m.id, m.model, m.usage));
        self.usage.update(usage.unwrap_or_default());
        sink(Event::Start { id, model, usage: self.usage.into() });
    }

    fn block(&self, index: u64) -> Option<u32> {
        self.open.iter().find(|(open, _)| *open == index).map(|(_, block)| *block)
    }

    fn open(&mut self, index: u64, wire: Option<Block<'_>>, sink: Sink<'_>) {
        self.start(None, sink);
        // What comes behind the end of an answer is none of it.
        let Some(mut wire) = wire.filter(|_| self.stage < Stage::Finished) else { return };
        let (choice, block) = (0, self.next);
        let (text, thinking, signature) = (wire.text.take(), wire.thinking.take(), wire.signature.take());
        // Compatible servers may send the whole input at once.
        let input = wire.input.map(RawValue::get).filter(|input| input.len() > 2 && input.starts_with('{'));
        let kind = wire.kind.as_ref().map(|kind| kind.decode().into_owned());
        let Some(opened) = self.opened(wire) else {
            return sink(Event::Unsupported(kind.map_or("content_block".into(), Cow::Owned)));
        };
        let first = match &opened {
            BlockStart::Text if self.answered && input.is_some() => input.map(Text::from),
            BlockStart::Text => text,
            BlockStart::Thinking => thinking,
            BlockStart::Call { .. } => input.map(Text::from),
            BlockStart::Redacted(_) | BlockStart::Refusal => None,
        };
        let signature = signature.filter(|text| opened == BlockStart::Thinking && !text.is_empty());
        self.next += 1;
        if self.open.len() >= MAX_OPEN {
            let (_, oldest) = self.open.remove(0);
            sink(Event::Close { choice, block: oldest });
        }
        self.open.push((index, block));
        sink(Event::Open { choice, block, opened });
        if let Some(text) = first.filter(|text| !text.is_empty()) {
            sink(Event::Delta { choice, block, text });
        }
        if let Some(signature) = signature {
            sink(Event::Signature { choice, block, signature: Signature::untagged(signature, HOME) });
        }
    }

    /// What a block is; `None` for those that only the provider knows.
    fn opened<'a>(&mut self, wire: Block<'a>) -> Option<BlockStart<'a>> {
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
                BlockStart::Call { id: wire.id?, name, signature: None }
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
        if self.stage >= Stage::Finished {
            return;
        }
        self.stage = Stage::Finished;
        for (_, block) in self.open.drain(..) {
            sink(Event::Close { choice: 0, block });
        }
        let reason = match finish_of(reason) {
            Finish::ToolCalls if self.answered && !self.calls => Finish::Stop,
            other => other.with_calls(self.calls),
        };
        sink(Event::Finish { choice: 0, reason, stop_sequence });
    }
}
