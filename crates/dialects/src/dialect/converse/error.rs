//! Errors: of replies, and of streams.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conversation::{ErrorClass, Failure},
    dialect::error::{readable, reason},
    stream::{
        Member, Splice, TopLevel, aws,
        json::{ObjectWriter, write_string},
    },
};

/// The error names of Bedrock and of the services in front of it, with the status that Bedrock uses for them.
const TYPES: &[(&str, ErrorClass, u16)] = &[
    ("ValidationException", ErrorClass::InvalidRequest, 400),
    ("SerializationException", ErrorClass::InvalidRequest, 400),
    ("ServiceQuotaExceededException", ErrorClass::Quota, 400),
    ("AccessDeniedException", ErrorClass::Permission, 403),
    ("UnrecognizedClientException", ErrorClass::Authentication, 403),
    ("InvalidSignatureException", ErrorClass::Authentication, 403),
    ("IncompleteSignatureException", ErrorClass::Authentication, 403),
    ("IncompleteSignature", ErrorClass::Authentication, 403),
    ("SignatureDoesNotMatch", ErrorClass::Authentication, 403),
    ("MissingAuthenticationTokenException", ErrorClass::Authentication, 403),
    ("MissingAuthenticationToken", ErrorClass::Authentication, 403),
    ("InvalidClientTokenId", ErrorClass::Authentication, 403),
    ("ExpiredTokenException", ErrorClass::Authentication, 403),
    ("ExpiredToken", ErrorClass::Authentication, 403),
    ("ResourceNotFoundException", ErrorClass::NotFound, 404),
    ("UnknownOperationException", ErrorClass::NotFound, 404),
    ("ModelTimeoutException", ErrorClass::Timeout, 408),
    ("RequestEntityTooLargeException", ErrorClass::TooLarge, 413),
    ("ModelErrorException", ErrorClass::BadGateway, 424),
    ("ModelStreamErrorException", ErrorClass::BadGateway, 424),
    ("ThrottlingException", ErrorClass::RateLimit, 429),
    ("TooManyRequestsException", ErrorClass::RateLimit, 429),
    ("ModelNotReadyException", ErrorClass::RateLimit, 429),
    ("InternalServerException", ErrorClass::Internal, 500),
    ("InternalFailure", ErrorClass::Internal, 500),
    ("ServiceUnavailableException", ErrorClass::Unavailable, 503),
    ("ServiceUnavailable", ErrorClass::Unavailable, 503),
];

/// Names as in `__type`, in `x-amzn-ErrorType` and in frames: `com.amazon#NameException:http://...`,
/// `nameException`.
fn known(name: &str) -> Option<(ErrorClass, u16)> {
    let name = name.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default();
    TYPES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)).map(|(_, class, status)| (*class, *status))
}

/// Fields that hold a message, or an object with one, in the order of preference.
const MESSAGE_MEMBERS: [&str; 7] =
    ["message", "Message", "originalMessage", "error", "Output", "detail", "errorMessage"];
/// Most nested objects that are searched.
const MAX_NESTING: usize = 4;

pub(super) fn read(status: u16, body: &[u8]) -> Failure<'_> {
    let body = body.trim_ascii();
    let (message, kind) = match body.first() {
        Some(b'{' | b'[' | b'"') => found(body, MAX_NESTING),
        _ => (readable(body), None),
    };
    let class = kind.and_then(|kind| known(&kind)).map_or_else(|| ErrorClass::of_status(status), |(class, _)| class);
    failure(status, class, message)
}

/// The error in the body of a reply with a status of success.
pub(super) fn in_reply(body: &[u8]) -> Failure<'_> {
    let (message, kind) = found(body.trim_ascii(), MAX_NESTING);
    let (class, status) = kind.as_deref().and_then(known).unwrap_or((ErrorClass::BadGateway, 502));
    failure(status, class, message.or(kind).or(Some(Cow::Borrowed("the provider's reply can't be read"))))
}

fn failure(status: u16, class: ErrorClass, message: Option<Cow<'_, str>>) -> Failure<'_> {
    let message = message.filter(|message| !message.trim().is_empty()).unwrap_or(Cow::Borrowed(reason(status)));
    let code = code(class, &message).map(Cow::Borrowed);
    Failure { code, ..Failure::new(status, class, message) }
}

/// Bedrock has no codes; clients act on the texts of its errors.
fn code(class: ErrorClass, message: &str) -> Option<&'static str> {
    const TOO_LONG: [&str; 4] =
        ["input is too long", "too many total text bytes", "prompt is too long", "maximum context length"];
    let message = message.to_ascii_lowercase();
    let too_long = class == ErrorClass::InvalidRequest && TOO_LONG.iter().any(|text| message.contains(text));
    too_long.then_some("context_length_exceeded")
}

