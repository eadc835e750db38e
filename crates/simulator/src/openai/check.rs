//! Checks of a chat completion, with `OpenAI`'s error messages.

use http::StatusCode;
use serde_json::Value;

use super::{Quirks, compatible, error, invalid, is_openai_model, is_reasoning, missing};
use crate::wire::Reply;

/// Fields of a chat; any other is refused.
const FIELDS: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "service_tier",
    "store",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
    "data_sources",
];

/// Model families that only compatible servers have.
const FOREIGN: &[&str] =
    &["deepseek", "qwen", "mistral", "magistral", "llama", "gemma", "gemini", "claude", "glm", "kimi", "gpt-oss"];

/// Fields that a reasoning model refuses.
const UNSUPPORTED: &[&str] =
    &["top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias", "stop"];

/// Most stop sequences.
const MOST_STOPS: usize = 4;

/// Greatest depth at which a schema is checked.
const DEPTH: usize = 32;

/// Refuses an invalid request.
pub(super) fn chat(body: &Value, model: &str, quirks: Quirks) -> Result<(), Reply> {
    if is_strict(model, quirks) {
        known(body, FIELDS)?;
        settings(body, model)?;
        for (index, tool) in list(body.get("tools")).iter().enumerate() {
            if tool.get("type").and_then(Value::as_str) == Some("function") {
                let function = tool.get("function").unwrap_or(&Value::Null);
                self::function(function, &format!("tools[{index}].function"))?;
            }
        }
        format(body)?;
    }
    if quirks == Quirks::Mistral {
        compatible::mistral(body)?;
    }
    let messages = list(body.get("messages"));
    for (index, message) in messages.iter().enumerate() {
        self::message(message, index)?;
    }
    calls(messages)?;
    if quirks == Quirks::DeepSeek { compatible::deepseek(body) } else { Ok(()) }
}

/// Whether the request is answered by `OpenAI` itself, here or at Azure.
pub(super) fn is_strict(model: &str, quirks: Quirks) -> bool {
    matches!(quirks, Quirks::OpenAi | Quirks::Azure) && !FOREIGN.iter().any(|family| model.contains(family))
}

/// Refuses unknown fields.
pub(super) fn known(body: &Value, fields: &[&str]) -> Result<(), Reply> {
    let unknown = body.as_object().and_then(|own| own.keys().find(|name| !fields.contains(&name.as_str())));
    let message = |name: &String| format!("Unrecognized request argument supplied: {name}");
    unknown.map_or(Ok(()), |name| Err(error(StatusCode::BAD_REQUEST, &message(name), None, None)))
}

/// The items of a list; empty when the value is not a list.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn unsupported(name: &str, hint: &str) -> Reply {
    let message = format!("Unsupported parameter: '{name}' is not supported with this model.{hint}");
    error(StatusCode::BAD_REQUEST, &message, Some(name), Some("unsupported_parameter"))
}

fn settings(body: &Value, model: &str) -> Result<(), Reply> {
    let has = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    if has("reasoning_effort") && is_openai_model(model) && !is_reasoning(model) {
        let message = "Unrecognized request argument supplied: reasoning_effort";
        return Err(error(StatusCode::BAD_REQUEST, message, None, None));
    }
    if list(body.get("stop")).len() > MOST_STOPS {
        return Err(invalid("stop", "array too long. Expected an array with maximum length 4."));
    }
    if is_reasoning(model) {
        if has("max_tokens") {
            return Err(unsupported("max_tokens", " Use 'max_completion_tokens' instead."));
        }
        default_temperature(body)?;
        return UNSUPPORTED.iter().find(|name| has(name)).map_or(Ok(()), |name| Err(unsupported(name, "")));
    }
    let number = body.get("temperature").and_then(Value::as_f64);
    if number.is_some_and(|number| !(0.0..=2.0).contains(&number)) {
        return Err(invalid("temperature", "decimal out of range. Expected a value from 0 to 2."));
    }
    Ok(())
}

/// Checks the temperature, which is fixed for reasoning models.
pub(super) fn default_temperature(body: &Value) -> Result<(), Reply> {
    let number = body.get("temperature").and_then(Value::as_f64);
    let Some(number) = number.filter(|number| (number - 1.0).abs() > f64::EPSILON) else { return Ok(()) };
    let message = format!(
        "Unsupported value: 'temperature' does not support {number} with this model. Only the default (1) value is \
         supported."
    );
    Err(error(StatusCode::BAD_REQUEST, &message, Some("temperature"), Some("unsupported_value")))
}

/// Checks a function definition.
pub(super) fn function(function: &Value, place: &str) -> Result<(), Reply> {
    let field = format!("{place}.name");
    let Some(name) = function.get("name").and_then(Value::as_str) else { return Err(missing(&field)) };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !(1..=64).contains(&name.len()) || !name.chars().all(fits) {
        let pattern = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.";
        return Err(invalid(&field, pattern));
    }
    let Some(schema) = function.get("parameters").filter(|schema| !schema.is_null()) else { return Ok(()) };
    let refuse = |problem: &str| {
        let message = format!("Invalid schema for function '{name}': {problem}");
        let param = format!("{place}.parameters");
        Err(error(StatusCode::BAD_REQUEST, &message, Some(&param), Some("invalid_function_parameters")))
    };
    // A schema may be empty, but its type is `object`.
    let kind = schema.get("type").and_then(Value::as_str);
    if !schema.is_object() || kind.is_some_and(|kind| kind != "object") {
        return refuse("schema must be a JSON Schema of 'type: \"object\"'.");
    }
    if function.get("strict").and_then(Value::as_bool) == Some(true) {
        return strict(schema, DEPTH).or_else(|problem| refuse(&problem));
    }
    Ok(())
}

