//! Limits of the requests at a time: which requests wait, in which order they go on, and what others get.

use std::thread;

use serde_json::{Value, json};

use crate::common::{
    Client, DialectId, Exchange, Gate, Gateway, KEY, PATIENCE, Start, Upstream, assert_error,
    manifests::{llm, route, rule, s1_of, secret, yaml},
    request, wait_until,
};

const PATH: &str = "/chat/v1/chat/completions";
const JSON: (&str, &str) = ("content-type", "application/json");
const ANSWER: &str = "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\
    \"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";
const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";

/// A request of Chat Completions with this text.
fn chat(text: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

fn answer(exchange: &mut Exchange) {
    exchange.reply(200, &[JSON], ANSWER.as_bytes());
}

/// A provider that answers a request with the word `held` in it when the gate is opened for it, and others at once.
fn holding(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::new(move |exchange| {
        if exchange.request().text().contains("held") {
            gate.wait();
        }
        answer(exchange);
    })
}

/// An entry with these fields beside the provider's.
fn entry(port: u16, fields: &Value) -> Value {
    with(llm("openai", "key", port, &json!({})), fields)
}

fn with(mut object: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// A Backend with these entries, one group each, and these limits.
fn limited(entries: &[Value], breakers: &Value) -> String {
    let groups: Vec<Value> = entries.iter().map(|entry| json!({"providers": [entry]})).collect();
    let spec = json!({"type": "AI", "ai": {"priorityGroups": groups}, "circuitBreakers": breakers});
    let document = json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "chat", "namespace": "default"}, "spec": spec,
    });
    secret("key", KEY) + &yaml(&document) + &route("chat", &json!([rule("/chat", "chat")]))
}

fn start(manifest: &str) -> Gateway {
    Start::new().manifest("a.yaml", manifest).run()
}

/// A policy of the route with this `priority`.
fn prioritized(priority: &Value) -> String {
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "chat", "namespace": "default"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "chat"}],
            "priority": priority,
        },
    }))
}

/// Sends a request without waiting for its reply.
fn send(gateway: &Gateway, text: &str, headers: &[(&str, &str)]) -> Client {
    let mut client = gateway.connect();
    client.send(&request("POST", PATH, headers, chat(text).as_bytes()));
    client
}

/// The state of the one Backend with limits.
fn load(gateway: &Gateway) -> Value {
    gateway.debug("/debug/health")["backends"][0].clone()
}

/// Waits until so many requests are in flight, and so many wait.
fn wait_for(gateway: &Gateway, in_flight: u64, waiting: u64) {
    wait_until(&format!("{in_flight} in flight, {waiting} waiting"), PATIENCE, || {
        let load = load(gateway);
        let queue = load["waiting"]["interactive"].as_u64()? + load["waiting"]["batch"].as_u64()?;
        (load["inFlight"] == in_flight && queue == waiting).then_some(())
    });
}

/// The texts of the requests that came, in their order.
fn texts(upstream: &Upstream) -> Vec<String> {
    let text = |body: Value| body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
    upstream.received().iter().map(|received| text(received.json())).collect()
}

#[test]
fn requests_over_the_limit_wait_and_interactive_ones_come_first() {
    let gate = Gate::default();
    let upstream = holding(&gate);
    let manifest = limited(&[entry(upstream.port, &json!({}))], &json!({"maxRequests": 1}))
        + &prioritized(&json!({"header": "x-priority"}));
    let gateway = start(&manifest);
    let mut clients = vec![send(&gateway, "held", &[])];
    wait_for(&gateway, 1, 0);
    for (waiting, (text, class)) in
        (1..).zip([("first", "batch"), ("second", "nonsense"), ("third", "BATCH"), ("fourth", "interactive")])
    {
        clients.push(send(&gateway, text, &[("x-priority", class)]));
        wait_for(&gateway, 1, waiting);
    }
    assert_eq!(load(&gateway)["waiting"], json!({"interactive": 2, "batch": 2}));
    assert_eq!(gateway.metrics().get("tollgate_backend_queue_length", &[("backend", "default/chat")]), Some(4.0));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.reply().text(), ANSWER);
    }
    assert_eq!(texts(&upstream), ["held", "second", "fourth", "first", "third"]);
    wait_for(&gateway, 0, 0);
    let waited = |class| gateway.metrics().sum("tollgate_backend_queue_seconds_count", &[("priority", class)]);
    assert_eq!((waited("interactive"), waited("batch")), (2.0, 2.0));
    let lines = || gateway.log().into_iter().filter(|line| line["target"] == "tollgate::access");
    wait_until("the access log", PATIENCE, || (lines().count() == 5).then_some(()));
    assert_eq!(lines().filter(|line| line["queued_us"].is_u64()).count(), 4);
}

