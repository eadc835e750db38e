//! Checks of a Gemini request, with Google's error messages.

use serde_json::Value;

use super::models::{Thinking, thinking};
use super::read::{field, snake};
use super::reply::draws;
use super::schema;
use crate::sign::{SignatureOrigin, is_signature};

/// Fields of a request; any other is refused.
const FIELDS: &[&str] = &[
    "model",
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "generationConfig",
    "cachedContent",
    "serviceTier",
    "store",
];

/// Fields that only Vertex AI has.
const VERTEX_FIELDS: &[&str] = &["labels", "modelArmorConfig"];

/// Fields of a `generationConfig`.
const CONFIG: &[&str] = &[
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "thinkingConfig",
    "mediaResolution",
    "speechConfig",
    "imageConfig",
    "audioTimestamp",
    "enableEnhancedCivicAnswers",
    "routingConfig",
    "continuationToken",
];

/// Kinds of data in a part: each part has one.
const DATA: &[&str] = &[
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

/// Fields beside the data of a part.
const MODIFIERS: &[&str] = &["thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"];

/// Placeholders for a lost signature, as text and in base64.
const SKIP: &[&str] = &["skip_thought_signature_validator", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I"];

/// Most stop sequences.
const MOST_STOPS: usize = 5;

/// Refuses an invalid request.
///
/// # Errors
///
/// The provider's message about the first problem.
pub(super) fn request(body: &Value, model: &str, vertex: bool) -> Result<(), String> {
    let known = if vertex { [FIELDS, VERTEX_FIELDS].concat() } else { FIELDS.to_vec() };
    known_fields(body, &known, "")?;
    if let Some(config) = field(body, "generationConfig") {
        known_fields(config, CONFIG, " at 'generation_config'")?;
        settings(config, model)?;
    }
    for (index, declaration) in declarations(body) {
        function(index, declaration)?;
    }
    let contents = body.get("contents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, content) in contents.iter().enumerate() {
        parts(content, index)?;
    }
    calls(contents)?;
    signatures(contents, model)
}

fn known_fields(value: &Value, known: &[&str], place: &str) -> Result<(), String> {
    for name in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if !known.iter().any(|camel| camel == name || snake(camel) == *name) {
            return Err(schema::unknown_name(name, place));
        }
    }
    Ok(())
}

fn settings(config: &Value, model: &str) -> Result<(), String> {
    modalities(config, model)?;
    let schema = field(config, "responseSchema");
    let wants_schema = schema.or(field(config, "responseJsonSchema")).is_some();
    let media_type = field(config, "responseMimeType").and_then(Value::as_str).unwrap_or("text/plain");
    if wants_schema && !["application/json", "text/x.enum"].contains(&media_type) {
        return Err(format!(
            "Function calling with a response mime type: '{media_type}' is unsupported: response_schema needs \
             'application/json'"
        ));
    }
    if let Some(schema) = schema {
        schema::check(schema, "generation_config.response_schema")?;
    }
    if field(config, "stopSequences").and_then(Value::as_array).is_some_and(|stops| stops.len() > MOST_STOPS) {
        return Err("* GenerateContentRequest.generation_config.stop_sequences: at most 5 are allowed".to_owned());
    }
    if field(config, "logprobs").is_some() && field(config, "responseLogprobs").and_then(Value::as_bool) != Some(true) {
        return Err("logprobs can only be set when response_logprobs is true.".to_owned());
    }
    let Some(wanted) = field(config, "thinkingConfig") else { return Ok(()) };
    known_fields(
        wanted,
        &["includeThoughts", "thinkingBudget", "thinkingLevel"],
        " at 'generation_config.thinking_config'",
    )?;
    let budget = field(wanted, "thinkingBudget").and_then(Value::as_i64);
    let level = field(wanted, "thinkingLevel").is_some();
    if budget.is_some() && level {
        return Err("You can only set only one of thinking budget and thinking level.".to_owned());
    }
    match (thinking(model), budget) {
        (Some(Thinking::Never), _) => Err("Thinking is not enabled for this model.".to_owned()),
        (Some(Thinking::Budget { .. }), _) if level => {
            Err("Thinking level is not supported for this model.".to_owned())
        }
        (Some(Thinking::Budget { off: false, .. }), Some(0)) => {
            Err("Budget 0 is invalid. This model only works in thinking mode.".to_owned())
        }
        (Some(Thinking::Budget { min, max, .. }), Some(budget)) if budget > 0 => {
            let message =
                format!("The thinking budget {budget} is invalid. Please choose a value between {min} and {max}.");
            (min..=max).contains(&budget).then_some(()).ok_or(message)
        }
        _ => Ok(()),
    }
}

/// Functions with their positions.
fn declarations(body: &Value) -> Vec<((usize, usize), &Value)> {
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate();
    let lists = tools.filter_map(|(tool, value)| Some((tool, field(value, "functionDeclarations")?.as_array()?)));
    lists.flat_map(|(tool, list)| list.iter().enumerate().map(move |(at, value)| ((tool, at), value))).collect()
}

fn function((tool, at): (usize, usize), declaration: &Value) -> Result<(), String> {
    let place = format!("tools[{tool}].function_declarations[{at}]");
    let known =
        ["name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior"];
    known_fields(declaration, &known, &format!(" at '{place}'"))?;
    let name = declaration.get("name").and_then(Value::as_str).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || name.len() > 128 || !name.chars().all(fits) {
        return Err(format!(
            "* GenerateContentRequest.{place}.name: Invalid function name. Must start with a letter or an underscore. \
             Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a \
             maximum length of 128.\n"
        ));
    }
    let Some(parameters) = declaration.get("parameters") else { return Ok(()) };
    if field(declaration, "parametersJsonSchema").is_some() {
        return Err(format!("{place}: parameters and parameters_json_schema must not be set together"));
    }
    schema::check(parameters, &format!("{place}.parameters"))
}

fn parts(content: &Value, index: usize) -> Result<(), String> {
    known_fields(content, &["role", "parts"], &format!(" at 'contents[{index}]'"))?;
    let parts = content.get("parts").and_then(Value::as_array).filter(|parts| !parts.is_empty());
    let Some(parts) = parts else {
        return Err(format!("* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty.\n"));
    };
    for (at, part) in parts.iter().enumerate() {
        known_fields(part, &[DATA, MODIFIERS].concat(), &format!(" at 'contents[{index}].parts[{at}]'"))?;
        match DATA.iter().filter(|name| field(part, name).is_some()).count() {
            0 => {
                return Err(format!(
                    "* GenerateContentRequest.contents[{index}].parts[{at}].data: required oneof field 'data' must \
                     have one initialized field\n"
                ));
            }
            1 => {}
            _ => {
                return Err(format!(
                    "Invalid value at 'contents[{index}].parts[{at}]' (oneof), oneof field 'data' is already set."
                ));
            }
        }
        if let Some(response) = field(part, "functionResponse") {
            if !response.get("response").is_some_and(Value::is_object) {
                return Err(format!(
                    "Invalid value at 'contents[{index}].parts[{at}].function_response.response' \
                     (type.googleapis.com/google.protobuf.Struct)"
                ));
            }
            if response.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(format!(
                    "* GenerateContentRequest.contents[{index}].parts[{at}].function_response.name: Name cannot be \
                     empty.\n"
                ));
            }
        }
    }
    Ok(())
}

