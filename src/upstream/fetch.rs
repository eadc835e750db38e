//! Media from URLs that a client wrote, for providers that don't fetch them: a careful GET.
//!
//! The URL is the client's, so it must not reach hosts that the client can't: only public addresses are connected to,
//! after the name was resolved and for every redirect anew; no header or key of the request is sent along; size, time
//! and number are bounded.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsConnector;

use super::tls;

/// Largest file that is fetched: the largest that any provider takes inline.
pub const MAX_MEDIA_BYTES: usize = 20 * 1024 * 1024;
/// Largest sum of the files of one request: the largest body that any provider takes.
pub const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;
/// Most bytes that are held at a time, over all requests.
const MAX_HELD: usize = 256 * 1024 * 1024;
/// The unit in which these bytes are counted.
const UNIT: usize = 1024 * 1024;
/// How long one file may take, redirects included. A model's reply takes longer than a working image server.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Redirects that are followed: image hosts send to a mirror, and that to a CDN.
const MAX_REDIRECTS: usize = 3;

/// The error of names without an address, too: a client must not learn which internal names exist.
const NOT_PUBLIC: &str = "its host is not on the public internet";

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its media type, detected from its first bytes, else the server's.
    pub mime: String,
    /// Its content in base64.
    pub base64: String,
}

/// Fetches media.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// Whether to connect to private and local addresses too.
    allow_private: bool,
    /// The budget of all requests together, in [`UNIT`]s.
    room: Arc<Semaphore>,
}

/// The budget of one request, and its share of the budget of all requests.
#[derive(Debug, Default)]
pub struct Allowance {
    /// Bytes fetched for the request.
    used: AtomicUsize,
    held: Mutex<Vec<OwnedSemaphorePermit>>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Fetcher {
    /// A fetcher; `allow_private` lifts the ban on addresses that are not public.
    pub fn new(allow_private: bool) -> Self {
        Self { allow_private, room: Arc::new(Semaphore::new(MAX_HELD / UNIT)) }
    }

    /// The budget of one more request: [`MAX_REQUEST_BYTES`]. Hold it as long as the files.
    pub fn allowance(&self) -> Allowance {
        Allowance::default()
    }

    /// The file at `url`.
    ///
    /// # Errors
    /// The reason why there is none, for the client: the URL or the address is not allowed, the server can't be reached
    /// or refuses, or the file is too large.
    pub async fn get(&self, url: &str, allowance: &Allowance) -> Result<Fetched, String> {
        let fetch = self.follow(url, allowance);
        tokio::time::timeout(TIMEOUT, fetch).await.unwrap_or_else(|_| Err("it took too long to fetch".into()))
    }

    async fn follow(&self, url: &str, allowance: &Allowance) -> Result<Fetched, String> {
        let mut url: Uri = url.parse().map_err(|_| "it is not a URL")?;
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.request(&url).await?;
            let status = reply.status();
            if status.is_redirection() {
                let to = reply.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
                url = redirected(&url, to.ok_or("it redirects to nowhere")?)?;
            } else if status.is_success() {
                return self.read(reply, allowance).await;
            } else {
                return Err(format!("its server answered {}", status.as_u16()));
            }
        }
        Err("it redirects too often".into())
    }

    async fn request(&self, url: &Uri) -> Result<Response<Incoming>, String> {
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is neither an http: nor an https: URL".into()),
        };
        let host = url.host().ok_or("it names no host")?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let address = self.resolve(host, port).await?;
        let failed = |_| "its server can't be reached".to_owned();
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        let request = Request::get(url.path_and_query().map_or("/", |p| p.as_str()))
            .header(header::HOST, url.authority().map_or("", |a| a.as_str().rsplit('@').next().unwrap_or_default()))
            .header(header::USER_AGENT, "tollgate")
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|_| "it is not a URL")?;
        if !secure {
            return exchange(TokioIo::new(tcp), request).await;
        }
        let config = tokio::task::spawn_blocking(|| tls::client_config(true)).await.ok().and_then(Result::ok);
        let mut config = config.ok_or("no secure connection can be made")?;
        Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = tls::server_name(host)?;
        let tls = TlsConnector::from(config).connect(name, tcp).await;
        let mut stream = tls.map_err(|_| "no secure connection to its server can be made")?;
        stream.flush().await.map_err(failed)?;
        exchange(TokioIo::new(stream), request).await
    }

    async fn read(&self, reply: Response<Incoming>, allowance: &Allowance) -> Result<Fetched, String> {
        let declared = reply.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let declared = declared.map(|v| v.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        if reply.headers().get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity") {
            return Err("it is compressed, which was not requested".into());
        }
        let mut body = reply.into_body();
        if http_body::Body::size_hint(&body).lower() > MAX_MEDIA_BYTES as u64 {
            return Err(format!("it is larger than {MAX_MEDIA_BYTES} bytes"));
        }
        let mut bytes = Vec::new();
        let mut room = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| "its server broke off")?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > MAX_MEDIA_BYTES {
                return Err(format!("it is larger than {MAX_MEDIA_BYTES} bytes"));
            }
            if allowance.used.fetch_add(data.len(), Ordering::Relaxed) + data.len() > MAX_REQUEST_BYTES {
                return Err(format!("the files of one request may have {MAX_REQUEST_BYTES} bytes together"));
            }
            bytes.extend_from_slice(data);
            while room < bytes.len() {
                // Waits for other fetches to end; the timeout of the whole fetch bounds this.
                let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| "no file is fetched any more")?;
                allowance.held.lock().unwrap_or_else(PoisonError::into_inner).push(permit);
                room += UNIT;
            }
        }
        Ok(Fetched { mime: media_type(&bytes, declared)?, base64: BASE64_STANDARD.encode(bytes) })
    }

    /// An address of `host` that may be connected to. One forbidden address makes the name invalid: an image server has
    /// no reason to have both kinds.
    async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, String> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| NOT_PUBLIC)?;
        let found: Vec<SocketAddr> = found.collect();
        if !self.allow_private && found.iter().any(|address| !is_public(address.ip())) {
            return Err(NOT_PUBLIC.into());
        }
        found.first().copied().ok_or_else(|| NOT_PUBLIC.into())
    }
}

