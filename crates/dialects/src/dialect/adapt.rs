//! Adapts a request to another model, in the client's own dialect.
//!
//! A Backend may replace the model that the client asks for. The fields that not every model takes are then written as
//! those of a translated request are. All others stay as the client wrote them.

use bytes::Bytes;
use serde_json::Value;

use super::{Destination, DialectId, ModelFacts, quirks::unforced};
use crate::{
    conversation::{Request, Unsupported},
    stream::{Member, Splice, TopLevel},
};

/// A top-level field whose value depends on the model, and which of its own fields do; all of it if there are none.
pub type ModelField = (&'static str, &'static [&'static str]);

/// The settings that a model may refuse: their names in reports, and what is in the names of their fields.
const SETTINGS: [(&str, &[&str]); 9] = [
    ("frequency_penalty", &["frequencypenalty"]),
    ("logprobs", &["logprobs"]),
    ("max_tokens", &["max"]),
    ("presence_penalty", &["presencepenalty"]),
    ("reasoning", &["reasoning", "thinking", "effort"]),
    ("temperature", &["temperature"]),
    ("tool_choice", &["toolchoice", "functioncallingconfig"]),
    // Nova has it in an `inferenceConfig` of its own.
    ("top_k", &["topk", "inferenceconfig"]),
    ("top_p", &["topp"]),
];
/// The form of an answer, which a translation would bring about in another way where the model does not take it. Here
/// it is lost.
const FORMAT: (&str, &str) = ("response_format", "format");

/// The changes to a body.
#[derive(Debug, Default)]
pub struct Adapted {
    /// Top-level fields with their new values as JSON text, or `None` to remove them.
    pub edits: Vec<(String, Option<Bytes>)>,
    /// The settings that are left out or changed.
    pub dropped: Unsupported,
}

impl Adapted {
    /// The value that the field `name` of `body` has after the changes so far.
    pub(super) fn value<'v>(&'v self, body: &'v TopLevel<'_>, name: &str) -> Option<&'v [u8]> {
        match self.edits.iter().rev().find(|(edited, _)| edited == name) {
            Some((_, value)) => value.as_deref(),
            None => body.get(name).map(|member| member.value),
        }
    }

    /// Replaces or removes a field.
    pub(super) fn set(&mut self, name: &str, value: Option<Vec<u8>>) {
        self.edits.retain(|(edited, _)| edited != name);
        self.edits.push((name.to_owned(), value.map(Bytes::from)));
    }
}

/// The changes that `body` needs for the model of `to`, if the client wrote it for a model with the facts `asked`.
/// None for a body that can't be read: the provider will say what is wrong with it.
pub fn adapt(dialect: DialectId, body: &TopLevel<'_>, asked: ModelFacts, to: &Destination<'_>) -> Adapted {
    let mut adapted = Adapted::default();
    let dialect = dialect.dialect();
    let Ok(request) = dialect.read_request(body) else { return adapted };
    let write = |request: &Request<'_>, facts| {
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        let destination = Destination { facts, ..*to };
        let request = destination.fit(request, &mut dropped);
        dialect.write_conversation(&request, &destination, &mut dropped, &mut out).ok().map(|()| (out, dropped))
    };
    let Some((after, dropped)) = write(&request, to.facts) else { return adapted };
    // The difference to it is what the model changes. The rest is only another spelling.
    let written = (asked != to.facts).then(|| write(&request, asked).map(|(before, _)| before).unwrap_or_default());
    let before = TopLevel::scan(written.as_ref().unwrap_or(&after)).ok();
    let Ok(after) = TopLevel::scan(&after) else { return adapted };
    let mut changed: Vec<String> = Vec::new();
    // A choice that the model takes stays as the client spells it.
    let refused =
        !to.facts.forced_tools && request.tool_choice.as_ref().is_some_and(|choice| unforced(choice).is_some());
    let choice = refused.then(|| dialect.choice_field());
    for (name, inner) in dialect.model_fields().iter().copied().chain(choice) {
        let values = Values {
            old: field(Some(body), name),
            before: field(before.as_ref(), name).map(|member| member.value),
            after: field(Some(&after), name).map(|member| member.value),
        };
        let edit = if inner.is_empty() { values.change() } else { values.change_inside(inner, &mut changed) };
        if inner.is_empty() && !matches!(edit, Change::None) {
            changed.push(letters(name).collect());
        }
        match edit {
            Change::None => {}
            Change::Set(value) => adapted.edits.push((values.name(name), Some(value))),
            Change::Remove => adapted.edits.push((values.name(name), None)),
        }
    }
    for (setting, words) in SETTINGS {
        let is_changed = changed.iter().any(|name| words.iter().any(|word| name.contains(word)));
        adapted.dropped.add_if(is_changed && dropped.names().iter().any(|name| name == setting), setting);
    }
    let (setting, word) = FORMAT;
    adapted.dropped.add_if(!to.facts.structured && changed.iter().any(|name| name.ends_with(word)), setting);
    dialect.fit_model(body, &after, to, &mut adapted);
    adapted
}

