//! Converts events of watches to objects, without IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ::kube::api::{DynamicObject, ObjectMeta};
use kube_runtime::watcher::Event;

use super::{
    decode::{self, Entry},
    values::{Fetch, Fetched, Values},
};
use crate::{
    api::{Kind, ObjectKey},
    compile::Objects,
    source::kinds::{KINDS, KindRow},
};

type Entries = BTreeMap<ObjectKey, Entry>;

/// The effect of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// A status or annotations that are not compiled.
    Status,
    /// A part that is compiled.
    Matters,
}

impl Change {
    fn matters(changed: bool) -> Self {
        if changed { Self::Matters } else { Self::None }
    }

    /// From one version of an object to another.
    fn between(old: &Entry, new: &Entry) -> Self {
        if old.version == new.version {
            Self::None
        } else if old.same_but_status(new) {
            Self::Status
        } else {
            Self::Matters
        }
    }
}

/// Everything that was read from the cluster.
pub(super) struct Store {
    kinds: BTreeMap<Kind, Watched>,
    referred: Referred,
}

/// The Secrets and ConfigMaps that are referred to.
struct Referred([Values; 2]);

impl Referred {
    fn of(&mut self, kind: Kind) -> Option<&mut Values> {
        self.0.iter_mut().find(|values| values.kind() == kind)
    }

    fn retain(&mut self, references: &BTreeSet<(Kind, ObjectKey)>) {
        for (kind, key) in references {
            self.of(*kind).into_iter().for_each(|values| values.retain(key));
        }
    }

    fn release(&mut self, references: &BTreeSet<(Kind, ObjectKey)>) {
        for (kind, key) in references {
            self.of(*kind).into_iter().for_each(|values| values.release(key));
        }
    }

    fn complete(&self) -> bool {
        self.0.iter().all(Values::complete)
    }
}

/// The objects of one kind.
#[derive(Default)]
struct Watched {
    entries: Entries,
    /// The list under way. It takes the place of `entries` when it is complete, so that a partial list is never used.
    listing: Option<Entries>,
    /// There was a complete list once, or the kind can't be listed.
    synced: bool,
}

impl Store {
    /// A store without objects.
    pub(super) fn new() -> Self {
        let kinds = KINDS.iter().map(|row| (row.kind, Watched::default())).collect();
        Self { kinds, referred: Referred([Values::new(Kind::Secret), Values::new(Kind::ConfigMap)]) }
    }

    /// An event of the watch on a kind. Returns what it has changed.
    pub(super) fn event(&mut self, row: &KindRow, event: Event<DynamicObject>) -> Change {
        let Some(watched) = self.kinds.get_mut(&row.kind) else { return Change::None };
        match event {
            Event::Init => {
                // An interrupted list has left a part here.
                watched.listing = Some(Entries::new());
                Change::None
            }
            Event::InitApply(object) => {
                let key = decode::key(&object.metadata);
                let entry = watched.entry(row, &key, object);
                watched.listing.get_or_insert_default().insert(key, entry);
                Change::None
            }
            Event::InitDone => {
                let new = watched.listing.take().unwrap_or_default();
                // Nothing waits for the first list of a kind that is not served.
                let first = !std::mem::replace(&mut watched.synced, true) && !row.kind.is_unserved();
                let same_keys = new.keys().eq(watched.entries.keys());
                let pairs = watched.entries.values().zip(new.values());
                let change = if first || !same_keys {
                    Change::Matters
                } else {
                    pairs.map(|(old, new)| Change::between(old, new)).max().unwrap_or(Change::None)
                };
                let old = std::mem::replace(&mut watched.entries, new);
                // New references first, so that an object that both versions refer to is not removed in between.
                watched.entries.values().for_each(|entry| self.referred.retain(&entry.references));
                for entry in old.values() {
                    self.referred.release(&entry.references);
                }
                change
            }
            Event::Apply(object) => {
                let key = decode::key(&object.metadata);
                if watched.entries.get(&key).is_some_and(|e| e.version == decode::version(&object.metadata)) {
                    return Change::None;
                }
                let entry = watched.entry(row, &key, object);
                let before = watched.entries.get(&key);
                let change = before.map_or(Change::Matters, |old| Change::between(old, &entry));
                self.referred.retain(&entry.references);
                let old = watched.entries.insert(key, entry);
                if let Some(entry) = &old {
                    self.referred.release(&entry.references);
                }
                change
            }
            Event::Delete(object) => {
                let old = watched.entries.remove(&decode::key(&object.metadata));
                if let Some(entry) = &old {
                    self.referred.release(&entry.references);
                }
                Change::matters(old.is_some())
            }
        }
    }

