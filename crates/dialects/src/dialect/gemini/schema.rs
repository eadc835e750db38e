//! Schemas: Gemini's own `Schema`, a part of `OpenAPI`'s with upper-case types, and JSON Schema.

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use super::names::camel;
use crate::{
    conversation::{Invalid, Json, Tree},
    dialect::schema::{Keyword, Node, Rule, Rules, Walk},
};

/// Formats that Gemini accepts.
const FORMATS: [&str; 6] = ["enum", "date-time", "float", "double", "int32", "int64"];
/// The error for a schema that can't be read: JSON text that is nested deeper than parsers support.
const TOO_DEEP: &str = "no schema: it is nested too deep";

/// Converts Gemini's `Schema` to JSON Schema.
static READ: Rules<Read> = Rules {
    keywords: &[
        ("anyOf", Rule::Each("anyOf")),
        ("properties", Rule::Each("properties")),
        ("defs $defs", Rule::Each("$defs")),
        ("ref", Rule::Rename("$ref")),
        ("items additionalProperties", Rule::Schema),
        ("type", Rule::If(|value| value.is(r#""TYPE_UNSPECIFIED""#), &Rule::Ignore)),
        ("type", Rule::Special(|_, keyword, node| node.set("type", lower(keyword.value)))),
        ("format", Rule::If(|value| value.is(r#""enum""#), &Rule::Ignore)),
        ("example", Rule::Ignore),
        ("minItems maxItems minLength maxLength minProperties maxProperties", Rule::Special(number)),
        ("nullable", Rule::Special(|_, keyword, node| node.state.nullable = keyword.value.is("true"))),
        ("propertyOrdering", Rule::Special(|_, keyword, node| node.state.order = places(keyword.value))),
    ],
    others: Rule::Keep,
    spelling: camel,
    finish: |_, node| finish_reading(node),
    booleans: true,
    bound: "OBJECT",
    max_depth: usize::MAX,
    max_schemas: usize::MAX,
};

/// Converts JSON Schema to Gemini's `Schema`, for models that read no other.
static WRITE: Rules<Write> = Rules {
    keywords: &[
        ("title description required default pattern propertyOrdering minimum maximum", Rule::Keep),
        ("minItems maxItems minLength maxLength minProperties maxProperties", Rule::Keep),
        ("properties", Rule::If(|value| matches!(value, Tree::Object(_)), &Rule::Each("properties"))),
        ("items", Rule::If(is_array, &Rule::Special(tuple))),
        ("items", Rule::Schema),
        ("$ref", Rule::Special(reference)),
        ("allOf", Rule::If(is_array, &Rule::Special(all))),
        ("anyOf oneOf", Rule::If(is_array, &Rule::Special(any))),
        ("type", Rule::Special(|_, keyword, node| types(keyword.value, node))),
        ("enum", Rule::If(is_array, &Rule::Special(values))),
        ("const", Rule::If(|value| value.as_str().is_some(), &Rule::Special(values))),
        ("const", Rule::If(is_array, &Rule::Drop)),
        ("const", Rule::Special(guess)),
        ("exclusiveMinimum exclusiveMaximum", Rule::If(is_number, &Rule::Special(bound))),
        ("format", Rule::If(|value| value.as_str().is_some_and(|it| FORMATS.contains(&&*it)), &Rule::Keep)),
        ("nullable", Rule::Special(|_, keyword, node| node.state.nullable |= keyword.value.is("true"))),
        // Models add no properties anyway, and the other keywords do not restrict the value.
        ("additionalProperties", Rule::If(|value| value.is("false"), &Rule::Ignore)),
        ("$schema $id $comment $defs definitions", Rule::Ignore),
    ],
    others: Rule::Drop,
    spelling: |key| Cow::Borrowed(key),
    finish: |_, node| finish_writing(node),
    booleans: false,
    bound: "OBJECT",
    max_depth: 32,
    max_schemas: 4096,
};

/// Converts a schema in Gemini's form to JSON Schema.
///
/// # Errors
/// When it is not an object, or nested deeper than 128 levels.
pub(super) fn read<'a>(field: &str, raw: &'a RawValue) -> Result<Json<'a>, Invalid> {
    let json = Json::from(raw);
    let tree = Tree::parse(json.get()).ok_or_else(|| Invalid::new(field, TOO_DEEP))?;
    if !matches!(tree, Tree::Object(_)) {
        return Err(Invalid::new(field, "must be an object"));
    }
    let made = RawValue::from_string(text(&Walk::new(&READ, &tree).run()));
    made.map(Json::from).map_err(|error| Invalid::new(field, error.to_string()))
}

/// Converts a schema to the text of Gemini's form, for models that don't read JSON Schema. Also returns whether
/// keywords were left out.
///
/// # Errors
/// When it is nested deeper than 128 levels.
pub(super) fn write(field: &str, schema: &Json<'_>) -> Result<(String, bool), Invalid> {
    let tree = Tree::parse(schema.get()).ok_or_else(|| Invalid::new(field, TOO_DEEP))?;
    let mut walk = Walk::new(&WRITE, &tree);
    let rewritten = walk.run();
    Ok((text(&rewritten), walk.lost))
}

fn text(tree: &Tree<'_>) -> String {
    let mut out = Vec::new();
    tree.write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// State while one schema is converted to JSON Schema.
#[derive(Default)]
struct Read {
    nullable: bool,
    /// The positions of the properties, if they are given.
    order: HashMap<String, usize>,
}

/// Counts may be written as strings.
fn number<'t, 'a>(_: &mut Walk<'t, 'a, Read>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Read>) {
    let count = keyword.value.as_str().and_then(|text| text.parse::<u64>().ok());
    let value = count.map_or_else(|| keyword.value.clone(), |count| Tree::Leaf(count.to_string().into()));
    node.set(keyword.name.to_owned(), value);
}

/// Types in lower case.
fn lower<'a>(types: &Tree<'a>) -> Tree<'a> {
    match types {
        Tree::Leaf(word) => Tree::Leaf(word.to_ascii_lowercase().into()),
        Tree::Array(words) => Tree::Array(words.iter().map(lower).collect()),
        other @ Tree::Object(_) => other.clone(),
    }
}

fn places(order: &Tree<'_>) -> HashMap<String, usize> {
    let Tree::Array(names) = order else { return HashMap::new() };
    names.iter().enumerate().filter_map(|(place, name)| Some((name.as_str()?.into_owned(), place))).collect()
}

/// Puts properties into the requested order, since models fill them in in that order, and allows `null`.
fn finish_reading(node: &mut Node<'_, Read>) {
    let Read { nullable, order } = std::mem::take(&mut node.state);
    for (key, value) in &mut node.fields {
        match (&**key, value) {
            ("properties", Tree::Object(properties)) if !order.is_empty() => {
                properties.sort_by_key(|(name, _)| order.get(&**name).copied().unwrap_or(usize::MAX));
            }
            _ if !nullable => {}
            ("type", value @ Tree::Leaf(_)) => *value = Tree::Array(vec![value.clone(), Tree::string("null")]),
            ("enum", Tree::Array(words)) => words.push(Tree::Leaf("null".into())),
            ("anyOf", Tree::Array(any)) => any.push(Tree::Object(vec![("type".into(), Tree::string("null"))])),
            _ => {}
        }
    }
}

/// State while one schema is converted to Gemini's form.
#[derive(Default)]
struct Write {
    nullable: bool,
    /// The type, inferred from the values if it is not given.
    guess: Option<&'static str>,
}

/// Replaces a reference by the schema that it names.
fn reference<'t, 'a>(walk: &mut Walk<'t, 'a, Write>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Write>) {
    match walk.referred(keyword) {
        Some(target) => merge(node, target),
        None => walk.lost = true,
    }
}

/// Merges schemas that must all hold into one.
fn all<'t, 'a>(walk: &mut Walk<'t, 'a, Write>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Write>) {
    walk.lost |= keyword.value.elements().len() > 1;
    for part in keyword.value.elements() {
        merge(node, walk.schema(part, keyword.depth + 1));
    }
}

fn merge<'a>(node: &mut Node<'a, Write>, other: Tree<'a>) {
    let Tree::Object(fields) = other else { return };
    for (key, value) in fields {
        if key == "nullable" {
            node.state.nullable |= value.is("true");
        } else {
            node.set(key, value);
        }
    }
}

/// Writes the schema of a tuple's first element for all elements.
fn tuple<'t, 'a>(walk: &mut Walk<'t, 'a, Write>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Write>) {
    walk.lost = true;
    if let Some(first) = keyword.value.elements().first() {
        node.set("items", walk.schema(first, keyword.depth + 1));
    }
}

/// Writes an exclusive bound as an inclusive one.
fn bound<'t, 'a>(walk: &mut Walk<'t, 'a, Write>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Write>) {
    walk.lost = true;
    node.set(if keyword.name == "exclusiveMinimum" { "minimum" } else { "maximum" }, keyword.value.clone());
}

/// Writes the allowed values: Gemini accepts only strings.
fn values<'t, 'a>(walk: &mut Walk<'t, 'a, Write>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Write>) {
    let words: Vec<_> = keyword.value.elements().iter().filter(|word| !word.is("null")).cloned().collect();
    node.state.nullable |= words.len() < keyword.value.elements().len();
    if words.iter().all(|word| word.as_str().is_some()) {
        node.set("enum", Tree::Array(words));
    } else {
        guess(walk, keyword, node);
    }
}

/// Infers the type from values that can't be written.
fn guess<'t, 'a>(walk: &mut Walk<'t, 'a, Write>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Write>) {
    walk.lost = true;
    node.state.guess = keyword.value.elements().iter().find_map(type_of);
}

/// Writes alternatives. `null` is not counted as one, and a single alternative is written as the schema itself.
fn any<'t, 'a>(walk: &mut Walk<'t, 'a, Write>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, Write>) {
    let is_null = |option: &&Tree<'_>| option.get("type").is_some_and(|kind| kind.is(r#""null""#));
    let rest = keyword.value.elements().iter().filter(|option| !is_null(option));
    let rest: Vec<_> = rest.map(|option| walk.schema(option, keyword.depth + 1)).collect();
    node.state.nullable |= rest.len() < keyword.value.elements().len();
    match rest.len() {
        0 => {}
        1 => rest.into_iter().for_each(|only| merge(node, only)),
        _ => node.set("anyOf", Tree::Array(rest)),
    }
}

/// Writes the types, in upper case. Several types become alternatives, of which `null` is not one beside others.
fn types<'a>(value: &Tree<'a>, node: &mut Node<'a, Write>) {
    let mut words: Vec<_> = value.elements().iter().filter_map(Tree::as_str).collect();
    if words.len() > 1 {
        node.state.nullable |= words.iter().any(|word| word == "null");
        words.retain(|word| word != "null");
    }
    let types: Vec<_> = words.iter().map(|word| Tree::string(&word.to_ascii_uppercase())).collect();
    match &*types {
        [] => {}
        [only] => node.set("type", only.clone()),
        _ => {
            let any = types.into_iter().map(|kind| Tree::Object(vec![("type".into(), kind)])).collect();
            node.set("anyOf", Tree::Array(any));
        }
    }
}

fn is_array(value: &Tree<'_>) -> bool {
    matches!(value, Tree::Array(_))
}

fn is_number(value: &Tree<'_>) -> bool {
    matches!(type_of(value), Some("NUMBER" | "INTEGER"))
}

/// The type of a value without values in it.
fn type_of(value: &Tree<'_>) -> Option<&'static str> {
    let Tree::Leaf(raw) = value else { return None };
    match raw.bytes().next()? {
        b'"' => Some("STRING"),
        b't' | b'f' => Some("BOOLEAN"),
        b'n' => None,
        _ => Some(if raw.contains(['.', 'e', 'E']) { "NUMBER" } else { "INTEGER" }),
    }
}

/// Adds the keywords that Gemini requires, and removes those that it refuses.
fn finish_writing(node: &mut Node<'_, Write>) {
    if !node.has("type") && !node.has("anyOf") {
        let seen = [("properties", "OBJECT"), ("items", "ARRAY"), ("enum", "STRING")];
        let seen = seen.into_iter().find(|(key, _)| node.has(key)).map(|(_, kind)| kind);
        if let Some(kind) = seen.or(node.state.guess) {
            node.set("type", Tree::string(kind));
        }
    }
    if node.get("type").is_some_and(|kind| kind.is(r#""ARRAY""#)) {
        node.set("items", Tree::Object(vec![("type".into(), Tree::string("STRING"))]));
    }
    // Gemini refuses names of properties that do not exist.
    let properties = node.get("properties").cloned();
    if let Some(Tree::Array(required)) = node.get_mut("required") {
        let known = |name: &str| properties.as_ref().is_some_and(|known| known.get(name).is_some());
        required.retain(|name| name.as_str().is_some_and(|name| known(&name)));
    }
    node.fields.retain(|(key, value)| key != "required" || *value != Tree::Array(Vec::new()));
    if node.state.nullable {
        node.set("nullable", Tree::Leaf("true".into()));
    }
}
