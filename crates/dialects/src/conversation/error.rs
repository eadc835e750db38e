//! Errors, in the words that every dialect has one for.

use std::{borrow::Cow, fmt};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The request can't be served as it is (400, 405, 415, 422).
    InvalidRequest,
    /// The credential is missing or wrong (401).
    Authentication,
    /// The account has no money left or has spent what it may (402, and some 429).
    Quota,
    /// The client may not do this (403).
    Permission,
    /// No such route, endpoint or model (404).
    NotFound,
    /// The body is over the limit (413).
    TooLarge,
    /// Too many requests (429).
    RateLimit,
    /// The gateway, its configuration or the provider failed (500).
    Internal,
    /// Not built (501).
    NotImplemented,
    /// The provider failed (502, 424).
    BadGateway,
    /// The provider can't be reached now, or is overloaded (503, 529).
    Unavailable,
    /// The provider took too long (504, 408).
    Timeout,
}

impl ErrorClass {
    /// The class of an HTTP status, where nothing better is known.
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Quota,
            403 => Self::Permission,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            424 | 502 => Self::BadGateway,
            501 => Self::NotImplemented,
            503 | 529 => Self::Unavailable,
            400..=499 => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }
}

/// An error of a provider, as it said it.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure<'a> {
    /// HTTP status; in a stream, the one the provider would have answered.
    pub status: u16,
    /// What went wrong.
    pub class: ErrorClass,
    /// The provider's stable word for it, such as `context_length_exceeded`.
    pub code: Option<Cow<'a, str>>,
    /// The provider's message.
    pub message: Cow<'a, str>,
    /// The field that is wrong, where the provider names one.
    pub param: Option<Cow<'a, str>>,
    /// Seconds after which a retry may succeed, where only the body states them.
    pub retry_after: Option<u64>,
    /// Whether the gateway itself reports it: status and code are then written as they are.
    pub by_gateway: bool,
}

/// Shows `by_gateway` only where it is set, as few failures are the gateway's.
impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, class, code, message, param, retry_after, by_gateway } = self;
        let mut shown = f.debug_struct("Failure");
        shown.field("status", status).field("class", class).field("code", code);
        shown.field("message", message).field("param", param).field("retry_after", retry_after);
        if *by_gateway {
            shown.field("by_gateway", by_gateway);
        }
        shown.finish()
    }
}

impl<'a> Failure<'a> {
    /// A failure of which no more is known.
    pub fn new(status: u16, class: ErrorClass, message: impl Into<Cow<'a, str>>) -> Self {
        Self { status, class, code: None, message: message.into(), param: None, retry_after: None, by_gateway: false }
    }

    /// The failure of a provider whose reply is none.
    pub fn bad_gateway(message: impl Into<Cow<'a, str>>) -> Self {
        Self::new(502, ErrorClass::BadGateway, message)
    }

    /// A failure that the gateway reports in its own words.
    pub fn of_gateway(status: u16, class: ErrorClass, code: &'a str, message: impl Into<Cow<'a, str>>) -> Self {
        Self { code: Some(Cow::Borrowed(code)), by_gateway: true, ..Self::new(status, class, message) }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Failure<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Failure {
            status: self.status,
            class: self.class,
            code: self.code.map(own),
            message: own(self.message),
            param: self.param.map(own),
            retry_after: self.retry_after,
            by_gateway: self.by_gateway,
        }
    }
}
