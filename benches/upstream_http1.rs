//! CPU time of a request to a provider over HTTP/1.1, by our own client and by hyper's:
//! `cargo bench --profile dist --bench upstream_http1`. Prints figures, asserts no times.
//!
//! * `tollgate`: a `Pool`, whose connections are those of `src/upstream/http1`.
//! * `hyper`: `client::conn::http1` in a pool that does the same. Its connection is polled in the task of the request,
//!   beside the request, and not in a task of its own: there is no switch between tasks to blame.
//! * `sockets alone`: the same bytes written and read without any HTTP, which is what the kernel costs.
//!
//! Our own client stays only as long as its share is at least a third less than hyper's, on chat and on streams. A
//! client's share is its CPU time beyond that of the sockets alone, which no client can save.
//!
//! The provider is a thread of its own that writes replies from memory, and is not counted.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a measurement may panic and prints"
)]

use std::{
    future::{Future, poll_fn},
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::yield_now,
};
use tollgate::upstream::{Dialer, DialerOptions, Origin, OriginKind, Pool, Pools, Transport, UpstreamBody};

#[path = "common/mod.rs"]
mod common;

const ROUNDS: usize = 5;
const REQUEST_BYTES: usize = 1024;

/// A kind of reply.
struct Case {
    name: &'static str,
    path: &'static str,
    /// Requests under way at a time, each in a task of its own.
    concurrency: usize,
    /// Requests of one round and client.
    requests: usize,
}

const CASES: [Case; 3] = [
    Case { name: "chat, 2 KB", path: "/chat", concurrency: 16, requests: 20_000 },
    // As from a provider that is faster than its reader: many events a read.
    Case { name: "stream, 100 events at once", path: "/stream", concurrency: 16, requests: 4_000 },
    // As from a model that writes: one event a read.
    Case { name: "stream, 100 events by and by", path: "/stream/slow", concurrency: 64, requests: 640 },
];

fn main() {
    // `cargo test --benches` asks for a list of tests: there are none.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let address = provider::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(measure(address)));
}

async fn measure(address: SocketAddr) {
    let origin = Origin {
        host: address.ip().to_string(),
        port: address.port(),
        transport: Transport::Http1,
        kind: OriginKind::Server,
    };
    let dialer = Dialer::new(DialerOptions::default());
    let own = Arc::new(Own(Pools::new(dialer).get(&origin).unwrap()));
    let hyper = Arc::new(Hyper { address, idle: Mutex::default() });
    let sockets = Arc::new(Sockets { address, idle: Mutex::default() });

    let mut rows = vec![["", "reply", "CPU us", "frames", "share us", "of hyper's share"].map(str::to_owned).to_vec()];
    for case in &CASES {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        let mut frames = [0.0; 3];
        // The first round warms up. Clients take turns, so that a slow minute of the machine does not hit one of them.
        for round in 0..=ROUNDS {
            let each = [
                run(Arc::clone(&own), case).await,
                run(Arc::clone(&hyper), case).await,
                run(Arc::clone(&sockets), case).await,
            ];
            for (client, (us, count)) in each.into_iter().enumerate() {
                frames[client] = count;
                if round > 0 {
                    times[client].push(us);
                }
            }
        }
        let us = times.map(common::median);
        for (client, name) in ["tollgate", "hyper", "sockets alone"].into_iter().enumerate() {
            let share = us[client] - us[2];
            rows.push(vec![
                name.to_owned(),
                case.name.to_owned(),
                format!("{:.1}", us[client]),
                format!("{:.1}", frames[client]),
                format!("{share:.1}"),
                format!("{:.2}", share / (us[1] - us[2])),
            ]);
        }
    }
    println!("CPU time of the client's one thread, per request; median of {ROUNDS} rounds\n");
    common::print_table(&rows);
}

/// A client under measurement.
trait Client: 'static {
    /// Sends one request and reads the reply to its end: bytes of its body, and frames it came in.
    fn exchange(&self, path: &'static str) -> impl Future<Output = (usize, usize)>;
}

/// One round: CPU time per request in microseconds, and frames per reply.
async fn run<C: Client>(client: Arc<C>, case: &Case) -> (f64, f64) {
    let path = case.path;
    let before = common::thread_cpu_ns();
    let each = case.requests / case.concurrency;
    let tasks: Vec<_> = (0..case.concurrency)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::task::spawn_local(async move {
                let mut frames = 0;
                for _ in 0..each {
                    let (bytes, count) = client.exchange(path).await;
                    assert_eq!(bytes, provider::reply_bytes(path), "{path}");
                    frames += count;
                }
                frames
            })
        })
        .collect();
    let mut frames = 0;
    for task in tasks {
        frames += task.await.unwrap();
    }
    let used_ns = common::thread_cpu_ns() - before;
    let requests = (each * case.concurrency) as f64;
    (used_ns / 1e3 / requests, frames as f64 / requests)
}

