//! JSON Schemas in the form that Bedrock's models accept.

use crate::{
    conversation::{Json, Unsupported},
    dialect::schema::{claude, root::Root},
};

/// Appends `schema` with the root that every model requires: an object. Claude moreover accepts no alternatives there.
pub(super) fn object(schema: Option<&Json<'_>>, claude: bool, dropped: &mut Unsupported, out: &mut Vec<u8>) {
    Root { combined: !claude, properties: false }.write(schema, dropped, out);
}

/// Appends `schema` in the subset of JSON Schema that Claude supports for structured output, or as it is if it is too
/// large or too deep to be rewritten. Returns whether a part of it is lost.
pub(super) fn closed(schema: &str, out: &mut Vec<u8>) -> bool {
    claude::write(&claude::BEDROCK, schema, out).unwrap_or_else(|_| {
        out.extend_from_slice(schema.as_bytes());
        true
    })
}
