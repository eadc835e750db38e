//! Writes a stream of chunks.

use super::{error, write_reply};
use crate::{
    conversation::{BlockStart, Event, Finish, Signature, Text, TokenUsage},
    dialect::{ReplyHead, WriteEvents},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Writes one stream.
pub(super) struct Writer {
    head: ReplyHead,
    /// What every chunk begins with; empty until the answer begins.
    prefix: Vec<u8>,
    answers: Vec<Answer>,
    usage: TokenUsage,
    ended: bool,
}

/// One of the answers.
struct Answer {
    choice: u32,
    /// Open blocks that need to be remembered, by number.
    blocks: Vec<(u32, Block)>,
    /// Numbers for the elements of the lists of deltas, which the SDK puts together by them.
    calls: u32,
    thoughts: u32,
    citations: u32,
    finished: bool,
}

enum Block {
    Text,
    Refusal,
    /// The thoughts so far: a signature comes with the whole text that it signs.
    Thinking(String),
    /// The call's number, and whether some of its arguments have come.
    Call(u32, bool),
}

impl Writer {
    pub fn new(head: ReplyHead) -> Self {
        let usage = TokenUsage::default();
        Self { head, prefix: Vec::new(), answers: Vec::new(), usage, ended: false }
    }

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>) {
        self.prefix.extend_from_slice(b"data: ");
        let mut top = ObjectWriter::begin(&mut self.prefix);
        write_reply::names(&mut top, id, model, "chat.completion.chunk", &self.head, None);
        top.key("choices");
    }

    /// The place of an answer; what comes first of it says its role.
    fn answer(&mut self, choice: u32, out: &mut Vec<u8>) -> usize {
        if self.prefix.is_empty() {
            self.start(None, None);
        }
        if let Some(place) = self.answers.iter().position(|answer| answer.choice == choice) {
            return place;
        }
        delta(&self.prefix, choice, out, |delta| {
            delta.field("role", "assistant");
            delta.field("content", "");
        });
        self.answers.push(Answer { choice, blocks: Vec::new(), calls: 0, thoughts: 0, citations: 0, finished: false });
        self.answers.len() - 1
    }

    /// Ends the stream as a whole one.
    fn end(&mut self, out: &mut Vec<u8>) {
        if self.answers.is_empty() {
            self.answer(0, out);
        }
        for answer in &mut self.answers {
            answer.finish(&self.prefix, Finish::Stop, None, out);
        }
        if self.head.include_usage && !self.usage.is_empty() {
            out.extend_from_slice(&self.prefix);
            out.extend_from_slice(b"[],\"usage\":");
            write_reply::usage(&self.usage, ObjectWriter::begin(out));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl WriteEvents for Writer {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let choice = match event {
            Event::Start { id, model, usage } => {
                self.usage.update(*usage);
                if self.prefix.is_empty() {
                    self.start(id.as_ref(), model.as_ref());
                }
                self.answer(0, out);
                return;
            }
            Event::Usage(usage) => return self.usage.update(*usage),
            Event::Unsupported(_) => return,
            Event::Error(failure) => {
                self.ended = true;
                out.extend_from_slice(b"data: ");
                error::write(failure, out);
                out.extend_from_slice(b"\n\n");
                return;
            }
            Event::End => {
                self.ended = true;
                return self.end(out);
            }
            Event::Open { choice, .. }
            | Event::Delta { choice, .. }
            | Event::Signature { choice, .. }
            | Event::Citation { choice, .. }
            | Event::Logprobs { choice, .. }
            | Event::Close { choice, .. }
            | Event::Finish { choice, .. } => *choice,
        };
        let place = self.answer(choice, out);
        let Some(answer) = self.answers.get_mut(place).filter(|answer| !answer.finished) else { return };
        answer.event(&self.prefix, event, out);
    }
}

impl Answer {
    fn event(&mut self, prefix: &[u8], event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Open { block, opened, .. } => self.open(prefix, *block, opened, out),
            Event::Delta { block, text, .. } => self.delta(prefix, *block, text, out),
            Event::Signature { block, signature, .. } => self.signed(prefix, *block, signature, out),
            Event::Citation { citation, .. } if citation.url.is_some() => {
                let index = self.citations;
                self.citations += 1;
                element(prefix, self.choice, "annotations", out, |list| {
                    write_reply::citation(citation, 0, 0, list, Some(index));
                });
            }
            Event::Logprobs { tokens, .. } if !tokens.is_empty() => {
                chunk(prefix, self.choice, out, |choice| {
                    choice.object("delta").end();
                    write_reply::logprobs(tokens, choice.object("logprobs"));
                    choice.raw("finish_reason", "null");
                });
            }
            Event::Close { block, .. } => {
                if let Some(at) = self.blocks.iter().position(|(number, _)| number == block) {
                    let (_, closed) = self.blocks.remove(at);
                    close(prefix, self.choice, &closed, out);
                }
            }
            Event::Finish { reason, stop_sequence, .. } => self.finish(prefix, *reason, stop_sequence.as_ref(), out),
            _ => {}
        }
    }

    fn open(&mut self, prefix: &[u8], block: u32, opened: &BlockStart<'_>, out: &mut Vec<u8>) {
        let kept = match opened {
            BlockStart::Text => Block::Text,
            BlockStart::Refusal => Block::Refusal,
            BlockStart::Thinking => Block::Thinking(String::new()),
            BlockStart::Redacted(data) => {
                let index = self.next_thought();
                element(prefix, self.choice, "thinking_blocks", out, |list| {
                    let mut entry = list.object();
                    entry.field("index", &index);
                    write_reply::redacted(data, entry);
                });
                return;
            }
            BlockStart::Call { id, name, signature } => {
                let index = self.calls;
                self.calls += 1;
                element(prefix, self.choice, "tool_calls", out, |list| {
                    let mut entry = list.object();
                    entry.field("index", &index);
                    id.write(entry.key("id"));
                    entry.field("type", "function");
                    let mut function = entry.object("function");
                    name.write(function.key("name"));
                    function.field("arguments", "");
                    function.end();
                    write_reply::call_signature(signature.as_ref(), &mut entry);
                    entry.end();
                });
                Block::Call(index, false)
            }
        };
        self.blocks.push((block, kept));
    }

    fn next_thought(&mut self) -> u32 {
        let index = self.thoughts;
        self.thoughts += 1;
        index
    }

    fn delta(&mut self, prefix: &[u8], block: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let Some((_, kept)) = self.blocks.iter_mut().rfind(|(number, _)| *number == block) else { return };
        let key = match kept {
            Block::Text => "content",
            Block::Refusal => "refusal",
            Block::Thinking(so_far) => {
                so_far.push_str(&text.decode());
                "reasoning_content"
            }
            Block::Call(index, begun) => {
                *begun = true;
                arguments(prefix, self.choice, *index, text, out);
                return;
            }
        };
        delta(prefix, self.choice, out, |delta| text.write(delta.key(key)));
    }

    fn signed(&mut self, prefix: &[u8], block: u32, signature: &Signature<'_>, out: &mut Vec<u8>) {
        let Some((_, kept)) = self.blocks.iter_mut().rfind(|(number, _)| *number == block) else { return };
        match kept {
            Block::Thinking(so_far) => {
                let text = Text::from(std::mem::take(so_far));
                let index = self.next_thought();
                element(prefix, self.choice, "thinking_blocks", out, |list| {
                    let mut entry = list.object();
                    entry.field("index", &index);
                    write_reply::thinking(&text, Some(signature), entry);
                });
            }
            Block::Call(index, _) => element(prefix, self.choice, "tool_calls", out, |list| {
                let mut entry = list.object();
                entry.field("index", index);
                write_reply::call_signature(Some(signature), &mut entry);
                entry.end();
            }),
            // The dialect has no place for a proof of plain text, and nobody insists on one.
            Block::Text | Block::Refusal => {}
        }
    }

    fn finish(&mut self, prefix: &[u8], reason: Finish, stop_sequence: Option<&Text<'_>>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        for (_, block) in self.blocks.drain(..) {
            close(prefix, self.choice, &block, out);
        }
        chunk(prefix, self.choice, out, |choice| {
            choice.object("delta").end();
            write_reply::ending(choice, reason.with_calls(self.calls > 0), stop_sequence);
        });
    }
}