/// Whether `body` has any field that depends on the model, a limit of tokens aside, which nearly every body has.
pub fn has_settings(dialect: DialectId, body: &TopLevel<'_>) -> bool {
    let mut fields = dialect.dialect().model_fields().iter().filter(|(name, _)| !name.contains("max"));
    fields.any(|(name, _)| field(Some(body), name).is_some())
}

/// A name without underscores and capitals.
fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase())
}

/// The last field of this name. Gemini's server accepts names with underscores, too.
fn field<'b, 'a>(top: Option<&'b TopLevel<'a>>, name: &str) -> Option<&'b Member<'a>> {
    top?.members().iter().rev().find(|member| letters(&member.name()).eq(letters(name)))
}

/// What becomes of a field.
enum Change {
    None,
    Set(Bytes),
    Remove,
}

/// A field as the client wrote it, and as it is written for the client's model and for the provider's.
struct Values<'b, 'a> {
    old: Option<&'b Member<'a>>,
    before: Option<&'b [u8]>,
    after: Option<&'b [u8]>,
}

impl Values<'_, '_> {
    /// The field's name as the client spells it.
    fn name(&self, name: &str) -> String {
        self.old.map_or_else(|| name.to_owned(), |member| member.name().into_owned())
    }

    fn change(&self) -> Change {
        let old = self.old.filter(|member| !member.is_null()).map(|member| member.value);
        match (old, self.after) {
            (None, None) => Change::None,
            (Some(_), None) => Change::Remove,
            (Some(old), Some(after)) if same(old, after) || self.before.is_some_and(|before| same(before, after)) => {
                Change::None
            }
            (_, Some(after)) => Change::Set(Bytes::copy_from_slice(after)),
        }
    }

    /// The same for an object of which only the fields `inner` depend on the model. Those that change are added to
    /// `changed`.
    fn change_inside(&self, inner: &[&str], changed: &mut Vec<String>) -> Change {
        let object = |value: Option<&[u8]>| {
            let value = value.filter(|value| value.starts_with(b"{")).unwrap_or(b"{}");
            Bytes::copy_from_slice(value)
        };
        let (old, before) = (object(self.old.map(|member| member.value)), object(self.before));
        let after = object(self.after);
        let (Ok(top), Ok(before), Ok(after)) = (TopLevel::scan(&old), TopLevel::scan(&before), TopLevel::scan(&after))
        else {
            return Change::None;
        };
        let mut splice = Splice::new(&top);
        for name in inner {
            let values = Values {
                old: field(Some(&top), name),
                before: field(Some(&before), name).map(|member| member.value),
                after: field(Some(&after), name).map(|member| member.value),
            };
            let change = values.change();
            if !matches!(change, Change::None) {
                changed.push(letters(name).collect());
            }
            match change {
                Change::None => {}
                Change::Set(value) => splice.set(values.name(name), value.to_vec()),
                Change::Remove => splice.remove(values.name(name)),
            }
        }
        if splice.is_empty() {
            return Change::None;
        }
        let new = splice.apply(&old);
        let left = TopLevel::scan(&new).is_ok_and(|new| !new.members().is_empty());
        if left { Change::Set(new) } else { Change::Remove }
    }
}

