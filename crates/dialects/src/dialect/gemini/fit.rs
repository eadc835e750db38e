//! The changes to a body of Gemini with the answers of other vendors' models in its history.

use serde_json::value::RawValue;

use super::{signature, write_content::NO_SIGNATURE};
use crate::{
    conversation::{CarriedReasoning, SignatureOrigin, Text, Unsupported},
    dialect::{
        Destination, Edits, ModelFacts, Thinking,
        foreign_turns::{self, Blocks, Kept},
    },
    stream::{Member, Splice, TopLevel, json::ArrayWriter},
};

const SIGNATURE: &str = "thoughtSignature";
/// Both spellings of these fields.
const FIELDS: [&str; 2] = [SIGNATURE, "thought_signature"];
const FUNCTION_CALLS: [&str; 2] = ["functionCall", "function_call"];

/// The fields that differ.
pub(super) fn edits(body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
    // A client signs the calls of the model that it names itself, and may have got others from a model that does not.
    let unsigned = to.facts.thinking == Thinking::Level;
    let contents = body.get("contents").map(|member| member.value);
    let changes = |contents: &&[u8]| {
        let calls = || FUNCTION_CALLS.iter().any(|name| memchr::memmem::find(contents, name.as_bytes()).is_some());
        foreign_turns::mentioned(contents, true) || unsigned && calls()
    };
    let Some(contents) = contents.filter(changes) else { return Edits::new() };
    // The client has named the model itself, or the Backend has.
    let signs_calls = unsigned || ModelFacts::of(to.model).thinking == Thinking::Level;
    let blocks = Blocks { field: "parts", emptied: None };
    let own = foreign_turns::own(contents, Some(blocks), &|part| kept(part, signs_calls));
    dropped.add_if(own.as_ref().is_some_and(|own| own.lost), "thinking");
    let mut turns = own.map(|own| own.turns);
    if unsigned {
        turns = with_signatures(turns.as_deref().unwrap_or(contents)).or(turns);
    }
    turns.map(|turns| ("contents", Some(turns))).into_iter().collect()
}

/// The turns with a signature at the first call of each, where it has none: models refuse a call without one. `None` if
/// nothing changes.
fn with_signatures(contents: &[u8]) -> Option<Vec<u8>> {
    let turns: Vec<&RawValue> = serde_json::from_slice(contents).ok()?;
    let mut changed = false;
    let mut out = Vec::new();
    let mut list = ArrayWriter::begin(&mut out);
    for turn in turns {
        let signed = signed_turn(turn.get().as_bytes());
        changed |= signed.is_some();
        list.element().extend_from_slice(signed.as_deref().unwrap_or(turn.get().as_bytes()));
    }
    list.end();
    changed.then_some(out)
}

fn signed_turn(turn: &[u8]) -> Option<Vec<u8>> {
    let top = TopLevel::scan(turn).ok()?;
    let parts: Vec<&RawValue> = serde_json::from_slice(top.get("parts")?.value).ok()?;
    let tops = parts.iter().map(|part| TopLevel::scan(part.get().as_bytes()).ok());
    let calls = |part: &TopLevel<'_>| FUNCTION_CALLS.iter().any(|name| part.contains(name));
    let (place, call) = tops.enumerate().find_map(|(place, part)| Some((place, part.filter(calls)?)))?;
    if FIELDS.iter().any(|name| call.contains(name)) {
        return None;
    }
    let mut list = Vec::new();
    let mut written = ArrayWriter::begin(&mut list);
    for (index, part) in parts.iter().enumerate() {
        let mut splice = Splice::new(&call);
        splice.set_str(SIGNATURE, NO_SIGNATURE);
        let signed = (index == place).then(|| splice.apply(&bytes::Bytes::new()));
        written.element().extend_from_slice(signed.as_deref().unwrap_or(part.get().as_bytes()));
    }
    written.end();
    let mut splice = Splice::new(&top);
    splice.set("parts", list);
    Some(splice.apply(&bytes::Bytes::new()).to_vec())
}

/// What becomes of a part. Where calls must be signed, one of another model gets the signature for that.
fn kept(part: &TopLevel<'_>, signs_calls: bool) -> Kept {
    let signed = FIELDS.into_iter().find_map(|name| Some((name, part.get(name)?.as_str()?)));
    let Some((name, proof)) = signed else { return Kept::AsItIs };
    let carried = CarriedReasoning::is(&proof);
    let (signature, redacted) = signature::read(Text::from(proof));
    if signature.maker == SignatureOrigin::Google && !redacted && !carried {
        return Kept::AsItIs;
    }
    // A part without any other field is empty.
    if part.get("thought").and_then(Member::as_bool) == Some(true) || part.members().len() == 1 {
        return Kept::No;
    }
    let mut splice = Splice::new(part);
    if signs_calls && FUNCTION_CALLS.iter().any(|name| part.contains(name)) {
        splice.set_str(name, NO_SIGNATURE);
    } else {
        splice.remove(name);
    }
    Kept::As(splice.apply(&bytes::Bytes::new()).to_vec())
}
