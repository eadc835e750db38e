use std::sync::Arc;

use super::*;
use crate::dialect::{ReplyHead, Translator};

fn observer(dialect: DialectId, content_type: &str, hide_usage: bool) -> ReplyObserver {
    let content_type = content_type.as_bytes();
    ReplyObserver::new(ReplyForm { dialect, content_type, encoded: false, hide_usage, known_end: true })
}

const CHAT: &str = "data: {\"model\":\"gpt-x\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n\
    data: {\"model\":\"gpt-x\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n\
    data: {\"model\":\"gpt-x\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n\
    data: [DONE]\n\n";

const MESSAGES: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
    event: ping\ndata: {\"type\":\"ping\"}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":20}}\n\n\
    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

const GEMINI: &str = "data: {\"candidates\":[{}],\"usageMetadata\":{\"promptTokenCount\":8},\"modelVersion\":\"g\"}\r\n\r\n\
    data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":9},\"modelVersion\":\"g\"}\r\n\r\n";

/// Feeds `text` in pieces of `step` bytes; returns the forwarded text.
fn feed(observer: &mut ReplyObserver, text: &str, step: usize) -> String {
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(step) {
        out.extend(observer.frame(Bytes::copy_from_slice(piece)).iter().flat_map(|b| b.to_vec()));
    }
    out.extend(observer.finish().iter().flat_map(|b| b.to_vec()));
    String::from_utf8(out).unwrap()
}

#[test]
fn streams_are_counted_at_every_split() {
    let cases = [
        (DialectId::Chat, CHAT, Some(3), Some(4), "gpt-x"),
        (DialectId::Messages, MESSAGES, Some(15), Some(20), "claude-x"),
        (DialectId::Gemini, GEMINI, Some(8), Some(9), "g"),
    ];
    for (dialect, text, prompt, completion, model) in cases {
        for step in [1, 2, 7, 64, text.len()] {
            let mut observer = observer(dialect, "text/event-stream; charset=utf-8", false);
            assert_eq!(feed(&mut observer, text, step), text, "{dialect:?}/{step}: forwarded as it came");
            assert_eq!(
                Totals { text: None, ..observer.totals() },
                Totals {
                    usage: Usage { prompt, completion, ..Usage::default() },
                    model: Some(model.into()),
                    ..Totals::default()
                },
                "{dialect:?}/{step}"
            );
            assert!(observer.ending(StreamMode::Sse).may_end(), "{dialect:?}/{step}");
        }
    }
}

#[test]
fn a_usage_chunk_nobody_asked_for_is_dropped_and_still_counted() {
    let usage_chunk = CHAT.split_inclusive("\n\n").nth(2).unwrap();
    for step in [1, 5, CHAT.len()] {
        let mut observer = observer(DialectId::Chat, "text/event-stream", true);
        assert_eq!(feed(&mut observer, CHAT, step), CHAT.replace(usage_chunk, ""));
        assert_eq!(observer.totals().usage, Usage { prompt: Some(3), completion: Some(4), ..Usage::default() });
        assert!(observer.ending(StreamMode::Sse).may_end());
    }
}

#[test]
fn a_stream_without_its_end_was_cut() {
    for (dialect, text) in [(DialectId::Chat, CHAT), (DialectId::Messages, MESSAGES), (DialectId::Gemini, GEMINI)] {
        let first = text.split_inclusive("\n\n").next().unwrap();
        let first = if dialect == DialectId::Gemini { text.split_inclusive("\r\n\r\n").next().unwrap() } else { first };
        let mut observer = observer(dialect, "text/event-stream", false);
        feed(&mut observer, first, first.len());
        assert!(!observer.ending(StreamMode::Sse).may_end(), "{dialect:?}");
    }
}

#[test]
fn shapes_nobody_knows_may_end_anywhere() {
    for text in ["data: hello\n\n", "data: [1,2\n\n", "data: {\"shape\":1}\n\n"] {
        let mut observer = observer(DialectId::Chat, "text/event-stream", false);
        assert_eq!(feed(&mut observer, text, 3), text);
        assert!(observer.ending(StreamMode::Sse).may_end(), "{text:?}");
        assert_eq!(Totals { text: None, ..observer.totals() }, Totals::default());
    }
}

#[test]
fn buffered_replies_are_counted_without_being_kept() {
    let text = r#"{"model":"gpt-x","choices":[{"usage":{"prompt_tokens":99}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    for step in [1, 10, text.len()] {
        let mut observer = observer(DialectId::Chat, "application/json", false);
        assert_eq!(feed(&mut observer, text, step), text);
        assert_eq!(
            observer.totals(),
            Totals {
                usage: Usage { prompt: Some(3), completion: Some(4), ..Usage::default() },
                model: Some("gpt-x".into()),
                ..Totals::default()
            }
        );
    }
}

