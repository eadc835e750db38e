//! Changes to bodies of Anthropic's Messages for clouds, which read from the body what Anthropic reads from headers.

use std::borrow::Cow;

use http::HeaderMap;

use super::BodyEdit;
use crate::stream::TopLevel;

/// Anthropic's header for the API's version; clouds have it in the body.
pub(super) const VERSION_HEADER: &str = "anthropic-version";
/// Anthropic's header for beta features: names, separated by commas.
pub(super) const BETA_HEADER: &str = "anthropic-beta";

/// `anthropic_version` as JSON text, unless the client wrote its own.
pub(super) fn version(top: &TopLevel<'_>, version: &'static str) -> Option<BodyEdit> {
    let own = top.get("anthropic_version").is_some_and(|member| member.as_str().is_some());
    (!own).then_some(("anthropic_version", Some(Cow::Borrowed(version.as_bytes()))))
}

/// The betas of the client's headers as the field that Bedrock reads, unless the client wrote its own.
pub(super) fn betas(top: &TopLevel<'_>, headers: &HeaderMap) -> Option<BodyEdit> {
    if top.contains("anthropic_beta") {
        return None;
    }
    let lists = headers.get_all(BETA_HEADER).iter().filter_map(|list| list.to_str().ok());
    let names: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).filter(|n| !n.is_empty()).collect();
    let value = (!names.is_empty()).then(|| serde_json::json!(names).to_string().into_bytes())?;
    Some(("anthropic_beta", Some(Cow::Owned(value))))
}
