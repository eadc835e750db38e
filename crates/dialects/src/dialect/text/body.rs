//! Text of bodies that are not streamed: filtered, or read and written.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{
    Block, BodyKind, DialectId, FilterChain, TextSlots, cut,
    engine::{Engine, too_many},
    table::SlotRole,
    walk,
};
use crate::{
    conversation::Failure,
    stream::{TopLevel, json::write_string},
};

/// Sends all text of a body through `chain`. A body that no filter changes is shared, not copied.
///
/// # Errors
/// The failure with which a filter refuses, or one for a body that is not a JSON object, so that its text can't be
/// examined.
pub fn filter_body(
    dialect: DialectId,
    kind: BodyKind,
    body: &Bytes,
    chain: &FilterChain,
) -> Result<Bytes, Failure<'static>> {
    if chain.is_empty() {
        return Ok(body.clone());
    }
    let top = TopLevel::scan(body).map_err(|error| cut(format!("the body can't be read: {error}")))?;
    let changed = Engine::new(TextSlots::of(dialect).table(kind), chain.clone()).body(&top)?;
    Ok(changed.map_or_else(|| body.clone(), Bytes::from))
}

/// One text of a body.
#[derive(Clone, Debug)]
pub struct PlacedText<'a> {
    /// The kind of the text, and its block.
    pub block: Block,
    /// The text, decoded. Arguments may be the text of a JSON document.
    pub text: Cow<'a, str>,
    /// Whether it is signed: its vendor refuses a signed text that was changed.
    pub signed: bool,
    /// The range of the text in the body.
    range: Range<usize>,
}

/// All texts of a body, in its order.
///
/// # Errors
/// When there are more than [`MAX_PLACES`](super::MAX_PLACES).
pub fn read_texts<'a>(
    dialect: DialectId,
    kind: BodyKind,
    top: &TopLevel<'a>,
) -> Result<Vec<PlacedText<'a>>, Failure<'static>> {
    let table = TextSlots::of(dialect).table(kind);
    let places = walk::places(table, top, b"").map_err(too_many)?;
    let is_text = |place: &walk::Place| {
        let role = table.rows().get(place.row).map(|row| row.role);
        matches!(role, Some(SlotRole::Delta | SlotRole::Repeat | SlotRole::Whole))
    };
    let texts = places.into_iter().filter(is_text).map(|place| PlacedText {
        block: place.block,
        text: walk::text(top.body(), place.range.clone()),
        signed: place.signed,
        range: place.range,
    });
    Ok(texts.collect())
}

/// The body with some of its texts replaced. `texts` must come from this body, in its order.
pub fn write_texts(body: &Bytes, texts: &[(&PlacedText<'_>, &str)]) -> Bytes {
    if texts.is_empty() {
        return body.clone();
    }
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut at = 0;
    for (place, text) in texts {
        out.extend_from_slice(body.get(at..place.range.start).unwrap_or_default());
        write_string(&mut out, text);
        at = place.range.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out.into()
}
