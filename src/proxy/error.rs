//! Every error that the gateway makes, in one table: status, dialect class, code and metric label.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::time::Instant;

use crate::{
    conversation::Failure,
    dialect::{DialectId, ErrorClass},
    policy::GUARDED,
    upstream::{
        CredentialError, SendError, SendErrorKind,
        balance::{AttemptOutcome, Wait, load::NoRoom},
        failure::Meaning,
    },
};

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request's head is invalid: no host, dot segments in the path.
    BadRequest,
    /// The body is not a JSON object, or a field has the wrong type.
    BadBody,
    /// The client stopped sending its body, or broke its framing.
    BodyIncomplete,
    /// The client took too long to send its body.
    BodyTimeout,
    /// The body is over the limit.
    BodyTooLarge,
    /// The body is compressed.
    BodyEncoded,
    /// No route matches.
    NoRoute,
    /// No endpoint has this path.
    NoEndpoint,
    /// The endpoint has no such method.
    MethodNotAllowed,
    /// The client requests a WebSocket, where none is served or in another version.
    WebSocket,
    /// Neither the request nor the Backend names a model.
    NoModel,
    /// No such model is served.
    UnknownModel,
    /// The request has no key of a client.
    InvalidApiKey,
    /// The client may not request this model.
    ModelNotAllowed,
    /// The route passes the client's key on, and the client sent none.
    NoCredential,
    /// The rule or its backend can't be served as configured.
    Misconfigured,
    /// The request has a field that the provider's dialect does not support, and the Backend is strict.
    NotCarried,
    /// The request would need a translation that is not implemented.
    NotImplemented,
    /// The gateway's credential for the backend can't be fetched at the moment.
    CredentialUnavailable,
    /// The backend has no ready endpoint.
    NoEndpoints,
    /// The backend can't be reached.
    Unreachable,
    /// The egress proxy gives no connection to the backend.
    EgressProxy,
    /// The backend's TLS was refused.
    UpstreamTls,
    /// The backend closed the connection before or within its reply.
    UpstreamClosed,
    /// The backend's reply is not HTTP.
    UpstreamProtocol,
    /// The backend reports inside its stream that the answer has failed.
    UpstreamError,
    /// The backend took too long.
    UpstreamTimeout,
    /// No connection to the backend could be made in time.
    ConnectTimeout,
    /// Every target of the backend has reached a limit.
    TargetsLimited,
    /// No target of the backend is usable at the moment.
    TargetsCooling,
    /// The backend has as many requests as it may have, and the request could not wait, or has waited too long.
    NoRoom,
    /// The backend took too long to begin its answer.
    FirstTokenTimeout,
    /// A policy refuses the request; the policy's status and class are in the error.
    Refused,
    /// A policy does not let the content of the request or of the reply pass.
    Guarded,
    /// The gateway's own code panicked.
    Panic,
    /// The request is for another host than its connection.
    Misdirected,
    /// The memory for request bodies is used up.
    BodiesOverBudget,
    /// The request has too many headers.
    TooManyHeaders,
    /// The process has no file descriptor left for a connection.
    NoDescriptors,
    /// The client went away.
    ClientClosed,
    /// The client stopped reading the reply.
    ClientStalled,
    /// The process ends, and the time for replies under way is over.
    Shutdown,
}

/// The header that keeps the SDKs of OpenAI and Anthropic from repeating a request. They repeat every 5xx otherwise, some of
/// them for minutes.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// One row of the table.
struct Row {
    status: u16,
    class: ErrorClass,
    /// The code for programs: OpenAI's `error.code`, the `error` label of metrics, and `error` in the access log.
    word: &'static str,
}

