use serde_json::{Value, json};

use super::*;
use crate::{
    conversation::{
        BlockStart, Call, Choice, Content, ErrorClass, Event, Finish, Format, Json, Media, MediaKind, Message, Part,
        Reasoning, Role, Signature, Source, TokenUsage, ToolChoice,
    },
    dialect::{
        ModelFacts, Quirks, StreamMode, golden,
        presets::{ANTHROPIC, VERTEX_CLAUDE},
    },
};

fn to(model: &'static str, quirks: &'static Quirks) -> Destination<'static> {
    Destination { model, facts: ModelFacts::of(model), quirks }
}

#[test]
fn golden_requests() {
    golden::requests("messages/requests", &Messages, &to("claude-sonnet-4-5", ANTHROPIC));
}

#[test]
fn golden_requests_to_vertex() {
    golden::requests("messages/vertex", &Messages, &to("claude-opus-4-7", VERTEX_CLAUDE));
}

#[test]
fn golden_replies() {
    golden::replies("messages/replies", &Messages);
}

#[test]
fn golden_streams() {
    golden::streams("messages/streams", &Messages, StreamMode::Sse);
}

#[test]
fn golden_errors() {
    golden::errors("messages/errors", &Messages);
}

/// The body that is written for `request`, and the names of its unsupported fields.
fn written(request: &Request<'_>, to: &Destination<'_>) -> (Value, String) {
    let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
    Messages.write_request(request, to, &mut dropped, &mut out).unwrap();
    (serde_json::from_slice(&out).unwrap(), dropped.to_string())
}

/// The body that is written for a request of this dialect.
fn translated(body: &Value, model: &'static str) -> (Value, String) {
    let body = body.to_string();
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    written(&Messages.read_request(&top).unwrap(), &to(model, ANTHROPIC))
}

fn asked(with: Value) -> Value {
    let mut body = json!({"max_tokens": 1000, "messages": [{"role": "user", "content": "go"}]});
    let Value::Object(with) = with else { panic!("an object") };
    body.as_object_mut().unwrap().extend(with);
    body
}

#[test]
fn sampling_is_what_the_model_takes() {
    let all = json!({"temperature": 1.7, "top_p": 0.5, "top_k": 3.0});
    for (model, expected, lost) in [
        ("claude-3-5-haiku-20241022", json!([1.0, 0.5, 3]), "temperature"),
        ("claude-sonnet-4-5", json!([1.0, null, 3]), "temperature, top_p"),
        ("claude-opus-4-7", json!([null, null, null]), "temperature, top_p, top_k"),
    ] {
        let (out, dropped) = translated(&asked(all.clone()), model);
        assert_eq!(
            (json!([out["temperature"], out["top_p"], out["top_k"]]), dropped.as_str()),
            (expected, lost),
            "{model}"
        );
    }
}

#[test]
fn thinking_is_said_in_the_models_way() {
    let enabled = |budget: u64| json!({"thinking": {"type": "enabled", "budget_tokens": budget}, "temperature": 0.5});
    let effort = |word: &str| json!({"output_config": {"effort": word}});
    let off = json!({"thinking": {"type": "disabled"}});
    for (with, model, thinking, effort, max_tokens, lost) in [
        (enabled(2000), "claude-sonnet-4-5", Value::Null, Value::Null, 1000, "reasoning"),
        (effort("medium"), "claude-sonnet-4-5", Value::Null, Value::Null, 1000, "reasoning"),
        (enabled(2000), "claude-3-5-haiku-latest", Value::Null, Value::Null, 1000, "reasoning"),
        (effort("xhigh"), "claude-sonnet-4-6", Value::Null, json!("high"), 1000, ""),
        (effort("xhigh"), "claude-opus-4-7", Value::Null, json!("xhigh"), 1000, ""),
        (effort("minimal"), "claude-opus-4-7", Value::Null, json!("low"), 1000, ""),
        (
            enabled(20_000),
            "claude-opus-4-7",
            json!({"type": "adaptive", "display": "summarized"}),
            json!("high"),
            1000,
            "temperature",
        ),
        (off.clone(), "claude-opus-4-7", json!({"type": "disabled"}), Value::Null, 1000, ""),
        (off, "claude-sonnet-4-5", Value::Null, Value::Null, 1000, ""),
    ] {
        let (out, dropped) = translated(&asked(with.clone()), model);
        let seen = (&out["thinking"], &out["output_config"]["effort"], &out["max_tokens"], dropped.as_str());
        assert_eq!(seen, (&thinking, &effort, &json!(max_tokens), lost), "{with} for {model}");
    }
}

