//! Hostile servers and hostile clients: what Tollgate promises about money, other people's replies, keys and bounds,
//! tested from outside the process and written from the promises alone.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod common;

#[path = "hostile/client_framing.rs"]
mod client_framing;
#[path = "hostile/failover.rs"]
mod failover;
#[path = "hostile/foreign_replies.rs"]
mod foreign_replies;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/http2_clients.rs"]
mod http2_clients;
#[path = "hostile/http2_upstreams.rs"]
mod http2_upstreams;
#[path = "hostile/keys_back.rs"]
mod keys_back;
#[path = "hostile/keys_out.rs"]
mod keys_out;
#[path = "hostile/media.rs"]
mod media;
#[path = "hostile/resending.rs"]
mod resending;
#[path = "hostile/slow_clients.rs"]
mod slow_clients;
#[path = "hostile/truth.rs"]
mod truth;
#[path = "hostile/upstream_framing.rs"]
mod upstream_framing;
#[path = "hostile/websocket.rs"]
mod websocket;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use common::{
    Gateway, Start,
    manifests::{route, rule, s1, yaml},
};
use serde_json::json;

/// A chat request that every made-up provider answers.
const CHAT: &str = r#"{"model":"m","messages":[]}"#;
/// Where [`gateway`] takes chat requests.
const CHAT_PATH: &str = "/openai/v1/chat/completions";
/// The type of most replies.
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Backend `default/NAME` for a plain server at this port of this machine, and its route below `/NAME`.
fn plain(name: &str, port: u16, http2: bool) -> String {
    let mut servers = json!({"hosts": [{"host": "127.0.0.1", "port": port}]});
    if http2 {
        servers["appProtocol"] = json!("http2");
    }
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"type": "Static", "static": servers},
    })) + &route(name, &json!([rule(&format!("/{name}"), name)]))
}

/// One server as a provider below `/openai` and as a plain server below `/plain`.
fn gateway(port: u16) -> Gateway {
    let manifest = s1("openai", "/openai", port) + &plain("plain", port, false);
    Start::new().manifest("a.yaml", &manifest).run()
}

/// A server without any HTTP of its own: `script` gets each connection and its number, on a thread. It listens until
/// the tests end.
fn raw_server(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> u16 {
    let (listener, port) = common::unpromised(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    });
    // What a script does not read stays with the gateway, and not in this machine's buffers.
    socket2::SockRef::from(&listener).set_recv_buffer_size(64 * 1024).unwrap();
    let script = Arc::new(script);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let script = Arc::clone(&script);
            thread::spawn(move || script(number, stream));
        }
    });
    port
}

/// Reads a head of HTTP/1.1 byte by byte, so that nothing behind it is read; `None` when the connection ends first.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// The declared length of a head's body; 0 without one.
fn declared_length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().map_or(0, |(_, value)| value.trim().parse().unwrap())
}

/// A whole reply in JSON.
fn json_reply(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Writes what the other side may no longer want.
fn write(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let _ = stream.write_all(bytes.as_ref());
}
