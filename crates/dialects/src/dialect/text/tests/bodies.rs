//! Bodies that are not streamed: every row of the tables, read and written.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};

use super::word;
use crate::{
    dialect::text::{BodyKind, DialectId, SlotRole, TextKind, TextSlots, When, filter_body, read_texts, write_texts},
    stream::TopLevel,
};

/// A body with `value` at the place of a row, and the fields that the row requires beside it.
fn body(path: &str, when: When, value: &Value) -> Value {
    let (path, leaves) = path.strip_suffix(".**").map_or((path, false), |path| (path, true));
    let mut made = if leaves { json!({ "x": [value] }) } else { value.clone() };
    for (depth, segment) in path.split('.').rev().enumerate() {
        let name = segment.trim_end_matches("[]");
        for _ in 0..(segment.len() - name.len()) / 2 {
            made = json!([made]);
        }
        made = json!({ name: made });
        if depth == 0
            && let When::Field(field, value) = when
        {
            made[field] = if value == "true" { true.into() } else { value.into() };
        }
    }
    made
}

#[test]
fn text_is_read_and_written_at_every_row() {
    for dialect in DialectId::ALL {
        for kind in [BodyKind::Request, BodyKind::Reply, BodyKind::Event] {
            for row in TextSlots::of(dialect).table(kind).rows() {
                let is_text = matches!(row.role, SlotRole::Delta | SlotRole::Repeat | SlotRole::Whole);
                if !is_text || matches!(row.when, When::Event(_)) {
                    continue;
                }
                let path = format!("{}{}", row.within, row.path);
                let text = if row.json { r#"{"a":"a secret\n"}"# } else { "a secret\n" };
                let source = Bytes::from(body(&path, row.when, &text.into()).to_string());
                let top = TopLevel::scan(&source).unwrap();
                let texts = read_texts(dialect, kind, &top).unwrap();
                assert_eq!(texts.len(), 1, "{dialect:?} {kind:?} {path}: {texts:?}");
                assert_eq!((texts[0].text.as_ref(), texts[0].block.kind), (text, row.kind), "{dialect:?} {path}");
                let expected = body(&path, row.when, &text.replace("secret", "******").into());
                let written = write_texts(&source, &[(&texts[0], &text.replace("secret", "******"))]);
                assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), expected, "{dialect:?} {path}");
                if kind != BodyKind::Event {
                    let out = filter_body(dialect, kind, &source, &word("secret", "******")).unwrap();
                    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected, "{dialect:?} {path}");
                }
            }
        }
    }
}

#[test]
fn what_is_beside_the_text_stays_as_it_was() {
    let body = Bytes::from_static(
        br#" {"model" : "secret", "mes\u0073ages":[ {"content":"a s\u0065cret", "role":"system", "name":"secret"},
  {"role":"user","content":[{"type":"text","text":"secret","x":1.0e+3},
  {"type":"image_url","image_url":{"url":"secret"}}]},
  {"role":"tool","tool_call_id":"secret","content":"secret"} ], "n":1, "metadata":{"messages":"secret"} } "#,
    );
    let expected = std::str::from_utf8(&body).unwrap();
    let expected = expected.replace("a s\\u0065cret", "a **").replace("\"text\":\"secret\"", "\"text\":\"**\"");
    let expected = expected.replace("\"content\":\"secret\"", "\"content\":\"**\"");
    let out = filter_body(DialectId::Chat, BodyKind::Request, &body, &word("secret", "**")).unwrap();
    assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    let top = TopLevel::scan(&body).unwrap();
    let kinds: Vec<_> =
        read_texts(DialectId::Chat, BodyKind::Request, &top).unwrap().iter().map(|t| t.block.kind).collect();
    assert_eq!(kinds, [TextKind::System, TextKind::User, TextKind::ToolResult]);
}

#[test]
fn the_role_is_found_on_either_side_of_the_text() {
    for (dialect, body) in [
        (
            DialectId::Messages,
            r#"{"messages":[{"content":"x","role":"assistant"},{"role":"user","content":[{"text":"y"}]}]}"#,
        ),
        (DialectId::Gemini, r#"{"contents":[{"parts":[{"text":"x"}],"role":"model"},{"parts":[{"text":"y"}]}]}"#),
        (
            DialectId::Converse,
            r#"{"messages":[{"content":[{"text":"x"}],"role":"assistant"},{"role":"user","content":[{"text":"y"}]}]}"#,
        ),
        (
            DialectId::Responses,
            r#"{"input":[{"content":"x","role":"assistant"},{"role":"user","content":[{"text":"y"}]}]}"#,
        ),
    ] {
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        let texts = read_texts(dialect, BodyKind::Request, &top).unwrap();
        let seen: Vec<_> = texts.iter().map(|text| (text.block.kind, text.text.as_ref())).collect();
        assert_eq!(seen, [(TextKind::Assistant, "x"), (TextKind::User, "y")], "{dialect:?}");
    }
}

#[test]
fn numbers_of_replies_count_answers_and_blocks() {
    let body = r#"{"choices":[{"index":1,"message":{"content":"b"}},{"message":{"content":"c","tool_calls":[
        {"function":{"arguments":"{}"}},{"function":{"arguments":"[]"}}]},"index":0}]}"#;
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let texts = read_texts(DialectId::Chat, BodyKind::Reply, &top).unwrap();
    let seen: Vec<_> = texts.iter().map(|text| (text.block.choice, text.block.block, text.text.as_ref())).collect();
    assert_eq!(seen, [(1, 0, "b"), (0, 0, "c"), (0, 0, "{}"), (0, 1, "[]")]);
}

