//! JSON texts and ways to split them, for the property tests of this folder.

use proptest::prelude::*;

/// Field names: few, so that duplicates and hits are frequent, some of them written with escapes.
const KEYS: &[&str] = &[
    "model",
    "mod\\u0065l",
    "usage",
    "\\u0075sage",
    "id",
    "",
    "é",
    "\\\\",
    "models",
    "\\ud800",
    "a longer key than any",
];

fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \n\r\t]{1,3}"]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z{}\\[\\],: ]{0,20}",
        1 => Just(r#"\""#.to_owned()),
        1 => Just(r"\\".to_owned()),
        1 => Just(r"\n\/\u00e9".to_owned()),
        1 => Just(r"\ud83d\ude00".to_owned()),
        1 => Just("é€😀".to_owned()),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(KEYS).prop_map(|key| format!("\"{key}\"")), 1 => string()]
}

/// A JSON text of any kind, white space outside of it excluded.
pub(super) fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned()),
        "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        string(),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            (space(), prop::collection::vec((space(), inner.clone(), space()), 0..6)).prop_map(|(empty, items)| {
                let items: Vec<String> = items.into_iter().map(|(a, item, b)| a + &item + &b).collect();
                if items.is_empty() { format!("[{empty}]") } else { format!("[{}]", items.join(",")) }
            }),
            object_of(inner),
        ]
    })
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), key(), space(), space(), value, space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    (space(), prop::collection::vec(member, 0..8)).prop_map(|(empty, members)| {
        if members.is_empty() { format!("{{{empty}}}") } else { format!("{{{}}}", members.join(",")) }
    })
}

/// A JSON object such as a body may contain.
pub(super) fn object() -> impl Strategy<Value = String> {
    (space(), object_of(value()), space()).prop_map(|(a, object, b)| a + &object + &b)
}

/// A JSON array, mostly of objects.
pub(super) fn array() -> impl Strategy<Value = String> {
    let element = prop_oneof![5 => object(), 1 => value()];
    prop::collection::vec(element, 0..5).prop_map(|elements| format!("[{}]", elements.join(",")))
}

/// Lengths of frames, used in turn.
pub(super) fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![1 => Just(vec![1]), 4 => prop::collection::vec(1_usize..40, 1..6)]
}

/// Cuts `bytes` into frames of these lengths.
pub(super) fn frames<'b>(mut bytes: &'b [u8], lengths: &[usize]) -> Vec<&'b [u8]> {
    let mut frames = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (frame, rest) = bytes.split_at((*length).min(bytes.len()));
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// The fields of an object as `serde_json` finds them, in order and with duplicates.
pub(super) struct Members(pub(super) Vec<(String, Box<serde_json::value::RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
