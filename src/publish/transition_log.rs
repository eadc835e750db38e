//! The log of writes to the cluster: each problem is logged once when it begins and once when it has ended.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    queue::{Target, WriteJob},
    write::WriteResult,
};
use crate::api::Kind;

/// The problems that last at the moment.
#[derive(Default)]
pub(super) struct TransitionLog {
    /// Kinds that RBAC forbids to write.
    forbidden: BTreeSet<Kind>,
    /// The API server can't be reached. There is one for all objects, so its outage is logged once.
    unreachable: bool,
    /// The error for which each object was refused.
    refused: BTreeMap<Target, String>,
    /// Events can't be written.
    events_fail: bool,
}

/// A change that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transition {
    Began,
    Ended,
}

impl TransitionLog {
    /// Logs the end of a write when it changes anything.
    pub(super) fn ended(&mut self, job: &WriteJob, result: &WriteResult) {
        let kind = job.target.kind.as_str();
        let object = job.target.key.to_string();
        let transition = self.transition(&job.target, result);
        match (result, transition) {
            (WriteResult::Forbidden(error), Some(_)) => tracing::error!(
                kind,
                object,
                error,
                "RBAC forbids to write objects of this kind; traffic is not affected"
            ),
            (WriteResult::Unreachable(error), Some(_)) => {
                tracing::warn!(error, "writes to the API server fail; traffic is not affected");
            }
            (WriteResult::Refused(error), Some(_)) => {
                tracing::warn!(kind, object, error, "the API server refuses a write; it is tried again");
            }
            (_, Some(Transition::Ended)) => tracing::info!(kind, object, "the API server accepts writes again"),
            _ => {}
        }
        if let WriteResult::Written { event_error } = result {
            let first = event_error.is_some() && !self.events_fail;
            self.events_fail = event_error.is_some() || self.events_fail;
            if let Some(error) = event_error.as_ref().filter(|_| first) {
                tracing::warn!(error, "Events can't be written (RBAC: allow create on events.events.k8s.io)");
            }
        }
    }

    fn transition(&mut self, target: &Target, result: &WriteResult) -> Option<Transition> {
        // Whether the object itself can be written is unknown.
        if target.event {
            return None;
        }
        let began = match result {
            WriteResult::Forbidden(_) => self.forbidden.insert(target.kind),
            WriteResult::Unreachable(_) => !std::mem::replace(&mut self.unreachable, true),
            WriteResult::Refused(error) => self.refused.insert(target.clone(), error.clone()).as_ref() != Some(error),
            WriteResult::Gone => {
                self.refused.remove(target);
                false
            }
            WriteResult::Conflict => false,
            WriteResult::Written { .. } => {
                let ended = [
                    self.forbidden.remove(&target.kind),
                    std::mem::take(&mut self.unreachable),
                    self.refused.remove(target).is_some(),
                ];
                return ended.contains(&true).then_some(Transition::Ended);
            }
        };
        began.then_some(Transition::Began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ObjectKey;

    #[test]
    fn each_problem_is_logged_once() {
        let target = |kind, name: &str| Target { kind, key: ObjectKey::new("ns", name), event: false };
        let (a, b) = (target(Kind::Backend, "a"), target(Kind::Backend, "b"));
        let gateway = target(Kind::Gateway, "a");
        let forbidden = |text: &str| WriteResult::Forbidden(text.to_owned());
        let refused = |text: &str| WriteResult::Refused(text.to_owned());
        let unreachable = |text: &str| WriteResult::Unreachable(text.to_owned());
        let written = WriteResult::Written { event_error: None };
        let mut log = TransitionLog::default();
        for (number, (target, result, transition)) in [
            (&a, forbidden("a"), Some(Transition::Began)),
            (&a, forbidden("a"), None),
            (&b, forbidden("b"), None),
            (&gateway, forbidden("a"), Some(Transition::Began)),
            (&b, written.clone(), Some(Transition::Ended)),
            (&b, written.clone(), None),
            (&a, refused("x"), Some(Transition::Began)),
            (&a, refused("x"), None),
            (&a, refused("y"), Some(Transition::Began)),
            (&b, refused("x"), Some(Transition::Began)),
            (&a, WriteResult::Conflict, None),
            (&a, written.clone(), Some(Transition::Ended)),
            (&b, WriteResult::Gone, None),
            (&b, written.clone(), None),
            (&a, unreachable("x"), Some(Transition::Began)),
            (&b, unreachable("y"), None),
            (&b, written, Some(Transition::Ended)),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(log.transition(target, &result), transition, "{number}: {target:?} {result:?}");
        }
    }
}
