//! Checks of the turns of a Messages request, with Anthropic's error messages.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::models::Claude;
use super::rules::Rules;
use crate::sign::{SignatureOrigin, is_signature, signs};

/// Kinds of content blocks.
const KINDS: &[&str] = &[
    "bash_code_execution_tool_result",
    "code_execution_tool_result",
    "container_upload",
    "document",
    "image",
    "redacted_thinking",
    "search_result",
    "server_tool_use",
    "text",
    "text_editor_code_execution_tool_result",
    "thinking",
    "tool_result",
    "tool_search_tool_result",
    "tool_use",
    "web_fetch_tool_result",
    "web_search_tool_result",
];

/// Media types of images.
const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Messages of one role that follow each other: the provider reads them as one.
struct Turn<'a> {
    role: &'a str,
    /// Index of the first message.
    at: usize,
    /// The place of each block (`messages.1.content.0`) and the block; `None` for a plain text.
    blocks: Vec<(String, Option<&'a Value>)>,
}

/// Refuses turns in a wrong order, and invalid blocks.
pub(super) fn check(body: &Value, model: &str, rules: &Rules) -> Result<(), String> {
    for (index, block) in body.get("system").and_then(Value::as_array).into_iter().flatten().enumerate() {
        text(block.get("text"), "system").map_err(|problem| format!("system.{index}: {problem}"))?;
    }
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let claude = Claude::of(model);
    let mut turns: Vec<Turn> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if role == "system" {
            if claude.is_some_and(|claude| !claude.takes_later_instructions()) {
                return Err(format!("messages.{index}: role 'system' is not supported on this model"));
            }
            continue;
        }
        let blocks = message_blocks(message, index, role, index + 1 == messages.len())?;
        for (place, block) in &blocks {
            if let Some(block) = block {
                check_block(block, place, role, rules)?;
            }
        }
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, at: index, blocks }),
        }
    }
    for (index, turn) in turns.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|at| turns.get(at));
        check_tools(turn, before, turns.get(index + 1))?;
    }
    if turns.last().is_some_and(|turn| turn.role == "assistant") && claude.is_some_and(|claude| !claude.takes_prefill())
    {
        return Err("This model does not support assistant message prefill. The conversation must end with a user \
                    message."
            .to_owned());
    }
    if body.pointer("/thinking/type").and_then(Value::as_str) == Some("enabled") {
        reasoning_before_calls(&turns)?;
    }
    Ok(())
}

/// The blocks of a message with their places.
fn message_blocks<'a>(
    message: &'a Value,
    index: usize,
    role: &str,
    last: bool,
) -> Result<Vec<(String, Option<&'a Value>)>, String> {
    let empty = format!(
        "messages.{index}: all messages must have non-empty content except for the optional final assistant message"
    );
    match message.get("content") {
        Some(Value::String(words)) => {
            if words.is_empty() {
                return if last && role == "assistant" { Ok(Vec::new()) } else { Err(empty) };
            }
            if words.trim().is_empty() {
                return Err("messages: text content blocks must contain non-whitespace text".to_owned());
            }
            if last && role == "assistant" && words.ends_with(char::is_whitespace) {
                return Err("messages: final assistant content cannot end with trailing whitespace".to_owned());
            }
            Ok(vec![(format!("messages.{index}.content"), None)])
        }
        Some(Value::Array(blocks)) if !blocks.is_empty() => {
            let placed = blocks.iter().enumerate();
            Ok(placed.map(|(at, block)| (format!("messages.{index}.content.{at}"), Some(block))).collect())
        }
        _ if last && role == "assistant" => Ok(Vec::new()),
        _ => Err(empty),
    }
}

fn kind(block: &Value) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn text(value: Option<&Value>, list: &str) -> Result<(), String> {
    match value.and_then(Value::as_str) {
        None => Err("text: Field required".to_owned()),
        Some("") => Err(format!("{list}: text content blocks must be non-empty")),
        Some(words) if words.trim().is_empty() => {
            Err(format!("{list}: text content blocks must contain non-whitespace text"))
        }
        Some(_) => Ok(()),
    }
}

