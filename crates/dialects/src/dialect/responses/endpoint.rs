//! Endpoints of Responses, and how requests to them are recognised.

use crate::{
    dialect::{Claim, Endpoint, RequestHead},
    stream::TopLevel,
};

/// Keys that distinguish a body with `input` from one of embeddings.
const RESPONSES_ONLY: [&str; 5] = ["instructions", "max_output_tokens", "stream", "reasoning", "text"];

/// The endpoint that the last segments of `path` name.
pub(super) fn from_path(path: &str) -> Option<Endpoint> {
    let path = path.trim_end_matches('/');
    match path.rsplit_once("/responses/") {
        Some((_, "input_tokens")) => Some(Endpoint::CountResponseTokens),
        Some((_, "compact")) => Some(Endpoint::CompactResponse),
        Some((_, rest)) => (!rest.is_empty()).then(|| Endpoint::ResponseResource(rest.to_owned())),
        None => path.ends_with("/responses").then_some(Endpoint::Responses),
    }
}

/// The endpoint of a body by its top-level keys.
pub(super) fn from_body(request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
    let has = |key: &str| body.get(key).is_some();
    let is_own = !has("messages") && has("input") && RESPONSES_ONLY.into_iter().any(has);
    (request.has_bare_path() && is_own).then_some((Claim::Likely, Endpoint::Responses))
}
