//! Retries: `retry` of HTTPRoutes and TrafficPolicies, at LLM providers and at plain servers.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::common::{
    Exchange, Gateway, KEY, PATIENCE, Start, Upstream,
    manifests::{backend, llm, route, rule, secret, yaml},
    request, wait_until,
};

const PATH: &str = "/both/v1/chat/completions";
const CHAT: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
const ANSWER: &str = "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\
    \"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";
const JSON: (&str, &str) = ("content-type", "application/json");

fn fails(exchange: &mut Exchange, status: u16) {
    let body =
        format!("{{\"error\":{{\"message\":\"this is {status}\",\"type\":\"t\",\"param\":null,\"code\":\"c\"}}}}");
    exchange.reply(status, &[JSON], body.as_bytes());
}

/// A provider that fails `times` times with this status, and then answers.
fn recovering(status: u16, times: usize) -> Upstream {
    Upstream::new(move |exchange| match exchange.nth {
        nth if nth < times => fails(exchange, status),
        _ => _ = exchange.reply(200, &[JSON], ANSWER.as_bytes()),
    })
}

fn entry(port: u16) -> Value {
    llm("openai", "key", port, &json!({}))
}

/// Manifests of a Backend with these ports in turn, and a route whose rule has these fields.
fn manifests(ports: &[u16], fields: &Value) -> String {
    let groups: Vec<Value> = ports.iter().map(|port| json!({"providers": [entry(*port)]})).collect();
    let mut own = rule("/both", "both");
    for (name, value) in fields.as_object().unwrap() {
        own[name] = value.clone();
    }
    secret("key", KEY) + &backend("both", &json!({"priorityGroups": groups})) + &route("both", &Value::Array(vec![own]))
}

/// A gateway whose rule has this `retry`.
fn by_rule(ports: &[u16], retry: &Value) -> Gateway {
    Start::new().manifest("a.yaml", &manifests(ports, &json!({"retry": retry}))).run()
}

/// A gateway whose route has a TrafficPolicy with this `retry`.
fn by_policy(ports: &[u16], retry: &Value) -> Gateway {
    let policy = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "both", "namespace": "default"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "both"}],
            "retry": retry,
        },
    }));
    Start::new().manifest("a.yaml", &(manifests(ports, &json!({})) + &policy)).run()
}

#[test]
fn statuses_that_are_listed_are_retried_and_others_are_not() {
    for (status, attempts) in [(500, 3), (429, 3), (409, 3), (503, 1), (400, 1)] {
        for gateway in [
            (|port| by_rule(&[port], &json!({"codes": [500, 429, 409], "attempts": 3, "backoff": "1ms"})))
                as fn(u16) -> Gateway,
            |port| {
                let codes = json!([500, 429, 409]);
                by_policy(&[port], &json!({"statusCodes": codes, "attempts": 3, "backoffBaseInterval": "1ms"}))
            },
        ] {
            let upstream = recovering(status, 2);
            let gateway = gateway(upstream.port);
            let reply = gateway.post(PATH, CHAT);
            let expected = if attempts == 3 { 200 } else { status };
            assert_eq!((reply.status, upstream.received().len()), (expected, attempts), "{status}: {}", reply.text());
            assert!(upstream.received().iter().all(|sent| sent.text() == CHAT), "{status}");
            assert_eq!(gateway.access(PATH)["upstream_attempts"], attempts, "{status}");
        }
    }
}

#[test]
fn a_target_is_retried_before_the_next_one_is_tried() {
    let (first, second) = (recovering(503, 100), recovering(503, 1));
    let retry = json!({"retryOn": ["5xx"], "attempts": 2, "backoffBaseInterval": "1ms"});
    let gateway = by_policy(&[first.port, second.port], &retry);
    assert_eq!(gateway.post(PATH, CHAT).text(), ANSWER);
    assert_eq!((first.received().len(), second.received().len()), (3, 2), "each has its own retries");
    // The line of the access log comes behind them.
    assert_eq!(gateway.access(PATH)["upstream_attempts"], 5);
    let logged = |message: &str| gateway.log().iter().filter(|line| line["msg"] == message).count();
    assert_eq!((logged("trying the same target again"), logged("trying the next target")), (3, 1));
    // In another dialect too, and streaming.
    let stream = format!("data: {}\n\ndata: [DONE]\n\n", ANSWER.replace("\"message\"", "\"delta\""));
    let upstream = Upstream::new(move |exchange| match exchange.nth {
        0 => fails(exchange, 502),
        _ => _ = exchange.stream("text/event-stream").chunk(&stream).end(),
    });
    let gateway = by_rule(&[upstream.port], &json!({"codes": [502], "backoff": "1ms"}));
    let body = CHAT.replacen('{', "{\"stream\":true,", 1);
    let reply = gateway.post("/both/v1/messages", body);
    assert!(reply.text().contains("message_stop") && reply.text().contains("\"hi\""), "{}", reply.text());
}

