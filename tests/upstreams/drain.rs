//! The end of the process: what is under way may finish.

use std::time::{Duration, Instant};

use crate::common::{Client, Gate, PATIENCE, Start, Upstream, manifests::s1, request, wait_until};

const STREAM: &str = r#"{"model":"m","messages":[],"stream":true}"#;
const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[test]
fn a_stream_under_way_finishes_before_the_process_ends() {
    for signal in ["TERM", "INT"] {
        let gate = Gate::default();
        let step = gate.clone();
        let upstream = Upstream::new(move |exchange| {
            exchange.stream("text/event-stream").chunk(EVENT);
            step.wait();
            exchange.chunk(LAST).end();
        });
        let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
        let mut idle = gateway.connect();
        assert_eq!(idle.send(&request("GET", "/nowhere", &[], b"")).reply().status, 404);
        let mut client = gateway.connect();
        client.send(&request("POST", "/openai", &[], STREAM.as_bytes())).head();
        assert_eq!(client.event().as_deref(), Some(EVENT));
        gateway.signal(signal);
        wait_until("draining", PATIENCE, || (gateway.admin_status("/readyz") == Some(503)).then_some(()));
        assert_eq!(gateway.admin_status("/healthz"), Some(200));
        wait_until("a closed listener", PATIENCE, || Client::try_connect(gateway.port).is_none().then_some(()));
        assert!(idle.closed(), "an idle connection does not delay the drain");
        assert!(gateway.exited().is_none());
        gate.open();
        let mut rest = String::new();
        while let Some(event) = client.event() {
            rest += &event;
        }
        assert_eq!(rest, LAST);
        assert!(client.closed());
        assert_eq!(gateway.wait_for_exit().code(), Some(0), "{signal}");
        let line = gateway.access("/openai");
        assert!(line["error"].is_null() && line["status"] == 200, "{line}");
    }
}

#[test]
fn a_stream_that_does_not_end_is_cut_after_the_grace_period() {
    let upstream = Upstream::new(|exchange| {
        exchange.stream("text/event-stream").chunk(EVENT).wait_closed();
    });
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--drain-seconds", "1").run();
    let mut client = gateway.connect();
    client.send(&request("POST", "/openai", &[], STREAM.as_bytes())).head();
    assert_eq!(client.event().as_deref(), Some(EVENT));
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
    assert!(client.piece().is_err(), "the end must not look clean");
    gateway.wait_for_log("a warning", |l| l["level"] == "WARN" && l["msg"].as_str().unwrap().contains("grace"));
    // Nothing of the request is lost to the count: it is logged as cut.
    let line = gateway.access("/openai");
    assert!(line["status"] == 200 && line["error"] == "shutdown", "{line}");
}

#[test]
fn a_request_that_waits_for_its_reply_gets_it() {
    let (asked, gate) = (Gate::default(), Gate::default());
    let (ask, step) = (asked.clone(), gate.clone());
    let upstream = Upstream::new(move |exchange| {
        ask.open();
        step.wait();
        exchange.reply(200, &[("content-type", "application/json")], b"{}");
    });
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let mut client = gateway.connect();
    client.send(&request("POST", "/openai", &[], br#"{"model":"m","messages":[]}"#));
    asked.wait();
    gateway.signal("TERM");
    wait_until("draining", PATIENCE, || (gateway.admin_status("/readyz") == Some(503)).then_some(()));
    gate.open();
    // The connection ends with the reply, whether or not the reply has `connection: close`.
    assert_eq!(client.reply().status, 200);
    assert!(client.closed(), "a connection that drains is closed after its reply");
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
}

#[test]
fn during_the_drain_delay_requests_are_served_with_connection_close() {
    let upstream = Upstream::json("{}");
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--drain-delay", "3").run();
    let ask =
        |client: &mut Client| client.send(&request("POST", "/openai", &[], br#"{"model":"m","messages":[]}"#)).reply();
    let mut kept = gateway.connect();
    assert_eq!(ask(&mut kept).header("connection"), None);
    gateway.signal("TERM");
    wait_until("not ready", PATIENCE, || (gateway.admin_status("/readyz") == Some(503)).then_some(()));
    // It may still be sent requests by those who have not heard: on its connections and on new ones.
    for (what, client) in [("kept", &mut kept), ("new", &mut gateway.connect())] {
        let reply = ask(client);
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "{what}");
        assert!(client.closed(), "{what}");
    }
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
}

#[test]
fn a_second_signal_cuts_the_drain() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let upstream = Upstream::new(|exchange| {
            exchange.stream("text/event-stream").chunk(EVENT).wait_closed();
        });
        let manifest = s1("openai", "/openai", upstream.port);
        let gateway = Start::new()
            .manifest("a.yaml", &manifest)
            .flag("--drain-delay", "600")
            .flag("--drain-seconds", "600")
            .run();
        let mut client = gateway.connect();
        client.send(&request("POST", "/openai", &[], STREAM.as_bytes())).head();
        assert_eq!(client.event().as_deref(), Some(EVENT));
        gateway.signal(first);
        wait_until("draining", PATIENCE, || (gateway.admin_status("/readyz") == Some(503)).then_some(()));
        gateway.signal(second);
        assert_eq!(gateway.wait_for_exit().code(), Some(0), "{first}, {second}");
        assert!(client.piece().is_err(), "the end must not look clean");
        assert_eq!(gateway.access("/openai")["error"], "shutdown");
        gateway.wait_for_log("why", |l| l["msg"].as_str().is_some_and(|m| m.contains("a second signal")));
    }
}

#[test]
fn signals_of_other_servers_are_ignored() {
    let gateway = Start::new().run();
    for name in ["HUP", "USR1", "USR2"] {
        gateway.signal(name);
        let line = gateway.wait_for_log(name, |l| l["signal"] == format!("SIG{name}"));
        assert!(line["msg"].as_str().unwrap().contains("ignored"), "{line}");
    }
    assert_eq!(gateway.get("/nowhere").status, 404);
    assert!(gateway.exited().is_none());
}

#[test]
fn a_log_that_is_not_read_delays_neither_requests_nor_the_end() {
    let gateway = Start::new().log("trace").unread_log().run();
    // A pipe holds 64 KiB, and each of these has a line with its path.
    let path = format!("/{}", "a".repeat(4000));
    for _ in 0..100 {
        assert_eq!(gateway.get(&path).status, 404);
    }
    let begun = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
