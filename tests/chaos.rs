//! A bounded run under chaos: two of three providers fail at random, the configuration changes all the time, and keys
//! are rotated. Two hundred clients notice nothing but streams that break after their first content.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    Exchange, Gateway, Start, Upstream,
    manifests::{backend, llm, route, rule, secret},
    request,
};
use serde_json::{Value, json};

/// Clients at a time, and how long they send requests.
const CLIENTS: usize = 200;
const TIME: Duration = Duration::from_secs(15);
/// Each run has the same faults in the same order.
const SEED: u64 = 0x5eed_0013;

const SSE: &str = "text/event-stream";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const ROLE: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\
    \"finish_reason\":null}]}\n\n";
const CONTENT: &str =
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const END: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
    data: [DONE]\n\n";
const WHOLE: &str = "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\
    \"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";

/// A number that looks random (`SplitMix64`).
fn random(number: usize) -> u64 {
    let mut mixed = SEED.wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn streams(exchange: &Exchange) -> bool {
    exchange.request().text().contains("\"stream\":true")
}

fn answer(exchange: &mut Exchange) {
    if streams(exchange) {
        exchange.stream(SSE).chunk(ROLE).chunk(CONTENT).chunk(END).end();
    } else {
        exchange.reply(200, &JSON, WHOLE.as_bytes());
    }
}

/// One of the faults, or now and then an answer.
fn fail(exchange: &mut Exchange) {
    let error = br#"{"error":{"message":"no","type":"server_error","code":null}}"#;
    match (random(exchange.nth) % 10, streams(exchange)) {
        (0, _) => exchange.reset(),
        (1, _) => exchange.close(),
        (2, _) => _ = exchange.reply(500, &JSON, error),
        (3, _) => _ = exchange.reply(503, &JSON, error),
        (4, _) => _ = exchange.reply(429, &[JSON[0], ("retry-after", "1")], error),
        (5, true) => _ = exchange.stream(SSE).chunk([b"data: ", &error[..], b"\n\n"].concat()).end(),
        (6, true) => exchange.stream(SSE).chunk(ROLE).close(),
        (7, true) => exchange.stream(SSE).chunk(ROLE).chunk(CONTENT).close(),
        (5 | 6, false) => _ = exchange.reply(200, &JSON, b"<html>busy</html>"),
        (7, false) => exchange.head(200, &[JSON[0], ("content-length", "900")]).write("{\"id\":").close(),
        _ => answer(exchange),
    }
}

/// A provider that counts requests with a key that was never its own.
fn provider(name: &'static str, script: fn(&mut Exchange), foreign: &Arc<AtomicUsize>) -> Upstream {
    let foreign = Arc::clone(foreign);
    Upstream::new(move |exchange| {
        let key = exchange.request().header("authorization").unwrap_or_default();
        if !key.starts_with(&format!("Bearer key-of-{name}-")) {
            foreign.fetch_add(1, Ordering::SeqCst);
        }
        script(exchange);
    })
}

/// The Secrets after so many rotations.
fn secrets(rotation: usize) -> String {
    ["first", "second", "third"].map(|name| secret(name, &format!("key-of-{name}-{rotation}"))).concat()
}

/// One request on a connection of its own; what is wrong with the reply, if anything is.
fn complaint(gateway: &Gateway, number: usize) -> Option<String> {
    let streams = number.is_multiple_of(2);
    let body = format!(r#"{{"model":"m","stream":{streams},"messages":[{{"role":"user","content":"hello"}}]}}"#);
    let bytes = request("POST", "/all/v1/chat/completions", &JSON, body.as_bytes());
    let Some(reply) = gateway.connect().send(&bytes).try_reply() else { return Some("no reply".into()) };
    let text = reply.text();
    let is_answer = if streams { text.ends_with("data: [DONE]\n\n") } else { text == WHOLE };
    let broke_after_content = streams && text.contains("\"hi\"") && text.contains("\"error\"");
    let is_good = reply.status == 200 && reply.complete && (is_answer || broke_after_content);
    (!is_good).then(|| format!("{} {text}", reply.status))
}

fn resident(gateway: &Gateway) -> f64 {
    gateway.metrics().get("process_resident_memory_bytes", &[]).unwrap()
}

#[test]
fn clients_do_not_notice_providers_that_fail_and_configuration_that_changes() {
    let foreign = Arc::new(AtomicUsize::new(0));
    let providers =
        [provider("first", fail, &foreign), provider("second", fail, &foreign), provider("third", answer, &foreign)];
    let names = ["first", "second", "third"];
    let groups: Vec<Value> = names
        .iter()
        .zip(&providers)
        .map(|(name, provider)| {
            let mut entry = llm("openai", name, provider.port, &json!({}));
            entry["name"] = json!(name);
            json!({"providers": [entry]})
        })
        .collect();
    let manifest = backend("all", &json!({"priorityGroups": groups})) + &route("all", &json!([rule("/all", "all")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).manifest("keys.yaml", &secrets(0)).log("error").run();
    let (over, number, complaints) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let memory = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let found = complaint(&gateway, number.fetch_add(1, Ordering::SeqCst));
                    complaints.lock().unwrap().extend(found);
                }
            });
        }
        let (started, mut memory) = (Instant::now(), Vec::new());
        for change in 1.. {
            // Another Backend comes and goes, and every key is rotated.
            let other =
                backend("other", &json!({"llm": llm("openai", "first", 1, &json!({"model": change.to_string()}))}));
            gateway.write("other.yaml", &other);
            gateway.change(|| drop(gateway.write("keys.yaml", &secrets(change))));
            gateway.remove("other.yaml");
            memory.push(resident(&gateway));
            if started.elapsed() > TIME {
                break;
            }
        }
        over.store(true, Ordering::SeqCst);
        memory
    });
    let complaints = complaints.into_inner().unwrap();
    let sent = number.into_inner();
    assert!(complaints.is_empty(), "{} of {sent}: {:#?}", complaints.len(), &complaints[..complaints.len().min(5)]);
    assert_eq!(foreign.load(Ordering::SeqCst), 0, "requests with another provider's key");
    let failovers = gateway.metrics().sum("tollgate_target_failovers_total", &[]);
    assert!(failovers > 10.0, "only {failovers} requests met a fault");
    assert!(sent > CLIENTS && memory.len() > 3, "{sent} requests, {} changes", memory.len());
    // The first third is for pools and caches to fill.
    let (early, last) = (memory[memory.len() / 3], memory[memory.len() - 1]);
    assert!(last < early * 1.25 + 16e6, "resident memory grew: {memory:?}");
}
