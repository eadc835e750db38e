//! Gemini generateContent, at AI Studio and on Vertex AI.

use super::{COMPLETION_TOKENS, PIECES, PROMPT_TOKENS, SYSTEM};

const MODEL: &str = "gemini-2.5-flash";

/// The same body buffered and streaming: the URL tells.
pub fn request(question: &str) -> String {
    format!(
        r#"{{"systemInstruction":{{"parts":[{{"text":"{SYSTEM}"}}]}},"contents":[{{"role":"user","parts":[{{"text":"{question}"}}]}}],"generationConfig":{{"temperature":0.7,"maxOutputTokens":512}}}}"#
    )
}

pub fn reply(text: &str) -> String {
    part(text, r#""finishReason":"STOP","#, COMPLETION_TOKENS)
}

fn part(text: &str, finish: &str, output: u64) -> String {
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}},{finish}"index":0}}],"usageMetadata":{{"promptTokenCount":{PROMPT_TOKENS},"candidatesTokenCount":{output},"totalTokenCount":{}}},"modelVersion":"{MODEL}","responseId":"benchmark0000000000001"}}"#,
        PROMPT_TOKENS + output
    )
}

/// Server-sent events. Each has text and the usage so far, and the last the finish reason too.
pub fn events(piece: &str) -> Vec<Vec<u8>> {
    let event = |finish: &str, output| format!("data: {}\r\n\r\n", part(piece, finish, output)).into_bytes();
    let mut events = vec![event("", 1); PIECES - 1];
    events.push(event(r#""finishReason":"STOP","#, COMPLETION_TOKENS));
    events
}
