//! The quirks of compatible servers: Mistral's errors, ids and contents, `DeepSeek`'s reasoning.

use http::StatusCode;
use serde_json::Value;

use super::error;
use crate::wire::{Content, Node, Reply, ordered};

/// Length of the id of a call at Mistral.
const CALL_ID: usize = 9;

/// Fields of a chat at Mistral; any other is refused.
const FIELDS: &[&str] = &[
    "model",
    "messages",
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "min_tokens",
    "stream",
    "stop",
    "random_seed",
    "metadata",
    "response_format",
    "tools",
    "tool_choice",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "n",
    "prediction",
    "parallel_tool_calls",
    "prompt_mode",
    "reasoning_effort",
    "guardrails",
    "safe_prompt",
];

/// Mistral's error, which has no surrounding object.
pub(super) fn flat(refusal: Reply) -> Reply {
    let Content::Buffered { bytes, .. } = &refusal.content else { return refusal };
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return refusal };
    let Some(error) = body.get("error") else { return refusal };
    let field = |name: &str| error.get(name).cloned().unwrap_or_default();
    let flat = ordered!({
        "object": "error", "message": (field("message")), "type": (field("type")), "param": (field("param")),
        "code": (field("code")),
    });
    Reply { headers: refusal.headers, ..Reply::json(refusal.status, &flat) }
}

/// Reasoning and a text as Mistral's list of chunks.
pub(super) fn content(reasoning: &str, text: Option<&str>) -> Node {
    let thinking = ordered!({"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]});
    let text = text.map(|text| ordered!({"type": "text", "text": text}));
    Node::List(std::iter::once(thinking).chain(text).collect())
}

/// The id of a call: nine letters and digits.
pub(super) fn call_id(id: u64, number: usize) -> String {
    let digits = format!("{:016x}", id.wrapping_add(number as u64));
    digits.chars().rev().take(CALL_ID).collect()
}

/// Refuses a chat that is invalid for Mistral.
pub(super) fn mistral(body: &Value) -> Result<(), Reply> {
    if let Some(name) = body.as_object().and_then(|fields| fields.keys().find(|name| !FIELDS.contains(&name.as_str())))
    {
        let detail = ordered!([{
            "type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted",
        }]);
        return Err(Reply::json(StatusCode::UNPROCESSABLE_ENTITY, &ordered!({"detail": detail})));
    }
    let refuse = |message: &str, code: &str| Err(error(StatusCode::BAD_REQUEST, message, None, Some(code)));
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut before = "";
    for message in messages {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if before == "tool" && !["tool", "assistant"].contains(&role) {
            return refuse(&format!("Unexpected role '{role}' after role 'tool'"), "3230");
        }
        before = role;
        let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
        for id in calls.filter_map(|call| call.get("id")).chain(message.get("tool_call_id")) {
            let id = id.as_str().unwrap_or_default();
            if id.len() != CALL_ID || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let message = format!("Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of 9.");
                return refuse(&message, "3280");
            }
        }
    }
    let prefix = messages.last().and_then(|message| message.get("prefix")?.as_bool()).unwrap_or(false);
    if before == "assistant" && !prefix {
        let message = "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant";
        return refuse(message, "3230");
    }
    Ok(())
}

/// Whether reasoning is turned on, with the fields of `OpenAI` or of a compatible server.
pub(super) fn thinks(body: &Value) -> bool {
    let word = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
    let flag = |pointer: &str| body.pointer(pointer).and_then(Value::as_bool);
    [word("/reasoning_effort"), word("/reasoning/effort")].into_iter().flatten().any(|effort| effort != "none")
        || word("/thinking/type") == Some("enabled")
        || flag("/chat_template_kwargs/enable_thinking") == Some(true)
        || flag("/chat_template_kwargs/thinking") == Some(true)
}

/// Checks that calls come with their reasoning, which `DeepSeek` requires.
pub(super) fn deepseek(body: &Value) -> Result<(), Reply> {
    if !thinks(body) {
        return Ok(());
    }
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    let forgotten = |message: &Value| {
        message.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty())
            && !message.get("reasoning_content").is_some_and(Value::is_string)
    };
    if messages.into_iter().any(forgotten) {
        let message = "The `reasoning_content` in the thinking mode must be passed back to the API.";
        return Err(error(StatusCode::BAD_REQUEST, message, None, Some("invalid_request_error")));
    }
    Ok(())
}
