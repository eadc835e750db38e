//! Which host a request is for, and targets that are no path.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::common::{
    Client, Gateway, Start, Upstream,
    manifests::{rule, yaml},
    request,
};

/// `a.test` is answered by one server, `b.test` by another.
fn gateway(upstreams: [&Upstream; 2]) -> Gateway {
    let mut manifest = String::new();
    for (name, upstream) in ["a", "b"].into_iter().zip(upstreams) {
        manifest += &yaml(&json!({
            "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
        }));
        let rules: Value = json!([rule("/", name)]);
        manifest += &yaml(&json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"parentRefs": [{"name": "gw"}], "hostnames": [format!("{name}.test")], "rules": rules},
        }));
    }
    Start::new().manifest("a.yaml", &manifest).run()
}

#[test]
fn the_host_of_an_absolute_target_takes_precedence() {
    let [a, b] = [Upstream::json("\"a\""), Upstream::json("\"b\"")];
    let gateway = gateway([&a, &b]);
    for (target, host, served) in [
        ("/x", "a.test", "\"a\""),
        ("http://b.test/x", "a.test", "\"b\""),
        ("http://B.TEST:8080/x", "a.test", "\"b\""),
        ("http://b.test/x", "nobody.test", "\"b\""),
    ] {
        let reply = gateway.connect().send(&request("GET", target, &[("host", host)], b"")).reply();
        assert_eq!((reply.status, reply.text().as_str()), (200, served), "{target} {host}");
    }
    // The server gets the host that chose the route, and no other.
    for sent in b.received() {
        assert!(sent.header("host").unwrap().to_ascii_lowercase().starts_with("b.test"), "{}", sent.head);
        assert_eq!(sent.path(), "/x");
    }
    assert_eq!((a.received().len(), b.received().len()), (1, 3));
}

#[test]
fn a_request_has_one_host() {
    let [a, b] = [Upstream::json("{}"), Upstream::json("{}")];
    let gateway = gateway([&a, &b]);
    for (what, head) in [
        ("two hosts", "GET /x HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n"),
        ("the same twice", "GET /x HTTP/1.1\r\nhost: a.test\r\nhost: a.test\r\n\r\n"),
        ("two beside an absolute target", "GET http://a.test/x HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n"),
        ("a list", "GET /x HTTP/1.1\r\nhost: a.test, b.test\r\n\r\n"),
        ("none", "GET /x HTTP/1.1\r\nx-none: 1\r\n\r\n"),
        ("an empty one", "GET /x HTTP/1.1\r\nhost: \r\n\r\n"),
    ] {
        let reply = Client::connect(gateway.port).send(head.as_bytes()).reply();
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
    }
    assert_eq!((a.connections(), b.connections()), (0, 0));
}

#[test]
fn an_error_to_head_has_neither_body_nor_type() {
    let [a, b] = [Upstream::json("{}"), Upstream::json("{}")];
    let gateway = gateway([&a, &b]);
    let mut client = gateway.connect();
    let reply = client.send(&request("HEAD", "/x", &[("host", "nobody.test")], b"")).reply_to_head();
    assert_eq!((reply.status, reply.header("content-type")), (404, None));
    assert_eq!(client.send(&request("GET", "/x", &[("host", "a.test")], b"")).reply().status, 200);
}

#[test]
fn connect_is_refused() {
    let [a, b] = [Upstream::json("{}"), Upstream::json("{}")];
    let gateway = gateway([&a, &b]);
    let reply = gateway.connect().send(b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n").reply();
    assert_eq!(reply.status, 405, "{}", reply.text());
    assert!(reply.header("allow").is_some_and(|allow| !allow.contains("CONNECT")), "{:?}", reply.headers);
    assert_eq!(a.connections(), 0);
}

#[test]
fn forwarding_headers_of_clients_are_replaced() {
    let [a, b] = [Upstream::json("{}"), Upstream::json("{}")];
    let gateway = gateway([&a, &b]);
    let forged = [("host", "a.test"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "bank.test")];
    assert_eq!(gateway.connect().send(&request("GET", "/", &forged, b"")).reply().status, 200);
    let sent = a.only();
    let values = |name: &str| sent.headers().into_iter().filter(|(n, _)| n == name).map(|(_, v)| v).collect::<Vec<_>>();
    assert_eq!(values("x-forwarded-proto"), ["http"]);
    assert_eq!(values("x-forwarded-host"), ["a.test"]);
}

/// Far more than the kernel takes for two connections.
const LIMIT: usize = 64 * 1024 * 1024;

/// A server that does not read slows the client down: the gateway does not buffer the body.
#[test]
fn backpressure_reaches_an_uploading_client() {
    // Listens, and never reads: the kernel takes some megabytes for it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let manifest = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "slow", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": port}]}},
    })) + &crate::common::manifests::route("slow", &json!([rule("/", "slow")]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    for (framing, head) in [
        ("chunked", "transfer-encoding: chunked\r\n".to_owned()),
        ("with a length", format!("content-length: {}\r\n", 2 * LIMIT)),
    ] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        // Long enough for the gateway to read what it wants to.
        stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
        stream.write_all(format!("POST /up HTTP/1.1\r\nhost: a\r\n{head}\r\n").as_bytes()).unwrap();
        let mut piece = vec![b'a'; 64 * 1024];
        if framing == "chunked" {
            piece = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
        }
        let mut taken = 0;
        while taken < LIMIT {
            match stream.write(&piece) {
                // Of a chunk that was taken in part, the rest stays to be written.
                Ok(written) => {
                    piece.rotate_left(written);
                    taken += written;
                }
                Err(error) => {
                    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
                    break;
                }
            }
        }
        assert!(taken < LIMIT, "{framing}: the gateway accepted everything for a server that does not read");
    }
}
