//! The values of those Secrets and ConfigMaps that an object refers to.
//!
//! The values come from a `get` of each object. The watch, of metadata alone, only triggers another `get`, so objects
//! without a reference need no memory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::kube::api::ObjectMeta;
use kube_runtime::watcher::Event;

use super::decode;
use crate::api::{Kind, ObjectKey, SecretData};

/// Longest pause before a `get` that failed is tried again.
const MAX_RETRY: Duration = Duration::from_secs(30);
/// First such pause; each further one is twice as long.
const MIN_RETRY: Duration = Duration::from_millis(250);
/// Failures, during about two seconds, after which an object that was never read counts as unreadable. One Secret that
/// the API server can't decrypt, for example, must not delay all others.
const MAX_FIRST_FAILURES: u32 = 4;

/// A `get` to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    /// Secret or ConfigMap.
    pub kind: Kind,
    pub key: ObjectKey,
    /// How long to wait first.
    pub delay: Duration,
    /// Distinguishes this `get` from earlier ones of the same object.
    pub ticket: u64,
}

/// The result of a `get`.
pub(super) enum Fetched {
    /// The object's version and values.
    Found(String, SecretData),
    /// There is no such object.
    Absent,
    /// RBAC forbids to read it; with the API server's message.
    Refused(String),
    /// The `get` failed, for this reason.
    Failed(String),
}

/// The objects of one kind that are referred to.
pub(super) struct Values {
    kind: Kind,
    wanted: BTreeMap<ObjectKey, Wanted>,
    /// The versions, of wanted objects only, in the list under way.
    listing: Option<BTreeMap<ObjectKey, String>>,
    fetches: Vec<Fetch>,
    tickets: u64,
}

#[derive(Default)]
struct Wanted {
    references: usize,
    known: ValueState,
    /// The `get` under way.
    fetching: Option<u64>,
    /// Whether that `get` waits before it begins.
    delayed: bool,
    /// Whether the object changed after that `get` began.
    again: bool,
    failures: u32,
}

/// The state of an object.
#[derive(Default)]
enum ValueState {
    #[default]
    Unread,
    Present(String, Arc<SecretData>),
    Absent,
    Unreadable(String),
}

impl Values {
    /// No object of `kind` yet.
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, wanted: BTreeMap::new(), listing: None, fetches: Vec::new(), tickets: 0 }
    }

    /// The kind of the objects.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

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
    pub(super) fn event(&mut self, event: &Event<ObjectMeta>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(seen) => {
                let key = decode::key(seen);
                if let Some(listing) = self.listing.as_mut().filter(|_| self.wanted.contains_key(&key)) {
                    listing.insert(key, decode::version(seen).to_owned());
                }
            }
            Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                self.refetch_where(|key, known| known.version() != listing.get(key).map(String::as_str));
            }
            Event::Apply(seen) => {
                let key = decode::key(seen);
                if self.wanted.get(&key).is_some_and(|w| w.known.version() != Some(decode::version(seen))) {
                    self.refetch(&key);
                }
            }
            Event::Delete(seen) => self.refetch(&decode::key(seen)),
        }
    }

    /// Reads all objects again, because without a watch changes would not be noticed.
    pub(super) fn refetch_all(&mut self) {
        self.refetch_where(|_, _| true);
    }

    fn refetch_where(&mut self, matches: impl Fn(&ObjectKey, &ValueState) -> bool) {
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
        self.fetches.push(Fetch { kind: self.kind, key: key.clone(), delay, ticket: self.tickets });
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
            Fetched::Found(version, data) => Some(ValueState::Present(version, Arc::new(data))),
            Fetched::Absent => Some(ValueState::Absent),
            Fetched::Refused(why) | Fetched::Failed(why) => match wanted.known {
                // The last values stay: an API server that has just started forbids everything for a moment.
                ValueState::Present(..) | ValueState::Absent => None,
                ValueState::Unread if !failed_often => None,
                ValueState::Unread | ValueState::Unreadable(_) => Some(ValueState::Unreadable(why)),
            },
        };
        let changed = known.is_some_and(|known| wanted.known.update(known));
        if again || retry {
            self.start(key, delay);
        }
        changed
    }

    /// Whether every object with a reference was read once.
    pub(super) fn complete(&self) -> bool {
        self.wanted.values().all(|wanted| !matches!(wanted.known, ValueState::Unread))
    }

    /// The objects that exist, and those that can't be read.
    pub(super) fn present(&self) -> impl Iterator<Item = (&ObjectKey, Arc<SecretData>)> {
        self.wanted.iter().filter_map(|(key, wanted)| match &wanted.known {
            ValueState::Present(_, data) => Some((key, Arc::clone(data))),
            ValueState::Unreadable(why) => {
                Some((key, Arc::new(SecretData::unreadable(format!("can't be read: {why}")))))
            }
            ValueState::Unread | ValueState::Absent => None,
        })
    }
}

impl ValueState {
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
