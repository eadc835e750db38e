//! Step 1, **accept**: ports are bound and unbound as snapshots change, and HTTP is served on their connections.
//!
//! | | |
//! | --- | --- |
//! | has happened | a client has connected |
//! | may read | the snapshot's ports, and their certificates |
//! | may change | nothing of a request |
//! | ends the connection | over the limit of connections, at a failed handshake, when no head comes in time |
//!
//! A connection that a request has made a WebSocket is served by [`websocket`] from then on.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

use super::{
    Shared,
    handler::{self, MAX_HEADERS},
    peer::{Arrival, Peer},
    watch::{Ending, Watch},
    websocket::{self, Handover},
};

/// The most connections per listener that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long a listener whose port is in use waits before it tries again.
const REBIND: Duration = Duration::from_secs(2);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a client that are read at a time, and so the longest head: most prompts arrive in one read, and
/// are not copied again. A connection holds up to two such buffers while a large prompt arrives; with 256 KiB they
/// would take more memory than the prompts themselves, at the same CPU time.
const MAX_BUFFER: usize = 96 * 1024;
/// How long an idle connection may take to end after its GOAWAY.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long requests that are cut off may take to be counted.
const CUT: Duration = Duration::from_secs(1);
/// Streams a client may have open on one HTTP/2 connection: the least that servers commonly allow.
const HTTP2_STREAMS: u32 = 100;

/// Ports that could not be bound, with the errors. Shared with the debug views.
pub type BindStates = Arc<Mutex<BTreeMap<u16, String>>>;

/// What is served at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// The generation of the snapshot; 0 before the first.
    pub generation: u64,
    /// Ports that accept connections.
    pub bound: usize,
    /// Ports that could not be bound, and are tried again.
    pub unbound: usize,
}

/// Keeps the bound ports equal to those of the snapshot.
pub struct Listeners {
    shared: Arc<Shared>,
    bound: BTreeMap<u16, CancellationToken>,
    states: BindStates,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    router: Router,
}

impl Listeners {
    /// A set of listeners without any bound port.
    pub fn new(shared: Arc<Shared>, states: BindStates) -> Self {
        let connections = Arc::new(Semaphore::new(shared.settings.max_connections));
        let router = handler::router(Arc::clone(&shared));
        Self { shared, bound: BTreeMap::new(), states, connections, tasks: TaskTracker::new(), router }
    }

    /// Follows the snapshot until `shutdown`, then drains: listeners close, replies under way finish within `grace`.
    /// `changed` announces each new snapshot; `serving` receives what is served.
    pub async fn run(
        mut self,
        mut changed: watch::Receiver<u64>,
        serving: watch::Sender<Serving>,
        shutdown: CancellationToken,
        grace: Duration,
    ) {
        loop {
            let generation = *changed.borrow_and_update();
            let unbound = self.reconcile();
            if generation > 0 {
                serving.send_replace(Serving { generation, bound: self.bound.len(), unbound });
            }
            let retry =
                async { if unbound == 0 { std::future::pending().await } else { tokio::time::sleep(REBIND).await } };
            tokio::select! {
                () = shutdown.cancelled() => break,
                more = changed.changed() => if more.is_err() {
                    // The publisher has ended, and the process is ending with it: the bound ports are served until
                    // shutdown.
                    shutdown.cancelled().await;
                    break;
                },
                () = retry => {}
            }
        }
        self.drain(grace).await;
    }

    /// Binds new ports and closes those that are gone. Returns how many ports could not be bound.
    fn reconcile(&mut self) -> usize {
        let snapshot = self.shared.snapshots.load_full();
        self.bound.retain(|port, token| {
            let stays = snapshot.ports.contains_key(port);
            if !stays {
                token.cancel();
                tracing::info!(port, "listener closed");
            }
            stays
        });
        let mut failed = BTreeMap::new();
        for port in snapshot.ports.keys() {
            if self.bound.contains_key(port) {
                continue;
            }
            match bind(self.shared.settings.listen_address, *port) {
                Ok(socket) => {
                    tracing::info!(port, "listener bound");
                    let token = CancellationToken::new();
                    let server = Server {
                        port: *port,
                        shared: Arc::clone(&self.shared),
                        router: self.router.clone(),
                        closing: token.clone(),
                    };
                    self.tasks.spawn(accept(socket, server, Arc::clone(&self.connections), self.tasks.clone()));
                    self.bound.insert(*port, token);
                }
                Err(error) => {
                    failed.insert(*port, error.to_string());
                }
            }
        }
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (port, error) in failed.iter().filter(|(port, error)| states.get(port) != Some(error)) {
            tracing::error!(port, error, "can't bind listener; trying again");
        }
        *states = failed;
        states.len()
    }

