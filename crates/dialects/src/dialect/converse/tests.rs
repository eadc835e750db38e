//! Golden files, and cases that these can't show: other models, hostile bodies, orders of events that Bedrock itself
//! never sends.

use serde_json::{Value, json};

use super::*;
use crate::{
    conversation::{
        BlockStart, Call, Content, Effort, Event, Finish, Format, Json, Message, Part, Reasoning, Role, Signature,
        SignatureOrigin, Text, TokenUsage, Tool, ToolChoice, ToolResult,
    },
    dialect::{ModelFacts, StreamMode, golden, presets::BEDROCK},
    stream::AwsDecoder,
};

const CLAUDE_4_5: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const CLAUDE_4_6: &str = "global.anthropic.claude-sonnet-4-6";
const CLAUDE_3: &str = "anthropic.claude-3-5-haiku-20241022-v1:0";
const NOVA: &str = "us.amazon.nova-2-lite-v1:0";
const GPT_OSS: &str = "openai.gpt-oss-120b-1:0";
const UNKNOWN: &str = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc";

fn to(model: &str) -> Destination<'_> {
    Destination { model, facts: ModelFacts::of(model), quirks: BEDROCK }
}

#[test]
fn golden_requests() {
    golden::requests("converse/requests", &Converse, &to(CLAUDE_4_5));
}

#[test]
fn golden_replies() {
    golden::replies("converse/replies", &Converse);
}

#[test]
fn golden_streams() {
    golden::streams("converse/streams", &Converse, StreamMode::EventStream);
}

#[test]
fn golden_errors() {
    golden::errors("converse/errors", &Converse);
}

/// The body that is written for `request`, and the names of its unsupported fields.
fn written(request: &Request<'_>, model: &str) -> (Value, String) {
    let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
    Converse.write_request(request, &to(model), &mut dropped, &mut out).unwrap();
    (serde_json::from_slice(&out).unwrap(), dropped.to_string())
}

fn says(role: Role, content: Content<'static>) -> Message<'static> {
    Message { role, parts: vec![content.into()] }
}

fn asked() -> Request<'static> {
    Request { messages: vec![says(Role::User, Content::text("hi"))], ..Request::default() }
}

fn called(name: &'static str) -> Content<'static> {
    Content::Call(Call { id: "call/1".into(), name: name.into(), arguments: "{\"a\":1}".into(), signature: None })
}

/// A tool loop: the model has called `look`, and the tool has replied.
fn in_loop(thoughts: Option<SignatureOrigin>) -> Request<'static> {
    let mut request = asked();
    let mut answer = says(Role::Assistant, called("look"));
    if let Some(maker) = thoughts {
        let signature = Some(Signature { maker, value: "c2ln".into() });
        answer.parts.insert(0, Content::Thinking { text: "hm".into(), signature }.into());
    }
    let result = ToolResult { id: "call/1".into(), name: None, parts: Vec::new(), failed: true };
    request.messages.push(answer);
    request.messages.push(says(Role::User, Content::Result(result)));
    request
}

fn tool(name: &'static str) -> Tool<'static> {
    Tool { name: name.into(), description: None, schema: None, strict: None, cache: None }
}

#[test]
fn every_model_is_told_to_think_in_its_way() {
    let hard = Reasoning { effort: Some(Effort::High), ..Reasoning::default() };
    let exact = Reasoning { budget: Some(5000), ..Reasoning::default() };
    let check = |model, reasoning, max_tokens, config: Value, additional: Value, names: &str| {
        let mut request = Request { reasoning: Some(reasoning), max_tokens, ..asked() };
        request.sampling.temperature = Some(0.5);
        let (body, dropped) = written(&request, model);
        let found = (&body["inferenceConfig"], &body["additionalModelRequestFields"], dropped.as_str());
        assert_eq!(found, (&config, &additional, names), "{model} {reasoning:?} {max_tokens:?}");
    };
    let budget = |n: u64| json!({"thinking": {"type": "enabled", "budget_tokens": n}});
    check(CLAUDE_4_5, hard, None, json!({"maxTokens": 16384 + 8192}), budget(16384), "temperature");
    check(CLAUDE_4_5, hard, Some(8000), json!({"maxTokens": 8000}), budget(4000), "temperature");
    check(CLAUDE_4_5, hard, Some(500), json!({"maxTokens": 500, "temperature": 0.5}), Value::Null, "reasoning");
    check(CLAUDE_4_5, exact, Some(5001), json!({"maxTokens": 5001}), budget(5000), "temperature");
    check(
        CLAUDE_4_6,
        exact,
        Some(9000),
        json!({"maxTokens": 9000}),
        json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}),
        "temperature",
    );
    let nova = |effort: &str| json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}});
    check(NOVA, hard, Some(900), Value::Null, nova("high"), "max_tokens, temperature");
    check(NOVA, exact, Some(900), json!({"maxTokens": 900, "temperature": 0.5}), nova("medium"), "");
    check(GPT_OSS, hard, None, json!({"temperature": 0.5}), json!({"reasoning_effort": "high"}), "");
    check(UNKNOWN, hard, None, json!({"temperature": 0.5}), Value::Null, "reasoning");
}

