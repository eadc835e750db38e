//! The choice of the next target of a request, and the outcomes of all attempts.
//!
//! All state of selection is here: the turn of each round robin, the retries under way, the requests of Backends with
//! limits and those that wait for room, and per target the attempts under way, how attempts ended, its health, and what
//! they have shown about the server. It outlives snapshots. Compile
//! takes handles from the [`Balance`] by name, so that a change of another object neither restarts round robin and
//! weights nor resets a target's outcomes and health.

mod attempt;
mod choose;
mod health;
mod latency;
pub mod load;
mod report;
mod retries;
mod server;
mod turns;
mod window;

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};

pub use attempt::{Attempt, AttemptOutcome, HedgeCount, Outrun, Probe, TargetState};
pub use choose::{Candidate, KeyHash, Ranks, by_cost, by_key, in_turn};
pub use health::{Admission, BreakerPhase, Health, Wait};
pub use latency::{AnswerKind, FirstContent, Latencies, Latency};
use load::Load;
pub use report::{Degraded, HealthReport};
pub use retries::{RetryBudget, RetryPermit};
pub use server::{HasApi, ServerState};
pub use turns::Turns;

/// The state of selection, by name. A state lives as long as some snapshot holds its handle.
#[derive(Default)]
pub struct Balance {
    turns: Mutex<Handles<String, Turns>>,
    retries: Mutex<Handles<String, RetryBudget>>,
    hedges: Mutex<Handles<String, RetryBudget>>,
    loads: Mutex<Handles<String, Load>>,
    targets: Mutex<Handles<(String, String), TargetState>>,
    endpoints: Mutex<Handles<(String, String), TargetState>>,
    servers: Mutex<Handles<(String, String), ServerState>>,
}

impl Balance {
    /// The turns among the parts of `name`: a Backend, or a rule with several backends.
    pub fn turns(&self, name: &str) -> Arc<Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).get(name)
    }

    /// The retries of a backend that are under way.
    pub fn retries(&self, name: &str) -> Arc<RetryBudget> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner).get(name)
    }

    /// The hedges of a backend that are under way.
    pub fn hedges(&self, name: &str) -> Arc<RetryBudget> {
        self.hedges.lock().unwrap_or_else(PoisonError::into_inner).get(name)
    }

    /// The requests of the Backend `name`, which has limits.
    pub fn load(&self, name: &str) -> Arc<Load> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner).get(name)
    }

    /// The requests of the Backend `name`, if it has had limits and requests of that time are under way.
    pub fn earlier_load(&self, name: &str) -> Option<Arc<Load>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner).by_key.get(name).and_then(Weak::upgrade)
    }

    /// The state of the provider entry `entry` of the Backend `backend`.
    pub fn target(&self, backend: &str, entry: &str) -> Arc<TargetState> {
        let key = (backend.to_owned(), entry.to_owned());
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
    }

    /// The state of the endpoint at `origin` of the plain server `backend`.
    pub fn endpoint(&self, backend: &str, origin: &str) -> Arc<TargetState> {
        let key = (backend.to_owned(), origin.to_owned());
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
    }

    /// What is known about the server at `address` (origin and base path) of the entry `entry` of the Backend
    /// `backend`. Another address is another server, of which nothing is known.
    pub fn server(&self, backend: &str, entry: &str, address: &str) -> Arc<ServerState> {
        let key = (backend.to_owned(), format!("{entry} {address}"));
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
    }
}

/// Handles by key. Those that are no longer held are removed from time to time.
struct Handles<K, V> {
    by_key: HashMap<K, Weak<V>>,
    /// The size at which to search for handles that are gone.
    full: usize,
}

/// Fewer handles than this are not worth a search.
const MIN_FULL: usize = 64;

impl<K, V> Default for Handles<K, V> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), full: MIN_FULL }
    }
}

impl<K: Eq + Hash, V: Default> Handles<K, V> {
    fn get<Q>(&mut self, key: &Q) -> Arc<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(there) = self.by_key.get(key).and_then(Weak::upgrade) {
            return there;
        }
        if self.by_key.len() >= self.full {
            self.by_key.retain(|_, handle| handle.strong_count() > 0);
            self.full = (self.by_key.len() * 2).max(MIN_FULL);
        }
        let new = Arc::default();
        self.by_key.insert(key.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recompile_gets_the_state_that_is_there() {
        let balance = Balance::default();
        let first = balance.turns("default/openai");
        first.next();
        let recompiled = balance.turns("default/openai");
        drop(first);
        assert_eq!(recompiled.next(), 1, "the turns go on");
        assert_eq!(balance.turns("default/other").next(), 0);
        let target = balance.target("default/openai", "a");
        assert!(Arc::ptr_eq(&target, &balance.target("default/openai", "a")));
        assert!(!Arc::ptr_eq(&target, &balance.target("default/openai", "b")));
        assert!(!Arc::ptr_eq(&target, &balance.target("default/other", "a")));
        assert!(!Arc::ptr_eq(&target, &balance.endpoint("default/openai", "a")), "no target of a provider");
        let server = balance.server("default/openai", "a", "http://h:1/v1");
        assert!(Arc::ptr_eq(&server, &balance.server("default/openai", "a", "http://h:1/v1")));
        assert!(!Arc::ptr_eq(&server, &balance.server("default/openai", "a", "http://h:2/v1")), "another server");
    }

    #[test]
    fn state_that_nobody_holds_is_removed() {
        let balance = Balance::default();
        let kept = balance.turns("kept");
        for number in 0..10 * MIN_FULL {
            drop(balance.turns(&number.to_string()));
        }
        assert!(balance.turns.lock().unwrap().by_key.len() <= MIN_FULL);
        kept.next();
        assert_eq!(balance.turns("kept").next(), 1);
    }
}
