//! Requests in another dialect than their provider's: what the provider gets, and what comes back.

use serde_json::{Value, json};

use crate::common::{
    DialectId, Gate, Gateway, PATIENCE, Reply, Start, Upstream, assert_error, assert_shape, manifests::s1_with,
    request, wait_until,
};

const CHAT: &str = "/x/v1/chat/completions";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-real",
    "content":[{"type":"text","text":"hi é"}],"stop_reason":"end_turn","stop_sequence":null,
    "usage":{"input_tokens":3,"cache_read_input_tokens":2,"output_tokens":4}}"#;

/// A Claude behind `/x`.
fn claude(upstream: &Upstream) -> Gateway {
    start("anthropic", upstream, &json!({"model": "claude-sonnet-4-5"}))
}

fn start(provider: &str, upstream: &Upstream, fields: &Value) -> Gateway {
    Start::new().manifest("x.yaml", &s1_with(provider, "/x", upstream.port, fields)).run()
}

fn ask(gateway: &Gateway, body: &Value) -> Reply {
    gateway.post(CHAT, body.to_string())
}

fn hello() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
}

#[test]
fn chat_is_translated_to_messages_and_back() {
    let upstream = Upstream::json(MESSAGE);
    let gateway = claude(&upstream);
    let mut body = hello();
    body["messages"] = json!([
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hello \"you\" \u{1F600}"},
    ]);
    body["temperature"] = json!(0.5);
    let reply = ask(&gateway, &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let received = upstream.only();
    assert_eq!(received.path(), "/v1/messages");
    assert_eq!(received.header("anthropic-version").as_deref(), Some("2023-06-01"));
    assert_eq!(received.header("content-type").as_deref(), Some("application/json"));
    let sent = received.json();
    assert_eq!(sent["model"], "claude-sonnet-4-5");
    assert_eq!(sent["temperature"], 0.5);
    assert!(sent["max_tokens"].as_u64().is_some_and(|n| n >= 4096), "{sent}");
    assert!(sent["system"].to_string().contains("be kind"), "{sent}");
    assert!(sent["messages"].to_string().contains("hello \\\"you\\\" \u{1F600}"), "{sent}");
    let answer = reply.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "claude-real");
    assert_eq!(answer["choices"][0]["message"]["content"], "hi é");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["prompt_tokens"], 5);
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    assert_eq!(reply.header("x-tollgate-dropped"), None);
    let log = gateway.access(CHAT);
    assert_eq!((&log["prompt_tokens"], &log["completion_tokens"]), (&json!(5), &json!(4)), "{log}");
    assert_eq!(log["response_model"], "claude-real");
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn headers_of_the_clients_dialect_are_not_forwarded() {
    let upstream = Upstream::json(MESSAGE);
    let gateway = claude(&upstream);
    let headers = [
        ("openai-organization", "org"),
        ("x-stainless-lang", "js"),
        ("accept", "text/event-stream"),
        ("traceparent", TRACE),
    ];
    gateway.post_with(CHAT, &headers, hello().to_string());
    let received = upstream.only();
    for gone in ["openai-organization", "x-stainless-lang", "accept"] {
        assert_eq!(received.header(gone), None, "{gone}");
    }
    assert_eq!(received.header("traceparent").as_deref(), Some(TRACE));
}

#[test]
fn unsupported_fields_are_reported() {
    let upstream = Upstream::json(MESSAGE);
    let gateway = claude(&upstream);
    let mut body = hello();
    body["seed"] = json!(7);
    body["logit_bias"] = json!({"5": 1});
    let reply = ask(&gateway, &body);
    assert_eq!(reply.status, 200);
    let dropped = reply.header("x-tollgate-dropped").unwrap_or_default().to_owned();
    assert!(dropped.contains("seed") && dropped.contains("logit_bias"), "{dropped}");
    assert_eq!(gateway.access(CHAT)["dropped"], dropped.as_str());
    let sent = upstream.only().json();
    assert!(sent.get("seed").is_none() && sent.get("logit_bias").is_none(), "{sent}");
}

