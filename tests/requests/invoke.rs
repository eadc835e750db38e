//! Bedrock's `InvokeModel` with Claude's body, as AWS's SDKs and Claude Code's Bedrock mode send it: Bedrock gets it as
//! it is, and any other provider the request inside it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tollgate::stream::AwsDecoder;

use crate::common::{
    Gateway, Start, Upstream,
    manifests::{s1_of, s1_with, yaml},
};

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0";
const ID: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const REPLY: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-8",
    "content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,
    "usage":{"input_tokens":3,"output_tokens":4}}"#;
const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",",
    "\"role\":\"assistant\",\"model\":\"claude-opus-4-8\",\"content\":[],\"stop_reason\":null,",
    "\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},",
    "\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);
const CHUNKS: &str = concat!(
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":",
    "[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[],",
    "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}\n\ndata: [DONE]\n\n",
);

fn body() -> Value {
    json!({"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["context-1m-2025-08-07"], "max_tokens": 100,
        "messages": [{"role": "user", "content": "q"}], "future_field": {"kept": true}})
}

fn path(verb: &str) -> String {
    format!("/x/model/{MODEL}/{verb}")
}

fn start(provider: &str, upstream: &Upstream, fields: &Value) -> Gateway {
    Start::new().manifest("x.yaml", &s1_with(provider, "/x", upstream.port, fields)).run()
}

/// A Backend of Bedrock with these fields.
fn bedrock(upstream: &Upstream, fields: &Value) -> Gateway {
    let mut provider = json!({"region": "eu-west-1", "auth": {"type": "Secret", "secretRef": {"name": "aws"}}});
    provider.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let entry = json!({
        "provider": {"bedrock": provider}, "hostOverride": {"host": "127.0.0.1", "port": upstream.port},
    });
    let keys = yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aws", "namespace": "default"},
        "stringData": {"accessKey": "AKID", "secretKey": "secret-key"},
    }));
    Start::new().manifest("x.yaml", &[keys, s1_of("bedrock", "/x", &entry)].concat()).run()
}

/// The frames of a stream: their names, and the event in each chunk.
fn frames(stream: &[u8]) -> Vec<(String, Value)> {
    let (mut decoder, mut found) = (AwsDecoder::default(), Vec::new());
    decoder
        .push(stream, &mut |frame| {
            let payload: Value = serde_json::from_slice(frame.payload).unwrap();
            let event = payload["bytes"].as_str().map(|bytes| BASE64_STANDARD.decode(bytes).unwrap());
            let event = event.map_or(payload, |event| serde_json::from_slice(&event).unwrap());
            found.push((String::from_utf8(frame.name.to_vec()).unwrap(), event));
        })
        .unwrap();
    assert!(decoder.at_boundary(), "the stream ends inside a frame");
    found
}

fn kinds(frames: &[(String, Value)]) -> Vec<&str> {
    frames.iter().map(|(_, event)| event["type"].as_str().unwrap_or_default()).collect()
}

#[test]
fn another_provider_gets_the_request_inside() {
    let upstream =
        Upstream::fixed(200, &[("content-type", "application/json"), ("request-id", "req_1")], REPLY.as_bytes());
    let gateway = start("anthropic", &upstream, &json!({"model": "claude-opus-4-8"}));
    // As AWS's SDKs sign and name things.
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKIACLIENT/20260101/eu-west-1/bedrock/aws4_request, x"),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-security-token", "client-token"),
        ("amz-sdk-invocation-id", "1"),
    ];
    let reply = gateway.post_with(&path("invoke"), &headers, body().to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = upstream.only();
    assert_eq!(sent.path(), "/v1/messages");
    assert_eq!(
        sent.json(),
        json!({"model": "claude-opus-4-8", "max_tokens": 100, "messages": body()["messages"],
            "future_field": {"kept": true}}),
    );
    assert_eq!(sent.header("anthropic-beta").as_deref(), Some("context-1m-2025-08-07"));
    assert_eq!(sent.header("anthropic-version").as_deref(), Some("2023-06-01"));
    for name in ["authorization", "x-amz-date", "x-amz-security-token", "amz-sdk-invocation-id"] {
        assert_eq!(sent.header(name), None, "{name} belongs to AWS");
    }
    assert_eq!(reply.text(), REPLY.replace("claude-opus-4-8", ID), "the reply names the client's model");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!((reply.header("x-amzn-requestid"), reply.header("request-id")), (Some("req_1"), None));
    let log = gateway.access(&path("invoke"));
    assert_eq!((&log["prompt_tokens"], &log["completion_tokens"]), (&json!(3), &json!(4)), "{log}");
}

