//! Secrets: of those that are referred to, their values; of all others nothing.
//!
//! Everything known about a Secret comes from a `get` of it. The watch (of metadata alone) only says when to look again,
//! so it needs no memory of the Secrets that nobody refers to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::kube::{api::PartialObjectMeta, runtime::watcher::Event};
use k8s_openapi::api::core::v1::Secret;

use super::decode;
use crate::api::{ObjectKey, SecretData};

/// Longest pause before a `get` that failed is tried again.
const MAX_RETRY: Duration = Duration::from_secs(30);
/// First such pause; each further one is twice as long.
const MIN_RETRY: Duration = Duration::from_millis(250);
/// Failures, about two seconds of them, after which a Secret of which nothing is known counts as one that can't be read:
/// one that the API server can't decrypt, say, must not hold up everything else.
const VAIN_TRIES: u32 = 4;

/// A `get` to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub key: ObjectKey,
    /// How long to wait first.
    pub delay: Duration,
    /// Tells this `get` from earlier ones of the same Secret.
    pub ticket: u64,
}

/// What a `get` came to.
pub(super) enum Fetched {
    /// The Secret's version and values.
    Found(String, SecretData),
    /// There is no such Secret.
    Absent,
    /// We may not read it: what the API server says.
    Refused(String),
    /// It is not known whether there is one, and why.
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
    known: Known,
    /// The `get` under way.
    fetching: Option<u64>,
    /// It waits before it begins.
    delayed: bool,
    /// Something happened since that `get` began.
    again: bool,
    failures: u32,
}

/// What is known of a Secret.
#[derive(Default)]
enum Known {
    #[default]
    Nothing,
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
            self.look(key);
        }
    }

    /// One object less refers to `key`. With the last one its values are gone.
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
                self.look_where(|key, known| known.version() != listing.get(key).map(String::as_str));
            }
            Event::Apply(seen) => {
                let key = decode::key(&seen.metadata);
                if self.wanted.get(&key).is_some_and(|w| w.known.version() != Some(decode::version(&seen.metadata))) {
                    self.look(&key);
                }
            }
            Event::Delete(seen) => self.look(&decode::key(&seen.metadata)),
        }
    }

    /// Looks at everything again: without a watch nothing else would tell of changes.
    pub(super) fn look_at_all(&mut self) {
        self.look_where(|_, _| true);
    }

    fn look_where(&mut self, matches: impl Fn(&ObjectKey, &Known) -> bool) {
        let keys: Vec<_> = self
            .wanted
            .iter()
            .filter(|(key, wanted)| matches(key, &wanted.known))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &keys {
            self.look(key);
        }
    }

    fn look(&mut self, key: &ObjectKey) {
        let Some(wanted) = self.wanted.get_mut(key) else { return };
        if wanted.fetching.is_some() && !wanted.delayed {
            // That `get` may have begun before what happened now.
            wanted.again = true;
            return;
        }
        self.start(key, Duration::ZERO);
    }

    fn start(&mut self, key: &ObjectKey, delay: Duration) {
        let Some(wanted) = self.wanted.get_mut(key) else { return };
        self.tickets += 1;
        // One that waits is overtaken: what it comes to is not heard.
        wanted.fetching = Some(self.tickets);
        wanted.delayed = !delay.is_zero();
        wanted.again = false;
        self.fetches.push(Fetch { key: key.clone(), delay, ticket: self.tickets });
    }

    /// The `get`s to start now.
    pub(super) fn take_fetches(&mut self) -> Vec<Fetch> {
        std::mem::take(&mut self.fetches)
    }

    /// A `get` is done. Returns whether something that objects can see has changed.
    pub(super) fn fetched(&mut self, key: &ObjectKey, ticket: u64, fetched: Fetched) -> bool {
        // Nobody refers to it any more, or it was given up and wanted again since.
        let Some(wanted) = self.wanted.get_mut(key).filter(|w| w.fetching == Some(ticket)) else { return false };
        wanted.fetching = None;
        let again = std::mem::take(&mut wanted.again);
        let retry = matches!(fetched, Fetched::Failed(_) | Fetched::Refused(_));
        wanted.failures = if retry { wanted.failures.saturating_add(1) } else { 0 };
        let delay = if retry && !again { pause(wanted.failures) } else { Duration::ZERO };
        let in_vain = wanted.failures >= VAIN_TRIES;
        let known = match fetched {
            Fetched::Found(version, data) => Some(Known::Present(version, Arc::new(data))),
            Fetched::Absent => Some(Known::Absent),
            Fetched::Refused(why) | Fetched::Failed(why) => match wanted.known {
                // What was read stays: an API server that has just started forbids everything for a moment.
                Known::Present(..) | Known::Absent => None,
                Known::Nothing if !in_vain => None,
                Known::Nothing | Known::Unreadable(_) => Some(Known::Unreadable(why)),
            },
        };
        let changed = known.is_some_and(|known| wanted.known.learn(known));
        if again || retry {
            self.start(key, delay);
        }
        changed
    }

    /// Whether every Secret that is referred to was looked at once.
    pub(super) fn complete(&self) -> bool {
        self.wanted.values().all(|wanted| !matches!(wanted.known, Known::Nothing))
    }

    /// The Secrets that are there, and those of which that is not known because they can't be read.
    pub(super) fn present(&self) -> impl Iterator<Item = (&ObjectKey, Arc<SecretData>)> {
        self.wanted.iter().filter_map(|(key, wanted)| match &wanted.known {
            Known::Present(_, data) => Some((key, Arc::clone(data))),
            Known::Unreadable(why) => Some((key, Arc::new(SecretData::unreadable(format!("can't be read: {why}"))))),
            Known::Nothing | Known::Absent => None,
        })
    }
}

impl Known {
    fn version(&self) -> Option<&str> {
        match self {
            Self::Present(version, _) => Some(version),
            _ => None,
        }
    }

    /// Takes what is known now. Returns whether it differs in more than the version.
    fn learn(&mut self, mut new: Self) -> bool {
        let same = match (&*self, &mut new) {
            (Self::Absent, Self::Absent) => true,
            (Self::Unreadable(old), Self::Unreadable(new)) => old == new,
            (Self::Present(_, old), Self::Present(_, new)) if old == new => {
                // What did not change stays the same memory.
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
