//! Pools of keep-alive connections, one for each origin. Pools outlive snapshots, so a change of routes needs no new
//! handshake. The pool of an origin that no snapshot has any more ends with its last request.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri};
use hyper::client::conn::http2::SendRequest;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::{
    Dialer, Origin, ReplyBody, SendError, SendErrorKind, Transport, UpstreamBody,
    body::InFlight,
    dial::Dialed,
    http1::{Http1, IdleState, Reuse},
    http2::{Multiplexed, Opening, Openings, Pings, Turn},
    proxy::EgressProxy,
};

/// The most idle HTTP/1 connections per origin. With more, new connections are cheaper than idle ones.
const MAX_IDLE: usize = 512;
/// How long a connection may idle. Providers' load balancers close after one minute or more; closing earlier avoids
/// the race.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Which part of the greatest age connections may lack, at random: those that were opened together do not end so.
const AGE_SPREAD: u32 = 10;
/// How long to wait for the body of an error.
const ERROR_BODY: Duration = Duration::from_millis(250);
/// How long every connection is used only once after a server has sent an unsolicited reply.
const DISTRUST: Duration = Duration::from_mins(1);
/// How long a connection rests before it is used again. Bytes that a server sends after a complete reply, or its close,
/// have arrived by then, and are found when the connection is taken.
const REST: Duration = Duration::from_millis(5);
/// After so many replies with nothing behind them, connections no longer rest. At 30,000 requests a second five times
/// as many connections would be in use, and a request costs a fifth more CPU time: all their memory is cold.
const TRUSTED: u32 = 10_000;

/// The pools, by origin.
pub struct Pools {
    dialer: Arc<Dialer>,
    tasks: TaskTracker,
    by_origin: Mutex<HashMap<Origin, Weak<Pool>>>,
}

/// The connections to one origin.
pub struct Pool {
    origin: Origin,
    /// The origin as text, for the access log.
    address: String,
    host: HeaderValue,
    dialer: Arc<Dialer>,
    tasks: TaskTracker,
    /// In the order in which they were last used.
    idle: Mutex<Vec<Http1>>,
    /// Replies since the last one with something behind it, up to [`TRUSTED`].
    clean: AtomicU32,
    /// When the server last sent an unsolicited reply.
    distrusted: Mutex<Option<Instant>>,
    http2: Mutex<Vec<Multiplexed>>,
    /// Whether the last connection that was made uses HTTP/2; unset before the first.
    speaks_http2: Mutex<Option<bool>>,
    /// Connections that are being opened and that several requests may share.
    openings: Arc<Openings>,
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

    /// The pool of `origin`: the existing one, or a new one.
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
            address: origin.to_string(),
            host,
            dialer: Arc::clone(&self.dialer),
            tasks: self.tasks.clone(),
            idle: Mutex::default(),
            clean: AtomicU32::default(),
            distrusted: Mutex::default(),
            http2: Mutex::default(),
            speaks_http2: Mutex::default(),
            openings: Arc::default(),
        });
        pools.insert(origin.clone(), Arc::downgrade(&pool));
        Ok(pool)
    }

    /// Whether the simulator replaces LLM providers.
    pub fn simulates_providers(&self) -> bool {
        self.dialer.simulates_providers()
    }

    /// Closes connections that have idled for too long, or that are too old. Call it at intervals.
    pub fn sweep(&self, now: Instant) {
        let pools: Vec<_> = lock(&self.by_origin).values().filter_map(Weak::upgrade).collect();
        for pool in pools {
            lock(&pool.idle).retain_mut(|c| {
                let is_young = now < c.expires && now.duration_since(c.since) < IDLE_TIMEOUT;
                is_young && c.idle_state() == IdleState::Open
            });
            // A connection ends when its last sender is dropped.
            lock(&pool.http2).retain_mut(|c| c.is_usable(now) && !c.has_idled(now, IDLE_TIMEOUT));
        }
    }
}

/// `host`, with the port if it is not the scheme's default.
fn authority(origin: &Origin) -> String {
    let host = if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
    let default = if matches!(origin.transport, Transport::Tls(_)) { 443 } else { 80 };
    if origin.port == default { host } else { format!("{host}:{}", origin.port) }
}

impl Pool {
    /// The origin of this pool's connections.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The origin of this pool's connections, as `scheme://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether requests share connections: the last connection that was made uses HTTP/2, or the next one will.
    pub fn is_multiplexed(&self) -> bool {
        self.origin.transport == Transport::Http2 || *lock(&self.speaks_http2) == Some(true)
    }

