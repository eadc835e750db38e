//! Client disconnects: they cancel the provider's work, and the requests are counted.

use serde_json::json;

use crate::common::{
    Exchange, Gate, Gateway, PATIENCE, Start, Upstream,
    manifests::{backend, route, rule, s1, yaml},
    request, wait_until,
};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
const STREAM: &str = r#"{"model":"m","messages":[],"stream":true}"#;
const EVENT: &str =
    "data: {\"model\":\"m-2\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";

/// The progress of a provider when the client disconnects.
struct Phase {
    what: &'static str,
    body: &'static str,
    /// What the provider sends.
    sends: fn(&mut Exchange),
    /// The status that counts.
    status: u16,
    /// How many bytes of the body the client waits for; `None` when it does not even get a head.
    seen: Option<usize>,
}

const PHASES: [Phase; 5] = [
    Phase { what: "before the reply", body: CHAT, sends: |_| (), status: 499, seen: None },
    Phase { what: "before a stream", body: STREAM, sends: |_| (), status: 499, seen: None },
    Phase {
        what: "before the first token",
        body: STREAM,
        sends: |x| _ = x.stream("text/event-stream"),
        status: 200,
        seen: Some(0),
    },
    Phase {
        what: "in mid-stream",
        body: STREAM,
        sends: |x| _ = x.stream("text/event-stream").chunk(EVENT),
        status: 200,
        seen: Some(EVENT.len()),
    },
    Phase {
        what: "in a buffered reply",
        body: CHAT,
        sends: |x| _ = x.head(200, &[("content-type", "application/json"), ("content-length", "9")]).write("{\"a\""),
        status: 200,
        seen: Some(4),
    },
];

fn plain(port: u16) -> String {
    let document = json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": port}]}},
    });
    yaml(&document) + &route("plain", &json!([rule("/plain", "plain")]))
}

fn assert_counted(gateway: &Gateway, path: &str, status: u16, what: &str) {
    let line = gateway.access(path);
    assert_eq!((&line["error"], &line["status"]), (&json!("client_closed"), &json!(status)), "{what}: {line}");
    let status = status.to_string();
    let labels = [("error", "client_closed"), ("status", status.as_str())];
    assert_eq!(gateway.metrics().sum("tollgate_requests_total", &labels), 1.0, "{what}");
    wait_until("nothing in flight", PATIENCE, || {
        (gateway.metrics().get("tollgate_requests_in_flight", &[("gateway", "default/gw")]) == Some(0.0)).then_some(())
    });
}

#[test]
fn a_client_disconnect_closes_the_provider_connection_at_once() {
    for Phase { what, body, sends, status, seen } in PHASES {
        for (path, with_reset) in [("/openai", false), ("/openai", true), ("/plain/x", false)] {
            let what = format!("{what}, {path}, reset: {with_reset}");
            let (asked, told) = (Gate::default(), Gate::default());
            let (ask, tell) = (asked.clone(), told.clone());
            let upstream = Upstream::new(move |exchange| {
                sends(exchange);
                ask.open();
                exchange.wait_closed();
                tell.open();
            });
            let manifest = s1("openai", "/openai", upstream.port) + &plain(upstream.port);
            let gateway = Start::new().manifest("a.yaml", &manifest).run();
            let mut client = gateway.connect();
            client.send(&request("POST", path, &[], body.as_bytes()));
            if let Some(bytes) = seen {
                assert_eq!(client.head().status, 200, "{what}");
                let mut got = 0;
                while got < bytes {
                    got += client.piece().unwrap().unwrap().len();
                }
            }
            asked.wait();
            if with_reset {
                client.reset();
            } else {
                drop(client);
            }
            told.wait();
            assert_counted(&gateway, path, status, &what);
        }
    }
}

#[test]
fn tokens_reported_before_the_client_disconnected_are_counted() {
    let first = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-2\",\
        \"usage\":{\"input_tokens\":30,\"output_tokens\":1}}}\n\n";
    let upstream = Upstream::new(move |exchange| {
        exchange.stream("text/event-stream").chunk(first).wait_closed();
    });
    let gateway = Start::new().manifest("a.yaml", &s1("anthropic", "/anthropic", upstream.port)).run();
    let mut client = gateway.connect();
    let body = r#"{"model":"m","messages":[],"max_tokens":5,"stream":true}"#;
    client.send(&request("POST", "/anthropic/v1/messages", &[], body.as_bytes())).head();
    assert_eq!(client.event().as_deref(), Some(first));
    drop(client);
    let line = gateway.access("/anthropic/v1/messages");
    assert_eq!((&line["error"], &line["prompt_tokens"]), (&json!("client_closed"), &json!(30)), "{line}");
    let labels = [("llm", "anthropic"), ("model", "m")];
    assert_eq!(gateway.metrics().get("ai_prompt_tokens_total", &labels), Some(30.0));
}

#[test]
fn a_client_disconnect_stops_failover() {
    let gate = Gate::default();
    let asked = gate.clone();
    let silent = Upstream::new(move |exchange| {
        asked.open();
        exchange.wait_closed();
    });
    let second = Upstream::json("{}");
    let entries = [silent.port, second.port].map(|port| crate::common::llm("openai", "key", port, &json!({})));
    let groups = entries.map(|entry| json!({"providers": [entry]}));
    let manifest = crate::common::secret("key", crate::common::KEY)
        + &backend("both", &json!({"priorityGroups": groups}))
        + &route("both", &json!([rule("/both", "both")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let mut client = gateway.connect();
    client.send(&request("POST", "/both", &[], CHAT.as_bytes()));
    gate.wait();
    drop(client);
    assert_counted(&gateway, "/both", 499, "failover");
    assert_eq!(second.received().len(), 0);
}
