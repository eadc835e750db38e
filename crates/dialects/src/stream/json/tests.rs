use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::stream::testing::{self, Members};

/// Whether `serde_json` accepts it as an object. Through `RawValue`, which neither decodes keys nor bounds numbers.
fn reference(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().starts_with('{'))
}

#[test]
fn grammar_agrees_with_serde_json() {
    let deep_string = format!("{{\"a\":\"{}\\n{}\"}}", "x".repeat(100), "y".repeat(77));
    let accepted = [
        "{}",
        " \n\t\r{ } ",
        r#"{"a":1}"#,
        r#"{"a":-0.0e-0,"a":[],"b":{},"c":[{},[],"",null]}"#,
        r#"{"\ud800":"\udc00\ud800x"}"#,
        "{\"\u{7f}\":\"é\u{2028}\u{fffd}\"}",
        r#"{"n":1e999999,"m":123456789012345678901234567890}"#,
        &deep_string,
    ];
    for body in accepted {
        assert!(reference(body.as_bytes()), "{body}");
        assert!(TopLevel::scan(body.as_bytes()).is_ok(), "{body}");
    }
    for value in [
        "",
        "01",
        "-",
        "-a",
        "1.",
        ".5",
        "1.e1",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "NaN",
        "nul",
        "nulll",
        "True",
        "'a'",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\",
        "\"a\nb\"",
        "\"a\0\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{,}",
        "{\"a\":1,}",
        "{a:1}",
        "[",
        "{",
        "]",
        "1,",
        "/**/1",
        "\u{a0}1",
        "[[1]",
        "[]]",
        "{\"a\":1]",
    ] {
        let body = format!("{{\"k\":{value}}}");
        assert!(!reference(body.as_bytes()), "{body}");
        assert!(TopLevel::scan(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn errors_tell_the_client_what_and_where() {
    let check = |body: &[u8], expect: &str| {
        assert_eq!(TopLevel::scan(body).unwrap_err().to_string(), expect, "{}", body.escape_ascii());
    };
    check(b"", "body is empty: expected a JSON object");
    check(b" \n", "body is empty: expected a JSON object");
    check(b"{\"a\":\"\xff\"}", "body is not valid JSON: not UTF-8 at byte 6");
    check(b"\xef\xbb\xbf{}", "body is not valid JSON: expected a JSON object at byte 0");
    check(b"[1", "body must be a JSON object, not an array");
    check(b" \"hello\"", "body must be a JSON object, not a string");
    check(b"null", "body must be a JSON object, not null");
    check(b"-12", "body must be a JSON object, not a number");
    check(b"hello", "body is not valid JSON: expected a JSON object at byte 0");
    check(b"{\"messages\" : 1, \"x\" 2}", "body is not valid JSON: expected ':' at byte 21");
    check(b"{\"a\":1", "body is not valid JSON: expected ',' or '}' at byte 6");
    check(b"{\"a\":[1", "body is not valid JSON: expected ',' or ']' at byte 7");
    check(b"{\"a\":1,}", "body is not valid JSON: expected a key in double quotes at byte 7");
    check(b"{\"a\":", "body is not valid JSON: expected a value at byte 5");
    check(b"{\"a\":01}", "body is not valid JSON: expected ',' or '}' at byte 6");
    check(b"{\"a\":\"b", "body is not valid JSON: expected '\"' at the end of a string at byte 7");
    check(
        b"{\"a\":\"\n\"}",
        "body is not valid JSON: expected an escape instead of a control character in a string at byte 6",
    );
    check(b"{\"a\":\"\\x\"}", "body is not valid JSON: expected an escape's letter after '\\' at byte 7");
    check(b"{} {}", "body is not valid JSON: data after the object at byte 3");
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let nested = |open: &str, close: &str, levels: usize| {
        format!("{{\"a\":{}1{}}}", open.repeat(levels - 1), close.repeat(levels - 1)).into_bytes()
    };
    for (open, close) in [("[", "]"), ("{\"b\":", "}"), ("[{\"b\":[", "]}]")] {
        let levels = (MAX_DEPTH - 1) / open.matches(['[', '{']).count() + 1;
        assert!(TopLevel::scan(&nested(open, close, levels)).is_ok(), "{open}");
        let error = TopLevel::scan(&nested(open, close, levels + 1)).unwrap_err();
        assert_eq!(error.kind, JsonErrorKind::TooDeep, "{open}");
    }
    let error = TopLevel::scan(&nested("[", "]", 100_000)).unwrap_err();
    assert_eq!(error, JsonError { kind: JsonErrorKind::TooDeep, offset: 5 + MAX_DEPTH - 1 });
    assert_eq!(error.to_string(), "body is nested deeper than 1024 levels at byte 1028");
}

#[test]
fn members_are_bounded() {
    let body = |count: usize| format!("{{{}}}", vec!["\"\":0"; count].join(",")).into_bytes();
    assert_eq!(TopLevel::scan(&body(MAX_MEMBERS)).unwrap().members().len(), MAX_MEMBERS);
    let error = TopLevel::scan(&body(MAX_MEMBERS + 1)).unwrap_err();
    assert_eq!(error.kind, JsonErrorKind::TooManyMembers);
}

#[test]
fn members_are_borrowed_where_they_stand() {
    let body = br#" { "model" : "gpt" , "n":[1, {"model":"inner"}],"stream":true }"#;
    let top = TopLevel::scan(body).unwrap();
    assert_eq!((top.open_brace(), top.close_brace()), (1, body.len() - 1));
    let keys: Vec<&str> = top.members().iter().map(|member| member.key).collect();
    assert_eq!(keys, ["model", "n", "stream"]);
    let model = top.get("model").unwrap();
    assert_eq!((model.value, model.span.clone(), model.member.clone()), (&b"\"gpt\""[..], 13..18, 3..18));
    assert_eq!(top.get("n").unwrap().value, br#"[1, {"model":"inner"}]"#);
    assert_eq!(top.get("n").unwrap().kind, ValueKind::Array);
    assert_eq!(top.get("stream").unwrap().as_bool(), Some(true));
    assert!(top.get("inner").is_none());
}

#[test]
fn the_last_duplicate_counts_however_its_key_is_written() {
    let top = TopLevel::scan(br#"{"model":1,"mod\u0065l":2,"x":3}"#).unwrap();
    let model = top.get("model").unwrap();
    assert_eq!((model.as_u64(), model.key, model.key_escaped), (Some(2), r"mod\u0065l", true));
    assert_eq!(model.name(), "model");
    assert_eq!(top.all("model").count(), 2);
    assert!(!top.contains(r"mod\u0065l"), "a key is looked up by its text");
    assert!(!top.contains("mode"));
}

#[test]
fn values_are_read_by_kind() {
    let body =
        br#"{"s":"a\"\u00e9","t":true,"f":false,"z":null,"u":18446744073709551615,"o":1e3,"m":-1,"d":1.0,"q":"1"}"#;
    let top = TopLevel::scan(body).unwrap();
    let get = |key: &str| top.get(key).unwrap();
    assert_eq!(get("s").as_str().as_deref(), Some("a\"é"));
    assert!(matches!(get("q").as_str(), Some(Cow::Borrowed("1"))));
    assert_eq!(get("u").as_str(), None);
    assert_eq!((get("t").as_bool(), get("f").as_bool(), get("z").as_bool()), (Some(true), Some(false), None));
    assert_eq!(get("u").as_u64(), Some(u64::MAX));
    for key in ["o", "m", "d", "q", "t"] {
        assert_eq!(get(key).as_u64(), None, "{key}");
    }
    assert!(get("z").is_null() && !get("f").is_null());
}

/// Scan and reference agree on the fields, too.
fn check_members(body: &str) {
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    for member in top.members() {
        assert_eq!(body.as_bytes().get(member.span.clone()), Some(member.value));
        assert_eq!(body.as_bytes()[member.member.start], b'"');
    }
    // Decoding keys and strings, serde_json refuses lone surrogates.
    let Ok(Members(expect)) = serde_json::from_str(body) else { return };
    let found: Vec<_> = top.members().iter().map(|member| (member.name().into_owned(), member.value)).collect();
    let expect: Vec<_> = expect.iter().map(|(key, raw)| (key.clone(), raw.get().as_bytes())).collect();
    assert_eq!(found, expect);
    for member in top.members() {
        if let Ok(text) = serde_json::from_slice::<String>(member.value) {
            assert_eq!(member.as_str().as_deref(), Some(text.as_str()));
        }
        assert_eq!(member.as_u64(), serde_json::from_slice(member.value).ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn valid_objects_are_taken_apart_as_serde_json_does(body in testing::object()) {
        check_members(&body);
    }

    #[test]
    fn other_values_are_no_objects(body in testing::value()) {
        prop_assert_eq!(TopLevel::scan(body.as_bytes()).is_ok(), reference(body.as_bytes()));
    }

    #[test]
    fn mutated_objects_are_judged_as_serde_json_does(
        body in testing::object(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3, prop_oneof![
            any::<u8>(), prop::sample::select(b"\"\\{}[],:0-.eE+tun \n\0\x1f\x7f\x80".as_slice())
        ]), 1..4),
    ) {
        let mut bytes = body.into_bytes();
        for (at, how, byte) in edits {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => { bytes.remove(at); }
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        prop_assert_eq!(TopLevel::scan(&bytes).is_ok(), reference(&bytes), "{}", bytes.escape_ascii());
    }

    #[test]
    fn arbitrary_bytes_are_judged_as_serde_json_does(bytes in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\":,\\ 1ae".as_slice())], 0..40,
    )) {
        prop_assert_eq!(TopLevel::scan(&bytes).is_ok(), reference(&bytes));
    }
}