#[test]
fn claude_does_not_think_when_it_must_call_or_has_lost_its_thoughts() {
    let reasoning = Some(Reasoning::default());
    // Models with adaptive thinking do not require the reasoning before their calls.
    for (request, with_budget, adaptive) in [
        (Request { reasoning, ..in_loop(Some(SignatureOrigin::Anthropic)) }, (true, ""), (true, "")),
        (Request { reasoning, ..in_loop(None) }, (false, "reasoning"), (true, "")),
        (
            Request { reasoning, ..in_loop(Some(SignatureOrigin::OpenAi)) },
            (false, "reasoning, thinking"),
            (true, "thinking"),
        ),
        (
            Request { reasoning, tools: vec![tool("f")], tool_choice: Some(ToolChoice::Required), ..asked() },
            (false, "reasoning"),
            (false, "reasoning"),
        ),
    ] {
        for (model, expected) in [(CLAUDE_4_5, with_budget), (CLAUDE_4_6, adaptive)] {
            let (body, dropped) = written(&request, model);
            let thinking = body["additionalModelRequestFields"]["thinking"].is_object();
            assert_eq!((thinking, dropped.as_str()), expected, "{model} {request:?}");
        }
    }
}

#[test]
fn tools_of_the_history_are_defined() {
    let (body, dropped) = written(&in_loop(None), UNKNOWN);
    let spec = json!({"name": "look", "inputSchema": {"json": {"type": "object", "properties": {}}}});
    assert_eq!(body["toolConfig"], json!({"tools": [{"toolSpec": spec}]}));
    let id = body["messages"][1]["content"][0]["toolUse"]["toolUseId"].as_str().unwrap();
    assert!(id.len() <= 64 && !id.contains('/'), "{id}");
    let result = &body["messages"][2]["content"][0]["toolResult"];
    assert_eq!(result, &json!({"toolUseId": id, "content": [{"text": "(empty)"}]}));
    assert_eq!(dropped, "is_error;hint");
    let (body, _) = written(&in_loop(None), CLAUDE_4_5);
    assert_eq!(body["messages"][2]["content"][0]["toolResult"]["status"], "error");
}

#[test]
fn choices_of_tools() {
    let base = Request { tools: vec![tool("f"), tool("g")], ..asked() };
    let allowed = |required| ToolChoice::Allowed { names: vec!["g".into()], required };
    let all = vec!["f", "g"];
    for (choice, history, tools, expected, names) in [
        (ToolChoice::Auto, false, all.clone(), Value::Null, ""),
        (ToolChoice::Required, false, all.clone(), json!({"any": {}}), ""),
        (ToolChoice::Named("g".into()), false, all.clone(), json!({"tool": {"name": "g"}}), ""),
        (allowed(false), false, vec!["g"], Value::Null, ""),
        (allowed(true), false, vec!["g"], json!({"any": {}}), ""),
        (ToolChoice::None, false, vec![], Value::Null, ""),
        (ToolChoice::None, true, all.clone(), Value::Null, "tool_choice"),
    ] {
        let messages = if history { in_loop(None).messages } else { asked().messages };
        let request = Request { tool_choice: Some(choice.clone()), messages, ..base.clone() };
        let (body, dropped) = written(&request, CLAUDE_4_5);
        let config = &body["toolConfig"];
        let written: Vec<&str> = config["tools"]
            .as_array()
            .map(|tools| tools.iter().map(|tool| tool["toolSpec"]["name"].as_str().unwrap()).collect())
            .unwrap_or_default();
        assert_eq!((written, &config["toolChoice"], dropped.as_str()), (tools, &expected, names), "{choice:?}");
    }
    // Where the answer is a call, too, the model may give it instead of the required call.
    let schema = Json::of(&json!({"type": "object"}));
    let format = Format::Schema { name: None, description: None, schema, strict: None };
    for (choice, names) in
        [(ToolChoice::Auto, ""), (ToolChoice::Named("g".into()), "tool_choice"), (ToolChoice::Required, "tool_choice")]
    {
        let request = Request { tool_choice: Some(choice.clone()), format: Some(format.clone()), ..base.clone() };
        let (_, dropped) = written(&request, "us.amazon.nova-lite-v1:0");
        assert_eq!(dropped, names, "{choice:?}");
    }
}

