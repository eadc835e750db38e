//! The WebSocket mode of Responses: what clients get, and what reaches providers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{
    CLIENT_KEY, DialectId, Exchange, Gate, Gateway, KEY, PATIENCE, Start, Upstream, WebSocket, assert_error,
    manifests::{backend, llm, route, rule, s1, s1_of, s1_with, secret, yaml},
    wait_until,
    websocket::handshake,
};

const PATH: &str = "/x/v1/responses";
const ENDS: [&str; 4] = ["response.completed", "response.incomplete", "response.failed", "error"];

/// An event of a client.
#[expect(clippy::needless_pass_by_value, reason = "they are written in place")]
fn create(fields: Value) -> Value {
    let mut event = json!({"type": "response.create", "model": "m", "store": false});
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event
}

/// The message that a model answers with.
fn answer(text: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

/// OpenAI's stream of a response with this id, event by event.
fn events(id: &str) -> Vec<Value> {
    let response = |status: &str| json!({"id": id, "object": "response", "status": status, "model": "m-2"});
    let mut whole = response("completed");
    whole["output"] = json!([answer("hi \u{e9}")]);
    whole["usage"] = json!({"input_tokens": 3, "output_tokens": 4, "total_tokens": 7});
    vec![
        json!({"type": "response.created", "sequence_number": 0, "response": response("in_progress")}),
        json!({"type": "response.output_text.delta", "sequence_number": 1, "delta": "hi \u{e9}", "new": {"a": 1.50}}),
        json!({"type": "response.output_item.done", "sequence_number": 2, "output_index": 0,
            "item": answer("hi \u{e9}")}),
        json!({"type": "response.completed", "sequence_number": 3, "response": whole}),
    ]
}

fn sse(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

/// Answers with the stream of `resp_N`, for the N-th request.
fn stream(exchange: &mut Exchange) {
    let id = format!("resp_{}", exchange.nth);
    exchange.stream("text/event-stream");
    for event in events(&id) {
        exchange.chunk(sse(&event));
    }
    exchange.end();
}

fn openai(upstream: &Upstream) -> Gateway {
    Start::new().manifest("a.yaml", &s1("openai", "/x", upstream.port)).run()
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": text})
}

/// The text of a response, from its deltas.
fn text(events: &[Value]) -> String {
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    deltas.map(|event| event["delta"].as_str().unwrap()).collect()
}

/// The access log's lines, of which there are `count`.
fn access_lines(gateway: &Gateway, count: usize) -> Vec<Value> {
    wait_until("the access log", PATIENCE, || {
        let lines = gateway.log().into_iter().filter(|line| line["target"] == "tollgate::access");
        let lines: Vec<Value> = lines.collect();
        (lines.len() == count).then_some(lines)
    })
}

#[test]
fn each_event_of_a_stream_is_a_frame_and_responses_follow_each_other() {
    let upstream = Upstream::new(stream);
    let gateway = openai(&upstream);
    let mut socket = WebSocket::open(&gateway, PATH);
    for turn in 0..2 {
        socket.send(&create(json!({"input": "q", "tools": []})));
        assert_eq!(socket.until(&ENDS), events(&format!("resp_{turn}")));
        let sent = upstream.received().pop().unwrap();
        assert_eq!(sent.line(), "POST /v1/responses HTTP/1.1");
        assert_eq!(sent.json(), json!({"model": "m", "store": false, "stream": true, "input": "q", "tools": []}));
        assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}")));
        assert_eq!(sent.header("content-type").as_deref(), Some("application/json"));
        let is_of_handshake = |(name, _): &(String, String)| name.starts_with("sec-") || name == "upgrade";
        assert!(!sent.headers().iter().any(is_of_handshake), "{}", sent.head);
    }
    socket.close();
    // Each response is a request of its own, beside the handshake.
    let lines = access_lines(&gateway, 3);
    let shown: Vec<_> = lines.iter().map(|line| (&line["method"], &line["status"], &line["stream"])).collect();
    let (get, post) = (json!("GET"), json!("POST"));
    let (switched, ok) = (json!(101), json!(200));
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(shown, [(&get, &switched, &no), (&post, &ok, &yes), (&post, &ok, &yes)]);
    assert!(lines.iter().all(|line| line["error"].is_null()), "{lines:?}");
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("tollgate_requests_total", &[("status", "200")]), 2.0);
    assert_eq!(metrics.sum("tollgate_requests_total", &[("status", "101")]), 1.0);
    assert_eq!(metrics.sum("ai_prompt_tokens_total", &[("llm", "openai")]), 6.0);
}