#[test]
fn a_budget_of_thoughts_stays_below_the_limit_of_the_answer() {
    let check = |model, most: Value, with: Value, budget: u64, max_tokens: u64, lost: &str| {
        let mut body = asked(with);
        // The dialect's own clients must send it, others need not.
        body["max_tokens"] = most;
        let (out, dropped) = translated(&body, model);
        let seen = (&out["thinking"]["budget_tokens"], &out["max_tokens"], dropped.as_str());
        assert_eq!(seen, (&json!(budget), &json!(max_tokens), lost), "{body} for {model}");
    };
    let exact = |budget: u64| json!({"thinking": {"type": "enabled", "budget_tokens": budget}});
    let effort = |word: &str| json!({"output_config": {"effort": word}});
    check("claude-sonnet-4-5", json!(3000), exact(2000), 2000, 3000, "");
    check("claude-sonnet-4-5", json!(3000), exact(10), 1024, 3000, "reasoning");
    check("claude-sonnet-4-5", json!(3000), exact(5000), 2999, 3000, "reasoning");
    check("claude-sonnet-4-5", json!(9000), effort("medium"), 4500, 9000, "");
    check("claude-sonnet-4-5", Value::Null, effort("high"), 16_384, 16_384 + 8192, "");
    // The token limit of a model's answers includes its reasoning.
    check("claude-sonnet-4-5", Value::Null, exact(60_000), 60_000, 64_000, "");
    check("claude-opus-4-1", Value::Null, effort("max"), 31_000, 32_000, "");
    check("claude-opus-4-1", json!(16_000), effort("high"), 8000, 16_000, "");
}

#[test]
fn thinking_with_a_budget_needs_the_thoughts_behind_calls() {
    let history = |first: Value| {
        asked(json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024},
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "messages": [{"role": "user", "content": "go"},
                {"role": "assistant", "content": [first, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "b", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "b", "content": "r"}]}]}))
    };
    let signed = history(json!({"type": "thinking", "thinking": "t", "signature": "s"}));
    let foreign = history(json!({"type": "thinking", "thinking": "t", "signature": "TGgos"}));
    for (body, model, on, lost) in [
        (&signed, "claude-sonnet-4-5", true, ""),
        (&foreign, "claude-sonnet-4-5", false, "reasoning, thinking"),
        (&foreign, "claude-opus-4-7", true, "thinking"),
    ] {
        let (out, dropped) = translated(body, model);
        assert_eq!((out["thinking"].is_object(), dropped.as_str()), (on, lost), "{model}");
    }
    // A message of the user behind the results does not end the loop; an answer does.
    let mut later = foreign;
    let thanks = json!({"role": "user", "content": "thanks"});
    later["messages"].as_array_mut().unwrap().push(thanks.clone());
    assert!(!translated(&later, "claude-sonnet-4-5").0["thinking"].is_object());
    later["messages"].as_array_mut().unwrap().extend([json!({"role": "assistant", "content": "done"}), thanks]);
    assert!(translated(&later, "claude-sonnet-4-5").0["thinking"].is_object());
}

#[test]
fn answers_of_a_schema_come_as_calls_where_models_know_none() {
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {}}}}}});
    let (out, _) = translated(&asked(format.clone()), "claude-sonnet-4-20250514");
    assert_eq!(out["tools"][0]["name"], "json_output");
    let forced = json!({"type": "tool", "name": "json_output", "disable_parallel_tool_use": true});
    assert_eq!((&out["tool_choice"], &out["output_config"]), (&forced, &Value::Null));
    let mut with_tools = asked(format.clone());
    with_tools["tools"] = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let (out, _) = translated(&with_tools, "claude-sonnet-4-20250514");
    assert_eq!((out["tools"].as_array().unwrap().len(), &out["tool_choice"]["type"]), (2, &json!("any")));
    let (out, _) = translated(&asked(format), "claude-opus-4-7");
    assert_eq!(out["output_config"]["format"]["schema"]["additionalProperties"], false);
    assert_eq!(out["tools"], Value::Null);
}