#[test]
fn a_header_is_no_priority_unless_a_policy_names_it() {
    let gate = Gate::default();
    for (priority, expected) in [
        (None, ["held", "first", "second"]),
        (Some(json!({"class": "Batch"})), ["held", "first", "second"]),
        (Some(json!({"class": "Batch", "header": "X-Priority"})), ["held", "second", "first"]),
    ] {
        let policy = priority.as_ref().map(prioritized).unwrap_or_default();
        let upstream = holding(&gate);
        let gateway = start(&(limited(&[entry(upstream.port, &json!({"maxRequests": 1}))], &json!({})) + &policy));
        let mut clients = vec![send(&gateway, "held", &[])];
        wait_for(&gateway, 1, 0);
        clients.push(send(&gateway, "first", &[("x-priority", "batch")]));
        wait_for(&gateway, 1, 1);
        clients.push(send(&gateway, "second", &[("x-priority", "interactive")]));
        wait_for(&gateway, 1, 2);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.reply().status, 200);
        }
        assert_eq!(texts(&upstream), expected, "{priority:?}");
        assert!(upstream.received().iter().all(|sent| sent.header("x-priority").is_none()), "it stays in the gateway");
    }
}

#[test]
fn a_full_target_is_passed_over_before_any_request_waits() {
    let gate = Gate::default();
    let (first, second) = (holding(&gate), holding(&gate));
    let entries = [entry(first.port, &json!({"maxRequests": 1})), entry(second.port, &json!({"maxRequests": 1}))];
    let gateway = start(&limited(&entries, &json!({})));
    let mut clients = vec![send(&gateway, "held 1", &[])];
    wait_for(&gateway, 1, 0);
    clients.push(send(&gateway, "held 2", &[]));
    second.wait_for_received(1);
    clients.push(send(&gateway, "held 3", &[]));
    wait_for(&gateway, 2, 1);
    assert_eq!((first.received().len(), second.received().len()), (1, 1));
    let health = gateway.debug("/debug/health");
    assert!(health["targets"].as_array().unwrap().iter().all(|target| target["limit"] == 1), "{health}");
    (0..3).for_each(|_| gate.open());
    for client in &mut clients {
        assert_eq!(client.reply().status, 200);
    }
    assert_eq!(first.received().len() + second.received().len(), 3);
    let lines = || gateway.log().into_iter().filter(|line| line["target"] == "tollgate::access");
    wait_until("the access log", PATIENCE, || (lines().count() == 3).then_some(()));
    assert!(lines().all(|line| line["upstream_attempts"] == 1), "no attempt was made at a full target");
    assert_eq!(gateway.metrics().sum("tollgate_target_failovers_total", &[]), 0.0);
}

#[test]
fn a_request_that_fails_over_waits_for_a_full_target() {
    let gate = Gate::default();
    let failing = Upstream::fixed(500, &[JSON], b"{}");
    let second = holding(&gate);
    let entries = [entry(failing.port, &json!({})), entry(second.port, &json!({"maxRequests": 1}))];
    let gateway = start(&limited(&entries, &json!({})));
    let mut first = send(&gateway, "held", &[]);
    second.wait_for_received(1);
    let mut next = send(&gateway, "next", &[]);
    wait_for(&gateway, 2, 1);
    gate.open();
    assert_eq!((first.reply().status, next.reply().text().as_str()), (200, ANSWER));
    assert_eq!(texts(&second), ["held", "next"]);
    // Where it may not wait, the client gets what the first target has answered.
    let entries = [entry(failing.port, &json!({})), entry(second.port, &json!({"maxRequests": 1}))];
    let gateway = start(&limited(&entries, &json!({"maxPendingRequests": 0})));
    let mut first = send(&gateway, "held", &[]);
    second.wait_for_received(3);
    assert_eq!(gateway.post(PATH, chat("next")).status, 500);
    gate.open();
    assert_eq!(first.reply().status, 200);
}

