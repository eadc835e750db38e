//! Chat Completions.

use http::StatusCode;
use serde_json::{Value, json};

use super::{CREATED, error, invalid, missing, streams, usage, wants_usage};
use crate::simulator::Ask;
use crate::simulator::answer::{Answer, Choice, Prompt, halves};
use crate::simulator::wire::{EVENTS, Node, Reply, data_event, ordered};

/// Most choices of one reply, as at the provider.
const MOST_CHOICES: u64 = 128;

/// Roles that a message may have.
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];

pub(super) fn answer(ask: &Ask, model: &str, azure: bool) -> Result<Reply, Reply> {
    let prompt = prompt(&ask.body)?;
    let count = ask.body.get("n").and_then(Value::as_u64).unwrap_or(1);
    if !(1..=MOST_CHOICES).contains(&count) {
        return Err(invalid("n", "expected an integer from 1 to 128."));
    }
    let mut answer = prompt.answer(ask);
    answer.reply_tokens *= count;
    let completion = Completion { id: ask.id, model, azure, answer };
    if streams(&ask.body) {
        Ok(completion.stream(count, wants_usage(&ask.body)))
    } else {
        Ok(Reply::json(StatusCode::OK, &completion.whole(count)))
    }
}

/// Reads the request in the words of every dialect.
fn prompt(body: &Value) -> Result<Prompt, Reply> {
    let Some(messages) = body.get("messages") else { return Err(missing("messages")) };
    let Some(messages) = messages.as_array() else {
        return Err(invalid("messages", "expected an array of objects."));
    };
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty \
                       array instead.";
        return Err(error(StatusCode::BAD_REQUEST, message, Some("messages"), Some("empty_array")));
    }
    let mut prompt = Prompt::default();
    for (index, message) in messages.iter().enumerate() {
        read_message(&mut prompt, message, index)?;
    }
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        let function = tool.get("function").unwrap_or(tool);
        if let Some(name) = function.get("name").and_then(Value::as_str) {
            prompt.tool(name, function.get("parameters"), function);
        }
    }
    prompt.choice = match body.get("tool_choice") {
        Some(Value::String(word)) if word == "none" => Choice::None,
        Some(Value::String(word)) if word == "required" => Choice::Any,
        Some(choice @ Value::Object(_)) => {
            let name = choice.pointer("/function/name").and_then(Value::as_str);
            name.map_or(Choice::Any, |name| Choice::Named(name.to_owned()))
        }
        _ => Choice::Auto,
    };
    prompt.schema = match body.pointer("/response_format/type").and_then(Value::as_str) {
        Some("json_schema") => body.pointer("/response_format/json_schema/schema").cloned(),
        Some("json_object") => Some(json!({"type": "object", "properties": {"answer": {"type": "string"}}})),
        _ => None,
    };
    let limit = body.get("max_completion_tokens").or(body.get("max_tokens"));
    prompt.limit = limit.and_then(Value::as_u64);
    Ok(prompt)
}

fn read_message(prompt: &mut Prompt, message: &Value, index: usize) -> Result<(), Reply> {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    if !ROLES.contains(&role) {
        let place = format!("messages[{index}].role");
        return Err(invalid(&place, &format!("'{role}'. Supported values are: '{}'.", ROLES.join("', '"))));
    }
    let text = content(prompt, message.get("content"));
    match role {
        "user" => prompt.user(&text),
        "tool" | "function" => prompt.result(&text),
        _ => prompt.says(&text),
    }
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        for field in ["/function/name", "/function/arguments"] {
            prompt.says(call.pointer(field).and_then(Value::as_str).unwrap_or_default());
        }
    }
    Ok(())
}

/// The text of a message; everything else in it is counted.
fn content(prompt: &mut Prompt, content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let mut texts = Vec::new();
            for part in parts {
                match part.get("text").or(part.get("refusal")).and_then(Value::as_str) {
                    Some(text) => texts.push(text),
                    None => prompt.media(),
                }
            }
            texts.join("\n")
        }
        _ => String::new(),
    }
}

struct Completion<'a> {
    id: u64,
    model: &'a str,
    azure: bool,
    answer: Answer,
}

