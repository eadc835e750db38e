//! Histories with another vendor's answers, in a body that stays in its dialect.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_dialects::{
    conversation::Unsupported,
    dialect::DialectId,
    stream::{Splice, TopLevel},
};

use crate::{
    exercise::{
        To, destination,
        presets::{AI_STUDIO, ANTHROPIC, BEDROCK, OPENAI},
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
    for (name, value) in to.0.dialect().fit(&top, &destination(to), &mut dropped) {
        match value {
            Some(value) => splice.set(name, value),
            None => splice.remove(name),
        }
    }
    (serde_json::from_slice(&splice.apply(&text)).unwrap(), dropped.to_string())
}

/// Whether any string is a tagged signature, or the id of a call that another vendor has run.
fn is_tagged(value: &Value) -> bool {
    let tagged = |text: &str| text.starts_with("TG") || text.starts_with("srvtoolu_TG");
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
                if !has_tags {
                    // Nothing of a history of the vendor's own is touched.
                    assert_eq!((&sent, lost.as_str()), (&next, ""), "{} of {from:?} to {to:?}", fixture.title);
                    continue;
                }
                seen += 1;
                assert!(["", "thinking", "reasoning"].contains(&lost.as_str()), "{lost}: {next}");
                // The vendor's own dialect can still read it, and the rest is there.
                let text = sent.to_string();
                let top = TopLevel::scan(text.as_bytes()).unwrap();
                to.0.dialect().read_request(&top).unwrap_or_else(|invalid| panic!("{invalid}: {text}"));
                if next.to_string().contains("Hello") {
                    assert!(text.contains("Hello"), "{} of {from:?} to {to:?}: {text}", fixture.title);
                }
                // A client that can't be told apart from it sends the same again.
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
