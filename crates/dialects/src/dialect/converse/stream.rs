//! Reading streams.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    ANSWER_TOOL, HOME, content, error, formats, reply,
    wire::{self, AdditionalReply},
};
use crate::{
    conversation::{BlockStart, Event, Finish, Signature, SignatureOrigin, Text, TokenUsage},
    dialect::{
        ReadEvents,
        events::{repaired, tell_lost},
        fields::{ANSWER, find_type_error},
    },
};

/// Blocks that are remembered as open. Bedrock opens one at a time; more are closed, so that no stream grows the list.
const MAX_OPEN: usize = 64;

/// Reads one stream.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent of each other: each is one thing that has happened")]
pub(super) struct Reader {
    started: bool,
    /// Blocks that are open, by Bedrock's index.
    open: Vec<Open>,
    /// How many blocks have been opened.
    count: u32,
    calls: bool,
    /// Whether the model has called the tool that takes the answer.
    answer: bool,
    /// The answer is complete; its cost may follow.
    finished: bool,
    /// Nothing more is said.
    over: bool,
}

struct Open {
    index: u64,
    block: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Redacted,
    Call,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlockStart<'a> {
    content_block_index: Option<u64>,
    #[serde(borrow)]
    start: Option<Start<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    #[serde(borrow)]
    tool_use: Option<wire::ToolUse<'a>>,
    tool_result: Option<IgnoredAny>,
    image: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta<'a> {
    content_block_index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    tool_use: Option<Input<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Reasoning<'a>>,
    #[serde(borrow)]
    citation: Option<wire::Citation<'a>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    input: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    redacted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    content_block_index: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop<'a> {
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    additional_model_response_fields: Option<&'a RawValue>,
}

type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

impl ReadEvents for Reader {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        if self.over {
            return;
        }
        let name = name.unwrap_or_default();
        if let Some(failure) = error::of_frame(name, data) {
            self.over = true;
            sink(Event::Error(failure));
            return;
        }
        if self.read(name, data, sink).is_ok() {
            return;
        }
        let wrong = |json: &str| match name {
            b"contentBlockDelta" => find_type_error::<BlockDelta<'_>>(json),
            b"contentBlockStart" => find_type_error::<WireBlockStart<'_>>(json),
            b"contentBlockStop" => find_type_error::<BlockStop>(json),
            _ => find_type_error::<MessageStop<'_>>(json),
        };
        match repaired(None, data, ANSWER, &wrong) {
            Some(Ok((text, names))) => {
                let read = self.read(name, text.as_bytes(), sink);
                if read.is_ok() && self.started && !self.over {
                    tell_lost(&names, sink);
                }
            }
            Some(Err(failure)) => {
                self.over = true;
                sink(Event::Error(failure));
            }
            None => {}
        }
    }

    fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        // Without `messageStop` the answer was cut.
        if self.finished && !self.over {
            self.over = true;
            sink(Event::End);
        }
    }
}

