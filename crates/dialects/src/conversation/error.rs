//! Errors, in classes that every dialect can express.

use std::{borrow::Cow, fmt};

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The request can't be served as it is (400, 405, 415, 422).
    InvalidRequest,
    /// The credential is missing or wrong (401).
    Authentication,
    /// The account has no money left or has reached its spending limit (402, and some 429).
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
    /// The feature is not implemented (501).
    NotImplemented,
    /// The provider failed (502, 424).
    BadGateway,
    /// The provider can't be reached now, or is overloaded (503, 529).
    Unavailable,
    /// The provider took too long (504, 408).
    Timeout,
}

impl ErrorClass {
    /// The class of an HTTP status, for errors that state nothing more exact.
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

/// An error of a provider, as the provider reported it.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure<'a> {
    /// HTTP status; for an error in a stream, the status that the provider would have sent.
    pub status: u16,
    /// The class of the error.
    pub class: ErrorClass,
    /// The provider's stable code for it, such as `context_length_exceeded`.
    pub code: Option<Cow<'a, str>>,
    /// The provider's message.
    pub message: Cow<'a, str>,
    /// The name of the invalid field, if the provider reports one.
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
    /// A failure without a code or other details.
    pub fn new(status: u16, class: ErrorClass, message: impl Into<Cow<'a, str>>) -> Self {
        Self { status, class, code: None, message: message.into(), param: None, retry_after: None, by_gateway: false }
    }

    /// The failure for a provider whose reply can't be read as a reply.
    pub fn bad_gateway(message: impl Into<Cow<'a, str>>) -> Self {
        Self::new(502, ErrorClass::BadGateway, message)
    }

    /// A failure that the gateway itself reports.
    pub fn of_gateway(status: u16, class: ErrorClass, code: &'a str, message: impl Into<Cow<'a, str>>) -> Self {
        Self { code: Some(Cow::Borrowed(code)), by_gateway: true, ..Self::new(status, class, message) }
    }

    /// An owned copy, which borrows nothing.
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
