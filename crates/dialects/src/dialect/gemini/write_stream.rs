//! Writes streams: every event is a partial reply. Each call is written whole. The last event has the finish reason and
//! the token counts.

use super::{
    citations::{self, Cited},
    error, hosted,
    names::finish_reason,
    stream::is_ascii,
    write_reply::{write_call, write_finish, write_logprobs, write_media, write_redacted, write_text, write_usage},
};
use crate::{
    conversation::{
        BlockStart, CarriedReasoning, Citation, Failure, HostedAction, HostedCall, Signature, Text, TokenLogprob,
        TokenUsage,
    },
    dialect::{
        ReplyHead, StreamMode,
        sequence::{Answer, Choice, Sequencer, WriteBlocks},
    },
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Longest arguments of a call that are collected, in bytes; longer ones are treated as incomplete.
const MAX_ARGUMENTS: usize = 16 * 1024 * 1024;

/// Content without text. Google's own last event has one, and some clients read it unchecked.
const NO_CONTENT: &str = r#"{"parts":[{"text":""}],"role":"model"}"#;

/// Writes one stream.
pub(super) type Writer = Sequencer<Chunks>;

/// The shapes of partial replies.
pub(super) struct Chunks {
    head: ReplyHead,
    /// Fields that every event ends with.
    tail: Vec<u8>,
    begun: bool,
}

pub(super) enum Block {
    Text,
    /// The reasoning so far, which the call after it carries.
    Thinking(String),
    Call {
        id: Text<'static>,
        name: Text<'static>,
        signature: Option<Signature<'static>>,
        arguments: String,
    },
}

/// What the last event contains about a choice.
#[derive(Default)]
pub(super) struct Summary {
    /// The tool whose arguments are not an object.
    malformed: Option<String>,
    citations: Vec<Citation<'static>>,
    hosted: Vec<HostedCall<'static>>,
    /// The signed reasoning before the next call.
    carried: CarriedReasoning,
    /// Whether its text has characters of several bytes.
    wide: bool,
}

impl Writer {
    /// A writer at the beginning of a stream. `head` has the fields that the provider does not state.
    pub(super) fn new(head: ReplyHead) -> Self {
        Self::of(Chunks { head, tail: Vec::new(), begun: false })
    }
}

impl WriteBlocks for Chunks {
    type Choice = Summary;
    type Block = Block;
    const MAX_CHOICES: u32 = 64;

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, _: &TokenUsage, _: &mut Vec<u8>) {
        self.tail.extend_from_slice(b"\"modelVersion\":");
        self.head.model_or(model).write(&mut self.tail);
        self.tail.extend_from_slice(b",\"responseId\":");
        self.head.id_or(id, "").write(&mut self.tail);
    }

    fn open(&mut self, choice: &mut Choice<Summary>, start: &BlockStart<'_>, out: &mut Vec<u8>) -> Option<Block> {
        Some(match start.clone().into_owned() {
            BlockStart::Text | BlockStart::Refusal => Block::Text,
            BlockStart::Thinking => Block::Thinking(String::new()),
            BlockStart::Redacted(signature) => {
                choice.state.carried.add(None, &signature);
                self.chunk(choice.number, out, |parts| write_redacted(&signature, parts.object()));
                return None;
            }
            BlockStart::Hosted(call) => {
                if matches!(call.action, HostedAction::Code { .. }) {
                    self.chunk(choice.number, out, |parts| hosted::write_parts(&call, parts));
                } else {
                    choice.state.hosted.push(*call);
                }
                return None;
            }
            BlockStart::Media(media) => {
                self.chunk(choice.number, out, |parts| write_media(&media, parts));
                return None;
            }
            BlockStart::Call { id, name, signature } => {
                let carried = choice.state.carried.take();
                let signature = signature.or(carried);
                Block::Call { id, name: name.into_text(), signature, arguments: String::new() }
            }
        })
    }

    fn delta(&mut self, choice: &mut Choice<Summary>, block: &mut Block, text: &Text<'_>, out: &mut Vec<u8>) {
        let thought = match block {
            Block::Call { arguments, .. } => {
                if arguments.len() <= MAX_ARGUMENTS {
                    arguments.push_str(&text.decode());
                }
                return;
            }
            Block::Thinking(so_far) => {
                so_far.push_str(&text.decode());
                true
            }
            Block::Text => false,
        };
        choice.state.wide |= !thought && !is_ascii(text);
        self.chunk(choice.number, out, |parts| write_text(text, thought, None, parts.object()));
    }

    fn signature(
        &mut self,
        choice: &mut Choice<Summary>,
        block: &mut Block,
        signature: &Signature<'_>,
        out: &mut Vec<u8>,
    ) {
        if let Block::Thinking(so_far) = block {
            choice.state.carried.add(Some(so_far), signature);
            so_far.clear();
        }
        if matches!(block, Block::Text | Block::Thinking(_)) {
            let thought = matches!(block, Block::Thinking(_));
            self.chunk(choice.number, out, |parts| {
                write_text(&Text::from(""), thought, Some(signature), parts.object());
            });
        }
    }

    fn citation(&mut self, choice: &mut Choice<Summary>, _: &mut Block, citation: &Citation<'_>, _: &mut Vec<u8>) {
        choice.state.citations.push(citation.clone().into_owned());
    }

    fn logprobs(&mut self, choice: u32, tokens: &[TokenLogprob<'_>], out: &mut Vec<u8>) {
        self.begin(out);
        let mut top = ObjectWriter::begin(out);
        let mut candidates = top.array("candidates");
        let mut candidate = candidates.object().with_raw("content", NO_CONTENT).with("index", &choice);
        write_logprobs(tokens, &mut candidate);
        candidate.end();
        candidates.end();
        top.end();
        self.end_chunk(out);
    }

    /// Writes a call when it is complete.
    fn close(&mut self, choice: &mut Choice<Summary>, block: Block, out: &mut Vec<u8>) {
        let Block::Call { id, name, signature, arguments } = block else { return };
        let mut written = false;
        let part = ArrayWriter::elements(|parts| {
            written = arguments.len() <= MAX_ARGUMENTS && write_call(&id, &name, &arguments, signature.as_ref(), parts);
        });
        if written {
            self.chunk(choice.number, out, |parts| parts.element().extend_from_slice(&part));
        } else {
            choice.state.malformed = Some(name.decode().into_owned());
        }
    }

    /// Writes the last event.
    fn end(&mut self, choices: &[Answer<Self>], usage: &TokenUsage, out: &mut Vec<u8>) {
        self.begin(out);
        let mut top = ObjectWriter::begin(out);
        let mut candidates = top.array("candidates");
        for Answer { choice, .. } in choices {
            write_summary(choice, candidates.object());
        }
        candidates.end();
        write_usage(*usage, &mut top);
        top.end();
        self.end_chunk(out);
        self.end_array(out);
    }

    fn error(&mut self, failure: &Failure<'_>, _: &TokenUsage, out: &mut Vec<u8>) {
        self.begin(out);
        error::write(failure, out);
        self.end_event(out);
        self.end_array(out);
    }
}

impl Chunks {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let begun = std::mem::replace(&mut self.begun, true);
        out.extend_from_slice(match (self.head.mode, begun) {
            (StreamMode::JsonArray, false) => b"[",
            (StreamMode::JsonArray, true) => b",\r\n",
            _ => b"data: ",
        });
    }

    fn end_event(&self, out: &mut Vec<u8>) {
        if self.head.mode != StreamMode::JsonArray {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    /// Ends an event that is a whole object: the tail is inserted before its brace.
    fn end_chunk(&self, out: &mut Vec<u8>) {
        out.pop();
        out.push(b',');
        out.extend_from_slice(&self.tail);
        out.push(b'}');
        self.end_event(out);
    }

    fn end_array(&self, out: &mut Vec<u8>) {
        if self.head.mode == StreamMode::JsonArray {
            out.extend_from_slice(b"\r\n]");
        }
    }

    /// Writes an event with parts of one choice.
    fn chunk(&mut self, choice: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut ArrayWriter<'_>)) {
        self.begin(out);
        out.extend_from_slice(b"{\"candidates\":[{\"content\":{\"parts\":");
        let mut parts = ArrayWriter::begin(out);
        write(&mut parts);
        parts.end();
        out.extend_from_slice(b",\"role\":\"model\"},\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(choice).as_bytes());
        out.extend_from_slice(b"}],");
        out.extend_from_slice(&self.tail);
        out.push(b'}');
        self.end_event(out);
    }
}

fn write_summary(choice: &Choice<Summary>, mut candidate: ObjectWriter<'_>) {
    let Summary { malformed, citations, hosted, wide, .. } = &choice.state;
    candidate.raw("content", NO_CONTENT);
    let reason = finish_reason(choice.reason.with_refusal(choice.refused));
    write_finish(reason, malformed.as_deref(), &mut candidate);
    candidate.field("index", &choice.number);
    let bytes = |citation: &Citation<'_>| if *wide { None } else { Some((citation.start?, citation.end?)) };
    let cited: Vec<_> = citations.iter().map(|citation| Cited { citation, bytes: bytes(citation) }).collect();
    let hosted: Vec<_> = hosted.iter().collect();
    citations::write(&cited, &hosted, &mut candidate);
    hosted::write_fetched(&hosted, &mut candidate);
}
