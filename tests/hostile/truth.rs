//! What operators are told: a stream that failed is an error, one that was forwarded whole is none, and a refusal of
//! a provider can be found from what its client has.

use serde_json::{Value, json};

use crate::{
    CHAT, JSON,
    common::{
        Exchange, Gateway, KEY, PATIENCE, Start, Upstream,
        manifests::{route, rule, s1, s1_with},
        request, wait_until,
    },
};

const CHAT_STREAM: &str = r#"{"model":"m","messages":[],"stream":true}"#;
const MESSAGE_STREAM: &str = r#"{"model":"m","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"a"}]}"#;
const CONTENTS: &str = r#"{"contents":[]}"#;
const SSE: &str = "text/event-stream";

fn start(provider: &str, upstream: &Upstream) -> Gateway {
    Start::new().manifest("a.yaml", &s1(provider, "/x", upstream.port)).run()
}

/// A way to stream: provider, path, request, and the provider's events, of which the last is terminal.
struct Form {
    provider: &'static str,
    path: &'static str,
    body: &'static str,
    events: &'static [&'static str],
    /// How the provider says inside a stream that it failed.
    failure: &'static str,
}

const CHAT_EVENTS: &[&str] = &[
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];
const CHAT_FAILURE: &str =
    "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"param\":null,\"code\":\"x\"}}\n\n";

const FORMS: [Form; 5] = [
    Form {
        provider: "openai",
        path: "/x/v1/chat/completions",
        body: CHAT_STREAM,
        events: CHAT_EVENTS,
        failure: CHAT_FAILURE,
    },
    Form {
        provider: "openai",
        path: "/x/v1/responses",
        body: r#"{"model":"m","input":"a","stream":true}"#,
        events: &[
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\
                \"response\":{\"id\":\"r\",\"model\":\"m\",\"status\":\"in_progress\",\"output\":[]}}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":1,\
                \"response\":{\"id\":\"r\",\"model\":\"m\",\"status\":\"completed\",\"output\":[]}}\n\n",
        ],
        failure: "event: error\ndata: {\"type\":\"error\",\"sequence_number\":1,\"code\":\"server_error\",\
            \"message\":\"boom\",\"param\":null}\n\n",
    },
    Form {
        provider: "anthropic",
        path: "/x/v1/messages",
        body: MESSAGE_STREAM,
        events: &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\",\
                \"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
                \"usage\":{\"output_tokens\":4}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
        failure: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
            \"message\":\"Overloaded\"}}\n\n",
    },
    Form {
        provider: "gemini",
        path: "/x/v1beta/models/m:streamGenerateContent?alt=sse",
        body: CONTENTS,
        events: &[
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\n",
            "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3}}\r\n\r\n",
        ],
        failure: "data: {\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
    },
    // Translated.
    Form {
        provider: "openai",
        path: "/x/v1/messages",
        body: MESSAGE_STREAM,
        events: CHAT_EVENTS,
        failure: CHAT_FAILURE,
    },
];

impl Form {
    fn request(&self) -> Vec<u8> {
        request("POST", self.path, &JSON, self.body.as_bytes())
    }

    /// The access log's line.
    fn line(&self, gateway: &Gateway) -> Value {
        gateway.access(self.path.split('?').next().unwrap())
    }
}

/// The requests that are counted with an error and without.
fn counted(gateway: &Gateway) -> (f64, f64) {
    wait_until("the count", PATIENCE, || {
        let metrics = gateway.metrics();
        let all = metrics.sum("tollgate_requests_total", &[]);
        let clean = metrics.sum("tollgate_requests_total", &[("error", "")]);
        (all > 0.0).then_some((all - clean, clean))
    })
}

