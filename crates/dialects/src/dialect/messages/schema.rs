//! Schemas as Anthropic's API takes them.

use crate::{
    conversation::{Invalid, Json, Unsupported},
    dialect::schema::{
        claude,
        root::{KEYWORDS, Root},
    },
};

/// What the API takes at the root of a tool's schema.
const ROOT: Root = Root { combined: false, properties: true };

/// Whether a tool's schema has a root that is taken as it is.
pub(super) fn has_plain_root(schema: &Json<'_>) -> bool {
    ROOT.fits(schema)
}

/// Writes a tool's schema as it is, except for its root.
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