#[test]
fn translated_streams_are_frames_too() {
    let claude = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\
        \"message\",\"role\":\"assistant\",\"model\":\"m-2\",\"content\":[],\"usage\":{\"input_tokens\":3,\
        \"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
        \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\
        \"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n\
        event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let gemini = "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hi\"}]},\
        \"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4},\
        \"modelVersion\":\"m-2\",\"responseId\":\"g1\"}\r\n\r\n";
    for (provider, reply, model, conversation) in [
        ("anthropic", claude, json!({"model": "claude-sonnet-4-5"}), "messages"),
        ("gemini", gemini, json!({"model": "gemini-2.5-pro"}), "contents"),
    ] {
        let upstream = Upstream::new(move |exchange| {
            exchange.stream("text/event-stream").chunk(reply).end();
        });
        let gateway = Start::new().manifest("x.yaml", &s1_with(provider, "/x", upstream.port, &model)).run();
        let mut socket = WebSocket::open(&gateway, PATH);
        let first = socket.send(&create(json!({"input": "one"}))).until(&ENDS);
        assert_eq!(first[0]["type"], "response.created", "{provider}: {first:?}");
        assert_eq!(text(&first), "hi", "{provider}");
        let last = &first.last().unwrap();
        assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.completed"), &json!("completed")));
        assert_eq!(last["response"]["usage"]["output_tokens"], 4, "{provider}");
        // The conversation goes on at a provider that stores nothing.
        let id = last["response"]["id"].as_str().unwrap();
        socket.send(&create(json!({"previous_response_id": id, "input": "two"}))).until(&ENDS);
        let sent = upstream.received().pop().unwrap().json();
        let turns = sent[conversation].as_array().unwrap();
        assert_eq!(turns.len(), 3, "{provider}: {sent}");
        for (turn, part) in turns.iter().zip(["one", "hi", "two"]) {
            assert!(turn.to_string().contains(part), "{provider}: {sent}");
        }
        let line = gateway.wait_for_log("the response", |line| line["provider"] == provider);
        assert_eq!((&line["status"], &line["dialect"]), (&json!(200), &json!("OpenAI")), "{line}");
    }
}

#[test]
fn a_response_of_the_connection_is_continued_without_storage() {
    let upstream = Upstream::new(stream);
    let gateway = openai(&upstream);
    let mut socket = WebSocket::open(&gateway, PATH);
    socket.send(&create(json!({"input": "one"}))).until(&ENDS);
    let call = json!({"type": "function_call_output", "call_id": "c", "output": "o"});
    socket.send(&create(json!({"previous_response_id": "resp_0", "input": [call]}))).until(&ENDS);
    socket.send(&create(json!({"previous_response_id": "resp_1", "input": "three"}))).until(&ENDS);
    let sent = upstream.received().pop().unwrap().json();
    let model = answer("hi \u{e9}");
    assert_eq!(sent["input"], json!([user("one"), model, call, model, user("three")]));
    assert_eq!(sent.get("previous_response_id"), None);
    // Neither one that was continued already, nor one of another connection.
    let mut other = WebSocket::open(&gateway, PATH);
    for socket in [&mut socket, &mut other] {
        let error = socket.send(&create(json!({"previous_response_id": "resp_1", "input": "x"}))).event();
        assert_eq!((&error["type"], &error["status"]), (&json!("error"), &json!(400)));
        assert_eq!(error["error"]["code"], "previous_response_not_found");
        assert_eq!(error["error"]["param"], "previous_response_id");
    }
    assert_eq!(upstream.received().len(), 3);
    // The latest one is there still.
    socket.send(&create(json!({"previous_response_id": "resp_2", "input": "x"}))).until(&ENDS);
    assert_eq!(upstream.received().len(), 4);
}

