//! Checks of a Converse request, with Bedrock's error messages.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::pairs;
use super::read::list;
use super::union::union;
use crate::anthropic;
use crate::anthropic::models::Claude;
use crate::sign::{SignatureOrigin, is_signature, signs};

/// Fields of other APIs, which Converse has elsewhere.
const FOREIGN: &[&str] = &[
    "model",
    "stream",
    "max_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "thinking",
    "stop_sequences",
    "anthropic_version",
    "anthropic_beta",
];

/// Keys of a content block, of which exactly one is set.
const BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "video",
    "audio",
    "toolUse",
    "toolResult",
    "guardContent",
    "cachePoint",
    "reasoningContent",
    "citationsContent",
    "searchResult",
];

/// Kinds of media with the values of their `format`.
const FORMATS: &[(&str, &[&str])] = &[
    ("image", &["png", "jpeg", "gif", "webp"]),
    ("document", &["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"]),
];

/// Refuses a request that is invalid for Converse or for its model.
///
/// # Errors
///
/// The provider's message about the first problem.
pub(super) fn request(body: &Value, model: &str) -> Result<(), String> {
    if let Some(name) = FOREIGN.iter().find(|name| body.get(**name).is_some()) {
        return Err(extraneous(name));
    }
    for (index, block) in list(body.get("system")).iter().enumerate() {
        let place = format!("system.{index}");
        union(block, "SystemContentBlock", &place, &["text", "guardContent", "cachePoint"])?;
        blank(block, "SystemContentBlock", &place)?;
    }
    let messages = list(body.get("messages"));
    roles(messages)?;
    for (index, message) in messages.iter().enumerate() {
        content(message, index)?;
    }
    pairs::check(body, messages)?;
    inference(body.get("inferenceConfig").unwrap_or(&Value::Null))?;
    if model.contains("claude") {
        let words = claude(body, model, messages);
        words.map_err(|message| format!("The model returned the following errors: {message}"))?;
    }
    Ok(())
}

/// The error about a field that is not allowed.
pub(super) fn extraneous(name: &str) -> String {
    format!(
        "Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input and try \
         again."
    )
}

fn roles(messages: &[Value]) -> Result<(), String> {
    let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (index, message) in messages.iter().enumerate() {
        let own = role(message);
        if !["user", "assistant"].contains(&own.as_str()) {
            return Err(format!(
                "1 validation error detected: Value '{own}' at 'messages.{}.member.role' failed to satisfy constraint: \
                 Member must satisfy enum value set: [user, assistant]",
                index + 1
            ));
        }
        let before = index.checked_sub(1).and_then(|at| messages.get(at));
        if before.is_none() && own != "user" {
            return Err("A conversation must start with a user message. Try again with a conversation that starts \
                        with a user message."
                .to_owned());
        }
        if before.is_some_and(|before| role(before) == own) {
            return Err("A conversation must alternate between user and assistant roles. Make sure the conversation \
                        alternates between user and assistant roles and try again."
                .to_owned());
        }
    }
    Ok(())
}

fn blank(block: &Value, shape: &str, place: &str) -> Result<(), String> {
    if block.get("text").and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
        return Err(format!(
            "The text field in the {shape} object at {place} is blank. Add text to the text field, and try again."
        ));
    }
    Ok(())
}

fn content(message: &Value, index: usize) -> Result<(), String> {
    let blocks = list(message.get("content"));
    if blocks.is_empty() {
        return Err(format!(
            "The content field in the Message object at messages.{index} is empty. Add a ContentBlock object to the \
             content field and try again."
        ));
    }
    let user = message.get("role").and_then(Value::as_str) == Some("user");
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("messages.{index}.content.{at}");
        union(block, "ContentBlock", &place, BLOCKS)?;
        blank(block, "ContentBlock", &place)?;
        let misplaced =
            if user { ["toolUse", "reasoningContent"].as_slice() } else { &["toolResult", "image", "document"] };
        if let Some(kind) = misplaced.iter().find(|kind| block.get(**kind).is_some()) {
            let role = if user { "assistant" } else { "user" };
            return Err(format!("The {kind} block at {place} is only allowed in a message with the role {role}."));
        }
        media(block, &place)?;
        for (inner, result) in list(block.pointer("/toolResult/content")).iter().enumerate() {
            let place = format!("{place}.toolResult.content.{inner}");
            union(
                result,
                "ToolResultContentBlock",
                &place,
                &["json", "text", "image", "document", "video", "searchResult"],
            )?;
            media(result, &place)?;
        }
    }
    let documents = blocks.iter().any(|block| block.get("document").is_some());
    if documents && !blocks.iter().any(|block| block.get("text").is_some()) {
        return Err(format!(
            "The content field in the Message object at messages.{index} has a document but no text. Add a text block \
             and try again."
        ));
    }
    Ok(())
}

