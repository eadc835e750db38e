//! Media from URLs that a client wrote, for providers that don't fetch them: a careful GET.
//!
//! The URL is the client's, so it must not reach hosts that the client can't: only public addresses are connected to,
//! after the name was resolved and for every redirect anew; no header or key of the request is sent along; size, time
//! and number are bounded. Nor may a client learn which hosts and ports are there: until a server has answered, every
//! failure has the same text and takes the same time.

mod content;
mod held;
mod reach;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::try_join_all;
use http::{Request, Response, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep_until, timeout_at},
};

pub use self::held::Held;
use self::{content::media_type, held::room};
use super::{
    Network, Proxies,
    proxy::{Wire, handshake},
    resolve::Resolver,
    tls::{self, TlsConfigs},
};

/// Largest file that is fetched: the largest that any provider takes inline.
const MAX_MEDIA_BYTES: usize = 20 * 1024 * 1024;
/// Files from here on are encoded off the threads that serve.
const LARGE: usize = 256 * 1024;
/// Largest sum of the files of one request: the largest body that any provider takes.
const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;
/// Most that is held at a time, over all requests.
const MAX_HELD: usize = 256 * 1024 * 1024;
/// How long the files of a request may take, redirects included. A model's reply takes longer than a working image
/// server.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long one server may take to begin its reply, and after which a client learns that it gives none.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Redirects that are followed: image hosts send to a mirror, and that to a CDN.
const MAX_REDIRECTS: usize = 3;
/// Threads that lookups of clients' names may block: enough for requests with many hosts, and a small part of tokio's.
const LOOKUPS: usize = 16;

/// Where no reply comes from, whatever the reason: no such name, an address that is not allowed, a port that is closed
/// or silent, a server that speaks something else.
const UNREACHABLE: &str = "its server gives no answer, or is not on the public internet";
const TOO_SLOW: &str = "it took too long to fetch";

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its media type, detected from its first bytes, else the server's.
    pub mime: String,
    /// Its content in base64.
    pub base64: String,
}

/// Why there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFetched {
    /// Which of the URLs it is about.
    pub number: usize,
    /// For the client.
    pub message: String,
    /// For the log.
    pub cause: String,
    /// Whether there is only no room for it at the moment.
    pub busy: bool,
}

/// What media may be fetched from where.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// Connect to private and local addresses too.
    pub private: bool,
    /// Networks that are refused whatever they are, such as the cluster's own.
    pub refused: Vec<Network>,
    /// The ports that URLs may name.
    pub ports: Vec<u16>,
    /// Tollgate's own admin port, which no URL reaches.
    pub admin: Option<SocketAddr>,
    /// The proxies through which connections leave the cluster.
    pub proxies: Proxies,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        Self {
            private: false,
            refused: Vec::new(),
            ports: vec![80, 443, 8080, 8443],
            admin: None,
            proxies: Proxies::default(),
        }
    }
}

/// Fetches media.
#[derive(Clone, Debug)]
pub struct Fetcher {
    options: Arc<FetcherOptions>,
    resolver: Resolver,
    reply_timeout: Duration,
    tls: TlsConfigs,
    /// What all requests together may hold.
    room: Arc<Semaphore>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new(FetcherOptions::default())
    }
}

/// Why one file can't be had: for the client, and for the log.
struct Failed {
    message: String,
    cause: String,
}

impl Failed {
    fn unreachable(cause: impl Into<String>) -> Self {
        Self { message: UNREACHABLE.to_owned(), cause: cause.into() }
    }

    fn number(self, number: usize) -> NotFetched {
        NotFetched { number, message: self.message, cause: self.cause, busy: false }
    }
}

impl<T: Into<String>> From<T> for Failed {
    fn from(message: T) -> Self {
        let message = message.into();
        Self { cause: message.clone(), message }
    }
}

impl Fetcher {
    /// A fetcher with these options.
    pub fn new(options: FetcherOptions) -> Self {
        let room = Arc::new(Semaphore::new(room(MAX_HELD) as usize));
        let (resolver, reply_timeout) = (Resolver::new(LOOKUPS), REPLY_TIMEOUT);
        Self { options: Arc::new(options), resolver, reply_timeout, tls: TlsConfigs::default(), room }
    }