#[test]
fn a_stream_comes_in_frames_whatever_the_provider() {
    let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], STREAM.as_bytes());
    let gateway = start("anthropic", &upstream, &json!({}));
    let verb = path("invoke-with-response-stream");
    let reply = gateway.post(&verb, body().to_string());
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let sent = upstream.only().json();
    assert_eq!((&sent["stream"], &sent["model"]), (&json!(true), &json!(ID)));
    let seen = frames(&reply.body);
    assert!(seen.iter().all(|(name, _)| name == "chunk"), "{seen:?}");
    assert_eq!(kinds(&seen), ["message_start", "message_delta", "message_stop"]);
    let metrics = json!({"inputTokenCount": 3, "outputTokenCount": 4});
    assert_eq!(seen[2].1, json!({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}));
    let log = gateway.access(&verb);
    assert_eq!((&log["prompt_tokens"], &log["completion_tokens"]), (&json!(3), &json!(4)), "{log}");

    let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], CHUNKS.as_bytes());
    let gateway = start("openai", &upstream, &json!({"model": "gpt-4o"}));
    let reply = gateway.post(&verb, body().to_string());
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let seen = frames(&reply.body);
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds(&seen), expected);
    assert_eq!(seen[2].1["delta"], json!({"type": "text_delta", "text": "hi"}));
    assert_eq!(seen[5].1["amazon-bedrock-invocationMetrics"]["outputTokenCount"], 6);
}

#[test]
fn a_whole_reply_to_a_streaming_client_comes_in_frames_too() {
    let whole = r#"{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o",
        "choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    let upstream = Upstream::json(whole);
    let gateway = start("openai", &upstream, &json!({"model": "gpt-4o"}));
    let reply = gateway.post(&path("invoke-with-response-stream"), body().to_string());
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    assert_eq!(kinds(&frames(&reply.body)).last(), Some(&"message_stop"));
}

#[test]
fn errors_have_the_form_of_bedrock() {
    let limited = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let openai = r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#;
    for (provider, own) in [("anthropic", limited), ("openai", openai)] {
        for verb in ["invoke", "invoke-with-response-stream"] {
            let headers = [("content-type", "application/json"), ("retry-after", "7")];
            let upstream = Upstream::fixed(429, &headers, own.as_bytes());
            let gateway = start(provider, &upstream, &json!({"model": "m"}));
            let reply = gateway.post(&path(verb), body().to_string());
            assert_eq!(reply.status, 429);
            assert_eq!(reply.json()["message"], "slow down", "{provider}: {}", reply.text());
            assert_eq!(reply.header("x-amzn-errortype"), Some("ThrottlingException"));
            assert_eq!(
                (reply.header("retry-after"), reply.header("content-type")),
                (Some("7"), Some("application/json"))
            );
        }
    }
    // An error of the gateway's own, and one of the request itself.
    let upstream = Upstream::json(REPLY);
    let gateway = start("openai", &upstream, &json!({"model": "m"}));
    let mut bad = body();
    bad["messages"] = json!([{"role": "user", "content": 5}]);
    let reply = gateway.post(&path("invoke"), bad.to_string());
    assert_eq!(
        (reply.status, reply.header("x-amzn-errortype")),
        (400, Some("ValidationException")),
        "{}",
        reply.text()
    );
    assert!(reply.json()["message"].is_string() && upstream.received().is_empty());
    let other_format = json!({"prompt": "q", "max_gen_len": 5});
    let reply = gateway.post("/x/model/meta.llama3-8b-instruct-v1%3A0/invoke", other_format.to_string());
    assert_eq!(reply.status, 501, "{}", reply.text());
}

