//! Replies that are forwarded as they are, whatever they are.

use std::thread::sleep;

use serde_json::json;

use crate::common::{RESTED, Start, Upstream, manifests::s1};

const CHAT: &str = r#"{"model":"m","messages":[]}"#;

#[test]
fn replies_of_any_status_are_forwarded_unchanged() {
    let html = ("text/html; charset=utf-8", "<html><h1>Internal Server Error</h1></html>");
    let json_type = "application/json";
    for (what, status, (content_type, body)) in [
        ("an error page", 500, html),
        ("garbage that says it is JSON", 200, (json_type, "\u{0}\u{1}{{{]]\u{7f}")),
        ("half a document", 200, (json_type, r#"{"choices":[{"message":"#)),
        ("nothing", 200, (json_type, "")),
        ("a shape nobody knows", 200, (json_type, r#"{ "new_shape" : {"usage":"none","model":7},"usage":[1,2] }"#)),
        (
            "usage of the wrong types",
            200,
            (json_type, r#"{"model":1,"usage":{"prompt_tokens":"3","completion_tokens":-4}}"#),
        ),
        ("an array", 200, (json_type, "[1,2,3]")),
        ("no type we know", 200, ("audio/mpeg", "\u{fffd}ID3")),
        ("the provider's own refusal", 401, (json_type, r#"{"error":{"message":"Incorrect API key provided"}}"#)),
        ("a limit", 429, (json_type, r#"{"error":{"message":"slow down"}}"#)),
        ("a status nobody knows", 599, (json_type, "{}")),
    ] {
        let headers = [("content-type", content_type), ("x-request-limit", "7"), ("retry-after", "20")];
        let upstream = Upstream::fixed(status, &headers, body.as_bytes());
        let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
        for _ in 0..2 {
            let reply = gateway.post("/openai", CHAT);
            assert_eq!((reply.status, reply.complete), (status, true), "{what}");
            assert_eq!(reply.text(), body, "{what}");
            for (name, value) in headers {
                assert_eq!(reply.header(name), Some(value), "{what}");
            }
            sleep(RESTED);
        }
        assert_eq!(upstream.connections(), 1, "{what}: the connection could be kept alive");
        let line = gateway.access("/openai");
        // The client gets what came, and the log names what it was not.
        let is_no_answer =
            ["garbage that says it is JSON", "half a document", "nothing", "no type we know"].contains(&what);
        let error = if is_no_answer { json!("upstream_protocol") } else { json!(null) };
        assert_eq!((&line["status"], &line["error"]), (&json!(status), &error), "{what}");
        // What was answered has cost something; an error has not.
        assert_eq!(line.get("prompt_tokens").is_some(), status == 200, "{what}: {line}");
        assert_eq!(line["tokens_estimated"] == json!(true), status == 200, "{what}: {line}");
    }
}

#[test]
fn a_reply_without_a_body_has_none() {
    for status in [204, 304] {
        let upstream = Upstream::new(move |exchange| {
            exchange.head(status, &[("x-kept", "1")]);
        });
        let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
        let reply = gateway.post("/openai", CHAT);
        assert_eq!((reply.status, reply.body.len(), reply.header("x-kept")), (status, 0, Some("1")));
        assert_eq!(gateway.post("/openai", CHAT).status, status);
    }
}

#[test]
fn an_unrequested_compressed_reply_is_forwarded_unchanged() {
    // "{}" in gzip.
    let zipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00";
    for content_type in ["application/json", "text/event-stream"] {
        let headers = [("content-type", content_type), ("content-encoding", "gzip")];
        let upstream = Upstream::fixed(200, &headers, zipped);
        let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
        let reply = gateway.post_with("/openai", &[("accept-encoding", "gzip, br")], CHAT);
        assert_eq!((reply.status, reply.complete, &reply.body[..]), (200, true, &zipped[..]), "{content_type}");
        assert_eq!(reply.header("content-encoding"), Some("gzip"));
        assert_eq!(upstream.only().header("accept-encoding").as_deref(), Some("identity"), "{content_type}");
    }
}

#[test]
fn unusual_reply_framing_is_read_as_http_defines_it() {
    for (what, wire, body) in [
        (
            "hints first",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
                content-length: 2\r\n\r\n{}",
            "{}",
        ),
        ("until the end", "HTTP/1.1 200 OK\r\n\r\n{\"a\":1}", "{\"a\":1}"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", "{}"),
        ("the same length twice", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}", "{}"),
        (
            "chunks and a length",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "{}",
        ),
        (
            "extensions and trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\nx-t: 1\r\n\r\n",
            "{}",
        ),
        ("no reason", "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}", "{}"),
        ("an odd header", "HTTP/1.1 200 OK\r\nx-odd: \u{e9}\tb \r\nx-empty:\r\ncontent-length: 2\r\n\r\n{}", "{}"),
    ] {
        let upstream = Upstream::new(move |exchange| exchange.write(wire).close());
        let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
        for _ in 0..2 {
            let reply = gateway.post("/openai", CHAT);
            assert_eq!((reply.status, reply.complete, reply.text().as_str()), (200, true, body), "{what}");
            if what == "an odd header" {
                assert_eq!((reply.header("x-odd"), reply.header("x-empty")), (Some("\u{e9}\tb"), Some("")));
            }
        }
    }
}

#[test]
fn a_large_reply_passes_whole() {
    let body =
        format!(r#"{{"data":"{}","usage":{{"prompt_tokens":3,"completion_tokens":4}}}}"#, "x".repeat(20 * 1024 * 1024));
    let upstream = Upstream::json(&body);
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let reply = gateway.post("/openai", CHAT);
    assert!(reply.complete && reply.body == body.as_bytes());
    assert_eq!(reply.header("content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(gateway.access("/openai")["completion_tokens"], 4);
}

#[test]
fn hop_by_hop_reply_headers_are_not_forwarded() {
    let headers = [
        ("content-type", "application/json"),
        ("connection", "keep-alive, x-hop"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "1"),
        ("proxy-authenticate", "Basic"),
        ("set-cookie", "__cf_bm=of-the-providers-site"),
        ("x-ratelimit-remaining-requests", "9"),
    ];
    let upstream = Upstream::fixed(200, &headers, b"{}");
    let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", upstream.port)).run();
    let reply = gateway.post("/openai", CHAT);
    let mut names: Vec<&str> = reply.headers.iter().map(|(name, _)| name.as_str()).filter(|n| *n != "date").collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "x-ratelimit-remaining-requests", "x-tollgate-request-id"]);
}
