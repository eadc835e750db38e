//! The changes to a body of Converse with the answers of other vendors' models in its history.

use super::{Converse, HOME, content};
use crate::{
    conversation::{Text, Unsupported, is_loop_without_reasoning},
    dialect::{
        Destination, Dialect, Edits,
        foreign_turns::{self, Blocks, Kept, is_foreign},
    },
    stream::{Member, Splice, TopLevel},
};

/// The field for what only one vendor's models have.
const MODEL_FIELDS: &str = "additionalModelRequestFields";
/// The blocks of a message. The roles of messages alternate, so none may be left out.
const BLOCKS: Blocks = Blocks { field: "content", emptied: Some(r#"[{"text":"(no answer)"}]"#) };

/// The fields that differ.
pub(super) fn edits(body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
    let messages = body.get("messages").map(|member| member.value);
    let is_claude = to.model.contains("claude");
    let mentions = |value: &&[u8]| {
        let reasons = is_claude && memchr::memmem::find(value, b"\"reasoningText\"").is_some();
        reasons || foreign_turns::mentioned(value, true)
    };
    let messages = messages.filter(mentions);
    let own = messages.and_then(|messages| foreign_turns::own(messages, Some(BLOCKS), &|block| kept(block, is_claude)));
    let Some(own) = own else {
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

/// What becomes of a block of a message. Claude refuses reasoning without a signature, as models have written it that
/// do not sign.
fn kept(block: &TopLevel<'_>, signs: bool) -> Kept {
    let Some(reasoning) = block.get("reasoningContent").and_then(|inner| TopLevel::scan(inner.value).ok()) else {
        return Kept::AsItIs;
    };
    let blob = reasoning.get("redactedContent").and_then(Member::as_str);
    let text = reasoning.get("reasoningText").and_then(|inner| TopLevel::scan(inner.value).ok());
    let signature = text.as_ref().and_then(|text| text.get("signature")?.as_str());
    let unsigned = signs && text.is_some() && signature.as_deref().unwrap_or_default().is_empty();
    let foreign = blob.is_some_and(|blob| content::redacted(Text::from(blob)).maker != HOME)
        || signature.is_some_and(|signature| is_foreign(&Text::from(signature), HOME));
    if foreign || unsigned { Kept::No } else { Kept::AsItIs }
}
