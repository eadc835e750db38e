//! Writes streams: every event is a part of a reply. Calls come whole, and the last event says why the answer ended and
//! what it cost.

use super::{
    citations::{self, Cited},
    error,
    names::finish_reason,
    stream::is_ascii,
    write_reply::{write_call, write_finish, write_logprobs, write_redacted, write_text, write_usage},
};
use crate::{
    conversation::{BlockStart, Citation, Event, Failure, Finish, Signature, Text, TokenUsage},
    dialect::{ReplyHead, StreamMode, WriteEvents},
    stream::json::{ArrayWriter, ObjectWriter, write_value},
};

/// Most answers at once.
const MAX_CHOICES: usize = 64;
/// Longest arguments of a call that are collected, in bytes; those of a longer one are never complete.
const MAX_ARGUMENTS: usize = 16 * 1024 * 1024;

/// Writes one stream.
pub(super) struct Writer {
    head: ReplyHead,
    /// Members that every event ends with.
    tail: Vec<u8>,
    begun: bool,
    done: bool,
    usage: TokenUsage,
    blocks: Vec<Block>,
    choices: Vec<Answer>,
}

/// An open block.
struct Block {
    choice: u32,
    number: u32,
    kind: Kind,
}

enum Kind {
    Text,
    Thinking,
    Call { id: Text<'static>, name: Text<'static>, signature: Option<Signature<'static>>, arguments: String },
}

/// What the last event says of an answer.
#[derive(Default)]
struct Answer {
    finish: Finish,
    /// The tool whose arguments are no object.
    malformed: Option<String>,
    refused: bool,
    citations: Vec<Citation<'static>>,
    /// A character that takes several bytes has come.
    wide: bool,
}

impl Writer {
    /// A writer that names its stream after `head` until the provider's names come.
    pub(super) fn new(head: ReplyHead) -> Self {
        let mut writer = Self {
            head,
            tail: Vec::new(),
            begun: false,
            done: false,
            usage: TokenUsage::default(),
            blocks: Vec::new(),
            choices: Vec::new(),
        };
        writer.name(None, None);
        writer
    }

