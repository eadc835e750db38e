//! Unions of Smithy: objects with exactly one key.

use serde_json::{Map, Value};

/// Checks that exactly one key of a union is set, and that it is one of these.
pub(super) fn union(value: &Value, shape: &str, place: &str, keys: &[&str]) -> Result<(), String> {
    let set: Vec<&String> = value.as_object().into_iter().flat_map(Map::keys).collect();
    if let [key] = set.as_slice()
        && keys.contains(&key.as_str())
    {
        return Ok(());
    }
    Err(format!("The {shape} object at {place} must set one of the following keys: {}.", keys.join(", ")))
}
