//! Step 3, **classify**: which operation of an LLM API the request is for.
//!
//! | | |
//! | --- | --- |
//! | has happened | a rule and an AI backend are chosen |
//! | may read | the head and the whole body, within the limits of size and time |
//! | may change | nothing |
//! | ends the request | with 400, 404, 405, 408, 413, 415 |
//!
//! The path after the matched prefix names the endpoint, or else the body's shape does. Only the top level of the JSON
//! is parsed, and values are borrowed from the body.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use self_cell::self_cell;

use super::{
    ErrorKind, ProxyError, RequestRecord, RouteContext, body, budget::Share, error::ClientError, heavy,
    websocket::requests_websocket,
};
use crate::{
    dialect::{ApiRequest, Endpoint, RequestHead, classify::ClassifyError},
    snapshot::AiUse,
    stream::{Splice, TopLevel},
};

/// A classified request.
pub struct ClassifiedRequest {
    /// The operation.
    pub api: ApiRequest,
    /// The body. It is given up when the last target has its own, so that they are not both held.
    pub body: Option<RequestBody>,
    /// The headers that policies of the route have set or added.
    pub added: HeaderMap,
}

impl ClassifiedRequest {
    /// Gives up the body, because no other target will be tried: while the last one works, the client's body need not
    /// be held in addition to its own.
    pub fn release(&mut self) {
        if let Some(body) = self.body.take() {
            body.recycle();
        }
    }

    /// Replaces the body with that of a policy.
    ///
    /// # Errors
    /// When the new body is not a JSON object.
    pub async fn replace_body(&mut self, bytes: Bytes) -> Result<(), ProxyError> {
        let length = bytes.len();
        self.body = Some(heavy::run(length, || RequestBody::edited(bytes)).await?);
        Ok(())
    }
}

impl ClassifiedRequest {
    /// Replaces the model, which is in the body where the endpoint's dialect has it there.
    ///
    /// # Errors
    /// As [`replace_body`](Self::replace_body).
    pub async fn replace_model(&mut self, model: String) -> Result<(), ProxyError> {
        let in_path = matches!(self.api.endpoint, Endpoint::Gemini(..) | Endpoint::Bedrock(..));
        let edited = self.body.as_ref().filter(|_| !in_path).and_then(|body| {
            let mut splice = Splice::new(body.top()?);
            splice.remove_variants(&["model"]);
            splice.set_str("model", &model);
            Some(splice.apply(body.bytes()))
        });
        self.api.model = Some(model);
        match edited {
            Some(body) => self.replace_body(body).await,
            None => Ok(()),
        }
    }
}

type MaybeTopLevel<'a> = Option<TopLevel<'a>>;

self_cell!(
    /// A body with the fields of its top level, which are borrowed from it.
    pub struct RequestBody {
        owner: Bytes,
        #[covariant]
        dependent: MaybeTopLevel,
    }
);

impl RequestBody {
    /// The body that a policy has written.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn edited(bytes: Bytes) -> Result<Self, ProxyError> {
        Self::try_new(bytes, |bytes| TopLevel::scan(bytes).map(Some)).map_err(|error| {
            ProxyError::with_cause(ErrorKind::Misconfigured, "a policy broke the body", error.to_string())
        })
    }

    /// The body as it was received.
    pub fn bytes(&self) -> &Bytes {
        self.borrow_owner()
    }

    /// The top level of its JSON; `None` where the operation has no JSON body.
    pub fn top(&self) -> Option<&TopLevel<'_>> {
        self.borrow_dependent().as_ref()
    }

    /// A body without the fields of its top level.
    pub fn unread(bytes: Bytes) -> Self {
        Self::new(bytes, |_| None)
    }

    /// The same body with the fields of its top level, which came with these headers.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub async fn scan(self, headers: &HeaderMap) -> Result<Self, ProxyError> {
        let bytes = self.into_owner();
        let scan = |bytes| Self::try_new(bytes, |bytes: &Bytes| TopLevel::scan(bytes).map(Some));
        let scanned = heavy::run(bytes.len(), || scan(bytes)).await;
        scanned.map_err(|error| unreadable(headers, error.to_string()))
    }

    /// Returns the memory for reuse.
    pub fn recycle(self) {
        body::recycle(self.into_owner());
    }
}

