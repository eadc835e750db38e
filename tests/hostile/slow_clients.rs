//! Clients that stop: reading a reply, or sending a body. They hold neither a paid generation nor the memory of others.
//!
//! The bounds are set by the variables of flags that these tests assume: `--write-timeout SECONDS` (how long a client
//! may take no byte) and `--max-request-bytes-in-flight BYTES` (request bodies held at a time).

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    CHAT_PATH, JSON,
    common::{
        Client, DialectId, Exchange, Gateway, KEY, PATIENCE, Start, Upstream, assert_error,
        manifests::{backend, llm, route, rule, s1, secret},
        request, wait_until,
    },
    frames::{INITIAL_WINDOW_SIZE, Peer},
};

const STREAMED: &str = r#"{"model":"m","messages":[],"stream":true}"#;
const WRITE_TIMEOUT: &str = "TOLLGATE_WRITE_TIMEOUT";
const IN_FLIGHT: &str = "TOLLGATE_MAX_REQUEST_BYTES_IN_FLIGHT";

/// An event of 16 KiB.
fn event() -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(16 * 1024))
}

/// Streams until the other side closes the connection, or for a minute.
fn generate(exchange: &mut Exchange) {
    let (event, end) = (event(), Instant::now() + Duration::from_mins(1));
    exchange.stream("text/event-stream");
    while Instant::now() < end && exchange.try_chunk(&event) {}
    if Instant::now() < end {
        exchange.wait_closed();
    }
}

/// Starts a request and reads nothing, over HTTP/1.1 or HTTP/2. The connection is open as long as the value lives.
fn start_and_stop_reading(gateway: &Gateway, http2: bool) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    if http2 {
        // No byte of a body may be sent to this client.
        let mut peer = Peer::client(stream.try_clone().unwrap(), &[(INITIAL_WINDOW_SIZE, 0)]);
        let length = STREAMED.len().to_string();
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "gateway.test"),
            (":path", CHAT_PATH),
            ("content-type", "application/json"),
            ("content-length", &length),
        ];
        peer.send_request(1, &fields, false);
        peer.write(crate::frames::DATA, crate::frames::END_STREAM, 1, STREAMED.as_bytes());
    } else {
        stream.write_all(&request("POST", CHAT_PATH, &JSON, STREAMED.as_bytes())).unwrap();
    }
    stream
}

/// The error of the request in the access log.
fn error(gateway: &Gateway) -> Value {
    gateway.access(CHAT_PATH)["error"].clone()
}

/// A provider that never ends meets clients that do not read, and the write timeout.
fn let_go(http2: bool) {
    let upstream = Upstream::new(generate);
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).env(WRITE_TIMEOUT, "1").run();
    let stopped: Vec<TcpStream> = (0..4).map(|_| start_and_stop_reading(&gateway, http2)).collect();
    upstream.wait_for_received(4);
    upstream.wait_for_closed(4);
    assert!(error(&gateway).is_string());
    wait_until("the end of all requests", PATIENCE, || {
        let in_flight = gateway.metrics().get("tollgate_requests_in_flight", &[("gateway", "default/gw")]);
        (in_flight == Some(0.0)).then_some(())
    });
    drop(stopped);
}

#[test]
fn a_client_that_stops_reading_is_let_go() {
    let_go(false);
}

#[test]
fn an_http2_client_that_stops_reading_is_let_go() {
    let_go(true);
}

/// The same client, and a deadline of the route.
fn deadline(http2: bool) {
    let upstream = Upstream::new(generate);
    let mut own = rule("/openai", "openai");
    own["timeouts"] = json!({"request": "1s"});
    let manifest = secret("key", KEY)
        + &backend("openai", &json!({"llm": llm("openai", "key", upstream.port, &json!({}))}))
        + &route("openai", &Value::Array(vec![own]));
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    let stopped = start_and_stop_reading(&gateway, http2);
    upstream.wait_for_received(1);
    upstream.wait_for_closed(1);
    assert_eq!(error(&gateway), "upstream_timeout");
    drop(stopped);
}

#[test]
fn the_deadline_of_a_request_holds_without_a_reader() {
    deadline(false);
}

#[test]
fn the_deadline_of_a_request_holds_without_an_http2_reader() {
    deadline(true);
}