#[test]
fn a_stream_that_breaks_ends_with_an_exception() {
    let (begun, _) = STREAM.split_at(STREAM.find("event: message_stop").unwrap());
    let upstream = Upstream::new(move |exchange| {
        exchange.stream("text/event-stream");
        exchange.chunk(begun);
        exchange.reset();
    });
    let gateway = start("anthropic", &upstream, &json!({}));
    let reply = gateway.post(&path("invoke-with-response-stream"), body().to_string());
    let seen = frames(&reply.body);
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["chunk", "chunk", "internalServerException"]);
    assert!(seen[2].1["message"].is_string());

    let overloaded =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    let stream = [begun, overloaded].concat();
    let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], stream.as_bytes());
    let gateway = start("anthropic", &upstream, &json!({}));
    let reply = gateway.post(&path("invoke-with-response-stream"), body().to_string());
    let seen = frames(&reply.body);
    assert_eq!(seen[2], ("serviceUnavailableException".to_owned(), json!({"message": "busy"})));
    assert_eq!(seen.len(), 3);
}

#[test]
fn bedrock_gets_the_request_as_it_is() {
    let mut stream = Vec::new();
    for event in [
        r#"{"type":"message_start","message":{"model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}"#,
        concat!(
            r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":9,"#,
            r#""invocationLatency":5,"firstByteLatency":2}}"#
        ),
    ] {
        let chunk = json!({"bytes": BASE64_STANDARD.encode(event), "p": "abcd"}).to_string();
        tollgate::stream::aws::write_event(&mut stream, "chunk", |out| out.extend_from_slice(chunk.as_bytes()));
    }
    for model in [json!({}), json!({"model": ID})] {
        let upstream = Upstream::fixed(200, &[("content-type", "application/vnd.amazon.eventstream")], &stream);
        let gateway = bedrock(&upstream, &model);
        let verb = path("invoke-with-response-stream");
        let reply = gateway.post(&verb, body().to_string());
        assert_eq!(reply.body, stream);
        let sent = upstream.only();
        assert_eq!((sent.path(), sent.text()), (verb.trim_start_matches("/x"), body().to_string()));
        let log = gateway.access(&verb);
        assert_eq!((&log["prompt_tokens"], &log["completion_tokens"]), (&json!(3), &json!(9)), "{log}");
    }
    let upstream = Upstream::json(REPLY);
    let gateway = bedrock(&upstream, &json!({}));
    let reply = gateway.post(&path("invoke"), body().to_string());
    assert_eq!((reply.text(), upstream.only().text()), (REPLY.to_owned(), body().to_string()));
    let log = gateway.access(&path("invoke"));
    assert_eq!((&log["prompt_tokens"], &log["completion_tokens"]), (&json!(3), &json!(4)), "{log}");
}

