//! What goes over the wire: requests, replies and event streams as the chat completions API has them.
//!
//! Everything is built once at start; the measured path only copies bytes.

use std::str::FromStr;

/// Tokens that every reply reports for its prompt; Tollgate must count exactly these.
pub const PROMPT_TOKENS: u64 = 181;
/// Tokens that every reply reports for its completion.
pub const COMPLETION_TOKENS: u64 = 254;
/// Events of one stream, the usage chunk and `[DONE]` included.
pub const EVENTS: usize = 258;
/// Events that the mock hands to the kernel in one write, unless told otherwise: a provider's front end batches.
pub const EVENTS_PER_WRITE: usize = 4;
/// How a stream ends; the load generator checks it.
pub const STREAM_END: &[u8; 14] = b"data: [DONE]\n\n";

const MODEL: &str = "gpt-4o-mini";
/// What a chat request and a chat reply aim at, in bytes.
const CHAT_BYTES: usize = 1024;
/// What a long prompt aims at, in bytes.
const PROMPT_BYTES: usize = 200 * 1024;
/// What one event of a stream aims at, its `data: ` and blank line included, in bytes.
const EVENT_BYTES: usize = 209;

/// One kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// 1 KB in, 1 KB out.
    Chat,
    /// 200 KB in, 1 KB out.
    Prompt,
    /// 1 KB in, a stream of [`EVENTS`] events out.
    Stream,
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "chat" => Ok(Self::Chat),
            "prompt" => Ok(Self::Prompt),
            "stream" => Ok(Self::Stream),
            other => Err(format!("no scenario {other:?}")),
        }
    }
}

/// How the mock cuts a stream into HTTP chunks and writes.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Events handed to the kernel at once.
    pub per_write: usize,
    /// Events inside one HTTP/1.1 chunk.
    pub per_chunk: usize,
}

/// Prose without quotes or backslashes, `bytes` long.
fn prose(bytes: usize) -> String {
    "The quick brown fox jumps over the lazy dog, and the gateway counts what that costs. "
        .chars()
        .cycle()
        .take(bytes)
        .collect()
}

/// The JSON body of a request.
pub fn request_body(scenario: Scenario) -> String {
    let stream = match scenario {
        // Asked for by the client itself, so that the upstream's work is the same behind every proxy.
        Scenario::Stream => r#""stream":true,"stream_options":{"include_usage":true},"#,
        Scenario::Chat | Scenario::Prompt => "",
    };
    let around = |text: &str| {
        format!(
            r#"{{"model":"{MODEL}",{stream}"temperature":0.7,"max_tokens":512,"messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{text}"}}]}}"#
        )
    };
    let wanted = if scenario == Scenario::Prompt { PROMPT_BYTES } else { CHAT_BYTES };
    around(&prose(wanted - around("").len()))
}

/// A whole request as a client library would send it.
pub fn request(scenario: Scenario, path: &str, host: &str) -> Vec<u8> {
    let body = request_body(scenario);
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: loadgen/0.1\r\naccept: application/json\r\n\
         authorization: Bearer sk-client\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The JSON body of a buffered reply.
fn reply_body() -> String {
    let around = |text: &str| {
        format!(
            r#"{{"id":"chatcmpl-benchmark0001","object":"chat.completion","created":1735689600,"model":"{MODEL}-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{},"system_fingerprint":"fp_0123456789"}}"#,
            usage()
        )
    };
    around(&prose(CHAT_BYTES - around("").len()))
}

fn usage() -> String {
    format!(
        r#"{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{COMPLETION_TOKENS},"total_tokens":{}}}"#,
        PROMPT_TOKENS + COMPLETION_TOKENS
    )
}

/// The events of one stream: role, text, finish, usage, `[DONE]`.
fn events() -> Vec<String> {
    let event = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-benchmark0001\",\"object\":\"chat.completion.chunk\",\"created\":1735689600,\"model\":\"{MODEL}\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        )
    };
    let delta = |text: &str| format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}"#);
    let padding = EVENT_BYTES.saturating_sub(event(&delta(""), "null").len());
    let mut events =
        vec![event(r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#, "null")];
    events.resize(EVENTS - 3, event(&delta(&prose(padding)), "null"));
    events.push(event(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, "null"));
    events.push(event("", &usage()));
    events.push(String::from_utf8_lossy(STREAM_END).into_owned());
    events
}

/// Bytes of the reply's body, HTTP framing not counted.
pub fn reply_length(scenario: Scenario) -> usize {
    match scenario {
        Scenario::Stream => events().iter().map(String::len).sum(),
        Scenario::Chat | Scenario::Prompt => reply_body().len(),
    }
}

/// A whole buffered reply, head and body.
pub fn reply() -> Vec<u8> {
    let body = reply_body();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_benchmark\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A whole streamed reply, one element a write. The head goes with the first write, the end with the last.
pub fn stream(batching: &Batching) -> Vec<Vec<u8>> {
    let mut writes: Vec<Vec<u8>> = Vec::new();
    for events in events().chunks(batching.per_write.max(1)) {
        let mut write = Vec::new();
        for chunk in events.chunks(batching.per_chunk.max(1)) {
            let data = chunk.concat();
            write.extend_from_slice(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes());
        }
        writes.push(write);
    }
    if let Some(first) = writes.first_mut() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                     x-request-id: req_benchmark\r\ntransfer-encoding: chunked\r\n\r\n";
        first.splice(0..0, head.iter().copied());
    }
    if let Some(last) = writes.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    writes
}

/// Sizes in bytes and token counts as one JSON object, for the script that checks and prints them.
pub fn shape() -> String {
    format!(
        "{{\"chat_request\":{},\"prompt_request\":{},\"chat_reply\":{},\"events\":{EVENTS},\"stream_reply\":{},\
         \"prompt_tokens\":{PROMPT_TOKENS},\"completion_tokens\":{COMPLETION_TOKENS}}}",
        request_body(Scenario::Chat).len(),
        request_body(Scenario::Prompt).len(),
        reply_length(Scenario::Chat),
        reply_length(Scenario::Stream),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_sizes_they_promise() {
        assert_eq!(request_body(Scenario::Chat).len(), 1024);
        assert_eq!(request_body(Scenario::Prompt).len(), 200 * 1024);
        assert_eq!(reply_length(Scenario::Chat), 1024);
        assert_eq!(events().len(), 258);
        assert_eq!(events()[1].len(), 209);
        assert!(events()[256].contains(r#""prompt_tokens":181"#));
    }

    #[test]
    fn batching_changes_the_writes_and_not_the_events() {
        for (per_write, per_chunk, writes) in [(1, 1, 258), (16, 1, 17), (258, 258, 1), (16, 4, 17)] {
            let stream = stream(&Batching { per_write, per_chunk });
            assert_eq!(stream.len(), writes);
            let all = stream.concat();
            let head = crate::wire::Head::parse(&all).expect("a head");
            let mut body = crate::wire::Body::of(&head).expect("a body");
            assert_eq!(body.feed(&all[head.bytes..]), Ok(all.len() - head.bytes));
            assert!(body.is_done());
            assert_eq!(body.decoded(), reply_length(Scenario::Stream));
            assert_eq!(body.tail(), STREAM_END);
        }
    }
}
