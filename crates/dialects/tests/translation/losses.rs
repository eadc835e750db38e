//! What is reported: losses and hints apart, tools by their names, and nothing that is carried.

use serde_json::{Value, json};
use tollgate_dialects::{
    conversation::Unsupported,
    dialect::{DialectId, ModelFacts},
};

use super::order::send;
use crate::exercise::{
    DESTINATIONS, To,
    presets::{AI_STUDIO, ANTHROPIC, AZURE, BEDROCK, COMPATIBLE, DEEPSEEK, MISTRAL, OPENAI, OPENROUTER, VERTEX},
};

const CLAUDE: To = (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5");
const VLLM: To = (DialectId::Chat, COMPATIBLE, "llama-3.3-70b");

#[test]
fn hints_are_told_from_losses() {
    let mut dropped = Unsupported::default();
    for name in ["cache_control", "seed", "metadata", "logit_bias", "verbosity", "reply.usage.reasoning"] {
        dropped.add(name);
    }
    let expected = "seed, logit_bias, cache_control;hint, metadata;hint, verbosity;hint, reply.usage.reasoning;hint";
    assert_eq!(dropped.to_string(), expected);
    assert_eq!(dropped.losses().to_string(), "seed, logit_bias");
    // What was changed without a change of meaning is a hint, unless something of the same name is lost.
    let mut changed = Unsupported::default();
    changed.add_hint("max_tokens");
    assert!(changed.losses().is_empty() && !changed.is_empty());
    changed.add("max_tokens");
    changed.add_hint("max_tokens");
    assert_eq!(changed.to_string(), "max_tokens");
    let mut both = Unsupported::default();
    both.add_hint("arguments");
    both.extend(&changed);
    assert_eq!(both.to_string(), "max_tokens, arguments;hint");
    // Names beyond the bound count as losses.
    let mut many = Unsupported::default();
    (0..40).for_each(|n| many.add_hint(format!("hint{n}")));
    assert_eq!(many.losses().to_string(), ", and 8 more");
}

#[test]
fn requests_with_hints_alone_lose_nothing() {
    let system = json!([{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]);
    let messages = json!({"model": "m", "max_tokens": 99, "system": system, "metadata": {"user_id": "u"},
        "service_tier": "standard_only", "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [
            {"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": true}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}]});
    let chat = json!({"model": "m", "metadata": {"a": "b"}, "store": true, "user": "u", "prompt_cache_key": "k",
        "prediction": {"type": "content", "content": "x"}, "verbosity": "low", "service_tier": "flex",
        "messages": [{"role": "user", "content": "hi"}]});
    let responses = json!({"model": "m", "input": "hi", "metadata": {"a": "b"}, "text": {"verbosity": "high"},
        "prompt_cache_key": "k", "truncation": "auto", "safety_identifier": "u",
        // As Codex 0.171 sends it.
        "client_metadata": {"x-codex-installation-id": "i", "session_id": "s"}});
    for (from, request) in [(DialectId::Messages, messages), (DialectId::Chat, chat), (DialectId::Responses, responses)]
    {
        for to in DESTINATIONS.into_iter().filter(|to| to.0 != from) {
            let (_, dropped) = send(from, &request, to);
            let losses: Vec<&str> = dropped.split(", ").filter(|name| !name.ends_with(";hint")).collect();
            assert!(losses.is_empty() || losses == [""], "{from:?} to {to:?}: {dropped}");
        }
    }
}

#[test]
fn tools_are_named_and_not_their_kinds() {
    for (from, request, names) in [
        (
            DialectId::Messages,
            json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], "tools": [
                {"type": "web_search_20250305", "name": "web_search"},
                {"type": "code_execution_20250825", "name": "code"}]}),
            "web_search, code",
        ),
        (
            DialectId::Responses,
            json!({"model": "m", "input": "hi", "tools": [
                {"type": "mcp", "server_label": "deepwiki", "server_url": "u"},
                {"type": "web_search"}]}),
            "deepwiki, web_search",
        ),
        (
            DialectId::Chat,
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
                {"type": "mcp", "server_label": "deepwiki"}, {"type": "browser"}]}),
            "web_search, deepwiki, browser",
        ),
        (
            DialectId::Converse,
            json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}],
                "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
            "nova_grounding",
        ),
    ] {
        let to = if from == DialectId::Chat { CLAUDE } else { VLLM };
        assert_eq!(send(from, &request, to).1, names, "{from:?}");
    }
}

