//! A reply read back in the client's dialect: what it says, and whether it came to its end.

use serde_json::Value;

use crate::payload::{DialectId, STREAM_END, Scenario, frame};

/// The whole text of a reply.
///
/// # Errors
///
/// When the reply is not one of `dialect`, or a stream has no end.
pub fn text(dialect: DialectId, scenario: Scenario, body: &[u8]) -> Result<String, String> {
    if scenario != Scenario::Stream {
        return Ok(buffered(dialect, &parse(body)?));
    }
    let (mut text, mut ended) = (String::new(), false);
    for data in events(dialect, body)? {
        if data == b"[DONE]" {
            ended = true;
            continue;
        }
        let event = parse(data)?;
        text.push_str(&piece(dialect, &event));
        ended |= is_end(dialect, &event);
    }
    if ended { Ok(text) } else { Err("a stream without its end".to_owned()) }
}

fn parse(json: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(json).map_err(|e| format!("no JSON ({e}): {}", String::from_utf8_lossy(json)))
}

/// The `text` of all elements of the array at `pointer`, in one.
fn texts(value: &Value, pointer: &str) -> String {
    let parts = value.pointer(pointer).and_then(Value::as_array);
    parts.into_iter().flatten().filter_map(|part| part["text"].as_str()).collect()
}

fn buffered(dialect: DialectId, reply: &Value) -> String {
    match dialect {
        DialectId::Chat => reply["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned(),
        DialectId::Responses => {
            reply["output"].as_array().into_iter().flatten().map(|item| texts(item, "/content")).collect()
        }
        DialectId::Messages => texts(reply, "/content"),
        DialectId::Gemini => texts(reply, "/candidates/0/content/parts"),
        DialectId::Converse => texts(reply, "/output/message/content"),
    }
}

/// The data of each event of a stream.
fn events(dialect: DialectId, body: &[u8]) -> Result<Vec<&[u8]>, String> {
    if dialect == DialectId::Converse {
        return Ok(frame::payloads(body)?);
    }
    if dialect == DialectId::Chat && !body.ends_with(STREAM_END) {
        return Err("a stream without [DONE]".to_owned());
    }
    let lines = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(lines.filter_map(|line| line.strip_prefix(b"data: ")).collect())
}

fn piece(dialect: DialectId, event: &Value) -> String {
    let text = match dialect {
        DialectId::Chat => &event["choices"][0]["delta"]["content"],
        DialectId::Responses if event["type"] == "response.output_text.delta" => &event["delta"],
        DialectId::Responses => &Value::Null,
        DialectId::Messages | DialectId::Converse => &event["delta"]["text"],
        DialectId::Gemini => return buffered(dialect, event),
    };
    text.as_str().unwrap_or_default().to_owned()
}

/// Whether this is the event after which a client expects no more. Chat Completions ends by `[DONE]`.
fn is_end(dialect: DialectId, event: &Value) -> bool {
    match dialect {
        DialectId::Chat => false,
        DialectId::Responses => event["type"] == "response.completed",
        DialectId::Messages => event["type"] == "message_stop",
        DialectId::Gemini => event["candidates"][0]["finishReason"].is_string(),
        DialectId::Converse => event["usage"].is_object(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_stops_early_is_no_answer() {
        let delta = "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\n";
        let stop = "data: {\"type\":\"message_stop\"}\n\n";
        let read = |body: &str| text(DialectId::Messages, Scenario::Stream, body.as_bytes());
        assert_eq!(read(&format!("{delta}{delta}{stop}")), Ok("aa".to_owned()));
        assert!(read(delta).is_err());
        assert!(read("data: {\"type\":\n\n").is_err());
        assert!(text(DialectId::Chat, Scenario::Stream, delta.as_bytes()).is_err());
    }
}