#[test]
fn nested_unsupported_fields_are_reported() {
    let upstream = Upstream::json(MESSAGE);
    let gateway = claude(&upstream);
    let mut body = hello();
    body["messages"] =
        json!([{"role": "user", "content": [{"type": "text", "text": "hello", "emphasis": "strong"}], "seen": null}]);
    body["tools"] = json!([{"type": "function", "function": {"name": "f", "timeout_ms": 5}}]);
    let reply = ask(&gateway, &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-tollgate-dropped"), Some("emphasis, timeout_ms"));
}

#[test]
fn unsupported_reply_fields_are_reported() {
    let answer = MESSAGE
        .replace(r#""content":["#, r#""content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{}},"#);
    let upstream = Upstream::json(&answer);
    let gateway = claude(&upstream);
    let mut body = hello();
    body["seed"] = json!(7);
    let reply = ask(&gateway, &body);
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "hi é");
    assert_eq!(reply.header("x-tollgate-dropped"), Some("seed, reply.web_search"));
    assert_eq!(gateway.access(CHAT)["dropped"], "seed, reply.web_search");
}

#[test]
fn unsupported_stream_fields_are_logged() {
    let block = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":9,\
        \"content_block\":{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\"}}\n\n";
    let stream = [&STREAM[..1], &[block], &STREAM[1..]].concat().concat();
    let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], stream.as_bytes());
    let gateway = claude(&upstream);
    let reply = ask(&gateway, &streaming());
    assert_eq!(chat_text(&reply.text()), ("hi é".to_owned(), true));
    assert_eq!(reply.header("x-tollgate-dropped"), None, "the head is sent before it is known");
    assert_eq!(gateway.access(CHAT)["dropped"], "reply.web_search");
}

#[test]
fn an_invalid_tool_call_is_an_error_and_not_an_empty_reply() {
    let answer = json!({"id": "c1", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": null, "tool_calls": [
            {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\": "}}]},
        "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    let upstream = Upstream::json(&answer.to_string());
    let gateway = start("openai", &upstream, &json!({"model": "gpt-4.1"}));
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]});
    let reply = gateway.post("/x/v1/messages", body.to_string());
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_shape(&reply.json(), DialectId::Anthropic, 502, "not a JSON object");
}

#[test]
fn a_strict_backend_refuses_unsupported_fields() {
    let upstream = Upstream::json(MESSAGE);
    let manifest = s1_with("anthropic", "/x", upstream.port, &json!({"model": "claude-sonnet-4-5"}));
    let strict =
        manifest.replace("\"ai\":{", "\"ai\":{\"strict\":true,").replace("  ai:\n", "  ai:\n    strict: true\n");
    assert_ne!(strict, manifest);
    let gateway = Start::new().manifest("x.yaml", &strict).run();
    let mut body = hello();
    assert_eq!(ask(&gateway, &body).status, 200);
    body["seed"] = json!(7);
    let reply = ask(&gateway, &body);
    assert_error(&reply, DialectId::OpenAi, 400, "seed");
    assert!(reply.text().contains("seed"), "{}", reply.text());
    assert_eq!(upstream.received().len(), 1, "no request may be sent");
}

