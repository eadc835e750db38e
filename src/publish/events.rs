//! Events, which `kubectl describe` shows below an object when one of its conditions becomes bad or recovers.
//!
//! They are made by comparing with the status that is in the object, so a new leader repeats none.

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{Condition as Written, MicroTime, ObjectMeta},
    jiff::Timestamp,
};

use super::{Replica, status::conditions::message};
use crate::{
    api::condition::{ConditionType, Reason},
    compile::{Condition, digest},
};

/// The longest note that the API accepts, in bytes.
const MAX_NOTE: usize = 1024;
/// The longest name that the API accepts, less the suffix after an object's name.
const MAX_NAME: usize = 253 - 17;

/// A condition that becomes bad, is bad for another reason or with another message, or recovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub warning: bool,
    /// The condition's type.
    pub action: &'static str,
    /// The condition's reason.
    pub reason: &'static str,
    /// The owner of the condition, and its message.
    pub note: String,
}

impl Transition {
    /// Another installation writes in place of this one.
    pub(super) fn refused(note: &str) -> Self {
        Self { warning: true, action: "Lead", reason: "AnotherInstallation", note: clipped(note.to_owned()) }
    }

    /// A parent of a route is not there, so that no status of the route may report it.
    pub(super) fn unattached(note: &str) -> Self {
        Self {
            warning: true,
            action: ConditionType::Accepted.as_str(),
            reason: Reason::NoMatchingParent.as_str(),
            note: clipped(note.to_owned()),
        }
    }
}

/// The changes from `present` to `wanted`. `scope` names the owner of the conditions if it is not the object itself,
/// such as `listener http`.
pub(super) fn find_transitions<'a>(
    scope: &'a str,
    present: &'a [Written],
    wanted: &'a [Condition],
) -> impl Iterator<Item = Transition> + 'a {
    wanted.iter().filter_map(move |new| {
        let old = present.iter().find(|p| p.type_ == new.kind.as_str());
        let was_bad = old.is_some_and(|old| is_problem(old, new));
        let bad = new.is_problem();
        let same = old.is_some_and(|old| old.reason == new.reason.as_str() && old.message == message(new));
        // A beginning is not reported; the state that follows it is.
        let begins = new.reason == Reason::Pending;
        let has_changed = if bad { (!was_bad || !same) && !begins } else { was_bad };
        has_changed.then(|| Transition {
            warning: bad && !is_passing(new.reason),
            action: new.kind.as_str(),
            reason: new.reason.as_str(),
            note: note(scope, new),
        })
    })
}

/// Removes transitions that repeat the note of another: one mistake often makes several conditions bad.
pub(super) fn dedup(transitions: &mut Vec<Transition>) {
    let mut unique: Vec<Transition> = Vec::with_capacity(transitions.len());
    for transition in transitions.drain(..) {
        if !unique.iter().any(|k| k.note == transition.note && k.warning == transition.warning) {
            unique.push(transition);
        }
    }
    *transitions = unique;
}

/// Whether `old` reported a problem; `new` is of its type.
fn is_problem(old: &Written, new: &Condition) -> bool {
    let status = match old.status.as_str() {
        "True" => true,
        "False" => false,
        // No controller had looked at the object yet.
        _ => return false,
    };
    Condition::new(new.kind, status, new.reason, "").is_problem()
}

/// Whether a reason is a normal beginning and not a mistake.
const fn is_passing(reason: Reason) -> bool {
    matches!(reason, Reason::Pending | Reason::Waiting | Reason::AddressNotAssigned)
}

fn note(scope: &str, condition: &Condition) -> String {
    let mut note = String::new();
    if !scope.is_empty() {
        note.push_str(scope);
        note.push_str(": ");
    }
    if condition.message.is_empty() {
        let status = if condition.status { "True" } else { "False" };
        note.extend([condition.kind.as_str(), " is ", status]);
    } else {
        note.push_str(&condition.message);
    }
    clipped(note)
}

fn clipped(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    note
}

/// Which Events are written of equal transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Each is an Event of its own: the status of the object separates them.
    Always,
    /// One, as long as the API server keeps it. No status shows whether another replica has written it before.
    Once,
}

/// The Event that reports a transition. Cluster-scoped objects have theirs in the namespace `default`.
pub(super) fn event(
    transition: &Transition,
    repeat: Repeat,
    regarding: &ObjectReference,
    replica: &Replica,
    now: Timestamp,
) -> Event {
    let name = regarding.name.as_deref().unwrap_or_default();
    let name = name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or_default();
    let suffix = match repeat {
        Repeat::Always => format!("{:x}", now.as_nanosecond()),
        Repeat::Once => {
            let parts = [replica.controller.name(), regarding.uid.as_deref().unwrap_or_default(), &transition.note];
            digest(&parts.join("\n"))
        }
    };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{suffix}")),
            namespace: Some(regarding.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        action: Some(transition.action.to_owned()),
        reason: Some(transition.reason.to_owned()),
        note: Some(transition.note.clone()),
        event_time: Some(MicroTime(now)),
        regarding: Some(regarding.clone()),
        reporting_controller: Some(replica.controller.name().to_owned()),
        reporting_instance: Some(replica.pod.clone()),
        type_: Some(if transition.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}
