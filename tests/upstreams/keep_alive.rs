//! Keep-alive connections: a request is sent again only where no server can have processed it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use crate::common::{
    Exchange, Gateway, Start, Upstream,
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
fn a_request_lost_on_a_closed_keep_alive_connection_is_sent_again_and_counted_twice() {
    let upstream = second_is(Exchange::close);
    let gateway = gateway(upstream.port);
    for (method, path, body) in [("POST", "/openai/v1/chat/completions", CHAT), ("GET", "/plain", "")] {
        let before = upstream.received().len();
        for (attempts, what) in [(1, "fresh"), (2, "kept")] {
            let reply = gateway.connect().send(&request(method, path, &[], body.as_bytes())).reply();
            assert_eq!(reply.status, 200, "{path} {what}: {}", reply.text());
            let logged = gateway.wait_for_log("the request", |line| {
                line["path"] == path && line["upstream_attempts"] == attempts && line["status"] == 200
            });
            assert_eq!(logged["upstream_attempts"], attempts, "{path} {what}");
        }
        assert_eq!(upstream.received().len() - before, 3, "{path}");
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
        }
        assert_eq!(statuses, [200, 502], "{path}");
        assert_eq!(upstream.received().len() - before, 2, "{path}: sent once more although it was seen");
    }
}

#[test]
fn unsafe_methods_to_a_plain_server_are_not_sent_again() {
    let upstream = second_is(Exchange::close);
    let gateway = gateway(upstream.port);
    // Keeps a connection that the server will close under the next request.
    assert_eq!(gateway.get("/plain").status, 200);
    let reply = gateway.connect().send(&request("DELETE", "/plain/thing", &[], b"")).reply();
    assert_eq!(reply.status, 502, "{}", reply.text());
    let sent = upstream.received();
    assert_eq!(sent.iter().filter(|r| r.line().starts_with("DELETE")).count(), 1);
    // A request with a body does not use an idle connection at all.
    assert_eq!(gateway.get("/plain").status, 200);
    let reply = gateway.connect().send(&request("POST", "/plain/thing", &[], b"body")).reply();
    assert_eq!(reply.status, 200, "{}", reply.text());
}
