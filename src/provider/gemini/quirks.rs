//! The quirks of AI Studio.

use tollgate_dialects::conversation::HostedKind;
use tollgate_dialects::dialect::{
    DialectId,
    quirks::{GeminiEmbeddings, GeminiQuirks, Quirks},
};

/// Gemini on AI Studio. Instructions and tools are counted in a whole request only.
pub const AI_STUDIO: &Quirks = &Quirks {
    hosted: &[HostedKind::WebSearch, HostedKind::UrlFetch, HostedKind::CodeExecution, HostedKind::ImageGeneration],
    stored_files: true,
    counts_tokens: Some(DialectId::Gemini),
    gemini: GeminiQuirks { nested_count: true, embeddings: &[("", GeminiEmbeddings::Batch)], ..Quirks::PLAIN.gemini },
    ..Quirks::PLAIN
};
