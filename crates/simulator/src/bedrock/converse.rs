//! Converse and its stream.

use serde_json::Value;

use super::read::list;
use crate::answer::{Answer, FinishReason, halves};
use crate::sign::{SignatureOrigin, signature};
use crate::wire::{Node, ordered};

/// A reply of the model.
pub(super) struct Turn {
    id: u64,
    answer: Answer,
    /// Whether the model is Claude, which signs its reasoning.
    claude: bool,
    /// Whether the additional fields must contain the stop sequence.
    wants_stop: bool,
}

/// One block of a turn.
#[derive(Clone, Copy)]
enum Block<'a> {
    Reasoning(&'a str),
    Redacted,
    Text,
    Call(usize),
}

impl Turn {
    pub(super) fn new(id: u64, model: &str, answer: Answer, body: &Value) -> Self {
        let wanted = list(body.get("additionalModelResponseFieldPaths"));
        Self {
            id,
            answer,
            claude: model.contains("claude"),
            wants_stop: wanted.iter().any(|path| path == "/stop_sequence"),
        }
    }

    /// The reply as one document.
    pub(super) fn buffered(&self) -> Node {
        let content: Vec<Node> = self.blocks().into_iter().map(|block| self.block(block)).collect();
        let reply = ordered!({
            "metrics": {"latencyMs": 1}, "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": (self.stop_reason()), "usage": (self.usage()),
        });
        match self.additional() {
            Some(fields) => reply.and("additionalModelResponseFields", fields),
            None => reply,
        }
    }

    /// The reply as events: their names and data.
    pub(super) fn events(&self) -> Vec<(&'static str, Node)> {
        let mut events = vec![("messageStart", ordered!({"role": "assistant"}))];
        for (index, block) in self.blocks().into_iter().enumerate() {
            // Only tool calls have a start event.
            if let Block::Call(number) = block {
                let start = ordered!({"toolUse": (self.tool_use(number))});
                events.push(("contentBlockStart", ordered!({"contentBlockIndex": index, "start": start})));
            }
            for delta in self.deltas(block) {
                events.push(("contentBlockDelta", ordered!({"contentBlockIndex": index, "delta": delta})));
            }
            events.push(("contentBlockStop", ordered!({"contentBlockIndex": index})));
        }
        let stop = ordered!({"stopReason": (self.stop_reason())});
        let stop = match self.additional() {
            Some(fields) => stop.and("additionalModelResponseFields", fields),
            None => stop,
        };
        events.push(("messageStop", stop));
        events.push(("metadata", ordered!({"metrics": {"latencyMs": 1}, "usage": (self.usage())})));
        events
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block> = self.answer.reasoning.as_deref().map(Block::Reasoning).into_iter().collect();
        if self.answer.redacted && self.claude {
            blocks.push(Block::Redacted);
        }
        if !self.answer.calls.is_empty() {
            blocks.extend((0..self.answer.calls.len()).map(Block::Call));
        } else if !self.answer.pieces.is_empty() || self.answer.reasoning.is_none() {
            blocks.push(Block::Text);
        }
        blocks
    }

    fn block(&self, block: Block) -> Node {
        match block {
            Block::Reasoning(reasoning) => {
                let text = ordered!({"text": reasoning});
                let text = if self.claude {
                    text.and("signature", signature(SignatureOrigin::Claude, reasoning))
                } else {
                    text
                };
                ordered!({"reasoningContent": {"reasoningText": text}})
            }
            Block::Redacted => {
                ordered!({"reasoningContent": {"redactedContent": (signature(SignatureOrigin::Claude, "redacted"))}})
            }
            Block::Text => ordered!({"text": (self.answer.text())}),
            Block::Call(number) => {
                let arguments = self.answer.calls.get(number).map(|call| call.arguments.clone());
                ordered!({"toolUse": (self.tool_use(number).and("input", arguments))})
            }
        }
    }

    fn deltas(&self, block: Block) -> Vec<Node> {
        let reasoning = |content: Node| ordered!({"reasoningContent": content});
        match block {
            Block::Reasoning(text) => {
                let mut deltas: Vec<Node> =
                    halves(text).iter().map(|half| reasoning(ordered!({"text": (*half)}))).collect();
                if self.claude {
                    deltas.push(reasoning(ordered!({"signature": (signature(SignatureOrigin::Claude, text))})));
                }
                deltas
            }
            Block::Redacted => {
                vec![reasoning(ordered!({"redactedContent": (signature(SignatureOrigin::Claude, "redacted"))}))]
            }
            Block::Text => self.answer.pieces.iter().map(|piece| ordered!({"text": piece})).collect(),
            Block::Call(number) => {
                let arguments = self.answer.calls.get(number).map(|call| call.arguments.to_string());
                let arguments = arguments.unwrap_or_default();
                halves(&arguments).iter().map(|half| ordered!({"toolUse": {"input": (*half)}})).collect()
            }
        }
    }

    fn tool_use(&self, number: usize) -> Node {
        let name = self.answer.calls.get(number).map(|call| call.name.clone());
        ordered!({"toolUseId": (format!("tooluse_{:016x}{number}", self.id)), "name": name})
    }

    fn stop_reason(&self) -> &'static str {
        match &self.answer.end {
            FinishReason::Calls => "tool_use",
            FinishReason::Limit => "max_tokens",
            FinishReason::Stop(_) => "stop_sequence",
            FinishReason::Refused => "content_filtered",
            FinishReason::Done => "end_turn",
        }
    }

    fn additional(&self) -> Option<Node> {
        let stop = if let FinishReason::Stop(text) = &self.answer.end { Some(text) } else { None };
        self.wants_stop.then(|| ordered!({"stop_sequence": stop}))
    }

    fn usage(&self) -> Node {
        let (input, output) = (self.answer.prompt_tokens, self.answer.output_tokens());
        ordered!({
            "cacheReadInputTokens": 0, "cacheWriteInputTokens": 0,
            "inputTokens": input, "outputTokens": output, "totalTokens": (input + output),
        })
    }
}
