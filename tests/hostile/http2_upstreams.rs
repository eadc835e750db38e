//! Servers that speak HTTP/2 and refuse, reset or close: what they did not process is sent again, once, and what they
//! may have processed is not.
//!
//! RFC 9113, 8.7: a stream that was reset with `REFUSED_STREAM`, and one above the last identifier of GOAWAY, was not
//! processed, whatever its method.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use serde_json::json;

use crate::{
    CHAT, JSON,
    common::{
        Gateway, KEY, Start,
        manifests::{llm, s1_of, secret},
        request,
    },
    frames::{GOAWAY, HEADERS, INTERNAL_ERROR, NO_ERROR, Peer, REFUSED_STREAM, RST_STREAM},
    plain, raw_server,
};

/// What a server does with a stream. The number counts the streams of all connections from 0. False ends the
/// connection.
type Script = fn(&mut dyn Wire, u32, usize) -> bool;

/// What scripts do, over TLS and without.
trait Wire {
    fn respond(&mut self, stream: u32);
    fn reset(&mut self, stream: u32, error: u32);
    fn goaway(&mut self, last: u32);
    fn wait_closed(&mut self);
}

impl<S: Read + Write> Wire for Peer<S> {
    fn respond(&mut self, stream: u32) {
        Peer::respond(self, stream, "{\"ok\":true}");
    }

    fn reset(&mut self, stream: u32, error: u32) {
        Peer::reset(self, stream, error);
    }

    fn goaway(&mut self, last: u32) {
        Peer::goaway(self, last, NO_ERROR);
    }

    fn wait_closed(&mut self) {
        while self.read().is_some() {}
    }
}

/// What becomes of a request: the script, how many streams the server sees, and the client's status.
const CASES: [(&str, Script, usize, u16); 8] = [
    (
        "refused, then served",
        |w, stream, nth| {
            if nth == 0 {
                w.reset(stream, REFUSED_STREAM);
            } else {
                w.respond(stream);
            }
            true
        },
        2,
        200,
    ),
    (
        "always refused",
        |w, stream, _| {
            w.reset(stream, REFUSED_STREAM);
            true
        },
        2,
        502,
    ),
    (
        "GOAWAY below the stream, then a close",
        |w, stream, nth| {
            if nth == 0 {
                w.goaway(0);
            } else {
                w.respond(stream);
            }
            nth > 0
        },
        2,
        200,
    ),
    (
        "GOAWAY below the stream, and the connection stays open",
        |w, stream, nth| {
            if nth == 0 {
                w.goaway(0);
                w.wait_closed();
            } else {
                w.respond(stream);
            }
            nth > 0
        },
        2,
        200,
    ),
    (
        "GOAWAY at the stream, then a close",
        |w, stream, _| {
            w.goaway(stream);
            false
        },
        1,
        502,
    ),
    (
        "reset for another reason",
        |w, stream, _| {
            w.reset(stream, INTERNAL_ERROR);
            true
        },
        1,
        502,
    ),
    ("a close without a word", |_, _, _| false, 1, 502),
    (
        "a close after a while",
        |_, _, _| {
            thread::sleep(Duration::from_millis(400));
            false
        },
        1,
        502,
    ),
];

/// Serves one connection with a script. `tcp` is what `io` is made of.
fn serve<S: Read + Write>(io: S, tcp: &TcpStream, script: Script, streams: &AtomicUsize) {
    let Some(mut peer) = Peer::server(io) else { return };
    while let Some(stream) = peer.request() {
        if !script(&mut peer, stream, streams.fetch_add(1, Ordering::SeqCst)) {
            // Not a reset, which would overtake what was written.
            let _ = tcp.shutdown(Shutdown::Write);
            peer.wait_closed();
            return;
        }
    }
}

/// A plain server that speaks HTTP/2, and how many streams it saw.
fn plain_server(script: Script) -> (Gateway, Arc<AtomicUsize>) {
    let streams = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&streams);
    let port = raw_server(move |_, stream| serve(&stream, &stream, script, &count));
    (Start::new().manifest("a.yaml", &plain("plain", port, true)).run(), streams)
}

