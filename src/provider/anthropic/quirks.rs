//! The quirks of Anthropic's own server.

use tollgate_dialects::conversation::HostedKind;
use tollgate_dialects::dialect::{
    DialectId,
    quirks::{Fetches, Quirks},
};

/// `api.anthropic.com`, which fetches nothing by `http:`.
pub const ANTHROPIC: &Quirks = &Quirks {
    fetches: Fetches::Https,
    hosted: &[HostedKind::WebSearch, HostedKind::UrlFetch, HostedKind::CodeExecution],
    stored_files: true,
    counts_tokens: Some(DialectId::Messages),
    ..Quirks::PLAIN
};
