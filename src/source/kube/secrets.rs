//! The values of those Secrets that an object refers to.
//!
//! The values come from a `get` of each Secret. The watch, of metadata alone, only triggers another `get`, so Secrets
//! without a reference need no memory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::kube::api::PartialObjectMeta;
use k8s_openapi::api::core::v1::Secret;
use kube_runtime::watcher::Event;

use super::decode;
use crate::api::{ObjectKey, SecretData};

/// Longest pause before a `get` that failed is tried again.
const MAX_RETRY: Duration = Duration::from_secs(30);
/// First such pause; each further one is twice as long.
const MIN_RETRY: Duration = Duration::from_millis(250);
/// Failures, during about two seconds, after which a Secret that was never read counts as unreadable. One Secret that
/// the API server can't decrypt, for example, must not delay all others.
const MAX_FIRST_FAILURES: u32 = 4;

/// A `get` to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub key: ObjectKey,
    /// How long to wait first.
    pub delay: Duration,
    /// Distinguishes this `get` from earlier ones of the same Secret.
    pub ticket: u64,
}

/// The result of a `get`.
pub(super) enum Fetched {
    /// The Secret's version and values.
    Found(String, SecretData),
    /// There is no such Secret.
    Absent,
    /// RBAC forbids to read it; with the API server's message.
    Refused(String),
    /// The `get` failed, for this reason.
    Failed(String),
}

/// The Secrets that are referred to.
#[derive(Default)]
pub(super) struct Secrets {
    wanted: BTreeMap<ObjectKey, Wanted>,
    /// The versions, of wanted Secrets only, in the list under way.
    listing: Option<BTreeMap<ObjectKey, String>>,
    fetches: Vec<Fetch>,
    tickets: u64,
}

#[derive(Default)]
struct Wanted {
    references: usize,
    known: SecretState,
    /// The `get` under way.
    fetching: Option<u64>,
    /// Whether that `get` waits before it begins.
    delayed: bool,
    /// Whether the Secret changed after that `get` began.
    again: bool,
    failures: u32,
}

/// The state of a Secret.
#[derive(Default)]
enum SecretState {
    #[default]
    Unread,
    Present(String, Arc<SecretData>),
    Absent,
    Unreadable(String),
}

impl Secrets {
    /// One more object refers to `key`.
    pub(super) fn retain(&mut self, key: &ObjectKey) {
        let wanted = self.wanted.entry(key.clone()).or_default();
        wanted.references += 1;
        if wanted.references == 1 {
            self.refetch(key);
        }
    }

    /// One object less refers to `key`. With the last reference its values are removed.
    pub(super) fn release(&mut self, key: &ObjectKey) {
        let Some(wanted) = self.wanted.get_mut(key) else { return };
        wanted.references -= 1;
        if wanted.references == 0 {
            self.wanted.remove(key);
        }
    }

