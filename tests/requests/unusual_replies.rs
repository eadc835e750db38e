//! Replies in another dialect than the client's that are right in their own way: in a wrapping, with members of other
//! types, with ids that mean nothing.

use serde_json::{Value, json};

use crate::common::{Gateway, Start, Upstream, manifests::s1_with};

const CHAT: &str = "/x/v1/chat/completions";
const MESSAGES: &str = "/x/v1/messages";

fn start(provider: &str, upstream: &Upstream, model: &str) -> Gateway {
    Start::new().manifest("x.yaml", &s1_with(provider, "/x", upstream.port, &json!({"model": model}))).run()
}

/// What a client of Messages asks.
fn message(stream: bool) -> String {
    json!({"model": "m", "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
        .to_string()
}

/// An upstream that streams these events of Chat Completions, each in a piece of its own.
fn streaming(events: &[Value]) -> Upstream {
    let events: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    Upstream::new(move |exchange| {
        exchange.stream("text/event-stream");
        for event in &events {
            exchange.chunk(event);
        }
        exchange.chunk("data: [DONE]\n\n").end();
    })
}

fn chunk(delta: &Value, finish: &Value) -> Value {
    json!({"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

/// The data of all events of a stream.
fn events(stream: &str) -> Vec<Value> {
    stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(|d| serde_json::from_str(d).ok()).collect()
}

#[test]
fn schema_answers_that_are_not_objects_are_wrapped_in_one() {
    let array = json!({"type": "array", "items": {"$ref": "#/$defs/Name"}, "$defs": {"Name": {"type": "string"}}});
    let ask = |stream: bool| {
        json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "names"}], "response_format":
            {"type": "json_schema", "json_schema": {"name": "names", "strict": true, "schema": array}}})
        .to_string()
    };
    let text = r#"{"value":["a","b}"]}"#;
    let whole = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 4}});
    let upstream = Upstream::json(&whole.to_string());
    let gateway = start("anthropic", &upstream, "claude-sonnet-4-6");
    let reply = gateway.post(CHAT, ask(false));
    assert_eq!(reply.json()["choices"][0]["message"]["content"], r#"["a","b}"]"#, "{}", reply.text());
    let schema = &upstream.only().json()["output_config"]["format"]["schema"];
    assert_eq!(
        (&schema["type"], &schema["properties"]["value"]["type"]),
        (&json!("object"), &json!("array")),
        "{schema}"
    );
    assert_eq!(schema["$defs"]["Name"]["type"], "string", "references still lead somewhere: {schema}");

    // A stream, made of the same answer: cut between any two letters.
    let upstream = Upstream::new(move |exchange| {
        exchange.stream("text/event-stream");
        let mut send = |event: Value| {
            let name = event["type"].as_str().unwrap().to_owned();
            exchange.chunk(format!("event: {name}\ndata: {event}\n\n"));
        };
        send(json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "role": "assistant",
            "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}}));
        send(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
        for letter in text.chars() {
            send(json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": letter.to_string()}}));
        }
        send(json!({"type": "content_block_stop", "index": 0}));
        send(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}));
        send(json!({"type": "message_stop"}));
        exchange.end();
    });
    let gateway = start("anthropic", &upstream, "claude-sonnet-4-6");
    let stream = gateway.post(CHAT, ask(true)).text();
    let content = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    assert_eq!(events(&stream).iter().filter_map(content).collect::<String>(), r#"["a","b}"]"#, "{stream}");
}

#[test]
fn fields_of_unexpected_types_are_dropped_and_reported() {
    let odd = json!({"id": 7, "object": "chat.completion", "created": "now", "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": "none"}}});
    let upstream = Upstream::json(&odd.to_string());
    let gateway = start("openai", &upstream, "m");
    let reply = gateway.post(MESSAGES, message(false));
    assert_eq!((reply.status, &reply.json()["content"][0]["text"]), (200, &json!("hi")), "{}", reply.text());
    assert_eq!(reply.json()["usage"]["output_tokens"], 4);
    assert_eq!(reply.header("x-tollgate-dropped"), Some("reply.id"));

    let upstream = streaming(&[
        chunk(&json!({"role": "assistant", "content": "h"}), &json!(null)),
        json!({"id": "c1", "model": {"name": "m"}, "choices": [{"index": 0, "delta": {"content": "i"}}]}),
        chunk(&json!({}), &json!("stop")),
    ]);
    let gateway = start("openai", &upstream, "m");
    let stream = gateway.post(MESSAGES, message(true)).text();
    let text = |event: &Value| event["delta"]["text"].as_str().map(str::to_owned);
    assert_eq!(events(&stream).iter().filter_map(text).collect::<String>(), "hi", "{stream}");
    assert!(stream.contains("event: message_stop"), "{stream}");
    assert_eq!(gateway.access(MESSAGES)["dropped"], "reply.model");
}

