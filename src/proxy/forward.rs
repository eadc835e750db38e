//! The shorter path to a plain HTTP server: a Service or a `static` Backend. Bodies pass through unread.
//!
//! It replaces the steps from classify to send: nothing is classified, policies see the head alone, and one endpoint is
//! chosen in turn. Those to which no connection could be made lately come last.

use axum::body::Body;
use http::{HeaderMap, Request, Response, Uri, header, request::Parts, uri::PathAndQuery};
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    ErrorKind, ProxyError, RequestRecord, RouteContext, body,
    budget::Share,
    error::ClientError,
    headers,
    peer::Peer,
    policies,
    queue::Queue,
    relay::{RelayForm, RelayPlan, Reply},
    retry::{MAX_ATTEMPTS, Retries, failure_of},
    send::too_slow,
};
use crate::{
    dialect::{DialectId, StreamMode},
    policy::retry::Failure,
    snapshot::{Endpoint, HttpBackend, Rule},
    upstream::{
        self, UpstreamBody,
        balance::{
            Attempt, AttemptOutcome, Probe,
            load::{Entry, Full, TargetPermit},
        },
    },
};

/// The most endpoints of one request to which a connection is tried: a Service may have hundreds, while a client waits.
const MAX_ENDPOINTS: usize = 4;
/// The largest body that is kept to be sent again, in bytes. Larger ones are uploads.
const MAX_REPLAYED: usize = 1024 * 1024;
/// The dialect of errors: clients of plain servers use none.
const DIALECT: DialectId = DialectId::Chat;

/// Serves one request from a plain server.
pub async fn forward(
    context: &mut RouteContext<'_>,
    backend: &HttpBackend,
    parts: &Parts,
    body: &mut Option<Body>,
    peer: &Peer,
    record: &mut RequestRecord,
) -> Result<Reply, ClientError> {
    try_forward(context, backend, parts, body, peer, record).await.map_err(|error| error.to(DIALECT))
}

async fn try_forward(
    context: &mut RouteContext<'_>,
    backend: &HttpBackend,
    parts: &Parts,
    body: &mut Option<Body>,
    peer: &Peer,
    record: &mut RequestRecord,
) -> Result<Reply, ProxyError> {
    if has_hidden_separators(parts.uri.path()) {
        let message = "the path has an encoded separator (%2f, %5c, %3f, %23, %00), ';' or a backslash";
        return Err(ProxyError::new(ErrorKind::BadRequest, message));
    }
    let mut headers = headers::to_server(&parts.headers, peer.address.ip(), peer.scheme());
    policies::apply_to_head(context, &mut headers, record).await?;
    let path = rewritten(context.rule, context.matched, parts, &mut headers)?;
    // Held until the server has replied.
    let mut memory = context.settings.body_budget.share();
    let mut request = Request::new(sendable(context, body, &mut memory).await?);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = headers;

    context.start_clock();
    let (reply, attempt) = send_with_retries(context, backend, request, record).await?;
    let (mut parts, body) = reply.into_parts();
    headers::from_server(&mut parts.headers);
    let form = RelayForm {
        dialect: DIALECT,
        mode: StreamMode::No,
        unwrap: None,
        mask: None,
        event_mask: None,
        error_body: None,
        answers: false,
        filter: None,
        renamed: None,
        wrapped: None,
        idle: context.idle_timeout,
        deadline: context.deadline,
    };
    Ok(Reply::Relayed(parts, Box::new(RelayPlan { body, observer: None, form, attempt })))
}

/// Whether the server may read another path than the one that the rule matched: servers decode these characters before
/// they split the path, or cut it there.
fn has_hidden_separators(path: &str) -> bool {
    let encoded = |at: usize| {
        let code = path.get(at + 1..at + 3).unwrap_or_default();
        ["2f", "5c", "3f", "23", "00", "3b"].iter().any(|separator| code.eq_ignore_ascii_case(separator))
    };
    path.contains([';', '\\']) || path.match_indices('%').any(|(at, _)| encoded(at))
}