#[test]
fn what_is_carried_or_says_nothing_is_not_named() {
    let vertex = (DialectId::Gemini, VERTEX, "gemini-2.5-flash");
    let pdf = "data:application/pdf;base64,aGk=";
    let (body, dropped) = send(
        DialectId::Chat,
        &json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}}, {"type": "text", "text": "x"}]}]}),
        vertex,
    );
    assert_eq!(body["contents"][0]["parts"][0]["inlineData"]["displayName"], "a.pdf");
    assert_eq!(dropped, "");
    let (_, dropped) = send(
        DialectId::Responses,
        &json!({"model": "m", "input": [{"role": "user", "content": [
            {"type": "input_file", "filename": "a.pdf", "file_data": pdf}]}]}),
        vertex,
    );
    assert_eq!(dropped, "");
    let (_, dropped) = send(
        DialectId::Messages,
        &json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": [{"type": "document",
            "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}}]}]}),
        vertex,
    );
    assert_eq!(dropped, "");
    for empty in [json!({}), json!([]), json!(null), json!(false), json!("")] {
        for (from, mut request) in [
            (
                DialectId::Chat,
                json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "logit_bias": empty}),
            ),
            (DialectId::Responses, json!({"model": "m", "input": "x"})),
            (
                DialectId::Messages,
                json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]}),
            ),
            (DialectId::Gemini, json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]})),
            (DialectId::Converse, json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]})),
        ] {
            request["zz"] = empty.clone();
            for to in DESTINATIONS {
                assert_eq!(send(from, &request, to).1, "", "{from:?} to {to:?}: {empty}");
            }
        }
    }
}

#[test]
fn limits_of_output_tokens_are_those_of_the_model() {
    for (to, asked, sent) in [
        ((DialectId::Chat, OPENAI, "gpt-4o"), 32_000, 16_384),
        ((DialectId::Chat, AZURE, "gpt-4.1"), 100_000, 32_768),
        ((DialectId::Chat, DEEPSEEK, "deepseek-chat"), 100_000, 8192),
        ((DialectId::Responses, OPENAI, "gpt-4.1"), 100_000, 32_768),
        ((DialectId::Converse, BEDROCK, "us.amazon.nova-pro-v1:0"), 100_000, 10_000),
        ((DialectId::Gemini, AI_STUDIO, "gemini-2.0-flash"), 100_000, 8192),
        ((DialectId::Messages, ANTHROPIC, "claude-opus-4-7"), 300_000, 128_000),
        ((DialectId::Chat, OPENAI, "gpt-4o"), 16_384, 16_384),
        (VLLM, 300_000, 300_000),
    ] {
        let request = match to.0 {
            DialectId::Chat => (
                DialectId::Messages,
                json!({"model": "m", "max_tokens": asked,
                "messages": [{"role": "user", "content": "hi"}]}),
            ),
            _ => (
                DialectId::Chat,
                json!({"model": "m", "max_completion_tokens": asked,
                "messages": [{"role": "user", "content": "hi"}]}),
            ),
        };
        let (body, dropped) = send(request.0, &request.1, to);
        let fields = [
            "/max_completion_tokens",
            "/max_tokens",
            "/max_output_tokens",
            "/inferenceConfig/maxTokens",
            "/generationConfig/maxOutputTokens",
        ];
        let found = fields.iter().find_map(|field| body.pointer(field)).and_then(Value::as_u64);
        assert_eq!(found, Some(sent), "{to:?}: {body}");
        assert_eq!(dropped, if asked == sent { "" } else { "max_tokens;hint" }, "{to:?}");
        assert!(ModelFacts::of(to.2).max_output >= sent);
    }
}

#[test]
fn schemas_of_objects_list_their_properties() {
    let bare = json!({"type": "object"});
    let messages = json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "help", "description": "d", "input_schema": bare}]});
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "tools": [{"functionDeclarations": [{"name": "help", "parametersJsonSchema": bare}]}]});
    let converse = |schema: Value| {
        json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "help", "inputSchema": {"json": schema}}}]}})
    };
    let requests = [
        (DialectId::Messages, messages),
        (DialectId::Gemini, gemini),
        (DialectId::Converse, converse(bare.clone())),
        (DialectId::Converse, converse(json!({}))),
        (DialectId::Converse, converse(json!({"type": "object", "additionalProperties": false}))),
    ];
    for (from, request) in &requests {
        for to in [
            (DialectId::Chat, OPENAI, "gpt-4.1"),
            (DialectId::Chat, AZURE, "gpt-4.1"),
            (DialectId::Responses, OPENAI, "gpt-5.6-terra"),
            (DialectId::Chat, MISTRAL, "mistral-large-latest"),
            VLLM,
        ] {
            let (body, dropped) = send(*from, request, to);
            let pointer = if to.0 == DialectId::Chat { "/tools/0/function/parameters" } else { "/tools/0/parameters" };
            let schema = body.pointer(pointer).unwrap();
            assert_eq!((&schema["type"], &schema["properties"]), (&json!("object"), &json!({})), "{to:?}: {body}");
            assert_eq!(dropped, "", "{from:?} to {to:?}");
        }
    }
}

