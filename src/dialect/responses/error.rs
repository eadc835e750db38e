//! Errors in OpenAI's envelope, and in everything that servers send instead of it.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::Value;

use crate::{
    conversation::{ErrorClass, Failure},
    stream::json::ObjectWriter,
};

/// Longest plain text that is taken for a message, in bytes.
const MAX_PLAIN: usize = 1000;

/// Reads the body of a reply whose status is an error.
pub(super) fn read(status: u16, body: &[u8]) -> Failure<'static> {
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        return of_value(status, &value);
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    // A page made for browsers says nothing that its status doesn't.
    let message = if text.starts_with('<') || text.len() > MAX_PLAIN { "" } else { text };
    failure(status, "", "", message, None)
}

/// Reads an error that is JSON: nested, flat, in an array, or only text. A `status` below 400 is that of a reply or stream
/// in which the error stands, and says nothing.
pub(super) fn of_value(status: u16, value: &Value) -> Failure<'static> {
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let message = match error {
        Value::String(text) => text.clone(),
        _ => ["message", "detail", "error_description"]
            .iter()
            .find_map(|name| said(error.get(name)?))
            .unwrap_or_default(),
    };
    // Some send the status, as a number or as text, where the code belongs.
    let code = word("code");
    let code = if code.bytes().all(|b| b.is_ascii_digit()) { "" } else { code };
    // An event's type is `error`, which says nothing.
    let kind = if word("type") == "error" { "" } else { word("type") };
    failure(status, code, kind, &message, error.get("param").and_then(Value::as_str))
}

/// A message that is text, or `FastAPI`'s list of what is wrong.
fn said(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => {
            let texts: Vec<_> = list.iter().filter_map(|one| one.get("msg").and_then(Value::as_str)).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        }
        _ => None,
    }
}

fn failure(status: u16, code: &str, kind: &str, message: &str, param: Option<&str>) -> Failure<'static> {
    let class = class(status, code, kind);
    let status = if status < 400 { status_of(class) } else { status };
    let too_long = class == ErrorClass::InvalidRequest && message.contains("maximum context length");
    let code = if too_long && code.is_empty() { "context_length_exceeded" } else { code };
    let message = match message.trim() {
        "" => reason(status),
        message => message.to_owned().into(),
    };
    Failure {
        status,
        class,
        code: (!code.is_empty()).then(|| code.to_owned().into()),
        message,
        param: param.map(|param| param.to_owned().into()),
        retry_after: None,
    }
}

fn reason(status: u16) -> Cow<'static, str> {
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(|| format!("the provider answered {status}").into(), Cow::Borrowed)
}

/// What went wrong: the word counts where it says more than the status.
fn class(status: u16, code: &str, kind: &str) -> ErrorClass {
    let of_word = |word: &str| {
        Some(match word {
            "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => ErrorClass::Quota,
            "rate_limit_exceeded" | "rate_limit_error" => ErrorClass::RateLimit,
            "invalid_api_key" | "authentication_error" => ErrorClass::Authentication,
            "model_not_found" | "DeploymentNotFound" => ErrorClass::NotFound,
            "server_is_overloaded" | "overloaded" | "slow_down" => ErrorClass::Unavailable,
            _ => return None,
        })
    };
    if let Some(class) = of_word(code).or_else(|| of_word(kind)) {
        return class;
    }
    if status >= 400 {
        return ErrorClass::of_status(status);
    }
    match (code, kind) {
        ("invalid_prompt" | "content_filter" | "context_length_exceeded", _) | (_, "invalid_request_error") => {
            ErrorClass::InvalidRequest
        }
        (code, _) if code.starts_with("invalid_") || code.starts_with("image_") => ErrorClass::InvalidRequest,
        (code, kind) if code.contains("timeout") || kind.contains("timeout") => ErrorClass::Timeout,
        _ => ErrorClass::Internal,
    }
}

const fn status_of(class: ErrorClass) -> u16 {
    match class {
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
    }
}

/// Appends the error, and gives the status to answer with.
pub(super) fn write(failure: &Failure<'_>, out: &mut Vec<u8>) -> u16 {
    let mut top = ObjectWriter::begin(out);
    let mut error = top.object("error");
    error.field("message", &*failure.message);
    error.field("type", failure.class.openai());
    error.field("param", &failure.param);
    error.field("code", &code(failure));
    error.end();
    top.end();
    match (failure.class, failure.status) {
        // OpenAI's clients know these apart.
        (ErrorClass::InvalidRequest, status @ (405 | 409 | 415 | 422)) | (ErrorClass::Timeout, status @ 408) => status,
        (class, _) => status_of(class),
    }
}

/// The stable word: OpenAI's own where it has one for the class, else what the provider said.
pub(super) fn code<'f>(failure: &'f Failure<'_>) -> Option<&'f str> {
    match failure.class {
        ErrorClass::Authentication => Some("invalid_api_key"),
        ErrorClass::Quota => Some("insufficient_quota"),
        ErrorClass::RateLimit => Some("rate_limit_exceeded"),
        ErrorClass::Timeout => Some("timeout"),
        ErrorClass::Unavailable => Some("overloaded"),
        ErrorClass::TooLarge => Some("request_too_large"),
        ErrorClass::NotFound => failure.code.as_deref().or(Some("model_not_found")),
        _ => failure.code.as_deref(),
    }
}
