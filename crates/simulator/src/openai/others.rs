//! Embeddings, models, moderations and legacy completions.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde_json::Value;

use super::{CREATED, invalid, missing, streams, unknown_model, usage, wants_usage};
use crate::ApiRequest;
use crate::answer::{FinishReason, Prompt, strings, tokens, vector};
use crate::wire::{EVENTS, Node, Reply, data_event, ordered};

/// Models in the list of models. Others exist too.
const MODELS: &[&str] =
    &["gpt-4o", "gpt-4o-mini", "gpt-5.4", "gpt-5.4-mini", "text-embedding-3-small", "omni-moderation-latest"];

/// Default dimensions of an embedding, those of `text-embedding-3-small`.
const DIMENSIONS: u64 = 1536;

/// Most dimensions of an embedding.
const MOST_DIMENSIONS: u64 = 4096;

/// Categories of a moderation, each with the words that flag it. The others are never flagged.
const CATEGORIES: &[(&str, &[&str])] = &[
    ("harassment", &["idiot"]),
    ("harassment/threatening", &[]),
    ("hate", &["hate"]),
    ("hate/threatening", &[]),
    ("illicit", &["steal"]),
    ("illicit/violent", &["bomb"]),
    ("self-harm", &["suicide"]),
    ("self-harm/intent", &[]),
    ("self-harm/instructions", &[]),
    ("sexual", &["porn"]),
    ("sexual/minors", &[]),
    ("violence", &["kill", "murder"]),
    ("violence/graphic", &["gore"]),
];

/// One input of an embedding or a moderation.
enum Input<'a> {
    Text(&'a str),
    Tokens(&'a [Value]),
}

/// The inputs: a string, a list of strings, a list of token numbers, or a list of those.
fn inputs<'a>(body: &'a Value, field: &str) -> Result<Vec<Input<'a>>, Reply> {
    let found = match body.get(field) {
        Some(Value::String(text)) => vec![Input::Text(text)],
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => vec![Input::Tokens(items)],
        Some(Value::Array(items)) => items.iter().map(input).collect(),
        _ => return Err(missing(field)),
    };
    if found.is_empty() { Err(invalid(field, "input cannot be an empty array.")) } else { Ok(found) }
}

/// One of several inputs; a moderation may wrap its text in a part.
fn input(item: &Value) -> Input<'_> {
    match item {
        Value::Array(numbers) => Input::Tokens(numbers),
        _ => Input::Text(item.get("text").unwrap_or(item).as_str().unwrap_or_default()),
    }
}

pub(super) fn embeddings(request: &ApiRequest, model: &str) -> Result<Reply, Reply> {
    let inputs = inputs(&request.body, "input")?;
    let dimensions = request.body.get("dimensions").and_then(Value::as_u64).unwrap_or(DIMENSIONS);
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        return Err(invalid("dimensions", &format!("expected an integer from 1 to {MOST_DIMENSIONS}.")));
    }
    let base64 = request.body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let mut total = 0;
    let mut data = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let (text, cost) = match input {
            Input::Text(text) => ((*text).to_owned(), tokens(text)),
            Input::Tokens(numbers) => (Value::Array(numbers.to_vec()).to_string(), numbers.len() as u64),
        };
        total += cost;
        let vector = vector(&text, dimensions);
        let embedding = if base64 {
            #[expect(clippy::cast_possible_truncation, reason = "the wire has 32 bits")]
            let bytes: Vec<u8> = vector.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
            Node::from(BASE64_STANDARD.encode(bytes))
        } else {
            Node::List(vector.into_iter().map(Node::Float).collect())
        };
        data.push(ordered!({"object": "embedding", "index": index, "embedding": embedding}));
    }
    let reply = ordered!({
        "object": "list", "data": data, "model": model, "usage": {"prompt_tokens": total, "total_tokens": total},
    });
    Ok(Reply::json(StatusCode::OK, &reply))
}

pub(super) fn moderations(request: &ApiRequest, model: &str) -> Result<Reply, Reply> {
    let results = inputs(&request.body, "input")?.into_iter().map(|input| {
        let text = if let Input::Text(text) = input { text.to_lowercase() } else { String::new() };
        let hits: Vec<bool> =
            CATEGORIES.iter().map(|(_, words)| words.iter().any(|word| text.contains(word))).collect();
        let each = |value: fn(bool) -> Node| {
            Node::Map(CATEGORIES.iter().zip(&hits).map(|((name, _), hit)| (*name, value(*hit))).collect())
        };
        let flagged = hits.contains(&true);
        ordered!({
            "flagged": flagged,
            "categories": (each(Node::from)),
            "category_scores": (each(|hit| Node::Float(if hit { 0.99 } else { 0.0001 }))),
            "category_applied_input_types": (each(|_| ordered!(["text"]))),
        })
    });
    let results: Vec<Node> = results.collect();
    let reply = ordered!({"id": (format!("modr-{:016x}", request.id)), "model": model, "results": results});
    Ok(Reply::json(StatusCode::OK, &reply))
}

pub(super) fn models(id: Option<&str>) -> Result<Reply, Reply> {
    let object = |id: &str| ordered!({"id": id, "object": "model", "created": CREATED, "owned_by": "simulator"});
    match id {
        Some(id) if id.contains("unknown") => Err(unknown_model(id)),
        Some(id) => Ok(Reply::json(StatusCode::OK, &object(id))),
        None => {
            let data: Vec<Node> = MODELS.iter().map(|id| object(id)).collect();
            Ok(Reply::json(StatusCode::OK, &ordered!({"object": "list", "data": data})))
        }
    }
}

pub(super) fn completions(request: &ApiRequest, model: &str) -> Result<Reply, Reply> {
    let mut prompt = Prompt::default();
    prompt.limit = request.body.get("max_tokens").and_then(Value::as_u64);
    for input in inputs(&request.body, "prompt")? {
        if let Input::Text(text) = input {
            prompt.user(text);
        }
    }
    prompt.stop = strings(request.body.get("stop"));
    let answer = prompt.answer(request);
    let finish = if answer.end == FinishReason::Limit { "length" } else { "stop" };
    let completion = |text: &str, finish: Option<&str>| {
        ordered!({
            "id": (format!("cmpl-{:016x}", request.id)), "object": "text_completion",
            "created": CREATED, "model": model,
            "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}],
        })
    };
    let spent = || usage(answer.prompt_tokens, answer.reply_tokens, 0);
    if !streams(&request.body) {
        return Ok(Reply::json(StatusCode::OK, &completion(&answer.text(), Some(finish)).and("usage", spent())));
    }
    let mut events: Vec<_> = answer.pieces.iter().map(|piece| data_event(&completion(piece, None))).collect();
    events.push(data_event(&completion("", Some(finish))));
    if wants_usage(&request.body) {
        events.push(data_event(&ordered!({
            "id": (format!("cmpl-{:016x}", request.id)), "object": "text_completion",
            "created": CREATED, "model": model, "choices": [], "usage": (spent()),
        })));
    }
    events.push("data: [DONE]\n\n".into());
    Ok(Reply::events(EVENTS, events))
}
