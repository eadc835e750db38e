//! Chat Completions.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    CREATED, Quirks, check, compatible, error, invalid, is_openai_model, logprob, missing, streams, usage, wants_usage,
};
use crate::ApiRequest;
use crate::answer::{Answer, FinishReason, Prompt, ToolChoice, halves, strings};
use crate::wire::{EVENTS, Node, Reply, data_event, ordered};

/// Most choices of one reply.
const MOST_CHOICES: u64 = 128;

/// Roles that a message may have.
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];

pub(super) fn answer(request: &ApiRequest, model: &str, quirks: Quirks) -> Result<Reply, Reply> {
    let body = &request.body;
    let prompt = prompt(body)?;
    let count = body.get("n").and_then(Value::as_u64).unwrap_or(1);
    if !(1..=MOST_CHOICES).contains(&count) {
        return Err(invalid("n", "expected an integer from 1 to 128."));
    }
    if !request.is_shown() {
        check::chat(body, model, quirks)?;
    }
    let mut answer = prompt.answer(request);
    answer.reply_tokens *= count;
    answer.reasoning_tokens *= count;
    let wanted = body.get("logprobs").and_then(Value::as_bool).unwrap_or(false);
    let logprobs = wanted.then(|| body.get("top_logprobs").and_then(Value::as_u64).unwrap_or(0));
    let completion = Completion { id: request.id, model, quirks, answer, logprobs };
    if streams(body) {
        Ok(completion.stream(count, wants_usage(body)))
    } else {
        Ok(Reply::json(StatusCode::OK, &completion.buffered(count)))
    }
}

/// Reads the prompt of a request.
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
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::String(word)) if word == "required" || word == "any" => ToolChoice::Any,
        Some(choice @ Value::Object(_)) => {
            let name = choice.pointer("/function/name").and_then(Value::as_str);
            name.map_or(ToolChoice::Any, |name| ToolChoice::Named(name.to_owned()))
        }
        _ => ToolChoice::Auto,
    };
    prompt.schema = match body.pointer("/response_format/type").and_then(Value::as_str) {
        Some("json_schema") => body.pointer("/response_format/json_schema/schema").cloned(),
        Some("json_object") => Some(json!({"type": "object", "properties": {"answer": {"type": "string"}}})),
        _ => None,
    };
    let limit = body.get("max_completion_tokens").or(body.get("max_tokens"));
    prompt.limit = limit.and_then(Value::as_u64);
    prompt.stop = strings(body.get("stop"));
    prompt.thinks = compatible::thinks(body);
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
        _ => prompt.count_text(&text),
    }
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        for field in ["/function/name", "/function/arguments"] {
            prompt.count_text(call.pointer(field).and_then(Value::as_str).unwrap_or_default());
        }
    }
    Ok(())
}

