//! An exchange with an LLM provider: understand, choose, encode, send, relay.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header, request::Parts};
use hyper::body::Incoming;

use super::{
    ErrorKind, ProxyError, ReplyBody, RequestRecord, Settings, body,
    encode::{Caller, ClientRequest, Encoded, ReplyPlan, refused, sign},
    headers, lookup,
    relay::{Observer, Relay, RelayForm},
    translate::{self, ParsedRequest, ReadLimits, Translated, Translation},
};
use crate::{
    dialect::{
        ApiRequest, DialectId, ReplyObserver, RequestHead, StreamMode, classify::ClassifyError, observer::ReplyForm,
    },
    provider::Refusal,
    snapshot::{AiUse, Rule, Target, WeightedBackend},
    stream::{InvokeFilter, TopLevel},
    upstream::{self, Token, UpstreamBody},
};

/// Attempts of one request, over all targets: a Backend may list hundreds, and a client waits.
const MAX_ATTEMPTS: u32 = 8;

/// What becomes of the attempts.
pub enum Outcome {
    /// A target's reply, and how it goes back.
    Reply(Response<upstream::ReplyBody>, ReplyPlan),
    /// An answer of the gateway's, made of what targets replied.
    Known(lookup::Known),
}

/// How far the attempts came.
enum Tried<'t> {
    /// To their end.
    Done(Outcome),
    /// To the last target, which is still to be asked.
    Last(Encoded, &'t Target),
}

/// What is sent to a target.
enum Planned {
    /// One request.
    One(Encoded),
    /// As many as the answer takes.
    Lookup(lookup::Plan),
}

/// A reply from a target, or why there is none.
type Answer = Result<Response<upstream::ReplyBody>, ProxyError>;

/// An error with the dialect to say it in, and the account to close.
pub type Failed = (ProxyError, DialectId, RequestRecord);

/// What was chosen for a request.
#[derive(Clone, Copy)]
pub struct RouteContext<'a> {
    /// Bounds.
    pub settings: &'a Settings,
    /// The rule that matched.
    pub rule: &'a Rule,
    /// Length of the path's part that matched.
    pub matched: usize,
    /// The backend.
    pub weighted: &'a WeightedBackend,
}

