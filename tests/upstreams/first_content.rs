//! Until the first content of an answer was forwarded, another target answers in place of one that fails.

use serde_json::{Value, json};

use crate::common::{
    Exchange, Gate, Gateway, KEY, Start, Upstream,
    manifests::{backend, llm, route, rule, secret, yaml},
    request,
};

const SSE: &str = "text/event-stream";
const HELLO: &str = r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
const HELLO_BUFFERED: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
const HELLO_RESPONSES: &str = r#"{"model":"m","stream":true,"input":"hello"}"#;
const HELLO_GEMINI: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#;

/// How a provider begins its streams, and how it fails in them.
struct Form {
    provider: &'static str,
    /// A client of the same dialect.
    path: &'static str,
    body: &'static str,
    /// The events that announce an answer.
    announces: &'static [&'static str],
    error: &'static str,
    /// A whole answer that says `hi`.
    answer: &'static [&'static str],
}

const CHAT: Form = Form {
    provider: "openai",
    path: "/both/v1/chat/completions",
    body: HELLO,
    announces: &[
        ": keep-alive\n\n",
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\
            \"content\":\"\"},\"finish_reason\":null}]}\n\n",
    ],
    error: "data: {\"error\":{\"message\":\"from the first\",\"type\":\"server_error\",\"param\":null,\
        \"code\":null}}\n\n",
    answer: &[
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\
            \"content\":\"hi\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
    ],
};

const MESSAGES: Form = Form {
    provider: "anthropic",
    path: "/both/v1/messages",
    body: HELLO,
    announces: &[
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\
            \"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\
            \"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
            \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    ],
    error: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
        \"message\":\"from the first\"}}\n\n",
    answer: &[
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\
            \"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\
            \"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
            \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
            \"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\
            \"stop_sequence\":null},\"usage\":{\"output_tokens\":4}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ],
};

const RESPONSES: Form = Form {
    provider: "openai",
    path: "/both/v1/responses",
    body: HELLO_RESPONSES,
    announces: &[
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\
            \"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"m\",\
            \"output\":[]}}\n\n",
        "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"sequence_number\":1,\
            \"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"m\",\
            \"output\":[]}}\n\n",
    ],
    error: "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":2,\
        \"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",\"model\":\"m\",\
        \"output\":[],\"error\":{\"code\":\"server_error\",\"message\":\"from the first\"}}}\n\n",
    answer: &[
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\
            \"response\":{\"id\":\"resp_2\",\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"m\",\
            \"output\":[]}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\
            \"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"hi\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\
            \"response\":{\"id\":\"resp_2\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"m\",\
            \"output\":[]}}\n\n",
    ],
};

const GEMINI: Form = Form {
    provider: "gemini",
    path: "/both/v1beta/models/m:streamGenerateContent?alt=sse",
    body: HELLO_GEMINI,
    announces: &["data: {\"candidates\":[{\"content\":{\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\",\
            \"responseId\":\"r1\"}\r\n\r\n"],
    error: "data: {\"error\":{\"code\":503,\"message\":\"from the first\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
    answer: &[
        "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hi\"}]},\"index\":0}],\
            \"modelVersion\":\"m\",\"responseId\":\"r2\"}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"\"}]},\
            \"finishReason\":\"STOP\",\"index\":0}],\"modelVersion\":\"m\",\"responseId\":\"r2\"}\r\n\r\n",
    ],
};

const FORMS: [&Form; 4] = [&CHAT, &MESSAGES, &RESPONSES, &GEMINI];

impl Form {
    fn whole(&self) -> String {
        self.answer.concat()
    }

    /// A provider that answers.
    fn healthy(&'static self) -> Upstream {
        Upstream::new(|exchange| {
            exchange.stream(SSE);
            for event in self.answer {
                exchange.chunk(event);
            }
            exchange.end();
        })
    }
}

fn entry(provider: &str, port: u16) -> Value {
    llm(provider, "key", port, &json!({}))
}

/// A gateway with one Backend, whose entries are tried in this order.
fn gateway(entries: &[Value], more: &str) -> Gateway {
    let groups: Vec<Value> = entries.iter().map(|entry| json!({"providers": [entry]})).collect();
    let manifest = secret("key", KEY)
        + &backend("both", &json!({"priorityGroups": groups}))
        + &route("both", &json!([rule("/both", "both")]));
    Start::new().manifest("a.yaml", &(manifest + more)).run()
}

/// A TrafficPolicy for the route, with these timeouts.
fn timeouts(timeouts: &Value) -> String {
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "both", "namespace": "default"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "both"}],
            "timeouts": timeouts,
        },
    }))
}

