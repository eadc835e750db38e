//! `InvokeModel`: Claude's messages, Titan's and Cohere's embeddings, Cohere's and Amazon's rankings, each in the model's own body.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde_json::Value;

use super::check::extraneous;
use super::read::list;
use super::rerank;
use crate::ApiRequest;
use crate::answer::{tokens, vector};
use crate::anthropic::check;
use crate::anthropic::cloud;
use crate::anthropic::models::Claude;
use crate::anthropic::read;
use crate::anthropic::reply::Message;
use crate::anthropic::rules::{NEWEST, Rules};
use crate::wire::{FRAMES, Node, Reply, frame, ordered};

/// The usual API version.
const VERSION: &str = "bedrock-2023-05-31";

/// Dimensions of Titan's embeddings; the first one is the default.
const TITAN: [u64; 3] = [1024, 512, 256];

/// Dimensions of an embedding of Titan's first generation, which are fixed.
const TITAN_FIRST: u64 = 1536;

/// Default dimensions of Cohere's embeddings.
const COHERE: u64 = 1024;

/// Most texts of one request to Cohere.
const COHERE_TEXTS: usize = 96;

/// Purposes of Cohere's embeddings.
const PURPOSES: &[&str] = &["search_document", "search_query", "classification", "clustering", "image"];

/// The reply in the format of the model's family. Where the id does not show the family, as with an ARN, the body does.
pub(super) fn answer(request: &ApiRequest, model: &str, streams: bool) -> Result<Reply, String> {
    let body = &request.body;
    let reply = match (body.get("inputText"), body.get("texts")) {
        _ if model.contains("rerank") => rerank::answer(body, model)?,
        (Some(_), _) if !model.contains("claude") => titan(body, model)?,
        (_, Some(_)) if !model.contains("claude") => cohere(body, request.id)?,
        _ => return claude(request, model, streams),
    };
    if streams { Err("The model is unsupported for streaming.".to_owned()) } else { Ok(reply) }
}

/// The tokens of a body for Claude.
pub(super) fn count(body: &Value) -> Result<u64, String> {
    Ok(read::prompt(body)?.tokens())
}

fn claude(request: &ApiRequest, model: &str, streams: bool) -> Result<Reply, String> {
    let body = &request.body;
    for name in ["model", "stream"] {
        if body.get(name).is_some() {
            return Err(extraneous(name));
        }
    }
    let newest = match body.get("anthropic_version").and_then(Value::as_str) {
        None => return Err(required("anthropic_version")),
        Some(VERSION) => false,
        Some(NEWEST) if Claude::of(model).is_some_and(Claude::is_newest) => true,
        Some(other) => return Err(format!("Invalid API version: {other}")),
    };
    let mut prompt = read::prompt(body)?;
    prompt.limit = Some(read::limit(body)?);
    if !request.is_shown() {
        let betas = list(body.get("anthropic_beta")).iter().filter_map(Value::as_str);
        cloud::check(body, betas, &["dev-full-thinking-2025-05-14", "tool-examples-2025-10-29"])?;
        check::request(body, model, &Rules::cloud(newest))?;
    }
    let message = Message::new(request.id, model, prompt.answer(request), body);
    let (input, output) = message.tokens();
    if !streams {
        let reply = Reply::json(StatusCode::OK, &message.buffered());
        return Ok(counted(reply, input).header("x-amzn-bedrock-output-token-count", output.to_string()));
    }
    let events = message.events().into_iter().map(|(name, data)| {
        let data = if name == "message_stop" {
            let metrics = ordered!({
                "inputTokenCount": input, "outputTokenCount": output, "invocationLatency": 1, "firstByteLatency": 1,
            });
            data.and("amazon-bedrock-invocationMetrics", metrics)
        } else {
            data
        };
        let chunk = ordered!({"bytes": (BASE64_STANDARD.encode(data.compact()))}).compact();
        frame("chunk", chunk)
    });
    Ok(Reply::events(FRAMES, events.collect()))
}

fn titan(body: &Value, model: &str) -> Result<Reply, String> {
    only(body, &["inputText", "dimensions", "normalize", "embeddingTypes"])?;
    let text = body.get("inputText").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        return Err(malformed("#/inputText: expected minLength: 1, actual: 0"));
    }
    let first = model.contains("titan-embed-text-v1") || model.contains("titan-embed-g1");
    let length = match body.get("dimensions") {
        None if first => TITAN_FIRST,
        None => TITAN[0],
        Some(_) if first => return Err(extraneous("dimensions")),
        Some(given) => {
            let known = TITAN.into_iter().find(|length| given.as_u64() == Some(*length));
            known.ok_or_else(|| malformed(&format!("#/dimensions: {given} is not a valid enum value")))?
        }
    };
    let cost = tokens(text);
    let values = || numbers(text, length);
    let mut reply = ordered!({"embedding": (values()), "inputTextTokenCount": cost});
    if !first {
        reply = reply.and("embeddingsByType", ordered!({"float": (values())}));
    }
    Ok(counted(Reply::json(StatusCode::OK, &reply), cost))
}

fn cohere(body: &Value, id: u64) -> Result<Reply, String> {
    only(body, &["texts", "input_type", "truncate", "embedding_types", "images", "output_dimension", "max_tokens"])?;
    let Some(purpose) = body.get("input_type") else { return Err(required("input_type")) };
    if !PURPOSES.iter().any(|known| purpose == known) {
        return Err(malformed(&format!("#/input_type: {purpose} is not a valid enum value")));
    }
    let texts: Vec<&str> = list(body.get("texts")).iter().filter_map(Value::as_str).collect();
    if texts.is_empty() || texts.len() > COHERE_TEXTS {
        return Err(malformed(&format!("#/texts: expected 1 to {COHERE_TEXTS} items, actual: {}", texts.len())));
    }
    let length = body.get("output_dimension").and_then(Value::as_u64).unwrap_or(COHERE).clamp(1, TITAN_FIRST);
    let vectors: Vec<Node> = texts.iter().map(|text| numbers(text, length)).collect();
    let cost = texts.iter().map(|text| tokens(text)).sum();
    let (embeddings, kind) = if body.get("embedding_types").is_some() {
        (ordered!({"float": vectors}), "embeddings_by_type")
    } else {
        (Node::List(vectors), "embeddings_floats")
    };
    let text: Vec<Node> = texts.into_iter().map(Node::from).collect();
    let reply = ordered!({
        "id": (format!("{id:016x}")), "texts": text, "embeddings": embeddings, "response_type": kind,
    });
    Ok(counted(Reply::json(StatusCode::OK, &reply), cost))
}

fn numbers(text: &str, length: u64) -> Node {
    Node::List(vector(text, length).into_iter().map(Node::Float).collect())
}

fn counted(reply: Reply, input: u64) -> Reply {
    reply.header("x-amzn-bedrock-input-token-count", input.to_string())
}

pub(super) fn only(body: &Value, known: &[&str]) -> Result<(), String> {
    let mut names = body.as_object().into_iter().flat_map(|fields| fields.keys());
    names.find(|name| !known.contains(&name.as_str())).map_or(Ok(()), |name| Err(extraneous(name)))
}

pub(super) fn malformed(problem: &str) -> String {
    format!("Malformed input request: {problem}, please reformat your input and try again.")
}

pub(super) fn required(name: &str) -> String {
    malformed(&format!("#: required key [{name}] not found"))
}