#[test]
fn a_conversation_that_is_too_long_is_not_found() {
    let upstream = Upstream::new(stream);
    let manifest = s1("openai", "/x", upstream.port);
    for (flag, length) in [("--max-body-bytes", 900), ("--max-request-bytes-in-flight", 2000)] {
        let gateway = Start::new().manifest("a.yaml", &manifest).flag(flag, &length.to_string()).run();
        let mut socket = WebSocket::open(&gateway, PATH);
        let last = socket.send(&create(json!({"input": "a".repeat(800)}))).until(&ENDS).pop().unwrap();
        let id = &last["response"]["id"];
        assert!(id.is_string(), "{flag}: {last}");
        let error = socket.send(&create(json!({"previous_response_id": id, "input": "x"}))).event();
        assert_eq!(error["error"]["code"], "previous_response_not_found", "{flag}");
    }
}

#[test]
fn a_warm_up_needs_no_provider() {
    let upstream = Upstream::new(stream);
    let gateway = openai(&upstream);
    let mut socket = WebSocket::open(&gateway, PATH);
    let shown = socket.send(&create(json!({"generate": false, "input": [user("context")]}))).until(&ENDS);
    assert_eq!(
        shown.iter().map(|event| &event["type"]).collect::<Vec<_>>(),
        ["response.created", "response.completed"]
    );
    assert_eq!(upstream.received().len(), 0);
    let id = shown[1]["response"]["id"].as_str().unwrap();
    assert!(id.starts_with("resp_"), "{id}");
    socket.send(&create(json!({"previous_response_id": id, "input": [user("q")]}))).until(&ENDS);
    assert_eq!(upstream.only().json()["input"], json!([user("context"), user("q")]));
}

#[test]
fn a_failure_before_the_stream_is_one_frame_and_the_connection_serves_on() {
    let upstream = Upstream::new(|exchange| match exchange.nth {
        0 => {
            let body =
                br#"{"error":{"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
            let headers =
                [("content-type", "application/json"), ("retry-after", "7"), ("x-ratelimit-limit-tokens", "9")];
            exchange.reply(429, &headers, body);
        }
        1 => _ = exchange.reply(200, &[("content-type", "application/json")], b"{}"),
        _ => stream(exchange),
    });
    let gateway = openai(&upstream);
    let mut socket = WebSocket::open(&gateway, PATH);
    let frame = socket.send(&create(json!({"input": "q"}))).event();
    assert_eq!((&frame["type"], &frame["status"]), (&json!("error"), &json!(429)));
    assert_eq!((&frame["error"]["message"], &frame["error"]["type"]), (&json!("slow down"), &json!("tokens")));
    for headers in [&frame["headers"], &frame["error"]["headers"]] {
        assert_eq!(
            (&headers["retry-after"], &headers["x-ratelimit-limit-tokens"]),
            (&json!("7"), &json!("9")),
            "{frame}"
        );
        assert!(headers["x-tollgate-request-id"].is_string(), "{frame}");
    }
    let frame = socket.send(&create(json!({"input": "q"}))).event();
    assert_eq!((&frame["type"], &frame["status"]), (&json!("error"), &json!(502)), "no stream");
    assert_eq!(socket.send(&create(json!({"input": "q"}))).until(&ENDS), events("resp_2"));
    gateway.wait_for_log("the error", |line| line["target"] == "tollgate::access" && line["status"] == 429);
}

