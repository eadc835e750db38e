//! JSON Schemas in the form that Bedrock's models accept.

use crate::dialect::schema::{claude, inline::is_recursive};

/// Appends `schema` in the subset of JSON Schema that Claude supports for structured output, or as it is if it is too
/// large or too deep to be rewritten, or contains itself. Returns whether a part of it is lost.
pub(super) fn closed(schema: &str, out: &mut Vec<u8>) -> bool {
    if is_recursive(schema) {
        out.extend_from_slice(schema.as_bytes());
        return true;
    }
    claude::write(&claude::BEDROCK, schema, out).unwrap_or_else(|_| {
        out.extend_from_slice(schema.as_bytes());
        true
    })
}
