//! A JSON value that is carried unchanged.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use super::Unsupported;
use crate::stream::json::ObjectWriter;

/// A JSON value: a slice of the document it came in, or a value that was built by the gateway. Numbers, field order and
/// white space are kept; half a surrogate pair, which strict parsers refuse, becomes U+FFFD.
#[derive(Clone, Debug)]
pub struct Json<'a>(Cow<'a, RawValue>);

impl<'a> Json<'a> {
    /// The value as it is written.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// A value that is built by the gateway.
    pub fn of(value: &Value) -> Self {
        // A `Value` always has a text.
        let raw = serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self(Cow::Owned(raw))
    }

    /// Parses this text.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::from)
    }

    /// The value as a tree.
    ///
    /// # Errors
    /// When it is nested deeper than 128 levels.
    pub fn value(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_str(self.get())
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.get().starts_with('{')
    }

    /// Whether it is an object without fields.
    pub fn is_empty_object(&self) -> bool {
        self.get()
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .is_some_and(|inside| inside.trim().is_empty())
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }

    /// A borrow for a shorter lifetime, without a copy.
    pub fn reborrow(&self) -> Json<'_> {
        Json(Cow::Borrowed(&self.0))
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        match without_lone_surrogates(raw.get()) {
            Cow::Borrowed(_) => Self(Cow::Borrowed(raw)),
            Cow::Owned(text) => Self(RawValue::from_string(text).map_or(Cow::Borrowed(raw), Cow::Owned)),
        }
    }
}

impl From<Box<RawValue>> for Json<'_> {
    fn from(raw: Box<RawValue>) -> Self {
        Self(Cow::Owned(raw))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a RawValue>::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialEq for Json<'_> {
    /// Whether both are the same value, however they are written.
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get() || matches!((self.value(), other.value()), (Ok(a), Ok(b)) if a == b)
    }
}

/// Deepest nesting of a [call's arguments](object_text), in levels: as deep as common parsers go.
const MAX_DEPTH: usize = 128;

/// The text of a JSON object that every parser accepts, without white space around it: nested at most 128 levels deep,
/// and with U+FFFD in the place of half a surrogate pair. `None` for any other value.
pub fn object_text(text: &str) -> Option<Cow<'_, str>> {
    let text = text.trim();
    let is_object = text.starts_with('{') && !is_deep(text) && serde_json::from_str::<&RawValue>(text).is_ok();
    is_object.then(|| without_lone_surrogates(text))
}

/// The arguments of a call as the [text of an object](object_text), where nothing and `null` mean that there are none.
pub fn call_arguments(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if matches!(text.trim(), "" | "null") {
        return Some(Cow::Borrowed("{}"));
    }
    match text {
        Cow::Borrowed(text) => object_text(text),
        Cow::Owned(text) => object_text(&text).map(|text| Cow::Owned(text.into_owned())),
    }
}

/// The field with the text of [arguments that are no object](earlier_arguments).
const RAW: &str = "_raw";

/// The arguments of a call in a history as the [text of an object](object_text). Where the model wrote something else,
/// or the token limit cut them, their text is in the field `_raw` of an object, and `arguments` is reported: clients
/// send such a call with every later request, which must not end the conversation.
pub fn earlier_arguments<'a>(text: Cow<'a, str>, dropped: &mut Unsupported) -> Cow<'a, str> {
    let raw = match call_arguments(text.clone()) {
        Some(arguments) => return arguments,
        None => text,
    };
    dropped.add_hint("arguments");
    let mut object = Vec::with_capacity(raw.len() + 16);
    ObjectWriter::begin(&mut object).with(RAW, &*raw).end();
    String::from_utf8(object).map_or(Cow::Borrowed("{}"), Cow::Owned)
}

/// Whether a JSON text is nested deeper than [`MAX_DEPTH`].
fn is_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// A JSON text with `\ufffd` in the place of escapes that are half a surrogate pair, which strict parsers refuse. Both
/// escapes have the same length, so that nothing moves.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let (mut made, mut at): (Option<Vec<u8>>, usize) = (None, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        at += match (unit(bytes, at), unit(bytes, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                if let Some(digits) = made.get_or_insert_with(|| bytes.to_vec()).get_mut(at + 2..at + 6) {
                    digits.copy_from_slice(b"fffd");
                }
                6
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
    }
    // Only ASCII characters replaced ASCII characters.
    made.and_then(|made| String::from_utf8(made).ok()).map_or(Cow::Borrowed(json), Cow::Owned)
}

/// The UTF-16 code unit that is written as `\uXXXX` at this position.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
