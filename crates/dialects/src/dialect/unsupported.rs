//! Fields of a reply that the client's dialect does not support. They are reported: in a header of a buffered reply,
//! and in the log.

use super::DialectId;
use crate::conversation::{
    BlockStart, Citation, Content, Event, Finish, HostedCall, Media, Part, Reply, Text, TokenUsage, Unsupported,
};

/// A part of a reply that a dialect may not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyGap {
    /// Signatures of text in a buffered reply.
    TextSignature,
    /// Signatures of text in a stream.
    StreamedTextSignature,
    /// Images, audio and other media.
    Media,
    /// Calls of tools that the provider has run.
    HostedCalls,
    /// Media but images that are at hand.
    OtherMedia,
    /// Media in a stream.
    StreamedMedia,
    /// Arguments of a call that are not a JSON object.
    OpaqueArguments,
    /// Answers after the first.
    Choices,
    /// Probabilities of tokens.
    Logprobs,
    /// The sequence at which an answer stopped.
    StopSequence,
    /// The quote of a citation, in dialects that cite by position.
    Quote,
    /// The position of a citation, in dialects that cite by quote.
    Place,
    /// How many tokens were reasoning.
    ReasoningCount,
    /// How many tokens were written to a cache.
    CacheWriteCount,
}

/// Collects the names of the fields of a reply that one dialect does not support.
#[derive(Clone, Debug)]
pub struct UnsupportedInReply {
    gaps: &'static [ReplyGap],
    names: Unsupported,
    /// Open text blocks of a stream, by choice and block.
    texts: Vec<(u32, u32)>,
}

impl UnsupportedInReply {
    /// An empty collection for a client of `to`.
    pub fn new(to: DialectId) -> Self {
        Self { gaps: to.dialect().reply_gaps(), names: Unsupported::default(), texts: Vec::new() }
    }

    /// The names. Each begins with `reply.`, which distinguishes it from those of requests.
    pub fn names(&self) -> &Unsupported {
        &self.names
    }

    /// Examines one event of a stream.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Unsupported(name) => self.add(name),
            Event::Open { choice, block, opened } => {
                self.choice(*choice);
                if let BlockStart::Hosted(call) = opened {
                    self.hosted(call);
                }
                if let BlockStart::Media(media) = opened {
                    self.add_if(true, ReplyGap::StreamedMedia, media.kind.as_str());
                    self.media(media);
                }
                // They are kept for their signatures only.
                if *opened == BlockStart::Text && self.lacks(ReplyGap::StreamedTextSignature) {
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
            Event::Delta { .. } | Event::Signature { .. } | Event::Running | Event::Error(_) | Event::End => {}
        }
    }

    /// Examines a buffered reply.
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
                self.add_if(signature.is_some(), ReplyGap::TextSignature, "signature");
            }
            Content::Media(media) => self.media(media),
            Content::Hosted(call) => self.hosted(call),
            // A failed answer is visible as such.
            Content::Call(call) => self.add_if(call.object().is_none(), ReplyGap::OpaqueArguments, "tool_calls"),
            _ => {}
        }
    }

    fn hosted(&mut self, call: &HostedCall<'_>) {
        self.add_if(true, ReplyGap::HostedCalls, call.kind().as_str());
    }

    fn media(&mut self, media: &Media<'_>) {
        self.add_if(true, ReplyGap::Media, media.kind.as_str());
        self.add_if(media.image_data().is_none(), ReplyGap::OtherMedia, media.kind.as_str());
    }

    fn choice(&mut self, number: u32) {
        self.add_if(number > 0, ReplyGap::Choices, "choices");
    }

    fn logprobs(&mut self) {
        self.add_if(true, ReplyGap::Logprobs, "logprobs");
    }

    fn stop_sequence(&mut self, reason: Finish, text: Option<&Text<'_>>) {
        self.add_if(text.is_some() && reason == Finish::Stop, ReplyGap::StopSequence, "stop_sequence");
    }

    fn citation(&mut self, citation: &Citation<'_>) {
        self.add_if(citation.quote.is_some(), ReplyGap::Quote, "citations.quote");
        self.add_if(citation.start.is_some(), ReplyGap::Place, "citations.place");
    }

    /// Counts that are parts of other counts, which are carried.
    fn usage(&mut self, usage: TokenUsage) {
        let some = |count: Option<u64>| count.is_some_and(|count| count > 0);
        self.add_if(some(usage.reasoning), ReplyGap::ReasoningCount, "usage.reasoning");
        self.add_if(some(usage.cache_write), ReplyGap::CacheWriteCount, "usage.cache_write");
    }

    fn lacks(&self, gap: ReplyGap) -> bool {
        self.gaps.contains(&gap)
    }

    fn add_if(&mut self, is_there: bool, gap: ReplyGap, name: &str) {
        if is_there && self.lacks(gap) {
            self.add(name);
        }
    }

    fn add(&mut self, name: &str) {
        self.names.add(format!("reply.{name}"));
    }
}
