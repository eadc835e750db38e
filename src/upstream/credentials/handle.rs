//! One credential: its current value, and the task that keeps it fresh.

#![expect(clippy::disallowed_methods, reason = "a metric has the time of day at which a credential ends")]

use std::{
    future::pending,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{FetchError, Fetched, Token};
use crate::telemetry::Metrics;

/// Bound on one fetch, all its requests together. Token endpoints answer in tenths of a second.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound on a request's wait for a fetch under way: a little more than the timeout of the fetch.
const WAIT: Duration = Duration::from_secs(6);
/// Credentials are renewed this long before they expire, or a fifth of their life where that is less: time for several
/// attempts. Metadata servers renew theirs about five minutes ahead too.
const MAX_LEAD: Duration = Duration::from_mins(5);
/// Least time between two fetches that succeed, whatever the life of the credentials.
const MIN_REST: Duration = Duration::from_secs(1);
/// Pause after the first failed fetch; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest pause between two attempts: the end of an outage is noticed within this time.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Least time between two fetches because of refusals: a provider may refuse whatever the source hands out.
const REFUSAL_REST: Duration = Duration::from_secs(30);

/// The time. Tests have a clock of their own.
pub(super) trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Instant;

    /// Completes at `at`.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()>;
}

/// The real time.
pub(super) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(at))
    }
}

/// The state that all handles share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Incremented whenever the problem of a handle changes.
    pub changes: Arc<watch::Sender<u64>>,
}

impl Surroundings {
    /// The result of `work`, or `None` when it takes longer than `limit`.
    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.clock.sleep_until(self.clock.now() + limit) => None,
        }
    }
}

/// Fetches a credential.
pub(super) trait Fetch: Send + Sync {
    /// Fetches once. Called by one task at a time.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, FetchError>>;
}

/// The error when there is no valid credential. The text is for the log and for conditions, never for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(String);

/// A fetched credential, which its users share. When the last of them has dropped it, it is no longer renewed.
pub struct Handle {
    shared: Arc<Shared>,
    _gone: DropGuard,
}

struct Shared {
    label: &'static str,
    /// Distinguishes credentials of one source in metrics.
    number: u64,
    valid: ArcSwapOption<Valid>,
    state: watch::Sender<State>,
    around: Surroundings,
}

struct Valid {
    token: Arc<Token>,
    until: Option<Instant>,
}

struct State {
    fetching: bool,
    /// The reason why there is no valid credential, once that is known.
    problem: Option<String>,
    /// Whether the last fetch has failed.
    failing: bool,
    /// Whether the credential was refused, and is to be fetched anew.
    refused: bool,
    /// When a credential was last fetched anew because of a refusal.
    refetched: Option<Instant>,
}

impl State {
    /// A refusal at `now`. Returns whether the credential is fetched anew.
    fn refuse(&mut self, now: Instant) -> bool {
        let rested = self.refetched.is_none_or(|last| now.duration_since(last) >= REFUSAL_REST);
        if !self.refused && rested && !self.failing {
            (self.refused, self.refetched) = (true, Some(now));
        }
        self.refused
    }
}

/// The task that keeps a handle fresh.
pub(super) struct Upkeep {
    shared: Arc<Shared>,
    fetch: Box<dyn Fetch>,
    gone: CancellationToken,
}

impl Handle {
    pub(super) fn new(label: &'static str, number: u64, fetch: Box<dyn Fetch>, around: Surroundings) -> (Self, Upkeep) {
        let gone = CancellationToken::new();
        let state =
            watch::channel(State { fetching: true, problem: None, failing: false, refused: false, refetched: None }).0;
        let shared = Arc::new(Shared { label, number, valid: ArcSwapOption::empty(), state, around });
        let upkeep = Upkeep { shared: Arc::clone(&shared), fetch, gone: gone.clone() };
        (Self { shared, _gone: gone.drop_guard() }, upkeep)
    }

