use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "they are written in place")]
fn event(fields: Value) -> Bytes {
    let mut event = json!({"type": "response.create", "model": "m"});
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event.to_string().into()
}

fn accepted(fields: Value, histories: &Histories) -> Turn {
    read(&event(fields), histories).unwrap()
}

fn body(turn: &Turn) -> Value {
    serde_json::from_slice(&turn.body).unwrap()
}

/// The frame that refuses this message.
fn refused(message: impl Into<Bytes>, histories: &Histories) -> Value {
    serde_json::from_str(&read(&message.into(), histories).unwrap_err()).unwrap()
}

/// The frames of a stream that comes at once, and what can be continued.
fn frames(mut frames: Frames, stream: &str) -> (Vec<Value>, Option<(String, Vec<u8>)>) {
    let mut out = Vec::new();
    frames.push(stream.as_bytes(), &mut out);
    frames.finish(&mut out);
    (out.iter().map(|frame| serde_json::from_str(frame).unwrap()).collect(), frames.into_response())
}

fn sse(events: &[Value]) -> String {
    let one = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x"));
    events.iter().map(one).collect::<Vec<_>>().concat()
}

fn output_done(item: &Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": 0, "item": item})
}

fn completed(id: &str) -> Value {
    json!({"type": "response.completed", "response": {"id": id, "status": "completed"}})
}

