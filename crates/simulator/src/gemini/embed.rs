//! Embeddings: one, several, and Vertex AI's `predict`.

use http::StatusCode;
use serde_json::Value;

use super::read::{field, texts};
use crate::answer::{tokens, vector};
use crate::wire::{Node, Reply, ordered};

/// Default dimensions of an embedding.
const DIMENSIONS: u64 = 768;

/// Most dimensions of an embedding.
const MOST_DIMENSIONS: u64 = 4096;

pub(super) fn one(body: &Value) -> Result<Reply, String> {
    Ok(Reply::pretty(StatusCode::OK, &ordered!({"embedding": (embed(body)?)})))
}

pub(super) fn batch(body: &Value) -> Result<Reply, String> {
    let requests = body.get("requests").and_then(Value::as_array);
    let requests = requests.ok_or("* BatchEmbedContentsRequest.requests: must be set")?;
    let embeddings = requests.iter().map(embed).collect::<Result<Vec<Node>, String>>()?;
    Ok(Reply::pretty(StatusCode::OK, &ordered!({"embeddings": embeddings})))
}

pub(super) fn predict(body: &Value) -> Result<Reply, String> {
    let instances = body.get("instances").and_then(Value::as_array).filter(|instances| !instances.is_empty());
    let instances = instances.ok_or("Invalid value at 'instances': must not be empty.")?;
    let length = dimensions(body.get("parameters").unwrap_or(&Value::Null))?;
    let mut characters = 0;
    let mut predictions = Vec::with_capacity(instances.len());
    for instance in instances {
        let Some(text) = instance.get("content").and_then(Value::as_str) else {
            return Err("The text content is empty.".to_owned());
        };
        characters += text.chars().filter(|c| !c.is_whitespace()).count();
        let values: Vec<Node> = vector(text, length).into_iter().map(Node::Float).collect();
        let statistics = ordered!({"truncated": false, "token_count": (tokens(text))});
        predictions.push(ordered!({"embeddings": {"values": values, "statistics": statistics}}));
    }
    let metadata = ordered!({"billableCharacterCount": characters});
    Ok(Reply::pretty(StatusCode::OK, &ordered!({"predictions": predictions, "metadata": metadata})))
}

fn embed(request: &Value) -> Result<Node, String> {
    let Some(content) = request.get("content") else {
        return Err("* EmbedContentRequest.content: content is not specified".to_owned());
    };
    let length = dimensions(field(request, "embedContentConfig").unwrap_or(request))?;
    let values: Vec<Node> = vector(&texts(content), length).into_iter().map(Node::Float).collect();
    Ok(ordered!({"values": values}))
}

fn dimensions(config: &Value) -> Result<u64, String> {
    let length = field(config, "outputDimensionality").and_then(Value::as_u64).unwrap_or(DIMENSIONS);
    let fits = (1..=MOST_DIMENSIONS).contains(&length);
    fits.then_some(length).ok_or_else(|| "* EmbedContentRequest.output_dimensionality: out of range".to_owned())
}
