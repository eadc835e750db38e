//! Connections of the admin port: few, and none for ever.
//!
//! Clients that reach the port may open connections and send nothing, or leave replies unread. That must neither take
//! the descriptors of the data plane nor keep the kubelet's probes out: beyond the bound a new connection takes the
//! place of the oldest that has no request under way, and slow ones end by themselves.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

/// Connections open at a time. Probes, a few Prometheus servers and people need some ten; a half of the descriptors
/// that `app::limits` keeps back.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request's head, and a connection may idle.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave a reply unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reply may take once the port closes. A client that does not read could delay it longer.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// How long accepting pauses when it fails, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that is open.
struct Open {
    /// Closes it at once.
    close: CancellationToken,
    /// Requests whose reply is being made.
    under_way: Arc<AtomicUsize>,
}

impl Open {
    fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }
}

/// Serves `router` on `listener` until `cancel`, and then until replies under way have ended, for a second at most.
///
/// # Errors
///
/// Never: a connection that can't be accepted is tried again.
pub async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) -> io::Result<()> {
    let tasks = TaskTracker::new();
    // In the order in which they were accepted.
    let mut open: VecDeque<Open> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection to the admin port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.close.is_cancelled());
        if open.len() >= MAX_CONNECTIONS {
            let oldest = open.iter().position(Open::is_idle).unwrap_or_default();
            if let Some(oldest) = open.remove(oldest) {
                oldest.close.cancel();
            }
        }
        let connection = Open { close: CancellationToken::new(), under_way: Arc::default() };
        let serving = serve_connection(stream, router.clone(), Arc::clone(&connection.under_way), cancel.clone());
        let close = connection.close.clone();
        open.push_back(connection);
        tasks.spawn(async move {
            // Its end is also a sign to let go of its place.
            let _ends = close.clone().drop_guard();
            tokio::select! {
                () = serving => {}
                () = close.cancelled() => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    let _ = tokio::time::timeout(CLOSE_WITHIN, tasks.wait()).await;
    for connection in open {
        connection.close.cancel();
    }
    Ok(())
}

async fn serve_connection(stream: TcpStream, router: Router, under_way: Arc<AtomicUsize>, cancel: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut router, under_way) = (router.clone(), Arc::clone(&under_way));
        async move {
            under_way.fetch_add(1, Ordering::Relaxed);
            let reply = router.call(request).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
            reply
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the admin port ended");
    }
}
