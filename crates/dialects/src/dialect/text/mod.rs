//! Text of requests and replies: where it is in each dialect, and filters of it.
//!
//! A dialect lists the places of its text in tables ([`Row`]); all other code here interprets them. A [`FilterChain`]
//! sees decoded text, block by block, wherever it comes from:
//!
//! | text of | changed by |
//! | --- | --- |
//! | a body that is not streamed, in its own dialect | [`filter_body`], or [`read_texts`] and [`write_texts`] |
//! | a stream in its own dialect | [`TextFilteredStream`] |
//! | a translated reply or stream | [`filter_reply`], [`EventFilter`] |
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use tollgate_dialects::{
//!     conversation::Failure,
//!     dialect::{DialectId, text::{Block, BlockFilter, BodyKind, FilterChain, TextFilter, TextKind, filter_body}},
//! };
//!
//! struct Shout;
//!
//! impl TextFilter for Shout {
//!     fn start(&self, block: Block) -> Option<Box<dyn BlockFilter>> {
//!         (block.kind == TextKind::Answer).then(|| Box::new(Shout) as Box<dyn BlockFilter>)
//!     }
//! }
//!
//! impl BlockFilter for Shout {
//!     fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
//!         out.push_str(&text.to_uppercase());
//!         Ok(())
//!     }
//!
//!     fn finish(&mut self, _: &mut String) -> Result<(), Failure<'static>> {
//!         Ok(())
//!     }
//! }
//!
//! let chain = FilterChain::new(vec![Arc::new(Shout) as Arc<dyn TextFilter>]);
//! let body = Bytes::from_static(br#"{"choices":[{"index":0, "message":{"content":"hi"}}]}"#);
//! let body = filter_body(DialectId::Chat, BodyKind::Reply, &body, &chain).unwrap();
//! assert_eq!(body, br#"{"choices":[{"index":0, "message":{"content":"HI"}}]}"#.as_slice());
//! ```
//!
//! Bodies and events without text, or with text that no filter changes, are forwarded byte by byte. An empty chain has
//! nothing to do: its owner does not call this module.
//!
//! A block is one text for its reader. In Chat Completions and Gemini that is all text of one kind in an answer,
//! whatever comes in between, so that a word can't be hidden by splitting it around a call. Text of it that is still
//! held comes with the answer's end. Offsets in citations count in the text as the provider wrote it. A signature is
//! kept: in requests filters see signed text but can't change it; in replies it is changed, and a provider may refuse
//! it when the client sends it back.
//!
//! Bounds: a body has at most [`MAX_PLACES`] places; a stream at most [`MAX_STREAM_TEXT`] bytes of text and
//! [`MAX_BLOCKS`] blocks. Anything beyond them is refused; it never bypasses the filters.

mod body;
mod engine;
mod events;
mod filter;
mod framing;
mod prefix;
mod shape;
mod stream;
mod table;
mod walk;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use super::events::cut;

pub use body::{PlacedText, filter_body, read_texts, write_texts};
pub use engine::{MAX_BLOCKS, MAX_STREAM_TEXT};
pub use events::{EventFilter, filter_reply};
pub use filter::{BlockFilter, FilterChain, TextFilter};
pub use prefix::{MAX_PREFIX, prompt_prefix};
pub use stream::TextFilteredStream;
pub use table::{Number, Row, Shape, SlotRole, Table, When};
pub use walk::MAX_PLACES;

pub(in crate::dialect) use super::DialectId;
pub(in crate::dialect) use table::{delta, end, erase, repeat, whole};

/// The kind of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// Instructions.
    System,
    /// The user's text.
    User,
    /// Text of the model in an earlier turn, in a request.
    Assistant,
    /// The result of a tool call.
    ToolResult,
    /// The model's answer.
    Answer,
    /// The model's refusal, as text.
    Refusal,
    /// The model's reasoning, or a summary of it where the dialect has one field for both.
    Reasoning,
    /// A summary of the model's reasoning, where the dialect has a separate field for it.
    Summary,
    /// Arguments of a call: a string or number among them.
    Arguments,
    /// The text of a source that the answer cites.
    Citation,
}

impl TextKind {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::ToolResult => "tool_result",
            Self::Answer => "answer",
            Self::Refusal => "refusal",
            Self::Reasoning => "reasoning",
            Self::Summary => "reasoning_summary",
            Self::Arguments => "tool_arguments",
            Self::Citation => "citation",
        }
    }
}

/// Identifies a text: the pieces of one block are one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The kind of the text.
    pub kind: TextKind,
    /// Which answer, of replies with several.
    pub choice: u32,
    /// Which block of the answer.
    pub block: u32,
    /// Which part of the block.
    pub part: u32,
}

/// The kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyKind {
    /// A request.
    Request,
    /// A reply that is not streamed.
    Reply,
    /// The data of one event of a stream.
    Event,
}

/// The slots of one dialect.
pub struct TextSlots {
    /// The dialect.
    pub dialect: DialectId,
    /// Its table for requests.
    pub request: LazyLock<Table>,
    /// Its table for replies.
    pub reply: LazyLock<Table>,
    /// Its table for events.
    pub event: LazyLock<Table>,
    /// The top-level fields with the prompt of a request: the instructions, and then the conversation.
    pub prompt: &'static [&'static str],
    /// The top-level field in which clients name prompts that begin alike.
    pub cache_key: Option<&'static str>,
}

impl TextSlots {
    /// The slots of this dialect.
    pub fn of(dialect: DialectId) -> &'static Self {
        dialect.dialect().text_slots()
    }

    /// The table of one kind of bodies.
    pub fn table(&self, kind: BodyKind) -> &Table {
        match kind {
            BodyKind::Request => &self.request,
            BodyKind::Reply => &self.reply,
            BodyKind::Event => &self.event,
        }
    }
}
