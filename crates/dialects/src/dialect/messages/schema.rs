//! Schemas as Claude takes them.
//!
//! Constrained decoding knows a part of JSON Schema. What it does not know is said in words: it moves to the end of the
//! `description`, as Anthropic's own SDKs do. The order of members stays, since models answer in that order.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    conversation::{Invalid, Json, Text, Unsupported},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Largest schema that is rewritten, in bytes. Each level is parsed for itself, so that depth multiplies the size; no provider
/// takes schemas that come near.
const MAX_BYTES: usize = 1024 * 1024;
/// Deepest schema that is rewritten. Ours is the recursion, so it is bounded here.
const MAX_DEPTH: usize = 64;

/// What stands for a tool that takes nothing.
const NOTHING: &str = r#"{"type":"object","properties":{}}"#;

/// Keywords at the root of a tool's schema that are refused there.
const COMBINED: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// Formats of strings that are understood.
const FORMATS: [&str; 9] = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"];

/// The members of an object, in order.
struct Members<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Vec<(Text<'de>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visit).map(Self)
    }
}

impl<'a> Members<'a> {
    fn of(raw: &'a str) -> Option<Self> {
        serde_json::from_str(raw).ok()
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| name.is(key)).map(|(_, value)| value.get())
    }

    /// Whether instances are objects.
    fn is_object(&self) -> bool {
        self.get("properties").is_some() || self.get("type").is_some_and(|kind| kind.contains("\"object\""))
    }
}

/// Whether a tool's schema has the root that is asked for: an object, and nothing that is combined.
pub(super) fn has_plain_root(schema: &Json<'_>) -> bool {
    Members::of(schema.get()).is_some_and(|members| {
        members.get("type") == Some("\"object\"") && COMBINED.iter().all(|key| members.get(key).is_none())
    })
}

/// Writes a tool's schema as it stands, but for its root.
pub(super) fn write_tool(schema: Option<&Json<'_>>, dropped: &mut Unsupported, out: &mut Vec<u8>) {
    let Some(schema) = schema.filter(|schema| schema.get().len() > 2) else {
        return out.extend_from_slice(NOTHING.as_bytes());
    };
    if has_plain_root(schema) {
        return out.extend_from_slice(schema.get().as_bytes());
    }
    let members = Members::of(schema.get()).map_or_else(Vec::new, |members| members.0);
    let mut object = ObjectWriter::begin(out);
    object.field("type", "object");
    let mut with_properties = false;
    for (key, value) in members {
        if key.is("type") {
            dropped.add_if(value.get() != "\"object\"", "schema keywords");
        } else if COMBINED.iter().any(|combined| key.is(combined)) {
            dropped.add("schema keywords");
        } else {
            with_properties |= key.is("properties");
            write_member(&mut object, &key, value.get());
        }
    }
    if !with_properties {
        object.raw("properties", "{}");
    }
    object.end();
}

/// Writes a member whose key may have escapes.
fn write_member(object: &mut ObjectWriter<'_>, key: &Text<'_>, value: &str) {
    write_key(object, key).extend_from_slice(value.as_bytes());
}

fn write_key<'o>(object: &'o mut ObjectWriter<'_>, key: &Text<'_>) -> &'o mut Vec<u8> {
    let mut written = Vec::with_capacity(key.size());
    key.write(&mut written);
    let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or_default();
    object.key(std::str::from_utf8(inner).unwrap_or_default())
}

/// Writes a schema for constrained decoding.
///
/// # Errors
/// When it is too large or too deep.
pub(super) fn write_constrained(schema: &str, dropped: &mut Unsupported, out: &mut Vec<u8>) -> Result<(), Invalid> {
    if schema.len() > MAX_BYTES {
        return Err(Invalid::new("response_format", "the schema is too large"));
    }
    constrained(schema, 0, dropped, out)
}

fn constrained(raw: &str, depth: usize, dropped: &mut Unsupported, out: &mut Vec<u8>) -> Result<(), Invalid> {
    if depth > MAX_DEPTH {
        return Err(Invalid::new("response_format", "the schema is nested too deep"));
    }
    let Some(members) = Members::of(raw) else {
        out.extend_from_slice(raw.as_bytes());
        return Ok(());
    };
    // A reference stands alone, but for what it may refer to.
    let refers = members.get("$ref").is_some();
    let any_of = members.get("anyOf").is_some();
    let mut object = ObjectWriter::begin(out);
    let mut told = String::new();
    for (key, value) in &members.0 {
        let key = key.decode();
        let value = value.get();
        match &*key {
            "$ref" => object.raw(&key, value),
            "$defs" | "definitions" | "properties" => {
                named(value, depth, dropped, object.key(&key))?;
            }
            _ if refers => dropped.add_if(!matches!(&*key, "description" | "title"), "schema keywords"),
            "anyOf" | "allOf" => listed(value, depth, dropped, object.key(&key))?,
            "oneOf" if !any_of => listed(value, depth, dropped, object.key("anyOf"))?,
            "items" if value.starts_with('{') => constrained(value, depth + 1, dropped, object.key(&key))?,
            "type" | "title" | "enum" | "const" | "required" => object.raw(&key, value),
            "minItems" if matches!(value, "0" | "1") => object.raw(&key, value),
            "format" if is_known_format(value) => object.raw(&key, value),
            "description" | "$schema" | "$id" | "$comment" => {}
            "additionalProperties" => dropped.add_if(value != "false", "schema keywords"),
            _ => {
                dropped.add("schema keywords");
                let comma = if told.is_empty() { "" } else { ", " };
                told.push_str(comma);
                told.push_str(&key);
                told.push_str(": ");
                told.push_str(value);
            }
        }
    }
    if !refers {
        describe(&members, &told, &mut object);
        if members.is_object() {
            object.field("additionalProperties", &false);
        }
    }
    object.end();
    Ok(())
}

fn is_known_format(value: &str) -> bool {
    serde_json::from_str::<Text<'_>>(value).is_ok_and(|f| f.is("uuid") || FORMATS.iter().any(|known| f.is(known)))
}

/// Writes the description, with what else there is to tell.
fn describe(members: &Members<'_>, told: &str, object: &mut ObjectWriter<'_>) {
    let description: Option<Text<'_>> = members.get("description").and_then(|raw| serde_json::from_str(raw).ok());
    match (description, told.is_empty()) {
        (Some(description), true) => object.field("description", &description),
        (Some(description), false) => object.field("description", &format!("{}\n\n{{{told}}}", description.decode())),
        (None, false) => object.field("description", &format!("{{{told}}}")),
        (None, true) => {}
    }
}

/// An object of schemas.
fn named(raw: &str, depth: usize, dropped: &mut Unsupported, out: &mut Vec<u8>) -> Result<(), Invalid> {
    let members = Members::of(raw).map_or_else(Vec::new, |members| members.0);
    let mut object = ObjectWriter::begin(out);
    for (key, value) in &members {
        constrained(value.get(), depth + 1, dropped, write_key(&mut object, key))?;
    }
    object.end();
    Ok(())
}

/// An array of schemas.
fn listed(raw: &str, depth: usize, dropped: &mut Unsupported, out: &mut Vec<u8>) -> Result<(), Invalid> {
    let schemas: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
    let mut array = ArrayWriter::begin(out);
    for schema in schemas {
        constrained(schema.get(), depth + 1, dropped, array.element())?;
    }
    array.end();
    Ok(())
}