/// Whether two JSON texts have the same value.
fn same(one: &[u8], other: &[u8]) -> bool {
    let value = |text| serde_json::from_slice::<Value>(text).ok();
    match (value(one), value(other)) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one.as_f64() == other.as_f64(),
        (one, other) => one.is_some() && one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::presets::{AI_STUDIO, ANTHROPIC, BEDROCK, OPENAI};

    /// The body after its changes, and the names of what is lost.
    fn adapted(dialect: DialectId, body: &Value, asked: &str, model: &str) -> (Value, String) {
        let quirks = match dialect {
            DialectId::Messages => ANTHROPIC,
            DialectId::Chat | DialectId::Responses => OPENAI,
            DialectId::Gemini => AI_STUDIO,
            DialectId::Converse => BEDROCK,
        };
        let text = Bytes::from(body.to_string());
        let top = TopLevel::scan(&text).unwrap();
        let to = Destination { model, facts: ModelFacts::of(model), quirks };
        let adapted = adapt(dialect, &top, ModelFacts::of(asked), &to);
        let mut splice = Splice::new(&top);
        for (name, value) in adapted.edits {
            match value {
                Some(value) => splice.set(name, value.to_vec()),
                None => splice.remove(name),
            }
        }
        (serde_json::from_slice(&splice.apply(&text)).unwrap(), adapted.dropped.to_string())
    }

    /// `body` with `changes`, of which `null` removes a field.
    fn with(body: &Value, changes: &Value) -> Value {
        let mut body = body.clone();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
                value => body[name] = value.clone(),
            }
        }
        body
    }

    #[test]
    fn claude_code_reaches_a_model_with_budgets_and_one_with_efforts() {
        let asked = json!({"model": "claude-opus-4-8", "max_tokens": 32000, "stream": true,
            "thinking": {"type": "adaptive"}, "output_config": {"effort": "high", "later": 1},
            "context_management": {"edits": []}, "metadata": {"user_id": "u"},
            "messages": [{"role": "user", "content": [{"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}]}]});
        let (body, lost) = adapted(DialectId::Messages, &asked, "claude-opus-4-8", "claude-sonnet-4-5");
        let thinking = body["thinking"].clone();
        assert_eq!(thinking["type"], "enabled");
        assert!(thinking["budget_tokens"].as_u64().is_some_and(|tokens| (1024..32000).contains(&tokens)));
        let expected = with(&asked, &json!({"thinking": thinking, "output_config": {"later": 1}}));
        assert_eq!((body, lost.as_str()), (expected, ""));

        let asked =
            with(&asked, &json!({"thinking": {"type": "enabled", "budget_tokens": 8000}, "output_config": null}));
        let (body, lost) = adapted(DialectId::Messages, &asked, "claude-sonnet-4-5", "claude-opus-4-8");
        assert_eq!(body["thinking"]["type"], "adaptive");
        assert!(body["thinking"].get("budget_tokens").is_none() && lost.is_empty(), "{body} {lost}");
        assert_eq!(
            (&body["messages"], &body["context_management"]),
            (&asked["messages"], &asked["context_management"])
        );
    }

    #[test]
    fn a_model_without_a_setting_does_not_get_it() {
        let chat = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "q"}], "temperature": 0.5,
            "max_tokens": 100, "top_p": 0.5, "logit_bias": {"1": 2}});
        let (body, lost) = adapted(DialectId::Chat, &chat, "gpt-4o-mini", "gpt-5.5");
        let changes = json!({"temperature": null, "top_p": null, "max_tokens": null, "max_completion_tokens": 100});
        assert_eq!((body, lost.as_str()), (with(&chat, &changes), "temperature, top_p"));

        let responses = json!({"model": "gpt-5.5", "input": "q", "reasoning": {"effort": "high", "summary": "auto"},
            "max_output_tokens": 100, "store": false, "prompt_cache_key": "k"});
        let (body, lost) = adapted(DialectId::Responses, &responses, "gpt-5.5", "gpt-4o");
        assert_eq!((body, lost.as_str()), (with(&responses, &json!({"reasoning": null})), "reasoning"));

        let limit =
            json!({"model": "claude-opus-4-8", "max_tokens": 100_000, "messages": [{"role": "user", "content": "q"}]});
        let (body, lost) = adapted(DialectId::Messages, &limit, "claude-opus-4-8", "claude-sonnet-4-5");
        assert_eq!((body, lost.as_str()), (with(&limit, &json!({"max_tokens": 64000})), "max_tokens"));
    }

    #[test]
    fn geminis_levels_become_budgets_in_the_clients_spelling() {
        for (config, thinking) in [("generationConfig", "thinkingConfig"), ("generation_config", "thinking_config")] {
            let asked = json!({"contents": [{"role": "user", "parts": [{"text": "q"}]}],
                config: {thinking: {"thinkingLevel": "HIGH", "includeThoughts": true}, "mediaResolution": "LOW"}});
            let (body, lost) = adapted(DialectId::Gemini, &asked, "gemini-3-pro-preview", "gemini-2.5-pro");
            let new = &body[config][thinking];
            assert!(new["thinkingBudget"].as_i64().is_some_and(|tokens| tokens >= 1024), "{body}");
            assert!(new.get("thinkingLevel").is_none() && new["includeThoughts"] == true, "{body}");
            let expected = with(&asked, &json!({config: {thinking: new, "mediaResolution": "LOW"}}));
            assert_eq!((&body, lost.as_str()), (&expected, ""));
        }
    }

    #[test]
    fn what_both_models_take_stays_as_it_was_written() {
        let asked = json!({"model": "a", "max_tokens": 9, "temperature": 0.70, "thinking": {"type": "adaptive",
            "display": "summarized"}, "messages": [{"role": "user", "content": "q"}], "unknown": {"a": [1]}});
        let text = Bytes::from(asked.to_string());
        let top = TopLevel::scan(&text).unwrap();
        let facts = ModelFacts::of("claude-opus-4-8");
        let to = Destination { model: "b", facts, quirks: ANTHROPIC };
        let of_one = adapt(DialectId::Messages, &top, facts, &to);
        assert!(of_one.edits.iter().all(|(name, _)| name == "temperature"), "{of_one:?}");
        let broken = Bytes::from_static(br#"{"model":"a","messages":7}"#);
        let top = TopLevel::scan(&broken).unwrap();
        assert!(adapt(DialectId::Messages, &top, ModelFacts::PLAIN, &to).edits.is_empty());
    }
}