#[test]
fn a_stream_with_an_error_event_is_an_error() {
    let mut faults = Vec::new();
    for form in &FORMS {
        for (what, end) in [
            ("ends", (|x| _ = x.end()) as fn(&mut Exchange)),
            ("closes", Exchange::close),
            ("goes on", |x| {
                x.chunk("data: [DONE]\n\n").end();
            }),
        ] {
            let upstream = Upstream::new(move |exchange| {
                exchange.stream(SSE).chunk(form.events[0]).chunk(form.failure);
                end(exchange);
            });
            let gateway = start(form.provider, &upstream);
            let reply = gateway.connect().send(&form.request()).reply();
            assert_eq!(reply.status, 200, "{}", reply.text());
            let line = form.line(&gateway);
            let is_error = line["error"].as_str().is_some_and(|error| !error.is_empty());
            if !is_error || counted(&gateway) != (1.0, 0.0) {
                let seen = counted(&gateway);
                faults.push(format!("{} {}, {what}: error {}, {seen:?}", form.provider, form.path, line["error"]));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_stream_that_breaks_is_an_error() {
    for form in &FORMS {
        for rest in ["zz\r\n", "", "5\r\ndata"] {
            let upstream = Upstream::new(move |exchange| {
                exchange.stream(SSE).chunk(form.events[0]).write(rest).close();
            });
            let gateway = start(form.provider, &upstream);
            gateway.connect().send(&form.request()).try_reply();
            let line = form.line(&gateway);
            assert!(line["error"].as_str().is_some_and(|e| e.starts_with("upstream_")), "{}: {line}", form.path);
            assert_eq!(counted(&gateway), (1.0, 0.0), "{}", form.path);
        }
    }
}

/// What of a stream a client waits for before it closes.
fn read_until(gateway: &Gateway, form: &Form, end: &str) {
    let mut client = gateway.connect();
    assert_eq!(client.send(&form.request()).head().status, 200);
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(end) {
        text.extend(client.piece().unwrap().expect("no end of the body yet"));
    }
}

#[test]
fn a_client_that_closes_after_the_terminal_event_got_everything() {
    let mut faults = Vec::new();
    for form in &FORMS {
        // The last chunk never comes: whether a client waits for it is its own affair.
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(SSE);
            for event in form.events {
                exchange.chunk(event);
            }
            exchange.wait_closed();
        });
        let gateway = start(form.provider, &upstream);
        let end = match (form.path, form.provider) {
            ("/x/v1/messages", _) => "message_stop\"}\n\n",
            ("/x/v1/responses", _) => "\"completed\",\"output\":[]}}\n\n",
            (_, "gemini") => "promptTokenCount\":3}}\r\n\r\n",
            _ => "[DONE]\n\n",
        };
        read_until(&gateway, form, end);
        let line = form.line(&gateway);
        let seen = (line["status"].clone(), line["error"].clone(), counted(&gateway));
        if seen != (json!(200), json!(null), (0.0, 1.0)) {
            faults.push(format!("{} {}: {seen:?}", form.provider, form.path));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_client_that_closes_before_the_terminal_event_is_counted_as_such() {
    for form in &FORMS {
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(SSE).chunk(form.events[0]);
            exchange.wait_closed();
        });
        let gateway = start(form.provider, &upstream);
        read_until(&gateway, form, "\n");
        assert_eq!(form.line(&gateway)["error"], "client_closed", "{}", form.path);
    }
}

/// The line as text, without where the client was.
fn without_client(line: &Value) -> String {
    let mut line = line.clone();
    line.as_object_mut().unwrap().remove("client_addr");
    line.to_string()
}

#[test]
fn a_providers_refusal_can_be_found() {
    // Type, code and message as each vendor has them.
    let openai = json!({"error": {"message": "Unsupported parameter: 'max_tokens'", "type": "invalid_request_error",
        "param": "max_tokens", "code": "unsupported_parameter"}});
    let anthropic = json!({"type": "error", "request_id": "req_1",
        "error": {"type": "billing_error", "message": "Your credit balance is too low"}});
    let gemini = json!({"error": {"code": 400, "message": "User location is not supported",
        "status": "FAILED_PRECONDITION"}});
    let mistral = json!({"object": "error", "message": "Expected last role User", "param": null, "code": "3230",
        "type": "invalid_request_message_order"});
    let cases = [
        (
            "openai",
            "/x/v1/chat/completions",
            CHAT,
            &openai,
            400,
            vec!["invalid_request_error", "unsupported_parameter", "Unsupported parameter: 'max_tokens'"],
        ),
        (
            "openai",
            "/x/v1/chat/completions",
            CHAT,
            &mistral,
            400,
            vec!["invalid_request_message_order", "3230", "Expected last role User"],
        ),
        (
            "openai",
            "/x/v1/messages",
            MESSAGE_STREAM,
            &openai,
            400,
            vec!["unsupported_parameter", "Unsupported parameter"],
        ),
        ("anthropic", "/x/v1/messages", MESSAGE_STREAM, &anthropic, 402, vec!["billing_error", "credit balance"]),
        (
            "gemini",
            "/x/v1beta/models/m:generateContent",
            CONTENTS,
            &gemini,
            400,
            vec!["FAILED_PRECONDITION", "User location is not supported"],
        ),
    ];
    let mut faults = Vec::new();
    for (provider, path, body, error, status, expected) in cases {
        let upstream = Upstream::fixed(status, &JSON, error.to_string().as_bytes());
        let gateway = start(provider, &upstream);
        assert_eq!(gateway.post(path, body).status, status);
        let line = without_client(&gateway.access(path));
        let port = upstream.port.to_string();
        for word in expected.into_iter().chain(["127.0.0.1", &port, "default/"]) {
            if !line.contains(word) {
                faults.push(format!("{provider} {path}: no {word} in {line}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_is_logged_of_a_refusal_is_bounded_and_without_keys() {
    // The key itself is looked for when the gateway is dropped.
    let message = format!("bad key {KEY} ") + &"x".repeat(1024 * 1024);
    let error = json!({"error": {"message": message, "type": "t".repeat(100_000), "code": "c".repeat(100_000)}});
    let upstream = Upstream::fixed(400, &JSON, error.to_string().as_bytes());
    let gateway = start("openai", &upstream);
    assert_eq!(gateway.post("/x/v1/chat/completions", CHAT).status, 400);
    let line = gateway.access("/x/v1/chat/completions").to_string();
    assert!(line.contains("bad key ***"), "{}", &line[..line.len().min(2000)]);
    assert!(line.len() < 16 * 1024, "{} bytes", line.len());
}

#[test]
fn every_reply_has_an_id_that_the_log_has() {
    let upstream = Upstream::new(|exchange| {
        let body = exchange.request().text();
        let headers = [("x-request-id", "req_of_the_provider"), ("request-id", "req_of_the_provider"), JSON[0]];
        if body.contains("stream") {
            exchange.stream(SSE).chunk(CHAT_EVENTS.concat()).end();
        } else if body.contains("refuse") {
            exchange.reply(400, &headers, b"{\"error\":{\"message\":\"no\",\"type\":\"t\"}}");
        } else {
            exchange.reply(200, &headers, b"{}");
        }
    });
    let redirect = json!([{"matches": [{"path": {"type": "PathPrefix", "value": "/moved"}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "b.test", "statusCode": 302}}]}]);
    let manifest = s1("openai", "/x", upstream.port)
        + &crate::plain("plain", upstream.port, false)
        + &route("moved", &redirect)
        + &route("broken", &json!([rule("/broken", "no-such-backend")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let refused = CHAT.replace("\"m\"", "\"refuse\"");
    let mut faults = Vec::new();
    for (n, (path, body, status)) in [
        ("/x/v1/chat/completions", CHAT, 200),
        ("/x/v1/chat/completions", &refused, 400),
        ("/x/v1/chat/completions", CHAT_STREAM, 200),
        ("/x/v1/messages", MESSAGE_STREAM, 200),
        ("/x/v1/chat/completions", "no json", 400),
        ("/x/v1/no/such/endpoint", "{}", 404),
        ("/nowhere", "{}", 404),
        ("/moved", "{}", 302),
        ("/broken", "{}", 500),
        ("/plain", "{}", 200),
    ]
    .into_iter()
    .enumerate()
    {
        let client = format!("client-{n}-4d1c");
        let reply = gateway.post_with(path, &[("x-request-id", &client)], body);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        // The n-th line of the log is the n-th request's, because each waits for its own.
        let line = gateway.wait_for_log(path, |line| {
            let access = gateway.log().into_iter().filter(|l| l["target"] == "tollgate::access").nth(n);
            access.as_ref() == Some(line)
        });
        let line = without_client(&line);
        let is_id = |name: &str, value: &str| {
            name.ends_with("request-id") && value != "req_of_the_provider" && value != client && value.len() >= 16
        };
        let ids: Vec<&String> = reply.headers.iter().filter(|(n, v)| is_id(n, v)).map(|(_, value)| value).collect();
        if !ids.iter().any(|id| line.contains(id.as_str())) {
            faults.push(format!("{path}, {status}: {:?}", reply.headers));
        }
        if !line.contains(&client) {
            faults.push(format!("{path}, {status}: the client's id is not logged"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_clients_request_id_can_not_forge_the_log() {
    let upstream = Upstream::json("{}");
    let manifest = s1_with("openai", "/x", upstream.port, &json!({}));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    for id in ["a\",\"status\":500,\"x\":\"b".to_owned(), "y".repeat(10_000)] {
        let path = format!("/x/v1/chat/completions/{}", id.len());
        gateway.post_with(&path, &[("x-request-id", &id)], CHAT);
        let line = gateway.access(&path);
        assert_ne!(line["status"], 500, "{line}");
        assert!(line.to_string().len() < 8 * 1024, "{} bytes", line.to_string().len());
    }
}
