//! Configuration that makes no sense, and peers that misbehave while they are waited for. Each has a bounded effect
//! with a name, and the neighbours are served.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    common::{
        Gateway, KEY, Start, Upstream,
        manifests::{backend, llm, route, rule, s1, secret, yaml},
        request,
    },
    provider::listen,
};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const ANSWER: &str =
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;

fn entry(name: &str, port: u16) -> Value {
    let mut entry = llm("openai", "key", port, &json!({}));
    entry["name"] = json!(name);
    entry
}

/// A gateway with these documents, and a neighbour below `/openai`.
fn gateway(documents: &str, neighbour: &Upstream) -> Gateway {
    let manifest = secret("key", KEY) + &s1("openai", "/openai", neighbour.port);
    Start::new().manifest("a.yaml", &manifest).manifest("b.yaml", documents).flag("--body-timeout", "1").run()
}

/// Backend and route `bad` with these groups.
fn groups(groups: &Value) -> String {
    backend("bad", &json!({"priorityGroups": groups})) + &route("bad", &json!([rule("/bad", "bad")]))
}

/// The route `bad` with these timeouts or retries of its rule.
fn rule_with(name: &str, value: Value, port: u16) -> String {
    let mut own = rule("/bad", "bad");
    own[name] = value;
    backend("bad", &json!({"llm": entry("only", port)})) + &route("bad", &json!([own]))
}

#[test]
fn configuration_that_nobody_means_harms_no_neighbour() {
    let upstream = Upstream::json(ANSWER);
    let port = upstream.port;
    let mut unknown = entry("a", port);
    unknown["provider"]["openai"]["authToken"]["secretRef"]["name"] = json!("missing");
    let zero = {
        let mut own = rule("/bad", "openai");
        own["backendRefs"][0]["weight"] = json!(0);
        route("bad", &json!([own]))
    };
    let cases = [
        ("no group", groups(&json!([])), 500),
        ("an empty group", groups(&json!([{"providers": []}])), 500),
        ("one name twice", groups(&json!([{"providers": [entry("a", port), entry("a", port)]}])), 500),
        ("all Secrets missing", groups(&json!([{"providers": [unknown.clone()]}, {"providers": [unknown]}])), 500),
        ("only weights of zero", zero, 500),
        ("timeouts of zero", rule_with("timeouts", json!({"request": "0s", "backendRequest": "0s"}), port), 200),
        (
            "timeouts of a year",
            rule_with("timeouts", json!({"request": "8760h", "backendRequest": "8760h"}), port),
            200,
        ),
        ("no retries", rule_with("retry", json!({"attempts": 0, "codes": [503]}), port), 200),
    ];
    let mut complaints = Vec::new();
    for (what, documents, expected) in cases {
        let gateway = gateway(&documents, &upstream);
        let reply = gateway.post("/bad/v1/chat/completions", CHAT);
        let reported = gateway.debug("/debug/objects").to_string();
        if reply.status != expected {
            complaints.push(format!("{what}: {} {}\n{reported}", reply.status, reply.text()));
        }
        assert_eq!(gateway.post("/openai/v1/chat/completions", CHAT).status, 200, "{what}: the neighbour");
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_thousand_retries_are_bounded() {
    let busy = Upstream::fixed(503, &[("content-type", "application/json")], b"{}");
    let retry = json!({"attempts": 1000, "codes": [503], "backoff": "1ms"});
    let gateway = gateway(&rule_with("retry", retry, busy.port), &busy);
    assert_eq!(gateway.post("/bad/v1/chat/completions", CHAT).status, 503);
    // As `docs/configuration.md` has it.
    assert_eq!(busy.received().len(), 8);
}

#[test]
fn a_body_that_is_withheld_is_neither_sent_nor_retried() {
    let upstream = Upstream::json("{}");
    let mut own = rule("/plain", "plain");
    own["retry"] = json!({"attempts": 3, "codes": [503]});
    let plain = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
    }));
    let retried = rule_with("retry", json!({"attempts": 3, "codes": [503]}), upstream.port);
    let documents = plain + &route("plain", &json!([own])) + &retried;
    let gateway = gateway(&documents, &upstream);
    for path in ["/plain", "/bad/v1/chat/completions"] {
        let mut client = gateway.connect();
        let headers = [("content-type", "application/json"), ("content-length", "1000")];
        client.send(&request("POST", path, &headers, b"{\"model\":"));
        assert_eq!(client.reply().status, 408, "{path}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_hundred_megabytes_of_reply_headers_are_not_read() {
    const HEADERS: usize = 100 * 1024 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let port = listen(move |mut stream: TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let line = format!("x-more: {}\r\n", "a".repeat(1000)).repeat(64);
        while count.load(Ordering::SeqCst) < HEADERS && stream.write_all(line.as_bytes()).is_ok() {
            count.fetch_add(line.len(), Ordering::SeqCst);
        }
    });
    let second = Upstream::json(ANSWER);
    let documents =
        groups(&json!([{"providers": [entry("first", port)]}, {"providers": [entry("second", second.port)]}]))
            + &backend("alone", &json!({"llm": entry("only", port)}))
            + &route("alone", &json!([rule("/alone", "alone")]));
    let gateway = gateway(&documents, &second);
    let alone = gateway.post("/alone/v1/chat/completions", CHAT);
    assert_eq!((alone.status, alone.json()["error"]["code"].as_str()), (502, Some("upstream_protocol")));
    assert_eq!(gateway.post("/bad/v1/chat/completions", CHAT).status, 200);
    // What fits into the buffers of two connections is more than what is read.
    assert!(written.load(Ordering::SeqCst) < HEADERS / 4);
}
