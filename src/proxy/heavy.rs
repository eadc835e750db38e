//! Work on large bodies, which must not hold up other requests.
//!
//! A worker thread that reads 32 MiB of JSON serves no other request for half a second. So before work on bodies of at
//! least [`LARGE`] bytes, the worker's other tasks are moved to another thread. At most as many requests as there are
//! processors do such work at a time: more would only take time from the workers.

use std::{sync::LazyLock, thread::available_parallelism};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
    task::block_in_place,
};

/// Smaller bodies take a few milliseconds at most, and changing threads would cost more than it saves.
const LARGE: usize = 256 * 1024;

static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

/// Does `work` on `bytes` of a body, and returns its result.
#[expect(clippy::disallowed_methods, reason = "the work borrows the body, and its own task waits for it anyway")]
pub async fn run<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    // A runtime of one thread, as in tests, has no other thread for its tasks.
    if bytes < LARGE || Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
        return work();
    }
    // It is never closed.
    let _turn = TURNS.acquire().await;
    block_in_place(work)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    /// Whether another task of the only worker runs while the work waits for it.
    fn other_tasks_go_on(bytes: usize) -> bool {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async move {
            let task = tokio::spawn(async move {
                let (sender, receiver) = mpsc::channel();
                tokio::spawn(async move { sender.send(()) });
                run(bytes, move || receiver.recv_timeout(Duration::from_millis(500)).is_ok()).await
            });
            task.await.unwrap()
        })
    }

    #[test]
    fn large_work_leaves_the_worker_to_others() {
        assert!(other_tasks_go_on(LARGE));
        assert!(!other_tasks_go_on(LARGE - 1), "what is small stays on its worker");
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_at_once() {
        assert_eq!(run(LARGE, || 7).await, 7);
    }
}