#[test]
fn one_call_at_a_time_is_for_claude_alone() {
    let alone = Request { tools: vec![tool("f")], parallel_tool_calls: Some(false), ..asked() };
    let told = json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
    let forced = Request { tool_choice: Some(ToolChoice::Required), ..alone.clone() };
    for (request, model, additional, names) in [
        (&alone, CLAUDE_4_5, told, ""),
        (&alone, NOVA, Value::Null, "parallel_tool_calls"),
        (&forced, CLAUDE_4_5, Value::Null, "parallel_tool_calls"),
    ] {
        let (body, dropped) = written(request, model);
        assert_eq!((&body["additionalModelRequestFields"], dropped.as_str()), (&additional, names), "{model}");
    }
}

fn with_schema(schema: &'static str) -> Request<'static> {
    let schema = Json::parse(schema).unwrap();
    Request {
        format: Some(Format::Schema { name: Some("out".into()), description: None, schema, strict: Some(true) }),
        ..asked()
    }
}

#[test]
fn the_form_of_the_answer_is_asked_for_as_the_model_can() {
    let request = with_schema(r#"{"type":"object","properties":{"b":{"type":"integer","minimum":1},"a":{}}}"#);
    let (body, dropped) = written(&request, CLAUDE_4_5);
    let expected = concat!(
        r#"{"type":"object","properties":{"b":{"type":"integer","description":"minimum: 1"},"a":{}},"#,
        r#""additionalProperties":false}"#
    );
    let schema = &body["outputConfig"]["textFormat"]["structure"]["jsonSchema"];
    assert_eq!(schema, &json!({"schema": expected, "name": "out"}));
    assert_eq!(dropped, "schema keywords");

    for model in [CLAUDE_3, NOVA] {
        let (body, dropped) = written(&request, model);
        assert_eq!(body["outputConfig"], Value::Null);
        assert_eq!(body["toolConfig"]["toolChoice"], json!({"tool": {"name": "json_output"}}));
        assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]["properties"]["b"]["minimum"], 1);
        assert_eq!(dropped, "");
    }
    let both = Request { tools: vec![tool("f")], ..request };
    let (body, _) = written(&both, NOVA);
    assert_eq!(body["toolConfig"]["toolChoice"], json!({"any": {}}));
    assert_eq!(body["toolConfig"]["tools"].as_array().unwrap().len(), 2);

    let (body, _) = written(&Request { format: Some(Format::Json), ..asked() }, NOVA);
    assert!(body["system"][0]["text"].as_str().unwrap().contains("JSON"));
}

