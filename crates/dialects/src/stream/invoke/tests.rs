use proptest::prelude::*;

use super::{
    super::{
        aws,
        testing::{frames, lengths},
    },
    *,
};

/// A `chunk` frame around `event`, padded as Bedrock pads.
fn chunk(event: &str) -> Vec<u8> {
    let mut out = Vec::new();
    aws::write_event(&mut out, "chunk", |out| {
        out.extend_from_slice(format!(r#"{{"bytes":"{}","p":"abcdef"}}"#, BASE64_STANDARD.encode(event)).as_bytes());
    });
    out
}

fn exception(name: &str, payload: &str) -> Vec<u8> {
    let mut out = Vec::new();
    aws::write_exception(&mut out, name, |out| out.extend_from_slice(payload.as_bytes()));
    out
}

/// The output for these pieces, the end included.
fn filtered<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> String {
    let (mut filter, mut out) = (InvokeFilter::default(), Vec::new());
    for piece in pieces {
        filter.push(piece, &mut out);
    }
    filter.finish(&mut out);
    assert!(filter.is_over());
    String::from_utf8(out).unwrap()
}

fn error(kind: &str, message: &str) -> String {
    format!(
        "event: error\ndata: {{\"error\":{{\"message\":\"{message}\",\"type\":\"{kind}\"}},\"type\":\"error\"}}\n\n"
    )
}

const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const CUT: &str = "the provider ended its stream before the answer was complete";

/// A stream of three events, with the output for it.
fn answer() -> (Vec<u8>, String) {
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé\n"}}"#;
    let metrics =
        r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":1}}"#;
    let stream = [chunk("{\n \"type\": \"ping\",\r\n \"new\": [1]\n}"), chunk(delta), chunk(metrics)].concat();
    let expected = format!(
        "event: ping\ndata: {{  \"type\": \"ping\",   \"new\": [1] }}\n\nevent: content_block_delta\ndata: {delta}\n\n{STOP}"
    );
    (stream, expected)
}

#[test]
fn chunks_become_events_at_every_split() {
    let (stream, expected) = answer();
    for at in 0..=stream.len() {
        let (a, b) = stream.split_at(at);
        assert_eq!(filtered([a, b]), expected, "split at {at}");
    }
}

proptest! {
    #[test]
    fn chunks_become_events_however_they_are_cut(lengths in lengths()) {
        let (stream, expected) = answer();
        prop_assert_eq!(filtered(frames(&stream, &lengths)), expected);
    }
}

#[test]
fn a_failure_ends_the_stream_in_anthropics_words() {
    for (name, payload, kind, message) in [
        ("throttlingException", r#"{"message":"slow"}"#, "rate_limit_error", "slow"),
        ("serviceUnavailableException", r#"{"Message":"later"}"#, "overloaded_error", "later"),
        ("modelTimeoutException", r#"{"message":"m"}"#, "timeout_error", "m"),
        ("validationException", r#"{"message":"m"}"#, "invalid_request_error", "m"),
        ("modelStreamErrorException", r#"{"message":"m","originalStatusCode":500}"#, "api_error", "m"),
        ("inventedException", "no JSON", "api_error", "the provider's stream failed"),
        ("internalServerException", r#"{"message":7}"#, "api_error", "the provider's stream failed"),
    ] {
        let stream = [chunk(r#"{"type":"ping"}"#), exception(name, payload), chunk(r#"{"type":"late"}"#)].concat();
        let expected = format!("event: ping\ndata: {{\"type\":\"ping\"}}\n\n{}", error(kind, message));
        assert_eq!(filtered([stream.as_slice()]), expected, "{name}");
    }
}

#[test]
fn a_cut_stream_ends_with_an_error() {
    let (stream, expected) = answer();
    let cut = filtered([&stream[..stream.len() - 1]]);
    assert_eq!(cut, expected.replace(STOP, &error("api_error", CUT)));
    assert_eq!(filtered([]), error("api_error", CUT));
}

#[test]
fn a_broken_frame_ends_the_stream_once() {
    let mut stream = chunk(r#"{"type":"ping"}"#);
    *stream.last_mut().unwrap() ^= 1;
    let good = chunk(r#"{"type":"ping"}"#);
    let message = "the provider's stream is broken: the checksum of an event stream frame is wrong";
    assert_eq!(filtered([stream.as_slice(), &good]), error("api_error", message));
    // Everything after the last event is ignored.
    let (whole, expected) = answer();
    assert_eq!(filtered([whole.as_slice(), &stream, &good]), expected);
}

#[test]
fn what_is_no_event_is_left_out() {
    let mut other = Vec::new();
    aws::write_event(&mut other, "initial-response", |out| out.extend_from_slice(b"{}"));
    for payload in [r#"{"bytes":"***"}"#, r#"{"bytes":7}"#, "{}", "[]", ""] {
        aws::write_event(&mut other, "chunk", |out| out.extend_from_slice(payload.as_bytes()));
    }
    let odd = [other, chunk("[1]"), chunk("text"), chunk(r#"{"type":"message_stop"}"#)].concat();
    assert_eq!(filtered([odd.as_slice()]), STOP);
    // A name that would break out of its line is ignored.
    let forged = [chunk(r#"{"type":"a\ndata: x"}"#), chunk(r#"{"type":"message_stop"}"#)].concat();
    assert_eq!(filtered([forged.as_slice()]), format!("data: {{\"type\":\"a\\ndata: x\"}}\n\n{STOP}"));
}

#[test]
fn anthropics_own_error_event_is_the_last() {
    let event = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    assert_eq!(filtered([chunk(event).as_slice()]), format!("event: error\ndata: {event}\n\n"));
}
