//! Checks of a Messages request, with Anthropic's error messages: fields, settings, thinking and tools.

use serde_json::Value;

use super::models::Claude;
use super::rules::Rules;
use super::{read, turns};

/// Smallest thinking budget, in tokens.
const LEAST_BUDGET: u64 = 1024;

/// Fields of a request; any other is refused.
const FIELDS: &[&str] = &[
    "model",
    "max_tokens",
    "messages",
    "system",
    "stop_sequences",
    "stream",
    "metadata",
    "service_tier",
    "temperature",
    "top_p",
    "top_k",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
    "cache_control",
    "container",
    "context_management",
    "mcp_servers",
    "inference_geo",
    "speed",
    "diagnostics",
];

/// Fields that only clouds take in the body.
const CLOUD_FIELDS: &[&str] = &["anthropic_version", "anthropic_beta", "user_profile_id"];

/// Keywords of a JSON schema that structured output does not follow.
const UNFOLLOWED: &[&str] =
    &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"];

/// Greatest depth at which a schema is checked.
const DEPTH: usize = 32;

/// Refuses an invalid request.
///
/// # Errors
///
/// The provider's message about the first problem.
pub(crate) fn request(body: &Value, model: &str, rules: &Rules) -> Result<(), String> {
    for name in body.as_object().into_iter().flat_map(|fields| fields.keys()) {
        let known = FIELDS.contains(&name.as_str()) || rules.cloud && CLOUD_FIELDS.contains(&name.as_str());
        if !known {
            return Err(format!("{name}: Extra inputs are not permitted"));
        }
    }
    let sampling = ["temperature", "top_p", "top_k"].into_iter().find(|name| body.get(name).is_some());
    if let (true, Some(name)) = (rules.newest, sampling) {
        return Err(format!("{name}: Extra inputs are not permitted"));
    }
    let stops = body.get("stop_sequences").and_then(Value::as_array).into_iter().flatten();
    if stops.filter_map(Value::as_str).any(|stop| stop.trim().is_empty()) {
        return Err("stop_sequences: each stop sequence must contain non-whitespace".to_owned());
    }
    settings(body, model)?;
    tools(body)?;
    output(body, model)?;
    turns::check(body, model, rules)
}

/// Checks sampling and thinking. Bedrock's Converse passes these messages on.
///
/// # Errors
///
/// The provider's message about the first problem.
pub(crate) fn settings(body: &Value, model: &str) -> Result<(), String> {
    let claude = Claude::of(model);
    let has = |name: &str| body.get(name).filter(|value| !value.is_null());
    let sampling = ["temperature", "top_p", "top_k"].into_iter().find(|name| has(name).is_some());
    if let Some(name) = sampling.filter(|_| claude.is_some_and(Claude::is_newest)) {
        return Err(format!("`{name}` is deprecated for this model."));
    }
    let both = has("temperature").is_some() && has("top_p").is_some();
    if both && claude.is_some_and(Claude::takes_one_sampling_parameter) {
        let message = "`temperature` and `top_p` cannot both be specified for this model. Please use only one.";
        return Err(message.to_owned());
    }
    if has("temperature").and_then(Value::as_f64).is_some_and(|number| !(0.0..=1.0).contains(&number)) {
        return Err("temperature: range: 0..1".to_owned());
    }
    let Some(thinking) = has("thinking") else { return Ok(()) };
    let kind = thinking.get("type").and_then(Value::as_str).unwrap_or_default();
    match (kind, claude) {
        ("enabled", Some(claude)) if claude.is_newest() => {
            return Err("\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" \
                        and \"output_config.effort\" to control thinking behavior."
                .to_owned());
        }
        ("adaptive" | "between_tools", Some(claude)) if !claude.is_adaptive() => {
            return Err("adaptive thinking is not supported on this model".to_owned());
        }
        ("enabled", _) => budget(body, thinking)?,
        ("adaptive" | "between_tools" | "disabled", _) => {}
        _ => {
            return Err(format!(
                "thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'adaptive', \
                 'disabled', 'enabled'"
            ));
        }
    }
    if !read::thinks(Some(thinking)) {
        return Ok(());
    }
    if matches!(body.pointer("/tool_choice/type").and_then(Value::as_str), Some("any" | "tool")) {
        return Err("Thinking may not be enabled when tool_choice forces tool use.".to_owned());
    }
    if has("temperature").and_then(Value::as_f64).is_some_and(|number| number < 1.0) {
        return Err("`temperature` may only be set to 1 when thinking is enabled.".to_owned());
    }
    if has("top_k").is_some() {
        return Err("`top_k` must be unset when thinking is enabled.".to_owned());
    }
    if has("top_p").and_then(Value::as_f64).is_some_and(|number| number < 0.95) {
        return Err("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.".to_owned());
    }
    Ok(())
}

