//! Reads a stream of chunks.

use std::{collections::HashMap, mem};

use super::{
    error, images,
    reasoning::Reasoning,
    reply::{WireChoice, WireReply, apart, chunk, made_up_id},
    usage,
    wire::{self, WireCall, WireMessage, WirePart},
};
use crate::{
    conversation::{BlockKind, BlockStart, Content, Event, Finish, Signature, Text, TokenUsage, Unsupported},
    dialect::{
        blocks::{Blocks, Progress, ReadShapes, Sink},
        fields::{Place, find_type_error},
    },
};

/// Most answers, and most calls of one answer, that are read; further ones are ignored.
const MAX_CHOICES: usize = 128;
const MAX_CALLS: usize = 1024;
/// Longest arguments that are kept until the name of their call comes, in bytes.
const MAX_EARLY: usize = 64 * 1024;

/// Reads one stream.
#[derive(Default)]
pub(super) struct Reader {
    progress: Progress,
    id: Option<String>,
    choices: Vec<Answer>,
    usage: TokenUsage,
    /// The latest chunk was the usage behind the answers.
    counted: bool,
}

/// One of the answers.
struct Answer {
    /// The provider's number.
    index: i64,
    /// Its blocks. The open ones among them are those that are not calls.
    blocks: Blocks<BlockKind>,
    /// Whether some text of the latest reasoning has come.
    thought: bool,
    calls: Vec<Calling>,
    /// Signatures of calls that have not come yet, by the provider's ids.
    signatures: HashMap<String, Signature<'static>>,
    finished: bool,
}

/// A call that is in progress.
struct Calling {
    index: Option<i64>,
    /// The id on the wire, and the call's id in the conversation, which is unique there.
    wire_id: String,
    id: String,
    /// Absent until the name is known.
    block: Option<u32>,
    /// Arguments that came before the name.
    early: String,
}

impl ReadShapes for Reader {
    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn read(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> bool {
        if usage::is_done(data) {
            self.end(sink);
            return true;
        }
        let Ok(text) = std::str::from_utf8(data) else { return true };
        let wire = serde_json::from_str::<WireReply<'_>>(text);
        if name == Some(usage::ERROR_EVENT) || wire.as_ref().is_ok_and(WireReply::is_error) {
            self.progress.fail(error::read(200, data), sink);
            return true;
        }
        let Ok(wire) = wire else { return false };
        self.chunk(wire, sink);
        true
    }

    fn wrong(_: Option<&[u8]>, json: &str) -> Option<Place> {
        find_type_error::<WireReply<'_>>(json)
    }

    fn cut(&mut self, sink: Sink<'_>) {
        // Some servers end without a mark; a finished answer is whole.
        if self.counted || (!self.choices.is_empty() && self.choices.iter().all(|answer| answer.finished)) {
            self.end(sink);
        }
    }
}

impl Reader {
    fn chunk(&mut self, wire: WireReply<'_>, sink: Sink<'_>) {
        let usage = wire.usage.and_then(|raw| usage::read(raw.get()));
        self.counted = usage::is_usage_only(wire.choices.as_deref(), usage.as_ref());
        let (choices, usage) = (wire.choices.unwrap_or_default(), usage.unwrap_or_default());
        let id = wire.id.filter(|id| !id.is_empty());
        if !self.progress.started {
            // Azure begins with a chunk that has only its content filters.
            if choices.is_empty() && usage.is_empty() && id.is_none() {
                return;
            }
            self.id = id.as_ref().map(|id| id.decode().into_owned());
            let model = wire.model.filter(|model| !model.is_empty());
            self.progress.start(id, model, TokenUsage::default(), sink);
        }
        for choice in choices {
            self.choice(choice, sink);
        }
        let before = self.usage;
        self.usage.update(usage);
        if self.usage != before {
            sink(Event::Usage(self.usage));
        }
    }

    fn choice(&mut self, wire: WireChoice<'_>, sink: Sink<'_>) {
        let index = wire.index.unwrap_or(0);
        let at = self.choices.iter().position(|answer| answer.index == index).unwrap_or(self.choices.len());
        if at == self.choices.len() {
            if at >= MAX_CHOICES {
                return;
            }
            let blocks = Blocks::of(u32::try_from(at).unwrap_or(u32::MAX));
            self.choices.push(Answer {
                index,
                blocks,
                thought: false,
                calls: Vec::new(),
                signatures: HashMap::new(),
                finished: false,
            });
        }
        let Some(answer) = self.choices.get_mut(at).filter(|answer| !answer.finished) else { return };
        let (finish, stop_sequence) = (wire.finish(), wire.stop_sequence());
        // Some servers send a whole message instead of its deltas.
        if let Some(delta) = wire.delta.or(wire.message) {
            answer.delta(delta, self.id.as_deref(), sink);
        }
        let tokens = wire.logprobs.map(wire::logprobs).unwrap_or_default();
        if !tokens.is_empty() {
            sink(Event::Logprobs { choice: answer.blocks.choice, tokens });
        }
        if let Some(finish) = finish {
            answer.finish(finish, stop_sequence, sink);
        }
    }

