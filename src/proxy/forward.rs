//! An exchange with a plain HTTP server: a Service or a `static` Backend. Bodies pass through unread.

use std::sync::Arc;

use http::{Request, Response, Uri, header, request::Parts, uri::PathAndQuery};
use hyper::body::Incoming;

use super::{
    ErrorKind, ProxyError, ReplyBody, RequestRecord,
    exchange::{Failed, RouteContext},
    headers,
    peer::Peer,
    relay::{Relay, RelayForm},
};
use crate::{
    dialect::{DialectId, StreamMode},
    snapshot::{HttpBackend, Rule, WeightedBackend},
    upstream::{self, Pool, SendError, Transport, UpstreamBody},
};

/// Serves one request from a plain server.
pub async fn forward(
    chosen: RouteContext<'_>,
    backend: &HttpBackend,
    parts: Parts,
    incoming: Incoming,
    peer: Peer,
    mut record: RequestRecord,
) -> Result<Response<ReplyBody>, Failed> {
    let RouteContext { settings, rule, matched, weighted } = chosen;
    let Some(pool) = backend.next() else {
        let error = ProxyError::new(ErrorKind::NoEndpoints, "the backend has no endpoint");
        return Err((error, DialectId::Chat, record));
    };
    let request = match rewritten(rule, weighted, matched, parts, incoming, peer) {
        Ok(request) => request,
        Err(error) => return Err((error, DialectId::Chat, record)),
    };
    let deadline = rule.timeouts.request.map(|limit| tokio::time::Instant::now() + limit);
    let limits = [rule.timeouts.request, rule.timeouts.backend];
    let limit = limits.into_iter().flatten().min().unwrap_or(settings.backend_timeout);
    let reply = match tokio::time::timeout(limit, send(pool, request, &mut record)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => return Err((ProxyError::upstream(&error), DialectId::Chat, record)),
        Err(_) => {
            let error = ProxyError::new(ErrorKind::UpstreamTimeout, "the upstream did not answer in time");
            return Err((error, DialectId::Chat, record));
        }
    };
    let (mut parts, body) = reply.into_parts();
    record.status(parts.status.as_u16());
    headers::from_server(&mut parts.headers);
    rule.response_headers.apply(&mut parts.headers);
    weighted.response_headers.apply(&mut parts.headers);
    let idle = rule.timeouts.stream_idle.unwrap_or(settings.idle_timeout);
    let form = RelayForm { dialect: DialectId::Chat, mode: StreamMode::No, unwrap: None, idle, deadline };
    parts.version = http::Version::HTTP_11;
    Ok(Response::from_parts(parts, ReplyBody::Relay(Box::new(Relay::new(body, None, record, form)))))
}

/// Sends; a request that changes nothing and has no body goes once more on a fresh connection when a kept one proved
/// stale. A body that passes through can't be sent twice: over HTTP/1 it gets a fresh connection to begin with.
async fn send(
    pool: &Arc<Pool>,
    request: Request<UpstreamBody>,
    record: &mut RequestRecord,
) -> Result<Response<upstream::ReplyBody>, SendError> {
    let bodiless = http_body::Body::is_end_stream(request.body());
    let again = (bodiless && request.method().is_safe()).then(|| {
        let mut copy = Request::new(UpstreamBody::empty());
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy
    });
    let multiplexed = pool.origin().transport == Transport::Http2;
    record.attempt_plain();
    match (pool.send(request, !bodiless && !multiplexed).await, again) {
        (Err(error), Some(again)) if error.is_stale() => {
            record.attempt_plain();
            pool.send(again, true).await
        }
        (result, _) => result,
    }
}

fn rewritten(
    rule: &Rule,
    weighted: &WeightedBackend,
    matched: usize,
    parts: Parts,
    incoming: Incoming,
    peer: Peer,
) -> Result<Request<UpstreamBody>, ProxyError> {
    let mut out_headers = headers::to_server(&parts.headers, peer.address.ip(), peer.scheme());
    rule.request_headers.apply(&mut out_headers);
    weighted.request_headers.apply(&mut out_headers);
    let mut path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(rewrite) = &rule.rewrite {
        if let Some(host) = &rewrite.host {
            out_headers.insert(header::HOST, host.clone());
        }
        if let Some(change) = &rewrite.path {
            let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
            path = PathAndQuery::try_from(format!("{}{query}", change.apply(parts.uri.path(), matched)))
                .map_err(|_| ProxyError::new(ErrorKind::BadRequest, "the rewritten path is not valid"))?;
        }
    }
    let mut out = Request::new(if http_body::Body::is_end_stream(&incoming) {
        UpstreamBody::empty()
    } else {
        UpstreamBody::Stream(incoming)
    });
    *out.method_mut() = parts.method;
    *out.uri_mut() = Uri::from(path);
    *out.headers_mut() = out_headers;
    Ok(out)
}
