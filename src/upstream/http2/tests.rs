//! HTTP/2 towards servers on this machine whose frames a test decides.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response, header};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

use super::{Multiplexed, Pings};
use crate::upstream::{
    Dialer, DialerOptions, Origin, OriginKind, Pool, Pools, ReplyBody, SendError, Transport, UpstreamBody,
    http1::Stream,
};

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pools, and the one of the server at this port.
fn pools(port: u16) -> (Pools, Arc<Pool>) {
    let origin = Origin { host: "127.0.0.1".into(), port, transport: Transport::Http2, kind: OriginKind::Server };
    let pools = Pools::new(Dialer::new(DialerOptions::default()));
    let pool = pools.get(&origin).unwrap();
    (pools, pool)
}

async fn send(pool: &Arc<Pool>, fresh: bool) -> Result<Response<ReplyBody>, SendError> {
    let request = Request::get("/").header(header::HOST, pool.host()).body(UpstreamBody::empty()).unwrap();
    timeout(PATIENCE, pool.send(request, fresh)).await.expect("a reply in time")
}

/// The whole body of a reply.
async fn text(reply: Response<ReplyBody>) -> String {
    let body = timeout(PATIENCE, reply.into_body().collect()).await.expect("the body in time");
    String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
}

/// A stream that a server has accepted, on the connection of this number.
struct Accepted {
    connection: usize,
    _request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Accepted {
    /// Begins a reply whose body goes on.
    fn begin(mut self) -> SendStream<Bytes> {
        self.respond.send_response(Response::new(()), false).unwrap()
    }
}

/// A server that allows this many streams at a time on each connection, and hands all of them to the test.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    streams: mpsc::Receiver<Accepted>,
    /// Sends a GOAWAY on the connection of that number.
    go_away: Arc<Mutex<Vec<mpsc::Sender<()>>>>,
    /// The numbers of connections that have ended.
    ended: mpsc::Receiver<usize>,
}

impl Server {
    async fn new(limit: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((accepted, streams), (end, ended)) = (mpsc::channel(1024), mpsc::channel(1024));
        let (connections, go_away) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Vec<_>>>::default());
        let (count, leave) = (Arc::clone(&connections), Arc::clone(&go_away));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = count.fetch_add(1, Ordering::SeqCst);
                let (sender, mut away) = mpsc::channel(1);
                leave.lock().unwrap().push(sender);
                let (accepted, end) = (accepted.clone(), end.clone());
                tokio::spawn(async move {
                    serve(stream, limit, connection, &mut away, &accepted).await;
                    end.send(connection).await.unwrap();
                });
            }
        });
        Self { port, connections, streams, go_away, ended }
    }

    async fn next(&mut self) -> Accepted {
        timeout(PATIENCE, self.streams.recv()).await.expect("a request in time").unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Sends a request whose reply begins and goes on: its body at both ends, and the number of its connection.
    async fn exchange(&mut self, pool: &Arc<Pool>) -> (Response<ReplyBody>, SendStream<Bytes>, usize) {
        let (reply, (body, connection)) = tokio::join!(send(pool, false), async {
            let accepted = self.next().await;
            let connection = accepted.connection;
            (accepted.begin(), connection)
        });
        (reply.unwrap(), body, connection)
    }
}

