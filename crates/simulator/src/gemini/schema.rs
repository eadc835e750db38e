//! Checks of Gemini's `Schema`, which is not JSON Schema.

use serde_json::Value;

use super::read::snake;

/// Keywords of a schema.
const KEYWORDS: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "anyOf",
    "propertyOrdering",
    "default",
    "example",
    "additionalProperties",
    "ref",
    "defs",
];

/// Names of types, in upper or lower case.
const TYPES: &[&str] = &["TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"];

/// Greatest depth at which a schema is checked.
const DEPTH: usize = 32;

/// Refuses a schema with unknown keywords or values.
///
/// # Errors
///
/// The provider's message about the first problem.
pub(super) fn check(schema: &Value, place: &str) -> Result<(), String> {
    walk(schema, place, DEPTH)
}

/// The error about an unknown field. `place` is empty or begins with ` at`.
pub(super) fn unknown_name(name: &str, place: &str) -> String {
    format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field.")
}

fn walk(schema: &Value, place: &str, depth: usize) -> Result<(), String> {
    let Some(fields) = schema.as_object().filter(|_| depth > 0) else {
        return Err(format!("Invalid value at '{place}' (Schema), \"{schema}\""));
    };
    for name in fields.keys() {
        if !KEYWORDS.iter().any(|camel| camel == name || snake(camel) == *name) {
            return Err(unknown_name(name, &format!(" at '{place}'")));
        }
    }
    let kind = match fields.get("type") {
        None => String::new(),
        Some(Value::String(kind)) => kind.to_ascii_uppercase(),
        Some(Value::Array(_)) => {
            return Err(format!(
                "Invalid JSON payload received. Unknown name \"type\" at '{place}': Proto field is not repeating, \
                 cannot start list."
            ));
        }
        Some(other) => return Err(format!("Invalid value at '{place}.type' (Type), {other}")),
    };
    if !kind.is_empty() && !TYPES.contains(&kind.as_str()) {
        return Err(format!("Invalid value at '{place}.type' (Type), \"{kind}\""));
    }
    for (index, value) in fields.get("enum").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if !value.is_string() {
            return Err(format!("Invalid value at '{place}.enum[{index}]' (TYPE_STRING), {value}"));
        }
    }
    let properties = fields.get("properties").and_then(Value::as_object);
    if kind == "OBJECT" && fields.get("properties").is_some() && properties.is_none_or(serde_json::Map::is_empty) {
        return Err(format!("* GenerateContentRequest.{place}.properties: should be non-empty for OBJECT type\n"));
    }
    if kind == "ARRAY" && fields.get("items").is_none() {
        return Err(format!("* GenerateContentRequest.{place}.items: missing field.\n"));
    }
    for required in fields.get("required").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let (index, Some(name)) = (required.0, required.1.as_str()) else { continue };
        if properties.is_none_or(|properties| !properties.contains_key(name)) {
            return Err(format!("* GenerateContentRequest.{place}.required[{index}]: property is not defined\n"));
        }
    }
    for (index, (_, property)) in properties.into_iter().flatten().enumerate() {
        walk(property, &format!("{place}.properties[{index}].value"), depth - 1)?;
    }
    if let Some(items) = fields.get("items") {
        walk(items, &format!("{place}.items"), depth - 1)?;
    }
    let any = fields.get("anyOf").or(fields.get("any_of")).and_then(Value::as_array);
    for (index, option) in any.into_iter().flatten().enumerate() {
        walk(option, &format!("{place}.any_of[{index}]"), depth - 1)?;
    }
    Ok(())
}