#[test]
fn a_request_has_at_most_eight_attempts() {
    let upstream = recovering(500, 100);
    let gateway = by_rule(&[upstream.port], &json!({"codes": [500], "attempts": 1000, "backoff": "1ms"}));
    assert_eq!(gateway.post(PATH, CHAT).status, 500);
    assert_eq!(upstream.received().len(), 8);
    assert_eq!(gateway.access(PATH)["upstream_attempts"], 8);
    let none = recovering(500, 100);
    let gateway = by_policy(&[none.port], &json!({"retryOn": ["5xx"], "attempts": 0}));
    assert_eq!((gateway.post(PATH, CHAT).status, none.received().len()), (500, 1));
}

#[test]
fn connections_that_fail_are_retried() {
    let gateway = by_rule(&[Upstream::refusing()], &json!({"attempts": 2, "backoff": "1ms"}));
    assert_eq!(gateway.post(PATH, CHAT).status, 502);
    assert_eq!(gateway.access(PATH)["upstream_attempts"], 3);
    for retry in [json!({"retryOn": ["reset"]}), json!({"retryOn": ["connect-failure"]})] {
        let closing = Upstream::new(|exchange| match exchange.nth {
            0 => exchange.close(),
            _ => _ = exchange.reply(200, &[JSON], ANSWER.as_bytes()),
        });
        let expected = if retry["retryOn"][0] == "reset" { 200 } else { 502 };
        assert_eq!(by_policy(&[closing.port], &retry).post(PATH, CHAT).status, expected, "{retry}");
    }
}

#[test]
fn each_attempt_has_its_own_time() {
    let slow_first = || {
        Upstream::new(|exchange| match exchange.nth {
            0 => exchange.wait_closed(),
            _ => _ = exchange.reply(200, &[JSON], ANSWER.as_bytes()),
        })
    };
    let upstream = slow_first();
    let gateway = by_policy(&[upstream.port], &json!({"retryOn": ["reset"], "perTryTimeout": "500ms"}));
    assert_eq!(gateway.post(PATH, CHAT).text(), ANSWER);
    upstream.wait_for_closed(1);
    let upstream = slow_first();
    let fields = json!({"retry": {"attempts": 1}, "timeouts": {"backendRequest": "500ms"}});
    let gateway = Start::new().manifest("a.yaml", &manifests(&[upstream.port], &fields)).run();
    assert_eq!(gateway.post(PATH, CHAT).text(), ANSWER);
}

#[test]
fn what_a_server_may_not_do_twice_is_not_retried() {
    let retry = || json!({"codes": [500], "attempts": 1, "backoff": "1ms"});
    for (field, attempts) in [("background", 1), ("store", 1), ("parallel_tool_calls", 2)] {
        let upstream = recovering(500, 100);
        let gateway = by_rule(&[upstream.port], &retry());
        let body = format!(r#"{{"model":"m","{field}":true,"input":"hello"}}"#);
        assert_eq!(gateway.post("/both/v1/responses", &body).status, 500, "{field}");
        assert_eq!(upstream.received().len(), attempts, "{field}");
        // No server has seen a request without a connection.
        let gateway = by_rule(&[Upstream::refusing()], &retry());
        assert_eq!(gateway.post("/both/v1/responses", &body).status, 502, "{field}");
        assert_eq!(gateway.access("/both/v1/responses")["upstream_attempts"], 2, "{field}");
    }
}

#[test]
fn a_long_wait_is_left_to_the_client_or_to_the_next_target() {
    let later = |seconds: &'static str| {
        let error = br#"{"error":{"message":"later","type":"t","param":null,"code":"c"}}"#;
        Upstream::fixed(429, &[JSON, ("retry-after", seconds)], error)
    };
    for hint in ["3600", "-1", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        let (first, second) = (later(hint), recovering(500, 0));
        let gateway = by_rule(&[first.port, second.port], &json!({"codes": [429], "attempts": 3, "backoff": "1ms"}));
        assert_eq!(gateway.post(PATH, CHAT).text(), ANSWER, "{hint}");
        assert_eq!(first.received().len(), 1, "{hint}");
        let gateway = by_rule(&[first.port], &json!({"codes": [429], "attempts": 3, "backoff": "1ms"}));
        let reply = gateway.post(PATH, CHAT);
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some(hint)));
        assert_eq!(first.received().len(), 2, "{hint}");
    }
    // Neither is a pause made that the request's time has no room for.
    let upstream = recovering(500, 100);
    let fields = json!({"retry": {"codes": [500], "backoff": "50s"}, "timeouts": {"request": "40s"}});
    let gateway = Start::new().manifest("a.yaml", &manifests(&[upstream.port], &fields)).run();
    assert_eq!((gateway.post(PATH, CHAT).status, upstream.received().len()), (500, 1));
}

