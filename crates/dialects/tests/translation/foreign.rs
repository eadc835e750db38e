//! Histories with another vendor's answers, in a body that stays in its dialect.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_dialects::{
    conversation::{Reply, Unsupported},
    dialect::{Destination, DialectId, ModelFacts},
    stream::{Splice, TopLevel},
};

use crate::{
    exercise::{
        To, destination, owned,
        presets::{AI_STUDIO, ANTHROPIC, BEDROCK, OPENAI},
        write_stream,
    },
    replies::{REPLY_FIXTURES, next_request},
};

/// The dialects' own vendors. Servers of Chat Completions ignore the fields with signatures.
const HOMES: [To; 4] = [
    (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5"),
    (DialectId::Responses, OPENAI, "gpt-5.5"),
    (DialectId::Gemini, AI_STUDIO, "gemini-3-pro-preview"),
    (DialectId::Converse, BEDROCK, "anthropic.claude-sonnet-4-5-v1:0"),
];

/// The body as its vendor gets it, and what is lost.
fn fitted(to: To, body: &Value) -> (Value, String) {
    let text = Bytes::from(body.to_string());
    let top = TopLevel::scan(&text).unwrap();
    let mut dropped = Unsupported::default();
    let mut splice = Splice::new(&top);
    // The client names the model itself.
    let destination = Destination { facts: ModelFacts::PLAIN, ..destination(to) };
    for (name, value) in to.0.dialect().fit(&top, &destination, &mut dropped) {
        match value {
            Some(value) => splice.set(name, value),
            None => splice.remove(name),
        }
    }
    (serde_json::from_slice(&splice.apply(&text)).unwrap(), dropped.to_string())
}

/// Whether any string is a tagged signature, or the id of a call that another vendor has run.
fn is_tagged(value: &Value) -> bool {
    let ids = ["srvtoolu_TG", "ws_TG", "ci_TG"];
    let tagged = |text: &str| text.starts_with("TG") || ids.iter().any(|id| text.contains(id));
    match value {
        Value::String(text) => {
            tagged(text) || STANDARD.decode(text).is_ok_and(|bytes| tagged(&String::from_utf8_lossy(&bytes)))
        }
        Value::Array(values) => values.iter().any(is_tagged),
        Value::Object(fields) => fields.values().any(is_tagged),
        _ => false,
    }
}

#[test]
fn no_vendor_gets_what_only_another_can_read() {
    let mut seen = 0;
    for fixture in REPLY_FIXTURES {
        for from in DialectId::ALL {
            let Some(body) = fixture.reply(from) else { continue };
            let reply = from.dialect().read_reply(body.as_bytes()).unwrap();
            for to in HOMES {
                let mut next = next_request(to.0, &reply);
                let has_tags = is_tagged(&next);
                let (sent, lost) = fitted(to, &next);
                assert!(!is_tagged(&sent), "{} of {from:?} to {to:?}: {sent}", fixture.title);
                // Reasoning without a signature is left out, too: see below.
                if !has_tags && fixture.feature != "thoughts" {
                    // Nothing of a history of the vendor's own is touched.
                    assert_eq!((&sent, lost.as_str()), (&next, ""), "{} of {from:?} to {to:?}", fixture.title);
                    continue;
                }
                seen += usize::from(has_tags);
                assert!(["", "thinking", "reasoning"].contains(&lost.as_str()), "{lost}: {next}");
                // The vendor's own dialect can still read it, and the rest is there.
                let text = sent.to_string();
                let top = TopLevel::scan(text.as_bytes()).unwrap();
                to.0.dialect().read_request(&top).unwrap_or_else(|invalid| panic!("{invalid}: {text}"));
                if next.to_string().contains("Hello") {
                    assert!(text.contains("Hello"), "{} of {from:?} to {to:?}: {text}", fixture.title);
                }
                // The vendor's own body is not changed again.
                next = sent.clone();
                assert_eq!(fitted(to, &next), (sent, String::new()));
            }
        }
    }
    assert!(seen > 10, "only {seen} histories have tags");
}

#[test]
fn what_another_vendor_has_run_becomes_text() {
    let gemini = json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "They purr."}]},
        "finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["cats"],
            "groundingChunks": [{"web": {"uri": "https://e.com", "title": "E"}}]}}]})
    .to_string();
    let reply = DialectId::Gemini.dialect().read_reply(gemini.as_bytes()).unwrap();
    let (sent, lost) = fitted(HOMES[0], &next_request(DialectId::Messages, &reply));
    let content = &sent["messages"][1]["content"];
    assert_eq!(lost, "", "nothing is lost");
    let kinds: Vec<&Value> = content.as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["text", "text", "text"], "{content}");
    let (call, result) = (content[0]["text"].as_str().unwrap(), content[1]["text"].as_str().unwrap());
    assert!(call.contains("cats") && result.contains("https://e.com"), "{content}");
}

