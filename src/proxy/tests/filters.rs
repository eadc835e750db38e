//! A filter that rewrites a word, for every client's API and every provider's: buffered and streaming, spliced and
//! translated.

use std::fmt::Write as _;

use futures_util::stream;
use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::{
    conversation::{ErrorClass, Failure},
    dialect::text::{Block, BlockFilter, TextFilter, TextKind},
    policy::{Findings, PolicyField, ReplyPolicy, RulePolicies, prompt_guard::PromptGuardField},
    stream::{AwsDecoder, aws},
};

/// The model's answer, in pieces that cut the word in two places.
const PIECES: [&str; 5] = ["The se", "cret is ", "a s", "ecr", "et."];
const WORD: &str = "secret";
const MASK: &str = "***";
const MASKED: &str = "The *** is a ***.";

/// Replaces the word, at whatever position the text is cut.
struct Masking;

/// Holds the end of the text that may be the beginning of the word.
#[derive(Default)]
struct MaskedBlock(String);

impl ReplyPolicy for Masking {
    fn text_filter(&self, _: &Findings) -> Option<Arc<dyn TextFilter>> {
        Some(Arc::new(Self))
    }
}

impl TextFilter for Masking {
    fn start(&self, block: Block) -> Option<Box<dyn BlockFilter>> {
        (block.kind == TextKind::Answer).then(|| Box::<MaskedBlock>::default() as _)
    }
}

impl BlockFilter for MaskedBlock {
    fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
        let text = (std::mem::take(&mut self.0) + text).replace(WORD, MASK);
        let held = (0..WORD.len()).rev().find(|length| text.ends_with(&WORD[..*length])).unwrap_or_default();
        let (released, held) = text.split_at(text.len() - held);
        out.push_str(released);
        held.clone_into(&mut self.0);
        Ok(())
    }

    fn finish(&mut self, out: &mut String) -> Result<(), Failure<'static>> {
        out.push_str(&self.0);
        Ok(())
    }
}

/// An event of a stream: its name, where the API has names, and its data.
type Named = (&'static str, Value);

fn events(name: &'static str, values: impl IntoIterator<Item = Value>) -> Vec<Named> {
    values.into_iter().map(|value| (name, value)).collect()
}

fn chat_events() -> Vec<Named> {
    let chunk = |delta: Value, end: Value| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
    };
    let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    chunks.extend(PIECES.map(|piece| chunk(json!({"content": piece}), Value::Null)));
    chunks.push(chunk(json!({}), json!("stop")));
    events("", chunks)
}

fn responses_events() -> Vec<Named> {
    let text = PIECES.concat();
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let item = |content: Value| json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content});
    let response = |output: Value| {
        json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": output,
            "usage": {"input_tokens": 1, "output_tokens": 5, "total_tokens": 6}})
    };
    let at = |mut fields: Value| {
        fields["item_id"] = json!("msg_1");
        fields["output_index"] = json!(0);
        fields["content_index"] = json!(0);
        fields
    };
    let mut out = vec![
        ("response.created", json!({"response": response(json!([]))})),
        ("response.output_item.added", json!({"output_index": 0, "item": item(json!([]))})),
        ("response.content_part.added", at(json!({"part": part("")}))),
    ];
    out.extend(PIECES.map(|piece| ("response.output_text.delta", at(json!({"delta": piece})))));
    out.push(("response.output_text.done", at(json!({"text": text}))));
    out.push(("response.content_part.done", at(json!({"part": part(&text)}))));
    out.push(("response.output_item.done", json!({"output_index": 0, "item": item(json!([part(&text)]))})));
    out.push(("response.completed", json!({"response": response(json!([item(json!([part(&text)]))]))})));
    for (number, (name, value)) in out.iter_mut().enumerate() {
        value["type"] = json!(*name);
        value["sequence_number"] = json!(number);
    }
    out
}