#[test]
fn json_array_streams_end_with_their_bracket() {
    let text = r#"[{"usageMetadata":{"promptTokenCount":1},"modelVersion":"g"},{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}]"#;
    let mut whole = observer(DialectId::Gemini, "application/json", false);
    feed(&mut whole, text, 4);
    assert!(whole.ending(StreamMode::JsonArray).may_end());
    assert_eq!(whole.totals().usage, Usage { prompt: Some(1), completion: Some(2), ..Usage::default() });
    let mut cut = observer(DialectId::Gemini, "application/json", false);
    feed(&mut cut, &text[..text.len() - 1], 4);
    assert!(!cut.ending(StreamMode::JsonArray).may_end());
    assert_eq!(cut.elements(), 2);
}

#[test]
fn a_stream_that_never_begins_or_breaks_in_its_first_event_was_cut() {
    for text in ["", "data: {\"choices\":[{\"del", "data: {\"id\":1}"] {
        let mut observer = observer(DialectId::Chat, "text/event-stream", false);
        feed(&mut observer, text, 5);
        assert_eq!(observer.ending(StreamMode::Sse).may_end(), text.ends_with('}'), "{text:?}");
    }
}

#[test]
fn a_text_full_of_the_word_usage_costs_no_more_than_its_length() {
    let text = format!(
        r#"{{"choices":[{{"delta":{{"content":"{}"}},"finish_reason":null}}]}}"#,
        r#"\"usage "#.repeat(1_000_000)
    );
    // With quadratic time, this would take hours.
    assert!(!has_usage(text.as_bytes()));
}