#[test]
fn the_effort_stands_beside_the_format() {
    let request = Request {
        reasoning: Some(Reasoning { effort: Some(Effort::Minimal), ..Reasoning::default() }),
        ..with_schema(r#"{"type":"object","properties":{}}"#)
    };
    let (body, _) = written(&request, CLAUDE_4_6);
    assert_eq!(body["outputConfig"]["effort"], "low");
    assert_eq!(body["additionalModelRequestFields"], json!({"thinking": {"type": "adaptive"}}));
}

#[test]
fn schemas_of_tools_have_an_object_for_a_root() {
    let check = |schema: &'static str, model, expected: Value, names: &str| {
        let tool = Tool { schema: Some(Json::parse(schema).unwrap()), ..tool("f") };
        let (body, dropped) = written(&Request { tools: vec![tool], ..asked() }, model);
        let found = &body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"];
        assert_eq!((found, dropped.as_str()), (&expected, names), "{schema}");
    };
    let nothing = json!({"type": "object", "properties": {}});
    check("{}", NOVA, nothing.clone(), "");
    check(r#"{"properties":{"x":{}}}"#, NOVA, json!({"type": "object", "properties": {"x": {}}}), "");
    check(r#"{"type":["object","null"]}"#, NOVA, nothing.clone(), "");
    check(r#"{"type":"array"}"#, NOVA, nothing.clone(), "schema keywords");
    check(r#"{"anyOf":[{"type":"object"}]}"#, NOVA, nothing, "schema keywords");
    check(r#"{"anyOf":[{"type":"object"}]}"#, CLAUDE_4_5, json!({"type": "object"}), "schema keywords");
}

#[test]
fn strictness_yields_to_keywords_that_claude_does_not_take() {
    let strict = |schema| Tool { schema: Some(Json::parse(schema).unwrap()), strict: Some(true), ..tool("f") };
    let plain = r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#;
    let bounded = r#"{"type":"object","properties":{"a":{"type":"string","pattern":"^x"}}}"#;
    for (schema, model, expected, names) in [
        (plain, CLAUDE_4_5, json!(true), ""),
        (bounded, CLAUDE_4_5, Value::Null, "strict"),
        (plain, CLAUDE_3, Value::Null, "strict"),
        (bounded, GPT_OSS, json!(true), ""),
    ] {
        let (body, dropped) = written(&Request { tools: vec![strict(schema)], ..asked() }, model);
        let spec = &body["toolConfig"]["tools"][0]["toolSpec"];
        assert_eq!((&spec["strict"], dropped.as_str()), (&expected, names), "{schema} {model}");
        let kept = schema != bounded || spec["inputSchema"]["json"]["properties"]["a"]["pattern"] == "^x";
        assert!(kept, "{spec}");
    }
}

#[test]
fn only_some_models_take_cache_points() {
    let mut request = asked();
    request.messages[0].parts[0].cache = Some(crate::conversation::Cache { ttl: Some("1h".into()) });
    request.tools = vec![Tool { cache: Some(crate::conversation::Cache::default()), ..tool("f") }];
    let point = json!({"cachePoint": {"type": "default", "ttl": "1h"}});
    for (model, in_message, in_tools, names) in [
        (CLAUDE_4_5, true, true, ""),
        (NOVA, true, false, "cache_control;hint"),
        (UNKNOWN, false, false, "cache_control;hint"),
    ] {
        let (body, dropped) = written(&request, model);
        assert_eq!(body["messages"][0]["content"].get(1), in_message.then_some(&point), "{model}");
        assert_eq!(body["toolConfig"]["tools"].get(1).is_some(), in_tools, "{model}");
        assert_eq!(dropped, names, "{model}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let deep = format!(r#"{{"messages":[{{"role":"user","content":[{}1{}]}}]}}"#, "[".repeat(500), "]".repeat(500));
    for (body, expected) in [
        (r#"{"messages":{}}"#, "messages: invalid type: map, expected a sequence"),
        (r#"{"messages":[{"role":"model"}]}"#, "messages[0].role: expected user, assistant or system"),
        (
            r#"{"messages":[{"role":"user","content":[{"text":"a"},{"text":5}]}]}"#,
            "messages[0].content[1].text: expected a string",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"text":"a","image":{}}]}]}"#,
            "messages[0].content[0]: a block has exactly one member",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"image":{"format":"png","source":{}}}]}]}"#,
            "messages[0].content[0].image: a source with bytes or a location is required",
        ),
        (
            r#"{"messages":[{"role":"assistant","content":[{"toolUse":{"toolUseId":"a","name":"f","input":[]}}]}]}"#,
            "messages[0].content[0].toolUse.input: expected an object, at most 128 levels deep",
        ),
        (
            r#"{"inferenceConfig":{"maxTokens":"5"}}"#,
            "inferenceConfig.maxTokens: invalid type: string \"5\", expected u64",
        ),
        (r#"{"additionalModelRequestFields":[]}"#, "additionalModelRequestFields: expected an object"),
        (
            r#"{"outputConfig":{"textFormat":{"structure":{"jsonSchema":{"schema":"[1"}}}}}"#,
            "outputConfig.textFormat.structure.jsonSchema.schema: expected the text of a JSON object",
        ),
        (deep.as_str(), "messages[0].content[0]: invalid type: sequence, expected an object with exactly one member"),
    ] {
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        assert_eq!(Converse.read_request(&top).unwrap_err().to_string(), expected, "{body}");
    }
}