fn budget(body: &Value, thinking: &Value) -> Result<(), String> {
    let Some(budget) = thinking.get("budget_tokens") else {
        return Err("thinking.enabled.budget_tokens: Field required".to_owned());
    };
    let budget = budget.as_u64().unwrap_or(0);
    if budget < LEAST_BUDGET {
        let message = "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024";
        return Err(message.to_owned());
    }
    if body.get("max_tokens").and_then(Value::as_u64).is_some_and(|most| most <= budget) {
        return Err("`max_tokens` must be greater than `thinking.budget_tokens`.".to_owned());
    }
    Ok(())
}

fn tools(body: &Value) -> Result<(), String> {
    let tools = body.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut names = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let Some(name) = tool.get("name").and_then(Value::as_str) else {
            return Err(format!("tools.{index}.custom.name: Field required"));
        };
        if names.contains(&name) {
            return Err("tools: Tool names must be unique.".to_owned());
        }
        names.push(name);
        if tool.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "custom") {
            continue;
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(1..=128).contains(&name.len()) || !name.chars().all(fits) {
            let pattern = "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'";
            return Err(format!("tools.{index}.custom.name: {pattern}"));
        }
        let Some(schema) = tool.get("input_schema") else {
            return Err(format!("tools.{index}.custom.input_schema: Field required"));
        };
        match schema.get("type").map(Value::as_str) {
            None => return Err(format!("tools.{index}.custom.input_schema.type: Field required")),
            Some(Some("object")) => {}
            Some(_) => return Err(format!("tools.{index}.custom.input_schema.type: Input should be 'object'")),
        }
    }
    let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) else { return Ok(()) };
    if tools.is_empty() {
        return Err("tool_choice: tool_choice may only be specified while providing tools".to_owned());
    }
    match (choice.get("type").and_then(Value::as_str), choice.get("name").and_then(Value::as_str)) {
        (Some("tool"), None) => Err("tool_choice.tool.name: Field required".to_owned()),
        (Some("tool"), Some(name)) if !names.contains(&name) => {
            Err(format!("Tool '{name}' not found in provided tools"))
        }
        (Some("none"), _) if choice.get("disable_parallel_tool_use").is_some() => {
            Err("tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted".to_owned())
        }
        (Some("auto" | "any" | "tool" | "none"), _) => Ok(()),
        (kind, _) => Err(format!(
            "tool_choice: Input tag '{}' found using 'type' does not match any of the expected tags: 'any', 'auto', \
             'none', 'tool'",
            kind.unwrap_or_default()
        )),
    }
}

/// Checks effort and structured output.
fn output(body: &Value, model: &str) -> Result<(), String> {
    let claude = Claude::of(model);
    if let Some(effort) = body.pointer("/output_config/effort").filter(|effort| !effort.is_null()) {
        if !["low", "medium", "high", "xhigh", "max"].iter().any(|word| effort == word) {
            return Err("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'".to_owned());
        }
        if claude.is_some_and(|claude| !claude.takes_effort()) {
            return Err("This model does not support the effort parameter.".to_owned());
        }
    }
    let Some(format) = body.pointer("/output_config/format").filter(|format| !format.is_null()) else {
        return Ok(());
    };
    if claude.is_some_and(|claude| !claude.is_structured()) {
        return Err(format!("'{model}' does not support output format."));
    }
    if format.get("type").and_then(Value::as_str) != Some("json_schema") {
        return Err("output_config.format.type: Input should be 'json_schema'".to_owned());
    }
    let Some(schema) = format.get("schema") else {
        return Err("output_config.format.schema: Field required".to_owned());
    };
    schema_fits(schema, DEPTH).map_err(|problem| format!("output_config.format.schema: {problem}"))
}

fn schema_fits(schema: &Value, depth: usize) -> Result<(), String> {
    let Some(fields) = schema.as_object().filter(|_| depth > 0) else { return Ok(()) };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "object" && fields.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err("For 'object' type, 'additionalProperties' must be explicitly set to false".to_owned());
    }
    let unfollowed: Vec<&str> = UNFOLLOWED.iter().copied().filter(|name| fields.contains_key(*name)).collect();
    if !unfollowed.is_empty() {
        return Err(format!("For '{kind}' type, properties {} are not supported", unfollowed.join(", ")));
    }
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                schemas.values().try_for_each(|schema| schema_fits(schema, depth - 1))?;
            }
            ("items", schema) => schema_fits(schema, depth - 1)?,
            ("anyOf" | "allOf", Value::Array(schemas)) => {
                schemas.iter().try_for_each(|schema| schema_fits(schema, depth - 1))?;
            }
            _ => {}
        }
    }
    Ok(())
}
