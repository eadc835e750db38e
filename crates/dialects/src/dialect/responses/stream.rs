//! A provider's stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    IMAGE, error, hosted,
    reply::{VITAL, WireResponse, read_citation, read_item, read_logprobs, read_thoughts},
    usage::is_last,
    wire::{Item, lenient},
};
use crate::{
    conversation::{BlockKind, BlockStart, Content, Event, Finish, Signature, Text, TokenUsage, Unsupported},
    dialect::{
        blocks::{Progress, ReadShapes, Sink},
        fields::{Place, find_type_error},
    },
};

/// Reads a stream. A block is opened with its first content, so that empty items do not become blocks.
#[derive(Default)]
pub(super) struct Reader {
    progress: Progress,
    /// Whether a call was made.
    calls: bool,
    slots: Vec<Slot>,
    blocks: u32,
}

/// A part of an item, as a block.
struct Slot {
    /// `output_index`.
    output: u64,
    /// `content_index`; 0 where there is none.
    part: u64,
    kind: BlockKind,
    block: u32,
    /// `summary_index` of the latest reasoning.
    paragraph: u64,
    /// Whether any content has come.
    filled: bool,
    closed: bool,
}

/// The fields of an event that are read for any type.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    output_index: Option<u64>,
    content_index: Option<u64>,
    summary_index: Option<u64>,
    delta: Option<Text<'a>>,
    text: Option<Text<'a>>,
    refusal: Option<Text<'a>>,
    arguments: Option<Text<'a>>,
    item: Option<Item<'a>>,
    annotation: Option<&'a RawValue>,
    logprobs: Option<&'a RawValue>,
    response: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl ReadShapes for Reader {
    const VITAL: &'static [&'static str] = VITAL;
    const STARTS_ERRORS: bool = true;

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn read(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> bool {
        let Ok(wire) = serde_json::from_slice::<Wire<'_>>(data) else { return false };
        let named = name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
        let kind = wire.kind.as_ref().map_or(named.into(), Text::decode);
        match &*kind {
            "error" => self.fail(data, sink),
            "response.created" | "response.queued" | "response.in_progress" => self.start(wire.response, sink),
            kind if is_last(kind) => {
                self.start(wire.response, sink);
                self.end(wire.response, sink);
            }
            _ if wire.error.is_some() => self.fail(data, sink),
            kind if kind.starts_with("response.") => {
                self.start(None, sink);
                self.part_event(kind, &wire, sink);
            }
            _ => {}
        }
        true
    }

    fn wrong(_: Option<&[u8]>, json: &str) -> Option<Place> {
        find_type_error::<Wire<'_>>(json)
    }
}