fn check_block(block: &Value, place: &str, role: &str, rules: &Rules) -> Result<(), String> {
    let kind = kind(block);
    if !KINDS.contains(&kind) {
        return Err(format!(
            "{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags: '{}'",
            KINDS.join("', '")
        ));
    }
    match (kind, role) {
        ("tool_use" | "thinking" | "redacted_thinking", "user") => {
            return Err(format!("{place}: `{kind}` blocks can only be in `assistant` messages"));
        }
        ("tool_result" | "image", "assistant") => {
            return Err(format!("{place}: `{kind}` blocks can only be in `user` messages"));
        }
        _ => {}
    }
    match kind {
        "text" => text(block.get("text"), "messages"),
        "image" | "document" => source(block, kind, place, rules),
        "thinking" => {
            let reasoning = block.get("thinking").and_then(Value::as_str);
            let reasoning = reasoning.ok_or_else(|| format!("{place}.thinking.thinking: Field required"))?;
            let signature = block.get("signature").and_then(Value::as_str);
            let signature = signature.ok_or_else(|| format!("{place}.thinking.signature: Field required"))?;
            let good = signs(SignatureOrigin::Claude, reasoning, signature);
            good.then_some(()).ok_or_else(|| format!("{place}: Invalid `signature` in `thinking` block"))
        }
        "redacted_thinking" => {
            let data = block.get("data").and_then(Value::as_str).unwrap_or_default();
            let good = is_signature(SignatureOrigin::Claude, data);
            good.then_some(()).ok_or_else(|| format!("{place}: Invalid `data` in `redacted_thinking` block"))
        }
        "tool_use" => tool_use(block, place),
        "tool_result" => {
            for (index, inner) in block.get("content").and_then(Value::as_array).into_iter().flatten().enumerate() {
                let place = format!("{place}.tool_result.content.{index}");
                match self::kind(inner) {
                    "text" if inner.get("text").and_then(Value::as_str) == Some("") => {
                        return Err("messages: text content blocks must be non-empty".to_owned());
                    }
                    kind @ ("image" | "document") => source(inner, kind, &place, rules)?,
                    _ => {}
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn tool_use(block: &Value, place: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for name in ["id", "name"] {
        match block.get(name).and_then(Value::as_str) {
            None => return Err(format!("{place}.tool_use.{name}: Field required")),
            Some(text) if text.is_empty() || !text.chars().all(fits) => {
                return Err(format!("{place}.tool_use.{name}: String should match pattern '^[a-zA-Z0-9_-]+$'"));
            }
            Some(_) => {}
        }
    }
    match block.get("input") {
        None => Err(format!("{place}.tool_use.input: Field required")),
        Some(Value::Object(_)) => Ok(()),
        Some(_) => Err(format!("{place}.tool_use.input: Input should be a valid dictionary")),
    }
}

/// Checks the source of an image or a document.
fn source(block: &Value, name: &str, place: &str, rules: &Rules) -> Result<(), String> {
    let Some(source) = block.get("source") else { return Err(format!("{place}.{name}.source: Field required")) };
    match kind(source) {
        // The provider's message names `base64` here too.
        "url" if rules.cloud => Err(format!("{place}.{name}.source.base64.data: URL sources are not supported")),
        "base64" => {
            let media_type = source.get("media_type").and_then(Value::as_str).unwrap_or_default();
            if name == "image" && !IMAGES.contains(&media_type) {
                return Err(format!(
                    "{place}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or \
                     'image/webp'"
                ));
            }
            if name == "document" && media_type != "application/pdf" {
                return Err(format!("{place}.document.source.base64.media_type: Input should be 'application/pdf'"));
            }
            let data = source.get("data").and_then(Value::as_str).unwrap_or_default();
            let good = !data.is_empty() && BASE64_STANDARD.decode(data).is_ok();
            good.then_some(()).ok_or_else(|| format!("{place}.{name}.source.base64.data: invalid base64 data"))
        }
        "text" | "content" if name == "document" => Ok(()),
        "url" | "file" => Ok(()),
        other => Err(format!("{place}.{name}.source: Input tag '{other}' found using 'type' does not match")),
    }
}

/// Checks that each call has one result at the start of the next turn, and each result a call in the turn before.
fn check_tools(turn: &Turn, before: Option<&Turn>, after: Option<&Turn>) -> Result<(), String> {
    let calls = ids(turn, "tool_use", "id");
    for (index, (_, id)) in calls.iter().enumerate() {
        if calls.iter().skip(index + 1).any(|(_, other)| other == id) {
            return Err("messages: `tool_use` ids must be unique".to_owned());
        }
    }
    let results = after.map(leading_results).unwrap_or_default();
    let missing: Vec<&str> = calls.iter().map(|(_, id)| *id).filter(|id| !results.contains(id)).collect();
    if !missing.is_empty() {
        return Err(format!(
            "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message.",
            turn.at,
            missing.join(", ")
        ));
    }
    let known = before.map(|before| ids(before, "tool_use", "id")).unwrap_or_default();
    let answers = ids(turn, "tool_result", "tool_use_id");
    for (index, (place, id)) in answers.iter().enumerate() {
        if !known.iter().any(|(_, call)| call == id) {
            return Err(format!(
                "{place}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must \
                 have a corresponding `tool_use` block in the previous message."
            ));
        }
        if answers.iter().take(index).any(|(_, other)| other == id) {
            return Err(format!(
                "{place}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}"
            ));
        }
    }
    Ok(())
}

/// Places and ids of the blocks of one kind.
fn ids<'a>(turn: &'a Turn, wanted: &str, field: &str) -> Vec<(&'a str, &'a str)> {
    let blocks = turn.blocks.iter().filter_map(|(place, block)| Some((place.as_str(), (*block)?)));
    let wanted = blocks.filter(|(_, block)| kind(block) == wanted);
    wanted.map(|(place, block)| (place, block.get(field).and_then(Value::as_str).unwrap_or_default())).collect()
}

/// Ids of the results at the start of a turn.
fn leading_results<'a>(turn: &Turn<'a>) -> Vec<&'a str> {
    let blocks = turn.blocks.iter().map_while(|(_, block)| block.filter(|block| kind(block) == "tool_result"));
    blocks.filter_map(|block| block.get("tool_use_id")?.as_str()).collect()
}

/// Checks that reasoning precedes the calls of the last turn while thinking is on.
fn reasoning_before_calls(turns: &[Turn]) -> Result<(), String> {
    let Some(turn) = turns.iter().rev().find(|turn| turn.role == "assistant") else { return Ok(()) };
    let Some((place, first)) = turn.blocks.first() else { return Ok(()) };
    let found = first.map_or("text", kind);
    if ids(turn, "tool_use", "id").is_empty() || matches!(found, "thinking" | "redacted_thinking") {
        return Ok(());
    }
    Err(format!(
        "{place}.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. When `thinking` is enabled, a \
         final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and \
         `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this \
         requirement, disable `thinking`."
    ))
}
