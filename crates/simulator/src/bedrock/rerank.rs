//! Rankings by `InvokeModel`, in the bodies of Cohere's and Amazon's models.

use http::StatusCode;
use serde_json::Value;

use super::invoke::{malformed, only, required};
use super::read::list;
use crate::rank::ranked;
use crate::wire::{Node, Reply, ordered};

/// Most documents of a request.
const MOST: usize = 1000;

pub(super) fn answer(body: &Value, model: &str) -> Result<Reply, String> {
    if model.contains("cohere") {
        only(body, &["query", "documents", "top_n", "api_version", "max_tokens_per_doc"])?;
        let version = body.get("api_version").ok_or_else(|| required("api_version"))?;
        if version.as_u64() != Some(2) {
            return Err(malformed(&format!("#/api_version: {version} is not greater or equal to 2")));
        }
    } else {
        only(body, &["query", "documents", "top_n"])?;
    }
    let query = body.get("query").and_then(Value::as_str).ok_or_else(|| required("query"))?;
    let documents = list(body.get("documents"));
    if documents.is_empty() || documents.len() > MOST {
        return Err(malformed(&format!("#/documents: expected 1 to {MOST} items, actual: {}", documents.len())));
    }
    let texts = documents.iter().map(|document| document.as_str().filter(|text| !text.is_empty()));
    let texts: Vec<&str> =
        texts.collect::<Option<_>>().ok_or_else(|| malformed("#/documents: expected texts of minLength: 1"))?;
    let top = match body.get("top_n") {
        None => None,
        Some(top) => {
            let fits = top.as_u64().filter(|top| (1..=texts.len() as u64).contains(top));
            Some(fits.ok_or_else(|| malformed(&format!("#/top_n: {top} is not from 1 to {}", texts.len())))?)
        }
    };
    let results = ranked(query, &texts, top).into_iter();
    let results = results.map(|(index, score)| ordered!({"index": index, "relevance_score": (Node::Float(score))}));
    let results: Vec<Node> = results.collect();
    Ok(Reply::json(StatusCode::OK, &ordered!({"results": results})))
}