/// The end of a block: nothing, but for a call without arguments, whose text must be JSON all the same.
fn close(prefix: &[u8], choice: u32, block: &Block, out: &mut Vec<u8>) {
    if let Block::Call(index, false) = block {
        arguments(prefix, choice, *index, &Text::from("{}"), out);
    }
}

fn arguments(prefix: &[u8], choice: u32, index: u32, text: &Text<'_>, out: &mut Vec<u8>) {
    element(prefix, choice, "tool_calls", out, |list| {
        let mut entry = list.object();
        entry.field("index", &index);
        let mut function = entry.object("function");
        text.write(function.key("arguments"));
        function.end();
        entry.end();
    });
}

/// A chunk whose delta is a list of one element.
fn element(prefix: &[u8], choice: u32, key: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut ArrayWriter<'_>)) {
    delta(prefix, choice, out, |delta| {
        let mut list = delta.array(key);
        write(&mut list);
        list.end();
    });
}

/// A chunk with a delta.
fn delta(prefix: &[u8], choice: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    chunk(prefix, choice, out, |object| {
        let mut delta = object.object("delta");
        write(&mut delta);
        delta.end();
        object.raw("finish_reason", "null");
    });
}

/// A chunk about one answer.
fn chunk(prefix: &[u8], choice: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.extend_from_slice(prefix);
    out.push(b'[');
    let mut object = ObjectWriter::begin(out);
    object.field("index", &choice);
    write(&mut object);
    object.end();
    out.extend_from_slice(b"]}\n\n");
}
