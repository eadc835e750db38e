//! Errors of the gateway in the caller's dialect.

use std::borrow::Cow;

use serde_json::json;

use super::{Family, StreamMode};
use crate::stream::aws::write_exception;

pub use crate::conversation::ErrorClass;

/// Longest text that is taken for a message where an error's body is no JSON, in bytes: what is longer is a page.
const MAX_PLAIN: usize = 1000;

/// What a body that is no JSON says, if it is a message and not a page for browsers.
pub(super) fn readable(body: &[u8]) -> Option<Cow<'_, str>> {
    let body = body.trim_ascii();
    if body.is_empty()
        || body.len() > MAX_PLAIN
        || body.starts_with(b"<")
        || body.starts_with(b"{")
        || body.starts_with(b"[")
    {
        return None;
    }
    Some(String::from_utf8_lossy(body))
}

/// The words for an error that has none of its own.
pub(super) fn reason(status: u16) -> &'static str {
    let known = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.unwrap_or(if status == 529 { "Overloaded" } else { "the provider failed without saying why" })
}

impl ErrorClass {
    /// The status that most APIs have for it.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::RateLimit | Self::Quota => 429,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// OpenAI's `error.type`.
    pub(super) const fn openai(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::NotFound | Self::TooLarge | Self::NotImplemented => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::Quota => "insufficient_quota",
            Self::RateLimit => "rate_limit_error",
            Self::Timeout => "timeout",
            Self::Internal | Self::BadGateway | Self::Unavailable => "server_error",
        }
    }

    /// Anthropic's `error.type`.
    pub(super) const fn anthropic(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::NotImplemented => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::Quota => "billing_error",
            Self::RateLimit => "rate_limit_error",
            Self::Timeout => "timeout_error",
            Self::Internal | Self::BadGateway => "api_error",
            Self::Unavailable => "overloaded_error",
        }
    }

    /// Google's `error.status`.
    pub(super) const fn gemini(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::TooLarge => "INVALID_ARGUMENT",
            Self::Authentication => "UNAUTHENTICATED",
            Self::Permission => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::RateLimit | Self::Quota => "RESOURCE_EXHAUSTED",
            Self::Internal | Self::BadGateway => "INTERNAL",
            Self::NotImplemented => "UNIMPLEMENTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Timeout => "DEADLINE_EXCEEDED",
        }
    }

    /// Bedrock's exception: `x-amzn-ErrorType`, or `:exception-type` of a stream with a small first letter.
    pub const fn bedrock(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::TooLarge | Self::NotImplemented => "ValidationException",
            Self::Authentication | Self::Permission => "AccessDeniedException",
            Self::Quota => "ServiceQuotaExceededException",
            Self::NotFound => "ResourceNotFoundException",
            Self::RateLimit => "ThrottlingException",
            Self::Internal | Self::BadGateway => "InternalServerException",
            Self::Unavailable => "ServiceUnavailableException",
            Self::Timeout => "ModelTimeoutException",
        }
    }
}

/// One error, ready to be written in any dialect.
#[derive(Clone, Copy, Debug)]
pub struct ErrorShape<'a> {
    /// HTTP status.
    pub status: u16,
    /// What went wrong.
    pub class: ErrorClass,
    /// A stable word for programs, OpenAI's `error.code`.
    pub code: &'static str,
    /// What the client may know.
    pub message: &'a str,
}

impl ErrorShape<'_> {
    /// The JSON body. `request_id` is said in it by dialects that do so.
    pub fn body(&self, family: Family, request_id: Option<&str>) -> Vec<u8> {
        let value = match family {
            Family::OpenAi => json!({"error": {
                "message": self.message, "type": self.class.openai(), "param": null, "code": self.code,
            }}),
            Family::Anthropic => {
                let mut value = json!({"type": "error", "error": {
                    "type": self.class.anthropic(), "message": self.message,
                }});
                if let (Some(id), Some(object)) = (request_id, value.as_object_mut()) {
                    object.insert("request_id".into(), id.into());
                }
                value
            }
            Family::Gemini => json!({"error": {
                "code": self.status, "message": self.message, "status": self.class.gemini(),
            }}),
            Family::Bedrock => json!({"message": self.message}),
        };
        value.to_string().into_bytes()
    }

    /// The error as the last event of a stream that has begun. `elements` says how many elements of a JSON array have
    /// passed, for Gemini's array streams.
    pub fn event(&self, family: Family, mode: StreamMode, elements: u64) -> Vec<u8> {
        let body = self.body(family, None);
        if mode == StreamMode::EventStream {
            let mut name = self.class.bedrock().to_owned();
            if let Some(first) = name.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            let mut out = Vec::new();
            write_exception(&mut out, &name, |out| out.extend_from_slice(&body));
            return out;
        }
        let mut out = Vec::with_capacity(body.len() + 40);
        let (before, after): (&[u8], &[u8]) = match (family, mode) {
            (_, StreamMode::JsonArray) => (if elements == 0 { b"[" } else { b",\r\n" }, b"\r\n]"),
            (Family::Anthropic, _) => (b"event: error\ndata: ", b"\n\n"),
            (Family::Gemini, _) => (b"data: ", b"\r\n\r\n"),
            (Family::OpenAi | Family::Bedrock, _) => (b"data: ", b"\n\n"),
        };
        out.extend_from_slice(before);
        out.extend_from_slice(&body);
        out.extend_from_slice(after);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: ErrorShape<'static> =
        ErrorShape { status: 504, class: ErrorClass::Timeout, code: "upstream_timeout", message: "a \"b\"" };

    #[test]
    fn each_family_has_its_shape() {
        let read = |family| serde_json::from_slice::<serde_json::Value>(&ERROR.body(family, None)).unwrap();
        assert_eq!(
            read(Family::OpenAi),
            json!({"error": {"message": "a \"b\"", "type": "timeout", "param": null, "code": "upstream_timeout"}})
        );
        assert_eq!(
            read(Family::Anthropic),
            json!({"type": "error", "error": {"type": "timeout_error", "message": "a \"b\""}})
        );
        assert_eq!(
            read(Family::Gemini),
            json!({"error": {"code": 504, "message": "a \"b\"", "status": "DEADLINE_EXCEEDED"}})
        );
    }

    #[test]
    fn events_fit_the_stream_they_end() {
        let event = |family, mode, n| String::from_utf8(ERROR.event(family, mode, n)).unwrap();
        assert!(event(Family::Anthropic, StreamMode::Sse, 0).starts_with("event: error\ndata: {"));
        assert!(event(Family::OpenAi, StreamMode::Sse, 0).starts_with("data: {"));
        let whole = format!("[{{}}{}", event(Family::Gemini, StreamMode::JsonArray, 1));
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&whole).unwrap().len(), 2);
        let alone = event(Family::Gemini, StreamMode::JsonArray, 0);
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&alone).unwrap().len(), 1);
    }
}
