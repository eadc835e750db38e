//! Bedrock Converse as a conversation.

/// The codec of Bedrock Converse.
pub struct Converse;