impl Completion<'_> {
    fn whole(&self, count: u64) -> Node {
        let choice = |index: u64| {
            let content = if self.answer.calls.is_empty() { Some(self.answer.text()) } else { None };
            let mut message = ordered!({"role": "assistant", "content": content, "refusal": null, "annotations": []});
            if !self.answer.calls.is_empty() {
                let calls = (0..self.answer.calls.len()).map(|call| self.call(call, true)).collect::<Vec<_>>();
                message = message.and("tool_calls", calls);
            }
            let finish = self.finish_reason();
            let choice = ordered!({"index": index, "message": message, "logprobs": null, "finish_reason": finish});
            if self.azure { choice.and("content_filter_results", filter_results()) } else { choice }
        };
        let choices: Vec<Node> = (0..count).map(choice).collect();
        let reply = ordered!({
            "id": (self.id()), "object": "chat.completion", "created": CREATED, "model": (self.model),
            "choices": choices,
            "usage": (usage(self.answer.prompt_tokens, self.answer.reply_tokens)),
            "service_tier": "default", "system_fingerprint": "fp_simulator",
        });
        if self.azure { reply.and("prompt_filter_results", prompt_filter_results()) } else { reply }
    }

    fn stream(&self, count: u64, with_usage: bool) -> Reply {
        let mut events = Vec::with_capacity(self.answer.pieces.len() + 8);
        let mut push = |choices: Vec<Node>, usage: Option<Node>| {
            let chunk = ordered!({
                "id": (self.id()), "object": "chat.completion.chunk", "created": CREATED, "model": (self.model),
                "service_tier": "default", "system_fingerprint": "fp_simulator", "choices": choices,
            });
            events.push(data_event(&if with_usage { chunk.and("usage", usage) } else { chunk }));
        };
        if self.azure {
            push(Vec::new(), None);
        }
        let delta = |index: u64, delta: Node, finish: Option<&str>| {
            vec![ordered!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish})]
        };
        for index in 0..count {
            let content = if self.answer.calls.is_empty() { Some("") } else { None };
            push(delta(index, ordered!({"role": "assistant", "content": content, "refusal": null}), None), None);
            for piece in &self.answer.pieces {
                push(delta(index, ordered!({"content": piece}), None), None);
            }
            for (number, call) in self.answer.calls.iter().enumerate() {
                push(
                    delta(index, ordered!({"tool_calls": [(self.call(number, false).and("index", number))]}), None),
                    None,
                );
                for part in halves(&call.arguments.to_string()) {
                    let call = ordered!({"index": number, "function": {"arguments": part}});
                    push(delta(index, ordered!({"tool_calls": [call]}), None), None);
                }
            }
            push(delta(index, ordered!({}), Some(self.finish_reason())), None);
        }
        if with_usage {
            push(Vec::new(), Some(usage(self.answer.prompt_tokens, self.answer.reply_tokens)));
        }
        if let (true, Some(first)) = (self.azure, events.first_mut()) {
            *first = data_event(&ordered!({
                "id": "", "object": "", "created": 0, "model": "", "choices": [],
                "prompt_filter_results": (prompt_filter_results()),
            }));
        }
        events.push("data: [DONE]\n\n".into());
        Reply::events(EVENTS, events)
    }

    /// A tool call, with its arguments or with none yet.
    fn call(&self, number: usize, with_arguments: bool) -> Node {
        let (name, arguments) = self.answer.calls.get(number).map_or_else(Default::default, |call| {
            (call.name.as_str(), if with_arguments { call.arguments.to_string() } else { String::new() })
        });
        ordered!({
            "id": (format!("call_{:016x}{number}", self.id)),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        })
    }

    fn id(&self) -> String {
        format!("chatcmpl-{:016x}", self.id)
    }

    fn finish_reason(&self) -> &'static str {
        match &self.answer {
            Answer { calls, .. } if !calls.is_empty() => "tool_calls",
            Answer { cut_short: true, .. } => "length",
            _ => "stop",
        }
    }
}

/// What Azure's content filter found: nothing.
fn filter_results() -> Node {
    let verdict = || ordered!({"filtered": false, "severity": "safe"});
    ordered!({
        "hate": (verdict()), "self_harm": (verdict()), "sexual": (verdict()), "violence": (verdict()),
    })
}

fn prompt_filter_results() -> Node {
    ordered!([{"prompt_index": 0, "content_filter_results": (filter_results())}])
}
