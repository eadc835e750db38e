//! What of a reply its client is not told, since the client's dialect has no place for it. So that it is not lost silently,
//! it is named: in a header where the reply comes in one piece, and in the log.

use super::DialectId;
use crate::conversation::{BlockStart, Citation, Content, Event, Finish, Part, Reply, Text, TokenUsage, Unsupported};

/// Collects the names of what clients of one dialect are not told.
#[derive(Clone, Debug)]
pub struct UnsupportedInReply {
    to: DialectId,
    names: Unsupported,
    /// Texts of a stream, by answer and block.
    texts: Vec<(u32, u32)>,
}

impl UnsupportedInReply {
    /// Nothing is lost yet for a client of `to`.
    pub fn new(to: DialectId) -> Self {
        Self { to, names: Unsupported::default(), texts: Vec::new() }
    }

    /// The names, each behind `reply.`, which tells them from those of requests.
    pub fn names(&self) -> &Unsupported {
        &self.names
    }

    /// Looks at one event of a stream.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Unsupported(name) => self.add(name),
            Event::Open { choice, block, opened } => {
                self.choice(*choice);
                // Only a signature makes them worth knowing, and only Gemini's own dialect has a place for it.
                if *opened == BlockStart::Text && self.to != DialectId::Gemini {
                    self.texts.push((*choice, *block));
                }
            }
            Event::Close { choice, block } => self.texts.retain(|text| *text != (*choice, *block)),
            Event::Signature { choice, block, .. } if self.texts.contains(&(*choice, *block)) => self.add("signature"),
            Event::Citation { citation, .. } => self.citation(citation),
            Event::Logprobs { .. } => self.logprobs(),
            Event::Finish { choice, reason, stop_sequence } => {
                self.choice(*choice);
                self.stop_sequence(*reason, stop_sequence.as_ref());
            }
            Event::Start { usage, .. } | Event::Usage(usage) => self.usage(*usage),
            Event::Delta { .. } | Event::Signature { .. } | Event::Error(_) | Event::End => {}
        }
    }

    /// Looks at a reply in one piece.
    pub fn reply(&mut self, reply: &Reply<'_>) {
        for name in reply.lost.names() {
            self.add(name);
        }
        for (number, choice) in (0..).zip(&reply.choices) {
            self.choice(number);
            choice.parts.iter().for_each(|part| self.part(part));
            if !choice.logprobs.is_empty() {
                self.logprobs();
            }
            self.stop_sequence(choice.finish, choice.stop_sequence.as_ref());
        }
        self.usage(reply.usage);
    }

    fn part(&mut self, part: &Part<'_>) {
        match &part.content {
            Content::Text { citations, signature, .. } => {
                for citation in citations {
                    self.citation(citation);
                }
                // Messages has blocks that may hold it.
                if signature.is_some() && !matches!(self.to, DialectId::Gemini | DialectId::Messages) {
                    self.add("signature");
                }
            }
            Content::Media(media) if !matches!(self.to, DialectId::Gemini | DialectId::Converse) => {
                self.add(media.kind.as_str());
            }
            // It can't be written as the object that it must be there; a failed answer says so itself.
            Content::Call(call) if self.strict() && call.object().is_none() => self.add("tool_calls"),
            _ => {}
        }
    }

    /// Whether arguments of a call are an object on the wire.
    fn strict(&self) -> bool {
        matches!(self.to, DialectId::Messages | DialectId::Gemini | DialectId::Converse)
    }

    /// Answers beside the first.
    fn choice(&mut self, number: u32) {
        if number > 0 && matches!(self.to, DialectId::Responses | DialectId::Messages | DialectId::Converse) {
            self.add("choices");
        }
    }

    fn logprobs(&mut self) {
        if matches!(self.to, DialectId::Messages | DialectId::Converse) {
            self.add("logprobs");
        }
    }

    fn stop_sequence(&mut self, reason: Finish, text: Option<&Text<'_>>) {
        if text.is_some() && reason == Finish::Stop && matches!(self.to, DialectId::Responses | DialectId::Gemini) {
            self.add("stop_sequence");
        }
    }

    /// A dialect cites by quote or by place.
    fn citation(&mut self, citation: &Citation<'_>) {
        let by_quote = matches!(self.to, DialectId::Messages | DialectId::Converse);
        if citation.quote.is_some() && !by_quote {
            self.add("citations.quote");
        }
        if citation.start.is_some() && by_quote {
            self.add("citations.place");
        }
    }

    /// Counts that are parts of others, which are told.
    fn usage(&mut self, usage: TokenUsage) {
        let some = |count: Option<u64>| count.is_some_and(|count| count > 0);
        if some(usage.reasoning) && self.to == DialectId::Converse {
            self.add("usage.reasoning");
        }
        if some(usage.cache_write) && self.to == DialectId::Gemini {
            self.add("usage.cache_write");
        }
    }

    fn add(&mut self, name: &str) {
        self.names.add(format!("reply.{name}"));
    }
}