    /// The credential: at once while it is valid. Otherwise waits for a first fetch under way; after a fetch has failed
    /// it does not wait again.
    ///
    /// # Errors
    /// When there is none, with the cause of the last failure.
    pub async fn current(&self) -> Result<Arc<Token>, CredentialError> {
        if let Some(token) = self.shared.fresh() {
            return Ok(token);
        }
        let mut state = self.shared.state.subscribe();
        let known = state.wait_for(|s| !s.fetching || s.problem.is_some());
        let _ = self.shared.around.within(WAIT, async { drop(known.await) }).await;
        self.shared.fresh().ok_or_else(|| {
            let why = self.problem().unwrap_or_else(|| "no credential could be fetched in time".to_owned());
            CredentialError(format!("{}: {why}", self.label()))
        })
    }

    /// The credential to use after a provider has refused `refused`, before its expiry: a newer one, if there is one,
    /// or else one that is fetched now, once for all requests that wait. `None` where it is not fetched anew, because
    /// the last fetch has failed, or another credential was refused a moment ago.
    pub async fn replacement(&self, refused: &Arc<Token>) -> Option<Arc<Token>> {
        let shared = &self.shared;
        let newer = || shared.fresh().filter(|token| !Arc::ptr_eq(token, refused));
        if let Some(token) = newer() {
            return Some(token);
        }
        let mut state = shared.state.subscribe();
        let now = shared.around.clock.now();
        let mut waits = false;
        shared.state.send_if_modified(|state| {
            let before = state.refused;
            waits = state.refuse(now);
            state.refused != before
        });
        if waits {
            let fetched = state.wait_for(|state| !state.refused);
            let _ = shared.around.within(WAIT, async { drop(fetched.await) }).await;
        }
        newer()
    }

    /// The reason why there is no valid credential, as far as it is known: `None` before the first fetch has ended, and
    /// while the fetched credential is still valid.
    pub fn problem(&self) -> Option<String> {
        self.shared.state.borrow().problem.clone()
    }

    /// The label of its source in metrics.
    pub fn label(&self) -> &'static str {
        self.shared.label
    }
}

impl Shared {
    fn fresh(&self) -> Option<Arc<Token>> {
        let valid = self.valid.load();
        let valid = valid.as_deref()?;
        valid.until.is_none_or(|until| self.around.clock.now() < until).then(|| Arc::clone(&valid.token))
    }

    fn begins(&self) {
        self.state.send_modify(|state| state.fetching = true);
    }

    /// Ends a fetch, which has failed if `failing`, and notifies compile when the problem has changed.
    fn ends(&self, failing: bool, problem: Option<String>) {
        let mut changed = false;
        self.state.send_modify(|state| {
            (state.fetching, state.refused, state.failing) = (false, false, failing);
            changed = state.problem != problem;
            state.problem = problem;
        });
        if changed {
            self.around.changes.send_modify(|n| *n += 1);
        }
    }

    /// Stores a fetched credential. Returns the time until it is to be renewed, if it ever is.
    fn keep(&self, fetched: Fetched) -> Option<Duration> {
        let Fetched { token, life } = fetched;
        let until = life.and_then(|life| self.around.clock.now().checked_add(life));
        self.valid.store(Some(Arc::new(Valid { token: Arc::new(token), until })));
        self.around.metrics.credentials.fetched(self.label, true);
        let expires = life.and_then(|life| SystemTime::now().checked_add(life));
        self.around.metrics.credentials.expires(self.label, self.number, expires);
        tracing::debug!(source = self.label, life_seconds = life.map(|l| l.as_secs()), "credential fetched");
        self.ends(false, None);
        life.map(rest)
    }
}

impl Upkeep {
    /// Fetches and renews until the handle is dropped.
    pub(super) async fn run(self) {
        let gone = self.gone.clone();
        gone.run_until_cancelled(self.keep_fresh()).await;
        self.shared.around.metrics.credentials.expires(self.shared.label, self.shared.number, None);
    }