/// The text of a message. Other content is counted.
fn content(prompt: &mut Prompt, content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let mut texts = Vec::new();
            for part in parts {
                match part.get("text").or(part.get("refusal")).and_then(Value::as_str) {
                    Some(text) => texts.push(text),
                    None if part.get("thinking").is_some() => {}
                    None => prompt.media(part.get("type").and_then(Value::as_str).unwrap_or_default()),
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
    quirks: Quirks,
    answer: Answer,
    /// Number of alternatives for each token, when log probabilities are requested.
    logprobs: Option<u64>,
}

impl Completion<'_> {
    fn azure(&self) -> bool {
        self.quirks == Quirks::Azure
    }

    /// The reasoning that the reply shows.
    fn shown_reasoning(&self) -> Option<&str> {
        let hidden = self.azure() || is_openai_model(self.model);
        self.answer.reasoning.as_deref().filter(|_| !hidden)
    }

    fn buffered(&self, count: u64) -> Node {
        let choice = |index: u64| {
            let finish = self.finish_reason();
            let logprobs = self.logprobs.map(|most| probable(&self.answer.pieces, most));
            let choice =
                ordered!({"index": index, "message": (self.message()), "logprobs": logprobs, "finish_reason": finish});
            if self.azure() { choice.and("content_filter_results", filter_results()) } else { choice }
        };
        let choices: Vec<Node> = (0..count).map(choice).collect();
        let reply = ordered!({
            "id": (self.id()), "object": "chat.completion", "created": CREATED, "model": (self.model),
            "choices": choices,
            "usage": (self.usage()),
            "service_tier": "default", "system_fingerprint": "fp_simulator",
        });
        if self.azure() { reply.and("prompt_filter_results", prompt_filter_results()) } else { reply }
    }

    fn message(&self) -> Node {
        let refused = (self.answer.end == FinishReason::Refused).then(|| self.answer.text());
        let count_text = self.answer.calls.is_empty() && refused.is_none();
        let text = count_text.then(|| self.answer.text());
        let content = match (self.quirks, self.shown_reasoning()) {
            (Quirks::Mistral, Some(reasoning)) => compatible::content(reasoning, text.as_deref()),
            _ => Node::from(text),
        };
        let mut message = ordered!({"role": "assistant", "content": content, "refusal": refused, "annotations": []});
        if let (Some(reasoning), true) = (self.shown_reasoning(), self.quirks != Quirks::Mistral) {
            message = message.and("reasoning_content", reasoning);
        }
        if !self.answer.calls.is_empty() {
            let calls = (0..self.answer.calls.len()).map(|call| self.call(call, true)).collect::<Vec<_>>();
            message = message.and("tool_calls", calls);
        }
        message
    }

    fn stream(&self, count: u64, with_usage: bool) -> Reply {
        let mut events = Vec::with_capacity(self.answer.pieces.len() + 8);
        let with_usage = with_usage && self.quirks != Quirks::Mistral;
        let mut push = |choices: Vec<Node>, usage: Option<Node>| {
            let chunk = ordered!({
                "id": (self.id()), "object": "chat.completion.chunk", "created": CREATED, "model": (self.model),
                "service_tier": "default", "system_fingerprint": "fp_simulator", "choices": choices,
            });
            let told = with_usage || usage.is_some();
            events.push(data_event(&if told { chunk.and("usage", usage) } else { chunk }));
        };
        if self.azure() {
            push(Vec::new(), None);
        }
        for index in 0..count {
            let choice = |delta: Node, logprobs: Option<Node>, finish: Option<&str>| {
                vec![ordered!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish})]
            };
            let content = if self.answer.calls.is_empty() { Some("") } else { None };
            push(choice(ordered!({"role": "assistant", "content": content, "refusal": null}), None, None), None);
            for (delta, logprobs) in self.deltas() {
                push(choice(delta, logprobs, None), None);
            }
            // Mistral sends the usage with the last choice, requested or not.
            let last = self.quirks == Quirks::Mistral && index + 1 == count;
            push(choice(ordered!({}), None, Some(self.finish_reason())), last.then(|| self.usage()));
        }
        if with_usage {
            push(Vec::new(), Some(self.usage()));
        }
        if let (true, Some(first)) = (self.azure(), events.first_mut()) {
            *first = data_event(&ordered!({
                "id": "", "object": "", "created": 0, "model": "", "choices": [],
                "prompt_filter_results": (prompt_filter_results()),
            }));
        }
        events.push("data: [DONE]\n\n".into());
        Reply::events(EVENTS, events)
    }

    /// The deltas of one choice, each with its log probabilities.
    fn deltas(&self) -> Vec<(Node, Option<Node>)> {
        let mut deltas = Vec::with_capacity(self.answer.pieces.len() + 4);
        for half in self.shown_reasoning().into_iter().flat_map(halves) {
            let delta = match self.quirks {
                Quirks::Mistral => ordered!({"content": (compatible::content(half, None))}),
                _ => ordered!({"reasoning_content": half}),
            };
            deltas.push((delta, None));
        }
        for piece in &self.answer.pieces {
            let logprobs = self.logprobs.map(|most| probable(std::slice::from_ref(piece), most));
            let refused = self.answer.end == FinishReason::Refused;
            let delta = if refused { ordered!({"refusal": piece}) } else { ordered!({"content": piece}) };
            deltas.push((delta, logprobs));
        }
        deltas.extend(self.call_deltas().into_iter().map(|call| (ordered!({"tool_calls": [call]}), None)));
        deltas
    }

    fn call_deltas(&self) -> Vec<Node> {
        let opened = |number: usize, buffered: bool| self.call(number, buffered).and("index", number);
        let count = self.answer.calls.len();
        if self.quirks == Quirks::Mistral {
            return (0..count).map(|number| opened(number, true)).collect();
        }
        let argument = |number: usize, half: usize| {
            let text = self.answer.calls.get(number).map(|call| call.arguments.to_string()).unwrap_or_default();
            let part = halves(&text).get(half).map(|part| (*part).to_owned());
            ordered!({"index": number, "function": {"arguments": part}})
        };
        if self.answer.interleaved {
            let arguments = (0..2).flat_map(|half| (0..count).map(move |number| (number, half)));
            let arguments = arguments.map(|(number, half)| argument(number, half));
            return (0..count).map(|number| opened(number, false)).chain(arguments).collect();
        }
        (0..count).flat_map(|number| [opened(number, false), argument(number, 0), argument(number, 1)]).collect()
    }

    /// A tool call, with its arguments or without them.
    fn call(&self, number: usize, with_arguments: bool) -> Node {
        let (name, arguments) = self.answer.calls.get(number).map_or_else(Default::default, |call| {
            (call.name.as_str(), if with_arguments { call.arguments.to_string() } else { String::new() })
        });
        let id = match self.quirks {
            Quirks::Mistral => compatible::call_id(self.id, number),
            _ => format!("call_{:016x}{number}", self.id),
        };
        ordered!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    }

    fn usage(&self) -> Node {
        usage(self.answer.prompt_tokens, self.answer.reply_tokens, self.answer.reasoning_tokens)
    }

    fn id(&self) -> String {
        format!("chatcmpl-{:016x}", self.id)
    }

    fn finish_reason(&self) -> &'static str {
        match self.answer.end {
            FinishReason::Calls => "tool_calls",
            FinishReason::Limit => "length",
            _ => "stop",
        }
    }
}

/// The tokens of a text with their log probabilities.
fn probable(pieces: &[String], most: u64) -> Node {
    let content: Vec<Node> = pieces.iter().map(|piece| logprob(piece, most)).collect();
    ordered!({"content": content, "refusal": null})
}

/// The result of Azure's content filter, which finds nothing.
fn filter_results() -> Node {
    let verdict = || ordered!({"filtered": false, "severity": "safe"});
    ordered!({
        "hate": (verdict()), "self_harm": (verdict()), "sexual": (verdict()), "violence": (verdict()),
    })
}

fn prompt_filter_results() -> Node {
    ordered!([{"prompt_index": 0, "content_filter_results": (filter_results())}])
}
