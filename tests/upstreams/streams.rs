//! Streams: event by event, and never with a clean end that the provider did not make.

use serde_json::{Value, json};

use crate::common::{
    DialectId, Exchange, Gate, Gateway, KEY, PATIENCE, Start, Upstream, assert_shape, llm,
    manifests::{s1, s1_of, secret, yaml},
    request, wait_until,
};

const SSE: &str = "text/event-stream";
const CONTENTS: &str = r#"{"contents":[]}"#;

/// How each dialect streams.
struct Form {
    provider: &'static str,
    dialect: DialectId,
    path: &'static str,
    body: &'static str,
    content_type: &'static str,
    /// A whole stream, event by event.
    events: &'static [&'static str],
}

const OPENAI: Form = Form {
    provider: "openai",
    dialect: DialectId::OpenAi,
    path: "/openai/v1/chat/completions",
    // The request asks for usage, so that no chunk is hidden.
    body: r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
    content_type: SSE,
    events: &[
        "data: {\"model\":\"m-2\",\"choices\":[{\"delta\":{\"content\":\"\u{e9}\"},\"finish_reason\":null}]}\n\n",
        ": a comment\n\n",
        "data: {\"model\":\"m-2\",\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":null}]}\n\n",
        "data: {\"model\":\"m-2\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"model\":\"m-2\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
        "data: [DONE]\n\n",
    ],
};

const ANTHROPIC: Form = Form {
    provider: "anthropic",
    dialect: DialectId::Anthropic,
    path: "/anthropic/v1/messages",
    body: r#"{"model":"m","messages":[],"max_tokens":5,"stream":true}"#,
    content_type: SSE,
    events: &[
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-2\",\
            \"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
            \"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
            \"usage\":{\"output_tokens\":4}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ],
};

const GEMINI: Form = Form {
    provider: "gemini",
    dialect: DialectId::Gemini,
    path: "/gemini/v1beta/models/m:streamGenerateContent?alt=sse",
    body: CONTENTS,
    content_type: SSE,
    events: &[
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"modelVersion\":\"m-2\"}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]}}],\"modelVersion\":\"m-2\"}\r\n\r\n",
        "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\
            \"candidatesTokenCount\":4},\"modelVersion\":\"m-2\"}\r\n\r\n",
    ],
};

/// Gemini without `alt=sse`: one JSON array, element by element.
const ARRAY: Form = Form {
    provider: "gemini",
    dialect: DialectId::Gemini,
    path: "/gemini/v1beta/models/m:streamGenerateContent",
    body: CONTENTS,
    content_type: "application/json; charset=UTF-8",
    events: &[
        "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a,]\"}]}}],\"modelVersion\":\"m-2\"}\n",
        ",\r\n{\"candidates\":[{\"content\":{}}],\"modelVersion\":\"m-2\"}\n",
        ",\r\n{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\
            \"candidatesTokenCount\":4},\"modelVersion\":\"m-2\"}\n",
        "]",
    ],
};

const FORMS: [&Form; 4] = [&OPENAI, &ANTHROPIC, &GEMINI, &ARRAY];

fn gateway(form: &Form, port: u16) -> Gateway {
    Start::new().manifest("a.yaml", &s1(form.provider, &format!("/{}", form.provider), port)).run()
}

fn post(form: &Form) -> Vec<u8> {
    request("POST", form.path, &[("content-type", "application/json")], form.body.as_bytes())
}

/// The access log's line of the only streamed request.
fn line(gateway: &Gateway) -> Value {
    gateway.wait_for_log("access", |l| l["target"] == "tollgate::access" && l["stream"] == true)
}

#[test]
fn each_event_is_there_before_the_next_is_sent() {
    for form in FORMS {
        let gate = Gate::default();
        let steps = gate.clone();
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(form.content_type);
            for event in form.events {
                exchange.chunk(event);
                steps.wait();
            }
            exchange.end();
        });
        let gateway = gateway(form, upstream.port);
        let mut client = gateway.connect();
        let head = client.send(&post(form)).head();
        assert_eq!((head.status, head.header("content-type")), (200, Some(form.content_type)));
        for event in form.events {
            let mut got = Vec::new();
            while got.len() < event.len() {
                got.extend(client.piece().unwrap().expect("no end yet"));
            }
            assert_eq!(String::from_utf8_lossy(&got), *event, "{}", form.path);
            gate.open();
        }
        assert_eq!(client.piece().unwrap(), None, "{}", form.path);
        let line = line(&gateway);
        let logged = [&line["prompt_tokens"], &line["completion_tokens"], &line["response_model"], &line["error"]];
        assert_eq!(logged, [&json!(3), &json!(4), &json!("m-2"), &json!(null)], "{line}");
        assert!(line["ttft_us"].as_u64() <= line["duration_us"].as_u64() && line["ttft_us"].is_u64(), "{line}");
    }
}

