//! Anthropic Messages as a conversation.

/// The codec of Anthropic Messages.
pub struct Messages;
