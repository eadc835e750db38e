//! `promptEnrichment`: the bodies that providers get, by their own references.

use serde_json::{Value, json};

use super::{CHAT, MESSAGES, sent, start};
use crate::common::{DialectId, Exchange, Received, Upstream, WebSocket, assert_error};

/// As kgateway's guide spells it, with one more message of each role.
fn spec() -> Value {
    json!({"ai": {"promptEnrichment": {
        "prepend": [{"role": "SYSTEM", "content": "Parse the \"text\" into\nCSV."}, {"role": "user", "content": "U1"}],
        "append": [{"role": "USER", "content": "U2"}],
    }}})
}

const SYSTEM: &str = "Parse the \"text\" into\nCSV.";

#[test]
fn a_provider_of_the_clients_dialect_gets_it_in_its_places() {
    let none = json!({});
    let chat =
        sent("openai", &none, &spec(), CHAT, &json!({"model": "m", "messages": [{"role": "user", "content": "q"}]}));
    assert_eq!(
        chat["messages"],
        json!([{"role": "system", "content": SYSTEM}, {"role": "user", "content": "U1"},
        {"role": "user", "content": "q"}, {"role": "user", "content": "U2"}])
    );

    let responses =
        sent("openai", &none, &spec(), "/x/v1/responses", &json!({"model": "m", "input": "q", "instructions": "own"}));
    assert_eq!(responses["instructions"], format!("{SYSTEM}\n\nown"));
    assert_eq!(
        responses["input"],
        json!([{"role": "user", "content": "U1"}, {"role": "user", "content": "q"},
        {"role": "user", "content": "U2"}])
    );

    let text = |text: &str| json!({"type": "text", "text": text});
    let body = json!({"model": "m", "max_tokens": 5, "system": "own", "messages": [{"role": "user", "content": "q"}]});
    let messages = sent("anthropic", &none, &spec(), MESSAGES, &body);
    assert_eq!(messages["system"], json!([text(SYSTEM), text("own")]));
    assert_eq!(messages["messages"], json!([{"role": "user", "content": [text("U1"), text("q"), text("U2")]}]));

    let body = json!({"contents": [{"role": "user", "parts": [{"text": "q"}]}]});
    let gemini = sent("gemini", &none, &spec(), "/x/v1beta/models/g:generateContent", &body);
    let expected = json!({"systemInstruction": {"parts": [{"text": SYSTEM}]},
        "contents": [{"role": "user", "parts": [{"text": "U1"}, {"text": "q"}, {"text": "U2"}]}]});
    assert_eq!(gemini, expected);
}

#[test]
fn a_provider_of_another_dialect_gets_it_in_its_own_places() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let chat =
        json!({"model": "m", "messages": [{"role": "system", "content": "own"}, {"role": "user", "content": "q"}]});
    let messages = sent("anthropic", &json!({"model": "claude-sonnet-4-5"}), &spec(), CHAT, &chat);
    assert_eq!(messages["system"], json!([text(SYSTEM), text("own")]));
    assert_eq!(messages["messages"], json!([{"role": "user", "content": [text("U1"), text("q"), text("U2")]}]));

    let body = json!({"model": "m", "max_tokens": 5, "system": "own", "messages": [{"role": "user", "content": "q"}]});
    let chat = sent("openai", &json!({"model": "gpt-4o"}), &spec(), MESSAGES, &body);
    let roles: Vec<&str> = chat["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "system", "user", "user", "user"], "{chat}");
    assert_eq!(chat["messages"][0]["content"], SYSTEM);
    assert_eq!(chat["messages"][4]["content"], "U2");
}

#[test]
fn bedrock_gets_it_from_every_client() {
    let upstream = Upstream::json("{}");
    let manifests = crate::common::yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aws", "namespace": "default"},
        "stringData": {"accessKey": "AKID", "secretKey": "secret-key"},
    })) + &crate::common::s1_of(
        "bedrock",
        "/x",
        &json!({
            "provider": {"bedrock": {"region": "eu-west-1", "auth": {"type": "Secret", "secretRef": {"name": "aws"}}}},
            "hostOverride": {"host": "127.0.0.1", "port": upstream.port},
        }),
    ) + &super::policy("bedrock", &spec());
    let gateway = crate::common::Start::new().manifest("x.yaml", &manifests).run();
    let converse = json!({"system": [{"text": "own"}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "q"}]}]});
    let claude = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5,
        "messages": [{"role": "user", "content": "q"}]});
    let count = json!({"input": {"converse": converse}});
    for (verb, body) in [("converse", &converse), ("invoke", &claude), ("count-tokens", &count)] {
        gateway.post(&format!("/x/model/anthropic.claude-sonnet-4-5-v1%3A0/{verb}"), body.to_string());
    }
    let chat = json!({"model": "anthropic.claude-sonnet-4-5-v1:0", "messages": [{"role": "user", "content": "q"}]});
    gateway.post(CHAT, chat.to_string());
    let sent: Vec<Value> = upstream.received().iter().map(Received::json).collect();
    let turns = json!([{"role": "user", "content": [{"text": "U1"}, {"text": "q"}, {"text": "U2"}]}]);
    let expected = json!({"messages": turns,
        "system": [{"text": SYSTEM}, {"text": "own"}, {"cachePoint": {"type": "default"}}]});
    assert_eq!(sent[0], expected);
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(sent[1]["system"], json!([text(SYSTEM)]));
    assert_eq!(sent[1]["messages"], json!([{"role": "user", "content": [text("U1"), text("q"), text("U2")]}]));
    assert_eq!(sent[2], json!({"input": {"converse": expected}}));
    assert_eq!((&sent[3]["messages"], &sent[3]["system"]), (&turns, &json!([{"text": SYSTEM}])));
}

