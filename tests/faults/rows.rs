//! The faults, and what `docs/reliability.md` promises for each.

use crate::provider::{self, Mode, Provider};

/// What is expected of one fault in one form of reply.
#[derive(Clone, Copy)]
pub struct Expected {
    /// What the client gets where the Backend has no other target.
    pub alone: &'static str,
    /// The same, where the reply is translated.
    pub translated: &'static str,
    /// What the client gets where another target follows.
    pub second: &'static str,
    /// How many requests the faulty target gets.
    pub requests: usize,
    pub counted: &'static str,
    pub cools: &'static str,
}

/// A fault.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name in the manual.
    pub fault: &'static str,
    pub provider: fn(Mode) -> Provider,
    /// Whether the provider is waited for in vain, so that the route has short times.
    pub bounded: bool,
    /// Whether the largest body is sent where no other target follows.
    pub large_alone: bool,
    pub buffered: Option<Expected>,
    pub streaming: Option<Expected>,
}

const ANSWER: &str = "the answer";
/// The client gets the same reply in both APIs.
const fn both(alone: &'static str, requests: usize, counted: &'static str, cools: &'static str) -> Expected {
    Expected { alone, translated: alone, second: ANSWER, requests, counted, cools }
}

impl Expected {
    const fn translated(self, translated: &'static str) -> Self {
        Self { translated, ..self }
    }

    const fn with_second(self, second: &'static str) -> Self {
        Self { second, ..self }
    }
}

const fn any(fault: &'static str, provider: fn(Mode) -> Provider, expected: Expected) -> Row {
    Row { fault, provider, bounded: false, large_alone: false, buffered: Some(expected), streaming: Some(expected) }
}

const fn each(fault: &'static str, provider: fn(Mode) -> Provider, buffered: Expected, streaming: Expected) -> Row {
    Row { fault, provider, bounded: false, large_alone: false, buffered: Some(buffered), streaming: Some(streaming) }
}

const fn stream(fault: &'static str, provider: fn(Mode) -> Provider, expected: Expected) -> Row {
    Row { fault, provider, bounded: false, large_alone: false, buffered: None, streaming: Some(expected) }
}

const fn slow(row: Row) -> Row {
    Row { bounded: true, ..row }
}

const fn large_alone(row: Row) -> Row {
    Row { large_alone: true, ..row }
}

const OPEN: &str = "breaker: open";
const BUSY: &str = "target: overload, 5 s";
const ONE: &str = "breaker: 1 of 5";