/// A gateway before a provider, and how many streams and connections the provider saw.
struct Provider {
    gateway: Gateway,
    streams: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

/// How long a provider takes to begin its handshake.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// A provider with TLS and HTTP/2. Only port 443 means TLS today, so that it gets an address of its own; `None` where
/// this user may not listen there.
fn provider(script: Script) -> Option<Provider> {
    static ADDRESSES: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_be_bytes();
    let host = format!("127.{}.{}.{}", process[2], process[3], ADDRESSES.fetch_add(1, Ordering::SeqCst));
    let Ok(listener) = TcpListener::bind((host.as_str(), 443)) else {
        eprintln!("not tested: can't listen on {host}:443");
        return None;
    };
    let made = rcgen::generate_simple_self_signed(["provider.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, streams) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
    let (count, connections) = (Arc::clone(&streams), Arc::new(AtomicUsize::new(0)));
    let opened = Arc::clone(&connections);
    thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let (config, count) = (Arc::clone(&config), Arc::clone(&count));
            opened.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                // The handshake takes its time, as it does over a real network.
                thread::sleep(HANDSHAKE);
                let connection = ServerConnection::new(config).unwrap();
                let io = StreamOwned::new(connection, tcp.try_clone().unwrap());
                serve(io, &tcp, script, &count);
            });
        }
    });
    let mut entry = llm("openai", "key", 443, &json!({}));
    entry["hostOverride"] = json!({"host": host, "port": 443, "insecureSkipVerify": true});
    let manifest = secret("key", KEY) + &s1_of("openai", "/openai", &entry);
    Some(Provider { gateway: Start::new().manifest("a.yaml", &manifest).run(), streams, connections })
}

#[test]
fn only_unprocessed_streams_of_plain_servers_are_sent_again() {
    let mut faults = Vec::new();
    for method in ["GET", "DELETE"] {
        for (what, script, expected, status) in CASES {
            let (gateway, streams) = plain_server(script);
            let reply = gateway.connect().send(&request(method, "/plain/a", &[], b"")).reply();
            let seen = streams.load(Ordering::SeqCst);
            if (seen, reply.status) != (expected, status) {
                faults.push(format!("{method}, {what}: {} after {seen} streams", reply.status));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn only_unprocessed_streams_of_providers_are_sent_again() {
    let mut faults = Vec::new();
    for (what, script, expected, status) in CASES {
        let Some(Provider { gateway, streams, .. }) = provider(script) else { return };
        let reply = gateway.post("/openai/v1/chat/completions", CHAT);
        let seen = streams.load(Ordering::SeqCst);
        if (seen, reply.status) != (expected, status) {
            faults.push(format!("{what}: {} after {seen} streams", reply.status));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_deploy_of_the_provider_fails_no_request() {
    // Each connection serves one stream, and says only when the second is there that it goes away.
    let script: Script = |wire, stream, _| {
        if stream == 1 {
            wire.respond(stream);
            return true;
        }
        wire.goaway(1);
        false
    };
    let provider = provider(script).map(|provider| (provider.gateway, provider.streams));
    let servers = [("plain", Some(plain_server(script))), ("provider", provider)];
    let mut faults = Vec::new();
    for (what, server) in servers {
        let Some((gateway, streams)) = server else { continue };
        let bytes = match what {
            "plain" => request("GET", "/plain/a", &[], b""),
            _ => request("POST", "/openai/v1/chat/completions", &JSON, CHAT.as_bytes()),
        };
        let statuses: Vec<u16> = (0..6).map(|_| gateway.connect().send(&bytes).reply().status).collect();
        if statuses != [200; 6] {
            faults.push(format!("{what}: {statuses:?} after {} streams", streams.load(Ordering::SeqCst)));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn simultaneous_requests_to_a_cold_provider_share_one_connection() {
    const COUNT: usize = 16;
    let script: Script = |wire, stream, _| {
        wire.respond(stream);
        true
    };
    let Some(Provider { gateway, streams, connections }) = provider(script) else { return };
    let together = Barrier::new(COUNT);
    thread::scope(|scope| {
        for _ in 0..COUNT {
            scope.spawn(|| {
                together.wait();
                assert_eq!(gateway.post("/openai/v1/chat/completions", CHAT).status, 200);
            });
        }
    });
    assert_eq!((streams.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (COUNT, 1));
}

#[test]
fn a_reply_that_breaks_the_protocol_is_a_502() {
    // A head without a status, and a status that is no number.
    for block in [&crate::frames::field("x", "a")[..], &crate::frames::field(":status", "2x0")] {
        let block = block.to_vec();
        let port = raw_server(move |_, stream| {
            let Some(mut peer) = Peer::server(stream) else { return };
            while let Some(stream) = peer.request() {
                peer.write(HEADERS, crate::frames::END_HEADERS | crate::frames::END_STREAM, stream, &block);
                let _ = peer.wait_for(|frame| matches!(frame.kind, RST_STREAM | GOAWAY));
            }
        });
        let gateway = Start::new().manifest("a.yaml", &plain("plain", port, true)).run();
        assert_eq!(gateway.get("/plain/a").status, 502);
    }
}
