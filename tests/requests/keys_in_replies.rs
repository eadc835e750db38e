//! Keys and accounts of the gateway that a provider repeats: none of them reaches a client.

use serde_json::json;

use crate::common::{
    KEY, Start, Upstream,
    manifests::{s1, s1_with},
};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const LIMITED: &str = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;

fn error(message: &str) -> String {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}})
        .to_string()
}

#[test]
fn the_key_in_an_error_is_masked_translated_or_not() {
    let escaped = error("@").replace('@', &KEY.replace('-', "\\u002d"));
    for (what, body) in [("as it is", error(&format!("Incorrect API key provided: {KEY}."))), ("escaped", escaped)] {
        let upstream = Upstream::fixed(401, &[("content-type", "application/json"), ("x-debug", KEY)], body.as_bytes());
        let gateway = Start::new().manifest("a.yaml", &s1("openai", "/x", upstream.port)).run();
        for (path, sent) in [("/x/v1/chat/completions", CHAT), ("/x/v1/messages", LIMITED)] {
            let reply = gateway.post(path, sent);
            assert_eq!((reply.status, reply.complete), (401, true), "{what} {path}: {}", reply.text());
            let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains("***") && !message.contains(KEY), "{what} {path}: {message}");
            assert_eq!(reply.header("x-debug"), None, "{what} {path}");
        }
    }
}

#[test]
fn a_key_that_comes_in_pieces_is_masked_and_the_rest_arrives() {
    let (head, tail) = KEY.split_at(7);
    let pieces = [&error("the key ")[..20], head, tail, " is wrong, sk-of-another is not", &"x".repeat(100_000)];
    let pieces = pieces.map(str::to_owned);
    let expected = pieces.concat().replace(KEY, "***");
    let upstream = Upstream::new(move |exchange| {
        exchange.head(500, &[("content-type", "text/plain"), ("transfer-encoding", "chunked")]);
        for piece in &pieces {
            exchange.chunk(piece);
        }
        exchange.end();
    });
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/x", upstream.port)).run();
    let reply = gateway.post("/x/v1/chat/completions", CHAT);
    assert_eq!((reply.status, reply.complete), (500, true));
    assert_eq!(reply.text(), expected);
}

#[test]
fn an_error_that_can_not_be_searched_is_replaced() {
    let upstream = Upstream::fixed(401, &[("content-encoding", "gzip")], b"\x1f\x8b\x08\x00");
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/x", upstream.port)).run();
    assert_eq!(gateway.post("/x/v1/chat/completions", CHAT).status, 502);
}

#[test]
fn a_clients_own_key_and_replies_without_a_key_stay_as_they_are() {
    let text = error("Incorrect API key provided: sk-of-somebody.");
    let upstream = Upstream::fixed(401, &[("content-type", "application/json")], text.as_bytes());
    let manifest = s1_with("openai", "/x", upstream.port, &json!({"authToken": {"kind": "Passthrough"}}));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let headers = [("authorization", "Bearer sk-of-somebody")];
    let reply = gateway.post_with("/x/v1/chat/completions", &headers, CHAT);
    assert_eq!((reply.status, reply.text()), (401, text));
}

#[test]
fn headers_of_the_providers_account_and_site_are_dropped() {
    let dropped = ["openai-organization", "openai-project", "alt-svc", "strict-transport-security", "set-cookie"];
    let mut headers: Vec<(&str, &str)> = dropped.map(|name| (name, "of-the-provider")).to_vec();
    headers.extend([("x-request-id", "req_1"), ("x-ratelimit-remaining-requests", "9")]);
    let upstream = Upstream::fixed(200, &headers, b"{}");
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/x", upstream.port)).run();
    let reply = gateway.post("/x/v1/chat/completions", CHAT);
    assert_eq!(reply.status, 200);
    for name in dropped {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("x-request-id"), Some("req_1"));
    assert_eq!(reply.header("x-ratelimit-remaining-requests"), Some("9"));
}
