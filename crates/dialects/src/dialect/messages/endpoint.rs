//! Endpoints of Messages, and how requests to them are recognised.

use crate::{
    dialect::{Claim, DialectId, Endpoint, RequestHead},
    stream::TopLevel,
};

/// The header that every client of Messages sends.
pub(super) const VERSION_HEADER: &str = "anthropic-version";
/// Keys that only Messages has, of the two dialects with `messages` at the top level.
const MESSAGES_ONLY: [&str; 3] = ["system", "stop_sequences", "anthropic_version"];

/// The endpoint that the last segments of `path` name.
pub(super) fn from_path(path: &str) -> Option<Endpoint> {
    let (before, last) = path.trim_end_matches('/').rsplit_once('/')?;
    match last {
        "messages" => Some(Endpoint::Messages),
        "count_tokens" if before.ends_with("/messages") => Some(Endpoint::CountMessageTokens),
        _ => None,
    }
}

/// The endpoint of a body by its top-level keys. Messages always has `max_tokens`, which Chat Completions may have too.
/// The client's header decides first, then keys that only this dialect has, then the backend.
pub(super) fn from_body(request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
    let has = |key: &str| body.contains(key);
    let claim = if body.get("messages").is_none() {
        return None;
    } else if request.headers.contains_key(VERSION_HEADER) {
        Claim::Strong
    } else if has("max_tokens") && (MESSAGES_ONLY.into_iter().any(has) || request.backend == DialectId::Messages) {
        // Keys that only Chat Completions has give the same claim, and are examined first.
        Claim::Likely
    } else {
        return None;
    };
    Some((claim, Endpoint::Messages))
}

/// Whether the client's headers are those of this dialect.
pub(super) fn claims_client(request: &RequestHead<'_>) -> Option<Claim> {
    if request.headers.contains_key(VERSION_HEADER) {
        return Some(Claim::Certain);
    }
    request.headers.contains_key("x-api-key").then_some(Claim::Possible)
}

/// The path of `endpoint` below the API's base (`/v1`), if Anthropic has it.
pub fn path(endpoint: &Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::Messages => Some("/messages"),
        Endpoint::CountMessageTokens => Some("/messages/count_tokens"),
        Endpoint::Models(None) => Some("/models"),
        _ => None,
    }
}
