//! Code for errors that all dialects share.

use std::borrow::Cow;

pub use crate::conversation::ErrorClass;

/// Longest text that is taken for a message where an error's body is not JSON, in bytes. Anything longer is a page.
const MAX_PLAIN: usize = 1000;

/// The text of a body that is not JSON, if it is a message and not a page for browsers.
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

/// The message for an error that has none of its own.
pub(super) fn reason(status: u16) -> &'static str {
    let known = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.unwrap_or(if status == 529 { "Overloaded" } else { "the provider failed without saying why" })
}

impl ErrorClass {
    /// The status that most APIs use for it.
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        conversation::Failure,
        dialect::{DialectId, ErrorClass, StreamMode},
    };

    fn error() -> Failure<'static> {
        Failure::of_gateway(504, ErrorClass::Timeout, "upstream_timeout", "a \"b\"")
    }

    #[test]
    fn each_dialect_has_its_shape() {
        let read = |id: DialectId| {
            let mut out = Vec::new();
            id.dialect().write_error(&error(), None, &mut out);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()
        };
        assert_eq!(
            read(DialectId::Chat),
            json!({"error": {"message": "a \"b\"", "type": "timeout", "param": null, "code": "upstream_timeout"}})
        );
        assert_eq!(
            read(DialectId::Messages),
            json!({"type": "error", "error": {"type": "timeout_error", "message": "a \"b\""}})
        );
        assert_eq!(
            read(DialectId::Gemini),
            json!({"error": {"code": 504, "message": "a \"b\"", "status": "DEADLINE_EXCEEDED"}})
        );
    }

    #[test]
    fn events_fit_the_stream_they_end() {
        let event = |id: DialectId, mode, elements| {
            let mut out = Vec::new();
            id.dialect().write_error_event(&error(), mode, elements, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert!(event(DialectId::Messages, StreamMode::Sse, 0).starts_with("event: error\ndata: {"));
        assert!(event(DialectId::Chat, StreamMode::Sse, 0).starts_with("data: {"));
        let whole = format!("[{{}}{}", event(DialectId::Gemini, StreamMode::JsonArray, 1));
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&whole).unwrap().len(), 2);
        let alone = event(DialectId::Gemini, StreamMode::JsonArray, 0);
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&alone).unwrap().len(), 1);
    }
}
