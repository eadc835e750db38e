//! Writing streams.

use super::{HOME, content, error, formats, write_content, write_reply};
use crate::{
    conversation::{BlockKind, BlockStart, Citation, Failure, Finish, Signature, Text, TokenUsage},
    dialect::sequence::{Answer, Choice, Order, Sequencer, WriteBlocks},
    stream::{aws, json::ObjectWriter},
};

/// Writes one stream.
pub(super) type Writer = Sequencer<Frames>;

/// The shapes of Converse's frames.
#[derive(Default)]
pub(super) struct Frames {
    /// Converse's number of the next block.
    next: u64,
}

pub(super) struct Block {
    index: u64,
    kind: BlockKind,
    /// Whether any part of the block was written.
    begun: bool,
}

impl WriteBlocks for Frames {
    type Choice = ();
    type Block = Block;
    const ORDER: Order = Order::QueueCalls;

    fn start(&mut self, _: Option<&Text<'_>>, _: Option<&Text<'_>>, _: &TokenUsage, out: &mut Vec<u8>) {
        aws::write_event(out, "messageStart", |out| out.extend_from_slice(br#"{"role":"assistant"}"#));
    }

    fn open(&mut self, _: &mut Choice<()>, start: &BlockStart<'_>, out: &mut Vec<u8>) -> Option<Block> {
        if start.kind() == BlockKind::Hosted {
            return None;
        }
        if let BlockStart::Call { signature: Some(signature), .. } = start {
            // Converse has no field for the signature of a call: it precedes the call, as reasoning without text.
            let index = self.take_index();
            write_signature(out, index, signature);
            write_stop(out, index);
        }
        // A stream has no media.
        if matches!(start, BlockStart::Media(_)) {
            return None;
        }
        let index = self.take_index();
        match start {
            BlockStart::Text
            | BlockStart::Refusal
            | BlockStart::Thinking
            | BlockStart::Media(_)
            | BlockStart::Hosted(_) => {}
            BlockStart::Redacted(signature) => {
                let blob = content::redacted_blob(signature);
                write_delta(out, index, |delta| {
                    delta.object("reasoningContent").with("redactedContent", &blob);
                });
            }
            BlockStart::Call { id, name, .. } => aws::write_event(out, "contentBlockStart", |out| {
                let mut event = ObjectWriter::begin(out).with("contentBlockIndex", &index);
                let decoded = id.decode();
                // The client sends the id back, maybe to Bedrock.
                let id = write_content::fitting(&decoded, id);
                event.object("start").object("toolUse").with("toolUseId", &id).with("name", &name);
            }),
        }
        let kind = start.kind();
        Some(Block { index, kind, begun: matches!(kind, BlockKind::Redacted | BlockKind::Call) })
    }

    fn delta(&mut self, _: &mut Choice<()>, block: &mut Block, text: &Text<'_>, out: &mut Vec<u8>) {
        block.begun = true;
        write_delta(out, block.index, |delta| match block.kind {
            BlockKind::Text | BlockKind::Refusal => text.write(delta.key("text")),
            BlockKind::Thinking => {
                delta.object("reasoningContent").with("text", &text);
            }
            BlockKind::Call | BlockKind::Redacted | BlockKind::Media | BlockKind::Hosted => {
                delta.object("toolUse").with("input", &text);
            }
        });
    }

    fn signature(&mut self, _: &mut Choice<()>, block: &mut Block, signature: &Signature<'_>, out: &mut Vec<u8>) {
        // Converse has no field for the signature of a text (Gemini).
        if block.kind == BlockKind::Thinking {
            block.begun = true;
            write_signature(out, block.index, signature);
        }
    }

    fn citation(&mut self, _: &mut Choice<()>, block: &mut Block, citation: &Citation<'_>, out: &mut Vec<u8>) {
        block.begun = true;
        write_delta(out, block.index, |delta| {
            let mut object = delta.object("citation");
            content::write_citation(&mut object, citation);
        });
    }

    fn close(&mut self, _: &mut Choice<()>, block: Block, out: &mut Vec<u8>) {
        if block.begun {
            write_stop(out, block.index);
        } else {
            // No part of it was written: its number is free again.
            self.next = block.index;
        }
    }

    fn finish(&mut self, choice: &Choice<()>, out: &mut Vec<u8>) {
        let reason = choice.strict_reason();
        let stop_text = choice.stop_sequence.as_ref();
        aws::write_event(out, "messageStop", |out| {
            let mut event = ObjectWriter::begin(out);
            event.field("stopReason", formats::stop_reason(reason, stop_text.is_some()));
            write_reply::write_stop_text(&mut event, stop_text.filter(|_| reason == Finish::Stop));
        });
    }

    fn end(&mut self, _: &[Answer<Self>], usage: &TokenUsage, out: &mut Vec<u8>) {
        aws::write_event(out, "metadata", |out| {
            let mut event = ObjectWriter::begin(out);
            write_reply::write_usage(&mut event, usage);
            event.raw("metrics", r#"{"latencyMs":0}"#);
        });
    }

    fn error(&mut self, failure: &Failure<'_>, _: &TokenUsage, out: &mut Vec<u8>) {
        error::write_frame(failure, out);
    }
}

impl Frames {
    fn take_index(&mut self) -> u64 {
        let index = self.next;
        self.next += 1;
        index
    }
}

fn write_signature(out: &mut Vec<u8>, index: u64, signature: &Signature<'_>) {
    write_delta(out, index, |delta| {
        delta.object("reasoningContent").with("signature", &signature.tagged(HOME));
    });
}

fn write_delta(out: &mut Vec<u8>, index: u64, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    aws::write_event(out, "contentBlockDelta", |out| {
        let mut event = ObjectWriter::begin(out).with("contentBlockIndex", &index);
        let mut delta = event.object("delta");
        write(&mut delta);
    });
}

fn write_stop(out: &mut Vec<u8>, index: u64) {
    aws::write_event(out, "contentBlockStop", |out| {
        ObjectWriter::begin(out).with("contentBlockIndex", &index);
    });
}
