//! Connections: HTTP/1.1 and HTTP/2 with prior knowledge on one port, each with a handle that can reset it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Options, router};

/// How long replies may take to finish once the shutdown has begun; a fault may ask for delays of an hour.
const GRACE: Duration = Duration::from_secs(2);

/// How long to wait after a failed accept. What fails there (no file descriptor left) passes with time only.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The TCP connection of a request.
#[derive(Clone, Default)]
pub(super) struct Connection {
    reset: CancellationToken,
}

impl Connection {
    /// Closes the connection with a TCP reset.
    pub(super) fn reset(&self) {
        self.reset.cancel();
    }
}

/// Answers on `listener` until `shutdown` completes, then lets replies finish for a short while.
///
/// # Errors
///
/// None today: a failing accept is retried. The type leaves room for listeners that can fail for good.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = router(options);
    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let aborting = CancellationToken::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the simulator could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        tasks.spawn(serve_connection(stream, app.clone(), closing.clone(), aborting.clone()));
    }
    drop(listener);
    closing.cancel();
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        aborting.cancel();
        tasks.wait().await;
    }
    Ok(())
}

async fn serve_connection(stream: TcpStream, app: Router, closing: CancellationToken, aborting: CancellationToken) {
    // A failure costs latency only, and the connection is most likely closed then.
    let _ = stream.set_nodelay(true);
    // hyper owns the stream; a second descriptor of the same socket allows a linger time to be set at the end.
    let Ok(socket) = SockRef::from(&stream).try_clone() else { return };
    let connection = Connection::default();
    let reset = connection.reset.clone();
    let app = Arc::new(TowerToHyperService::new(app));
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(app.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(1024);
    let mut serving = pin!(server.serve_connection(TokioIo::new(stream), service));
    let mut draining = false;
    loop {
        tokio::select! {
            // An error means that the peer disconnected, or that a fault ended the connection.
            _ = serving.as_mut() => return,
            () = reset.cancelled() => {
                let _ = socket.set_linger(Some(Duration::ZERO));
                return;
            }
            () = aborting.cancelled() => return,
            () = closing.cancelled(), if !draining => {
                draining = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}
