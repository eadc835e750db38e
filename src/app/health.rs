//! Reports the health of targets, so that Backends' conditions show it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::tasks::{Ended, Tasks};
use crate::upstream::balance::{Balance, HealthReport};

/// How often health is looked at: a failure is in the status within about a second.
const LOOK: Duration = Duration::from_secs(1);
/// The shortest time between two reports. It bounds writes and Events about each Backend.
const MIN_INTERVAL: Duration = Duration::from_secs(30);

/// Starts to report the health of targets.
pub(super) fn start(
    balance: Arc<Balance>,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> watch::Receiver<Arc<HealthReport>> {
    let (reports, reported) = watch::channel(Arc::default());
    let closed = stop.clone();
    tasks.spawn("health reports", async move { Ok(report(balance, reports, closed, LOOK, MIN_INTERVAL).await) });
    reported
}

/// Sends a report whenever it differs from the last one, at most once per `min_interval`, until `closed`.
async fn report(
    balance: Arc<Balance>,
    reports: watch::Sender<Arc<HealthReport>>,
    closed: CancellationToken,
    look: Duration,
    min_interval: Duration,
) -> Ended {
    let looking = async {
        loop {
            sleep(look).await;
            #[expect(clippy::disallowed_methods, reason = "the time at which waits end, for people")]
            let report = balance.report(Instant::now(), SystemTime::now());
            if **reports.borrow() != report {
                reports.send_replace(Arc::new(report));
                sleep(min_interval).await;
            }
        }
    };
    tokio::select! {
        () = looking => {}
        () = closed.cancelled() => {}
    }
    Ended::Stopped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        balance::Attempt,
        failure::{Meaning, Verdict},
    };

    #[tokio::test]
    async fn a_change_is_reported_soon_and_the_next_one_after_an_interval() {
        let (look, interval) = (Duration::from_millis(5), Duration::from_millis(300));
        let balance = Arc::new(Balance::default());
        let (reports, mut reported) = watch::channel(Arc::default());
        let closed = CancellationToken::new();
        let task = tokio::spawn(report(Arc::clone(&balance), reports, closed.clone(), look, interval));
        let states = ["a", "b", "c"].map(|name| balance.target("ns/b", name));
        let fail = |state| Attempt::watched(state, "", true, None).judged(Verdict::new(Meaning::Credential), "");
        sleep(10 * look).await;
        assert!(!reported.has_changed().unwrap(), "nothing has happened");
        fail(&states[0]);
        reported.changed().await.unwrap();
        let first = Instant::now();
        assert_eq!(reported.borrow_and_update().backend("ns/b").len(), 1);
        fail(&states[1]);
        sleep(10 * look).await;
        fail(&states[2]);
        reported.changed().await.unwrap();
        // The watch may have woken this task later than it was written.
        assert!(first.elapsed() + 4 * look >= interval, "{:?}", first.elapsed());
        assert_eq!(reported.borrow_and_update().backend("ns/b").len(), 3, "both in one");
        closed.cancel();
        task.await.unwrap();
    }
}