/// Serves one connection to its end.
async fn serve(
    stream: TcpStream,
    limit: u32,
    number: usize,
    away: &mut mpsc::Receiver<()>,
    accepted: &mpsc::Sender<Accepted>,
) {
    let mut connection = h2::server::Builder::new().max_concurrent_streams(limit).handshake(stream).await.unwrap();
    loop {
        tokio::select! {
            Some(()) = away.recv() => connection.graceful_shutdown(),
            next = connection.accept() => {
                let Some(Ok((request, respond))) = next else { return };
                let stream = Accepted { connection: number, _request: request, respond };
                accepted.send(stream).await.unwrap_or_else(|_| panic!("the test has ended"));
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_goes_away_finishes_its_streams_and_gets_no_more() {
    let mut server = Server::new(100).await;
    let (_, pool) = pools(server.port);
    let (slow, mut body, _) = server.exchange(&pool).await;
    let go_away = server.go_away.lock().unwrap()[0].clone();
    go_away.send(()).await.unwrap();
    // Until the GOAWAY has arrived, requests may still go there.
    let mut last = 0;
    while last == 0 {
        let (reply, mut body, connection) = server.exchange(&pool).await;
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(text(reply).await, "");
        last = connection;
    }
    assert_eq!(server.connections(), 2);
    body.send_data("to the end".into(), true).unwrap();
    assert_eq!(text(slow).await, "to the end");
}

#[tokio::test]
async fn streams_that_run_out_bring_another_connection() {
    // Fewer than common servers allow, and as many as wait at first for the limit.
    for (limit, requests, connections) in [(2, 5, 3), (100, 250, 3)] {
        let mut server = Server::new(limit).await;
        let (_, pool) = pools(server.port);
        let (replies, bodies) = tokio::join!(join_all((0..requests).map(|_| send(&pool, false))), async {
            let mut bodies = Vec::new();
            while bodies.len() < requests {
                bodies.push(server.next().await.begin());
            }
            bodies
        });
        assert!(replies.iter().all(Result::is_ok));
        assert_eq!(server.connections(), connections, "limit {limit}");
        // Ended streams make room.
        drop((replies, bodies));
        let (.., connection) = server.exchange(&pool).await;
        assert!(connection < connections, "limit {limit}");
    }
}

#[tokio::test]
async fn requests_that_are_sent_again_share_a_new_connection() {
    let mut server = Server::new(100).await;
    let (_, pool) = pools(server.port);
    let _first = server.exchange(&pool).await;
    let (replies, numbers) = tokio::join!(join_all((0..10).map(|_| send(&pool, true))), async {
        let (mut numbers, mut bodies) = (Vec::new(), Vec::new());
        while numbers.len() < 10 {
            let accepted = server.next().await;
            numbers.push(accepted.connection);
            bodies.push(accepted.begin());
        }
        (numbers, bodies)
    });
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!((numbers.0, server.connections()), (vec![1; 10], 2));
}

#[tokio::test]
async fn a_connection_that_refuses_a_stream_gets_no_more() {
    let mut server = Server::new(100).await;
    let (_, pool) = pools(server.port);
    let (slow, mut body, _) = server.exchange(&pool).await;
    let (refused, ()) = tokio::join!(send(&pool, false), async {
        server.next().await.respond.send_reset(Reason::REFUSED_STREAM);
    });
    assert!(refused.is_err_and(|error| error.is_unprocessed()));
    assert_eq!(server.exchange(&pool).await.2, 1);
    body.send_data("to the end".into(), true).unwrap();
    assert_eq!(text(slow).await, "to the end");
}

#[tokio::test]
async fn an_old_connection_finishes_its_streams_and_gets_no_more() {
    let mut server = Server::new(100).await;
    let (pools, pool) = pools(server.port);
    let (slow, mut body, _) = server.exchange(&pool).await;
    pools.sweep(Instant::now());
    assert_eq!(server.exchange(&pool).await.2, 0);
    pools.sweep(Instant::now() + DialerOptions::default().max_age);
    assert_eq!(server.exchange(&pool).await.2, 1);
    body.send_data("to the end".into(), true).unwrap();
    assert_eq!(text(slow).await, "to the end");
    assert_eq!(timeout(PATIENCE, server.ended.recv()).await.expect("it closes then"), Some(0));
}

#[tokio::test]
async fn the_pool_of_a_deleted_backend_ends_with_its_last_request() {
    let mut server = Server::new(100).await;
    let (pools, pool) = pools(server.port);
    let (slow, mut body, _) = server.exchange(&pool).await;
    let again = pools.get(pool.origin()).unwrap();
    assert!(Arc::ptr_eq(&pool, &again), "the next snapshot has the same pool");
    drop((pool, again));
    body.send_data("to the end".into(), true).unwrap();
    assert_eq!(text(slow).await, "to the end");
    assert_eq!(timeout(PATIENCE, server.ended.recv()).await.expect("it closes then"), Some(0));
}

/// A frame's type and flags of RFC 9113, section 6.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;
const ACK: u8 = 1;

/// A connection to a server which answers pings if `answers`, and the first request after three of them.
async fn pinged(pings: Pings, answers: bool) -> (Multiplexed, TaskTracker) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await.unwrap();
        stream.write_all(&SETTINGS).await.unwrap();
        let (mut head, mut count) = ([0; 9], 0);
        while stream.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]).try_into().unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3] != PING || head[4] == ACK || !answers {
                continue;
            }
            count += 1;
            stream.write_all(&[&[0, 0, 8, PING, ACK, 0, 0, 0, 0], &payload[..]].concat()).await.unwrap();
            if count == 3 {
                // HEADERS with END_STREAM and END_HEADERS for stream 1: `:status: 200`.
                stream.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]).await.unwrap();
            }
        }
    });
    let (stream, tasks) = (Stream::Clear(TcpStream::connect(address).await.unwrap()), TaskTracker::new());
    let expires = Instant::now() + Duration::from_hours(1);
    let (connection, task) = Multiplexed::open(stream, expires, None, pings).await.unwrap();
    tasks.spawn(task);
    (connection, tasks)
}

/// Sends a request on this connection alone.
async fn request(connection: &Multiplexed) -> Result<u16, SendError> {
    let request = Request::get("http://server.test/").body(UpstreamBody::empty()).unwrap();
    let reply = timeout(PATIENCE, connection.reserve().0.send_request(request)).await.expect("an outcome in time");
    reply.map(|reply| reply.status().as_u16()).map_err(SendError::http2)
}

#[tokio::test]
async fn a_server_that_answers_pings_may_take_its_time() {
    let pings = Pings { after: Duration::from_millis(20), timeout: PATIENCE };
    let (connection, _tasks) = pinged(pings, true).await;
    assert_eq!(request(&connection).await.unwrap(), 200);
}

#[tokio::test]
async fn a_dead_connection_is_found_while_a_request_waits_and_while_none_does() {
    let pings = Pings { after: Duration::from_millis(20), timeout: Duration::from_millis(20) };
    let (connection, _tasks) = pinged(pings, false).await;
    let error = request(&connection).await.unwrap_err();
    assert!(!error.is_unprocessed(), "the server may have processed it: {error}");
    assert!(!connection.is_usable(Instant::now()));
    let (idle, tasks) = pinged(pings, false).await;
    // Its task ends with it.
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.expect("it ends");
    assert!(!idle.is_usable(Instant::now()));
}
