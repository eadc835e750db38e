//! Proxies for connections that leave the cluster: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
//!
//! hyper-util has a matcher for these variables and a connector for CONNECT. Here both have to be stricter: a URL that
//! can't be used is an error instead of a direct connection, `NO_PROXY` may name ports, its `*` means addresses too,
//! and a refusal is reported with its status.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, StatusCode, Uri, uri::Scheme};
use percent_encoding::percent_decode_str;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Network, SendError, SendErrorKind,
    networks::LINK_LOCAL,
    resolve::Resolver,
    tcp::tcp,
    tls::{self, TlsConfigs},
};

/// Longest head of a proxy's reply. Real ones have some hundred bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Most headers of a proxy's reply.
const MAX_HEADERS: usize = 64;
/// Names that only this machine or its cluster resolves.
const LOCAL_DOMAINS: [&str; 3] = ["localhost", "svc", "cluster.local"];

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressProxy {
    host: String,
    port: u16,
    /// Whether the proxy itself is reached over TLS.
    secure: bool,
    /// User and password; marked sensitive, so that they are never printed.
    authorization: Option<HeaderValue>,
}

/// Which connections go through which proxy. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Arc<EgressProxy>>,
    https: Option<Arc<EgressProxy>>,
    except: Arc<[Exception]>,
}

/// One entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// The port it is about, or all.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Hosts {
    All,
    Network(Network),
    /// This domain, in lower case, and all below it.
    Domain(String),
}

/// A connection to a proxy.
pub(super) enum Wire {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Proxies {
    /// The proxies of an environment. Of each variable the name in capitals counts before the one in small letters, and
    /// an empty value as none.
    ///
    /// # Errors
    /// When a URL can't be used. The text never has any part of the URL, which may hold a password.
    pub fn from_environment(environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name: &str| {
            let spellings = [name.to_owned(), name.to_ascii_lowercase()];
            let values = spellings.map(|name| environment(&name));
            values.into_iter().flatten().map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
        };
        let proxy = |name: &str| {
            let parsed = variable(name).map(|url| EgressProxy::parse(&url).map(Arc::new));
            parsed.transpose().map_err(|why| format!("{name} {why}"))
        };
        let all = proxy("ALL_PROXY")?;
        let except = variable("NO_PROXY").unwrap_or_default();
        let except = except.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).map(Exception::parse);
        Ok(Self {
            http: proxy("HTTP_PROXY")?.or_else(|| all.clone()),
            https: proxy("HTTPS_PROXY")?.or(all),
            except: except.collect(),
        })
    }

    /// The same for connections with TLS alone. Clouds issue the pod's identity over HTTP at addresses of the machine,
    /// from where no proxy may get it.
    #[must_use]
    pub fn tls_only(&self) -> Self {
        Self { http: None, ..self.clone() }
    }

    /// The addresses of the proxies, for the log: that for HTTP, then that for TLS.
    pub fn addresses(&self) -> [Option<String>; 2] {
        [&self.http, &self.https].map(|proxy| proxy.as_ref().map(ToString::to_string))
    }

    /// Whether `proxy` is the one for TLS, and `server` is reached without it.
    pub fn excepts(&self, proxy: &Uri, server: &Uri) -> bool {
        let is_ours = |own: &Arc<EgressProxy>| {
            proxy.host().map(without_brackets) == Some(&own.host)
                && proxy.port_u16().unwrap_or(if own.secure { 443 } else { 80 }) == own.port
        };
        let port = server.port_u16().unwrap_or(443);
        self.https.as_ref().is_some_and(is_ours)
            && server.host().is_some_and(|host| self.of(true, without_brackets(host), port).is_none())
    }

    /// The proxy for connections to `port` of `host`, with TLS or without.
    pub(super) fn of(&self, secure: bool, host: &str, port: u16) -> Option<&Arc<EgressProxy>> {
        let proxy = if secure { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let excepted = || self.except.iter().any(|entry| entry.matches(&host, port));
        (!is_local(&host) && !excepted()).then_some(proxy)
    }
}

/// IPv6 addresses have brackets in URLs.
fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether `host`, in lower case, is this machine or inside the cluster, where no proxy leads.
fn is_local(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => {
            let unreachable = address.is_loopback() || address.is_unspecified();
            unreachable || LINK_LOCAL.iter().any(|network| network.contains(address))
        }
        Err(_) => !host.contains('.') || LOCAL_DOMAINS.iter().any(|domain| is_below(host, domain)),
    }
}

