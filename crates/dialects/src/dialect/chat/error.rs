//! Errors of Chat Completions and Responses: OpenAI's form, and the many forms of other servers of its API.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conversation::{ErrorClass, Failure, Text},
    dialect::error::{readable, reason},
    stream::json::ObjectWriter,
};

const TOO_LONG: &str = "context_length_exceeded";

/// An error object, nested or not.
#[derive(Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireError<'a> {
    error: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    detail: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    param: Option<&'a RawValue>,
}

/// One complaint of a list in `FastAPI`'s form.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireDetail<'a> {
    loc: Option<Vec<&'a RawValue>>,
    msg: Option<&'a RawValue>,
}

/// Reads the body of an error. `status` 200 means an error in a reply or a stream that had begun without one: the body
/// may then contain the status.
pub(in crate::dialect) fn read(status: u16, body: &[u8]) -> Failure<'_> {
    let wire = std::str::from_utf8(body).ok().and_then(parse);
    let found = wire.as_ref().map(Found::of).unwrap_or_default();
    let status = if (400..600).contains(&status) { status } else { found.status() };
    let class = found.class(status);
    let message = found.message.clone().or_else(|| readable(body)).filter(|message| !message.trim().is_empty());
    let message = message.unwrap_or_else(|| Cow::Borrowed(reason(status)));
    let too_long = class == ErrorClass::InvalidRequest
        && (message.contains("maximum context length") || message.contains("context window"));
    // A number repeats the status (vLLM, Azure).
    let code = found.code.filter(|code| !(code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit())));
    let code = code.or(too_long.then_some(Cow::Borrowed(TOO_LONG)));
    Failure { code, param: found.param, ..Failure::new(status, class, message) }
}

/// The first object of the body.
fn parse(body: &str) -> Option<WireError<'_>> {
    match body.trim_start().as_bytes().first()? {
        b'[' => serde_json::from_str::<Vec<WireError<'_>>>(body).ok()?.into_iter().next(),
        _ => serde_json::from_str(body).ok(),
    }
}

/// The parts of an error, wherever they are in the body.
#[derive(Default)]
struct Found<'a> {
    message: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    param: Option<Cow<'a, str>>,
    number: Option<u16>,
}

impl<'a> Found<'a> {
    fn of(outer: &WireError<'a>) -> Self {
        let nested: Option<WireError<'a>> = outer.error.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let inner = nested.as_ref().unwrap_or(outer);
        let some = |raw: Option<&'a RawValue>| raw.and_then(word).filter(|word| !word.is_empty());
        let message = some(inner.message)
            .or_else(|| outer.error.and_then(Text::of).map(Text::into_decoded))
            .or_else(|| inner.detail.or(inner.message).and_then(complaint))
            .or_else(|| some(outer.message));
        let (code, kind) = (some(inner.code), some(inner.kind));
        let number = [inner.code, inner.status, outer.code, outer.status];
        let number = number.into_iter().flatten().filter_map(word).find_map(|word| word.parse().ok());
        Self { message, code, kind, param: some(inner.param), number: number.filter(|n| (400..600).contains(n)) }
    }

    /// The class that the code or the type names.
    fn named(&self) -> Option<ErrorClass> {
        [&self.code, &self.kind].into_iter().flatten().find_map(|word| {
            Some(match &**word {
                "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => ErrorClass::Quota,
                "rate_limit_exceeded" | "rate_limit_error" | "requests" | "tokens" => ErrorClass::RateLimit,
                "invalid_api_key" | "authentication_error" => ErrorClass::Authentication,
                "permission_error" => ErrorClass::Permission,
                "model_not_found" | "DeploymentNotFound" | "not_found_error" => ErrorClass::NotFound,
                "request_too_large" => ErrorClass::TooLarge,
                "overloaded" | "overloaded_error" | "server_is_overloaded" | "service_unavailable" | "slow_down" => {
                    ErrorClass::Unavailable
                }
                "content_filter" | TOO_LONG | "invalid_prompt" | "invalid_request_error" | "BadRequestError" => {
                    ErrorClass::InvalidRequest
                }
                word if word.contains("timeout") => ErrorClass::Timeout,
                word if word.starts_with("invalid_") || word.starts_with("image_") => ErrorClass::InvalidRequest,
                _ => return None,
            })
        })
    }

