//! Errors, as Google's APIs write them (`google.rpc.Status`).

use std::borrow::Cow;

use serde_json::Value;

use crate::{
    conversation::{ErrorClass, Failure, Text},
    dialect::{
        StreamMode,
        error::{readable, reason as words},
    },
    stream::json::ObjectWriter,
};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Reads the body of an error of any form.
pub(super) fn read(status: u16, body: &[u8]) -> Failure<'static> {
    let value = serde_json::from_slice(body).unwrap_or_else(|_| readable(body).map_or(Value::Null, Value::from));
    of_value(status, &value)
}

/// The error in a body that came with a status of success, or in an event; `None` if there is none.
pub(super) fn find(body: &[u8]) -> Option<Failure<'static>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let inside = value.get(0).unwrap_or(&value);
    let error = inside.get("error").filter(|error| !error.is_null())?;
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = code.filter(|code| (400..600).contains(code)).unwrap_or(502);
    Some(of_value(status, inside))
}

/// The error of an answer that failed without content: Google's message, or its reason.
pub(super) fn nothing_said<'a>(reason: Option<Text<'a>>, message: Option<Text<'a>>) -> Failure<'a> {
    let reason = reason.map(Text::into_decoded);
    let message = message.filter(|message| !message.is_blank()).map(Text::into_decoded).or_else(|| reason.clone());
    let message = message.unwrap_or(Cow::Borrowed("the provider gave no answer"));
    Failure { code: reason, ..Failure::bad_gateway(message) }
}

fn of_value(status: u16, value: &Value) -> Failure<'static> {
    // Streaming endpoints wrap it in an array.
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(value);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = error.as_str().map(str::to_owned);
    let message = message.or_else(|| text(error, "message")).or_else(|| text(error, "detail"));
    let message = message.or_else(|| text(value, "message")).filter(|message| !message.trim().is_empty());
    let word = error.get("status").and_then(Value::as_str).unwrap_or_default();
    let details = error.get("details").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let detail = |key: &str| details.iter().find_map(|detail| detail.get(key));
    let reason = detail("reason").and_then(Value::as_str);
    let too_long = message.as_deref().is_some_and(is_too_long);
    let class = match reason {
        Some("API_KEY_INVALID") => ErrorClass::Authentication,
        _ if too_long => ErrorClass::InvalidRequest,
        _ => match class(status, word) {
            // No retry helps before the next day.
            ErrorClass::RateLimit if is_of_the_day(details) => ErrorClass::Quota,
            class => class,
        },
    };
    let violation = detail("fieldViolations").and_then(|violations| violations.get(0)?.get("field")?.as_str());
    let delay = detail("retryDelay").and_then(Value::as_str).and_then(seconds);
    let code = if too_long { Some("context_length_exceeded") } else { reason };
    Failure {
        code: code.map(|code| Cow::Owned(code.to_owned())),
        param: violation.filter(|field| !field.is_empty()).map(|field| Cow::Owned(field.to_owned())),
        retry_after: delay,
        ..Failure::new(status, class, message.map_or(Cow::Borrowed(words(status)), Cow::Owned))
    }
}

/// Whether a quota of a whole day is used up (`google.rpc.QuotaFailure`).
fn is_of_the_day(details: &[Value]) -> bool {
    let violations = details.iter().filter_map(|detail| detail.get("violations")?.as_array()).flatten();
    violations.filter_map(|violation| violation.get("quotaId")?.as_str()).any(|id| id.contains("PerDay"))
}

fn is_too_long(message: &str) -> bool {
    message.contains("exceeds the maximum number of tokens") || message.contains("input token count exceeds")
}

/// The class of Google's `status` text, or else of the HTTP status.
fn class(status: u16, word: &str) -> ErrorClass {
    match word {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" if status != 413 => ErrorClass::InvalidRequest,
        "UNAUTHENTICATED" => ErrorClass::Authentication,
        "PERMISSION_DENIED" => ErrorClass::Permission,
        "NOT_FOUND" => ErrorClass::NotFound,
        "RESOURCE_EXHAUSTED" => ErrorClass::RateLimit,
        "UNIMPLEMENTED" => ErrorClass::NotImplemented,
        "UNAVAILABLE" => ErrorClass::Unavailable,
        "DEADLINE_EXCEEDED" => ErrorClass::Timeout,
        _ => ErrorClass::of_status(status),
    }
}

/// Whole seconds of a duration such as `22s` or `0.5s`, rounded up.
fn seconds(duration: &str) -> Option<u64> {
    let (whole, rest) = duration.strip_suffix('s').map(|text| text.split_once('.').unwrap_or((text, "")))?;
    let more = rest.bytes().any(|b| b != b'0');
    whole.parse::<u64>().ok().map(|seconds| seconds.saturating_add(u64::from(more)))
}

/// Appends the body of an error, and returns its status.
pub(super) fn write(failure: &Failure<'_>, out: &mut Vec<u8>) -> u16 {
    let status = match failure.class {
        _ if failure.by_gateway => failure.status,
        // Some have a specific status (405, 415).
        ErrorClass::InvalidRequest if matches!(failure.status, 405 | 415) => failure.status,
        ErrorClass::InvalidRequest => 400,
        ErrorClass::Authentication => 401,
        ErrorClass::Permission => 403,
        ErrorClass::NotFound => 404,
        ErrorClass::TooLarge => 413,
        ErrorClass::Quota | ErrorClass::RateLimit => 429,
        ErrorClass::Internal => 500,
        ErrorClass::NotImplemented => 501,
        ErrorClass::BadGateway => 502,
        ErrorClass::Unavailable => 503,
        ErrorClass::Timeout => 504,
    };
    let mut top = ObjectWriter::begin(out);
    let mut error = top.object("error").with("code", &status).with("message", &failure.message);
    error.field("status", status_word(failure.class));
    if let Some(seconds) = failure.retry_after {
        error.array("details").object().with("@type", RETRY_INFO).with("retryDelay", &format!("{seconds}s"));
    }
    error.end();
    top.end();
    status
}

/// Appends an error as the last event of a stream, after `elements` elements of its array.
pub(super) fn write_event(failure: &Failure<'_>, mode: StreamMode, elements: u64, out: &mut Vec<u8>) {
    let (before, after): (&[u8], &[u8]) = match mode {
        StreamMode::JsonArray => (if elements == 0 { b"[" } else { b",\r\n" }, b"\r\n]"),
        _ => (b"data: ", b"\r\n\r\n"),
    };
    out.extend_from_slice(before);
    write(failure, out);
    out.extend_from_slice(after);
}

/// Google's `error.status`.
const fn status_word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidRequest | ErrorClass::TooLarge => "INVALID_ARGUMENT",
        ErrorClass::Authentication => "UNAUTHENTICATED",
        ErrorClass::Permission => "PERMISSION_DENIED",
        ErrorClass::NotFound => "NOT_FOUND",
        ErrorClass::RateLimit | ErrorClass::Quota => "RESOURCE_EXHAUSTED",
        ErrorClass::Internal | ErrorClass::BadGateway => "INTERNAL",
        ErrorClass::NotImplemented => "UNIMPLEMENTED",
        ErrorClass::Unavailable => "UNAVAILABLE",
        ErrorClass::Timeout => "DEADLINE_EXCEEDED",
    }
}