#[test]
fn large_and_deep_requests_are_carried() {
    let message =
        r#"{"role":"user","content":[{"text":"a"},{"document":{"name":"x","format":"txt","source":{"text":"t"}}}]}"#;
    let schema = format!("{}{{}}{}", r#"{"properties":{"a":"#.repeat(400), "}}".repeat(400));
    let tool = |schema| format!(r#"{{"toolSpec":{{"name":"f","strict":true,"inputSchema":{{"json":{schema}}}}}}}"#);
    let mut tools = vec![tool(r#"{"type":"object"}"#); 990];
    tools.extend(vec![tool(&schema); 10]);
    let body = format!(
        r#"{{"messages":[{}],"toolConfig":{{"tools":[{}]}}}}"#,
        vec![message; 10_000].join(","),
        tools.join(",")
    );
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let request = Converse.read_request(&top).unwrap();
    assert_eq!((request.messages.len(), request.tools.len()), (10_000, 1000));
    let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
    Converse.write_request(&request, &to(CLAUDE_4_5), &mut dropped, &mut out).unwrap();
    assert!(TopLevel::scan(&out).is_ok());
}

/// The frames that are written for `events`, one per line.
fn frames(events: &[Event<'_>]) -> Vec<String> {
    let head = ReplyHead {
        id: "made1".into(),
        model: "m".into(),
        created: 0,
        include_usage: true,
        mode: StreamMode::EventStream,
        estimated_input: 9,
    };
    let (mut writer, mut out) = (Converse.write_events(head), Vec::new());
    for event in events {
        writer.event(event, &mut out);
    }
    let mut frames = Vec::new();
    let read = AwsDecoder::default().push(&out, &mut |frame| {
        let [name, payload] = [frame.name, frame.payload].map(String::from_utf8_lossy);
        frames.push(format!("{name} {payload}").replace("\"contentBlockIndex\":", ""));
    });
    assert_eq!(read, Ok(()));
    frames
}

fn start() -> Event<'static> {
    Event::Start { id: None, model: None, usage: TokenUsage::default() }
}

fn open(block: u32, opened: BlockStart<'static>) -> Event<'static> {
    Event::Open { choice: 0, block, opened }
}

fn call(id: &'static str) -> BlockStart<'static> {
    BlockStart::Call { id: id.into(), name: "f".into(), signature: None }
}

fn delta(block: u32, text: &'static str) -> Event<'static> {
    Event::Delta { choice: 0, block, text: Text::from(text) }
}

const fn close(block: u32) -> Event<'static> {
    Event::Close { choice: 0, block }
}

const END: [&str; 1] =
    [r#"metadata {"usage":{"inputTokens":0,"outputTokens":0,"totalTokens":0},"metrics":{"latencyMs":0}}"#];

#[test]
fn calls_that_interleave_come_one_after_the_other() {
    let events = [
        start(),
        open(0, BlockStart::Text),
        delta(0, "I look"),
        open(1, call("a")),
        open(2, call("b")),
        delta(2, "{\"b\""),
        delta(1, "{\"a\":1}"),
        delta(0, "late"),
        delta(2, ":2}"),
        close(1),
        Event::Finish { choice: 0, reason: Finish::Stop, stop_sequence: None },
        Event::End,
        delta(0, "nothing follows"),
    ];
    let expected = [
        r#"messageStart {"role":"assistant"}"#,
        r#"contentBlockDelta {0,"delta":{"text":"I look"}}"#,
        "contentBlockStop {0}",
        r#"contentBlockStart {1,"start":{"toolUse":{"toolUseId":"a","name":"f"}}}"#,
        r#"contentBlockDelta {1,"delta":{"toolUse":{"input":"{\"a\":1}"}}}"#,
        "contentBlockStop {1}",
        r#"contentBlockStart {2,"start":{"toolUse":{"toolUseId":"b","name":"f"}}}"#,
        r#"contentBlockDelta {2,"delta":{"toolUse":{"input":"{\"b\":2}"}}}"#,
        "contentBlockStop {2}",
        r#"contentBlockDelta {3,"delta":{"text":"late"}}"#,
        "contentBlockStop {3}",
        r#"messageStop {"stopReason":"tool_use"}"#,
    ];
    // The text is held until both calls have ended, although it came before the end of the second one.
    assert_eq!(frames(&events), [&expected[..], &END].concat());
}

#[test]
fn sloppy_streams_are_made_whole() {
    let events = [
        open(0, BlockStart::Thinking),
        open(1, BlockStart::Text),
        delta(1, "a"),
        Event::Delta { choice: 1, block: 0, text: "another answer".into() },
        open(2, call("a")),
        Event::Usage(TokenUsage { input: Some(9), cached: Some(4), output: Some(2), ..TokenUsage::default() }),
        Event::End,
    ];
    let expected = [
        r#"messageStart {"role":"assistant"}"#,
        r#"contentBlockDelta {0,"delta":{"text":"a"}}"#,
        "contentBlockStop {0}",
        r#"contentBlockStart {1,"start":{"toolUse":{"toolUseId":"a","name":"f"}}}"#,
        r#"contentBlockDelta {1,"delta":{"toolUse":{"input":"{}"}}}"#,
        "contentBlockStop {1}",
        r#"messageStop {"stopReason":"tool_use"}"#,
        concat!(
            r#"metadata {"usage":{"inputTokens":5,"outputTokens":2,"totalTokens":11,"cacheReadInputTokens":4},"#,
            r#""metrics":{"latencyMs":0}}"#
        ),
    ];
    assert_eq!(frames(&events), expected);
}

#[test]
fn foreign_signatures_come_back_to_their_maker() {
    let sign = |maker, value: &'static str| Signature { maker, value: Text::from(value) };
    // In OpenAI's alphabet, which differs from that of a blob.
    let redacted = sign(SignatureOrigin::OpenAi, "gAAA-_x");
    let thoughts = Content::Thinking { text: "hm".into(), signature: Some(sign(SignatureOrigin::OpenAi, "e-_")) };
    let signed = Content::Call(Call {
        id: "a".into(),
        name: "f".into(),
        arguments: "{}".into(),
        signature: Some(sign(SignatureOrigin::Google, "c2ln")),
    });
    let parts: Vec<Part<'_>> = [Content::Redacted(redacted), thoughts, signed].map(Part::from).into();
    let choice = crate::conversation::Choice { parts, finish: Finish::Stop, stop_sequence: None, logprobs: Vec::new() };
    let reply = Reply { choices: vec![choice], ..Reply::default() };
    let mut out = Vec::new();
    write_reply::write(&reply, &mut out);
    let body: Value = serde_json::from_slice(&out).unwrap();
    // The client sends back the reply that it got.
    let next = json!({"messages": [body["output"]["message"]]}).to_string();
    let top = TopLevel::scan(next.as_bytes()).unwrap();
    let read = Converse.read_request(&top).unwrap();
    assert_eq!(read.messages[0].parts, reply.choices[0].parts);
    let (_, dropped) = written(&read, CLAUDE_4_5);
    assert_eq!(dropped, "thinking");
}

#[test]
fn a_stream_that_was_cut_has_no_end() {
    let mut reader = Converse.read_events();
    let mut seen = Vec::new();
    let mut sink = |event: Event<'_>| seen.push(format!("{event:?}"));
    reader.event(Some(b"contentBlockDelta"), br#"{"contentBlockIndex":0,"delta":{"text":"a"}}"#, &mut sink);
    reader.finish(&mut sink);
    assert!(seen.last().unwrap().starts_with("Delta"), "{seen:?}");
}

#[test]
fn an_event_that_is_no_json_ends_the_stream() {
    let mut reader = Converse.read_events();
    let mut seen = Vec::new();
    let mut sink = |event: Event<'_>| seen.push(format!("{event:?}"));
    reader.event(Some(b"contentBlockDelta"), br#"{"contentBlockIndex":0,"delta":{"text":"a"#, &mut sink);
    reader.event(Some(b"messageStop"), br#"{"stopReason":"end_turn"}"#, &mut sink);
    reader.finish(&mut sink);
    assert!(seen.len() == 1 && seen.iter().all(|event| event.starts_with("Error")), "{seen:?}");
}
