//! Lists that several controllers share: `status.parents` of routes, `status.ancestors` of policies.
//!
//! To the API server such a list is one value, so that a merge patch would write the entries of other controllers too.
//! Therefore JSON Patch changes Tollgate's entries in place. Entries of others are never sent and keep every byte.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition as Written, jiff::Timestamp};
use serde_json::{Value, json};

use super::conditions::{is_current, merged};
use crate::compile::Condition;

/// The object, or part of it, that an entry is about, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub section: Option<String>,
    pub port: Option<i32>,
}

/// An entry of the present status.
pub(super) struct Present<'a> {
    pub ours: bool,
    pub subject: Subject,
    pub conditions: &'a [Written],
}

/// An entry that should be there.
pub(super) struct Wanted<'a> {
    pub subject: Subject,
    pub conditions: &'a [Condition],
    /// The entry without its conditions.
    pub entry: Value,
}

/// The JSON Patch operations that bring the list at `path` (such as `/status/parents`) to `wanted`; none when it is
/// current. The list must exist unless `present` is empty. It gets no longer than `max`, because entries of others are
/// never removed.
pub(super) fn operations(
    path: &str,
    present: &[Present<'_>],
    wanted: &[Wanted<'_>],
    generation: Option<i64>,
    max: usize,
    now: Timestamp,
) -> Vec<Value> {
    let (mut replaced, mut removed) = (Vec::new(), Vec::new());
    let mut placed: Vec<&Subject> = Vec::new();
    for (index, old) in present.iter().enumerate().filter(|(_, old)| old.ours) {
        let new = wanted.iter().find(|new| new.subject == old.subject && !placed.contains(&&new.subject));
        match new {
            None => removed.push(json!({"op": "remove", "path": format!("{path}/{index}")})),
            Some(new) => {
                placed.push(&new.subject);
                if !is_current(old.conditions, new.conditions, generation) {
                    let value = new.value(old.conditions, generation, now);
                    replaced.push(json!({"op": "replace", "path": format!("{path}/{index}"), "value": value}));
                }
            }
        }
    }
    let mut length = present.len() - removed.len();
    // Entries are removed from the end, so that the indexes stay valid.
    removed.reverse();
    let mut operations = replaced;
    operations.append(&mut removed);
    for new in wanted {
        if placed.contains(&&new.subject) || length >= max {
            continue;
        }
        placed.push(&new.subject);
        length += 1;
        let value = new.value(&[], generation, now);
        operations.push(json!({"op": "add", "path": format!("{path}/-"), "value": value}));
    }
    operations
}

impl Wanted<'_> {
    fn value(&self, old: &[Written], generation: Option<i64>, now: Timestamp) -> Value {
        let mut value = self.entry.clone();
        if let Some(entry) = value.as_object_mut() {
            entry.insert("conditions".to_owned(), json!(merged(old, self.conditions, generation, now)));
        }
        value
    }
}