    /// An event of the watch on the metadata of Secrets or ConfigMaps. Returns what it has changed.
    pub(super) fn metadata_event(&mut self, row: &KindRow, event: &Event<ObjectMeta>) -> Change {
        self.referred.of(row.kind).into_iter().for_each(|values| values.event(event));
        Change::matters(matches!(event, Event::InitDone) && self.set_synced(row.kind))
    }

    /// Objects of this kind can't be listed, for a reason which means that Tollgate has none: their definition is not
    /// installed, or (Secrets and ConfigMaps, and kinds that are not served) access is forbidden. Objects read before
    /// are kept if they are served. Returns the effect.
    pub(super) fn unavailable(&mut self, kind: Kind) -> Change {
        self.referred.of(kind).into_iter().for_each(Values::refetch_all);
        let synced = self.set_synced(kind);
        if kind.is_unserved() {
            // Nothing is served of these, so their objects end with their definition.
            let objects = self.kinds.get_mut(&kind).map(|watched| std::mem::take(&mut watched.entries));
            return Change::matters(objects.is_some_and(|objects| !objects.is_empty()));
        }
        Change::matters(synced)
    }

    fn set_synced(&mut self, kind: Kind) -> bool {
        self.kinds.get_mut(&kind).is_some_and(|watched| !std::mem::replace(&mut watched.synced, true))
    }

    /// The `get`s to start now.
    pub(super) fn take_fetches(&mut self) -> Vec<Fetch> {
        self.referred.0.iter_mut().flat_map(Values::take_fetches).collect()
    }

    /// A `get` is done. Returns the effect.
    pub(super) fn fetched(&mut self, fetch: &Fetch, fetched: Fetched) -> Change {
        // The last of them may have been the only one missing.
        let complete = self.referred.complete();
        let values = self.referred.of(fetch.kind);
        let changed = values.is_some_and(|values| values.fetched(&fetch.key, fetch.ticket, fetched));
        Change::matters(changed || complete != self.referred.complete())
    }

    /// Whether every kind that is served was listed once. Whatever happens to the others, it delays nothing.
    pub(super) fn synced(&self) -> bool {
        self.kinds.iter().all(|(kind, watched)| watched.synced || kind.is_unserved())
    }

    /// Whether every object that is referred to was read once.
    pub(super) fn complete(&self) -> bool {
        self.referred.complete()
    }

    /// The objects as they are now.
    pub(super) fn objects(&self) -> Objects {
        let mut objects = Objects::default();
        for (kind, watched) in &self.kinds {
            for (key, entry) in &watched.entries {
                match &entry.object {
                    Ok(object) => object.insert(key.clone(), &mut objects),
                    Err(rejected) => objects.rejected.push(rejected.clone()),
                }
                if !entry.unread.is_empty() {
                    objects.unread.insert((*kind, key.clone()), Arc::clone(&entry.unread));
                }
            }
        }
        let [secrets, config_maps] = &self.referred.0;
        objects.secrets = secrets.present().map(|(key, data)| (key.clone(), data)).collect();
        objects.config_maps = config_maps.present().map(|(key, data)| (key.clone(), data)).collect();
        objects
    }
}

impl Watched {
    /// Decodes an object, unless the store has just this version.
    fn entry(&self, row: &KindRow, key: &ObjectKey, object: DynamicObject) -> Entry {
        match self.entries.get(key) {
            Some(known) if known.version == decode::version(&object.metadata) => known.clone(),
            _ => decode::entry(row, key, object),
        }
    }
}
