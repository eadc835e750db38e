//! Checks of a Responses request, with `OpenAI`'s error messages.

use http::StatusCode;
use serde_json::Value;

use super::check::{contains_json, default_temperature, function, known, list, structured};
use super::{error, is_reasoning, missing};
use crate::sign::{SignatureOrigin, is_signature};
use crate::wire::Reply;

/// Fields of a request; any other is refused.
const FIELDS: &[&str] = &[
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "temperature",
    "top_p",
    "top_logprobs",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "include",
    "store",
    "previous_response_id",
    "conversation",
    "prompt",
    "truncation",
    "background",
    "background_options",
    "context_management",
    "metadata",
    // Codex sends it.
    "client_metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "moderation",
    "image",
    "access_programs",
];

/// Ids of items begin with the kind's own letters.
const PREFIXES: &[(&str, &str)] = &[("message", "msg"), ("function_call", "fc"), ("reasoning", "rs")];

/// Content parts of a message, by role.
const ASSISTANT_PARTS: &[&str] = &["output_text", "refusal"];
const USER_PARTS: &[&str] = &["input_text", "input_image", "input_file", "input_audio"];

/// Refuses an invalid request.
pub(super) fn check(body: &Value, model: &str, strict: bool) -> Result<(), Reply> {
    if strict {
        known(body, FIELDS)?;
    }
    if is_reasoning(model) {
        default_temperature(body)?;
    }
    for (index, tool) in list(body.get("tools")).iter().enumerate() {
        if tool.get("type").and_then(Value::as_str) == Some("function") {
            function(tool, &format!("tools[{index}]"))?;
        }
    }
    let input = list(body.get("input"));
    let format = body.pointer("/text/format").unwrap_or(&Value::Null);
    match format.get("type").and_then(Value::as_str) {
        Some("json_schema") => {
            let Some(name) = format.get("name").and_then(Value::as_str) else {
                return Err(missing("text.format.name"));
            };
            let Some(schema) = format.get("schema") else { return Err(missing("text.format.schema")) };
            let wanted = format.get("strict").and_then(Value::as_bool) == Some(true);
            structured(name, schema, wanted, "text.format.schema")?;
        }
        Some("json_object") => {
            let buffered = body.get("input").cloned().unwrap_or_default();
            contains_json(&[buffered], "input", "text.format")?;
        }
        _ => {}
    }
    for (index, item) in input.iter().enumerate() {
        self::item(item, index)?;
    }
    let continued =
        ["previous_response_id", "conversation"].iter().any(|name| !body.get(*name).is_none_or(Value::is_null));
    calls(input, continued)
}

fn refuse(message: &str, param: &str, code: Option<&str>) -> Reply {
    error(StatusCode::BAD_REQUEST, message, Some(param), code)
}

/// The type of an item; it is optional for a message.
fn kind(item: &Value) -> &str {
    item.get("type").and_then(Value::as_str).unwrap_or("message")
}

fn item(item: &Value, index: usize) -> Result<(), Reply> {
    let place = format!("input[{index}]");
    let kind = kind(item);
    if let Some(id) = item.get("id").and_then(Value::as_str)
        && let Some((_, prefix)) = PREFIXES.iter().find(|(name, _)| *name == kind)
        && !id.starts_with(prefix)
    {
        let message = format!("Invalid '{place}.id': '{id}'. Expected an ID that begins with '{prefix}'.");
        return Err(refuse(&message, &format!("{place}.id"), Some("invalid_value")));
    }
    match kind {
        "message" => {
            let role = item.get("role").and_then(Value::as_str).unwrap_or_default();
            if !["user", "system", "developer", "assistant"].contains(&role) {
                let message = format!(
                    "Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
                );
                return Err(refuse(&message, &place, Some("invalid_value")));
            }
            let parts = if role == "assistant" { ASSISTANT_PARTS } else { USER_PARTS };
            for (at, part) in list(item.get("content")).iter().enumerate() {
                let own = part.get("type").and_then(Value::as_str).unwrap_or_default();
                if !parts.contains(&own) {
                    let message = format!("Invalid value: '{own}'. Supported values are: '{}'.", parts.join("', '"));
                    return Err(refuse(&message, &format!("{place}.content[{at}]"), Some("invalid_value")));
                }
            }
            Ok(())
        }
        "function_call" => {
            let fields = ["call_id", "name", "arguments"];
            let absent = fields.iter().find(|name| !item.get(**name).is_some_and(Value::is_string));
            absent.map_or(Ok(()), |name| Err(missing(&format!("{place}.{name}"))))
        }
        "function_call_output" => {
            let absent = ["call_id", "output"].into_iter().find(|name| item.get(name).is_none());
            absent.map_or(Ok(()), |name| Err(missing(&format!("{place}.{name}"))))
        }
        "reasoning" => {
            if !item.get("summary").is_some_and(Value::is_array) {
                return Err(missing(&format!("{place}.summary")));
            }
            let hidden = item.get("encrypted_content").and_then(Value::as_str);
            if hidden.is_some_and(|hidden| !is_signature(SignatureOrigin::OpenAi, hidden)) {
                let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
                let message = format!(
                    "The encrypted content for item {id} could not be verified. Reason: Encrypted content could not be \
                     decrypted or parsed."
                );
                return Err(error(StatusCode::BAD_REQUEST, &message, None, Some("invalid_encrypted_content")));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks that each call has an output, each output a call, and each reasoning item a following item.
fn calls(input: &[Value], continued: bool) -> Result<(), Reply> {
    let ids = |wanted: &str| {
        let items = input.iter().filter(|item| kind(item) == wanted);
        items.filter_map(|item| item.get("call_id")?.as_str()).collect::<Vec<&str>>()
    };
    let (calls, outputs) = (ids("function_call"), ids("function_call_output"));
    if let Some(id) = outputs.iter().find(|id| !continued && !calls.contains(id)) {
        let message = format!("No tool call found for function call output with call_id {id}.");
        return Err(refuse(&message, "input", None));
    }
    if let Some(id) = calls.iter().find(|id| !outputs.contains(id)) {
        return Err(refuse(&format!("No tool output found for function call {id}."), "input", None));
    }
    for (index, item) in input.iter().enumerate().filter(|(_, item)| kind(item) == "reasoning") {
        let next = input.get(index + 1);
        let count_text = |item: &Value| item.get("role").and_then(Value::as_str) == Some("assistant");
        if !next.is_some_and(|next| kind(next) != "message" && kind(next) != "function_call_output" || count_text(next))
        {
            let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
            let message = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
            return Err(refuse(&message, "input", None));
        }
    }
    Ok(())
}
