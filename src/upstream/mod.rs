//! IO to providers: where they are, connections, TLS and pools; credentials that are fetched, and signatures. What outlives a snapshot lives here, keyed by origin.

pub mod balance;
mod body;
pub mod credentials;
mod dial;
mod error;
mod fetch;
mod http1;
mod pool;
mod sign;
mod tls;

pub use body::{ReplyBody, UpstreamBody};
pub use credentials::{CredentialError, Credentials, Token};
pub use dial::{Dialer, DialerOptions};
pub use error::{SendError, SendErrorKind};
pub use fetch::{Allowance, Fetched, Fetcher, MAX_MEDIA_BYTES, MAX_REQUEST_BYTES};
pub use http1::BodyError;
pub use pool::{Pool, Pools};
pub use sign::{AwsKeys, Unsigned, sign};
pub use tls::server_name;

/// Where connections go, and how: the key of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is secured and spoken.
    pub transport: Transport,
    /// Whether `--simulate-providers` answers for it: true for LLM providers, false for plain Services.
    pub provider: bool,
}

/// How a connection is secured and which HTTP it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP/1.1 in clear.
    Http1,
    /// HTTP/2 in clear, with prior knowledge.
    Http2,
    /// TLS; HTTP/2 or HTTP/1.1 as the server chooses.
    Tls {
        /// Whether the certificate is checked against the system's roots and the host's name.
        verify: bool,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if matches!(self.transport, Transport::Tls { .. }) { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests;
