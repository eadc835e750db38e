//! The changes to a body of Messages for servers and models that refuse a part of what Anthropic's own accepts.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{HOME, Messages, fit_model::without_clearing, hosted};
use crate::{
    conversation::{Text, Unsupported, is_loop_without_reasoning},
    dialect::{
        Destination, Dialect, Edits, foreign,
        foreign_turns::{self, Blocks, Kept, is_foreign},
        prefill,
    },
    stream::{
        Member, Splice, TopLevel,
        json::{ArrayWriter, ObjectWriter},
    },
};

/// Deepest content: a message, a result in it, a document in that, its source, and the blocks there.
const MAX_LEVELS: u8 = 6;
/// The turn behind the beginning of an answer, for models that do not continue one.
const CONTINUE: &str = r#"{"role":"user","content":"(continue)"}"#;
/// The blocks of a message. One of which nothing remains is left out: messages of one role are one turn.
const BLOCKS: Blocks = Blocks { field: "content", emptied: None };

/// The fields that differ.
pub(super) fn edits(body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
    let quirks = &to.quirks.messages;
    let mut edits = Edits::new();
    for field in quirks.unsupported.iter().filter(|field| body.contains(field)) {
        dropped.add(*field);
        edits.push((field, None));
    }
    // Most bodies have neither, and need not be read.
    let mentions = |text: &str| memchr::memmem::find(body.body(), text.as_bytes()).is_some();
    let fit = Fit {
        system_to_user: !to.facts.later_instructions && mentions("\"system\""),
        remove_scope: !quirks.cache_scope && mentions("\"scope\""),
    };
    if fit.remove_scope
        && let Some(control) = body.get("cache_control").and_then(|control| without_scope(control.value))
    {
        edits.push(("cache_control", Some(control.to_vec())));
    }
    for field in ["system", "tools", "messages"] {
        let value = body.get(field).map(|member| member.value).filter(|value| value.starts_with(b"["));
        let Some(value) = value else { continue };
        let is_history = field == "messages";
        let mut own = if is_history { own_turns(value, body, to, dropped, &mut edits) } else { None };
        if is_history && !to.facts.prefill {
            let answered = prefill::answered(own.as_deref().unwrap_or(value), "tool_use", CONTINUE);
            dropped.add_if(answered.is_some(), "prefill");
            own = answered.or(own);
        }
        if let Some(list) = fit.list(own.as_deref().unwrap_or(value), is_history, MAX_LEVELS).or(own) {
            edits.push((field, Some(list)));
        }
    }
    edits
}

/// The messages without the reasoning of other vendors' models, and with the calls that other vendors have run as text;
/// `None` if there is neither.
fn own_turns(
    messages: &[u8],
    body: &TopLevel<'_>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    edits: &mut Edits,
) -> Option<Vec<u8>> {
    // Other models behind this API do not sign, and read their own thinking without a signature.
    let signs = to.model.contains("claude");
    let has_foreign = foreign_turns::mentioned(messages, false) || signs && foreign_turns::has_unsigned(messages);
    if !has_foreign {
        return None;
    }
    let own = foreign_turns::own(messages, Some(BLOCKS), &|block| kept(block, signs))?;
    dropped.add_if(own.lost, "thinking");
    // A model with a budget for thinking requires that a series of calls begins with it.
    let budgeted = body.get("thinking").is_some_and(|thinking| mentions_budget(thinking.value));
    if budgeted && Messages.read_request(body).is_ok_and(|read| is_loop_without_reasoning(&read.messages, HOME)) {
        dropped.add("reasoning");
        edits.push(("thinking", None));
        if let Some((name, left)) = without_clearing(body) {
            dropped.add(name);
            edits.push((name, left));
        }
    }
    Some(own.turns)
}

fn mentions_budget(thinking: &[u8]) -> bool {
    let kind = TopLevel::scan(thinking).ok();
    kind.is_some_and(|top| top.get("type").and_then(Member::as_str).as_deref() == Some("enabled"))
}

/// What becomes of a block of a message. `signs` states that the model refuses thinking without a signature, which
/// comes from models that do not sign.
fn kept(block: &TopLevel<'_>, signs: bool) -> Kept {
    let text = |name: &str| block.get(name).and_then(Member::as_str).unwrap_or_default();
    let foreign = |name: &str| is_foreign(&Text::from(text(name)), HOME);
    let kind = text("type");
    match &*kind {
        "thinking" if foreign("signature") || signs && text("signature").is_empty() => Kept::No,
        "redacted_thinking" if foreign("data") => Kept::No,
        _ if text("id").starts_with(hosted::FOREIGN_ID) || text("tool_use_id").starts_with(hosted::FOREIGN_ID) => {
            let json = String::from_utf8_lossy(block.body());
            let mut out = Vec::new();
            let mut object = ObjectWriter::begin(&mut out).with("type", "text");
            object.field("text", &foreign::text(&kind, &json, &["cache_control", "tool_use_id"]));
            if let Some(control) = block.get("cache_control") {
                object.key("cache_control").extend_from_slice(control.value);
            }
            object.end();
            Kept::As(out)
        }
        // Citations have an index that only the vendor of the search can read.
        "text" if block.get("citations").is_some_and(|cited| foreign_turns::mentioned(cited.value, false)) => {
            let mut splice = Splice::new(block);
            splice.remove("citations");
            Kept::As(splice.apply(&Bytes::new()).to_vec())
        }
        _ => Kept::AsItIs,
    }
}

/// What has to change in lists of blocks.
#[derive(Clone, Copy)]
struct Fit {
    /// Whether messages of the system become the user's. They keep their place: in `system`, they would change the
    /// beginning of the prompt with every turn, and no cache would fit. Messages of one role that follow each other are
    /// one turn.
    system_to_user: bool,
    /// Whether `scope` is removed from `cache_control`. Without it the cache is the organisation's own.
    remove_scope: bool,
}