    /// The `Host` header of this origin.
    pub const fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Sends `request` (origin-form URI, `Host` set by the caller) and waits for the reply's head. `fresh` requires a
    /// new connection.
    ///
    /// # Errors
    /// When no connection can be made, or it ends before the reply.
    pub async fn send(
        self: &Arc<Self>,
        request: Request<UpstreamBody>,
        fresh: bool,
    ) -> Result<Response<ReplyBody>, SendError> {
        self.connection(fresh).await?.send(request).await
    }

    /// A connection for one request: an existing one, else a new one. `fresh` requires one that is opened from now on.
    ///
    /// # Errors
    /// When none can be made. Nothing was sent then.
    pub async fn connection(self: &Arc<Self>, fresh: bool) -> Result<Connection, SendError> {
        let since = fresh.then(Instant::now);
        if let Some(there) = self.take(since) {
            return Ok(there);
        }
        // Boxed: it is rare, and its state is larger than the rest of a request's.
        Box::pin(self.new_connection(since)).await
    }

    /// A connection that was not there when the request came: one that it opens, or that it shares with requests which
    /// came at the same time.
    async fn new_connection(self: &Arc<Self>, since: Option<Instant>) -> Result<Connection, SendError> {
        let until = Instant::now() + self.dialer.options().connect_timeout;
        while *lock(&self.speaks_http2) != Some(false) {
            match self.openings.turn() {
                Turn::Open(opening) => return self.open(Some(opening)).await,
                Turn::Wait(waiting) => {
                    if timeout_at(until, waiting.succeeded()).await != Ok(true) {
                        break;
                    }
                }
            }
            if let Some(there) = self.take(since) {
                return Ok(there);
            }
        }
        self.open(None).await
    }

    /// Opens a connection. Other requests wait for `opening`.
    async fn open(self: &Arc<Self>, opening: Option<Opening>) -> Result<Connection, SendError> {
        let Dialed { stream, http2, round_trip, proxy } = self.dialer.dial(&self.origin).await?;
        *lock(&self.speaks_http2) = Some(http2);
        let now = Instant::now();
        let expires = now + age(self.dialer.options().max_age, RandomState::new().hash_one(&self.address));
        if http2 {
            let (opened, task) = Multiplexed::open(stream, expires, opening, Pings::default()).await?;
            let reserved = self.reserve(&opened);
            lock(&self.http2).push(opened);
            // From now on requests that wait for it may be woken.
            self.tasks.spawn(task);
            return Ok(reserved);
        }
        if let Some(opening) = opening {
            opening.succeeded(1);
        }
        let mut connection = Http1::new(stream, round_trip, now);
        connection.expires = expires;
        connection.proxy = proxy;
        Ok(Connection(Inner::Http1 { connection, reused: false }, Arc::clone(self)))
    }

    /// A connection that is there, and was opened at `since` or later.
    fn take(self: &Arc<Self>, since: Option<Instant>) -> Option<Connection> {
        // An idle connection is always older than the request.
        let idle = if since.is_none() { self.take_idle() } else { None };
        idle.or_else(|| self.take_http2(since))
    }

    /// The most recently used connection of those that may be used, which is the least likely to have been closed.
    fn take_idle(self: &Arc<Self>) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        if idle.is_empty() {
            return None;
        }
        let now = Instant::now();
        let rest = if self.clean.load(Ordering::Relaxed) < TRUSTED { REST } else { Duration::ZERO };
        let mut rested = idle.partition_point(|connection| now.duration_since(connection.since) >= rest);
        while rested > 0 {
            rested -= 1;
            let mut connection = idle.remove(rested);
            if connection.expires <= now {
                continue;
            }
            match connection.idle_state() {
                IdleState::Open => {
                    return Some(Connection(Inner::Http1 { connection, reused: true }, Arc::clone(self)));
                }
                IdleState::Closed => {}
                IdleState::Unrequested => {
                    // The other connections may have received unsolicited bytes, too.
                    tracing::warn!(upstream = %self.origin, "the server sent an unsolicited reply");
                    *lock(&self.distrusted) = Some(now);
                    self.clean.store(0, Ordering::Relaxed);
                    idle.clear();
                    return None;
                }
            }
        }
        None
    }

    /// Takes back a connection at the end of a reply.
    pub(super) fn take_back(&self, mut connection: Http1, reuse: Reuse) {
        match reuse {
            Reuse::Clean => {}
            Reuse::Ends => return,
            Reuse::Surplus => {
                self.clean.store(0, Ordering::Relaxed);
                return;
            }
        }
        if self.clean.load(Ordering::Relaxed) < TRUSTED {
            // Added, not stored: a store would undo a reset on another thread.
            self.clean.fetch_add(1, Ordering::Relaxed);
        }
        let now = Instant::now();
        if lock(&self.distrusted).is_some_and(|since| now.duration_since(since) < DISTRUST) {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_IDLE && now < connection.expires {
            connection.since = now;
            idle.push(connection);
        }
    }

    fn take_http2(self: &Arc<Self>, since: Option<Instant>) -> Option<Connection> {
        let mut open = lock(&self.http2);
        if open.is_empty() {
            return None;
        }
        let now = Instant::now();
        // Dropped here, a connection ends with the last of its requests.
        open.retain(|c| c.is_usable(now));
        let may_take = |c: &&Multiplexed| c.has_room() && since.is_none_or(|since| c.is_since(since));
        open.iter().filter(may_take).min_by_key(|c| c.in_flight()).map(|c| self.reserve(c))
    }

    /// Reserves `connection` for one more request.
    fn reserve(self: &Arc<Self>, connection: &Multiplexed) -> Connection {
        let (sender, in_flight) = connection.reserve();
        Connection(Inner::Http2 { sender, in_flight }, Arc::clone(self))
    }

    /// Gives no more requests to the connection whose requests `in_flight` counts.
    fn retire(&self, in_flight: &InFlight) {
        lock(&self.http2).retain(|c| !c.is_counted_by(in_flight));
    }
}

