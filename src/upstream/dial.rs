//! New connections: DNS, a check of the addresses, TCP or a tunnel through a proxy, then TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Origin, OriginKind, Proxies, Reach, SendError, SendErrorKind, Transport,
    http1::Stream,
    proxy::{EgressProxy, Wire, handshake, target},
    resolve::Resolver,
    tcp::tcp,
    tls::{self, TlsConfigs},
};

/// Threads that lookups for new connections may block: a quarter of tokio's, which leaves enough for all else that
/// blocks.
const LOOKUPS: usize = 128;

/// Options of new connections.
#[derive(Clone, Debug)]
pub struct DialerOptions {
    /// Bound on DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long a connection gets requests. Then another is opened, for which the host's name is resolved anew.
    pub max_age: Duration,
    /// The simulator's address. Every connection to an LLM provider goes there instead, without TLS.
    pub simulator: Option<SocketAddr>,
    /// Which addresses connections may go to.
    pub reach: Reach,
    /// The proxies through which connections leave the cluster.
    pub proxies: Proxies,
}

impl Default for DialerOptions {
    /// Five seconds to connect: three SYN retransmissions, after which another target is more promising. Five minutes
    /// of age: providers move their names within the time for which name servers commonly keep an address.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            max_age: Duration::from_mins(5),
            simulator: None,
            reach: Reach::default(),
            proxies: Proxies::default(),
        }
    }
}

/// A new connection.
pub(super) struct Dialed {
    pub stream: Stream,
    /// Whether it uses HTTP/2.
    pub http2: bool,
    /// How long a round trip takes, at most: a handshake is one, and may include more.
    pub round_trip: Duration,
    /// The proxy that forwards each request. Tunnels have none: the server is at their other end.
    pub proxy: Option<Arc<EgressProxy>>,
}

impl Dialed {
    /// A connection without TLS to the server.
    fn clear(wire: Wire, http2: bool, round_trip: Duration, proxy: Option<Arc<EgressProxy>>) -> Self {
        let stream = match wire {
            Wire::Tcp(stream) => Stream::Clear(stream),
            Wire::Tls(stream) => Stream::Tls(stream),
        };
        Self { stream, http2, round_trip, proxy }
    }
}

/// Makes connections.
pub struct Dialer {
    options: DialerOptions,
    resolver: Resolver,
    tls: TlsConfigs,
}

impl Dialer {
    /// A dialer with these options.
    pub fn new(options: DialerOptions) -> Self {
        Self { options, resolver: Resolver::new(LOOKUPS), tls: TlsConfigs::default() }
    }

    /// The same, with names that `resolver` resolves.
    #[cfg(test)]
    pub(super) fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// The options of its connections.
    pub(super) const fn options(&self) -> &DialerOptions {
        &self.options
    }

    /// The actual address and security of connections to `origin`: simulated providers have no TLS.
    pub(super) fn transport(&self, origin: &Origin) -> Transport {
        match self.simulator(origin) {
            Some(_) => Transport::Http1,
            None => origin.transport.clone(),
        }
    }

    /// Whether the simulator replaces LLM providers.
    pub(super) const fn simulates_providers(&self) -> bool {
        self.options.simulator.is_some()
    }

    fn simulator(&self, origin: &Origin) -> Option<SocketAddr> {
        self.options.simulator.filter(|_| origin.kind == OriginKind::Provider)
    }

    /// A new connection to `origin`.
    pub(super) async fn dial(&self, origin: &Origin) -> Result<Dialed, SendError> {
        match tokio::time::timeout(self.options.connect_timeout, self.connect(origin)).await {
            Ok(result) => result,
            Err(elapsed) => {
                let through = self.proxy(origin).map(|proxy| format!(" through {proxy}")).unwrap_or_default();
                Err(SendError::new(SendErrorKind::ConnectTimeout, format!("{elapsed}{through}")))
            }
        }
    }