impl Reader {
    fn start(&mut self, response: Option<&RawValue>, sink: Sink<'_>) {
        if self.progress.started {
            return;
        }
        let response = response.and_then(|raw| serde_json::from_str::<WireResponse<'_>>(raw.get()).ok());
        let (id, model) = response.map_or((None, None), |response| (response.id, response.model));
        self.progress.start(id, model, TokenUsage::default(), sink);
    }

    fn fail(&mut self, data: &[u8], sink: Sink<'_>) {
        self.start(None, sink);
        self.progress.fail(error::read(200, data), sink);
    }

    fn end(&mut self, response: Option<&RawValue>, sink: Sink<'_>) {
        let response = response.and_then(|raw| serde_json::from_str::<WireResponse<'_>>(raw.get()).ok());
        if let Some(failure) = response.as_ref().and_then(WireResponse::failure) {
            return self.progress.fail(failure, sink);
        }
        if self.blocks == 0 {
            // Servers that do not stream may send all content at the end.
            let output = response.as_ref().and_then(|response| response.output.as_deref()).unwrap_or_default();
            for item in output.iter().filter_map(|raw| serde_json::from_str::<Item<'_>>(raw.get()).ok()) {
                self.whole(&item, sink);
            }
        }
        self.close(sink, |_| true);
        let reason = response.as_ref().map_or(Finish::Stop.with_calls(self.calls), |r| r.finish(self.calls));
        sink(Event::Finish { choice: 0, reason, stop_sequence: None });
        let usage = response.map(|response| response.usage()).unwrap_or_default();
        if !usage.is_empty() {
            sink(Event::Usage(usage));
        }
        self.progress.end(sink);
    }

    fn part_event(&mut self, kind: &str, wire: &Wire<'_>, sink: Sink<'_>) {
        let output = wire.output_index.unwrap_or(0);
        let part = wire.content_index.unwrap_or(0);
        match kind {
            "response.output_text.delta" => {
                let tokens = read_logprobs(wire.logprobs);
                if !tokens.is_empty() {
                    sink(Event::Logprobs { choice: 0, tokens });
                }
                self.delta(BlockKind::Text, output, part, wire.delta.as_ref(), sink);
            }
            "response.refusal.delta" => self.delta(BlockKind::Refusal, output, part, wire.delta.as_ref(), sink),
            "response.function_call_arguments.delta" => {
                self.delta(BlockKind::Call, output, 0, wire.delta.as_ref(), sink);
            }
            "response.reasoning_summary_text.delta" => {
                self.thought(output, wire.summary_index.unwrap_or(0), wire.delta.as_ref(), sink);
            }
            "response.reasoning_text.delta" => self.thought(output, part, wire.delta.as_ref(), sink),
            // A server that sends no deltas sends the text here.
            "response.output_text.done" => self.done(BlockKind::Text, output, part, wire.text.as_ref(), sink),
            "response.refusal.done" => self.done(BlockKind::Refusal, output, part, wire.refusal.as_ref(), sink),
            "response.function_call_arguments.done" => {
                self.done(BlockKind::Call, output, 0, wire.arguments.as_ref(), sink);
            }
            "response.output_text.annotation.added" => {
                if let Some(citation) = wire.annotation.and_then(read_citation)
                    && let Some(slot) = self.slot(BlockKind::Text, output, part, sink)
                {
                    let block = slot.block;
                    sink(Event::Citation { choice: 0, block, citation });
                }
            }
            "response.output_item.added" => {
                if let Some(item) = &wire.item {
                    self.added(output, item, sink);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = &wire.item {
                    self.item_done(output, item, sink);
                }
            }
            _ => {}
        }
    }

    /// The slot of a part, opened if it is new; `None` when it is closed already, or is a call that was never
    /// announced.
    fn slot(&mut self, kind: BlockKind, output: u64, part: u64, sink: Sink<'_>) -> Option<&mut Slot> {
        // The latest slot is nearly always the right one.
        let found = self.slots.iter().rposition(|s| s.output == output && s.part == part && s.kind == kind);
        let at = if let Some(at) = found {
            at
        } else {
            let start = match kind {
                BlockKind::Text => BlockStart::Text,
                BlockKind::Refusal => BlockStart::Refusal,
                BlockKind::Thinking => BlockStart::Thinking,
                BlockKind::Redacted | BlockKind::Media | BlockKind::Call | BlockKind::Hosted => return None,
            };
            self.open(output, part, start, sink)
        };
        self.slots.get_mut(at).filter(|slot| !slot.closed)
    }

    fn open(&mut self, output: u64, part: u64, start: BlockStart<'_>, sink: Sink<'_>) -> usize {
        let block = self.blocks;
        self.blocks += 1;
        self.slots.push(Slot { output, part, kind: start.kind(), block, paragraph: 0, filled: false, closed: false });
        sink(Event::Open { choice: 0, block, opened: start });
        self.slots.len() - 1
    }

    fn delta(&mut self, kind: BlockKind, output: u64, part: u64, text: Option<&Text<'_>>, sink: Sink<'_>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        if let Some(slot) = self.slot(kind, output, part, sink) {
            slot.filled = true;
            let block = slot.block;
            sink(Event::Delta { choice: 0, block, text: text.reborrow() });
        }
    }

    /// Reads more reasoning. All paragraphs of an item are one block, because the item has one signature.
    fn thought(&mut self, output: u64, paragraph: u64, text: Option<&Text<'_>>, sink: Sink<'_>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let Some(slot) = self.slot(BlockKind::Thinking, output, 0, sink) else { return };
        let broken = slot.filled && slot.paragraph != paragraph;
        (slot.filled, slot.paragraph) = (true, paragraph);
        let block = slot.block;
        if broken {
            sink(Event::Delta { choice: 0, block, text: "\n\n".into() });
        }
        sink(Event::Delta { choice: 0, block, text: text.reborrow() });
    }

    /// A part is complete; `whole` is its entire text.
    fn done(&mut self, kind: BlockKind, output: u64, part: u64, whole: Option<&Text<'_>>, sink: Sink<'_>) {
        let filled = self.slots.iter().rev().find(|s| s.output == output && s.part == part && s.kind == kind);
        if filled.is_none_or(|slot| !slot.filled) {
            self.delta(kind, output, part, whole, sink);
        }
        // Calls end with their items, annotations come before the part is done.
        if kind != BlockKind::Call {
            self.close(sink, |slot| slot.output == output && slot.part == part && slot.kind == kind);
        }
    }

    fn added(&mut self, output: u64, item: &Item<'_>, sink: Sink<'_>) {
        match item.kind.as_ref().map(Text::decode).as_deref() {
            Some("function_call") => self.call(output, item, sink),
            // Their content comes in separate events.
            None | Some("message" | "reasoning") => {}
            // They are read when they are done.
            Some(other) if other == IMAGE || hosted::is(other) => sink(Event::Running),
            Some(other) => sink(Event::Unsupported(other.into())),
        }
    }

    fn call(&mut self, output: u64, item: &Item<'_>, sink: Sink<'_>) {
        let Some((id, name)) = lenient(item.call_id).or_else(|| lenient(item.id)).zip(lenient(item.name)) else {
            return;
        };
        self.calls = true;
        self.open(output, 0, BlockStart::Call { id, name: name.into(), signature: None }, sink);
        // Some servers send all arguments at once.
        self.delta(BlockKind::Call, output, 0, lenient(item.arguments).as_ref(), sink);
    }

    fn item_done(&mut self, output: u64, item: &Item<'_>, sink: Sink<'_>) {
        if is(item, "reasoning") {
            let (text, signature) = read_thoughts(item);
            if !self.slots.iter().any(|slot| slot.output == output) {
                self.delta(BlockKind::Thinking, output, 0, Some(&text), sink);
            }
            if let Some(signature) = signature {
                self.sign(output, signature, sink);
            }
        } else if !self.slots.iter().any(|slot| slot.output == output) {
            self.whole(item, sink);
        } else if is(item, "function_call") {
            self.done(BlockKind::Call, output, 0, lenient(item.arguments).as_ref(), sink);
        }
        self.close(sink, |slot| slot.output == output);
    }

    fn sign(&mut self, output: u64, signature: Signature<'_>, sink: Sink<'_>) {
        if let Some(slot) = self.slot(BlockKind::Thinking, output, 0, sink) {
            let block = slot.block;
            sink(Event::Signature { choice: 0, block, signature });
        }
    }

    /// Reads an item that came whole.
    fn whole(&mut self, item: &Item<'_>, sink: Sink<'_>) {
        let (mut parts, mut tokens, mut unsupported) = (Vec::new(), Vec::new(), Unsupported::default());
        read_item(item, &mut parts, &mut tokens, &mut unsupported);
        for name in unsupported.names() {
            sink(Event::Unsupported(name.clone()));
        }
        if !tokens.is_empty() {
            sink(Event::Logprobs { choice: 0, tokens });
        }
        for part in parts {
            self.calls |= matches!(part.content, Content::Call(_));
            part.replay(0, self.blocks, sink);
            self.blocks += 1;
        }
    }

    fn close(&mut self, sink: Sink<'_>, which: impl Fn(&Slot) -> bool) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.closed && which(slot)) {
            slot.closed = true;
            sink(Event::Close { choice: 0, block: slot.block });
        }
    }
}

fn is(item: &Item<'_>, kind: &str) -> bool {
    item.kind.as_ref().is_some_and(|known| known.is(kind))
}
