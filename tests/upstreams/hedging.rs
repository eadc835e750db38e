//! Hedging: a second target gets the request while the first one is silent, and the first answer counts.

use serde_json::{Value, json};

use crate::common::{
    Exchange, Gate, Gateway, KEY, PATIENCE, Start, Upstream,
    manifests::{backend, llm, route, rule, secret},
    request, wait_until,
};

const SSE: &str = "text/event-stream";
const JSON: (&str, &str) = ("content-type", "application/json");
const CHAT: &str = "/both/v1/chat/completions";
const RESPONSES: &str = "/both/v1/responses";
const STREAM: &str = r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
const BUFFERED: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;

/// What announces an answer of Chat Completions, and is none of it.
const ROLE: &str = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\
    \"content\":\"\"},\"finish_reason\":null}]}\n\n";
/// An answer of 7 tokens.
const ANSWER: &str = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\
    \"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"c\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\
    \"completion_tokens\":7,\"total_tokens\":10}}\n\ndata: [DONE]\n\n";
const WHOLE: &str = "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\
    \"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}],\
    \"usage\":{\"prompt_tokens\":3,\
    \"completion_tokens\":7,\"total_tokens\":10}}";
const MESSAGE: &str = "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{\
    \"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\
    \"input_tokens\":3,\"output_tokens\":7}}";

fn answers(exchange: &mut Exchange) {
    if exchange.request().text().contains("\"stream\":true") {
        exchange.stream(SSE).chunk(ROLE).chunk(ANSWER).end();
    } else {
        exchange.reply(200, &[JSON], WHOLE.as_bytes());
    }
}

/// A target that begins a reply without any content, and is silent until it is let go.
fn silent() -> Upstream {
    Upstream::new(|exchange| {
        if exchange.request().text().contains("\"stream\":true") {
            exchange.stream(SSE).chunk(ROLE);
        }
        exchange.wait_closed();
    })
}

fn named(name: &str, provider: &str, upstream: &Upstream) -> Value {
    let mut entry = llm(provider, "key", upstream.port, &json!({}));
    entry["name"] = name.into();
    entry
}

/// A gateway whose Backend has these entries, one a group, and this `hedge`.
fn gateway(entries: &[Value], hedge: &Value) -> Gateway {
    let groups: Vec<Value> = entries.iter().map(|entry| json!({"providers": [entry]})).collect();
    let ai = json!({"priorityGroups": groups, "hedge": hedge});
    Start::new()
        .manifest(
            "a.yaml",
            &(secret("key", KEY) + &backend("both", &ai) + &route("both", &json!([rule("/both", "both")]))),
        )
        .run()
}

/// The value of a counter of the Backend's target, once it is not 0.
fn counted(gateway: &Gateway, name: &str, target: &str, outcome: &str) -> f64 {
    let labels = [("backend", "default/both"), ("target", target), ("outcome", outcome)];
    let value = || Some(gateway.metrics().sum(name, &labels)).filter(|value| *value > 0.0);
    wait_until(&format!("{name} of {target}: {outcome}"), PATIENCE, value)
}

