//! Schemas for Claude's structured output (constrained decoding), on Anthropic's API and on Bedrock.
//!
//! Constrained decoding supports a part of JSON Schema: objects are closed, and `oneOf` is treated as `anyOf`.
//! Unsupported keywords are moved to the end of the `description`, as in Anthropic's own SDKs.

use std::borrow::Cow;

use super::{Finish, Keyword, Node, Rule, Rules, Walk};
use crate::conversation::Tree;

/// Largest schema that is rewritten, in bytes; no provider accepts schemas of nearly this size.
const MAX_BYTES: usize = 1024 * 1024;
/// Supported formats of strings.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// The keyword that makes an object open.
const OPEN: &str = "additionalProperties";
/// Keywords that may be next to a reference: targets of other references, and those that do not restrict the value.
const BESIDE_REFERENCE: [&str; 5] = ["$ref", "$defs", "definitions", "properties", "title"];

/// The rules of Anthropic's API.
pub(in crate::dialect) static ANTHROPIC: Rules<State> = rules(|walk, node| {
    finish(walk, node, &Notes { before: "\n\n{", between: ", ", behind: "}", open_objects: false });
});
/// The rules of Bedrock, which differ in the descriptions only.
pub(in crate::dialect) static BEDROCK: Rules<State> = rules(|walk, node| {
    finish(walk, node, &Notes { before: "\n", between: "\n", behind: "", open_objects: true });
});

/// How a description ends with unsupported keywords.
struct Notes {
    before: &'static str,
    between: &'static str,
    behind: &'static str,
    /// Whether `additionalProperties` is among them.
    open_objects: bool,
}

/// State while one schema is rewritten.
#[derive(Default)]
pub(in crate::dialect) struct State {
    description: String,
    /// Unsupported keywords, with their values.
    notes: Vec<String>,
}

const fn rules(finish: Finish<State>) -> Rules<State> {
    Rules {
        keywords: &[
            ("$ref type title enum const required", Rule::Keep),
            ("$defs", Rule::Each("$defs")),
            ("definitions", Rule::Each("definitions")),
            ("properties", Rule::Each("properties")),
            ("allOf", Rule::Each("allOf")),
            ("anyOf oneOf", Rule::Special(alternatives)),
            ("items", Rule::If(|value| matches!(value, Tree::Object(_)), &Rule::Schema)),
            ("minItems", Rule::If(|value| value.is("0") || value.is("1"), &Rule::Keep)),
            ("format", Rule::If(|value| value.as_str().is_some_and(|it| FORMATS.contains(&&*it)), &Rule::Keep)),
            ("description", Rule::Special(description)),
            // Objects are closed anyway.
            (OPEN, Rule::If(|value| value.is("false"), &Rule::Ignore)),
            // They have no meaning for a model.
            ("$schema $id $comment", Rule::Ignore),
        ],
        others: Rule::Special(note),
        spelling: |key| Cow::Borrowed(key),
        finish,
        booleans: true,
        bound: "object",
        max_depth: 64,
        max_schemas: usize::MAX,
    }
}

/// Rewrites a schema, and returns whether keywords were left out. `Err` names the bound that it exceeds.
pub(in crate::dialect) fn write(
    rules: &'static Rules<State>,
    schema: &str,
    out: &mut Vec<u8>,
) -> Result<bool, &'static str> {
    if schema.len() > MAX_BYTES {
        return Err("the schema is too large");
    }
    let tree = Tree::parse(schema).ok_or("the schema is nested too deep")?;
    let mut walk = Walk::new(rules, &tree);
    let rewritten = walk.run();
    if walk.cut {
        return Err("the schema is nested too deep");
    }
    rewritten.write(out);
    Ok(walk.lost)
}

fn alternatives<'t, 'a>(walk: &mut Walk<'t, 'a, State>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, State>) {
    if node.has("anyOf") { note(walk, keyword, node) } else { node.set("anyOf", walk.each(keyword)) }
}

fn description<'t, 'a>(_: &mut Walk<'t, 'a, State>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, State>) {
    node.state.description = keyword.value.as_str().unwrap_or_default().into_owned();
}

/// Moves a keyword to the description.
fn note<'t, 'a>(walk: &mut Walk<'t, 'a, State>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, State>) {
    walk.lost = true;
    let mut value = Vec::new();
    keyword.value.write(&mut value);
    node.state.notes.push(format!("{}: {}", keyword.name, String::from_utf8_lossy(&value)));
}

/// Writes the description and closes objects.
fn finish(walk: &mut Walk<'_, '_, State>, node: &mut Node<'_, State>, style: &Notes) {
    if node.has("$ref") {
        let fields = node.fields.len();
        node.fields.retain(|(key, _)| BESIDE_REFERENCE.contains(&&**key));
        walk.lost |= node.fields.len() < fields;
        // A title next to a reference is left out, too, which loses nothing.
        return node.fields.retain(|(key, _)| key != "title");
    }
    let State { mut description, mut notes } = std::mem::take(&mut node.state);
    notes.retain(|note| style.open_objects || !note.starts_with(OPEN));
    if !notes.is_empty() {
        let before = if description.is_empty() { style.before.trim_start() } else { style.before };
        description = format!("{description}{before}{}{}", notes.join(style.between), style.behind);
    }
    if !description.is_empty() {
        node.set("description", Tree::string(&description));
    }
    let object = match node.get("type") {
        Some(Tree::Array(types)) => types.iter().any(|kind| kind.is(r#""object""#)),
        kind => kind.is_some_and(|kind| kind.is(r#""object""#)),
    };
    if object || node.has("properties") {
        node.set("additionalProperties", Tree::Leaf("false".into()));
    }
}
