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
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use tokio::{sync::oneshot, time::Instant};

use super::{
    ErrorKind, ProxyError,
    encode::{Caller, Encoded, ReplyPlan, sign},
    heavy,
    key_mask::KeyMask,
    media::Files,
};
use crate::{
    snapshot::Target,
    upstream::{self, SendError, Token, UpstreamBody, balance::Attempt, failure::Meaning},
};

/// How long after a request was written a server may still show that it did not process it.
const MAY_RESEND: Duration = Duration::from_secs(1);

/// A target's reply, and how it is returned.
pub struct UpstreamReply {
    pub reply: Response<upstream::ReplyBody>,
    pub plan: ReplyPlan,
    /// Reports how the attempt ended.
    pub attempt: Attempt,
}

/// One target, and the bounds of the attempt.
pub struct Sender<'a> {
    caller: Caller<'a>,
    target: &'a Target,
    limit: Duration,
    deadline: Option<Instant>,
    /// When the first content of a stream must have come.
    first_token: Option<Instant>,
    /// How often a request had to be sent once more.
    resent: AtomicU32,
}

impl<'a> Sender<'a> {
    /// A sender of requests to `target` for `caller`. Each request may take `limit` until the head of its reply, and
    /// none continues after `deadline`.
    pub const fn new(caller: Caller<'a>, target: &'a Target, limit: Duration, deadline: Option<Instant>) -> Self {
        Self { caller, target, limit, deadline, first_token: None, resent: AtomicU32::new(0) }
    }

    /// The same sender, whose replies must have begun at `first_token`, as content can't come before the head.
    #[must_use]
    pub const fn with_first_token(self, first_token: Option<Instant>) -> Self {
        Self { first_token, ..self }
    }

