//! Writes a stream of chunks.

use super::{
    error, images,
    reasoning::{call_signature, write_details, write_encrypted},
    steps::Steps,
    write_reply,
};
use crate::{
    conversation::{
        BlockStart, CarriedReasoning, Citation, Content, Failure, Signature, Text, TokenLogprob, TokenUsage, ToolForm,
        free_text::TextReader,
    },
    dialect::{
        ReplyHead,
        sequence::{Answer, Choice, Sequencer, WriteBlocks},
    },
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Writes one stream.
pub(super) type Writer = Sequencer<Chunks>;

/// The shapes of chunks.
pub(super) struct Chunks {
    head: ReplyHead,
    /// The fields that every chunk begins with.
    prefix: Vec<u8>,
}

/// Numbers of the elements in the lists of deltas, by which the SDK assembles them.
#[derive(Default)]
pub(super) struct Counters {
    calls: u32,
    thoughts: u32,
    details: u32,
    citations: u32,
    images: u32,
    /// What has come since the latest block of reasoning.
    steps: Steps,
    /// The signed reasoning before the next call.
    carried: CarriedReasoning,
}

pub(super) enum Block {
    Text,
    Refusal,
    /// The reasoning so far: a signature is sent with the whole text that it signs.
    Thinking(String),
    /// The call's number, and its id.
    Call(u32, Text<'static>),
    /// The number of a call of a tool that takes free text, and the reader of that text.
    CustomCall(u32, TextReader),
}

impl Writer {
    pub fn new(head: ReplyHead) -> Self {
        Self::of(Chunks { head, prefix: Vec::new() })
    }
}

impl WriteBlocks for Chunks {
    type Choice = Counters;
    type Block = Block;
    // The reader bounds their number.
    const MAX_CHOICES: u32 = u32::MAX;

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, _: &TokenUsage, _: &mut Vec<u8>) {
        self.prefix.extend_from_slice(b"data: ");
        let mut top = ObjectWriter::begin(&mut self.prefix);
        write_reply::names(&mut top, id, model, "chat.completion.chunk", &self.head, None);
        top.end();
        // The choices are different in every chunk.
        self.prefix.pop();
        self.prefix.extend_from_slice(b",\"choices\":");
    }

    fn choice(&mut self, number: u32, out: &mut Vec<u8>) {
        self.delta_of(number, out, |delta| {
            delta.field("role", "assistant");
            delta.field("content", "");
        });
    }

    fn open(&mut self, choice: &mut Choice<Counters>, start: &BlockStart<'_>, out: &mut Vec<u8>) -> Option<Block> {
        Some(match start {
            BlockStart::Text => Block::Text,
            BlockStart::Refusal => Block::Refusal,
            BlockStart::Thinking => Block::Thinking(String::new()),
            BlockStart::Redacted(data) => {
                self.reasoning(choice, &Content::Redacted(data.clone()), out);
                return None;
            }
            BlockStart::Hosted(_) => return None,
            BlockStart::Media(media) => {
                if media.image_data().is_some() {
                    let index = next(&mut choice.state.images);
                    self.element(choice.number, "images", out, |list| images::write(index, media, list));
                }
                return None;
            }
            BlockStart::Call { id, name, signature } => {
                let index = next(&mut choice.state.calls);
                choice.state.steps.call();
                let custom = name.form == ToolForm::Custom;
                let proof = call_signature(signature.as_ref(), &mut choice.state.carried);
                self.call(choice.number, index, out, |entry| {
                    id.write(entry.key("id"));
                    if custom {
                        entry.field("type", "custom");
                        entry.object("custom").with("name", name).with("input", "");
                    } else {
                        entry.field("type", "function");
                        entry.object("function").with("name", name).with("arguments", "");
                    }
                    write_reply::write_call_signature(proof.as_ref(), entry);
                });
                if let Some(signature) = signature {
                    self.detail_of_call(choice, signature, id, out);
                }
                if custom {
                    Block::CustomCall(index, TextReader::default())
                } else {
                    Block::Call(index, id.clone().into_owned())
                }
            }
        })
    }

    fn delta(&mut self, choice: &mut Choice<Counters>, block: &mut Block, text: &Text<'_>, out: &mut Vec<u8>) {
        let key = match block {
            Block::Text => {
                choice.state.steps.text(text);
                "content"
            }
            Block::Refusal => "refusal",
            Block::Thinking(so_far) => {
                so_far.push_str(&text.decode());
                "reasoning_content"
            }
            Block::Call(index, _) => {
                return self.call(choice.number, *index, out, |entry| {
                    entry.object("function").with("arguments", &text);
                });
            }
            Block::CustomCall(index, reader) => {
                let input = reader.push(&text.decode());
                return self.custom_input(choice.number, *index, &input, out);
            }
        };
        self.delta_of(choice.number, out, |delta| text.write(delta.key(key)));
    }

    fn signature(
        &mut self,
        choice: &mut Choice<Counters>,
        block: &mut Block,
        signature: &Signature<'_>,
        out: &mut Vec<u8>,
    ) {
        match block {
            Block::Thinking(so_far) => {
                let text = Text::from(std::mem::take(so_far));
                let content = Content::Thinking { text, signature: Some(signature.clone()) };
                self.reasoning(choice, &content, out);
            }
            Block::Call(index, _) | Block::CustomCall(index, _) => {
                self.call(choice.number, *index, out, |entry| {
                    write_reply::write_call_signature(Some(signature), entry);
                });
                if let Block::Call(_, id) = block {
                    self.detail_of_call(choice, signature, id, out);
                }
            }
            // The dialect has no field for a signature of plain text, and no provider requires one.
            Block::Text | Block::Refusal => {}
        }
    }

    fn citation(&mut self, choice: &mut Choice<Counters>, _: &mut Block, citation: &Citation<'_>, out: &mut Vec<u8>) {
        if citation.url.is_some() {
            let index = next(&mut choice.state.citations);
            self.element(choice.number, "annotations", out, |list| {
                write_reply::citation(citation, 0, 0, list, Some(index));
            });
        }
    }

    fn logprobs(&mut self, choice: u32, tokens: &[TokenLogprob<'_>], out: &mut Vec<u8>) {
        self.chunk(choice, out, |choice| {
            choice.object("delta").end();
            write_reply::logprobs(tokens, choice.object("logprobs"));
            choice.raw("finish_reason", "null");
        });
    }

    fn close(&mut self, choice: &mut Choice<Counters>, block: Block, out: &mut Vec<u8>) {
        if let Block::CustomCall(index, reader) = block {
            let (rest, _) = reader.finish();
            self.custom_input(choice.number, index, &rest, out);
        }
    }

    fn finish(&mut self, choice: &Choice<Counters>, out: &mut Vec<u8>) {
        self.chunk(choice.number, out, |object| {
            object.object("delta").end();
            let reason = choice.reason.with_calls(choice.calls);
            write_reply::ending(object, reason, choice.stop_sequence.as_ref());
        });
    }

    fn end(&mut self, _: &[Answer<Self>], usage: &TokenUsage, out: &mut Vec<u8>) {
        if self.head.include_usage && !usage.is_empty() {
            out.extend_from_slice(&self.prefix);
            out.extend_from_slice(b"[],\"usage\":");
            write_reply::usage(usage, ObjectWriter::begin(out));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn error(&mut self, failure: &Failure<'_>, _: &TokenUsage, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        error::write(failure, out);
        out.extend_from_slice(b"\n\n");
    }
}

impl Chunks {
    /// A chunk about one choice.
    fn chunk(&self, choice: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        out.extend_from_slice(&self.prefix);
        out.push(b'[');
        let mut object = ObjectWriter::begin(out).with("index", &choice);
        write(&mut object);
        object.end();
        out.extend_from_slice(b"]}\n\n");
    }

    /// A chunk with a delta.
    fn delta_of(&self, choice: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.chunk(choice, out, |object| {
            let mut delta = object.object("delta");
            write(&mut delta);
            delta.end();
            object.raw("finish_reason", "null");
        });
    }

    /// A chunk with signed reasoning in the forms that clients send back.
    fn reasoning(&self, choice: &mut Choice<Counters>, content: &Content<'_>, out: &mut Vec<u8>) {
        let state = &mut choice.state;
        state.carried.add_content(content);
        let index = next(&mut state.thoughts);
        self.delta_of(choice.number, out, |delta| {
            let mut steps = state.steps.clone();
            {
                let mut list = delta.array("thinking_blocks");
                let entry = list.object().with("index", &index);
                match content {
                    Content::Thinking { text, signature } => {
                        write_reply::thinking(text, signature.as_ref(), &mut steps, entry);
                    }
                    Content::Redacted(data) => write_reply::redacted(data, &mut steps, entry),
                    _ => {}
                }
            }
            write_details(content, &mut state.steps, &mut state.details, &mut delta.array("reasoning_details"));
        });
    }

    /// A chunk with a model's signature of a call, for clients that keep `reasoning_details`.
    fn detail_of_call(
        &self,
        choice: &mut Choice<Counters>,
        signature: &Signature<'_>,
        id: &Text<'_>,
        out: &mut Vec<u8>,
    ) {
        let details = &mut choice.state.details;
        self.element(choice.number, "reasoning_details", out, |list| {
            write_encrypted(signature, Some(id), &mut Steps::default(), details, list);
        });
    }

    /// A chunk whose delta is a list of one element.
    fn element(&self, choice: u32, key: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut ArrayWriter<'_>)) {
        self.delta_of(choice, out, |delta| {
            let mut list = delta.array(key);
            write(&mut list);
        });
    }

    /// A chunk with more of the text that a call passes to its tool.
    fn custom_input(&self, choice: u32, index: u32, input: &str, out: &mut Vec<u8>) {
        if !input.is_empty() {
            self.call(choice, index, out, |entry| {
                entry.object("custom").with("input", input);
            });
        }
    }

    /// A chunk with a part of the call that has this number.
    fn call(&self, choice: u32, index: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.element(choice, "tool_calls", out, |list| {
            let mut entry = list.object().with("index", &index);
            write(&mut entry);
        });
    }
}

/// Returns the counter's value, and increments it.
fn next(counter: &mut u32) -> u32 {
    let value = *counter;
    *counter += 1;
    value
}