/// All faults.
pub const ROWS: &[Row] = &[
    any("no address", provider::without_address, both("502, `upstream_unreachable`", 0, "`network`", OPEN)),
    any("connection refused", provider::refused, both("502, `upstream_unreachable`", 0, "`network`", OPEN)),
    any("certificate of an unknown authority", provider::untrusted, both("502, `upstream_tls`", 0, "`network`", OPEN)),
    any("no TLS handshake", provider::without_handshake, both("504, `upstream_timeout`", 0, "`network`", OPEN)),
    slow(any("the request is not read", provider::unread, both("504, `upstream_timeout`", 0, "`timeout`", ONE))),
    slow(any("no head in time", provider::without_head, both("504, `upstream_timeout`", 1, "`timeout`", ONE))),
    any("reset after the request", provider::reset, both("502, `upstream_closed`", 1, "`network`", OPEN)),
    slow(each(
        "silent before the first content",
        provider::silent_before_content,
        both("a cut, `upstream_timeout`", 1, "`timeout`", ONE).translated("504, `upstream_timeout`"),
        both("an error event, `upstream_timeout`", 1, "`timeout`", ONE),
    )),
    slow(stream(
        "silent after the first content",
        provider::stalled,
        both("content and an error event, `upstream_timeout`", 1, "`timeout`", ONE)
            .with_second("content and an error event, `upstream_timeout`"),
    )),
    each(
        "cut before the first content",
        provider::cut_before_content,
        both("a cut, `upstream_closed`", 1, "`broken`", ONE).translated("502, `upstream_closed`"),
        both("an error event, `upstream_closed`", 1, "`broken`", ONE),
    ),
    stream(
        "cut after the first content",
        provider::cut,
        both("content and an error event, `upstream_closed`", 1, "`broken`", ONE)
            .with_second("content and an error event, `upstream_closed`"),
    ),
    any(
        "408",
        |_| provider::status(408, &[], "timeout", "timeout"),
        both("the provider's error, 408", 1, "`timeout`", ONE).translated("the provider's error, 504"),
    ),
    any(
        "429 without a wait",
        |_| provider::status(429, &[], "tokens", "rate_limit_exceeded"),
        both("the provider's error, 429", 1, "`rate`", "model: rate, 5 s"),
    ),
    any(
        "429 with `retry-after: 40`",
        |_| provider::status(429, &[("retry-after", "40")], "tokens", "rate_limit_exceeded"),
        both("the provider's error, 429", 1, "`rate`", "model: rate, 40 s"),
    ),
    any(
        "429 with a date far away",
        |_| {
            const DATE: [(&str, &str); 1] = [("retry-after", "Mon, 21 Oct 2126 07:28:30 GMT")];
            provider::status(429, &DATE, "tokens", "rate_limit_exceeded")
        },
        both("the provider's error, 429", 1, "`rate`", "model: rate, 300 s"),
    ),
    any(
        "429 with `retry-after-ms: 12000`",
        |_| provider::status(429, &[("retry-after-ms", "12000")], "tokens", "rate_limit_exceeded"),
        both("the provider's error, 429", 1, "`rate`", "model: rate, 12 s"),
    ),
    any(
        "429 with a limit of which nothing remains",
        |_| {
            const RESETS: [(&str, &str); 4] = [
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "20s"),
                ("x-ratelimit-remaining-tokens", "9"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ];
            provider::status(429, &RESETS, "requests", "rate_limit_exceeded")
        },
        both("the provider's error, 429", 1, "`rate`", "model: rate, 20 s"),
    ),
    // A debug build takes long to translate the largest body for the second target.
    large_alone(any(
        "429 with Gemini's `RetryInfo`",
        provider::retry_info,
        both("the provider's error, 429", 1, "`rate`", "model: rate, 31 s"),
    )),
    any(
        "429 with `insufficient_quota`",
        |_| provider::status(429, &[], "insufficient_quota", "insufficient_quota"),
        both("the provider's error, 429", 1, "`quota`", "model: quota, 300 s").translated("the provider's error, 402"),
    ),
    any(
        "500",
        |_| provider::status(500, &[], "server_error", "oops"),
        both("the provider's error, 500", 1, "`broken`", ONE),
    ),
    any(
        "503",
        |_| provider::status(503, &[], "server_error", "busy"),
        both("the provider's error, 503", 1, "`overload`", BUSY).translated("the provider's error, 529"),
    ),
    any(
        "529",
        |_| provider::status(529, &[], "overloaded_error", "busy"),
        both("the provider's error, 529", 1, "`overload`", BUSY),
    ),
    large_alone(any(
        "503 before the body was read",
        provider::early,
        both("the provider's error, 503", 1, "`overload`", BUSY).translated("the provider's error, 529"),
    )),
    any(
        "401 of the gateway's key",
        |_| provider::status(401, &[], "invalid_request_error", "invalid_api_key"),
        both("the provider's error, 401", 1, "`credential`", "target: credential, 60 s"),
    ),
    each(
        "a page in place of the answer",
        provider::garbage,
        both("what came, `upstream_protocol`", 1, "`broken`", ONE).translated("502, `upstream_protocol`"),
        both("an error event, `upstream_closed`", 1, "`broken`", ONE),
    ),
    each(
        "half of the JSON",
        provider::truncated,
        both("what came, `upstream_protocol`", 1, "`broken`", ONE).translated("502, `upstream_protocol`"),
        both("an error event, `upstream_closed`", 1, "`broken`", ONE).translated("an error event, `upstream_protocol`"),
    ),
    each(
        "an error with 200",
        provider::error_inside,
        both("what came, `upstream_error`", 1, "`broken`", ONE).translated("the provider's error, 500"),
        both("the provider's error event, `upstream_error`", 1, "`broken`", ONE),
    ),
    each(
        "an overload with 200",
        provider::overload_inside,
        both("what came, `upstream_error`", 1, "`overload`", BUSY).translated("the provider's error, 529"),
        both("the provider's error event, `upstream_error`", 1, "`overload`", BUSY),
    ),
    stream(
        "an error event after the first content",
        provider::error_after_content,
        both("content and the provider's error event, `upstream_error`", 1, "`broken`", ONE)
            .with_second("content and the provider's error event, `upstream_error`"),
    ),
    stream(
        "an overload after the first content",
        provider::overload_after_content,
        both("content and the provider's error event, `upstream_error`", 1, "`overload`", BUSY)
            .with_second("content and the provider's error event, `upstream_error`"),
    ),
    stream(
        "a client's error after the first content",
        provider::client_error_after_content,
        both("content and the provider's error event, `upstream_error`", 1, "`client`", "-")
            .with_second("content and the provider's error event, `upstream_error`"),
    ),
    any("HTTP/2: GOAWAY before the stream", provider::going_away, both(ANSWER, 2, "`answered`", "-")),
    any("HTTP/2: the stream is refused", provider::refusing_stream, both(ANSWER, 2, "`answered`", "-")),
    any(
        "HTTP/2: the stream is reset",
        provider::resetting_stream,
        both("502, `upstream_closed`", 1, "`network`", OPEN),
    ),
];
