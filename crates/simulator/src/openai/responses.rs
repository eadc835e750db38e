//! Responses.

use axum::body::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::check::{is_strict, list};
use super::{CREATED, Quirks, error, items, logprob, missing, streams};
use crate::ApiRequest;
use crate::answer::{Answer, FinishReason, Prompt, ToolChoice, halves};
use crate::sign::{SignatureOrigin, signature};
use crate::wire::{EVENTS, Node, Reply, named_event, ordered};

pub(super) fn answer(request: &ApiRequest, model: &str, quirks: Quirks) -> Result<Reply, Reply> {
    let prompt = prompt(&request.body)?;
    if !request.is_shown() {
        items::check(&request.body, model, is_strict(model, quirks))?;
    }
    let response = Response { id: request.id, model, answer: prompt.answer(request), body: &request.body };
    if streams(&request.body) {
        return Ok(Reply::events(EVENTS, response.stream()));
    }
    Ok(Reply::json(StatusCode::OK, &response.object(true)))
}

/// Fields of a request for a count; any other is refused.
const COUNTED: &[&str] = &[
    "conversation",
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "personality",
    "previous_response_id",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "truncation",
];

/// The tokens of a request.
pub(super) fn count(request: &ApiRequest) -> Result<Reply, Reply> {
    let mut names = request.body.as_object().into_iter().flat_map(|fields| fields.keys());
    if let Some(name) = names.find(|name| !COUNTED.contains(&name.as_str())) {
        let message = format!("Unknown parameter: '{name}'.");
        return Err(error(StatusCode::BAD_REQUEST, &message, Some(name), Some("unknown_parameter")));
    }
    let tokens = prompt(&request.body)?.tokens();
    Ok(Reply::json(StatusCode::OK, &ordered!({"object": "response.input_tokens", "input_tokens": tokens})))
}

fn prompt(body: &Value) -> Result<Prompt, Reply> {
    let mut prompt = Prompt::default();
    prompt.count_text(body.get("instructions").and_then(Value::as_str).unwrap_or_default());
    match body.get("input") {
        Some(Value::String(text)) => prompt.user(text),
        Some(Value::Array(items)) => items.iter().for_each(|item| read_item(&mut prompt, item)),
        _ => return Err(missing("input")),
    }
    for tool in list(body.get("tools")) {
        if let ("function", Some(name)) = (kind(tool), tool.get("name").and_then(Value::as_str)) {
            prompt.tool(name, tool.get("parameters"), tool);
        }
    }
    prompt.choice = match body.get("tool_choice") {
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::String(word)) if word == "required" => ToolChoice::Any,
        Some(choice @ Value::Object(_)) => {
            let name = choice.get("name").and_then(Value::as_str);
            name.map_or(ToolChoice::Any, |name| ToolChoice::Named(name.to_owned()))
        }
        _ => ToolChoice::Auto,
    };
    prompt.limit = body.get("max_output_tokens").and_then(Value::as_u64);
    prompt.schema = match body.pointer("/text/format/type").and_then(Value::as_str) {
        Some("json_schema") => body.pointer("/text/format/schema").cloned(),
        Some("json_object") => Some(json!({"type": "object", "properties": {"answer": {"type": "string"}}})),
        _ => None,
    };
    let reasoning = |name: &str| body.get("reasoning").and_then(|reasoning| reasoning.get(name)?.as_str());
    prompt.thinks = reasoning("effort").map_or(reasoning("summary").is_some(), |effort| effort != "none");
    Ok(prompt)
}

fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn read_item(prompt: &mut Prompt, item: &Value) {
    match kind(item) {
        "function_call_output" => {
            let text = match item.get("output") {
                Some(Value::Array(parts)) => texts(prompt, parts),
                Some(Value::String(text)) => text.clone(),
                other => other.map(Value::to_string).unwrap_or_default(),
            };
            return prompt.result(&text);
        }
        "function_call" => {
            for field in ["name", "arguments"] {
                prompt.count_text(item.get(field).and_then(Value::as_str).unwrap_or_default());
            }
            return;
        }
        "reasoning" => return,
        _ => {}
    }
    let text = match item.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => texts(prompt, parts),
        _ => String::new(),
    };
    if item.get("role").and_then(Value::as_str) == Some("user") { prompt.user(&text) } else { prompt.count_text(&text) }
}

/// The text of parts. Other content is counted.
fn texts(prompt: &mut Prompt, parts: &[Value]) -> String {
    let mut texts = Vec::new();
    for part in parts {
        match part.get("text").or(part.get("refusal")).and_then(Value::as_str) {
            Some(text) => texts.push(text),
            None => prompt.media(kind(part)),
        }
    }
    texts.join("\n")
}

struct Response<'a> {
    id: u64,
    model: &'a str,
    answer: Answer,
    body: &'a Value,
}

/// One item of the output.
#[derive(Clone, Copy)]
enum Item<'a> {
    Reasoning(&'a str),
    Message,
    Call(usize),
}

/// The events of a stream with their sequence numbers.
struct Events(Vec<Bytes>);

