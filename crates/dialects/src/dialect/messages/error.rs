//! Reads and writes errors.

use std::borrow::Cow;

use serde_json::Value;

use crate::{
    conversation::{ErrorClass, Failure},
    dialect::error::{readable, reason},
    stream::json::ObjectWriter,
};

/// The beginning of Anthropic's message when a prompt does not fit. Its clients look for it to shorten the prompt.
const TOO_LONG: &str = "prompt is too long";
/// The stable code for it.
const TOO_LONG_CODE: &str = "context_length_exceeded";

/// Reads an error's body: Anthropic's, Google's (Vertex AI), or that of a proxy before them.
pub(super) fn read(status: u16, body: &[u8]) -> Failure<'static> {
    let value = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
    let outer = match &value {
        Value::Array(elements) => elements.first().unwrap_or(&Value::Null),
        other => other,
    };
    if value.is_null() {
        return of(status, &Value::Null, readable(body).map(Cow::into_owned));
    }
    of_value(status, outer)
}

/// The error that `outer` is or contains.
pub(super) fn of_value(status: u16, outer: &Value) -> Failure<'static> {
    let inner = outer.get("error").filter(|error| error.is_object()).unwrap_or(outer);
    let message = [inner.get("message"), outer.get("error"), outer.get("message"), outer.get("detail")]
        .into_iter()
        .flatten()
        .find_map(message_of);
    of(status, inner, message)
}

fn of(status: u16, inner: &Value, message: Option<String>) -> Failure<'static> {
    let word = |key: &str| inner.get(key).and_then(Value::as_str);
    let kind = word("type").or(word("status")).unwrap_or_default();
    let code = inner.pointer("/details/error_code").and_then(Value::as_str);
    let message = message.unwrap_or_else(|| reason(status).to_owned());
    let mut class = class_of(kind).unwrap_or(ErrorClass::of_status(status));
    // Retrying does not help against a spending limit; Google reports an unknown key with 400.
    let needs_a_person = |code: &str| code.ends_with("spend_limit_reached") || code == "ramp_limit_exceeded";
    if code.is_some_and(needs_a_person) || message.contains("credit balance is too low") {
        class = ErrorClass::Quota;
    } else if message.contains("API_KEY_INVALID") || message.contains("API key not valid") {
        class = ErrorClass::Authentication;
    }
    let code = if class == ErrorClass::InvalidRequest && is_too_long(&message) { Some(TOO_LONG_CODE) } else { code };
    Failure {
        status: if status < 400 { status_of(class) } else { status },
        class,
        code: code.map(|code| Cow::Owned(code.to_owned())),
        retry_after: retry_delay(inner),
        ..Failure::new(status, class, message)
    }
}

fn is_too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [TOO_LONG, "input is too long", "exceed context limit", "exceeds the maximum number of tokens"]
        .iter()
        .any(|words| message.contains(words))
}

/// A message is a string, or `FastAPI`'s list of complaints.
fn message_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.as_str(),
        Value::Array(list) => list.first()?.get("msg")?.as_str()?,
        _ => return None,
    };
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The delay in Google's details after which to retry: `{"retryDelay":"12s"}`.
fn retry_delay(inner: &Value) -> Option<u64> {
    let details = inner.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a day")]
    Some(seconds.ceil().clamp(0.0, 86_400.0) as u64)
}

/// The class of Anthropic's `type` or Google's `status`.
fn class_of(kind: &str) -> Option<ErrorClass> {
    Some(match kind {
        "invalid_request_error" | "conflict_error" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => {
            ErrorClass::InvalidRequest
        }
        "authentication_error" | "UNAUTHENTICATED" => ErrorClass::Authentication,
        "billing_error" => ErrorClass::Quota,
        "permission_error" | "PERMISSION_DENIED" => ErrorClass::Permission,
        "not_found_error" | "NOT_FOUND" => ErrorClass::NotFound,
        "request_too_large" => ErrorClass::TooLarge,
        "rate_limit_error" | "RESOURCE_EXHAUSTED" => ErrorClass::RateLimit,
        "timeout_error" | "DEADLINE_EXCEEDED" => ErrorClass::Timeout,
        "overloaded_error" | "UNAVAILABLE" => ErrorClass::Unavailable,
        "api_error" | "INTERNAL" => ErrorClass::Internal,
        "UNIMPLEMENTED" => ErrorClass::NotImplemented,
        _ => return None,
    })
}

/// The status that Anthropic uses for an error.
const fn status_of(class: ErrorClass) -> u16 {
    match class {
        ErrorClass::Quota => 402,
        ErrorClass::Unavailable => 529,
        other => other.status(),
    }
}

/// Appends an error in the form of a body and of a stream's last event, and returns its status.
pub(super) fn write(failure: &Failure<'_>, request_id: Option<&str>, out: &mut Vec<u8>) -> u16 {
    let too_long = failure.code.as_deref() == Some(TOO_LONG_CODE);
    let mut top = ObjectWriter::begin(out).with("type", "error");
    let mut error = top.object("error").with("type", error_type(failure.class));
    if too_long && !failure.message.to_ascii_lowercase().contains(TOO_LONG) {
        error.field("message", &format!("{TOO_LONG}: {}", failure.message));
    } else {
        error.field("message", &failure.message);
    }
    if let Some(code) = failure.code.as_ref().filter(|_| !failure.by_gateway) {
        error.object("details").with("error_code", code);
    }
    error.end();
    top.maybe("request_id", request_id.filter(|id| !id.is_empty()));
    top.end();
    match (failure.class, failure.status) {
        // Anthropic's clients distinguish these, too.
        (ErrorClass::InvalidRequest, status @ (409 | 422)) => status,
        (class, _) => status_of(class),
    }
}

/// Appends an error as the last event of a stream.
pub(super) fn write_event(failure: &Failure<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: ");
    write(failure, None, out);
    out.extend_from_slice(b"\n\n");
}

/// Anthropic's `error.type`.
const fn error_type(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidRequest | ErrorClass::NotImplemented => "invalid_request_error",
        ErrorClass::Authentication => "authentication_error",
        ErrorClass::Permission => "permission_error",
        ErrorClass::NotFound => "not_found_error",
        ErrorClass::TooLarge => "request_too_large",
        ErrorClass::Quota => "billing_error",
        ErrorClass::RateLimit => "rate_limit_error",
        ErrorClass::Timeout => "timeout_error",
        ErrorClass::Internal | ErrorClass::BadGateway => "api_error",
        ErrorClass::Unavailable => "overloaded_error",
    }
}
