//! `defaults`: values for fields of the bodies that providers get.

use serde_json::{Value, json};

use super::{CHAT, MESSAGES, sent, start};
use crate::common::Upstream;

fn spec(entries: &[(&str, &str, bool)]) -> Value {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(field, value, overrides)| json!({"field": field, "value": value, "override": overrides}))
        .collect();
    json!({"ai": {"defaults": entries}})
}

fn hello() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
}

#[test]
fn a_provider_gets_values_for_missing_fields_and_overrides() {
    // kgateway's guide has the first of these.
    let spec = spec(&[("max_tokens", "5", false), ("temperature", "0.5", true), ("top_p", "0.1", false)]);
    let mut body = hello();
    body["temperature"] = json!(2);
    body["top_p"] = json!(0);
    let sent = sent("openai", &json!({}), &spec, CHAT, &body);
    body["max_tokens"] = json!(5);
    body["temperature"] = json!(0.5);
    assert_eq!(sent, body);
}

#[test]
fn the_fields_are_those_of_the_targets_dialect() {
    let spec =
        spec(&[("system", "Be brief.", false), ("max_tokens", "7", true), ("metadata", r#"{"user_id": "u"}"#, false)]);
    let messages = sent("anthropic", &json!({"model": "claude-sonnet-4-5"}), &spec, CHAT, &hello());
    assert_eq!((&messages["system"], &messages["max_tokens"]), (&json!("Be brief."), &json!(7)));
    assert_eq!(messages["metadata"], json!({"user_id": "u"}));
    let pointers =
        self::spec(&[("/generationConfig/maxOutputTokens", "100", true), ("/generationConfig/topK", "3", false)]);
    let mut body = hello();
    body["max_tokens"] = json!(5);
    let gemini = sent("gemini", &json!({"model": "gemini-2.5-flash"}), &pointers, "/x/v1/messages", &body);
    assert_eq!(
        (&gemini["generationConfig"]["maxOutputTokens"], &gemini["generationConfig"]["topK"]),
        (&json!(100), &json!(3))
    );
}

#[test]
fn enrichment_adds_to_what_a_default_sets() {
    let mut both = spec(&[("system", "Default.", false)]);
    both["ai"]["promptEnrichment"] = json!({"prepend": [{"role": "system", "content": "Added."}]});
    let text = |text: &str| json!({"type": "text", "text": text});
    for path in [MESSAGES, CHAT] {
        let mut body = hello();
        body["max_tokens"] = json!(5);
        let sent = sent("anthropic", &json!({"model": "claude-sonnet-4-5"}), &both, path, &body);
        assert_eq!(sent["system"], json!([text("Added."), text("Default.")]), "{path}");
    }
}

#[test]
fn a_model_is_chosen_before_the_target_is() {
    let nameless = json!({"messages": [{"role": "user", "content": "hello"}]});
    for (overrides, body, model) in [
        (false, nameless.clone(), "default-model"),
        (false, hello(), "m"),
        (true, hello(), "default-model"),
        (true, nameless.clone(), "default-model"),
    ] {
        let upstream = Upstream::json("{}");
        let gateway = start("openai", &upstream, &json!({}), &spec(&[("model", "default-model", overrides)]));
        gateway.post(CHAT, body.to_string());
        assert_eq!(upstream.only().json()["model"], model, "{overrides} {body}");
        assert_eq!(gateway.access(CHAT)["request_model"], model);
    }
    // The Backend's own takes precedence.
    let sent = sent("openai", &json!({"model": "own"}), &spec(&[("model", "other", true)]), CHAT, &nameless);
    assert_eq!(sent["model"], "own");
}

#[test]
fn embeddings_keep_their_fields_and_a_value_for_the_stream_closes_the_route() {
    let body = json!({"model": "e", "input": "q"});
    let sent = sent("openai", &json!({}), &spec(&[("max_tokens", "5", true)]), "/x/v1/embeddings", &body);
    assert_eq!(sent, body);
    let upstream = Upstream::json("{}");
    let gateway = start("openai", &upstream, &json!({}), &spec(&[("stream", "true", true)]));
    assert_eq!((gateway.post(CHAT, hello().to_string()).status, upstream.received().len()), (500, 0));
}