/// Serves one request from an AI backend.
pub async fn exchange(
    chosen: RouteContext<'_>,
    ai: &AiUse,
    mut parts: Parts,
    incoming: Incoming,
    mut record: RequestRecord,
) -> Result<Response<ReplyBody>, Failed> {
    let RouteContext { settings, rule, matched, weighted } = chosen;
    let path = parts.uri.path();
    let understood = RequestHead {
        method: &parts.method,
        path,
        suffix: path.get(matched..).unwrap_or_default(),
        query: parts.uri.query(),
        headers: &parts.headers,
        backend: ai.backend.dialect,
        listed: &ai.backend.routes,
        route_streams: rule.streams,
    };
    let dialect = understood.dialect_hint();
    let body = match body::read(incoming, settings.max_body, settings.body_timeout).await {
        Ok(body) => body,
        Err(error) => return Err((error, dialect, record)),
    };
    let (ask, top) = match classify(&understood, &body) {
        Ok(understood) => understood,
        Err(error) => return Err((error, dialect, record)),
    };
    record.classified(&ask, body.len());
    rule.request_headers.apply(&mut parts.headers);
    weighted.request_headers.apply(&mut parts.headers);
    let request = ClientRequest {
        ask: &ask,
        query: parts.uri.query(),
        headers: &parts.headers,
        body: &body,
        top: top.as_ref(),
        inlined: false,
    };
    let attempts = attempts(settings, rule, ai, &request, &parts, &mut record);
    let deadline = rule.timeouts.request.map(|limit| tokio::time::Instant::now() + limit);
    let bounded = async {
        match deadline {
            Some(at) => tokio::time::timeout_at(at, attempts).await.unwrap_or_else(|_| Err(too_slow())),
            None => attempts.await,
        }
    };
    let tried = bounded.await;
    // Nobody else will be asked: while the last target works, the client's body need not be held beside its own.
    drop(top);
    body::recycle(body);
    let answer = match tried {
        Ok(Tried::Done(outcome)) => Ok(outcome),
        Ok(Tried::Last(encoded, target)) => {
            let caller = Caller { headers: &parts.headers, query: parts.uri.query() };
            let limit = rule.timeouts.backend.unwrap_or(settings.backend_timeout);
            let attempt = Attempt { caller, target, limit, resent: AtomicBool::new(false) };
            let sent = attempt.run(&parts.method, &encoded);
            let reply = match deadline {
                Some(at) => tokio::time::timeout_at(at, sent).await.unwrap_or_else(|_| Err(too_slow())),
                None => sent.await,
            };
            if attempt.resent.load(Ordering::Relaxed) {
                record.resent();
            }
            let Encoded { body, way, .. } = encoded;
            body::recycle(body);
            reply.map(|reply| Outcome::Reply(reply, way))
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(Outcome::Known(known)) => Ok(known.reply(&chosen, &parts.method, record)),
        Ok(Outcome::Reply(reply, way)) => {
            let ReplyPlan { hide_usage, unwrap, errors, translation } = way;
            let how = Reply { chosen, ask: &ask, hide_usage, unwrap, deadline };
            match translation.or(errors.filter(|_| !reply.status().is_success())) {
                None => Ok(relay(&how, reply, record)),
                Some(translation) => translated(&how, *translation, reply, record).await,
            }
        }
        Err(error) => Err((error, ask.dialect, record)),
    }
}

/// What is asked, and the body's top level when there is a body to read.
fn classify<'b>(request: &RequestHead<'_>, body: &'b Bytes) -> Result<(ApiRequest, Option<TopLevel<'b>>), ProxyError> {
    let by_path = request.endpoint_from_path();
    if by_path.is_none() && body.is_empty() && request.method == http::Method::POST {
        return Err(ProxyError::new(ErrorKind::BadBody, "the request body is empty"));
    }
    let reads_body = by_path.as_ref().is_none_or(|e| e.has_body() && e.allows(request.method));
    let top = if reads_body && !(by_path.is_none() && body.is_empty()) {
        let scanned = TopLevel::scan(body).map_err(|error| match request.headers.get(header::CONTENT_ENCODING) {
            Some(coding) if coding != "identity" => {
                let message = "the request body is compressed, which is not understood: send it as it is";
                ProxyError::new(ErrorKind::BodyEncoded, message)
            }
            _ => ProxyError::new(ErrorKind::BadBody, error.to_string()),
        })?;
        Some(scanned)
    } else {
        None
    };
    let ask = request.classify(top.as_ref()).map_err(|why| match why {
        ClassifyError::NoEndpoint => ProxyError::new(
            ErrorKind::NoEndpoint,
            "no endpoint has this path, and the body is not that of a known one (messages, contents, prompt, input)",
        ),
        ClassifyError::Method(allow) => {
            let mut error = ProxyError::new(ErrorKind::MethodNotAllowed, format!("this endpoint allows {allow}"));
            error.allow = Some(allow);
            error
        }
        ClassifyError::Field(message) => ProxyError::new(ErrorKind::BadBody, message),
    })?;
    Ok((ask, top))
}

