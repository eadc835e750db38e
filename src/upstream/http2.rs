//! The tasks of one HTTP/2 connection, in a single task.
//!
//! hyper gives requests to h2 in one task, while another reads and writes frames. If a server answers a request with
//! GOAWAY before hyper has asked h2 whether it takes the next request, hyper reports the GOAWAY as the error of the
//! first one. The server seems not to have seen the request, which is then sent again, though it may have been
//! processed. In one task nothing is read between both steps.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
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
    /// Runs `connection` and all that it has spawned, until both have ended.
    pub async fn run<T>(self, connection: impl Future<Output = T>) {
        let mut connection = pin!(connection);
        let (mut running, mut ended) = (FuturesUnordered::new(), false);
        poll_fn(|cx| {
            loop {
                ended = ended || connection.as_mut().poll(cx).is_ready();
                let spawned = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
                let done = spawned.is_empty();
                running.extend(spawned);
                while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
                if done {
                    break;
                }
            }
            if ended && running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
