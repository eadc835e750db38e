//! Anthropic Messages, at Anthropic and by Bedrock's `InvokeModel`.

use super::{COMPLETION_TOKENS, PIECES, PROMPT_TOKENS, SYSTEM, Scenario, frame, named_event};

const MODEL: &str = "claude-haiku-4-5-20251001";

pub fn request(scenario: Scenario, question: &str) -> String {
    let stream = if scenario == Scenario::Stream { r#""stream":true,"# } else { "" };
    format!(
        r#"{{"model":"{MODEL}","max_tokens":512,{stream}"temperature":0.7,"system":"{SYSTEM}","messages":[{{"role":"user","content":"{question}"}}]}}"#
    )
}

pub fn reply(text: &str) -> String {
    message(&format!(r#"{{"type":"text","text":"{text}"}}"#), r#""end_turn""#, COMPLETION_TOKENS)
}

fn message(content: &str, stop: &str, output: u64) -> String {
    format!(
        r#"{{"id":"msg_benchmark000000000001","type":"message","role":"assistant","model":"{MODEL}","content":[{content}],"stop_reason":{stop},"stop_sequence":null,"usage":{{"input_tokens":{PROMPT_TOKENS},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{output},"service_tier":"standard"}}}}"#
    )
}

/// The events of one stream: their names and data. `metrics` is what Bedrock adds to the last one.
fn data(piece: &str, metrics: &str) -> Vec<(&'static str, String)> {
    let start = format!(r#"{{"type":"message_start","message":{}}}"#, message("", "null", 1));
    let text =
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{piece}"}}}}"#);
    let delta = format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"input_tokens":{PROMPT_TOKENS},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{COMPLETION_TOKENS}}}}}"#
    );
    let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let mut events = vec![
        ("message_start", start),
        ("content_block_start", block.to_owned()),
        ("ping", r#"{"type":"ping"}"#.to_owned()),
    ];
    events.resize(3 + PIECES, ("content_block_delta", text));
    events.push(("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.to_owned()));
    events.push(("message_delta", delta));
    events.push(("message_stop", format!(r#"{{"type":"message_stop"{metrics}}}"#)));
    events
}

/// Server-sent events, as Anthropic sends them.
pub fn events(piece: &str) -> Vec<Vec<u8>> {
    data(piece, "").iter().map(|(name, data)| named_event(name, data)).collect()
}

/// Frames of an AWS event stream around them, as Bedrock's `InvokeModelWithResponseStream` sends them.
pub fn framed_events(piece: &str) -> Vec<Vec<u8>> {
    let metrics = format!(
        r#","amazon-bedrock-invocationMetrics":{{"inputTokenCount":{PROMPT_TOKENS},"outputTokenCount":{COMPLETION_TOKENS},"invocationLatency":1800,"firstByteLatency":400}}"#
    );
    let events = data(piece, &metrics);
    let frame = |data: &str| {
        frame::encode("chunk", &format!(r#"{{"bytes":"{}","p":"abcdefgh"}}"#, frame::base64(data.as_bytes())))
    };
    events.iter().map(|(_, data)| frame(data)).collect()
}