#[test]
fn a_stream_split_at_every_byte_arrives_unchanged() {
    for form in FORMS {
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(form.content_type);
            for byte in form.events.concat().bytes() {
                exchange.chunk([byte]);
            }
            exchange.end();
        });
        let gateway = gateway(form, upstream.port);
        let reply = gateway.connect().send(&post(form)).reply();
        assert!(reply.complete);
        assert_eq!(reply.text(), form.events.concat(), "{}", form.path);
        let line = line(&gateway);
        assert_eq!((&line["prompt_tokens"], &line["completion_tokens"]), (&json!(3), &json!(4)), "{line}");
    }
}

#[test]
fn an_event_split_anywhere_is_hidden_whole() {
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let upstream = Upstream::new(|exchange| {
        // Where the n-th request's stream is split.
        let (all, at) = (OPENAI.events.concat(), exchange.nth);
        exchange.stream(SSE).chunk(&all.as_bytes()[..=at]).chunk(&all.as_bytes()[at + 1..]).end();
    });
    let gateway = gateway(&OPENAI, upstream.port);
    let expected: String = OPENAI.events.iter().copied().filter(|e| !e.contains("usage")).collect();
    let mut client = gateway.connect();
    let splits = OPENAI.events.concat().len() - 1;
    for at in 0..splits {
        let reply = client.send(&request("POST", OPENAI.path, &[], body.as_bytes())).reply();
        assert_eq!(reply.text(), expected, "split after byte {at}");
    }
    assert!(upstream.connections() < splits, "connections are used again");
}

#[test]
fn ten_mebibytes_in_one_event_pass() {
    for form in [&OPENAI, &GEMINI] {
        let text = "x".repeat(10 * 1024 * 1024);
        let large = format!("data: {{\"choices\":[],\"candidates\":[],\"text\":\"{text}\"}}\n\n");
        let events = form.events;
        let whole = large.clone() + &events.concat();
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(SSE).chunk(&large);
            for event in events {
                exchange.chunk(event);
            }
            exchange.end();
        });
        let gateway = gateway(form, upstream.port);
        let reply = gateway.connect().send(&post(form)).reply();
        assert!(reply.complete && reply.text() == whole, "{}: {} bytes", form.path, reply.body.len());
        assert_eq!(line(&gateway)["completion_tokens"], 4, "{}", form.path);
    }
}

/// The error that ends a stream after `passed`, read as the format has it.
fn last_error(form: &Form, text: &str, passed: &str, what: &str) -> Value {
    let rest = text.strip_prefix(passed).unwrap_or_else(|| panic!("{what}: {text}"));
    if form.content_type == SSE {
        let event = rest.trim_start_matches(['\r', '\n']);
        let end = if form.dialect == DialectId::Gemini { "\r\n\r\n" } else { "\n\n" };
        let event = event.strip_suffix(end).unwrap_or_else(|| panic!("{what}: no whole event: {rest:?}"));
        let event = match form.dialect {
            DialectId::Anthropic => event.strip_prefix("event: error\n").unwrap_or_else(|| panic!("{what}: {rest:?}")),
            _ => event,
        };
        return serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
    }
    let mut elements: Vec<Value> = serde_json::from_str(text).unwrap_or_else(|e| panic!("{what}: {e}: {text}"));
    elements.pop().unwrap()
}

#[test]
fn a_stream_that_is_cut_ends_with_an_error_and_never_cleanly() {
    type End = fn(&mut Exchange);
    let ends: [(&str, End, u16); 3] = [
        ("closed", |x| x.close(), 502),
        ("reset", |x| x.reset(), 502),
        // To HTTP this is a clean end, and yet the stream is not at its own.
        ("ended too early", |x| _ = x.end(), 502),
    ];
    for form in FORMS {
        for (how, end, status) in ends {
            for sent in 1..form.events.len().min(3) {
                let what = format!("{} {how} after {sent}", form.path);
                let passed: String = form.events[..sent].concat();
                let chunk = passed.clone();
                let gate = Gate::default();
                let step = gate.clone();
                let upstream = Upstream::new(move |exchange| {
                    exchange.stream(form.content_type).chunk(&chunk);
                    step.wait();
                    end(exchange);
                });
                let gateway = gateway(form, upstream.port);
                let mut client = gateway.connect();
                client.send(&post(form)).head();
                let mut got = client.piece().unwrap().unwrap();
                // A reset destroys what has not been read: only now.
                gate.open();
                while let Some(piece) = client.piece().unwrap_or_else(|e| panic!("{what}: {e}")) {
                    got.extend(piece);
                }
                let error = last_error(form, &String::from_utf8(got).unwrap(), &passed, &what);
                assert_shape(&error, form.dialect, status, &what);
                assert_eq!(line(&gateway)["error"], "upstream_closed", "{what}");
                let labels = [("error", "upstream_closed"), ("status", "200")];
                assert_eq!(gateway.metrics().get("tollgate_requests_total", &labels), Some(1.0), "{what}");
            }
        }
    }
}

