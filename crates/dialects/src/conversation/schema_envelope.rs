//! Envelopes for answers whose schema does not describe an object, for providers that only accept schemas of objects.
//! The schema becomes that of an object with one field, and the answer is taken out of the field again.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Content, Json, Part, Text, Tree};
use crate::stream::{TopLevel, json::ObjectWriter};

/// The field of the envelope that holds the answer.
const FIELD: &str = "value";
/// Definitions at the root of a schema, which references name.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Where the schema is inside the envelope's, for references to it.
const PLACE: &str = "/properties/value";
/// Longest beginning of an answer that is held back while it may be that of the envelope, in bytes.
const MAX_HEAD: usize = 1024;
/// Most schemas that are read to find out what one describes: references may form a cycle, and each may lead to many
/// others.
const MAX_SCHEMAS: usize = 256;

/// The schema of an envelope around `schema`, with all fields in their order; `None` if `schema` describes an object
/// already.
pub fn close(schema: &Json<'_>) -> Option<Json<'static>> {
    let (root, mut left) = (Tree::parse(schema.get())?, MAX_SCHEMAS);
    if is_object(&root, &root, &mut left) {
        return None;
    }
    // Works on the text, because models answer in the order of a schema's fields.
    let text = moved(schema.get());
    let top = TopLevel::scan(text.as_bytes()).ok()?;
    let (definitions, own): (Vec<_>, Vec<_>) =
        top.members().iter().partition(|member| DEFINITIONS.contains(&member.key));
    let mut out = Vec::with_capacity(text.len() + 128);
    let mut outer = ObjectWriter::begin(&mut out).with("type", "object");
    let mut properties = outer.object("properties");
    let mut inner = properties.object(FIELD);
    for member in own {
        inner.key(member.key).extend_from_slice(member.value);
    }
    inner.end();
    properties.end();
    outer.field("required", &[FIELD]);
    outer.field("additionalProperties", &false);
    for member in definitions {
        outer.key(member.key).extend_from_slice(member.value);
    }
    outer.end();
    let raw = RawValue::from_string(String::from_utf8(out).ok()?).ok()?;
    Some(Json::from(raw))
}

/// Whether a schema describes an object, or nothing in it excludes one. `left` is how many schemas may still be read.
fn is_object(schema: &Tree<'_>, root: &Tree<'_>, left: &mut usize) -> bool {
    let (Tree::Object(fields), Some(fewer)) = (schema, left.checked_sub(1)) else { return true };
    *left = fewer;
    if let Some(kind) = schema.get("type") {
        return kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("object"));
    }
    let others = ["enum", "const", "anyOf", "oneOf", "items", "prefixItems"];
    let referred = schema.get("$ref").and_then(Tree::as_str).and_then(|to| root.referred(&to));
    let all = schema.get("allOf").map(Tree::elements).into_iter().flatten().take(MAX_SCHEMAS);
    !fields.iter().any(|(key, _)| others.contains(&&**key))
        && referred.into_iter().chain(all).all(|other| is_object(other, root, left))
}

/// The text of a schema whose references are changed to its position in the envelope's.
fn moved(schema: &str) -> String {
    let mut out = String::with_capacity(schema.len());
    let mut rest = schema;
    while let Some((before, behind)) = rest.split_once("\"$ref\"") {
        let value = behind.trim_start().strip_prefix(':').and_then(|value| value.trim_start().strip_prefix("\"#"));
        out.push_str(before);
        out.push_str("\"$ref\"");
        rest = behind;
        let Some(pointer) = value else { continue };
        let stays = DEFINITIONS.iter().any(|name| pointer.strip_prefix('/').is_some_and(|p| p.starts_with(name)));
        out.push_str(behind.get(..behind.len() - pointer.len()).unwrap_or_default());
        if !stays {
            out.push_str(PLACE);
        }
        rest = pointer;
    }
    out.push_str(rest);
    out
}

