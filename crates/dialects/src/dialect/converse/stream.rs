//! Reading streams.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    ANSWER_TOOL, HOME, content, error, formats, usage,
    wire::{self, AdditionalReply},
};
use crate::{
    conversation::{BlockKind, BlockStart, Event, Finish, Signature, SignatureOrigin, Text, TokenUsage},
    dialect::{
        blocks::{Blocks, Progress, ReadShapes, Sink},
        fields::{Place, find_type_error},
    },
};

/// Reads one stream.
#[derive(Default)]
pub(super) struct Reader {
    progress: Progress,
    /// Blocks by Bedrock's index and their kind.
    blocks: Blocks<(u64, BlockKind)>,
    calls: bool,
    /// Whether the model has called the tool that takes the answer.
    answer: bool,
    /// Whether the answer is complete; its token counts may follow.
    finished: bool,
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
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Delta<'a> {
    text: Option<Text<'a>>,
    tool_use: Option<Input<'a>>,
    reasoning_content: Option<Reasoning<'a>>,
    citation: Option<wire::Citation<'a>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    input: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Reasoning<'a> {
    text: Option<Text<'a>>,
    signature: Option<Text<'a>>,
    redacted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    content_block_index: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct MessageStop<'a> {
    stop_reason: Option<Text<'a>>,
    additional_model_response_fields: Option<&'a RawValue>,
}

impl ReadShapes for Reader {
    const NAMED: bool = true;

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn read(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> bool {
        let name = name.unwrap_or_default();
        if let Some(failure) = error::of_frame(name, data) {
            self.progress.fail(failure, sink);
            return true;
        }
        self.frame(name, data, sink).is_ok()
    }

    fn wrong(name: Option<&[u8]>, json: &str) -> Option<Place> {
        match name.unwrap_or_default() {
            b"contentBlockDelta" => find_type_error::<BlockDelta<'_>>(json),
            b"contentBlockStart" => find_type_error::<WireBlockStart<'_>>(json),
            b"contentBlockStop" => find_type_error::<BlockStop>(json),
            _ => find_type_error::<MessageStop<'_>>(json),
        }
    }

    fn cut(&mut self, sink: Sink<'_>) {
        if self.finished {
            self.progress.end(sink);
        }
    }
}

impl Reader {
    fn frame(&mut self, name: &[u8], data: &[u8], sink: Sink<'_>) -> serde_json::Result<()> {
        match name {
            b"messageStart" => self.start(sink),
            // Content after the end of an answer is ignored.
            b"contentBlockDelta" | b"contentBlockStart" | usage::END if self.finished => {}
            b"contentBlockDelta" => {
                if let BlockDelta { content_block_index, delta: Some(delta) } = serde_json::from_slice(data)? {
                    self.delta(content_block_index.unwrap_or(0), delta, sink);
                }
            }
            b"contentBlockStart" => {
                let WireBlockStart { content_block_index, start } = serde_json::from_slice(data)?;
                match start {
                    Some(Start { tool_use: Some(call), .. }) => self.call(content_block_index.unwrap_or(0), call, sink),
                    Some(Start { tool_result: Some(_), .. }) => self.unsupported("toolResult", sink),
                    Some(Start { image: Some(_), .. }) => self.unsupported("image", sink),
                    Some(_) => self.unsupported("contentBlock", sink),
                    None => {}
                }
            }
            b"contentBlockStop" => {
                let BlockStop { content_block_index } = serde_json::from_slice(data)?;
                let index = content_block_index.unwrap_or(0);
                self.blocks.close(|(open, _)| open == index, sink);
            }
            usage::END => self.stop(&serde_json::from_slice(data)?, sink),
            b"metadata" => {
                self.start(sink);
                // The answer is complete without its token counts.
                if let Ok(usage::Metadata { usage: Some(usage) }) = serde_json::from_slice::<usage::Metadata>(data) {
                    sink(Event::Usage(usage.read()));
                }
                self.cut(sink);
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, sink: Sink<'_>) {
        self.progress.start(None, None, TokenUsage::default(), sink);
    }

    fn unsupported(&mut self, name: &'static str, sink: Sink<'_>) {
        self.start(sink);
        sink(Event::Unsupported(name.into()));
    }

    /// Opens a block under Bedrock's `index`, replacing one that is still open there.
    fn open(&mut self, index: u64, kind: BlockKind, start: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        self.start(sink);
        self.blocks.close(|(open, _)| open == index, sink);
        self.blocks.open((index, kind), start, sink)
    }

    /// The block under `index`; text and reasoning begin with their first delta.
    fn block(&mut self, index: u64, start: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        let kind = start.kind();
        self.blocks.find((index, kind)).unwrap_or_else(|| self.open(index, kind, start, sink))
    }

    fn call(&mut self, index: u64, call: wire::ToolUse<'_>, sink: Sink<'_>) {
        // The client does not have the tools that Bedrock calls itself; their input finds no open call.
        if let Some(kind) = call.kind {
            self.start(sink);
            return sink(Event::Unsupported(kind.decode()));
        }
        let (Some(id), Some(name)) = (call.tool_use_id, call.name) else { return };
        if name.is(ANSWER_TOOL) {
            self.answer = true;
            self.open(index, BlockKind::Call, BlockStart::Text, sink);
        } else {
            self.calls = true;
            self.open(index, BlockKind::Call, BlockStart::Call { id, name: name.into(), signature: None }, sink);
        }
    }

    fn delta(&mut self, index: u64, delta: Delta<'_>, sink: Sink<'_>) {
        if let Some(text) = delta.text {
            let block = self.block(index, BlockStart::Text, sink);
            if !text.is_empty() {
                sink(Event::Delta { choice: 0, block, text });
            }
        }
        if let Some(text) = delta.tool_use.and_then(|call| call.input).filter(|text| !text.is_empty())
            && let Some(block) = self.blocks.find((index, BlockKind::Call))
        {
            sink(Event::Delta { choice: 0, block, text });
        }
        if let Some(reasoning) = delta.reasoning_content {
            self.reasoning(index, reasoning, sink);
        }
        if let Some(citation) = delta.citation {
            let block = self.block(index, BlockStart::Text, sink);
            sink(Event::Citation { choice: 0, block, citation: content::citation(citation) });
        }
    }

    fn reasoning(&mut self, index: u64, reasoning: Reasoning<'_>, sink: Sink<'_>) {
        if let Some(text) = reasoning.text {
            let block = self.block(index, BlockStart::Thinking, sink);
            if !text.is_empty() {
                sink(Event::Delta { choice: 0, block, text });
            }
        }
        if let Some(signature) = reasoning.signature.filter(|signature| !signature.is_empty()) {
            let block = self.block(index, BlockStart::Thinking, sink);
            sink(Event::Signature { choice: 0, block, signature: Signature::untagged(signature, HOME) });
        }
        if let Some(value) = reasoning.redacted_content {
            let signature = Signature { maker: SignatureOrigin::Anthropic, value };
            self.open(index, BlockKind::Redacted, BlockStart::Redacted(signature), sink);
        }
    }

    fn stop(&mut self, stop: &MessageStop<'_>, sink: Sink<'_>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.start(sink);
        let reason = stop.stop_reason.as_ref().map(Text::decode);
        let reason = reason.map_or(Finish::Stop, |reason| formats::finish(&reason));
        let reason = reason.with_answer_tool(self.answer, self.calls);
        let stop_sequence = stop
            .additional_model_response_fields
            .and_then(|fields| serde_json::from_str::<AdditionalReply<'_>>(fields.get()).ok())
            .and_then(|fields| fields.stop_sequence)
            .filter(|_| reason == Finish::Stop);
        self.blocks.finish(reason, stop_sequence, sink);
    }
}