#[test]
fn counts_and_estimates_include_it() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
    let counted = sent("anthropic", &json!({}), &spec(), "/x/v1/messages/count_tokens", &body);
    assert_eq!(counted["system"][0]["text"], SYSTEM);
    // A server that does not count: the gateway estimates, by four bytes to a token.
    let estimate = |spec: &Value| {
        let upstream = Upstream::json("{}");
        let gateway = start("openai", &upstream, &json!({"model": "gpt-4o"}), spec);
        let reply = gateway.post("/x/v1/messages/count_tokens", body.to_string());
        assert_eq!((reply.status, upstream.received().len()), (200, 0), "{}", reply.text());
        reply.json()["input_tokens"].as_u64().unwrap()
    };
    let (added, difference) = (SYSTEM.len() + "U1U2".len(), estimate(&spec()) - estimate(&json!({"ai": {}})));
    assert!(difference.abs_diff(added as u64 / 4) <= 1, "{difference} tokens for {added} bytes");
}

#[test]
fn embeddings_are_not_enriched_and_a_broken_conversation_is_refused() {
    let upstream = Upstream::json("{}");
    let gateway = start("openai", &upstream, &json!({}), &spec());
    let body = json!({"model": "e", "input": "q"});
    gateway.post("/x/v1/embeddings", body.to_string());
    assert_eq!(upstream.only().json(), body);
    let reply = gateway.post(CHAT, r#"{"model":"m","messages":7}"#);
    assert_error(&reply, DialectId::OpenAi, 400, "messages are no list");
    assert!(reply.text().contains("messages"), "{}", reply.text());
    assert_eq!(upstream.received().len(), 1, "nothing is sent without it");
}

#[test]
fn a_policy_with_an_unknown_role_closes_its_route() {
    let upstream = Upstream::json("{}");
    let spec = json!({"ai": {"promptEnrichment": {"prepend": [{"role": "tool", "content": "x"}]}}});
    let gateway = start("openai", &upstream, &json!({}), &spec);
    let reply = gateway.post(CHAT, r#"{"model":"m","messages":[]}"#);
    assert_eq!((reply.status, upstream.received().len()), (500, 0), "{}", reply.text());
}

/// Answers with a stream of Responses.
fn respond(exchange: &mut Exchange) {
    let id = format!("resp_{}", exchange.nth);
    let answer = json!({"type": "message", "id": "msg", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "a", "annotations": []}]});
    let response = json!({"id": id, "object": "response", "status": "completed", "model": "m", "output": [answer]});
    exchange.stream("text/event-stream");
    for event in [
        json!({"type": "response.output_item.done", "sequence_number": 0, "output_index": 0, "item": answer}),
        json!({"type": "response.completed", "sequence_number": 1, "response": response}),
    ] {
        exchange.chunk(format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    }
    exchange.end();
}

#[test]
fn each_turn_of_a_websocket_has_it_once() {
    let upstream = Upstream::new(respond);
    let gateway = start("openai", &upstream, &json!({}), &spec());
    let mut socket = WebSocket::open(&gateway, "/x/v1/responses");
    let user = |text: &str| json!({"type": "message", "role": "user", "content": text});
    let mut event = json!({"type": "response.create", "model": "m", "store": false, "input": [user("q1")]});
    for turn in 0..2 {
        socket.send(&event);
        socket.until(&["response.completed", "error"]);
        let sent = upstream.received().pop().unwrap().json();
        assert_eq!(sent["instructions"], SYSTEM, "turn {turn}");
        let input = sent["input"].as_array().unwrap();
        let counted = |text: &str| input.iter().filter(|item| item["content"] == text).count();
        assert_eq!((counted("U1"), counted("U2"), counted("q1")), (1, 1, 1), "turn {turn}: {sent}");
        assert_eq!((&input[0]["content"], &input.last().unwrap()["content"]), (&json!("U1"), &json!("U2")));
        event["previous_response_id"] = json!("resp_0");
        event["input"] = json!([user("q2")]);
    }
    socket.close();
}