#[test]
fn a_client_that_leaves_in_a_pause_ends_the_request() {
    let upstream = recovering(500, 100);
    let gateway = by_rule(&[upstream.port], &json!({"codes": [500], "attempts": 3, "backoff": "30s"}));
    let mut client = gateway.connect();
    client.send(&request("POST", PATH, &[JSON], CHAT.as_bytes()));
    gateway.wait_for_log("the pause", |line| line["msg"] == "trying the same target again");
    drop(client);
    let line = gateway.access(PATH);
    assert_eq!((&line["error"], &line["upstream_attempts"]), (&json!("client_closed"), &json!(1)), "{line}");
    assert_eq!(upstream.received().len(), 1);
    // Its place in the budget is free again.
    let in_flight = || gateway.metrics().sum("tollgate_requests_in_flight", &[]);
    wait_until("the end of the request", PATIENCE, || (in_flight() == 0.0).then_some(()));
}

#[test]
fn retries_of_a_backend_have_a_budget() {
    const CLIENTS: usize = 10;
    let upstream = recovering(500, 1000);
    let gateway = by_rule(&[upstream.port], &json!({"codes": [500], "attempts": 1, "backoff": "3s"}));
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| gateway.post(PATH, CHAT).status)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(statuses, [500; CLIENTS]);
    // All requests have failed once within the pause.
    assert_eq!(upstream.received().len(), CLIENTS + 3);
    // When they are over, there are retries again.
    let before = upstream.received().len();
    gateway.post(PATH, CHAT);
    assert_eq!(upstream.received().len(), before + 2);
}

/// A gateway in front of a plain server, whose rule has this `retry`.
fn plain(port: u16, retry: &Value) -> Gateway {
    let backend = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": port}]}},
    }));
    let mut own = rule("/", "plain");
    own["retry"] = retry.clone();
    Start::new().manifest("a.yaml", &(backend + &route("plain", &Value::Array(vec![own])))).run()
}

#[test]
fn plain_servers_are_retried_where_the_body_is_small_or_absent() {
    let retry = json!({"codes": [500], "attempts": 3, "backoff": "1ms"});
    let large = "x".repeat(1024 * 1024 + 1);
    for (method, body, attempts) in [("GET", "", 3), ("POST", "a small body", 3), ("PUT", &large, 1)] {
        let upstream = recovering(500, 2);
        let gateway = plain(upstream.port, &retry);
        let reply = gateway.connect().send(&request(method, "/x", &[], body.as_bytes())).reply();
        let expected = if attempts == 3 { 200 } else { 500 };
        assert_eq!((reply.status, upstream.received().len()), (expected, attempts), "{method}");
        assert!(upstream.received().iter().all(|sent| sent.text() == body), "{method}");
        assert_eq!(gateway.access("/x")["upstream_attempts"], attempts, "{method}");
        // Another status is the server's answer.
        let other = recovering(503, 2);
        let gateway = plain(other.port, &retry);
        let reply = gateway.connect().send(&request(method, "/x", &[], body.as_bytes())).reply();
        assert_eq!((reply.status, other.received().len()), (503, 1), "{method}");
    }
    // A body of unknown length passes as it comes.
    let upstream = recovering(500, 2);
    let gateway = plain(upstream.port, &retry);
    let chunked = [("transfer-encoding", "chunked")];
    let reply = gateway.connect().send(&request("POST", "/x", &chunked, b"2\r\nab\r\n0\r\n\r\n")).reply();
    assert_eq!((reply.status, upstream.only().text().as_str()), (500, "ab"));
}

#[test]
fn plain_servers_are_retried_after_failed_connections_and_timeouts() {
    let gateway = plain(Upstream::refusing(), &json!({"attempts": 2, "backoff": "1ms"}));
    assert_eq!(gateway.get("/x").status, 502);
    assert_eq!(gateway.access("/x")["upstream_attempts"], 3);
    let closing = Upstream::new(|exchange| match exchange.nth {
        0 => exchange.close(),
        _ => _ = exchange.reply(200, &[], b"ok"),
    });
    let gateway = plain(closing.port, &json!({"attempts": 1, "backoff": "1ms"}));
    let reply = gateway.connect().send(&request("POST", "/x", &[], b"a body")).reply();
    assert_eq!(reply.text(), "ok");
    let endless = recovering(500, 100);
    let gateway = plain(endless.port, &json!({"codes": [500], "attempts": 1000, "backoff": "1ms"}));
    assert_eq!((gateway.get("/x").status, endless.received().len()), (500, 8));
}

#[test]
fn a_body_that_never_ends_is_not_waited_for_longer_than_allowed() {
    let upstream = recovering(500, 2);
    let backend = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
    }));
    let mut own = rule("/", "plain");
    own["retry"] = json!({"codes": [500]});
    let manifest = backend + &route("plain", &Value::Array(vec![own]));
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--body-timeout", "1").run();
    let mut client = gateway.connect();
    client.send(&request("POST", "/x", &[("content-length", "10")], b"half"));
    assert_eq!(client.reply().status, 408);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(upstream.connections(), 0);
}
