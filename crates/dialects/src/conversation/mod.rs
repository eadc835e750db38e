//! The canonical form between dialects: a conversation, independent of the wire format that it came in.
//!
//! A request that is in its provider's own dialect never comes here. Any other is read into a [`Request`] by its own
//! dialect's decoder and written from it by the target's encoder. The reply takes the opposite direction, buffered as a
//! [`Reply`] or streamed as a series of [`Event`]s. With N dialects there are N decoders and N encoders.
//!
//! Text and schemas are not copied: they are slices of the body they came in ([`Text`], `RawValue`), still escaped, and
//! are written as they are.
//!
//! The decoder reports fields that the conversation does not support in [`Request::dropped`]; the encoder reports those
//! that the target does not support in [`Unsupported`]. So nothing is lost silently.
//!
//! [`Request`]: crate::conversation::Request
//! [`Reply`]: crate::conversation::Reply
//! [`Event`]: crate::conversation::Event
//! [`Text`]: crate::conversation::Text
//! [`Request::dropped`]: crate::conversation::Request::dropped
//! [`Unsupported`]: crate::conversation::Unsupported

mod error;
mod event;
pub mod free_text;
mod hosted;
mod json;
mod names;
mod replay;
mod reply;
mod request;
mod text;
mod tool_name;
mod tree;
mod turns;
mod usage;
pub mod schema_envelope;

pub use error::{ErrorClass, Failure};
pub use event::{BlockKind, BlockStart, Event};
pub use hosted::{HostedKind, HostedLimits, HostedTool, Location, limit};
pub use json::{Json, call_arguments, object_text};
pub use names::{Names, safe_id};
pub use reply::{Choice, Finish, Reply, TokenLogprob};
pub use request::{
    Cache, Call, Citation, Content, Effort, Format, Media, MediaKind, Message, Part, Reasoning, Request, Role,
    Sampling, Signature, SignatureOrigin, Source, Tool, ToolChoice, ToolResult,
};
pub use schema_envelope::Opener as Unwrap;
pub use text::Text;
pub use tool_name::{ToolForm, ToolName};
pub use tree::Tree;
pub use turns::{Turn, TurnRules, called_tools, ends_in_prefill, turns};
pub use usage::TokenUsage;

use std::borrow::Cow;

/// The reason why a request can't be expressed in a dialect: the client gets a 400 that names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field as the client spells it, such as `messages[3].tool_calls[0].function.arguments`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Invalid {
    /// An error about `field`; `message` describes it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

impl std::error::Error for Invalid {}

/// Names of unsupported fields, each once, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsupported {
    names: Vec<Cow<'static, str>>,
    /// How many more names there were.
    more: usize,
}

impl Unsupported {
    /// Most names that are kept, since they go into one header. A request with more has invented most of them.
    pub const MAX: usize = 32;
    /// Longest name that is kept whole, in bytes: the client chooses the names of unknown fields.
    pub const MAX_NAME: usize = 64;

    /// Adds `name` unless it is there; cut if it is too long, and only counted if there are too many.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>) {
        let mut name = name.into();
        if name.len() > Self::MAX_NAME {
            let kept = name.get(..name.floor_char_boundary(Self::MAX_NAME)).unwrap_or_default();
            name = Cow::Owned(format!("{kept}..."));
        }
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() < Self::MAX { self.names.push(name) } else { self.more += 1 }
    }

    /// Adds `name` when `met`.
    pub fn add_if(&mut self, met: bool, name: &'static str) {
        if met {
            self.add(name);
        }
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: &Self) {
        for name in &others.names {
            self.add(name.clone());
        }
        self.more += others.more;
    }

    /// Whether everything was carried.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names.
    pub fn names(&self) -> &[Cow<'static, str>] {
        &self.names
    }
}

impl std::fmt::Display for Unsupported {
    /// The names, separated by `, `, and how many more there were. Characters that no header may contain are written as
    /// `?`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.names.join(", ");
        f.write_str(&names.replace(|c: char| !c.is_ascii_graphic() && c != ' ', "?"))?;
        if self.more > 0 { write!(f, ", and {} more", self.more) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