impl Events {
    fn push(&mut self, name: &str, fields: Node) {
        let mut data = ordered!({"type": name, "sequence_number": (self.0.len())});
        if let Node::Map(fields) = fields {
            for (key, value) in fields {
                data = data.and(key, value);
            }
        }
        self.0.push(named_event(name, &data));
    }
}

impl Response<'_> {
    /// The response object, at its start or its end.
    fn object(&self, done: bool) -> Node {
        let cut_short = self.answer.end == FinishReason::Limit;
        let incomplete = (done && cut_short).then(|| ordered!({"reason": "max_output_tokens"}));
        let output =
            if done { self.items().into_iter().map(|item| self.item(item, true)).collect() } else { Vec::new() };
        let field = |name: &str| self.body.get(name).cloned();
        let reasoning = |name: &str| self.body.get("reasoning").and_then(|own| own.get(name)).cloned();
        let text = || json!({"format": {"type": "text"}});
        ordered!({
            "id": (format!("resp_{:016x}", self.id)), "object": "response", "created_at": CREATED,
            "status": (self.status(done)),
            "error": null, "incomplete_details": incomplete, "instructions": (field("instructions")),
            "max_output_tokens": (field("max_output_tokens")), "model": (self.model), "output": output,
            "parallel_tool_calls": (field("parallel_tool_calls").unwrap_or(Value::Bool(true))),
            "previous_response_id": (field("previous_response_id")),
            "reasoning": {"effort": (reasoning("effort")), "summary": (reasoning("summary"))},
            "store": (field("store").unwrap_or(Value::Bool(true))),
            "temperature": (field("temperature").unwrap_or_else(|| 1.0.into())),
            "text": (field("text").unwrap_or_else(text)),
            "tool_choice": (field("tool_choice").unwrap_or_else(|| "auto".into())),
            "tools": (field("tools").unwrap_or_else(|| Value::Array(Vec::new()))),
            "top_p": (field("top_p").unwrap_or_else(|| 1.0.into())), "truncation": "disabled",
            "usage": (done.then(|| self.usage())), "metadata": {},
        })
    }

    fn status(&self, done: bool) -> &'static str {
        match (done, &self.answer.end) {
            (false, _) => "in_progress",
            (true, FinishReason::Limit) => "incomplete",
            (true, _) => "completed",
        }
    }

    fn usage(&self) -> Node {
        let (input, output) = (self.answer.prompt_tokens, self.answer.output_tokens());
        ordered!({
            "input_tokens": input, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output, "output_tokens_details": {"reasoning_tokens": (self.answer.reasoning_tokens)},
            "total_tokens": (input + output),
        })
    }

    fn items(&self) -> Vec<Item<'_>> {
        let mut items: Vec<Item> = self.answer.reasoning.as_deref().map(Item::Reasoning).into_iter().collect();
        if self.answer.calls.is_empty() {
            items.push(Item::Message);
        }
        items.extend((0..self.answer.calls.len()).map(Item::Call));
        items
    }

    /// An output item, at its start or its end.
    fn item(&self, item: Item, done: bool) -> Node {
        let id = self.item_id(item);
        match item {
            Item::Message => {
                let content = if done { vec![self.part(Some(&self.answer.text()))] } else { Vec::new() };
                let status = self.status(done);
                ordered!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
            }
            Item::Reasoning(reasoning) => {
                let summary: Vec<Node> =
                    if done && self.summarises() { vec![summary_part(reasoning)] } else { Vec::new() };
                let item = ordered!({"id": id, "type": "reasoning", "summary": summary});
                if self.includes("reasoning.encrypted_content") {
                    item.and("encrypted_content", signature(SignatureOrigin::OpenAi, reasoning))
                } else {
                    item
                }
            }
            Item::Call(number) => {
                let name = self.answer.calls.get(number).map(|call| call.name.clone());
                let arguments = if done { self.arguments(number) } else { String::new() };
                let status = if done { "completed" } else { "in_progress" };
                ordered!({
                    "id": id, "type": "function_call", "status": status, "arguments": arguments,
                    "call_id": (format!("call_{:016x}{number}", self.id)), "name": name,
                })
            }
        }
    }

    fn item_id(&self, item: Item) -> String {
        match item {
            Item::Reasoning(_) => format!("rs_{:016x}", self.id),
            Item::Message => format!("msg_{:016x}", self.id),
            Item::Call(number) => format!("fc_{:016x}{number}", self.id),
        }
    }

    fn arguments(&self, number: usize) -> String {
        self.answer.calls.get(number).map(|call| call.arguments.to_string()).unwrap_or_default()
    }

    /// Whether the request includes a summary of the reasoning.
    fn summarises(&self) -> bool {
        self.body.pointer("/reasoning/summary").is_some_and(Value::is_string)
    }

    fn includes(&self, what: &str) -> bool {
        list(self.body.get("include")).iter().any(|one| one == what)
    }

    fn logprobs(&self, pieces: &[String]) -> Node {
        let most = self.body.get("top_logprobs").and_then(Value::as_u64).unwrap_or(0);
        let wanted = self.includes("message.output_text.logprobs");
        Node::List(pieces.iter().filter(|_| wanted).map(|piece| logprob(piece, most)).collect())
    }

    /// The part of the message; without a text at its start event.
    fn part(&self, text: Option<&str>) -> Node {
        let shown = text.unwrap_or_default();
        if self.answer.end == FinishReason::Refused {
            return ordered!({"type": "refusal", "refusal": shown});
        }
        let pieces = if text.is_some() { self.answer.pieces.as_slice() } else { &[] };
        ordered!({"type": "output_text", "annotations": [], "logprobs": (self.logprobs(pieces)), "text": shown})
    }

    fn stream(&self) -> Vec<Bytes> {
        let mut events = Events(Vec::with_capacity(self.answer.pieces.len() + 8));
        events.push("response.created", ordered!({"response": (self.object(false))}));
        events.push("response.in_progress", ordered!({"response": (self.object(false))}));
        let items = self.items();
        if self.answer.interleaved {
            self.stream_interleaved(&mut events, &items);
        } else {
            for (index, item) in items.iter().enumerate() {
                self.stream_item(&mut events, *item, index);
            }
        }
        let end = if self.answer.end == FinishReason::Limit { "response.incomplete" } else { "response.completed" };
        events.push(end, ordered!({"response": (self.object(true))}));
        events.0
    }

    fn stream_item(&self, events: &mut Events, item: Item, index: usize) {
        events.push("response.output_item.added", ordered!({"output_index": index, "item": (self.item(item, false))}));
        match item {
            Item::Reasoning(reasoning) if self.summarises() => self.stream_summary(events, reasoning, index),
            Item::Reasoning(_) => {}
            Item::Message => self.stream_text(events, index),
            Item::Call(number) => {
                for half in 0..2 {
                    self.stream_arguments(events, number, index, half);
                }
                self.arguments_done(events, number, index);
            }
        }
        events.push("response.output_item.done", ordered!({"output_index": index, "item": (self.item(item, true))}));
    }

    /// Streams all calls at once, with their arguments interleaved.
    fn stream_interleaved(&self, events: &mut Events, items: &[Item]) {
        let mut calls = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Item::Call(number) = item else {
                self.stream_item(events, *item, index);
                continue;
            };
            calls.push((*number, index));
            let begun = self.item(*item, false);
            events.push("response.output_item.added", ordered!({"output_index": index, "item": begun}));
        }
        for half in 0..2 {
            for (number, index) in &calls {
                self.stream_arguments(events, *number, *index, half);
            }
        }
        for (number, index) in calls {
            self.arguments_done(events, number, index);
            let done = self.item(Item::Call(number), true);
            events.push("response.output_item.done", ordered!({"output_index": index, "item": done}));
        }
    }

    fn stream_arguments(&self, events: &mut Events, number: usize, index: usize, half: usize) {
        let arguments = self.arguments(number);
        let part = halves(&arguments).get(half).map(|part| (*part).to_owned());
        let place = ordered!({"item_id": (self.item_id(Item::Call(number))), "output_index": index, "delta": part});
        events.push("response.function_call_arguments.delta", place);
    }

    fn arguments_done(&self, events: &mut Events, number: usize, index: usize) {
        let name = self.answer.calls.get(number).map(|call| call.name.clone());
        let done = ordered!({
            "item_id": (self.item_id(Item::Call(number))), "output_index": index,
            "arguments": (self.arguments(number)), "name": name,
        });
        events.push("response.function_call_arguments.done", done);
    }

    fn stream_summary(&self, events: &mut Events, reasoning: &str, index: usize) {
        let id = self.item_id(Item::Reasoning(reasoning));
        let place = || ordered!({"item_id": (&id), "output_index": index, "summary_index": 0});
        events.push("response.reasoning_summary_part.added", place().and("part", summary_part("")));
        for half in halves(reasoning) {
            events.push("response.reasoning_summary_text.delta", place().and("delta", half));
        }
        events.push("response.reasoning_summary_text.done", place().and("text", reasoning));
        events.push("response.reasoning_summary_part.done", place().and("part", summary_part(reasoning)));
    }

    fn stream_text(&self, events: &mut Events, index: usize) {
        let id = self.item_id(Item::Message);
        let place = || ordered!({"item_id": (&id), "output_index": index, "content_index": 0});
        let text = self.answer.text();
        events.push("response.content_part.added", place().and("part", self.part(None)));
        if self.answer.end == FinishReason::Refused {
            for piece in &self.answer.pieces {
                events.push("response.refusal.delta", place().and("delta", piece));
            }
            events.push("response.refusal.done", place().and("refusal", &text));
        } else {
            for piece in &self.answer.pieces {
                let logprobs = self.logprobs(std::slice::from_ref(piece));
                events.push("response.output_text.delta", place().and("delta", piece).and("logprobs", logprobs));
            }
            let logprobs = self.logprobs(&self.answer.pieces);
            events.push("response.output_text.done", place().and("text", &text).and("logprobs", logprobs));
        }
        events.push("response.content_part.done", place().and("part", self.part(Some(&text))));
    }
}

fn summary_part(text: &str) -> Node {
    ordered!({"type": "summary_text", "text": text})
}
