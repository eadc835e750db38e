//! The axum handler of the data plane. It runs the steps in their order; each step is a module.
//!
//! ```text
//! accept > route > classify > request policies > select ( encode > send ) > reply filters > relay > finish > record
//! ```

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use futures_util::FutureExt;
use http::request::Parts;

use super::{
    ErrorKind, ProxyError, RequestRecord, RouteContext, Shared, body,
    by_model::{self, Early},
    classify, client,
    error::ClientError,
    finish::{self, ReplyBody, ReplyTo},
    forward, model_list,
    peer::Arrival,
    policies,
    relay::{self, Reply},
    route::{self, Route},
    select, websocket,
};
use crate::{
    dialect::{DialectId, Endpoint},
    snapshot::{Action, AiUse, Backend, RequestModel, UnavailableReason},
};

/// Headers of one request: real clients send 40 at most.
pub const MAX_HEADERS: usize = 100;

/// The data plane: one handler for every request.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

/// Handles one request of HTTP.
async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(arrival): ConnectInfo<Arrival>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    respond(&shared, arrival, parts, body).await.map(Body::new)
}

/// Handles one request, whatever it came on. It never fails: errors and panics become replies.
pub async fn respond(shared: &Arc<Shared>, arrival: Arrival, mut parts: Parts, body: Body) -> Response<ReplyBody> {
    let to = ReplyTo::new(&parts, shared);
    let mut record = RequestRecord::begin(Arc::clone(shared), Arc::clone(&arrival.peer.address_text), &parts);
    let mut body = Some(body);
    // Boxed here, because axum's wrapping of a handler's future moves it several times.
    let serving = Box::pin(serve(shared, &arrival, &mut parts, &mut body, &mut record));
    let served = AssertUnwindSafe(serving).catch_unwind().await;
    let outcome = served.unwrap_or_else(|_| {
        // The panic hook has logged it with its location; see `telemetry::panics`.
        let error = ProxyError::new(ErrorKind::Panic, "the gateway failed to serve this request");
        Err(error.to(dialect_of(&parts)))
    });
    if let Some(body) = body {
        body::linger(body);
    }
    finish::finish(outcome, to, record, arrival.progress)
}

/// Serves one request: from its head to the reply's head.
async fn serve(
    shared: &Shared,
    Arrival { peer, handover, .. }: &Arrival,
    parts: &mut Parts,
    body: &mut Option<Body>,
    record: &mut RequestRecord,
) -> Result<Reply, ClientError> {
    if parts.headers.len() > MAX_HEADERS {
        // hyper counts them in HTTP/1.1 only.
        let message = format!("the request has more than {MAX_HEADERS} headers");
        return Err(ProxyError::new(ErrorKind::TooManyHeaders, message).to(dialect_of(parts)));
    }
    if let Some(reply) = websocket::answer(shared, peer, parts, handover, record)? {
        return Ok(reply);
    }
    let routed = route::route(shared, peer, parts, RequestModel::Unread, record);
    let (matched, early) = match routed.map_err(|error| error.to(dialect_of(parts)))? {
        Route::Rule(matched) => (matched, Early::default()),
        // Boxed: it is rare.
        Route::ByModel => Box::pin(by_model::route(shared, peer, parts, body, record))
            .await
            .map_err(|error| error.to(dialect_of(parts)))?,
    };
    let client = client::authenticate(&matched.rule, parts, record).map_err(|error| error.to(dialect_of(parts)))?;
    let split = match &matched.rule.action {
        Action::Forward(split) => split,
        Action::Redirect(to) => return Ok(Reply::Local(route::redirect(to, peer, parts, matched.matched))),
        Action::Unavailable(reason) => return Err(unavailable(reason, parts)),
    };
    let Some((number, weighted)) = split.choose() else {
        return Err(unavailable(&UnavailableReason { status: 500, why: "no backend has any weight".into() }, parts));
    };
    record.chose(number);
    client::hide(client.as_ref(), &matched.rule, matches!(weighted.backend, Backend::Http(_)), parts);
    let mut context = RouteContext::new(&shared.settings, &matched, weighted);
    context.client = client.map(|client| client.identity);
    match &weighted.backend {
        Backend::Ai(ai) => serve_ai(&mut context, ai, early, parts, body, record).await,
        Backend::Http(http) => {
            let model = early.model.as_deref();
            client::check_plain(context.client.as_ref(), model).map_err(|error| error.to(dialect_of(parts)))?;
            if let Some(read) = early.body {
                *body = Some(Body::from(read.bytes().clone()));
            }
            forward::forward(&mut context, http, parts, body, peer, record).await
        }
        Backend::Unavailable(reason) => Err(unavailable(reason, parts)),
    }
}

fn unavailable(reason: &UnavailableReason, parts: &Parts) -> ClientError {
    route::unavailable(reason).to(dialect_of(parts))
}

/// Serves one request from an AI backend.
async fn serve_ai(
    context: &mut RouteContext<'_>,
    ai: &AiUse,
    early: Early,
    parts: &mut Parts,
    body: &mut Option<Body>,
    record: &mut RequestRecord,
) -> Result<Reply, ClientError> {
    // Held until a target has replied, which is as long as a body is held.
    let mut memory = early.memory.unwrap_or_else(|| context.settings.body_budget.share());
    let mut request = classify::classify(context, ai, parts, body, early.body, &mut memory, record).await?;
    context.start_clock();
    let dialect = request.api.dialect;
    client::check(context.client.as_ref(), &request.api).map_err(|error| error.to(dialect))?;
    policies::apply(context, &mut request, &mut parts.headers, record).await.map_err(|error| error.to(dialect))?;
    let answer = if let Some(mut models) = early.models {
        models.retain(|model| context.client.as_ref().is_none_or(|client| client.may_request(&model.id)));
        model_list::local(dialect, parts.uri.path(), models).map(select::Answer::Local)
    } else if model_list::is_for(context, ai, &request) {
        // Boxed: it is rare.
        Box::pin(model_list::answer(context, ai, &request, parts, record)).await
    } else {
        select::select(context, ai, &mut request, parts, record).await
    };
    let answer = answer.map_err(|error| error.to(dialect))?;
    match answer {
        select::Answer::Local(reply) => Ok(reply.into_reply(record)),
        select::Answer::Upstream(reply) => {
            relay::relay(context, &request.api, reply, record).await.map_err(|error| error.to(dialect))
        }
    }
}

/// The dialect of errors before a backend is known: the one that the path names, else OpenAI's, which most clients can
/// read.
fn dialect_of(parts: &Parts) -> DialectId {
    let named = Endpoint::from_path(parts.uri.path()).and_then(|e| e.owner());
    named.or_else(|| DialectId::of_headers(&parts.headers)).unwrap_or(DialectId::Chat)
}
