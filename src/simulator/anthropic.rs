//! Anthropic Messages.

use axum::body::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::answer::{Answer, Choice, Prompt, halves};
use super::received::Received;
use super::wire::{EVENTS, Node, Reply, named_event, ordered};
use super::{Ask, Provider};

/// The API version that took the sampling parameters away.
const WITHOUT_SAMPLING: &str = "2026-10-21";

/// Models that are listed; any other exists too.
const MODELS: &[(&str, &str)] = &[
    ("claude-opus-4-5", "Claude Opus 4.5"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    ("claude-haiku-4-5", "Claude Haiku 4.5"),
];

enum Api {
    Messages,
    CountTokens,
    Models(Option<String>),
}

struct Anthropic {
    api: Api,
}

/// Messages by their path; models, whose path is also `OpenAI`'s, by the version header.
pub(super) fn find(received: &Received) -> Option<Box<dyn Provider>> {
    let path = received.path.as_str();
    let api = if path.ends_with("/messages") {
        Api::Messages
    } else if path.ends_with("/messages/count_tokens") {
        Api::CountTokens
    } else if received.method == Method::GET && received.header("anthropic-version").is_some() {
        let (_, rest) = path.split_once("/models")?;
        Api::Models(rest.strip_prefix('/').map(str::to_owned))
    } else {
        return None;
    };
    Some(Box::new(Anthropic { api }))
}

impl Provider for Anthropic {
    fn authenticate(&self, received: &Received) -> Result<(), Reply> {
        let refuse = |message: &str| Err(error(StatusCode::UNAUTHORIZED, message));
        match (received.key("x-api-key"), received.bearer()) {
            (Some(key), _) if key.contains("invalid") => return refuse("invalid x-api-key"),
            (None, Some(token)) if token.contains("invalid") => return refuse("Invalid bearer token"),
            (None, None) => return refuse("x-api-key header is required"),
            _ => {}
        }
        if received.key("anthropic-version").is_none() {
            return Err(error(StatusCode::BAD_REQUEST, "anthropic-version: header is required"));
        }
        Ok(())
    }

    fn model<'a>(&'a self, body: &'a Value) -> Option<&'a str> {
        if let Api::Models(id) = &self.api { id.as_deref() } else { body.get("model")?.as_str() }
    }

    fn refuse(&self, status: StatusCode, message: &str, _retry_after: Option<u64>) -> Reply {
        error(status, message)
    }

    fn answer(&self, ask: &Ask) -> Result<Reply, Reply> {
        let reply = match &self.api {
            Api::Models(id) => models(id.as_deref()),
            _ if ask.received.method != Method::POST => {
                Err(error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
            }
            Api::Messages => messages(ask),
            Api::CountTokens => {
                let (_, prompt) = prompt(ask)?;
                Ok(Reply::json(StatusCode::OK, &ordered!({"input_tokens": (prompt.tokens())})))
            }
        };
        reply.map(|reply| {
            reply.header("request-id", format!("req_{:016x}", ask.id)).header("anthropic-organization-id", "simulator")
        })
    }

    fn interruption(&self, _first: bool) -> Bytes {
        let data = ordered!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        named_event("error", &data)
    }
}

fn error(status: StatusCode, message: &str) -> Reply {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let body = ordered!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_simulator"});
    Reply::json(status, &body).header("request-id", "req_simulator")
}

fn invalid(message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, message)
}

fn models(id: Option<&str>) -> Result<Reply, Reply> {
    let object = |id: &str, name: &str| ordered!({"type": "model", "id": id, "display_name": name, "created_at": "2025-06-15T00:00:00Z"});
    if let Some(id) = id {
        return if id.contains("unknown") {
            Err(error(StatusCode::NOT_FOUND, &format!("model: {id}")))
        } else {
            Ok(Reply::json(StatusCode::OK, &object(id, id)))
        };
    }
    let data: Vec<Node> = MODELS.iter().map(|(id, name)| object(id, name)).collect();
    let ends = (MODELS.first().map(|model| model.0), MODELS.last().map(|model| model.0));
    let list = ordered!({"data": data, "has_more": false, "first_id": (ends.0), "last_id": (ends.1)});
    Ok(Reply::json(StatusCode::OK, &list))
}

fn messages(ask: &Ask) -> Result<Reply, Reply> {
    let (model, mut prompt) = prompt(ask)?;
    let Some(limit) = ask.body.get("max_tokens") else { return Err(invalid("max_tokens: Field required")) };
    let Some(limit) = limit.as_u64() else { return Err(invalid("max_tokens: Input should be a valid integer")) };
    prompt.limit = Some(limit);
    let sampling = ["temperature", "top_p", "top_k"].into_iter().find(|name| ask.body.get(name).is_some());
    if let (Some(WITHOUT_SAMPLING), Some(name)) = (ask.received.header("anthropic-version"), sampling) {
        return Err(invalid(&format!("{name}: Extra inputs are not permitted")));
    }
    let message = Message { id: ask.id, model, answer: prompt.answer(ask) };
    if ask.body.get("stream").and_then(Value::as_bool).unwrap_or(false) {
        return Ok(Reply::events(EVENTS, message.stream()));
    }
    Ok(Reply::json(StatusCode::OK, &message.whole()))
}

/// Model and prompt of a request.
fn prompt<'a>(ask: &'a Ask) -> Result<(&'a str, Prompt), Reply> {
    let body = &ask.body;
    let Some(model) = body.get("model").and_then(Value::as_str).filter(|model| !model.is_empty()) else {
        return Err(invalid("model: Field required"));
    };
    if model.contains("unknown") {
        return Err(error(StatusCode::NOT_FOUND, &format!("model: {model}")));
    }
    let Some(messages) = body.get("messages") else { return Err(invalid("messages: Field required")) };
    let Some(messages) = messages.as_array() else { return Err(invalid("messages: Input should be a valid list")) };
    if messages.is_empty() {
        return Err(invalid("messages: at least one message is required"));
    }
    let mut prompt = Prompt::default();
    match body.get("system") {
        Some(Value::String(text)) => prompt.says(text),
        Some(Value::Array(blocks)) => {
            for text in blocks.iter().filter_map(|block| block.get("text")?.as_str()) {
                prompt.says(text);
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
        Some("none") => Choice::None,
        Some("any") => Choice::Any,
        Some("tool") => {
            let name = choice.and_then(|choice| choice.get("name")?.as_str());
            Choice::Named(name.unwrap_or_default().to_owned())
        }
        _ => Choice::Auto,
    };
    prompt.schema = body.pointer("/output_config/format/schema").cloned();
    Ok((model, prompt))
}

fn read_message(prompt: &mut Prompt, message: &Value, index: usize) -> Result<(), Reply> {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    if !["user", "assistant", "system"].contains(&role) {
        return Err(invalid(&format!("messages.{index}.role: Input should be 'user' or 'assistant'")));
    }
    if index == 0 && role != "user" {
        return Err(invalid("messages: first message must use the \"user\" role"));
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
                        prompt.says(block.get("name").and_then(Value::as_str).unwrap_or_default());
                        prompt.says(&block.get("input").map(Value::to_string).unwrap_or_default());
                    }
                    Some("thinking" | "redacted_thinking") => {}
                    _ => prompt.media(),
                }
            }
        }
        _ => return Err(invalid(&format!("messages.{index}.content: Field required"))),
    }
    let text = texts.join("\n");
    // Results and words in one message: the words are about the results.
    if role == "user" && results.is_empty() {
        prompt.user(&text);
    } else {
        prompt.says(&text);
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
                    None => prompt.media(),
                }
            }
            texts.join("\n")
        }
        _ => String::new(),
    }
}

