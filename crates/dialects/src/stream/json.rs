//! A validating scan of a complete JSON text that borrows the fields of its top-level object.
//!
//! The whole text is checked against RFC 8259 (and as UTF-8), but nothing is parsed: a field's value is the slice of
//! the body it is in. Duplicates and unknown fields stay visible, so that [`splice`](super::splice) can forward
//! them as they came. The scan is a loop over a bit stack; no input makes it recurse.

mod scan;
mod string;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use string::unescape;
pub use write::{ArrayWriter, ObjectWriter, write_string, write_value};

/// Deepest nesting that is accepted, the top-level object included.
///
/// The scan needs only one bit per level, but later parsers of the body may recurse.
pub const MAX_DEPTH: usize = 1024;

/// Most fields that the top-level object may have.
///
/// Each is remembered in 72 bytes while `"":0,` takes five in the body: without a bound the largest body allowed would
/// take fifteen times its size. Requests of every provider have fewer than a hundred.
pub const MAX_MEMBERS: usize = 4096;

/// The kind of a JSON value, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// `"..."`
    String,
    /// `-1.5e3`
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::True => "true",
            Self::False => "false",
            Self::Null => "null",
        })
    }
}

/// One field of the top-level object, borrowed from the body.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The key as it is written between its quotes; escapes are not decoded.
    pub key: &'a str,
    /// Whether the key is written with escapes, so that [`key`](Self::key) is not its text.
    pub key_escaped: bool,
    /// The value as it is written, without the white space around it.
    pub value: &'a [u8],
    /// Where the value is in the body.
    pub span: Range<usize>,
    /// From the key's opening quote to the value's end.
    pub member: Range<usize>,
    /// The kind of the value.
    pub kind: ValueKind,
}

impl<'a> Member<'a> {
    /// The key's text, its escapes decoded.
    pub fn name(&self) -> Cow<'a, str> {
        if self.key_escaped { unescape(self.key) } else { Cow::Borrowed(self.key) }
    }

    /// Whether the key's text is `name`, however it is written.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        if self.key_escaped { unescape(self.key) == name } else { self.key == name }
    }

    /// The value as it is written, for parsers: the scan has found it to be UTF-8.
    pub fn as_json(&self) -> &'a str {
        std::str::from_utf8(self.value).unwrap_or("null")
    }

    /// The text of a string value, `None` for other kinds. Lone surrogates become U+FFFD.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        let inner = self.value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        std::str::from_utf8(inner).ok().map(unescape)
    }

    /// A boolean value, `None` for other kinds.
    pub fn as_bool(&self) -> Option<bool> {
        match self.kind {
            ValueKind::True => Some(true),
            ValueKind::False => Some(false),
            _ => None,
        }
    }

    /// A number written as a plain non-negative integer below 2^64, `None` for everything else (`1.0`, `1e3`, `"1"`).
    pub fn as_u64(&self) -> Option<u64> {
        std::str::from_utf8(self.value).ok()?.parse().ok()
    }

    /// Whether the value is `null`, which APIs mostly treat as if the field were absent.
    pub fn is_null(&self) -> bool {
        self.kind == ValueKind::Null
    }
}

/// The fields of a body's top-level object, in order, duplicates kept.
#[derive(Clone, Debug)]
pub struct TopLevel<'a> {
    body: &'a [u8],
    /// A `Vec`, since a `SmallVec` is invariant in its items: a body could not be stored together with values that
    /// borrow from it.
    members: Vec<Member<'a>>,
    open: usize,
    close: usize,
    values: usize,
}

impl<'a> TopLevel<'a> {
    /// Validates all of `body` and borrows the fields of its top-level object.
    ///
    /// # Errors
    ///
    /// The problem and its position, worded for the API's client, if `body` is not one JSON object in UTF-8 within
    /// [`MAX_DEPTH`] and [`MAX_MEMBERS`].
    pub fn scan(body: &'a [u8]) -> Result<Self, JsonError> {
        scan::top_level(body)
    }

    /// The field that counts for `key`: the last one of that name, as in every parser that keeps one.
    pub fn get(&self, key: &str) -> Option<&Member<'a>> {
        self.members.iter().rev().find(|member| member.is(key))
    }

    /// Whether there is a field of that name.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Every field, in the order of the body.
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// Every field of that name, in the order of the body.
    pub fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s Member<'a>> {
        self.members.iter().filter(move |member| member.is(key))
    }

    /// The body that was scanned.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// How many values the object holds, at any depth: as many as a tree of it would have.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Where the object's `{` is in the body.
    pub fn open_brace(&self) -> usize {
        self.open
    }

    /// Where the object's `}` is in the body.
    pub fn close_brace(&self) -> usize {
        self.close
    }
}

/// The reason why a body is refused, and the position; its `Display` is a sentence for the API's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The problem.
    pub kind: JsonErrorKind,
    /// The byte of the body at which the problem is; the body's length if it ends too early.
    pub offset: usize,
}

/// A problem of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// It has only white space.
    Empty,
    /// A byte sequence is not UTF-8.
    NotUtf8,
    /// The grammar requires something else here, which is named.
    Syntax(&'static str),
    /// The text is, or starts with, another kind of value.
    NotAnObject(ValueKind),
    /// Nesting exceeds [`MAX_DEPTH`].
    TooDeep,
    /// The top-level object has more than [`MAX_MEMBERS`] fields.
    TooManyMembers,
    /// Something other than white space follows the object.
    TrailingData,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.offset;
        match self.kind {
            JsonErrorKind::Empty => write!(f, "body is empty: expected a JSON object"),
            JsonErrorKind::NotUtf8 => write!(f, "body is not valid JSON: not UTF-8 at byte {at}"),
            JsonErrorKind::Syntax(expected) => write!(f, "body is not valid JSON: expected {expected} at byte {at}"),
            JsonErrorKind::NotAnObject(kind) => write!(f, "body must be a JSON object, not {kind}"),
            JsonErrorKind::TooDeep => write!(f, "body is nested deeper than {MAX_DEPTH} levels at byte {at}"),
            JsonErrorKind::TooManyMembers => write!(f, "body has more than {MAX_MEMBERS} members at byte {at}"),
            JsonErrorKind::TrailingData => write!(f, "body is not valid JSON: data after the object at byte {at}"),
        }
    }
}

impl std::error::Error for JsonError {}
