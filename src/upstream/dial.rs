//! New connections: DNS and TCP by hyper-util's connector, then TLS.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use tokio::{io::AsyncWriteExt, time::Instant};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{Origin, SendError, SendErrorKind, Transport, http1::Stream, tls};

/// Options of new connections.
#[derive(Clone, Debug)]
pub struct DialerOptions {
    /// Bound on DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The simulator's address. Every connection to an LLM provider goes there instead, without TLS.
    pub simulator: Option<SocketAddr>,
}

impl Default for DialerOptions {
    /// Five seconds: three SYN retransmissions, after which another target is more promising.
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), simulator: None }
    }
}

/// A new connection.
pub(super) struct Dialed {
    pub stream: Stream,
    /// Whether it speaks HTTP/2.
    pub http2: bool,
    /// How long a round trip takes, at most: a handshake is one, and may include more.
    pub round_trip: Duration,
}

/// Makes connections.
pub struct Dialer {
    options: DialerOptions,
    tcp: HttpConnector,
    tls: Arc<TlsConfigs>,
}

/// TLS configurations, made when the first connection needs one.
#[derive(Default)]
struct TlsConfigs {
    verified: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
    unverified: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
}

impl TlsConfigs {
    fn get(&self, verify: bool) -> &OnceLock<Result<Arc<ClientConfig>, rustls::Error>> {
        if verify { &self.verified } else { &self.unverified }
    }
}

impl Dialer {
    /// A dialer with these options.
    pub fn new(options: DialerOptions) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_mins(1)));
        tcp.set_connect_timeout(Some(options.connect_timeout));
        Self { options, tcp, tls: Arc::default() }
    }

    /// The first call reads the system's roots, which are files, on a blocking thread.
    async fn tls_config(&self, verify: bool) -> Result<Arc<ClientConfig>, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(made) = self.tls.get(verify).get() {
            return Ok(made.clone()?);
        }
        let tls = Arc::clone(&self.tls);
        let make = move || tls.get(verify).get_or_init(|| tls::client_config(verify)).clone();
        Ok(tokio::task::spawn_blocking(make).await??)
    }

    /// The actual address and security of connections to `origin`: simulated providers have no TLS.
    pub(super) fn transport(&self, origin: &Origin) -> Transport {
        match self.simulator(origin) {
            Some(_) => Transport::Http1,
            None => origin.transport,
        }
    }

    /// Whether the simulator answers for LLM providers.
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

    async fn connect(&self, origin: &Origin) -> Result<Dialed, SendError> {
        let authority = match self.simulator(origin) {
            Some(address) => address.to_string(),
            None if origin.host.contains(':') => format!("[{}]:{}", origin.host, origin.port),
            None => format!("{}:{}", origin.host, origin.port),
        };
        let uri = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|e| SendError::new(SendErrorKind::Resolve, e))?;
        let begun = Instant::now();
        let tcp = self.tcp.clone().call(uri).await.map_err(SendError::tcp)?.into_inner();
        let round_trip = begun.elapsed();
        match self.transport(origin) {
            Transport::Http1 => Ok(Dialed { stream: Stream::Clear(tcp), http2: false, round_trip }),
            Transport::Http2 => Ok(Dialed { stream: Stream::Clear(tcp), http2: true, round_trip }),
            Transport::Tls { verify } => {
                let failed = |e: Box<dyn std::error::Error + Send + Sync>| SendError::new(SendErrorKind::Tls, e);
                let config = self.tls_config(verify).await.map_err(failed)?;
                let name = tls::server_name(&origin.host).map_err(|e| failed(e.into()))?;
                let begun = Instant::now();
                let mut stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|e| failed(e.into()))?;
                // The first handshake may have included DNS.
                let round_trip = round_trip.min(begun.elapsed());
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                stream.flush().await.map_err(|e| failed(e.into()))?;
                Ok(Dialed { stream: Stream::Tls(Box::new(stream)), http2, round_trip })
            }
        }
    }
}
