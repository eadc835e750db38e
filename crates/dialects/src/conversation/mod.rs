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

mod answered_media;
mod carried_reasoning;
mod error;
mod event;
mod file_types;
pub mod free_text;
mod hosted;
mod hosted_call;
mod json;
mod media;
mod names;
mod pairing;
mod replay;
mod reply;
mod request;
mod text;
mod tool_name;
mod tree;
mod turns;
mod unsupported;
mod usage;
pub mod schema_envelope;

pub use answered_media::show_images_to_user;
pub use carried_reasoning::{CarriedReasoning, SeenReasoning};
pub use error::{ErrorClass, Failure};
pub use event::{BlockKind, BlockStart, Event};
pub use file_types::{is_text, type_of_name};
pub use hosted::{HostedKind, HostedLimits, HostedTool, ImageForm, Location, limit};
pub use hosted_call::{HostedAction, HostedCall, Page};
pub use json::{Json, call_arguments, earlier_arguments, object_text};
pub use media::{Media, MediaKind, Source};
pub use names::{Names, safe_id};
pub use pairing::paired;
pub use reply::{Choice, Finish, Reply, TokenLogprob};
pub use request::{
    Cache, Call, Citation, Content, Effort, Format, Message, Part, Reasoning, Request, Role, Sampling, Signature,
    SignatureOrigin, Tool, ToolChoice, ToolResult,
};
pub use schema_envelope::Opener as Unwrap;
pub use text::Text;
pub use tool_name::{ToolForm, ToolName};
pub use tree::Tree;
pub use turns::{PLACEHOLDER, Turn, TurnRules, called_tools, ends_in_prefill, is_loop_without_reasoning, turns};
pub use unsupported::Unsupported;
pub use usage::TokenUsage;

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

#[cfg(test)]
mod tests;
