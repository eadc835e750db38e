//! The tasks of one HTTP/2 connection, in a single task.
//!
//! hyper gives requests to h2 in one task, while another reads and writes frames. If a server answers a request with
//! GOAWAY before hyper has asked h2 whether it takes the next request, hyper reports the GOAWAY as the error of the
//! first one. The server seems not to have seen the request, which is then sent again, though it may have been
//! processed. In one task nothing is read between both steps.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::rt::Executor;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The executor of one connection. hyper uses it in the handshake and inside the connection's own future, so what is
/// spawned is found after each poll of that.
#[derive(Clone, Default)]
pub struct InTask(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InTask {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

impl InTask {
    /// Runs `connection` and all that it has spawned, until both have ended. `look` sees the connection after each
    /// step.
    pub async fn run<C: Future + Unpin>(self, connection: C, mut look: impl FnMut(&C)) {
        let (mut connection, mut running) = (Some(connection), FuturesUnordered::new());
        poll_fn(|cx| {
            loop {
                // Frames are read here, before requests are taken: after a GOAWAY none is.
                while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
                // Dropped as soon as it has ended: requests could still be left with it, which it would not send.
                connection.take_if(|connection| Pin::new(connection).poll(cx).is_ready());
                let spawned = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
                if spawned.is_empty() {
                    break;
                }
                running.extend(spawned);
            }
            match &connection {
                Some(connection) => look(connection),
                None if running.is_empty() => return Poll::Ready(()),
                None => {}
            }
            Poll::Pending
        })
        .await;
    }
}