/// Message and type of an error, wherever they are in the body.
fn found(body: &[u8], depth: usize) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    if body.starts_with(b"\"") {
        let text = serde_json::from_slice::<&RawValue>(body).ok();
        return (
            text.and_then(|raw| raw.get().strip_prefix('"')?.strip_suffix('"').map(crate::stream::json::unescape)),
            None,
        );
    }
    let Some(depth) = depth.checked_sub(1) else { return (None, None) };
    if body.starts_with(b"[") {
        let first = serde_json::from_slice::<Vec<&RawValue>>(body).ok().and_then(|list| list.first().copied());
        return first.map_or((None, None), |first| found(first.get().as_bytes(), depth));
    }
    let Ok(top) = TopLevel::scan(body) else { return (None, None) };
    let mut kind = ["__type", "code", "type"].iter().find_map(|key| top.get(key).and_then(Member::as_str));
    let mut message = None;
    for member in MESSAGE_MEMBERS.iter().filter_map(|key| top.get(key)) {
        let (text, inner) = found(member.value, depth);
        kind = kind.or(inner);
        message = message.or(text.filter(|text| !text.trim().is_empty()));
    }
    (message, kind)
}

/// The part of an exception in a stream that describes the error of the server behind Bedrock.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Original {
    original_status_code: Option<u16>,
}

/// The failure in a frame of this name, if it is an exception.
pub(super) fn of_frame<'a>(name: &[u8], data: &'a [u8]) -> Option<Failure<'a>> {
    let is_failure = [&b"Exception"[..], b"Error", b"Failure"].iter().any(|end| name.ends_with(end));
    let name = std::str::from_utf8(name).ok().filter(|_| is_failure)?;
    let (mut class, mut status) = known(name).unwrap_or((ErrorClass::Internal, 500));
    if class == ErrorClass::BadGateway
        && let Some(original) = serde_json::from_slice::<Original>(data).ok().and_then(|o| o.original_status_code)
        && matches!(original, 408 | 429 | 503 | 504 | 529)
    {
        (class, status) = (ErrorClass::of_status(original), original);
    }
    let (message, _) = found(data.trim_ascii(), MAX_NESTING);
    Some(failure(status, class, message))
}

/// Appends the exception that ends a stream. Clients support five of them there, fewer than replies have.
pub(super) fn write_frame(failure: &Failure<'_>, out: &mut Vec<u8>) {
    let name = match failure.class {
        ErrorClass::InvalidRequest
        | ErrorClass::Authentication
        | ErrorClass::Permission
        | ErrorClass::NotFound
        | ErrorClass::TooLarge
        | ErrorClass::NotImplemented => "validationException",
        ErrorClass::RateLimit | ErrorClass::Quota => "throttlingException",
        ErrorClass::Unavailable => "serviceUnavailableException",
        ErrorClass::BadGateway | ErrorClass::Timeout => "modelStreamErrorException",
        ErrorClass::Internal => "internalServerException",
    };
    aws::write_exception(out, name, |out| {
        let mut body = ObjectWriter::begin(out);
        write_string(body.key("message"), &failure.message);
        if name == "modelStreamErrorException" {
            body.field("originalStatusCode", &failure.status);
            body.field("originalMessage", &failure.message);
        }
    });
}

/// Appends the body of an error; the name is in the header `x-amzn-ErrorType` too.
pub(super) fn write(failure: &Failure<'_>, out: &mut Vec<u8>) -> u16 {
    let mut body = ObjectWriter::begin(out);
    write_string(body.key("message"), &failure.message);
    body.field("__type", exception(failure.class));
    body.end();
    match failure.class {
        ErrorClass::InvalidRequest | ErrorClass::Quota => 400,
        ErrorClass::Authentication | ErrorClass::Permission => 403,
        ErrorClass::NotFound => 404,
        ErrorClass::Timeout => 408,
        ErrorClass::TooLarge => 413,
        ErrorClass::RateLimit => 429,
        ErrorClass::Internal => 500,
        ErrorClass::NotImplemented => 501,
        ErrorClass::BadGateway => 502,
        ErrorClass::Unavailable => 503,
    }
}

/// Bedrock's exception, as it is written in `x-amzn-ErrorType` and `__type`.
pub(super) const fn exception(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidRequest | ErrorClass::TooLarge | ErrorClass::NotImplemented => "ValidationException",
        ErrorClass::Authentication | ErrorClass::Permission => "AccessDeniedException",
        ErrorClass::Quota => "ServiceQuotaExceededException",
        ErrorClass::NotFound => "ResourceNotFoundException",
        ErrorClass::RateLimit => "ThrottlingException",
        ErrorClass::Internal | ErrorClass::BadGateway => "InternalServerException",
        ErrorClass::Unavailable => "ServiceUnavailableException",
        ErrorClass::Timeout => "ModelTimeoutException",
    }
}

/// The header with an error's type.
pub(super) const TYPE_HEADER: &str = "x-amzn-errortype";

/// The body of an error with the type from its header, because Bedrock's bodies do not contain it.
pub(super) fn with_type(headers: &http::HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    let kind = headers.get(TYPE_HEADER)?.to_str().ok()?;
    let top = TopLevel::scan(body).ok().filter(|top| !top.contains("__type"))?;
    let mut splice = Splice::new(&top);
    splice.set_str("__type", kind.split(':').next().unwrap_or_default());
    Some(splice.apply(&Bytes::copy_from_slice(body)).to_vec())
}
