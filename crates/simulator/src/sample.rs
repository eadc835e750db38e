//! Values made from a JSON schema: the arguments of tool calls and structured replies.

use serde_json::{Map, Value, json};

/// How deep a schema is followed; a schema may contain itself.
const DEPTH: usize = 12;

/// A value that fits a schema, always the same: every property present, strings named after their property, the first
/// of an `enum`, the smallest number. Supports JSON Schema and Gemini's spelling of it (`STRING` for `string`).
pub(super) fn value(schema: &Value) -> Value {
    of(schema, schema, "value", DEPTH)
}

fn of(root: &Value, schema: &Value, name: &str, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or(Value::Null, |target| of(root, target, name, depth - 1));
    }
    for key in ["const", "default", "example"] {
        if let Some(value) = schema.get(key).filter(|value| !value.is_null()) {
            return value.clone();
        }
    }
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|values| values.first()) {
        return first.clone();
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let options = schema.get(key).and_then(Value::as_array);
        if let Some(option) = options.and_then(|all| all.iter().find(|one| kind(one).as_deref() != Some("null"))) {
            return of(root, option, name, depth - 1);
        }
    }
    match kind(schema).as_deref() {
        Some("string") => Value::from(name),
        Some("integer") => schema.get("minimum").and_then(Value::as_i64).unwrap_or(1).into(),
        Some("number") => schema.get("minimum").and_then(Value::as_f64).unwrap_or(1.5).into(),
        Some("boolean") => Value::Bool(true),
        Some("null") => Value::Null,
        Some("array") => json!([of(root, schema.get("items").unwrap_or(&Value::Null), name, depth - 1)]),
        Some("object") => object(root, schema, depth),
        _ if schema.get("properties").is_some() => object(root, schema, depth),
        _ => Value::from(name),
    }
}

fn object(root: &Value, schema: &Value, depth: usize) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return json!({}) };
    let fields = properties.iter().map(|(name, schema)| (name.clone(), of(root, schema, name, depth - 1)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// The schema's type, in lower case; the first that is not `null` where it names several.
fn kind(schema: &Value) -> Option<String> {
    let name = match schema.get("type")? {
        Value::String(name) => name,
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null")?,
        _ => return None,
    };
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_their_schema() {
        let check = |schema: Value, expect: Value| assert_eq!(value(&schema), expect, "{schema}");
        check(json!({"type":"object","properties":{"city":{"type":"string"}}}), json!({"city":"city"}));
        check(json!({"type":"OBJECT","properties":{"n":{"type":"INTEGER","minimum":7}}}), json!({"n":7}));
        check(json!({"type":["null","boolean"]}), json!(true));
        check(json!({"type":"array","items":{"enum":["a","b"]}}), json!(["a"]));
        check(json!({"anyOf":[{"type":"null"},{"type":"number"}]}), json!(1.5));
        check(json!({"$ref":"#/$defs/x","$defs":{"x":{"const":3}}}), json!(3));
        check(json!({"type":"object"}), json!({}));
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type":"object","properties":{"next":{"$ref":"#"}}});
        assert!(value(&schema).to_string().contains("null"));
    }
}
