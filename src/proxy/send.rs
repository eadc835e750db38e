//! Step 7, **send**: one attempt at one target.
//!
//! | | |
//! | --- | --- |
//! | has happened | the request is encoded for this target; nothing was sent to the client |
//! | may read | the encoded request, and the target's credential, which is added here and nowhere else |
//! | may change | nothing of the client's request |
//! | ends the request | never: an error is the attempt's outcome, and selection judges it |

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use http::{Method, Request, Response, Uri};
use tokio::time::Instant;

use super::{
    ErrorKind, ProxyError,
    encode::{Caller, Encoded, ReplyPlan, sign},
    heavy,
    key_mask::KeyMask,
};
use crate::{
    snapshot::Target,
    upstream::{self, Token, UpstreamBody},
};

/// One target, and the bounds of the attempt.
pub struct Sender<'a> {
    caller: Caller<'a>,
    target: &'a Target,
    limit: Duration,
    deadline: Option<Instant>,
    /// How often a request had to be sent once more.
    resent: AtomicU32,
}

impl<'a> Sender<'a> {
    /// A sender of requests to `target` for `caller`. Each request may take `limit` until the head of its reply, and
    /// none continues after `deadline`.
    pub const fn new(caller: Caller<'a>, target: &'a Target, limit: Duration, deadline: Option<Instant>) -> Self {
        Self { caller, target, limit, deadline, resent: AtomicU32::new(0) }
    }

    /// How often a request was sent once more on a fresh connection.
    pub fn resent(&self) -> u32 {
        self.resent.load(Ordering::Relaxed)
    }

    /// Sends one request. Returns the reply, and the plan for returning it to the client.
    ///
    /// # Errors
    /// When the target gives no reply in time.
    pub async fn send(
        &self,
        method: &Method,
        encoded: Encoded,
    ) -> Result<(Response<upstream::ReplyBody>, ReplyPlan), ProxyError> {
        let until = Instant::now() + self.limit;
        let until = self.deadline.map_or(until, |deadline| deadline.min(until));
        let sent = tokio::time::timeout_at(until, self.send_unbounded(method, &encoded)).await;
        let mut plan = encoded.into_plan();
        let (reply, mask) = sent.unwrap_or_else(|_| Err(too_slow()))?;
        plan.mask = mask;
        Ok((reply, plan))
    }

    /// Sends the request; once more, on a fresh connection, when the server can't have processed it.
    async fn send_unbounded(
        &self,
        method: &Method,
        encoded: &Encoded,
    ) -> Result<(Response<upstream::ReplyBody>, Option<KeyMask>), ProxyError> {
        let token = self.target.credential.token().await.map_err(|e| ProxyError::no_credential(&e))?;
        // A signature reads the whole body.
        let signed = if self.target.credential.signs() { encoded.body.len() } else { 0 };
        let build = async || heavy::run(signed, || self.build(method, encoded, token.as_deref())).await;
        let reply = match self.target.pool.send(build().await?, false).await {
            Ok(reply) => Ok(reply),
            Err(error) if error.is_unprocessed() => {
                self.resent.fetch_add(1, Ordering::Relaxed);
                let again = Box::pin(self.target.pool.send(build().await?, true));
                again.await.map_err(|e| ProxyError::upstream(&e))
            }
            Err(error) => Err(ProxyError::upstream(&error)),
        };
        reply.map(|reply| (reply, KeyMask::of(&self.target.credential, token.as_ref())))
    }

    fn build(
        &self,
        method: &Method,
        encoded: &Encoded,
        token: Option<&Token>,
    ) -> Result<Request<UpstreamBody>, ProxyError> {
        let Encoded { path, body, .. } = encoded;
        let mut out = Request::new(UpstreamBody::Full(Some(body.clone())));
        *out.method_mut() = method.clone();
        *out.uri_mut() = Uri::from(path.clone());
        let mut headers = self.caller.headers(self.target, encoded, token)?;
        sign(self.target, method, path, body, token, &mut headers)?;
        *out.headers_mut() = headers;
        Ok(out)
    }
}

/// The error for an upstream that takes too long.
pub fn too_slow() -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTimeout, "the upstream did not answer in time")
}
