//! The quirks of Anthropic's own server.

use tollgate_dialects::dialect::{
    DialectId,
    quirks::{Fetches, Quirks},
};

/// `api.anthropic.com`, which fetches nothing by `http:`.
pub const ANTHROPIC: &Quirks =
    &Quirks { fetches: Fetches::Https, stored_files: true, counts_tokens: Some(DialectId::Messages), ..Quirks::PLAIN };
