//! A short summary of the body of a provider's error, for logs: bounded, whatever form the body has.

use serde_json::Value;

/// Longest type or code.
const MAX_WORD: usize = 100;
/// Longest message.
const MAX_MESSAGE: usize = 1024;

/// A provider's error in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorSummary {
    /// The kind of error, such as `invalid_request_error` or `FAILED_PRECONDITION`.
    pub kind: Option<String>,
    /// The provider's code, such as `unsupported_parameter`.
    pub code: Option<String>,
    /// The message; if there is none, the beginning of the body.
    pub message: Option<String>,
}

impl ErrorSummary {
    /// Reads a body that is not JSON, or the beginning of one.
    fn read_cut(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let message = member(&text, "message", MAX_MESSAGE).unwrap_or_else(|| bounded(text.trim(), MAX_MESSAGE));
        Self {
            kind: member(&text, "type", MAX_WORD),
            code: member(&text, "code", MAX_WORD),
            message: Some(message).filter(|text| !text.is_empty()),
        }
    }

    /// Reads a body, or the beginning of one.
    pub fn read(body: &[u8]) -> Self {
        let Ok(whole) = serde_json::from_slice::<Value>(body) else { return Self::read_cut(body) };
        // Gemini's streams have errors in an array, and most vendors an object below `error`.
        let outer = whole.get(0).unwrap_or(&whole);
        let inner = outer.get("error").filter(|error| error.is_object()).unwrap_or(outer);
        let word = |names: &[&str]| names.iter().find_map(|name| text(inner.get(*name)?, MAX_WORD));
        let messages = ["message", "Message", "msg", "detail", "error"];
        let message = messages.iter().find_map(|name| text(inner.get(*name)?, MAX_MESSAGE));
        Self {
            kind: word(&["type", "status", "__type"]),
            code: word(&["code"]),
            message: message.or_else(|| text(&whole, MAX_MESSAGE)),
        }
    }
}

/// The beginning of the string value of the field with this name, wherever it is in the text.
fn member(text: &str, name: &str, max: usize) -> Option<String> {
    let (_, after) = text.split_once(&format!("\"{name}\""))?;
    let value = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(bounded(value.split('"').next().unwrap_or_default(), max))
}

/// A value as text, cut to `max` characters; `None` for `null`.
fn text(value: &Value, max: usize) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(bounded(text, max)),
        other => Some(bounded(&other.to_string(), max)),
    }
}

fn bounded(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendors_form_is_read() {
        for (body, kind, code, message) in [
            (
                r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"bad"}}"#,
                Some("invalid_request_error"),
                Some("bad"),
                "no",
            ),
            (
                r#"{"type":"error","error":{"type":"billing_error","message":"pay"}}"#,
                Some("billing_error"),
                None,
                "pay",
            ),
            (r#"{"error":{"code":400,"message":"no","status":"ABORTED"}}"#, Some("ABORTED"), Some("400"), "no"),
            (r#"[{"error":{"code":400,"message":"no","status":"ABORTED"}}]"#, Some("ABORTED"), Some("400"), "no"),
            (r#"{"__type":"ThrottlingException","message":"slow"}"#, Some("ThrottlingException"), None, "slow"),
            (r#"{"object":"error","message":"no","type":"t","code":"3230"}"#, Some("t"), Some("3230"), "no"),
            (r#"{"error":"model not found"}"#, None, None, "model not found"),
            (r#"{"detail":[{"loc":["body"],"msg":"no"}]}"#, None, None, r#"[{"loc":["body"],"msg":"no"}]"#),
            ("<html>Bad gateway</html>", None, None, "<html>Bad gateway</html>"),
            (r#"{"error":{"code": "c","type":"t","message":"cut"#, Some("t"), Some("c"), "cut"),
        ] {
            let summary = ErrorSummary::read(body.as_bytes());
            let read = (summary.kind.as_deref(), summary.code.as_deref(), summary.message.as_deref());
            assert_eq!(read, (kind, code, Some(message)), "{body}");
        }
        assert_eq!(ErrorSummary::read(b""), ErrorSummary::default());
    }

    #[test]
    fn nothing_is_longer_than_its_bound() {
        let long = "x".repeat(100_000);
        for body in [format!(r#"{{"error":{{"type":"{long}","code":"{long}","message":"{long}"}}}}"#), long] {
            let ErrorSummary { kind, code, message } = ErrorSummary::read(body.as_bytes());
            assert!(kind.is_none_or(|kind| kind.len() == MAX_WORD) && code.is_none_or(|code| code.len() == MAX_WORD));
            assert_eq!(message.map(|message| message.len()), Some(MAX_MESSAGE));
        }
    }
}