#[test]
fn signed_text_of_requests_is_looked_at_only() {
    let body = Bytes::from_static(
        br#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"secret","signature":"s"},
        {"type":"thinking","thinking":"secret","signature":""}]}]}"#,
    );
    let out = filter_body(DialectId::Messages, BodyKind::Request, &body, &word("secret", "**")).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    let content = &out["messages"][0]["content"];
    assert_eq!((&content[0]["thinking"], &content[1]["thinking"]), (&json!("secret"), &json!("**")));
}

#[test]
fn a_signature_takes_no_text_of_a_client_from_filters() {
    for (dialect, body) in [
        (DialectId::Gemini, r#"{"contents":[{"role":"user","parts":[{"text":"secret","thoughtSignature":"x"}]}]}"#),
        (DialectId::Gemini, r#"{"thoughtSignature":"x","contents":[{"role":"user","parts":[{"text":"secret"}]}]}"#),
        (DialectId::Gemini, r#"{"contents":[{"role":"model","parts":[{"text":"secret","thoughtSignature":"x"}]}]}"#),
        (
            DialectId::Messages,
            r#"{"signature":"x","messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"secret"}]}]}"#,
        ),
        (
            DialectId::Responses,
            r#"{"encrypted_content":"x","input":[{"type":"reasoning","summary":[{"type":"summary_text","text":"secret"}]}]}"#,
        ),
    ] {
        let body = Bytes::from_static(body.as_bytes());
        let out = filter_body(dialect, BodyKind::Request, &body, &word("secret", "**")).unwrap();
        let out = String::from_utf8(out.to_vec()).unwrap();
        assert!(out.contains("**") && !out.contains("secret"), "{out}");
    }
}

#[test]
fn arguments_stay_json() {
    let filter = |arguments: &str| {
        let body =
            json!({ "choices": [{ "message": { "tool_calls": [{ "function": { "arguments": arguments } }] } }] });
        let out = filter_body(DialectId::Chat, BodyKind::Reply, &body.to_string().into(), &word("12", "\"")).unwrap();
        let out: Value = serde_json::from_slice(&out).unwrap();
        out["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap().to_owned()
    };
    for (arguments, expected) in [
        (r#"{ "12" : 12, "b": ["x12", 3, 112] }"#, r#"{ "12" : "\"", "b": ["x\"", 3, "1\""] }"#),
        (r#""12""#, r#""\"""#),
        ("", ""),
        ("{}", "{}"),
        // A document that is not JSON is filtered as one text.
        (r#"{"a":"12"#, r#"{"a":"""#),
        (r#"1,"b":"12""#, r#"1,"b":""""#),
        (r#"1},{"b":"12""#, r#"1},{"b":""""#),
    ] {
        assert_eq!(filter(arguments), expected, "{arguments}");
    }
}

#[test]
fn what_repeats_tokens_is_taken_out() {
    let body = Bytes::from(
        json!({ "choices": [{ "message": { "content": "x" }, "logprobs": { "content": [{ "token": "secret" }] } }] })
            .to_string(),
    );
    let out = filter_body(DialectId::Chat, BodyKind::Reply, &body, &word("zzz", "")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["choices"][0]["logprobs"], Value::Null);
}

#[test]
fn parts_of_one_block_are_one_text() {
    let body = Bytes::from_static(br#"{"candidates":[{"content":{"parts":[{"text":"a sec"},{"text":"ret sec"}]}}]}"#);
    let out = filter_body(DialectId::Gemini, BodyKind::Reply, &body, &word("secret", "*")).unwrap();
    assert_eq!(out, br#"{"candidates":[{"content":{"parts":[{"text":"a "},{"text":"* sec"}]}}]}"#.as_slice());
}

#[test]
fn bodies_of_too_many_texts_are_refused() {
    let body = Bytes::from(json!({ "contents": vec!["a"; 70_000] }).to_string());
    assert!(filter_body(DialectId::Gemini, BodyKind::Request, &body, &word("secret", "*")).is_err());
    assert!(filter_body(DialectId::Gemini, BodyKind::Reply, &Bytes::from_static(b"<html>"), &word("a", "b")).is_err());
}

#[test]
fn paths_are_written_once() {
    for dialect in DialectId::ALL {
        let request = TextSlots::of(dialect).table(BodyKind::Request);
        let mut seen = BTreeSet::new();
        assert!(
            request.rows().iter().all(|row| seen.insert((row.within, row.path, format!("{:?}", row.when)))),
            "{dialect:?}"
        );
    }
}