/// Tries targets in their order until one answers with something that is not worth another try, or only one is left.
async fn attempts<'t>(
    settings: &Settings,
    rule: &Rule,
    ai: &'t AiUse,
    request: &ClientRequest<'_, '_>,
    parts: &Parts,
    record: &mut RequestRecord,
) -> Result<Tried<'t>, ProxyError> {
    let limit = rule.timeouts.backend.unwrap_or(settings.backend_timeout);
    let mut last: Option<ProxyError> = None;
    // An answer that another target might better, until one does.
    let mut kept = None;
    let mut tried = 0;
    // Read when the first target needs it.
    let mut question = None;
    let mut order = ai.backend.order().peekable();
    while let Some((group, index, target)) = order.next() {
        let planned = match prepare(settings, rule, ai, request, parts, (&mut question, target)).await {
            Ok(Planned::Lookup(plan)) if plan.asks_nobody() => {
                return plan.known().map(|known| Tried::Done(Outcome::Known(known)));
            }
            Ok(planned) => planned,
            Err(error) => {
                last.get_or_insert(error);
                continue;
            }
        };
        tried += 1;
        record.attempt(group, index, crate::provider::resolve_model(&*target.provider, request.ask));
        let more = order.peek().is_some() && tried < MAX_ATTEMPTS;
        let attempt = Attempt { caller: request.caller(), target, limit, resent: AtomicBool::new(false) };
        let outcome = match planned {
            Planned::One(encoded) if !more => return Ok(Tried::Last(encoded, target)),
            Planned::One(encoded) => {
                attempt.run(&parts.method, &encoded).await.map(|reply| Outcome::Reply(reply, encoded.way))
            }
            Planned::Lookup(plan) => {
                let idle = rule.timeouts.stream_idle.unwrap_or(settings.idle_timeout);
                let reading = ReadLimits { idle, deadline: None, request_id: record.trace_id().to_owned() };
                // Boxed: it is rare, and holds several replies.
                Box::pin(plan.run(&attempt, &reading)).await
            }
        };
        if attempt.resent.load(Ordering::Relaxed) {
            record.resent();
        }
        match outcome {
            Ok(Outcome::Reply(reply, way)) if more && worth_another(reply.status()) => {
                tracing::info!(
                    target = target.name,
                    status = reply.status().as_u16(),
                    trace_id = record.trace_id(),
                    "trying the next target"
                );
                kept = Some(Outcome::Reply(reply, way));
            }
            Ok(outcome) => return Ok(Tried::Done(outcome)),
            Err(error) => {
                if more {
                    tracing::info!(
                        target = target.name,
                        cause = error.cause,
                        trace_id = record.trace_id(),
                        "trying the next target"
                    );
                }
                let ours = error.kind == ErrorKind::NoCredential;
                last = Some(error);
                kept = None;
                if ours {
                    break;
                }
            }
        }
        if tried >= MAX_ATTEMPTS {
            break;
        }
    }
    kept.map(Tried::Done)
        .ok_or_else(|| last.unwrap_or_else(|| ProxyError::new(ErrorKind::Misconfigured, "the backend has no target")))
}

/// What `target` is sent. `question` is read once, for the first target that needs it.
async fn prepare<'q>(
    settings: &Settings,
    rule: &Rule,
    ai: &AiUse,
    request: &'q ClientRequest<'_, '_>,
    parts: &Parts,
    (question, target): (&mut Option<ParsedRequest<'q>>, &Target),
) -> Result<Planned, ProxyError> {
    if let Some(plan) = lookup::plan(request, parts.uri.path(), target, rule, &ai.backend) {
        return plan.map(Planned::Lookup);
    }
    let encoded = match request.encode(target) {
        Err(Refusal::Translation) => {
            // Boxed: most requests are not translated, and its state is large.
            Box::pin(request.translate(question, target, ai.backend.strict, &settings.fetcher)).await
        }
        encoded => encoded.map_err(|refusal| refused(refusal, request.ask, target.provider.info().name)),
    };
    encoded.map(Planned::One)
}

/// Statuses after which another target may do better.
fn worth_another(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429) || status.is_server_error()
}

fn too_slow() -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTimeout, "the upstream did not answer in time")
}

/// One target, and what it is sent.
pub struct Attempt<'a> {
    caller: Caller<'a>,
    target: &'a Target,
    limit: Duration,
    /// Set when a request had to be sent once more.
    resent: AtomicBool,
}

impl Attempt<'_> {
    /// Sends one request.
    ///
    /// # Errors
    /// When the target gives no reply in time.
    pub async fn run(&self, method: &Method, encoded: &Encoded) -> Answer {
        match tokio::time::timeout(self.limit, self.send(method, encoded)).await {
            Ok(answer) => answer,
            Err(_) => Err(too_slow()),
        }
    }

    /// Sends; once more on a fresh connection when a kept one proved stale.
    async fn send(&self, method: &Method, encoded: &Encoded) -> Answer {
        let token = self.target.credential.token().await.map_err(|e| ProxyError::no_credential(&e))?;
        let build = || self.build(method, encoded, token.as_deref());
        match self.target.pool.send(build()?, false).await {
            Ok(reply) => Ok(reply),
            Err(error) if error.is_stale() => {
                self.resent.store(true, Ordering::Relaxed);
                self.target.pool.send(build()?, true).await.map_err(|e| ProxyError::upstream(&e))
            }
            Err(error) => Err(ProxyError::upstream(&error)),
        }
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

/// What decides how a reply is relayed.
struct Reply<'a> {
    chosen: RouteContext<'a>,
    ask: &'a ApiRequest,
    hide_usage: bool,
    unwrap: bool,
    deadline: Option<tokio::time::Instant>,
}

