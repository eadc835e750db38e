//! Connections of clients: keep-alive, pipelining, and older and newer versions of HTTP.

use std::thread::sleep;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::common::{CLIENT_KEY, Client, RESTED, Start, Upstream, manifests::s1, request};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
const PATH: &str = "/openai/v1/chat/completions";

/// A provider whose reply has the number of the request.
fn counting() -> Upstream {
    Upstream::new(|exchange| {
        let body = format!("{{\"n\":{}}}", exchange.nth);
        exchange.reply(200, &[("content-type", "application/json")], body.as_bytes());
    })
}

#[test]
fn connections_are_kept_alive_on_both_sides() {
    let upstream = counting();
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let mut client = gateway.connect();
    for n in 0..5 {
        let reply = client.send(&request("POST", PATH, &[], CHAT.as_bytes())).reply();
        assert_eq!(reply.text(), format!("{{\"n\":{n}}}"));
        sleep(RESTED);
    }
    // An error that the gateway makes costs no connection either.
    for (bad, status) in [("{", 400), ("[]", 400)] {
        assert_eq!(client.send(&request("POST", PATH, &[], bad.as_bytes())).reply().status, status);
    }
    assert_eq!(client.send(&request("POST", PATH, &[], CHAT.as_bytes())).reply().status, 200);
    assert_eq!(upstream.connections(), 1);
    let asked = request("POST", PATH, &[("connection", "close")], CHAT.as_bytes());
    assert_eq!(client.send(&asked).reply().header("connection"), Some("close"));
    assert!(client.closed());
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstream = counting();
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let mut client = gateway.connect();
    let one = request("POST", PATH, &[], CHAT.as_bytes());
    let bad = request("POST", PATH, &[], b"no json");
    client.send(&[&one[..], &bad, &one, &request("GET", "/nowhere", &[], b"")].concat());
    let replies: Vec<_> = (0..4).map(|_| client.reply()).map(|r| (r.status, r.text())).collect();
    assert_eq!(replies[0], (200, "{\"n\":0}".into()));
    assert_eq!(replies[1].0, 400);
    assert_eq!(replies[2], (200, "{\"n\":1}".into()));
    assert_eq!(replies[3].0, 404);
}

#[test]
fn http_1_0_is_served() {
    let upstream = Upstream::new(|exchange| {
        exchange.stream("application/json").chunk("{\"a\":").chunk("1}").end();
    });
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let mut client = Client::connect(gateway.port);
    let head = format!("POST {PATH} HTTP/1.0\r\nhost: a\r\ncontent-length: {}\r\n\r\n", CHAT.len());
    let reply = client.send((head + CHAT).as_bytes()).reply();
    assert_eq!((reply.status, reply.version.as_str(), reply.text().as_str()), (200, "HTTP/1.0", "{\"a\":1}"));
    // Chunks are not known to HTTP/1.0: the end of the connection is the end of the body.
    assert_eq!(reply.header("transfer-encoding"), None);
    assert!(client.closed());
    assert!(upstream.only().line().ends_with("HTTP/1.1"));
}

#[test]
fn http2_without_tls_is_served() {
    let upstream = Upstream::new(|exchange| {
        exchange.stream("text/event-stream");
        exchange.chunk("data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n").chunk("data: [DONE]\n\n").end();
    });
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, driver) = client.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        let post = |path: &str, body: &'static str| {
            let uri = format!("http://gateway.test{path}");
            let request = http::Request::post(uri).header("authorization", CLIENT_KEY).header("cookie", "a=b");
            sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap())
        };
        let [served, refused, lost] = [(PATH, CHAT), (PATH, "[]"), ("/openai/../x", CHAT)].map({
            let mut post = post;
            move |(p, b)| post(p, b)
        });
        let reply = served.await.unwrap();
        assert_eq!(reply.status(), 200);
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"data: [DONE]\n\n"));
        let refused = refused.await.unwrap();
        assert_eq!((refused.status(), refused.headers().get("connection")), (http::StatusCode::BAD_REQUEST, None));
        assert_eq!(lost.await.unwrap().status(), 400);
    });
    let sent = upstream.only();
    assert_eq!(sent.line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(sent.header("host"), Some(format!("127.0.0.1:{}", upstream.port)));
    assert!(!sent.head.contains(CLIENT_KEY) && sent.header("cookie").is_none(), "{}", sent.head);
}

#[test]
fn no_more_connections_than_allowed_are_open() {
    let upstream = Upstream::json("{}");
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--max-connections", "2").run();
    let mut open: Vec<Client> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut open {
        assert_eq!(client.send(&request("POST", PATH, &[], CHAT.as_bytes())).reply().status, 200);
    }
    assert!(gateway.connect().closed());
    assert_eq!(gateway.metrics().get("tollgate_connections_rejected_total", &[("reason", "limit")]), Some(1.0));
    open.pop();
    crate::common::wait_until("a free place", crate::common::PATIENCE, || {
        let mut client = Client::try_connect(gateway.port)?;
        client.send(&request("POST", PATH, &[], CHAT.as_bytes())).try_reply().filter(|r| r.status == 200)
    });
}
