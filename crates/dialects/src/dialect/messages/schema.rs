//! Schemas as Anthropic's API accepts them.

use crate::{
    conversation::{Invalid, Json, Unsupported},
    dialect::schema::{
        claude,
        inline::is_recursive,
        root::{CLAUDE, KEYWORDS},
    },
};

/// Whether a tool's schema can be strict: its root is accepted as it is, and it does not contain itself.
pub(super) fn may_be_strict(schema: &Json<'_>) -> bool {
    CLAUDE.fits(schema) && !is_recursive(schema.get())
}

/// Writes a tool's schema unchanged, except for its root.
pub(super) fn write_tool(schema: Option<&Json<'_>>, dropped: &mut Unsupported, out: &mut Vec<u8>) {
    CLAUDE.write(schema, dropped, out);
}

/// Writes a schema for constrained decoding.
///
/// # Errors
/// When it is too large or too deep.
pub(super) fn write_constrained(schema: &str, dropped: &mut Unsupported, out: &mut Vec<u8>) -> Result<(), Invalid> {
    let lost = claude::write(&claude::ANTHROPIC, schema, out);
    dropped.add_if(lost.map_err(|why| Invalid::new("response_format", why))?, KEYWORDS);
    Ok(())
}
