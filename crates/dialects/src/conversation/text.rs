//! A string of a JSON document that is neither copied nor unescaped unless it must be read.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

use crate::stream::json::unescape;

/// Text as it is in a document, or text that was built by the gateway.
///
/// From one JSON document to another it is carried as it was written: it is not unescaped or escaped again, and copied
/// only once.
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

    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> Text<'static> {
        Text::Plain(Cow::Owned(self.into_decoded().into_owned()))
    }

    /// A borrow for a shorter lifetime, without a copy.
    pub fn reborrow(&self) -> Text<'_> {
        match self {
            Self::Json(raw) => Text::Json(raw),
            Self::Plain(text) => Text::Plain(Cow::Borrowed(text)),
        }
    }

    /// Whether it has no characters.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Json(raw) => inner(raw).is_empty(),
            Self::Plain(text) => text.is_empty(),
        }
    }

    /// Whether it has only white space, which several providers refuse.
    pub fn is_blank(&self) -> bool {
        match self {
            // In most texts the first character decides.
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

    /// Approximate bytes that the text has in a document.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(raw) => raw.get().len(),
            Self::Plain(text) => text.len() + 2,
        }
    }

    /// Several texts as one, with `between` in between. A single one is not copied.
    pub fn join(texts: impl IntoIterator<Item = Self>, between: &str) -> Self {
        let mut texts = texts.into_iter();
        let Some(first) = texts.next() else { return Self::from("") };
        let Some(second) = texts.next() else { return first };
        let mut whole = first.into_decoded().into_owned();
        for text in std::iter::once(second).chain(texts) {
            whole.push_str(between);
            whole.push_str(&text.decode());
        }
        whole.into()
    }

    /// Appends the text to a document, in quotes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Json(raw) => out.extend_from_slice(raw.get().as_bytes()),
            Self::Plain(text) => crate::stream::json::write_string(out, text),
        }
    }
}

/// The content between a JSON string's quotes.
fn inner(raw: &RawValue) -> &str {
    let text = raw.get();
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

/// Whether the content of a JSON string has half a surrogate pair, which strict parsers refuse.
fn has_lone_surrogate(inner: &str) -> bool {
    // Most texts have no backslash at all.
    let Some(first) = memchr::memchr(b'\\', inner.as_bytes()) else { return false };
    let Some(first) = inner.get(first..).and_then(|rest| rest.find("\\u")).map(|at| first + at) else { return false };
    // Decoded, a lone surrogate is U+FFFD. A text with a real U+FFFD is copied needlessly, but is rare.
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