    /// The stream is complete.
    fn end(&mut self, sink: Sink<'_>) {
        if !self.progress.started {
            self.progress.ended = true;
            return;
        }
        for answer in self.choices.iter_mut().filter(|answer| !answer.finished) {
            answer.finish(Finish::Stop, None, sink);
        }
        if self.choices.is_empty() {
            sink(Event::Finish { choice: 0, reason: Finish::Stop, stop_sequence: None });
        }
        self.progress.end(sink);
    }
}

impl Answer {
    fn delta(&mut self, delta: WireMessage<'_>, reply: Option<&str>, sink: Sink<'_>) {
        let thoughts = delta.thoughts();
        let plain = thoughts.is_some();
        if let Some(text) = thoughts {
            self.say(BlockStart::Thinking, text, sink);
        }
        if let Some(raw) = delta.thinking_blocks {
            let blocks: Vec<WirePart<'_>> = serde_json::from_str(raw.get()).unwrap_or_default();
            blocks.into_iter().filter_map(WirePart::into_thinking).for_each(|block| self.thinking(block, plain, sink));
        } else if delta.reasoning_details.is_some() {
            self.details(&delta, plain, sink);
        }
        if let Some(raw) = delta.content {
            self.content(raw, sink);
        }
        for citation in delta.citations() {
            let block = self.block(BlockStart::Text, sink);
            sink(Event::Citation { choice: self.blocks.choice, block, citation });
        }
        if let Some(text) = delta.refusal.filter(|text| !text.is_empty()) {
            self.say(BlockStart::Refusal, text, sink);
        }
        let mut lost = Unsupported::default();
        for part in images::read_reply(delta.images, &mut lost) {
            self.close(sink);
            if let Content::Media(media) = part.content {
                let block = self.blocks.unlisted(BlockStart::Media(Box::new(media)), sink);
                sink(Event::Close { choice: self.blocks.choice, block });
            }
        }
        lost.names().iter().for_each(|name| sink(Event::Unsupported(name.clone())));
        let older = delta.function_call.map(|function| WireCall {
            index: Some(0),
            id: None,
            function: Some(function),
            custom: None,
            extra_content: None,
        });
        if delta.audio.is_some() {
            sink(Event::Unsupported("audio".into()));
        }
        for (at, call) in delta.tool_calls.into_iter().flatten().chain(older).enumerate() {
            if call.custom.is_some() {
                sink(Event::Unsupported("custom".into()));
            }
            self.call(at, call, reply, sink);
        }
    }

    /// `content`: a string, or Mistral's list of chunks.
    fn content(&mut self, raw: &serde_json::value::RawValue, sink: Sink<'_>) {
        if let Some(text) = Text::of(raw) {
            if !text.is_empty() {
                self.say(BlockStart::Text, text, sink);
            }
            return;
        }
        let chunks: Vec<WirePart<'_>> = serde_json::from_str(raw.get()).unwrap_or_default();
        chunks.iter().filter_map(WirePart::unknown_kind).for_each(|kind| sink(Event::Unsupported(kind.into())));
        for content in chunks.into_iter().filter_map(chunk) {
            match content {
                Content::Text { text, .. } => self.say(BlockStart::Text, text, sink),
                Content::Refusal(text) => self.say(BlockStart::Refusal, text, sink),
                other => self.thinking(other, false, sink),
            }
        }
    }

    /// Reads `reasoning_details`. `plain`: the same delta has their text as plain text, too.
    fn details(&mut self, delta: &WireMessage<'_>, plain: bool, sink: Sink<'_>) {
        let mut lost = Unsupported::default();
        let Reasoning { thoughts, signatures, .. } = Reasoning::details(delta, &mut lost);
        lost.names().iter().for_each(|name| sink(Event::Unsupported(name.clone())));
        for thought in thoughts {
            self.thinking(thought.content, plain, sink);
        }
        for (id, signature) in signatures {
            match self.calls.iter().find(|call| call.wire_id == id).and_then(|call| call.block) {
                Some(block) => sink(Event::Signature { choice: self.blocks.choice, block, signature }),
                None if self.signatures.len() < MAX_CALLS => {
                    self.signatures.insert(id, signature.into_owned());
                }
                None => {}
            }
        }
    }

