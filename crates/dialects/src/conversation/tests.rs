use super::*;

fn user(parts: Vec<Content<'static>>) -> Message<'static> {
    Message { role: Role::User, parts: parts.into_iter().map(Part::from).collect() }
}

fn assistant(parts: Vec<Content<'static>>) -> Message<'static> {
    Message { role: Role::Assistant, parts: parts.into_iter().map(Part::from).collect() }
}

fn call(id: &'static str) -> Content<'static> {
    Content::Call(Call { id: id.into(), name: "f".into(), arguments: "{}".into(), signature: None })
}

fn result(id: &'static str) -> Content<'static> {
    let parts = vec![Content::text("r").into()];
    Content::Result(ToolResult { id: id.into(), name: None, parts, failed: false })
}

/// The turns in short: role and, for each part, its text, `call ID` or `result ID`.
fn short(messages: &[Message<'_>], prefill: bool) -> Result<Vec<String>, Invalid> {
    let (system, turns) = turns(messages, TurnRules { prefill })?;
    let part = |part: &Part<'_>| match &part.content {
        Content::Text { text, .. } => text.decode().into_owned(),
        Content::Call(call) => format!("call {}", call.id.decode()),
        Content::Result(r) => format!("result {}{}", r.id.decode(), if r.failed { " failed" } else { "" }),
        other => format!("{other:?}"),
    };
    let system = system.into_iter().map(|p| format!("system: {}", part(p)));
    let turns = turns.iter().map(|turn| {
        let parts: Vec<_> = turn.parts.iter().map(|p| part(p)).collect();
        format!("{:?}: {}", turn.role, parts.join(", "))
    });
    Ok(system.chain(turns).collect())
}

#[test]
fn turns_alternate_and_instructions_stand_apart() {
    let system = |text| Message { role: Role::System, parts: vec![Content::text(text).into()] };
    let text = |text| Content::text(text);
    let messages = [
        system("a"),
        assistant(vec![text("hello")]),
        user(vec![text("one"), text(" \n")]),
        system("b"),
        user(vec![text("two")]),
        assistant(vec![text("")]),
        user(vec![text("three")]),
    ];
    assert_eq!(
        short(&messages, false).unwrap(),
        ["system: a", "system: b", "User: (continue)", "Assistant: hello", "User: one, two, three"]
    );
    let prefilled = [user(vec![text("one")]), assistant(vec![text("two")])];
    assert_eq!(short(&prefilled, true).unwrap(), ["User: one", "Assistant: two"]);
    assert_eq!(short(&prefilled, false).unwrap(), ["User: one", "Assistant: two", "User: (continue)"]);
    assert!(short(&[user(vec![text(" ")])], false).is_err());
    assert!(short(&[], false).is_err());
}

#[test]
fn results_stand_behind_their_calls_in_order() {
    let messages = [
        user(vec![Content::text("go")]),
        assistant(vec![call("a"), call("b"), call("c")]),
        user(vec![Content::text("and"), result("c"), result("a"), result("x"), result("a")]),
        assistant(vec![call("d")]),
    ];
    assert_eq!(
        short(&messages, false).unwrap(),
        [
            "User: go",
            "Assistant: call a, call b, call c",
            "User: result a, result b failed, result c, and, Result of the tool call x:, r, Result of the tool call a:, r",
            "Assistant: call d",
            "User: result d failed",
        ]
    );
    assert_eq!(short(&[assistant(vec![call("a"), call("a")])], false).unwrap_err().field, "messages");
}

#[derive(serde::Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Wire<'a> {
    a: Text<'a>,
    b: Text<'a>,
}

#[test]
fn text_travels_as_it_was_written() {
    let document = r#"{"a":"tab\t é 😀 \ud83d\ude00","b":"lone \ud83d","c":7}"#;
    let wire: Wire<'_> = serde_json::from_str(document).unwrap();
    assert!(matches!(wire.a, Text::Json(_)));
    let mut out = Vec::new();
    wire.a.write(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#""tab\t é 😀 \ud83d\ude00""#);
    assert_eq!(wire.a.decode(), "tab\t é 😀 😀");
    assert!(matches!(wire.b, Text::Plain(_)), "half a pair is no text");
    assert_eq!(wire.b.decode(), "lone \u{fffd}");
    assert!(serde_json::from_str::<Text<'_>>("7").is_err());
    assert!(serde_json::from_str::<Text<'_>>("null").is_err());
}

#[test]
fn blank_is_what_has_no_letter() {
    let blank = |json: &str| serde_json::from_str::<Text<'_>>(json).unwrap().is_blank();
    assert!(blank(r#""""#) && blank(r#"" \n\t ""#) && blank(r#""\u00a0""#) && blank("\"\u{a0}\""));
    assert!(!blank(r#""\n x""#) && !blank(r#""\"""#) && !blank("\"é\""));
}

#[test]
fn names_that_no_provider_takes_are_changed_and_restored() {
    let long = "mcp.server/".repeat(10);
    let mut request = Request {
        tools: vec![
            Tool { name: "plain".into(), description: None, schema: None, strict: None, cache: None },
            Tool { name: long.clone().into(), description: None, schema: None, strict: None, cache: None },
        ],
        tool_choice: Some(ToolChoice::Named(long.clone().into())),
        ..Request::default()
    };
    let names = Names::fit(&mut request);
    assert_eq!(request.tools[0].name, "plain".into());
    let fitted = request.tools[1].name.decode().into_owned();
    assert!(fitted.len() <= 64 && fitted.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named(fitted.clone().into())));
    let mut back = ToolName::from(fitted);
    names.restore(&mut back);
    assert_eq!(back, long.into());
}

#[test]
fn names_begin_with_a_letter_and_are_never_ours() {
    for name in ["1password", "@scope/tool", "-x", "json_output"] {
        let tool = Tool { name: name.into(), description: None, schema: None, strict: None, cache: None };
        let mut request = Request { tools: vec![tool], ..Request::default() };
        let names = Names::fit(&mut request);
        let mut fitted = request.tools.remove(0).name;
        let text = fitted.decode().into_owned();
        assert!(text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.len() <= 64, "{text}");
        assert_ne!(text, "json_output");
        names.restore(&mut fitted);
        assert_eq!(fitted, name.into());
    }
}

#[test]
fn ids_that_fit_stay_and_others_stay_apart() {
    let alnum = |b: u8| b.is_ascii_alphanumeric();
    assert_eq!(safe_id("abcdefghi", 9, alnum), "abcdefghi");
    let (a, b) = (safe_id("call_a", 9, alnum), safe_id("call.a", 9, alnum));
    assert!(a.len() == 9 && a.bytes().all(alnum) && a != b, "{a} {b}");
    assert_eq!(a, safe_id("call_a", 9, alnum));
    assert_eq!(safe_id("", 64, alnum).len(), 16);
}

#[test]
fn signatures_find_their_way_back() {
    let made = Signature { maker: SignatureOrigin::Google, value: "c2ln".into() };
    assert_eq!(made.tagged(SignatureOrigin::Google), "c2ln".into());
    let abroad = made.tagged(SignatureOrigin::Anthropic).into_owned();
    assert_eq!(Signature::untagged(abroad, SignatureOrigin::Anthropic), made);
    let own = Signature::untagged("c2ln".into(), SignatureOrigin::Anthropic);
    assert_eq!(own.maker, SignatureOrigin::Anthropic);
}

#[test]
fn dropped_names_are_kept_once_and_bounded() {
    let mut dropped = Unsupported::default();
    for n in 0..100 {
        dropped.add(format!("field{}", n / 2));
    }
    assert_eq!(dropped.names().len(), Unsupported::MAX);
    let told = dropped.to_string();
    assert!(told.starts_with("field0, field1, ") && told.ends_with(", and 36 more"), "{told}");
    let mut long = Unsupported::default();
    long.add("é".repeat(65));
    assert!(!long.is_empty());
    assert!(long.to_string().ends_with("??...") && long.to_string().is_ascii(), "{long}");
}

#[test]
fn arguments_are_what_every_parser_takes() {
    let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let brackets = format!(r#"{{"a":"{}\"["}}"#, "[".repeat(500));
    for (text, expected) in [
        (r#" {"a":1.0} "#, Some(r#"{"a":1.0}"#)),
        ("", None),
        ("[1]", None),
        (r#"{"a":"#, None),
        (nested(128).as_str(), Some(nested(128).as_str())),
        (nested(129).as_str(), None),
        (brackets.as_str(), Some(brackets.as_str())),
        (r#"{"a":"\ud83d\ude00 \\ud83d"}"#, Some(r#"{"a":"\ud83d\ude00 \\ud83d"}"#)),
        (r#"{"\uDC00":"\ud83d\u0041\ud83d\ud83d\ude00"}"#, Some(r#"{"\ufffd":"\ufffd\u0041\ufffd\ud83d\ude00"}"#)),
        (r#"{"a":"\ud83d"}"#, Some(r#"{"a":"\ufffd"}"#)),
    ] {
        assert_eq!(object_text(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn values_hold_no_half_characters() {
    let schema: Json<'_> = serde_json::from_str(r#"{"\udc00": "\ud83d\ude00"}"#).unwrap();
    assert_eq!(schema.get(), r#"{"\ufffd": "\ud83d\ude00"}"#);
    assert_eq!(Json::parse(r#""\udc00""#).unwrap().get(), r#""\ufffd""#);
}

#[test]
fn a_prefill_is_words_of_the_assistant_at_the_end() {
    let system = || Message { role: Role::System, parts: vec![Content::text("be brief").into()] };
    let thought = || Content::Thinking { text: "hm".into(), signature: None };
    let call = || Call { id: "a".into(), name: "f".into(), arguments: "{}".into(), signature: None };
    for (messages, expected) in [
        (vec![user(vec![Content::text("q")])], false),
        (vec![user(vec![Content::text("q")]), assistant(vec![Content::text("a")])], true),
        (
            vec![
                user(vec![Content::text("q")]),
                assistant(vec![Content::text("a")]),
                system(),
                user(vec![Content::text(" ")]),
            ],
            true,
        ),
        (
            vec![user(vec![Content::text("q")]), assistant(vec![Content::text("a")]), user(vec![Content::text("r")])],
            false,
        ),
        (vec![user(vec![Content::text("q")]), assistant(vec![Content::text("a"), Content::Call(call())])], false),
        (vec![user(vec![Content::text("q")]), assistant(vec![thought()])], false),
        (vec![], false),
    ] {
        assert_eq!(ends_in_prefill(&messages), expected, "{messages:?}");
    }
}

/// The messages in short, each with its role.
fn in_pairs(messages: &[Message<'_>]) -> Vec<String> {
    let part = |part: &Part<'_>| match &part.content {
        Content::Text { text, .. } => text.decode().into_owned(),
        Content::Call(call) => format!("call {}", call.id.decode()),
        Content::Result(r) => match r.parts.first().map(|part| &part.content) {
            Some(Content::Text { text, .. }) => format!("result {}: {}", r.id.decode(), text.decode()),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    };
    let short = |message: &Message<'_>| {
        format!("{:?}: {}", message.role, message.parts.iter().map(part).collect::<Vec<_>>().join(", "))
    };
    paired(messages).iter().map(short).collect()
}

#[test]
fn every_call_has_one_result_and_every_result_its_call() {
    let text = |text| Content::text(text);
    let whole = [
        user(vec![text("go")]),
        assistant(vec![call("a"), call("b")]),
        user(vec![result("b")]),
        user(vec![text("and"), result("a")]),
        assistant(vec![text("done")]),
    ];
    assert!(matches!(paired(&whole), std::borrow::Cow::Borrowed(_)), "nothing is copied where all are in pairs");

    let one_missing = [assistant(vec![call("a"), call("b")]), user(vec![result("b"), result("z"), text("next")])];
    assert_eq!(
        in_pairs(&one_missing),
        [
            "Assistant: call a, call b",
            "User: result a: (no result)",
            "User: result b: r, Result of the tool call z:, r, next"
        ]
    );
    let before_its_call = [user(vec![result("a")]), assistant(vec![call("a")])];
    assert_eq!(
        in_pairs(&before_its_call),
        ["User: Result of the tool call a:, r", "Assistant: call a", "User: result a: (no result)"]
    );
    let twice = [assistant(vec![call("a")]), user(vec![result("a"), result("a")])];
    assert_eq!(in_pairs(&twice), ["Assistant: call a", "User: result a: r, Result of the tool call a:, r"]);
    let an_answer_between =
        [assistant(vec![call("a")]), assistant(vec![text("wait")]), user(vec![result("a")]), user(vec![text("so")])];
    assert_eq!(in_pairs(&an_answer_between), ["Assistant: call a, wait", "User: result a: r", "User: so"]);
    let too_late = [
        assistant(vec![call("a")]),
        user(vec![text("never mind")]),
        assistant(vec![text("ok")]),
        user(vec![result("a")]),
    ];
    assert_eq!(
        in_pairs(&too_late),
        [
            "Assistant: call a",
            "User: result a: (no result)",
            "User: never mind",
            "Assistant: ok",
            "User: Result of the tool call a:, r"
        ]
    );
}
