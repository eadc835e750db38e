//! The root of a tool's schema, which every API requires to be that of an object.

use std::borrow::Cow;

use super::inline;
use crate::{
    conversation::{Json, Tree, Unsupported},
    stream::{Member, TopLevel, ValueKind, json::ObjectWriter},
};

/// The schema of a tool without arguments.
const NOTHING: &[u8] = br#"{"type":"object","properties":{}}"#;
/// The name in reports for keywords that were left out.
pub(in crate::dialect) const KEYWORDS: &str = "schema keywords";
/// Schemas of which all, or one, must hold as well.
const COMBINED: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords that do not restrict the arguments, or that restrict them as a model does anyway.
const MEANINGLESS: [&str; 9] =
    ["$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "examples", "additionalProperties"];
/// Most references that are followed, one behind the other, to find the root's own schema.
const MAX_HOPS: usize = 8;

/// The form that a target accepts at the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect) struct Root {
    /// The keywords that are accepted.
    pub keywords: Keywords,
    /// Whether an object must list its properties.
    pub properties: bool,
}

/// A set of keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect) enum Keywords {
    /// All.
    All,
    /// All but these.
    Except(&'static [&'static str]),
    /// These.
    Only(&'static [&'static str]),
}

impl Keywords {
    fn has(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Except(names) => !names.contains(&name),
            Self::Only(names) => names.contains(&name),
        }
    }
}

/// The form that most of Bedrock's models accept.
pub(in crate::dialect) const PLAIN: Root = Root { keywords: Keywords::All, properties: false };
/// The form that Claude accepts: "`input_schema` does not support oneOf, allOf, or anyOf at the top level".
pub(in crate::dialect) const CLAUDE: Root = Root { keywords: Keywords::Except(&COMBINED), properties: true };
/// The form that OpenAI accepts. "object schema missing properties" is its error for others, and "schema must have type
/// 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level".
pub(in crate::dialect) const OPENAI: Root =
    Root { keywords: Keywords::Except(&["allOf", "anyOf", "oneOf", "enum", "not"]), properties: true };
/// The form that Nova accepts: "Only three fields are supported in top-level Object".
/// <https://docs.aws.amazon.com/nova/latest/userguide/prompting-tool-troubleshooting.html>
pub(in crate::dialect) const NOVA: Root =
    Root { keywords: Keywords::Only(&["type", "properties", "required"]), properties: true };

type Fields<'a> = Vec<(Cow<'a, str>, Tree<'a>)>;

impl Root {
    fn takes(self, top: &TopLevel<'_>) -> bool {
        let listed = match top.get("properties") {
            Some(properties) => properties.kind == ValueKind::Object,
            None => !self.properties,
        };
        let accepts = |member: &Member<'_>| member.key != "$ref" && self.keywords.has(&member.name());
        listed && top.get("type").is_some_and(is_object) && top.members().iter().all(accepts)
    }

    /// Whether the schema has such a root.
    pub fn fits(self, schema: &Json<'_>) -> bool {
        TopLevel::scan(schema.get().as_bytes()).is_ok_and(|top| self.takes(&top))
    }

    /// Appends the schema unchanged, except for its root.
    pub fn write(self, schema: Option<&Json<'_>>, dropped: &mut Unsupported, out: &mut Vec<u8>) {
        let top = schema.and_then(|schema| TopLevel::scan(schema.get().as_bytes()).ok());
        // The input of a tool can't be a list or a number.
        let top = top.filter(|top| top.get("type").is_none_or(may_be_object));
        if let Some(top) = top.as_ref().filter(|top| self.takes(top)) {
            return out.extend_from_slice(top.body().trim_ascii());
        }
        let Some((top, schema)) = top.zip(schema) else {
            dropped.add_if(schema.is_some(), KEYWORDS);
            return out.extend_from_slice(NOTHING);
        };
        let Some(tree) = Tree::parse(schema.get()) else { return self.write_deep(&top, dropped, out) };
        let (rewritten, lost) = self.rewrite(tree);
        dropped.add_if(lost, KEYWORDS);
        if matches!(self.keywords, Keywords::Only(_)) && !top.members().iter().all(|one| self.keywords.has(&one.name()))
        {
            dropped.add_hint(KEYWORDS);
        }
        rewritten.write(out);
    }

