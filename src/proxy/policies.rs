//! Step 4, **request policies**: the steps that rule and backend have for their requests.
//!
//! | | |
//! | --- | --- |
//! | has happened | the request is classified; no target is chosen |
//! | may read | head, body, and the result of classification |
//! | may change | headers, and the body |
//! | ends the request | with the error of the policy that refuses it |
//!
//! Compile builds the lists: first the policies of the rule run, then those of the backend that was chosen. An empty
//! list costs nothing.

use bytes::Bytes;
use http::HeaderMap;

use super::{ErrorKind, ProxyError, RequestRecord, RouteContext, classify::ClassifiedRequest, heavy};
use crate::{
    dialect::Endpoint,
    policy::{BodyPolicy, PolicyRequest, Refusal, RefusalForm, RequestPolicy},
};

/// Runs the policies for a request to an LLM provider.
///
/// # Errors
/// When a policy refuses the request.
pub async fn apply(
    context: &RouteContext<'_>,
    classified: &mut ClassifiedRequest,
    headers: &mut HeaderMap,
    record: &mut RequestRecord,
) -> Result<(), ProxyError> {
    let mut policies = of(context).peekable();
    if policies.peek().is_none() {
        return Ok(());
    }
    let before = classified.body.as_ref().map(|body| body.bytes().clone());
    let added = &mut classified.added;
    let findings = record.findings();
    let api = Some(&classified.api);
    let mut request = PolicyRequest { headers, added, api, body: before.clone(), model: None, findings };
    for policy in policies {
        policy.apply(&mut request).await?;
    }
    let (after, model) = (request.body, request.model);
    if let Some(body) = after.filter(|body| before.as_ref() != Some(body)) {
        classified.replace_body(body).await?;
    }
    if let Some(model) = model {
        classified.replace_model(model).await?;
        record.classified(&classified.api, before.map_or(0, |body| body.len()));
    }
    Ok(())
}

/// The body of a request to `endpoint` after the edits of its policies. Without policies it is `body` itself.
///
/// # Errors
/// When a policy can't edit the body.
pub async fn edit(context: &RouteContext<'_>, endpoint: &Endpoint, body: &Bytes) -> Result<Bytes, ProxyError> {
    let mut edited = body.clone();
    for policy in body_policies(context) {
        let written = heavy::run(edited.len(), || policy.edit(endpoint, &edited)).await;
        edited = written.map_err(|invalid| ProxyError::new(ErrorKind::BadBody, invalid.to_string()))?;
    }
    Ok(edited)
}

/// Whether there is any policy that edits bodies.
pub fn edits(context: &RouteContext<'_>) -> bool {
    body_policies(context).next().is_some()
}

fn body_policies<'a>(context: &RouteContext<'a>) -> impl Iterator<Item = &'a dyn BodyPolicy> {
    context.rule.policies.body.iter().chain(&context.weighted.policies.body).map(|policy| &**policy)
}

/// Runs the policies for a request whose body passes through unread.
///
/// # Errors
/// When a policy refuses the request.
pub async fn apply_to_head(
    context: &RouteContext<'_>,
    headers: &mut HeaderMap,
    record: &mut RequestRecord,
) -> Result<(), ProxyError> {
    let mut added = HeaderMap::new();
    for policy in of(context) {
        let (added, findings) = (&mut added, record.findings());
        policy.apply(&mut PolicyRequest { headers, added, api: None, body: None, model: None, findings }).await?;
    }
    Ok(())
}

fn of<'a>(context: &RouteContext<'a>) -> impl Iterator<Item = &'a dyn RequestPolicy> {
    context.rule.policies.request.iter().chain(&context.weighted.policies.request).map(|policy| &**policy)
}

impl From<Refusal> for ProxyError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, class, message, cause, form } = refusal;
        let kind = if form == RefusalForm::Error { ErrorKind::Refused } else { ErrorKind::Guarded };
        let mut error = Self::with_cause(kind, message, cause);
        error.refused = Some((status, class));
        error.plain = form == RefusalForm::GuardedText;
        error
    }
}
