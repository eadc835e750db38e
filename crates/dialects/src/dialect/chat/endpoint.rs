//! Endpoints of Chat Completions, with those of OpenAI's older operations, and how requests to them are recognised.

use crate::{
    dialect::{Claim, Endpoint, RequestHead, RerankApi},
    stream::TopLevel,
};

/// Keys that only Chat Completions has, of the two dialects with `messages` at the top level.
const CHAT_ONLY: [&str; 14] = [
    "max_completion_tokens",
    "stream_options",
    "response_format",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "seed",
    "functions",
    "reasoning_effort",
    "parallel_tool_calls",
    "stop",
    "logit_bias",
    "n",
];

/// The endpoint that the last segments of `path` name.
pub(super) fn from_path(path: &str) -> Option<Endpoint> {
    let (before, last) = path.trim_end_matches('/').rsplit_once('/')?;
    match last {
        "completions" if before.ends_with("/chat") => Some(Endpoint::ChatCompletions),
        "completions" => Some(Endpoint::Completions),
        "embeddings" => Some(Endpoint::Embeddings),
        "moderations" => Some(Endpoint::Moderations),
        "rerank" if before.ends_with("/v2") => Some(Endpoint::Rerank(RerankApi::V2)),
        "rerank" => Some(Endpoint::Rerank(RerankApi::V1)),
        _ => None,
    }
}

/// The endpoint of a body by its top-level keys.
pub(super) fn from_body(request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
    let has = |key: &str| body.get(key).is_some();
    if has("messages") {
        Some((if is_certain(body) { Claim::Likely } else { Claim::Possible }, Endpoint::ChatCompletions))
    } else if !request.has_bare_path() {
        None
    } else if has("prompt") {
        Some((Claim::Likely, Endpoint::Completions))
    } else if has("input") && has("model") {
        Some((Claim::Possible, Endpoint::Embeddings))
    } else {
        None
    }
}

/// Whether a body with `messages` has keys that only this dialect has.
fn is_certain(body: &TopLevel<'_>) -> bool {
    CHAT_ONLY.into_iter().any(|key| body.contains(key))
}

/// Clients of OpenAI's API send their key as a bearer token, those of Azure OpenAI as `api-key`.
pub(super) fn claims_client(request: &RequestHead<'_>) -> Option<Claim> {
    let is_bearer =
        |value: &http::HeaderValue| value.as_bytes().get(..7).is_some_and(|b| b.eq_ignore_ascii_case(b"bearer "));
    let bearer = request.headers.get(http::header::AUTHORIZATION).is_some_and(is_bearer);
    (bearer || request.headers.contains_key("api-key")).then_some(Claim::Likely)
}

/// The path of `endpoint` below the API's base (`/v1`), if OpenAI has it.
pub fn path(endpoint: &Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::ChatCompletions => Some("/chat/completions"),
        Endpoint::Completions => Some("/completions"),
        Endpoint::Responses => Some("/responses"),
        Endpoint::CountResponseTokens => Some("/responses/input_tokens"),
        Endpoint::CompactResponse => Some("/responses/compact"),
        Endpoint::Embeddings => Some("/embeddings"),
        Endpoint::Moderations => Some("/moderations"),
        Endpoint::Models(None) => Some("/models"),
        _ => None,
    }
}
