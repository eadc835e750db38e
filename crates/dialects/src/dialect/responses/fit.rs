//! The changes to a body of Responses that goes to another vendor's server, or to a model that replaces the client's.

use serde_json::value::RawValue;

use super::{FOREIGN_REASONING, HOME, REDACTED, SIGNS_CALL, hosted};
use crate::{
    conversation::{Text, Unsupported},
    dialect::{
        Destination, Edits, ModelFacts, Thinking,
        adapt::Adapted,
        foreign,
        foreign_turns::{self, Kept, is_foreign},
    },
    stream::{
        Member, Splice, TopLevel,
        json::{ArrayWriter, ObjectWriter},
    },
};

/// The part of a reply that only models that reason have.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// Whether the model is known not to reason: it refuses reasoning in the history, and to encrypt any.
fn never_reasons(to: &Destination<'_>) -> bool {
    to.facts != ModelFacts::PLAIN && to.facts.thinking == Thinking::Never
}

/// The fields that differ.
pub(super) fn edits(body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
    let without = never_reasons(to);
    let changes = |value: &&[u8]| {
        foreign_turns::mentioned(value, false) || without && memchr::memmem::find(value, b"\"reasoning\"").is_some()
    };
    let input = body.get("input").map(|member| member.value).filter(changes);
    let own = input.and_then(|input| foreign_turns::own(input, None, &|item| kept(item, without)));
    dropped.add_if(own.as_ref().is_some_and(|own| own.lost), "reasoning");
    own.map(|own| ("input", Some(own.turns))).into_iter().collect()
}

/// What becomes of an item. OpenAI looks up reasoning without encrypted content by its id. `without`: no reasoning is
/// taken.
fn kept(item: &TopLevel<'_>, without: bool) -> Kept {
    let text = |name: &str| item.get(name).and_then(Member::as_str).unwrap_or_default();
    let (id, kind, proof) = (text("id"), text("type"), text("encrypted_content"));
    let marked = [REDACTED, SIGNS_CALL].iter().any(|mark| proof.starts_with(mark));
    let unsigned = proof.is_empty() && id.starts_with(FOREIGN_REASONING);
    if kind == "reasoning" && (without || marked || unsigned || is_foreign(&Text::from(proof), HOME)) {
        return Kept::No;
    }
    if hosted::is(&kind) && hosted::is_foreign(&id) {
        let said = foreign::text(&kind, &String::from_utf8_lossy(item.body()), &["container_id"]);
        let mut out = Vec::new();
        ObjectWriter::begin(&mut out).with("role", "assistant").with("content", &said);
        return Kept::As(out);
    }
    Kept::AsItIs
}

/// Changes what the model that replaces the client's refuses of the fields that a conversation does not have.
pub(super) fn fit_model(body: &TopLevel<'_>, to: &Destination<'_>, adapted: &mut Adapted) {
    if never_reasons(to)
        && let Some(left) = body.get("include").and_then(|include| without_encrypted(include.value))
    {
        adapted.set("include", (left != b"[]").then_some(left));
    }
    let text = body.get("text").and_then(|text| TopLevel::scan(text.value).ok());
    if let Some(text) = text.filter(|text| !to.facts.verbosity && text.get("verbosity").is_some_and(is_unusual)) {
        adapted.dropped.add("verbosity");
        let mut splice = Splice::new(&text);
        splice.remove("verbosity");
        let left = (text.members().len() > 1).then(|| splice.apply(&bytes::Bytes::new()).to_vec());
        adapted.set("text", left);
    }
}

/// Whether a verbosity is another than the one that every model has.
pub(in crate::dialect) fn is_unusual(verbosity: &Member<'_>) -> bool {
    verbosity.as_str().is_some_and(|word| word != "medium")
}

/// `include` without encrypted reasoning; `None` if it has none.
fn without_encrypted(include: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&RawValue> = serde_json::from_slice(include).ok()?;
    let is_encrypted = |part: &&&RawValue| serde_json::from_str::<&str>(part.get()).is_ok_and(|part| part == ENCRYPTED);
    let left: Vec<_> = parts.iter().filter(|part| !is_encrypted(part)).collect();
    if left.len() == parts.len() {
        return None;
    }
    let mut out = Vec::new();
    let mut list = ArrayWriter::begin(&mut out);
    for part in left {
        list.element().extend_from_slice(part.get().as_bytes());
    }
    list.end();
    Some(out)
}