    /// An event of the watch on metadata.
    pub(super) fn event(&mut self, event: &Event<PartialObjectMeta<Secret>>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(seen) => {
                let key = decode::key(&seen.metadata);
                if let Some(listing) = self.listing.as_mut().filter(|_| self.wanted.contains_key(&key)) {
                    listing.insert(key, decode::version(&seen.metadata).to_owned());
                }
            }
            Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                self.refetch_where(|key, known| known.version() != listing.get(key).map(String::as_str));
            }
            Event::Apply(seen) => {
                let key = decode::key(&seen.metadata);
                if self.wanted.get(&key).is_some_and(|w| w.known.version() != Some(decode::version(&seen.metadata))) {
                    self.refetch(&key);
                }
            }
            Event::Delete(seen) => self.refetch(&decode::key(&seen.metadata)),
        }
    }

    /// Reads all Secrets again, because without a watch changes would not be noticed.
    pub(super) fn refetch_all(&mut self) {
        self.refetch_where(|_, _| true);
    }

    fn refetch_where(&mut self, matches: impl Fn(&ObjectKey, &SecretState) -> bool) {
        let keys: Vec<_> = self
            .wanted
            .iter()
            .filter(|(key, wanted)| matches(key, &wanted.known))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &keys {
            self.refetch(key);
        }
    }

    fn refetch(&mut self, key: &ObjectKey) {
        let Some(wanted) = self.wanted.get_mut(key) else { return };
        if wanted.fetching.is_some() && !wanted.delayed {
            // That `get` may have begun before this change.
            wanted.again = true;
            return;
        }
        self.start(key, Duration::ZERO);
    }

    fn start(&mut self, key: &ObjectKey, delay: Duration) {
        let Some(wanted) = self.wanted.get_mut(key) else { return };
        self.tickets += 1;
        // A `get` that waits is replaced: its result will be ignored.
        wanted.fetching = Some(self.tickets);
        wanted.delayed = !delay.is_zero();
        wanted.again = false;
        self.fetches.push(Fetch { key: key.clone(), delay, ticket: self.tickets });
    }

    /// The `get`s to start now.
    pub(super) fn take_fetches(&mut self) -> Vec<Fetch> {
        std::mem::take(&mut self.fetches)
    }

    /// Handles the end of a `get`. Returns whether the objects have changed.
    pub(super) fn fetched(&mut self, key: &ObjectKey, ticket: u64, fetched: Fetched) -> bool {
        // It has no reference any more, or was released and retained again since.
        let Some(wanted) = self.wanted.get_mut(key).filter(|w| w.fetching == Some(ticket)) else { return false };
        wanted.fetching = None;
        let again = std::mem::take(&mut wanted.again);
        let retry = matches!(fetched, Fetched::Failed(_) | Fetched::Refused(_));
        wanted.failures = if retry { wanted.failures.saturating_add(1) } else { 0 };
        let delay = if retry && !again { pause(wanted.failures) } else { Duration::ZERO };
        let failed_often = wanted.failures >= MAX_FIRST_FAILURES;
        let known = match fetched {
            Fetched::Found(version, data) => Some(SecretState::Present(version, Arc::new(data))),
            Fetched::Absent => Some(SecretState::Absent),
            Fetched::Refused(why) | Fetched::Failed(why) => match wanted.known {
                // The last values stay: an API server that has just started forbids everything for a moment.
                SecretState::Present(..) | SecretState::Absent => None,
                SecretState::Unread if !failed_often => None,
                SecretState::Unread | SecretState::Unreadable(_) => Some(SecretState::Unreadable(why)),
            },
        };
        let changed = known.is_some_and(|known| wanted.known.update(known));
        if again || retry {
            self.start(key, delay);
        }
        changed
    }

    /// Whether every Secret with a reference was read once.
    pub(super) fn complete(&self) -> bool {
        self.wanted.values().all(|wanted| !matches!(wanted.known, SecretState::Unread))
    }

    /// The Secrets that exist, and those that can't be read.
    pub(super) fn present(&self) -> impl Iterator<Item = (&ObjectKey, Arc<SecretData>)> {
        self.wanted.iter().filter_map(|(key, wanted)| match &wanted.known {
            SecretState::Present(_, data) => Some((key, Arc::clone(data))),
            SecretState::Unreadable(why) => {
                Some((key, Arc::new(SecretData::unreadable(format!("can't be read: {why}")))))
            }
            SecretState::Unread | SecretState::Absent => None,
        })
    }
}

impl SecretState {
    fn version(&self) -> Option<&str> {
        match self {
            Self::Present(version, _) => Some(version),
            _ => None,
        }
    }

    /// Takes the new state. Returns whether it differs in more than the version.
    fn update(&mut self, mut new: Self) -> bool {
        let same = match (&*self, &mut new) {
            (Self::Absent, Self::Absent) => true,
            (Self::Unreadable(old), Self::Unreadable(new)) => old == new,
            (Self::Present(_, old), Self::Present(_, new)) if old == new => {
                // Unchanged values share their memory.
                *new = Arc::clone(old);
                true
            }
            _ => false,
        };
        *self = new;
        !same
    }
}

/// How long to wait after `failures` in a row.
fn pause(failures: u32) -> Duration {
    MIN_RETRY.saturating_mul(1_u32 << failures.saturating_sub(1).min(16)).min(MAX_RETRY)
}