impl ErrorKind {
    const fn row(self) -> Row {
        use ErrorClass as C;
        let (status, class, word) = match self {
            Self::BadRequest => (400, C::InvalidRequest, "bad_request"),
            Self::BadBody => (400, C::InvalidRequest, "bad_body"),
            Self::BodyIncomplete => (400, C::InvalidRequest, "body_incomplete"),
            Self::BodyTimeout => (408, C::Timeout, "body_timeout"),
            Self::BodyTooLarge => (413, C::TooLarge, "body_too_large"),
            Self::BodyEncoded => (415, C::InvalidRequest, "body_encoded"),
            Self::NoRoute => (404, C::NotFound, "no_route"),
            Self::NoEndpoint => (404, C::NotFound, "no_endpoint"),
            Self::MethodNotAllowed => (405, C::InvalidRequest, "method_not_allowed"),
            Self::WebSocket => (426, C::InvalidRequest, "websocket_not_served"),
            Self::NoModel => (400, C::InvalidRequest, "no_model"),
            Self::UnknownModel => (404, C::NotFound, "model_not_found"),
            Self::InvalidApiKey => (401, C::Authentication, "invalid_api_key"),
            Self::ModelNotAllowed => (403, C::Permission, "model_not_allowed"),
            Self::NoCredential => (401, C::Authentication, "no_credential"),
            Self::Misconfigured => (500, C::Internal, "misconfigured"),
            Self::NotCarried => (400, C::InvalidRequest, "not_carried"),
            Self::NotImplemented => (501, C::NotImplemented, "not_implemented"),
            Self::CredentialUnavailable => (503, C::Unavailable, "credential_unavailable"),
            Self::NoEndpoints => (503, C::Unavailable, "no_endpoints"),
            Self::Unreachable => (502, C::BadGateway, "upstream_unreachable"),
            Self::EgressProxy => (502, C::BadGateway, "egress_proxy"),
            Self::UpstreamTls => (502, C::BadGateway, "upstream_tls"),
            Self::UpstreamClosed => (502, C::BadGateway, "upstream_closed"),
            Self::UpstreamProtocol => (502, C::BadGateway, "upstream_protocol"),
            Self::UpstreamError => (502, C::BadGateway, "upstream_error"),
            Self::UpstreamTimeout | Self::ConnectTimeout => (504, C::Timeout, "upstream_timeout"),
            Self::TargetsLimited => (429, C::RateLimit, "targets_limited"),
            Self::TargetsCooling => (503, C::Unavailable, "targets_cooling"),
            Self::NoRoom => (503, C::Unavailable, "no_room"),
            Self::FirstTokenTimeout => (504, C::Timeout, "first_token_timeout"),
            Self::Refused => (403, C::Permission, "refused"),
            Self::Guarded => (403, C::Permission, GUARDED),
            Self::Panic => (500, C::Internal, "panic"),
            Self::Misdirected => (421, C::InvalidRequest, "misdirected"),
            Self::TooManyHeaders => (431, C::InvalidRequest, "too_many_headers"),
            Self::BodiesOverBudget => (503, C::Unavailable, "bodies_over_budget"),
            Self::NoDescriptors => (503, C::Unavailable, "no_descriptors"),
            Self::ClientClosed => (499, C::InvalidRequest, "client_closed"),
            Self::ClientStalled => (499, C::InvalidRequest, "client_stalled"),
            Self::Shutdown => (503, C::Unavailable, "shutdown"),
        };
        Row { status, class, word }
    }

    /// The code for programs.
    pub const fn word(self) -> &'static str {
        self.row().word
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// Whether the same request gets the same error until a manifest or the request changes.
    const fn is_permanent(self) -> bool {
        matches!(self, Self::Misconfigured | Self::NotImplemented | Self::Refused | Self::Guarded)
    }

    /// Whether a policy ends the request, while the backend did what it should.
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::Guarded)
    }

    /// The outcome of an attempt with this error.
    pub const fn attempt_outcome(self) -> AttemptOutcome {
        match self {
            Self::Unreachable | Self::ConnectTimeout | Self::EgressProxy | Self::UpstreamTls | Self::UpstreamClosed => {
                AttemptOutcome::Unreachable
            }
            Self::UpstreamTimeout => AttemptOutcome::TimedOut,
            Self::FirstTokenTimeout => AttemptOutcome::NoFirstToken,
            Self::UpstreamError => AttemptOutcome::Refused,
            Self::UpstreamProtocol => AttemptOutcome::Broken,
            Self::ClientClosed | Self::ClientStalled | Self::Shutdown | Self::BodyIncomplete => {
                AttemptOutcome::Abandoned
            }
            _ => AttemptOutcome::NotSent,
        }
    }
}

/// The characters of a model's name that an error repeats: names of models have fewer.
const MAX_SHOWN_MODEL: usize = 256;

/// One error: the message that the client may see, and the cause for the log.
#[derive(Debug)]
pub struct ProxyError {
    /// The kind.
    pub kind: ErrorKind,
    /// The message for the client. It never contains an internal name, address or secret.
    pub message: String,
    /// The cause, for the log.
    pub cause: String,
    /// The value of the `Allow` header, if the reply needs one.
    pub allow: Option<&'static str>,
    /// Whether the request's body was not read to its end: the connection can't be used again.
    pub close: bool,
    /// When the client may try again.
    pub retry_after: Option<Duration>,
    /// Status and class that a policy has chosen.
    pub refused: Option<(u16, ErrorClass)>,
    /// The reply is the message alone, as plain text: the user wrote it.
    pub plain: bool,
}

