//! What of a provider's reply reaches a client: no credential, nothing about whose account it is, and nothing that
//! speaks for the gateway's own host.

use serde_json::json;

use crate::{
    CHAT, JSON,
    common::{Gateway, KEY, Reply, Start, Upstream, manifests::s1},
};

const LIMITED: &str = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"a"}]}"#;
const STREAMED: &str = r#"{"model":"m","messages":[],"stream":true}"#;
const CONTENTS: &str = r#"{"contents":[]}"#;
const MARK: &str = "mark-7f3a";

/// Headers of replies that are not for clients. The documentation promises it of `Set-Cookie` today.
const PRIVATE: [&str; 13] = [
    "set-cookie",
    "set-cookie2",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-amz-security-token",
    "openai-organization",
    "openai-project",
    "alt-svc",
    "strict-transport-security",
];
/// Headers that clients and their SDKs read.
const PUBLIC: [(&str, &str); 7] = [
    ("openai-processing-ms", "12"),
    ("openai-version", "2020-10-01"),
    ("x-ratelimit-remaining-requests", "59"),
    ("anthropic-ratelimit-tokens-remaining", "1000"),
    ("retry-after", "7"),
    ("x-should-retry", "false"),
    ("x-request-id", "req_of_the_provider"),
];

fn start(provider: &str, upstream: &Upstream) -> Gateway {
    Start::new().manifest("a.yaml", &s1(provider, "/x", upstream.port)).run()
}

/// A provider that sends all these headers with a reply.
fn answering(status: u16, content_type: &'static str, body: &str) -> Upstream {
    let mut headers: Vec<(&str, &str)> = PRIVATE.iter().map(|name| (*name, MARK)).collect();
    headers.extend(PUBLIC);
    headers.push(("content-type", content_type));
    Upstream::fixed(status, &headers, body.as_bytes())
}

/// The names of private headers that came through.
fn leaked(reply: &Reply) -> Vec<&str> {
    reply.headers.iter().filter(|(_, value)| value.contains(MARK)).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn headers_about_the_account_and_the_host_are_not_forwarded() {
    let whole = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}"#;
    let events = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let error = r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}"#;
    let mut faults = Vec::new();
    for (what, path, body, status, content_type, reply) in [
        ("a reply", "/x/v1/chat/completions", CHAT, 200, "application/json", whole),
        ("an error", "/x/v1/chat/completions", CHAT, 400, "application/json", error),
        ("a stream", "/x/v1/chat/completions", STREAMED, 200, "text/event-stream", events),
        ("a translated reply", "/x/v1/messages", LIMITED, 200, "application/json", whole),
        ("a translated error", "/x/v1/messages", LIMITED, 400, "application/json", error),
    ] {
        let upstream = answering(status, content_type, reply);
        let reply = start("openai", &upstream).post(path, body);
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        if !leaked(&reply).is_empty() {
            faults.push(format!("{what}: {:?}", leaked(&reply)));
        }
        if what == "a reply" || what == "an error" {
            for (name, value) in PUBLIC {
                // The gateway may put its own identifier before the provider's.
                let has = reply.headers.iter().any(|(n, v)| n == name && v == value);
                assert!(has || name == "x-request-id", "{what}: {name}: {:?}", reply.headers);
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_header_that_repeats_the_key_is_not_forwarded() {
    let value = format!("Bearer {KEY}");
    let upstream = Upstream::fixed(200, &[("x-debug", &value), ("x-echo", KEY), JSON[0]], b"{}");
    let reply = start("openai", &upstream).post("/x/v1/chat/completions", CHAT);
    assert_eq!(reply.status, 200);
    let headers = format!("{:?}", reply.headers);
    assert!(!headers.contains(KEY), "{headers}");
}

/// Errors that repeat the key, as the providers of each dialect write errors.
fn errors() -> Vec<(&'static str, &'static str, &'static str, u16, String)> {
    let openai = |code: &str| {
        let message = format!("Incorrect API key provided: {KEY}. Find yours in the dashboard.");
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}}).to_string()
    };
    let anthropic = json!({"type": "error", "request_id": "req_1",
        "error": {"type": "authentication_error", "message": format!("invalid x-api-key {KEY}")}});
    let gemini = json!({"error": {"code": 400, "message": format!("API key not valid: {KEY}"),
        "status": "INVALID_ARGUMENT", "details": [{"metadata": {"key": KEY}}]}});
    vec![
        ("openai", "/x/v1/chat/completions", CHAT, 400, openai("unsupported_value")),
        ("openai", "/x/v1/chat/completions", CHAT, 401, openai("invalid_api_key")),
        ("openai", "/x/v1/chat/completions", CHAT, 403, openai("forbidden")),
        ("openai", "/x/v1/chat/completions", CHAT, 429, openai("rate_limit_exceeded")),
        ("openai", "/x/v1/chat/completions", CHAT, 500, openai("server_error")),
        ("openai", "/x/v1/chat/completions", CHAT, 401, format!("Bad token Bearer {KEY}\n")),
        ("openai", "/x/v1/messages", LIMITED, 401, openai("invalid_api_key")),
        ("openai", "/x/v1/messages", LIMITED, 400, openai("unsupported_value")),
        ("anthropic", "/x/v1/messages", LIMITED, 401, anthropic.to_string()),
        ("anthropic", "/x/v1/chat/completions", LIMITED, 401, anthropic.to_string()),
        ("gemini", "/x/v1beta/models/m:generateContent", CONTENTS, 400, gemini.to_string()),
        ("gemini", "/x/v1/chat/completions", LIMITED, 400, gemini.to_string()),
    ]
}

#[test]
fn the_key_in_an_error_is_masked() {
    let mut faults = Vec::new();
    for (provider, path, body, status, error) in errors() {
        // In one piece, or cut in the middle of the key.
        for cut in [false, true] {
            let error = error.clone();
            let upstream = Upstream::new(move |exchange| {
                if cut {
                    let (first, second) = error.split_at(error.find(KEY).unwrap() + 7);
                    exchange.head(status, &[JSON[0], ("transfer-encoding", "chunked")]).chunk(first);
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    exchange.chunk(second).end();
                } else {
                    exchange.reply(status, &JSON, error.as_bytes());
                }
            });
            let reply = start(provider, &upstream).post(path, body);
            let text = reply.text();
            let right = reply.status == status && reply.complete && !text.contains(KEY) && text.contains("***");
            if !right {
                faults.push(format!("{provider} {path}, {status}, cut: {cut}: {}: {text}", reply.status));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_key_in_an_error_inside_a_stream_is_masked() {
    let upstream = Upstream::new(|exchange| {
        exchange.stream("text/event-stream");
        exchange.chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
        exchange.chunk(format!("data: {{\"error\":{{\"message\":\"the key {KEY} was revoked\",\"type\":\"e\"}}}}\n\n"));
        exchange.end();
    });
    let gateway = start("openai", &upstream);
    for (path, body) in [
        ("/x/v1/chat/completions", STREAMED.to_owned()),
        ("/x/v1/messages", LIMITED.replace("\"max_tokens\"", "\"stream\":true,\"max_tokens\"")),
    ] {
        let text = gateway.post(path, &body).text();
        assert!(text.contains("***") && !text.contains(KEY), "{path}: {text}");
    }
}
