//! One request, from its head to the backend that serves it.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::body::Incoming;

use super::{
    ErrorKind, ProxyError, ReplyBody, RequestRecord, Shared, body,
    exchange::{self, Failed, RouteContext},
    forward,
    peer::Peer,
    trace::TraceId,
};
use crate::{
    dialect::{DialectId, Endpoint},
    snapshot::{Action, Backend, Matched, Redirect, RequestView, Routed},
};

/// Longest path that is served. Providers' longest are under 200 bytes; hyper's own bound on a head is far above.
const MAX_PATH: usize = 8 * 1024;

/// Answers one request. Never fails: errors are replies.
pub async fn handle(shared: Arc<Shared>, peer: Peer, request: Request<Incoming>) -> Response<ReplyBody> {
    let (parts, body) = request.into_parts();
    let last = parts.version < Version::HTTP_2 && shared.leaving.load(Ordering::Relaxed);
    let mut reply = answer(shared, peer, parts, body).await;
    if last {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

async fn answer(shared: Arc<Shared>, peer: Peer, parts: Parts, body: Incoming) -> Response<ReplyBody> {
    let trace = TraceId::of(&parts.headers);
    let path = parts.uri.path().to_owned();
    let head = parts.method == Method::HEAD;
    let record = RequestRecord::begin(Arc::clone(&shared), peer.address, parts.method.clone(), path, trace);
    match serve(&shared, peer, parts, body, record).await {
        Ok(reply) => reply,
        Err((error, dialect, mut record)) => {
            record.failed(error.kind, &error.cause);
            let mut reply = error.reply(dialect, record.trace_id());
            if head {
                // There is no body, so it has no type.
                reply.headers_mut().remove(header::CONTENT_TYPE);
                *reply.body_mut() = ReplyBody::empty();
            }
            reply
        }
    }
}

async fn serve(
    shared: &Arc<Shared>,
    peer: Peer,
    mut parts: Parts,
    incoming: Incoming,
    mut record: RequestRecord,
) -> Result<Response<ReplyBody>, Failed> {
    if let Err(error) = settle_host(&mut parts) {
        return Err((error, dialect_of(&parts), record));
    }
    let matched = match route(shared, peer, &parts, &mut record) {
        Ok(matched) => matched,
        Err(error) => {
            body::linger(incoming);
            return Err((error, dialect_of(&parts), record));
        }
    };
    let split = match &matched.rule.action {
        Action::Forward(split) => split,
        Action::Redirect(to) => {
            body::linger(incoming);
            return Ok(redirect(to, peer, &parts, matched.matched, record));
        }
        Action::Unavailable(fail) => {
            body::linger(incoming);
            return Err((misconfigured(fail.status, &fail.why), dialect_of(&parts), record));
        }
    };
    let Some((number, weighted)) = split.choose() else {
        return Err((misconfigured(500, "no backend has any weight"), dialect_of(&parts), record));
    };
    record.chose(number);
    let chosen = RouteContext { settings: &shared.settings, rule: &matched.rule, matched: matched.matched, weighted };
    match &weighted.backend {
        // Boxed: the exchange's state is large, and redirects and errors don't need it.
        Backend::Ai(ai) => Box::pin(exchange::exchange(chosen, ai, parts, incoming, record)).await,
        Backend::Http(http) => Box::pin(forward::forward(chosen, http, parts, incoming, peer, record)).await,
        Backend::Unavailable(fail) => {
            body::linger(incoming);
            Err((misconfigured(fail.status, &fail.why), dialect_of(&parts), record))
        }
    }
}

/// The dialect to answer in before a backend is known: what the path names, else OpenAI's, which most clients read.
fn dialect_of(parts: &Parts) -> DialectId {
    let named = Endpoint::from_path(parts.uri.path()).and_then(|e| e.owner());
    named.or_else(|| DialectId::of_headers(&parts.headers)).unwrap_or(DialectId::Chat)
}

fn misconfigured(status: u16, why: &str) -> ProxyError {
    let (kind, message) = match status {
        501 => (ErrorKind::NotImplemented, "this kind of backend is not supported"),
        503 => (ErrorKind::NoEndpoints, "the backend has no ready endpoint"),
        _ => (ErrorKind::Misconfigured, "this route is not configured correctly; its status says why"),
    };
    ProxyError::with_cause(kind, message, why)
}

/// Refuses tunnels, and requests with several hosts; a host in the request's target replaces the header (RFC 9112, 3.2.2):
/// what routing sees is what a server behind us gets.
fn settle_host(parts: &mut Parts) -> Result<(), ProxyError> {
    if parts.method == http::Method::CONNECT {
        let mut error = ProxyError::new(ErrorKind::MethodNotAllowed, "CONNECT is not served");
        error.allow = Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        return Err(error);
    }
    if parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(ProxyError::new(ErrorKind::BadRequest, "the request needs one valid Host"));
    }
    if let Some(host) = parts.uri.authority().and_then(|a| http::HeaderValue::from_str(a.as_str()).ok()) {
        parts.headers.insert(header::HOST, host);
    }
    Ok(())
}

/// The rule for this request, of the one snapshot that this request reads.
fn route(shared: &Shared, peer: Peer, parts: &Parts, record: &mut RequestRecord) -> Result<Matched, ProxyError> {
    let bad = |message: &str| ProxyError::new(ErrorKind::BadRequest, message);
    let path = parts.uri.path();
    if path.len() > MAX_PATH {
        return Err(bad("the path is too long"));
    }
    // A server behind us might resolve them and leave the prefix that was matched.
    if has_dot_segments(path) {
        return Err(bad("the path has '.' or '..' segments"));
    }
    let host = host(parts).ok_or_else(|| bad("the request needs one valid Host"))?;
    let snapshot = shared.snapshots.load();
    record.reads(snapshot.generation);
    let view =
        RequestView { host: &host, path, query: parts.uri.query(), method: &parts.method, headers: &parts.headers };
    match snapshot.route(peer.port, &view) {
        Routed::Rule(matched) => {
            record.routed(&matched.rule);
            Ok(matched)
        }
        Routed::NoRule(listener) => Err(ProxyError::with_cause(
            ErrorKind::NoRoute,
            "no route matches this request",
            format!("no rule of listener {} of Gateway {} matches", listener.name, listener.gateway),
        )),
        Routed::NoListener => Err(ProxyError::new(ErrorKind::NoRoute, "no listener has this host")),
    }
}

/// The request's host, lower case, without port. `None` when HTTP's rules are broken: none, several, or no host.
fn host(parts: &Parts) -> Option<Cow<'_, str>> {
    let authority = if let Some(authority) = parts.uri.authority() {
        authority.as_str()
    } else {
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let host = hosts.next()?.to_str().ok()?;
        if hosts.next().is_some() {
            return None;
        }
        host
    };
    let name = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.split_once(':').map_or(authority, |(name, _)| name),
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:%".contains(&b);
    if name.is_empty() || !name.bytes().all(allowed) {
        return None;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    Some(if name.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(name.to_ascii_lowercase()) } else { name.into() })
}

