//! Answers a request for a WebSocket.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::{Error as SocketError, error::ProtocolError, handshake::server::create_response};

use super::super::{
    ErrorKind, ProxyError, RequestRecord, Shared, client,
    error::ClientError,
    peer::Peer,
    relay::Reply,
    route::{self, Route},
};
use crate::{
    dialect::{DialectId, Endpoint, RequestHead, responses::websocket::BETA},
    snapshot::{Action, AiUse, Backend, Matched, RequestModel},
};

const OPENAI_BETA: HeaderName = HeaderName::from_static("openai-beta");

/// A WebSocket that was accepted: what its connection needs when hyper hands it over.
pub struct Accepted {
    /// The connection's bytes.
    pub upgraded: OnUpgrade,
    /// The head of the requests that come on it.
    pub head: Head,
}

/// The parts of the handshake that each request on the WebSocket has, as if it had come with them.
pub struct Head {
    /// Path and query.
    pub uri: Uri,
    /// The headers, credentials among them, without those of the handshake.
    pub headers: HeaderMap,
}

/// Where a connection finds the WebSocket that one of its requests has opened.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<Mutex<Option<Accepted>>>);

impl Handover {
    fn put(&self, accepted: Accepted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
    }

    /// The accepted WebSocket, once.
    pub fn take(&self) -> Option<Accepted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The headers have the client's key.
        f.debug_struct("Accepted").finish_non_exhaustive()
    }
}

/// Answers a request for a WebSocket that is for Responses. `None` for all others, which are served as requests.
///
/// It is routed as the requests that will come on it. Each of them is routed again: the manifests may change meanwhile.
///
/// # Errors
/// When the handshake is not one, or comes from a page of another site.
pub fn answer(
    shared: &Shared,
    peer: &Peer,
    parts: &mut Parts,
    handover: &Handover,
    record: &mut RequestRecord,
) -> Result<Option<Reply>, ClientError> {
    if parts.method != Method::GET || !requests_websocket(&parts.headers) {
        return Ok(None);
    }
    parts.method = Method::POST;
    let serves = match route::route(shared, peer, parts, RequestModel::Unread, record) {
        Ok(Route::Rule(matched)) => {
            // Each event is checked, too: its key may have been removed meanwhile.
            client::authenticate(&matched.rule, parts, record).map_err(|error| error.to(DialectId::Responses))?;
            serves_responses(&matched, parts, record)
        }
        // Each event names its model, and is routed by it.
        Ok(Route::ByModel) => Endpoint::from_path(parts.uri.path()) == Some(Endpoint::Responses),
        Err(_) => false,
    };
    parts.method = Method::GET;
    // The connection can be taken over only in HTTP/1.1.
    let Some(upgraded) = parts.extensions.remove::<OnUpgrade>().filter(|_| serves) else { return Ok(None) };
    let (reply, headers) = shake_hands(parts).map_err(|error| error.to(DialectId::Responses))?;
    handover.put(Accepted { upgraded, head: Head { uri: parts.uri.clone(), headers } });
    Ok(Some(Reply::Local(reply)))
}

/// Whether a client requests a WebSocket.
pub fn requests_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether the rule leads to an AI backend, and the path to Responses. Then the backend is chosen for the record.
fn serves_responses(matched: &Matched, parts: &Parts, record: &mut RequestRecord) -> bool {
    let Action::Forward(split) = &matched.rule.action else { return false };
    let Some((number, weighted)) = split.choose() else { return false };
    let Backend::Ai(ai) = &weighted.backend else { return false };
    let serves = endpoint(matched, ai, parts) == Some(Endpoint::Responses);
    if serves {
        record.chose(number);
    }
    serves
}

fn endpoint(matched: &Matched, ai: &AiUse, parts: &Parts) -> Option<Endpoint> {
    let path = parts.uri.path();
    let head = RequestHead {
        method: &parts.method,
        path,
        suffix: path.get(matched.matched..).unwrap_or_default(),
        query: parts.uri.query(),
        headers: &parts.headers,
        backend: ai.backend.dialect,
        listed: &ai.backend.routes,
        route_streams: matched.rule.streams,
    };
    head.endpoint_from_path()
}

/// The reply that ends HTTP on the connection, and the headers of the requests that follow.
fn shake_hands(parts: &Parts) -> Result<(http::Response<Bytes>, HeaderMap), ProxyError> {
    if !is_of_this_site(&parts.headers) {
        // Browsers let every page open WebSockets to every host, and show it the replies.
        let message = "WebSockets are not served to web pages of other sites";
        let mut error = ProxyError::new(ErrorKind::Refused, message);
        error.refused = Some((403, crate::dialect::ErrorClass::Permission));
        return Err(error);
    }
    let mut request = Request::new(());
    *request.headers_mut() = parts.headers.clone();
    let reply = create_response(&request).map_err(|error| match error {
        SocketError::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            ProxyError::new(ErrorKind::WebSocket, "no version of WebSocket but 13 is served")
        }
        error => ProxyError::new(ErrorKind::BadRequest, format!("this is no WebSocket handshake: {error}")),
    })?;
    Ok((reply.map(|()| Bytes::new()), headers_of_requests(request.into_parts().0.headers)))
}

/// Whether a request comes from no web page, or from one of the host that it is sent to.
fn is_of_this_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// The headers that requests on the WebSocket have: those of the handshake, without what concerns the handshake alone.
fn headers_of_requests(mut headers: HeaderMap) -> HeaderMap {
    let of_handshake = |name: &HeaderName| {
        matches!(*name, header::UPGRADE | header::CONNECTION | header::ORIGIN | header::CONTENT_LENGTH)
            || name.as_str().starts_with("sec-websocket-")
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| of_handshake(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    let is_transport = |value: &HeaderValue| value.as_bytes().starts_with(BETA.as_bytes());
    if headers.get_all(OPENAI_BETA).iter().any(is_transport) {
        let others: Vec<HeaderValue> =
            headers.get_all(OPENAI_BETA).iter().filter(|value| !is_transport(value)).cloned().collect();
        headers.remove(OPENAI_BETA);
        headers.extend(others.into_iter().map(|value| (OPENAI_BETA, value)));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}
