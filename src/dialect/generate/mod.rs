//! Gemini `generateContent` as a conversation.

/// The codec of Gemini `generateContent`.
pub struct Generate;