    /// The files at `urls`, in their order. `held` is what the request holds of files already; room for these is added
    /// to it.
    ///
    /// A request takes its room at once, when the servers have announced the sizes of the files. It never waits for
    /// more while it holds some, so no two requests can wait for each other.
    ///
    /// # Errors
    /// Why there are none: a URL or an address is not allowed, a server can't be reached or refuses, or a file is too
    /// large.
    pub async fn get_all(&self, urls: &[&str], held: &mut Held) -> Result<Vec<Fetched>, NotFetched> {
        let until = Instant::now() + TIMEOUT;
        let replies = try_join_all(urls.iter().enumerate().map(async |(number, url)| {
            let reply = timeout_at(until, self.follow(url)).await.unwrap_or_else(|_| Err(TOO_SLOW.into()));
            reply.map_err(|failed| failed.number(number))
        }))
        .await?;
        let most = bounds(&replies, MAX_REQUEST_BYTES.saturating_sub(held.bytes()))?;
        if !timeout_at(until, held.take(&self.room, most)).await.unwrap_or(false) {
            let message = "there is no room for it at the moment".to_owned();
            let cause = format!("all requests together hold {MAX_HELD} bytes of fetched files");
            return Err(NotFetched { number: 0, message, cause, busy: true });
        }
        let left = AtomicUsize::new(most);
        let files = try_join_all(replies.into_iter().enumerate().map(async |(number, reply)| {
            let file = timeout_at(until, read(reply, &left)).await.unwrap_or_else(|_| Err(TOO_SLOW.into()));
            file.map_err(|failed| failed.number(number))
        }))
        .await?;
        held.give_back(left.into_inner());
        Ok(files)
    }

    /// The reply of the server to which `url` leads.
    async fn follow(&self, url: &str) -> Result<Response<Incoming>, Failed> {
        let mut url: Uri = url.parse().map_err(|_| "it is not a URL")?;
        for _ in 0..=MAX_REDIRECTS {
            let until = Instant::now() + self.reply_timeout;
            let place = Place::of(&url, &self.options.ports)?;
            let asked = timeout_at(until, self.ask(&url, &place)).await;
            let reply = match asked.unwrap_or_else(|_| Err("no reply came in time".to_owned())) {
                Ok(reply) => reply,
                Err(cause) => {
                    // What is refused at once takes as long as what is silent.
                    sleep_until(until).await;
                    return Err(Failed::unreachable(format!("{}:{}: {cause}", place.host, place.port)));
                }
            };
            let status = reply.status();
            if status.is_redirection() {
                let to = reply.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
                url = redirected(&url, to.ok_or("it redirects to nowhere")?)?;
            } else if status.is_success() {
                return Ok(reply);
            } else {
                return Err(format!("its server answered {}", status.as_u16()).into());
            }
        }
        Err("it redirects too often".into())
    }

    /// Asks the server at `place`; its error is for the log.
    async fn ask(&self, url: &Uri, place: &Place<'_>) -> Result<Response<Incoming>, String> {
        let addresses = self.resolve(place).await?;
        let wire = self.connect(place, &addresses).await?;
        let request = Request::get(url.path_and_query().map_or("/", |p| p.as_str()))
            .header(header::HOST, url.authority().map_or("", |a| a.as_str().rsplit('@').next().unwrap_or_default()))
            .header(header::USER_AGENT, "tollgate")
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| error.to_string())?;
        if !place.secure {
            return match wire {
                Wire::Tcp(stream) => exchange(TokioIo::new(stream), request).await,
                Wire::Tls(stream) => exchange(TokioIo::new(stream), request).await,
            };
        }
        let name = tls::server_name(place.host)?;
        let config = self.tls.http1().await.map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("TLS handshake failed: {error}");
        match wire {
            Wire::Tcp(stream) => {
                exchange(TokioIo::new(handshake(config, name, stream).await.map_err(failed)?), request).await
            }
            Wire::Tls(stream) => {
                exchange(TokioIo::new(handshake(config, name, *stream).await.map_err(failed)?), request).await
            }
        }
    }

    /// A connection to one of `addresses`, which were checked. A proxy gets the address and not the name, so that it
    /// can't resolve the name to another one.
    async fn connect(&self, place: &Place<'_>, addresses: &[SocketAddr]) -> Result<Wire, String> {
        let Some(proxy) = self.options.proxies.of(place.secure, place.host, place.port) else {
            let stream = TcpStream::connect(addresses).await.map_err(|error| format!("can't connect: {error}"))?;
            return Ok(Wire::Tcp(stream));
        };
        let address = addresses.first().ok_or("the name has no address")?;
        let connected = proxy.connect(&self.resolver, &self.tls, self.reply_timeout).await;
        let (mut wire, _) = connected.map_err(|error| error.to_string())?;
        proxy.tunnel(&mut wire, &address.to_string()).await.map_err(|error| error.to_string())?;
        Ok(wire)
    }

    /// The addresses of a host, all of which may be connected to. One that may not refuses them all: a name that mixes
    /// both is no honest image server's. What was checked here is what is dialled.
    async fn resolve(&self, place: &Place<'_>) -> Result<Vec<SocketAddr>, String> {
        let found = self.resolver.resolve(place.host).await.map_err(|error| error.to_string())?;
        let found: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(*ip, place.port)).collect();
        match found.iter().find(|address| !self.options.allows(**address)) {
            Some(address) => Err(format!("{} is not for clients to reach", address.ip())),
            None if found.is_empty() => Err("the name has no address".to_owned()),
            None => Ok(found),
        }
    }

    /// What all requests together hold, in bytes.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        MAX_HELD - self.room.available_permits() * held::UNIT
    }
}