fn messages_events() -> Vec<Named> {
    let usage = json!({"input_tokens": 1, "output_tokens": 5});
    let mut out = vec![
        (
            "message_start",
            json!({"message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage}}),
        ),
        ("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
    ];
    let delta = |piece| ("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": piece}}));
    out.extend(PIECES.map(delta));
    out.push(("content_block_stop", json!({"index": 0})));
    out.push(("message_delta", json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": usage})));
    out.push(("message_stop", json!({})));
    for (name, value) in &mut out {
        value["type"] = json!(*name);
    }
    out
}

fn gemini_events() -> Vec<Named> {
    let chunk =
        |piece: &str| json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": piece}]}}]});
    let mut chunks: Vec<Value> = PIECES.iter().map(|piece| chunk(piece)).collect();
    if let Some(last) = chunks.last_mut() {
        last["candidates"][0]["finishReason"] = json!("STOP");
        last["usageMetadata"] = json!({"promptTokenCount": 1, "candidatesTokenCount": 5, "totalTokenCount": 6});
    }
    events("", chunks)
}

fn converse_events() -> Vec<Named> {
    let mut out = vec![("messageStart", json!({"role": "assistant"}))];
    out.extend(PIECES.map(|piece| ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": piece}}))));
    out.push(("contentBlockStop", json!({"contentBlockIndex": 0})));
    out.push(("messageStop", json!({"stopReason": "end_turn"})));
    out.push((
        "metadata",
        json!({"usage": {"inputTokens": 1, "outputTokens": 5, "totalTokens": 6}, "metrics": {"latencyMs": 1}}),
    ));
    out
}

/// The frames of a stream, each as it arrives from the network.
fn frames(path: &str, json_array: bool) -> (&'static str, Vec<Vec<u8>>) {
    if path.ends_with("converse-stream") {
        let frame = |(name, value): Named| {
            let mut out = Vec::new();
            aws::write_event(&mut out, name, |out| out.extend_from_slice(value.to_string().as_bytes()));
            out
        };
        return ("application/vnd.amazon.eventstream", converse_events().into_iter().map(frame).collect());
    }
    if json_array {
        let mut out = String::new();
        for (number, (_, value)) in gemini_events().iter().enumerate() {
            write!(out, "{}{value}", if number == 0 { "[" } else { ",\n" }).unwrap();
        }
        return ("application/json", vec![(out + "]").into_bytes()]);
    }
    let named = match path {
        path if path.ends_with("/chat/completions") => chat_events(),
        path if path.ends_with("/responses") => responses_events(),
        path if path.ends_with("/messages") => messages_events(),
        path if path.ends_with(":streamGenerateContent") => gemini_events(),
        path => panic!("a stream from {path}"),
    };
    let mut frames: Vec<Vec<u8>> = named
        .into_iter()
        .map(|(name, value)| {
            let name = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
            format!("{name}data: {value}\n\n").into_bytes()
        })
        .collect();
    if path.ends_with("/chat/completions") {
        frames.push(b"data: [DONE]\n\n".to_vec());
    }
    ("text/event-stream", frames)
}

/// The reply that does not stream.
fn buffered(path: &str) -> Value {
    let text = PIECES.concat();
    match path {
        path if path.ends_with("/chat/completions") => {
            json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]})
        }
        path if path.ends_with("/responses") => responses_events().pop().unwrap().1["response"].clone(),
        path if path.ends_with("/messages") => {
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 1, "output_tokens": 5}})
        }
        path if path.ends_with(":generateContent") => json!({"candidates": [{"index": 0, "finishReason": "STOP",
            "content": {"role": "model", "parts": [{"text": text}]}}]}),
        path if path.ends_with("/converse") => {
            json!({"output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 5, "totalTokens": 6}})
        }
        path => panic!("a reply from {path}"),
    }
}

/// A provider of any API: it replies as the path and the request require.
async fn provider() -> SocketAddr {
    upstream(|request: Request<Bytes>| {
        let path = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8().unwrap().into_owned();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let streams = body["stream"] == json!(true) || path.contains("stream");
        if !streams {
            return ([("content-type", "application/json")], Body::from(buffered(&path).to_string()));
        }
        let array = path.ends_with("streamGenerateContent") && request.uri().query() != Some("alt=sse");
        let (content_type, frames) = frames(&path, array);
        let frames = stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
        ([("content-type", content_type)], Body::from_stream(frames))
    })
    .await
}

/// A client's API: its name, the paths without and with a stream, and its request.
const CLIENTS: [(&str, &str, &str, &str); 6] = [
    (
        "chat",
        "/v1/chat/completions",
        "/v1/chat/completions",
        r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#,
    ),
    ("responses", "/v1/responses", "/v1/responses", r#"{"model":"m","input":"x"}"#),
    (
        "messages",
        "/v1/messages",
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
    ),
    ("gemini", "/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse", GEMINI_REQUEST),
    ("gemini array", "/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent", GEMINI_REQUEST),
    (
        "converse",
        "/model/m/converse",
        "/model/m/converse-stream",
        r#"{"messages":[{"role":"user","content":[{"text":"x"}]}]}"#,
    ),
];
const GEMINI_REQUEST: &str = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}]}"#;

