//! The changes to a body of Gemini with the answers of other vendors' models in its history.

use super::{signature, write_content::NO_SIGNATURE};
use crate::{
    conversation::{CarriedReasoning, SignatureOrigin, Text, Unsupported},
    dialect::{
        Destination, Edits, ModelFacts, Thinking,
        foreign_turns::{self, Blocks, Kept},
    },
    stream::{Member, Splice, TopLevel},
};

/// Both spellings of the field.
const FIELDS: [&str; 2] = ["thoughtSignature", "thought_signature"];

/// The fields that differ.
pub(super) fn edits(body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
    let contents = body.get("contents").map(|member| member.value);
    let Some(contents) = contents.filter(|value| foreign_turns::mentioned(value, true)) else { return Edits::new() };
    // The client has named the model itself, or the Backend has.
    let signs_calls = [to.facts, ModelFacts::of(to.model)].iter().any(|facts| facts.thinking == Thinking::Level);
    let own =
        foreign_turns::own(contents, Some(Blocks { field: "parts", emptied: None }), &|part| kept(part, signs_calls));
    dropped.add_if(own.as_ref().is_some_and(|own| own.lost), "thinking");
    own.map(|own| ("contents", Some(own.turns))).into_iter().collect()
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
    if signs_calls && (part.contains("functionCall") || part.contains("function_call")) {
        splice.set_str(name, NO_SIGNATURE);
    } else {
        splice.remove(name);
    }
    Kept::As(splice.apply(&bytes::Bytes::new()).to_vec())
}
