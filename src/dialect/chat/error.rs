//! Errors: OpenAI's form, and the many that servers of its API have.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{text, word};
use crate::{
    conversation::{ErrorClass, Failure},
    stream::json::ObjectWriter,
};

/// Longest message taken from a body that is no JSON, in bytes.
const MAX_PLAIN: usize = 500;
const TOO_LONG: &str = "context_length_exceeded";

/// An error object, nested or not.
#[derive(Default, Deserialize)]
struct WireError<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    param: Option<&'a RawValue>,
}

/// One complaint of a list in `FastAPI`'s form.
#[derive(Deserialize)]
struct WireDetail<'a> {
    #[serde(borrow)]
    loc: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
}

/// Reads the body of an error. `status` 200 stands for an error in a reply or a stream that had begun well: the body then
/// says the status, if anything does.
pub(super) fn read(status: u16, body: &[u8]) -> Failure<'_> {
    let plain = String::from_utf8_lossy(body);
    let wire = std::str::from_utf8(body).ok().and_then(parse);
    let found = wire.as_ref().map(Found::of).unwrap_or_default();
    let status = if (400..600).contains(&status) { status } else { found.status() };
    let class = found.class(status);
    let message = found.message.clone().or_else(|| readable(plain)).filter(|message| !message.trim().is_empty());
    let message = message.unwrap_or_else(|| Cow::Borrowed(reason(status)));
    let too_long = class == ErrorClass::InvalidRequest
        && (message.contains("maximum context length") || message.contains("context window"));
    // A number repeats the status (vLLM, Azure).
    let code = found.code.filter(|code| !(code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit())));
    let code = code.or(too_long.then_some(Cow::Borrowed(TOO_LONG)));
    Failure { status, class, code, message, param: found.param, retry_after: None }
}

/// The first object of the body.
fn parse(body: &str) -> Option<WireError<'_>> {
    match body.trim_start().as_bytes().first()? {
        b'[' => serde_json::from_str::<Vec<WireError<'_>>>(body).ok()?.into_iter().next(),
        _ => serde_json::from_str(body).ok(),
    }
}

/// What an error says, wherever it says it.
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
            .or_else(|| outer.error.and_then(text).map(crate::conversation::Text::into_decoded))
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
                "timeout" => ErrorClass::Timeout,
                "overloaded" | "overloaded_error" | "service_unavailable" => ErrorClass::Unavailable,
                "content_filter" | TOO_LONG | "invalid_request_error" | "BadRequestError" => ErrorClass::InvalidRequest,
                _ => return None,
            })
        })
    }

    /// The status of an error that came without one.
    fn status(&self) -> u16 {
        self.number.or_else(|| self.named().map(status_of)).unwrap_or(500)
    }

    fn class(&self, status: u16) -> ErrorClass {
        let by_status = ErrorClass::of_status(status);
        match (by_status, self.named()) {
            // A quota hides behind the status of a rate limit.
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
    if let Some(text) = text(raw) {
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

/// A body that is no error object, if a human would read it.
fn readable(body: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let start = body.trim_start();
    if start.starts_with(['<', '{', '[']) || start.is_empty() {
        return None;
    }
    let end = body.floor_char_boundary(MAX_PLAIN);
    match body {
        Cow::Borrowed(text) => text.get(..end).map(|text| Cow::Borrowed(text.trim())),
        Cow::Owned(text) => text.get(..end).map(|text| Cow::Owned(text.trim().to_owned())),
    }
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("unknown error")
}

/// OpenAI's status for a class.
const fn status_of(class: ErrorClass) -> u16 {
    match class {
        ErrorClass::InvalidRequest => 400,
        ErrorClass::Authentication => 401,
        ErrorClass::Permission => 403,
        ErrorClass::NotFound => 404,
        ErrorClass::TooLarge => 413,
        ErrorClass::RateLimit | ErrorClass::Quota => 429,
        ErrorClass::Internal => 500,
        ErrorClass::NotImplemented => 501,
        ErrorClass::BadGateway => 502,
        ErrorClass::Unavailable => 503,
        ErrorClass::Timeout => 504,
    }
}

/// Appends `{"error": ...}`; the status that belongs to it.
pub(super) fn write(failure: &Failure<'_>, out: &mut Vec<u8>) -> u16 {
    let mut top = ObjectWriter::begin(out);
    let mut error = top.object("error");
    error.field("message", &failure.message);
    error.field("type", failure.class.openai());
    error.field("param", &failure.param);
    let usual = match failure.class {
        ErrorClass::Authentication => Some("invalid_api_key"),
        ErrorClass::Quota => Some("insufficient_quota"),
        ErrorClass::RateLimit => Some("rate_limit_exceeded"),
        ErrorClass::TooLarge => Some("request_too_large"),
        ErrorClass::Timeout => Some("timeout"),
        ErrorClass::Unavailable => Some("overloaded"),
        ErrorClass::NotFound => Some("model_not_found"),
        _ => None,
    };
    error.field("code", &failure.code.as_deref().or(usual));
    error.end();
    top.end();
    status_of(failure.class)
}
