//! The health of watches: each problem is logged once when it begins and once when it ends.

use std::collections::BTreeMap;

use ::kube::Error;
use kube_runtime::watcher;

use crate::{
    api::Kind,
    source::kinds::{KINDS, KindRow},
};

/// The reason why a kind can't be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A watch ended early or has expired. It is started again, which is not logged.
    Lost,
    /// The definition of the kind is not installed.
    Missing,
    /// RBAC forbids this verb.
    Forbidden(Verb),
    /// The API server refuses for another reason, such as overload.
    Refused,
    /// The API server can't be reached.
    Unreachable,
}

/// A forbidden verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
}

impl Trouble {
    /// Its label in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Missing => "missing",
            Self::Forbidden(_) => "forbidden",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }

    /// The trouble that `error` shows.
    pub(super) fn of(error: &watcher::Error) -> Self {
        let (verb, cause) = match error {
            watcher::Error::InitialListFailed(cause) => (Verb::List, cause),
            watcher::Error::WatchStartFailed(cause) => (Verb::Watch, cause),
            watcher::Error::WatchError(status) if status.code == 403 => return Self::Forbidden(Verb::Watch),
            watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) => return Self::Lost,
            watcher::Error::NoResourceVersion => return Self::Refused,
        };
        match cause {
            Error::Api(status) => match status.code {
                403 => Self::Forbidden(verb),
                404 => Self::Missing,
                410 => Self::Lost,
                _ => Self::Refused,
            },
            _ => Self::Unreachable,
        }
    }
}

/// The troubles that are not over.
#[derive(Default)]
pub(super) struct Health {
    troubles: BTreeMap<Kind, Trouble>,
}

impl Health {
    /// Takes in that a watch has failed. Returns whether that has to be logged.
    pub(super) fn failed(&mut self, kind: Kind, trouble: Trouble) -> bool {
        if trouble == Trouble::Lost {
            return false;
        }
        // One API server serves all kinds, so its outage is logged once.
        let known = self.troubles.get(&kind) == Some(&trouble)
            || trouble == Trouble::Unreachable && self.troubles.values().any(|t| *t == Trouble::Unreachable);
        self.troubles.insert(kind, trouble);
        !known
    }

    /// Takes in that a list is complete (`listed`) or an event was received. Returns the trouble that has ended, if
    /// that has to be logged.
    pub(super) fn works(&mut self, kind: Kind, listed: bool) -> Option<Trouble> {
        // A list can work while the watch is still forbidden.
        if listed && self.troubles.get(&kind) == Some(&Trouble::Forbidden(Verb::Watch)) {
            return None;
        }
        let over = self.troubles.remove(&kind)?;
        let still = over == Trouble::Unreachable && self.troubles.values().any(|t| *t == Trouble::Unreachable);
        (!still).then_some(over)
    }

    /// Whether RBAC forbids to list or watch a kind.
    pub(super) fn is_forbidden(&self, kind: Kind) -> bool {
        matches!(self.troubles.get(&kind), Some(Trouble::Forbidden(_)))
    }
}

/// Logs the beginning of a trouble.
pub(super) fn log_failed(row: &KindRow, trouble: Trouble, error: &str) {
    let (kind, resource) = (row.kind.as_str(), resource(row));
    match trouble {
        Trouble::Lost => {}
        Trouble::Missing if row.kind.is_unserved() => {
            tracing::debug!(
                kind,
                resource,
                "the CustomResourceDefinition of a kind that is not served is not installed"
            );
        }
        Trouble::Missing => tracing::warn!(
            kind,
            resource,
            "the CustomResourceDefinition is not installed; served without objects of this kind until it is"
        ),
        Trouble::Forbidden(verb) => {
            let verb = match verb {
                Verb::List => "list",
                Verb::Watch => "watch",
            };
            let then = match row.kind {
                Kind::Secret | Kind::ConfigMap => "what needs one answers with an error, the rest is served",
                kind if kind.is_unserved() => {
                    "objects of this kind are not served, which can't be reported to their authors"
                }
                _ => "nothing new is served until it is allowed",
            };
            tracing::error!(kind, resource, verb, error, "RBAC forbids this verb: allow get, list and watch; {then}");
        }
        Trouble::Refused => {
            tracing::warn!(kind, resource, error, "the API server refuses a request; the last state is still served");
        }
        Trouble::Unreachable => {
            tracing::warn!(error, "the API server can't be reached; the last state is still served");
        }
    }
}

/// Logs that RBAC forbids to read single objects.
pub(super) fn log_get_forbidden(kind: Kind, error: &str) {
    let resource = KINDS.iter().find(|row| row.kind == kind).map(resource).unwrap_or_default();
    tracing::error!(
        kind = kind.as_str(),
        resource,
        verb = "get",
        error,
        "RBAC forbids this verb: allow get, list and watch; what needs one answers with an error, the rest is served"
    );
}

/// Logs the end of a trouble.
pub(super) fn log_over(row: &KindRow, trouble: Trouble) {
    let (kind, resource) = (row.kind.as_str(), resource(row));
    match trouble {
        Trouble::Lost => {}
        Trouble::Missing if row.kind.is_unserved() => tracing::debug!(kind, resource, "the kind is installed now"),
        Trouble::Missing => tracing::info!(kind, resource, "the CustomResourceDefinition is installed now"),
        Trouble::Forbidden(_) => tracing::info!(kind, resource, "RBAC allows it now"),
        Trouble::Refused => tracing::info!(kind, resource, "the API server no longer refuses"),
        Trouble::Unreachable => tracing::info!("the API server can be reached again"),
    }
}

/// The kind as RBAC rules and `kubectl` name it.
fn resource(row: &KindRow) -> String {
    if row.group.is_empty() { row.plural.to_owned() } else { format!("{}.{}", row.plural, row.group) }
}
