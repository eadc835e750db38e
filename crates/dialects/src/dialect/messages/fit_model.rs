//! The changes to a body of Messages whose model the Backend has replaced: what the new model refuses of the fields
//! that a conversation does not have.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    dialect::{Destination, Thinking, adapt::Adapted},
    stream::{Member, Splice, TopLevel, json::ArrayWriter},
};

/// The field with what the vendor may leave out of a long conversation.
const CONTEXT: &str = "context_management";

/// Changes what the model refuses. `written` is the request as it is written for it.
pub(super) fn fit(body: &TopLevel<'_>, written: &TopLevel<'_>, to: &Destination<'_>, adapted: &mut Adapted) {
    // A model that always thinks does so without the field.
    let thinks = match written.get("thinking").and_then(|thinking| kind(thinking.value)) {
        Some(kind) => kind != "disabled",
        None => to.facts.thinking == Thinking::Adaptive { off: false },
    };
    if !thinks && let Some((name, left)) = without_clearing(body) {
        adapted.dropped.add(name);
        adapted.set(name, left);
    }
    let is_fast = |speed: &Member<'_>| speed.as_str().as_deref() == Some("fast");
    if !to.facts.fast_mode && body.get("speed").is_some_and(is_fast) {
        adapted.dropped.add("speed");
        adapted.set("speed", None);
    }
    // The name of `output_config.format` while it was in beta.
    if !to.facts.structured && body.get("output_format").is_some_and(|format| !format.is_null()) {
        adapted.dropped.add("response_format");
        adapted.set("output_format", None);
    }
}

/// `context_management` without the edits that clear thinking, which are an error for a model that does not think:
/// the field's edit, which removes it if it has nothing else; `None` if it has none of them.
pub(super) fn without_clearing(body: &TopLevel<'_>) -> Option<(&'static str, Option<Vec<u8>>)> {
    let top = TopLevel::scan(body.get(CONTEXT)?.value).ok()?;
    let edits: Vec<&RawValue> = serde_json::from_slice(top.get("edits")?.value).ok()?;
    let clears = |edit: &&&RawValue| kind(edit.get().as_bytes()).is_some_and(|kind| kind.starts_with("clear_thinking"));
    let left: Vec<_> = edits.iter().filter(|edit| !clears(edit)).collect();
    if left.len() == edits.len() {
        return None;
    }
    if left.is_empty() && top.members().len() == 1 {
        return Some((CONTEXT, None));
    }
    let mut list = Vec::new();
    let mut array = ArrayWriter::begin(&mut list);
    for edit in left {
        array.element().extend_from_slice(edit.get().as_bytes());
    }
    array.end();
    let mut splice = Splice::new(&top);
    splice.set("edits", list);
    Some((CONTEXT, Some(splice.apply(&Bytes::new()).to_vec())))
}

/// The `type` of an object.
fn kind(object: &[u8]) -> Option<String> {
    TopLevel::scan(object).ok()?.get("type")?.as_str().map(std::borrow::Cow::into_owned)
}