#[test]
fn ids_of_users_are_not_longer_than_servers_take() {
    let long = format!("{{\"device_id\":\"{}\",\"session_id\":\"{}\"}}", "0".repeat(64), "1".repeat(300));
    let other = long.replace("\"}", "2\"}");
    let sent = |to: To, user: &str| {
        let (body, dropped) = if to.0 == DialectId::Messages {
            send(DialectId::Responses, &json!({"model": "m", "input": "hi", "safety_identifier": user}), to)
        } else {
            let request = json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}],
                "metadata": {"user_id": user}});
            send(DialectId::Messages, &request, to)
        };
        let places = ["/user", "/safety_identifier", "/metadata/user_id", "/requestMetadata/user"];
        let found = places.iter().find_map(|place| body.pointer(place)).and_then(Value::as_str).map(str::to_owned);
        (found.unwrap_or_default(), dropped)
    };
    for (to, limit) in [
        (VLLM, 128),
        ((DialectId::Chat, OPENROUTER, "openai/gpt-4.1"), 128),
        ((DialectId::Chat, OPENAI, "gpt-4.1"), 128),
        ((DialectId::Chat, AZURE, "gpt-4.1"), 128),
        ((DialectId::Responses, OPENAI, "gpt-5.6-terra"), 64),
        (CLAUDE, 256),
    ] {
        let (id, dropped) = sent(to, &long);
        assert!(!id.is_empty() && id.chars().count() <= limit, "{to:?}: {id}");
        assert_eq!((&id, dropped.as_str()), (&sent(to, &long).0, ""), "{to:?}: the same every time");
        assert_ne!(id, sent(to, &other).0, "{to:?}: other users stay others");
        // What fits is not changed.
        assert_eq!(sent(to, "user-1").0, "user-1", "{to:?}");
    }
    let (id, dropped) = sent(VLLM, &"é".repeat(128));
    assert_eq!((id, dropped.as_str()), ("é".repeat(128), ""));
    // What Bedrock's pattern forbids is left out by name, but for the length.
    let bedrock = (DialectId::Converse, BEDROCK, "us.amazon.nova-pro-v1:0");
    let (id, dropped) = sent(bedrock, &"u".repeat(300));
    assert!(id.len() == 256 && dropped.is_empty(), "{id} {dropped}");
}

#[test]
fn clients_that_show_reasoning_get_a_summary() {
    let user = json!([{"role": "user", "content": "hi"}]);
    let turns = json!([{"role": "user", "content": [{"text": "hi"}]}]);
    let converse =
        |fields: Value| (DialectId::Converse, json!({"messages": turns, "additionalModelRequestFields": fields}));
    let chat = |name: &str, value: Value| (DialectId::Chat, json!({"model": "m", "messages": user, name: value}));
    let messages = |thinking: Value| {
        (DialectId::Messages, json!({"model": "m", "max_tokens": 4000, "messages": user, "thinking": thinking}))
    };
    let enabled = json!({"type": "enabled", "budget_tokens": 2000});
    let omitted = json!({"type": "adaptive", "display": "omitted"});
    let cases = [
        (converse(json!({"thinking": enabled})), true),
        (converse(json!({"reasoning_config": enabled})), true),
        (converse(json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}})), true),
        (converse(json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}})), true),
        (converse(json!({"reasoning_effort": "low"})), true),
        (converse(json!({"thinking": omitted})), false),
        (converse(json!({"thinking": {"type": "disabled"}})), false),
        (messages(enabled.clone()), true),
        (messages(omitted.clone()), false),
        (chat("thinking", enabled.clone()), true),
        (chat("thinking", omitted), false),
        (chat("reasoning", json!({"effort": "low"})), true),
        (chat("reasoning", json!({"effort": "low", "exclude": true})), false),
        // OpenAI's own parameter, with which Chat Completions shows none.
        (chat("reasoning_effort", json!("low")), false),
    ];
    for ((from, request), shown) in cases {
        let (body, _) = send(from, &request, (DialectId::Responses, OPENAI, "gpt-5.6-terra"));
        let expected = if shown { json!("auto") } else { Value::Null };
        assert_eq!(body["reasoning"]["summary"], expected, "{from:?}: {request}: {body}");
    }
}
