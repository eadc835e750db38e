//! Bodies that no provider should see: refused clearly, and the next request is served.

use serde_json::json;

use crate::common::{DialectId, Gateway, Start, Upstream, assert_error, manifests::s1, request};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
const PATH: &str = "/openai/v1/chat/completions";
const MIB: usize = 1024 * 1024;

fn gateway(upstream: &Upstream, flags: &[(&str, &str)]) -> Gateway {
    let manifest = ["openai", "anthropic", "gemini"].map(|p| s1(p, &format!("/{p}"), upstream.port)).concat();
    flags.iter().fold(Start::new().manifest("a.yaml", &manifest), |start, (n, v)| start.flag(n, v)).run()
}

/// A chat request of `length` bytes.
fn chat_of(length: usize) -> Vec<u8> {
    let (before, after) = (r#"{"model":"m","messages":[{"role":"user","content":""#, r#""}]}"#);
    [before.as_bytes(), &vec![b'a'; length - before.len() - after.len()], after.as_bytes()].concat()
}

/// `body` in chunks of at most `size` bytes.
fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / size * 16 + 16);
    for piece in body.chunks(size) {
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

const CHUNKED: [(&str, &str); 2] = [("content-type", "application/json"), ("transfer-encoding", "chunked")];

#[test]
fn bodies_other_than_json_objects_are_refused_in_the_clients_dialect() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    let bodies: [(&str, &[u8]); 15] = [
        ("text", b"hello"),
        ("a form", b"model=m&messages=1"),
        ("empty", b""),
        ("only space", b" \r\n"),
        ("an array", br#"[{"model":"m","messages":[]}]"#),
        ("a string", br#""model""#),
        ("null", b"null"),
        ("not UTF-8", b"{\"model\":\"\xff\",\"messages\":[]}"),
        ("half a character", b"{\"model\":\"m\",\"messages\":\"\xe2\x82\"}"),
        ("cut", br#"{"model":"m","messages":["#),
        ("two documents", br#"{"model":"m"}{"messages":[]}"#),
        ("a comma too many", br#"{"model":"m","messages":[],}"#),
        ("a control character", b"{\"model\":\"a\nb\",\"messages\":[]}"),
        ("a model that is a number", br#"{"model":7,"messages":[],"contents":[]}"#),
        ("a gzip file", b"\x1f\x8b\x08\x00\x00\x00\x00\x00"),
    ];
    for (path, dialect) in [
        (PATH, DialectId::OpenAi),
        ("/anthropic/v1/messages", DialectId::Anthropic),
        ("/gemini/v1beta/models/m:generateContent", DialectId::Gemini),
    ] {
        for (what, body) in bodies {
            // Gemini's model is in the URL; a field of that name in the body is for Google to judge.
            if dialect == DialectId::Gemini && what.contains("number") {
                continue;
            }
            assert_error(&gateway.post(path, body), dialect, 400, what);
        }
        let line = gateway.access(path);
        assert_eq!((&line["error"], &line["status"]), (&json!("bad_body"), &json!(400)));
    }
    assert_eq!(upstream.received().len(), 0);
    assert!(gateway.metrics().sum("tollgate_requests_total", &[("error", "bad_body"), ("status", "400")]) >= 40.0);
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
}

#[test]
fn a_body_nested_100_000_deep_is_answered() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    for open in ["[", "{\"a\":"] {
        let close = if open == "[" { "]" } else { "}" };
        let inner = open.repeat(100_000) + "1" + &close.repeat(100_000);
        let reply = gateway.post(PATH, format!(r#"{{"model":"m","messages":{inner}}}"#));
        // Whether to refuse it or to leave that to the provider is free; to crash is not.
        match reply.status {
            200 => {}
            status => assert_error(&reply, DialectId::OpenAi, status, "deep"),
        }
        let unclosed = format!(r#"{{"model":"m","messages":{}"#, open.repeat(100_000));
        assert_error(&gateway.post(PATH, unclosed), DialectId::OpenAi, 400, "deep and cut");
    }
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
}

#[test]
fn a_body_over_the_default_limit_is_413() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    let body = chat_of(33 * MIB);
    assert_error(&gateway.post(PATH, &body), DialectId::OpenAi, 413, "with its length");
    let reply = gateway.connect().send(&request("POST", PATH, &CHUNKED, &chunked(&body, 64 * 1024))).reply();
    assert_error(&reply, DialectId::OpenAi, 413, "chunked");
    assert_eq!(upstream.received().len(), 0);
    let largest = chat_of(32 * MIB);
    assert_eq!(gateway.post(PATH, &largest).status, 200);
    assert!(upstream.only().body == largest);
}

#[test]
fn a_reply_that_needs_no_body_is_not_lost_while_the_client_sends_one() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    let body = chat_of(8 * MIB);
    for (path, status) in [("/nowhere", 404), ("/openai/../x", 400)] {
        let mut client = gateway.connect();
        let reply = client.send(&request("POST", path, &[], &body)).reply();
        assert_eq!(reply.status, status, "{path}");
        // All of it was read: the connection is good for the next request.
        assert_eq!(client.send(&request("POST", PATH, &[], CHAT.as_bytes())).reply().status, 200, "{path}");
    }
}

#[test]
fn the_limit_is_a_setting_and_exact() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[("--max-body-bytes", "1000")]);
    for (length, status) in [(999, 200), (1000, 200), (1001, 413)] {
        let body = chat_of(length);
        assert_eq!(gateway.post(PATH, &body).status, status, "{length}");
        let in_chunks = request("POST", PATH, &CHUNKED, &chunked(&body, 100));
        assert_eq!(gateway.connect().send(&in_chunks).reply().status, status, "{length} in chunks");
    }
    for (path, dialect) in [("/anthropic/v1/messages", DialectId::Anthropic), ("/gemini", DialectId::Gemini)] {
        assert_error(&gateway.post(path, chat_of(1001)), dialect, 413, path);
    }
    assert_eq!(upstream.received().len(), 4);
    let line = gateway.access("/gemini");
    assert_eq!((&line["error"], &line["backend"]), (&json!("body_too_large"), &json!("default/gemini")));
}

#[test]
fn a_body_without_a_length_is_served() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    for size in [1, 7, 4096] {
        let bytes = request("POST", PATH, &CHUNKED, &chunked(CHAT.as_bytes(), size));
        assert_eq!(gateway.connect().send(&bytes).reply().status, 200, "{size}");
        let sent = upstream.received().pop().unwrap();
        assert_eq!((sent.text().as_str(), sent.header("transfer-encoding")), (CHAT, None));
        assert_eq!(sent.header("content-length"), Some(CHAT.len().to_string()));
    }
    // Extensions and trailers are part of the framing, not of the body.
    let framed = format!("{:x};name=value\r\n{CHAT}\r\n0\r\nx-trailer: 1\r\n\r\n", CHAT.len());
    let bytes = request("POST", PATH, &CHUNKED, framed.as_bytes());
    assert_eq!(gateway.connect().send(&bytes).reply().status, 200);
    assert_eq!(upstream.received().pop().unwrap().text(), CHAT);
    // A client that waits for leave to send gets it.
    let mut client = gateway.connect();
    let length = CHAT.len().to_string();
    client.send(&request("POST", PATH, &[("expect", "100-continue"), ("content-length", &length)], b""));
    assert_eq!(client.head().status, 100);
    assert_eq!(client.send(CHAT.as_bytes()).reply().status, 200);
    assert_eq!(upstream.received().pop().unwrap().header("expect"), None);
}

#[test]
fn a_truncated_body_is_not_sent_upstream() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    for (path, headers, body) in [
        ("/openai/half", &[("content-length", "100")][..], &b"{\"model\":"[..]),
        ("/openai/no-last-chunk", &CHUNKED, b"9\r\n{\"model\":\r\n"),
        ("/openai/bad-chunk", &CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    ] {
        let mut client = gateway.connect();
        client.send(&request("POST", path, headers, body)).finish_sending();
        if let Some(reply) = client.try_reply() {
            assert_error(&reply, DialectId::OpenAi, 400, path);
        }
        assert!(client.closed(), "{path}");
        let line = gateway.access(path);
        let error = line["error"].as_str().unwrap();
        assert!(["body_incomplete", "client_closed"].contains(&error), "{path}: {line}");
    }
    // The same by a client that resets its connection.
    let mut client = gateway.connect();
    client.send(&request("POST", "/openai/reset", &[("content-length", "100")], b"{"));
    wait_for_in_flight(&gateway, 1.0);
    client.reset();
    let line = gateway.access("/openai/reset");
    assert!(["body_incomplete", "client_closed"].contains(&line["error"].as_str().unwrap()), "{line}");
    assert_eq!(upstream.received().len(), 0);
    wait_for_in_flight(&gateway, 0.0);
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
}

fn wait_for_in_flight(gateway: &Gateway, count: f64) {
    crate::common::wait_until("requests in flight", crate::common::PATIENCE, || {
        let now = gateway.metrics().get("tollgate_requests_in_flight", &[("gateway", "default/gw")]);
        (now == Some(count)).then_some(())
    });
}

#[test]
fn a_stalled_client_times_out() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[("--body-timeout", "1"), ("--header-timeout", "1")]);
    let mut client = gateway.connect();
    let reply = client.send(&request("POST", PATH, &[("content-length", "100")], b"{\"model\":")).reply();
    assert_error(&reply, DialectId::OpenAi, 408, "a body that stalls");
    assert!(client.closed());
    assert_eq!(gateway.access(PATH)["error"], "body_timeout");
    // A head that stalls, in either version, and connections that never begin one or no second one.
    let begun = ["POST /openai HTTP/1.1\r\nhost: a\r\n", "GET", "", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let mut stalled = begun.map(|bytes| {
        let mut client = gateway.connect();
        client.send(bytes.as_bytes());
        (bytes, client)
    });
    let mut idle = gateway.connect();
    assert_eq!(idle.send(&request("GET", "/nowhere", &[], b"")).reply().status, 404);
    for (bytes, client) in &mut stalled {
        let received = client.rest();
        assert!(!received.starts_with(b"HTTP/1.1 2"), "{bytes:?}: {}", String::from_utf8_lossy(&received));
    }
    assert!(idle.closed());
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
}

#[test]
fn a_compressed_body_is_refused_with_a_reason() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    // "{}" in gzip.
    let zipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00";
    let reply = gateway.post_with(PATH, &[("content-encoding", "gzip")], zipped);
    assert_error(&reply, DialectId::OpenAi, 415, "gzip");
    assert_eq!(gateway.access(PATH)["error"], "body_encoded");
    // Words alone don't make it so.
    assert_eq!(gateway.post_with(PATH, &[("content-encoding", "identity")], CHAT).status, 200);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn errors_for_bedrock_clients_have_a_type_header() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream, &[]);
    let reply = gateway.post("/openai/model/m/converse", "{");
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(reply.header("x-amzn-errortype"), Some("ValidationException"));
    assert_eq!(reply.header("x-amzn-requestid"), reply.header("x-request-id"));
    assert!(reply.json()["message"].as_str().is_some_and(|message| message.len() > 5), "{}", reply.text());
}
