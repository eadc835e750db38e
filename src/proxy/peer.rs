//! The client of a request, and the port where it arrived.

use std::{net::SocketAddr, sync::Arc};

use super::watch::Progress;

/// The information about its connection that a request carries.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The client and the port.
    pub peer: Peer,
    /// The request's progress, for the watch of the connection.
    pub progress: Arc<Progress>,
}

/// The client of a request, and the port where it arrived.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The bound port.
    pub port: u16,
    /// Whether the connection is secured.
    pub secure: bool,
    /// The server name from the client's TLS handshake (SNI).
    pub server_name: Option<Arc<str>>,
}

impl Peer {
    /// The scheme of the request's URL.
    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}
