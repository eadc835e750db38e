//! Step 10, **finish**: every reply passes here: of a backend, of the gateway, an error or a redirect.
//!
//! | | |
//! | --- | --- |
//! | has happened | the reply's head is complete in the client's dialect; its body was not sent yet |
//! | may read | the rule and the backend that were chosen, if the request came so far |
//! | may change | headers of the reply, by the reply policies of rule and backend |
//! | ends the request | never |
//!
//! The record is attached to the reply's body: it is written when the body was handed over, or dropped.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use http_body::{Body, Frame, SizeHint};

use super::{
    RequestRecord, Shared,
    error::ClientError,
    relay::{Relay, Reply},
    watch::Progress,
};
/// The id by which operators find a request in the log, on every reply.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");

/// The target that has replied, and how many attempts were made, where the settings have them shown.
const TARGET: HeaderName = HeaderName::from_static("x-tollgate-target");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");

/// The parts of a request that decide how its reply is sent.
#[derive(Clone, Copy)]
pub struct ReplyTo {
    /// Whether the reply has no body, regardless of its head.
    head: bool,
    /// Whether the connection ends with this reply.
    last: bool,
}

impl ReplyTo {
    /// Takes these from `parts`. While the process stops, HTTP/1 connections end with their next reply, whose header
    /// announces it, so that no client sends its next request into a connection that is being closed.
    pub fn new(parts: &Parts, shared: &Arc<Shared>) -> Self {
        let last = parts.version < Version::HTTP_2 && shared.leaving.load(Ordering::Relaxed);
        Self { head: parts.method == Method::HEAD, last }
    }
}

/// The reply in its final form.
pub fn finish(
    outcome: Result<Reply, ClientError>,
    to: ReplyTo,
    mut record: RequestRecord,
    progress: Arc<Progress>,
) -> Response<ReplyBody> {
    let outcome = outcome.unwrap_or_else(|ClientError { error, dialect }| {
        record.failed(error.kind, &error.cause);
        let mut reply = error.reply(dialect, record.trace_id());
        if to.head {
            // There is no body, so it has no type.
            reply.headers_mut().remove(header::CONTENT_TYPE);
        }
        Reply::Local(reply)
    });
    let (mut parts, plan) = match outcome {
        Reply::Local(reply) => {
            let (parts, body) = reply.into_parts();
            (parts, Err(if to.head { Bytes::new() } else { body }))
        }
        Reply::Relayed(parts, plan) => (parts, Ok(plan)),
    };
    for policy in record.reply_policies() {
        policy.head(&mut parts.headers);
    }
    if let Ok(id) = HeaderValue::from_str(record.request_id()) {
        parts.headers.insert(REQUEST_ID, id);
    }
    if let Some((target, attempts)) = record.shown_target() {
        // A name that can't be in a header is not shown.
        parts.headers.extend(HeaderValue::from_str(target).ok().map(|target| (TARGET, target)));
        parts.headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    }
    if to.last && parts.status != StatusCode::SWITCHING_PROTOCOLS {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    parts.version = Version::HTTP_11;
    record.status(parts.status.as_u16());
    let body = match plan {
        Ok(plan) => ReplyBody::Relay(Box::new(Relay::new(*plan, record, progress))),
        Err(body) => {
            record.passed(body.len());
            record.complete();
            ReplyBody::full(body)
        }
    };
    Response::from_parts(parts, body)
}

/// A reply's body.
pub enum ReplyBody {
    /// Made by the gateway; `None` once sent.
    Full(Option<Bytes>),
    /// On its way from a backend.
    Relay(Box<Relay>),
}

impl ReplyBody {
    /// A body of these bytes.
    pub const fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }

    /// No body.
    pub const fn empty() -> Self {
        Self::Full(None)
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Relay(relay) => {
                let polled = catch_unwind(AssertUnwindSafe(|| relay.poll_frame(cx)));
                let Ok(polled) = polled else {
                    relay.panicked();
                    *self = Self::empty();
                    return Poll::Ready(Some(Err(std::io::Error::other("the gateway failed to relay this reply"))));
                };
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}
