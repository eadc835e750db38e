//! Tools that take free text, carried as functions with one string argument.
//!
//! The declaration's grammar becomes a part of the description, and the text becomes the argument. In replies the text
//! of a call is taken out of its arguments again: at once, or as it arrives.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Json, Text};
use crate::stream::{
    TopLevel, ValueKind,
    json::{ObjectWriter, unescape},
};

/// The argument that holds the text.
const INPUT: &str = "input";
/// The schema of the function.
const SCHEMA: &str = concat!(
    r#"{"type":"object","properties":{"input":{"type":"string","#,
    r#""description":"The whole input of the tool, as plain text."}},"required":["input"]}"#,
);

/// The form of the text that a tool takes: any text, or that of a grammar. Chat Completions has the grammar in an
/// object of its own.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct TextFormat<'a> {
    syntax: Option<Text<'a>>,
    definition: Option<Text<'a>>,
    grammar: Option<Box<TextFormat<'a>>>,
}

/// The schema of the function that carries such a tool.
pub fn schema() -> Option<Json<'static>> {
    Json::parse(SCHEMA).ok()
}

/// The description of the function: the tool's own, and its grammar.
pub fn description<'a>(own: Option<Text<'a>>, format: Option<TextFormat<'a>>) -> Option<Text<'a>> {
    let format = format
        .map(|format| format.grammar.map_or_else(|| (format.syntax, format.definition), |g| (g.syntax, g.definition)));
    let Some((syntax, Some(definition))) = format else { return own };
    let syntax = syntax.map_or(Cow::Borrowed("this"), Text::into_decoded);
    let mut all = own.map(|own| own.into_decoded().into_owned()).filter(|own| !own.is_empty()).unwrap_or_default();
    if !all.is_empty() {
        all.push_str("\n\n");
    }
    all.push_str("`input` must match this grammar (");
    all.push_str(&syntax);
    all.push_str("):\n");
    all.push_str(&definition.decode());
    Some(all.into())
}

