//! Fields of a reply that the client's dialect has no place for. They are reported: in a header of a buffered reply,
//! and in the log.

use super::Dialect;
use crate::conversation::{BlockStart, Citation, Content, Event, Finish, Part, Reply, Text, TokenUsage, Unsupported};

/// Collects the names of what clients of one dialect can't be given.
#[derive(Clone, Debug)]
pub struct UnsupportedInReply {
    to: Dialect,
    names: Unsupported,
    /// Open text blocks of a stream, by choice and block.
    texts: Vec<(u32, u32)>,
}

impl UnsupportedInReply {
    /// No names yet, for a client of `to`.
    pub fn new(to: Dialect) -> Self {
        Self { to, names: Unsupported::default(), texts: Vec::new() }
    }

    /// The names. Each begins with `reply.`, which distinguishes it from those of requests.
    pub fn names(&self) -> &Unsupported {
        &self.names
    }

    /// Looks at one event of a stream.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Unsupported(name) => self.add(name),
            Event::Open { choice, block, opened } => {
                self.choice(*choice);
                // They are remembered for their signatures only, and Gemini's own dialect has a place for those.
                if *opened == BlockStart::Text && self.to != Dialect::Gemini {
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

    /// Looks at a buffered reply.
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
                if signature.is_some() && !matches!(self.to, Dialect::Gemini | Dialect::Messages) {
                    self.add("signature");
                }
            }
            Content::Media(media) if !matches!(self.to, Dialect::Gemini | Dialect::Converse) => {
                self.add(media.kind.as_str());
            }
            // Its arguments can't be written as an object; a failed answer reports that itself.
            Content::Call(call) if self.strict() && call.object().is_none() => self.add("tool_calls"),
            _ => {}
        }
    }

    /// Whether arguments of a call are an object on the wire.
    fn strict(&self) -> bool {
        matches!(self.to, Dialect::Messages | Dialect::Gemini | Dialect::Converse)
    }

    /// A choice beside the first.
    fn choice(&mut self, number: u32) {
        if number > 0 && matches!(self.to, Dialect::Responses | Dialect::Messages | Dialect::Converse) {
            self.add("choices");
        }
    }

    fn logprobs(&mut self) {
        if matches!(self.to, Dialect::Messages | Dialect::Converse) {
            self.add("logprobs");
        }
    }

    fn stop_sequence(&mut self, reason: Finish, text: Option<&Text<'_>>) {
        if text.is_some() && reason == Finish::Stop && matches!(self.to, Dialect::Responses | Dialect::Gemini) {
            self.add("stop_sequence");
        }
    }

    /// A dialect cites by quote or by position.
    fn citation(&mut self, citation: &Citation<'_>) {
        let by_quote = matches!(self.to, Dialect::Messages | Dialect::Converse);
        if citation.quote.is_some() && !by_quote {
            self.add("citations.quote");
        }
        if citation.start.is_some() && by_quote {
            self.add("citations.place");
        }
    }

    /// Counts that are parts of others, which are carried.
    fn usage(&mut self, usage: TokenUsage) {
        let some = |count: Option<u64>| count.is_some_and(|count| count > 0);
        if some(usage.reasoning) && self.to == Dialect::Converse {
            self.add("usage.reasoning");
        }
        if some(usage.cache_write) && self.to == Dialect::Gemini {
            self.add("usage.cache_write");
        }
    }

    fn add(&mut self, name: &str) {
        self.names.add(format!("reply.{name}"));
    }
}
