//! Made-up providers, each with one fault. They share no code with the gateway.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use serde_json::{Value, json};

use crate::{
    common::{
        Exchange, Upstream,
        manifests::llm,
        tls::{Authority, tls_front},
        unpromised,
    },
    frames::{
        DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, NO_ERROR, Peer, REFUSED_STREAM,
        SETTINGS, WINDOW_UPDATE, field,
    },
};

pub const SSE: &str = "text/event-stream";
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// What a chat provider sends before any content.
const ROLE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":\
    [{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
/// The first content.
const CONTENT: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
    \"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const END: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":\
    [{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const WHOLE: &str = "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":\
    [{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";
const PAGE: &str = "<html><body>Bad Gateway</body></html>\n";

/// Whether a request is for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Buffered,
    Streaming,
}

/// A provider of a Backend, and what it got.
pub struct Provider {
    /// `openai` or `gemini`.
    kind: &'static str,
    host: &'static str,
    port: u16,
    tls: Option<Value>,
    got: Got,
}

enum Got {
    /// It gets no request.
    Nothing,
    Http(Upstream),
    Count(Arc<AtomicUsize>),
}

impl Provider {
    fn new(port: u16, got: Got) -> Self {
        Self { kind: "openai", host: "127.0.0.1", port, tls: None, got }
    }

    fn http(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let upstream = Upstream::new(script);
        Self::new(upstream.port, Got::Http(upstream))
    }

    /// The entry `name` of a Backend.
    pub fn entry(&self, name: &str) -> Value {
        let mut entry = llm(self.kind, "key", self.port, &json!({}));
        entry["name"] = json!(name);
        entry["hostOverride"]["host"] = json!(self.host);
        if let Some(tls) = &self.tls {
            entry["hostOverride"]["tls"] = tls.clone();
        }
        entry
    }

    /// Whether it is Gemini's API.
    pub fn is_gemini(&self) -> bool {
        self.kind == "gemini"
    }

    /// How many requests it got, by their heads.
    pub fn requests(&self) -> usize {
        match &self.got {
            Got::Nothing => 0,
            Got::Http(upstream) => upstream.received().len(),
            Got::Count(count) => count.load(Ordering::SeqCst),
        }
    }

    /// The lengths of the bodies that it got.
    pub fn lengths(&self) -> Vec<usize> {
        let Got::Http(upstream) = &self.got else { return Vec::new() };
        upstream.received().iter().map(|request| request.body.len()).collect()
    }
}

fn begin(mode: Mode, exchange: &mut Exchange) {
    match mode {
        Mode::Streaming => _ = exchange.stream(SSE),
        Mode::Buffered => {
            let length = WHOLE.len().to_string();
            exchange.head(200, &[JSON, ("content-length", &length)]);
        }
    }
}

/// Answers.
pub fn healthy(mode: Mode) -> Provider {
    Provider::http(move |exchange| answer(mode, exchange))
}

fn answer(mode: Mode, exchange: &mut Exchange) {
    begin(mode, exchange);
    match mode {
        Mode::Streaming => _ = exchange.chunk(ROLE).chunk(CONTENT).chunk(END).end(),
        Mode::Buffered => _ = exchange.write(WHOLE),
    }
}

/// Its name has no address.
pub fn without_address(_: Mode) -> Provider {
    Provider { host: "no-such-host.invalid", ..Provider::new(443, Got::Nothing) }
}

/// Nothing listens.
pub fn refused(_: Mode) -> Provider {
    Provider::new(Upstream::refusing(), Got::Nothing)
}

/// Its certificate is from an authority that nothing trusts.
pub fn untrusted(_: Mode) -> Provider {
    let upstream = Upstream::json(WHOLE);
    let (port, _) = tls_front(&Authority::new(), "provider.test", upstream.port);
    Provider { tls: Some(json!({"sni": "provider.test"})), ..Provider::new(port, Got::Http(upstream)) }
}

/// Accepts connections, and neither reads nor writes.
fn silent() -> Provider {
    // They stay open, unread, until the tests end.
    let port = listen(std::mem::forget);
    Provider::new(port, Got::Nothing)
}

/// Never begins its side of TLS.
pub fn without_handshake(_: Mode) -> Provider {
    Provider { tls: Some(json!({"insecureSkipVerify": true})), ..silent() }
}

/// Never reads the request.
pub fn unread(_: Mode) -> Provider {
    silent()
}

/// Reads the request, and sends no head.
pub fn without_head(_: Mode) -> Provider {
    Provider::http(Exchange::wait_closed)
}

/// Reads the request, and resets the connection.
pub fn reset(_: Mode) -> Provider {
    Provider::http(Exchange::reset)
}

/// Announces an answer, and falls silent.
pub fn silent_before_content(mode: Mode) -> Provider {
    Provider::http(move |exchange| {
        begin(mode, exchange);
        match mode {
            Mode::Streaming => exchange.chunk(ROLE).wait_closed(),
            Mode::Buffered => exchange.write(&WHOLE[..20]).wait_closed(),
        }
    })
}

/// Falls silent after the first content.
pub fn stalled(mode: Mode) -> Provider {
    Provider::http(move |exchange| {
        begin(mode, exchange);
        exchange.chunk(ROLE).chunk(CONTENT).wait_closed();
    })
}

/// Closes the connection before any content.
pub fn cut_before_content(mode: Mode) -> Provider {
    Provider::http(move |exchange| {
        begin(mode, exchange);
        match mode {
            Mode::Streaming => exchange.chunk(ROLE).close(),
            Mode::Buffered => exchange.write(&WHOLE[..20]).close(),
        }
    })
}

/// Closes the connection after the first content.
pub fn cut(mode: Mode) -> Provider {
    Provider::http(move |exchange| {
        begin(mode, exchange);
        exchange.chunk(ROLE).chunk(CONTENT).close();
    })
}

/// Answers with an error of OpenAI's form.
pub fn status(code: u16, headers: &'static [(&'static str, &'static str)], kind: &str, word: &str) -> Provider {
    let body = json!({"error": {"message": "from the first", "type": kind, "param": null, "code": word}}).to_string();
    let headers = [&[JSON][..], headers].concat();
    Provider::http(move |exchange| _ = exchange.reply(code, &headers, body.as_bytes()))
}

/// Gemini's error for a limit, with the wait in its body.
pub fn retry_info(_: Mode) -> Provider {
    let body = json!({"error": {"code": 429, "message": "from the first", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"},
    ]}});
    let body = body.to_string();
    let provider = Provider::http(move |exchange| _ = exchange.reply(429, &[JSON], body.as_bytes()));
    Provider { kind: "gemini", ..provider }
}

/// Answers 503 before it has read the body, and closes with the rest unread.
pub fn early(_: Mode) -> Provider {
    let count = Arc::new(AtomicUsize::new(0));
    let got = Arc::clone(&count);
    let port = listen(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        if !head.is_empty() {
            got.fetch_add(1, Ordering::SeqCst);
            let body = r#"{"error":{"message":"from the first","type":"server_error","param":null,"code":null}}"#;
            let length = body.len();
            let reply = format!(
                "HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\
                \r\n\r\n{body}"
            );
            // In one piece: what waits for an acknowledgement of another piece is lost when the socket is closed.
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    Provider::new(port, Got::Count(count))
}

/// Sends a page in place of the answer.
pub fn garbage(mode: Mode) -> Provider {
    Provider::http(move |exchange| match mode {
        Mode::Streaming => _ = exchange.stream(SSE).chunk(PAGE).end(),
        Mode::Buffered => _ = exchange.reply(200, &[JSON], PAGE.as_bytes()),
    })
}

/// Sends half of its JSON as if it were all.
pub fn truncated(mode: Mode) -> Provider {
    Provider::http(move |exchange| match mode {
        Mode::Streaming => {
            let half = CONTENT.len() / 2;
            exchange.stream(SSE).chunk(&CONTENT[..half]).end();
        }
        Mode::Buffered => _ = exchange.reply(200, &[JSON], &WHOLE.as_bytes()[..WHOLE.len() / 2]),
    })
}

/// An error of the provider, an overload, and an error that the client has caused.
const BROKEN: &str = r#"{"error":{"message":"from the first","type":"server_error","param":null,"code":null}}"#;
const OVERLOAD: &str =
    r#"{"error":{"message":"from the first","type":"server_error","param":null,"code":"overloaded"}}"#;
const TOO_LONG: &str = r#"{"error":{"message":"from the first","type":"invalid_request_error","param":null,
    "code":"context_length_exceeded"}}"#;

/// Sends an error with 200: as the first event, or in place of the answer.
pub fn error_inside(mode: Mode) -> Provider {
    inside(mode, BROKEN)
}

/// The same, because it is overloaded.
pub fn overload_inside(mode: Mode) -> Provider {
    inside(mode, OVERLOAD)
}

fn inside(mode: Mode, error: &'static str) -> Provider {
    Provider::http(move |exchange| match mode {
        Mode::Streaming => _ = exchange.stream(SSE).chunk(format!("data: {error}\n\n")).end(),
        Mode::Buffered => _ = exchange.reply(200, &[JSON], error.as_bytes()),
    })
}

/// An error event after the first content.
pub fn error_after_content(_: Mode) -> Provider {
    after_content(BROKEN)
}

/// The same, because it is overloaded.
pub fn overload_after_content(_: Mode) -> Provider {
    after_content(OVERLOAD)
}

/// The same, because the request is too long.
pub fn client_error_after_content(_: Mode) -> Provider {
    after_content(TOO_LONG)
}

fn after_content(error: &'static str) -> Provider {
    let event = format!("data: {}\n\n", error.replace('\n', "\ndata: "));
    Provider::http(move |exchange| _ = exchange.stream(SSE).chunk(ROLE).chunk(CONTENT).chunk(&event).end())
}

/// The bytes that an HTTP/2 server takes at once: more than the largest body.
const WINDOW: u32 = 1 << 30;

/// What an HTTP/2 server does with its first stream.
#[derive(Clone, Copy)]
enum Stream {
    GoAway,
    Refuse,
    Reset,
}

/// Goes away before its first stream; later ones are answered.
pub fn going_away(mode: Mode) -> Provider {
    http2(mode, Stream::GoAway)
}

/// Refuses its first stream; later ones are answered.
pub fn refusing_stream(mode: Mode) -> Provider {
    http2(mode, Stream::Refuse)
}

/// Resets each stream with an internal error.
pub fn resetting_stream(mode: Mode) -> Provider {
    http2(mode, Stream::Reset)
}

fn http2(mode: Mode, what: Stream) -> Provider {
    let certified = rcgen::generate_simple_self_signed(["provider.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, count) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
    let got = Arc::clone(&count);
    let port = listen(move |tcp| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let io = StreamOwned::new(connection, tcp.try_clone().unwrap());
        let Some(mut peer) = Peer::server(io) else { return };
        // All of the largest body may come at once.
        peer.write(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat());
        peer.write(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        while let Some(stream) = peer.request() {
            match (what, got.fetch_add(1, Ordering::SeqCst)) {
                (Stream::GoAway, 0) => {
                    peer.goaway(0, NO_ERROR);
                    // Not a reset, which would overtake what was written.
                    let _ = tcp.shutdown(Shutdown::Write);
                    while peer.read().is_some() {}
                    return;
                }
                (Stream::Refuse, 0) => peer.reset(stream, REFUSED_STREAM),
                (Stream::Reset, _) => peer.reset(stream, INTERNAL_ERROR),
                _ => {
                    let (kind, body) = match mode {
                        Mode::Buffered => ("application/json", WHOLE.to_owned()),
                        Mode::Streaming => (SSE, [ROLE, CONTENT, END].concat()),
                    };
                    // 0x88 is `:status: 200` of the static table.
                    let head = [&[0x88][..], &field("content-type", kind)].concat();
                    peer.write(HEADERS, END_HEADERS, stream, &head);
                    peer.write(DATA, END_STREAM, stream, body.as_bytes());
                }
            }
        }
    });
    let tls = Some(json!({"insecureSkipVerify": true}));
    Provider { tls, ..Provider::new(port, Got::Count(count)) }
}

/// A server without any HTTP: `script` gets each connection, on a thread. It listens until the tests end.
pub fn listen(script: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let (listener, port) = unpromised(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    });
    // What a script does not read stays with the gateway, and not in this machine's buffers.
    socket2::SockRef::from(&listener).set_recv_buffer_size(64 * 1024).unwrap();
    let script = Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let script = Arc::clone(&script);
            thread::spawn(move || script(stream));
        }
    });
    port
}