fn user(content: Content<'static>) -> Message<'static> {
    Message { role: Role::User, parts: vec![content.into()] }
}

#[test]
fn what_other_dialects_say_is_fitted() {
    let tool = |name: &'static str| crate::conversation::Tool {
        name: name.into(),
        description: None,
        schema: None,
        strict: None,
        cache: None,
    };
    let request = Request {
        messages: vec![user(Content::text("go"))],
        tools: vec![tool("f"), tool("g")],
        tool_choice: Some(ToolChoice::Allowed { names: vec!["g".into()], required: true }),
        parallel_tool_calls: Some(false),
        format: Some(Format::Json),
        user: Some("a@b.example".into()),
        service_tier: Some("flex".into()),
        ..Request::default()
    };
    let (out, dropped) = written(&request, &to("claude-sonnet-4-5", ANTHROPIC));
    let g = json!([{"name": "g", "input_schema": {"type": "object", "properties": {}}}]);
    assert_eq!(out["tools"], g);
    assert_eq!(out["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
    assert!(out["system"][0]["text"].as_str().unwrap().contains("JSON"));
    assert_eq!((&out["max_tokens"], dropped.as_str()), (&json!(8192), "user;hint, service_tier;hint"));
}

#[test]
fn media_are_sent_as_far_as_the_server_reads_them() {
    let media = |kind, source| Content::Media(Media { kind, source, name: None, detail: None, signature: None });
    let data = |mime: &'static str| Source::Data { mime: mime.into(), data: "aGk=".into() };
    let url = |url: &'static str| Source::Url { url: url.into(), mime: None };
    for (content, quirks, expected) in [
        (media(MediaKind::Image, data("image/jpg")), ANTHROPIC, Ok("/image/base64/image/jpeg")),
        (media(MediaKind::Document, data("image/png")), ANTHROPIC, Ok("/image/base64/image/png")),
        (media(MediaKind::Document, data("text/csv")), ANTHROPIC, Ok("/document/text/text/plain")),
        (media(MediaKind::Image, data("image/tiff")), ANTHROPIC, Err("image")),
        (media(MediaKind::Audio, data("audio/wav")), ANTHROPIC, Err("audio")),
        (media(MediaKind::Image, url("https://e.com/a")), ANTHROPIC, Ok("/image/url/")),
        (media(MediaKind::Document, url("https://e.com/a")), ANTHROPIC, Ok("/document/url/")),
        (media(MediaKind::Image, url("https://e.com/a")), VERTEX_CLAUDE, Err("image")),
        (media(MediaKind::Image, url("gs://b/a")), ANTHROPIC, Err("image")),
        (media(MediaKind::Image, Source::File("file_a".into())), VERTEX_CLAUDE, Err("file_id")),
        (media(MediaKind::Image, Source::File("file_a".into())), ANTHROPIC, Ok("/image/file/")),
        (media(MediaKind::Document, Source::File("file-a".into())), ANTHROPIC, Err("file_id")),
    ] {
        let message = Message { role: Role::User, parts: vec![Content::text("look").into(), content.into()] };
        let request = Request { messages: vec![message], ..Request::default() };
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        let sent = Messages.write_request(&request, &to("claude-sonnet-4-5", quirks), &mut dropped, &mut out);
        // Without a file that is stored elsewhere the answer would be about something else.
        assert_eq!(sent.is_err(), expected == Err("file_id"), "{:?}", request.messages);
        let (out, dropped) = (serde_json::from_slice::<Value>(&out).unwrap(), dropped.to_string());
        let block = &out["messages"][0]["content"][1];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let seen = match block {
            Value::Null => Err(dropped.as_str()),
            _ => Ok(format!(
                "/{}/{}/{}",
                word(&block["type"]),
                word(&block["source"]["type"]),
                word(&block["source"]["media_type"])
            )),
        };
        assert_eq!(seen.as_deref().map_err(|e| *e), expected, "{:?}", request.messages);
    }
    let only = Request { messages: vec![user(media(MediaKind::Audio, data("audio/wav")))], ..Request::default() };
    let refused =
        Messages.write_request(&only, &to("claude-x", ANTHROPIC), &mut Unsupported::default(), &mut Vec::new());
    assert!(refused.is_err(), "a question that can't be heard was sent as another");
}

#[test]
fn schemas_are_rewritten_in_order_and_bounded() {
    let write = |schema: &str| {
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        schema::write_constrained(schema, &mut dropped, &mut out)
            .map(|()| (String::from_utf8(out).unwrap(), dropped.to_string()))
    };
    for (schema, expected, lost) in [
        (
            r#"{"type":"object","properties":{"z":{"type":"integer","minimum":1},"a\"":{}}}"#,
            r#"{"type":"object","properties":{"z":{"type":"integer","description":"{minimum: 1}"},"a\"":{}},"additionalProperties":false}"#,
            "schema keywords",
        ),
        (r#"{"oneOf":[{"type":"null"},true]}"#, r#"{"anyOf":[{"type":"null"},true]}"#, ""),
        (r##"{"$ref":"#","minimum":1}"##, r##"{"$ref":"#"}"##, "schema keywords"),
        (r#"{"description":"d","maxItems":2}"#, r#"{"description":"d\n\n{maxItems: 2}"}"#, "schema keywords"),
    ] {
        assert_eq!(write(schema), Ok((expected.to_owned(), lost.to_owned())));
    }
    let deep = format!("{}{}", r#"{"items":"#.repeat(1000), "{}".to_owned() + &"}".repeat(1000));
    assert!(write(&deep).is_err());
    assert!(write(&format!(r#"{{"title":"{}"}}"#, "x".repeat(2 << 20))).is_err());
}

#[test]
fn hostile_bodies_are_read_in_one_pass() {
    let message = r#"{"role":"user","content":[{"type":"text","text":"x"}]}"#;
    let body = format!(r#"{{"messages":[{}]}}"#, vec![message; 10_000].join(","));
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    assert_eq!(Messages.read_request(&top).unwrap().messages.len(), 10_000);
    let nested = r#"{"type":"tool_result","tool_use_id":"t","content":["#.repeat(300) + &"]}".repeat(300);
    let body = format!(r#"{{"messages":[{{"role":"user","content":[{nested}]}}]}}"#);
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    assert!(Messages.read_request(&top).is_err(), "results within results were followed down");
}

/// The events that are written, each as its name, index and addition.
fn streamed(events: &[Event<'_>]) -> Vec<String> {
    let mut writer = Messages.write_events(ReplyHead {
        id: "made".into(),
        model: "m".into(),
        created: 0,
        include_usage: false,
        mode: StreamMode::Sse,
        estimated_input: 9,
    });
    let mut out = Vec::new();
    for event in events {
        writer.event(event, &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    let event = |text: &str| {
        let (name, data) = text.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        let added =
            ["text", "thinking", "partial_json", "signature"].into_iter().find_map(|key| data["delta"][key].as_str());
        let added = added.or(data["content_block"]["type"].as_str()).or(data["delta"]["stop_reason"].as_str());
        let name = name.trim_start_matches("content_block_");
        format!("{name} {} {}", data["index"].as_u64().map_or(String::new(), |n| n.to_string()), added.unwrap_or(""))
    };
    text.split_terminator("\n\n").map(|text| event(text).split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn open(choice: u32, block: u32, opened: BlockStart<'static>) -> Event<'static> {
    Event::Open { choice, block, opened }
}

fn delta(choice: u32, block: u32, text: &'static str) -> Event<'static> {
    Event::Delta { choice, block, text: text.into() }
}

fn call(id: &'static str, signature: Option<Signature<'static>>) -> BlockStart<'static> {
    BlockStart::Call { id: id.into(), name: "f".into(), signature }
}

#[test]
fn blocks_stand_one_behind_the_other() {
    let google = || Signature { maker: SignatureOrigin::Google, value: "Zw==".into() };
    let events = [
        Event::Start { id: None, model: None, usage: TokenUsage::default() },
        open(0, 0, BlockStart::Text),
        open(1, 0, BlockStart::Text),
        delta(0, 0, "t"),
        delta(1, 0, "another answer"),
        open(0, 1, call("a", None)),
        open(0, 2, call("b", Some(google()))),
        delta(0, 2, "b1"),
        delta(0, 1, "a1"),
        Event::Close { choice: 0, block: 0 },
        delta(0, 2, "b2"),
        delta(0, 1, "a2"),
        Event::Close { choice: 0, block: 2 },
        Event::Finish { choice: 0, reason: Finish::Stop, stop_sequence: None },
        Event::Finish { choice: 1, reason: Finish::Length, stop_sequence: None },
        Event::Usage(TokenUsage { input: Some(3), output: Some(4), ..TokenUsage::default() }),
        Event::End,
        delta(0, 0, "after the end"),
    ];
    let expected = [
        "message_start",
        "start 0 text",
        "delta 0 t",
        "stop 0",
        "start 1 tool_use",
        "delta 1 a1",
        "delta 1 a2",
        "stop 1",
        "start 2 redacted_thinking",
        "stop 2",
        "start 3 tool_use",
        "delta 3 b1",
        "delta 3 b2",
        "stop 3",
        "message_delta tool_use",
        "message_stop",
    ];
    assert_eq!(streamed(&events), expected);
    // After any prefix the stream continues correctly: nothing is written twice or out of order.
    for length in 0..events.len() {
        let seen = streamed(&events[..length]);
        assert_eq!(seen, expected[..seen.len()]);
    }
}

#[test]
fn streams_begin_with_the_count_or_an_estimate() {
    let counted = TokenUsage { input: Some(30), cached: Some(10), ..TokenUsage::default() };
    for (usage, input, last) in [(TokenUsage::default(), 9, Value::Null), (counted, 20, json!(20))] {
        let head = ReplyHead {
            id: "made".into(),
            model: "m".into(),
            created: 0,
            include_usage: false,
            mode: StreamMode::Sse,
            estimated_input: 9,
        };
        let (mut writer, mut out) = (Messages.write_events(head), Vec::new());
        writer.event(&Event::Start { id: None, model: None, usage }, &mut out);
        writer.event(&Event::End, &mut out);
        let text = String::from_utf8(out).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let data: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        let seen = (&data[0]["message"]["usage"]["input_tokens"], &data[1]["usage"]["input_tokens"]);
        assert_eq!(seen, (&json!(input), &last));
    }
}

#[test]
fn tools_that_need_not_be_called_are_named() {
    let asked = |choice: Value| {
        json!({"max_tokens": 9, "messages": [{"role": "user", "content": "go"}], "tool_choice": choice,
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}})
    };
    for (choice, model, lost) in [
        (json!({"type": "any"}), "claude-sonnet-4-0", "tool_choice"),
        (json!({"type": "any"}), "claude-sonnet-4-5", ""),
        (json!({"type": "auto"}), "claude-sonnet-4-0", ""),
        (json!({"type": "tool", "name": "f"}), "claude-sonnet-4-0", "response_format"),
    ] {
        assert_eq!(translated(&asked(choice.clone()), model).1, lost, "{choice} {model}");
    }
}

#[test]
fn sloppy_streams_are_completed() {
    let end = Event::Finish { choice: 0, reason: Finish::Filtered, stop_sequence: None };
    assert_eq!(
        streamed(&[open(0, 0, BlockStart::Thinking), delta(0, 0, "hm"), end, Event::End]),
        ["message_start", "start 0 thinking", "delta 0 hm", "stop 0", "message_delta refusal", "message_stop"]
    );
    assert_eq!(streamed(&[Event::End]), ["message_start", "message_delta end_turn", "message_stop"]);
    let failure = Messages.read_error(529, b"");
    assert_eq!(streamed(&[Event::Error(failure), Event::End]), ["error"]);
}

#[test]
fn proofs_of_gemini_return_to_what_they_belong_to() {
    let google = |value: &'static str| Signature { maker: SignatureOrigin::Google, value: value.into() };
    let parts: Vec<Part<'_>> = vec![
        Content::Text { text: "I look.".into(), citations: Vec::new(), signature: Some(google("dA==")) }.into(),
        Content::Call(Call {
            id: "a".into(),
            name: "f".into(),
            arguments: "{}".into(),
            signature: Some(google("Yw==")),
        })
        .into(),
    ];
    let choice = Choice { parts: parts.clone(), finish: Finish::ToolCalls, stop_sequence: None, logprobs: Vec::new() };
    let reply = Reply { choices: vec![choice], ..Reply::default() };
    let head = ReplyHead {
        id: "x".into(),
        model: "m".into(),
        created: 0,
        include_usage: false,
        mode: StreamMode::No,
        estimated_input: 9,
    };
    let mut out = Vec::new();
    Messages.write_reply(&reply, &head, &mut out);
    let reply: Value = serde_json::from_slice(&out).unwrap();
    let kinds: Vec<_> =
        reply["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["redacted_thinking", "text", "redacted_thinking", "tool_use"]);
    let body = json!({"messages": [{"role": "assistant", "content": reply["content"]}]}).to_string();
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    assert_eq!(Messages.read_request(&top).unwrap().messages[0].parts, parts);
}

#[test]
fn calls_whose_arguments_are_no_object_are_left_out() {
    let call = json!([{"type": "tool_use", "id": "a", "name": "f", "input": {}}]);
    for (arguments, finish, content, stop_reason) in [
        ("", Finish::Stop, call, "tool_use"),
        ("{\"a\":1", Finish::ToolCalls, json!([]), "end_turn"),
        ("{\"a\":1", Finish::Length, json!([]), "max_tokens"),
        ("[1]", Finish::Stop, json!([]), "end_turn"),
    ] {
        let call = Call { id: "a".into(), name: "f".into(), arguments: arguments.into(), signature: None };
        let parts = vec![Content::Call(call).into()];
        let choice = Choice { parts, finish, stop_sequence: None, logprobs: Vec::new() };
        let head = ReplyHead {
            id: "x".into(),
            model: "m".into(),
            created: 0,
            include_usage: false,
            mode: StreamMode::No,
            estimated_input: 9,
        };
        let mut out = Vec::new();
        Messages.write_reply(&Reply { choices: vec![choice], ..Reply::default() }, &head, &mut out);
        let reply: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&reply["content"], &reply["stop_reason"]), (&content, &json!(stop_reason)), "{arguments}");
    }
}

#[test]
fn errors_have_anthropics_status_and_type() {
    for (class, code, status, kind, message) in [
        (ErrorClass::InvalidRequest, None, 400, "invalid_request_error", "m"),
        (
            ErrorClass::InvalidRequest,
            Some("context_length_exceeded"),
            400,
            "invalid_request_error",
            "prompt is too long: m",
        ),
        (ErrorClass::Quota, None, 402, "billing_error", "m"),
        (ErrorClass::RateLimit, None, 429, "rate_limit_error", "m"),
        (ErrorClass::BadGateway, None, 502, "api_error", "m"),
        (ErrorClass::Unavailable, None, 529, "overloaded_error", "m"),
    ] {
        let failure = Failure { code: code.map(Into::into), ..Failure::new(418, class, "m") };
        let mut out = Vec::new();
        let answered = Messages.write_error(&failure, Some("req-1"), &mut out);
        let body: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((answered, &body["error"]["type"]), (status, &json!(kind)));
        assert_eq!((&body["error"]["message"], &body["request_id"]), (&json!(message), &json!("req-1")));
    }
}

#[test]
fn thinking_is_as_visible_as_asked() {
    for (visible, expected) in [(None, Value::Null), (Some(true), json!("summarized")), (Some(false), json!("omitted"))]
    {
        let reasoning = Some(Reasoning { visible, ..Reasoning::default() });
        let request = Request { messages: vec![user(Content::text("go"))], reasoning, ..Request::default() };
        let (out, _) = written(&request, &to("claude-opus-4-7", ANTHROPIC));
        assert_eq!(out["thinking"]["display"], expected);
    }
}

#[test]
fn schemas_of_tools_have_an_object_at_their_root() {
    let write = |schema: &str| {
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        schema::write_tool(Some(&Json::parse(schema).unwrap()), &mut dropped, &mut out);
        (String::from_utf8(out).unwrap(), dropped.to_string())
    };
    for (schema, expected, lost) in [
        ("{}", r#"{"type":"object","properties":{}}"#, ""),
        (r#"{ "type": "object" }"#, r#"{"type":"object","properties":{}}"#, ""),
        (r#"{"properties":{"b":{},"a":{}}}"#, r#"{"type":"object","properties":{"b":{},"a":{}}}"#, ""),
        (r#"{"anyOf":[{}],"title":"t"}"#, r#"{"type":"object","title":"t","properties":{}}"#, "schema keywords"),
        (r#"{"type":"string"}"#, r#"{"type":"object","properties":{}}"#, "schema keywords"),
    ] {
        assert_eq!(write(schema), (expected.to_owned(), lost.to_owned()));
    }
}
