use serde_json::{Value, json};

use super::*;
use crate::{
    conversation::{
        BlockStart, Call, Content, Effort, ErrorClass, Event, Finish, Message, Part, Reasoning, Role, Signature,
        SignatureOrigin, Text, TokenUsage, Tool, ToolChoice,
    },
    dialect::{
        ModelFacts, Quirks, StreamMode, golden,
        presets::{AI_STUDIO, VERTEX},
    },
};

fn to(model: &'static str, quirks: &'static Quirks) -> Destination<'static> {
    Destination { model, facts: ModelFacts::of(model), quirks }
}

#[test]
fn golden_requests() {
    golden::requests("gemini/requests", &Gemini, &to("gemini-3-pro-preview", AI_STUDIO));
    golden::requests("gemini/requests_old", &Gemini, &to("gemini-2.0-flash", VERTEX));
}

#[test]
fn golden_replies() {
    golden::replies("gemini/replies", &Gemini);
}

#[test]
fn golden_streams() {
    golden::streams("gemini/streams", &Gemini, StreamMode::Sse);
}

#[test]
fn golden_errors() {
    golden::errors("gemini/errors", &Gemini);
}

fn write(request: &Request<'_>, to: &Destination<'_>) -> (Value, Unsupported) {
    let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
    Gemini.write_request(request, to, &mut dropped, &mut out).unwrap();
    (serde_json::from_slice(&out).unwrap(), dropped)
}

fn asking(parts: Vec<Part<'static>>) -> Request<'static> {
    let hi = Message { role: Role::User, parts: vec![Content::text("hi").into()] };
    Request { messages: vec![hi, Message { role: Role::Assistant, parts }], ..Request::default() }
}

#[test]
fn thinking_is_written_as_the_model_takes_it() {
    let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
    let budget = |budget| Reasoning { budget: Some(budget), ..Reasoning::default() };
    let dynamic = Reasoning::default();
    let cases = [
        ("gemini-2.5-flash", effort(Effort::None), json!({"includeThoughts": false, "thinkingBudget": 0}), ""),
        ("gemini-2.5-pro", effort(Effort::None), json!({"includeThoughts": false, "thinkingBudget": 128}), "reasoning"),
        ("gemini-2.5-flash", effort(Effort::High), json!({"includeThoughts": true, "thinkingBudget": 24576}), ""),
        ("gemini-2.5-pro", effort(Effort::Max), json!({"includeThoughts": true, "thinkingBudget": 32768}), ""),
        ("gemini-2.5-flash-lite", budget(10), json!({"includeThoughts": true, "thinkingBudget": 512}), "reasoning"),
        ("gemini-2.5-flash", budget(2000), json!({"includeThoughts": true, "thinkingBudget": 2000}), ""),
        ("gemini-2.5-flash", dynamic, json!({"includeThoughts": true, "thinkingBudget": -1}), ""),
        ("gemini-3.1-pro", budget(2000), json!({"includeThoughts": true, "thinkingLevel": "MEDIUM"}), ""),
        ("gemini-3-pro", budget(2000), json!({"includeThoughts": true, "thinkingLevel": "HIGH"}), "reasoning"),
        (
            "gemini-3-pro",
            effort(Effort::Minimal),
            json!({"includeThoughts": true, "thinkingLevel": "LOW"}),
            "reasoning",
        ),
        (
            "gemini-3.1-flash",
            effort(Effort::Max),
            json!({"includeThoughts": true, "thinkingLevel": "HIGH"}),
            "reasoning",
        ),
        ("gemini-3-flash", effort(Effort::Minimal), json!({"includeThoughts": true, "thinkingLevel": "MINIMAL"}), ""),
        ("gemini-3-pro", effort(Effort::None), json!({"includeThoughts": false, "thinkingLevel": "LOW"}), "reasoning"),
        ("gemini-3-pro", dynamic, json!({"includeThoughts": true}), ""),
        ("gemini-2.0-flash", effort(Effort::High), Value::Null, "reasoning"),
        ("gemini-2.0-flash", effort(Effort::None), Value::Null, ""),
    ];
    for (model, reasoning, expected, lost) in cases {
        let request = Request { reasoning: Some(reasoning), ..asking(Vec::new()) };
        let (body, dropped) = write(&request, &to(model, AI_STUDIO));
        assert_eq!(body["generationConfig"]["thinkingConfig"], expected, "{model} {reasoning:?}");
        assert_eq!(dropped.to_string(), lost, "{model} {reasoning:?}");
    }
}

#[test]
fn what_is_out_of_range_is_clamped_and_named() {
    let mut request = asking(Vec::new());
    request.sampling.temperature = Some(3.0);
    request.sampling.stop = ["a", "b", "", "c", "d", "e", "f"].map(Text::from).to_vec();
    request.sampling.seed = Some(i64::MAX);
    request.sampling.frequency_penalty = Some(-9.0);
    request.sampling.n = Some(1);
    request.sampling.logprobs = Some(true);
    request.sampling.top_logprobs = Some(50);
    request.user = Some("u".into());
    request.parallel_tool_calls = Some(false);
    let (body, dropped) = write(&request, &to("gemini-2.5-pro", AI_STUDIO));
    assert_eq!(
        body["generationConfig"],
        json!({"temperature": 2.0, "frequencyPenalty": -2.0, "seed": i32::MAX, "stopSequences": ["a", "b", "c", "d", "e"],
            "responseLogprobs": true, "logprobs": 20})
    );
    let expected = "temperature, frequency_penalty, seed, stop, logprobs, parallel_tool_calls, user;hint";
    assert_eq!(dropped.to_string(), expected);
}

fn call(id: &'static str, signature: Option<Signature<'static>>) -> Part<'static> {
    Content::Call(Call { id: id.into(), name: "f".into(), arguments: "{}".into(), signature }).into()
}

