//! OpenAI Chat Completions as a conversation.

/// The codec of OpenAI Chat Completions.
pub struct Chat;