/// A fault before the first content.
type Fault = (&'static str, fn(&Form, &mut Exchange));

const FAULTS: [Fault; 7] = [
    ("an error event first", |form, exchange| _ = exchange.stream(SSE).chunk(form.error).end()),
    ("an error event after the announcement", |form, exchange| {
        exchange.stream(SSE);
        for event in form.announces {
            exchange.chunk(event);
        }
        exchange.chunk(form.error).end();
    }),
    ("the end after the announcement", |form, exchange| {
        exchange.stream(SSE).chunk(form.announces.concat()).end();
    }),
    ("a cut after the announcement", |form, exchange| {
        exchange.stream(SSE).chunk(form.announces.concat()).close();
    }),
    ("a cut within an event", |form, exchange| {
        let event = form.announces[form.announces.len() - 1];
        exchange.stream(SSE).chunk(&event[..event.len() / 2]).close();
    }),
    ("an empty stream", |_, exchange| _ = exchange.stream(SSE).end()),
    ("a page in place of events", |_, exchange| {
        exchange.stream(SSE).chunk("<html><body>502 Bad Gateway</body></html>\n").end();
    }),
];

#[test]
fn a_stream_that_fails_before_its_first_content_is_replaced() {
    for form in FORMS {
        for (what, fault) in FAULTS {
            let first = Upstream::new(move |exchange| fault(form, exchange));
            let second = form.healthy();
            let gateway = gateway(&[entry(form.provider, first.port), entry(form.provider, second.port)], "");
            let reply = gateway.post(form.path, form.body);
            assert_eq!((reply.status, reply.text()), (200, form.whole()), "{}: {what}", form.provider);
            assert_eq!(first.only().body, second.only().body, "{}: {what}", form.provider);
            let line = gateway.access(form.path.split('?').next().unwrap());
            assert_eq!((&line["upstream_attempts"], &line["error"]), (&json!(2), &Value::Null), "{line}");
            let next = gateway.wait_for_log("the first try", |l| l["msg"] == "trying the next target");
            assert!(next["error"].is_string(), "{next}");
        }
    }
}

#[test]
fn a_translated_stream_is_replaced_by_one_of_another_dialect() {
    for (what, fault) in FAULTS {
        for first_form in [&MESSAGES, &GEMINI] {
            let first = Upstream::new(move |exchange| fault(first_form, exchange));
            let second = CHAT.healthy();
            let gateway = gateway(&[entry(first_form.provider, first.port), entry("openai", second.port)], "");
            let reply = gateway.post(CHAT.path, CHAT.body);
            assert_eq!((reply.status, reply.text()), (200, CHAT.whole()), "{}: {what}", first_form.provider);
        }
        let first = Upstream::new(move |exchange| fault(&CHAT, exchange));
        let second = MESSAGES.healthy();
        let gateway = gateway(&[entry("openai", first.port), entry("anthropic", second.port)], "");
        let text = gateway.post(CHAT.path, CHAT.body).text();
        assert!(text.contains("\"content\":\"hi\"") && text.contains("[DONE]"), "{what}: {text}");
        assert!(!text.contains("error"), "{what}: {text}");
    }
}

#[test]
fn after_the_first_content_a_stream_is_not_replaced() {
    for form in FORMS {
        let first = Upstream::new(move |exchange| {
            let content = form.answer.iter().position(|event| event.contains("hi")).unwrap();
            exchange.stream(SSE).chunk(form.answer[..=content].concat()).chunk(form.error).end();
        });
        let second = form.healthy();
        let gateway = gateway(&[entry(form.provider, first.port), entry(form.provider, second.port)], "");
        let text = gateway.post(form.path, form.body).text();
        assert!(text.contains("hi") && text.contains("from the first"), "{}: {text}", form.provider);
        assert_eq!(second.connections(), 0, "{}", form.provider);
    }
}

#[test]
fn a_healthy_stream_stays_as_it_is() {
    for form in FORMS {
        let (first, second) = (form.healthy(), form.healthy());
        let gateway = gateway(&[entry(form.provider, first.port), entry(form.provider, second.port)], "");
        assert_eq!(gateway.post(form.path, form.body).text(), form.whole(), "{}", form.provider);
        assert_eq!(second.connections(), 0, "{}", form.provider);
    }
}

#[test]
fn what_announces_an_answer_is_not_held_back_for_long() {
    for form in FORMS {
        let gate = Gate::default();
        let steps = gate.clone();
        let first = Upstream::new(move |exchange| {
            exchange.stream(SSE).chunk(form.announces.concat());
            steps.wait();
            exchange.chunk(form.answer.concat()).end();
        });
        let second = form.healthy();
        let gateway = gateway(&[entry(form.provider, first.port), entry(form.provider, second.port)], "");
        let mut client = gateway.connect();
        client.send(&request("POST", form.path, &[("content-type", "application/json")], form.body.as_bytes()));
        assert_eq!(client.head().status, 200);
        // The rest is not sent before this has arrived.
        let seen = client.piece().unwrap().unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), form.announces.concat(), "{}", form.provider);
        gate.open();
        while client.piece().unwrap().is_some() {}
        assert_eq!(second.connections(), 0, "{}", form.provider);
    }
}