#[test]
fn a_stream_cut_within_an_event_still_ends_with_a_whole_one() {
    for form in FORMS {
        for hidden in [true, false] {
            // The usage of a stream is hidden by holding events back until they are whole.
            let body = if hidden { form.body.replace("true}}", "false}}") } else { form.body.to_owned() };
            let all = form.events.concat();
            let half = all[..form.events[0].len() + form.events[1].len() / 2].to_owned();
            let chunk = half.clone();
            let upstream = Upstream::new(move |exchange| exchange.stream(form.content_type).chunk(&chunk).close());
            let gateway = gateway(form, upstream.port);
            let reply = gateway.connect().send(&request("POST", form.path, &[], body.as_bytes())).reply();
            assert!(reply.complete, "{}", form.path);
            let what = format!("{}: {:?}", form.path, reply.text());
            assert!(reply.text().starts_with(form.events[0].trim_end()), "{what}");
            if form.content_type == SSE {
                // An SSE reader gets the error as an event of its own, whatever of the half event came before it.
                let blocks: Vec<String> = reply.text().replace("\r\n", "\n").split("\n\n").map(str::to_owned).collect();
                let last = blocks.iter().rev().find(|b| !b.is_empty()).unwrap();
                let data = last.lines().find_map(|l| l.strip_prefix("data: ")).unwrap_or_else(|| panic!("{what}"));
                let error: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {what}"));
                assert_shape(&error, form.dialect, 502, &what);
                assert_eq!(last.lines().filter(|l| l.starts_with("data:")).count(), 1, "{what}");
            }
            assert_eq!(line(&gateway)["error"], "upstream_closed", "{what}");
        }
    }
}

#[test]
fn a_provider_that_falls_silent_in_a_stream_is_given_up_with_an_error() {
    // All at once: each waits for a second.
    let begun = FORMS.map(|form| {
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(form.content_type).chunk(form.events[0]).wait_closed();
        });
        let manifest = s1(form.provider, &format!("/{}", form.provider), upstream.port);
        let gateway = Start::new().manifest("a.yaml", &manifest).flag("--idle-timeout", "1").run();
        let mut client = gateway.connect();
        client.send(&post(form));
        (form, upstream, gateway, client)
    });
    for (form, upstream, gateway, mut client) in begun {
        let reply = client.reply();
        assert!(reply.complete);
        let error = last_error(form, &reply.text(), form.events[0], form.path);
        assert_shape(&error, form.dialect, 504, form.path);
        assert_eq!(line(&gateway)["error"], "upstream_timeout", "{}", form.path);
        upstream.wait_for_closed(1);
    }
}

#[test]
fn a_stream_without_framing_ends_with_its_connection() {
    for form in FORMS {
        let upstream = Upstream::new(move |exchange| {
            let sent = if exchange.nth == 0 { form.events } else { &form.events[..1] };
            exchange.head(200, &[("content-type", form.content_type)]).write(sent.concat()).close();
        });
        let gateway = gateway(form, upstream.port);
        let reply = gateway.connect().send(&post(form)).reply();
        assert_eq!((reply.text(), reply.complete), (form.events.concat(), true), "{}", form.path);
        let reply = gateway.connect().send(&post(form)).reply();
        let error = last_error(form, &reply.text(), form.events[0], form.path);
        assert_shape(&error, form.dialect, 502, form.path);
    }
}

#[test]
fn an_error_event_of_the_provider_is_not_followed_by_another() {
    for (form, error) in [
        (&OPENAI, "data: {\"error\":{\"message\":\"overloaded\"}}\n\n"),
        (
            &ANTHROPIC,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n",
        ),
        (&GEMINI, "data: {\"error\":{\"code\":503,\"message\":\"x\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n"),
    ] {
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(SSE).chunk(form.events[0]).chunk(error).end();
        });
        let gateway = gateway(form, upstream.port);
        let reply = gateway.connect().send(&post(form)).reply();
        assert_eq!(reply.text(), form.events[0].to_owned() + error, "{}", form.path);
    }
}

#[test]
fn a_stream_of_unknown_format_is_forwarded_unchanged() {
    for form in [&OPENAI, &ANTHROPIC, &GEMINI] {
        let events = "id: 7\nevent: new\ndata: {\"brand\":\"new\"}\n\ndata: not even JSON\n\n";
        let upstream = Upstream::new(move |exchange| {
            exchange.stream(SSE).chunk(events).end();
        });
        let gateway = gateway(form, upstream.port);
        let reply = gateway.connect().send(&post(form)).reply();
        assert_eq!((reply.text().as_str(), reply.complete), (events, true), "{}", form.path);
        assert_eq!(line(&gateway)["error"], json!(null), "{}", form.path);
    }
}

