//! Other installations of the same controller. Two would write the same statuses and Services in turns.
//!
//! Every Lease has a label with the controller's name. An installation writes only while no older Lease with its label
//! is in use. By the age of Leases both know which of them that is, and a restart does not change it. The other takes
//! over when the first is gone, and stops again when it is back.

use std::collections::BTreeMap;

use ::kube::{
    Api, Client, Error, ResourceExt,
    api::{ListParams, ObjectMeta},
};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::Serialize;
use tokio::time::{Duration, Instant};

use crate::{api::ObjectKey, compile::Controller};

/// The label of a Lease with the controller that it is for.
const CONTROLLER: &str = "tollgate.dev/controller";
/// Renewals after which a leader looks for other installations, while there is no other Lease.
const RENEWALS: u32 = 5;

/// An installation that writes in place of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rival {
    /// Its Lease. The namespace is the one in which it is installed.
    pub lease: ObjectKey,
    /// The pod that writes.
    pub holder: String,
}

/// The holder of a Lease; empty when it is free.
pub(super) fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// A Lease of another installation, as it was last seen.
struct Seen {
    created: Option<Time>,
    spec: Option<LeaseSpec>,
    /// When its installation is considered gone unless the record changes.
    until: Instant,
    /// It was seen to change while it had a holder, so it is in use.
    renewed: bool,
}

/// What is known of other installations. It does no IO, and the current time is passed in.
pub(super) struct Rivals {
    own: ObjectKey,
    seen: BTreeMap<ObjectKey, Seen>,
}

impl Rivals {
    pub(super) const fn new(own: ObjectKey) -> Self {
        Self { own, seen: BTreeMap::new() }
    }

    /// Takes in all Leases of the controller. `lease_duration` is that of every installation.
    pub(super) fn observe(&mut self, leases: impl IntoIterator<Item = Lease>, lease_duration: Duration, now: Instant) {
        let mut before = std::mem::take(&mut self.seen);
        for lease in leases {
            let key = ObjectKey::new(lease.namespace().unwrap_or_default(), lease.name_any());
            if key == self.own {
                continue;
            }
            let held = !holder(&lease).is_empty();
            let created = lease.metadata.creation_timestamp;
            let seen = match before.remove(&key) {
                Some(old) if old.spec == lease.spec => Seen { created, ..old },
                // A leader that is replaced by another pod of its installation must not look like its end.
                Some(old) => Seen {
                    created,
                    spec: lease.spec,
                    until: now + if held { lease_duration * 2 } else { lease_duration },
                    renewed: old.renewed || held,
                },
                None => {
                    let until = if held { now + lease_duration * 2 } else { now };
                    Seen { created, spec: lease.spec, until, renewed: false }
                }
            };
            self.seen.insert(key, seen);
        }
    }

    /// The installation that writes in place of this one, whose Lease was created at `created`; and whether it is known
    /// to be alive.
    pub(super) fn older(&self, created: Option<&Time>, now: Instant) -> Option<(Rival, bool)> {
        // This Lease may not exist yet.
        let age = |created: Option<&Time>| (created.is_none(), created.map(|time| time.0));
        let own = (age(created), &self.own);
        let alive = self.seen.iter().filter(|(_, seen)| now < seen.until);
        let (key, seen) = alive.min_by_key(|(key, seen)| (age(seen.created.as_ref()), *key))?;
        if own < (age(seen.created.as_ref()), key) {
            return None;
        }
        let holder = seen.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        Some((Rival { lease: key.clone(), holder }, seen.renewed))
    }
}

/// The search for other installations.
pub(super) struct Search {
    leases: Api<Lease>,
    label: String,
    lease_duration: Duration,
    pub rivals: Rivals,
    /// Renewals until the next search.
    wait: u32,
    /// Whether the log has reported that Leases can't be listed.
    logged: bool,
}

impl Search {
    pub(super) fn new(client: Client, own: ObjectKey, controller: &Controller, lease_duration: Duration) -> Self {
        Self {
            leases: Api::all(client),
            label: controller.label().to_owned(),
            lease_duration,
            rivals: Rivals::new(own),
            wait: 0,
            logged: false,
        }
    }

    /// Marks a Lease as one of this controller.
    pub(super) fn mark(&self, metadata: &mut ObjectMeta) {
        metadata.labels.get_or_insert_default().insert(CONTROLLER.to_owned(), self.label.clone());
    }

    /// Whether a renewal is due for a search before it.
    pub(super) fn is_due(&mut self) -> bool {
        // A Lease that is not in use may be taken at any moment.
        let due = self.wait == 0 || !self.rivals.seen.is_empty();
        self.wait = self.wait.saturating_sub(1);
        due
    }

