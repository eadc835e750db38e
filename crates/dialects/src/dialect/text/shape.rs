//! Events that the gateway makes to send text that was held back.

use super::{Block, table::Shape};
use crate::stream::{TopLevel, json::write_string};

/// An event that the gateway made.
pub(super) struct Made {
    /// Its name, where the framing has one.
    pub(super) name: Option<&'static str>,
    /// Its data.
    pub(super) json: Vec<u8>,
}

/// Fields of the block's first event that a shape needs.
pub(super) type Carried = Vec<(&'static str, Vec<u8>)>;

/// The fields that `shape` needs from the event that begins a block.
pub(super) fn carry(shape: Shape, top: &TopLevel<'_>) -> Carried {
    let mut carried = Vec::new();
    let mut rest = shape.json;
    while let Some((_, behind)) = rest.split_once('@') {
        let (name, after) = word(behind);
        if let Some(member) = top.get(name) {
            carried.push((name, member.value.to_vec()));
        }
        rest = after;
    }
    carried
}

/// An event of this shape. Fields come from the current event, or else from the block's first.
pub(super) fn make(shape: Shape, block: Block, text: &str, top: Option<&TopLevel<'_>>, carried: &Carried) -> Made {
    let mut json = Vec::with_capacity(shape.json.len() + text.len() + 64);
    let mut rest = shape.json;
    while let Some(at) = rest.find(['$', '@']) {
        let (before, placeholder) = rest.split_at(at);
        json.extend_from_slice(before.as_bytes());
        let (mark, behind) = placeholder.split_at(1);
        let (name, after) = word(behind);
        match (mark, name) {
            ("$", "text") => write_string(&mut json, text),
            ("$", "choice") => json.extend_from_slice(block.choice.to_string().as_bytes()),
            ("$", "block") => json.extend_from_slice(block.block.to_string().as_bytes()),
            ("$", "part") => json.extend_from_slice(block.part.to_string().as_bytes()),
            _ => {
                let now = top.and_then(|top| top.get(name)).map(|member| member.value);
                let then = || carried.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_slice());
                json.extend_from_slice(now.or_else(then).unwrap_or(b"null"));
            }
        }
        rest = after;
    }
    json.extend_from_slice(rest.as_bytes());
    Made { name: shape.name, json }
}

/// The name at the start of `text`, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}