#[test]
fn a_series_of_calls_without_its_reasoning_switches_a_budget_off() {
    let with = |signature: &str| {
        json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048}, "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm", "signature": signature},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "1"}]}]})
    };
    let (sent, lost) = fitted(HOMES[0], &with("TGgoc2ln"));
    assert_eq!((sent.get("thinking"), lost.as_str()), (None, "thinking, reasoning"));
    assert_eq!(sent["messages"][1]["content"].as_array().unwrap().len(), 1);
    let own = with("c2ln");
    assert_eq!(fitted(HOMES[0], &own), (own, String::new()));

    let converse = |signature: &str| {
        json!({"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}, "x": 1},
            "messages": [{"role": "user", "content": [{"text": "go"}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": signature}}},
                {"toolUse": {"toolUseId": "c1", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "1"}]}}]}]})
    };
    let (sent, lost) = fitted(HOMES[3], &converse("TGoac2ln"));
    assert_eq!((&sent["additionalModelRequestFields"], lost.as_str()), (&json!({"x": 1}), "thinking, reasoning"));
    let own = converse("c2ln");
    assert_eq!(fitted(HOMES[3], &own), (own, String::new()));
}

#[test]
fn a_call_of_another_model_gets_the_signature_that_gemini_3_requires() {
    let foreign = STANDARD.encode("TGanc2ln");
    let contents = |signature: &str| {
        json!({"contents": [{"role": "user", "parts": [{"text": "go"}]}, {"role": "model", "parts": [
            {"thought": true, "text": "Hm", "thoughtSignature": signature},
            {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": signature},
            {"text": "and", "thoughtSignature": signature}]}]})
    };
    let (sent, lost) = fitted(HOMES[2], &contents(&foreign));
    let skip = STANDARD.encode("skip_thought_signature_validator");
    let expected = json!([{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": skip}, {"text": "and"}]);
    assert_eq!((&sent["contents"][1]["parts"], lost.as_str()), (&expected, "thinking"));
    // Earlier models need none.
    let older = (DialectId::Gemini, AI_STUDIO, "gemini-2.5-flash");
    let (sent, _) = fitted(older, &contents(&foreign));
    let expected = json!([{"functionCall": {"name": "f", "args": {}}}, {"text": "and"}]);
    assert_eq!(sent["contents"][1]["parts"], expected);
    let own = contents("c2ln");
    assert_eq!(fitted(HOMES[2], &own), (own, String::new()));
}

/// The reply of a provider.
fn reply_of(from: DialectId, body: &Value) -> Reply<'static> {
    let text: &'static str = Box::leak(body.to_string().into_boxed_str());
    from.dialect().read_reply(text.as_bytes()).unwrap()
}

#[test]
fn reasoning_that_a_call_carries_reaches_no_other_vendor() {
    let claude = reply_of(
        DialectId::Messages,
        &json!({"content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}], "stop_reason": "tool_use"}),
    );
    let next = next_request(DialectId::Gemini, &claude);
    assert!(is_tagged(&next), "{next}");
    let (sent, _) = fitted(HOMES[2], &next);
    assert!(!is_tagged(&sent), "{sent}");
    let parts = sent["contents"][1]["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 1, "{sent}");
    assert_eq!(parts[0]["thoughtSignature"], STANDARD.encode("skip_thought_signature_validator"));
}

#[test]
fn reasoning_that_nobody_signed_is_left_out_where_it_must_be_signed() {
    let chat = reply_of(
        DialectId::Chat,
        &json!({"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}}]}),
    );
    for (to, kind) in [(HOMES[0], "\"thinking\":"), (HOMES[1], "\"reasoning\""), (HOMES[3], "reasoningText")] {
        let next = next_request(to.0, &chat);
        assert!(next.to_string().contains(kind), "{next}");
        let (sent, lost) = fitted(to, &next);
        let text = sent.to_string();
        assert!(!text.contains(kind) && text.contains("Hello"), "{to:?}: {text}");
        assert!(["thinking", "reasoning"].contains(&lost.as_str()), "{lost}");
    }
    // Other models behind Anthropic's API, and on Bedrock, take it.
    let kimi = (DialectId::Messages, ANTHROPIC, "kimi-k2-thinking");
    let next = next_request(DialectId::Messages, &chat);
    assert_eq!(fitted(kimi, &next), (next, String::new()));
    let open = (DialectId::Converse, BEDROCK, "openai.gpt-oss-120b-1:0");
    let next = next_request(DialectId::Converse, &chat);
    assert_eq!(fitted(open, &next), (next, String::new()));
    // OpenAI's own that it has stored is named by an id alone.
    let stored = json!({"input": [{"type": "reasoning", "id": "rs_68af4030", "summary": []}]});
    assert_eq!(fitted(HOMES[1], &stored), (stored, String::new()));
}

#[test]
fn thinking_that_is_cleared_goes_with_thinking() {
    let body = json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": "TGgoc2ln"},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "1"}]}]});
    let (sent, lost) = fitted(HOMES[0], &body);
    assert_eq!((sent.get("thinking"), sent.get("context_management")), (None, None));
    assert_eq!(lost, "thinking, reasoning, context_management;hint");
}

#[test]
fn what_remains_of_a_turn_is_valid() {
    // Roles alternate in Converse.
    let only = json!({"messages": [{"role": "user", "content": [{"text": "go"}]},
        {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "TGgoXX"}}}]},
        {"role": "user", "content": [{"text": "on"}]}]});
    let (sent, _) = fitted(HOMES[3], &only);
    assert_eq!(sent["messages"][1], json!({"role": "assistant", "content": [{"text": "(no answer)"}]}));
    // Google takes one part in place of a list, and no part without data.
    let foreign = STANDARD.encode("TGanc2ln");
    let one = json!({"contents": [{"role": "user", "parts": {"text": "go"}}, {"role": "model",
        "parts": {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": foreign}}, {"role": "model",
        "parts": [{"text": "a"}, {"thoughtSignature": foreign}]}]});
    let (sent, _) = fitted((DialectId::Gemini, AI_STUDIO, "gemini-2.5-flash"), &one);
    assert_eq!(sent["contents"][0]["parts"], json!({"text": "go"}));
    assert_eq!(sent["contents"][1]["parts"], json!([{"functionCall": {"name": "f", "args": {}}}]));
    assert_eq!(sent["contents"][2]["parts"], json!([{"text": "a"}]));
}

#[test]
fn sources_and_calls_of_other_vendors_become_text_and_keep_their_caches() {
    let openai = reply_of(
        DialectId::Responses,
        &json!({"id": "resp_1", "model": "m", "status": "completed", "output": [
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search",
                "query": "cats", "sources": [{"type": "url", "url": "https://e.com"}]}},
            {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "print(42)",
                "container_id": "c", "outputs": [{"type": "logs", "logs": "42"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello",
                "annotations": [{"type": "url_citation", "url": "https://e.com", "title": "E", "start_index": 0,
                    "end_index": 5}]}]}]}),
    );
    let mut next = next_request(DialectId::Messages, &openai);
    assert!(next.to_string().contains("web_search_result_location"));
    next["messages"][1]["content"][1]["cache_control"] = json!({"type": "ephemeral"});
    let (sent, lost) = fitted(HOMES[0], &next);
    let content = &sent["messages"][1]["content"];
    assert!(!is_tagged(&sent) && lost.is_empty(), "{lost} {sent}");
    assert!(content.as_array().unwrap().iter().all(|block| block["type"] == "text"), "{content}");
    assert_eq!(content[4], json!({"type": "text", "text": "Hello"}));
    assert_eq!(content[1]["cache_control"], json!({"type": "ephemeral"}));
    for text in ["cats", "https://e.com", "print(42)"] {
        assert!(content.to_string().contains(text), "{text}: {content}");
    }

    let claude = reply_of(
        DialectId::Messages,
        &json!({"content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {"code": "print(42)"}},
            {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {
                "type": "code_execution_result", "stdout": "42", "stderr": "", "return_code": 0, "content": []}},
            {"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}),
    );
    let (sent, lost) = fitted(HOMES[1], &next_request(DialectId::Responses, &claude));
    assert!(!is_tagged(&sent) && lost.is_empty(), "{lost} {sent}");
    assert_eq!(sent["input"][1]["role"], "assistant");
    let said = sent["input"][1]["content"].as_str().unwrap();
    assert!(said.contains("print(42)") && said.contains("42"), "{said}");
}

#[test]
fn ids_of_calls_are_ones_that_the_clients_vendor_accepts() {
    let id = "functions.f:0".to_owned() + &"x".repeat(70);
    let chat = reply_of(
        DialectId::Chat,
        &json!({"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "tool_calls": [{"id": id, "type": "function",
                "function": {"name": "f", "arguments": "{}"}}]}}]}),
    );
    let mut events = Vec::new();
    chat.replay(&mut |event| events.push(owned(event)));
    for to in [DialectId::Messages, DialectId::Converse] {
        let find = |text: &str| {
            let key = if to == DialectId::Messages { "\"id\":\"functions" } else { "\"toolUseId\":\"functions" };
            let at = text.find(key).unwrap_or_else(|| panic!("{to:?}: {text}")) + key.len() - "functions".len();
            text[at..].split('"').next().unwrap().to_owned()
        };
        let whole = find(&next_request(to, &chat).to_string());
        let streamed = find(&String::from_utf8_lossy(&write_stream(to, &events)));
        assert_eq!(whole, streamed);
        let fits = |c: char| {
            c.is_ascii_alphanumeric() || c == '_' || c == '-' || (to == DialectId::Converse && ".:".contains(c))
        };
        assert!(whole.len() <= 64 && whole.chars().all(fits), "{whole}");
    }
}
