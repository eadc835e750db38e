//! Converse and its stream.

use serde_json::Value;

use super::read::list;
use crate::answer::{Answer, End, halves};
use crate::sign::{Owner, signature};
use crate::wire::{Node, ordered};

/// The model's turn.
pub(super) struct Turn {
    id: u64,
    answer: Answer,
    /// Claude signs its thoughts; other models do not.
    claude: bool,
    /// Whether the text that ended the reply is wanted among the additional fields.
    wants_stop: bool,
}

/// One block of a turn.
#[derive(Clone, Copy)]
enum Block<'a> {
    Thought(&'a str),
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
    pub(super) fn whole(&self) -> Node {
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
            // Only calls are announced.
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
        let mut blocks: Vec<Block> = self.answer.thought.as_deref().map(Block::Thought).into_iter().collect();
        if self.answer.redacted && self.claude {
            blocks.push(Block::Redacted);
        }
        if !self.answer.calls.is_empty() {
            blocks.extend((0..self.answer.calls.len()).map(Block::Call));
        } else if !self.answer.pieces.is_empty() || self.answer.thought.is_none() {
            blocks.push(Block::Text);
        }
        blocks
    }

    fn block(&self, block: Block) -> Node {
        match block {
            Block::Thought(thought) => {
                let text = ordered!({"text": thought});
                let text = if self.claude { text.and("signature", signature(Owner::Claude, thought)) } else { text };
                ordered!({"reasoningContent": {"reasoningText": text}})
            }
            Block::Redacted => {
                ordered!({"reasoningContent": {"redactedContent": (signature(Owner::Claude, "redacted"))}})
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
            Block::Thought(thought) => {
                let mut deltas: Vec<Node> =
                    halves(thought).iter().map(|half| reasoning(ordered!({"text": (*half)}))).collect();
                if self.claude {
                    deltas.push(reasoning(ordered!({"signature": (signature(Owner::Claude, thought))})));
                }
                deltas
            }
            Block::Redacted => {
                vec![reasoning(ordered!({"redactedContent": (signature(Owner::Claude, "redacted"))}))]
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
            End::Calls => "tool_use",
            End::Limit => "max_tokens",
            End::Stop(_) => "stop_sequence",
            End::Refused => "content_filtered",
            End::Done => "end_turn",
        }
    }

    fn additional(&self) -> Option<Node> {
        let stop = if let End::Stop(text) = &self.answer.end { Some(text) } else { None };
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
