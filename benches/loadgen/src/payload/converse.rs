//! Bedrock Converse and `ConverseStream`.

use super::{COMPLETION_TOKENS, PIECES, PROMPT_TOKENS, SYSTEM, frame};

/// The same body buffered and streaming: the URL tells.
pub fn request(question: &str) -> String {
    format!(
        r#"{{"system":[{{"text":"{SYSTEM}"}}],"messages":[{{"role":"user","content":[{{"text":"{question}"}}]}}],"inferenceConfig":{{"maxTokens":512,"temperature":0.7}}}}"#
    )
}

pub fn reply(text: &str) -> String {
    format!(
        r#"{{"metrics":{{"latencyMs":1800}},"output":{{"message":{{"content":[{{"text":"{text}"}}],"role":"assistant"}}}},"stopReason":"end_turn","usage":{}}}"#,
        usage()
    )
}

fn usage() -> String {
    format!(
        r#"{{"inputTokens":{PROMPT_TOKENS},"outputTokens":{COMPLETION_TOKENS},"totalTokens":{}}}"#,
        PROMPT_TOKENS + COMPLETION_TOKENS
    )
}

/// Frames, with the padding `p` that Bedrock puts into each payload.
pub fn events(piece: &str) -> Vec<Vec<u8>> {
    let text = format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{piece}"}},"p":"abcdefghijkl"}}"#);
    let mut events = vec![frame::encode("messageStart", r#"{"p":"abcdefgh","role":"assistant"}"#)];
    events.resize(1 + PIECES, frame::encode("contentBlockDelta", &text));
    events.push(frame::encode("contentBlockStop", r#"{"contentBlockIndex":0,"p":"abcdefgh"}"#));
    events.push(frame::encode("messageStop", r#"{"p":"abcdefgh","stopReason":"end_turn"}"#));
    let metadata = format!(r#"{{"metrics":{{"latencyMs":1800}},"p":"abcdefgh","usage":{}}}"#, usage());
    events.push(frame::encode("metadata", &metadata));
    events
}
