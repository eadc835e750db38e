//! Faults, over TCP as a client sees them.

use std::io::ErrorKind;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::super::{Options, serve};

const BUFFERED: &str = r#"{"model":"m","messages":[{"role":"user","content":"Say: one two three four"}]}"#;
const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Say: one two three four"}]}"#;

/// A simulator on its own port, until the value is dropped.
struct Running {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    tokio::spawn(serve(listener, Options::default(), shutdown));
    Running { address, _stop: stop }
}

impl Running {
    async fn connect(&self, fault: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: s\r\nauthorization: Bearer k\r\nconnection: close\r\n\
             content-length: {length}\r\nx-simulator-fault: {fault}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Everything that arrives, and how it ended.
    async fn read(&self, fault: &str, body: &str) -> (String, Option<ErrorKind>) {
        let mut stream = self.connect(fault, body).await;
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).await.err().map(|error| error.kind());
        (String::from_utf8_lossy(&bytes).into_owned(), end)
    }

    async fn requests(&self) -> Value {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /simulator/requests HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

fn data_events(text: &str) -> usize {
    text.matches("data: ").count()
}

#[tokio::test]
async fn a_status_comes_with_the_providers_error() {
    let (text, _) = start().await.read("status=503; retry-after=2", BUFFERED).await;
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.contains("retry-after: 2\r\n") && text.contains(r#""type":"server_error""#), "{text}");
}

#[tokio::test]
async fn an_unknown_fault_is_a_bad_request() {
    let (text, _) = start().await.read("nonsense", BUFFERED).await;
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("first-token-delay"), "{text}");
}

#[tokio::test]
async fn a_reset_is_a_tcp_reset() {
    let server = start().await;
    for body in [BUFFERED, STREAM] {
        let (text, end) = server.read("reset=before", body).await;
        assert_eq!((text.as_str(), end), ("", Some(ErrorKind::ConnectionReset)));
        let (text, end) = server.read("reset=headers", body).await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n"), "{text}");
        assert_eq!(end, Some(ErrorKind::ConnectionReset));
        let (text, end) = server.read("reset=mid", body).await;
        assert!(text.contains("chatcmpl-") && !text.contains("[DONE]"), "{text}");
        assert_eq!(end, Some(ErrorKind::ConnectionReset));
    }
}

#[tokio::test]
async fn a_cut_stream_has_no_last_chunk() {
    let server = start().await;
    let (text, end) = server.read("cut=3", STREAM).await;
    assert_eq!((data_events(&text), end), (3, None), "{text}");
    assert!(!text.ends_with("0\r\n\r\n"));
    let (text, _) = server.read("no-done", STREAM).await;
    assert_eq!(data_events(&text), 6, "role, four words, finish; no [DONE]");
    assert!(text.ends_with("0\r\n\r\n"));
    let (text, _) = server.read("cut=1", BUFFERED).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(length.parse::<usize>().unwrap() / 2, body.len());
}

#[tokio::test]
async fn replies_take_any_shape() {
    let server = start().await;
    let check = async |fault: &str, body: &str, expect: &[&str]| {
        let (text, end) = server.read(fault, body).await;
        assert_eq!(end, None);
        assert!(expect.iter().all(|words| text.contains(words)), "{fault}: {text}");
        text
    };
    check("garbage", BUFFERED, &["HTTP/1.1 200 ", "application/json", "%%%"]).await;
    check("garbage", STREAM, &["HTTP/1.1 200 ", "text/event-stream", "data: ", "%%%"]).await;
    check("html", BUFFERED, &["HTTP/1.1 500 ", "text/html", "<html>"]).await;
    check("html; status=502", BUFFERED, &["HTTP/1.1 502 ", "<html>"]).await;
    check("unknown-shape", BUFFERED, &["HTTP/1.1 200 ", "oracle"]).await;
    check("unknown-shape", STREAM, &["text/event-stream", "data: {\"kind\":\"oracle\""]).await;
    check("empty", BUFFERED, &["HTTP/1.1 200 ", "content-length: 0\r\n"]).await;
    check("gzip", BUFFERED, &["content-encoding: gzip\r\n"]).await;
    let text = check("error-after=2", STREAM, &["data: {\"error\":{\"message\""]).await;
    assert_eq!(data_events(&text), 3);
    let text = check("events=20", STREAM, &["[DONE]"]).await;
    assert_eq!(data_events(&text), 23, "role, 20 words, finish, [DONE]");
    let text = check("big-event=100000", STREAM, &["[DONE]"]).await;
    assert_eq!(data_events(&text), 4);
    assert!(text.contains(&"x".repeat(100_000)));
    let text = check("split=1", STREAM, &["\r\n1\r\n[\r\n1\r\nD\r\n1\r\nO\r\n"]).await;
    assert_eq!(data_events(&text), 0, "every byte is a chunk");
}

#[tokio::test]
async fn a_client_that_leaves_is_counted() {
    let server = start().await;
    for fault in ["delay=1h", "first-token-delay=1h", "event-delay=1h"] {
        let mut stream = server.connect(fault, STREAM).await;
        if fault == "delay=1h" {
            while server.requests().await["in_flight"] == 0 {}
        } else {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
        }
    }
    server.read("", BUFFERED).await;
    loop {
        let requests = server.requests().await;
        if requests["cancelled"] == 3 {
            assert_eq!((&requests["started"], &requests["finished"]), (&4.into(), &1.into()));
            break;
        }
    }
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_the_slow() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, Options::default(), async {
        let _ = stopped.await;
    }));
    let running = Running { address, _stop: stop };
    let slow = running.connect("delay=1h", STREAM).await;
    while running.requests().await["in_flight"] == 0 {}
    drop(running);
    task.await.unwrap().unwrap();
    drop(slow);
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let server = start().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<axum::body::Body>();
    let uri = format!("http://{}/v1/models", server.address);
    let request = http::Request::get(uri).header("authorization", "Bearer k").body(axum::body::Body::empty()).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
}