fn proof(maker: SignatureOrigin, value: &'static str) -> Signature<'static> {
    Signature { maker, value: value.into() }
}

#[test]
fn only_google_s_signatures_reach_google() {
    use base64::Engine as _;
    let lost = base64::engine::general_purpose::STANDARD.encode("skip_thought_signature_validator");
    let claude = Content::Thinking { text: "hm".into(), signature: Some(proof(SignatureOrigin::Anthropic, "EqQB")) };
    let own = Content::Thinking { text: "ha".into(), signature: Some(proof(SignatureOrigin::Google, "AA==")) };
    let cases = [
        (vec![call("a", None), call("b", None)], vec![Some(lost.as_str()), None], ""),
        (vec![call("a", Some(proof(SignatureOrigin::OpenAi, "x")))], vec![Some(lost.as_str())], ""),
        (vec![call("a", Some(proof(SignatureOrigin::Google, "c2ln"))), call("b", None)], vec![Some("c2ln"), None], ""),
        (vec![claude.into(), call("a", Some(proof(SignatureOrigin::Google, "c2ln")))], vec![Some("c2ln")], "thinking"),
        (vec![own.into()], vec![Some("AA==")], ""),
        (vec![Content::Redacted(proof(SignatureOrigin::Anthropic, "x")).into()], vec![None], "thinking"),
        (vec![Content::Redacted(proof(SignatureOrigin::Google, "x")).into()], vec![None], "thinking"),
    ];
    for (parts, signatures, lost) in cases {
        let (body, dropped) = write(&asking(parts), &to("gemini-3-pro", VERTEX));
        let written = body["contents"][1]["parts"].as_array().unwrap();
        let found: Vec<_> = written.iter().map(|part| part["thoughtSignature"].as_str()).collect();
        assert_eq!(found, signatures, "{body}");
        assert_eq!(dropped.to_string(), lost);
    }
    // Older models require none.
    let (body, _) = write(&asking(vec![call("a", None)]), &to("gemini-2.5-pro", VERTEX));
    assert_eq!(body["contents"][1]["parts"][0], json!({"functionCall": {"name": "f", "args": {}}}));
}

#[test]
fn signatures_survive_clients_that_write_base64_in_their_own_way() {
    let cases = [
        (proof(SignatureOrigin::Google, "c2ln"), false),
        (proof(SignatureOrigin::Anthropic, "EqQB+a/b=="), false),
        (proof(SignatureOrigin::Anthropic, "EqQB+a/b=="), true),
        (proof(SignatureOrigin::OpenAi, "gAAAA_B-c="), false),
        (proof(SignatureOrigin::OpenAi, "no base64 at all: é"), false),
    ];
    for (signature, redacted) in cases {
        let written = signature::write(&signature, redacted).into_owned();
        let text = written.decode();
        assert!(
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) && text.len().is_multiple_of(4),
            "{text}"
        );
        let url_safe = text.replace('+', "-").replace('/', "_");
        for spelled in [text.to_string(), url_safe.clone(), url_safe.trim_end_matches('=').to_owned()] {
            let (read, was_redacted) = signature::read(spelled.into());
            assert_eq!((read, was_redacted), (signature.clone(), redacted));
        }
    }
    // One of Google's own that begins in the same way.
    let (read, redacted) = signature::read("VEdhAAAA".into());
    assert_eq!((read, redacted), (proof(SignatureOrigin::Google, "VEdhAAAA"), false));
}

