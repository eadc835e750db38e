//! The API in which an OpenAI-compatible server is asked: the ones that a Backend lists, and what a server turns out to
//! lack.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::common::{
    DialectId, Exchange, Gateway, KEY, PATIENCE, Start, Upstream, assert_error,
    manifests::{backend, llm, route, rule, s1_of, secret},
    wait_until,
};

const RESPONSES: &str = "/x/v1/responses";
const ASKED: &str = r#"{"model":"m","input":"x"}"#;

const CHAT_REPLY: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
    "message":{"role":"assistant","content":"from chat"},"finish_reason":"stop"}],
    "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
const CHAT_STREAM: &str = concat!(
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[",
    "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"from chat\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[",
    "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
);
const RESPONSE: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[
    {"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[
    {"type":"output_text","text":"from responses","annotations":[]}]}],
    "usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}"#;
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[
    {"type":"text","text":"from messages"}],"stop_reason":"end_turn","stop_sequence":null,
    "usage":{"input_tokens":3,"output_tokens":2}}"#;

const JSON: (&str, &str) = ("content-type", "application/json");

/// Answers as a server with all three APIs.
fn complete(exchange: &mut Exchange) {
    let stream = serde_json::from_slice::<Value>(&exchange.request().body).is_ok_and(|body| body["stream"] == true);
    let path = exchange.request().path().to_owned();
    match path.rsplit('/').next().unwrap() {
        "completions" if stream => {
            exchange.reply(200, &[("content-type", "text/event-stream")], CHAT_STREAM.as_bytes())
        }
        "completions" => exchange.reply(200, &[JSON], CHAT_REPLY.as_bytes()),
        "responses" => exchange.reply(200, &[JSON], RESPONSE.as_bytes()),
        "messages" => exchange.reply(200, &[JSON], MESSAGE.as_bytes()),
        _ => exchange.reply(200, &[JSON], b"{}"),
    };
}

/// A server that answers with `status` and `body` at `/responses` and below, and has the rest.
fn without_responses(status: u16, body: &'static str) -> Upstream {
    Upstream::new(move |exchange| {
        if exchange.request().path().contains("/responses") {
            exchange.reply(status, &[JSON], body.as_bytes());
        } else {
            complete(exchange);
        }
    })
}

fn entry(port: u16, fields: &Value) -> Value {
    let mut entry = llm("openai", "key", port, &json!({}));
    for (name, value) in fields.as_object().unwrap() {
        entry[name] = value.clone();
    }
    entry
}

fn gateway(upstream: &Upstream, fields: &Value) -> Gateway {
    let manifest = secret("key", KEY) + &s1_of("x", "/x", &entry(upstream.port, fields));
    Start::new().manifest("a.yaml", &manifest).run()
}

fn paths(upstream: &Upstream) -> Vec<String> {
    upstream.received().iter().map(|received| received.path().to_owned()).collect()
}

/// The text of a reply to a client of Responses.
fn text(reply: &Value) -> &Value {
    &reply["output"][0]["content"][0]["text"]
}

#[test]
fn the_listed_apis_decide_where_requests_go() {
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    let message = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let contents = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}]}"#;
    let clients = [
        ("/x/v1/chat/completions", chat),
        (RESPONSES, ASKED),
        ("/x/v1/messages", message),
        ("/x/v1beta/models/m:generateContent", contents),
    ];
    let (c, r, m) = ("/v1/chat/completions", "/v1/responses", "/v1/messages");
    for (apis, expected) in [
        (json!(["chat"]), [c, c, c, c]),
        (json!(["responses"]), [r, r, r, r]),
        (json!(["messages"]), [m, m, m, m]),
        (json!(["chat", "responses", "messages"]), [c, r, m, c]),
        (json!(["messages", "responses"]), [m, r, m, m]),
    ] {
        let upstream = Upstream::new(complete);
        let gateway = gateway(&upstream, &json!({"apis": apis}));
        for ((path, body), expected) in clients.into_iter().zip(expected) {
            let before = upstream.received().len();
            let reply = gateway.post(path, body);
            assert_eq!(reply.status, 200, "{apis} {path}: {}", reply.text());
            let text = reply.text();
            let from = expected.rsplit('/').next().unwrap().replace("completions", "chat");
            assert!(text.contains(&format!("from {from}")), "{apis} {path}: {text}");
            let sent = upstream.received().remove(before);
            assert_eq!(sent.path(), expected, "{apis} {path}");
            assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}")), "{apis} {path}");
            let asks_messages = apis.as_array().unwrap().contains(&json!("messages"));
            assert_eq!(sent.header("anthropic-version").is_some(), asks_messages, "{apis} {path}");
            if expected == path.strip_prefix("/x").unwrap() {
                assert_eq!(sent.text(), body, "{apis} {path}: its own API, unchanged");
            }
        }
        // What is not a conversation has one form.
        assert_eq!(gateway.post("/x/v1/embeddings", r#"{"model":"e","input":"a"}"#).status, 200);
        assert_eq!(gateway.get("/x/v1/models").status, 200);
        assert_eq!(paths(&upstream)[4..], ["/v1/embeddings", "/v1/models"]);
    }
}

