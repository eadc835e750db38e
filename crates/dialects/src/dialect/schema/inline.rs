//! References in a schema: their replacement, and whether they form a cycle.

use std::{borrow::Cow, collections::HashSet};

use super::{Keyword, Node, Rule, Rules, Walk};
use crate::conversation::Tree;

/// Most references that are followed one inside the other to find a cycle. The search recurses, so it is bounded: what
/// is deeper counts as a cycle.
const MAX_PATH: usize = 32;

/// Replaces references by the schemas that they name. Everything else stays.
static INLINE: Rules<()> = Rules {
    keywords: &[
        ("$ref", Rule::Special(reference)),
        ("$defs definitions", Rule::Ignore),
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
    finish: |_, _| {},
    booleans: true,
    bound: "object",
    // A schema that refers to itself is written out so often.
    max_depth: 16,
    max_schemas: 1024,
};

fn reference<'t, 'a>(walk: &mut Walk<'t, 'a, ()>, keyword: &Keyword<'t, 'a>, node: &mut Node<'a, ()>) {
    match walk.referred(keyword) {
        Some(Tree::Object(fields)) => fields.into_iter().for_each(|(key, value)| node.set(key, value)),
        Some(_) => {}
        None => walk.lost = true,
    }
}

/// The schema without references, and whether a part of it is lost.
pub(super) fn references<'a>(tree: &Tree<'a>) -> (Tree<'a>, bool) {
    let mut walk = Walk::new(&INLINE, tree);
    let inlined = walk.run();
    (inlined, walk.lost)
}

/// Whether a schema contains itself, which constrained decoding of Claude does not support.
pub(in crate::dialect) fn is_recursive(schema: &str) -> bool {
    if !schema.contains("\"$ref\"") {
        return false;
    }
    let Some(tree) = Tree::parse(schema) else { return true };
    leads_back(&tree, &tree, &mut vec!["#".to_owned()], &mut HashSet::new())
}

/// Whether a reference in `tree` leads to a schema of `path`, through which it was reached. Schemas that are `done` do
/// not.
fn leads_back(tree: &Tree<'_>, root: &Tree<'_>, path: &mut Vec<String>, done: &mut HashSet<String>) -> bool {
    let fields = match tree {
        Tree::Object(fields) => fields,
        Tree::Array(elements) => return elements.iter().any(|element| leads_back(element, root, path, done)),
        Tree::Leaf(_) => return false,
    };
    fields.iter().any(|(key, value)| {
        let reference = value.as_str().filter(|_| key == "$ref").map(Cow::into_owned);
        let Some(reference) = reference else { return leads_back(value, root, path, done) };
        if path.contains(&reference) || path.len() >= MAX_PATH {
            return true;
        }
        let Some(target) = root.referred(&reference).filter(|_| !done.contains(&reference)) else { return false };
        path.push(reference.clone());
        let leads_back = leads_back(target, root, path, done);
        path.pop();
        done.insert(reference);
        leads_back
    })
}

#[cfg(test)]
mod tests {
    use super::is_recursive;

    #[test]
    fn schemas_that_contain_themselves_are_found() {
        for recursive in [
            r##"{"properties":{"next":{"$ref":"#"}}}"##,
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"items":{"$ref":"#/$defs/b"}},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}}}"##,
            r##"{"properties":{"a":{"properties":{"b":{"$ref":"#/properties/a"}}}}}"##,
        ] {
            assert!(is_recursive(recursive), "{recursive}");
        }
        for finite in [
            r#"{"properties":{"a":{"type":"string"}}}"#,
            r##"{"properties":{"a":{"$ref":"#/$defs/x"},"b":{"$ref":"#/$defs/x"}},"$defs":{"x":{"$ref":"#/$defs/y"},"y":{}}}"##,
            r##"{"properties":{"a":{"$ref":"#/$defs/none"}}}"##,
        ] {
            assert!(!is_recursive(finite), "{finite}");
        }
    }
}
