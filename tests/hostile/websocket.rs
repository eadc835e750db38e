//! `WebSockets` whose clients send too much, nothing, nonsense, or read nothing; and the end of the process.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::common::{
    Client, Gate, Gateway, PATIENCE, Start, Upstream, WebSocket,
    manifests::s1,
    wait_until,
    websocket::{BINARY, PING, PONG, handshake},
};

const PATH: &str = "/openai/v1/responses";
const CREATE: &str = r#"{"type":"response.create","model":"m","input":"q"}"#;
const TEXT: u8 = 1;
const CONTINUATION: u8 = 0;
const COMPLETED: &str = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\"}}\n\n";
const DELTA: &str = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n";

fn start(upstream: &Upstream) -> Start {
    Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port))
}

/// A provider that answers at once.
fn quick() -> Upstream {
    Upstream::new(|exchange| {
        exchange.stream("text/event-stream").chunk(COMPLETED).end();
    })
}

/// A provider that answers when the gate opens.
fn gated(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::new(move |exchange| {
        exchange.stream("text/event-stream").chunk(DELTA);
        gate.wait();
        exchange.chunk(COMPLETED).end();
    })
}

fn assert_error(event: &Value, status: u16, code: &str) {
    assert_eq!((&event["type"], &event["status"]), (&json!("error"), &json!(status)), "{event}");
    assert_eq!(event["error"]["code"], code, "{event}");
}

/// Whether a whole response can be had on this WebSocket.
fn serves(socket: &mut WebSocket) -> bool {
    socket.text(CREATE).event()["type"] == "response.completed"
}