/// A provider begins and falls silent.
fn silence(http2: bool) {
    let upstream = Upstream::new(|exchange| {
        exchange.stream("text/event-stream");
        exchange.chunk(event());
        exchange.wait_closed();
    });
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--idle-timeout", "1").run();
    let stopped = start_and_stop_reading(&gateway, http2);
    upstream.wait_for_received(1);
    upstream.wait_for_closed(1);
    assert_eq!(error(&gateway), "upstream_timeout");
    drop(stopped);
}

#[test]
fn a_silent_provider_is_given_up_without_a_reader() {
    silence(false);
}

#[test]
fn a_silent_provider_is_given_up_without_an_http2_reader() {
    silence(true);
}

#[test]
fn a_client_that_reads_slowly_is_not_let_go() {
    // Twice the bound in all, and never near to it without a byte.
    let upstream = Upstream::new(|exchange| {
        let event = event();
        exchange.stream("text/event-stream");
        for _ in 0..2000 {
            exchange.chunk(&event);
        }
        exchange.chunk("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
        exchange.chunk("data: [DONE]\n\n").end();
    });
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).env(WRITE_TIMEOUT, "3").run();
    let mut client = gateway.connect();
    client.send(&request("POST", CHAT_PATH, &JSON, STREAMED.as_bytes()));
    assert_eq!(client.head().status, 200);
    let (begin, mut read) = (Instant::now(), 0);
    while let Some(piece) = client.piece().expect("the stream is whole") {
        read += piece.len();
        // 4 MiB a second.
        let due = Duration::from_micros(u64::try_from(read / 4).unwrap());
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    assert!(read > 2000 * 16 * 1024, "{read}");
}

/// Sends a chat request of this length but for its last bytes.
fn withhold(gateway: &Gateway, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    let bytes = request("POST", CHAT_PATH, &JSON, &chat_of(length));
    // Refused before it is whole: that is what is hoped for.
    let _ = stream.write_all(&bytes[..bytes.len() - 10]);
    stream
}

/// A chat request of this length.
fn chat_of(length: usize) -> Vec<u8> {
    let empty = r#"{"model":"m","messages":[],"user":""}"#;
    empty.replace("\"\"", &format!("\"{}\"", "x".repeat(length - empty.len()))).into_bytes()
}

#[test]
fn withheld_bodies_share_one_budget() {
    const MIB: usize = 1024 * 1024;
    let upstream = Upstream::json("{}");
    let manifest = s1("openai", "/openai", upstream.port);
    let budget = (8 * MIB).to_string();
    let gateway = Start::new().manifest("a.yaml", &manifest).env(IN_FLIGHT, &budget).run();
    let whole = request("POST", CHAT_PATH, &JSON, &chat_of(4 * MIB));
    assert_eq!(gateway.connect().send(&whole).reply().status, 200);
    // One more each time: some of them are refused themselves, because of what is read of the others at that moment.
    let mut withheld = Vec::new();
    let refused = wait_until("a refusal", PATIENCE, || {
        withheld.push(withhold(&gateway, 4 * MIB));
        let mut client = Client::connect(gateway.port);
        client.send(&whole).try_reply().filter(|reply| reply.status != 200)
    });
    assert_error(&refused, DialectId::OpenAi, 503, "beyond the budget");
    assert!(refused.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{:?}", refused.headers);
    // A client that goes gives back what it held.
    drop(withheld);
    wait_until("room for a body", PATIENCE, || {
        let mut client = Client::connect(gateway.port);
        client.send(&whole).try_reply().filter(|reply| reply.status == 200)
    });
}

#[test]
fn the_budget_counts_chunked_bodies_as_they_come() {
    const MIB: usize = 1024 * 1024;
    let upstream = Upstream::json("{}");
    let manifest = s1("openai", "/openai", upstream.port);
    let budget = (4 * MIB).to_string();
    let gateway = Start::new().manifest("a.yaml", &manifest).env(IN_FLIGHT, &budget).run();
    let chunked = |length: usize| {
        let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
        let body = chat_of(length);
        let framed = [format!("{:x}\r\n", body.len()).as_bytes(), &body[..], b"\r\n0\r\n\r\n"].concat();
        request("POST", CHAT_PATH, &headers, &framed)
    };
    assert_eq!(gateway.connect().send(&chunked(MIB)).reply().status, 200);
    // The reply may be lost when the gateway closes while the client still sends.
    let reply = wait_until("a reply", PATIENCE, || Client::connect(gateway.port).send(&chunked(6 * MIB)).try_reply());
    assert_error(&reply, DialectId::OpenAi, 503, "larger than the budget");
    assert_eq!(upstream.received().len(), 1);
}