struct Message<'a> {
    id: u64,
    model: &'a str,
    answer: Answer,
}

impl Message<'_> {
    fn object(&self, content: Vec<Node>, stop_reason: Option<&str>, output_tokens: u64) -> Node {
        ordered!({
            "id": (format!("msg_{:016x}", self.id)), "type": "message", "role": "assistant", "model": (self.model),
            "content": content, "stop_reason": stop_reason, "stop_sequence": null,
            "usage": {
                "input_tokens": (self.answer.prompt_tokens),
                "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": output_tokens, "service_tier": "standard",
            },
        })
    }

    fn whole(&self) -> Node {
        let content = if self.answer.calls.is_empty() {
            vec![ordered!({"type": "text", "text": (self.answer.text())})]
        } else {
            let calls = self.answer.calls.iter().enumerate();
            calls.map(|(number, call)| self.tool_use(number, &call.name, call.arguments.clone())).collect()
        };
        self.object(content, Some(self.stop_reason()), self.answer.reply_tokens)
    }

    fn stream(&self) -> Vec<Bytes> {
        let mut events = Vec::with_capacity(self.answer.pieces.len() + 8);
        let mut push = |name: &'static str, fields: Node| {
            let mut data = ordered!({"type": name});
            if let Node::Map(fields) = fields {
                for (key, value) in fields {
                    data = data.and(key, value);
                }
            }
            events.push(named_event(name, &data));
        };
        push("message_start", ordered!({"message": (self.object(Vec::new(), None, 1))}));
        if self.answer.calls.is_empty() {
            let block = ordered!({"type": "text", "text": ""});
            push("content_block_start", ordered!({"index": 0, "content_block": block}));
            push("ping", ordered!({}));
            for piece in &self.answer.pieces {
                push("content_block_delta", ordered!({"index": 0, "delta": {"type": "text_delta", "text": piece}}));
            }
            push("content_block_stop", ordered!({"index": 0}));
        }
        for (number, call) in self.answer.calls.iter().enumerate() {
            let block = self.tool_use(number, &call.name, Value::Object(serde_json::Map::new()));
            push("content_block_start", ordered!({"index": number, "content_block": block}));
            let arguments = call.arguments.to_string();
            let [head, tail] = halves(&arguments);
            for part in ["", head, tail] {
                let delta = ordered!({"type": "input_json_delta", "partial_json": part});
                push("content_block_delta", ordered!({"index": number, "delta": delta}));
            }
            push("content_block_stop", ordered!({"index": number}));
        }
        let delta = ordered!({"stop_reason": (self.stop_reason()), "stop_sequence": null});
        let spent = ordered!({"output_tokens": (self.answer.reply_tokens)});
        push("message_delta", ordered!({"delta": delta, "usage": spent}));
        push("message_stop", ordered!({}));
        events
    }

    fn tool_use(&self, number: usize, name: &str, input: Value) -> Node {
        let id = format!("toolu_{:016x}{number}", self.id);
        ordered!({"type": "tool_use", "id": id, "name": name, "input": input})
    }

    fn stop_reason(&self) -> &'static str {
        match &self.answer {
            Answer { calls, .. } if !calls.is_empty() => "tool_use",
            Answer { cut_short: true, .. } => "max_tokens",
            _ => "end_turn",
        }
    }
}
