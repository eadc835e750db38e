//! OpenAI Responses as a conversation.

/// The codec of OpenAI Responses.
pub struct Responses;