#[test]
fn choices_go_both_ways() {
    let names = || vec!["f".into(), "g".into()];
    let cases = [
        (ToolChoice::Auto, json!({"mode": "AUTO"})),
        (ToolChoice::None, json!({"mode": "NONE"})),
        (ToolChoice::Required, json!({"mode": "ANY"})),
        (ToolChoice::Named("f".into()), json!({"mode": "ANY", "allowedFunctionNames": ["f"]})),
        (
            ToolChoice::Allowed { names: names(), required: true },
            json!({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
        ),
        (
            ToolChoice::Allowed { names: names(), required: false },
            json!({"mode": "VALIDATED", "allowedFunctionNames": ["f", "g"]}),
        ),
    ];
    for (choice, expected) in cases {
        let tool = Tool { name: "f".into(), description: None, schema: None, strict: Some(true), cache: None };
        let request = Request { tools: vec![tool], tool_choice: Some(choice.clone()), ..asking(Vec::new()) };
        let (body, dropped) = write(&request, &to("gemini-2.5-pro", AI_STUDIO));
        assert_eq!(body["toolConfig"]["functionCallingConfig"], expected);
        assert_eq!(dropped.to_string(), "strict");
        let body = body.to_string();
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        assert_eq!(Gemini.read_request(&top).unwrap().tool_choice, Some(choice));
    }
}

fn head(mode: StreamMode) -> ReplyHead {
    ReplyHead { id: "made".into(), model: "asked".into(), created: 0, include_usage: false, mode, estimated_input: 9 }
}

fn stream(mode: StreamMode, events: &[Event<'_>]) -> String {
    let (mut writer, mut out) = (Gemini.write_events(head(mode)), Vec::new());
    for event in events {
        writer.event(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

fn chunks(stream: &str) -> Vec<Value> {
    let events = stream.strip_suffix("\r\n\r\n").unwrap().split("\r\n\r\n");
    events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

fn opened(block: u32, id: &'static str) -> Event<'static> {
    let opened = BlockStart::Call { id: id.into(), name: "f".into(), signature: None };
    Event::Open { choice: 0, block, opened }
}

fn delta(block: u32, text: &'static str) -> Event<'static> {
    Event::Delta { choice: 0, block, text: text.into() }
}

fn finish(reason: Finish) -> Event<'static> {
    Event::Finish { choice: 0, reason, stop_sequence: None }
}

#[test]
fn calls_that_come_interleaved_are_written_whole() {
    let usage = TokenUsage { input: Some(3), output: Some(5), reasoning: Some(2), ..TokenUsage::default() };
    let written = stream(
        StreamMode::Sse,
        &[
            opened(0, "a"),
            opened(1, "b"),
            delta(0, "{\"x\":"),
            delta(1, "{\"y\":1.0}"),
            Event::Close { choice: 0, block: 1 },
            delta(0, "12345678901234567890}"),
            opened(2, "c"),
            // Neither of the others is closed.
            finish(Finish::ToolCalls),
            Event::Usage(usage),
            Event::End,
            delta(0, "too late"),
        ],
    );
    let chunks = chunks(&written);
    let call = |chunk: &Value| chunk["candidates"][0]["content"]["parts"][0]["functionCall"].clone();
    assert_eq!(call(&chunks[0]), json!({"id": "b", "name": "f", "args": {"y": 1.0}}));
    assert!(written.contains(r#""args":{"x":12345678901234567890}"#), "{written}");
    assert_eq!(call(&chunks[2]), json!({"id": "c", "name": "f", "args": {}}));
    assert_eq!(chunks[3]["candidates"][0]["finishReason"], "STOP");
    let expected =
        json!({"promptTokenCount": 3, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 8});
    assert_eq!(chunks[3]["usageMetadata"], expected);
    assert_eq!(chunks.len(), 4);
    assert!(chunks.iter().all(|chunk| chunk["responseId"] == "made" && chunk["modelVersion"] == "asked"));
}

#[test]
fn a_call_without_an_object_is_malformed() {
    let cut = [opened(0, "a"), delta(0, "{\"x\":"), finish(Finish::ToolCalls), Event::End];
    let chunks = chunks(&stream(StreamMode::Sse, &cut));
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0]["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
    // The token limit is the more exact reason.
    let cut = [opened(0, "a"), delta(0, "{\"x\":"), finish(Finish::Length), Event::End];
    let last = stream(StreamMode::Sse, &cut);
    assert!(last.contains(r#""finishReason":"MAX_TOKENS""#), "{last}");
}

#[test]
fn arguments_over_several_lines_stay_in_their_event() {
    let told = [opened(0, "c1"), delta(0, "{\"a\":\r\n 1,\n\"b\":\"\\n\"\r}"), finish(Finish::ToolCalls), Event::End];
    let chunks = chunks(&stream(StreamMode::Sse, &told));
    let args = chunks.iter().find_map(|chunk| chunk.pointer("/candidates/0/content/parts/0/functionCall/args"));
    assert_eq!(args, Some(&json!({"a": 1, "b": "\n"})));
}

#[test]
fn arrays_are_json_at_their_end() {
    let failure = || Gemini.read_error(503, b"");
    let open = Event::Open { choice: 0, block: 0, opened: BlockStart::Text };
    let cases = [
        (vec![Event::End], 1),
        (vec![open.clone(), delta(0, "a"), delta(0, "b"), Event::End], 3),
        (vec![Event::Error(failure())], 1),
        (vec![open, delta(0, "a"), Event::Error(failure()), Event::End], 2),
    ];
    for (events, elements) in cases {
        let written = stream(StreamMode::JsonArray, &events);
        let array: Vec<Value> = serde_json::from_str(&written).unwrap();
        assert_eq!(array.len(), elements, "{written}");
    }
}

#[test]
fn calls_get_ids_that_differ_between_replies() {
    let ids = |id: &str| -> Vec<String> {
        let call = json!({"functionCall": {"name": "f", "args": {}}});
        let body = json!({"responseId": id, "candidates": [{"content": {"parts": [call, call]}}]}).to_string();
        let reply = Gemini.read_reply(body.as_bytes()).unwrap();
        let parts = reply.choices[0].parts.iter();
        parts
            .filter_map(
                |part| if let Content::Call(call) = &part.content { Some(call.id.decode().into()) } else { None },
            )
            .collect()
    };
    let (first, second) = (ids("r1"), ids("r2"));
    assert_eq!(first, ids("r1"));
    let all: std::collections::HashSet<_> = first.iter().chain(&second).collect();
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all.iter().all(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')), "{all:?}");
}

#[test]
fn errors_have_google_s_statuses() {
    let cases = [
        (ErrorClass::InvalidRequest, 422, 400, "INVALID_ARGUMENT"),
        (ErrorClass::InvalidRequest, 405, 405, "INVALID_ARGUMENT"),
        (ErrorClass::Quota, 402, 429, "RESOURCE_EXHAUSTED"),
        (ErrorClass::Unavailable, 529, 503, "UNAVAILABLE"),
        (ErrorClass::Timeout, 408, 504, "DEADLINE_EXCEEDED"),
    ];
    for (class, status, expected, word) in cases {
        let failure = Failure { retry_after: Some(2), ..Failure::new(status, class, "m") };
        let mut out = Vec::new();
        assert_eq!(Gemini.write_error(&failure, Some("req"), &mut out), expected);
        let body: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(body["error"]["status"], word);
        assert_eq!(Gemini.read_error(expected, &out).retry_after, Some(2));
    }
}

#[test]
fn hostile_bodies_cost_little() {
    let deep = format!("{}1{}", "[".repeat(600), "]".repeat(600));
    let calls = (0..10_000).map(|_| r#"{"functionCall":{"name":"f"}}"#).collect::<Vec<_>>().join(",");
    let results = (0..10_000).map(|_| r#"{"functionResponse":{"name":"f"}}"#).collect::<Vec<_>>().join(",");
    let messages = (0..10_000).map(|_| r#"{"role":"model","parts":[{"text":"ab"}]}"#).collect::<Vec<_>>().join(",");
    let tools = (0..1000).map(|n| format!(r#"{{"functionDeclarations":[{{"name":"f{n}","parameters":{{}}}}]}}"#));
    let tools = tools.collect::<Vec<_>>().join(",");
    let bodies = [
        (
            false,
            format!(
                r#"{{"contents":[{{"role":"model","parts":[{{"functionCall":{{"name":"f","args":{{"a":{deep}}}}}}}]}}]}}"#
            ),
        ),
        (
            false,
            format!(
                r#"{{"contents":[],"tools":[{{"functionDeclarations":[{{"name":"f","parameters":{{"a":{deep}}}}}]}}]}}"#
            ),
        ),
        (true, format!(r#"{{"contents":[{{"role":"model","parts":[{calls}]}},{{"parts":[{results}]}}]}}"#)),
        (true, format!(r#"{{"contents":[{messages}]}}"#)),
        (true, format!(r#"{{"contents":[],"tools":[{tools}]}}"#)),
    ];
    let start = std::time::Instant::now();
    for (good, body) in &bodies {
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        assert_eq!(Gemini.read_request(&top).is_ok(), *good, "{}", &body[..80]);
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn references_that_multiply_are_cut() {
    // Each level refers ten times to the next one: ten to the twentieth in all.
    let levels: serde_json::Map<_, _> = (0..20)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/l{}", n + 1)});
            let properties: serde_json::Map<_, _> = (0..10).map(|p| (format!("p{p}"), next.clone())).collect();
            (format!("l{n}"), json!({"type": "object", "properties": properties}))
        })
        .collect();
    let schema = json!({"$ref": "#/$defs/l0", "$defs": levels}).to_string();
    let (text, lost) = schema::write("f", &crate::conversation::Json::parse(&schema).unwrap()).unwrap();
    assert!(lost && text.len() < 1_000_000, "{}", text.len());
}
