//! HTTP/2 clients that open too much or never finish.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use crate::{
    CHAT, CHAT_PATH,
    common::{Gateway, PATIENCE, Start, Upstream, manifests::s1},
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, MAX_CONCURRENT_STREAMS, Peer,
        REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, field,
    },
};

/// A gateway whose clients must send a head, and may idle, for a second.
fn gateway(upstream: &Upstream) -> Gateway {
    let manifest = s1("openai", "/openai", upstream.port);
    Start::new().manifest("a.yaml", &manifest).flag("--header-timeout", "1").run()
}

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn client(gateway: &Gateway) -> Peer<TcpStream> {
    Peer::client(connect(gateway), &[])
}

/// A chat request's fields.
fn chat() -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gateway.test"),
        (":path", CHAT_PATH),
        ("content-type", "application/json"),
    ]
}

/// Whether the gateway ends the connection, with what it sends until then. Fails the test after [`PATIENCE`].
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("still open after {PATIENCE:?}")
            }
            Err(_) => return all,
        }
    }
}

#[test]
fn a_request_has_at_most_a_hundred_headers() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream);
    for (count, served) in [(60, true), (101, false), (400, false), (3000, false)] {
        let mut peer = client(&gateway);
        let before = upstream.received().len();
        let names: Vec<String> = (0..count).map(|n| format!("x-stainless-{n}")).collect();
        let mut fields = chat();
        fields.extend(names.iter().map(|name| (name.as_str(), "1")));
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let kind = if n == 0 { HEADERS } else { CONTINUATION };
            peer.write(kind, if n + 1 == pieces.len() { END_HEADERS } else { 0 }, 1, piece);
        }
        peer.write(DATA, END_STREAM, 1, CHAT.as_bytes());
        let is_answer = |f: &Frame| f.stream == 1 && matches!(f.kind, HEADERS | RST_STREAM) || f.kind == GOAWAY;
        let answer = peer.wait_for(is_answer).map(|frame| (frame.kind, frame.payload));
        let ok = answer.as_ref().is_some_and(|(kind, payload)| *kind == HEADERS && payload[0] == 0x88);
        assert_eq!((ok, upstream.received().len() - before), (served, usize::from(served)), "{count} headers");
    }
}

#[test]
fn a_connection_has_at_most_a_hundred_streams() {
    let upstream = Upstream::new(crate::common::Exchange::wait_closed);
    let gateway = gateway(&upstream);
    let mut peer = client(&gateway);
    let settings = peer.wait_for(|frame| frame.kind == SETTINGS && frame.flags == 0).expect("settings").settings();
    let limit = settings.iter().find(|(id, _)| *id == MAX_CONCURRENT_STREAMS).map(|(_, value)| *value);
    assert!(limit.is_some_and(|limit| limit <= 100), "{settings:?}");
    // And it holds against a client that does not care.
    for n in 0..150 {
        peer.send_request(2 * n + 1, &chat(), false);
        peer.write(DATA, END_STREAM, 2 * n + 1, CHAT.as_bytes());
    }
    let refused = peer.wait_for(|frame| frame.kind == RST_STREAM || frame.kind == GOAWAY).expect("a refusal");
    if refused.kind == RST_STREAM {
        assert_eq!(refused.payload, REFUSED_STREAM.to_be_bytes());
    }
    assert!(upstream.received().len() <= 100, "{} are under way", upstream.received().len());
}

#[test]
fn a_half_sent_preface_times_out() {
    let gateway = gateway(&Upstream::json("{}"));
    for part in ["P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut stream = connect(&gateway);
        stream.write_all(part.as_bytes()).unwrap();
        rest(&mut stream);
    }
}

#[test]
fn a_connection_without_a_request_times_out() {
    let gateway = gateway(&Upstream::json("{}"));
    let stream = connect(&gateway);
    let mut peer = Peer::client(stream, &[]);
    assert!(peer.wait_for(|frame| frame.kind == GOAWAY).is_some(), "closed without GOAWAY, or still open");
}

#[test]
fn an_idle_connection_ends_with_goaway() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream);
    let mut peer = client(&gateway);
    peer.send_request(1, &chat(), false);
    peer.write(DATA, END_STREAM, 1, CHAT.as_bytes());
    assert!(peer.wait_for(|frame| frame.kind == HEADERS && frame.stream == 1).is_some());
    assert!(peer.wait_for(|frame| frame.kind == GOAWAY).is_some(), "closed without GOAWAY, or still open");
    assert!(peer.wait_for(|_| false).is_none());
}

#[test]
fn a_half_sent_head_times_out() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(&upstream);
    // Nothing, or one more field at a time, after a head without its end.
    for drips in [false, true] {
        let stream = connect(&gateway);
        let mut peer = Peer::client(stream.try_clone().unwrap(), &[]);
        let block: Vec<u8> = chat().iter().flat_map(|(name, value)| field(name, value)).collect();
        peer.write(HEADERS, 0, 1, &block);
        let dripping = drips.then(|| {
            thread::spawn(move || {
                for n in 0..400 {
                    peer.write(CONTINUATION, 0, 1, &field("x-stainless-a", &n.to_string()));
                    thread::sleep(Duration::from_millis(100));
                }
            })
        });
        let mut stream = stream;
        let begin = std::time::Instant::now();
        rest(&mut stream);
        assert!(begin.elapsed() < PATIENCE, "drips: {drips}");
        drop(dripping);
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn a_head_that_never_ends_is_bounded_in_bytes() {
    let gateway = gateway(&Upstream::json("{}"));
    let mut stream = connect(&gateway);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut peer = Peer::client(stream.try_clone().unwrap(), &[]);
    let block: Vec<u8> = chat().iter().flat_map(|(name, value)| field(name, value)).collect();
    peer.write(HEADERS, 0, 1, &block);
    let value = "x".repeat(16_000);
    // 64 MiB, if it were taken.
    for _ in 0..4096 {
        peer.write(CONTINUATION, 0, 1, &field("x-stainless-a", &value));
    }
    rest(&mut stream);
}

#[test]
fn a_body_that_is_withheld_times_out() {
    let upstream = Upstream::json("{}");
    let manifest = s1("openai", "/openai", upstream.port);
    let gateway = Start::new().manifest("a.yaml", &manifest).flag("--body-timeout", "1").run();
    let mut peer = client(&gateway);
    peer.send_request(1, &chat(), false);
    peer.write(DATA, 0, 1, &CHAT.as_bytes()[..5]);
    let is_end = |f: &Frame| f.stream == 1 && matches!(f.kind, HEADERS | RST_STREAM);
    let answer = peer.wait_for(is_end).expect("an answer");
    assert!(answer.kind == RST_STREAM || answer.payload[0] != 0x88, "{answer:?}");
    // The connection serves on.
    peer.write(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    peer.send_request(3, &chat(), false);
    peer.write(DATA, END_STREAM, 3, CHAT.as_bytes());
    let next = peer.wait_for(|f| f.stream == 3 && f.kind == HEADERS).expect("a reply");
    assert_eq!(next.payload[0], 0x88);
}