/// Whether any segment is `.` or `..`, also percent-encoded.
fn has_dot_segments(path: &str) -> bool {
    if !path.contains("/.") && !path.contains("/%2") {
        return false;
    }
    path.split('/').any(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        matches!(plain.as_str(), "." | "..")
    })
}

fn redirect(
    to: &Redirect,
    peer: Peer,
    parts: &Parts,
    matched: usize,
    mut record: RequestRecord,
) -> Response<ReplyBody> {
    let host = host(parts).unwrap_or_default();
    // Stripped for matching; a URL needs them.
    let host = if host.contains(':') { Cow::Owned(format!("[{host}]")) } else { host };
    let location = to.location(peer.scheme(), &host, parts.uri.path(), matched, parts.uri.query());
    let mut reply = Response::new(ReplyBody::empty());
    match http::HeaderValue::try_from(location) {
        Ok(location) => {
            *reply.status_mut() = to.status;
            reply.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    record.status(reply.status().as_u16());
    record.complete();
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts_are_read_by_the_rules() {
        for (uri, hosts, expected) in [
            ("/", &["A.Example:8080"][..], Some("a.example")),
            ("/", &["a.example."], Some("a.example")),
            ("/", &["[::1]:80"], Some("::1")),
            ("http://b.example/", &["a.example"], Some("b.example")),
            ("/", &[], None),
            ("/", &["a", "b"], None),
            ("/", &["a b"], None),
            ("/", &["a/../b"], None),
            ("/", &[""], None),
            ("/", &[":80"], None),
        ] {
            assert_eq!(host(&parts(uri, hosts)).as_deref(), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn dot_segments_are_found() {
        for (path, expected) in [
            ("/a/../b", true),
            ("/..", true),
            ("/a/.", true),
            ("/a/%2e%2E/b", true),
            ("/a/.b", false),
            ("/a/..b/c", false),
            ("/v1/models/gemini-1.5", false),
            ("/a%2fb", false),
        ] {
            assert_eq!(has_dot_segments(path), expected, "{path}");
        }
    }
}
