//! A reply whose framing is broken is a 502, and never an empty or a shortened reply that looks whole.

use std::sync::{Arc, Mutex};

use crate::{
    CHAT, CHAT_PATH, JSON,
    common::{Client, PATIENCE, Upstream, request, wait_until},
    gateway,
};

/// Replies without a valid head or, in the same write, without a valid beginning of the body.
fn broken() -> Vec<(&'static str, String)> {
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{rest}");
    let chunked = |rest: &str| ok(&format!("transfer-encoding: chunked\r\n\r\n{rest}"));
    vec![
        ("two lengths", ok("content-length: 2\r\ncontent-length: 3\r\n\r\n{}")),
        ("a list of two lengths", ok("content-length: 2, 3\r\n\r\n{}")),
        ("a negative length", ok("content-length: -2\r\n\r\n{}")),
        ("a length with a sign", ok("content-length: +2\r\n\r\n{}")),
        ("a hexadecimal length", ok("content-length: 0x2\r\n\r\n{}")),
        ("a length beyond all integers", ok("content-length: 99999999999999999999999\r\n\r\n{}")),
        ("an empty length", ok("content-length:\r\n\r\n{}")),
        ("a folded line", ok("x: a\r\n b\r\ncontent-length: 2\r\n\r\n{}")),
        ("a folded length", ok("content-length:\r\n 2\r\n\r\n{}")),
        ("a space before the colon", ok("content-length : 2\r\n\r\n{}")),
        ("a line without a colon", ok("garbage\r\ncontent-length: 2\r\n\r\n{}")),
        ("an empty name", ok(": a\r\ncontent-length: 2\r\n\r\n{}")),
        ("a NUL in a value", ok("x: a\0b\r\ncontent-length: 2\r\n\r\n{}")),
        ("a carriage return in a value", ok("x: a\rb: c\r\ncontent-length: 2\r\n\r\n{}")),
        ("a huge header", ok(&format!("x: {}\r\ncontent-length: 2\r\n\r\n{{}}", "a".repeat(2 * 1024 * 1024)))),
        ("very many headers", ok(&format!("{}content-length: 2\r\n\r\n{{}}", "x: a\r\n".repeat(20_000)))),
        ("an encoding that nobody knows", ok("transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")),
        ("chunked twice", ok("transfer-encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")),
        ("chunked before another", ok("transfer-encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n")),
        ("a chunk's size that is no number", chunked("zz\r\n{}\r\n0\r\n\r\n")),
        ("a negative chunk's size", chunked("-2\r\n{}\r\n0\r\n\r\n")),
        ("a chunk's size with 0x", chunked("0x2\r\n{}\r\n0\r\n\r\n")),
        ("an empty chunk's size", chunked("\r\n{}\r\n0\r\n\r\n")),
        ("a chunk's size beyond all integers", chunked("ffffffffffffffffff2\r\n{}\r\n0\r\n\r\n")),
        ("a status of two digits", "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\n{}".into()),
        ("a status of four digits", "HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}".into()),
        ("no version", "200 OK\r\ncontent-length: 2\r\n\r\n{}".into()),
        ("HTTP/2.0 in a status line", "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\n{}".into()),
        ("101 without an upgrade", "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{}".into()),
    ]
}

/// A server that answers with the bytes that are set, and closes.
fn answering() -> (Upstream, Arc<Mutex<String>>) {
    let bytes = Arc::new(Mutex::new(String::new()));
    let answer = Arc::clone(&bytes);
    let upstream = Upstream::new(move |exchange| {
        let answer = answer.lock().unwrap().clone();
        exchange.write(answer).close();
    });
    (upstream, bytes)
}

const REQUESTS: [(&str, &str, &str); 2] = [("POST", CHAT_PATH, CHAT), ("GET", "/plain/a", "")];

#[test]
fn broken_framing_is_a_502() {
    let (upstream, answer) = answering();
    let gateway = gateway(upstream.port);
    let mut faults = Vec::new();
    for (what, bytes) in broken() {
        *answer.lock().unwrap() = bytes;
        for (method, path, body) in REQUESTS {
            let mut client = Client::connect(gateway.port);
            let reply = client.send(&request(method, path, &JSON, body.as_bytes())).try_reply();
            match reply.map(|reply| (reply.status, reply.complete, reply.text())) {
                Some((502, true, text)) if !text.is_empty() => {}
                seen => faults.push(format!("{what}, {path}: {seen:?}")),
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_body_that_breaks_later_never_looks_whole() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n";
    let (upstream, answer) = answering();
    let gateway = gateway(upstream.port);
    let mut requests = 0;
    for (what, rest) in [
        ("a size that is no number", "zz\r\n{}\r\n0\r\n\r\n"),
        ("a chunk longer than its size", "2\r\n{}{}\r\n0\r\n\r\n"),
        ("a line feed alone behind a chunk", "2\r\n{}\n0\r\n\r\n"),
        ("an extension without end", &format!("2;{}", "a".repeat(4 * 1024 * 1024))),
        ("trailers without end", &format!("0\r\nx: {}", "a".repeat(4 * 1024 * 1024))),
        ("a close instead of the last chunk", ""),
    ] {
        *answer.lock().unwrap() = begun.to_owned() + rest;
        for (method, path, body) in REQUESTS {
            let mut client = Client::connect(gateway.port);
            if let Some(reply) = client.send(&request(method, path, &JSON, body.as_bytes())).try_reply() {
                let broken = reply.status == 502 || !reply.complete;
                assert!(broken, "{what}, {path}: {} {}", reply.status, reply.text());
            }
            let line = wait_until("the log", PATIENCE, || {
                gateway.log().into_iter().filter(|line| line["target"] == "tollgate::access").nth(requests)
            });
            requests += 1;
            assert!(line["error"].as_str().is_some_and(|error| error.starts_with("upstream_")), "{what}: {line}");
        }
    }
}
