//! The rules that an API server holds a definition's schema to: structural, and with CEL rules it can afford to run.

use kube::core::cel::{compile_schema, estimate_rule_cost};
use serde_json::{Value, json};

/// What a node of a structural schema may say here. Everything else is either forbidden by API servers (`$ref`,
/// `definitions`, `patternProperties`, `uniqueItems`, ...) or not meant to be in our schemas (`anyOf`, `nullable`,
/// ...).
const KEYWORDS: [&str; 20] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
];
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const FORMATS: [&str; 3] = ["int32", "int64", "date-time"];

/// The most that an API server lets all rules of one definition cost, by its own estimate.
const TOTAL_BUDGET: u64 = 100_000_000;

/// What an API server would refuse, with the path of each node.
pub fn problems(schema: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut cost = 0;
    node(schema, "", 1, &mut cost, &mut problems);
    if cost > TOTAL_BUDGET {
        problems.push(format!("rules may be evaluated {cost} times per object"));
    }
    problems
}

/// Checks a node that can occur `times` times in one object.
fn node(schema: &Value, path: &str, times: u64, cost: &mut u64, problems: &mut Vec<String>) {
    let mut problem = |text: String| problems.push(format!("{path}: {text}"));
    let Some(fields) = schema.as_object() else { return problem("not an object".into()) };
    for keyword in fields.keys() {
        if !KEYWORDS.contains(&keyword.as_str()) && keyword != PRESERVE {
            problem(format!("keyword {keyword}"));
        }
    }
    let kind = schema["type"].as_str().unwrap_or_default();
    // A field that may be of several types has none, and keeps its content. Its values are listed.
    let any = !fields.contains_key("type") && schema[PRESERVE] == true && fields.contains_key("enum");
    if !any && !["object", "array", "string", "boolean", "integer"].contains(&kind) {
        problem(format!("type {}", schema["type"]));
    }
    if schema["format"].as_str().is_some_and(|format| !FORMATS.contains(&format)) {
        problem(format!("format {}", schema["format"]));
    }
    if kind != "object"
        && !any
        && ["properties", "required", "additionalProperties", PRESERVE].iter().any(|k| fields.contains_key(*k))
    {
        problem("an object's keyword".into());
    }
    if fields.contains_key("properties") && fields.contains_key("additionalProperties") {
        problem("both properties and additionalProperties".into());
    }
    if (kind == "array") != schema["items"].is_object() {
        problem("an array has items, one schema for all, and nothing else has".into());
    }
    if schema["enum"].as_array().is_some_and(|values| values.is_empty() || values.iter().any(Value::is_null)) {
        problem("an enum without values or with null".into());
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if !schema["properties"][name.as_str().unwrap()].is_object() {
            problem(format!("required {name} is not a property"));
        }
    }
    if schema["x-kubernetes-list-type"] == "map" {
        let items = &schema["items"];
        for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
            if !items["required"].as_array().is_some_and(|required| required.contains(key)) {
                problem(format!("list key {key} is not required"));
            }
        }
    }
    if kind == "object" && !path.is_empty() && !path.ends_with("[]") && schema["description"].is_null() {
        problem("no description, so `kubectl explain` has nothing to say".into());
    }
    rules(schema, path, times, cost, problems);
    below(schema, path, times, cost, problems);
}

/// Checks the CEL rules of a node.
fn rules(schema: &Value, path: &str, times: u64, cost: &mut u64, problems: &mut Vec<String>) {
    let compiled = compile_schema(schema);
    problems.extend(compiled.compilation_errors().iter().map(|e| format!("{path}: {e:?}")));
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = rule["rule"].as_str().unwrap();
        let message = rule["message"].as_str().unwrap_or_default();
        if message.is_empty() || message.contains('\n') {
            problems.push(format!("{path}: a rule needs a message of one line: {text}"));
        }
        let warnings = estimate_rule_cost(text, &compiled);
        problems.extend(warnings.iter().map(|w| format!("{path}: {}: {text}", w.message)));
        // Field reads and comparisons cost about one each; the length of the text is more than their number.
        *cost = cost.saturating_add(times.saturating_mul(u64::try_from(text.len()).unwrap()));
    }
}

/// Checks the nodes below.
fn below(schema: &Value, path: &str, times: u64, cost: &mut u64, problems: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        node(property, &format!("{path}.{name}"), times, cost, problems);
    }
    if schema["items"].is_object() {
        // What an API server assumes of a list without a bound is about its request limit of 3 MB.
        let most = schema["maxItems"].as_u64().unwrap_or(3_000_000);
        node(&schema["items"], &format!("{path}[]"), times.saturating_mul(most), cost, problems);
    }
    if !schema["additionalProperties"].is_null() {
        node(&schema["additionalProperties"], &format!("{path}[]"), times.saturating_mul(3_000_000), cost, problems);
    }
}

#[test]
fn the_checker_finds_what_an_api_server_rejects() {
    fn check(schema: &Value, expect: &str) {
        let problems = problems(schema).join("\n");
        assert!(problems.contains(expect), "{schema}: expected {expect:?}, got {problems:?}");
    }
    let object = |property: Value| json!({ "type": "object", "properties": { "a": property } });
    check(&object(json!({})), ".a: type null");
    check(&object(json!({ PRESERVE: true })), ".a: type null");
    check(&object(json!({ "enum": [true, "a"] })), ".a: type null");
    assert!(problems(&object(json!({ "enum": [true, "a"], PRESERVE: true }))).is_empty());
    check(&object(json!({ "type": "number" })), ".a: type \"number\"");
    check(&object(json!({ "type": "string", "nullable": true })), ".a: keyword nullable");
    check(&object(json!({ "type": "string", "anyOf": [] })), ".a: keyword anyOf");
    check(&object(json!({ "type": "integer", "format": "uint16" })), ".a: format \"uint16\"");
    check(&object(json!({ "type": "array" })), ".a: an array has items");
    check(&object(json!({ "type": "string", "enum": ["A", null] })), ".a: an enum");
    check(&object(json!({ "type": "string", "properties": {} })), ".a: an object's keyword");
    check(
        &object(json!({ "type": "object", "description": "d", "additionalProperties": false })),
        ".a[]: not an object",
    );
    check(&object(json!({ "type": "object" })), ".a: no description");
    check(&json!({ "type": "object", "properties": {}, "required": ["a"] }), "required \"a\" is not a property");
    let rule = |rule: &str| json!({ "type": "object", "x-kubernetes-validations": [{ "rule": rule, "message": "m" }] });
    check(&rule("has(self.a"), "Syntax error");
    let list =
        |rule: Value| json!({ "type": "array", "items": { "type": "string", "x-kubernetes-validations": [rule] } });
    check(&list(json!({ "rule": "self == 'a'" })), "needs a message");
    let deep = json!({ "rule": "self == 'a' || self == 'b' || self == 'c'", "message": "m" });
    check(&object(list(deep)), "evaluated");
}