impl Reader {
    fn read(&mut self, name: &[u8], data: &[u8], sink: Sink<'_>) -> serde_json::Result<()> {
        match name {
            b"messageStart" => self.start(sink),
            // What comes behind the end of an answer is none of it.
            b"contentBlockDelta" | b"contentBlockStart" | b"messageStop" if self.finished => {}
            b"contentBlockDelta" => {
                if let BlockDelta { content_block_index, delta: Some(delta) } = serde_json::from_slice(data)? {
                    self.delta(content_block_index.unwrap_or(0), delta, sink);
                }
            }
            b"contentBlockStart" => {
                let WireBlockStart { content_block_index, start } = serde_json::from_slice(data)?;
                match start {
                    Some(Start { tool_use: Some(call), .. }) => self.call(content_block_index.unwrap_or(0), call, sink),
                    Some(Start { tool_result: Some(_), .. }) => self.lost("toolResult", sink),
                    Some(Start { image: Some(_), .. }) => self.lost("image", sink),
                    Some(_) => self.lost("contentBlock", sink),
                    None => {}
                }
            }
            b"contentBlockStop" => {
                let BlockStop { content_block_index } = serde_json::from_slice(data)?;
                self.close(content_block_index.unwrap_or(0), sink);
            }
            b"messageStop" => self.stop(&serde_json::from_slice(data)?, sink),
            b"metadata" => {
                self.start(sink);
                // The answer is whole without its cost.
                if let Ok(super::usage::Metadata { usage: Some(usage) }) =
                    serde_json::from_slice::<super::usage::Metadata>(data)
                {
                    sink(Event::Usage(usage.read()));
                }
                self.finish(sink);
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, sink: Sink<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            sink(Event::Start { id: None, model: None, usage: TokenUsage::default() });
        }
    }

    fn lost(&mut self, name: &'static str, sink: Sink<'_>) {
        self.start(sink);
        sink(Event::Unsupported(name.into()));
    }

    /// Opens a block under Bedrock's `index`, in place of one that is still open there.
    fn open(&mut self, index: u64, kind: Kind, opened: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        self.start(sink);
        self.close(index, sink);
        if self.open.len() >= MAX_OPEN {
            let oldest = self.open.remove(0);
            sink(Event::Close { choice: 0, block: oldest.block });
        }
        let block = self.count;
        self.count = self.count.saturating_add(1);
        self.open.push(Open { index, block, kind });
        sink(Event::Open { choice: 0, block, opened });
        block
    }

    /// The block under `index`; text and thoughts begin with their first piece.
    fn block(&mut self, index: u64, kind: Kind, opened: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        match self.open.iter().find(|open| open.index == index) {
            Some(open) if open.kind == kind => open.block,
            _ => self.open(index, kind, opened, sink),
        }
    }

    fn call(&mut self, index: u64, call: wire::ToolUse<'_>, sink: Sink<'_>) {
        // Of tools that Bedrock calls itself the client knows nothing; their input finds no open call.
        if let Some(kind) = call.kind {
            self.start(sink);
            return sink(Event::Unsupported(kind.decode()));
        }
        let (Some(id), Some(name)) = (call.tool_use_id, call.name) else { return };
        if name.is(ANSWER_TOOL) {
            self.answer = true;
            self.open(index, Kind::Call, BlockStart::Text, sink);
        } else {
            self.calls = true;
            self.open(index, Kind::Call, BlockStart::Call { id, name, signature: None }, sink);
        }
    }

    fn delta(&mut self, index: u64, delta: Delta<'_>, sink: Sink<'_>) {
        if let Some(text) = delta.text {
            let block = self.block(index, Kind::Text, BlockStart::Text, sink);
            if !text.is_empty() {
                sink(Event::Delta { choice: 0, block, text });
            }
        }
        if let Some(text) = delta.tool_use.and_then(|call| call.input).filter(|text| !text.is_empty())
            && let Some(open) = self.open.iter().find(|open| open.index == index && open.kind == Kind::Call)
        {
            sink(Event::Delta { choice: 0, block: open.block, text });
        }
        if let Some(reasoning) = delta.reasoning_content {
            self.reasoning(index, reasoning, sink);
        }
        if let Some(citation) = delta.citation {
            let block = self.block(index, Kind::Text, BlockStart::Text, sink);
            sink(Event::Citation { choice: 0, block, citation: content::citation(citation) });
        }
    }

    fn reasoning(&mut self, index: u64, reasoning: Reasoning<'_>, sink: Sink<'_>) {
        if let Some(text) = reasoning.text {
            let block = self.block(index, Kind::Thinking, BlockStart::Thinking, sink);
            if !text.is_empty() {
                sink(Event::Delta { choice: 0, block, text });
            }
        }
        if let Some(signature) = reasoning.signature.filter(|signature| !signature.is_empty()) {
            let block = self.block(index, Kind::Thinking, BlockStart::Thinking, sink);
            sink(Event::Signature { choice: 0, block, signature: Signature::untagged(signature, HOME) });
        }
        if let Some(value) = reasoning.redacted_content {
            let signature = Signature { maker: SignatureOrigin::Anthropic, value };
            self.open(index, Kind::Redacted, BlockStart::Redacted(signature), sink);
        }
    }

    fn close(&mut self, index: u64, sink: Sink<'_>) {
        if let Some(at) = self.open.iter().position(|open| open.index == index) {
            let open = self.open.remove(at);
            sink(Event::Close { choice: 0, block: open.block });
        }
    }

    fn stop(&mut self, stop: &MessageStop<'_>, sink: Sink<'_>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.start(sink);
        for open in self.open.drain(..) {
            sink(Event::Close { choice: 0, block: open.block });
        }
        let reason = stop.stop_reason.as_ref().map(Text::decode);
        let reason = reason.map_or(Finish::Stop, |reason| formats::finish(&reason));
        let reason = reply::end_of(reason, self.answer, self.calls);
        let stop_sequence = stop
            .additional_model_response_fields
            .and_then(|fields| serde_json::from_str::<AdditionalReply<'_>>(fields.get()).ok())
            .and_then(|fields| fields.stop_sequence)
            .filter(|_| reason == Finish::Stop);
        sink(Event::Finish { choice: 0, reason, stop_sequence });
    }
}
