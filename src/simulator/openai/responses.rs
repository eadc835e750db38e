//! Responses, text only: tools that are offered are ignored.

use axum::body::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::{CREATED, missing, streams};
use crate::simulator::Ask;
use crate::simulator::answer::{Answer, Prompt};
use crate::simulator::wire::{EVENTS, Node, Reply, named_event, ordered};

pub(super) fn answer(ask: &Ask, model: &str) -> Result<Reply, Reply> {
    let prompt = prompt(&ask.body)?;
    let response = Response { id: ask.id, model, answer: prompt.answer(ask), body: &ask.body };
    if streams(&ask.body) {
        return Ok(Reply::events(EVENTS, response.stream()));
    }
    Ok(Reply::json(StatusCode::OK, &response.object(true)))
}

fn prompt(body: &Value) -> Result<Prompt, Reply> {
    let mut prompt = Prompt::default();
    prompt.says(body.get("instructions").and_then(Value::as_str).unwrap_or_default());
    match body.get("input") {
        Some(Value::String(text)) => prompt.user(text),
        Some(Value::Array(items)) => items.iter().for_each(|item| read_item(&mut prompt, item)),
        _ => return Err(missing("input")),
    }
    prompt.limit = body.get("max_output_tokens").and_then(Value::as_u64);
    if body.pointer("/text/format/type").and_then(Value::as_str) == Some("json_schema") {
        prompt.schema = body.pointer("/text/format/schema").cloned();
    }
    Ok(prompt)
}

fn read_item(prompt: &mut Prompt, item: &Value) {
    if item.get("type").and_then(Value::as_str) == Some("function_call_output") {
        let output = item.get("output").map(|output| output.as_str().map_or(output.to_string(), str::to_owned));
        prompt.result(&output.unwrap_or_default());
        return;
    }
    let text = match item.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let mut texts = Vec::new();
            for part in parts {
                match part.get("text").and_then(Value::as_str) {
                    Some(text) => texts.push(text),
                    None => prompt.media(),
                }
            }
            texts.join("\n")
        }
        _ => String::new(),
    };
    if item.get("role").and_then(Value::as_str) == Some("user") { prompt.user(&text) } else { prompt.says(&text) }
}

struct Response<'a> {
    id: u64,
    model: &'a str,
    answer: Answer,
    body: &'a Value,
}

impl Response<'_> {
    /// The response, begun or done.
    fn object(&self, done: bool) -> Node {
        let status = match (done, self.answer.cut_short) {
            (false, _) => "in_progress",
            (true, true) => "incomplete",
            (true, false) => "completed",
        };
        let incomplete = (done && self.answer.cut_short).then(|| ordered!({"reason": "max_output_tokens"}));
        let output = if done { vec![self.item(true)] } else { Vec::new() };
        let field = |name: &str| self.body.get(name).cloned();
        ordered!({
            "id": (format!("resp_{:016x}", self.id)), "object": "response", "created_at": CREATED, "status": status,
            "error": null, "incomplete_details": incomplete, "instructions": (field("instructions")),
            "max_output_tokens": (field("max_output_tokens")), "model": (self.model), "output": output,
            "parallel_tool_calls": true, "previous_response_id": (field("previous_response_id")),
            "reasoning": {"effort": null, "summary": null}, "store": (field("store").unwrap_or(Value::Bool(true))),
            "temperature": (field("temperature").unwrap_or_else(|| 1.0.into())),
            "text": {"format": {"type": "text"}}, "tool_choice": "auto",
            "tools": (field("tools").unwrap_or_else(|| Value::Array(Vec::new()))),
            "top_p": (field("top_p").unwrap_or_else(|| 1.0.into())), "truncation": "disabled",
            "usage": (done.then(|| self.usage())), "metadata": {},
        })
    }

    fn usage(&self) -> Node {
        let Answer { prompt_tokens, reply_tokens, .. } = self.answer;
        ordered!({
            "input_tokens": prompt_tokens, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": reply_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": (prompt_tokens + reply_tokens),
        })
    }

    /// The one message, begun or done.
    fn item(&self, done: bool) -> Node {
        let content = if done { vec![part(&self.answer.text())] } else { Vec::new() };
        let status = match (done, self.answer.cut_short) {
            (false, _) => "in_progress",
            (true, true) => "incomplete",
            (true, false) => "completed",
        };
        ordered!({"id": (self.item_id()), "type": "message", "status": status, "role": "assistant", "content": content})
    }

    fn item_id(&self) -> String {
        format!("msg_{:016x}", self.id)
    }

    fn stream(&self) -> Vec<Bytes> {
        let mut events = Vec::with_capacity(self.answer.pieces.len() + 8);
        let mut push = |name: &str, fields: Node| {
            let mut data = ordered!({"type": name, "sequence_number": (events.len())});
            if let Node::Map(fields) = fields {
                for (key, value) in fields {
                    data = data.and(key, value);
                }
            }
            events.push(named_event(name, &data));
        };
        let place = || ordered!({"item_id": (self.item_id()), "output_index": 0, "content_index": 0});
        push("response.created", ordered!({"response": (self.object(false))}));
        push("response.in_progress", ordered!({"response": (self.object(false))}));
        push("response.output_item.added", ordered!({"output_index": 0, "item": (self.item(false))}));
        push("response.content_part.added", place().and("part", part("")));
        for piece in &self.answer.pieces {
            push("response.output_text.delta", place().and("delta", piece).and("logprobs", ordered!([])));
        }
        let text = self.answer.text();
        push("response.output_text.done", place().and("text", &text).and("logprobs", ordered!([])));
        push("response.content_part.done", place().and("part", part(&text)));
        push("response.output_item.done", ordered!({"output_index": 0, "item": (self.item(true))}));
        let end = if self.answer.cut_short { "response.incomplete" } else { "response.completed" };
        push(end, ordered!({"response": (self.object(true))}));
        events
    }
}

fn part(text: &str) -> Node {
    ordered!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}
