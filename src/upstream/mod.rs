//! IO to providers: addresses, connections, TLS and pools; fetched credentials, and signatures. State that outlives a
//! snapshot is here, keyed by origin.

pub mod balance;
mod body;
pub mod credentials;
mod dial;
mod error;
pub mod failure;
mod fetch;
mod http1;
mod http2;
mod networks;
mod pool;
mod proxy;
mod resolve;
mod sign;
mod tcp;
mod tls;

pub use body::{ReplyBody, UpstreamBody, Watch};
pub use credentials::{CredentialError, Credentials, Token};
pub use dial::{Dialer, DialerOptions};
pub use error::{SendError, SendErrorKind};
pub use fetch::{Fetched, Fetcher, FetcherOptions, Held, NotFetched};
pub use http1::BodyError;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use http1::differential;
pub use networks::{Network, Reach, Refused};
pub use pool::{Pool, Pools};
pub use proxy::Proxies;
pub use sign::{AwsKeys, Unsigned, sign};
pub use tls::{Authorities, ServerTls, Trust, server_name};

/// The origin of connections, which is the key of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The connection's security and HTTP version.
    pub transport: Transport,
    /// Whose it is.
    pub kind: OriginKind,
}

/// Whose an origin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginKind {
    /// An LLM provider's. `--simulate-providers` answers in its place.
    Provider,
    /// A fixed host's or a token endpoint's.
    Server,
    /// A Service's of the cluster, which is never reached through a proxy.
    Service,
}

/// A connection's security and HTTP version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP/1.1 without TLS.
    Http1,
    /// HTTP/2 without TLS, with prior knowledge.
    Http2,
    /// TLS; HTTP/2 or HTTP/1.1 as the server chooses.
    Tls(ServerTls),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if matches!(self.transport, Transport::Tls(_)) { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests;
