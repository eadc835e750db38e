//! The tasks of the process, and the failure that ends it.

use std::{collections::HashMap, future::Future};

use anyhow::{Context, anyhow};
use tokio::task::{Id, JoinError, JoinSet};

/// How a task ended without an error.
#[derive(Debug)]
pub(super) enum Ended {
    /// It ended after a request to stop. Without such a request this is a failure, because no task may end unnoticed.
    Stopped,
    /// The task that sends its input has ended. The other task has the cause, so this end is not a failure.
    InputClosed,
}

/// Named tasks. None may end before the request to stop.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<anyhow::Result<Ended>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts a task. `name` is for messages and [`ended`](Self::ended).
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<Ended>> + Send + 'static,
    ) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for the first failure: an error, a panic, or an end without a request to stop.
    ///
    /// Tasks end together, in any order: when a source fails its channel closes, and the tasks that read from it end
    /// without an error. Those are skipped until the one with the cause has ended.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        while let Some((name, ended)) = self.next().await {
            match ended {
                Err(error) => return error,
                Ok(Ended::Stopped) => return anyhow!("{name} ended without a request to stop"),
                Ok(Ended::InputClosed) => tracing::debug!(task = name, "its input has ended"),
            }
        }
        anyhow!("no task is left")
    }

    /// Waits until the task called `name` has ended; at once when there is none (any more). For stopping: a failure of
    /// this or another task is logged, since the process ends anyway.
    pub(super) async fn ended(&mut self, name: &str) {
        while self.names.values().any(|running| *running == name) {
            if !self.log_next().await {
                return;
            }
        }
    }

    /// Waits until all tasks have ended. For stopping, as [`ended`](Self::ended) is.
    pub(super) async fn all_ended(&mut self) {
        while self.log_next().await {}
    }

    async fn log_next(&mut self) -> bool {
        let Some((name, ended)) = self.next().await else { return false };
        if let Err(error) = ended {
            tracing::warn!(task = name, error = format!("{error:#}"), "a task failed while the process stops");
        }
        true
    }

    async fn next(&mut self) -> Option<(&'static str, anyhow::Result<Ended>)> {
        let (id, ended) = match self.set.join_next_with_id().await? {
            Ok((id, ended)) => (id, ended),
            Err(error) => (error.id(), Err(panicked(error))),
        };
        let name = self.names.remove(&id).unwrap_or("a task");
        Some((name, ended.context(name)))
    }
}

/// The error of a task that panicked.
fn panicked(error: JoinError) -> anyhow::Error {
    match error.try_into_panic() {
        Ok(panic) => {
            let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
            anyhow!("panicked: {}", message.unwrap_or_default())
        }
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;

    /// A task that ends without an error when `sender` is dropped.
    async fn follower(mut input: watch::Receiver<u8>) -> anyhow::Result<Ended> {
        while input.changed().await.is_ok() {}
        Ok(Ended::InputClosed)
    }

    #[tokio::test]
    async fn the_failure_is_reported_although_tasks_behind_it_end_first() {
        let mut tasks = Tasks::default();
        let (sender, input) = watch::channel(0);
        tasks.spawn("publisher", follower(input));
        tasks.spawn("source", async move {
            drop(sender);
            // Long enough for every other task to have ended.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(anyhow!("no such directory"))
        });
        let error = format!("{:#}", tasks.failure().await);
        assert_eq!(error, "source: no such directory");
    }

    #[tokio::test]
    async fn an_end_without_a_request_to_stop_is_a_failure() {
        let mut tasks = Tasks::default();
        tasks.spawn("admin port", std::future::pending());
        tasks.spawn("listeners", async { Ok(Ended::Stopped) });
        let error = format!("{:#}", tasks.failure().await);
        assert_eq!(error, "listeners ended without a request to stop");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_its_message() {
        let mut tasks = Tasks::default();
        tasks.spawn("publisher", async { panic!("number {}", 7) });
        let error = format!("{:#}", tasks.failure().await);
        assert_eq!(error, "publisher: panicked: number 7");
    }

    #[tokio::test]
    async fn when_only_followers_are_left_there_is_still_an_error() {
        let mut tasks = Tasks::default();
        let (sender, input) = watch::channel(0);
        drop(sender);
        tasks.spawn("publisher", follower(input));
        assert_eq!(tasks.failure().await.to_string(), "no task is left");
    }

    #[tokio::test]
    async fn one_task_is_waited_for_by_its_name() {
        let mut tasks = Tasks::default();
        let (sender, mut input) = watch::channel(0);
        tasks.spawn("sweep", std::future::pending());
        tasks.spawn("listeners", async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.send_replace(1);
            Ok(Ended::Stopped)
        });
        tasks.ended("listeners").await;
        assert_eq!(*input.borrow_and_update(), 1, "the task has done its work");
        // Neither of these waits for the task that continues.
        tasks.ended("listeners").await;
        tasks.ended("never started").await;
    }
}
