//! What clouds take of Anthropic's Messages: they read from the body what Anthropic reads from headers, and have fewer
//! features.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};

use super::BodyEdit;
use crate::{
    dialect::{ApiRequest, Endpoint},
    stream::TopLevel,
};

/// Anthropic's header for the API's version; clouds have it in the body.
pub(super) const VERSION_HEADER: &str = "anthropic-version";
/// Anthropic's header for beta features: names, separated by commas.
pub(super) const BETA_HEADER: &str = "anthropic-beta";

/// A cloud that serves Claude.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cloud {
    Bedrock,
    Vertex,
}

/// The beta features that clouds take, and which of them do. With any other, which agents send unasked, they refuse the
/// request ("invalid beta flag"). The sources are Amazon Bedrock's user guide ("Anthropic Claude Messages API",
/// `anthropic_beta`) and Anthropic's pages about the features.
const BETAS: &[(&str, &[Cloud])] = {
    use Cloud::{Bedrock, Vertex};
    &[
        ("compact-2026-01-12", &[Bedrock, Vertex]),
        ("computer-use-2024-10-22", &[Bedrock, Vertex]),
        ("computer-use-2025-01-24", &[Bedrock, Vertex]),
        ("computer-use-2025-11-24", &[Bedrock, Vertex]),
        ("context-1m-2025-08-07", &[Bedrock, Vertex]),
        ("context-management-2025-06-27", &[Bedrock, Vertex]),
        ("dev-full-thinking-2025-05-14", &[Bedrock]),
        ("interleaved-thinking-2025-05-14", &[Bedrock, Vertex]),
        ("output-128k-2025-02-19", &[Bedrock, Vertex]),
        ("token-efficient-tools-2025-02-19", &[Bedrock, Vertex]),
        ("tool-examples-2025-10-29", &[Bedrock]),
        (TOOL_SEARCH, &[Bedrock, Vertex]),
        ("web-search-2025-03-05", &[Vertex]),
    ]
};
/// The search of tools at clouds.
const TOOL_SEARCH: &str = "tool-search-tool-2025-10-19";
/// The same in Anthropic's own API.
const ADVANCED_TOOLS: &str = "advanced-tool-use-2025-11-20";

impl Cloud {
    /// The cloud's name of a client's beta; `None` if the cloud does not take it.
    fn beta(self, name: &str) -> Option<&'static str> {
        let name = if name == ADVANCED_TOOLS { TOOL_SEARCH } else { name };
        BETAS.iter().find(|(known, clouds)| *known == name && clouds.contains(&self)).map(|(known, _)| *known)
    }
}

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
fn taken(headers: &HeaderMap, cloud: Cloud) -> Vec<&'static str> {
    let mut taken = Vec::new();
    for name in names(headers).filter_map(|name| cloud.beta(name)) {
        if !taken.contains(&name) {
            taken.push(name);
        }
    }
    taken
}

/// The client's betas that the cloud does not take, as reports name them.
pub(super) fn refused(request: &ApiRequest, top: &TopLevel<'_>, headers: &HeaderMap, cloud: Cloud) -> Vec<String> {
    let is_anthropics = matches!(request.endpoint, Endpoint::Messages | Endpoint::CountMessageTokens);
    // Bedrock reads the client's own field, and no header.
    if !is_anthropics || (cloud == Cloud::Bedrock && top.contains("anthropic_beta")) {
        return Vec::new();
    }
    let refused = names(headers).filter(|name| cloud.beta(name).is_none());
    refused.map(|name| format!("{BETA_HEADER}: {name}")).collect()
}

/// The betas of the client's headers as the field that Bedrock reads, unless the client wrote its own.
pub(super) fn beta_field(top: &TopLevel<'_>, headers: &HeaderMap, cloud: Cloud) -> Option<BodyEdit> {
    let names = taken(headers, cloud);
    if top.contains("anthropic_beta") || names.is_empty() {
        return None;
    }
    Some(("anthropic_beta", Some(Cow::Owned(serde_json::json!(names).to_string().into_bytes()))))
}

/// Leaves the betas that the cloud takes in the header.
pub(super) fn keep_betas(headers: &mut HeaderMap, cloud: Cloud) {
    let names = taken(headers, cloud);
    headers.remove(BETA_HEADER);
    if !names.is_empty()
        && let Ok(value) = HeaderValue::try_from(names.join(","))
    {
        headers.insert(BETA_HEADER, value);
    }
}