async fn exchange<S>(stream: S, request: Request<Empty<bytes::Bytes>>) -> Result<Response<Incoming>, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let failed = |_| "its server does not speak HTTP".to_owned();
    let (mut sender, connection) = http1::handshake(stream).await.map_err(failed)?;
    // Ends with the reply's body, or when it is dropped.
    #[expect(clippy::disallowed_methods, reason = "it ends with the reply, which its reader owns")]
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(failed)
}

fn redirected(from: &Uri, to: &str) -> Result<Uri, String> {
    let invalid = || "it redirects to an invalid URL".to_owned();
    let to: Uri = to.parse().map_err(|_| invalid())?;
    if to.scheme().is_some() {
        // The client requested a TLS connection.
        let downgrade = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
        return if downgrade { Err("it redirects to an insecure place".into()) } else { Ok(to) };
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = to.path_and_query().cloned();
    Uri::from_parts(parts).map_err(|_| invalid())
}

/// The media type of a file with the server's media type `declared`.
fn media_type(bytes: &[u8], declared: Option<String>) -> Result<String, String> {
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    if let Some(mime) = sniff(bytes) {
        return Ok(mime.to_owned());
    }
    let declared = declared
        .filter(|declared| is_media(declared))
        .ok_or("it is neither an image nor a document nor an audio file")?;
    // Images of these types begin as `sniff` expects; error pages may have any type.
    let page = !declared.starts_with("text/") && bytes.trim_ascii_start().starts_with(b"<");
    if page || ["image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"].contains(&&*declared) {
        return Err(format!("its content is not {declared}"));
    }
    Ok(declared)
}

/// The media type that the first bytes indicate. Servers often send images as `application/octet-stream`.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(usize, &[u8], &str); 7] = [
        (0, b"\x89PNG\r\n\x1a\n", "image/png"),
        (0, b"\xff\xd8\xff", "image/jpeg"),
        (0, b"GIF8", "image/gif"),
        (8, b"WEBP", "image/webp"),
        (0, b"%PDF-", "application/pdf"),
        (8, b"WAVE", "audio/wav"),
        (0, b"ID3", "audio/mp3"),
    ];
    KNOWN.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic))).map(|(_, _, mime)| *mime)
}

fn is_media(mime: &str) -> bool {
    ["image/", "audio/", "video/", "text/plain", "text/markdown", "text/csv"].iter().any(|p| mime.starts_with(p))
        || mime == "application/pdf"
}

/// Whether an address is on the public internet: not private, local, shared, reserved, for documentation or
/// translation.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_broadcast()
        || v4.is_documentation()
        || v4.is_multicast();
    // This network, shared by carriers, IETF protocols, benchmarks, reserved.
    let reserved = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !special && !reserved
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    // Only 2000::/3 is allocated; of it, 2001:db8::/32 is for documentation, and Teredo and 6to4 contain IPv4
    // addresses.
    (0x2000..0x4000).contains(&first) && !(first == 0x2001 && (second == 0x0db8 || second == 0)) && first != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for address in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "64:ff9b::a00:1",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn private_hosts_and_other_schemes_are_refused() {
        let fetcher = Fetcher::default();
        for (url, why) in [
            ("http://127.0.0.1:1/a.png", "public internet"),
            ("http://[::1]/a.png", "public internet"),
            ("http://169.254.169.254/latest/meta-data", "public internet"),
            ("http://localhost/a.png", "public internet"),
            ("http://2130706433/", "public internet"),
            ("file:///etc/passwd", "URL"),
            ("ftp://example.com/a", "http"),
            ("nothing", "URL"),
            ("", "URL"),
        ] {
            let refused = fetcher.get(url, &fetcher.allowance()).await.unwrap_err();
            assert!(refused.contains(why), "{url}: {refused}");
        }
    }

    #[test]
    fn redirects_stay_secure() {
        let from: Uri = "https://a.example/x?y".parse().unwrap();
        assert_eq!(redirected(&from, "/z").unwrap(), "https://a.example/z");
        assert_eq!(redirected(&from, "https://b.example/").unwrap(), "https://b.example/");
        assert!(redirected(&from, "http://b.example/").is_err());
    }

    #[test]
    fn files_must_match_the_servers_media_type() {
        for (bytes, declared, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("application/octet-stream"), Some("image/png")),
            (b"....ftypheic", Some("image/heic"), Some("image/heic")),
            (b"<p>text</p>", Some("text/plain"), Some("text/plain")),
            (b"", Some("image/png"), None),
            (b"<html>", Some("image/png"), None),
            (b"<html>", Some("image/heic"), None),
            (b"no picture", Some("image/jpeg"), None),
            (b"no picture", None, None),
        ] {
            let found = media_type(bytes, declared.map(str::to_owned));
            assert_eq!(found.as_deref().ok(), expected, "{declared:?} {bytes:?}");
        }
    }

    #[test]
    fn media_types_are_detected_from_first_bytes() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n...."), Some("image/png"));
        assert_eq!(sniff(b"RIFF....WEBPVP8 "), Some("image/webp"));
        assert_eq!(sniff(b"<html>"), None);
    }
}
