//! Who sent a request, and where it arrived.

use std::{net::SocketAddr, sync::Arc};

use super::watch::Progress;

/// What a request brings along from its connection.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who sent it, and where.
    pub peer: Peer,
    /// How far it has come, for the watch of the connection.
    pub progress: Arc<Progress>,
}

/// Who sent a request, and where it arrived.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The bound port.
    pub port: u16,
    /// Whether the connection is secured.
    pub secure: bool,
    /// The server's name that the client gave for the certificate (SNI).
    pub server_name: Option<Arc<str>>,
}

impl Peer {
    /// The scheme of the request's URL.
    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}
