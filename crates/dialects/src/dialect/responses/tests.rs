use serde_json::{Value, json};

use super::Responses;
use crate::{
    conversation::{
        BlockStart, Call, Citation, Content, Event, Failure, Finish, Json, Media, MediaKind, Message, Reply, Request,
        Role, Sampling, Signature, SignatureOrigin, Source, Text, TokenLogprob, TokenUsage, Tool, ToolResult,
        Unsupported,
    },
    dialect::{Destination, Dialect, ModelFacts, ReplyHead, StreamMode, golden, presets::OPENAI},
    stream::{SseDecoder, TopLevel, sse::MAX_EVENT_BYTES},
};

fn to(model: &str) -> Destination<'_> {
    Destination { model, facts: ModelFacts::of(model), quirks: OPENAI }
}

fn head() -> ReplyHead {
    ReplyHead {
        id: "made1".into(),
        model: "asked".into(),
        created: 7,
        include_usage: false,
        mode: StreamMode::Sse,
        estimated_input: 9,
    }
}

#[test]
fn golden_requests() {
    golden::requests("responses/requests", &Responses, &to("gpt-4o"));
    golden::requests("responses/requests_reasoning", &Responses, &to("gpt-5.1"));
}

#[test]
fn golden_replies() {
    golden::replies("responses/replies", &Responses);
}

#[test]
fn golden_streams() {
    golden::streams("responses/streams", &Responses, StreamMode::Sse);
}

#[test]
fn golden_errors() {
    golden::errors("responses/errors", &Responses);
}

