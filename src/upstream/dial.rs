//! New connections: DNS, a check of the addresses, TCP by hyper-util's connector, then TLS.

use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tokio::{io::AsyncWriteExt, time::Instant};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{Origin, Reach, SendError, SendErrorKind, Transport, http1::Stream, resolve::Resolver, tls::{self, TlsConfigs}};

/// Threads that lookups for new connections may block: a quarter of tokio's, which leaves enough for all else that
/// blocks.
const LOOKUPS: usize = 128;

/// Options of new connections.
#[derive(Clone, Debug)]
pub struct DialerOptions {
    /// Bound on DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The simulator's address. Every connection to an LLM provider goes there instead, without TLS.
    pub simulator: Option<SocketAddr>,
    /// Which addresses connections may go to.
    pub reach: Reach,
}

impl Default for DialerOptions {
    /// Five seconds: three SYN retransmissions, after which another target is more promising.
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), simulator: None, reach: Reach::default() }
    }
}

/// A new connection.
pub(super) struct Dialed {
    pub stream: Stream,
    /// Whether it uses HTTP/2.
    pub http2: bool,
    /// How long a round trip takes, at most: a handshake is one, and may include more.
    pub round_trip: Duration,
}

/// Makes connections.
pub struct Dialer {
    options: DialerOptions,
    resolver: Resolver,
    tls: TlsConfigs,
}

/// A resolver for the connector, which tries several addresses side by side: it returns the addresses that were
/// resolved and checked before.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        std::future::ready(Ok(std::mem::take(&mut self.0).into_iter()))
    }
}

impl Dialer {
    /// A dialer with these options.
    pub fn new(options: DialerOptions) -> Self {
        Self { options, resolver: Resolver::new(LOOKUPS), tls: TlsConfigs::default() }
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
        self.options.simulator.filter(|_| origin.provider)
    }

    /// A new connection to `origin`.
    pub(super) async fn dial(&self, origin: &Origin) -> Result<Dialed, SendError> {
        match tokio::time::timeout(self.options.connect_timeout, self.connect(origin)).await {
            Ok(result) => result,
            Err(elapsed) => Err(SendError::new(SendErrorKind::ConnectTimeout, elapsed)),
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
        let (addresses, port) = match self.simulator(origin) {
            Some(address) => (vec![address], address.port()),
            None => (self.resolve(origin).await?, origin.port),
        };
        // The addresses are known already; the URI only needs some valid name.
        let uri = Uri::try_from(format!("http://resolved:{port}/"));
        let uri = uri.map_err(|e| SendError::new(SendErrorKind::Resolve, e))?;
        let mut connector = HttpConnector::new_with_resolver(Resolved(addresses));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_mins(1)));
        connector.set_connect_timeout(Some(self.options.connect_timeout));
        let begun = Instant::now();
        let tcp = connector.call(uri).await.map_err(SendError::tcp)?.into_inner();
        let round_trip = begun.elapsed();
        match self.transport(origin) {
            Transport::Http1 => Ok(Dialed { stream: Stream::Clear(tcp), http2: false, round_trip }),
            Transport::Http2 => Ok(Dialed { stream: Stream::Clear(tcp), http2: true, round_trip }),
            Transport::Tls(tls) => {
                let failed = |e: Box<dyn std::error::Error + Send + Sync>| SendError::new(SendErrorKind::Tls, e);
                let config = self.tls.get(&tls.trust).await.map_err(failed)?;
                let name = tls::server_name(tls.name.as_deref().unwrap_or(&origin.host)).map_err(|e| failed(e.into()))?;
                let begun = Instant::now();
                let mut stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|e| failed(e.into()))?;
                let round_trip = round_trip.min(begun.elapsed());
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                stream.flush().await.map_err(|e| failed(e.into()))?;
                Ok(Dialed { stream: Stream::Tls(Box::new(stream)), http2, round_trip })
            }
        }
    }
}
