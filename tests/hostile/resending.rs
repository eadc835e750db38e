//! A request that a provider may have worked on is never sent again by the transport, because it would be paid twice.
//!
//! It is sent again only where it was not processed: nothing of it was written; the close was already there when the
//! connection was taken; or the connection ended without a byte within milliseconds of the write, which is an idle
//! close that crossed the request. Everything else is the outcome of an attempt, for failover to judge.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{
    CHAT_PATH, JSON,
    common::{
        DialectId, Exchange, Gateway, KEY, PATIENCE, Start, Upstream, assert_error,
        manifests::{backend, llm, route, rule, secret},
        request, wait_until,
    },
    declared_length, gateway, json_reply, raw_server, read_head, write,
};

const WARM: &str = r#"{"model":"m","messages":[],"user":"warm"}"#;
const VICTIM: &str = r#"{"model":"m","messages":[],"user":"victim"}"#;
/// The paths of a provider and of a plain server.
const PATHS: [&str; 2] = [CHAT_PATH, "/plain/orders"];

type End = fn(&mut Exchange);

/// Far longer than an idle close that crosses a request.
const LONG: Duration = Duration::from_millis(400);

/// Answers every request but the victim, with which it does `end`.
fn ending(end: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Upstream {
    Upstream::new(move |exchange| {
        if exchange.request().text() == VICTIM {
            end(exchange);
        } else {
            exchange.reply(200, &JSON, b"{}");
        }
    })
}

/// How often the server got the victim.
fn victims(upstream: &Upstream) -> usize {
    upstream.received().iter().filter(|received| received.text() == VICTIM).count()
}

/// Leaves one idle connection to the server behind.
fn warm(gateway: &Gateway, path: &str) {
    assert_eq!(gateway.post(path, WARM).status, 200);
    // A connection may have to rest before it is used again.
    thread::sleep(Duration::from_millis(100));
}

#[test]
fn a_post_that_a_server_may_have_worked_on_is_sent_once() {
    let ends: [(&str, End); 8] = [
        ("closes after one byte", |x| x.write("H").close()),
        ("closes in the status line", |x| x.write("HTTP/1.1 200").close()),
        ("closes in the head", |x| x.write("HTTP/1.1 200 OK\r\ncontent-").close()),
        ("closes after 100 Continue", |x| x.write("HTTP/1.1 100 Continue\r\n\r\n").close()),
        ("closes after 102 Processing", |x| x.write("HTTP/1.1 102 Processing\r\n\r\n").close()),
        ("closes after 103 Early Hints", |x| x.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").close()),
        ("closes after it had the body for a while", |x| {
            thread::sleep(LONG);
            x.close();
        }),
        ("resets after it had the body for a while", |x| {
            thread::sleep(LONG);
            x.reset();
        }),
    ];
    let mut faults = Vec::new();
    for (what, end) in ends {
        for path in PATHS {
            for kept in [false, true] {
                let upstream = ending(end);
                let gateway = gateway(upstream.port);
                if kept {
                    warm(&gateway, path);
                }
                let reply = gateway.post(path, VICTIM);
                if kept && path == CHAT_PATH {
                    let used: Vec<usize> = upstream.received().iter().map(|r| r.connection).collect();
                    assert_eq!(used[..2], [0, 0], "the idle connection was not used");
                }
                if (reply.status, victims(&upstream)) != (502, 1) {
                    let kept = if kept { "kept" } else { "fresh" };
                    let sent = victims(&upstream);
                    faults.push(format!("{path}, {kept} connection, {what}: {}, sent {sent} times", reply.status));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_close_on_a_new_connection_crosses_no_request() {
    // There was no idle time in which the server could have decided to close.
    let ends: [(&str, End); 2] = [("closes", Exchange::close), ("resets", Exchange::reset)];
    for (what, end) in ends {
        for path in PATHS {
            let upstream = ending(end);
            let gateway = gateway(upstream.port);
            let reply = gateway.post(path, VICTIM);
            assert_eq!((reply.status, victims(&upstream)), (502, 1), "{path} {what}");
        }
    }
}

#[test]
fn a_close_that_may_have_crossed_a_request_repeats_it_once_at_most() {
    let ends: [(&str, End); 2] = [("closes", Exchange::close), ("resets", Exchange::reset)];
    for (what, end) in ends {
        for path in PATHS {
            let upstream = ending(end);
            let gateway = gateway(upstream.port);
            warm(&gateway, path);
            // A second idle connection would be no reason for a third time.
            assert_eq!(gateway.post(path, VICTIM).status, 502, "{path} {what}");
            assert!((1..=2).contains(&victims(&upstream)), "{path} {what}: sent {} times", victims(&upstream));
        }
    }
}

#[test]
fn a_half_written_request_on_a_kept_connection_is_not_sent_again_after_a_while() {
    let large = format!(r#"{{"model":"m","messages":[],"user":"{}"}}"#, "x".repeat(1024 * 1024));
    let heads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heads);
    let port = raw_server(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let length = declared_length(&head);
            if length > 100_000 {
                count.fetch_add(1, Ordering::SeqCst);
                thread::sleep(LONG);
                return;
            }
            let mut body = vec![0; length];
            std::io::Read::read_exact(&mut stream, &mut body).unwrap();
            write(&mut stream, json_reply("{}"));
        }
    });
    let gateway = gateway(port);
    warm(&gateway, CHAT_PATH);
    let reply = gateway.post(CHAT_PATH, &large);
    assert_eq!((reply.status, heads.load(Ordering::SeqCst)), (502, 1));
}

#[test]
fn connections_that_were_closed_while_idle_cost_no_request() {
    // Each of these closes is there long before its connection is taken.
    const COUNT: usize = 8;
    let closed = Arc::new(AtomicUsize::new(0));
    let (all_here, count) = (Barrier::new(COUNT), Arc::clone(&closed));
    let upstream = Upstream::new(move |exchange| {
        let last = exchange.request().text() == WARM;
        if last {
            all_here.wait();
        }
        exchange.reply(200, &JSON, b"{}");
        if last {
            thread::sleep(Duration::from_millis(200));
            exchange.close();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = gateway(upstream.port);
    thread::scope(|scope| {
        for _ in 0..COUNT {
            scope.spawn(|| assert_eq!(gateway.post(CHAT_PATH, WARM).status, 200));
        }
    });
    wait_until("the closes", PATIENCE, || (closed.load(Ordering::SeqCst) == COUNT).then_some(()));
    let statuses: Vec<u16> = (0..COUNT).map(|_| gateway.post(CHAT_PATH, VICTIM).status).collect();
    assert_eq!(statuses, [200; COUNT]);
    assert_eq!(victims(&upstream), COUNT);
}

#[test]
fn what_is_not_sent_again_is_left_to_failover() {
    let first = ending(|exchange| exchange.write("HTTP/1.1 102 Processing\r\n\r\n").close());
    let second = Upstream::json("{\"ok\":true}");
    let groups: Vec<_> =
        [first.port, second.port].map(|port| json!({"providers": [llm("openai", "key", port, &json!({}))]})).into();
    let manifest = secret("key", KEY)
        + &backend("both", &json!({"priorityGroups": groups}))
        + &route("both", &json!([rule("/both", "both")]));
    let both = Start::new().manifest("a.yaml", &manifest).run();
    warm(&both, "/both/v1/chat/completions");
    let reply = both.post("/both/v1/chat/completions", VICTIM);
    assert_eq!((reply.status, reply.text().as_str()), (200, "{\"ok\":true}"));
    assert_eq!((victims(&first), victims(&second)), (1, 1));
}

#[test]
fn a_lost_request_is_an_error_in_the_clients_dialect() {
    let upstream = ending(|exchange| exchange.write("HTTP/1.1 102 Processing\r\n\r\n").close());
    let gateway = gateway(upstream.port);
    let body = VICTIM.as_bytes();
    let reply = gateway.connect().send(&request("POST", CHAT_PATH, &JSON, body)).reply();
    assert_error(&reply, DialectId::OpenAi, 502, "after 102 Processing");
    assert_eq!(gateway.access(CHAT_PATH)["error"], "upstream_closed");
}