    async fn keep_fresh(&self) {
        let mut failures = 0;
        loop {
            self.shared.begins();
            let around = &self.shared.around;
            let fetched = match around.within(FETCH_TIMEOUT, self.fetch.fetch()).await {
                Some(Ok(Fetched { life: Some(Duration::ZERO), .. })) => {
                    Err(FetchError::new("what was handed out has expired already: is this machine's clock right?"))
                }
                Some(outcome) => outcome,
                None => Err(FetchError::new(format!("no answer within {} s", FETCH_TIMEOUT.as_secs()))),
            };
            match fetched {
                Ok(fetched) => {
                    failures = 0;
                    let rest = self.shared.keep(fetched);
                    self.rest(rest).await;
                }
                Err(error) => {
                    failures += 1;
                    self.bear(error, failures).await;
                }
            }
        }
    }

    /// Waits until the credential is to be fetched anew: after `rest`, or when it is refused.
    async fn rest(&self, rest: Option<Duration>) {
        let clock = &self.shared.around.clock;
        let over = async {
            match rest {
                Some(rest) => clock.sleep_until(clock.now() + rest).await,
                None => pending().await,
            }
        };
        let mut state = self.shared.state.subscribe();
        tokio::select! {
            () = over => {}
            _ = state.wait_for(|state| state.refused) => {
                let source = self.shared.label;
                tracing::warn!(source, "a credential was refused before its expiry and is fetched anew");
            }
        }
    }

    /// Reports a failure, and waits until the next attempt is due.
    async fn bear(&self, error: FetchError, failures: u32) {
        let shared = &self.shared;
        let clock = &shared.around.clock;
        let pause = backoff(failures, RandomState::new().hash_one(failures));
        let again = clock.now() + pause;
        let until = shared.valid.load().as_ref().and_then(|valid| valid.until).filter(|until| *until > clock.now());
        shared.around.metrics.credentials.fetched(shared.label, false);
        tracing::warn!(
            source = shared.label,
            error = error.message,
            detail = error.detail,
            attempt = failures,
            still_valid = until.is_some(),
            retry_seconds = pause.as_secs(),
            "can't fetch a credential"
        );
        match until {
            // The current credential is valid for longer than the pause.
            Some(until) if until > again => shared.ends(true, None),
            Some(until) => {
                shared.ends(true, None);
                clock.sleep_until(until).await;
                shared.ends(true, Some(error.message));
            }
            None => shared.ends(true, Some(error.message)),
        }
        clock.sleep_until(again).await;
    }
}

/// How long a credential that lives for `life` rests before it is renewed.
fn rest(life: Duration) -> Duration {
    life.saturating_sub(MAX_LEAD.min(life / 5)).max(MIN_REST)
}

/// The pause after this many failures in a row: doubling, bounded, and up to a quarter shorter at random, so that
/// replicas do not retry at the same time.
fn backoff(failures: u32, random: u64) -> Duration {
    let whole = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MAX_BACKOFF);
    let part = u32::try_from(random % 256).unwrap_or(0);
    whole.saturating_sub(whole / 4 * part / 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_ahead_of_expiry() {
        for (life, expected) in [(3600, 3300), (100, 80), (1, 1), (1500, 1200), (43_200, 42_900)] {
            assert_eq!(rest(Duration::from_secs(life)), Duration::from_secs(expected), "{life}");
        }
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (u32::MAX, 30)] {
            let longest = Duration::from_secs(longest);
            assert_eq!(backoff(failures, 0), longest, "{failures}");
            let shortest = backoff(failures, 255);
            assert!(
                shortest < longest && shortest > (longest / 4 * 3).checked_sub(Duration::from_millis(1)).unwrap(),
                "{shortest:?}"
            );
        }
    }
}
