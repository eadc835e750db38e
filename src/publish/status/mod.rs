//! What an object's status has to become: from a report and the status that is there, without IO.
//!
//! Nothing is written that is so already, what others wrote stays, and the time in a condition changes only with its
//! status.

mod conditions;
mod entries;
mod own;
mod shared;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub(super) use self::{
    own::{backend, class, gateway, parameters, undecodable},
    shared::{policy, route},
};
use super::events::{Transition, dedup};

/// A status that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Update {
    pub patch: Patch,
    /// What to tell of it.
    pub transitions: Vec<Transition>,
}

/// How to change a status. Both forms name the version of the object that they were made from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Patch {
    /// JSON Merge Patch (RFC 7386).
    Merge(Value),
    /// JSON Patch (RFC 6902).
    Operations(Value),
}

impl Update {
    /// These fields below `status` are replaced.
    fn fields(version: Option<&str>, status: &Value, transitions: Vec<Transition>) -> Self {
        let patch = serde_json::json!({"metadata": {"resourceVersion": version}, "status": status});
        Self::new(Patch::Merge(patch), transitions)
    }

    /// These operations are done.
    fn operations(version: Option<&str>, mut operations: Vec<Value>, transitions: Vec<Transition>) -> Self {
        // Not `test`: a version that is another is to be answered with 409.
        let guard = serde_json::json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version});
        operations.insert(0, guard);
        Self::new(Patch::Operations(Value::Array(operations)), transitions)
    }

    fn new(patch: Patch, mut transitions: Vec<Transition>) -> Self {
        dedup(&mut transitions);
        Self { patch, transitions }
    }
}