/// The providers, each with the API of its requests.
const PROVIDERS: [(&str, &str); 4] = [
    ("openai", OPENAI),
    ("anthropic", "anthropic: {authToken: {kind: Inline, inline: key}}"),
    ("gemini", "gemini: {model: m, apiVersion: v1beta, authToken: {kind: Inline, inline: key}}"),
    (
        "bedrock",
        "bedrock: {model: amazon.nova-pro-v1:0, region: us-east-1, auth: {type: Secret, secretRef: {name: aws}}}",
    ),
];

/// The data of a stream's events.
fn data_of(headers: &HeaderMap, body: &[u8]) -> Vec<Value> {
    let content_type = headers["content-type"].to_str().unwrap();
    if content_type.starts_with("application/vnd.amazon.eventstream") {
        let mut out = Vec::new();
        let mut decoder = AwsDecoder::default();
        decoder.push(body, &mut |frame| out.push(serde_json::from_slice(frame.payload).unwrap())).unwrap();
        return out;
    }
    let text = std::str::from_utf8(body).unwrap();
    if content_type.starts_with("application/json") {
        let value: Value = serde_json::from_str(text).unwrap();
        return value.as_array().cloned().unwrap_or_else(|| vec![value]);
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The text that the client assembles.
fn text_of(client: &str, events: &[Value]) -> String {
    let pieces = events.iter().map(|event| match client {
        "chat" => [&event["choices"][0]["delta"]["content"], &event["choices"][0]["message"]["content"]],
        "responses" if event["type"] == "response.output_text.delta" => [&event["delta"], &Value::Null],
        "responses" => [&event["output"][0]["content"][0]["text"], &Value::Null],
        "messages" => [&event["delta"]["text"], &event["content"][0]["text"]],
        "converse" => [&event["delta"]["text"], &event["output"]["message"]["content"][0]["text"]],
        _ => [&event["candidates"][0]["content"]["parts"][0]["text"], &Value::Null],
    });
    pieces.flatten().filter_map(Value::as_str).collect()
}

/// Every client at every provider. Returns the replies with their description.
async fn grid(edit: fn(&mut Rule)) -> Vec<(String, HeaderMap, Bytes, &'static str)> {
    let mut out = Vec::new();
    for (provider_name, entry) in PROVIDERS {
        let plane = Plane::with(entry, &[provider().await], edit);
        for (client, path, stream_path, request) in CLIENTS {
            for streams in [false, true] {
                let mut body: Value = serde_json::from_str(request).unwrap();
                if streams && path == stream_path {
                    body["stream"] = json!(true);
                }
                let path = if streams { stream_path } else { path };
                let reply = plane.send(Method::POST, path, &body.to_string()).await;
                let what = format!("{client} at {provider_name}, streaming: {streams}");
                let (parts, body) = reply.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                assert_eq!(parts.status, StatusCode::OK, "{what}: {body:?}");
                out.push((what, parts.headers, body, client));
            }
        }
    }
    out
}

#[tokio::test]
async fn a_word_is_rewritten_in_every_cell_of_the_grid() {
    for (what, headers, body, client) in grid(|rule| rule.policies.reply.push(Box::new(Masking))).await {
        let lossy = String::from_utf8_lossy(&body);
        assert!(!lossy.contains(WORD), "{what}: {lossy}");
        assert_eq!(text_of(client, &data_of(&headers, &body)), MASKED, "{what}: {lossy}");
    }
}

#[tokio::test]
async fn without_a_filter_the_text_is_the_models_own() {
    for (what, headers, body, client) in grid(|_| {}).await {
        assert_eq!(text_of(client, &data_of(&headers, &body)), PIECES.concat(), "{what}");
    }
}

#[tokio::test]
async fn an_empty_chain_leaves_a_streams_bytes_as_they_came() {
    let plane = Plane::new(&[provider().await], |_| {});
    let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    let (_, text) = read(plane.send(Method::POST, "/v1/chat/completions", body).await).await;
    assert_eq!(text.as_bytes(), frames("/chat/completions", false).1.concat());
}

/// Ends the reply at the word.
struct Refusing;

impl ReplyPolicy for Refusing {
    fn text_filter(&self, _: &Findings) -> Option<Arc<dyn TextFilter>> {
        Some(Arc::new(Self))
    }
}

impl TextFilter for Refusing {
    fn start(&self, _: Block) -> Option<Box<dyn BlockFilter>> {
        Some(Box::new(Self))
    }
}

impl BlockFilter for Refusing {
    fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
        if text.contains("cret") {
            return Err(Failure::new(403, ErrorClass::Permission, "this answer is refused"));
        }
        out.push_str(text);
        Ok(())
    }

    fn finish(&mut self, _: &mut String) -> Result<(), Failure<'static>> {
        Ok(())
    }
}

