//! Schemas: Gemini's own kind, a part of `OpenAPI`'s with upper-case types, and JSON Schema.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};

use super::{names::camel, tree::Tree};
use crate::conversation::{Invalid, Json};

/// Deepest schema that is written for old models, references followed.
const MAX_DEPTH: usize = 32;
/// Most schemas in one that is written for old models: references that are written out multiply.
const MAX_NODES: usize = 4096;

/// JSON Schema of a schema in Gemini's kind.
///
/// # Errors
/// When it is no JSON that can be read, such as one nested deeper than 128 levels.
pub(super) fn read<'a>(field: &str, raw: &RawValue) -> Result<Json<'a>, Invalid> {
    let tree: Tree =
        serde_json::from_str(raw.get()).map_err(|error| Invalid::new(field, format!("no schema: {error}")))?;
    if !matches!(tree, Tree::Object(_)) {
        return Err(Invalid::new(field, "must be an object"));
    }
    let raw = serde_json::value::to_raw_value(&json_schema(tree));
    raw.map(Json::from).map_err(|error| Invalid::new(field, error.to_string()))
}

fn json_schema(tree: Tree) -> Tree {
    let Tree::Object(members) = tree else { return tree };
    let (mut schema, mut nullable, mut order) = (Vec::with_capacity(members.len()), false, None);
    for (key, value) in members {
        let name = camel(&key);
        let (name, value) = match &*name {
            "nullable" => {
                nullable = value.is_true();
                continue;
            }
            "propertyOrdering" => {
                order = Some(value);
                continue;
            }
            "example" => continue,
            "type" if value.as_str() == Some("TYPE_UNSPECIFIED") => continue,
            "format" if value.as_str() == Some("enum") => continue,
            "type" => ("type", lower(value)),
            "properties" => ("properties", each(value, json_schema)),
            "defs" | "$defs" => ("$defs", each(value, json_schema)),
            "ref" => ("$ref", value),
            "anyOf" => ("anyOf", each(value, json_schema)),
            "items" | "additionalProperties" => (&*name, json_schema(value)),
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                (&*name, number(value))
            }
            _ => (key.as_str(), value),
        };
        schema.push((name.to_owned(), value));
    }
    if let Some(order) = order {
        sort(&mut schema, &order);
    }
    if nullable {
        allow_null(&mut schema);
    }
    Tree::Object(schema)
}

/// Types in lower case.
fn lower(value: Tree) -> Tree {
    match value {
        Tree::Leaf(Value::String(word)) => Tree::text(word.to_ascii_lowercase()),
        Tree::Array(words) => Tree::Array(words.into_iter().map(lower).collect()),
        other => other,
    }
}

/// Applies `change` to every value of an object or array.
fn each(value: Tree, change: impl Fn(Tree) -> Tree) -> Tree {
    match value {
        Tree::Object(members) => Tree::Object(members.into_iter().map(|(key, v)| (key, change(v))).collect()),
        Tree::Array(elements) => Tree::Array(elements.into_iter().map(change).collect()),
        leaf @ Tree::Leaf(_) => leaf,
    }
}

/// Counts may be written as strings.
fn number(value: Tree) -> Tree {
    match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
        Some(number) => Tree::Leaf(number.into()),
        None => value,
    }
}

/// Puts properties into the order that is asked for: models fill them in as they stand.
fn sort(schema: &mut [(String, Tree)], order: &Tree) {
    let Tree::Array(order) = order else { return };
    let places: HashMap<&str, usize> =
        order.iter().enumerate().filter_map(|(n, name)| Some((name.as_str()?, n))).collect();
    if let Some((_, Tree::Object(properties))) = schema.iter_mut().find(|(key, _)| key == "properties") {
        properties.sort_by_key(|(name, _)| places.get(name.as_str()).copied().unwrap_or(usize::MAX));
    }
}

fn allow_null(schema: &mut [(String, Tree)]) {
    for (key, value) in schema {
        match (key.as_str(), value) {
            ("type", value @ Tree::Leaf(_)) => {
                let own = std::mem::replace(value, Tree::Leaf(Value::Null));
                *value = Tree::Array(vec![own, Tree::text("null")]);
            }
            ("enum", Tree::Array(words)) => words.push(Tree::Leaf(Value::Null)),
            ("anyOf", Tree::Array(any)) => any.push(Tree::Object(vec![("type".to_owned(), Tree::text("null"))])),
            _ => {}
        }
    }
}

