//! The client of a request, and the port where it arrived.

use std::{net::SocketAddr, sync::Arc};

use super::{watch::Progress, websocket::Handover};

/// The information about its connection that a request carries.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The client and the port.
    pub peer: Peer,
    /// The request's progress, for the watch of the connection.
    pub progress: Arc<Progress>,
    /// Where the connection finds the WebSocket that the request opens.
    pub handover: Handover,
}

/// The client of a request, and the port where it arrived.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The same as text, which every line of the access log has.
    pub address_text: Arc<str>,
    /// The bound port.
    pub port: u16,
    /// Whether the connection is secured.
    pub secure: bool,
    /// The server name from the client's TLS handshake (SNI).
    pub server_name: Option<Arc<str>>,
}

impl Peer {
    /// The client that has connected from `address` to `port`.
    pub fn new(address: SocketAddr, port: u16) -> Self {
        let address_text = SocketAddr::new(address.ip().to_canonical(), address.port()).to_string().into();
        Self { address, address_text, port, secure: false, server_name: None }
    }

    /// The scheme of the request's URL.
    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}