/// The arguments of a call with this text.
pub fn arguments(text: &Text<'_>) -> Cow<'static, str> {
    let mut out = Vec::with_capacity(text.size() + 16);
    let mut object = ObjectWriter::begin(&mut out);
    text.write(object.key(INPUT));
    object.end();
    String::from_utf8(out).unwrap_or_default().into()
}

/// The text in the arguments of a call, and whether it is whole.
pub fn text_of(arguments: &str) -> (String, bool) {
    let mut reader = TextReader::default();
    let mut text = reader.push(arguments);
    let (rest, whole) = reader.finish();
    text.push_str(&rest);
    (text, whole)
}

/// Takes the text out of the arguments of a call as they arrive.
///
/// Models may use another name for the argument, or write no JSON at all: what is not in `input` is kept, and decided
/// at the end.
#[derive(Default)]
pub struct TextReader {
    state: State,
    /// All arguments, until the text has begun.
    all: String,
    /// The key that is being read, and text that may end within an escape.
    held: String,
    escaped: bool,
    /// Whether the text has begun, and whether it has ended.
    begun: bool,
    ended: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before the object.
    #[default]
    Before,
    /// Between fields.
    Field,
    Key,
    /// Between a key and its value.
    Colon,
    /// In a string; `true` for the text itself.
    String(bool),
    /// In an object or array, this many levels deep; and whether in a string of it.
    Nested(u32, bool),
    /// In a number or word.
    Scalar,
    /// Behind the object, or in something that is none.
    After,
}

impl TextReader {
    /// Reads more arguments. Returns the text that is certain by now.
    pub fn push(&mut self, arguments: &str) -> String {
        if !self.begun {
            self.all.push_str(arguments);
        }
        for c in arguments.chars() {
            self.read(c);
        }
        if self.begun {
            self.all = String::new();
        }
        if !self.begun {
            return String::new();
        }
        let certain = self.certain();
        let rest = self.held.split_off(certain);
        unescape(&std::mem::replace(&mut self.held, rest)).into_owned()
    }

    /// How many bytes of what is held can be decoded whatever follows.
    fn certain(&self) -> usize {
        if self.ended { self.held.len() } else { certain(&self.held) }
    }

    /// The arguments have ended. Returns the remaining text, and whether it is whole.
    pub fn finish(mut self) -> (String, bool) {
        if self.begun {
            self.held.truncate(self.certain());
            return (unescape(&self.held).into_owned(), self.ended);
        }
        other_text(&self.all)
    }

    fn read(&mut self, c: char) {
        let blank = c.is_ascii_whitespace();
        self.state = match self.state {
            State::Before if blank => State::Before,
            State::Before if c == '{' => State::Field,
            State::Field if blank || c == ',' => State::Field,
            State::Field if c == '"' => {
                if !self.ended {
                    self.held.clear();
                }
                State::Key
            }
            State::Key => self.string(c, State::Key, State::Colon),
            State::Colon if blank || c == ':' => State::Colon,
            State::Colon => self.value(c),
            State::String(ours) => {
                let next = self.string(c, State::String(ours), State::Field);
                self.ended |= ours && next == State::Field;
                next
            }
            State::Nested(depth, true) => self.string(c, State::Nested(depth, true), State::Nested(depth, false)),
            State::Nested(depth, false) => match c {
                '"' => State::Nested(depth, true),
                '{' | '[' => State::Nested(depth.saturating_add(1), false),
                '}' | ']' if depth <= 1 => State::Field,
                '}' | ']' => State::Nested(depth - 1, false),
                _ => State::Nested(depth, false),
            },
            State::Scalar if c == ',' => State::Field,
            State::Scalar if c == '}' => State::After,
            State::Scalar => State::Scalar,
            State::Before | State::Field | State::After => State::After,
        };
    }

    /// A value begins.
    fn value(&mut self, c: char) -> State {
        match c {
            '"' => {
                let ours = !self.begun && unescape(&self.held) == INPUT;
                self.begun |= ours;
                if !self.ended {
                    self.held.clear();
                }
                State::String(ours)
            }
            '{' | '[' => State::Nested(1, false),
            _ => State::Scalar,
        }
    }

    /// The next character of a string. Only that of keys and of the text is kept.
    fn string(&mut self, c: char, inside: State, after: State) -> State {
        let kept = !self.ended && matches!(inside, State::Key | State::String(true));
        if self.escaped {
            self.escaped = false;
        } else if c == '"' {
            return after;
        } else {
            self.escaped = c == '\\';
        }
        if kept {
            self.held.push(c);
        }
        inside
    }
}

/// How many bytes of a string's content can be decoded whatever follows: an escape or a surrogate pair may be split.
fn certain(content: &str) -> usize {
    let bytes = content.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        let high =
            matches!(bytes.get(at + 1..at + 4), Some([b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']));
        let length = match bytes.get(at + 1) {
            Some(b'u') if high && bytes.get(at + 6).is_none_or(|next| *next == b'\\') => 12,
            Some(b'u') => 6,
            _ => 2,
        };
        if at + length > bytes.len() {
            return at;
        }
        at += length;
    }
    bytes.len()
}

/// The text in arguments without the expected field, and whether it is whole: the only string of an object, or what the
/// model has written instead of an object.
fn other_text(arguments: &str) -> (String, bool) {
    let trimmed = arguments.trim();
    if let Ok(text) = serde_json::from_str::<Text<'_>>(trimmed) {
        return (text.into_decoded().into_owned(), true);
    }
    if !trimmed.starts_with('{') {
        return (arguments.to_owned(), true);
    }
    match TopLevel::scan(trimmed.as_bytes()).as_ref().map(TopLevel::members) {
        Ok([]) => (String::new(), true),
        Ok([only]) if only.kind == ValueKind::String => (only.as_str().unwrap_or_default().into_owned(), true),
        Ok(_) => (arguments.to_owned(), true),
        Err(_) => (String::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of arguments that arrive in pieces of `size` characters.
    fn in_pieces(arguments: &str, size: usize) -> (String, bool) {
        let mut reader = TextReader::default();
        let chars: Vec<char> = arguments.chars().collect();
        let mut text: String = chars.chunks(size).map(|piece| reader.push(&piece.iter().collect::<String>())).collect();
        let (rest, whole) = reader.finish();
        text.push_str(&rest);
        (text, whole)
    }

    #[test]
    fn the_text_of_a_call_is_that_of_its_argument_however_it_arrives() {
        for (arguments, text, whole) in [
            (r#"{"input":"*** Begin Patch\n*** End Patch"}"#, "*** Begin Patch\n*** End Patch", true),
            (r#" { "input" : "a\"b\\" } "#, "a\"b\\", true),
            (r#"{"why":{"input":"no","x":["}"]},"n":1,"input":"yes","z":"later"}"#, "yes", true),
            (r#"{"in\u0070ut":"\ud83d\ude00\u00e9\t"}"#, "\u{1f600}\u{e9}\t", true),
            (r#"{"input":"\ud83dx"}"#, "\u{fffd}x", true),
            (r#"{"input":""}"#, "", true),
            ("{\"input\":\"two\nlines\"}", "two\nlines", true),
            (r#"{"patch":"other name"}"#, "other name", true),
            (r#"{"a":"x","b":"y"}"#, r#"{"a":"x","b":"y"}"#, true),
            ("plain text", "plain text", true),
            (r#""a string""#, "a string", true),
            ("{}", "", true),
            ("", "", true),
            (r#"{"input":"cut o"#, "cut o", false),
            (r#"{"input":"cut \u00"#, "cut ", false),
            (r#"{"inp"#, "", false),
            (r#"{"input":"done","mo"#, "done", true),
        ] {
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(in_pieces(arguments, size), (text.to_owned(), whole), "{arguments} by {size}");
            }
            assert_eq!(text_of(arguments), (text.to_owned(), whole), "{arguments}");
        }
    }

    #[test]
    fn arguments_hold_the_text_as_it_is() {
        for text in ["", "a\"b\\\n\u{1f600}", "{\"input\":\"x\"}"] {
            assert_eq!(text_of(&arguments(&Text::from(text))), (text.to_owned(), true));
        }
    }

    #[test]
    fn text_is_passed_on_as_soon_as_it_is_certain() {
        let mut reader = TextReader::default();
        assert_eq!(reader.push(r#"{"input":"ab"#), "ab");
        assert_eq!(reader.push(r"c\"), "c");
        assert_eq!(reader.push("nd"), "\nd");
        assert_eq!(reader.push(r"\ud83d"), "");
        assert_eq!(reader.push(r"\ude00"), "\u{1f600}");
        assert_eq!(reader.push("\"}"), "");
        assert_eq!(reader.finish(), (String::new(), true));
    }

    #[test]
    fn a_grammar_is_a_part_of_the_description() {
        let format = |json: &'static str| serde_json::from_str::<TextFormat<'_>>(json).ok();
        let flat = format(r#"{"type":"grammar","syntax":"lark","definition":"start: \"a\""}"#);
        let nested = format(r#"{"type":"grammar","grammar":{"syntax":"lark","definition":"start: \"a\""}}"#);
        for format in [flat, nested] {
            let text = description(Some("Edits files.".into()), format).unwrap();
            assert_eq!(text.decode(), "Edits files.\n\n`input` must match this grammar (lark):\nstart: \"a\"");
        }
        assert_eq!(description(Some("d".into()), format(r#"{"type":"text"}"#)), Some("d".into()));
        assert_eq!(description(None, None), None);
    }
}