    /// Reads an element of `thinking_blocks`. `plain`: the same delta has its text as plain text, too.
    fn thinking(&mut self, block: Content<'_>, plain: bool, sink: Sink<'_>) {
        match block {
            Content::Redacted(data) => {
                self.blocks.turn_to(BlockStart::Redacted(data), sink);
                self.close(sink);
            }
            Content::Thinking { text, signature } => {
                // A signed element repeats the text that has already come.
                let repeated =
                    plain || (signature.is_some() && self.thought && self.blocks.find(BlockKind::Thinking).is_some());
                if !repeated && !text.is_empty() {
                    self.say(BlockStart::Thinking, text, sink);
                }
                if let Some(signature) = signature {
                    let block = self.block(BlockStart::Thinking, sink);
                    sink(Event::Signature { choice: self.blocks.choice, block, signature });
                    self.close(sink);
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, start: BlockStart<'_>, text: Text<'_>, sink: Sink<'_>) {
        let thought = start == BlockStart::Thinking;
        let block = self.block(start, sink);
        self.thought |= thought;
        sink(Event::Delta { choice: self.blocks.choice, block, text });
    }

    /// The open block of this kind.
    fn block(&mut self, start: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        self.thought &= self.blocks.find(BlockKind::Thinking).is_some();
        self.blocks.turn_to(start, sink)
    }

    /// Closes the open block that is not a call.
    fn close(&mut self, sink: Sink<'_>) {
        self.blocks.close_all(sink);
    }

    fn call(&mut self, at: usize, call: WireCall<'_>, reply: Option<&str>, sink: Sink<'_>) {
        let signature = call.signature();
        let Some(function) = call.function else { return };
        let name = function.name.filter(|name| !name.is_empty());
        let id = call.id.filter(|id| !id.is_empty());
        let place = match self.place(at, call.index, id.as_ref(), name.is_some()) {
            Some(place) => place,
            None if self.calls.len() < MAX_CALLS && (name.is_some() || id.is_some()) => {
                let place = self.calls.len();
                let reply = reply.map(Text::from);
                let wire_id = id.map_or_else(|| made_up_id(reply.as_ref(), place), |id| id.decode().into_owned());
                let id = apart(&wire_id, place, |id| self.calls.iter().any(|known| known.id == id));
                self.calls.push(Calling { index: call.index, wire_id, id, block: None, early: String::new() });
                place
            }
            None => return,
        };
        let arguments = function.arguments.filter(|raw| !matches!(raw.get(), "null" | "\"\""));
        let text = arguments.map(|raw| Text::of(raw).unwrap_or_else(|| Text::from(raw.get())));
        self.say_call(place, name, text, signature, sink);
    }

    /// The index of the call that a delta belongs to; `None` for a new one. Servers number inconsistently: all calls
    /// with 0, not at all, with a new id on a used number, or with a fresh id in every delta.
    fn place(&self, at: usize, index: Option<i64>, id: Option<&Text<'_>>, named: bool) -> Option<usize> {
        let at_index = |index| self.calls.iter().rposition(|call| call.index == Some(index));
        if let Some(id) = id {
            // A delta with a name and a number of its own is another call, whatever its id: some servers give all calls
            // the same id.
            let other = |call: &Calling| named && index.is_some() && call.index.is_some() && call.index != index;
            let same = |call: &Calling| id.is(&call.wire_id);
            let exact = index.and_then(|_| self.calls.iter().rposition(|call| same(call) && call.index == index));
            let known = exact.or_else(|| self.calls.iter().rposition(|call| same(call) && !other(call)));
            // Without a name it can't be a new call.
            return known.or_else(|| if named { None } else { index.and_then(at_index) });
        }
        match index {
            Some(index) => at_index(index),
            None if named => None,
            None if at > 0 => (at < self.calls.len()).then_some(at),
            None => self.calls.len().checked_sub(1),
        }
    }

    fn say_call(
        &mut self,
        place: usize,
        name: Option<Text<'_>>,
        text: Option<Text<'_>>,
        signature: Option<Signature<'_>>,
        sink: Sink<'_>,
    ) {
        let choice = self.blocks.choice;
        let unopened = self.calls.get(place).is_some_and(|call| call.block.is_none());
        if unopened && name.is_some() {
            self.close(sink);
        }
        let Some(call) = self.calls.get_mut(place) else { return };
        let block = match (call.block, name) {
            (Some(block), _) => {
                if let Some(signature) = signature {
                    sink(Event::Signature { choice, block, signature });
                }
                block
            }
            (None, Some(name)) => {
                let early = || self.signatures.remove(&call.wire_id).or_else(|| self.signatures.remove(""));
                let signature = signature.or_else(early);
                let id = Text::from(call.id.as_str());
                let block = self.blocks.unlisted(BlockStart::Call { id, name: name.into(), signature }, sink);
                call.block = Some(block);
                if !call.early.is_empty() {
                    sink(Event::Delta { choice, block, text: mem::take(&mut call.early).into() });
                }
                block
            }
            (None, None) => {
                // A call that never gets a name is left out at the end.
                if call.early.len() < MAX_EARLY {
                    call.early.push_str(&text.as_ref().map(Text::decode).unwrap_or_default());
                } else {
                    sink(Event::Unsupported("arguments".into()));
                }
                return;
            }
        };
        if let Some(text) = text {
            sink(Event::Delta { choice, block, text });
        }
    }

    fn finish(&mut self, reason: Finish, stop_sequence: Option<Text<'_>>, sink: Sink<'_>) {
        self.close(sink);
        let mut called = false;
        for block in self.calls.iter().filter_map(|call| call.block) {
            called = true;
            sink(Event::Close { choice: self.blocks.choice, block });
        }
        self.finished = true;
        self.blocks.finish(reason.with_calls(called), stop_sequence, sink);
    }
}
