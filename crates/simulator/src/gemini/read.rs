//! The prompt of a `generateContent` request; keys in camelCase and in `snake_case`, as proto3 JSON allows.

use serde_json::{Value, json};

use crate::answer::{Prompt, ToolChoice, strings};

/// Reads the prompt of a request.
///
/// # Errors
///
/// The provider's message about an invalid body.
pub(super) fn prompt(body: &Value, vertex: bool) -> Result<Prompt, String> {
    for foreign in ["messages", "prompt", "input"] {
        if body.get(foreign).is_some() {
            return Err(format!("Invalid JSON payload received. Unknown name \"{foreign}\": Cannot find field."));
        }
    }
    let contents = body.get("contents").and_then(Value::as_array).filter(|contents| !contents.is_empty());
    let contents = contents.ok_or("* GenerateContentRequest.contents: contents is not specified\n")?;
    let mut prompt = Prompt::default();
    if let Some(system) = field(body, "systemInstruction") {
        prompt.count_text(&texts(system));
    }
    for content in contents {
        match content.get("role").and_then(Value::as_str) {
            Some("user" | "model") => {}
            None if !vertex => {}
            _ => return Err("Please use a valid role: user, model.".to_owned()),
        }
        read_content(&mut prompt, content);
    }
    read_tools(&mut prompt, body);
    if let Some(config) = field(body, "generationConfig") {
        prompt.limit = field(config, "maxOutputTokens").and_then(Value::as_u64);
        prompt.stop = strings(field(config, "stopSequences"));
        let schema = field(config, "responseSchema").or(field(config, "responseJsonSchema"));
        let json = field(config, "responseMimeType").and_then(Value::as_str) == Some("application/json");
        let free = || json!({"type": "object", "properties": {"answer": {"type": "string"}}});
        prompt.schema = schema.cloned().or_else(|| json.then(free));
        prompt.thinks = thinks(config);
    }
    Ok(prompt)
}

/// Whether a `generationConfig` turns thinking on.
fn thinks(config: &Value) -> bool {
    let Some(thinking) = field(config, "thinkingConfig") else { return false };
    let shown = field(thinking, "includeThoughts").and_then(Value::as_bool).unwrap_or(false);
    let level = field(thinking, "thinkingLevel").is_some();
    match field(thinking, "thinkingBudget").and_then(Value::as_i64) {
        Some(budget) => budget != 0,
        None => shown || level,
    }
}

fn read_content(prompt: &mut Prompt, content: &Value) {
    let mut results = Vec::new();
    let mut texts = Vec::new();
    for part in content.get("parts").and_then(Value::as_array).into_iter().flatten() {
        if part.get("thought").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            texts.push(text);
        } else if let Some(result) = field(part, "functionResponse") {
            let response = result.get("response").unwrap_or(&Value::Null);
            let output = response.get("output").or(response.get("result")).unwrap_or(response);
            results.push(output.as_str().map_or_else(|| output.to_string(), str::to_owned));
            for inner in result.get("parts").and_then(Value::as_array).into_iter().flatten() {
                prompt.media(media_type(inner));
            }
        } else if let Some(call) = field(part, "functionCall") {
            prompt.count_text(&call.to_string());
        } else {
            prompt.media(media_type(part));
        }
    }
    let text = texts.join("\n");
    let user = content.get("role").and_then(Value::as_str) != Some("model");
    // A text beside results is about the results, so they are answered.
    if user && results.is_empty() {
        prompt.user(&text);
    } else {
        prompt.count_text(&text);
    }
    for result in &results {
        prompt.result(result);
    }
}

/// The media type of the data in a part; `file` where it has none.
fn media_type(part: &Value) -> &str {
    let data = field(part, "inlineData").or(field(part, "fileData"));
    data.map_or("", |data| field(data, "mimeType").and_then(Value::as_str).unwrap_or("file"))
}

fn read_tools(prompt: &mut Prompt, body: &Value) {
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    for declaration in tools.filter_map(|tool| field(tool, "functionDeclarations")?.as_array()).flatten() {
        if let Some(name) = declaration.get("name").and_then(Value::as_str) {
            let schema = declaration.get("parameters").or(field(declaration, "parametersJsonSchema"));
            prompt.tool(name, schema, declaration);
        }
    }
    let config = field(body, "toolConfig").and_then(|config| field(config, "functionCallingConfig"));
    let allowed = config.and_then(|config| field(config, "allowedFunctionNames")?.get(0)?.as_str());
    prompt.choice = match config.and_then(|config| config.get("mode")?.as_str()) {
        Some("NONE") => ToolChoice::None,
        Some("ANY") => allowed.map_or(ToolChoice::Any, |name| ToolChoice::Named(name.to_owned())),
        _ => ToolChoice::Auto,
    };
}

/// The text of a content.
pub(super) fn texts(content: &Value) -> String {
    let parts = content.get("parts").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
}

/// A field by its camelCase name or its `snake_case` one.
pub(super) fn field<'a>(value: &'a Value, camel: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake(camel)))
}

/// `maxOutputTokens` to `max_output_tokens`.
pub(super) fn snake(camel: &str) -> String {
    camel.chars().fold(String::new(), |mut name, c| {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
        name
    })
}