/// Each client dialect's request, below its own prefix.
const DIALECTS: [(DialectId, &str, &str, &str); 3] = [
    (DialectId::OpenAi, "openai", "/v1/chat/completions", r#"{"model":"m","messages":[]}"#),
    (DialectId::Anthropic, "anthropic", "/v1/messages", r#"{"model":"m","max_tokens":5,"messages":[]}"#),
    (DialectId::Gemini, "gemini", "/v1beta/models/m:generateContent", r#"{"contents":[]}"#),
];

#[test]
fn without_room_the_client_gets_503_in_its_dialect_and_when_to_come_back() {
    for (breakers, cause, after) in [
        (json!({"maxRequests": 1, "maxPendingRequests": 0}), "queue_full", "30"),
        (json!({"maxRequests": 1, "pendingTimeout": "1ms"}), "wait_limit", "1"),
    ] {
        for (dialect, provider, path, body) in DIALECTS {
            let (asked, gate) = (Gate::default(), Gate::default());
            let (ask, step) = (asked.clone(), gate.clone());
            let upstream = Upstream::new(move |exchange| {
                ask.open();
                step.wait();
                exchange.reply(200, &[JSON], b"{}");
            });
            let manifest = secret(provider, KEY)
                + &yaml(&json!({
                    "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
                    "metadata": {"name": provider, "namespace": "default"},
                    "spec": {
                        "type": "AI", "circuitBreakers": breakers,
                        "ai": {"llm": llm(provider, provider, upstream.port, &json!({}))},
                    },
                }))
                + &route(provider, &json!([rule("/x", provider)]));
            let gateway = start(&manifest);
            let path = format!("/x{path}");
            let mut first = gateway.connect();
            first.send(&request("POST", &path, &[JSON], body.as_bytes()));
            asked.wait();
            let reply = gateway.post(&path, body);
            assert_error(&reply, dialect, 503, cause);
            assert_eq!(reply.header("retry-after"), Some(after), "{cause}");
            assert!(reply.header("x-should-retry").is_none(), "clients may come back");
            let line = gateway.access(&path);
            assert_eq!((&line["error"], &line["upstream_attempts"]), (&json!("no_room"), &json!(0)), "{line}");
            gateway.wait_for_log("the cause", |line| line["cause"].as_str().is_some_and(|text| text.ends_with(cause)));
            assert_eq!(gateway.metrics().sum("tollgate_backend_refused_total", &[("cause", cause)]), 1.0, "{cause}");
            assert_eq!(upstream.received().len(), 1, "{cause}");
            gate.open();
            first.reply();
        }
    }
}

/// What a provider does with a request that stays.
type Stays = fn(&mut Exchange);

#[test]
fn a_client_that_goes_away_frees_its_place_in_every_phase() {
    let phases: [(&str, &str, Stays); 4] = [
        ("before the reply", "", |_| ()),
        ("in the head of a stream", r#""stream":true,"#, |x| _ = x.stream("text/event-stream")),
        ("in a stream", r#""stream":true,"#, |x| _ = x.stream("text/event-stream").chunk(EVENT)),
        ("in a buffered reply", "", |x| _ = x.head(200, &[JSON, ("content-length", "99")]).write("{\"a\"")),
    ];
    for (phase, stream, stays) in phases {
        let asked = Gate::default();
        let ask = asked.clone();
        let upstream = Upstream::new(move |exchange| {
            if exchange.request().text().contains("stays") {
                stays(exchange);
                ask.open();
                exchange.wait_closed();
            } else {
                answer(exchange);
            }
        });
        let gateway = start(&limited(&[entry(upstream.port, &json!({}))], &json!({"maxRequests": 1})));
        let mut gone = gateway.connect();
        let body = chat("stays").replacen('{', &format!("{{{stream}"), 1);
        gone.send(&request("POST", PATH, &[JSON], body.as_bytes()));
        asked.wait();
        let mut next = send(&gateway, "next", &[]);
        wait_for(&gateway, 1, 1);
        drop(gone);
        assert_eq!(next.reply().text(), ANSWER, "{phase}");
        wait_for(&gateway, 0, 0);
    }
}

#[test]
fn a_client_that_goes_away_in_a_pause_or_in_the_queue_frees_its_place() {
    let gate = Gate::default();
    let step = gate.clone();
    let upstream = Upstream::new(move |exchange| {
        let text = exchange.request().text();
        if text.contains("held") {
            step.wait();
        }
        if text.contains("fails") { _ = exchange.reply(500, &[JSON], b"{}") } else { answer(exchange) }
    });
    let mut own = rule("/chat", "chat");
    own["retry"] = json!({"codes": [500], "attempts": 3, "backoff": "30s"});
    let breakers = json!({"maxRequests": 1, "maxPendingRequests": 1});
    let manifest = limited(&[entry(upstream.port, &json!({}))], &breakers);
    let without = route("chat", &json!([rule("/chat", "chat")]));
    let gateway = start(&manifest.replace(&without, &route("chat", &json!([own]))));
    let gone = send(&gateway, "fails", &[]);
    gateway.wait_for_log("the pause", |line| line["msg"] == "trying the same target again");
    let mut next = send(&gateway, "held", &[]);
    wait_for(&gateway, 1, 1);
    drop(gone);
    wait_for(&gateway, 1, 0);
    upstream.wait_for_received(2);
    // In the queue.
    let waits = send(&gateway, "waits", &[]);
    wait_for(&gateway, 1, 1);
    drop(waits);
    wait_for(&gateway, 1, 0);
    let is_gone = |line: &Value| line["target"] == "tollgate::access" && line["queued_us"].is_u64();
    let line = gateway.wait_for_log("the one that has waited", |line| is_gone(line) && line["status"] == 499);
    assert_eq!((&line["error"], &line["upstream_attempts"]), (&json!("client_closed"), &json!(0)), "{line}");
    let mut last = send(&gateway, "last", &[]);
    wait_for(&gateway, 1, 1);
    gate.open();
    assert_eq!((next.reply().status, last.reply().status), (200, 200));
    assert!(!texts(&upstream).contains(&"waits".to_owned()));
    wait_for(&gateway, 0, 0);
}

#[test]
fn a_client_that_goes_away_while_a_credential_is_fetched_frees_its_place() {
    let (gate, upstream) = (Gate::default(), Upstream::json("{}"));
    let step = gate.clone();
    let metadata = Upstream::new(move |exchange| {
        step.wait();
        let token = json!({"access_token": KEY, "expires_in": 3599, "token_type": "Bearer"}).to_string();
        exchange.reply(200, &[JSON], token.as_bytes());
    });
    let vertex = llm("vertexai", "none", upstream.port, &json!({"authToken": {"kind": "Workload"}}));
    let gateway = Start::new()
        .manifest("a.yaml", &limited(&[vertex], &json!({"maxRequests": 1})))
        .env("GCE_METADATA_HOST", &format!("127.0.0.1:{}", metadata.port))
        .flag("--pod-identity-hosts", "127.0.0.1")
        .run();
    let path = "/chat/v1/projects/p/locations/l/publishers/google/models/m:generateContent";
    let ask = || {
        let mut client = gateway.connect();
        client.send(&request("POST", path, &[JSON], br#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#));
        client
    };
    let gone = ask();
    wait_for(&gateway, 1, 0);
    let mut next = ask();
    wait_for(&gateway, 1, 1);
    drop(gone);
    wait_for(&gateway, 1, 0);
    gate.open();
    assert_eq!(next.reply().status, 200);
    assert_eq!(upstream.received().len(), 1);
    wait_for(&gateway, 0, 0);
}

#[test]
fn a_change_of_the_limits_reaches_the_requests_that_wait() {
    let gate = Gate::default();
    let upstream = holding(&gate);
    let manifest = |breakers: &Value| limited(&[entry(upstream.port, &json!({}))], breakers);
    let gateway = start(&manifest(&json!({"maxRequests": 1})));
    let mut first = send(&gateway, "held", &[]);
    wait_for(&gateway, 1, 0);
    let mut second = send(&gateway, "second", &[]);
    wait_for(&gateway, 1, 1);
    // Something else changes.
    gateway.change(|| _ = gateway.write("b.yaml", &secret("other", "v")));
    wait_for(&gateway, 1, 1);
    gateway.change(|| _ = gateway.write("a.yaml", &manifest(&json!({"maxRequests": 2}))));
    assert_eq!(second.reply().text(), ANSWER, "while the first is still there");
    // Lowered below what is in flight.
    let mut third = send(&gateway, "held", &[]);
    wait_for(&gateway, 2, 0);
    gateway.change(|| _ = gateway.write("a.yaml", &manifest(&json!({"maxRequests": 1}))));
    let mut fourth = send(&gateway, "fourth", &[]);
    wait_for(&gateway, 2, 1);
    gate.open();
    wait_for(&gateway, 1, 1);
    // Removed.
    gateway.change(|| _ = gateway.write("a.yaml", &manifest(&json!({}))));
    assert_eq!(fourth.reply().text(), ANSWER);
    gate.open();
    assert_eq!((first.reply().status, third.reply().status), (200, 200));
}

#[test]
fn requests_that_wait_outlive_their_backend_and_are_served_before_the_process_ends() {
    let gate = Gate::default();
    let upstream = holding(&gate);
    let manifest = limited(&[entry(upstream.port, &json!({}))], &json!({"maxRequests": 1}));
    let gateway = start(&manifest);
    let (mut first, mut second) = (send(&gateway, "held", &[]), Vec::new());
    wait_for(&gateway, 1, 0);
    second.push(send(&gateway, "second", &[]));
    wait_for(&gateway, 1, 1);
    gateway.change(|| gateway.remove("a.yaml"));
    assert_ne!(gateway.post(PATH, chat("x")).status, 200);
    gate.open();
    assert_eq!((first.reply().status, second[0].reply().text().as_str()), (200, ANSWER));
    // The same while it drains.
    gateway.change(|| _ = gateway.write("a.yaml", &manifest));
    let (mut first, mut second) = (send(&gateway, "held", &[]), Vec::new());
    wait_for(&gateway, 1, 0);
    second.push(send(&gateway, "second", &[]));
    wait_for(&gateway, 1, 1);
    gateway.signal("TERM");
    wait_until("draining", PATIENCE, || (gateway.admin_status("/readyz") == Some(503)).then_some(()));
    gate.open();
    assert_eq!((first.reply().status, second[0].reply().text().as_str()), (200, ANSWER));
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
}

#[test]
fn a_request_that_waits_at_the_end_of_the_grace_period_is_cut() {
    let gate = Gate::default();
    let upstream = holding(&gate);
    let manifest = limited(&[entry(upstream.port, &json!({}))], &json!({"maxRequests": 1}));
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--drain-seconds", "1").run();
    let mut first = send(&gateway, "held", &[]);
    wait_for(&gateway, 1, 0);
    let mut second = send(&gateway, "second", &[]);
    wait_for(&gateway, 1, 1);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
    assert!(first.try_reply().is_none() && second.try_reply().is_none());
    let line = gateway.wait_for_log("the one that has waited", |line| line["queued_us"].is_u64());
    assert_eq!(line["error"], "shutdown", "{line}");
    gate.open();
}

/// A `static` Backend with these hosts and limits.
fn plain(hosts: &Value, breakers: &Value) -> String {
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": hosts}, "circuitBreakers": breakers},
    })) + &route("plain", &json!([rule("/", "plain")]))
}

#[test]
fn plain_servers_have_the_same_limits() {
    let gate = Gate::default();
    let (first, second) = (holding(&gate), holding(&gate));
    let hosts = [&first, &second].map(|up| json!({"host": "127.0.0.1", "port": up.port, "maxRequests": 1}));
    let gateway = start(&plain(&json!(hosts), &json!({"maxPendingRequests": 1})));
    let mut clients: Vec<Client> = (0..2).map(|_| send(&gateway, "held", &[])).collect();
    first.wait_for_received(1);
    second.wait_for_received(1);
    clients.push(send(&gateway, "waits", &[]));
    wait_for(&gateway, 2, 1);
    let reply = gateway.post(PATH, chat("x"));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("30")));
    (0..2).for_each(|_| gate.open());
    for client in &mut clients {
        assert_eq!(client.reply().status, 200);
    }
    wait_for(&gateway, 0, 0);
    // A host that can't be reached is passed over as before, and one with room gets the request.
    let hosts = json!([{"host": "127.0.0.1", "port": Upstream::refusing(), "maxRequests": 1}, hosts[0]]);
    let gateway = start(&plain(&hosts, &json!({"maxRequests": 1})));
    for _ in 0..3 {
        assert_eq!(gateway.post(PATH, chat("x")).status, 200);
    }
    wait_for(&gateway, 0, 0);
}

#[test]
fn many_clients_share_few_places_and_all_are_served() {
    const CLIENTS: usize = 60;
    let upstream = Upstream::new(answer);
    let gateway = start(&limited(&[entry(upstream.port, &json!({"maxRequests": 3}))], &json!({"maxRequests": 2})));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| assert_eq!(gateway.post(PATH, chat("x")).status, 200));
        }
    });
    wait_for(&gateway, 0, 0);
    assert_eq!(upstream.received().len(), CLIENTS);
    assert!(upstream.connections() <= CLIENTS);
}

#[test]
fn without_limits_no_queue_is_there() {
    let upstream = Upstream::new(answer);
    let manifest = secret("key", KEY) + &s1_of("chat", "/chat", &entry(upstream.port, &json!({})));
    let gateway = start(&manifest);
    assert_eq!(gateway.post(PATH, chat("x")).status, 200);
    assert_eq!(gateway.debug("/debug/health")["backends"], json!([]));
    assert!(gateway.access(PATH)["queued_us"].is_null());
    assert_eq!(gateway.metrics().get("tollgate_backend_queue_length", &[("backend", "default/chat")]), None);
}
