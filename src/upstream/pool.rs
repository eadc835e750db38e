//! Pools of keep-alive connections, one for each origin. Pools outlive snapshots, so a change of routes needs no new
//! handshake.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Uri, Version, header, uri};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{
    Dialer, Origin, ReplyBody, SendError, Transport, UpstreamBody,
    body::InFlight,
    http1::{Http1, Stream},
};

/// The most idle HTTP/1 connections per origin. With more, new connections are cheaper than idle ones.
const MAX_IDLE: usize = 512;
/// How long a connection may idle. Providers' load balancers close after one minute or more; closing earlier avoids
/// the race.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Requests under way on one HTTP/2 connection before another is opened: the least that servers commonly allow.
const HTTP2_STREAMS: usize = 100;
/// Ping interval on busy HTTP/2 connections, so that a dead peer is found.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// The pools, by origin.
pub struct Pools {
    dialer: Arc<Dialer>,
    tasks: TaskTracker,
    by_origin: Mutex<HashMap<Origin, Weak<Pool>>>,
}

/// The connections to one origin.
pub struct Pool {
    origin: Origin,
    host: HeaderValue,
    dialer: Arc<Dialer>,
    tasks: TaskTracker,
    idle: Mutex<Vec<Http1>>,
    http2: Mutex<Vec<Multiplexed>>,
}

struct Multiplexed {
    sender: http2::SendRequest<UpstreamBody>,
    in_flight: InFlight,
}

/// A panic while one of these locks is held leaves a valid list of connections.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pools {
    /// An empty set of pools, whose connections `dialer` makes.
    pub fn new(dialer: Dialer) -> Self {
        Self { dialer: Arc::new(dialer), tasks: TaskTracker::new(), by_origin: Mutex::default() }
    }

    /// The pool of `origin`: the one that is there, or a new one.
    ///
    /// # Errors
    /// When the host is not valid in a `Host` header.
    pub fn get(&self, origin: &Origin) -> Result<Arc<Pool>, String> {
        let mut pools = lock(&self.by_origin);
        if let Some(pool) = pools.get(origin).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let host = authority(origin);
        let host = HeaderValue::try_from(host.as_str()).map_err(|_| format!("'{host}' is not a host name"))?;
        let pool = Arc::new(Pool {
            origin: origin.clone(),
            host,
            dialer: Arc::clone(&self.dialer),
            tasks: self.tasks.clone(),
            idle: Mutex::default(),
            http2: Mutex::default(),
        });
        pools.insert(origin.clone(), Arc::downgrade(&pool));
        Ok(pool)
    }

    /// Whether the simulator answers for LLM providers.
    pub fn simulates_providers(&self) -> bool {
        self.dialer.simulates_providers()
    }

    /// Closes connections that have idled for too long. Call it at intervals.
    pub fn sweep(&self, now: Instant) {
        let pools: Vec<_> = lock(&self.by_origin).values().filter_map(Weak::upgrade).collect();
        for pool in pools {
            lock(&pool.idle).retain_mut(|c| c.is_open() && now.duration_since(c.since) < IDLE_TIMEOUT);
            lock(&pool.http2).retain(|c| !c.sender.is_closed());
        }
    }
}

/// `host`, with the port where it is not the scheme's own.
fn authority(origin: &Origin) -> String {
    let host = if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
    let default = if matches!(origin.transport, Transport::Tls { .. }) { 443 } else { 80 };
    if origin.port == default { host } else { format!("{host}:{}", origin.port) }
}

impl Pool {
    /// Where this pool's connections go.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The `Host` header of this origin.
    pub const fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Sends `request` (origin-form URI, `Host` set by the caller) and waits for the reply's head. `fresh` requires a
    /// new connection, after a keep-alive connection turned out to be closed.
    ///
    /// # Errors
    /// When no connection can be made, or it ends before the reply.
    pub async fn send(
        self: &Arc<Self>,
        request: Request<UpstreamBody>,
        fresh: bool,
    ) -> Result<Response<ReplyBody>, SendError> {
        if !fresh {
            if let Some(connection) = self.take_idle() {
                return self.send_http1(connection, request, true).await;
            }
            if let Some((sender, in_flight)) = self.take_http2() {
                return self.send_http2(sender, in_flight, request, true).await;
            }
        }
        match self.dialer.dial(&self.origin).await? {
            (stream, true) => {
                let (sender, in_flight) = self.open_http2(stream).await?;
                self.send_http2(sender, in_flight, request, false).await
            }
            (stream, false) => self.send_http1(Http1::new(stream, Instant::now()), request, false).await,
        }
    }

    async fn send_http1(
        self: &Arc<Self>,
        connection: Http1,
        request: Request<UpstreamBody>,
        reused: bool,
    ) -> Result<Response<ReplyBody>, SendError> {
        let reply = connection.exchange(request, reused).await?;
        Ok(reply.map(|body| ReplyBody::http1(body, Arc::clone(self))))
    }

    /// The connection used last, which is the least likely to have been closed.
    fn take_idle(&self) -> Option<Http1> {
        let mut idle = lock(&self.idle);
        while let Some(mut last) = idle.pop() {
            if last.is_open() {
                return Some(last);
            }
        }
        None
    }

    /// Returns an idle connection to the pool.
    pub(super) fn keep(&self, mut connection: Http1) {
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_IDLE {
            connection.since = Instant::now();
            idle.push(connection);
        }
    }

    fn take_http2(&self) -> Option<(http2::SendRequest<UpstreamBody>, InFlight)> {
        let mut open = lock(&self.http2);
        if open.is_empty() {
            return None;
        }
        open.retain(|c| !c.sender.is_closed());
        let least = open.iter().min_by_key(|c| Arc::strong_count(&c.in_flight))?;
        let free = Arc::strong_count(&least.in_flight) <= HTTP2_STREAMS;
        free.then(|| (least.sender.clone(), Arc::clone(&least.in_flight)))
    }

    async fn open_http2(&self, stream: Stream) -> Result<(http2::SendRequest<UpstreamBody>, InFlight), SendError> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(HTTP2_PING).adaptive_window(true);
        let failed = |e| SendError::http(e, false);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        self.tasks.spawn(driver);
        let in_flight = InFlight::default();
        let lent = Arc::clone(&in_flight);
        lock(&self.http2).push(Multiplexed { sender: sender.clone(), in_flight });
        Ok((sender, lent))
    }

    async fn send_http2(
        &self,
        mut sender: http2::SendRequest<UpstreamBody>,
        in_flight: InFlight,
        mut request: Request<UpstreamBody>,
        reused: bool,
    ) -> Result<Response<ReplyBody>, SendError> {
        // HTTP/2 has the authority in the URI, and no Host header.
        let host = request.headers_mut().remove(header::HOST).unwrap_or_else(|| self.host.clone());
        let scheme = if matches!(self.origin.transport, Transport::Tls { .. }) { "https" } else { "http" };
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::builder()
            .scheme(scheme)
            .authority(host.as_bytes())
            .path_and_query(path)
            .build()
            .map_err(|e| SendError::new(super::SendErrorKind::Protocol, e))?;
        *request.version_mut() = Version::HTTP_2;
        let reply = sender.send_request(request).await.map_err(|e| {
            // Unless it was not sent at all, the server may have processed the request.
            let unsent = e.is_canceled() || e.is_closed();
            SendError::http(e, reused && unsent)
        })?;
        Ok(reply.map(|body| ReplyBody::http2(body, in_flight)))
    }
}
