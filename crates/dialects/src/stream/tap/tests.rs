use proptest::prelude::*;

use super::*;
use crate::stream::json::TopLevel;
use crate::stream::testing;

const KEYS: &[&str] = &["usage", "model", "é", "\\"];

/// The results of a tap after these frames.
#[derive(Debug, PartialEq)]
struct Outcome {
    values: Vec<Option<Vec<u8>>>,
    complete: bool,
    failed: bool,
    elements: u64,
}

fn tapped(frames: &[&[u8]]) -> Outcome {
    let mut tap = JsonTap::new(KEYS);
    for frame in frames {
        tap.push(frame);
    }
    Outcome {
        values: (0..KEYS.len()).map(|key| tap.value(key).map(<[u8]>::to_vec)).collect(),
        complete: tap.complete(),
        failed: tap.failed(),
        elements: tap.elements(),
    }
}

/// The same results, from parsing the whole document.
fn expected(document: &str) -> Outcome {
    let trimmed = document.trim();
    let elements: Option<Vec<&serde_json::value::RawValue>> = serde_json::from_str(trimmed).ok();
    let objects = elements.as_ref().map_or(vec![trimmed], |elements| elements.iter().map(|raw| raw.get()).collect());
    let mut values = vec![None; KEYS.len()];
    for object in objects.iter().filter(|object| object.starts_with('{')) {
        let top = TopLevel::scan(object.as_bytes()).unwrap();
        for (key, value) in KEYS.iter().zip(&mut values) {
            if let Some(member) = top.get(key) {
                *value = Some(member.value.to_vec());
            }
        }
    }
    Outcome { values, complete: true, failed: false, elements: elements.map_or(0, |elements| elements.len() as u64) }
}

#[test]
fn top_level_values_are_captured_at_every_split() {
    for document in [
        "{}",
        r#" { "id" : "x\\", "model":"g\"pt" ,"choices":[{"usage":0,"text":"}]\"{"}],"usage":{"a":[1,{"b":"}"}]} } "#,
        r#"{"usage":1,"usage": -2.5e3 ,"mod\u0065l":null}"#,
        "\u{feff}{\"\\u00e9\":true,\"\\\\\":\"\\\\\"}",
        r#"[{"usage":{"n":1}},{"model":"m","x":[]},{"usage":{"n":2}}]"#,
        r#"[1,"a",[{"usage":1}],null,{"usage":[2]},true]"#,
        "[ ]",
    ] {
        let bytes = document.as_bytes();
        let expect = expected(document.trim_start_matches('\u{feff}'));
        assert_eq!(tapped(&[bytes]), expect, "{document}");
        assert_eq!(tapped(&testing::frames(bytes, &[1])), expect, "{document} byte by byte");
        for at in 0..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(tapped(&[head, &[], tail]), expect, "{document} split at {at}");
        }
    }
}

#[test]
fn a_document_cut_short_is_incomplete_and_no_failure() {
    let document = br#"{"model":"m","usage":{"a":1},"x":[{}]}"#;
    for end in 0..document.len() {
        let outcome = tapped(&[&document[..end]]);
        assert!(!outcome.complete && !outcome.failed, "cut at {end}");
        assert_eq!(outcome.values[0].is_some(), end >= 28, "usage when cut at {end}");
        assert_eq!(outcome.values[1].is_some(), end >= 12, "model when cut at {end}");
    }
}

#[test]
fn what_is_no_such_document_fails_silently() {
    for document in ["<html>", "null", "\"a\"", "{1}", "{\"a\" 1}", "{\"a\":}", "{\"a\":x}", "[}", "{]", "data: {}"] {
        let outcome = tapped(&[document.as_bytes()]);
        assert!(outcome.failed && !outcome.complete, "{document}");
    }
    let outcome = tapped(&[br#"{"model":"m",<"#, br#""usage":1}"#]);
    assert!(outcome.failed);
    assert_eq!(
        outcome.values[..2],
        [None, Some(b"\"m\"".to_vec())],
        "what was captured before stays, no more is looked for"
    );
}

#[test]
fn what_follows_the_document_is_not_looked_at() {
    let outcome = tapped(&[br#"{"model":1}"#, br#"{"model":2} garbage"#]);
    assert!(outcome.complete && !outcome.failed);
    assert_eq!(outcome.values[1].as_deref(), Some(&b"1"[..]));
}

#[test]
fn captures_are_bounded() {
    let captured = |length: usize, frame: usize| {
        let text = "x".repeat(length - 2);
        let document = format!(r#"{{"model":1,"model":"{text}","usage":3,"{}":0}}"#, "k".repeat(length));
        let outcome = tapped(&testing::frames(document.as_bytes(), &[frame]));
        assert!(outcome.complete);
        assert_eq!(outcome.values[0].as_deref(), Some(&b"3"[..]), "what follows is captured again");
        outcome.values[1].as_ref().unwrap().len()
    };
    for frame in [1, 1000, usize::MAX] {
        assert_eq!(captured(MAX_CAPTURE, frame), MAX_CAPTURE);
        assert_eq!(captured(MAX_CAPTURE + 1, frame), 1, "the earlier value stays");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn captures_do_not_depend_on_the_split(
        document in prop_oneof![testing::object(), testing::array()],
        lengths in testing::lengths(),
    ) {
        let expect = expected(&document);
        prop_assert_eq!(&tapped(&[document.as_bytes()]), &expect);
        prop_assert_eq!(&tapped(&testing::frames(document.as_bytes(), &lengths)), &expect);
        prop_assert_eq!(&tapped(&testing::frames(document.as_bytes(), &[1])), &expect);
    }

    #[test]
    fn arbitrary_bytes_are_survived_alike_at_any_split(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\":,\\ 1u".as_slice())], 0..60),
        lengths in testing::lengths(),
    ) {
        prop_assert_eq!(tapped(&testing::frames(&bytes, &lengths)), tapped(&[&bytes]));
    }
}
