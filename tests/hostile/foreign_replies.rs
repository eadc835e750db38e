//! A reply reaches only the request that it answers, whatever a server sends besides.
//!
//! Each request has an id, and servers answer with the ids that they got. A client that sees another id than its own
//! got somebody else's reply.

use std::{
    collections::HashSet,
    io::{Read, Write},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    CHAT_PATH, JSON,
    common::{Exchange, Gate, Gateway, Received, Reply, Upstream, request},
    declared_length, gateway, json_reply, raw_server, read_head, write,
};

const CLIENTS: usize = 16;
const REQUESTS: usize = 30;

/// The ids in a text: `id-` and what follows of digits and dashes.
fn ids(text: &str) -> Vec<String> {
    let ends = |rest: &str| rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
    text.split("id-").skip(1).map(|rest| format!("id-{}", &rest[..ends(rest)])).collect()
}

/// The id of a request, from its path or body.
fn id_of(received: &Received) -> String {
    ids(&(received.line().to_owned() + &received.text())).remove(0)
}

fn chat(id: &str) -> Vec<u8> {
    request("POST", CHAT_PATH, &JSON, format!(r#"{{"model":"m","messages":[],"user":"{id}"}}"#).as_bytes())
}

fn get(id: &str) -> Vec<u8> {
    request("GET", &format!("/plain/{id}"), &[], b"")
}

fn body(id: &str) -> String {
    format!(r#"{{"user":"{id}"}}"#)
}

/// A whole reply for an id, with more headers.
fn reply(status: u16, headers: &str, id: &str) -> String {
    let body = body(id);
    let length = body.len();
    format!("HTTP/1.1 {status} Reason\r\nx-id: {id}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// A reply that answers no request, for whoever reads on.
fn stray(id: &str) -> String {
    reply(200, "content-type: application/json\r\n", &format!("{id}-0"))
}

/// What became of many requests.
#[derive(Default)]
struct Tally {
    own: AtomicUsize,
    foreign: AtomicUsize,
    failed: AtomicUsize,
}

impl Tally {
    /// Looks at the reply to the request with this id.
    fn count(&self, id: &str, reply: Option<&Reply>) {
        let seen = reply.map(|r| ids(&(r.header("x-id").unwrap_or_default().to_owned() + " " + &r.text())));
        let kind = match seen {
            Some(seen) if seen.iter().any(|other| other != id) => &self.foreign,
            Some(seen) if !seen.is_empty() => &self.own,
            _ => &self.failed,
        };
        kind.fetch_add(1, Ordering::Relaxed);
    }

    /// Fails when more than `most` replies were foreign, or when most requests failed.
    fn assert_foreign(&self, most: usize, what: &str) {
        let [own, foreign, failed] = [&self.own, &self.foreign, &self.failed].map(|n| n.load(Ordering::Relaxed));
        assert!(foreign <= most, "{what}: {foreign} foreign, {own} own, {failed} failed");
        assert!(own > failed, "{what}: {own} own, {failed} failed");
    }
}

/// Sends many requests from many clients at a time, each of them made for its id. None may get a foreign reply.
fn busy(gateway: &Gateway, what: &str, make: impl Fn(&str, usize) -> (Vec<u8>, bool) + Sync) {
    tally(gateway, make).assert_foreign(0, what);
}

/// The same, and what became of them. `make` gives a request's bytes, and whether it is a HEAD.
fn tally(gateway: &Gateway, make: impl Fn(&str, usize) -> (Vec<u8>, bool) + Sync) -> Tally {
    let tally = Tally::default();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (tally, make) = (&tally, &make);
            scope.spawn(move || {
                let mut connection = gateway.connect();
                for n in 0..REQUESTS {
                    let id = format!("id-{client}-{n}");
                    let (bytes, to_head) = make(&id, n);
                    connection.send(&bytes);
                    let reply = if to_head { Some(connection.reply_to_head()) } else { connection.try_reply() };
                    tally.count(&id, reply.as_ref());
                    let closes = reply.as_ref().is_none_or(|r| !r.complete || r.header("connection") == Some("close"));
                    if closes {
                        connection = gateway.connect();
                    }
                }
            });
        }
    });
    tally
}

type Script = fn(&mut Exchange);

/// Replies with something behind them, which would answer the next request on the connection.
const FOLLOWED: [(&str, Script); 6] = [
    ("an extra reply in the same write", |x| {
        let id = id_of(x.request());
        // Not always: a shift would go unseen where every client's next request meets the same.
        let extra = if x.nth.is_multiple_of(4) { stray(&id) } else { String::new() };
        x.write(reply(200, "content-type: application/json\r\n", &id) + &extra);
    }),
    ("204 with a length and a body", |x| {
        let id = id_of(x.request());
        let inner = stray(&id);
        x.write(format!("HTTP/1.1 204 None\r\nx-id: {id}\r\ncontent-length: {}\r\n\r\n{inner}", inner.len()));
    }),
    ("304 with a length and a body", |x| {
        let id = id_of(x.request());
        let inner = stray(&id);
        x.write(format!("HTTP/1.1 304 Same\r\nx-id: {id}\r\ncontent-length: {}\r\n\r\n{inner}", inner.len()));
    }),
    ("204 with chunks", |x| {
        let id = id_of(x.request());
        let inner = stray(&id);
        let head = format!("HTTP/1.1 204 None\r\nx-id: {id}\r\ntransfer-encoding: chunked\r\n\r\n");
        x.write(format!("{head}{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()));
    }),
    ("bytes after the last chunk", |x| {
        let id = id_of(x.request());
        let body = body(&id);
        let head = format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\ntransfer-encoding: chunked\r\n\r\n");
        x.write(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n{}", body.len(), stray(&id)));
    }),
    ("chunks and a length", |x| {
        let id = id_of(x.request());
        let body = body(&id);
        let head = format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\ncontent-length: 9999\r\ntransfer-encoding: chunked\r\n");
        x.write(format!("{head}\r\n{:x}\r\n{body}\r\n0\r\n\r\n{}", body.len(), stray(&id)));
    }),
];

#[test]
fn nothing_behind_a_reply_reaches_the_next_request_to_a_provider() {
    for (what, script) in FOLLOWED {
        let upstream = Upstream::new(script);
        busy(&gateway(upstream.port), what, |id, _| (chat(id), false));
    }
}

#[test]
fn nothing_behind_a_reply_reaches_the_next_request_to_a_plain_server() {
    for (what, script) in FOLLOWED {
        let upstream = Upstream::new(script);
        busy(&gateway(upstream.port), what, |id, _| (get(id), false));
    }
}

#[test]
fn one_unasked_reply_does_not_shift_all_others() {
    // It comes a moment after the right one, when a busy connection would be in use again, and each connection sends
    // one. One that comes after its connection was taken again can't be told from the right reply, so a machine that
    // is slow at the wrong moment may let a connection shift; without a rest between requests most of them do.
    for (what, path) in [("a provider", CHAT_PATH), ("a plain server", "/plain")] {
        let seen = Mutex::new(HashSet::new());
        let upstream = Upstream::new(move |x| {
            let id = id_of(x.request());
            thread::sleep(Duration::from_millis(20));
            x.write(reply(200, "content-type: application/json\r\n", &id));
            if seen.lock().unwrap().insert(x.request().connection) {
                thread::sleep(Duration::from_millis(1));
                x.write(stray(&id));
            }
        });
        let (gateway, tally) = (gateway(upstream.port), Tally::default());
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (gateway, tally) = (&gateway, &tally);
                scope.spawn(move || {
                    // All at once, so that each follows the one before it without a pause.
                    let ids: Vec<String> = (0..REQUESTS).map(|n| format!("id-{client}-{n}")).collect();
                    let make = if path == CHAT_PATH { chat } else { get };
                    let mut connection = gateway.connect();
                    connection.send(&ids.iter().flat_map(|id| make(id)).collect::<Vec<u8>>());
                    for id in &ids {
                        tally.count(id, connection.try_reply().as_ref());
                    }
                });
            }
        });
        tally.assert_foreign(CLIENTS * REQUESTS / 5, what);
    }
}

#[test]
fn a_body_that_follows_the_head_alone_is_no_reply() {
    let upstream = Upstream::new(|x| {
        let id = id_of(x.request());
        let inner = stray(&id);
        if x.request().line().starts_with("HEAD ") {
            x.write(format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\ncontent-length: {}\r\n\r\n{inner}", inner.len()));
        } else {
            x.write(reply(200, "", &id));
        }
    });
    busy(&gateway(upstream.port), "HEAD", |id, n| {
        let method = if n.is_multiple_of(2) { "HEAD" } else { "GET" };
        (request(method, &format!("/plain/{id}"), &[], b""), n.is_multiple_of(2))
    });
}

#[test]
fn a_body_that_the_server_takes_for_a_request_is_answered_to_nobody_else() {
    // Such servers read the body of a GET as the next request on the connection.
    for method in ["GET", "DELETE", "OPTIONS"] {
        let port = raw_server(|_, mut stream| {
            while let Some(head) = read_head(&mut stream) {
                write(&mut stream, reply(200, "", &ids(&head).remove(0)));
            }
        });
        busy(&gateway(port), method, |id, _| {
            let inner = format!("GET /plain/{id}-0 HTTP/1.1\r\nhost: a\r\n\r\n");
            (request(method, &format!("/plain/{id}"), &[], inner.as_bytes()), false)
        });
    }
}

#[test]
fn an_unasked_reply_on_an_idle_connection_is_thrown_away_with_it() {
    for path_to in [chat as fn(&str) -> Vec<u8>, get] {
        let sent = Gate::default();
        let step = sent.clone();
        let upstream = Upstream::new(move |x| {
            let id = id_of(x.request());
            x.write(reply(200, "content-type: application/json\r\n", &id));
            thread::sleep(Duration::from_millis(100));
            x.write(stray(&id));
            step.open();
        });
        let gateway = gateway(upstream.port);
        for n in 0..5 {
            let id = format!("id-{n}");
            let reply = gateway.connect().send(&path_to(&id)).reply();
            assert_eq!((reply.status, ids(&reply.text())), (200, vec![id]));
            sent.wait();
        }
    }
}

/// A chat request that the buffers of a socket do not hold.
fn large_chat(id: &str) -> Vec<u8> {
    let text = "x".repeat(6 * 1024 * 1024);
    let body = format!(r#"{{"model":"m","user":"{id}","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    request("POST", CHAT_PATH, &JSON, body.as_bytes())
}

/// Reads a request's body and throws it away. Whether it came to its end.
fn discard(stream: &mut std::net::TcpStream, head: &str) -> bool {
    let length = u64::try_from(declared_length(head)).unwrap();
    std::io::copy(&mut stream.take(length), &mut std::io::sink()).is_ok_and(|copied| copied == length)
}

#[test]
fn a_connection_whose_reply_overtook_the_request_is_not_used_again() {
    // The reply is there before the body is read; after the body comes another one.
    let requests = AtomicUsize::new(0);
    let port = raw_server(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let id = format!("id-{}", requests.fetch_add(1, Ordering::SeqCst));
            write(&mut stream, json_reply(&body(&id)));
            let is_large = declared_length(&head) > 1_000_000;
            if is_large {
                thread::sleep(Duration::from_millis(100));
            }
            if !discard(&mut stream, &head) {
                return;
            }
            if is_large {
                write(&mut stream, json_reply(&body("id-0-0-0")));
            }
        }
    });
    let gateway = gateway(port);
    for n in 0..2 {
        // Forwarded or refused: both are right, as long as it is the reply to this request.
        let early = gateway.connect().send(&large_chat("id-9")).reply();
        let expected = format!("id-{}", 2 * n);
        assert!(early.status == 502 || ids(&early.text()) == [expected], "{}: {}", early.status, early.text());
        thread::sleep(Duration::from_millis(300));
        let next = gateway.connect().send(&chat("id-9")).reply();
        assert_eq!((next.status, ids(&next.text())), (200, vec![format!("id-{}", 2 * n + 1)]));
    }
}

#[test]
fn a_server_that_speaks_first_answers_nothing() {
    // A whole reply is on its way before a byte of the request is read.
    let port = raw_server(|_, mut stream| {
        write(&mut stream, json_reply(&body("id-0-0-0")));
        thread::sleep(Duration::from_millis(200));
        while let Some(head) = read_head(&mut stream) {
            if !discard(&mut stream, &head) {
                return;
            }
            write(&mut stream, json_reply(&body("id-9")));
        }
    });
    let gateway = gateway(port);
    for _ in 0..2 {
        let reply = gateway.connect().send(&large_chat("id-9")).reply();
        assert_eq!((reply.status, ids(&reply.text()).contains(&"id-0-0-0".into())), (502, false), "{}", reply.text());
    }
}

#[test]
fn connections_of_doubtful_state_are_not_kept() {
    let with_body = |method: &str, path: &str| request(method, path, &[], b"body");
    let none = |method: &str, path: &str| request(method, path, &[], b"");
    let whole: Script = |x| _ = x.reply(200, &[], b"{}");
    let cases: Vec<(&str, Vec<u8>, Script)> = vec![
        ("HEAD", none("HEAD", "/plain/id-0"), |x| _ = x.head(200, &[("content-length", "2")])),
        ("GET with a body", with_body("GET", "/plain/id-0"), whole),
        ("DELETE with a body", with_body("DELETE", "/plain/id-0"), whole),
        ("OPTIONS with a body", with_body("OPTIONS", "/plain/id-0"), whole),
        ("204 with a length", none("GET", "/plain/id-0"), |x| _ = x.head(204, &[("content-length", "2")])),
        ("304 with a length", none("GET", "/plain/id-0"), |x| _ = x.head(304, &[("content-length", "2")])),
        ("chunks and a length", none("GET", "/plain/id-0"), |x| {
            x.head(200, &[("content-length", "2"), ("transfer-encoding", "chunked")]).chunk("{}").end();
        }),
        ("chunks and a length from a provider", chat("id-0"), |x| {
            x.head(200, &[("content-length", "2"), ("transfer-encoding", "chunked")]).chunk("{}").end();
        }),
        ("204 with a length from a provider", chat("id-0"), |x| _ = x.head(204, &[("content-length", "2")])),
        ("bytes left over", none("GET", "/plain/id-0"), |x| {
            x.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\r\n");
        }),
        ("bytes left over from a provider", chat("id-0"), |x| {
            x.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}\r\n");
        }),
    ];
    let mut faults = Vec::new();
    for (what, bytes, script) in cases {
        let upstream = Upstream::new(script);
        let gateway = gateway(upstream.port);
        for _ in 0..3 {
            let mut client = gateway.connect();
            client.send(&bytes);
            // Whatever it is: where the next request goes is what counts.
            let _ = client.head();
            thread::sleep(Duration::from_millis(50));
        }
        if upstream.connections() != upstream.received().len() {
            faults.push(what);
        }
    }
    assert!(faults.is_empty(), "kept after: {faults:?}");
}

#[test]
fn a_connection_that_belongs_to_a_user_is_not_shared() {
    // NTLM and Negotiate authenticate a connection, and not a request (RFC 4559, 6).
    for scheme in ["NTLM", "Negotiate", "negotiate", "Basic realm=\"a, b\", NTLM"] {
        let port = raw_server(move |_, mut stream| {
            let mut user = "nobody";
            while let Some(head) = read_head(&mut stream) {
                if head.to_ascii_lowercase().contains("\r\nauthorization:") {
                    user = "alice";
                }
                let reply = if user == "nobody" {
                    format!("HTTP/1.1 401 Who\r\nwww-authenticate: {scheme}\r\ncontent-length: 6\r\n\r\n{user}")
                } else {
                    format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{user}")
                };
                let _ = stream.write_all(reply.as_bytes());
            }
        });
        let gateway = gateway(port);
        for _ in 0..3 {
            let token = scheme.rsplit(' ').next().unwrap().to_owned() + " TlRMTVNTUAAD";
            let mut alice = gateway.connect();
            assert_eq!(alice.send(&request("GET", "/plain", &[], b"")).reply().status, 401, "{scheme}");
            let known = alice.send(&request("GET", "/plain", &[("authorization", &token)], b"")).reply();
            assert_eq!((known.status, known.text().as_str()), (200, "alice"), "{scheme}");
            let other = gateway.get("/plain");
            assert_eq!((other.status, other.text().as_str()), (401, "nobody"), "{scheme}");
        }
    }
}
