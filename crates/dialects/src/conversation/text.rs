//! A string of a JSON document, not copied and not unescaped unless it must be read.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

use crate::stream::json::unescape;

/// Text as it is in a document, or text made here.
///
/// From one JSON document to another it travels as it was written: no unescaping, no escaping, no copy but the last.
#[derive(Clone)]
pub enum Text<'a> {
    /// A JSON string with its quotes and escapes. Holds no lone surrogates.
    Json(&'a RawValue),
    /// Plain text.
    Plain(Cow<'a, str>),
}

impl<'a> Text<'a> {
    /// The value as text, if it is a string.
    pub fn of(raw: &'a RawValue) -> Option<Self> {
        raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok()).flatten()
    }

    /// The text, unescaped; copied only if it has escapes.
    pub fn decode(&self) -> Cow<'_, str> {
        match self {
            Self::Json(raw) => unescape(inner(raw)),
            Self::Plain(text) => Cow::Borrowed(text),
        }
    }

    /// The text, unescaped, for as long as the document lives.
    pub fn into_decoded(self) -> Cow<'a, str> {
        match self {
            Self::Json(raw) => unescape(inner(raw)),
            Self::Plain(text) => text,
        }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Text<'static> {
        Text::Plain(Cow::Owned(self.into_decoded().into_owned()))
    }

    /// The same for a shorter time, without a copy.
    pub fn reborrow(&self) -> Text<'_> {
        match self {
            Self::Json(raw) => Text::Json(raw),
            Self::Plain(text) => Text::Plain(Cow::Borrowed(text)),
        }
    }

    /// Whether there is no character at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Json(raw) => inner(raw).is_empty(),
            Self::Plain(text) => text.is_empty(),
        }
    }

    /// Whether there is nothing but white space, which several providers refuse.
    pub fn is_blank(&self) -> bool {
        match self {
            // Most texts show a letter at once.
            Self::Json(raw) => {
                let first = inner(raw).bytes().next();
                first.is_none_or(|b| b.is_ascii_whitespace() || b == b'\\' || !b.is_ascii())
                    && self.decode().trim().is_empty()
            }
            Self::Plain(text) => text.trim().is_empty(),
        }
    }

    /// Whether the text is `other`.
    pub fn is(&self, other: &str) -> bool {
        match self {
            Self::Json(raw) => {
                let inner = inner(raw);
                inner == other || (inner.contains('\\') && unescape(inner) == other)
            }
            Self::Plain(text) => text == other,
        }
    }

    /// Bytes that the text takes in a document, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(raw) => raw.get().len(),
            Self::Plain(text) => text.len() + 2,
        }
    }

    /// Appends the text to a document, in quotes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Json(raw) => out.extend_from_slice(raw.get().as_bytes()),
            Self::Plain(text) => crate::stream::json::write_string(out, text),
        }
    }
}

/// The content of a JSON string's quotes.
fn inner(raw: &RawValue) -> &str {
    let text = raw.get();
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

/// Whether a JSON string's inside holds half a surrogate pair, which no strict parser takes.
fn has_lone_surrogate(inner: &str) -> bool {
    // Most texts hold no backslash at all.
    let Some(first) = memchr::memchr(b'\\', inner.as_bytes()) else { return false };
    let Some(first) = inner.get(first..).and_then(|rest| rest.find("\\u")).map(|at| first + at) else { return false };
    // Decoded, a lone surrogate is U+FFFD; one that was written as such is rare enough to be copied for nothing.
    inner.get(first..).is_some_and(|rest| {
        let may = rest
            .as_bytes()
            .windows(3)
            .any(|w| matches!(w, [b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']));
        may && unescape(rest).contains(char::REPLACEMENT_CHARACTER)
    })
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'a RawValue>::deserialize(deserializer)?;
        if !raw.get().starts_with('"') {
            return Err(D::Error::custom("expected a string"));
        }
        if has_lone_surrogate(inner(raw)) { Ok(Self::Plain(unescape(inner(raw)))) } else { Ok(Self::Json(raw)) }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(raw) => raw.serialize(serializer),
            Self::Plain(text) => serializer.serialize_str(text),
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.decode() == other.decode()
    }
}

impl Eq for Text<'_> {}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.decode(), f)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Plain(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Plain(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Plain(text)
    }
}