    /// The target.
    pub const fn target(&self) -> &'a Target {
        self.target
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
        mut encoded: Encoded,
    ) -> Result<(Response<upstream::ReplyBody>, ReplyPlan), ProxyError> {
        let sent = self.in_time(self.send_unbounded(method, &mut encoded, None)).await;
        with_plan(sent, encoded)
    }

    /// Sends one request with `files` in it. They and the body are dropped once the target has them, because a model may
    /// think for minutes, and there is room for the files of some ten requests only.
    ///
    /// # Errors
    /// When the target gives no reply in time.
    pub async fn send_files(
        &self,
        method: &Method,
        mut encoded: Encoded,
        files: &mut Files,
    ) -> Result<(Response<upstream::ReplyBody>, ReplyPlan), ProxyError> {
        let sent = self.in_time(self.send_unbounded(method, &mut encoded, Some(files))).await;
        with_plan(sent, encoded)
    }

    async fn in_time<T>(&self, sending: impl Future<Output = Result<T, ProxyError>>) -> Result<T, ProxyError> {
        let until = Instant::now() + self.limit;
        let until = self.deadline.map_or(until, |deadline| deadline.min(until));
        let (until, late): (_, fn() -> ProxyError) = match self.first_token {
            Some(first) if first < until => (first, no_first_token),
            _ => (until, too_slow),
        };
        tokio::time::timeout_at(until, sending).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends the request; once more, with another credential, when its fetched one is refused.
    async fn send_unbounded(
        &self,
        method: &Method,
        encoded: &mut Encoded,
        mut files: Option<&mut Files>,
    ) -> Result<(Response<upstream::ReplyBody>, Option<KeyMask>), ProxyError> {
        let mut token = self.target.credential.token().await.map_err(|e| ProxyError::no_credential(&e))?;
        let mut reply = self.send_with(method, encoded, files.as_deref_mut(), token.as_deref()).await?;
        if let Some(refused) = &token
            && self.refuses_credential(&reply)
            && !encoded.is_released()
            // Boxed: it is rare.
            && let Some(newer) = Box::pin(self.target.credential.replacement(refused)).await
        {
            self.resent.fetch_add(1, Ordering::Relaxed);
            reply = Box::pin(self.send_with(method, encoded, files, Some(&newer))).await?;
            token = Some(newer);
        }
        Ok((reply, KeyMask::of(&self.target.credential, token.as_ref())))
    }

    /// Whether `reply` refuses the target's credential. No server works for a key that it refuses.
    fn refuses_credential(&self, reply: &Response<upstream::ReplyBody>) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the time of the reply, for waits that it names as dates")]
        let verdict = reply.status().is_client_error().then(|| self.target.judge(reply, SystemTime::now()));
        verdict.flatten().is_some_and(|verdict| verdict.meaning == Meaning::Credential)
    }

    /// Sends the request; once more, on a fresh connection, when the server can't have processed it.
    async fn send_with(
        &self,
        method: &Method,
        encoded: &mut Encoded,
        files: Option<&mut Files>,
        token: Option<&Token>,
    ) -> Result<Response<upstream::ReplyBody>, ProxyError> {
        let request = self.signed(method, encoded, token).await?;
        let pool = self.target.pool_for(encoded.reranks);
        let sent = match files {
            None => pool.send(request, false).await,
            Some(files) => Box::pin(self.send_and_release(request, encoded, files)).await,
        };
        match sent {
            Ok(reply) => Ok(reply),
            Err(error) if error.is_unprocessed() && !encoded.is_released() => {
                self.resent.fetch_add(1, Ordering::Relaxed);
                let again = self.signed(method, encoded, token).await?;
                let again = Box::pin(pool.send(again, true));
                again.await.map_err(|e| ProxyError::upstream(&e))
            }
            Err(error) => Err(ProxyError::upstream(&error)),
        }
    }

    /// Sends, and lets the body and the files in it go when they are written and no longer needed to send them again.
    async fn send_and_release(
        &self,
        mut request: Request<UpstreamBody>,
        encoded: &mut Encoded,
        files: &mut Files,
    ) -> Result<Response<upstream::ReplyBody>, SendError> {
        let (dropped, is_written) = oneshot::channel();
        let watched = Watched { body: encoded.body.clone(), _dropped: dropped };
        *request.body_mut() = UpstreamBody::Full(Some(Bytes::from_owner(watched)));
        let sending = self.target.pool.send(request, false);
        tokio::pin!(sending);
        let written = async {
            let _ = is_written.await;
            tokio::time::sleep(MAY_RESEND).await;
        };
        tokio::select! {
            sent = &mut sending => return sent,
            () = written => {}
        }
        encoded.release();
        files.release();
        sending.await
    }

    /// The request with its credential, off the worker where a signature has to read a large body.
    async fn signed(
        &self,
        method: &Method,
        encoded: &Encoded,
        token: Option<&Token>,
    ) -> Result<Request<UpstreamBody>, ProxyError> {
        let bytes = if self.target.credential.signs() { encoded.body.len() } else { 0 };
        heavy::run(bytes, || self.build(method, encoded, token)).await
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

/// What was sent, with the plan of the request for the reply.
fn with_plan(
    sent: Result<(Response<upstream::ReplyBody>, Option<KeyMask>), ProxyError>,
    encoded: Encoded,
) -> Result<(Response<upstream::ReplyBody>, ReplyPlan), ProxyError> {
    let mut plan = encoded.into_plan();
    let (reply, mask) = sent?;
    plan.mask = mask;
    Ok((reply, plan))
}

/// A body that shows when it was written: the connection drops it then.
struct Watched {
    body: Bytes,
    _dropped: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The error for an upstream that takes too long.
pub fn too_slow() -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTimeout, "the upstream did not answer in time")
}

/// The error for an upstream whose stream has no content in time.
pub fn no_first_token() -> ProxyError {
    ProxyError::new(ErrorKind::FirstTokenTimeout, "the upstream did not begin its answer in time")
}