#[test]
fn the_second_target_answers_and_the_first_one_is_let_go() {
    for (body, delay) in [(STREAM, "0s"), (STREAM, "30ms"), (BUFFERED, "0s"), (BUFFERED, "30ms")] {
        let (slow, fast) = (silent(), Upstream::new(answers));
        let entries = [named("slow", "openai", &slow), named("fast", "openai", &fast)];
        let gateway = gateway(&entries, &json!({"delay": delay}));
        let reply = gateway.post(CHAT, body);
        assert_eq!(reply.status, 200, "{body} {delay}");
        if body == STREAM {
            assert!(reply.text().starts_with(ROLE) && reply.text().contains("hi"), "{}", reply.text());
        } else {
            assert_eq!(reply.text(), WHOLE);
        }
        slow.wait_for_closed(1);
        assert_eq!((slow.received().len(), fast.received().len()), (1, 1));
        let line = gateway.access(CHAT);
        assert_eq!((&line["upstream_attempts"], &line["completion_tokens"]), (&json!(2), &json!(7)), "{line}");
        assert_eq!(counted(&gateway, "tollgate_target_attempts_total", "slow", "outrun"), 1.0);
        assert_eq!(counted(&gateway, "tollgate_target_attempts_total", "fast", "answered"), 1.0);
        assert_eq!(counted(&gateway, "tollgate_target_hedges_total", "fast", "won"), 1.0);
        let metrics = gateway.metrics();
        assert_eq!(metrics.sum("ai_completion_tokens_total", &[]), 7.0, "the tokens are counted once");
        assert_eq!(metrics.sum("gen_ai_server_request_duration_count", &[]), 1.0);
        assert_eq!(metrics.sum("tollgate_target_healthy", &[("target", "slow")]), 1.0, "it has not failed");
    }
}

#[test]
fn a_translated_answer_of_the_second_target_counts_as_well() {
    let (slow, fast) = (silent(), Upstream::fixed(200, &[JSON], MESSAGE.as_bytes()));
    let entries = [named("slow", "openai", &slow), named("fast", "anthropic", &fast)];
    let gateway = gateway(&entries, &json!({"delay": "0s"}));
    let reply = gateway.post(CHAT, BUFFERED);
    assert_eq!((reply.status, &reply.json()["choices"][0]["message"]["content"]), (200, &json!("hi")));
    slow.wait_for_closed(1);
    assert_eq!(gateway.metrics().sum("ai_completion_tokens_total", &[]), 7.0);
}

#[test]
fn the_first_target_may_still_be_the_first_to_answer() {
    let gate = Gate::default();
    let step = gate.clone();
    let first = Upstream::new(move |exchange| {
        step.wait();
        answers(exchange);
    });
    let second = silent();
    let entries = [named("first", "openai", &first), named("second", "openai", &second)];
    let gateway = gateway(&entries, &json!({"delay": "0s"}));
    let mut client = gateway.connect();
    client.send(&request("POST", CHAT, &[], STREAM.as_bytes()));
    second.wait_for_received(1);
    gate.open();
    let reply = client.reply();
    assert_eq!(reply.status, 200);
    second.wait_for_closed(1);
    assert_eq!(counted(&gateway, "tollgate_target_hedges_total", "second", "lost"), 1.0);
    assert_eq!(counted(&gateway, "tollgate_target_attempts_total", "second", "outrun"), 1.0);
    assert_eq!(gateway.access(CHAT)["upstream_attempts"], 2);
}

#[test]
fn when_both_fail_the_next_target_answers() {
    let gate = Gate::default();
    let step = gate.clone();
    let first = Upstream::new(move |exchange| {
        step.wait();
        exchange.reply(503, &[JSON], b"{}");
    });
    let opens = gate.clone();
    let second = Upstream::new(move |exchange| {
        exchange.reply(500, &[JSON], b"{}");
        opens.open();
    });
    let third = Upstream::new(answers);
    let entries =
        [named("first", "openai", &first), named("second", "openai", &second), named("third", "openai", &third)];
    let gateway = gateway(&entries, &json!({"delay": "0s"}));
    let reply = gateway.post(CHAT, BUFFERED);
    assert_eq!((reply.status, reply.text().as_str()), (200, WHOLE));
    assert_eq!(counted(&gateway, "tollgate_target_hedges_total", "second", "failed"), 1.0);
    assert_eq!(gateway.access(CHAT)["upstream_attempts"], 3);
}

