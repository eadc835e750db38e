//! Values that are set, and those that can't be.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{api::traffic_policy::AiPolicy, dialect::GeminiVerb, policy::RulePolicies};

fn spec(entries: &[(&str, &str, bool)]) -> TrafficPolicySpec {
    let defaults = entries.iter().map(|(field, value, overrides)| FieldDefault {
        field: (*field).into(),
        value: (*value).into(),
        overrides: *overrides,
    });
    let ai = AiPolicy { defaults: defaults.collect(), ..AiPolicy::default() };
    TrafficPolicySpec { ai: Some(ai), ..TrafficPolicySpec::default() }
}

fn edited(entries: &[(&str, &str, bool)], endpoint: &Endpoint, body: &Value) -> Value {
    let spec = spec(entries);
    assert_eq!(DefaultsField.invalid(&spec), Vec::<String>::new());
    let mut rule = RulePolicies::default();
    DefaultsField.build(&spec, &mut rule);
    let body = Bytes::from(body.to_string());
    let out = rule.policies.body.iter().fold(body, |body, policy| policy.edit(endpoint, &body).unwrap());
    serde_json::from_slice(&out).unwrap()
}

fn chat(entries: &[(&str, &str, bool)], body: &Value) -> Value {
    edited(entries, &Endpoint::ChatCompletions, body)
}

/// The values of kgateway's own golden test, and those that are easily mistaken.
#[test]
fn a_value_is_json_or_else_a_text() {
    for (written, value) in [
        ("0.95", json!(0.95)),
        ("2000", json!(2000)),
        ("[1,2,3]", json!([1, 2, 3])),
        ("some_string", json!("some_string")),
        ("007", json!("007")),
        ("1e5", json!(1e5)),
        ("true", json!(true)),
        ("null", json!(null)),
        ("\"0.5\"", json!("0.5")),
        ("0.5 ", json!(0.5)),
        ("a \"quote\"\n", json!("a \"quote\"\n")),
        ("{\"type\": \"json_object\"}", json!({"type": "json_object"})),
    ] {
        assert_eq!(chat(&[("x", written, false)], &json!({})), json!({"x": value}), "{written}");
    }
}

#[test]
fn a_default_is_for_missing_fields_and_an_override_for_all() {
    let own = json!({"temperature": 0, "top_p": null, "user": ""});
    let entries =
        |overrides| [("temperature", "0.5", overrides), ("top_p", "0.9", overrides), ("user", "u", overrides)];
    assert_eq!(chat(&entries(false), &own), own, "zero, null and an empty text are values");
    assert_eq!(chat(&entries(true), &own), json!({"temperature": 0.5, "top_p": 0.9, "user": "u"}));
    assert_eq!(chat(&entries(false), &json!({})), json!({"temperature": 0.5, "top_p": 0.9, "user": "u"}));
}

#[test]
fn the_last_override_counts_and_the_first_default() {
    let entries = [("x", "1", false), ("x", "2", true), ("x", "3", true), ("y", "1", false), ("y", "2", false)];
    assert_eq!(chat(&entries, &json!({"x": 0})), json!({"x": 3, "y": 1}));
    // A parent that overrides is first, whatever the list's order, and its child is then there.
    let entries = [("/a/b", "1", false), ("a", "{\"c\": 2}", true)];
    assert_eq!(chat(&entries, &json!({"a": {"b": 9}})), json!({"a": {"c": 2, "b": 1}}));
}

#[test]
fn pointers_reach_nested_fields_and_make_what_is_missing() {
    let gemini = Endpoint::Gemini(GeminiVerb::Generate, None);
    let limit = [("/generationConfig/maxOutputTokens", "100", false)];
    let set = |body: Value| edited(&limit, &gemini, &body);
    assert_eq!(set(json!({})), json!({"generationConfig": {"maxOutputTokens": 100}}));
    assert_eq!(set(json!({"generationConfig": null})), json!({"generationConfig": {"maxOutputTokens": 100}}));
    for name in ["generationConfig", "generation_config"] {
        let own = json!({name: {"temperature": 1}});
        assert_eq!(set(own), json!({name: {"maxOutputTokens": 100, "temperature": 1}}));
    }
    let own = json!({"generation_config": {"max_output_tokens": 5}});
    assert_eq!(set(own.clone()), own);
    // Elements of lists: those that are there, and one behind the last.
    let entries = [("/tools/0/strict", "true", true), ("/tools/7/strict", "true", true), ("/stop/-", "\"x\"", true)];
    let own = json!({"tools": [{"a": 1}, 2], "stop": ["y"]});
    assert_eq!(chat(&entries, &own), json!({"tools": [{"strict": true, "a": 1}, 2], "stop": ["y", "x"]}));
    assert_eq!(chat(&entries, &json!({})), json!({}), "there is no element to set");
    // RFC 6901's escapes, and a value that nothing can be inside of.
    assert_eq!(chat(&[("/a~1b/c~0d", "1", false)], &json!({})), json!({"a/b": {"c~d": 1}}));
    assert_eq!(chat(&[("/user/x", "1", true)], &json!({"user": "u"})), json!({"user": "u"}));
}

#[test]
fn what_a_model_does_not_answer_is_left_alone() {
    let entries = [("temperature", "1", true), ("system", "s", true)];
    for endpoint in [Endpoint::Embeddings, Endpoint::Moderations, Endpoint::CountResponseTokens] {
        assert_eq!(edited(&entries, &endpoint, &json!({"input": "q"})), json!({"input": "q"}), "{endpoint:?}");
    }
    // Instructions are counted.
    assert_eq!(edited(&entries, &Endpoint::CountMessageTokens, &json!({})), json!({"system": "s"}));
    assert_eq!(edited(&entries, &Endpoint::Completions, &json!({}))["temperature"], 1);
}

#[test]
fn a_clients_field_in_another_case_does_not_undo_an_override() {
    let own = json!({"Temperature": 2, "TEMPERATURE": 2});
    assert_eq!(chat(&[("temperature", "0", true)], &own), json!({"temperature": 0}));
}

#[test]
fn what_can_not_be_set_is_named() {
    for (field, value, why) in [
        ("stream", "true", "stream can't be set"),
        ("/stream_options/include_usage", "true", "stream_options can't be set"),
        ("contents", "[]", "contents can't be set"),
        ("model", "7", "the model is not a name"),
        ("model", "\" \"", "the model is not a name"),
        ("/model/x", "m", "the model is not a name"),
        ("x", "{\"a\": }", "field x contains invalid JSON string: {\"a\": }"),
        ("x", "[1", "field x contains invalid JSON string: [1"),
        ("/", "1", "the field has no name"),
        ("/a/~2", "1", "'/a/~2' is not a JSON pointer"),
        (&"/a".repeat(17), "1", "more than 16 steps"),
    ] {
        let problems = DefaultsField.invalid(&spec(&[("ok", "1", false), (field, value, true)]));
        assert!(
            matches!(&*problems, [one] if one.starts_with("ai.defaults[1]: ") && one.contains(why)),
            "{problems:?}"
        );
    }
}
