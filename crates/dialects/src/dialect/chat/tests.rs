use super::*;
use crate::{
    conversation::{
        BlockStart, Call, Citation, Content, Event, Finish, Message, Role, Signature, SignatureOrigin, TokenUsage,
    },
    dialect::{
        ModelFacts, Quirks, StreamMode, golden,
        presets::{AZURE, COMPATIBLE, DEEPSEEK, MISTRAL, OPENAI, OPENROUTER},
    },
};

fn to(quirks: &'static Quirks, model: &'static str) -> Destination<'static> {
    Destination { model, facts: ModelFacts::of(model), quirks }
}

#[test]
fn golden_requests() {
    let check = |folder: &str, quirks, model| golden::requests(&format!("chat/{folder}"), &Chat, &to(quirks, model));
    check("requests", OPENAI, "gpt-4o");
    check("requests-reasoning", AZURE, "o3");
    check("requests-mistral", MISTRAL, "mistral-large-latest");
    check("requests-deepseek", DEEPSEEK, "deepseek-chat");
    check("requests-compatible", COMPATIBLE, "qwen3");
    check("requests-openrouter", OPENROUTER, "anthropic/claude-sonnet-4.5");
}

#[test]
fn golden_replies() {
    golden::replies("chat/replies", &Chat);
}

#[test]
fn golden_streams() {
    golden::streams("chat/streams", &Chat, StreamMode::Sse);
}

#[test]
fn golden_errors() {
    golden::errors("chat/errors", &Chat);
}

