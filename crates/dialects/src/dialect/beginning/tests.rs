//! The events are those of the vendors' references for streams.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::*;
use crate::stream::aws::{write_event, write_exception};

/// Events with data only.
fn data(events: &[&str]) -> String {
    events.iter().map(|event| ["data: ", event, "\n\n"].concat()).collect()
}

/// Events named after their types.
fn named(events: &[&str]) -> String {
    let kind =
        |event: &str| serde_json::from_str::<serde_json::Value>(event).unwrap()["type"].as_str().unwrap().to_owned();
    events.iter().map(|event| ["event: ", &*kind(event), "\ndata: ", event, "\n\n"].concat()).collect()
}

/// How a stream begins, wherever it is cut in two.
fn check(dialect: DialectId, framing: Framing, stream: &[u8], expected: Beginning) {
    for at in 0..=stream.len() {
        let (a, b) = stream.split_at(at);
        let mut beginning = StreamBeginning::new(dialect, framing);
        let first = beginning.push(a);
        assert!(first == Beginning::Announced || first == expected, "{first:?} after {at} bytes");
        let all = beginning.push(b);
        assert_eq!(all, expected, "{dialect:?}, cut at {at}: {}", String::from_utf8_lossy(stream));
    }
}

fn sse(dialect: DialectId, stream: &str, expected: Beginning) {
    check(dialect, Framing::Sse, stream.as_bytes(), expected);
}

/// What the end of a stream shows after these events.
fn ends(dialect: DialectId, stream: &str) -> Beginning {
    let mut beginning = StreamBeginning::new(dialect, Framing::Sse);
    assert_eq!(beginning.push(stream.as_bytes()), Beginning::Announced, "{stream}");
    beginning.finish()
}

const CHAT_ROLE: &str = r#"{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const MESSAGE_START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"m","usage":{"input_tokens":3,"output_tokens":1}}}"#;
const TEXT_START: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const PING: &str = r#"{"type":"ping"}"#;
const CREATED: &str = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m","output":[]}}"#;
const IN_PROGRESS: &str = r#"{"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","status":"in_progress","output":[]}}"#;
const MESSAGE_ADDED: &str = r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}"#;