/// Takes an answer out of its envelope, over however many texts it is spread.
pub fn open_parts(parts: &mut [Part<'_>]) {
    let text_of = |part| match part {
        &mut Part { content: Content::Text { ref mut text, .. }, .. } => Some(text),
        _ => None,
    };
    let mut texts: Vec<&mut Text<'_>> = parts.iter_mut().filter_map(text_of).collect();
    if let [text] = &mut *texts {
        **text = open(&text.decode()).into();
        return;
    }
    let mut opener = Opener::default();
    for text in texts {
        let answer = opener.push(&text.decode());
        *text = (answer + &opener.finish()).into();
    }
}

/// The answer inside the envelope of a whole text; for a text that is cut short or is something else, the part that is
/// there.
fn open(text: &str) -> String {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
    }
    if let Ok(whole) = serde_json::from_str::<Whole<'_>>(text) {
        return whole.value.get().to_owned();
    }
    if serde_json::from_str::<&RawValue>(text).is_ok() {
        return text.to_owned();
    }
    let mut opener = Opener::default();
    opener.push(text) + &opener.finish()
}

/// Takes an answer out of its envelope, incrementally.
#[derive(Debug, Default)]
pub struct Opener {
    state: State,
    /// Text that may be the beginning of the envelope.
    head: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Before,
    /// Inside the answer: the number of open brackets, and the state within a string.
    Inside {
        depth: u32,
        string: bool,
        escaped: bool,
        begun: bool,
    },
    After,
    /// The text is not in an envelope.
    Bare,
}

impl Opener {
    /// The text that `more` of the model's text adds to the answer.
    pub fn push(&mut self, more: &str) -> String {
        match self.state {
            State::Bare => more.to_owned(),
            State::After => String::new(),
            State::Inside { .. } => self.inside(more),
            State::Before => {
                self.head.push_str(more);
                match Head::of(&self.head) {
                    Head::Object { answer: at } if at <= MAX_HEAD => {
                        let head = std::mem::take(&mut self.head);
                        self.state = State::Inside { depth: 0, string: false, escaped: false, begun: false };
                        self.inside(head.get(at..).unwrap_or_default())
                    }
                    Head::Open if self.head.len() <= MAX_HEAD => String::new(),
                    _ => self.finish(),
                }
            }
        }
    }

    /// Returns text that was held back and is not the beginning of an envelope, because a text has ended. Another may
    /// follow.
    pub fn finish(&mut self) -> String {
        if self.state == State::Before && !self.head.trim().is_empty() {
            self.state = State::Bare;
        }
        std::mem::take(&mut self.head)
    }

    fn inside(&mut self, text: &str) -> String {
        let State::Inside { mut depth, mut string, mut escaped, mut begun } = self.state else { return String::new() };
        for (at, c) in text.char_indices() {
            let mut last = false;
            match c {
                _ if escaped => escaped = false,
                '\\' if string => escaped = true,
                '"' => {
                    string = !string;
                    last = !string && depth == 0;
                }
                _ if string => {}
                '{' | '[' => depth += 1,
                // The envelope's own end, or white space before it, after a number or a literal.
                '}' | ',' if depth == 0 => {
                    self.state = State::After;
                    return text.get(..at).unwrap_or_default().trim_end().to_owned();
                }
                c if depth == 0 && begun && c.is_whitespace() => {
                    self.state = State::After;
                    return text.get(..at).unwrap_or_default().to_owned();
                }
                '}' | ']' => {
                    depth = depth.saturating_sub(1);
                    last = depth == 0;
                }
                _ => {}
            }
            begun |= !c.is_whitespace();
            if last {
                self.state = State::After;
                return text.get(..at + c.len_utf8()).unwrap_or_default().to_owned();
            }
        }
        self.state = State::Inside { depth, string, escaped, begun };
        if begun { text.to_owned() } else { String::new() }
    }
}

/// How a text begins.
enum Head {
    /// Like the envelope; its answer begins at this byte.
    Object { answer: usize },
    /// It may still become the envelope's beginning.
    Open,
    /// Not like the envelope.
    Other,
}