/// vLLM, Ollama, llama.cpp, and a proxy that allows only some methods.
#[test]
fn a_server_without_responses_gets_chat_completions_in_the_same_request() {
    for (status, body) in [
        (404, r#"{"detail":"Not Found"}"#),
        (404, "404 page not found"),
        (404, r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#),
        (404, ""),
        (405, r#"{"detail":"Method Not Allowed"}"#),
    ] {
        let upstream = without_responses(status, body);
        let gateway = gateway(&upstream, &json!({}));
        let reply = gateway.post(RESPONSES, ASKED);
        assert_eq!(reply.status, 200, "{body}: {}", reply.text());
        let reply = reply.json();
        assert_eq!((&reply["object"], text(&reply)), (&json!("response"), &json!("from chat")), "{body}: {reply}");
        assert_eq!(paths(&upstream), ["/v1/responses", "/v1/chat/completions"], "{body}");
        let sent = upstream.received();
        assert_eq!(sent[0].text(), ASKED);
        assert_eq!(sent[1].json()["messages"], json!([{"role": "user", "content": "x"}]));
        let line = gateway.access(RESPONSES);
        assert_eq!((&line["upstream_attempts"], &line["prompt_tokens"]), (&json!(2), &json!(3)), "{line}");

        // It is remembered, also over a change of the Backend's other fields.
        assert_eq!(text(&gateway.post(RESPONSES, ASKED).json()), "from chat");
        let changed = entry(upstream.port, &json!({"modelFacts": "llama-3.3-70b"}));
        let changed = secret("key", KEY) + &s1_of("x", "/x", &changed);
        gateway.change(|| {
            gateway.write("a.yaml", &changed);
        });
        assert_eq!(text(&gateway.post(RESPONSES, ASKED).json()), "from chat");
        assert_eq!(paths(&upstream)[2..], ["/v1/chat/completions", "/v1/chat/completions"], "{body}");
        assert_eq!(gateway.log().iter().filter(|line| line["msg"].as_str().is_some_and(is_note)).count(), 1);
    }
}

fn is_note(message: &str) -> bool {
    message.contains("has no Responses API")
}

#[test]
fn streams_are_translated_too() {
    let upstream = without_responses(404, "404 page not found");
    let gateway = gateway(&upstream, &json!({}));
    for _ in 0..2 {
        let reply = gateway.post(RESPONSES, r#"{"model":"m","input":"x","stream":true}"#);
        let is_stream = reply.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        assert!(reply.status == 200 && is_stream, "{}", reply.text());
        let events = reply.text();
        assert!(events.contains(r#""type":"response.output_text.delta""#) && events.contains("from chat"), "{events}");
        assert!(events.contains(r#""type":"response.completed""#), "{events}");
    }
    assert_eq!(paths(&upstream), ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]);
}

/// The same status for a model or a stored response that does not exist: the server has the API.
#[test]
fn a_missing_model_is_no_missing_api() {
    for body in [
        r#"{"error":{"message":"No access, or it does not exist.","param":null,"code":"model_not_found"}}"#,
        r#"{"error":{"message":"model \"m\" not found, try pulling it first","type":"api_error","code":null}}"#,
        r#"{"object":"error","message":"The model `m` does not exist.","type":"NotFoundError","code":404}"#,
        r#"{"error":{"message":"Response with id 'resp_9' not found.","type":"invalid_request_error"}}"#,
    ] {
        let upstream = without_responses(404, body);
        let gateway = gateway(&upstream, &json!({}));
        for _ in 0..2 {
            let reply = gateway.post(RESPONSES, r#"{"model":"m","input":"x","previous_response_id":"resp_9"}"#);
            assert_eq!((reply.status, reply.text().as_str()), (404, body));
        }
        assert_eq!(paths(&upstream), ["/v1/responses", "/v1/responses"], "{body}");
    }
}

#[test]
fn what_is_not_confirmed_is_not_remembered() {
    // Neither endpoint is there: the address is wrong, or the error of a missing model has words of its own.
    let upstream = Upstream::fixed(404, &[JSON], br#"{"error":"nothing here"}"#);
    let gateway = gateway(&upstream, &json!({}));
    for _ in 0..2 {
        let reply = gateway.post(RESPONSES, ASKED);
        assert_error(&reply, DialectId::OpenAi, 404, "both are missing");
    }
    assert_eq!(paths(&upstream), ["/v1/responses", "/v1/chat/completions"].repeat(2));
    assert!(!gateway.log().iter().any(|line| line["msg"].as_str().is_some_and(is_note)));
}

#[test]
fn a_server_that_has_answered_in_responses_has_them() {
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let upstream = Upstream::new(move |exchange| {
        if is_gone.load(Ordering::SeqCst) {
            exchange.reply(404, &[JSON], br#"{"error":"no such thing"}"#);
        } else {
            complete(exchange);
        }
    });
    let gateway = gateway(&upstream, &json!({}));
    assert_eq!(text(&gateway.post(RESPONSES, ASKED).json()), "from responses");
    gone.store(true, Ordering::SeqCst);
    assert_eq!(gateway.post(RESPONSES, ASKED).status, 404);
    assert_eq!(paths(&upstream), ["/v1/responses", "/v1/responses"]);
}

#[test]
fn servers_that_are_known_are_believed() {
    for fields in [
        json!({"apis": ["responses", "chat"]}),
        json!({"provider": {"openai": {
            "preset": "groq", "authToken": {"kind": "SecretRef", "secretRef": {"name": "key"}},
        }}}),
        json!({"path": {"full": "/v1/responses"}}),
    ] {
        let upstream = without_responses(404, "404 page not found");
        let gateway = gateway(&upstream, &fields);
        let reply = gateway.post(RESPONSES, ASKED);
        assert_eq!((reply.status, reply.text().as_str()), (404, "404 page not found"), "{fields}");
        assert_eq!(upstream.received().len(), 1, "{fields}");
    }
}

#[test]
fn counts_and_summaries_without_an_endpoint_are_estimated_or_refused() {
    let upstream = without_responses(404, r#"{"detail":"Not Found"}"#);
    let gateway = gateway(&upstream, &json!({}));
    let count = gateway.post("/x/v1/responses/input_tokens", ASKED);
    assert_eq!((count.status, count.header("x-tollgate-estimated")), (200, Some("tokens")), "{}", count.text());
    let compact = gateway.post("/x/v1/responses/compact", ASKED);
    assert_error(&compact, DialectId::OpenAi, 400, "compact");
    // A server may have Responses and neither of these: nothing is remembered.
    assert_eq!(text(&gateway.post(RESPONSES, ASKED).json()), "from chat");
    let expected = ["/v1/responses/input_tokens", "/v1/responses/compact", "/v1/responses", "/v1/chat/completions"];
    assert_eq!(paths(&upstream), expected);
    // Now it is known.
    assert_eq!(gateway.post("/x/v1/responses/input_tokens", ASKED).status, 200);
    assert_eq!(upstream.received().len(), 4);
}

#[test]
fn each_target_is_remembered_for_itself() {
    let (first, second) = (without_responses(404, "404 page not found"), Upstream::new(complete));
    let group = json!({"priorityGroups": [{"providers": [
        entry(first.port, &json!({"name": "first"})), entry(second.port, &json!({"name": "second"})),
    ]}]});
    let manifest = secret("key", KEY) + &backend("x", &group) + &route("x", &json!([rule("/x", "x")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let texts: Vec<Value> = (0..4).map(|_| text(&gateway.post(RESPONSES, ASKED).json()).clone()).collect();
    assert_eq!(texts.iter().filter(|text| **text == "from chat").count(), 2, "{texts:?}");
    assert_eq!(paths(&first), ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]);
    assert_eq!(paths(&second), ["/v1/responses", "/v1/responses"]);

    // Another host is another server.
    let third = Upstream::new(complete);
    let moved = json!({"llm": entry(third.port, &json!({"name": "first"}))});
    let manifest = secret("key", KEY) + &backend("x", &moved) + &route("x", &json!([rule("/x", "x")]));
    gateway.change(|| {
        gateway.write("a.yaml", &manifest);
    });
    wait_until("the other server", PATIENCE, || {
        (text(&gateway.post(RESPONSES, ASKED).json()) == "from responses").then_some(())
    });
    assert_eq!(paths(&third)[0], "/v1/responses");
}

#[test]
fn the_second_request_is_bounded_like_the_first() {
    // The translated request fails: the next target is tried, as after any failure.
    let first = Upstream::new(|exchange| {
        let status = if exchange.request().path().contains("/responses") { 404 } else { 500 };
        exchange.reply(status, &[JSON], b"{}");
    });
    let second = Upstream::new(complete);
    let groups = json!({"priorityGroups": [
        {"providers": [entry(first.port, &json!({}))]}, {"providers": [entry(second.port, &json!({}))]},
    ]});
    let manifest = secret("key", KEY) + &backend("x", &groups) + &route("x", &json!([rule("/x", "x")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    assert_eq!(text(&gateway.post(RESPONSES, ASKED).json()), "from responses");
    assert_eq!(paths(&first), ["/v1/responses", "/v1/chat/completions"]);
    assert_eq!(paths(&second), ["/v1/responses"]);
}