#[test]
fn a_stream_without_its_first_token_in_time_is_replaced() {
    let silent: Fault = ("silent before the head", |_, exchange| exchange.wait_closed());
    let no_event: Fault = ("silent behind the head", |_, exchange| exchange.stream(SSE).wait_closed());
    let announced: Fault = ("silent after the announcement", |form, exchange| {
        exchange.stream(SSE).chunk(form.announces.concat()).wait_closed();
    });
    for form in FORMS {
        for (what, fault) in [silent, no_event, announced] {
            let first = Upstream::new(move |exchange| fault(form, exchange));
            let second = form.healthy();
            let gateway = gateway(
                &[entry(form.provider, first.port), entry(form.provider, second.port)],
                &timeouts(&json!({"firstToken": "600ms"})),
            );
            assert_eq!(gateway.post(form.path, form.body).text(), form.whole(), "{}: {what}", form.provider);
            // The provider stops working.
            first.wait_for_closed(1);
            let next = gateway.wait_for_log("the first try", |l| l["msg"] == "trying the next target");
            assert_eq!(next["error"], "first_token_timeout", "{what}: {next}");
        }
    }
}

#[test]
fn the_last_target_may_take_as_long_as_the_request() {
    let late = || {
        Upstream::new(|exchange| {
            exchange.stream(SSE).chunk(CHAT.announces.concat());
            std::thread::sleep(std::time::Duration::from_millis(900));
            exchange.chunk(CHAT.answer.concat()).end();
        })
    };
    let (first, second) = (late(), late());
    let policy = timeouts(&json!({"firstToken": "300ms"}));
    let both = gateway(&[entry("openai", first.port), entry("openai", second.port)], &policy);
    let text = both.post(CHAT.path, CHAT.body).text();
    assert!(text.ends_with(&CHAT.whole()), "{text}");
    assert_eq!(both.access(CHAT.path)["upstream_attempts"], 2);
    let only = gateway(&[entry("openai", second.port)], &policy);
    assert!(only.post(CHAT.path, CHAT.body).text().ends_with(&CHAT.whole()));
    assert_eq!(only.access(CHAT.path)["upstream_attempts"], 1);
}

#[test]
fn a_backend_may_bound_the_first_token_and_a_policy_may_lift_that() {
    let first = || {
        Upstream::new(|exchange| {
            std::thread::sleep(std::time::Duration::from_millis(900));
            exchange.stream(SSE).chunk(CHAT.answer.concat()).end();
        })
    };
    for (policy, attempts) in [(String::new(), 2), (timeouts(&json!({"firstToken": "0s"})), 1)] {
        let (first, second) = (first(), CHAT.healthy());
        let groups = json!([
            {"providers": [entry("openai", first.port)]}, {"providers": [entry("openai", second.port)]},
        ]);
        let manifest = secret("key", KEY)
            + &backend("both", &json!({"priorityGroups": groups, "timeouts": {"firstToken": "300ms"}}))
            + &route("both", &json!([rule("/both", "both")]))
            + &policy;
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        assert_eq!(gateway.post(CHAT.path, CHAT.body).text(), CHAT.whole());
        assert_eq!(gateway.access(CHAT.path)["upstream_attempts"], attempts);
    }
}