    /// The status of an error that came without one.
    fn status(&self) -> u16 {
        self.number.or_else(|| self.named().map(ErrorClass::status)).unwrap_or(500)
    }

    fn class(&self, status: u16) -> ErrorClass {
        let by_status = ErrorClass::of_status(status);
        match (by_status, self.named()) {
            // Some exhausted quotas come with the status of a rate limit.
            (ErrorClass::RateLimit, Some(ErrorClass::Quota)) => ErrorClass::Quota,
            (ErrorClass::InvalidRequest, Some(class @ (ErrorClass::NotFound | ErrorClass::Authentication)))
                if status == 400 =>
            {
                class
            }
            _ => by_status,
        }
    }
}

/// `FastAPI`'s `detail`: a text, or a list of complaints; Mistral puts one into `message`.
fn complaint(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Nested<'a> {
        #[serde(borrow)]
        detail: Option<Vec<WireDetail<'a>>>,
    }
    if let Some(text) = Text::of(raw) {
        return Some(text.into_decoded());
    }
    let list: Vec<WireDetail<'_>> = match raw.get().as_bytes().first()? {
        b'{' => serde_json::from_str::<Nested<'_>>(raw.get()).ok()?.detail?,
        _ => serde_json::from_str(raw.get()).ok()?,
    };
    let told = list.into_iter().filter_map(|one| {
        let place: Vec<_> = one.loc.into_iter().flatten().filter_map(word).filter(|word| word != "body").collect();
        let message = word(one.msg?)?;
        Some(if place.is_empty() { message.into_owned() } else { format!("{}: {message}", place.join(".")) })
    });
    let told: Vec<_> = told.take(10).collect();
    (!told.is_empty()).then(|| Cow::Owned(told.join("; ")))
}

/// The value of a string or number as text.
fn word(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes().first()? {
        b'"' => Text::of(raw).map(Text::into_decoded),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw.get())),
        _ => None,
    }
}

/// Appends `{"error": ...}`; the status that belongs to it.
pub(in crate::dialect) fn write(failure: &Failure<'_>, out: &mut Vec<u8>) -> u16 {
    let mut top = ObjectWriter::begin(out);
    write_object(failure, top.object("error"));
    top.end();
    status(failure)
}

/// Writes the fields of an error into `object`.
pub(in crate::dialect) fn write_object(failure: &Failure<'_>, object: ObjectWriter<'_>) {
    object
        .with("message", &failure.message)
        .with("type", error_type(failure.class))
        .with("param", &failure.param)
        .with("code", &code(failure))
        .end();
}

/// The status of an error in OpenAI's API.
pub(in crate::dialect) const fn status(failure: &Failure<'_>) -> u16 {
    match (failure.class, failure.status) {
        // OpenAI's clients distinguish these.
        (ErrorClass::InvalidRequest, status @ (405 | 409 | 415 | 422)) | (ErrorClass::Timeout, status @ 408) => status,
        (class, _) => class.status(),
    }
}

/// The stable code: OpenAI's own where clients act on it, else the provider's.
pub(in crate::dialect) fn code<'f>(failure: &'f Failure<'_>) -> Option<&'f str> {
    match failure.class {
        _ if failure.by_gateway => failure.code.as_deref(),
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

/// OpenAI's `error.type`.
const fn error_type(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidRequest | ErrorClass::NotFound | ErrorClass::TooLarge | ErrorClass::NotImplemented => {
            "invalid_request_error"
        }
        ErrorClass::Authentication => "authentication_error",
        ErrorClass::Permission => "permission_error",
        ErrorClass::Quota => "insufficient_quota",
        ErrorClass::RateLimit => "rate_limit_error",
        ErrorClass::Timeout => "timeout",
        ErrorClass::Internal | ErrorClass::BadGateway | ErrorClass::Unavailable => "server_error",
    }
}
