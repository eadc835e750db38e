//! Schemas as Anthropic's API accepts them.

use crate::{
    conversation::{Invalid, Json, Unsupported},
    dialect::schema::{
        claude,
        root::{KEYWORDS, Root},
    },
};

/// The form that the API accepts at the root of a tool's schema.
const ROOT: Root = Root { combined: false, properties: true };

/// Whether the root of a tool's schema is accepted as it is.
pub(super) fn has_plain_root(schema: &Json<'_>) -> bool {
    ROOT.fits(schema)
}

/// Writes a tool's schema unchanged, except for its root.
pub(super) fn write_tool(schema: Option<&Json<'_>>, dropped: &mut Unsupported, out: &mut Vec<u8>) {
    ROOT.write(schema, dropped, out);
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
