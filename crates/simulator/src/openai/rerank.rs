//! Rankings as Cohere has them, and servers that are compatible with it.

use http::StatusCode;
use serde_json::Value;

use super::{Quirks, error, invalid, missing};
use crate::ApiRequest;
use crate::rank::{ranked, search_units};
use crate::wire::{Node, Reply, ordered};

/// Hosts of Cohere, by their ends.
const COHERE: [&str; 2] = ["cohere.ai", "cohere.com"];

/// The fields of a request to Cohere's second version.
const V2: &[&str] = &["model", "query", "documents", "top_n", "max_tokens_per_doc", "relevant_spans", "priority"];

/// The fields of a request to Cohere's first version.
const V1: &[&str] = &["model", "query", "documents", "top_n", "rank_fields", "return_documents", "max_chunks_per_doc"];

pub(super) fn answer(request: &ApiRequest, model: &str, quirks: Quirks) -> Result<Reply, Reply> {
    let (body, received) = (&request.body, request.received);
    let is_second = received.path.ends_with("/v2/rerank");
    let is_cohere = COHERE.iter().any(|end| received.host.ends_with(end));
    let elsewhere = is_cohere && !["/v1/rerank", "/v2/rerank"].contains(&received.path.as_str());
    if elsewhere || (quirks != Quirks::Other && received.host.contains("openai")) {
        let message = format!("Invalid URL ({} {})", received.method, received.path);
        return Err(error(StatusCode::NOT_FOUND, &message, None, None));
    }
    if is_cohere {
        let known = if is_second { V2 } else { V1 };
        let names = body.as_object().into_iter().flat_map(|fields| fields.keys());
        if let Some(name) = names.map(String::as_str).find(|name| !known.contains(name)) {
            return Err(invalid(name, "unknown field."));
        }
    }
    let query = body.get("query").and_then(Value::as_str).filter(|query| !query.is_empty());
    let query = query.ok_or_else(|| missing("query"))?;
    let documents = body.get("documents").and_then(Value::as_array).ok_or_else(|| missing("documents"))?;
    let texts = documents.iter().map(|document| text(document, is_cohere && is_second));
    let texts: Vec<&str> = texts.collect::<Option<_>>().ok_or_else(|| invalid("documents", "must be texts."))?;
    if texts.is_empty() {
        return Err(invalid("documents", "must not be empty."));
    }
    let top = match body.get("top_n").filter(|top| !top.is_null()) {
        None => None,
        Some(top) => Some(top.as_u64().filter(|top| *top > 0).ok_or_else(|| invalid("top_n", "must be at least 1."))?),
    };
    let returns = body.get("return_documents").and_then(Value::as_bool) == Some(true);
    let results = ranked(query, &texts, top).into_iter().map(|(index, score)| {
        let result = ordered!({"index": index, "relevance_score": (Node::Float(score))});
        match texts.get(index) {
            Some(text) if returns => result.and("document", ordered!({"text": (*text)})),
            _ => result,
        }
    });
    let results: Vec<Node> = results.collect();
    let version = if is_second { "2" } else { "1" };
    let reply = ordered!({
        "id": (format!("{:016x}", request.id)), "model": model, "results": results,
        "meta": {
            "api_version": {"version": version}, "billed_units": {"search_units": (search_units(texts.len()))},
        },
    });
    Ok(Reply::json(StatusCode::OK, &reply))
}

/// The text of a document, which may be an object with a text in the first version.
fn text(document: &Value, only_texts: bool) -> Option<&str> {
    document.as_str().or_else(|| document.get("text").filter(|_| !only_texts)?.as_str())
}