/// A schema in Gemini's kind, as text, for models that don't read JSON Schema; and whether keywords were left out.
///
/// # Errors
/// When it is nested deeper than 128 levels.
pub(super) fn write(field: &str, schema: &Json<'_>) -> Result<(String, bool), Invalid> {
    let root: Tree =
        serde_json::from_str(schema.get()).map_err(|error| Invalid::new(field, format!("no schema: {error}")))?;
    let mut writer = Gemini { root: &root, nodes: 0, lost: false };
    let tree = writer.schema(&root, 0);
    let lost = writer.lost;
    serde_json::to_string(&tree).map(|text| (text, lost)).map_err(|error| Invalid::new(field, error.to_string()))
}

/// Rewrites JSON Schema as Gemini's kind.
struct Gemini<'t> {
    root: &'t Tree,
    nodes: usize,
    lost: bool,
}

impl Gemini<'_> {
    fn schema(&mut self, tree: &Tree, depth: usize) -> Tree {
        self.nodes += 1;
        let Tree::Object(members) = tree else { return Tree::Object(Vec::new()) };
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            self.lost = true;
            return Tree::Object(vec![("type".to_owned(), Tree::text("OBJECT"))]);
        }
        let mut out = Schema::default();
        for (key, value) in members {
            self.keyword(key, value, depth, &mut out);
        }
        out.finish()
    }

    fn keyword(&mut self, key: &str, value: &Tree, depth: usize, out: &mut Schema) {
        match (key, value) {
            ("$ref", value) => match value.as_str().and_then(|path| resolve(self.root, path)) {
                Some(target) => out.merge(self.schema(target, depth + 1)),
                None => self.lost = true,
            },
            ("type", value) => out.types(value),
            ("const", value) if value.as_str().is_some() => out.set("enum", Tree::Array(vec![value.clone()])),
            ("const", value) => {
                self.lost = true;
                out.guess = type_of(value);
            }
            ("enum", Tree::Array(words)) => self.words(words, out),
            ("anyOf" | "oneOf", Tree::Array(options)) => self.any(options, depth, out),
            ("allOf", Tree::Array(all)) => {
                self.lost |= all.len() > 1;
                for part in all {
                    out.merge(self.schema(part, depth + 1));
                }
            }
            ("items", Tree::Array(tuple)) => {
                self.lost = true;
                if let Some(first) = tuple.first() {
                    out.set("items", self.schema(first, depth + 1));
                }
            }
            ("items", value) => out.set("items", self.schema(value, depth + 1)),
            ("properties", Tree::Object(properties)) => {
                let properties = properties.iter().map(|(name, v)| (name.clone(), self.schema(v, depth + 1)));
                out.set("properties", Tree::Object(properties.collect()));
            }
            ("exclusiveMinimum" | "exclusiveMaximum", Tree::Leaf(Value::Number(_))) => {
                self.lost = true;
                out.set(if key == "exclusiveMinimum" { "minimum" } else { "maximum" }, value.clone());
            }
            ("format", value) => {
                // The only ones that are not refused.
                let known = ["enum", "date-time", "float", "double", "int32", "int64"];
                match value.as_str().filter(|format| known.contains(format)) {
                    Some(_) => out.set("format", value.clone()),
                    None => self.lost = true,
                }
            }
            ("nullable", value) => out.nullable |= value.is_true(),
            (
                "title" | "description" | "required" | "minItems" | "maxItems" | "minLength" | "maxLength" | "pattern"
                | "minimum" | "maximum" | "minProperties" | "maxProperties" | "default" | "propertyOrdering",
                value,
            ) => out.set(key, value.clone()),
            // They say nothing about the value, or what models do anyway.
            ("$schema" | "$id" | "$comment" | "$defs" | "definitions", _)
            | ("additionalProperties", Tree::Leaf(Value::Bool(false))) => {}
            _ => self.lost = true,
        }
    }

    /// Writes what a value may be.
    fn words(&mut self, words: &[Tree], out: &mut Schema) {
        out.nullable |= words.contains(&Tree::Leaf(Value::Null));
        let words: Vec<_> = words.iter().filter(|w| **w != Tree::Leaf(Value::Null)).cloned().collect();
        if words.iter().all(|word| word.as_str().is_some()) {
            out.set("enum", Tree::Array(words));
        } else {
            // Only strings are taken; what they are can still be said.
            self.lost = true;
            out.guess = words.iter().find_map(type_of);
        }
    }

    /// Writes alternatives. `null` is none, and a single one is no choice.
    fn any(&mut self, options: &[Tree], depth: usize, out: &mut Schema) {
        let null = Tree::text("null");
        out.nullable |= options.iter().any(|option| option.get("type") == Some(&null));
        let rest = options.iter().filter(|option| option.get("type") != Some(&null));
        let mut rest: Vec<_> = rest.map(|option| self.schema(option, depth + 1)).collect();
        match rest.pop() {
            Some(only) if rest.is_empty() => out.merge(only),
            Some(last) => {
                rest.push(last);
                out.set("anyOf", Tree::Array(rest));
            }
            None => {}
        }
    }
}