#[test]
fn an_unreadable_reply_is_an_error_and_not_empty() {
    let choice = |message: Value| json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
    for choices in [
        choice(json!("hi there")),
        choice(json!({"role": "assistant", "tool_calls": [{"id": "t", "function": "get_weather"}]})),
        choice(json!({
            "role": "assistant",
            "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}, "bad"],
        })),
        json!([{"index": "0", "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]),
    ] {
        let upstream = Upstream::json(&json!({"id": "c1", "model": "m", "choices": choices}).to_string());
        let gateway = start("openai", &upstream, "m");
        let reply = gateway.post(MESSAGES, message(false));
        assert_eq!(reply.status, 502, "{choices}: {}", reply.text());

        let mut events = choices.clone();
        let message = events[0].as_object_mut().unwrap().remove("message").unwrap();
        events[0]["delta"] = message;
        let upstream = streaming(&[json!({"id": "c1", "model": "m", "choices": events})]);
        let gateway = start("openai", &upstream, "m");
        let stream = gateway.post(MESSAGES, self::message(true)).text();
        assert!(stream.contains("event: error") && !stream.contains("message_stop"), "{choices}: {stream}");
    }
}

#[test]
fn tool_calls_with_the_same_id_get_different_ids() {
    let call = |index: Option<u32>, name: &str| {
        let mut call = json!({"id": "call", "type": "function", "function": {"name": name, "arguments": "{}"}});
        if let Some(index) = index {
            call["index"] = index.into();
        }
        call
    };
    let whole = json!({"id": "c1", "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 4},
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message":
            {"role": "assistant", "content": null, "tool_calls": [call(None, "one"), call(None, "two")]}}]});
    let upstream = Upstream::json(&whole.to_string());
    let gateway = start("openai", &upstream, "m");
    let reply = gateway.post(MESSAGES, message(false)).json();
    let content = &reply["content"];
    assert_eq!((&content[0]["name"], &content[1]["name"]), (&json!("one"), &json!("two")), "{reply}");
    assert_ne!(content[0]["id"], content[1]["id"], "{reply}");

    let more =
        |index: u32, arguments: &str| json!({"index": index, "id": "call", "function": {"arguments": arguments}});
    let begun = |index: u32, name: &str| {
        let mut call = call(Some(index), name);
        call["function"]["arguments"] = "".into();
        call
    };
    let upstream = streaming(&[
        chunk(&json!({"tool_calls": [begun(0, "one")]}), &json!(null)),
        chunk(&json!({"tool_calls": [begun(1, "two")]}), &json!(null)),
        chunk(&json!({"tool_calls": [more(0, "{\"a\":1}")]}), &json!(null)),
        chunk(&json!({"tool_calls": [more(1, "{\"b\":2}")]}), &json!(null)),
        chunk(&json!({}), &json!("tool_calls")),
    ]);
    let gateway = start("openai", &upstream, "m");
    let stream = gateway.post(MESSAGES, message(true)).text();
    let opened = |event: &Value| Some(event["content_block"]["id"].as_str()?.to_owned());
    let ids: Vec<String> = events(&stream).iter().filter_map(opened).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?} in {stream}");
    let given = |event: &Value| Some((event["index"].as_u64()?, event["delta"]["partial_json"].as_str()?.to_owned()));
    let given: Vec<(u64, String)> =
        events(&stream).iter().filter_map(given).filter(|(_, json)| !json.is_empty()).collect();
    assert_eq!(given, [(0, "{\"a\":1}".to_owned()), (1, "{\"b\":2}".to_owned())], "{stream}");
}

#[test]
fn a_request_may_have_instructions_alone() {
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 4}});
    let upstream = Upstream::json(&answer.to_string());
    let gateway = start("anthropic", &upstream, "claude-sonnet-4-6");
    let body = json!({"model": "m", "messages": [{"role": "system", "content": "say hi"}]});
    assert_eq!(gateway.post(CHAT, body.to_string()).status, 200);
    let sent = upstream.only().json();
    assert_eq!(sent["messages"][0]["role"], "user", "{sent}");
    let none = gateway.post(CHAT, r#"{"model":"m","messages":[]}"#);
    assert_eq!(none.status, 400, "{}", none.text());
}

#[test]
fn an_error_event_with_any_text_is_a_failed_answer() {
    for data in ["Internal Server Error", "{\"detail\":\"x\"}", "[1]"] {
        let stream = format!("event: error\ndata: {data}\n\n");
        let upstream = Upstream::fixed(200, &[("content-type", "text/event-stream")], stream.as_bytes());
        let gateway = start("anthropic", &upstream, "m");
        let reply = gateway.post(MESSAGES, message(true));
        assert_eq!(reply.text(), stream, "a client of the same dialect gets the event as it is");
        let log = gateway.access(MESSAGES);
        assert!(log["error"].is_string(), "{data}: {log}");
    }
}