#[tokio::test]
async fn a_filter_that_refuses_ends_the_reply_with_an_error_of_the_clients_dialect() {
    let refuse = |rule: &mut Rule| rule.policies.reply.push(Box::new(Refusing));
    let (spliced, translated) =
        (Plane::new(&[provider().await], refuse), Plane::with(PROVIDERS[1].1, &[provider().await], refuse));
    for (plane, outcome) in [(&spliced, "spliced"), (&translated, "translated")] {
        let (status, text) = read(plane.chat().await).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{outcome}: {text}");
        assert!(text.contains("this answer is refused") && !text.contains("cret"), "{outcome}: {text}");
        let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
        let (status, text) = read(plane.send(Method::POST, "/v1/chat/completions", body).await).await;
        assert_eq!(status, StatusCode::OK, "{outcome}: it had begun");
        assert!(text.contains("The se"), "{outcome}: what is before it was released: {text}");
        assert!(text.contains("this answer is refused") && !text.contains("cret is"), "{outcome}: {text}");
        assert!(!text.contains("[DONE]"), "{outcome}: it does not end as if it were complete: {text}");
        assert!(plane.ended(0).iter().all(|(how, _)| *how == "answered"), "{outcome}: {:?}", plane.ended(0));
    }
}

/// The guard that a policy with this `promptGuard` has.
fn guard(rule: &mut Rule, guard: &Value) {
    let spec = serde_json::from_value(json!({"ai": {"promptGuard": guard}})).unwrap();
    let mut built = RulePolicies::default();
    PromptGuardField.build(&spec, &mut built);
    rule.policies = built.policies;
}

#[tokio::test]
async fn a_guard_masks_replies_in_every_cell_of_the_grid() {
    let masks = |rule: &mut Rule| {
        guard(rule, &json!({"response": {"regex": {"matches": [{"name": "X", "pattern": "secret"}]}}}));
    };
    for (what, headers, body, client) in grid(masks).await {
        let lossy = String::from_utf8_lossy(&body);
        assert!(!lossy.contains(WORD), "{what}: {lossy}");
        assert_eq!(text_of(client, &data_of(&headers, &body)), "The <X> is a <X>.", "{what}: {lossy}");
    }
}

#[tokio::test]
async fn a_guard_refuses_replies_with_a_typed_error_of_each_dialect() {
    let refuses = |rule: &mut Rule| {
        guard(rule, &json!({"response": {"regex": {"action": "Reject", "matches": [{"pattern": "secret"}]}}}));
    };
    let message = "The request was rejected due to inappropriate content";
    for (provider_name, entry) in PROVIDERS {
        let plane = Plane::with(entry, &[provider().await], refuses);
        for (client, path, stream_path, request) in CLIENTS {
            let what = format!("{client} at {provider_name}");
            let (status, text) = read(plane.send(Method::POST, path, request).await).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{what}: {text}");
            let error: Value = serde_json::from_str(&text).unwrap();
            let (pointer, kind) = match client {
                "chat" | "responses" => ("/error/code", "guarded"),
                "messages" => ("/error/type", "permission_error"),
                "converse" => ("/message", message),
                _ => ("/error/status", "PERMISSION_DENIED"),
            };
            assert_eq!(error.pointer(pointer), Some(&json!(kind)), "{what}: {text}");
            assert!(text.contains(message) && !text.contains("secret"), "{what}: {text}");

            let mut body: Value = serde_json::from_str(request).unwrap();
            if path == stream_path {
                body["stream"] = json!(true);
            }
            let reply = plane.send(Method::POST, stream_path, &body.to_string()).await;
            assert_eq!(reply.status(), StatusCode::OK, "{what}: it had begun");
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains("The ") && text.contains(message), "{what}: {text}");
            assert!(!text.contains("cret") && !text.contains("[DONE]"), "{what}: {text}");
        }
        let ended = plane.ended(0);
        assert!(ended.iter().all(|(how, _)| *how == "answered"), "{provider_name}: {ended:?}");
    }
}

#[tokio::test]
async fn kgateways_reject_masks_replies() {
    let plane = Plane::new(&[provider().await], |rule| {
        guard(rule, &json!({"response": {"regex": {"action": "REJECT", "matches": [{"pattern": "secret"}]}}}));
    });
    let (status, text) = read(plane.chat().await).await;
    assert!(status == StatusCode::OK && text.contains("The <CUSTOM> is a <CUSTOM>."), "{text}");
}