#[test]
fn what_announces_an_answer_is_none_of_it() {
    sse(DialectId::Chat, &format!(": keep-alive\n\n{}", data(&[CHAT_ROLE])), Beginning::Announced);
    // Azure begins with the filters of the prompt.
    let filters = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#;
    sse(DialectId::Chat, &data(&[filters, CHAT_ROLE]), Beginning::Announced);
    sse(DialectId::Messages, &named(&[MESSAGE_START, PING, TEXT_START]), Beginning::Announced);
    sse(DialectId::Responses, &named(&[CREATED, IN_PROGRESS, MESSAGE_ADDED]), Beginning::Announced);
    let empty = r#"{"candidates":[{"content":{"role":"model"},"index":0}],"modelVersion":"m","responseId":"r"}"#;
    sse(DialectId::Gemini, &data(&[empty]), Beginning::Announced);
    let mut frames = Vec::new();
    write_event(&mut frames, "messageStart", |out| out.extend_from_slice(br#"{"role":"assistant"}"#));
    check(DialectId::Converse, Framing::Aws, &frames, Beginning::Announced);
}

#[test]
fn text_reasoning_and_calls_are_content() {
    for delta in [
        r#"{"content":"hi"}"#,
        r#"{"reasoning_content":"hm"}"#,
        r#"{"refusal":"no"}"#,
        r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}"#,
    ] {
        let chunk = format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        sse(DialectId::Chat, &data(&[CHAT_ROLE, &chunk]), Beginning::Content);
    }
    for event in [
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s_1","name":"web_search","input":{}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}"#,
    ] {
        sse(DialectId::Messages, &named(&[MESSAGE_START, TEXT_START, PING, event]), Beginning::Content);
    }
    for event in [
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"hi"}"#,
        r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"hm"}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":""}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"web_search_call","id":"ws_1","status":"in_progress"}}"#,
    ] {
        sse(DialectId::Responses, &named(&[CREATED, IN_PROGRESS, event]), Beginning::Content);
    }
    for part in [
        r#"{"text":"hi"}"#,
        r#"{"text":"hm","thought":true}"#,
        r#"{"functionCall":{"name":"f","args":{}}}"#,
        r#"{"inlineData":{"mimeType":"image/png","data":"aGk="}}"#,
    ] {
        let chunk = format!(r#"{{"candidates":[{{"content":{{"role":"model","parts":[{part}]}},"index":0}}]}}"#);
        sse(DialectId::Gemini, &data(&[&chunk]), Beginning::Content);
        check(DialectId::Gemini, Framing::Array, format!("[{chunk}").as_bytes(), Beginning::Content);
    }
    for (name, payload) in [
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}"#),
        ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}"#),
    ] {
        let mut frames = Vec::new();
        write_event(&mut frames, "messageStart", |out| out.extend_from_slice(br#"{"role":"assistant"}"#));
        write_event(&mut frames, name, |out| out.extend_from_slice(payload.as_bytes()));
        check(DialectId::Converse, Framing::Aws, &frames, Beginning::Content);
    }
}

#[test]
fn errors_before_the_first_content_have_their_class() {
    let error = r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#;
    sse(DialectId::Chat, &data(&[CHAT_ROLE, error]), Beginning::Failed(ErrorClass::Internal));
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    sse(DialectId::Messages, &named(&[MESSAGE_START, overloaded]), Beginning::Failed(ErrorClass::Unavailable));
    let failed = r#"{"type":"response.failed","response":{"id":"resp_1","status":"failed","error":{"code":"rate_limit_exceeded","message":"slow down"},"output":[]}}"#;
    sse(DialectId::Responses, &named(&[CREATED, failed]), Beginning::Failed(ErrorClass::RateLimit));
    let busy = r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#;
    sse(DialectId::Gemini, &data(&[busy]), Beginning::Failed(ErrorClass::Unavailable));
    check(DialectId::Gemini, Framing::Array, format!("[{busy}").as_bytes(), Beginning::Failed(ErrorClass::Unavailable));
    let mut frames = Vec::new();
    write_event(&mut frames, "messageStart", |out| out.extend_from_slice(br#"{"role":"assistant"}"#));
    write_exception(&mut frames, "throttlingException", |out| out.extend_from_slice(br#"{"message":"slow down"}"#));
    check(DialectId::Converse, Framing::Aws, &frames, Beginning::Failed(ErrorClass::RateLimit));
    sse(DialectId::Chat, &data(&["{\"choices\":["]), Beginning::Failed(ErrorClass::BadGateway));
    let mut broken = StreamBeginning::new(DialectId::Converse, Framing::Aws);
    assert_eq!(broken.push(b"<html>no frames at all</html>"), Beginning::Failed(ErrorClass::BadGateway));
}

#[test]
fn events_inside_of_frames_are_read() {
    let chunk = |event: &str| format!(r#"{{"bytes":"{}"}}"#, BASE64_STANDARD.encode(event));
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#;
    let mut frames = Vec::new();
    write_event(&mut frames, "chunk", |out| out.extend_from_slice(chunk(MESSAGE_START).as_bytes()));
    check(DialectId::Messages, Framing::Invoke, &frames, Beginning::Announced);
    let mut failed = frames.clone();
    write_exception(&mut failed, "throttlingException", |out| out.extend_from_slice(br#"{"message":"slow down"}"#));
    check(DialectId::Messages, Framing::Invoke, &failed, Beginning::Failed(ErrorClass::RateLimit));
    for event in [TEXT_START, delta] {
        write_event(&mut frames, "chunk", |out| out.extend_from_slice(chunk(event).as_bytes()));
    }
    check(DialectId::Messages, Framing::Invoke, &frames, Beginning::Content);
}

#[test]
fn a_stream_that_ends_without_content_has_failed_unless_it_says_so_itself() {
    let cut = Beginning::Failed(ErrorClass::BadGateway);
    for stream in [String::new(), ": comment\n\n".into(), data(&[CHAT_ROLE]), "<html>busy</html>\n".into()] {
        assert_eq!(ends(DialectId::Chat, &stream), cut, "{stream}");
    }
    assert_eq!(ends(DialectId::Messages, &named(&[MESSAGE_START, PING])), cut);
    assert_eq!(ends(DialectId::Messages, &named(&[PING])), cut);
    assert_eq!(ends(DialectId::Responses, &named(&[CREATED])), cut);
    // How a stream of another form begins or ends is not known.
    assert_eq!(ends(DialectId::Chat, &data(&[r#"{"tokens":["a"]}"#])), Beginning::Content);
    // A model may have nothing to say.
    let nothing = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    sse(DialectId::Chat, &data(&[CHAT_ROLE, nothing]), Beginning::Content);
}

#[test]
fn whole_replies_are_judged_by_their_form() {
    let reply = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    assert_eq!(of_whole(DialectId::Chat, reply.as_bytes(), false), Beginning::Content);
    let error = r#"{"error":{"message":"slow down","type":"rate_limit_error","code":429}}"#;
    assert_eq!(of_whole(DialectId::Chat, error.as_bytes(), true), Beginning::Failed(ErrorClass::RateLimit));
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    assert_eq!(of_whole(DialectId::Messages, error.as_bytes(), true), Beginning::Failed(ErrorClass::Unavailable));
    for garbage in ["", "  \n", "<html><body>busy</body></html>", "upstream connect error", r#"{"choices":[{"#] {
        for dialect in DialectId::ALL {
            let judged = of_whole(dialect, garbage.as_bytes(), true);
            assert!(matches!(judged, Beginning::Failed(_)), "{dialect:?}: {garbage:?}: {judged:?}");
        }
    }
    let own = r#"{"generated_text":"hi"}"#;
    assert_eq!(of_whole(DialectId::Chat, own.as_bytes(), true), Beginning::Content);
    assert!(matches!(of_whole(DialectId::Chat, own.as_bytes(), false), Beginning::Failed(_)));
}