impl Fit {
    /// The list with its changes; `None` if there are none.
    fn list(self, value: &[u8], messages: bool, levels: u8) -> Option<Vec<u8>> {
        if !(self.system_to_user && messages || self.remove_scope) {
            return None;
        }
        let blocks: Vec<&RawValue> = serde_json::from_slice(value).ok()?;
        let mut out = Vec::new();
        let mut list = ArrayWriter::begin(&mut out);
        let mut changed = false;
        for block in blocks {
            let new = self.block(block.get().as_bytes(), messages, levels);
            changed |= new.is_some();
            list.element().extend_from_slice(new.as_deref().unwrap_or(block.get().as_bytes()));
        }
        list.end();
        changed.then_some(out)
    }

    /// A message or a block with its changes.
    fn block(self, block: &[u8], is_message: bool, levels: u8) -> Option<Bytes> {
        let levels = levels.checked_sub(1)?;
        let top = TopLevel::scan(block).ok()?;
        let mut splice = Splice::new(&top);
        if self.system_to_user && is_message && top.get("role").and_then(Member::as_str).as_deref() == Some("system") {
            splice.set_str("role", "user");
        }
        if self.remove_scope {
            if let Some(control) = top.get("cache_control").and_then(|control| without_scope(control.value)) {
                splice.set("cache_control", control.to_vec());
            }
            let content = top.get("content").map(|member| member.value).filter(|value| value.starts_with(b"["));
            if let Some(content) = content.and_then(|content| self.list(content, false, levels)) {
                splice.set("content", content);
            }
            // A document may have blocks of its own.
            let source = top.get("source").map(|member| member.value).filter(|value| value.starts_with(b"{"));
            if let Some(source) = source.and_then(|source| self.block(source, false, levels)) {
                splice.set("source", source.to_vec());
            }
        }
        (!splice.is_empty()).then(|| splice.apply(&Bytes::new()))
    }
}

/// A `cache_control` without its scope; `None` if it has none.
fn without_scope(control: &[u8]) -> Option<Bytes> {
    let top = TopLevel::scan(control).ok().filter(|top| top.contains("scope"))?;
    let mut splice = Splice::new(&top);
    splice.remove("scope");
    Some(splice.apply(&Bytes::new()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dialect::{
        ModelFacts,
        presets::ANTHROPIC,
        quirks::{MessagesQuirks, Quirks},
    };

    const STRICT: &Quirks = &Quirks {
        messages: MessagesQuirks { unsupported: &["mcp_servers"], cache_scope: false, ..ANTHROPIC.messages },
        ..Quirks::PLAIN
    };

    /// The body after its changes, and what was lost.
    fn fitted(body: &Value, quirks: &'static Quirks, facts: ModelFacts) -> (String, String) {
        let text = Bytes::from(body.to_string());
        let top = TopLevel::scan(&text).unwrap();
        let mut dropped = Unsupported::default();
        let mut splice = Splice::new(&top);
        for (name, value) in edits(&top, &Destination { model: "m", facts, quirks }, &mut dropped) {
            match value {
                Some(value) => splice.set(name, value),
                None => splice.remove(name),
            }
        }
        (String::from_utf8(splice.apply(&text).to_vec()).unwrap(), dropped.to_string())
    }

    #[test]
    fn instructions_between_turns_keep_their_place_and_become_the_users() {
        let with = |role: &str| {
            json!({"system": "s", "messages": [{"role": "user", "content": "q"},
                {"content": [{"type": "text", "text": "\"role\":\"system\""}], "role": role},
                {"role": "assistant", "content": "system"}]})
        };
        let old = ModelFacts { later_instructions: false, ..ModelFacts::PLAIN };
        assert_eq!(fitted(&with("system"), ANTHROPIC, old), (with("user").to_string(), String::new()));
        assert_eq!(fitted(&with("system"), ANTHROPIC, ModelFacts::PLAIN).0, with("system").to_string());
    }

    #[test]
    fn the_scope_of_a_cache_is_removed_wherever_a_cache_ends() {
        let with = |control: Value| {
            json!({"cache_control": control, "system": [{"type": "text", "text": "s", "cache_control": control}],
                "tools": [{"name": "t", "input_schema": {"properties": {"scope": {"type": "string"}}},
                    "cache_control": control}],
                "messages": [{"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "1", "cache_control": control,
                        "content": [{"type": "text", "text": "a", "cache_control": control},
                            {"type": "document", "source": {"type": "content", "content": [
                                {"type": "text", "text": "b", "cache_control": control}]}}]},
                    {"type": "tool_use", "input": {"scope": "global"}}]}, {"role": "user", "content": "q"}]})
        };
        let scoped = with(json!({"scope": "global", "ttl": "1h", "type": "ephemeral"}));
        let expected = with(json!({"ttl": "1h", "type": "ephemeral"}));
        assert_eq!(fitted(&scoped, STRICT, ModelFacts::PLAIN), (expected.to_string(), String::new()));
        assert_eq!(fitted(&scoped, ANTHROPIC, ModelFacts::PLAIN).0, scoped.to_string());
    }

    #[test]
    fn fields_that_the_server_does_not_have_are_removed_and_named() {
        let body = json!({"max_tokens": 5, "mcp_servers": [{"url": "https://x"}], "messages": 7});
        let (text, lost) = fitted(&body, STRICT, ModelFacts::PLAIN);
        assert_eq!((text, lost.as_str()), (json!({"max_tokens": 5, "messages": 7}).to_string(), "mcp_servers"));
    }
}
