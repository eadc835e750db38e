//! Step 10, **finish**: every reply passes here, whoever made it: a backend, the gateway, an error, a redirect.
//!
//! | | |
//! | --- | --- |
//! | has happened | the reply's head is complete in the client's dialect; of its body nothing was sent |
//! | may read | the rule and the backend that were chosen, where the request came so far |
//! | may change | headers of the reply, by the reply policies of rule and backend |
//! | ends the request | never |
//!
//! The record goes along with the reply's body: it is written when the body was handed over, or dropped.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, Version, header, request::Parts};

use super::{
    ProxyError, ReplyBody, RequestRecord, Shared,
    relay::{Relay, RelayPlan},
    watch::Progress,
};
use crate::dialect::DialectId;

/// The id by which operators find a request in the log, on every reply.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");

/// What of a request decides how its reply leaves.
#[derive(Clone, Copy)]
pub struct ReplyTo {
    /// The reply has no body, whatever its head says.
    head: bool,
    /// The connection ends with this reply.
    last: bool,
}

impl ReplyTo {
    /// Reads what `parts` decide. While the process stops, HTTP/1 connections end with the reply that says so, so that
    /// no client sends its next request into one that is being closed.
    pub fn new(parts: &Parts, shared: &Arc<Shared>) -> Self {
        let last = parts.version < Version::HTTP_2 && shared.leaving.load(Ordering::Relaxed);
        Self { head: parts.method == Method::HEAD, last }
    }
}

/// A reply on its way to the client.
pub enum Reply {
    /// The whole reply is here: the gateway made or translated it.
    Local(Response<Bytes>),
    /// The head is here; the body follows from a backend.
    Relayed(http::response::Parts, Box<RelayPlan>),
}

/// An error, and the dialect in which the client reads it.
pub struct Failure {
    pub error: ProxyError,
    pub dialect: DialectId,
}

impl ProxyError {
    /// The error for a client of `dialect`.
    pub const fn to(self, dialect: DialectId) -> Failure {
        Failure { error: self, dialect }
    }
}

/// The reply as it leaves.
pub fn finish(
    outcome: Result<Reply, Failure>,
    to: ReplyTo,
    mut record: RequestRecord,
    progress: Arc<Progress>,
) -> Response<ReplyBody> {
    let outcome = outcome.unwrap_or_else(|Failure { error, dialect }| {
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
    if to.last {
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