impl ProxyError {
    /// An error with the same text for the client and the log.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::with_cause(kind, message.clone(), message)
    }

    /// An error whose cause is only for the log.
    pub fn with_cause(kind: ErrorKind, message: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: cause.into(),
            allow: None,
            close: false,
            retry_after: None,
            refused: None,
            plain: false,
        }
    }

    /// The same error, after which the connection is closed.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The error for a model that is not served. Of its name, which is the client's, the beginning is in the message.
    pub fn unknown_model(model: &str) -> Self {
        let shown: String = model.chars().take(MAX_SHOWN_MODEL).collect();
        Self::new(ErrorKind::UnknownModel, format!("this route serves no model '{shown}'"))
    }

    /// The error for a backend whose credential can't be fetched.
    pub fn no_credential(error: &CredentialError) -> Self {
        let message = "the gateway has no valid credential for the upstream at the moment";
        Self::with_cause(ErrorKind::CredentialUnavailable, message, error.to_string())
    }

    /// The error for a backend whose targets all cool; `wait` is the one that ends first.
    pub fn cooling(wait: &Wait, now: Instant) -> Self {
        let (kind, message) = match wait.cause {
            Meaning::Rate | Meaning::Quota => (ErrorKind::TargetsLimited, "the upstream's limit is reached"),
            _ => (ErrorKind::TargetsCooling, "the upstream has failed, and is left alone for a moment"),
        };
        let left = wait.until.saturating_duration_since(now);
        let cause = format!(
            "no target is left that does not cool; the first can be used in {left:.1?}, after a failure \
            of kind {}",
            wait.cause.row().word
        );
        // Whole seconds, never too early.
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Self { retry_after: Some(Duration::from_secs(seconds)), ..Self::with_cause(kind, message, cause) }
    }

    /// The error for a backend that has as many requests as it may have.
    pub fn no_room(no_room: &NoRoom) -> Self {
        let message = "the upstream has as many requests as it can take; try again later";
        let cause = format!("the limit of the backend's requests is reached: {}", no_room.cause.as_str());
        let error = Self::with_cause(ErrorKind::NoRoom, message, cause);
        Self { retry_after: Some(no_room.retry_after), ..error }
    }

    /// The error for a backend that gave no reply.
    pub fn upstream(error: &SendError) -> Self {
        let (kind, message) = match error.kind {
            SendErrorKind::Resolve | SendErrorKind::Connect => {
                (ErrorKind::Unreachable, "the upstream can't be reached")
            }
            SendErrorKind::NoDescriptors => {
                (ErrorKind::NoDescriptors, "the gateway has no file descriptor left for a connection to the upstream")
            }
            SendErrorKind::ConnectTimeout => (ErrorKind::ConnectTimeout, "the upstream can't be reached in time"),
            SendErrorKind::Proxy => {
                (ErrorKind::EgressProxy, "the gateway's egress proxy gives no connection to the upstream")
            }
            SendErrorKind::Tls => (ErrorKind::UpstreamTls, "no secure connection to the upstream can be made"),
            SendErrorKind::Closed => (ErrorKind::UpstreamClosed, "the upstream closed the connection before its reply"),
            SendErrorKind::RequestBody => (ErrorKind::BodyIncomplete, "the request body ended before it was complete"),
            SendErrorKind::Protocol => (ErrorKind::UpstreamProtocol, "the upstream's reply is not valid HTTP"),
        };
        let mut cause = error.to_string();
        let mut source = std::error::Error::source(error).and_then(std::error::Error::source);
        while let Some(next) = source {
            cause.push_str(": ");
            cause.push_str(&next.to_string());
            source = next.source();
        }
        Self::with_cause(kind, message, cause)
    }

    /// The error in the form for dialects.
    pub fn failure(&self) -> Failure<'_> {
        let row = self.kind.row();
        let (status, class) = self.refused.unwrap_or((row.status, row.class));
        Failure::of_gateway(status, class, row.word, &*self.message)
    }

    /// The reply in the client's dialect. `trace_id` helps to find the log line for a client's report.
    pub fn reply(self, dialect: DialectId, trace_id: &str) -> Response<Bytes> {
        let (dialect, failure, mut body) = (dialect.dialect(), self.failure(), Vec::new());
        let content_type = if self.plain {
            body.extend_from_slice(self.message.as_bytes());
            HeaderValue::from_static("text/plain")
        } else {
            dialect.write_error(&failure, Some(trace_id), &mut body);
            HeaderValue::from_static("application/json")
        };
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut reply = Response::new(Bytes::from(body));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        if let Ok(id) = HeaderValue::from_str(trace_id) {
            // The header in which the dialect's clients expect it.
            headers.insert(dialect.request_id_header(), id.clone());
            headers.insert("x-request-id", id);
        }
        if self.kind.is_permanent() && (failure.status >= 500 || self.kind == ErrorKind::Guarded) {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if let Some((name, value)) = dialect.error_type_header(self.kind.row().class).filter(|_| !self.plain) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.kind == ErrorKind::InvalidApiKey {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.kind == ErrorKind::WebSocket {
            // A reply of this status names what is served instead.
            headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

/// An error, and the dialect of the client that gets it.
pub struct ClientError {
    pub error: ProxyError,
    pub dialect: DialectId,
}

impl ProxyError {
    /// The error for a client of `dialect`.
    pub const fn to(self, dialect: DialectId) -> ClientError {
        ClientError { error: self, dialect }
    }
}