/// Checks a strict schema: closed objects, and every property required.
pub(super) fn strict(schema: &Value, depth: usize) -> Result<(), String> {
    let Some(fields) = schema.as_object().filter(|_| depth > 0) else { return Ok(()) };
    if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
        if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err("In context=(), 'additionalProperties' is required to be supplied and to be false.".to_owned());
        }
        let required = list(fields.get("required"));
        if let Some(name) = properties.keys().find(|name| !required.iter().any(|one| one == name.as_str())) {
            return Err(format!(
                "In context=(), 'required' is required to be supplied and to be an array including every key in \
                 properties. Missing '{name}'."
            ));
        }
        properties.values().try_for_each(|schema| strict(schema, depth - 1))?;
    }
    fields.get("items").map_or(Ok(()), |items| strict(items, depth - 1))?;
    list(fields.get("anyOf")).iter().try_for_each(|schema| strict(schema, depth - 1))
}

fn format(body: &Value) -> Result<(), Reply> {
    let format = body.get("response_format").unwrap_or(&Value::Null);
    match format.get("type").and_then(Value::as_str) {
        Some("json_schema") => {
            let named = format.pointer("/json_schema/name").and_then(Value::as_str);
            let Some(name) = named else { return Err(missing("response_format.json_schema.name")) };
            let schema = format.pointer("/json_schema/schema").unwrap_or(&Value::Null);
            let wanted = format.pointer("/json_schema/strict").and_then(Value::as_bool) == Some(true);
            structured(name, schema, wanted, "response_format")
        }
        Some("json_object") => contains_json(list(body.get("messages")), "messages", "response_format"),
        _ => Ok(()),
    }
}

/// Checks the schema of a reply.
pub(super) fn structured(name: &str, schema: &Value, wanted: bool, param: &str) -> Result<(), Reply> {
    let problem = if wanted { strict(schema, DEPTH) } else { Ok(()) };
    problem.map_err(|problem| {
        let message = format!("Invalid schema for response_format '{name}': {problem}");
        error(StatusCode::BAD_REQUEST, &message, Some(param), None)
    })
}

/// Checks that a prompt for JSON without a schema contains the word.
pub(super) fn contains_json(messages: &[Value], field: &str, param: &str) -> Result<(), Reply> {
    if messages.iter().any(|message| message.to_string().to_lowercase().contains("json")) {
        return Ok(());
    }
    let message =
        format!("'{field}' must contain the word 'json' in some form, to use '{param}' of type 'json_object'.");
    Err(error(StatusCode::BAD_REQUEST, &message, Some(field), None))
}

fn message(message: &Value, index: usize) -> Result<(), Reply> {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    let calls = list(message.get("tool_calls"));
    let content = message.get("content").filter(|content| !content.is_null());
    let place = format!("messages.[{index}].content");
    let silent = role == "assistant"
        && (!calls.is_empty() || ["refusal", "audio", "function_call"].iter().any(|name| message.get(*name).is_some()));
    match content {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            let image = parts.iter().any(|part| part.get("type").and_then(Value::as_str) == Some("image_url"));
            if image && role != "user" {
                let message = format!(
                    "Invalid '{place}'. Image URLs are only allowed for messages with role 'user', but this message \
                     with role '{role}' contains an image URL."
                );
                return Err(error(StatusCode::BAD_REQUEST, &message, Some(&place), Some("invalid_value")));
            }
        }
        None if silent || role == "function" => {}
        _ => {
            let message = "Invalid value for 'content': expected a string, got null.";
            return Err(error(StatusCode::BAD_REQUEST, message, Some(&place), None));
        }
    }
    for (at, call) in calls.iter().enumerate() {
        let place = format!("messages[{index}].tool_calls[{at}]");
        if call.get("id").and_then(Value::as_str).is_none() {
            return Err(missing(&format!("{place}.id")));
        }
        if call.get("function").is_some() && !call.pointer("/function/arguments").is_some_and(Value::is_string) {
            let field = format!("{place}.function.arguments");
            let message = format!("Invalid type for '{field}': expected a string, but got another type instead.");
            return Err(error(StatusCode::BAD_REQUEST, &message, Some(&field), Some("invalid_type")));
        }
    }
    Ok(())
}

/// Checks that the messages after a call have its results, and that each result has a call.
fn calls(messages: &[Value]) -> Result<(), Reply> {
    let mut open: Vec<&str> = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    let unanswered = |open: &[&str], index: usize| {
        let message = format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
             'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            open.join(", ")
        );
        error(StatusCode::BAD_REQUEST, &message, Some(&format!("messages.[{index}].role")), None)
    };
    for (index, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if role == "tool" {
            let id = message.get("tool_call_id").and_then(Value::as_str);
            let Some(id) = id else { return Err(missing(&format!("messages.[{index}].tool_call_id"))) };
            if known.is_empty() {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message \
                               with 'tool_calls'.";
                return Err(error(StatusCode::BAD_REQUEST, message, Some(&format!("messages.[{index}].role")), None));
            }
            if !known.contains(&id) {
                let message = format!(
                    "Invalid parameter: 'tool_call_id' of '{id}' not found in 'tool_calls' of previous message."
                );
                let param = format!("messages.[{index}].tool_call_id");
                return Err(error(StatusCode::BAD_REQUEST, &message, Some(&param), None));
            }
            open.retain(|one| *one != id);
            continue;
        }
        if !open.is_empty() {
            return Err(unanswered(&open, index));
        }
        known = list(message.get("tool_calls")).iter().filter_map(|call| call.get("id")?.as_str()).collect();
        open.clone_from(&known);
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered(&open, messages.len())) }
}
