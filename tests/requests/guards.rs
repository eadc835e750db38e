//! Prompt guards: what the provider gets, what the client gets, and what is in log and metrics.

use serde_json::{Value, json};

use crate::common::{DialectId, Gateway, Start, Upstream, assert_error, manifests::s1, yaml};

const CHAT: &str = "/x/v1/chat/completions";
const COMPLETION: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
    "message":{"role":"assistant","content":"Call 415-555-2671."},"finish_reason":"stop"}]}"#;
/// The default text for content that is refused, from kgateway's API reference.
const REFUSED: &str = "The request was rejected due to inappropriate content";
const CARD: &str = "4111 1111 1111 1111";

/// A TrafficPolicy for everything behind the Gateway.
fn policy(guard: &Value) -> String {
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "guard", "namespace": "default"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}],
            "ai": {"promptGuard": guard},
        },
    }))
}

fn start(upstream: &Upstream, guard: &Value) -> Gateway {
    Start::new().manifest("x.yaml", &s1("openai", "/x", upstream.port)).manifest("p.yaml", &policy(guard)).run()
}

fn request_guard(regex: &Value) -> Value {
    json!({"request": {"regex": regex}})
}

fn chat(text: &str) -> String {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string()
}

#[test]
fn prompts_are_masked_in_every_text_that_is_guarded() {
    let upstream = Upstream::json(COMPLETION);
    let gateway = start(&upstream, &request_guard(&json!({"builtins": ["CREDIT_CARD", "Email"]})));
    let body = json!({
        "model": "m", "user": "bob@example.com",
        "messages": [
            {"role": "system", "content": format!("a {CARD}")},
            {"role": "user", "content": [{"type": "text", "text": format!("b {CARD}")}]},
            {"role": "assistant", "tool_calls": [{"id": "t", "type": "function",
                "function": {"name": "f", "arguments": format!("{{\"to\":\"{CARD}\"}}")}}]},
            {"role": "tool", "tool_call_id": "t", "content": "mail bob@example.com."},
        ],
    });
    assert_eq!(gateway.post(CHAT, body.to_string()).status, 200);
    let sent = upstream.only().json();
    let messages = &sent["messages"];
    assert_eq!(messages[0]["content"], "a <CREDIT_CARD>");
    assert_eq!(messages[1]["content"][0]["text"], "b <CREDIT_CARD>");
    assert_eq!(messages[3]["content"], "mail <EMAIL_ADDRESS>.");
    // Arguments are data for a program, and names of accounts are no prompt.
    let arguments = messages[2]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert!(arguments.contains(CARD), "{arguments}");
    assert_eq!(sent["user"], "bob@example.com");

    let line = gateway.access(CHAT);
    let found = "request CREDIT_CARD mask system 1, request CREDIT_CARD mask user 1, \
        request EMAIL_ADDRESS mask tool_result 1";
    assert_eq!(line["guarded"], found, "{line}");
    let labels = [("direction", "request"), ("rule", "CREDIT_CARD"), ("action", "mask"), ("kind", "user")];
    assert_eq!(gateway.metrics().get("tollgate_guard_matches_total", &labels), Some(1.0));
    assert!(gateway.log().iter().all(|line| !line.to_string().contains("4111")), "no text is logged");
}

#[test]
fn arguments_are_masked_where_the_scope_has_them_and_stay_json() {
    let upstream = Upstream::json(COMPLETION);
    let regex = json!({"builtins": ["CREDIT_CARD"], "scope": ["ToolInput"]});
    let gateway = start(&upstream, &request_guard(&regex));
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": CARD},
        {"role": "assistant", "tool_calls": [{"id": "t", "type": "function",
            "function": {"name": "f", "arguments": "{\"card\":4111111111111111,\"n\":1}"}}]},
    ]});
    assert_eq!(gateway.post(CHAT, body.to_string()).status, 200);
    let sent = upstream.only().json();
    assert_eq!(sent["messages"][0]["content"], CARD);
    let arguments = sent["messages"][1]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), json!({"card": "<CREDIT_CARD>", "n": 1}));
}

#[test]
fn prompts_of_every_dialect_and_endpoint_are_masked() {
    let upstream = Upstream::json("{}");
    let gateway = start(&upstream, &request_guard(&json!({"builtins": ["CREDIT_CARD"]})));
    let cases = [
        ("/x/v1/chat/completions", json!({"model": "m", "messages": [{"role": "user", "content": CARD}]})),
        ("/x/v1/responses", json!({"model": "m", "instructions": CARD, "input": [{"role": "user", "content": CARD}]})),
        (
            "/x/v1/messages",
            json!({"model": "m", "max_tokens": 5, "system": CARD,
            "messages": [{"role": "user", "content": [{"type": "text", "text": CARD}]}]}),
        ),
        ("/x/v1beta/models/m:generateContent", json!({"contents": [{"role": "user", "parts": [{"text": CARD}]}]})),
        ("/x/model/m/converse", json!({"messages": [{"role": "user", "content": [{"text": CARD}]}]})),
        ("/x/v1/completions", json!({"model": "m", "prompt": [CARD], "suffix": CARD})),
        ("/x/v1/embeddings", json!({"model": "m", "input": [CARD, CARD]})),
        ("/x/v1/moderations", json!({"model": "m", "input": [{"type": "text", "text": CARD}]})),
        ("/x/v1/rerank", json!({"model": "m", "query": CARD, "documents": [CARD, {"text": CARD}]})),
    ];
    for (number, (path, body)) in cases.iter().enumerate() {
        gateway.post(path, body.to_string());
        upstream.wait_for_received(number + 1);
        let sent = upstream.received()[number].text();
        assert!(!sent.contains("4111") && sent.contains("<CREDIT_CARD>"), "{path}: {sent}");
    }
}

