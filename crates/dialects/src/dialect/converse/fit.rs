//! The changes to a body of Converse with the answers of other vendors' models in its history.

use super::{Converse, HOME, content};
use crate::{
    conversation::{Text, Unsupported, is_loop_without_reasoning},
    dialect::{
        Destination, Dialect, Edits, ModelFacts,
        adapt::Adapted,
        foreign_turns::{self, Blocks, Kept, is_foreign},
        prefill,
    },
    stream::{Member, Splice, TopLevel},
};

/// The field for what only one vendor's models have.
const MODEL_FIELDS: &str = "additionalModelRequestFields";
/// Those of its fields that only Claude has, and that are no setting of a conversation.
const CLAUDE_FIELDS: &[&str] = &["anthropic_beta", "tool_choice"];
/// The turn behind the beginning of an answer, for models that do not continue one.
const CONTINUE: &str = r#"{"role":"user","content":[{"text":"(continue)"}]}"#;
/// The blocks of a message. The roles of messages alternate, so none may be left out.
const BLOCKS: Blocks = Blocks { field: "content", emptied: Some(r#"[{"text":"(no answer)"}]"#) };

/// The fields that differ.
pub(super) fn edits(body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
    let messages = body.get("messages").map(|member| member.value).filter(|value| value.starts_with(b"["));
    let Some(messages) = messages else { return Edits::new() };
    let signs = to.model.contains("claude");
    // The Backend's model does not read the reasoning of the client's.
    let without = to.facts != ModelFacts::PLAIN && !to.facts.converse.reasoning;
    let mentions = |field: &[u8]| memchr::memmem::find(messages, field).is_some();
    let changes = signs && mentions(b"\"reasoningText\"")
        || without && mentions(b"\"reasoningContent\"")
        || foreign_turns::mentioned(messages, true);
    let own =
        changes.then(|| foreign_turns::own(messages, Some(BLOCKS), &|block| kept(block, signs, without))).flatten();
    let mut edits = Edits::new();
    if let Some(own) = &own {
        dropped.add_if(own.lost, "thinking");
        // Claude with a budget for thinking requires that a series of calls begins with it.
        if let Some(fields) = body.get(MODEL_FIELDS).and_then(|fields| without_fields(fields.value, &["thinking"]))
            && Converse.read_request(body).is_ok_and(|read| is_loop_without_reasoning(&read.messages, HOME))
        {
            dropped.add("reasoning");
            edits.push((MODEL_FIELDS, Some(fields)));
        }
    }
    let mut turns = own.map(|own| own.turns);
    if !to.facts.prefill && signs {
        let answered = prefill::answered(turns.as_deref().unwrap_or(messages), "toolUse", CONTINUE);
        dropped.add_if(answered.is_some(), "prefill");
        turns = answered.or(turns);
    }
    edits.extend(turns.map(|turns| ("messages", Some(turns))));
    edits
}

/// Changes what the model that replaces the client's refuses of the fields that a conversation does not have.
pub(super) fn fit_model(body: &TopLevel<'_>, to: &Destination<'_>, adapted: &mut Adapted) {
    if to.facts.converse.closed_schemas {
        return;
    }
    // Other makers' models answer fields of Claude with an error.
    let fields = adapted.value(body, MODEL_FIELDS).and_then(|fields| without_fields(fields, CLAUDE_FIELDS));
    let Some(left) = fields else { return };
    let had = body.get(MODEL_FIELDS).and_then(|fields| TopLevel::scan(fields.value).ok());
    for name in CLAUDE_FIELDS {
        adapted.dropped.add_if(had.as_ref().is_some_and(|fields| fields.contains(name)), name);
    }
    adapted.set(MODEL_FIELDS, (left != b"{}").then_some(left));
}

/// The object without these fields; `None` if it has none of them.
fn without_fields(object: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let top = TopLevel::scan(object).ok()?;
    let mut splice = Splice::new(&top);
    names.iter().filter(|name| top.contains(name)).for_each(|name| splice.remove(*name));
    (!splice.is_empty()).then(|| splice.apply(&bytes::Bytes::new()).to_vec())
}

/// What becomes of a block of a message. Claude refuses reasoning without a signature, as models have written it that
/// do not sign. `without`: no signed reasoning is taken.
fn kept(block: &TopLevel<'_>, signs: bool, without: bool) -> Kept {
    let Some(reasoning) = block.get("reasoningContent").and_then(|inner| TopLevel::scan(inner.value).ok()) else {
        return Kept::AsItIs;
    };
    let blob = reasoning.get("redactedContent").and_then(Member::as_str);
    let text = reasoning.get("reasoningText").and_then(|inner| TopLevel::scan(inner.value).ok());
    let signature = text.as_ref().and_then(|text| text.get("signature")?.as_str());
    let unsigned = signs && text.is_some() && signature.as_deref().unwrap_or_default().is_empty();
    // Other models read reasoning that is not signed.
    let signed = blob.is_some() || signature.as_deref().is_some_and(|signature| !signature.is_empty());
    let foreign = blob.is_some_and(|blob| content::redacted(Text::from(blob)).maker != HOME)
        || signature.is_some_and(|signature| is_foreign(&Text::from(signature), HOME));
    if foreign || unsigned || without && signed { Kept::No } else { Kept::AsItIs }
}