    /// The next renewal is due for a search.
    pub(super) fn hasten(&mut self) {
        self.wait = 0;
    }

    /// Reads all Leases of the controller. Without permission there seem to be none.
    pub(super) async fn search(&mut self) -> Result<(), Error> {
        let selector = ListParams::default().labels(&format!("{CONTROLLER}={}", self.label));
        let found = match self.leases.list(&selector).await {
            Ok(list) => list.items,
            Err(Error::Api(status)) if status.code == 403 => {
                if !std::mem::replace(&mut self.logged, true) {
                    tracing::warn!(
                        error = status.message,
                        "another installation with this controller name would not be noticed (RBAC: allow list on \
                         leases.coordination.k8s.io in all namespaces)"
                    );
                }
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        self.wait = RENEWALS;
        self.rivals.observe(found, self.lease_duration, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    const DURATION: Duration = Duration::from_secs(11);

    /// The Lease `tollgate` in a namespace, renewed for the `renewals`th time.
    fn lease(namespace: &str, created: &str, holder: &str, renewals: u32) -> Lease {
        let spec = json!({"holderIdentity": holder, "leaseTransitions": renewals});
        let metadata = json!({"name": "tollgate", "namespace": namespace, "creationTimestamp": created});
        let value: Value =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
        serde_json::from_value(value).unwrap()
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-01-02T00:00:00Z";

    fn time(text: &str) -> Time {
        Time(text.parse::<Timestamp>().unwrap())
    }

    /// The namespace of the installation that writes in place of `own`.
    fn older(rivals: &Rivals, created: Option<&str>, now: Instant) -> Option<(String, bool)> {
        let created = created.map(time);
        rivals.older(created.as_ref(), now).map(|(rival, alive)| (rival.lease.namespace, alive))
    }

    #[test]
    fn the_older_lease_that_is_in_use_has_precedence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rivals = Rivals::new(ObjectKey::new("b", "tollgate"));
        rivals.observe([lease("b", NEW, "me", 1), lease("a", OLD, "pod", 1)], DURATION, at(0));
        assert_eq!(older(&rivals, Some(NEW), at(0)), Some(("a".to_owned(), false)), "it may be left over");
        assert_eq!(
            older(&rivals, None, at(0)),
            Some(("a".to_owned(), false)),
            "a Lease that does not exist is the youngest"
        );
        rivals.observe([lease("a", OLD, "pod", 2)], DURATION, at(2));
        assert_eq!(older(&rivals, Some(NEW), at(2)), Some(("a".to_owned(), true)), "it is renewed");
        assert_eq!(older(&rivals, Some("2025-01-01T00:00:00Z"), at(2)), None, "this one is older");
        // Its leader ends, and another pod of it leads a moment later.
        rivals.observe([lease("a", OLD, "", 3)], DURATION, at(4));
        assert_eq!(older(&rivals, Some(NEW), at(14)), Some(("a".to_owned(), true)));
        rivals.observe([lease("a", OLD, "pod-2", 4)], DURATION, at(14));
        // That one vanishes, and nothing follows.
        rivals.observe([lease("a", OLD, "pod-2", 4)], DURATION, at(35));
        assert_eq!(older(&rivals, Some(NEW), at(35)), Some(("a".to_owned(), true)));
        assert_eq!(older(&rivals, Some(NEW), at(36)), None, "gone");
        rivals.observe([lease("a", OLD, "pod-3", 5)], DURATION, at(40));
        assert_eq!(older(&rivals, Some(NEW), at(40)), Some(("a".to_owned(), true)), "it is back");
        rivals.observe([], DURATION, at(41));
        assert_eq!(older(&rivals, Some(NEW), at(41)), None, "its Lease is deleted");
    }

    #[test]
    fn of_leases_of_one_age_the_first_by_name_has_precedence() {
        let now = Instant::now();
        let other = |own: &str, theirs: &str| {
            let mut rivals = Rivals::new(ObjectKey::new(own, "tollgate"));
            rivals.observe([lease(theirs, OLD, "pod", 1)], DURATION, now);
            older(&rivals, Some(OLD), now).is_some()
        };
        assert!(other("b", "a") && !other("a", "b"));
    }

    #[test]
    fn a_lease_that_was_released_before_delays_nobody() {
        let now = Instant::now();
        let mut rivals = Rivals::new(ObjectKey::new("b", "tollgate"));
        rivals.observe([lease("a", OLD, "", 1)], DURATION, now);
        assert_eq!(older(&rivals, Some(NEW), now), None);
    }
}
