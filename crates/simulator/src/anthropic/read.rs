//! The prompt of a Messages request.

use serde_json::Value;

use crate::answer::{Prompt, ToolChoice, strings};

/// Reads the prompt of a request.
///
/// # Errors
///
/// The provider's message about an invalid body.
pub(crate) fn prompt(body: &Value) -> Result<Prompt, String> {
    let Some(messages) = body.get("messages") else { return Err("messages: Field required".to_owned()) };
    let Some(messages) = messages.as_array() else { return Err("messages: Input should be a valid list".to_owned()) };
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    let mut prompt = Prompt::default();
    match body.get("system") {
        Some(Value::String(text)) => prompt.count_text(text),
        Some(Value::Array(blocks)) => {
            for text in blocks.iter().filter_map(|block| block.get("text")?.as_str()) {
                prompt.count_text(text);
            }
        }
        _ => {}
    }
    for (index, message) in messages.iter().enumerate() {
        read_message(&mut prompt, message, index)?;
    }
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = tool.get("name").and_then(Value::as_str) {
            prompt.tool(name, tool.get("input_schema"), tool);
        }
    }
    let choice = body.get("tool_choice");
    prompt.choice = match choice.and_then(|choice| choice.get("type")?.as_str()) {
        Some("none") => ToolChoice::None,
        Some("any") => ToolChoice::Any,
        Some("tool") => {
            let name = choice.and_then(|choice| choice.get("name")?.as_str());
            ToolChoice::Named(name.unwrap_or_default().to_owned())
        }
        _ => ToolChoice::Auto,
    };
    prompt.schema = body.pointer("/output_config/format/schema").cloned();
    prompt.stop = strings(body.get("stop_sequences"));
    prompt.thinks = thinks(body.get("thinking"));
    Ok(prompt)
}

/// The limit of a reply, which a request must have.
///
/// # Errors
///
/// The provider's message about a missing or invalid limit.
pub(crate) fn limit(body: &Value) -> Result<u64, String> {
    let Some(limit) = body.get("max_tokens") else { return Err("max_tokens: Field required".to_owned()) };
    limit.as_u64().ok_or_else(|| "max_tokens: Input should be a valid integer".to_owned())
}

/// Whether the field `thinking` turns thinking on.
pub(crate) fn thinks(thinking: Option<&Value>) -> bool {
    let kind = thinking.and_then(|thinking| thinking.get("type")?.as_str());
    matches!(kind, Some("enabled" | "adaptive" | "between_tools"))
}

fn read_message(prompt: &mut Prompt, message: &Value, index: usize) -> Result<(), String> {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    if !["user", "assistant", "system"].contains(&role) {
        return Err(format!("messages.{index}.role: Input should be 'user' or 'assistant'"));
    }
    if index == 0 && role != "user" {
        return Err("messages: first message must use the \"user\" role".to_owned());
    }
    let mut results = Vec::new();
    let mut texts = Vec::new();
    match message.get("content") {
        Some(Value::String(text)) => texts.push(text.as_str()),
        Some(Value::Array(blocks)) => {
            for block in blocks {
                match block.get("type").and_then(Value::as_str) {
                    Some("text") => texts.extend(block.get("text").and_then(Value::as_str)),
                    Some("tool_result") => results.push(result_text(prompt, block.get("content"))),
                    Some("tool_use") => {
                        prompt.count_text(block.get("name").and_then(Value::as_str).unwrap_or_default());
                        prompt.count_text(&block.get("input").map(Value::to_string).unwrap_or_default());
                    }
                    Some("thinking" | "redacted_thinking") => {}
                    kind => prompt.media(kind.unwrap_or_default()),
                }
            }
        }
        _ => return Err(format!("messages.{index}.content: Field required")),
    }
    let text = texts.join("\n");
    // A text beside results is about the results, so they are answered.
    if role == "user" && results.is_empty() {
        prompt.user(&text);
    } else {
        prompt.count_text(&text);
    }
    for result in &results {
        prompt.result(result);
    }
    Ok(())
}

fn result_text(prompt: &mut Prompt, content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => {
            let mut texts = Vec::new();
            for block in blocks {
                match block.get("text").and_then(Value::as_str) {
                    Some(text) => texts.push(text),
                    None => prompt.media(block.get("type").and_then(Value::as_str).unwrap_or_default()),
                }
            }
            texts.join("\n")
        }
        _ => String::new(),
    }
}