    fn name(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>) {
        self.tail.clear();
        self.tail.extend_from_slice(b"\"modelVersion\":");
        match model {
            Some(model) => model.write(&mut self.tail),
            None => write_value(&mut self.tail, &self.head.model),
        }
        self.tail.extend_from_slice(b",\"responseId\":");
        match id {
            Some(id) => id.write(&mut self.tail),
            None => write_value(&mut self.tail, &self.head.id),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let begun = std::mem::replace(&mut self.begun, true);
        out.extend_from_slice(match (self.head.mode, begun) {
            (StreamMode::JsonArray, false) => b"[",
            (StreamMode::JsonArray, true) => b",\r\n",
            _ => b"data: ",
        });
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.head.mode != StreamMode::JsonArray {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    /// Ends an event that is a whole object: the tail goes inside it.
    fn end_chunk(&self, out: &mut Vec<u8>) {
        out.pop();
        out.push(b',');
        out.extend_from_slice(&self.tail);
        out.push(b'}');
        self.end(out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.done = true;
        if self.head.mode == StreamMode::JsonArray {
            out.extend_from_slice(b"\r\n]");
        }
    }

    /// Writes an event with parts of one answer.
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
        self.end(out);
    }

    fn answer(&mut self, choice: u32) -> Option<&mut Answer> {
        let place = usize::try_from(choice).ok().filter(|place| *place < MAX_CHOICES)?;
        while self.choices.len() <= place {
            self.choices.push(Answer::default());
        }
        self.choices.get_mut(place)
    }

    fn position(&self, choice: u32, block: u32) -> Option<usize> {
        self.blocks.iter().rposition(|open| open.choice == choice && open.number == block)
    }

    fn open(&mut self, choice: u32, block: u32, opened: &BlockStart<'_>, out: &mut Vec<u8>) {
        if self.answer(choice).is_none() {
            return;
        }
        let kind = match opened {
            BlockStart::Text => Kind::Text,
            BlockStart::Refusal => {
                if let Some(answer) = self.answer(choice) {
                    answer.refused = true;
                }
                Kind::Text
            }
            BlockStart::Thinking => Kind::Thinking,
            BlockStart::Redacted(signature) => {
                self.chunk(choice, out, |parts| write_redacted(signature, parts.object()));
                Kind::Thinking
            }
            BlockStart::Call { id, name, signature } => Kind::Call {
                id: id.clone().into_owned(),
                name: name.clone().into_owned(),
                signature: signature
                    .as_ref()
                    .map(|proof| Signature { maker: proof.maker, value: proof.value.clone().into_owned() }),
                arguments: String::new(),
            },
        };
        self.blocks.push(Block { choice, number: block, kind });
    }

    fn delta(&mut self, choice: u32, block: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        let Some(position) = self.position(choice, block) else { return };
        let thought = match self.blocks.get_mut(position).map(|block| &mut block.kind) {
            Some(Kind::Call { arguments, .. }) => {
                if arguments.len() <= MAX_ARGUMENTS {
                    arguments.push_str(&text.decode());
                }
                return;
            }
            Some(Kind::Thinking) => true,
            Some(Kind::Text) => false,
            None => return,
        };
        if text.is_empty() {
            return;
        }
        if let Some(answer) = self.answer(choice) {
            answer.wide |= !thought && !is_ascii(text);
        }
        self.chunk(choice, out, |parts| write_text(text, thought, None, parts.object()));
    }

    fn signed(&mut self, choice: u32, block: u32, signature: &Signature<'_>, out: &mut Vec<u8>) {
        let kind = self.position(choice, block).and_then(|position| self.blocks.get(position));
        let thought = match kind.map(|block| &block.kind) {
            Some(Kind::Thinking) => true,
            Some(Kind::Text) => false,
            Some(Kind::Call { .. }) | None => return,
        };
        self.chunk(choice, out, |parts| write_text(&Text::from(""), thought, Some(signature), parts.object()));
    }

    /// Ends a block: a call is complete now.
    fn close_block(&mut self, position: usize, out: &mut Vec<u8>) {
        let Block { choice, kind, .. } = self.blocks.remove(position);
        let Kind::Call { id, name, signature, arguments } = kind else { return };
        let mut part = Vec::new();
        let mut parts = ArrayWriter::begin(&mut part);
        if arguments.len() <= MAX_ARGUMENTS && write_call(&id, &name, &arguments, signature.as_ref(), &mut parts) {
            let part = part.get(1..).unwrap_or_default();
            self.chunk(choice, out, |parts| parts.element().extend_from_slice(part));
        } else if let Some(answer) = self.answer(choice) {
            answer.malformed = Some(name.decode().into_owned());
        }
    }

    fn finish(&mut self, choice: u32, reason: Finish, out: &mut Vec<u8>) {
        while let Some(position) = self.blocks.iter().position(|block| block.choice == choice) {
            self.close_block(position, out);
        }
        if let Some(answer) = self.answer(choice) {
            answer.finish = reason;
        }
    }

    /// Writes the last event.
    fn last(&mut self, out: &mut Vec<u8>) {
        while !self.blocks.is_empty() {
            self.close_block(0, out);
        }
        let _ = self.answer(0);
        self.begin(out);
        let mut top = ObjectWriter::begin(out);
        let mut candidates = top.array("candidates");
        for (index, answer) in self.choices.iter().enumerate() {
            answer.write(index, candidates.object());
        }
        candidates.end();
        write_usage(self.usage, &mut top);
        top.end();
        self.end_chunk(out);
        self.close(out);
    }

    fn error(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        error::write(failure, out);
        self.end(out);
        self.close(out);
    }
}

impl Answer {
    fn write(&self, index: usize, mut candidate: ObjectWriter<'_>) {
        // Google's own last event has an empty text, and some clients read it without asking.
        candidate.raw("content", r#"{"parts":[{"text":""}],"role":"model"}"#);
        write_finish(finish_reason(self.finish.with_refusal(self.refused)), self.malformed.as_deref(), &mut candidate);
        candidate.field("index", &index);
        let bytes = |citation: &Citation<'_>| if self.wide { None } else { Some((citation.start?, citation.end?)) };
        let cited: Vec<_> = self.citations.iter().map(|citation| Cited { citation, bytes: bytes(citation) }).collect();
        citations::write(&cited, &mut candidate);
        candidate.end();
    }
}

fn owned(citation: &Citation<'_>) -> Citation<'static> {
    let own = |text: &Option<Text<'_>>| text.clone().map(Text::into_owned);
    Citation {
        url: own(&citation.url),
        title: own(&citation.title),
        quote: own(&citation.quote),
        start: citation.start,
        end: citation.end,
    }
}

impl WriteEvents for Writer {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        match event {
            Event::Start { id, model, usage } => {
                self.usage.update(*usage);
                self.name(id.as_ref(), model.as_ref());
            }
            Event::Open { choice, block, opened } => self.open(*choice, *block, opened, out),
            Event::Delta { choice, block, text } => self.delta(*choice, *block, text, out),
            Event::Signature { choice, block, signature } => self.signed(*choice, *block, signature, out),
            Event::Citation { choice, citation, .. } => {
                if let Some(answer) = self.answer(*choice) {
                    answer.citations.push(owned(citation));
                }
            }
            Event::Logprobs { choice, tokens } => {
                self.begin(out);
                let mut top = ObjectWriter::begin(out);
                let mut candidates = top.array("candidates");
                let mut candidate = candidates.object();
                candidate.raw("content", r#"{"parts":[{"text":""}],"role":"model"}"#);
                candidate.field("index", choice);
                write_logprobs(tokens, &mut candidate);
                candidate.end();
                candidates.end();
                top.end();
                self.end_chunk(out);
            }
            Event::Close { choice, block } => {
                if let Some(position) = self.position(*choice, *block) {
                    self.close_block(position, out);
                }
            }
            Event::Finish { choice, reason, .. } => self.finish(*choice, *reason, out),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Unsupported(_) => {}
            Event::Error(failure) => self.error(failure, out),
            Event::End => self.last(out),
        }
    }
}