fn request(path: &'static str) -> Request<UpstreamBody> {
    static BODY: [u8; REQUEST_BYTES] = [b'x'; REQUEST_BYTES];
    Request::post(path)
        .header("host", "api.openai.com")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("authorization", "Bearer sk-0123456789abcdef0123456789abcdef0123456789abcdef")
        .header("user-agent", "OpenAI/Python 2.8.0")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .body(UpstreamBody::Full(Some(Bytes::from_static(&BODY))))
        .unwrap()
}

/// Our own client.
struct Own(Arc<Pool>);

impl Client for Own {
    async fn exchange(&self, path: &'static str) -> (usize, usize) {
        let reply = self.0.send(request(path), false).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        count(reply.into_body()).await
    }
}

/// Reads a body to its end: bytes and frames.
async fn count<B: Body<Data = Bytes> + Unpin>(mut body: B) -> (usize, usize)
where
    B::Error: std::fmt::Debug,
{
    let (mut bytes, mut frames) = (0, 0);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            bytes += data.len();
            frames += 1;
        }
    }
    (bytes, frames)
}

/// hyper's client, with what is idle in a pool such as ours.
struct Hyper {
    address: SocketAddr,
    idle: Mutex<Vec<HyperConnection>>,
}

struct HyperConnection {
    sender: SendRequest<UpstreamBody>,
    driver: Connection<TokioIo<TcpStream>, UpstreamBody>,
}

impl HyperConnection {
    async fn open(address: SocketAddr) -> Self {
        let (sender, driver) = http1::handshake(TokioIo::new(connect(address).await)).await.unwrap();
        Self { sender, driver }
    }

    /// Lets the connection read and write. It must not end while a reply is under way.
    fn drive(&mut self, cx: &mut Context<'_>) {
        assert!(Pin::new(&mut self.driver).poll(cx).is_pending(), "the connection ended");
    }

    /// Polls the reply's head beside the connection.
    async fn send(&mut self, request: Request<UpstreamBody>) -> http::Response<Incoming> {
        let mut reply = pin!(self.sender.send_request(request));
        let driver = &mut self.driver;
        poll_fn(|cx| {
            assert!(Pin::new(&mut *driver).poll(cx).is_pending(), "the connection ended");
            reply.as_mut().poll(cx)
        })
        .await
        .unwrap()
    }

    /// Polls the next frame: what is there already, else what the connection brings.
    fn poll_frame(&mut self, cx: &mut Context<'_>, body: &mut Incoming) -> Poll<Option<Bytes>> {
        let mut polled = Pin::new(&mut *body).poll_frame(cx);
        if polled.is_pending() {
            self.drive(cx);
            polled = Pin::new(&mut *body).poll_frame(cx);
        }
        Poll::Ready(ready!(polled).map(|frame| frame.unwrap().into_data().unwrap()))
    }
}

impl Hyper {
    /// A connection that is idle and still open, else a new one.
    async fn take(&self) -> HyperConnection {
        while let Some(mut last) = self.pop() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if Pin::new(&mut last.driver).poll(&mut cx).is_pending() && last.sender.is_ready() {
                return last;
            }
        }
        HyperConnection::open(self.address).await
    }

    fn pop(&self) -> Option<HyperConnection> {
        self.idle.lock().unwrap().pop()
    }
}

impl Client for Hyper {
    async fn exchange(&self, path: &'static str) -> (usize, usize) {
        let mut connection = self.take().await;
        let reply = connection.send(request(path)).await;
        assert_eq!(reply.status(), StatusCode::OK);
        let mut body = reply.into_body();
        let (mut bytes, mut frames) = (0, 0);
        while let Some(data) = poll_fn(|cx| connection.poll_frame(cx, &mut body)).await {
            bytes += data.len();
            frames += 1;
        }
        self.idle.lock().unwrap().push(connection);
        (bytes, frames)
    }
}

/// No client: the bytes of a request are written, and as many read as the reply has.
struct Sockets {
    address: SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
}

impl Client for Sockets {
    async fn exchange(&self, path: &'static str) -> (usize, usize) {
        let idle = self.idle.lock().unwrap().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => connect(self.address).await,
        };
        stream.write_all(provider::plain_request(path)).await.unwrap();
        let mut buffer = [0; 16 * 1024];
        let (mut left, mut reads) = (provider::wire(path).len(), 0);
        while left > 0 {
            left -= stream.read(&mut buffer).await.unwrap();
            reads += 1;
        }
        self.idle.lock().unwrap().push(stream);
        (provider::reply_bytes(path), reads)
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The server, and the bytes of its replies.
mod provider {
    use std::sync::LazyLock;

