//! Schemas as OpenAI's APIs and the servers that copy them accept them.
//!
//! A strict schema has a form of its own: its objects are closed and require all their properties. One that can be
//! written so without another meaning is. Others are sent without `strict`: an optional property that became a
//! required one would come back as `null`, which the client's schema refuses.
//!
//! <https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas>

use std::borrow::Cow;

use super::{Keyword, Node, Rule, Rules, Walk, root};
use crate::conversation::{Json, Tree, Unsupported};

/// Gives lists without `items` some: "array schema missing items" is an error for the whole request.
static ITEMS: Rules<()> = Rules {
    keywords: &[
        ("$defs", Rule::Each("$defs")),
        ("definitions", Rule::Each("definitions")),
        ("properties", Rule::Each("properties")),
        ("patternProperties", Rule::Each("patternProperties")),
        ("allOf", Rule::Each("allOf")),
        ("anyOf", Rule::Each("anyOf")),
        ("oneOf", Rule::Each("oneOf")),
        ("prefixItems", Rule::Each("prefixItems")),
        ("items", Rule::If(|value| matches!(value, Tree::Array(_)), &Rule::Each("items"))),
        ("items additionalProperties not", Rule::Schema),
    ],
    others: Rule::Keep,
    spelling: |key| Cow::Borrowed(key),
    finish: |_, node| {
        if is_of(node, r#""array""#) {
            node.set("items", Tree::Object(Vec::new()));
        }
    },
    booleans: true,
    bound: "object",
    max_depth: usize::MAX,
    max_schemas: usize::MAX,
};

/// Writes strict schemas. What would get another meaning is lost.
static STRICT: Rules<()> = Rules {
    keywords: &[
        ("$defs", Rule::Each("$defs")),
        ("definitions", Rule::Each("definitions")),
        ("properties", Rule::Each("properties")),
        ("anyOf oneOf", Rule::Special(alternatives)),
        ("allOf", Rule::Special(single)),
        ("items", Rule::If(|value| matches!(value, Tree::Object(_)), &Rule::Schema)),
        ("additionalProperties", Rule::If(|value| value.is("false"), &Rule::Ignore)),
        // A property that is required has no default.
        ("$schema $id $comment default", Rule::Ignore),
        ("items additionalProperties not if then else dependentRequired dependentSchemas", Rule::Drop),
        ("patternProperties propertyNames minProperties maxProperties unevaluatedProperties", Rule::Drop),
        ("prefixItems unevaluatedItems contains minContains maxContains uniqueItems", Rule::Drop),
        ("minLength maxLength", Rule::Drop),
    ],
    others: Rule::Keep,
    spelling: |key| Cow::Borrowed(key),
    finish: |walk, node| close(walk, node),
    booleans: true,
    bound: "object",
    max_depth: 64,
    max_schemas: usize::MAX,
};

/// Appends the schema of a tool's arguments, and returns the value of its `strict`.
pub(in crate::dialect) fn write_tool(
    schema: Option<&Json<'_>>,
    strict: Option<bool>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let start = out.len();
    root::OPENAI.write(schema, dropped, out);
    // Where the root is changed, a restriction is lost.
    let exact = schema.is_none_or(|schema| root::OPENAI.fits(schema));
    finish(start, strict, exact, dropped, out)
}

/// Appends the schema of an answer, and returns the value of its `strict`.
pub(in crate::dialect) fn write_answer(
    schema: &Json<'_>,
    strict: Option<bool>,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let start = out.len();
    out.extend_from_slice(schema.get().as_bytes());
    finish(start, strict, root::OPENAI.fits(schema), dropped, out)
}

/// Rewrites the schema that begins at `start`.
fn finish(
    start: usize,
    strict: Option<bool>,
    exact: bool,
    dropped: &mut Unsupported,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let text = out.get(start..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let is_strict = strict == Some(true);
    let closed = if is_strict && exact { closed(text) } else { None };
    dropped.add_if(is_strict && closed.is_none(), "strict");
    let kept = if closed.is_some() { strict } else { strict.filter(|strict| !strict) };
    if let Some(rewritten) = closed.or_else(|| with_items(text)) {
        out.truncate(start);
        out.extend_from_slice(&rewritten);
    }
    kept
}

/// The schema in the form of strict ones; `None` if it would have another meaning then.
fn closed(schema: &str) -> Option<Vec<u8>> {
    let tree = Tree::parse(schema)?;
    let mut walk = Walk::new(&STRICT, &tree);
    let rewritten = walk.run();
    (!walk.lost).then(|| text(&rewritten))
}

/// The schema with `items` in all its lists; `None` if they have them.
fn with_items(schema: &str) -> Option<Vec<u8>> {
    // Most schemas have no list at all, or one with items.
    if !schema.contains("\"array\"") {
        return None;
    }
    let tree = Tree::parse(schema)?;
    let rewritten = Walk::new(&ITEMS, &tree).run();
    (rewritten != tree).then(|| text(&rewritten))
}

fn text(tree: &Tree<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    tree.write(&mut out);
    out
}

/// Whether values may be of this type.
fn is_of(node: &Node<'_, ()>, kind: &str) -> bool {
    node.get("type").is_some_and(|kinds| kinds.elements().iter().any(|one| one.is(kind)))
}

fn alternatives<'t, 'a>(walk: &mut Walk<'t, 'a, ()>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, ()>) {
    if node.has("anyOf") { walk.lost = true } else { node.set("anyOf", walk.each(keyword)) }
}

/// Writes the only schema that must hold as the schema itself.
fn single<'t, 'a>(walk: &mut Walk<'t, 'a, ()>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, ()>) {
    match keyword.value.elements() {
        [only] => {
            if let Tree::Object(fields) = walk.schema(only, keyword.depth + 1) {
                walk.lost |= fields.iter().any(|(key, _)| node.has(key));
                for (key, value) in fields {
                    node.set(key, value);
                }
            }
        }
        _ => walk.lost = true,
    }
}

/// Closes objects, and finds what strict schemas can't express: objects of any form, optional properties, lists of
/// anything, and references that are restricted further.
fn close(walk: &mut Walk<'_, '_, ()>, node: &mut Node<'_, ()>) {
    if node.has("$ref") {
        node.fields.retain(|(key, _)| !["title", "description"].contains(&&**key));
        let alone = |key: &str| ["$ref", "$defs", "definitions"].contains(&key);
        walk.lost |= node.fields.iter().any(|(key, _)| !alone(key));
        return;
    }
    walk.lost |= is_of(node, r#""array""#) && !node.has("items");
    if !is_of(node, r#""object""#) && !node.has("properties") {
        return;
    }
    let Some(Tree::Object(properties)) = node.get("properties") else {
        walk.lost = true;
        return;
    };
    let required = node.get("required").map(Tree::elements).unwrap_or_default();
    let is_required = |name: &str| required.iter().any(|one| one.as_str().as_deref() == Some(name));
    walk.lost |= !properties.iter().all(|(name, _)| is_required(name));
    node.set("required", Tree::Array(Vec::new()));
    node.set("additionalProperties", Tree::Leaf("false".into()));
}