#[test]
fn errors_of_the_gateway_are_frames() {
    let manifest = s1("openai", "/x", Upstream::refusing());
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let mut socket = WebSocket::open(&gateway, PATH);
    let frame = socket.send(&create(json!({"input": "q"}))).event();
    assert_eq!((&frame["status"], &frame["error"]["code"]), (&json!(502), &json!("upstream_unreachable")), "{frame}");
    // The route is read for each event.
    gateway.change(|| gateway.remove("a.yaml"));
    let frame = socket.send(&create(json!({"input": "q"}))).event();
    assert_eq!((&frame["status"], &frame["error"]["code"]), (&json!(404), &json!("no_route")), "{frame}");
}

#[test]
fn a_failure_in_the_stream_ends_the_response_and_not_the_connection() {
    let upstream = Upstream::new(|exchange| {
        let begin = sse(&events("resp_0")[0]);
        match exchange.nth {
            0 => _ = exchange.stream("text/event-stream").chunk(begin).end(),
            1 => exchange.stream("text/event-stream").chunk(begin).close(),
            2 => {
                let failed = json!({"type": "response.failed", "response": {"id": "resp_0", "status": "failed"}});
                exchange.stream("text/event-stream").chunk(begin + &sse(&failed)).end();
            }
            3 => {
                let error = json!({"type": "error", "code": "server_error", "message": "broke", "param": null,
                    "sequence_number": 1});
                exchange.stream("text/event-stream").chunk(begin + &sse(&error)).end();
            }
            _ => stream(exchange),
        }
    });
    let gateway = openai(&upstream);
    let mut socket = WebSocket::open(&gateway, PATH);
    for (kind, error, status, sequence) in [
        ("error", json!("upstream_closed"), json!(500), Value::Null),
        ("error", json!("upstream_closed"), json!(500), Value::Null),
        ("response.failed", Value::Null, Value::Null, Value::Null),
        ("error", json!("server_error"), json!(500), json!(1)),
    ] {
        let shown = socket.send(&create(json!({"input": "q"}))).until(&ENDS);
        let [first, last] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!((&first["type"], &last["type"]), (&json!("response.created"), &json!(kind)), "{last}");
        assert_eq!((&last["error"]["code"], &last["status"], &last["sequence_number"]), (&error, &status, &sequence));
    }
    assert_eq!(socket.send(&create(json!({"input": "q"}))).until(&ENDS), events("resp_4"));
    let lines = access_lines(&gateway, 6);
    let errors = lines.iter().filter(|line| line["error"].is_string());
    let errors: Vec<_> = errors.map(|line| line["error"].as_str().unwrap()).collect();
    assert_eq!(errors, ["upstream_closed", "upstream_closed", "upstream_error", "upstream_error"]);
}

