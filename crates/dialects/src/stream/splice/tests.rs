use proptest::prelude::*;

use super::*;
use crate::stream::testing;

const KEYS: [&str; 4] = ["model", "usage", "absent \"quoted\"", ""];

/// Applies edits, `None` removing, in both ways, which must agree.
fn edited(body: &str, edits: &[(&'static str, Option<&'static str>)]) -> String {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let top = TopLevel::scan(&bytes).unwrap();
    let build = || {
        let mut splice = Splice::new(&top);
        for (key, value) in edits {
            match value {
                Some(value) => splice.set(*key, value.as_bytes()),
                None => splice.remove(*key),
            }
        }
        splice
    };
    let whole = build().apply(&bytes);
    assert_eq!(build().apply_in_parts(&bytes).concat(), whole);
    String::from_utf8(whole.to_vec()).unwrap()
}

#[test]
fn members_are_replaced_inserted_and_removed() {
    let check = |body: &str, edits: &[(&'static str, Option<&'static str>)], expect: &str| {
        assert_eq!(edited(body, edits), expect, "{body} with {edits:?}");
    };
    let set = |key, value| (key, Some(value));
    let remove = |key| (key, None);
    check(r#"{"a":1.0, "model" : "x" }"#, &[set("model", "\"y\"")], r#"{"a":1.0, "model" : "y" }"#);
    check(r#"{"model":1,"mod\u0065l":[2],"b":3}"#, &[set("model", "0")], r#"{"model":0,"mod\u0065l":0,"b":3}"#);
    check("{}", &[set("a", "1")], r#"{"a":1}"#);
    check(" { } ", &[set("a", "1"), set("b", "2")], r#" {"a":1,"b":2 } "#);
    check(r#"{ "x":0 }"#, &[set("a", "1")], r#"{"a":1, "x":0 }"#);
    check("{}", &[set("a\"\n", "1")], r#"{"a\"\n":1}"#);
    check(r#"{"a":1 , "b":2 , "c":3}"#, &[remove("a")], r#"{"b":2 , "c":3}"#);
    check(r#"{"a":1 , "b":2 , "c":3}"#, &[remove("b")], r#"{"a":1 , "c":3}"#);
    check(r#"{"a":1 , "b":2 , "c":3 }"#, &[remove("c")], r#"{"a":1 , "b":2 }"#);
    check(r#"{ "a":1 , "b":2 }"#, &[remove("a"), remove("b")], "{ }");
    check(r#"{"a":1,"b":2,"a":3,"a":4}"#, &[remove("a")], r#"{"b":2}"#);
    check(r#"{"a":1}"#, &[remove("a"), set("b", "2")], r#"{"b":2}"#);
    check(r#"{"a":1,"c":3}"#, &[remove("a"), set("b", "2")], r#"{"b":2,"c":3}"#);
    check(r#"{"a":1}"#, &[set("a", "2"), remove("a")], "{}");
    check(r#"{"a":1}"#, &[remove("a"), set("a", "2")], r#"{"a":2}"#);
    check(r#"{"a":1}"#, &[remove("b")], r#"{"a":1}"#);
}

#[test]
fn strings_are_quoted() {
    let body = Bytes::from_static(b"{}");
    let top = TopLevel::scan(&body).unwrap();
    let mut splice = Splice::new(&top);
    splice.set_str("model", "a\"b\\c\u{1}é");
    assert_eq!(splice.apply(&body), r#"{"model":"a\"b\\c\u0001é"}"#);
}

#[test]
fn without_edits_nothing_is_copied() {
    let body = Bytes::from_static(br#"{"a":1}"#);
    let top = TopLevel::scan(&body).unwrap();
    assert!(Splice::new(&top).is_empty());
    assert_eq!(Splice::new(&top).apply(&body).as_ptr(), body.as_ptr());
    let parts = Splice::new(&top).apply_in_parts(&body);
    assert_eq!((parts.len(), parts[0].as_ptr()), (1, body.as_ptr()));
}

#[test]
fn parts_share_what_stays() {
    let body = Bytes::from(format!(r#"{{"prompt":"{}","model":"x","b":1}}"#, "p".repeat(1000)));
    let top = TopLevel::scan(&body).unwrap();
    let mut splice = Splice::new(&top);
    splice.set("model", b"\"other\"");
    let parts = splice.apply_in_parts(&body);
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[0].as_ptr(), body.as_ptr());
    assert_eq!(parts[1], "\"other\"");
    assert_eq!(parts[2], r#","b":1}"#);
}

proptest! {
    #[test]
    fn what_is_not_edited_stays_as_it_was(
        body in testing::object(),
        edits in prop::collection::vec(
            (prop::sample::select(&KEYS[..]), prop::sample::select(&[None, Some("{\"new\": [1]}"), Some("0")][..])), 0..4),
    ) {
        let after = edited(&body, &edits);
        let top = TopLevel::scan(after.as_bytes()).unwrap();
        let before = TopLevel::scan(body.as_bytes()).unwrap();
        let last = |key: &str| edits.iter().rev().find(|edit| edit.0 == key).map(|edit| edit.1);

        let untouched = |text: &str, members: &[Member<'_>]| -> Vec<String> {
            members.iter().filter(|m| last(&m.name()).is_none()).map(|m| text[m.member.clone()].to_owned()).collect()
        };
        prop_assert_eq!(untouched(&after, top.members()), untouched(&body, before.members()));
        for key in KEYS {
            match last(key) {
                Some(Some(value)) => {
                    prop_assert_eq!(top.all(key).count(), before.all(key).count().max(1));
                    prop_assert!(top.all(key).all(|member| member.value == value.as_bytes()));
                }
                Some(None) => prop_assert!(!top.contains(key)),
                None => {}
            }
        }
        if edits.is_empty() {
            prop_assert_eq!(&after, &body);
        }
    }
}
