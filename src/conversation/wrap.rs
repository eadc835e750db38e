//! Answers whose schema is no object's, for providers that take none but an object's: the schema is put into an object, and the answer
//! is taken out of it again.

use serde_json::{Map, Value, json};

use super::Json;

/// The member of the object that holds the answer.
const MEMBER: &str = "value";
/// Definitions, to which references lead from the root.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Longest beginning of an answer that is kept while it may be that of the object, in bytes.
const MAX_HEAD: usize = 64;

/// The schema of an object around what `schema` describes; `None` if that is an object already, or refers to itself.
pub fn wrap(schema: &Json<'_>) -> Option<Json<'static>> {
    let Value::Object(mut inner) = schema.value().ok()? else { return None };
    if is_object(&inner) || schema.get().contains(r##""#""##) {
        return None;
    }
    let mut outer = Map::new();
    for name in DEFINITIONS {
        outer.extend(inner.remove(name).map(|definitions| (name.to_owned(), definitions)));
    }
    outer.insert("type".into(), "object".into());
    outer.insert("properties".into(), json!({ MEMBER: inner }));
    outer.insert("required".into(), json!([MEMBER]));
    outer.insert("additionalProperties".into(), false.into());
    Some(Json::of(&Value::Object(outer)))
}

/// Whether a schema describes an object, or says nothing against one.
fn is_object(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind.eq_ignore_ascii_case("object"),
        Some(_) => false,
        None => {
            !["enum", "const", "anyOf", "oneOf", "items", "prefixItems"].iter().any(|key| schema.contains_key(*key))
        }
    }
}

/// Takes the answer out of the object, as it comes.
#[derive(Debug, Default)]
pub struct Unwrap {
    state: State,
    /// What may be the beginning of the object.
    head: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Before,
    /// In the answer: open brackets, and where in a string.
    Inside {
        depth: u32,
        string: bool,
        escaped: bool,
        begun: bool,
    },
    After,
    /// It is not in such an object.
    Bare,
}

impl Unwrap {
    /// What `more` of the model's text adds to the answer.
    pub fn push(&mut self, more: &str) -> String {
        match self.state {
            State::Bare => more.to_owned(),
            State::After => String::new(),
            State::Inside { .. } => self.inside(more),
            State::Before => {
                self.head.push_str(more);
                match Head::of(&self.head) {
                    Head::Object { answer: at } => {
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

    /// What was held back and is not the beginning of such an object.
    pub fn finish(&mut self) -> String {
        if self.state == State::Before {
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
                // The object's own end, or white space before it, behind a number or a word.
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
    /// As the object does; its answer begins at this byte.
    Object { answer: usize },
    /// It may still do so.
    Open,
    /// In another way.
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
    use super::*;

    #[test]
    fn schemas_of_anything_but_objects_are_wrapped() {
        let wrapped = |schema: &str| wrap(&Json::parse(schema).unwrap()).map(|json| json.value().unwrap());
        for object in [r#"{"type":"object"}"#, r#"{"properties":{}}"#, "{}", r##"{"$ref":"#/$defs/A"}"##] {
            assert_eq!(wrapped(object), None, "{object}");
        }
        assert_eq!(wrapped(r##"{"type":"array","items":{"$ref":"#"}}"##), None, "it refers to itself");
        let schema = r##"{"type":"array","items":{"$ref":"#/$defs/A"},"$defs":{"A":{"type":"string"}}}"##;
        let expected = json!({
            "type": "object", "required": ["value"], "additionalProperties": false,
            "properties": {"value": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
            "$defs": {"A": {"type": "string"}},
        });
        assert_eq!(wrapped(schema), Some(expected));
        for other in [r#"{"enum":["a"]}"#, r#"{"type":"STRING"}"#, r#"{"type":["object","null"]}"#, r#"{"anyOf":[]}"#] {
            assert!(wrapped(other).is_some(), "{other}");
        }
    }

    #[test]
    fn answers_are_taken_out_wherever_they_are_cut() {
        for (text, answer) in [
            (r#"{"value":["a","}]",{"b":[1]}]}"#, r#"["a","}]",{"b":[1]}]"#),
            (" {\n \"value\" : \"a \\\" } b\" \n}\n", "\"a \\\" } b\""),
            (r#"{"value": 12.5}"#, "12.5"),
            (r#"{"value":null ,"more":1}"#, "null"),
            (r#"["not wrapped"]"#, r#"["not wrapped"]"#),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            (r#"{"val"#, r#"{"val"#),
            ("é", "é"),
            ("", ""),
        ] {
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let (a, b) = text.split_at(at);
                let mut unwrap = Unwrap::default();
                let got = [unwrap.push(a), unwrap.push(b), unwrap.finish()].concat();
                assert_eq!(got.trim_start(), answer, "{text:?} cut at {at}");
            }
        }
    }
}
