//! The tasks of one HTTP/2 connection, in a single task.
//!
//! hyper gives requests to h2 in one task, while another reads and writes frames. If a server answers a request with
//! GOAWAY before hyper has asked h2 whether it takes the next request, hyper reports the GOAWAY as the error of the
//! first one. The server seems not to have seen the request, which is then sent again, though it may have been
//! processed. In one task nothing is read between both steps.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::rt::Executor;
use tokio::sync::mpsc;

type Spawned = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The executor of one connection.
#[derive(Clone)]
pub struct InTask(mpsc::UnboundedSender<Spawned>);

/// What hyper has spawned for the connection.
pub struct Tasks(mpsc::UnboundedReceiver<Spawned>);

impl InTask {
    /// An executor, and the tasks that it is given.
    pub fn new() -> (Self, Tasks) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Tasks(receiver))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InTask {
    fn execute(&self, task: F) {
        // The receiver lives as long as the connection.
        let _ = self.0.send(Box::pin(task));
    }
}

impl Tasks {
    /// Runs `connection` and all that it spawns, until both have ended.
    pub async fn run<T>(mut self, connection: impl Future<Output = T>) {
        let mut connection = pin!(connection);
        let (mut running, mut ended) = (FuturesUnordered::new(), false);
        poll_fn(|cx| {
            loop {
                ended = ended || connection.as_mut().poll(cx).is_ready();
                let mut spawned = false;
                while let Poll::Ready(Some(task)) = self.0.poll_recv(cx) {
                    running.push(task);
                    spawned = true;
                }
                while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
                if !spawned {
                    break;
                }
            }
            if ended && running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
