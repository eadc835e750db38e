//! Decoding of objects that an API server accepted and that may be of a newer version of their definition.
//!
//! **An unknown field or value never hides an object.** Parts that can't be decoded are left out and reported with
//! their path; `compile` closes what depends on them. Decoding leaves unknown fields out anyway; they are reported too.

use serde_json::{Value, json};

use super::{
    kinds::{FieldError, KindRow, Object},
    schema::unknown_fields,
};
use crate::{
    api::{Kind, field::Step},
    compile::Unread,
};

/// Parts that are left out of one object. An object with more is rejected as a whole.
const MAX_UNREAD: usize = 64;

/// Whether objects of this kind can be used in part. A ReferenceGrant without a part might permit more, and a Backend
/// or parameters need all parts.
const fn in_parts(kind: Kind) -> bool {
    matches!(kind, Kind::GatewayClass | Kind::Gateway | Kind::HttpRoute | Kind::BackendTlsPolicy | Kind::TrafficPolicy)
}

/// Decodes `value` with the parts that are known; `None` for a kind that is not decoded as a whole.
///
/// # Errors
///
/// When the rest is not an object of its kind.
pub(super) fn decode(row: &KindRow, value: &Value) -> Option<Result<(Object, Vec<Unread>), FieldError>> {
    let decode = row.decode?;
    if !in_parts(row.kind) {
        let unknown = if row.kind == Kind::ReferenceGrant { unknown_fields(row.kind, value) } else { Vec::new() };
        if let Some(first) = unknown.into_iter().next() {
            return Some(Err(FieldError { path: first.path, message: first.message }));
        }
        return Some(decode(value).map(|object| (object, Vec::new())));
    }
    let mut unread = unknown_fields(row.kind, value);
    let first = match decode(value) {
        Ok(object) => return Some(Ok((object, unread))),
        Err(error) => error,
    };
    let mut value = value.clone();
    let mut error = first.clone();
    for _ in 0..MAX_UNREAD {
        match left_out(row, &value, &error) {
            None => return Some(Err(first)),
            Some((less, outcome)) => {
                value = less;
                unread.push(Unread { path: error.path, message: error.message, is_field: false });
                match outcome {
                    Ok(object) => return Some(Ok((object, unread))),
                    Err(next) => error = next,
                }
            }
        }
    }
    Some(Err(first))
}

/// Removes from `value` the smallest part around `error` that avoids the error, and decodes the rest. Elements of lists
/// keep their indexes, so that paths stay valid.
fn left_out(row: &KindRow, value: &Value, error: &FieldError) -> Option<(Value, Result<Object, FieldError>)> {
    let decode = row.decode?;
    // A status that can't be decoded in full is not written, so it is left out as a whole.
    let status = error.path.first().is_some_and(|step| step.is("status"));
    let shortest = if status { 1 } else { 2 };
    let longest = if status { 1 } else { error.path.len() };
    if !status && !error.path.first().is_some_and(|step| step.is("spec")) {
        return None;
    }
    for length in (shortest..=longest).rev() {
        let (path, last) = (error.path.get(..length - 1)?, error.path.get(length - 1)?);
        for change in changes(value, path, last) {
            let mut less = value.clone();
            let Some(parent) = at(&mut less, path) else { continue };
            change.apply(parent, last);
            let outcome = decode(&less);
            let still = match (&outcome, &change) {
                (Ok(_), _) | (Err(_), Change::Remove(true)) => false,
                (Err(next), Change::Remove(false)) => next.path.starts_with(path),
                (Err(next), Change::Replace(_)) => next.path.get(..length) == error.path.get(..length),
            };
            if !still {
                return Some((less, outcome));
            }
        }
    }
    None
}

/// A way to leave a part out.
enum Change {
    /// Remove the part. The flag: whether it was an element of a list.
    Remove(bool),
    /// Replace the part by this value.
    Replace(Value),
}

impl Change {
    fn apply(&self, parent: &mut Value, last: &Step) {
        match (self, parent, last) {
            (Self::Remove(_), Value::Object(map), Step::Key(key)) => drop(map.remove(key)),
            (Self::Remove(_), Value::Array(items), Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
            }
            (Self::Replace(with), Value::Object(map), Step::Key(key)) => drop(map.insert(key.clone(), with.clone())),
            (Self::Replace(with), Value::Array(items), Step::Index(index)) => {
                if let Some(item) = items.get_mut(*index) {
                    *item = with.clone();
                }
            }
            _ => {}
        }
    }
}

/// The ways in which the part `last` of the value at `path` may be left out, the best one first.
fn changes(value: &Value, path: &[Step], last: &Step) -> Vec<Change> {
    let index = match last {
        Step::Index(index) => index,
        // Every Gateway has the field.
        Step::Key(key) if key == "listeners" => return vec![Change::Replace(json!([]))],
        Step::Key(_) => return vec![Change::Remove(false)],
    };
    let element = at_ref(value, path).and_then(|list| list.get(index));
    let name = element.and_then(|element| element.get("name")).and_then(Value::as_str).unwrap_or_default();
    // The fields that listeners and references must have; with port 0 it matches nothing.
    let placeholder = json!({"name": name, "port": 0, "protocol": ""});
    vec![Change::Replace(json!({})), Change::Replace(placeholder), Change::Remove(true)]
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

fn at_ref<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}