/// Reads the body, unless it was `read` before, and determines the operation.
///
/// # Errors
/// When the body can't be read, or the request is for no operation of the backend.
pub async fn classify(
    context: &RouteContext<'_>,
    ai: &AiUse,
    parts: &Parts,
    body: &mut Option<Body>,
    read: Option<RequestBody>,
    memory: &mut Share,
    record: &mut RequestRecord,
) -> Result<ClassifiedRequest, ClientError> {
    let path = parts.uri.path();
    let head = RequestHead {
        method: &parts.method,
        path,
        suffix: path.get(context.matched..).unwrap_or_default(),
        query: parts.uri.query(),
        headers: &parts.headers,
        backend: ai.backend.dialect,
        listed: &ai.backend.routes,
        route_streams: context.rule.streams,
    };
    let settings = context.settings;
    let body = if let Some(read) = read {
        read
    } else {
        let bytes = body::read(body, memory, settings.max_body, settings.body_timeout).await;
        RequestBody::unread(bytes.map_err(|error| error.to(head.dialect_hint()))?)
    };
    let length = body.bytes().len();
    let body = match needs_json(&head, length) {
        Ok(true) if body.top().is_some() => Ok(body),
        Ok(true) => body.scan(head.headers).await,
        Ok(false) => Ok(RequestBody::unread(body.into_owner())),
        Err(error) => Err(error),
    };
    let body = body.map_err(|error| error.to(head.dialect_hint()))?;
    let api = head.classify(body.top()).map_err(|why| refused(why, head.headers).to(head.dialect_hint()))?;
    record.classified(&api, length);
    Ok(ClassifiedRequest { api, body: Some(body), added: HeaderMap::new() })
}

/// Whether the body, which has this length, has to be a JSON object.
fn needs_json(head: &RequestHead<'_>, length: usize) -> Result<bool, ProxyError> {
    let by_path = head.endpoint_from_path();
    if by_path.is_none() && length == 0 {
        if head.method == http::Method::POST {
            return Err(ProxyError::new(ErrorKind::BadBody, "the request body is empty"));
        }
        return Ok(false);
    }
    Ok(by_path.as_ref().is_none_or(|endpoint| endpoint.has_body() && endpoint.allows(head.method)))
}

/// The error for a body that is not a JSON object.
fn unreadable(headers: &HeaderMap, why: String) -> ProxyError {
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            let message = "the request body is compressed, which is not supported: send it as it is";
            ProxyError::new(ErrorKind::BodyEncoded, message)
        }
        _ => ProxyError::new(ErrorKind::BadBody, why),
    }
}

fn refused(why: ClassifyError, headers: &HeaderMap) -> ProxyError {
    match why {
        // Codex changes to HTTP at once when it gets this status, and after a minute otherwise.
        ClassifyError::Method(_) | ClassifyError::NoEndpoint if requests_websocket(headers) => {
            ProxyError::new(ErrorKind::WebSocket, "no WebSocket is served here: send the request by HTTP")
        }
        ClassifyError::NoEndpoint => ProxyError::new(
            ErrorKind::NoEndpoint,
            "no endpoint has this path, and the body is not that of a known one (messages, contents, prompt, input)",
        ),
        ClassifyError::Method(allow) => {
            let mut error = ProxyError::new(ErrorKind::MethodNotAllowed, format!("this endpoint allows {allow}"));
            error.allow = Some(allow);
            error
        }
        ClassifyError::Field(message) => ProxyError::new(ErrorKind::BadBody, message),
    }
}
