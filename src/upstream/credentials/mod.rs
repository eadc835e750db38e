//! Temporary credentials that clouds issue: fetched ahead of their expiry, once for all their users.
//!
//! ```text
//! compile ── Source ──> Credentials ── Handle ──> snapshot ──> request: Handle::current
//!                            │            ▲
//!                            └─ run ──> upkeep, one task a handle: fetch, sleep, fetch anew
//! ```
//!
//! A handle lives as long as a snapshot holds it, and its upkeep as long as the handle. Compile only takes handles: all
//! IO is in the tasks of [`Credentials::run`].

pub mod aws;
pub mod azure;
pub mod google;
mod handle;
mod http;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    handle::{CredentialError, Handle},
    source::{Hidden, Source},
};
use self::{
    handle::{Fetch, RealClock, Surroundings, Upkeep},
    http::Http,
    source::Fetcher,
};
use super::{AwsKeys, Pools};
use crate::telemetry::Metrics;

/// Reads an environment variable; `None` when it is not set.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A credential as it is used. Zeroed on drop; has no `Debug`.
pub enum Token {
    /// A token for a header.
    Bearer(SecretString),
    /// Keys that sign requests.
    Aws(AwsKeys),
}

/// The result of a fetch.
struct Fetched {
    token: Token,
    /// How long it is valid from now on; `None` is for ever.
    life: Option<Duration>,
}

/// The error of a failed fetch. It holds no secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct FetchError {
    /// For conditions: the same text for the same cause, so that a status is not written anew with each attempt.
    message: String,
    /// Further details, for the log.
    detail: String,
}

impl FetchError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: String::new() }
    }

    fn with_detail(message: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { message: message.into(), detail: detail.into() }
    }
}

/// All fetched credentials, by their source. Outlives every snapshot.
pub struct Credentials {
    http: Arc<Http>,
    around: Surroundings,
    environment: Environment,
    simulated: bool,
    handles: Mutex<HashMap<Source, Weak<Handle>>>,
    /// Handles whose upkeep has not begun: those that compile has taken since [`Credentials::run`] last checked.
    waiting: Mutex<Vec<Upkeep>>,
    wake: Notify,
    numbers: AtomicU64,
}

/// A panic while holding one of these locks leaves a collection in a valid state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Credentials {
    /// An empty set of credentials. `environment` has the variables of the pod's own identity.
    pub fn new(pools: Arc<Pools>, metrics: Arc<Metrics>, environment: Environment) -> Self {
        Self {
            http: Arc::new(Http::new(pools)),
            around: Surroundings { clock: Arc::new(RealClock), metrics, changes: Arc::new(watch::channel(0).0) },
            environment,
            simulated: false,
            handles: Mutex::default(),
            waiting: Mutex::default(),
            wake: Notify::new(),
            numbers: AtomicU64::new(0),
        }
    }

    /// The same with `pools` for the pod's own identity. Clouds issue it at addresses that no Backend may reach.
    #[must_use]
    pub fn with_pod_pools(mut self, pools: Arc<Pools>) -> Self {
        self.http = Arc::new(self.http.with_pod_pools(pools));
        self
    }

    /// The same for simulated providers: no credential is fetched, and a placeholder replaces each.
    #[must_use]
    pub fn simulated(mut self) -> Self {
        self.simulated = true;
        self
    }

    /// The environment variable `name`, if it is set and not blank; without white space around it.
    pub fn variable(&self, name: &str) -> Option<String> {
        variable(&*self.environment, name)
    }

    /// The pod's environment.
    pub fn environment(&self) -> &(dyn Fn(&str) -> Option<String> + Send + Sync) {
        &*self.environment
    }

    /// The credential of `source`: the existing one, or a new one, which is fetched at once.
    pub fn get(&self, source: &Source) -> Arc<Handle> {
        let mut handles = lock(&self.handles);
        if let Some(handle) = handles.get(source).and_then(Weak::upgrade) {
            return handle;
        }
        handles.retain(|_, handle| handle.strong_count() > 0);
        let fetcher = Fetcher::new(source.clone(), Arc::clone(&self.http), self.simulated);
        let handle = self.begin(source.label(), Box::new(fetcher));
        handles.insert(source.clone(), Arc::downgrade(&handle));
        handle
    }

    fn begin(&self, label: &'static str, fetch: Box<dyn Fetch>) -> Arc<Handle> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (handle, upkeep) = Handle::new(label, number, fetch, self.around.clone());
        lock(&self.waiting).push(upkeep);
        self.wake.notify_one();
        Arc::new(handle)
    }

    /// Changes whenever [`Handle::problem`] of a handle does: the report of compile is then out of date.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.around.changes.subscribe()
    }

    /// Keeps all credentials fresh until `stop`. Without it nothing is fetched, and requests that need a fetched
    /// credential fail.
    ///
    /// # Errors
    /// When the upkeep of a credential panicked: it would not be renewed any more.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut tasks = JoinSet::new();
        loop {
            for upkeep in lock(&self.waiting).drain(..) {
                tasks.spawn(upkeep.run());
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
                // An upkeep ends without an error when no target uses its credential any more.
                Some(ended) = tasks.join_next() => ended?,
            }
        }
    }
}

/// The variable `name`, if it is set and not blank; without white space around it.
fn variable(environment: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
