//! OpenAI Chat Completions.

use super::{COMPLETION_TOKENS, PIECES, PROMPT_TOKENS, STREAM_END, SYSTEM, Scenario};

const MODEL: &str = "gpt-4o-mini";
/// Text in one event of a stream, which makes the event 209 bytes with its `data: ` and blank line.
pub const PIECE_BYTES: usize = 13;

pub fn request(scenario: Scenario, question: &str) -> String {
    let stream = match scenario {
        // Asked for by the client itself, so that the upstream's work is the same behind every proxy.
        Scenario::Stream => r#""stream":true,"stream_options":{"include_usage":true},"#,
        Scenario::Chat | Scenario::Prompt => "",
    };
    format!(
        r#"{{"model":"{MODEL}",{stream}"temperature":0.7,"max_tokens":512,"messages":[{{"role":"system","content":"{SYSTEM}"}},{{"role":"user","content":"{question}"}}]}}"#
    )
}

pub fn reply(text: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-benchmark0001","object":"chat.completion","created":1735689600,"model":"{MODEL}-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{},"system_fingerprint":"fp_0123456789"}}"#,
        usage()
    )
}

fn usage() -> String {
    format!(
        r#"{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{COMPLETION_TOKENS},"total_tokens":{}}}"#,
        PROMPT_TOKENS + COMPLETION_TOKENS
    )
}

/// Role, text, finish, usage, `[DONE]`.
pub fn events(piece: &str) -> Vec<Vec<u8>> {
    let event = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-benchmark0001\",\"object\":\"chat.completion.chunk\",\"created\":1735689600,\"model\":\"{MODEL}\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        )
        .into_bytes()
    };
    let text = format!(r#"{{"index":0,"delta":{{"content":"{piece}"}},"finish_reason":null}}"#);
    let mut events =
        vec![event(r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#, "null")];
    events.resize(1 + PIECES, event(&text, "null"));
    events.push(event(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, "null"));
    events.push(event("", &usage()));
    events.push(STREAM_END.to_vec());
    events
}