#[test]
fn a_backend_that_is_strict_about_losses_takes_hints() {
    let upstream = Upstream::json(MESSAGE);
    let manifest = s1_with("anthropic", "/x", upstream.port, &json!({"model": "claude-sonnet-4-5"}));
    let strict = manifest
        .replace("\"ai\":{", "\"ai\":{\"strict\":\"losses\",")
        .replace("  ai:\n", "  ai:\n    strict: losses\n");
    assert_ne!(strict, manifest);
    let gateway = Start::new().manifest("x.yaml", &strict).run();
    let mut body = hello();
    for (key, value) in
        [("metadata", json!({"team": "a"})), ("prompt_cache_key", json!("k")), ("verbosity", json!("low"))]
    {
        body[key] = value;
    }
    let reply = ask(&gateway, &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let dropped = "metadata;hint, prompt_cache_key;hint, verbosity;hint";
    assert_eq!(reply.header("x-tollgate-dropped").map(sorted).as_deref(), Some(dropped));
    body["seed"] = json!(7);
    let reply = ask(&gateway, &body);
    assert_error(&reply, DialectId::OpenAi, 400, "seed");
    assert!(!reply.text().contains("metadata"), "{}", reply.text());
    assert_eq!(upstream.received().len(), 1, "no request may be sent");
}

/// The elements of a header in the order of the alphabet.
fn sorted(header: &str) -> String {
    let mut names: Vec<&str> = header.split(", ").collect();
    names.sort_unstable();
    names.join(", ")
}

#[test]
fn invalid_fields_are_refused_by_name() {
    let upstream = Upstream::json(MESSAGE);
    let gateway = claude(&upstream);
    for (change, field) in [
        (json!({"messages": "hello"}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user", "content": 7}]}), "messages[0].content"),
        (
            json!({"messages": [{
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": 7}}],
            }]}),
            "arguments",
        ),
        (json!({"temperature": "hot"}), "temperature"),
    ] {
        let mut body = hello();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let reply = ask(&gateway, &body);
        assert_error(&reply, DialectId::OpenAi, 400, field);
        assert!(reply.text().contains(field), "{field}: {}", reply.text());
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn errors_are_in_the_clients_dialect() {
    let body = br#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"},"request_id":"req_9"}"#;
    let headers = [("content-type", "application/json"), ("retry-after", "7"), ("request-id", "req_9")];
    let upstream = Upstream::fixed(429, &headers, body);
    let gateway = claude(&upstream);
    let reply = ask(&gateway, &hello());
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(reply.json()["error"]["message"], "slow down");
    assert_shape(&reply.json(), DialectId::OpenAi, 429, "slow down");
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!(reply.header("x-request-id"), Some("req_9"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[test]
fn unreadable_replies_are_errors_with_a_reason() {
    for (status, content_type, body) in [
        (200, "text/html", "<html>login</html>"),
        (200, "application/json", "{}"),
        (200, "application/json", "{\"content\":"),
        (500, "text/html", "<html>oops</html>"),
        (502, "text/plain", ""),
    ] {
        let upstream = Upstream::fixed(status, &[("content-type", content_type)], body.as_bytes());
        let gateway = claude(&upstream);
        let reply = ask(&gateway, &hello());
        assert!(reply.status >= 500, "{status} {body}: {} {}", reply.status, reply.text());
        assert!(reply.json()["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}: {}", reply.text());
    }
}

const STREAM: [&str; 6] = [
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-real\",\
        \"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
        \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
        \"delta\":{\"type\":\"text_delta\",\"text\":\"hi \\u00e9\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
        \"usage\":{\"output_tokens\":4}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

fn streaming() -> Value {
    let mut body = hello();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// The text of a Chat stream, and whether it ended as one does.
fn chat_text(stream: &str) -> (String, bool) {
    let mut text = String::new();
    for data in stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter(|d| *d != "[DONE]") {
        let chunk: Value = serde_json::from_str(data).unwrap();
        text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
    }
    (text, stream.ends_with("data: [DONE]\n\n"))
}

#[test]
fn streams_are_translated_as_they_come() {
    let gate = Gate::default();
    let opened = gate.clone();
    let upstream = Upstream::new(move |exchange| {
        exchange.stream("text/event-stream");
        for event in &STREAM[..3] {
            exchange.chunk(event);
        }
        opened.wait();
        for event in &STREAM[3..] {
            exchange.chunk(event);
        }
        exchange.end();
    });
    let gateway = claude(&upstream);
    let mut client = gateway.connect();
    client.send(&request("POST", CHAT, JSON, streaming().to_string().as_bytes()));
    let head = client.head();
    assert_eq!(head.status, 200);
    assert!(head.header("content-type").unwrap().starts_with("text/event-stream"));
    let mut seen = String::new();
    // The text is here although the provider has not ended.
    while !seen.contains("hi ") {
        seen.push_str(&client.event().expect("more of the stream"));
        seen.push_str("\n\n");
    }
    gate.open();
    while let Some(event) = client.event() {
        seen.push_str(&event);
        seen.push_str("\n\n");
    }
    assert!(seen.contains("hi é") || seen.contains("hi \\u00e9"), "{seen}");
    assert!(seen.contains("\"prompt_tokens\":3") && seen.contains("\"completion_tokens\":4"), "{seen}");
    assert!(seen.contains("[DONE]"), "{seen}");
    let log = gateway.access(CHAT);
    assert_eq!((&log["prompt_tokens"], &log["completion_tokens"]), (&json!(3), &json!(4)), "{log}");
    assert_eq!(log["tokens_estimated"], Value::Null);
}

#[test]
fn a_stream_that_is_cut_ends_with_an_error() {
    for cut in 1..STREAM.len() - 1 {
        let upstream = Upstream::new(move |exchange| {
            exchange.stream("text/event-stream");
            for event in &STREAM[..cut] {
                exchange.chunk(event);
            }
            exchange.end();
        });
        let gateway = claude(&upstream);
        let reply = ask(&gateway, &streaming());
        let text = reply.text();
        assert!(text.contains("\"error\""), "cut behind {cut}: {text}");
        let (_, done) = chat_text(&text.replace("data: {\"error\"", "ignored: {\"error\""));
        assert!(!done || text.contains("\"error\""), "{text}");
        let log = gateway.access(CHAT);
        assert_eq!(log["error"], "upstream_closed", "{log}");
    }
}

#[test]
fn usage_of_a_stream_without_counts_is_estimated_and_marked() {
    let upstream = Upstream::new(|exchange| {
        exchange.stream("text/event-stream");
        let text = "a".repeat(40);
        exchange.chunk(format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"));
        exchange
            .chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
        exchange.end();
    });
    let gateway = start("openai", &upstream, &json!({"model": "m"}));
    let body =
        json!({"model": "m", "max_tokens": 50, "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let reply = gateway.post_with("/x/v1/messages", &[("anthropic-version", "2023-06-01")], body.to_string());
    assert!(reply.text().contains("event: message_stop"), "{}", reply.text());
    let log = gateway.access("/x/v1/messages");
    assert_eq!(log["completion_tokens"], 10, "{log}");
    assert_eq!(log["tokens_estimated"], true, "{log}");
    let estimated = gateway.metrics().sum("tollgate_estimated_tokens_total", &[("llm", "openai")]);
    assert!(estimated > 10.0, "{estimated}");
}

#[test]
fn a_buffered_reply_is_sent_as_a_stream() {
    let upstream = Upstream::json(MESSAGE);
    let gateway = claude(&upstream);
    let reply = ask(&gateway, &streaming());
    assert_eq!(chat_text(&reply.text()), ("hi é".to_owned(), true), "{}", reply.text());
}

#[test]
fn media_at_private_addresses_are_refused_and_never_fetched() {
    let upstream = Upstream::json(r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#);
    let images = Upstream::fixed(200, &[("content-type", "image/png")], b"\x89PNG\r\n\x1a\nimage");
    let manifest =
        s1_with("gemini", "/x", upstream.port, &json!({"model": "gemini-2.5-flash", "apiVersion": "v1beta"}));
    let mut body = hello();
    let url = format!("http://127.0.0.1:{}/i.png", images.port);
    body["messages"] = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]);
    let gateway = Start::new().manifest("x.yaml", &manifest).flag("--media-ports", &images.port.to_string()).run();
    let reply = ask(&gateway, &body);
    assert_error(&reply, DialectId::OpenAi, 400, "private");
    assert!(reply.text().contains("media URL 1"), "{}", reply.text());
    assert!(images.received().is_empty() && upstream.received().is_empty());
    drop(gateway);
    let gateway = Start::new()
        .manifest("x.yaml", &manifest)
        .arg("--fetch-private-addresses")
        .flag("--media-ports", &images.port.to_string())
        .run();
    let reply = ask(&gateway, &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = upstream.only().json();
    assert_eq!(sent["contents"][0]["parts"][0]["inlineData"]["mimeType"], "image/png", "{sent}");
    let fetched = images.only();
    for private in ["authorization", "cookie", "x-goog-api-key"] {
        assert_eq!(fetched.header(private), None);
    }
}

#[test]
fn files_that_cloud_claude_does_not_fetch_are_inlined_into_a_spliced_body() {
    let upstream = Upstream::json(MESSAGE);
    let images = Upstream::new(|exchange| {
        let (kind, body): (_, &[u8]) = if exchange.request().path() == "/i.png" {
            ("image/png", b"\x89PNG\r\n\x1a\nimage")
        } else {
            ("text/plain", b"notes")
        };
        exchange.reply(200, &[("content-type", kind)], body);
    });
    let fields = json!({
        "publisher": "ANTHROPIC", "model": "claude-sonnet-4-5", "projectId": "p", "location": "l", "apiVersion": "v1",
    });
    let gateway = Start::new()
        .manifest("x.yaml", &s1_with("vertexai", "/x", upstream.port, &fields))
        .arg("--fetch-private-addresses")
        .flag("--media-ports", &images.port.to_string())
        .run();
    let link = |name: &str| json!({"type": "url", "url": format!("http://127.0.0.1:{}/{name}", images.port)});
    let body = json!({"model": "any", "max_tokens": 9, "future": {"a": 1.50}, "messages": [{"role": "user", "content": [
        {"type": "image", "source": link("i.png"), "mood": "calm"},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": link("i.png")}]},
        {"type": "document", "source": link("a.txt"), "title": "T"},
    ]}]});
    let reply = gateway.post("/x/v1/messages", body.to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-tollgate-dropped"), None);
    assert_eq!(reply.text(), MESSAGE.replace("claude-real", "any"), "only the model of the reply changes");
    let sent = upstream.only().json();
    let image = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgppbWFnZQ=="});
    let mut expected = body;
    expected["messages"][0]["content"][0]["source"] = image.clone();
    expected["messages"][0]["content"][1]["content"][0]["source"] = image;
    expected["messages"][0]["content"][2]["source"] =
        json!({"type": "text", "media_type": "text/plain", "data": "notes"});
    expected.as_object_mut().unwrap().remove("model");
    expected["anthropic_version"] = json!("vertex-2023-10-16");
    assert_eq!(sent, expected);
    assert_eq!(images.received().len(), 2, "each URL once");
}

#[test]
fn a_client_disconnect_cancels_the_translated_request() {
    for stream in [false, true] {
        let upstream = Upstream::new(move |exchange| {
            if stream {
                exchange.stream("text/event-stream");
                exchange.chunk(STREAM[0]);
            }
            exchange.wait_closed();
        });
        let gateway = claude(&upstream);
        let body = if stream { streaming() } else { hello() };
        let mut client = gateway.connect();
        client.send(&request("POST", CHAT, JSON, body.to_string().as_bytes()));
        wait_until("the request upstream", PATIENCE, || (!upstream.received().is_empty()).then_some(()));
        drop(client);
        upstream.wait_for_closed(1);
        assert_eq!(gateway.access(CHAT)["error"], "client_closed", "stream: {stream}");
    }
}

#[test]
fn files_of_one_request_are_bounded_together_and_fetched_once() {
    let upstream = Upstream::json(r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#);
    let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
    image.resize(17 * 1024 * 1024, 0);
    let images = Upstream::fixed(200, &[("content-type", "image/png")], &image);
    let fields = json!({"model": "gemini-2.5-flash", "apiVersion": "v1beta"});
    let manifest = s1_with("gemini", "/x", upstream.port, &fields);
    let gateway = Start::new()
        .manifest("x.yaml", &manifest)
        .arg("--fetch-private-addresses")
        .flag("--media-ports", &images.port.to_string())
        .run();
    let with = |names: &[&str]| {
        let image = |name: &&str| {
            let url = format!("http://127.0.0.1:{}/{name}", images.port);
            json!({"type": "image_url", "image_url": {"url": url}})
        };
        let parts: Vec<Value> = names.iter().map(image).collect();
        json!({"model": "m", "messages": [{"role": "user", "content": parts}]})
    };
    let reply = ask(&gateway, &with(&["a", "b"]));
    assert_error(&reply, DialectId::OpenAi, 400, "two are too much");
    assert!(reply.text().contains("together"), "{}", reply.text());
    assert!(upstream.received().is_empty());
    let before = images.received().len();
    assert_eq!(ask(&gateway, &with(&["c", "c"])).status, 200);
    assert_eq!(images.received().len() - before, 1, "the same file is fetched once");
    let sent = upstream.only().json();
    assert_eq!(sent["contents"][0]["parts"][0], sent["contents"][0]["parts"][1]);
}

#[test]
fn a_body_of_too_many_values_is_refused_before_it_is_read() {
    let upstream = Upstream::json(MESSAGE);
    let gateway = claude(&upstream);
    let parts = vec!["{}"; 300_000].join(",");
    let reply = gateway.post(CHAT, format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{parts}]}}]}}"#));
    assert_error(&reply, DialectId::OpenAi, 413, "values");
    assert!(reply.text().contains("values"), "{}", reply.text());
    assert!(upstream.received().is_empty());
}