#[test]
fn an_event_is_the_request_that_it_would_be_over_http() {
    let none = Histories::new(1000);
    let message = Bytes::from_static(
        br#"{"type":"response.create", "model":"m","stream_id":"a","generate":true,"input":[{"x":1.50}],"n":{"a" :1}}"#,
    );
    let turn = read(&message, &none).unwrap();
    assert_eq!(&*turn.body, br#"{"stream":true,"model":"m","input":[{"x":1.50}],"n":{"a" :1}}"#);
    assert_eq!((turn.lane.as_deref(), &*turn.input, turn.generates), (Some("a"), &br#"{"x":1.50}"#[..], true));
    assert_eq!(turn.model.as_deref(), Some("m"));
    let quiet = accepted(json!({"stream": false, "input": "q"}), &none);
    assert_eq!(body(&quiet), json!({"model": "m", "stream": true, "input": "q"}));
}

#[test]
fn a_previous_response_of_the_connection_is_sent_in_full() {
    let mut histories = Histories::new(1000);
    let first = accepted(json!({"input": "q"}), &histories);
    histories.remember(None, "resp_1".into(), first.input, br#"{"type":"message","role":"assistant","content":"a"}"#);
    let user = json!({"type": "message", "role": "user", "content": "q"});
    let answer = json!({"type": "message", "role": "assistant", "content": "a"});
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "o"});
    let next = accepted(json!({"previous_response_id": "resp_1", "input": [result]}), &histories);
    assert_eq!(body(&next), json!({"model": "m", "stream": true, "input": [user, answer, result]}));
    // Without input of its own, and in a chain.
    histories.remember(None, "resp_2".into(), next.input, b"");
    let last = accepted(json!({"previous_response_id": "resp_2"}), &histories);
    assert_eq!(body(&last)["input"], json!([user, answer, result]));
    // The latest replaces the one before it.
    let error = refused(event(json!({"previous_response_id": "resp_1", "input": "x"})), &histories);
    assert_eq!(error["error"]["code"], "previous_response_not_found");
}

#[test]
fn lanes_have_a_latest_response_each_and_continue_from_those_of_others() {
    let mut histories = Histories::new(1000);
    for number in 0..MAX_LANES {
        let lane = format!("lane{number}");
        accepted(json!({"stream_id": lane, "input": "q"}), &histories);
        histories.remember(Some(lane), format!("resp_{number}"), b"1".to_vec(), b"");
    }
    let turn = accepted(json!({"stream_id": "lane1", "previous_response_id": "resp_0", "input": [2]}), &histories);
    assert_eq!(body(&turn)["input"], json!([1, 2]));
    let error = refused(event(json!({"stream_id": "one more"})), &histories);
    assert_eq!((&error["status"], &error["stream_id"]), (&json!(400), &json!("one more")));
    assert_eq!(error["error"]["code"], "websocket_stream_limit_reached");
    assert_eq!(histories.bytes(), MAX_LANES);
    histories.forget(Some("lane0"));
    assert_eq!(histories.bytes(), MAX_LANES - 1);
}

#[test]
fn what_is_too_long_to_be_kept_is_not_found() {
    let mut histories = Histories::new(8);
    histories.remember(None, "resp_1".into(), b"1234".to_vec(), b"567");
    assert_eq!(histories.find("resp_1"), Some(&b"1234,567"[..]));
    histories.remember(None, "resp_2".into(), b"1234".to_vec(), b"5678");
    assert_eq!((histories.find("resp_1"), histories.find("resp_2"), histories.bytes()), (None, None, 0));
}

#[test]
fn events_that_are_not_served_are_refused_in_the_form_of_the_sdks() {
    let none = Histories::new(1000);
    for (message, code, param) in [
        ("", "bad_body", Value::Null),
        ("[]", "bad_body", Value::Null),
        ("{\"type\":\"response.create\"", "bad_body", Value::Null),
        ("{}", "unknown_event", json!("type")),
        (r#"{"type":"response.cancel"}"#, "unknown_event", json!("type")),
        (r#"{"type":"response.create","stream_id":7}"#, "bad_body", json!("stream_id")),
        (r#"{"type":"response.create","generate":"no"}"#, "bad_body", json!("generate")),
        (r#"{"type":"response.create","background":true}"#, "bad_body", json!("background")),
        (
            r#"{"type":"response.create","previous_response_id":"x"}"#,
            "previous_response_not_found",
            json!("previous_response_id"),
        ),
    ] {
        let frame = refused(message.to_owned(), &none);
        assert_eq!((&frame["type"], &frame["status"]), (&json!("error"), &json!(400)), "{message}");
        let error = &frame["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!(code), &param), "{message}");
        assert_eq!(error["type"], "invalid_request_error", "{message}");
        assert!(error["message"].is_string(), "{message}");
    }
    let long = event(json!({"stream_id": "a".repeat(257)}));
    assert_eq!(refused(long, &none)["error"]["param"], "stream_id");
    let steer = r#"{"type":"response.steer","previous_response_id":"r","input":[{"role":"user","content":"x"}]}"#;
    let frame = refused(steer, &none);
    assert_eq!(frame["type"], "response.steer.failed");
    assert_eq!(frame["error"]["code"], "steering_not_supported");
    assert_eq!(frame["steer"], json!({"input": [{"role": "user", "content": "x"}], "previous_response_id": "r"}));
}

#[test]
fn reasoning_that_is_not_stored_is_requested_in_a_form_that_can_be_sent_back() {
    let none = Histories::new(1000);
    let include = |fields| body(&accepted(fields, &none)).get("include").cloned();
    let encrypted = "reasoning.encrypted_content";
    assert_eq!(include(json!({"store": false, "reasoning": {"effort": "low"}})), Some(json!([encrypted])));
    let both = json!({"store": false, "reasoning": {}, "include": ["file_search_call.results"]});
    assert_eq!(include(both), Some(json!(["file_search_call.results", encrypted])));
    let there = json!({"store": false, "reasoning": {}, "include": [encrypted]});
    assert_eq!(include(there), Some(json!([encrypted])));
    assert_eq!(include(json!({"store": true, "reasoning": {}})), None);
    assert_eq!(include(json!({"store": false})), None, "the model may have no reasoning");
}

#[test]
fn a_warm_up_is_a_response_without_output() {
    let mut histories = Histories::new(1000);
    for fields in [json!({"generate": false}), json!({"prompt_cache_options": {"prewarm": true}, "generate": true})] {
        let mut fields = fields;
        fields["input"] = json!("context");
        fields["stream_id"] = json!("a");
        let turn = accepted(fields, &histories);
        assert!(!turn.generates);
        let frames = warm_up_frames(&turn, "0", 7).map(|frame| serde_json::from_str::<Value>(&frame).unwrap());
        for (number, (frame, (kind, status))) in
            frames.iter().zip([("response.created", "in_progress"), ("response.completed", "completed")]).enumerate()
        {
            assert_eq!((&frame["type"], &frame["sequence_number"]), (&json!(kind), &json!(number)));
            let response = &frame["response"];
            assert_eq!((&response["id"], &response["status"]), (&json!("resp_0"), &json!(status)));
            assert_eq!((&response["output"], &response["created_at"]), (&json!([]), &json!(7)));
            assert_eq!((&response["model"], &frame["stream_id"]), (&json!("m"), &json!("a")));
        }
        histories.remember(turn.lane, "resp_0".into(), turn.input, b"");
        let next = accepted(json!({"previous_response_id": "resp_0", "input": [1]}), &histories);
        assert_eq!(body(&next)["input"], json!([{"type": "message", "role": "user", "content": "context"}, 1]));
    }
}

#[test]
fn each_event_is_one_frame_wherever_the_network_cuts_the_stream() {
    let (call, text) = (json!({"type": "function_call", "call_id": "c"}), json!({"type": "message", "id": "ü"}));
    let events = [
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        output_done(&call),
        json!({"type": "response.output_text.delta", "delta": "ü\n"}),
        output_done(&text),
        completed("resp_1"),
    ];
    let stream = sse(&events) + "data: [DONE]\n\n";
    for cut in 0..stream.len() {
        let mut frames = Frames::new(None, true, 1000);
        let (mut out, (first, second)) = (Vec::new(), stream.as_bytes().split_at(cut));
        frames.push(first, &mut out);
        frames.push(second, &mut out);
        assert!(frames.has_ended());
        frames.finish(&mut out);
        let read: Vec<Value> = out.iter().map(|frame| serde_json::from_str(frame).unwrap()).collect();
        assert_eq!(read, events, "cut at {cut}");
        let (id, output) = frames.into_response().unwrap();
        assert_eq!((id.as_str(), String::from_utf8(output).unwrap()), ("resp_1", format!("{call},{text}")));
    }
}

#[test]
fn frames_have_the_lane_of_their_event() {
    let stream = sse(&[completed("r"), json!({"type": "error"})]);
    let (shown, _) = frames(Frames::new(Some("l\"1".into()), true, 1000), &stream);
    let mut expected = completed("r");
    expected["stream_id"] = json!("l\"1");
    assert_eq!(shown, [expected], "nothing follows the last event");
}

#[test]
fn errors_in_a_stream_have_the_form_of_errors_on_a_websocket() {
    for (event, status, code, sequence) in [
        (
            json!({"type": "error", "code": "upstream_timeout", "message": "m", "param": null, "sequence_number": 7}),
            504,
            "upstream_timeout",
            json!(7),
        ),
        (json!({"error": {"message": "m", "type": "server_error", "code": "x"}}), 500, "x", Value::Null),
        (
            json!({"type": "error", "error": {"message": "m", "code": "rate_limit_exceeded"}}),
            429,
            "rate_limit_exceeded",
            Value::Null,
        ),
    ] {
        let stream = format!("data: {event}\n\n");
        let (shown, response) = frames(Frames::new(None, true, 1000), &stream);
        let [frame] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!((&frame["type"], &frame["status"]), (&json!("error"), &json!(status)), "{frame}");
        assert_eq!((&frame["error"]["code"], &frame["error"]["message"]), (&json!(code), &json!("m")), "{frame}");
        assert_eq!(frame["sequence_number"], sequence, "{frame}");
        assert!(response.is_none());
    }
}

#[test]
fn a_reply_without_its_end_is_an_error() {
    for stream in ["", "data: {\"type\":\"response.created\"}\n\n", "data: {\"type\":", "data: {]\n\n"] {
        let (shown, response) = frames(Frames::new(Some("a".into()), true, 1000), stream);
        let last = shown.last().unwrap();
        assert_eq!((&last["type"], &last["status"], &last["stream_id"]), (&json!("error"), &json!(502), &json!("a")));
        assert!(response.is_none(), "{stream}");
    }
    let failed = json!({"type": "response.failed", "response": {"id": "r"}});
    let (shown, response) = frames(Frames::new(None, true, 1000), &sse(std::slice::from_ref(&failed)));
    assert_eq!((shown, response), (vec![failed], None), "a response that failed can't be continued");
}

#[test]
fn output_that_is_too_long_is_not_kept_and_forwarded_all_the_same() {
    let item = json!({"type": "message", "id": "a".repeat(50)});
    let (shown, response) = frames(Frames::new(None, true, 50), &sse(&[output_done(&item), completed("r")]));
    assert_eq!((shown.len(), response), (2, None));
}

#[test]
fn reasoning_by_id_alone_is_kept_only_where_the_provider_stores_it() {
    let bare = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": null});
    let signed = json!({"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "x"});
    let open = json!({"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "t"}]});
    let stream = sse(&[output_done(&bare), output_done(&signed), output_done(&open), completed("r")]);
    let kept = |stores| {
        let (_, output) = frames(Frames::new(None, stores, 1000), &stream).1.unwrap();
        serde_json::from_slice::<Value>(&[&b"["[..], &output, b"]"].concat()).unwrap()
    };
    assert_eq!(kept(true), json!([bare, signed, open]));
    assert_eq!(kept(false), json!([signed, open]));
}

#[test]
fn errors_of_a_reply_keep_the_providers_fields_and_show_headers_to_all_clients() {
    let body = json!({"error": {"message": "m", "type": "t", "code": "c", "param": null, "new": 1}}).to_string();
    let headers = [("retry-after", "7")];
    let shown = Shown { headers: &headers, ..Shown::default() };
    let frame: Value = serde_json::from_str(&reply_error_frame(429, body.as_bytes(), shown)).unwrap();
    assert_eq!(
        frame,
        json!({"type": "error", "status": 429, "headers": {"retry-after": "7"}, "error": {"message": "m", "type": "t",
            "code": "c", "param": null, "new": 1, "headers": {"retry-after": "7"}}})
    );
    let page: Value = serde_json::from_str(&reply_error_frame(503, b"<html>", Shown::default())).unwrap();
    assert_eq!((&page["status"], &page["error"]["type"]), (&json!(503), &json!("server_error")));
    assert_eq!(page.get("headers"), None);
}
