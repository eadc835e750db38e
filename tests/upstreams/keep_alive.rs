//! Keep-alive connections: a request is sent again only where no server can have processed it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use serde_json::json;

use crate::common::{
    Exchange, Gateway, RESTED, Start, Upstream,
    manifests::{route, rule, s1, yaml},
    request,
};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;

/// A provider below `/openai` and a plain server below `/plain`, both at `port`.
fn gateway(port: u16) -> Gateway {
    let plain = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": port}]}},
    }));
    let manifest = s1("openai", "/openai", port) + &plain + &route("plain", &json!([rule("/plain", "plain")]));
    Start::new().manifest("a.yaml", &manifest).run()
}

/// Answers the first request on every connection, and does `then` with the second.
fn second_is(then: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Upstream {
    let on = Arc::new(AtomicUsize::new(usize::MAX));
    Upstream::new(move |exchange| {
        let connection = exchange.request().connection;
        if on.swap(connection, Ordering::Relaxed) == connection {
            then(exchange);
        } else {
            exchange.reply(200, &[("content-type", "application/json")], b"{}");
        }
    })
}

#[test]
fn a_request_that_a_server_may_have_processed_is_not_sent_again() {
    type Ending = fn(&mut Exchange);
    let endings: [(&str, Ending); 6] = [
        ("closed after a while", |exchange| {
            sleep(Duration::from_millis(300));
            exchange.close();
        }),
        ("reset after a while", |exchange| {
            sleep(Duration::from_millis(300));
            exchange.reset();
        }),
        ("closed after a part of the head", |exchange| exchange.write("HTTP/1.1 200 OK\r\ncontent-").close()),
        ("closed after one byte", |exchange| exchange.write("H").close()),
        ("closed after 102", |exchange| exchange.write("HTTP/1.1 102 Processing\r\n\r\n").close()),
        ("closed after 103", |exchange| exchange.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").close()),
    ];
    for (what, ending) in endings {
        let upstream = second_is(ending);
        let gateway = gateway(upstream.port);
        for (method, path, body) in [("POST", "/openai/v1/chat/completions", CHAT), ("GET", "/plain", "")] {
            let before = upstream.received().len();
            let mut statuses = Vec::new();
            for _ in 0..2 {
                statuses.push(gateway.connect().send(&request(method, path, &[], body.as_bytes())).reply().status);
                sleep(RESTED);
            }
            assert_eq!(statuses, [200, 502], "{path}: {what}");
            assert_eq!(upstream.received().len() - before, 2, "{path}: {what}");
        }
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used() {
    let upstream = Upstream::new(|exchange| {
        // It keeps the connection, as the head says, for a moment only.
        exchange.reply(200, &[("content-type", "application/json")], b"{}").close();
    });
    let gateway = gateway(upstream.port);
    for (method, path, body) in [("POST", "/openai/v1/chat/completions", CHAT), ("GET", "/plain", "")] {
        for _ in 0..3 {
            let reply = gateway.connect().send(&request(method, path, &[], body.as_bytes())).reply();
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            assert_eq!(gateway.access(path)["upstream_attempts"], 1, "{path}");
            sleep(RESTED);
        }
    }
}

/// Replies behind which a connection must not be used again.
#[test]
fn connections_whose_next_reply_might_be_of_another_request_are_not_kept() {
    let cases = [
        ("GET", "", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", true),
        ("HEAD", "", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", false),
        ("GET", "body", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false),
        ("DELETE", "body", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false),
        ("OPTIONS", "body", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false),
        ("GET", "", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", false),
        ("GET", "", "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", false),
        (
            "GET",
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            false,
        ),
        (
            "GET",
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            false,
        ),
        ("GET", "", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n{", false),
        ("GET", "", "HTTP/1.1 401 No\r\nwww-authenticate: NTLM\r\ncontent-length: 2\r\n\r\n{}", false),
    ];
    for (method, body, reply, kept) in cases {
        let upstream = Upstream::new(move |exchange| {
            exchange.write(reply);
        });
        let gateway = gateway(upstream.port);
        for _ in 0..2 {
            let status = gateway.connect().send(&request(method, "/plain", &[], body.as_bytes())).head().status;
            assert!([200, 204, 304, 401].contains(&status), "{method} {reply}: {status}");
            sleep(RESTED);
        }
        assert_eq!(upstream.connections(), if kept { 1 } else { 2 }, "{method} {body} {reply}");
    }
}

#[test]
fn a_reply_that_nobody_asked_for_reaches_no_client() {
    let json = [("content-type", "application/json")];
    // Along with each reply, or soon after it.
    for together in [true, false] {
        let upstream = Upstream::new(move |exchange| {
            let own = exchange.request().path().to_owned();
            if together {
                let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{own}", own.len());
                exchange.write(reply + "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nof nobody");
            } else {
                exchange.reply(200, &json, own.as_bytes()).reply(200, &json, b"of nobody");
            }
        });
        let gateway = Arc::new(gateway(upstream.port));
        let clients: Vec<_> = (0..16)
            .map(|client| {
                let gateway = Arc::clone(&gateway);
                std::thread::spawn(move || {
                    let mut connection = gateway.connect();
                    for number in 0..if together { 200 } else { 3 } {
                        let path = format!("/plain/{client}/{number}");
                        let reply = connection.send(&request("GET", &path, &[], b"")).reply();
                        assert_eq!((reply.status, reply.text()), (200, path), "together: {together}");
                        if !together {
                            // The server's two writes may be far apart on a busy machine.
                            sleep(10 * RESTED);
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    }
}

#[test]
fn a_request_with_a_malformed_reply_is_not_sent_again() {
    let upstream = second_is(|exchange| exchange.write("BOGUS/1.1 200 OK\r\n\r\n").close());
    let gateway = gateway(upstream.port);
    for (method, path, body) in [("POST", "/openai/v1/chat/completions", CHAT), ("GET", "/plain", "")] {
        let before = upstream.received().len();
        let mut statuses = Vec::new();
        for _ in 0..2 {
            statuses.push(gateway.connect().send(&request(method, path, &[], body.as_bytes())).reply().status);
            sleep(RESTED);
        }
        assert_eq!(statuses, [200, 502], "{path}");
        assert_eq!(upstream.received().len() - before, 2, "{path}: sent once more although it was seen");
    }
}

#[test]
fn unsafe_methods_to_a_plain_server_are_not_sent_again() {
    let upstream = second_is(|exchange| {
        sleep(Duration::from_millis(300));
        exchange.close();
    });
    let gateway = gateway(upstream.port);
    // Keeps a connection that the server will close under the next request.
    assert_eq!(gateway.get("/plain").status, 200);
    sleep(RESTED);
    let reply = gateway.connect().send(&request("DELETE", "/plain/thing", &[], b"")).reply();
    assert_eq!(reply.status, 502, "{}", reply.text());
    let sent = upstream.received();
    assert_eq!(sent.iter().filter(|r| r.line().starts_with("DELETE")).count(), 1);
    // A request with a body does not use an idle connection at all.
    assert_eq!(gateway.get("/plain").status, 200);
    sleep(RESTED);
    let reply = gateway.connect().send(&request("POST", "/plain/thing", &[], b"body")).reply();
    assert_eq!(reply.status, 200, "{}", reply.text());
}