/// The body to send. Where the rule has retries, a small one is read whole, so that it can be sent again. Any other
/// passes through.
async fn sendable(
    context: &RouteContext<'_>,
    taken: &mut Option<Body>,
    memory: &mut Share,
) -> Result<UpstreamBody, ProxyError> {
    let settings = context.settings;
    let fits = |body: &Body| body.size_hint().exact().is_some_and(|length| length <= MAX_REPLAYED as u64);
    if context.rule.retry.is_some() && taken.as_ref().is_some_and(fits) {
        let bytes = body::read(taken, memory, MAX_REPLAYED, settings.body_timeout).await?;
        return Ok(UpstreamBody::Full(Some(bytes)));
    }
    let passing = taken.take().filter(|body| !body.is_end_stream());
    Ok(passing.map_or_else(UpstreamBody::empty, UpstreamBody::Stream))
}

/// Sends the request, and again after the failures that the rule retries.
async fn send_with_retries(
    context: &RouteContext<'_>,
    backend: &HttpBackend,
    mut request: Request<UpstreamBody>,
    record: &mut RequestRecord,
) -> Result<(Response<upstream::ReplyBody>, Attempt), ProxyError> {
    // What a server may do twice is for the rule to decide, whose retries were written for it.
    let mut retries = Retries::new(context, true);
    let limits = [context.rule.timeouts.request, context.rule.try_timeout()];
    let limit = limits.into_iter().flatten().min().unwrap_or(context.settings.backend_timeout);
    let mut entry = Entry::new(backend.load.as_ref());
    let mut queue = Queue::new(context, request.headers());
    for tried in 1.. {
        let mut order = backend.order();
        // The time of an attempt begins behind the wait.
        let first = with_room(&mut order, &mut entry, &mut queue, record).await?;
        let until = Instant::now() + limit;
        let until = context.deadline.map_or(until, |deadline| deadline.min(until));
        let next = if retries.may_follow() && tried < MAX_ATTEMPTS { copy(&request) } else { None };
        let sent = send(first, order, &mut entry, request, record);
        let sent = tokio::time::timeout_at(until, sent).await.unwrap_or_else(|_| Err(too_slow()));
        let Some(next) = next else {
            record.holds(entry.into_permit());
            return sent;
        };
        let (failure, headers) = match &sent {
            Ok((reply, _)) => (Some(Failure::Status(reply.status())), Some(reply.headers())),
            Err(error) => (failure_of(error), None),
        };
        let Some(at) = retries.next(failure, headers, &backend.retries, || backend.in_flight()) else {
            record.holds(entry.into_permit());
            return sent;
        };
        // The server's reply, if there is one, is let go before the pause.
        if let Ok((_, mut attempt)) = sent {
            attempt.ended(AttemptOutcome::Refused);
        }
        tokio::time::sleep_until(at).await;
        request = next;
    }
    Err(too_slow())
}

/// The same request, if it has no body, or one that is here whole.
fn copy(request: &Request<UpstreamBody>) -> Option<Request<UpstreamBody>> {
    let UpstreamBody::Full(body) = request.body() else { return None };
    let mut copy = Request::new(UpstreamBody::Full(body.clone()));
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// An endpoint that is tried next.
struct Picked<'b> {
    endpoint: &'b Endpoint,
    /// Its recovery is found out by this attempt.
    probe: Option<Probe>,
    /// The attempt's place there, where places are limited.
    permit: Option<TargetPermit>,
}

