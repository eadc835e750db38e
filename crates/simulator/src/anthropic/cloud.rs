//! What Vertex AI and Bedrock refuse of Anthropic's own API.

use serde_json::Value;

/// Betas that both clouds take, as AWS's user guide and Anthropic's pages list them.
const BETAS: &[&str] = &[
    "compact-2026-01-12",
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "interleaved-thinking-2025-05-14",
    "output-128k-2025-02-19",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
];

/// Fields that Anthropic's own API has alone.
const FIELDS: &[&str] = &["mcp_servers", "container", "inference_geo", "service_tier", "speed"];

/// Refuses a request of Messages at a cloud that takes `more` betas, too.
///
/// # Errors
///
/// The provider's message about the first problem.
pub(crate) fn check<'a>(body: &Value, mut betas: impl Iterator<Item = &'a str>, more: &[&str]) -> Result<(), String> {
    if betas.any(|name| !BETAS.contains(&name) && !more.contains(&name)) {
        return Err("invalid beta flag".to_owned());
    }
    if let Some(name) = FIELDS.iter().find(|name| body.get(**name).is_some()) {
        return Err(format!("{name}: Extra inputs are not permitted"));
    }
    if body.pointer("/cache_control/scope").is_some() {
        return Err("cache_control.ephemeral.scope: Extra inputs are not permitted".to_owned());
    }
    for name in ["system", "tools"] {
        blocks(body.get(name), name)?;
    }
    for (index, message) in body.get("messages").and_then(Value::as_array).into_iter().flatten().enumerate() {
        blocks(message.get("content"), &format!("messages.{index}.content"))?;
    }
    Ok(())
}

/// Refuses a scope of the cache in a list of blocks, and in the blocks inside them.
fn blocks(list: Option<&Value>, place: &str) -> Result<(), String> {
    for (index, block) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let place = format!("{place}.{index}");
        if block.pointer("/cache_control/scope").is_some() {
            return Err(format!("{place}.cache_control.ephemeral.scope: Extra inputs are not permitted"));
        }
        blocks(block.get("content"), &format!("{place}.content"))?;
        blocks(block.pointer("/source/content"), &format!("{place}.source.content"))?;
    }
    Ok(())
}