#[test]
fn a_refused_prompt_is_an_error_of_the_clients_dialect() {
    let upstream = Upstream::json(COMPLETION);
    let gateway =
        start(&upstream, &request_guard(&json!({"action": "REJECT", "matches": [{"pattern": "credit card"}]})));
    let text = "my Credit Card";
    let reply = gateway.post(CHAT, chat(text));
    assert_error(&reply, DialectId::OpenAi, 403, "chat");
    let error = &reply.json()["error"];
    assert_eq!((&error["code"], &error["message"]), (&json!("guarded"), &json!(REFUSED)));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    let messages = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": text}]});
    let reply = gateway.post("/x/v1/messages", messages.to_string());
    assert_error(&reply, DialectId::Anthropic, 403, "messages");
    assert_eq!(reply.json()["error"]["type"], "permission_error");
    let contents = json!({"contents": [{"parts": [{"text": text}]}]});
    let reply = gateway.post("/x/v1beta/models/m:generateContent", contents.to_string());
    assert_error(&reply, DialectId::Gemini, 403, "gemini");
    assert!(upstream.received().is_empty());
    assert_eq!(gateway.access(CHAT)["error"], "guarded");
    assert_eq!(gateway.post(CHAT, chat("cash")).status, 200);
}

#[test]
fn the_users_own_answer_is_sent_as_it_is_written() {
    let upstream = Upstream::json(COMPLETION);
    for status in [403, 422, 200] {
        let guard = json!({"request": {
            "customResponse": {"message": "Rejected due to inappropriate content", "statusCode": status},
            "regex": {"action": "REJECT", "matches": [{"pattern": "credit card", "name": "CC"}]},
        }});
        let gateway = start(&upstream, &guard);
        let reply = gateway.post(CHAT, chat("my credit card"));
        assert_eq!(reply.status, status);
        assert_eq!(reply.text(), "Rejected due to inappropriate content");
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        let line = gateway.access(CHAT);
        assert_eq!((&line["error"], &line["guarded"]), (&json!("guarded"), &json!("request CC reject user 1")));
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn what_can_not_be_checked_is_refused() {
    let upstream = Upstream::json("{}");
    let gateway = start(&upstream, &request_guard(&json!({"builtins": ["SSN"]})));
    for (path, body) in [
        ("/x/v1/embeddings", json!({"model": "m", "input": [1, 2, 3]})),
        ("/x/v1/embeddings", json!({"model": "m", "input": [[1, 2], [3]]})),
        ("/x/v1/completions", json!({"model": "m", "prompt": [1, 2, 3]})),
    ] {
        let reply = gateway.post(path, body.to_string());
        assert_error(&reply, DialectId::OpenAi, 400, path);
        assert!(reply.text().contains("token ids"), "{}", reply.text());
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn replies_are_masked_and_other_endpoints_answer() {
    let upstream = Upstream::json(COMPLETION);
    let gateway = start(&upstream, &json!({"response": {"regex": {"builtins": ["PHONE_NUMBER"]}}}));
    let reply = gateway.post(CHAT, chat("x"));
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "Call <PHONE_NUMBER>.");
    assert_eq!(gateway.access(CHAT)["guarded"], "response PHONE_NUMBER mask answer 1");
    assert_eq!(gateway.get("/x/v1/models").status, 200);
    let count = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    assert_ne!(gateway.post("/x/v1/messages/count_tokens", count.to_string()).status, 502);
}

#[test]
fn a_reply_that_can_not_be_read_is_not_passed_on() {
    let guard = json!({"response": {"regex": {"builtins": ["SSN"]}}});
    for (headers, body) in [
        (&[("content-type", "application/json"), ("content-encoding", "gzip")][..], &b"\x1f\x8b\x08 078-05-1121"[..]),
        (&[("content-type", "text/html")][..], &b"<html>078-05-1121</html>"[..]),
        (&[("content-type", "text/event-stream"), ("content-encoding", "br")][..], &b"078-05-1121"[..]),
    ] {
        let upstream = Upstream::fixed(200, headers, body);
        let gateway = start(&upstream, &guard);
        let reply = gateway.post(CHAT, chat("x"));
        assert_error(&reply, DialectId::OpenAi, 502, "unreadable");
        assert!(!reply.text().contains("078"), "{}", reply.text());
    }
}

#[test]
fn a_stream_is_masked_wherever_its_text_is_cut() {
    let upstream = Upstream::new(|exchange| {
        exchange.stream("text/event-stream");
        for piece in ["My card is 41", "11 1111 11", "11 11", "11."] {
            let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]});
            exchange.chunk(format!("data: {chunk}\n\n"));
        }
        let end = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        exchange.chunk(format!("data: {end}\n\ndata: [DONE]\n\n")).end();
    });
    let gateway = start(&upstream, &json!({"response": {"regex": {"builtins": ["CREDIT_CARD", "EMAIL"]}}}));
    let mut body: Value = serde_json::from_str(&chat("x")).unwrap();
    body["stream"] = json!(true);
    let reply = gateway.post(CHAT, body.to_string());
    let text = reply.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let contents = data.map(|data| {
        let event: Value = serde_json::from_str(data).unwrap();
        event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
    });
    assert_eq!(contents.collect::<String>(), "My card is <CREDIT_CARD>.");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(gateway.access(CHAT)["guarded"], "response CREDIT_CARD mask answer 1");
}
