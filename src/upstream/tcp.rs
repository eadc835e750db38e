//! TCP connections to addresses that were resolved and checked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tokio::net::TcpStream;
use tower_service::Service;

use super::{SendError, SendErrorKind};

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

/// A TCP connection to one of `addresses`, several of which are tried side by side.
pub(super) async fn tcp(addresses: Vec<SocketAddr>, port: u16, timeout: Duration) -> Result<TcpStream, SendError> {
    // The addresses are known already; the URI only needs some valid name.
    let uri = Uri::try_from(format!("http://resolved:{port}/"));
    let uri = uri.map_err(|e| SendError::new(SendErrorKind::Resolve, e))?;
    let mut connector = HttpConnector::new_with_resolver(Resolved(addresses));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(Duration::from_mins(1)));
    connector.set_connect_timeout(Some(timeout));
    Ok(connector.call(uri).await.map_err(SendError::tcp)?.into_inner())
}
