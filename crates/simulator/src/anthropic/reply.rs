//! Messages and their streams.

use serde_json::{Map, Value};

use crate::answer::{Answer, FinishReason, halves};
use crate::sign::{SignatureOrigin, signature};
use crate::wire::{Node, ordered};

/// A message that answers a request.
pub(crate) struct Message<'a> {
    id: u64,
    model: &'a str,
    answer: Answer,
    /// Whether only the signature of the reasoning is shown.
    hidden: bool,
}

/// One block of a message.
enum Block<'a> {
    Thinking(&'a str),
    Redacted,
    Text,
    Call(usize),
}

impl<'a> Message<'a> {
    pub(crate) fn new(id: u64, model: &'a str, answer: Answer, body: &Value) -> Self {
        let hidden = body.pointer("/thinking/display").and_then(Value::as_str) == Some("omitted");
        Self { id, model, answer, hidden }
    }

    /// Tokens of the prompt and of the reply.
    pub(crate) fn tokens(&self) -> (u64, u64) {
        (self.answer.prompt_tokens, self.answer.output_tokens())
    }

    /// The message as one document.
    pub(crate) fn buffered(&self) -> Node {
        let content = self.blocks().iter().map(|block| self.block(block)).collect();
        let message = self.object(content, Some(self.stop_reason()), self.answer.output_tokens());
        match self.stop_details() {
            Some(details) => message.and("stop_details", details),
            None => message,
        }
    }

    /// The message as events: their names and data.
    pub(crate) fn events(&self) -> Vec<(&'static str, Node)> {
        let mut events = Vec::with_capacity(self.answer.pieces.len() + 8);
        let mut push = |name: &'static str, fields: Node| events.push((name, typed(name, fields)));
        push("message_start", ordered!({"message": (self.object(Vec::new(), None, 1))}));
        let mut pinged = false;
        for (index, block) in self.blocks().iter().enumerate() {
            push("content_block_start", ordered!({"index": index, "content_block": (self.opened(block))}));
            if !pinged && !matches!(block, Block::Call(_)) {
                push("ping", ordered!({}));
                pinged = true;
            }
            for delta in self.deltas(block) {
                push("content_block_delta", ordered!({"index": index, "delta": delta}));
            }
            push("content_block_stop", ordered!({"index": index}));
        }
        let mut delta = ordered!({"stop_reason": (self.stop_reason()), "stop_sequence": (self.stop_sequence())});
        if let Some(details) = self.stop_details() {
            delta = delta.and("stop_details", details);
        }
        let mut spent = ordered!({"output_tokens": (self.answer.output_tokens())});
        if let Some(details) = self.thinking_tokens() {
            spent = spent.and("output_tokens_details", details);
        }
        push("message_delta", ordered!({"delta": delta, "usage": spent}));
        push("message_stop", ordered!({}));
        events
    }

    fn object(&self, content: Vec<Node>, stop_reason: Option<&str>, output_tokens: u64) -> Node {
        let mut usage = ordered!({
            "input_tokens": (self.answer.prompt_tokens),
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens, "service_tier": "standard",
        });
        let stop_sequence = stop_reason.and_then(|_| self.stop_sequence());
        if let Some(details) = self.thinking_tokens().filter(|_| stop_reason.is_some()) {
            usage = usage.and("output_tokens_details", details);
        }
        ordered!({
            "id": (format!("msg_{:016x}", self.id)), "type": "message", "role": "assistant", "model": (self.model),
            "content": content, "stop_reason": stop_reason, "stop_sequence": stop_sequence, "usage": usage,
        })
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block> = self.answer.reasoning.as_deref().map(Block::Thinking).into_iter().collect();
        if self.answer.redacted {
            blocks.push(Block::Redacted);
        }
        match &self.answer.end {
            FinishReason::Calls => blocks.extend((0..self.answer.calls.len()).map(Block::Call)),
            FinishReason::Refused => {}
            // Reasoning may use up the token limit.
            _ if self.answer.pieces.is_empty() && self.answer.reasoning.is_some() => {}
            _ => blocks.push(Block::Text),
        }
        blocks
    }