/// How many parts of a content have this data.
fn count(content: &Value, name: &str) -> usize {
    let parts = content.get("parts").and_then(Value::as_array).into_iter().flatten();
    parts.filter(|part| field(part, name).is_some()).count()
}

/// Checks that every turn of calls is followed by as many results.
fn calls(contents: &[Value]) -> Result<(), String> {
    for (index, content) in contents.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|at| contents.get(at));
        let called = before.map_or(0, |before| count(before, "functionCall"));
        let answered = count(content, "functionResponse");
        if answered > 0 && called == 0 {
            let message = "Please ensure that function response turn comes immediately after a function call turn.";
            return Err(message.to_owned());
        }
        if answered != called {
            return Err("Please ensure that the number of function response parts is equal to the number of function \
                        call parts of the function call turn."
                .to_owned());
        }
    }
    Ok(())
}

/// Checks signatures. Gemini 3 requires one at the first call of each turn since the last text of the user.
fn signatures(contents: &[Value], model: &str) -> Result<(), String> {
    let spoke = |content: &Value| {
        content.get("role").and_then(Value::as_str) != Some("model") && count(content, "functionResponse") == 0
    };
    let start = contents.iter().rposition(spoke).unwrap_or(0);
    for (index, content) in contents.iter().enumerate() {
        let mut first = true;
        for part in content.get("parts").and_then(Value::as_array).into_iter().flatten() {
            let signature = field(part, "thoughtSignature").and_then(Value::as_str);
            if signature.is_some_and(|signature| !is_known(signature)) {
                return Err("Corrupted thought signature.".to_owned());
            }
            let Some(call) = field(part, "functionCall") else { continue };
            if first && index >= start && signature.is_none() && model.contains("gemini-3") {
                let name = call.get("name").and_then(Value::as_str).unwrap_or_default();
                return Err(format!(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools \
                     to work correctly, and missing thought_signature may lead to degraded model performance. \
                     Additional data, function call `default_api:{name}` , position {}. Please refer to \
                     https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
                    index + 1
                ));
            }
            first = false;
        }
    }
    Ok(())
}

/// Whether a signature is valid. Base64 may have padding.
fn is_known(signature: &str) -> bool {
    let plain = signature.trim_end_matches('=');
    SKIP.contains(&plain) || is_signature(SignatureOrigin::Gemini, plain)
}

/// Only some models answer in images.
fn modalities(config: &Value, model: &str) -> Result<(), String> {
    let asked = field(config, "responseModalities").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let words: Vec<String> = asked.iter().filter_map(Value::as_str).map(str::to_uppercase).collect();
    if let Some(unknown) = words.iter().find(|word| !["TEXT", "IMAGE", "AUDIO"].contains(&word.as_str())) {
        return Err(format!("Invalid value at 'generation_config.response_modalities': \"{unknown}\""));
    }
    if words.iter().any(|word| word == "IMAGE") && !draws(model) {
        let words = words.join(", ");
        return Err(format!(
            "The requested combination of response modalities ({words}) is not supported by the model."
        ));
    }
    if let Some(form) = field(config, "imageConfig") {
        known_fields(form, &["aspectRatio", "imageSize", "personGeneration"], " at 'generation_config.image_config'")?;
    }
    Ok(())
}
