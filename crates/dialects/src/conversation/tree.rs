//! A JSON value that can be rewritten.
//!
//! Unlike `serde_json::Value` it keeps the order of fields, which models follow when they fill in a schema, and numbers
//! as they are written.

use std::borrow::Cow;

use crate::stream::json::{ArrayWriter, ObjectWriter, unescape, write_string};

/// Deepest nesting that is read, in levels: as deep as common parsers go. The parser recurses, so it is bounded.
const MAX_LEVELS: usize = 128;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    /// An object, in order; the keys are unescaped.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    /// An array.
    Array(Vec<Tree<'a>>),
    /// Anything else, as it is written.
    Leaf(Cow<'a, str>),
}

impl<'a> Tree<'a> {
    /// The value of a JSON text that has been validated; `None` if it is nested deeper than 128 levels.
    pub fn parse(json: &'a str) -> Option<Self> {
        Parser { rest: json }.value(MAX_LEVELS)
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        let mut quoted = Vec::with_capacity(text.len() + 2);
        write_string(&mut quoted, text);
        Self::Leaf(String::from_utf8(quoted).unwrap_or_default().into())
    }

    /// The text of a string, unescaped.
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        let Self::Leaf(raw) = self else { return None };
        raw.strip_prefix('"')?.strip_suffix('"').map(unescape)
    }

    /// The elements of an array; any other value is the only element.
    pub fn elements(&self) -> &[Self] {
        if let Self::Array(elements) = self { elements } else { std::slice::from_ref(self) }
    }

    /// Whether it is a leaf that is written as `json`.
    pub fn is(&self, json: &str) -> bool {
        matches!(self, Self::Leaf(raw) if raw == json)
    }

    /// The field of this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value that a reference of JSON Schema into this document names, such as `#/$defs/A`.
    pub fn referred(&self, reference: &str) -> Option<&Self> {
        let pointer = reference.strip_prefix('#')?;
        let Some(path) = pointer.strip_prefix('/') else { return pointer.is_empty().then_some(self) };
        path.split('/').try_fold(self, |tree, name| tree.get(&name.replace("~1", "/").replace("~0", "~")))
    }

    /// Appends the value's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Object(fields) => {
                let mut object = ObjectWriter::begin(out);
                for (key, value) in fields {
                    value.write(object.any_key(key));
                }
            }
            Self::Array(elements) => {
                let mut array = ArrayWriter::begin(out);
                for element in elements {
                    element.write(array.element());
                }
            }
            Self::Leaf(raw) => out.extend_from_slice(raw.as_bytes()),
        }
    }
}

/// Reads what a validating parser has accepted, each byte once.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self, levels: usize) -> Option<Tree<'a>> {
        match self.peek()? {
            b'{' => {
                let (mut fields, inside) = (Vec::new(), levels.checked_sub(1)?);
                while self.enter(b'}')? {
                    let key = self.string()?;
                    self.peek()?;
                    self.take(1)?;
                    let key = unescape(key.get(1..key.len() - 1)?);
                    fields.push((key, self.value(inside)?));
                }
                Some(Tree::Object(fields))
            }
            b'[' => {
                let (mut elements, inside) = (Vec::new(), levels.checked_sub(1)?);
                while self.enter(b']')? {
                    elements.push(self.value(inside)?);
                }
                Some(Tree::Array(elements))
            }
            b'"' => self.string().map(|text| Tree::Leaf(text.into())),
            _ => {
                let ends = |b: u8| matches!(b, b',' | b']' | b'}') || b.is_ascii_whitespace();
                let length = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
                self.take(length).map(|word| Tree::Leaf(word.into()))
            }
        }
    }

    /// The next byte that is not white space. White space is skipped.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.bytes().next()
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// Skips an opening bracket or a comma. Returns whether another value follows; the `close` bracket is skipped, too.
    fn enter(&mut self, close: u8) -> Option<bool> {
        if self.peek()? != close {
            self.take(1)?;
        }
        if self.peek()? != close {
            return Some(true);
        }
        self.take(1)?;
        Some(false)
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let mut at = 1;
        loop {
            match self.rest.as_bytes().get(at)? {
                b'"' => return self.take(at + 1),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_they_were_read() {
        for (json, expected) in [
            (
                r#"{"b":[1e400, -0.0 ,true],"a\"é":{ } ,"c":[ ],"":"x\"]\\"}"#,
                r#"{"b":[1e400,-0.0,true],"a\"é":{},"c":[],"":"x\"]\\"}"#,
            ),
            (" null ", "null"),
            (r#""\u0041""#, r#""\u0041""#),
            ("[[[]],{\"a\":[{}]}]", "[[[]],{\"a\":[{}]}]"),
        ] {
            let mut out = Vec::new();
            Tree::parse(json).unwrap().write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Tree::parse(&nested(MAX_LEVELS)).is_some());
        assert!(Tree::parse(&nested(MAX_LEVELS + 1)).is_none());
        for cut in ["", "{", "[1", "{\"a\"", "{\"a\":", "\"a", "\"\\"] {
            assert_eq!(Tree::parse(cut), None, "{cut}");
        }
    }

    #[test]
    fn references_are_followed() {
        let tree = Tree::parse(r#"{"$defs":{"a/b~":{"type":"string"}}}"#).unwrap();
        assert_eq!(tree.referred("#/$defs/a~1b~0/type").and_then(Tree::as_str).as_deref(), Some("string"));
        assert_eq!(tree.referred("#"), Some(&tree));
        assert_eq!((tree.referred("#/none"), tree.referred("https://example.com/#")), (None, None));
    }
}