#[test]
fn what_cannot_be_understood_is_named() {
    let cases = [
        (r#"{"model":"m"}"#, "input"),
        (r#"{"input":7}"#, "input"),
        (r#"{"input":[7]}"#, "input[0]"),
        (r#"{"input":[{"type":3}]}"#, "input[0].type"),
        (r#"{"input":[{}]}"#, "input[0].type"),
        (r#"{"input":[{"role":"tool","content":"x"}]}"#, "input[0].role"),
        (r#"{"input":[{"role":"user"}]}"#, "input[0].content"),
        (r#"{"input":[{"role":"user","content":[{"type":"input_text","text":5}]}]}"#, "input[0].content[0].text"),
        (r#"{"input":[{"role":"user","content":[{"type":"input_text"}]}]}"#, "input[0].content[0].text"),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}"#,
            "input[0].content[0].image_url",
        ),
        (r#"{"input":[{"role":"user","content":[{"type":"input_image"}]}]}"#, "input[0].content[0].image_url"),
        (r#"{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":7}]}"#, "input[0].arguments"),
        (r#"{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":[]}]}"#, "input[0].arguments"),
        (r#"{"input":[{"type":"function_call","name":"f","arguments":"{}"}]}"#, "input[0].call_id"),
        (r#"{"input":[{"type":"function_call_output","output":"x"}]}"#, "input[0].call_id"),
        (r#"{"input":[{"type":"item_reference","id":"rs_1"}]}"#, "input[0]"),
        (r#"{"input":[{"id":"rs_1"}]}"#, "input[0]"),
        (r#"{"input":"q","conversation":"conv_1"}"#, "conversation"),
        (r#"{"input":"q","prompt":{"id":"p"}}"#, "prompt"),
        (r#"{"input":"q","background":true}"#, "background"),
        (r#"{"input":"q","temperature":"hot"}"#, "temperature"),
        (r#"{"input":"q","max_output_tokens":-1}"#, "max_output_tokens"),
        (r#"{"input":"q","metadata":[]}"#, "metadata"),
        (r#"{"input":"q","tools":[{"type":"function"}]}"#, "tools[0].name"),
        (r#"{"input":"q","tools":[{"name":"f","strict":"yes"}]}"#, "tools[0].strict"),
        (r#"{"input":"q","tool_choice":"perhaps"}"#, "tool_choice"),
        (r#"{"input":"q","tool_choice":{"type":"function"}}"#, "tool_choice.name"),
        (r#"{"input":"q","text":{"format":{"type":"json_schema","name":"x"}}}"#, "text.format.schema"),
        (r#"{"input":"q","text":{"format":{"type":8}}}"#, "text.format.type"),
    ];
    for (body, field) in cases {
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        let invalid = Responses.read_request(&top).expect_err(body);
        assert_eq!(invalid.field, field, "{body}: {invalid}");
    }
}

#[test]
fn hostile_bodies_are_read_or_refused() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(1000), "}".repeat(1000));
    let many = |one: &str, n: usize| vec![one; n].join(",");
    let bodies = [
        format!(r#"{{"input":[{}]}}"#, many(r#"{"role":"user","content":"x"}"#, 10_000)),
        format!(r#"{{"input":[{}]}}"#, many(r#"{"type":"function_call_output","call_id":"c","output":""}"#, 10_000)),
        format!(r#"{{"input":"q","tools":[{}]}}"#, many(r#"{"type":"function","name":"f"}"#, 1000)),
        format!(r#"{{"input":"q","tools":[{{"type":"function","name":"f","parameters":{deep}}}]}}"#),
        format!(r#"{{"input":[{{"role":"user","content":{deep}}}]}}"#),
        r#"{"input":"\ud800 lone"}"#.to_owned(),
    ];
    for body in bodies {
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        if let Ok(request) = Responses.read_request(&top) {
            let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
            Responses.write_request(&request, &to("gpt-4o"), &mut dropped, &mut out).unwrap();
            assert!(TopLevel::scan(&out).is_ok());
        }
    }
}

/// The body that is written for `request`, and the names of its unsupported fields.
fn written(request: &Request<'_>, to: &Destination<'_>) -> (Value, String) {
    let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
    Responses.write_request(request, to, &mut dropped, &mut out).unwrap();
    (serde_json::from_slice(&out).unwrap(), dropped.to_string())
}

fn user(parts: Vec<Content<'_>>) -> Message<'_> {
    Message { role: Role::User, parts: parts.into_iter().map(Into::into).collect() }
}

#[test]
fn what_responses_does_not_take_is_left_out_and_named() {
    let request = Request {
        messages: vec![user(vec![Content::text("q")])],
        sampling: Sampling {
            top_k: Some(5.0),
            stop: vec!["x".into()],
            n: Some(2),
            seed: Some(1),
            presence_penalty: Some(0.1),
            frequency_penalty: Some(0.1),
            ..Sampling::default()
        },
        service_tier: Some("standard_only".into()),
        user: Some("u".repeat(80).into()),
        ..Request::default()
    };
    let (body, dropped) = written(&request, &to("gpt-4o"));
    assert_eq!(dropped, "top_k, stop, n, seed, presence_penalty, frequency_penalty, service_tier;hint");
    assert_eq!(body["safety_identifier"].as_str().unwrap().len(), 64);
    let expected = json!({"model": "gpt-4o", "input": [{"role": "user", "content": "q"}], "store": false,
        "safety_identifier": body["safety_identifier"]});
    assert_eq!(body, expected);
}

#[test]
fn tools_are_not_strict_unless_they_say_so() {
    let tool = |strict| Tool { name: "f".into(), description: None, schema: None, strict, cache: None };
    let request = Request {
        messages: vec![user(vec![Content::text("q")])],
        tools: vec![tool(None), tool(Some(true))],
        ..Request::default()
    };
    let (body, _) = written(&request, &to("gpt-4o"));
    assert_eq!((&body["tools"][0]["strict"], &body["tools"][1]["strict"]), (&json!(false), &json!(true)));
}

#[test]
fn thoughts_reach_their_maker_only() {
    let thinking =
        |maker| Content::Thinking { text: "t".into(), signature: Some(Signature { maker, value: "sig".into() }) };
    let messages = vec![
        user(vec![Content::text("q")]),
        Message {
            role: Role::Assistant,
            parts: vec![
                thinking(SignatureOrigin::Anthropic).into(),
                thinking(SignatureOrigin::OpenAi).into(),
                Content::Thinking { text: "bare".into(), signature: None }.into(),
                Content::Redacted(Signature { maker: SignatureOrigin::Google, value: "r".into() }).into(),
                Content::text("a").into(),
            ],
        },
    ];
    let (body, dropped) = written(&Request { messages, ..Request::default() }, &to("gpt-4o"));
    assert_eq!(dropped, "thinking, prefill");
    assert_eq!(
        body["input"],
        json!([
            {"role": "user", "content": "q"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "sig"},
            {"role": "assistant", "content": "a"},
        ])
    );
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
}

#[test]
fn media_and_results_that_do_not_fit_are_named() {
    let media = |kind, source| Content::Media(Media { kind, source, name: None, detail: None, signature: None });
    let data = |mime: &'static str| Source::Data { mime: mime.into(), data: "aGk=".into() };
    let url = |url: &'static str| Source::Url { url: url.into(), mime: None };
    let result = ToolResult {
        id: "call.with.dots".into(),
        name: None,
        parts: vec![Content::text("no").into(), media(MediaKind::Audio, data("audio/wav")).into()],
        failed: true,
    };
    let call =
        Content::Call(Call { id: "call.with.dots".into(), name: "f".into(), arguments: "{}".into(), signature: None });
    let called = Message { role: Role::Assistant, parts: vec![call.into()] };
    let messages = vec![
        called,
        user(vec![
            Content::Result(result),
            media(MediaKind::Video, data("video/mp4")),
            media(MediaKind::Image, url("gs://b/o")),
            media(MediaKind::Document, Source::Text("plain".into())),
            media(MediaKind::Document, data("application/pdf")),
        ]),
    ];
    let (body, dropped) = written(&Request { messages, ..Request::default() }, &to("gpt-4o"));
    assert_eq!(dropped, "audio, video, image, is_error;hint");
    assert_eq!(body["input"][1]["output"], json!("no"));
    let id = body["input"][1]["call_id"].as_str().unwrap();
    assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{id}");
    assert_eq!(
        body["input"][2]["content"],
        json!([
            {"type": "input_text", "text": "plain"},
            {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,aGk="},
        ])
    );
    let nothing = Request { messages: vec![user(vec![Content::text("")])], ..Request::default() };
    let written = Responses.write_request(&nothing, &to("m"), &mut Unsupported::default(), &mut Vec::new());
    assert_eq!(written.unwrap_err().field, "messages");
}

/// The events of a stream: name and data.
fn sent(events: &[Event<'_>]) -> Vec<(String, Value)> {
    let (mut writer, mut out) = (Responses.write_events(head()), Vec::new());
    for event in events {
        writer.event(event, &mut out);
    }
    let mut sent = Vec::new();
    SseDecoder::new(MAX_EVENT_BYTES).push(&out, &mut |event| {
        let data: Value = serde_json::from_slice(event.data).unwrap();
        let name = String::from_utf8(event.name.unwrap().to_vec()).unwrap();
        assert_eq!(data["type"], name.as_str());
        assert_eq!(data["sequence_number"], sent.len());
        sent.push((name, data));
    });
    sent
}

fn open(block: u32, opened: BlockStart<'static>) -> Event<'static> {
    Event::Open { choice: 0, block, opened }
}

fn call(id: &'static str) -> BlockStart<'static> {
    BlockStart::Call { id: id.into(), name: "f".into(), signature: None }
}

fn delta(block: u32, text: &'static str) -> Event<'static> {
    Event::Delta { choice: 0, block, text: text.into() }
}

fn finish(reason: Finish) -> Event<'static> {
    Event::Finish { choice: 0, reason, stop_sequence: None }
}

fn start() -> Event<'static> {
    Event::Start { id: Some("msg_01X".into()), model: Some("claude".into()), usage: TokenUsage::default() }
}

#[test]
fn blocks_that_alternate_become_items_that_alternate() {
    let usage = TokenUsage { input: Some(3), output: Some(4), ..TokenUsage::default() };
    let sent = sent(&[
        start(),
        open(0, call("a")),
        open(1, call("b")),
        delta(1, "{\"x\""),
        delta(0, "{}"),
        delta(1, ":1}"),
        // This dialect has only one answer.
        Event::Open { choice: 1, block: 0, opened: BlockStart::Text },
        finish(Finish::ToolCalls),
        Event::Usage(usage),
        Event::End,
        Event::End,
    ]);
    let (name, last) = sent.last().unwrap();
    assert_eq!(name, "response.completed");
    let response = &last["response"];
    assert_eq!((&response["id"], &response["model"]), (&json!("resp_01X"), &json!("claude")));
    assert_eq!(response["usage"]["total_tokens"], 7);
    let arguments = |n: usize| response["output"][n]["arguments"].clone();
    assert_eq!((arguments(0), arguments(1)), (json!("{}"), json!("{\"x\":1}")));
    let done: Vec<_> = sent.iter().filter(|(name, _)| name == "response.output_item.done").collect();
    assert_eq!(done.len(), 2);
    for (n, (_, data)) in done.iter().enumerate() {
        assert_eq!((&data["output_index"], &data["item"]), (&json!(n), &response["output"][n]));
    }
}

#[test]
fn sloppy_sources_make_a_whole_stream() {
    // No start, no close, no finish, a call without arguments.
    let sent = sent(&[open(0, BlockStart::Text), delta(0, "a\"\n"), delta(9, "lost"), open(1, call("a")), Event::End]);
    let names: Vec<_> = sent.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_item.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected);
    let response = &sent.last().unwrap().1["response"];
    assert_eq!(response["output"][0]["content"][0]["text"], "a\"\n");
    assert_eq!(response["output"][1]["arguments"], "{}");
    assert_eq!(response["usage"], Value::Null);
}

#[test]
fn errors_end_a_stream_wherever_they_come() {
    let failure = || {
        Event::Error(Failure {
            code: Some("overloaded_error".into()),
            ..Failure::new(529, crate::conversation::ErrorClass::Unavailable, "later")
        })
    };
    for before in [vec![], vec![start(), open(0, BlockStart::Text), delta(0, "x")]] {
        let events: Vec<_> = before.into_iter().chain([failure(), delta(0, "y"), Event::End]).collect();
        let sent = sent(&events);
        assert_eq!(sent[0].0, "response.created");
        let [.., (failed, response), (error, data)] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!((failed.as_str(), error.as_str()), ("response.failed", "error"));
        assert_eq!(response["response"]["error"], json!({"code": "server_error", "message": "later"}));
        assert_eq!((&data["code"], &data["message"]), (&json!("overloaded"), &json!("later")));
    }
}

#[test]
fn proofs_of_other_makers_come_back_to_where_they_were() {
    let signature = |maker| Signature { maker, value: "c2ln".into() };
    let parts = vec![
        Content::Thinking { text: "t".into(), signature: Some(signature(SignatureOrigin::Anthropic)) },
        Content::Thinking { text: "".into(), signature: Some(signature(SignatureOrigin::Anthropic)) },
        Content::Redacted(signature(SignatureOrigin::Anthropic)),
        Content::text("x"),
        Content::Call(Call {
            id: "c".into(),
            name: "f".into(),
            arguments: "{}".into(),
            signature: Some(signature(SignatureOrigin::Google)),
        }),
    ];
    let choice = crate::conversation::Choice {
        parts: parts.iter().cloned().map(Into::into).collect(),
        finish: Finish::ToolCalls,
        stop_sequence: None,
        logprobs: Vec::new(),
    };
    let mut out = Vec::new();
    Responses.write_reply(&Reply { choices: vec![choice], ..Reply::default() }, &head(), &mut out);
    let reply: Value = serde_json::from_slice(&out).unwrap();
    let streamed = sent(&[
        start(),
        open(0, BlockStart::Thinking),
        delta(0, "t"),
        Event::Signature { choice: 0, block: 0, signature: signature(SignatureOrigin::Anthropic) },
        open(1, BlockStart::Thinking),
        Event::Signature { choice: 0, block: 1, signature: signature(SignatureOrigin::Anthropic) },
        open(2, BlockStart::Redacted(signature(SignatureOrigin::Anthropic))),
        open(3, BlockStart::Text),
        delta(3, "x"),
        open(
            4,
            BlockStart::Call { id: "c".into(), name: "f".into(), signature: Some(signature(SignatureOrigin::Google)) },
        ),
        Event::End,
    ]);
    for output in [&reply["output"], &streamed.last().unwrap().1["response"]["output"]] {
        let body = json!({"input": output}).to_string();
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        let request = Responses.read_request(&top).unwrap();
        let back: Vec<_> = request.messages.iter().flat_map(|m| &m.parts).map(|part| part.content.clone()).collect();
        assert_eq!(back, parts);
    }
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let citation = || Citation { url: Some("https://e.com".into()), title: Some("E".into()), ..Citation::default() };
    let token = || TokenLogprob { token: "a".into(), logprob: -0.5, top: vec![("b".into(), -1.5)] };
    let signature = || Signature { maker: SignatureOrigin::OpenAi, value: "gAAA".into() };
    let close = |block| Event::Close { choice: 0, block };
    let usage =
        TokenUsage { input: Some(1), cached: Some(0), cache_write: Some(0), output: Some(2), reasoning: Some(1) };
    let events = [
        Event::Start { id: Some("resp_1".into()), model: Some("m".into()), usage: TokenUsage::default() },
        open(0, BlockStart::Thinking),
        delta(0, "hm"),
        Event::Signature { choice: 0, block: 0, signature: signature() },
        close(0),
        // Log-probabilities of a text that has not begun are kept until it begins.
        Event::Logprobs { choice: 0, tokens: vec![token()] },
        open(1, BlockStart::Text),
        delta(1, "a \u{1f600}\"\\"),
        Event::Citation { choice: 0, block: 1, citation: Citation { start: Some(0), end: Some(1), ..citation() } },
        close(1),
        open(2, BlockStart::Refusal),
        delta(2, "no"),
        close(2),
        open(3, call("c")),
        delta(3, "{\"a\":"),
        delta(3, "1}"),
        close(3),
        finish(Finish::ToolCalls),
        Event::Usage(usage),
        Event::End,
    ];
    let mut writer = Responses.write_events(head());
    let mut reader = Responses.read_events();
    let (mut out, mut seen) = (Vec::new(), Vec::new());
    for event in &events {
        writer.event(event, &mut out);
    }
    SseDecoder::new(MAX_EVENT_BYTES).push(&out, &mut |event| {
        reader.event(event.name, event.data, &mut |event| seen.push(format!("{event:?}")));
    });
    let expected: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn statuses_are_those_that_openai_has() {
    use crate::conversation::ErrorClass as Class;
    let cases = [
        (Class::InvalidRequest, 422, 422),
        (Class::InvalidRequest, 403, 400),
        (Class::Quota, 402, 429),
        (Class::Unavailable, 529, 503),
        (Class::BadGateway, 424, 502),
        (Class::Timeout, 408, 408),
        (Class::Authentication, 400, 401),
    ];
    for (class, status, expected) in cases {
        let failure = Failure::new(status, class, "m");
        assert_eq!(Responses.write_error(&failure, Some("r"), &mut Vec::new()), expected, "{class:?}");
    }
}

#[test]
fn schemas_travel_as_they_are_written() {
    let schema = r#"{"type":"object", "properties":{"n":{"maximum":1e400}}}"#;
    let request = Request {
        messages: vec![user(vec![Content::text("q")])],
        tools: vec![Tool {
            name: "f".into(),
            description: Some(Text::from("")),
            schema: Some(Json::parse(schema).unwrap()),
            strict: None,
            cache: None,
        }],
        ..Request::default()
    };
    let mut out = Vec::new();
    Responses.write_request(&request, &to("gpt-4o"), &mut Unsupported::default(), &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(schema) && !out.contains("description"), "{out}");
}