    async fn drain(self, grace: Duration) {
        self.bound.values().for_each(CancellationToken::cancel);
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(open = self.tasks.len(), "grace period is over: closing what is still open");
            self.shared.cut.cancel();
            // Connections that are cut off are counted and logged as they end.
            let _ = tokio::time::timeout(CUT, self.tasks.wait()).await;
        }
    }
}

/// Binds `port` at `address`, or at every address of both families, if the machine has both.
fn bind(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    let open = |domain, address: SocketAddr| -> io::Result<TcpListener> {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(false)?;
        }
        // A restart must not wait until the kernel has forgotten old connections.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    if let Some(address) = address {
        return open(if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 }, (address, port).into());
    }
    open(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => open(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into()),
    })
}

/// The state that all connections of one port share.
#[derive(Clone)]
struct Server {
    port: u16,
    shared: Arc<Shared>,
    router: Router,
    /// Cancelled when the port is closed.
    closing: CancellationToken,
}

async fn accept(listener: TcpListener, server: Server, connections: Arc<Semaphore>, tasks: TaskTracker) {
    let Server { port, shared, closing, .. } = &server;
    let open = shared.metrics.requests.connections(&port.to_string());
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The process is most likely out of file descriptors: give other connections time to end.
                tracing::warn!(port, %error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            shared.metrics.requests.connections_rejected("limit").inc();
            continue;
        };
        open.inc();
        let open = open.clone();
        let connection = connection(stream, address, server.clone());
        tasks.spawn(async move {
            connection.await;
            open.dec();
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, server: Server) {
    let Server { port, shared, .. } = &server;
    let port = *port;
    let _ = stream.set_nodelay(true);
    // The protocol is that of the snapshot at the time of the connection; a changed certificate applies to the next
    // one.
    let tls = shared.snapshots.load().ports.get(&port).and_then(|p| p.tls.clone());
    // Boxed, as is all below that not every connection needs at the same time: thousands of clients do nothing, and a
    // future is as large as all that it may ever hold.
    let Some(config) = tls else {
        return Box::pin(http(stream, Peer::new(address, port), server)).await;
    };
    let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            let server_name = stream.get_ref().1.server_name().map(Arc::from);
            Box::pin(http(stream, Peer { secure: true, server_name, ..Peer::new(address, port) }, server)).await;
        }
        Ok(Err(error)) => {
            shared.metrics.requests.connections_rejected("tls").inc();
            tracing::debug!(port, %address, %error, "TLS handshake failed");
        }
        Err(_) => shared.metrics.requests.connections_rejected("tls_timeout").inc(),
    }
}

async fn http<S>(stream: S, peer: Peer, server: Server)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Server { shared, router, closing, .. } = server;
    let settings = &shared.settings;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .adaptive_window(true)
        .keep_alive_interval(Duration::from_mins(1))
        .max_header_list_size(64 * 1024);
    let watch = Arc::new(Watch::default());
    let handover = Handover::default();
    let (watched, sender, handed) = (Arc::clone(&watch), peer.clone(), handover.clone());
    let cut = shared.cut.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let arrival = Arrival { peer: sender.clone(), progress: watched.begin(), handover: handed.clone() };
        request.extensions_mut().insert(ConnectInfo(arrival));
        router.clone().call(request)
    });
    // The rest of a reply whose body has been handed over is in the connection's buffer, and has no other bound.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(settings.write_timeout));
    let mut connection = Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(Box::pin(stream)), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        ending = watch.ending(settings.write_timeout, settings.header_timeout) => {
            tracing::debug!(port = peer.port, client = %peer.address, ?ending, "connection ends");
            if ending == Ending::Stalled {
                return;
            }
            // An idle connection: over HTTP/2 it ends with a GOAWAY.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = &mut connection => result,
                () = tokio::time::sleep(GOODBYE) => return,
            }
        }
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = &mut connection => result,
                _ = watch.ending(settings.write_timeout, Duration::MAX) => return,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(port = peer.port, client = %peer.address, error, "connection ended");
    }
    if let Some(accepted) = handover.take() {
        drop(connection);
        Box::pin(websocket::run(accepted, shared, peer, &watch, &closing)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the futures that a function returns.
    fn size_of_future<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_client_that_does_nothing_costs_little() {
        // The connection's task, and HTTP inside of it. hyper holds two kilobytes more.
        let task = size_of_future(connection);
        let http = size_of_future(http::<TcpStream>);
        assert!(task + http < 4096 + 512, "{task} and {http} bytes");
    }
}