/// How long one connection gets requests, given the greatest age and a random number.
fn age(greatest: Duration, random: u64) -> Duration {
    let part = u32::try_from(random % 256).unwrap_or(0);
    greatest.saturating_sub(greatest / AGE_SPREAD / 256 * part)
}

/// A connection for one request.
pub struct Connection(Inner, Arc<Pool>);

enum Inner {
    Http1 {
        connection: Http1,
        /// Whether it has served requests before.
        reused: bool,
    },
    Http2 {
        sender: SendRequest<UpstreamBody>,
        in_flight: InFlight,
    },
}

impl Connection {
    /// Sends `request`, and waits for the reply's head and for the part of the body that arrives with it: a reply whose
    /// framing is broken from the start counts as none.
    ///
    /// # Errors
    /// When the connection ends before the reply, or the bytes that arrive are not a reply.
    pub async fn send(self, request: Request<UpstreamBody>) -> Result<Response<ReplyBody>, SendError> {
        let Self(inner, pool) = self;
        let mut reply = match inner {
            Inner::Http1 { connection, reused } => {
                let proxy = connection.proxy.clone();
                let request = match &proxy {
                    Some(proxy) => pool.through(proxy, request)?,
                    None => request,
                };
                let reply = connection.exchange(request, reused).await?;
                if let Some(proxy) = proxy.filter(|_| reply.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
                    return Err(proxy.refused(reply.status(), &pool.address));
                }
                reply.map(|body| ReplyBody::http1(body, pool))
            }
            Inner::Http2 { mut sender, in_flight } => {
                let request = pool.in_http2(request)?;
                let reply = sender.send_request(request).await.map_err(|error| {
                    let error = SendError::http2(error);
                    // A server that refuses a stream, or goes away, is to refuse no other request.
                    if error.is_unprocessed() {
                        pool.retire(&in_flight);
                    }
                    error
                })?;
                reply.map(|body| ReplyBody::http2(body, in_flight))
            }
        };
        // The body of an error arrives right after its head, and is worth a short wait: it decides what happens next.
        let wait = if reply.status().is_success() { Duration::ZERO } else { ERROR_BODY };
        reply.body_mut().begin(wait).await.map_err(|error| SendError::new(SendErrorKind::Protocol, error))?;
        Ok(reply)
    }
}

impl Pool {
    /// The request in the form of HTTP/2: with the authority in the URI, and without a Host header.
    fn in_http2(&self, mut request: Request<UpstreamBody>) -> Result<Request<UpstreamBody>, SendError> {
        let host = request.headers_mut().remove(header::HOST).unwrap_or_else(|| self.host.clone());
        self.with_authority(&mut request, &host)?;
        *request.version_mut() = Version::HTTP_2;
        Ok(request)
    }

    /// The request in the form for `proxy`, which forwards it to the origin's own host, whatever `Host` the server is
    /// to see.
    fn through(
        &self,
        proxy: &EgressProxy,
        mut request: Request<UpstreamBody>,
    ) -> Result<Request<UpstreamBody>, SendError> {
        self.with_authority(&mut request, &self.host)?;
        request.headers_mut().remove(header::PROXY_AUTHORIZATION);
        if let Some(authorization) = proxy.authorization() {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    /// Adds scheme and authority to the request's URI.
    fn with_authority(&self, request: &mut Request<UpstreamBody>, host: &HeaderValue) -> Result<(), SendError> {
        let scheme = if matches!(self.origin.transport, Transport::Tls(_)) { "https" } else { "http" };
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::builder()
            .scheme(scheme)
            .authority(host.as_bytes())
            .path_and_query(path)
            .build()
            .map_err(|e| SendError::new(SendErrorKind::Protocol, e))?;
        Ok(())
    }
}