#[test]
fn many_streams_run_concurrently() {
    let upstream = Upstream::new(|exchange| {
        exchange.stream(SSE);
        for event in OPENAI.events {
            exchange.chunk(event);
        }
        exchange.end();
    });
    let gateway = gateway(&OPENAI, upstream.port);
    let mut clients: Vec<_> = (0..32).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(&post(&OPENAI));
    }
    for client in &mut clients {
        assert_eq!(client.reply().text(), OPENAI.events.concat());
    }
    wait_until("the counts", PATIENCE, || {
        let metrics = gateway.metrics();
        (metrics.sum("ai_completion_tokens_total", &[("llm", "openai")]) == 128.0).then_some(())
    });
}

/// Streams of endpoints whose end Tollgate does not know, each a whole one.
fn foreign_streams() -> [(&'static str, &'static str, Vec<u8>); 4] {
    let image = concat!(
        "event: image_generation.partial_image\n",
        "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA==\",\"partial_image_index\":0}\n\n",
        "event: image_generation.completed\n",
        "data: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA==\",",
        "\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}\n\n",
    );
    let speech = concat!(
        "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AA==\"}\n\n",
        "data: {\"type\":\"speech.audio.done\",",
        "\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}\n\n",
    );
    let mut frames = Vec::new();
    for bytes in ["eyJvdXRwdXRUZXh0IjoiYSJ9", "eyJvdXRwdXRUZXh0IjoiYiJ9"] {
        tollgate::stream::aws::write_event(&mut frames, "chunk", |out| {
            out.extend_from_slice(format!(r#"{{"bytes":"{bytes}"}}"#).as_bytes());
        });
    }
    [
        ("/openai/v1/images/generations", SSE, image.into()),
        ("/openai/v1/audio/speech", SSE, speech.into()),
        ("/openai/v1/audio/speech?empty", SSE, Vec::new()),
        (
            "/bedrock/model/amazon.titan-text-v1/invoke-with-response-stream",
            "application/vnd.amazon.eventstream",
            frames,
        ),
    ]
}

/// The first stream, in two parts, and the gateway in front of it.
fn foreign_gateway(stream: usize, cut: usize) -> (Upstream, Gateway) {
    let (_, content_type, bytes) = foreign_streams()[stream].clone();
    let upstream = Upstream::new(move |exchange| {
        exchange.stream(content_type);
        let whole = &bytes[..bytes.len() - cut];
        if !whole.is_empty() {
            exchange.chunk(whole);
        }
        exchange.end();
    });
    let mut openai = llm("openai", "key", upstream.port, &json!({}));
    openai["routes"] = json!({"/v1/images/generations": "passthrough", "/v1/audio/speech": "passthrough"});
    let bedrock = json!({
        "provider": {"bedrock": {"region": "eu-west-1", "auth": {"type": "Secret", "secretRef": {"name": "aws"}}}},
        "hostOverride": {"host": "127.0.0.1", "port": upstream.port},
    });
    let keys = yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aws", "namespace": "default"},
        "stringData": {"accessKey": "AKID", "secretKey": "secret-key"},
    }));
    let routes = [s1_of("openai", "/openai", &openai), s1_of("bedrock", "/bedrock", &bedrock)];
    let documents = [secret("key", KEY), keys, routes.concat()];
    let gateway = Start::new().manifest("a.yaml", &documents.concat()).run();
    (upstream, gateway)
}

#[test]
fn streams_whose_end_is_not_known_are_not_judged_by_it() {
    for (number, (path, _, bytes)) in foreign_streams().into_iter().enumerate() {
        let (_upstream, gateway) = foreign_gateway(number, 0);
        let reply = gateway.post(path, r#"{"input":"a","stream":true}"#);
        assert_eq!((reply.status, reply.body), (200, bytes), "{path}: as it came");
        let log = gateway.access(path.split('?').next().unwrap());
        assert_eq!(log["error"], Value::Null, "{path}: {log}");
        assert_eq!(gateway.metrics().sum("tollgate_requests_total", &[("error", "upstream_closed")]), 0.0, "{path}");
    }
}

#[test]
fn a_stream_that_ends_inside_an_event_was_cut_whatever_it_is() {
    // The blank line of the event is missing, and its last brace; or the checksum of a frame.
    for (number, cut) in [(0, 3), (3, 2)] {
        let (path, ..) = foreign_streams()[number];
        let (_upstream, gateway) = foreign_gateway(number, cut);
        assert_eq!(gateway.post(path, r#"{"prompt":"a","stream":true}"#).status, 200);
        assert_eq!(gateway.access(path)["error"], "upstream_closed", "{path}");
    }
}