    use super::{
        AsyncReadExt, AsyncWriteExt, Duration, Ipv4Addr, REQUEST_BYTES, SocketAddr, TcpListener, TcpStream, yield_now,
    };

    const CHAT_BYTES: usize = 2_048;
    const EVENTS: usize = 100;
    /// Bytes of one event, as those of a chat stream have.
    const EVENT_BYTES: usize = 208;
    /// Events in one write: what a provider's proxy has gathered. Each is a chunk.
    const EVENTS_PER_WRITE: usize = 4;
    /// Between two events of a slow stream.
    const PAUSE: Duration = Duration::from_millis(2);

    const HEAD: &str = "HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 18:28:26 GMT\r\nserver: cloudflare\r\n\
        x-request-id: req_0123456789abcdef0123456789abcdef\r\nopenai-processing-ms: 312\r\n\
        openai-version: 2020-10-01\r\n\
        x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n";

    /// A reply as it is on the wire, in the pieces that are written at a time.
    struct Reply {
        pieces: Vec<Vec<u8>>,
        wire: Vec<u8>,
        body_bytes: usize,
    }

    static CHAT: LazyLock<Reply> = LazyLock::new(|| {
        let head = format!("{HEAD}content-type: application/json\r\ncontent-length: {CHAT_BYTES}\r\n\r\n");
        let pieces = vec![[head.as_bytes(), &[b'x'; CHAT_BYTES]].concat()];
        Reply { wire: pieces.concat(), pieces, body_bytes: CHAT_BYTES }
    });

    static STREAM: LazyLock<Reply> = LazyLock::new(|| stream(EVENTS_PER_WRITE));
    static SLOW_STREAM: LazyLock<Reply> = LazyLock::new(|| stream(1));

    fn stream(events_per_write: usize) -> Reply {
        let data = format!("data: {}\n\n", "x".repeat(EVENT_BYTES - 8));
        let chunk = format!("{EVENT_BYTES:x}\r\n{data}\r\n");
        let mut pieces = vec![chunk.repeat(events_per_write).into_bytes(); EVENTS / events_per_write];
        pieces[0].splice(
            0..0,
            format!("{HEAD}content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").bytes(),
        );
        pieces.last_mut().unwrap().extend_from_slice(b"0\r\n\r\n");
        Reply { wire: pieces.concat(), pieces, body_bytes: EVENTS * EVENT_BYTES }
    }

    const PATHS: [&str; 3] = ["/chat", "/stream", "/stream/slow"];

    static REQUESTS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
        PATHS.map(|path| {
            let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {REQUEST_BYTES}\r\n\r\n");
            [head.as_bytes(), &[b'x'; REQUEST_BYTES]].concat()
        })
    });

    fn reply(path: &str) -> &'static Reply {
        match path {
            "/chat" => &CHAT,
            "/stream" => &STREAM,
            _ => &SLOW_STREAM,
        }
    }

    /// Bytes of the body of the reply to `path`.
    pub fn reply_bytes(path: &str) -> usize {
        reply(path).body_bytes
    }

    /// The reply to `path` with its head and framing.
    pub fn wire(path: &str) -> &'static [u8] {
        &reply(path).wire
    }

    /// A request for `path` with its body.
    pub fn plain_request(path: &str) -> &'static [u8] {
        &REQUESTS[PATHS.iter().position(|known| *known == path).unwrap()]
    }

    /// Starts the server on a thread of its own.
    pub fn start() -> SocketAddr {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream));
                }
            });
        });
        address
    }

    async fn serve(mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut buffer = Vec::new();
        loop {
            let body = loop {
                if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            while buffer.len() < body + REQUEST_BYTES {
                assert!(stream.read_buf(&mut buffer).await.unwrap() > 0, "a request without its end");
            }
            let asked = buffer.split(|byte| *byte == b' ').nth(1).unwrap();
            let path = PATHS.into_iter().find(|path| path.as_bytes() == asked).unwrap();
            buffer.drain(..body + REQUEST_BYTES);
            for piece in &reply(path).pieces {
                stream.write_all(piece).await.unwrap();
                // Other connections are served in between, as by a provider.
                if path == "/stream/slow" {
                    tokio::time::sleep(PAUSE).await;
                } else {
                    yield_now().await;
                }
            }
        }
    }
}
