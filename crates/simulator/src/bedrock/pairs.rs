//! Checks of tools in Converse: definitions, calls without results and results without calls.

use serde_json::Value;

use super::read::list;
use super::union::union;

/// Refuses invalid tools, and calls and results that do not match.
pub(super) fn check(body: &Value, messages: &[Value]) -> Result<(), String> {
    let config = body.get("toolConfig").filter(|config| !config.is_null());
    if let Some(config) = config {
        tools(config)?;
    }
    for (index, message) in messages.iter().enumerate() {
        let calls = ids(message, "toolUse");
        let results = ids(message, "toolResult");
        if config.is_none() && !(calls.is_empty() && results.is_empty()) {
            let message = "The toolConfig field must be defined when using toolUse and toolResult content blocks.";
            return Err(message.to_owned());
        }
        called(message, index)?;
        let asked = index.checked_sub(1).and_then(|at| messages.get(at)).map(|before| ids(before, "toolUse"));
        answered(&asked.unwrap_or_default(), &results, message, index)?;
        if index + 1 == messages.len() && !calls.is_empty() {
            return Err(missing(index + 1, &calls));
        }
    }
    Ok(())
}

/// The ids of the tool blocks of one kind.
fn ids<'a>(message: &'a Value, kind: &str) -> Vec<&'a str> {
    let blocks = list(message.get("content")).iter().filter_map(|block| block.get(kind));
    blocks.map(|block| block.get("toolUseId").and_then(Value::as_str).unwrap_or_default()).collect()
}

fn missing(index: usize, ids: &[&str]) -> String {
    format!("Expected toolResult blocks at messages.{index}.content for the following Ids: {}", ids.join(", "))
}

fn called(message: &Value, index: usize) -> Result<(), String> {
    for (at, block) in list(message.get("content")).iter().enumerate() {
        let Some(call) = block.get("toolUse") else { continue };
        let place = format!("messages.{}.member.content.{}.member.toolUse", index + 1, at + 1);
        named(call, "toolUseId", &place, "_.:-")?;
        named(call, "name", &place, "_-")?;
        if !call.get("input").is_some_and(Value::is_object) {
            return Err(format!(
                "The format of the value at messages.{index}.content.{at}.toolUse.input is invalid. Provide a json \
                 object for the field and try again."
            ));
        }
    }
    Ok(())
}

/// Whether a text has 1 to 64 letters, digits and these other characters.
fn named(value: &Value, field: &str, place: &str, others: &str) -> Result<(), String> {
    let text = value.get(field).and_then(Value::as_str).unwrap_or_default();
    let good = (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
    let message = format!(
        "1 validation error detected: Value '{text}' at '{place}.{field}' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [a-zA-Z0-9{others}]+"
    );
    good.then_some(()).ok_or(message)
}

fn answered(asked: &[&str], results: &[&str], message: &Value, index: usize) -> Result<(), String> {
    if results.len() > asked.len() {
        return Err(format!(
            "The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of \
             previous turn."
        ));
    }
    for (at, id) in results.iter().enumerate() {
        if results.iter().take(at).any(|other| other == id) {
            return Err(format!("The toolResult blocks at messages.{index}.content contain duplicate Ids: {id}"));
        }
    }
    let open: Vec<&str> = asked.iter().copied().filter(|id| !results.contains(id)).collect();
    if !open.is_empty() {
        return Err(missing(index, &open));
    }
    for (at, block) in list(message.get("content")).iter().enumerate() {
        let Some(result) = block.get("toolResult") else { continue };
        let status = result.get("status").and_then(Value::as_str).unwrap_or("success");
        if !["success", "error"].contains(&status) {
            return Err(format!(
                "1 validation error detected: Value '{status}' at 'messages.{}.member.content.{}.member.toolResult.\
                 status' failed to satisfy constraint: Member must satisfy enum value set: [success, error]",
                index + 1,
                at + 1
            ));
        }
        let content = result.get("content");
        if !content.is_some_and(Value::is_array) {
            return Err(format!("The content field at messages.{index}.content.{at}.toolResult is required."));
        }
        if status == "error" && list(content).is_empty() {
            return Err(format!(
                "The content field at messages.{index}.content.{at}.toolResult cannot be empty when status value is \
                 error."
            ));
        }
    }
    Ok(())
}

fn tools(config: &Value) -> Result<(), String> {
    let tools = list(config.get("tools"));
    if tools.is_empty() {
        return Err(
            "1 validation error detected: Value at 'toolConfig.tools' failed to satisfy constraint: Member must \
                    have length greater than or equal to 1"
                .to_owned(),
        );
    }
    let mut names = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        union(tool, "Tool", &format!("toolConfig.tools.{index}"), &["toolSpec", "systemTool", "cachePoint"])?;
        let Some(spec) = tool.get("toolSpec") else { continue };
        let place = format!("toolConfig.tools.{}.member.toolSpec", index + 1);
        named(spec, "name", &place, "_-")?;
        names.push(spec.get("name").and_then(Value::as_str).unwrap_or_default());
        if spec.get("description").is_some_and(|text| text.as_str().is_none_or(str::is_empty)) {
            return Err(format!(
                "1 validation error detected: Value '' at '{place}.description' failed to satisfy constraint: Member \
                 must have length greater than or equal to 1"
            ));
        }
        let schema = spec.pointer("/inputSchema/json").filter(|schema| schema.is_object());
        if schema.and_then(|schema| schema.get("type")?.as_str()) != Some("object") {
            return Err(format!(
                "The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the following: \
                 object."
            ));
        }
    }
    let Some(choice) = config.get("toolChoice") else { return Ok(()) };
    union(choice, "ToolChoice", "toolConfig.toolChoice", &["auto", "any", "tool"])?;
    match choice.pointer("/tool/name").and_then(Value::as_str) {
        Some(name) if !names.contains(&name) => Err(format!(
            "The value at toolConfig.toolChoice.tool.name does not match any name of toolConfig.tools: {name}"
        )),
        None if choice.get("tool").is_some() => Err("toolConfig.toolChoice.tool.name is required".to_owned()),
        _ => Ok(()),
    }
}