/// Where a URL leads.
struct Place<'a> {
    secure: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Place<'a> {
    fn of(url: &'a Uri, ports: &[u16]) -> Result<Self, Failed> {
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is neither an http: nor an https: URL".into()),
        };
        let host = url.host().ok_or("it names no host")?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        if !ports.contains(&port) {
            let allowed = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            return Err(format!("its port is none of {allowed}").into());
        }
        Ok(Self { secure, host, port })
    }
}

/// Most bytes that the bodies of `replies` may have together, at most `room`.
fn bounds(replies: &[Response<Incoming>], room: usize) -> Result<usize, NotFetched> {
    let (mut declared, mut open) = (0_usize, 0_usize);
    for (number, reply) in replies.iter().enumerate() {
        match reply.body().size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX)) {
            Some(length) if length > MAX_MEDIA_BYTES => return Err(too_large().number(number)),
            Some(length) => declared += length,
            None => open += MAX_MEDIA_BYTES,
        }
        if declared > room {
            return Err(too_large_together().number(number));
        }
    }
    Ok((declared + open).min(room))
}

/// The file of a reply; `left` is what the files of its request may still have.
async fn read(reply: Response<Incoming>, left: &AtomicUsize) -> Result<Fetched, Failed> {
    let declared = reply.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let declared = declared.map(|v| v.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if reply.headers().get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity") {
        return Err("it is compressed, which was not requested".into());
    }
    let mut body = reply.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "its server broke off")?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX_MEDIA_BYTES {
            return Err(too_large());
        }
        let take = |left: usize| left.checked_sub(data.len());
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| too_large_together())?;
        bytes.extend_from_slice(data);
    }
    let mime = media_type(&bytes, declared)?;
    Ok(Fetched { mime, base64: encode(bytes).await })
}

/// A file in base64. A large one is encoded on a thread of its own, so that other requests go on meanwhile.
async fn encode(bytes: Vec<u8>) -> String {
    if bytes.len() < LARGE {
        return BASE64_STANDARD.encode(bytes);
    }
    let encoding = tokio::task::spawn_blocking(move || BASE64_STANDARD.encode(bytes));
    // It does not panic, and is not cancelled.
    encoding.await.unwrap_or_default()
}

fn too_large() -> Failed {
    format!("it is larger than {MAX_MEDIA_BYTES} bytes").into()
}

fn too_large_together() -> Failed {
    format!("the files of one request may have {MAX_REQUEST_BYTES} bytes together").into()
}

async fn exchange<S>(stream: S, request: Request<Empty<bytes::Bytes>>) -> Result<Response<Incoming>, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| format!("no reply of HTTP: {error}");
    let (mut sender, connection) = http1::handshake(stream).await.map_err(failed)?;
    // Ends with the reply's body, or when it is dropped.
    #[expect(clippy::disallowed_methods, reason = "it ends with the reply, which its reader owns")]
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(failed)
}

fn redirected(from: &Uri, to: &str) -> Result<Uri, Failed> {
    let invalid = || "it redirects to an invalid URL".to_owned();
    let to: Uri = to.parse().map_err(|_| invalid())?;
    if to.scheme().is_some() {
        // The client requested a TLS connection.
        let downgrade = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
        return if downgrade { Err("it redirects to an insecure place".into()) } else { Ok(to) };
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = to.path_and_query().cloned();
    Uri::from_parts(parts).map_err(|_| invalid().into())
}

#[cfg(test)]
mod tests;
