//! The admin port over real connections.

use std::{io, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    serve::{HEADER_TIMEOUT, MAX_CONNECTIONS},
    *,
};

struct Debug;

impl DebugSource for Debug {
    fn snapshot_json(&self) -> Value {
        json!({"generation": 3})
    }

    fn health_json(&self) -> Value {
        json!({"targets": []})
    }

    fn reports_json(&self) -> Value {
        json!({"objects": []})
    }
}

struct Admin {
    addr: std::net::SocketAddr,
    ready: Arc<Readiness>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Admin {
    async fn start() -> Self {
        let ready = Arc::new(Readiness::default());
        let metrics = Arc::new(Metrics::new().unwrap());
        let state = AdminState { metrics, ready: Arc::clone(&ready), debug: Arc::new(Debug) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router(state), cancel.clone()));
        Self { addr, ready, cancel, task }
    }

    /// Status, head and body of a reply.
    async fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn pages_are_served() {
    let admin = Admin::start().await;
    let (status, head, body) = admin.request("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("tollgate_build_info{"), "{body}");
    assert_eq!(admin.request("GET", "/healthz").await.2, "ok\n");
    let (_, head, body) = admin.request("GET", "/debug/snapshot").await;
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(body, "{\n  \"generation\": 3\n}\n");
    assert!(admin.request("GET", "/debug/objects").await.2.contains("\"objects\""));
    let index = admin.request("GET", "/").await.2;
    for path in ["/metrics", "/healthz", "/readyz", "/debug/snapshot", "/debug/objects"] {
        assert!(index.contains(path));
        assert_eq!(admin.request("HEAD", path).await.2, "", "{path}");
    }
    assert_eq!(admin.request("POST", "/metrics").await.0, 405);
    assert_eq!(admin.request("GET", "/nothing").await.0, 404);
}

#[tokio::test]
async fn unreadiness_has_a_reason() {
    let admin = Admin::start().await;
    let check = async |status, word: &str| {
        let reply = admin.request("GET", "/readyz").await;
        assert_eq!((reply.0, reply.2.trim()), (status, word));
    };
    check(503, "starting").await;
    admin.ready.set_ready();
    check(200, "ready").await;
    admin.ready.set_unbound();
    check(503, "no listener could be bound: unboundPorts in /debug/objects has the reasons").await;
    admin.ready.set_ready();
    check(200, "ready").await;
    admin.ready.set_draining();
    admin.ready.set_ready();
    admin.ready.set_unbound();
    check(503, "draining").await;
    assert_eq!(admin.request("GET", "/healthz").await.0, 200);
}

#[tokio::test]
async fn the_port_closes_despite_a_silent_client() {
    let admin = Admin::start().await;
    let mut idle = TcpStream::connect(admin.addr).await.unwrap();
    // Half a request: the server waits for the rest.
    idle.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    assert_eq!(admin.request("GET", "/healthz").await.0, 200);
    admin.cancel.cancel();
    admin.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(admin.addr).await.is_err());
}

/// Waits until the other side has closed `stream`.
async fn closed(stream: &mut TcpStream) {
    while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
}

#[tokio::test]
async fn probes_are_answered_whatever_idle_connections_there_are() {
    let admin = Admin::start().await;
    let connect = async |number: usize| {
        let mut stream = TcpStream::connect(admin.addr).await.unwrap();
        // Some have sent nothing, others half a request.
        if number.is_multiple_of(2) {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: ").await.unwrap();
        }
        stream
    };
    let mut idle = join_all((0..3 * MAX_CONNECTIONS).map(connect)).await;
    for _ in 0..5 {
        let probe = timeout(HEADER_TIMEOUT / 2, admin.request("GET", "/healthz"));
        assert_eq!(probe.await.unwrap().0, 200);
    }
    // The oldest have made room, and no more are open than allowed.
    let (old, young) = idle.split_at_mut(2 * MAX_CONNECTIONS);
    timeout(HEADER_TIMEOUT / 2, join_all(old.iter_mut().map(closed))).await.unwrap();
    let last = young.last_mut().unwrap();
    assert!(timeout(Duration::from_millis(100), closed(last)).await.is_err(), "there is room for it");
}

#[tokio::test]
async fn a_connection_without_a_whole_request_ends() {
    let admin = Admin::start().await;
    let mut silent = TcpStream::connect(admin.addr).await.unwrap();
    let mut slow = TcpStream::connect(admin.addr).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let mut idle = TcpStream::connect(admin.addr).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let all = async {
        // A byte now and then does not prolong it.
        let drip = async {
            while slow.write_all(b"a").await.is_ok() && slow.try_read(&mut [0; 512]).is_err() {
                sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::join!(closed(&mut silent), closed(&mut idle), drip);
    };
    timeout(HEADER_TIMEOUT + Duration::from_secs(5), all).await.unwrap();
}