    /// A complete block.
    fn block(&self, block: &Block) -> Node {
        match block {
            Block::Thinking(reasoning) => {
                let shown = if self.hidden { "" } else { reasoning };
                let signature = signature(SignatureOrigin::Claude, reasoning);
                ordered!({"type": "thinking", "thinking": shown, "signature": signature})
            }
            Block::Redacted => {
                ordered!({"type": "redacted_thinking", "data": (signature(SignatureOrigin::Claude, "redacted"))})
            }
            Block::Text => ordered!({"type": "text", "text": (self.answer.text())}),
            Block::Call(number) => {
                let arguments = self.answer.calls.get(*number).map(|call| call.arguments.clone());
                self.tool_use(*number, arguments.unwrap_or_default())
            }
        }
    }

    /// A block at its start event.
    fn opened(&self, block: &Block) -> Node {
        match block {
            Block::Thinking(_) => ordered!({"type": "thinking", "thinking": "", "signature": ""}),
            Block::Text => ordered!({"type": "text", "text": ""}),
            Block::Call(number) => self.tool_use(*number, Value::Object(Map::new())),
            Block::Redacted => self.block(block),
        }
    }

    fn deltas(&self, block: &Block) -> Vec<Node> {
        match block {
            Block::Redacted => Vec::new(),
            Block::Thinking(reasoning) => {
                let parts = if self.hidden { Vec::new() } else { halves(reasoning).to_vec() };
                let reasoning_signatures =
                    parts.into_iter().map(|part| ordered!({"type": "thinking_delta", "thinking": part}));
                let signature = signature(SignatureOrigin::Claude, reasoning);
                reasoning_signatures.chain([ordered!({"type": "signature_delta", "signature": signature})]).collect()
            }
            Block::Text => {
                self.answer.pieces.iter().map(|piece| ordered!({"type": "text_delta", "text": piece})).collect()
            }
            Block::Call(number) => {
                let arguments = self.answer.calls.get(*number).map(|call| call.arguments.to_string());
                let arguments = arguments.unwrap_or_default();
                let [head, tail] = halves(&arguments);
                let parts = ["", head, tail].into_iter();
                parts.map(|part| ordered!({"type": "input_json_delta", "partial_json": part})).collect()
            }
        }
    }

    fn tool_use(&self, number: usize, input: Value) -> Node {
        let name = self.answer.calls.get(number).map(|call| call.name.clone());
        let id = format!("toolu_{:016x}{number}", self.id);
        ordered!({"type": "tool_use", "id": id, "name": name, "input": input})
    }

    fn stop_reason(&self) -> &'static str {
        match &self.answer.end {
            FinishReason::Calls => "tool_use",
            FinishReason::Limit => "max_tokens",
            FinishReason::Stop(_) => "stop_sequence",
            FinishReason::Refused => "refusal",
            FinishReason::Done => "end_turn",
        }
    }

    fn stop_sequence(&self) -> Option<&str> {
        if let FinishReason::Stop(text) = &self.answer.end { Some(text) } else { None }
    }

    fn stop_details(&self) -> Option<Node> {
        let refused = self.answer.end == FinishReason::Refused;
        refused.then(|| ordered!({"type": "refusal", "category": null, "explanation": (self.answer.text())}))
    }

    fn thinking_tokens(&self) -> Option<Node> {
        self.answer.reasoning.as_ref().map(|_| ordered!({"thinking_tokens": (self.answer.reasoning_tokens)}))
    }
}

fn typed(name: &str, fields: Node) -> Node {
    let mut data = ordered!({"type": name});
    if let Node::Map(fields) = fields {
        for (key, value) in fields {
            data = data.and(key, value);
        }
    }
    data
}
