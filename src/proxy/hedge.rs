//! Part of step 5: a second target gets the request while the first one is still silent, and the first answer counts.
//!
//! An answer counts when its first content has come, so both replies are held back until then. The other attempt is
//! dropped, which closes its connection or resets its stream, so that its provider stops.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::time::Instant;

use crate::upstream::balance::Outrun;

/// Two attempts at one request.
#[derive(Default)]
pub struct Race {
    /// Set when the first attempt has lost.
    pub first: Outrun,
    /// Set when the second one has lost.
    pub second: Outrun,
    /// The second one was made.
    began: AtomicBool,
}

impl Race {
    /// The second attempt is made.
    pub fn second_begins(&self) {
        self.began.store(true, Ordering::Relaxed);
    }

    /// Whether the second attempt was made.
    pub fn second_began(&self) -> bool {
        self.began.load(Ordering::Relaxed)
    }

    /// The result of `first` and, where that has not come at `at`, of `second`, which may find that it can't be made.
    /// When one of them wins, the other is dropped and has no result; where the first fails before `at`, the second is
    /// not made.
    pub async fn run<T>(
        &self,
        first: impl Future<Output = T>,
        at: Instant,
        second: impl Future<Output = Option<T>>,
        wins: impl Fn(&T) -> bool,
    ) -> (Option<T>, Option<T>) {
        let mut first = pin!(first);
        if let Ok(result) = tokio::time::timeout_at(at, &mut first).await {
            return (Some(result), None);
        }
        let mut second = pin!(second);
        tokio::select! {
            biased;
            result = &mut first => {
                if wins(&result) {
                    self.second.set();
                    (Some(result), None)
                } else {
                    (Some(result), second.await)
                }
            }
            other = &mut second => match other {
                Some(other) if wins(&other) => {
                    self.first.set();
                    (None, Some(other))
                }
                other => (Some(first.await), other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::sync::Notify;

    use super::*;

    type Results = (Option<u32>, Option<u32>);

    /// The results, whether the second attempt was made, and which of them have lost. Even numbers win.
    async fn run(
        race: &Race,
        first: impl Future<Output = u32>,
        at: Instant,
        second: impl Future<Output = Option<u32>>,
    ) -> (Results, bool, [bool; 2]) {
        let second = async {
            race.second_begins();
            second.await
        };
        let results = race.run(first, at, second, |result| result % 2 == 0).await;
        (results, race.second_began(), [race.first.is_set(), race.second.is_set()])
    }

    #[tokio::test]
    async fn the_second_attempt_is_not_made_where_the_first_one_has_ended() {
        let late = Instant::now() + Duration::from_hours(1);
        for result in [2, 1] {
            let ended = run(&Race::default(), async { result }, late, async { Some(4) }).await;
            assert_eq!(ended, ((Some(result), None), false, [false, false]));
        }
    }

    #[tokio::test]
    async fn the_first_answer_counts_and_the_other_attempt_has_lost() {
        let now = Instant::now();
        let ended = run(&Race::default(), pending(), now, async { Some(4) }).await;
        assert_eq!(ended, ((None, Some(4)), true, [true, false]));
        let begun = Notify::new();
        let first = async {
            begun.notified().await;
            2
        };
        let second = async {
            begun.notify_one();
            pending().await
        };
        assert_eq!(run(&Race::default(), first, now, second).await, ((Some(2), None), true, [false, true]));
    }

    #[tokio::test]
    async fn where_one_fails_the_other_goes_on() {
        for (one, other) in [(1, Some(4)), (1, Some(3)), (1, None)] {
            let (begun, failed) = (Notify::new(), Notify::new());
            let first = async {
                begun.notified().await;
                failed.notify_one();
                one
            };
            let second = async {
                begun.notify_one();
                failed.notified().await;
                other
            };
            let ended = run(&Race::default(), first, Instant::now(), second).await;
            assert_eq!(ended, ((Some(one), other), true, [false, false]));
        }
        for (one, other) in [(2, Some(3)), (1, Some(3)), (2, None)] {
            let begun = Notify::new();
            let first = async {
                begun.notified().await;
                one
            };
            let second = async {
                begun.notify_one();
                other
            };
            let ended = run(&Race::default(), first, Instant::now(), second).await;
            assert_eq!(ended, ((Some(one), other), true, [false, false]));
        }
    }
}
