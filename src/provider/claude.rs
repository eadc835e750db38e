//! What clouds take of Anthropic's Messages: they read from the body what Anthropic reads from headers, and have fewer
//! features.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};

use super::BodyEdit;
use crate::stream::TopLevel;

/// Anthropic's header for the API's version; clouds have it in the body.
pub(super) const VERSION_HEADER: &str = "anthropic-version";
/// Anthropic's header for beta features: names, separated by commas.
pub(super) const BETA_HEADER: &str = "anthropic-beta";

/// The beta features that a cloud takes: their names in Anthropic's own API, and at the cloud. With any other, which
/// agents send unasked, clouds refuse the request ("invalid beta flag").
pub(super) type Betas = &'static [(&'static str, &'static str)];

/// Amazon Bedrock's, from its user guide ("Anthropic Claude Messages API", `anthropic_beta`) and from Anthropic's page
/// about the search of tools, which has another name there.
pub(super) const BEDROCK_BETAS: Betas = &[
    ("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19"),
    ("compact-2026-01-12", "compact-2026-01-12"),
    ("computer-use-2024-10-22", "computer-use-2024-10-22"),
    ("computer-use-2025-01-24", "computer-use-2025-01-24"),
    ("computer-use-2025-11-24", "computer-use-2025-11-24"),
    ("context-1m-2025-08-07", "context-1m-2025-08-07"),
    ("context-management-2025-06-27", "context-management-2025-06-27"),
    ("dev-full-thinking-2025-05-14", "dev-full-thinking-2025-05-14"),
    ("interleaved-thinking-2025-05-14", "interleaved-thinking-2025-05-14"),
    ("output-128k-2025-02-19", "output-128k-2025-02-19"),
    ("token-efficient-tools-2025-02-19", "token-efficient-tools-2025-02-19"),
    ("tool-examples-2025-10-29", "tool-examples-2025-10-29"),
    ("tool-search-tool-2025-10-19", "tool-search-tool-2025-10-19"),
];

/// Vertex AI's, which takes the web search too.
pub(super) const VERTEX_BETAS: Betas = &[
    ("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19"),
    ("compact-2026-01-12", "compact-2026-01-12"),
    ("computer-use-2024-10-22", "computer-use-2024-10-22"),
    ("computer-use-2025-01-24", "computer-use-2025-01-24"),
    ("computer-use-2025-11-24", "computer-use-2025-11-24"),
    ("context-1m-2025-08-07", "context-1m-2025-08-07"),
    ("context-management-2025-06-27", "context-management-2025-06-27"),
    ("interleaved-thinking-2025-05-14", "interleaved-thinking-2025-05-14"),
    ("output-128k-2025-02-19", "output-128k-2025-02-19"),
    ("token-efficient-tools-2025-02-19", "token-efficient-tools-2025-02-19"),
    ("tool-search-tool-2025-10-19", "tool-search-tool-2025-10-19"),
    ("web-search-2025-03-05", "web-search-2025-03-05"),
];

/// `anthropic_version` as JSON text, unless the client wrote its own.
pub(super) fn version(top: &TopLevel<'_>, version: &'static str) -> Option<BodyEdit> {
    let own = top.get("anthropic_version").is_some_and(|member| member.as_str().is_some());
    (!own).then_some(("anthropic_version", Some(Cow::Borrowed(version.as_bytes()))))
}

/// The names in the client's headers.
fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(BETA_HEADER).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

/// The client's betas that the cloud takes, by the cloud's names, each once.
fn taken(headers: &HeaderMap, betas: Betas) -> Vec<&'static str> {
    let mut taken: Vec<&str> = Vec::new();
    for name in names(headers) {
        let found = betas.iter().find(|(own, _)| *own == name).map(|(_, theirs)| *theirs);
        taken.extend(found.filter(|found| !taken.contains(found)));
    }
    taken
}

/// The client's betas that the cloud does not take, as reports name them.
pub(super) fn refused(headers: &HeaderMap, betas: Betas) -> Vec<String> {
    let refused = names(headers).filter(|name| !betas.iter().any(|(own, _)| own == name));
    refused.map(|name| format!("{BETA_HEADER}: {name}")).collect()
}

/// The betas of the client's headers as the field that Bedrock reads, unless the client wrote its own.
pub(super) fn beta_field(top: &TopLevel<'_>, headers: &HeaderMap, betas: Betas) -> Option<BodyEdit> {
    let names = taken(headers, betas);
    if top.contains("anthropic_beta") || names.is_empty() {
        return None;
    }
    Some(("anthropic_beta", Some(Cow::Owned(serde_json::json!(names).to_string().into_bytes()))))
}

/// Leaves the betas that the cloud takes in the header.
pub(super) fn keep_betas(headers: &mut HeaderMap, betas: Betas) {
    let names = taken(headers, betas);
    headers.remove(BETA_HEADER);
    if !names.is_empty()
        && let Ok(value) = HeaderValue::try_from(names.join(","))
    {
        headers.insert(BETA_HEADER, value);
    }
}