#[test]
fn a_buffered_reply_that_is_no_answer_is_replaced() {
    let json = [("content-type", "application/json")];
    let good = "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\
        \"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";
    let error = r#"{"error":{"message":"from the first","type":"server_error","code":null}}"#;
    let cases: [(&str, Upstream); 5] = [
        ("an error with 200", Upstream::json(error)),
        ("a page", Upstream::fixed(200, &[("content-type", "text/html")], b"<html>busy</html>")),
        ("nothing", Upstream::fixed(200, &json, b"")),
        ("half of it", Upstream::json(&good[..60])),
        (
            "a cut",
            Upstream::new(|exchange| {
                exchange.head(200, &[("content-type", "application/json"), ("content-length", "500")]);
                exchange.write("{\"id\":").close();
            }),
        ),
    ];
    for (what, first) in cases {
        let second = Upstream::json(good);
        let gateway = gateway(&[entry("openai", first.port), entry("openai", second.port)], "");
        let reply = gateway.post(CHAT.path, HELLO_BUFFERED);
        assert_eq!((reply.status, reply.text().as_str()), (200, good), "{what}");
        let reply = gateway.post("/both/v1/messages", HELLO_BUFFERED);
        assert_eq!(reply.json()["content"][0]["text"], "hi", "translated, {what}: {}", reply.text());
    }
    // The stream of a client that gets an error in place of one.
    let (first, second) = (Upstream::json(error), CHAT.healthy());
    let gateway = gateway(&[entry("openai", first.port), entry("openai", second.port)], "");
    assert_eq!(gateway.post(CHAT.path, HELLO).text(), CHAT.whole());
}

#[test]
fn what_is_no_failure_of_the_target_goes_to_the_client() {
    // An error that the request causes would come from the other target too.
    let invalid = "data: {\"error\":{\"message\":\"from the first\",\"type\":\"invalid_request_error\",\
        \"param\":null,\"code\":\"context_length_exceeded\"}}\n\n";
    let first = Upstream::new(move |exchange| _ = exchange.stream(SSE).chunk(invalid).end());
    let second = CHAT.healthy();
    let chat = gateway(&[entry("openai", first.port), entry("openai", second.port)], "");
    assert!(chat.post(CHAT.path, HELLO).text().contains("from the first"));
    // JSON of another form is not for the gateway to judge.
    let own = Upstream::json("{\"generated_text\":\"hi\"}");
    let other = gateway(&[entry("openai", own.port), entry("openai", second.port)], "");
    assert_eq!(other.post(CHAT.path, HELLO_BUFFERED).text(), "{\"generated_text\":\"hi\"}");
    // The work goes on at the first, or its result is kept there.
    let failing = Upstream::new(|exchange| {
        exchange.stream(SSE).chunk(RESPONSES.announces.concat()).chunk(RESPONSES.error).end();
    });
    let kept = gateway(&[entry("openai", failing.port), entry("openai", second.port)], "");
    for field in ["background", "store"] {
        let body = format!(r#"{{"model":"m","stream":true,"{field}":true,"input":"hello"}}"#);
        assert!(kept.post(RESPONSES.path, body).text().contains("from the first"), "{field}");
    }
    assert_eq!(second.connections(), 0);
}

#[test]
fn when_every_stream_fails_the_client_gets_the_last_one() {
    for form in FORMS {
        let failing = || Upstream::new(move |exchange| _ = exchange.stream(SSE).chunk(form.error).end());
        let (first, second) = (failing(), failing());
        let gateway = gateway(&[entry(form.provider, first.port), entry(form.provider, second.port)], "");
        let reply = gateway.post(form.path, form.body);
        assert_eq!(reply.status, 200, "{}", form.provider);
        assert!(reply.text().contains("from the first"), "{}: {}", form.provider, reply.text());
        assert_eq!(gateway.access(form.path.split('?').next().unwrap())["error"], "upstream_error");
    }
}
