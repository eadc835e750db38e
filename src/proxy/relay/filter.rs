//! Step 8, **reply filters**: the text of replies passes the filters of rule and backend.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};

use super::{
    super::{
        ErrorKind, ProxyError, RequestRecord, RouteContext, heavy,
        translate::{MAX_REPLY, ReadLimits, collect},
    },
    body::{RelayPlan, Reply, failure_inside},
    observer::Observer,
};
use crate::{
    conversation::Failure,
    dialect::{
        ApiRequest, StreamMode, TextPlaces,
        text::{BodyKind, FilterChain, TextFilter, TextFilteredStream, filter_body},
    },
    policy::{Findings, GUARDED},
    upstream::balance::AttemptOutcome,
};

/// The filters for a reply with this status: first those of the rule, then those of the backend. Errors have no text of
/// a model.
/// `findings` gives the findings of the request, if there are filters.
pub fn chain(context: &RouteContext<'_>, status: StatusCode, findings: impl FnOnce() -> Findings) -> FilterChain {
    let mut policies = context.rule.policies.reply.iter().chain(&context.weighted.policies.reply).peekable();
    if policies.peek().is_none() || !status.is_success() {
        return FilterChain::default();
    }
    let findings = findings();
    let filters: Vec<Arc<dyn TextFilter>> = policies.filter_map(|policy| policy.text_filter(&findings)).collect();
    if filters.is_empty() { FilterChain::default() } else { FilterChain::new(filters) }
}

/// Whether replies pass any filter of text.
pub fn filters_text(context: &RouteContext<'_>) -> bool {
    !chain(context, StatusCode::OK, Findings::default).is_empty()
}

/// Puts `chain` between a reply that stays in its dialect and the client.
///
/// # Errors
/// When a filter refuses the reply, or its text can't be read: a reply that can't be filtered is not passed on.
pub async fn apply(
    context: &RouteContext<'_>,
    api: &ApiRequest,
    reply: Reply,
    chain: FilterChain,
    record: &mut RequestRecord,
) -> Result<Reply, ProxyError> {
    let dialect = match api.endpoint.reply_text() {
        TextPlaces::Nowhere => return Ok(reply),
        TextPlaces::In(dialect) => dialect,
        TextPlaces::Unknown => return Err(unreadable("the reply is of no dialect whose text is known")),
    };
    let Reply::Relayed(parts, mut plan) = reply else { return Err(unreadable("the reply was read already")) };
    if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(unreadable("the upstream compressed its reply, which was not requested"));
    }
    if plan.form.mode != StreamMode::No {
        plan.form.filter = Some(Box::new(TextFilteredStream::new(dialect, plan.form.mode, chain)));
        return Ok(Reply::Relayed(parts, plan));
    }
    let RelayPlan { body, observer, mut attempt, form } = *plan;
    let limits =
        ReadLimits { idle: context.idle_timeout, deadline: context.deadline, request_id: record.trace_id().to_owned() };
    let body = collect(body, MAX_REPLY, &limits).await.inspect_err(|error| {
        attempt.ended(match error.kind {
            ErrorKind::UpstreamTimeout => AttemptOutcome::TimedOut,
            _ => AttemptOutcome::Broken,
        });
    })?;
    let mut failure = None;
    let work = || {
        if let Some(Observer::Watch(mut observer)) = observer {
            observer.frame(body.clone());
            observer.finish();
            failure = observer.failure().filter(|_| form.answers);
            record.counted(observer.totals());
        }
        let filtered = filter_body(dialect, BodyKind::Reply, &body, &chain)?;
        Ok::<_, Failure<'static>>(match form.renamed {
            Some(mut renamed) => [renamed.push(filtered), renamed.finish()].concat().into(),
            None => filtered,
        })
    };
    let filtered = heavy::run(body.len(), work).await;
    if let Some(class) = failure {
        attempt.failed_inside(class, record.model());
        let (kind, cause) = failure_inside(class);
        record.failed(kind, cause);
    }
    attempt.ended(AttemptOutcome::Answered);
    let filtered = filtered?;
    Ok(Reply::Local(whole(parts, filtered)))
}

fn whole(mut parts: http::response::Parts, body: Bytes) -> Response<Bytes> {
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

fn unreadable(cause: &str) -> ProxyError {
    let message = "the upstream's reply can't be checked by this route's policies";
    ProxyError::with_cause(ErrorKind::UpstreamProtocol, message, cause)
}

impl From<Failure<'_>> for ProxyError {
    /// The error for a text that a filter refuses.
    fn from(failure: Failure<'_>) -> Self {
        let kind = if failure.code.as_deref() == Some(GUARDED) { ErrorKind::Guarded } else { ErrorKind::Refused };
        let mut error = Self::new(kind, failure.message);
        error.refused = Some((failure.status, failure.class));
        error
    }
}
