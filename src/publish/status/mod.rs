//! Computes an object's new status from a report and the present status, without IO.
//!
//! Only differences are written, and entries of other controllers stay. The time in a condition changes only with the
//! condition's status.

pub(super) mod conditions;
mod entries;
mod own;
mod shared;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub(super) use self::{
    own::{backend, class, gateway, left_gateway, listener_set, parameters, undecodable},
    shared::{backend_tls, policy, route},
};
use super::events::{Transition, dedup};

/// The change of a status that differs from what it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Update {
    pub patch: Patch,
    /// The transitions that Events report.
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
    /// An update that replaces these fields below `status`.
    fn fields(version: Option<&str>, status: &Value, transitions: Vec<Transition>) -> Self {
        let patch = serde_json::json!({"metadata": {"resourceVersion": version}, "status": status});
        Self::new(Patch::Merge(patch), transitions)
    }

    /// An update that carries out these operations.
    fn operations(version: Option<&str>, mut operations: Vec<Value>, transitions: Vec<Transition>) -> Self {
        // `replace` and not `test`, so that the API server answers 409 when the version differs.
        let guard = serde_json::json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version});
        operations.insert(0, guard);
        Self::new(Patch::Operations(Value::Array(operations)), transitions)
    }

    fn new(patch: Patch, mut transitions: Vec<Transition>) -> Self {
        dedup(&mut transitions);
        Self { patch, transitions }
    }
}