impl Head {
    fn of(text: &str) -> Self {
        let mut rest = text.trim_start();
        for piece in ["{", "\"value\"", ":"] {
            rest = match rest.strip_prefix(piece) {
                Some(behind) => behind.trim_start(),
                None if piece.starts_with(rest) => return Self::Open,
                None => return Self::Other,
            };
        }
        Self::Object { answer: text.len() - rest.len() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_of_anything_but_objects_are_closed() {
        let closed = |schema: &str| close(&Json::parse(schema).unwrap()).map(|json| json.value().unwrap());
        let object_by_reference = r##"{"$ref":"#/$defs/A","$defs":{"A":{"type":"object"}}}"##;
        for object in
            [r#"{"type":"object"}"#, r#"{"properties":{}}"#, "{}", r##"{"$ref":"#/none"}"##, object_by_reference]
        {
            assert_eq!(closed(object), None, "{object}");
        }
        // A schema that refers to itself many times is read only once more.
        let round = format!(r#"{{"allOf":[{}]}}"#, vec![r##"{"$ref":"#"}"##; 1000].join(","));
        assert_eq!(closed(&round), None);
        let schema = r##"{"type":"array","items":{"$ref":"#/$defs/A"},"$defs":{"A":{"type":"string"}}}"##;
        let expected = json!({
            "type": "object", "required": ["value"], "additionalProperties": false,
            "properties": {"value": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
            "$defs": {"A": {"type": "string"}},
        });
        assert_eq!(closed(schema), Some(expected));
        let list_by_reference = r##"{"$ref":"#/$defs/A","$defs":{"A":{"type":"array"}}}"##;
        let mixed = r#"{"allOf":[{"type":"array"}]}"#;
        let number = r##"{"type":"array","items":{"enum":["#","*"]}}"##;
        for other in [r#"{"enum":["a"]}"#, r#"{"type":"STRING"}"#, r#"{"type":["object","null"]}"#, r#"{"anyOf":[]}"#]
            .into_iter()
            .chain([list_by_reference, mixed, number])
        {
            assert!(closed(other).is_some(), "{other}");
        }
    }

    #[test]
    fn members_keep_their_order_and_references_their_aim() {
        let schema = r##"{"type":"array","items":{"properties":{"b":{"$ref" : "#/items/properties/a"},"a":{"$ref":"#"},
            "c":{"$ref":"#/definitions/C"}}},"definitions":{"C":{"$ref":"https://example.com/#"}}}"##;
        let expected = r##"{"type":"object","properties":{"value":{"type":"array","items":{"properties":{"b":{"$ref" : "#/properties/value/items/properties/a"},"a":{"$ref":"#/properties/value"},
            "c":{"$ref":"#/definitions/C"}}}}},"required":["value"],"additionalProperties":false,"definitions":{"C":{"$ref":"https://example.com/#"}}}"##;
        assert_eq!(close(&Json::parse(schema).unwrap()).unwrap().get(), expected);
    }

    #[test]
    fn whole_answers_are_taken_out_or_left_as_they_are() {
        for (text, answer) in [
            (" {\"value\": [1] }\n", "[1]"),
            (r#"{"value":12,"unit":"cm"}"#, r#"{"value":12,"unit":"cm"}"#),
            (r#"{"value":["a","b"#, r#"["a","b"#),
            ("words", "words"),
        ] {
            assert_eq!(open(text), answer);
        }
    }

    #[test]
    fn answers_are_taken_out_wherever_they_are_cut() {
        let long = format!("{{{}\"value\":7}}", " ".repeat(MAX_HEAD));
        for (text, answer) in [
            (r#"{"value":["a","}]",{"b":[1]}]}"#, r#"["a","}]",{"b":[1]}]"#),
            (" {\n \"value\" : \"a \\\" } b\" \n}\n", "\"a \\\" } b\""),
            (r#"{"value": 12.5}"#, "12.5"),
            (r#"{"value":null ,"more":1}"#, "null"),
            (&format!("{{{}\"value\":7}}", " ".repeat(100)), "7"),
            (&long, &long),
            (r#"["in no envelope"]"#, r#"["in no envelope"]"#),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            (r#"{"val"#, r#"{"val"#),
            ("é", "é"),
            ("", ""),
        ] {
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let (a, b) = text.split_at(at);
                let mut opener = Opener::default();
                let got = [opener.push(a), opener.push(b), opener.finish()].concat();
                assert_eq!(got.trim_start(), answer, "{text:?} cut at {at}");
            }
            let mut opener = Opener::default();
            let letters: String = text.chars().map(|letter| opener.push(&letter.to_string())).collect();
            assert_eq!((letters + &opener.finish()).trim_start(), answer, "{text:?} letter by letter");
        }
    }
}