    /// The addresses of `origin` that may be connected to. Names and addresses in every spelling are checked here.
    async fn resolve(&self, origin: &Origin) -> Result<Vec<SocketAddr>, SendError> {
        let found = self.resolver.resolve(&origin.host).await;
        let found = found.map_err(|e| SendError::new(SendErrorKind::Resolve, e))?;
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found.iter().map(|ip| SocketAddr::new(*ip, origin.port)) {
            match self.options.reach.check(address) {
                Ok(()) => allowed.push(address),
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if allowed.is_empty() => Err(SendError::new(SendErrorKind::Connect, why)),
            _ => Ok(allowed),
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<Dialed, SendError> {
        let transport = self.transport(origin);
        let proxy = self.proxy(origin);
        let (wire, round_trip) = if let Some(proxy) = proxy {
            self.connect_through(proxy, origin, &transport).await?
        } else {
            let addresses = match self.simulator(origin) {
                Some(address) => vec![address],
                None => self.resolve(origin).await?,
            };
            let begun = Instant::now();
            let stream = tcp(addresses, self.options.connect_timeout).await?;
            (Wire::Tcp(stream), begun.elapsed())
        };
        let tls = match transport {
            Transport::Http1 => return Ok(Dialed::clear(wire, false, round_trip, proxy.cloned())),
            Transport::Http2 => return Ok(Dialed::clear(wire, true, round_trip, None)),
            Transport::Tls(tls) => tls,
        };
        let failed = |e: Box<dyn std::error::Error + Send + Sync>| SendError::new(SendErrorKind::Tls, e);
        let config = self.tls.get(&tls.trust).await.map_err(failed)?;
        let name = tls::server_name(tls.name.as_deref().unwrap_or(&origin.host)).map_err(|e| failed(e.into()))?;
        let begun = Instant::now();
        let stream = match wire {
            Wire::Tcp(wire) => handshake(config, name, wire).await.map(|stream| Stream::Tls(Box::new(stream))),
            Wire::Tls(wire) => handshake(config, name, *wire).await.map(|stream| Stream::TlsInTls(Box::new(stream))),
        };
        let stream = stream.map_err(|e| failed(e.into()))?;
        let http2 = stream.alpn() == Some(b"h2");
        Ok(Dialed { stream, http2, round_trip: round_trip.min(begun.elapsed()), proxy: None })
    }

    /// The proxy for connections to `origin`.
    fn proxy(&self, origin: &Origin) -> Option<&Arc<EgressProxy>> {
        let direct = self.simulator(origin).is_some() || origin.kind == OriginKind::Service;
        let secure = matches!(origin.transport, Transport::Tls(_));
        self.options.proxies.of(secure, &origin.host, origin.port).filter(|_| !direct)
    }

    /// A connection to `proxy` that can be used as one to `origin`. HTTP/1.1 without TLS needs no tunnel: the proxy
    /// forwards each request.
    async fn connect_through(
        &self,
        proxy: &EgressProxy,
        origin: &Origin,
        transport: &Transport,
    ) -> Result<(Wire, Duration), SendError> {
        // Names are the proxy's to resolve. What is an address already, in any spelling, is checked as ever.
        let target = if is_numeric(&origin.host) {
            let checked = self.resolve(origin).await?;
            checked.first().map_or_else(|| target(&origin.host, origin.port), ToString::to_string)
        } else {
            target(&origin.host, origin.port)
        };
        let (mut wire, round_trip) = proxy.connect(&self.resolver, &self.tls, self.options.connect_timeout).await?;
        if *transport == Transport::Http1 {
            return Ok((wire, round_trip));
        }
        let begun = Instant::now();
        proxy.tunnel(&mut wire, &target).await?;
        // The round trip to the server is longer than the one to the proxy.
        Ok((wire, begun.elapsed()))
    }
}

/// Whether `host` is an address in any spelling that resolvers read: `127.0.0.1`, `127.1`, `0x7f000001`, `::1`.
fn is_numeric(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    is_number || last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x")) || host.contains(':')
}
