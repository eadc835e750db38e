//! The prompt of a Converse request.

use serde_json::Value;

use crate::answer::{Prompt, ToolChoice, strings};

/// Reads the prompt of a request.
///
/// # Errors
///
/// The provider's message about an invalid body.
pub(super) fn prompt(body: &Value) -> Result<Prompt, String> {
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let Some(messages) = messages else {
        return Err("A conversation must start with a user message. Try again with a conversation that starts with a \
                    user message."
            .to_owned());
    };
    let mut prompt = Prompt::default();
    for text in list(body.get("system")).iter().filter_map(|block| block.get("text")?.as_str()) {
        prompt.count_text(text);
    }
    for message in messages {
        read_message(&mut prompt, message);
    }
    let tools = list(body.pointer("/toolConfig/tools"));
    for spec in tools.iter().filter_map(|tool| tool.get("toolSpec")) {
        if let Some(name) = spec.get("name").and_then(Value::as_str) {
            prompt.tool(name, spec.pointer("/inputSchema/json"), spec);
        }
    }
    if let Some(choice) = body.pointer("/toolConfig/toolChoice") {
        let named = choice.pointer("/tool/name").and_then(Value::as_str).map(str::to_owned);
        prompt.choice = match named {
            Some(name) => ToolChoice::Named(name),
            None if choice.get("any").is_some() => ToolChoice::Any,
            None => ToolChoice::Auto,
        };
    }
    let schema = body.pointer("/outputConfig/textFormat/structure/jsonSchema/schema").and_then(Value::as_str);
    prompt.schema = schema.and_then(|text| serde_json::from_str(text).ok());
    prompt.limit = body.pointer("/inferenceConfig/maxTokens").and_then(Value::as_u64);
    prompt.stop = strings(body.pointer("/inferenceConfig/stopSequences"));
    prompt.thinks = body.get("additionalModelRequestFields").is_some_and(thinks);
    Ok(prompt)
}

/// Whether the additional fields turn reasoning on, in the format of Claude, Nova or `OpenAI`.
fn thinks(fields: &Value) -> bool {
    let kind = |pointer: &str| fields.pointer(pointer).and_then(Value::as_str);
    matches!(kind("/thinking/type"), Some("enabled" | "adaptive" | "between_tools"))
        || kind("/reasoningConfig/type") == Some("enabled")
        || [kind("/reasoning_effort"), kind("/reasoning/effort")].into_iter().flatten().any(|effort| effort != "none")
}

/// The items of a list; empty when the value is not a list.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn read_message(prompt: &mut Prompt, message: &Value) {
    let mut results = Vec::new();
    let mut texts = Vec::new();
    for block in list(message.get("content")) {
        let Some((kind, content)) = block.as_object().and_then(|fields| fields.iter().next()) else { continue };
        match kind.as_str() {
            "text" => texts.extend(content.as_str()),
            "toolResult" => results.push(result_text(prompt, content)),
            "toolUse" => {
                prompt.count_text(content.get("name").and_then(Value::as_str).unwrap_or_default());
                prompt.count_text(&content.get("input").map(Value::to_string).unwrap_or_default());
            }
            "guardContent" => texts.extend(content.pointer("/text/text").and_then(Value::as_str)),
            "reasoningContent" | "cachePoint" | "citationsContent" => {}
            kind => prompt.media(kind),
        }
    }
    let text = texts.join("\n");
    // A text beside results is about the results, so they are answered.
    if message.get("role").and_then(Value::as_str) == Some("user") && results.is_empty() {
        prompt.user(&text);
    } else {
        prompt.count_text(&text);
    }
    for result in &results {
        prompt.result(result);
    }
}

fn result_text(prompt: &mut Prompt, result: &Value) -> String {
    let mut texts = Vec::new();
    for block in list(result.get("content")) {
        let Some((kind, content)) = block.as_object().and_then(|fields| fields.iter().next()) else { continue };
        match (kind.as_str(), content) {
            ("text", Value::String(text)) => texts.push(text.clone()),
            ("json", json) => texts.push(json.to_string()),
            (kind, _) => prompt.media(kind),
        }
    }
    texts.join("\n")
}