/// Whether `host` is `domain` or below it.
fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Exception {
    fn parse(text: &str) -> Self {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address come before no port.
            _ if without_brackets(text).parse::<Network>().is_ok() => (text, None),
            Some((host, port)) => port.parse().map_or((text, None), |port| (host, Some(port))),
            None => (text, None),
        };
        let host = without_brackets(host).trim_end_matches('.').to_ascii_lowercase();
        let hosts = match host.parse() {
            Ok(network) => Hosts::Network(network),
            Err(_) if host == "*" => Hosts::All,
            Err(_) => Hosts::Domain(host.trim_start_matches("*.").trim_start_matches('.').to_owned()),
        };
        Self { hosts, port }
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        let has_host = || match &self.hosts {
            Hosts::All => true,
            Hosts::Network(network) => {
                host.parse::<IpAddr>().is_ok_and(|own| network.contains(own) || network.contains(own.to_canonical()))
            }
            Hosts::Domain(domain) => is_below(host, domain),
        };
        self.port.is_none_or(|own| own == port) && has_host()
    }
}

/// `http://HOST:PORT`, without user and password.
impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", target(&self.host, self.port))
    }
}

/// `HOST:PORT`, as CONNECT has it.
pub(super) fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl EgressProxy {
    fn parse(url: &str) -> Result<Self, String> {
        let wrong = || "is no URL such as http://proxy.example:3128; encode what is special in a password".to_owned();
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) => return Err("is of a kind that is not supported: use an http:// or https:// proxy".into()),
            // As `proxy.example:3128`.
            None => false,
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = without_brackets(authority.host()).to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let authorization = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let mut both: Vec<u8> = percent_decode_str(user).collect();
            both.push(b':');
            both.extend(percent_decode_str(password));
            let mut value =
                HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(both))).map_err(|_| wrong())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        let at_port = authority.as_str().rsplit('@').next().and_then(|rest| rest.strip_prefix(authority.host()));
        let port = match at_port.map(|rest| rest.strip_prefix(':').unwrap_or(rest)) {
            None | Some("") => {
                if secure {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().map_err(|_| wrong())?,
        };
        Ok(Self { host, port, secure, authorization: authorization.transpose()? })
    }

    /// User and password, for requests that the proxy forwards.
    pub(super) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// A connection to the proxy, and how long its round trip takes at most. The operator chose the proxy, so its
    /// address may be any.
    pub(super) async fn connect(
        &self,
        resolver: &Resolver,
        configs: &TlsConfigs,
        timeout: Duration,
    ) -> Result<(Wire, Duration), SendError> {
        let found =
            resolver.resolve(&self.host).await.map_err(|e| self.fault(&format!("can't resolve its name: {e}")))?;
        let addresses = found.iter().map(|ip| (*ip, self.port).into()).collect();
        let begun = Instant::now();
        let tcp = tcp(addresses, timeout).await.map_err(|error| match error.kind {
            SendErrorKind::NoDescriptors => error,
            _ => self.fault(&with_causes(&error)),
        })?;
        let round_trip = begun.elapsed();
        if !self.secure {
            return Ok((Wire::Tcp(tcp), round_trip));
        }
        let config = configs.http1().await.map_err(|e| self.fault(&e.to_string()))?;
        let name = tls::server_name(&self.host).map_err(|why| self.fault(&why))?;
        let stream =
            handshake(config, name, tcp).await.map_err(|e| self.fault(&format!("TLS handshake failed: {e}")))?;
        Ok((Wire::Tls(Box::new(stream)), round_trip))
    }

    /// Asks the proxy for a tunnel to `target`. Not one byte behind the reply is read: it is the server's.
    pub(super) async fn tunnel(&self, wire: &mut Wire, target: &str) -> Result<(), SendError> {
        let reply = match wire {
            Wire::Tcp(stream) => self.ask(stream, target).await,
            Wire::Tls(stream) => self.ask(stream, target).await,
        };
        let head = reply.map_err(|error| self.fault(&format!("the connection broke before a reply: {error}")))?;
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let status = match parsed.parse(&head) {
            Ok(httparse::Status::Complete(_)) => parsed.code.and_then(|code| StatusCode::from_u16(code).ok()),
            _ => None,
        };
        match status {
            Some(status) if status.is_success() => Ok(()),
            Some(status) => Err(self.refused(status, target)),
            None => Err(self.fault("the reply to CONNECT is not HTTP")),
        }
    }

    /// Sends CONNECT, and reads the head of the reply.
    async fn ask(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), target: &str) -> std::io::Result<Vec<u8>> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"proxy-authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
            head.push(stream.read_u8().await?);
        }
        Ok(head)
    }

    /// The error of a proxy that refuses to connect to `target`.
    pub(super) fn refused(&self, status: StatusCode, target: &str) -> SendError {
        let hint = match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.authorization.is_some() => {
                "; it does not accept the user and password of its URL"
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => "; its URL has no user and password",
            _ => "",
        };
        self.fault(&format!("it answered {status} for {target}{hint}"))
    }

    fn fault(&self, why: &str) -> SendError {
        SendError::new(SendErrorKind::Proxy, format!("{self}: {why}"))
    }
}

fn with_causes(error: &SendError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error).and_then(std::error::Error::source);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// A TLS handshake over `stream`.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: S,
) -> std::io::Result<TlsStream<S>> {
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream.flush().await?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
