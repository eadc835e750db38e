//! Step 2, **route**: which rule serves this request.
//!
//! | | |
//! | --- | --- |
//! | has happened | the connection is accepted and the head is parsed; the body was not read |
//! | may read | the head, and the one snapshot that is loaded here |
//! | may change | the `Host` header, when the request's target names a host |
//! | ends the request | with 400 (head), 404 (no rule), 405 (CONNECT), 421 (another host), 501 (transfer coding) |
//!
//! The snapshot is loaded once, here. All later steps read the rule that was found in it. Where the model decides which
//! rule it is, `by_model` reads that, and the request is routed anew in the snapshot of that moment.

use std::{borrow::Cow, net::Ipv6Addr};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};

use super::{ErrorKind, ProxyError, RequestRecord, Shared, peer::Peer};
use crate::snapshot::{Matched, Redirect, RequestModel, RequestView, Routed, UnavailableReason};

/// Longest path that is served. Providers' longest are under 200 bytes; hyper's own bound on a head is far above.
const MAX_PATH: usize = 8 * 1024;

/// The result of routing.
pub enum Route {
    /// This rule.
    Rule(Matched),
    /// The rule that the model decides, which was not read: see [`by_model`](super::by_model).
    ByModel,
}

/// Finds the rule for this request, which names `model`.
///
/// # Errors
/// When the head is not valid, or no rule matches.
pub fn route(
    shared: &Shared,
    peer: &Peer,
    parts: &mut Parts,
    model: RequestModel<'_>,
    record: &mut RequestRecord,
) -> Result<Route, ProxyError> {
    settle_host(parts)?;
    let bad = |message: &str| ProxyError::new(ErrorKind::BadRequest, message);
    let path = parts.uri.path();
    if path.len() > MAX_PATH {
        return Err(bad("the path is too long"));
    }
    // A server behind the gateway might resolve them and leave the prefix that was matched.
    if has_dot_segments(path) {
        return Err(bad("the path has '.' or '..' segments"));
    }
    let host = host(parts).ok_or_else(|| bad("the request needs one valid Host"))?;
    let snapshot = shared.snapshots.load();
    record.reads(snapshot.generation);
    if let Some(name) = &peer.server_name
        && snapshot.is_misdirected(peer.port, name, &host)
    {
        let message = "this host has another certificate than this connection: connect anew";
        return Err(ProxyError::new(ErrorKind::Misdirected, message));
    }
    match snapshot.route(peer.port, &view(parts, &host, model)) {
        Routed::Rule(matched) => {
            record.routed(&matched.rule);
            Ok(Route::Rule(matched))
        }
        Routed::NeedsModel => Ok(Route::ByModel),
        Routed::NoRule(listener) => Err(ProxyError::with_cause(
            ErrorKind::NoRoute,
            "no route matches this request",
            format!("no rule of listener {} of Gateway {} matches", listener.name, listener.gateway),
        )),
        Routed::NoListener => Err(ProxyError::new(ErrorKind::NoRoute, "no listener has this host")),
    }
}

/// The parts of a request to `host` that routing matches.
pub fn view<'a>(parts: &'a Parts, host: &'a str, model: RequestModel<'a>) -> RequestView<'a> {
    let (path, query) = (parts.uri.path(), parts.uri.query());
    RequestView { host, path, query, method: &parts.method, headers: &parts.headers, model }
}

/// The error for a rule or a backend that can't be served.
pub fn unavailable(reason: &UnavailableReason) -> ProxyError {
    let (kind, message) = match reason.status {
        501 => (ErrorKind::NotImplemented, "this kind of backend is not supported"),
        503 => (ErrorKind::NoEndpoints, "the backend has no ready endpoint"),
        _ => (ErrorKind::Misconfigured, "this route is not configured correctly; its status says why"),
    };
    ProxyError::with_cause(kind, message, &reason.why)
}

/// The reply that redirects. `matched` is the length of the part of the path that the rule matched.
pub fn redirect(to: &Redirect, peer: &Peer, parts: &Parts, matched: usize) -> Response<Bytes> {
    let host = host(parts).unwrap_or_default();
    // Brackets are stripped for matching; a URL needs them.
    let host = if host.contains(':') { Cow::Owned(format!("[{host}]")) } else { host };
    let location = to.location(peer.scheme(), &host, parts.uri.path(), matched, parts.uri.query());
    let mut reply = Response::new(Bytes::new());
    match HeaderValue::try_from(location) {
        Ok(location) => {
            *reply.status_mut() = to.status;
            reply.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    reply
}

/// Refuses tunnels, and requests with several hosts. A host in the request's target replaces the header (RFC 9112,
/// 3.2.2), so that a server behind the gateway sees the host that routing has used.
fn settle_host(parts: &mut Parts) -> Result<(), ProxyError> {
    if parts.method == http::Method::CONNECT {
        let mut error = ProxyError::new(ErrorKind::MethodNotAllowed, "CONNECT is not served");
        error.allow = Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        // Further bytes on the connection are meant for the tunnel.
        return Err(error.closing());
    }
    let codings = parts.headers.get_all(header::TRANSFER_ENCODING);
    if codings.iter().count() > 1 || codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        // RFC 9112, section 6.1.
        let message = "no transfer coding but 'chunked' is supported";
        return Err(ProxyError::new(ErrorKind::NotImplemented, message).closing());
    }
    if parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(ProxyError::new(ErrorKind::BadRequest, "the request needs one valid Host"));
    }
    if let Some(host) = parts.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
        parts.headers.insert(header::HOST, host);
    }
    Ok(())
}

/// The request's host, in lower case, without port. `None` when HTTP's rules are violated: no host, several, or an
/// invalid one.
pub fn host(parts: &Parts) -> Option<Cow<'_, str>> {
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
    let name = host_name(authority)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    Some(if name.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(name.to_ascii_lowercase()) } else { name.into() })
}

/// The name in `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`. A name with other parts of a URL, such as a user, is refused: a
/// server behind the gateway might read it in another way.
fn host_name(authority: &str) -> Option<&str> {
    let (name, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (address, rest) = v6.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, if rest.is_empty() { "" } else { rest.strip_prefix(':')? })
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let valid = authority.starts_with('[') || (!name.is_empty() && name.bytes().all(is_name));
    let is_port = port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    (valid && is_port).then_some(name)
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

#[cfg(test)]
mod tests {
    use http::Request;

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
            ("/", &["a.example:80:80"], None),
            ("/", &["a.example:http"], None),
            ("/", &["a.example:+80"], None),
            ("/", &["a.example:65536"], None),
            ("/", &["user@a.example"], None),
            ("/", &["a%41.example"], None),
            ("/", &["::1"], None),
            ("/", &["[::1"], None),
            ("/", &["[a]"], None),
            ("/", &["[::1]80"], None),
            ("http://user@b.example/", &["a.example"], None),
            ("/", &["a_b.example:"], Some("a_b.example")),
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
