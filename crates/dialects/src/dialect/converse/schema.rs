//! JSON Schemas in the form that models take. Members keep their order: a model writes its answer in the schema's order, and
//! reasons worse when the answer comes before the reasons.

use serde_json::value::RawValue;

use crate::{
    conversation::{Json, Unsupported},
    stream::{
        Member, TopLevel,
        json::{ArrayWriter, ObjectWriter},
    },
};

/// Deepest schema that is rewritten. Each level is scanned again by those above it; what is deeper stays as it is.
const MAX_DEPTH: usize = 16;

/// A schema of a tool that takes nothing.
const NOTHING: &[u8] = br#"{"type":"object","properties":{}}"#;

/// Formats of strings that Claude keeps to.
const FORMATS: [&str; 9] = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"];

/// Appends `schema` with the root that every model wants: an object. Claude moreover takes no alternatives there.
pub(super) fn object(schema: Option<&Json<'_>>, claude: bool, dropped: &mut Unsupported, out: &mut Vec<u8>) {
    let scanned = schema.map(|schema| TopLevel::scan(schema.get().as_bytes()));
    let Some(Ok(top)) = scanned else {
        dropped.add_if(schema.is_some(), "schema keywords");
        out.extend_from_slice(NOTHING);
        return;
    };
    let refused = |m: &&Member<'_>| claude && ["oneOf", "anyOf", "allOf"].contains(&&*m.name());
    let kind = top.get("type");
    let is_object = kind.is_some_and(|m| m.value == br#""object""#);
    if is_object && !top.members().iter().any(|m| refused(&m)) {
        out.extend_from_slice(top.body().trim_ascii());
        return;
    }
    if !is_object && kind.is_some() && !names_object(kind) {
        // A list or a number as the input of a tool: there is no such thing.
        dropped.add("schema keywords");
        out.extend_from_slice(NOTHING);
        return;
    }
    let mut object = ObjectWriter::begin(out);
    object.field("type", "object");
    for member in top.members().iter().filter(|m| !m.is("type")) {
        if refused(&member) {
            dropped.add("schema keywords");
        } else {
            object.key(member.key).extend_from_slice(member.value);
        }
    }
    object.end();
}

/// Whether a `type` says that objects are allowed, alone or beside others.
fn names_object(kind: Option<&Member<'_>>) -> bool {
    kind.is_some_and(|m| match serde_json::from_slice::<Vec<&str>>(m.value) {
        Ok(kinds) => kinds.contains(&"object"),
        Err(_) => m.value == br#""object""#,
    })
}

/// Appends `schema` in the subset of JSON Schema that Claude keeps to by itself: objects are closed, `oneOf` is `anyOf`,
/// other keywords become part of the description. Gives whether a keyword was taken out that way.
pub(super) fn closed(schema: &str, out: &mut Vec<u8>) -> bool {
    let mut lost = false;
    close(schema.as_bytes(), MAX_DEPTH, &mut lost, out);
    lost
}

fn close(schema: &[u8], depth: usize, lost: &mut bool, out: &mut Vec<u8>) {
    let top = depth.checked_sub(1).and_then(|_| TopLevel::scan(schema).ok());
    // `true`, `false`, or too deep.
    let Some(top) = top else { return out.extend_from_slice(schema) };
    let mut object = ObjectWriter::begin(out);
    if let Some(reference) = top.get("$ref") {
        // A reference stands alone.
        *lost |= top.members().iter().any(|m| !m.is("$ref") && !m.is("description") && !m.is("title"));
        object.key("$ref").extend_from_slice(reference.value);
        return object.end();
    }
    let mut notes = String::new();
    for member in top.members() {
        keyword(member, depth - 1, lost, &mut notes, &mut object);
    }
    let description = top.get("description").and_then(Member::as_str).unwrap_or_default();
    if !description.is_empty() || !notes.is_empty() {
        let separator = if description.is_empty() || notes.is_empty() { "" } else { "\n" };
        object.field("description", &format!("{description}{separator}{notes}"));
    }
    if names_object(top.get("type")) || top.contains("properties") {
        object.field("additionalProperties", &false);
    }
    object.end();
}

/// Writes one member of a schema, or adds it to `notes`.
fn keyword(member: &Member<'_>, depth: usize, lost: &mut bool, notes: &mut String, object: &mut ObjectWriter<'_>) {
    let name = member.name();
    let value = member.value;
    match &*name {
        "type" | "enum" | "const" | "title" | "required" => object.key(member.key).extend_from_slice(value),
        // Written at the end; closed anyhow; of no meaning to a model.
        "description" | "$schema" | "$id" | "$comment" => {}
        "additionalProperties" if value == b"false" => {}
        "properties" | "$defs" | "definitions" => {
            let Ok(members) = TopLevel::scan(value) else { return };
            let mut inner = object.object(member.key);
            for property in members.members() {
                close(property.value, depth, lost, inner.key(property.key));
            }
            inner.end();
        }
        "items" if value.starts_with(b"{") => close(value, depth, lost, object.key("items")),
        "anyOf" | "oneOf" | "allOf" => {
            let Ok(choices) = serde_json::from_slice::<Vec<&RawValue>>(value) else { return };
            let mut array = ArrayWriter::begin(object.key(if name == "allOf" { "allOf" } else { "anyOf" }));
            for choice in choices {
                close(choice.get().as_bytes(), depth, lost, array.element());
            }
            array.end();
        }
        "minItems" if matches!(value, b"0" | b"1") => object.key("minItems").extend_from_slice(value),
        "format" if member.as_str().is_some_and(|f| FORMATS.contains(&&*f) || f == "uuid") => {
            object.key("format").extend_from_slice(value);
        }
        _ => {
            *lost = true;
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(&name);
            notes.push_str(": ");
            notes.push_str(&String::from_utf8_lossy(value));
        }
    }
}
