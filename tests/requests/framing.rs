//! Requests whose end two servers could see in two places: neither a provider nor a plain server behind the gateway
//! may ever see a second request that the gateway did not.

use serde_json::json;

use crate::common::{
    Client, Gateway, Start, Upstream,
    manifests::{route, s1, yaml},
};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;
/// The gateway closes the connection after it.
const INNER: &str = "GET /plain/smuggled HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn gateway(upstream: &Upstream) -> Gateway {
    let plain = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": upstream.port}]}},
    }));
    let rules = json!([crate::common::rule("/plain", "plain")]);
    let manifest = s1("openai", "/openai", upstream.port) + &plain + &route("plain", &rules);
    Start::new().manifest("a.yaml", &manifest).run()
}

/// Sends `bytes` on a connection of their own and reads replies until the gateway closes it.
fn replies(gateway: &Gateway, bytes: &[u8]) -> Vec<u16> {
    let mut client = Client::connect(gateway.port);
    client.send(bytes);
    let mut all = Vec::new();
    while let Some(reply) = client.try_reply() {
        all.push(reply.status);
    }
    all
}

#[test]
fn ambiguous_framing_is_refused() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream);
    let length = CHAT.len();
    let chunked = format!("{length:x}\r\n{CHAT}\r\n0\r\n\r\n");
    let forms: Vec<(&str, String, String)> = [
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 0\r\n"), CHAT),
        ("a list of lengths", format!("content-length: {length}, 0\r\n"), CHAT),
        ("a negative length", "content-length: -1\r\n".into(), CHAT),
        ("a length with a sign", format!("content-length: +{length}\r\n"), CHAT),
        ("a hexadecimal length", format!("content-length: 0x{length:x}\r\n"), CHAT),
        ("an empty length", "content-length: \r\n".into(), CHAT),
        ("a huge length", "content-length: 99999999999999999999999\r\n".into(), CHAT),
        ("a space before the colon", format!("content-length : {length}\r\n"), CHAT),
        ("a space before the encoding's colon", "transfer-encoding : chunked\r\n".into(), &*chunked),
        ("a folded line", format!("x: y\r\n content-length: {length}\r\n"), CHAT),
        ("an unknown encoding", "transfer-encoding: gzip\r\n".into(), &*chunked),
        ("chunked not last", "transfer-encoding: chunked, identity\r\n".into(), &*chunked),
        ("an obscured encoding", "transfer-encoding: xchunked\r\n".into(), &*chunked),
        ("an encoding in quotes", "transfer-encoding: \"chunked\"\r\n".into(), &*chunked),
        ("a control character", "transfer-encoding: \u{b}chunked\r\n".into(), &*chunked),
        ("a bare carriage return", format!("x: y\rcontent-length: {length}\r\n"), CHAT),
        ("a NUL", "x: a\0b\r\n".into(), ""),
        ("no colon", "garbage\r\n".into(), ""),
        ("an empty name", ": value\r\n".into(), ""),
    ]
    .map(|(what, headers, body)| (what, headers, body.to_owned()))
    .into();
    for path in ["/openai/v1/chat/completions", "/plain/x"] {
        for (what, headers, body) in &forms {
            let before = upstream.received().len();
            let bytes = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}{INNER}");
            let replies = replies(&gateway, bytes.as_bytes());
            assert_eq!(replies, [400], "{path}: {what}");
            assert_eq!(upstream.received().len(), before, "{path}: {what}");
        }
    }
    assert_eq!(replies(&gateway, INNER.as_bytes()), [200]);
}

#[test]
fn transfer_encoding_takes_precedence_and_closes_the_connection() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream);
    let length = CHAT.len();
    let chunked = format!("{length:x}\r\n{CHAT}\r\n0\r\n\r\n");
    for path in ["/openai/v1/chat/completions", "/plain/x"] {
        for headers in [
            format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
            "content-length: 4\r\ntransfer-encoding: chunked\r\n".into(),
            format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", chunked.len() + INNER.len()),
        ] {
            let before = upstream.received().len();
            let bytes = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n{chunked}{INNER}");
            let statuses = replies(&gateway, bytes.as_bytes());
            let sent = upstream.received().split_off(before);
            if statuses == [400] {
                assert!(sent.is_empty(), "{path} {headers}: {sent:?}");
                continue;
            }
            assert_eq!(statuses, [200], "{path} {headers}");
            assert_eq!((sent.len(), sent[0].text().as_str()), (1, CHAT), "{path} {headers}");
            let framings = [sent[0].header("content-length"), sent[0].header("transfer-encoding")];
            assert_eq!(framings.iter().flatten().count(), 1, "{path} {headers}: {}", sent[0].head);
        }
    }
}

#[test]
fn unusual_but_unambiguous_framing_is_accepted() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream);
    let length = CHAT.len();
    for (what, bytes) in [
        // RFC 9112 2.2: a recipient may take a lone line feed for a line's end. Whoever does must do it everywhere.
        ("line feeds only", format!("POST /plain/x HTTP/1.1\nhost: a\ncontent-length: {length}\n\n{CHAT}{INNER}")),
        ("the same length twice", {
            let twice = format!("content-length: {length}\r\ncontent-length: {length}\r\n");
            format!("POST /plain/x HTTP/1.1\r\nhost: a\r\n{twice}\r\n{CHAT}{INNER}")
        }),
        (
            "capitals",
            format!(
                "POST /plain/x HTTP/1.1\r\nHOST: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n{length:x}\r\n{CHAT}\r\n0\r\n\
                    \r\n{INNER}"
            ),
        ),
        (
            "empty lines first",
            format!("\r\n\r\nPOST /plain/x HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{CHAT}{INNER}"),
        ),
        (
            "a GET with a body",
            format!("GET /plain/x HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{CHAT}{INNER}"),
        ),
    ] {
        let before = upstream.received().len();
        let statuses = replies(&gateway, bytes.as_bytes());
        let sent: Vec<_> = upstream.received().split_off(before);
        if statuses == [400] {
            assert!(sent.is_empty(), "{what}: {sent:?}");
            continue;
        }
        assert_eq!(statuses, [200, 200], "{what}");
        let seen: Vec<_> = sent.iter().map(|r| (r.path(), r.text())).collect();
        assert_eq!(seen, [("/plain/x", CHAT.to_owned()), ("/plain/smuggled", String::new())], "{what}");
    }
}

#[test]
fn bytes_other_than_http_get_no_reply_or_400() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET / HTTP/9.9\r\nhost: a\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nhost: a\r\n\r\n",
        b"G\xc3\x89T / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let statuses = replies(&gateway, bytes);
        assert!(statuses.is_empty() || statuses == [400], "{}: {statuses:?}", String::from_utf8_lossy(bytes));
    }
    let many: String = (0..2000).fold(String::new(), |all, n| all + &format!("x-{n}: {n}\r\n"));
    let large = format!("x: {}\r\n", "a".repeat(1024 * 1024));
    for headers in [many, large] {
        let mut client = Client::connect(gateway.port);
        client.send(format!("POST /openai HTTP/1.1\r\nhost: a\r\n{headers}\r\n").as_bytes());
        assert_eq!(client.try_reply().map_or(431, |r| r.status), 431);
    }
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
}