    /// Appends a schema that is nested too deep to be rewritten, without the keywords that are refused at its root.
    fn write_deep(self, top: &TopLevel<'_>, dropped: &mut Unsupported, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out).with("type", "object");
        let is_own = |member: &&Member<'_>| {
            let is_wrong = member.is("properties") && member.kind != ValueKind::Object;
            !member.is("type") && !is_wrong && self.keywords.has(&member.name())
        };
        for member in top.members().iter().filter(is_own) {
            object.key(member.key).extend_from_slice(member.value);
        }
        if self.properties && top.get("properties").is_none_or(|properties| properties.kind != ValueKind::Object) {
            object.raw("properties", "{}");
        }
        object.end();
        dropped.add_if(top.members().iter().any(|member| !self.keywords.has(&member.name())), KEYWORDS);
    }

    /// The schema with such a root, and whether keywords were left out that mean something.
    fn rewrite(self, tree: Tree<'_>) -> (Tree<'_>, bool) {
        let mut lost = false;
        let tree = if self.keywords.has("$defs") {
            tree
        } else {
            let (tree, cut) = inline::references(&tree);
            lost |= cut;
            tree
        };
        let mut fields = own_fields(&tree, &mut lost);
        for name in COMBINED.into_iter().filter(|name| !self.keywords.has(name)) {
            if let Some(place) = fields.iter().position(|(key, _)| key == name) {
                let (_, variants) = fields.remove(place);
                lost = true;
                unite(&mut fields, variants.elements(), name == "allOf", &tree);
            }
        }
        fields.retain(|(key, value)| {
            let kept = match &**key {
                "type" => false,
                "properties" => matches!(value, Tree::Object(_)),
                key => self.keywords.has(key),
            };
            lost |= !kept && !["type", "properties"].contains(&&**key) && !MEANINGLESS.contains(&&**key);
            kept
        });
        fields.insert(0, ("type".into(), Tree::string("object")));
        if self.properties && !fields.iter().any(|(key, _)| key == "properties") {
            fields.push(("properties".into(), Tree::Object(Vec::new())));
        }
        (Tree::Object(fields), lost)
    }
}

/// The fields of the root, with those of the schema to which it refers behind its own.
fn own_fields<'a>(tree: &Tree<'a>, lost: &mut bool) -> Fields<'a> {
    let mut fields = fields_of(tree);
    for _ in 0..=MAX_HOPS {
        let Some(place) = fields.iter().position(|(key, _)| key == "$ref") else { return fields };
        let (_, reference) = fields.remove(place);
        match reference.as_str().and_then(|reference| tree.referred(&reference)) {
            Some(target) => {
                for (key, value) in fields_of(target) {
                    if !fields.iter().any(|(known, _)| *known == key) {
                        fields.push((key, value));
                    }
                }
            }
            None => *lost = true,
        }
    }
    *lost = true;
    fields.retain(|(key, _)| key != "$ref");
    fields
}

fn fields_of<'a>(tree: &Tree<'a>) -> Fields<'a> {
    if let Tree::Object(fields) = tree { fields.clone() } else { Vec::new() }
}

/// Adds the properties of `variants`, so that the model sees them: all of them, where one variant must hold. What every
/// variant requires stays required; if `all` must hold, what any of them requires.
fn unite<'a>(fields: &mut Fields<'a>, variants: &[Tree<'a>], all: bool, root: &Tree<'a>) {
    let mut required: Option<Vec<Tree<'a>>> = None;
    let mut properties = match fields.iter().find(|(key, _)| key == "properties") {
        Some((_, Tree::Object(properties))) => properties.clone(),
        _ => Vec::new(),
    };
    for variant in variants {
        let variant = own_fields_of(variant, root);
        let field = |name: &str| variant.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        if let Some(Tree::Object(more)) = field("properties") {
            for (name, schema) in more {
                add(&mut properties, name, schema, all);
            }
        }
        let names = field("required").map(|names| names.elements().to_vec()).unwrap_or_default();
        required = Some(match required {
            None => names,
            Some(known) if all => known.into_iter().chain(names).collect(),
            Some(known) => known.into_iter().filter(|name| names.contains(name)).collect(),
        });
    }
    if !properties.is_empty() {
        fields.retain(|(key, _)| key != "properties");
        fields.push(("properties".into(), Tree::Object(properties)));
    }
    let mut names: Vec<Tree<'a>> = Vec::new();
    let own = fields.iter().find(|(key, _)| key == "required").map(|(_, names)| names.elements().to_vec());
    for name in own.into_iter().flatten().chain(required.unwrap_or_default()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        fields.retain(|(key, _)| key != "required");
        fields.push(("required".into(), Tree::Array(names)));
    }
}

/// The fields of a variant, which may be a reference.
fn own_fields_of<'a>(variant: &Tree<'a>, root: &Tree<'a>) -> Fields<'a> {
    let reference = variant.get("$ref").and_then(Tree::as_str);
    fields_of(reference.and_then(|reference| root.referred(&reference)).unwrap_or(variant))
}

/// Adds a property. One that variants describe in several ways has all of them as alternatives.
fn add<'a>(properties: &mut Fields<'a>, name: &str, schema: &Tree<'a>, all: bool) {
    match properties.iter_mut().find(|(known, _)| known == name) {
        None => properties.push((name.to_owned().into(), schema.clone())),
        Some((_, known)) if all || known == schema => {}
        Some((_, Tree::Object(known))) if is_choice(known) => {
            if let Some((_, Tree::Array(schemas))) = known.first_mut()
                && !schemas.contains(schema)
            {
                schemas.push(schema.clone());
            }
        }
        Some((_, known)) => {
            let schemas = vec![known.clone(), schema.clone()];
            *known = Tree::Object(vec![("anyOf".into(), Tree::Array(schemas))]);
        }
    }
}

fn is_choice(schema: &Fields<'_>) -> bool {
    matches!(schema.as_slice(), [(key, Tree::Array(_))] if key == "anyOf")
}

fn is_object(kind: &Member<'_>) -> bool {
    kind.value == br#""object""#
}

/// Whether a `type` allows objects, alone or beside others.
fn may_be_object(kind: &Member<'_>) -> bool {
    is_object(kind) || serde_json::from_slice::<Vec<&str>>(kind.value).is_ok_and(|kinds| kinds.contains(&"object"))
}
