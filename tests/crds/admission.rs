//! What an API server does with an object of a custom resource, without an API server: drop nulls, find unknown fields,
//! fill in defaults, check the schema, evaluate the CEL rules. Messages have the API server's wording.

use std::{collections::HashMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::{Validator, apply_defaults};
use serde_json::Value;

/// The definition's schema.
pub fn schema(crd: &CustomResourceDefinition) -> Value {
    serde_json::to_value(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// Why the object is refused; empty when it is accepted.
pub fn admit(document: &Value) -> Vec<String> {
    let schema = schema_of(document);
    let mut errors = Vec::new();
    let stored = prepare(document, schema, &mut errors);
    check(schema, &stored, "", &mut errors);
    // Like the API server, which leaves the rules unchecked when the schema is not met.
    if errors.is_empty()
        && let Err(violations) = Validator::new().validate(schema, &stored, None)
    {
        errors.extend(violations.into_vec().into_iter().map(|v| format!("{}: {}", v.field_path, v.message)));
    }
    errors
}

/// The object as the API server would store it.
pub fn stored(document: &Value) -> Value {
    prepare(document, schema_of(document), &mut Vec::new())
}

/// The schema of each kind: generating them takes a while.
static SCHEMAS: LazyLock<HashMap<String, Value>> =
    LazyLock::new(|| tollgate::api::crds().iter().map(|crd| (crd.spec.names.kind.clone(), schema(crd))).collect());

fn schema_of(document: &Value) -> &'static Value {
    &SCHEMAS[document["kind"].as_str().unwrap()]
}

fn prepare(document: &Value, schema: &Value, errors: &mut Vec<String>) -> Value {
    let mut stored = document.clone();
    let fields = stored.as_object_mut().unwrap();
    // These three are in no definition's schema; the API server checks them by itself.
    fields.retain(|field, _| !["apiVersion", "kind", "metadata"].contains(&field.as_str()));
    prune(schema, &mut stored, "", errors);
    apply_defaults(schema, &stored)
}

fn prune(schema: &Value, value: &mut Value, path: &str, errors: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let below = if schema["additionalProperties"].is_object() {
                    &schema["additionalProperties"]
                } else {
                    &schema["properties"][name]
                };
                if below.is_object() {
                    prune(below, value, &path, errors);
                } else if !preserve {
                    errors.push(format!("unknown field {path:?}"));
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                prune(&schema["items"], item, &format!("{path}[{i}]"), errors);
            }
        }
        _ => {}
    }
}

fn check(schema: &Value, value: &Value, path: &str, errors: &mut Vec<String>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let right = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{path}: type {other:?} in the schema"),
    };
    if !right {
        errors.push(format!("{path}: Invalid value: must be of type {kind}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        errors.push(format!("{path}: Unsupported value: {value}"));
    }
    match value {
        Value::Object(fields) => {
            for name in schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()) {
                if !fields.contains_key(name) {
                    errors.push(format!("{}: Required value", format!("{path}.{name}").trim_start_matches('.')));
                }
            }
            for (name, value) in fields {
                let below = [&schema["properties"][name], &schema["additionalProperties"]];
                if let Some(below) = below.into_iter().find(|schema| schema.is_object()) {
                    check(below, value, format!("{path}.{name}").trim_start_matches('.'), errors);
                }
            }
        }
        Value::Array(items) => {
            let count = u64::try_from(items.len()).unwrap();
            if schema["minItems"].as_u64().is_some_and(|min| count < min) {
                errors.push(format!("{path}: should have at least {} items", schema["minItems"]));
            }
            if schema["maxItems"].as_u64().is_some_and(|max| count > max) {
                errors.push(format!("{path}: must have at most {} items", schema["maxItems"]));
            }
            for (i, item) in items.iter().enumerate() {
                check(&schema["items"], item, &format!("{path}[{i}]"), errors);
            }
        }
        Value::String(text) => check_text(schema, text, path, errors),
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            if let Some(min) = schema["minimum"].as_f64().filter(|min| number < *min) {
                errors.push(format!("{path}: should be greater than or equal to {min}"));
            }
            if let Some(max) = schema["maximum"].as_f64().filter(|max| number > *max) {
                errors.push(format!("{path}: should be less than or equal to {max}"));
            }
        }
        Value::Bool(_) | Value::Null => {}
    }
}

fn check_text(schema: &Value, text: &str, path: &str, errors: &mut Vec<String>) {
    let length = u64::try_from(text.chars().count()).unwrap();
    if schema["minLength"].as_u64().is_some_and(|min| length < min) {
        errors.push(format!("{path}: should be at least {} chars long", schema["minLength"]));
    }
    if schema["maxLength"].as_u64().is_some_and(|max| length > max) {
        errors.push(format!("{path}: may not be longer than {}", schema["maxLength"]));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !regex::Regex::new(pattern).unwrap().is_match(text)
    {
        errors.push(format!("{path}: should match '{pattern}'"));
    }
}
