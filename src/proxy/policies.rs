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

use http::HeaderMap;

use super::{ErrorKind, ProxyError, RouteContext, classify::ClassifiedRequest};
use crate::policy::{PolicyRequest, Refusal, RequestPolicy};

/// Runs the policies for a request to an LLM provider.
///
/// # Errors
/// When a policy refuses the request.
pub async fn apply(
    context: &RouteContext<'_>,
    classified: &mut ClassifiedRequest,
    headers: &mut HeaderMap,
) -> Result<(), ProxyError> {
    let mut policies = of(context).peekable();
    if policies.peek().is_none() {
        return Ok(());
    }
    let before = classified.body.as_ref().map(|body| body.bytes().clone());
    let added = &mut classified.added;
    let mut request = PolicyRequest { headers, added, api: Some(&classified.api), body: before.clone() };
    for policy in policies {
        policy.apply(&mut request).await?;
    }
    let after = request.body;
    match after {
        Some(body) if before.as_ref() != Some(&body) => classified.replace_body(body).await,
        _ => Ok(()),
    }
}

/// Runs the policies for a request whose body passes through unread.
///
/// # Errors
/// When a policy refuses the request.
pub async fn apply_to_head(context: &RouteContext<'_>, headers: &mut HeaderMap) -> Result<(), ProxyError> {
    let mut added = HeaderMap::new();
    for policy in of(context) {
        policy.apply(&mut PolicyRequest { headers, added: &mut added, api: None, body: None }).await?;
    }
    Ok(())
}

fn of<'a>(context: &RouteContext<'a>) -> impl Iterator<Item = &'a dyn RequestPolicy> {
    context.rule.policies.request.iter().chain(&context.weighted.policies.request).map(|policy| &**policy)
}

impl From<Refusal> for ProxyError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, class, message, cause } = refusal;
        let mut error = Self::with_cause(ErrorKind::Refused, message, cause);
        error.refused = Some((status, class));
        error
    }
}