fn media(block: &Value, place: &str) -> Result<(), String> {
    for (kind, formats) in FORMATS {
        let Some(media) = block.get(kind) else { continue };
        let format = media.get("format").and_then(Value::as_str).unwrap_or_default();
        if !formats.contains(&format) {
            return Err(format!(
                "1 validation error detected: Value '{format}' at '{place}.{kind}.format' failed to satisfy \
                 constraint: Member must satisfy enum value set: [{}]",
                formats.join(", ")
            ));
        }
        let source = media.get("source").unwrap_or(&Value::Null);
        let keys = if *kind == "image" {
            ["bytes", "s3Location"].as_slice()
        } else {
            &["bytes", "s3Location", "text", "content"]
        };
        let shape = if *kind == "image" { "ImageSource" } else { "DocumentSource" };
        union(source, shape, &format!("{place}.{kind}.source"), keys)?;
        if let Some(bytes) = source.get("bytes") {
            let good = bytes.as_str().is_some_and(|text| !text.is_empty() && BASE64_STANDARD.decode(text).is_ok());
            if !good {
                return Err(format!("The {kind} at {place} could not be read: its bytes are no base64."));
            }
        }
        let name = media.get("name").and_then(Value::as_str).unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '(' | ')' | '[' | ']');
        if *kind == "document" && (name.is_empty() || name.contains("  ") || !name.chars().all(fits)) {
            return Err("The document file name can only contain alphanumeric characters, whitespace characters, \
                        hyphens, parentheses, and square brackets. The name can't contain more than one consecutive \
                        whitespace character."
                .to_owned());
        }
    }
    Ok(())
}

fn inference(config: &Value) -> Result<(), String> {
    for name in ["temperature", "topP"] {
        let number = config.get(name).and_then(Value::as_f64);
        if let Some(number) = number.filter(|number| !(0.0..=1.0).contains(number)) {
            let bound = if number > 1.0 { "less than or equal to 1" } else { "greater than or equal to 0" };
            return Err(format!(
                "1 validation error detected: Value '{number}' at 'inferenceConfig.{name}' failed to satisfy \
                 constraint: Member must have value {bound}"
            ));
        }
    }
    if config.get("maxTokens").is_some_and(|most| most.as_u64().is_none_or(|most| most == 0)) {
        return Err("1 validation error detected: Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: \
                    Member must have value greater than or equal to 1"
            .to_owned());
    }
    if list(config.get("stopSequences")).iter().any(|stop| stop.as_str().is_none_or(str::is_empty)) {
        return Err("1 validation error detected: Value at 'inferenceConfig.stopSequences' failed to satisfy \
                    constraint: Member must have length greater than or equal to 1"
            .to_owned());
    }
    Ok(())
}

/// Checks that Claude itself makes.
fn claude(body: &Value, model: &str, messages: &[Value]) -> Result<(), String> {
    let mut own = match body.get("additionalModelRequestFields") {
        Some(Value::Object(fields)) => fields.clone(),
        _ => Map::new(),
    };
    for (name, theirs) in [("temperature", "temperature"), ("topP", "top_p"), ("maxTokens", "max_tokens")] {
        if let Some(value) = body.pointer(&format!("/inferenceConfig/{name}")) {
            own.insert(theirs.to_owned(), value.clone());
        }
    }
    if let Some(choice) = body.pointer("/toolConfig/toolChoice").and_then(Value::as_object) {
        own.insert("tool_choice".to_owned(), json!({"type": choice.keys().next()}));
    }
    let own = Value::Object(own);
    anthropic::check::settings(&own, model)?;
    let last = messages.last().and_then(|message| message.get("role")?.as_str());
    if last == Some("assistant") && Claude::of(model).is_some_and(|claude| !claude.takes_prefill()) {
        return Err("This model does not support assistant message prefill. The conversation must end with a user \
                    message."
            .to_owned());
    }
    reasoning_signatures(messages)?;
    if own.pointer("/thinking/type").and_then(Value::as_str) == Some("enabled") {
        reasoning_before_calls(messages)?;
    }
    Ok(())
}

/// Checks the signatures of reasoning.
fn reasoning_signatures(messages: &[Value]) -> Result<(), String> {
    for (index, message) in messages.iter().enumerate() {
        for (at, block) in list(message.get("content")).iter().enumerate() {
            let Some(reasoning) = block.get("reasoningContent") else { continue };
            let text = |pointer: &str| reasoning.pointer(pointer).and_then(Value::as_str);
            let good = match (text("/reasoningText/text"), text("/redactedContent")) {
                (Some(words), None) => {
                    let signature = text("/reasoningText/signature");
                    let Some(signature) = signature else {
                        return Err(format!("messages.{index}.content.{at}.thinking.signature: Field required"));
                    };
                    signs(SignatureOrigin::Claude, words, signature)
                }
                (None, Some(data)) => is_signature(SignatureOrigin::Claude, data),
                _ => {
                    let place = format!("messages.{index}.content.{at}.reasoningContent");
                    return union(reasoning, "ReasoningContentBlock", &place, &["reasoningText", "redactedContent"]);
                }
            };
            if !good {
                return Err(format!("messages.{index}.content.{at}: Invalid `signature` in `thinking` block"));
            }
        }
    }
    Ok(())
}

/// Checks that reasoning precedes the calls of the last turn while thinking is on.
fn reasoning_before_calls(messages: &[Value]) -> Result<(), String> {
    let assistant = |message: &Value| message.get("role").and_then(Value::as_str) == Some("assistant");
    let Some(index) = messages.iter().rposition(assistant) else { return Ok(()) };
    let turn = messages.get(index).unwrap_or(&Value::Null);
    let blocks = list(turn.get("content"));
    let calls = blocks.iter().any(|block| block.get("toolUse").is_some());
    if !calls || blocks.first().is_some_and(|block| block.get("reasoningContent").is_some()) {
        return Ok(());
    }
    Err(format!(
        "messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When \
         `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost \
         set of `tool_use` and `tool_result` blocks)."
    ))
}