#[test]
fn null_usage_is_no_usage() {
    assert!(!has_usage(br#"{"usage":null}"#));
    assert!(!has_usage(br#"{"usage" : null,"x":"y"}"#));
    assert!(has_usage(br#"{"usage":null,"response":{"usage":{}}}"#));
    assert!(has_usage(br#"{"usageMetadata":{}}"#));
    assert!(!has_usage(br#"{"content":"a"}"#));
}

/// How a stream of events would end, as it is relayed and as it is translated.
fn endings(dialect: DialectId, events: &[&str]) -> (StreamEnding, StreamEnding) {
    let text = format!("data: {}\n\n", events.join("\n\ndata: "));
    let mut observer = observer(dialect, "text/event-stream", false);
    feed(&mut observer, &text, text.len());
    let head = ReplyHead {
        id: String::new(),
        model: String::new(),
        created: 0,
        include_usage: false,
        mode: StreamMode::Sse,
        estimated_input: 0,
    };
    let mut translator = Translator::new(dialect, StreamMode::Sse, DialectId::Messages, head, Arc::default());
    translator.frame(text.as_bytes()).unwrap();
    translator.finish();
    (observer.ending(StreamMode::Sse), translator.ending())
}

#[test]
fn relayed_and_translated_streams_end_alike() {
    use StreamEnding::{Complete, Cut, Failed};
    let check = |dialect, expected, events: &[&str]| {
        assert_eq!(endings(dialect, events), (expected, expected), "{dialect:?} {events:?}");
    };
    let chat = |expected, events: &[&str]| check(DialectId::Chat, expected, events);
    let more = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
    let stop = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let other = r#"{"id":"c","choices":[{"index":1,"delta":{"content":"a"}}]}"#;
    let usage = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    chat(Complete, &[more, stop, usage, "[DONE]"]);
    chat(Complete, &[more, stop]);
    // Azure's notes about a choice that has ended.
    chat(Complete, &[more, stop, r#"{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{}}]}"#]);
    chat(Complete, &[more, "[DONE]"]);
    // OpenAI's usage comes behind all choices, so that a server without finish reasons has answered whole.
    chat(Complete, &[more, usage]);
    chat(Cut, &[more, more]);
    // With several choices, the end of one is not that of the stream.
    chat(Cut, &[more, other, stop]);
    chat(Cut, &[more, stop, other]);
    // An empty reason is none.
    chat(Cut, &[r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":""}]}"#]);
    chat(Failed(ErrorClass::Internal), &[more, r#"{"error":{"message":"boom"}}"#]);
    chat(Failed(ErrorClass::RateLimit), &[more, r#"{"error":{"message":"boom","code":"rate_limit_exceeded"}}"#]);
    chat(Failed(ErrorClass::Internal), &[more, r#"{"object":"error","message":"boom","type":"x","code":"1"}"#]);

    let gemini = |expected, events: &[&str]| check(DialectId::Gemini, expected, events);
    let more = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":1}}"#;
    let stop = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#;
    let other = r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"a"}]}}]}"#;
    gemini(Complete, &[more, stop]);
    gemini(Complete, &[r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#]);
    gemini(Cut, &[more, more]);
    gemini(Cut, &[more, stop, other]);
    gemini(Failed(ErrorClass::Internal), &[more, r#"{"error":{"code":500,"message":"boom"}}"#]);
    let busy = r#"{"error":{"code":503,"message":"boom","status":"UNAVAILABLE"}}"#;
    gemini(Failed(ErrorClass::Unavailable), &[more, busy]);
    gemini(Failed(ErrorClass::Internal), &[more, r#"[{"error":{"code":500,"message":"boom"}}]"#]);
}

#[test]
fn an_error_by_its_name_alone_is_one() {
    for (dialect, begun) in [
        (DialectId::Chat, "{\"choices\":[{}]}"),
        (DialectId::Responses, "{\"type\":\"response.created\"}"),
        (DialectId::Messages, "{\"type\":\"ping\"}"),
        (DialectId::Gemini, "{\"candidates\":[{}]}"),
    ] {
        for data in ["boom", "{\"detail\":\"boom\"}", "[1]"] {
            let mut observer = observer(dialect, "text/event-stream", false);
            feed(&mut observer, &format!("data: {begun}\n\nevent: error\ndata: {data}\n\n"), 7);
            let ending = observer.ending(StreamMode::Sse);
            assert!(matches!(ending, StreamEnding::Failed(_)), "{dialect:?}: {data}: {ending:?}");
        }
    }
}

#[test]
fn a_stream_of_an_unknown_end_is_judged_by_its_last_event_only() {
    let ending = |text: &str| {
        let form = ReplyForm {
            dialect: DialectId::Chat,
            content_type: b"text/event-stream",
            encoded: false,
            hide_usage: false,
            known_end: false,
        };
        let mut observer = ReplyObserver::new(form);
        feed(&mut observer, text, 7);
        observer.ending(StreamMode::Sse)
    };
    let done = "data: {\"type\":\"image_generation.completed\",\"usage\":{\"input_tokens\":3}}";
    for (text, expected) in [
        (String::new(), StreamEnding::Unknown),
        (format!("{done}\n\n"), StreamEnding::Unknown),
        (done.to_owned(), StreamEnding::Unknown),
        (done[..40].to_owned(), StreamEnding::Cut),
        ("data: {\"error\":{\"message\":\"a\"}}\n\n".to_owned(), StreamEnding::Failed(ErrorClass::Internal)),
    ] {
        assert_eq!(ending(&text), expected, "{text}");
    }
}

#[test]
fn an_error_event_by_its_name_has_the_class_of_its_error() {
    let busy =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"a\"}}\n\n";
    let mut observer = observer(DialectId::Messages, "text/event-stream", false);
    feed(&mut observer, busy, 9);
    assert_eq!(observer.ending(StreamMode::Sse), StreamEnding::Failed(ErrorClass::Unavailable));
}

#[test]
fn something_else_than_events_is_a_cut_stream() {
    let mut observer = observer(DialectId::Chat, "text/event-stream", false);
    feed(&mut observer, "<html>\n<body>502 Bad Gateway</body>\n", 9);
    assert_eq!(observer.ending(StreamMode::Sse), StreamEnding::Cut);
}

#[test]
fn a_whole_reply_that_is_no_answer_is_found() {
    let failure = |dialect, content_type, body: &str| {
        let mut observer = observer(dialect, content_type, false);
        feed(&mut observer, body, 5);
        observer.failure()
    };
    let json = "application/json";
    for body in ["", "<html>busy</html>", "{\"id\":\"c\",\"choices\":[{\"ind", "busy"] {
        for content_type in [json, "text/html", ""] {
            let found = failure(DialectId::Chat, content_type, body);
            assert_eq!(found, Some(ErrorClass::BadGateway), "{content_type}: {body}");
        }
    }
    let error = |kind: &str| format!("{{\"error\":{{\"message\":\"a\",\"type\":\"{kind}\"}}}}");
    assert_eq!(failure(DialectId::Chat, json, &error("server_error")), Some(ErrorClass::Internal));
    assert_eq!(failure(DialectId::Chat, json, &error("rate_limit_error")), Some(ErrorClass::RateLimit));
    assert_eq!(failure(DialectId::Messages, json, &error("overloaded_error")), Some(ErrorClass::Unavailable));
    let google = r#"[{"error":{"code":503,"message":"a","status":"UNAVAILABLE"}}]"#;
    assert_eq!(failure(DialectId::Gemini, json, google), Some(ErrorClass::Unavailable));
    // Answers, and JSON of other forms, which is not for the gateway to judge.
    for body in [r#"{"choices":[],"error":null}"#, r#"{"usage":{},"error":{"message":"a"}}"#, r#"{"text":"hi"}"#, "[1]"]
    {
        assert_eq!(failure(DialectId::Chat, json, body), None, "{body}");
    }
}
