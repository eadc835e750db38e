//! Writes streams. Blocks of this dialect follow each other without overlap.

use super::{
    HOME, error,
    hosted::{self, Uses},
    reply::failed,
    wire::{write_citation, write_stop, write_usage},
    write_content,
    write_reply::{write_head, write_redacted},
};
use crate::{
    conversation::{BlockKind, BlockStart, Citation, Failure, Finish, HostedCall, Signature, Text, TokenUsage},
    dialect::{
        ReplyHead,
        sequence::{Answer, Choice, Order, Sequencer, WriteBlocks},
    },
    stream::json::{ObjectWriter, write_value},
};

/// Writes one stream.
pub(super) type Writer = Sequencer<MessageEvents>;

/// The shapes of the events of a message.
pub(super) struct MessageEvents {
    head: ReplyHead,
    /// The open block's index on the wire, or that of the next one.
    index: u32,
    uses: Uses,
}

impl Writer {
    /// A writer at the beginning of a stream.
    pub fn new(head: ReplyHead) -> Self {
        Self::of(MessageEvents { head, index: 0, uses: Uses::default() })
    }
}

impl WriteBlocks for MessageEvents {
    type Choice = ();
    type Block = BlockKind;
    const ORDER: Order = Order::Queue;
    const FILLS_CALLS: bool = false;

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, usage: &TokenUsage, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
        let mut message = ObjectWriter::begin(out);
        write_head(id, model, &self.head, &mut message);
        message.raw("content", "[]");
        message.raw("stop_reason", "null");
        message.raw("stop_sequence", "null");
        write_usage(usage, Some(self.head.estimated_input), Uses::default(), message.object("usage"));
        message.end();
        out.extend_from_slice(b"}\n\n");
    }

    fn open(&mut self, _: &mut Choice<()>, start: &BlockStart<'_>, out: &mut Vec<u8>) -> Option<BlockKind> {
        match start {
            BlockStart::Text | BlockStart::Refusal => {
                self.write_start(|out| out.extend_from_slice(br#"{"type":"text","text":""}"#), out);
            }
            BlockStart::Thinking => {
                let start = br#"{"type":"thinking","thinking":"","signature":""}"#;
                self.write_start(|out| out.extend_from_slice(start), out);
            }
            BlockStart::Redacted(signature) => {
                self.redacted(signature, out);
                return None;
            }
            BlockStart::Hosted(call) => {
                self.hosted(call, out);
                return None;
            }
            // The dialect has no media in answers.
            BlockStart::Media(_) => return None,
            BlockStart::Call { id, name, signature } => {
                if let Some(signature) = signature {
                    self.redacted(signature, out);
                }
                let start = |out: &mut Vec<u8>| {
                    let mut object = ObjectWriter::begin(out).with("type", "tool_use");
                    object.field("id", &write_content::id(&id.decode()));
                    object.field("name", name);
                    object.raw("input", "{}");
                };
                self.write_start(start, out);
            }
        }
        Some(start.kind())
    }

    fn delta(&mut self, _: &mut Choice<()>, block: &mut BlockKind, text: &Text<'_>, out: &mut Vec<u8>) {
        let (name, key) = match block {
            BlockKind::Text | BlockKind::Refusal => ("text_delta", "text"),
            BlockKind::Thinking => ("thinking_delta", "thinking"),
            BlockKind::Call => ("input_json_delta", "partial_json"),
            BlockKind::Redacted | BlockKind::Media | BlockKind::Hosted => return,
        };
        self.write_delta(name, |delta| text.write(delta.key(key)), out);
    }

    fn signature(&mut self, _: &mut Choice<()>, block: &mut BlockKind, signature: &Signature<'_>, out: &mut Vec<u8>) {
        // The dialect has no field for the signature of a text in progress.
        if *block == BlockKind::Thinking {
            self.write_delta("signature_delta", |delta| delta.field("signature", &signature.tagged(HOME)), out);
        }
    }

    fn citation(&mut self, _: &mut Choice<()>, block: &mut BlockKind, citation: &Citation<'_>, out: &mut Vec<u8>) {
        if matches!(block, BlockKind::Text | BlockKind::Refusal) {
            self.write_delta("citations_delta", |delta| write_citation(citation, delta.object("citation")), out);
        }
    }

    fn close(&mut self, _: &mut Choice<()>, _: BlockKind, out: &mut Vec<u8>) {
        self.write_end(out);
    }

    fn end(&mut self, choices: &[Answer<Self>], usage: &TokenUsage, out: &mut Vec<u8>) {
        let Some(Answer { choice, .. }) = choices.first() else { return };
        if choice.reason == Finish::Failed && self.index == 0 {
            return self.error(&failed(), usage, out);
        }
        out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":");
        let mut object = ObjectWriter::begin(out);
        write_stop(choice.strict_reason(), choice.stop_sequence.as_ref(), &mut object);
        object.end();
        out.extend_from_slice(b",\"usage\":");
        // If the provider did not count, the start had the estimate.
        write_usage(usage, None, self.uses, ObjectWriter::begin(out));
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn error(&mut self, failure: &Failure<'_>, _: &TokenUsage, out: &mut Vec<u8>) {
        error::write_event(failure, out);
    }
}

impl MessageEvents {
    fn redacted(&mut self, signature: &Signature<'_>, out: &mut Vec<u8>) {
        self.write_start(|out| write_redacted(signature, ObjectWriter::begin(out)), out);
        self.write_end(out);
    }

    fn hosted(&mut self, call: &HostedCall<'_>, out: &mut Vec<u8>) {
        self.uses.add(call);
        let id = hosted::id(&self.head.id, self.index);
        self.write_start(|out| hosted::write_use(call, &id, false, ObjectWriter::begin(out)), out);
        let mut input = Vec::new();
        hosted::write_input(call, &mut input);
        let json = String::from_utf8_lossy(&input);
        self.write_delta("input_json_delta", |delta| delta.field("partial_json", &*json), out);
        self.write_end(out);
        self.write_start(|out| hosted::write_result(call, &id, ObjectWriter::begin(out)), out);
        self.write_end(out);
    }

    fn write_start(&self, start: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
        write_value(out, &self.index);
        out.extend_from_slice(b",\"content_block\":");
        start(out);
        out.extend_from_slice(b"}\n\n");
    }

    fn write_delta(&self, name: &str, write: impl FnOnce(&mut ObjectWriter<'_>), out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        write_value(out, &self.index);
        out.extend_from_slice(b",\"delta\":");
        let mut delta = ObjectWriter::begin(out).with("type", name);
        write(&mut delta);
        delta.end();
        out.extend_from_slice(b"}\n\n");
    }

    fn write_end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
        write_value(out, &self.index);
        out.extend_from_slice(b"}\n\n");
        self.index += 1;
    }
}