/// The first endpoint of `order` with room, after a wait where all are full.
async fn with_room<'b>(
    order: &mut impl Iterator<Item = (&'b Endpoint, Option<Probe>)>,
    entry: &mut Entry,
    queue: &mut Queue<'_>,
    record: &mut RequestRecord,
) -> Result<Picked<'b>, ProxyError> {
    let mut full = SmallVec::<[&Endpoint; MAX_ENDPOINTS]>::new();
    for (endpoint, probe) in order {
        match entry.try_target(&endpoint.state) {
            Ok(permit) => return Ok(Picked { endpoint, probe, permit }),
            Err(Full) => full.push(endpoint),
        }
    }
    let states = full.iter().map(|endpoint| &endpoint.state);
    if !full.is_empty()
        && let Some((index, permit)) = queue.wait_for(entry, states, record).await
        && let Some(endpoint) = full.get(index)
    {
        return Ok(Picked { endpoint, probe: None, permit });
    }
    let none = || ProxyError::new(ErrorKind::NoEndpoints, "the backend has no endpoint");
    Err(queue.refused().unwrap_or_else(none))
}

/// Sends to `first`, and to the next one of `order` that has room as long as no connection can be made. A request
/// without a body, or with one that is here whole, is sent once more on a fresh connection when the server can't have
/// processed it. A body that passes through can't be sent twice: over HTTP/1 it gets a fresh connection from the start.
async fn send<'b>(
    first: Picked<'b>,
    mut order: impl Iterator<Item = (&'b Endpoint, Option<Probe>)>,
    entry: &mut Entry,
    request: Request<UpstreamBody>,
    record: &mut RequestRecord,
) -> Result<(Response<upstream::ReplyBody>, Attempt), ProxyError> {
    let again = copy(&request);
    let passes = again.is_none();
    let mut failure = ProxyError::new(ErrorKind::NoEndpoints, "the backend has no endpoint");
    let mut next = Some(first);
    for tried in 1.. {
        let Some(Picked { endpoint, probe, permit }) = next.take() else { break };
        record.attempt_plain();
        let mut attempt = Attempt::begin(&endpoint.state, probe).holding(permit);
        let pool = &endpoint.pool;
        let connection = match pool.connection(passes && !pool.is_multiplexed()).await {
            Ok(connection) => connection,
            Err(error) => {
                failure = ProxyError::upstream(&error);
                attempt.ended(failure.kind.attempt_outcome());
                if tried < MAX_ENDPOINTS {
                    next = order.by_ref().find_map(|(endpoint, probe)| {
                        let permit = entry.try_target(&endpoint.state).ok()?;
                        Some(Picked { endpoint, probe, permit })
                    });
                }
                continue;
            }
        };
        attempt.connected();
        let reply = match (connection.send(request).await, again) {
            (Err(error), Some(again)) if error.is_unprocessed() => {
                record.attempt_plain();
                Box::pin(pool.send(again, true)).await
            }
            (result, _) => result,
        };
        return match reply {
            Ok(reply) => {
                // No provider's table applies: the status is all that is known of a plain server's reply.
                if matches!(reply.status().as_u16(), 408 | 429) || reply.status().is_server_error() {
                    attempt.ended(AttemptOutcome::Refused);
                }
                Ok((reply, attempt))
            }
            Err(error) => {
                let error = ProxyError::upstream(&error);
                attempt.ended(error.kind.attempt_outcome());
                Err(error)
            }
        };
    }
    Err(failure)
}

/// The path of the request to the server, and its `Host`, as the rule rewrites them.
fn rewritten(rule: &Rule, matched: usize, parts: &Parts, headers: &mut HeaderMap) -> Result<PathAndQuery, ProxyError> {
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let Some(rewrite) = &rule.rewrite else { return Ok(path) };
    if let Some(host) = &rewrite.host {
        headers.insert(header::HOST, host.clone());
    }
    let Some(change) = &rewrite.path else { return Ok(path) };
    let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    PathAndQuery::try_from(format!("{}{query}", change.apply(parts.uri.path(), matched)))
        .map_err(|_| ProxyError::new(ErrorKind::BadRequest, "the rewritten path is not valid"))
}