#[test]
fn the_second_target_answers_although_the_first_one_fails_meanwhile() {
    let (fails, failed) = (Gate::default(), Gate::default());
    let (step, done) = (fails.clone(), failed.clone());
    let first = Upstream::new(move |exchange| {
        step.wait();
        exchange.reply(503, &[JSON], b"{}");
        done.open();
    });
    let second = Upstream::new(move |exchange| {
        fails.open();
        failed.wait();
        answers(exchange);
    });
    let entries = [named("first", "openai", &first), named("second", "openai", &second)];
    let gateway = gateway(&entries, &json!({"delay": "0s"}));
    let reply = gateway.post(CHAT, BUFFERED);
    assert_eq!((reply.status, reply.text().as_str()), (200, WHOLE));
    assert_eq!(counted(&gateway, "tollgate_target_hedges_total", "second", "won"), 1.0);
    let line = gateway.access(CHAT);
    assert_eq!((&line["upstream_attempts"], &line["completion_tokens"]), (&json!(2), &json!(7)), "{line}");
}

#[test]
fn a_client_that_leaves_ends_both_attempts() {
    let (first, second) = (silent(), silent());
    let entries = [named("first", "openai", &first), named("second", "openai", &second)];
    let gateway = gateway(&entries, &json!({"delay": "0s"}));
    let mut client = gateway.connect();
    client.send(&request("POST", CHAT, &[], STREAM.as_bytes()));
    second.wait_for_received(1);
    drop(client);
    first.wait_for_closed(1);
    second.wait_for_closed(1);
    assert_eq!(counted(&gateway, "tollgate_target_attempts_total", "first", "abandoned"), 1.0);
}

/// Each of these has one attempt, at the first target.
#[test]
fn where_no_second_target_may_answer_none_gets_the_request() {
    let stored = r#"{"model":"m","store":true,"input":"hello"}"#;
    let reply = "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"m\",\"output\":[]}";
    for (path, body, hedge) in [
        (RESPONSES, stored, json!({"delay": "0s"})),
        (CHAT, BUFFERED, json!({"delay": "8760h"})),
        (CHAT, BUFFERED, json!({"delay": "2562047h"})),
        // Too little is known of the first target.
        (CHAT, BUFFERED, json!({})),
    ] {
        let first = Upstream::new(move |exchange| {
            let reply = if exchange.request().path().ends_with("responses") { reply } else { WHOLE };
            exchange.reply(200, &[JSON], reply.as_bytes());
        });
        let second = silent();
        let entries = [named("first", "openai", &first), named("second", "openai", &second)];
        let gateway = gateway(&entries, &hedge);
        assert_eq!(gateway.post(path, body).status, 200, "{path} {hedge}");
        assert_eq!(second.connections(), 0, "{path} {hedge}");
    }
    let only = Upstream::new(answers);
    let gateway = gateway(&[named("only", "openai", &only)], &json!({"delay": "0s"}));
    assert_eq!(gateway.post(CHAT, BUFFERED).text(), WHOLE);
    assert_eq!(only.received().len(), 1);
}

/// The delay is learned from answers: at first there is none.
#[test]
fn a_target_that_is_slower_than_usual_is_hedged() {
    let gate = Gate::default();
    let step = gate.clone();
    let first = Upstream::new(move |exchange| {
        if exchange.nth >= 20 {
            step.wait();
        }
        answers(exchange);
    });
    let second = Upstream::new(answers);
    let entries = [named("first", "openai", &first), named("second", "openai", &second)];
    let gateway = gateway(&entries, &json!({}));
    for _ in 0..20 {
        assert_eq!(gateway.post(CHAT, STREAM).status, 200);
    }
    assert_eq!(second.connections(), 0);
    let health = gateway.debug("/debug/health");
    let of_first = health["targets"].as_array().unwrap().iter().find(|target| target["target"] == "first").unwrap();
    let known = &of_first["firstContent"];
    assert!(known["stream"]["p95Seconds"].is_number() && known["stream"]["seconds"].is_number(), "{health}");
    assert!(known["whole"]["seconds"].is_null(), "{health}");
    assert_eq!(gateway.post(CHAT, STREAM).status, 200);
    assert_eq!(second.received().len(), 1, "the second target has answered");
    gate.open();
}