#[test]
fn messages_over_the_limit_of_bodies_are_refused_in_any_number_of_frames() {
    const LIMIT: usize = 100_000;
    let upstream = quick();
    let gateway = start(&upstream).flag("--max-body-bytes", &LIMIT.to_string()).run();
    let whole = CREATE.replace("\"q\"", &format!("\"{}\"", "x".repeat(LIMIT - CREATE.len() - 100)));
    let mut socket = WebSocket::open(&gateway, PATH);
    assert_eq!(socket.text(&whole).event()["type"], "response.completed", "it is within the limit");
    let halves = whole.split_at(whole.len() / 2);
    socket.frame(TEXT, false, halves.0.as_bytes()).frame(PING, true, b"between").frame(
        CONTINUATION,
        true,
        halves.1.as_bytes(),
    );
    assert_eq!(socket.next(), Some((PONG, b"between".to_vec())));
    assert_eq!(socket.event()["type"], "response.completed");

    for (what, send) in [
        ("announced", (|socket| _ = socket.announce(TEXT, LIMIT + 1)) as fn(&mut WebSocket)),
        ("announced to be enormous", |socket| _ = socket.announce(TEXT, usize::MAX / 2)),
        ("in one frame", |socket| _ = socket.frame(TEXT, true, &vec![b'x'; LIMIT + 1])),
        ("100 MB", |socket| _ = socket.frame(TEXT, true, &vec![b'x'; 100_000_000])),
        ("in frames", |socket| {
            socket.frame(TEXT, false, &vec![b'x'; LIMIT]);
            socket.frame(CONTINUATION, false, &vec![b'x'; LIMIT]);
        }),
    ] {
        let mut socket = WebSocket::open(&gateway, PATH);
        send(&mut socket);
        assert_error(&socket.event(), 413, "body_too_large");
        assert_eq!(socket.closed(), 1009, "{what}");
    }
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn messages_share_the_memory_for_bodies_as_they_come() {
    const MIB: usize = 1024 * 1024;
    let upstream = quick();
    let gateway = start(&upstream).flag("--max-request-bytes-in-flight", &(4 * MIB).to_string()).run();
    let mut socket = WebSocket::open(&gateway, PATH);
    // More in all than there is: what was received is given back.
    for _ in 0..8 {
        let large = CREATE.replace("\"q\"", &format!("\"{}\"", "x".repeat(MIB)));
        assert_eq!(socket.text(&large).event()["type"], "response.completed");
    }
    // What is announced costs nothing.
    let mut announced: Vec<_> = (0..8).map(|_| WebSocket::open(&gateway, PATH)).collect();
    for socket in &mut announced {
        socket.announce(TEXT, 30 * MIB);
    }
    assert!(serves(&mut socket));
    let mut greedy = WebSocket::open(&gateway, PATH);
    greedy.announce(TEXT, 30 * MIB).client.send(&vec![0; 5 * MIB]);
    assert_error(&greedy.event(), 503, "bodies_over_budget");
    assert_eq!(greedy.closed(), 1013);
    assert!(serves(&mut socket));
}

#[test]
fn what_is_no_event_is_refused() {
    let upstream = quick();
    let gateway = start(&upstream).run();
    let mut socket = WebSocket::open(&gateway, PATH);
    for (text, code) in [
        ("", "bad_body"),
        ("{", "bad_body"),
        ("[]", "bad_body"),
        ("\"response.create\"", "bad_body"),
        ("{}", "unknown_event"),
        (r#"{"type":"session.update"}"#, "unknown_event"),
    ] {
        assert_error(&socket.text(text).event(), 400, code);
    }
    assert_eq!(socket.frame(PING, true, b"p").next(), Some((PONG, b"p".to_vec())));
    assert!(serves(&mut socket), "the connection serves on");
    let deep = format!(r#"{{"type":"response.create","input":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert_error(&socket.text(&deep).event(), 400, "bad_body");

    socket.frame(BINARY, true, CREATE.as_bytes());
    assert_error(&socket.event(), 400, "bad_body");
    assert_eq!(socket.closed(), 1003);
    let mut socket = WebSocket::open(&gateway, PATH);
    socket.frame(TEXT, true, b"{\"type\":\"\xff\"}");
    assert_error(&socket.event(), 400, "bad_body");
    assert_eq!(socket.closed(), 1007);
    for send in [
        (|socket| _ = socket.unmasked(CREATE.as_bytes())) as fn(&mut WebSocket),
        |socket| _ = socket.frame(CONTINUATION, true, b"of nothing"),
        |socket| _ = socket.frame(3, true, b"an opcode without meaning"),
        |socket| _ = socket.frame(PING, true, &[0; 126]),
    ] {
        let mut socket = WebSocket::open(&gateway, PATH);
        send(&mut socket);
        assert_eq!(socket.closed(), 1002);
    }
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn few_events_wait_for_the_response_under_way() {
    let gate = Gate::default();
    let upstream = gated(&gate);
    let gateway = start(&upstream).run();
    let mut socket = WebSocket::open(&gateway, PATH);
    for _ in 0..17 {
        socket.text(CREATE);
    }
    // OpenAI has 16 under way at a time.
    let events = [socket.event(), socket.event()];
    let error = events.iter().find(|event| event["type"] == "error").unwrap();
    assert_error(error, 429, "websocket_queue_full");
    assert_eq!(upstream.received().len(), 1, "one at a time");
    for served in 0..16 {
        gate.open();
        if served > 0 {
            assert_eq!(socket.event()["type"], "response.output_text.delta");
        }
        assert_eq!(socket.event()["type"], "response.completed", "{served}");
    }
    assert_eq!(upstream.received().len(), 16);
}

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    let upstream = Upstream::new(|exchange| {
        let delta = DELTA.replace("\"a\"", &format!("\"{}\"", "x".repeat(16 * 1024)));
        exchange.stream("text/event-stream");
        while exchange.try_chunk(&delta) {}
    });
    let gateway = start(&upstream).env("TOLLGATE_WRITE_TIMEOUT", "1").run();
    let mut socket = WebSocket::open(&gateway, PATH);
    socket.text(CREATE);
    upstream.wait_for_closed(1);
    let line = gateway.wait_for_log("the response", |line| line["method"] == "POST");
    assert!(line["error"].is_string(), "{line}");
    wait_until("the end of the connection", PATIENCE, || open_connections(&gateway, 0));
    drop(socket);
}

/// Whether so many connections are open at the Gateway's port.
fn open_connections(gateway: &Gateway, count: u32) -> Option<()> {
    let port = gateway.port.to_string();
    let open = gateway.metrics().get("tollgate_connections", &[("listener", &port)]);
    (open == Some(f64::from(count))).then_some(())
}

#[test]
fn websockets_count_to_the_limit_of_connections() {
    let upstream = quick();
    let gateway = start(&upstream).flag("--max-connections", "2").run();
    let mut first = WebSocket::open(&gateway, PATH);
    let second = WebSocket::open(&gateway, PATH);
    assert!(serves(&mut first));
    assert!(Client::connect(gateway.port).closed(), "the third is one too many");
    second.close();
    wait_until("room for a connection", PATIENCE, || {
        let mut client = Client::connect(gateway.port);
        client.send(b"GET /nowhere HTTP/1.1\r\nhost: h\r\n\r\n").try_reply()
    });
    assert!(serves(&mut first));
}

#[test]
fn a_drain_lets_the_response_finish_and_closes_the_others() {
    let gate = Gate::default();
    let upstream = gated(&gate);
    let gateway = start(&upstream).run();
    let mut idle = WebSocket::open(&gateway, PATH);
    let mut busy = WebSocket::open(&gateway, PATH);
    busy.text(CREATE).event();
    gateway.signal("TERM");
    assert_eq!(idle.closed(), 1001);
    // What comes now is left to another process.
    busy.text(CREATE);
    thread::sleep(Duration::from_millis(100));
    gate.open();
    assert_eq!(busy.event()["type"], "response.completed");
    assert_eq!(busy.closed(), 1001);
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
    assert_eq!(upstream.received().len(), 1);
    let line = gateway.wait_for_log("the response", |line| line["method"] == "POST");
    assert!(line["status"] == 200 && line["error"].is_null(), "{line}");
}

#[test]
fn the_end_of_the_grace_period_cuts_a_response() {
    let upstream = gated(&Gate::default());
    let gateway = start(&upstream).flag("--drain-seconds", "1").run();
    let mut socket = WebSocket::open(&gateway, PATH);
    socket.text(CREATE).event();
    gateway.signal("TERM");
    assert_eq!(socket.closed(), 1001);
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
    let line = gateway.wait_for_log("the response", |line| line["method"] == "POST");
    assert_eq!(line["error"], "shutdown", "{line}");
}

#[test]
fn during_the_drain_delay_a_websocket_serves_one_response() {
    let upstream = quick();
    let gateway = start(&upstream).flag("--drain-delay", "5").run();
    let mut open = WebSocket::open(&gateway, PATH);
    gateway.signal("TERM");
    wait_until("not ready", PATIENCE, || (gateway.admin_status("/readyz") == Some(503)).then_some(()));
    for socket in [&mut open, &mut WebSocket::open(&gateway, PATH)] {
        assert!(serves(socket));
        assert_eq!(socket.closed(), 1001);
    }
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
}

#[test]
fn a_port_that_is_closed_closes_its_websockets() {
    let upstream = quick();
    let gateway = start(&upstream).run();
    let mut socket = WebSocket::open(&gateway, PATH);
    gateway.change(|| gateway.remove("gateway.yaml"));
    assert_eq!(socket.closed(), 1001);
}

#[test]
fn a_handshake_with_bytes_behind_it_loses_none() {
    let upstream = quick();
    let gateway = start(&upstream).run();
    // The first event comes in one write with the handshake.
    let mut parts = WebSocket { client: gateway.connect() };
    let mask = [0; 4];
    let mut early = vec![0x81, 0x80 | u8::try_from(CREATE.len()).unwrap()];
    early.extend(mask);
    early.extend(CREATE.as_bytes());
    let head = crate::common::request("GET", PATH, &crate::common::websocket::HANDSHAKE, &[]);
    assert_eq!(parts.client.send(&[head, early].concat()).head().status, 101);
    assert_eq!(parts.event()["type"], "response.completed");
    // A path that only looks like it is no way around the route.
    assert_eq!(handshake(&mut gateway.connect(), "/openai/../openai/v1/responses", &[]).status, 400);
}
