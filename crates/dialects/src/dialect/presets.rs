//! The quirks of the gateway's providers, so that tests check the real ones and not a copy.

#[path = "../../../../src/provider/anthropic/quirks.rs"]
mod anthropic;
#[path = "../../../../src/provider/bedrock/quirks.rs"]
mod bedrock;
#[path = "../../../../src/provider/gemini/quirks.rs"]
mod gemini;
#[path = "../../../../src/provider/openai/quirks.rs"]
mod openai;
#[path = "../../../../src/provider/vertex_ai/quirks.rs"]
mod vertex_ai;

pub use self::{
    anthropic::ANTHROPIC,
    bedrock::BEDROCK,
    gemini::AI_STUDIO,
    openai::{AZURE, DEEPSEEK, MISTRAL, OPENAI, OPENROUTER},
    vertex_ai::{VERTEX, VERTEX_CLAUDE},
};

/// A server with no known quirks.
pub const COMPATIBLE: &tollgate_dialects::dialect::Quirks = &tollgate_dialects::dialect::Quirks::PLAIN;