fn relay(how: &Reply<'_>, reply: Response<upstream::ReplyBody>, mut record: RequestRecord) -> Response<ReplyBody> {
    let Reply { chosen: RouteContext { settings, rule, weighted, .. }, ask, hide_usage, unwrap, deadline } = *how;
    let (mut parts, body) = reply.into_parts();
    record.status(parts.status.as_u16());
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let mode = match ask.stream {
        StreamMode::JsonArray if parts.status.is_success() => StreamMode::JsonArray,
        _ if content_type.get(..17).is_some_and(|s| s.eq_ignore_ascii_case(b"text/event-stream")) => StreamMode::Sse,
        _ if content_type.starts_with(b"application/vnd.amazon.eventstream") => StreamMode::EventStream,
        _ => StreamMode::No,
    };
    let unwrap = (unwrap && mode == StreamMode::EventStream).then(InvokeFilter::default);
    let (mode, content_type): (_, &[u8]) =
        if unwrap.is_some() { (StreamMode::Sse, b"text/event-stream") } else { (mode, content_type) };
    let encoded = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity");
    let observer = ReplyObserver::new(ReplyForm { dialect: ask.dialect, content_type, encoded, hide_usage });
    headers::from_provider(&mut parts.headers);
    if unwrap.is_some() {
        parts.headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/event-stream; charset=utf-8"));
    }
    if mode != StreamMode::No {
        // An error may have to be added at the end.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    rule.response_headers.apply(&mut parts.headers);
    weighted.response_headers.apply(&mut parts.headers);
    // What we can't read we can't add to either.
    let mode = if encoded { StreamMode::No } else { mode };
    let idle = rule.timeouts.stream_idle.unwrap_or(settings.idle_timeout);
    let form = RelayForm { dialect: ask.dialect, mode, unwrap, idle, deadline };
    let relay = Relay::new(body, Some(Observer::Watch(observer)), record, form);
    parts.version = http::Version::HTTP_11;
    Response::from_parts(parts, ReplyBody::Relay(Box::new(relay)))
}

/// The reply of a target that speaks another dialect than the client.
async fn translated(
    how: &Reply<'_>,
    translation: Translation,
    reply: Response<upstream::ReplyBody>,
    mut record: RequestRecord,
) -> Result<Response<ReplyBody>, Failed> {
    let Reply { chosen: RouteContext { settings, rule, weighted, .. }, ask, deadline, .. } = *how;
    record.dropped(&translation.dropped);
    let idle = rule.timeouts.stream_idle.unwrap_or(settings.idle_timeout);
    let reading = ReadLimits { idle, deadline, request_id: record.trace_id().to_owned() };
    let (mut parts, body) = match translation.reply(reply, &reading).await {
        Err(error) => return Err((error, ask.dialect, record)),
        Ok(Translated::Whole(reply, totals)) => {
            let (parts, body) = reply.into_parts();
            record.status(parts.status.as_u16());
            record.passed(body.len());
            record.counted(totals);
            record.complete();
            (parts, ReplyBody::full(body))
        }
        Ok(Translated::Stream(reply, observer, mode)) => {
            let (parts, body) = reply.into_parts();
            record.status(parts.status.as_u16());
            let form = translate::form(ask.dialect, mode, &reading);
            (parts, ReplyBody::Relay(Box::new(Relay::new(body, Some(observer), record, form))))
        }
    };
    rule.response_headers.apply(&mut parts.headers);
    weighted.response_headers.apply(&mut parts.headers);
    parts.version = http::Version::HTTP_11;
    Ok(Response::from_parts(parts, body))
}