/// The type of a value without values in it.
fn type_of(value: &Tree) -> Option<&'static str> {
    match value {
        Tree::Leaf(Value::Bool(_)) => Some("BOOLEAN"),
        Tree::Leaf(Value::Number(number)) => Some(if number.is_f64() { "NUMBER" } else { "INTEGER" }),
        Tree::Leaf(Value::String(_)) => Some("STRING"),
        _ => None,
    }
}

/// The schema that a reference into the same document names.
fn resolve<'t>(root: &'t Tree, path: &str) -> Option<&'t Tree> {
    let path = path.strip_prefix('#')?.strip_prefix('/')?;
    path.split('/').try_fold(root, |tree, name| tree.get(&name.replace("~1", "/").replace("~0", "~")))
}

/// A schema in Gemini's kind that is being put together.
#[derive(Default)]
struct Schema {
    members: Vec<(String, Tree)>,
    nullable: bool,
    /// The type, where it is not said but can be seen.
    guess: Option<&'static str>,
}

impl Schema {
    /// The first one counts: what stands next to a reference is more special than what it names.
    fn set(&mut self, key: &str, value: Tree) {
        if !self.has(key) {
            self.members.push((key.to_owned(), value));
        }
    }

    fn has(&self, key: &str) -> bool {
        self.members.iter().any(|(known, _)| known == key)
    }

    fn merge(&mut self, other: Tree) {
        let Tree::Object(members) = other else { return };
        for (key, value) in members {
            if key == "nullable" {
                self.nullable |= value.is_true();
            } else {
                self.set(&key, value);
            }
        }
    }

    fn types(&mut self, value: &Tree) {
        let one = std::slice::from_ref(value);
        let words = if let Tree::Array(words) = value { words.as_slice() } else { one };
        let words: Vec<_> = words.iter().filter_map(Tree::as_str).collect();
        self.nullable |= words.len() > 1 && words.contains(&"null");
        let upper = |word: &str| Tree::text(word.to_ascii_uppercase());
        let mut types = words.iter().filter(|word| words.len() == 1 || **word != "null").map(|word| upper(word));
        match (types.next(), types.next()) {
            (Some(only), None) => self.set("type", only),
            (Some(first), Some(second)) => {
                let any = [first, second].into_iter().chain(types);
                let any = any.map(|of| Tree::Object(vec![("type".to_owned(), of)])).collect();
                self.set("anyOf", Tree::Array(any));
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Tree {
        if !self.has("type") && !self.has("anyOf") {
            let guess = if self.has("properties") {
                Some("OBJECT")
            } else if self.has("items") {
                Some("ARRAY")
            } else if self.has("enum") {
                Some("STRING")
            } else {
                self.guess
            };
            if let Some(guess) = guess {
                self.set("type", Tree::text(guess));
            }
        }
        let array = self.members.iter().any(|(key, value)| key == "type" && value.as_str() == Some("ARRAY"));
        if array {
            // Arrays without are refused.
            self.set("items", Tree::Object(vec![("type".to_owned(), Tree::text("STRING"))]));
        }
        self.keep_known_required();
        if self.nullable {
            self.set("nullable", Tree::Leaf(Value::Bool(true)));
        }
        Tree::Object(self.members)
    }

    /// Names of properties that don't exist are refused.
    fn keep_known_required(&mut self) {
        let known = self.members.iter().find(|(key, _)| key == "properties").map(|(_, properties)| properties.clone());
        if let Some((_, Tree::Array(required))) = self.members.iter_mut().find(|(key, _)| key == "required") {
            required
                .retain(|name| name.as_str().is_some_and(|name| known.as_ref().is_some_and(|p| p.get(name).is_some())));
        }
        self.members.retain(|(key, value)| key != "required" || *value != Tree::Array(Vec::new()));
    }
}
