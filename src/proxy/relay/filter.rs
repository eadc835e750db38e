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
        ApiRequest, DialectId, Endpoint, StreamMode,
        text::{BodyKind, FilterChain, TextFilter, TextFilteredStream, filter_body},
    },
    upstream::balance::AttemptOutcome,
};

/// The filters for a reply with this status: first those of the rule, then those of the backend. Errors have no text of
/// a model.
pub fn chain(context: &RouteContext<'_>, status: StatusCode) -> FilterChain {
    let policies = context.rule.policies.reply.iter().chain(&context.weighted.policies.reply);
    let mut filters = policies.filter_map(|policy| policy.text_filter()).peekable();
    if filters.peek().is_none() || !status.is_success() {
        return FilterChain::default();
    }
    FilterChain::new(filters.collect::<Vec<Arc<dyn TextFilter>>>())
}

/// Whether replies pass any filter of text.
pub fn filters_text(context: &RouteContext<'_>) -> bool {
    !chain(context, StatusCode::OK).is_empty()
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
    let (Reply::Relayed(parts, mut plan), Some(dialect)) = (reply, dialect_of(&api.endpoint)) else {
        return Err(unreadable("the reply is of no dialect whose text is known"));
    };
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

/// The dialect of the endpoint's replies; `None` for endpoints whose replies have no text of a model in a known place.
const fn dialect_of(endpoint: &Endpoint) -> Option<DialectId> {
    match endpoint {
        // One table has the places of both.
        Endpoint::Completions | Endpoint::Embeddings | Endpoint::Moderations => Some(DialectId::Chat),
        // Nor has a ranking any: it repeats the documents of the client.
        Endpoint::Rerank(_) => endpoint.owner(),
        endpoint => endpoint.dialect(),
    }
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
        let mut error = Self::new(ErrorKind::Refused, failure.message);
        error.refused = Some((failure.status, failure.class));
        error
    }
}