/// The calls that a stream of deltas makes: id, name and arguments.
fn calls(deltas: &[&str]) -> Vec<(String, String, String)> {
    let mut reader = Chat.read_events();
    let mut calls: Vec<(u32, String, String, String)> = Vec::new();
    for delta in deltas {
        let data = format!(r#"{{"id":"r","choices":[{{"index":0,"delta":{{"tool_calls":[{delta}]}}}}]}}"#);
        reader.event(None, data.as_bytes(), &mut |event| match event {
            Event::Open { block, opened: BlockStart::Call { id, name, .. }, .. } => {
                calls.push((block, id.decode().into_owned(), name.decode().into_owned(), String::new()));
            }
            Event::Delta { block, text, .. } => {
                calls.iter_mut().find(|call| call.0 == block).unwrap().3.push_str(&text.decode());
            }
            _ => {}
        });
    }
    calls.into_iter().map(|(_, id, name, arguments)| (id, name, arguments)).collect()
}

#[test]
fn calls_are_told_apart_however_badly_they_are_numbered() {
    let check = |what: &str, deltas: &[&str], expected: &[(&str, &str, &str)]| {
        let calls = calls(deltas);
        let found: Vec<_> = calls.iter().map(|(id, name, args)| (id.as_str(), name.as_str(), args.as_str())).collect();
        assert_eq!(found, expected, "{what}");
    };
    check(
        "all are number 0",
        &[
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"1"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"f","arguments":"2"}}"#,
            r#"{"index":0,"function":{"arguments":"3"}}"#,
            r#"{"index":0,"id":"a","function":{"arguments":"4"}}"#,
        ],
        &[("a", "f", "14"), ("b", "f", "23")],
    );
    check(
        "no numbers, the id in every delta",
        &[
            r#"{"id":"a","function":{"name":"f","arguments":"1"}}"#,
            r#"{"id":"b","function":{"name":"g","arguments":"2"}},{"id":"a","function":{"arguments":"3"}}"#,
        ],
        &[("a", "f", "13"), ("b", "g", "2")],
    );
    check(
        "neither numbers nor ids",
        &[
            r#"{"function":{"name":"f","arguments":"1"}},{"function":{"name":"g","arguments":"2"}}"#,
            r#"{"function":{"arguments":"3"}}"#,
        ],
        &[("call_r_0", "f", "1"), ("call_r_1", "g", "23")],
    );
    check(
        "name and id in every delta",
        &[
            r#"{"index":1,"id":"a","function":{"name":"f","arguments":"1"}}"#,
            r#"{"index":1,"id":"a","function":{"name":"f","arguments":"2"}}"#,
        ],
        &[("a", "f", "12")],
    );
    check(
        "a fresh id in every delta",
        &[
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":""}}"#,
            r#"{"index":0,"id":"b","function":{"arguments":"1"}}"#,
            r#"{"index":0,"id":"c","function":{"name":null,"arguments":"2"}}"#,
        ],
        &[("a", "f", "12")],
    );
    check(
        "the name comes late",
        &[
            r#"{"index":0,"id":"a","type":"function"}"#,
            r#"{"index":0,"id":"a","function":{"arguments":"1"}}"#,
            r#"{"index":0,"function":{"name":"f","arguments":"2"}}"#,
        ],
        &[("a", "f", "12")],
    );
    check("no call at all", &[r#"{"index":0,"function":{"arguments":"1"}}"#], &[]);
}

fn head(include_usage: bool) -> ReplyHead {
    let mode = StreamMode::Sse;
    ReplyHead { id: "x".into(), model: "asked".into(), created: 1, include_usage, mode, estimated_input: 9 }
}

/// The chunks that are written for `events`, one per line, without the fields that every chunk has.
fn written(events: &[Event<'_>], include_usage: bool) -> Vec<String> {
    let (mut writer, mut out) = (Chat.write_events(head(include_usage)), Vec::new());
    for event in events {
        writer.event(event, &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    let chunks = text.split_terminator("\n\n").map(|chunk| chunk.strip_prefix("data: ").unwrap());
    let short = |chunk: &str| {
        let prefix = r#"{"id":"chatcmpl-x","object":"chat.completion.chunk","created":1,"model":"asked","choices":"#;
        chunk.strip_prefix(prefix).unwrap_or(chunk).to_owned()
    };
    chunks.map(short).collect()
}

fn open(block: u32, opened: BlockStart<'_>) -> Event<'_> {
    Event::Open { choice: 0, block, opened }
}

fn delta(block: u32, text: &str) -> Event<'_> {
    Event::Delta { choice: 0, block, text: text.into() }
}

fn called(id: &str) -> BlockStart<'_> {
    BlockStart::Call { id: id.into(), name: "f".into(), signature: None }
}

const START: Event<'static> = Event::Start {
    id: None,
    model: None,
    usage: TokenUsage { input: Some(3), cached: None, cache_write: None, output: None, reasoning: None },
};

#[test]
fn sloppy_streams_are_written_whole() {
    let usage = Event::Usage(TokenUsage { output: Some(4), ..TokenUsage::default() });
    let finish = Event::Finish { choice: 0, reason: Finish::Stop, stop_sequence: None };
    // Usage comes early, calls alternate, one has no arguments, and nothing is closed.
    let events = [
        START,
        usage,
        open(0, called("a")),
        open(1, called("b")),
        open(2, called("c")),
        delta(1, "{\"x\""),
        delta(0, "{}"),
        delta(1, ":1}"),
        finish,
        delta(0, "late"),
        Event::End,
        Event::End,
    ];
    let lines = written(&events, true);
    let call = |index: u32, id: &str| {
        format!(
            r#"[{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"f","arguments":""}}}}]}},"finish_reason":null}}]}}"#
        )
    };
    let arguments = |index: u32, text: &str| {
        format!(
            r#"[{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"function":{{"arguments":{text:?}}}}}]}},"finish_reason":null}}]}}"#
        )
    };
    let expected = [
        r#"[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#.to_owned(),
        call(0, "a"),
        call(1, "b"),
        call(2, "c"),
        arguments(1, "{\"x\""),
        arguments(0, "{}"),
        arguments(1, ":1}"),
        arguments(2, "{}"),
        r#"[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned(),
        r#"[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#.to_owned(),
        "[DONE]".to_owned(),
    ];
    assert_eq!(lines, expected);
    assert_eq!(written(&events, false).len(), expected.len() - 1, "usage only for who asks");
}

#[test]
fn a_stream_that_only_ends_is_an_empty_answer() {
    let expected = [
        r#"[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ];
    assert_eq!(written(&[Event::End], true), expected);
}

#[test]
fn an_error_ends_a_stream() {
    let failure = Chat.read_error(529, br#"{"error":{"message":"busy"}}"#);
    let lines = written(&[START, Event::Error(failure), delta(0, "late"), Event::End], true);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], r#"{"error":{"message":"busy","type":"server_error","param":null,"code":"overloaded"}}"#);
}

#[test]
fn thoughts_and_their_proofs_come_back_from_the_client() {
    let sign = |maker| Signature { maker, value: "c2ln".into() };
    let parts = vec![
        Content::Thinking { text: "hm".into(), signature: Some(sign(SignatureOrigin::Anthropic)) },
        Content::Redacted(sign(SignatureOrigin::Anthropic)),
        Content::Text { text: "so".into(), citations: vec![Citation::default()], signature: None },
        Content::Call(Call {
            id: "a".into(),
            name: "f".into(),
            arguments: "{}".into(),
            signature: Some(sign(SignatureOrigin::Google)),
        }),
    ];
    let choice = crate::conversation::Choice {
        parts: parts.into_iter().map(Into::into).collect(),
        finish: Finish::ToolCalls,
        stop_sequence: None,
        logprobs: Vec::new(),
    };
    let reply = Reply { choices: vec![choice], ..Reply::default() };
    let mut out = Vec::new();
    Chat.write_reply(&reply, &head(false), &mut out);
    let written: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let message = &written["choices"][0]["message"];
    assert_eq!(message["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "c2ln");
    assert_eq!(message["thinking_blocks"][0]["signature"], "TGanc2ln");

    let body = format!(r#"{{"messages":[{message}]}}"#);
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let read = Chat.read_request(&top).unwrap();
    let contents: Vec<_> = read.messages[0].parts.iter().map(|part| &part.content).collect();
    let Some(Content::Thinking { signature: Some(signature), text }) = contents.first() else { panic!("{contents:?}") };
    assert_eq!((signature, text.decode().as_ref()), (&sign(SignatureOrigin::Anthropic), "hm"));
    assert_eq!(contents[1], &Content::Redacted(sign(SignatureOrigin::Anthropic)));
    let Content::Call(call) = contents[3] else { panic!("{contents:?}") };
    assert_eq!(call.signature, Some(sign(SignatureOrigin::Google)));
}

#[test]
fn only_googles_server_gets_geminis_proofs() {
    let body = br#"{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"},
        "extra_content":{"google":{"thought_signature":"c2ln"}}}]},{"role":"tool","tool_call_id":"a","content":"r"}]}"#;
    let top = TopLevel::scan(body).unwrap();
    let request = Chat.read_request(&top).unwrap();
    for (quirks, model, expected) in
        [(OPENAI, "gpt-4o", false), (COMPATIBLE, "qwen3", false), (COMPATIBLE, "gemini-3-pro", true)]
    {
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        Chat.write_request(&request, &to(quirks, model), &mut dropped, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().contains("c2ln"), expected, "{model}");
    }
}

#[test]
fn large_and_deep_requests_are_read_and_written() {
    let messages = vec![r#"{"role":"user","content":[{"type":"text","text":"x"}]}"#; 10_000].join(",");
    let deep = format!(r"{}1{}", r#"{"a":["#.repeat(400), "]}".repeat(400));
    let tool = |n: usize| format!(r#"{{"type":"function","function":{{"name":"f{n}","parameters":{deep}}}}}"#);
    let tools = (0..1000).map(tool).collect::<Vec<_>>().join(",");
    let allowed = (0..1000).map(|n| format!(r#"{{"type":"function","function":{{"name":"f{n}"}}}}"#));
    let allowed = allowed.collect::<Vec<_>>().join(",");
    let body = format!(
        r#"{{"messages":[{messages}],"tools":[{tools}],"x":{deep},
            "tool_choice":{{"type":"allowed_tools","allowed_tools":{{"mode":"auto","tools":[{allowed}]}}}}}}"#
    );
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let request = Chat.read_request(&top).unwrap();
    assert_eq!(
        (request.messages.len(), request.tools.len(), request.dropped.to_string().as_str()),
        (10_000, 1000, "x")
    );
    let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
    Chat.write_request(&request, &to(COMPATIBLE, "m"), &mut dropped, &mut out).unwrap();
    let written = TopLevel::scan(&out).unwrap();
    assert!(written.get("tools").unwrap().value.len() > 1000 * deep.len());
}

#[test]
fn thoughts_are_a_loss_where_their_proof_is_lost() {
    let thought = |maker: Option<SignatureOrigin>| Content::Thinking {
        text: "hm".into(),
        signature: maker.map(|maker| Signature { maker, value: "c2ln".into() }),
    };
    for (quirks, model, maker, lost) in [
        (OPENAI, "gpt-5", None, ""),
        (OPENAI, "gpt-5", Some(SignatureOrigin::Anthropic), "thinking"),
        (AZURE, "gpt-5", Some(SignatureOrigin::OpenAi), "thinking"),
        (DEEPSEEK, "deepseek-reasoner", None, ""),
        (DEEPSEEK, "deepseek-reasoner", Some(SignatureOrigin::Google), "thinking"),
        (COMPATIBLE, "gemini-3-pro", Some(SignatureOrigin::Google), "thinking"),
        (COMPATIBLE, "qwen3", Some(SignatureOrigin::Google), "thinking"),
    ] {
        let parts = vec![thought(maker).into(), Content::text("a").into()];
        let user = |text| Message { role: Role::User, parts: vec![Content::text(text).into()] };
        let messages = vec![user("q"), Message { role: Role::Assistant, parts }, user("r")];
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        let request = Request { messages, ..Request::default() };
        Chat.write_request(&request, &to(quirks, model), &mut dropped, &mut out).unwrap();
        assert_eq!(dropped.to_string(), lost, "{model} {maker:?}");
    }
}

/// `DeepSeek` refuses a turn with calls whose reasoning is not sent back, and ignores that of other turns.
#[test]
fn reasoning_of_a_whole_turn_goes_back_where_tools_were_called() {
    let call = r#"{"role":"assistant","reasoning_content":"r1","content":null,
        "tool_calls":[{"id":"x1","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"x1","content":"1"},"#;
    let silent = r#"{"role":"assistant","content":null,
        "tool_calls":[{"id":"x2","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"x2","content":"2"},"#;
    let answer = r#"{"role":"assistant","reasoning_content":"r2","content":"a"},"#;
    for (history, reasoning) in [
        (answer.to_owned(), vec![None]),
        ([call, answer].concat(), vec![Some("r1"), Some("r2")]),
        ([silent, answer].concat(), vec![Some(""), Some("r2")]),
        ([answer, call].concat(), vec![Some("r2"), Some("r1")]),
    ] {
        let body = format!(
            r#"{{"tools":[{{"type":"function","function":{{"name":"f"}}}}],
                "messages":[{{"role":"user","content":"q"}},{history}{{"role":"user","content":"r"}}]}}"#
        );
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        let request = Chat.read_request(&top).unwrap();
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        Chat.write_request(&request, &to(DEEPSEEK, "deepseek-chat"), &mut dropped, &mut out).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let messages = sent["messages"].as_array().unwrap().iter();
        let found: Vec<_> = messages
            .filter(|message| message["role"] == "assistant")
            .map(|message| message.get("reasoning_content").map(|text| text.as_str().unwrap().to_owned()))
            .collect();
        let wanted: Vec<_> = reasoning.iter().map(|text| text.map(ToOwned::to_owned)).collect();
        assert_eq!((found, dropped.to_string().as_str()), (wanted, ""), "{history}");
    }
}

#[test]
fn of_two_names_of_the_user_one_is_lost() {
    for (fields, user, lost) in [
        (r#""user":"a""#, "a", ""),
        (r#""safety_identifier":"b""#, "b", ""),
        (r#""safety_identifier":"b","user":"a""#, "a", "safety_identifier;hint"),
        (r#""user":"a","safety_identifier":"a""#, "a", ""),
    ] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"q"}}],{fields}}}"#);
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        let request = Chat.read_request(&top).unwrap();
        assert_eq!((request.user, request.dropped.to_string().as_str()), (Some(user.into()), lost), "{fields}");
    }
}
