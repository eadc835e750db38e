//! The changes to a body of Converse with the answers of other vendors' models in its history.

use super::{Converse, HOME, content};
use crate::{
    conversation::{Text, Unsupported, is_loop_without_reasoning},
    dialect::{
        Dialect, Edits,
        foreign_turns::{self, Kept, is_foreign},
    },
    stream::{Member, Splice, TopLevel},
};

/// The field for what only one vendor's models have.
const MODEL_FIELDS: &str = "additionalModelRequestFields";

/// The fields that differ.
pub(super) fn edits(body: &TopLevel<'_>, dropped: &mut Unsupported) -> Edits {
    let messages = body.get("messages").map(|member| member.value);
    let messages = messages.filter(|value| foreign_turns::mentioned(value, true));
    let Some(own) = messages.and_then(|messages| foreign_turns::own(messages, Some("content"), &kept)) else {
        return Edits::new();
    };
    dropped.add_if(own.lost, "thinking");
    let mut edits = vec![("messages", Some(own.turns))];
    // Claude with a budget for thinking requires that a series of calls begins with it.
    let without = body.get(MODEL_FIELDS).and_then(|fields| without_thinking(fields.value));
    if let Some(fields) = without
        && Converse.read_request(body).is_ok_and(|read| is_loop_without_reasoning(&read.messages, HOME))
    {
        dropped.add("reasoning");
        edits.push((MODEL_FIELDS, Some(fields)));
    }
    edits
}

fn without_thinking(fields: &[u8]) -> Option<Vec<u8>> {
    let top = TopLevel::scan(fields).ok().filter(|top| top.contains("thinking"))?;
    let mut splice = Splice::new(&top);
    splice.remove("thinking");
    Some(splice.apply(&bytes::Bytes::new()).to_vec())
}

/// What becomes of a block of a message.
fn kept(block: &TopLevel<'_>) -> Kept {
    let Some(reasoning) = block.get("reasoningContent").and_then(|inner| TopLevel::scan(inner.value).ok()) else {
        return Kept::AsItIs;
    };
    let blob = reasoning.get("redactedContent").and_then(Member::as_str);
    let text = reasoning.get("reasoningText").and_then(|inner| TopLevel::scan(inner.value).ok());
    let signature = text.as_ref().and_then(|text| text.get("signature")?.as_str());
    let foreign = blob.is_some_and(|blob| content::redacted(Text::from(blob)).maker != HOME)
        || signature.is_some_and(|signature| is_foreign(&Text::from(signature), HOME));
    if foreign { Kept::No } else { Kept::AsItIs }
}