#[test]
fn a_target_that_fails_gives_way_to_the_next() {
    let broken = Upstream::fixed(503, &[], b"{}");
    let whole = Upstream::new(stream);
    let entries = [broken.port, whole.port].map(|port| llm("openai", "key", port, &json!({})));
    let groups = entries.map(|entry| json!({"providers": [entry]}));
    let manifest = secret("key", KEY)
        + &backend("both", &json!({"priorityGroups": groups}))
        + &route("both", &json!([rule("/x", "both")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let mut socket = WebSocket::open(&gateway, PATH);
    assert_eq!(socket.send(&create(json!({"input": "q"}))).until(&ENDS), events("resp_0"));
    assert_eq!((broken.received().len(), whole.received().len()), (1, 1));
}

#[test]
fn events_that_come_early_wait_and_have_the_lane_of_their_response() {
    let gate = Gate::default();
    let step = gate.clone();
    let upstream = Upstream::new(move |exchange| {
        step.wait();
        stream(exchange);
    });
    let gateway = openai(&upstream);
    let mut socket = WebSocket::open(&gateway, PATH);
    for lane in ["a", "b"] {
        socket.send(&create(json!({"input": lane, "stream_id": lane})));
    }
    upstream.wait_for_received(1);
    for (turn, lane) in ["a", "b"].into_iter().enumerate() {
        gate.open();
        let mut expected = events(&format!("resp_{turn}"));
        for event in &mut expected {
            event["stream_id"] = json!(lane);
        }
        assert_eq!(socket.until(&ENDS), expected);
        let sent = upstream.received()[turn].json();
        assert_eq!((&sent["input"], sent.get("stream_id")), (&json!(lane), None));
    }
    // A lane may begin with the response of another.
    socket.send(&create(json!({"input": "c", "stream_id": "c", "previous_response_id": "resp_0"})));
    gate.open();
    socket.until(&ENDS);
    let sent = upstream.received().pop().unwrap().json();
    assert_eq!(sent["input"], json!([user("a"), answer("hi \u{e9}"), user("c")]));
}

#[test]
fn a_reply_that_the_provider_leaves_open_holds_up_nothing() {
    let upstream = Upstream::new(|exchange| {
        let id = format!("resp_{}", exchange.nth);
        exchange.stream("text/event-stream");
        for event in events(&id) {
            exchange.chunk(sse(&event));
        }
        exchange.wait_closed();
    });
    let gateway = openai(&upstream);
    let mut socket = WebSocket::open(&gateway, PATH);
    for turn in 0..2 {
        let id = format!("resp_{turn}");
        assert_eq!(socket.send(&create(json!({"input": "q"}))).until(&ENDS), events(&id));
    }
    let line = gateway.wait_for_log("a response", |line| line["method"] == "POST");
    assert!(line["status"] == 200 && line["error"].is_null(), "{line}");
}

#[test]
fn the_credential_and_query_of_the_handshake_are_those_of_each_request() {
    let upstream = Upstream::new(stream);
    let mut entry = llm("openai", "key", upstream.port, &json!({}));
    entry["provider"]["openai"]["authToken"] = json!({"kind": "Passthrough"});
    let gateway = Start::new().manifest("a.yaml", &s1_of("x", "/x", &entry)).run();
    let bearer = format!("Bearer {CLIENT_KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("openai-beta", "responses_websockets=2026-02-06"),
        ("openai-beta", "other=v1"),
        ("user-agent", "kept/1"),
    ];
    let mut socket = WebSocket::open_with(&gateway, PATH, &headers);
    for _ in 0..2 {
        socket.send(&create(json!({"input": "q"}))).until(&ENDS);
        let sent = upstream.received().pop().unwrap();
        assert_eq!(sent.header("authorization"), Some(bearer.clone()));
        assert_eq!(sent.header("openai-beta").as_deref(), Some("other=v1"), "the transport is the client's alone");
        assert_eq!(sent.header("user-agent").as_deref(), Some("kept/1"));
    }
    let mut socket = WebSocket::open(&gateway, &format!("{PATH}?key={CLIENT_KEY}"));
    socket.send(&create(json!({"input": "q"}))).until(&ENDS);
    let sent = upstream.received().pop().unwrap();
    assert_eq!((sent.path(), sent.header("authorization")), ("/v1/responses", Some(bearer.clone())));
    let mut without = WebSocket::open(&gateway, PATH);
    let frame = without.send(&create(json!({"input": "q"}))).event();
    assert_eq!((&frame["status"], &frame["error"]["code"]), (&json!(401), &json!("no_credential")), "{frame}");
}

#[test]
fn a_handshake_is_routed_as_the_requests_that_follow() {
    let upstream = Upstream::new(stream);
    let plain = json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
    });
    let mut posts = rule("/posts", "openai");
    posts["matches"][0]["method"] = json!("POST");
    posts["matches"][0]["headers"] = json!([{"name": "x-team", "value": "a"}]);
    let manifest =
        s1("openai", "/x", upstream.port) + &yaml(&plain) + &route("others", &json!([posts, rule("/plain", "plain")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let status = |path: &str, headers: &[(&str, &str)]| handshake(&mut gateway.connect(), path, headers).status;
    for path in [PATH, "/x/responses", "/x/v1/v1/responses"] {
        assert_eq!(status(path, &[]), 101, "{path}");
    }
    assert_eq!(status("/posts/v1/responses", &[("x-team", "a")]), 101);
    assert_eq!(status("/posts/v1/responses", &[]), 404);
    assert_eq!(status("/nowhere/v1/responses", &[]), 404);
    for path in ["/x/v1/realtime", "/x/v1/chat/completions", "/x/v1/responses/compact"] {
        assert_eq!(status(path, &[]), 426, "{path}");
    }
    assert_eq!(upstream.received().len(), 0);
    // A plain server gets the request as any other, without the upgrade.
    handshake(&mut gateway.connect(), "/plain/v1/responses", &[]);
    let sent = upstream.only();
    assert_eq!((sent.line(), sent.header("upgrade")), ("GET /plain/v1/responses HTTP/1.1", None));
}

#[test]
fn handshakes_that_are_none_are_refused() {
    let upstream = Upstream::new(stream);
    let gateway = openai(&upstream);
    let origin = |origin| [("origin", origin)];
    for (headers, status) in [
        (&[("sec-websocket-key", "")][..], 400),
        (&[("sec-websocket-key", "short")], 400),
        (&[("connection", "keep-alive")], 400),
        (&[("sec-websocket-version", "8")], 426),
        (&[("sec-websocket-version", "")], 426),
        (&origin("https://evil.test"), 403),
        (&origin("https://gateway.test.evil.test"), 403),
        (&origin("null"), 403),
    ] {
        let reply = handshake(&mut gateway.connect(), PATH, headers);
        assert_error(&reply, DialectId::OpenAi, status, &format!("{headers:?}"));
        let version = (status == 426).then_some("13");
        assert_eq!(reply.header("sec-websocket-version"), version, "{headers:?}");
    }
    WebSocket::open_with(&gateway, PATH, &origin("https://GATEWAY.test")).close();
    // Over a connection that has served requests, and with a list in its header.
    let mut client = gateway.connect();
    assert_eq!(client.send(b"GET /nowhere HTTP/1.1\r\nhost: gateway.test\r\n\r\n").reply().status, 404);
    assert_eq!(handshake(&mut client, PATH, &[("connection", "keep-alive, Upgrade")]).status, 101);
}

#[test]
fn a_client_that_goes_away_cancels_the_response_at_once() {
    for (what, begins) in [("before the reply", false), ("in the stream", true)] {
        for ending in ["close frame", "end", "reset"] {
            let (asked, told) = (Gate::default(), Gate::default());
            let (ask, tell) = (asked.clone(), told.clone());
            let upstream = Upstream::new(move |exchange| {
                if begins {
                    exchange.stream("text/event-stream").chunk(sse(&events("resp_0")[0]));
                }
                ask.open();
                exchange.wait_closed();
                tell.open();
            });
            let gateway = openai(&upstream);
            let mut socket = WebSocket::open(&gateway, PATH);
            socket.send(&create(json!({"input": "q"})));
            if begins {
                socket.event();
            }
            asked.wait();
            let begun = Instant::now();
            match ending {
                "close frame" => socket.close(),
                "reset" => socket.client.reset(),
                _ => drop(socket),
            }
            told.wait();
            assert!(begun.elapsed() < Duration::from_millis(100), "{what}, {ending}: {:?}", begun.elapsed());
            let line = gateway.wait_for_log("the response", |line| line["method"] == "POST");
            assert_eq!(line["error"], "client_closed", "{what}, {ending}: {line}");
            assert_eq!(line["status"], if begins { 200 } else { 499 }, "{what}, {ending}: {line}");
        }
    }
}