#[test]
fn the_backends_model_replaces_the_clients_at_bedrock_too() {
    let upstream = Upstream::json(REPLY);
    let gateway = bedrock(&upstream, &json!({"model": "eu.anthropic.claude-haiku-4-5-20251001-v1:0"}));
    let reply = gateway.post(&path("invoke"), body().to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = upstream.only();
    assert_eq!(sent.path(), "/model/eu.anthropic.claude-haiku-4-5-20251001-v1%3A0/invoke");
    let sent = sent.json();
    assert_eq!((&sent["anthropic_version"], &sent["model"]), (&json!("bedrock-2023-05-31"), &Value::Null));
    assert_eq!(sent["anthropic_beta"], json!(["context-1m-2025-08-07"]));

    let converse = r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn",
        "usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"metrics":{"latencyMs":1}}"#;
    let upstream = Upstream::json(converse);
    let gateway = bedrock(&upstream, &json!({"model": "amazon.nova-lite-v1:0"}));
    let reply = gateway.post(&path("invoke"), body().to_string());
    assert_eq!(upstream.only().path(), "/model/amazon.nova-lite-v1%3A0/converse");
    assert_eq!(reply.json()["content"][0]["text"], "hi", "{}", reply.text());
}

#[test]
fn what_the_clients_headers_ask_is_kept_or_named() {
    let guarded = [("x-amzn-bedrock-guardrailidentifier", "g-1"), ("x-amzn-bedrock-guardrailversion", "2")];
    // Bedrock's other Claude gets it.
    let upstream = Upstream::json(REPLY);
    let gateway = bedrock(&upstream, &json!({"model": "eu.anthropic.claude-haiku-4-5-20251001-v1:0"}));
    let reply = gateway.post_with(&path("invoke"), &guarded, body().to_string());
    assert_eq!(upstream.only().header("x-amzn-bedrock-guardrailidentifier").as_deref(), Some("g-1"));
    assert_eq!(reply.header("x-tollgate-dropped"), None);
    // Any other provider does not.
    let mut plain = body();
    plain.as_object_mut().unwrap().remove("future_field");
    for provider in ["anthropic", "openai"] {
        let upstream = Upstream::json(if provider == "openai" { r#"{"id":"c","choices":[]}"# } else { REPLY });
        let gateway = start(provider, &upstream, &json!({"model": "m"}));
        let reply = gateway.post_with(&path("invoke"), &guarded, plain.to_string());
        assert!(
            reply.header("x-tollgate-dropped").is_some_and(|names| names.contains("guardrailConfig")),
            "{provider}"
        );
        assert_eq!(upstream.only().header("x-amzn-bedrock-guardrailidentifier"), None);
        let manifest = s1_with(provider, "/x", upstream.port, &json!({"model": "m"}));
        let strict = manifest.replace("\"ai\":{", "\"ai\":{\"strict\":\"losses\",");
        let gateway = Start::new().manifest("x.yaml", &strict).run();
        let reply = gateway.post_with(&path("invoke"), &guarded, plain.to_string());
        assert_eq!((reply.status, upstream.received().len()), (400, 1), "{provider}: {}", reply.text());
        assert!(reply.json()["message"].as_str().is_some_and(|m| m.contains("guardrailConfig")), "{}", reply.text());
    }
}

#[test]
fn a_reply_of_another_form_than_asked_is_rewritten_or_refused() {
    let json = [("content-type", "application/json")];
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    let stream = path("invoke-with-response-stream");
    let upstream = Upstream::fixed(200, &json, REPLY.as_bytes());
    let reply = start("anthropic", &upstream, &json!({})).post(&stream, body().to_string());
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let seen = frames(&reply.body);
    assert_eq!(seen[2].1["delta"]["text"], "hi", "{seen:?}");
    assert_eq!(seen.last().unwrap().1["amazon-bedrock-invocationMetrics"]["outputTokenCount"], 4);
    for (own, status) in [("{}", 500), ("", 500), ("<html>ok</html>", 500), (overloaded, 503)] {
        let upstream = Upstream::fixed(200, &json, own.as_bytes());
        let reply = start("anthropic", &upstream, &json!({})).post(&stream, body().to_string());
        assert_eq!(reply.status, status, "{own}: {}", reply.text());
        assert!(reply.header("x-amzn-errortype").is_some() && reply.json()["message"].is_string(), "{own}");
    }
    let sse = [("content-type", "text/event-stream")];
    let upstream = Upstream::fixed(200, &sse, STREAM.as_bytes());
    let reply = start("anthropic", &upstream, &json!({})).post(&path("invoke"), body().to_string());
    assert_eq!((reply.status, reply.header("content-type")), (500, Some("application/json")), "{}", reply.text());
}

#[test]
fn a_stream_whose_end_cannot_be_read_ends_with_an_exception() {
    let (begun, _) = STREAM.split_at(STREAM.find("event: message_stop").unwrap());
    for end in [
        "event: error\ndata: Internal Server Error\n\n",
        "event: error\ndata: {\"detail\":\"x\"}\n\n",
        "event: message_stop\ndata: {}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_bl\n\n",
    ] {
        let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], [begun, end].concat().as_bytes());
        let gateway = start("anthropic", &upstream, &json!({}));
        let reply = gateway.post(&path("invoke-with-response-stream"), body().to_string());
        let seen = frames(&reply.body);
        assert!(seen.last().unwrap().0.ends_with("Exception"), "{end}: {seen:?}");
        let log = gateway.access(&path("invoke-with-response-stream"));
        assert!(log["error"].is_string(), "{end}: {log}");
    }
}
