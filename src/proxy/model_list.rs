//! Part of step 5: the list of models where a Backend selects its targets by the client's model, or where a client may
//! request some models only.
//!
//! The list is what clients may request: the names and aliases in the manifests and, of each provider with a pattern,
//! those of its own models that fit one. A provider that does not answer is left out, so that its failure does not hide
//! the models of the others.

use std::{borrow::Cow, collections::HashSet};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::request::Parts;

use super::{
    ErrorKind, ProxyError, RequestRecord, RouteContext,
    classify::ClassifiedRequest,
    encode::{Caller, ClientRequest},
    media::Files,
    operation,
    select::{self, Answer, Prepared},
    send::Sender,
};
use crate::{
    dialect::{
        DialectId, Endpoint,
        operation::models::{self, Model, Source},
    },
    snapshot::{AiUse, Target},
    upstream::balance::{Attempt, AttemptOutcome},
};

/// Most providers that are asked at a time.
const AT_ONCE: usize = 4;
/// Most models of a list. The largest providers have some hundreds each.
const MAX_MODELS: usize = 10_000;

/// Whether `request` is for the list that is made here.
pub fn is_for(context: &RouteContext<'_>, ai: &AiUse, request: &ClassifiedRequest) -> bool {
    let is_limited = context.client.as_ref().is_some_and(|client| client.models.is_some());
    (ai.backend.by_model || is_limited) && request.api.endpoint == Endpoint::Models(None)
}

/// The list of the models that the Backend's targets serve.
///
/// # Errors
/// When no model is known, and a provider could not be asked.
pub async fn answer(
    context: &RouteContext<'_>,
    ai: &AiUse,
    request: &ClassifiedRequest,
    parts: &Parts,
    record: &RequestRecord,
) -> Result<Answer, ProxyError> {
    let mut models = operation::named(context.rule);
    let mut seen: HashSet<String> = models.iter().map(|model| model.id.clone()).collect();
    let mut failure = None;
    let open = ai.backend.groups.iter().flatten().filter(|target| lists(target));
    let asking: Vec<BoxFuture<'_, _>> = open
        .map(|target| async move { (target, ask(context, ai, request, parts, target, record).await) }.boxed())
        .collect();
    let mut lists = stream::iter(asking).buffered(AT_ONCE);
    while let Some((target, list)) = lists.next().await {
        match list {
            Ok(Listed::Models(ids)) => {
                let owner = target.provider.info().name;
                let room = MAX_MODELS.saturating_sub(models.len());
                let names = ids.iter().filter_map(|id| match &target.names {
                    Some(names) => names.name_of(id).map(Cow::into_owned),
                    None => Some(id.clone()),
                });
                let new = names.filter(|name| seen.insert(name.clone()));
                models.extend(new.take(room).map(|id| Model { id, owner }));
            }
            Ok(Listed::Failed(answer)) => {
                tracing::warn!(target = target.name, "the list of models lacks this provider's: it answered an error");
                failure.get_or_insert(Ok(*answer));
            }
            Err(error) => {
                let cause = error.cause.as_str();
                tracing::warn!(target = target.name, cause, "the list of models lacks this provider's");
                failure.get_or_insert(Err(error));
            }
        }
    }
    drop(lists);
    models.retain(|model| context.client.as_ref().is_none_or(|client| client.may_request(&model.id)));
    match failure {
        Some(failure) if models.is_empty() => failure,
        _ => local(request.api.dialect, parts.uri.path(), models).map(Answer::Local),
    }
}

/// The reply with these models to a client of `dialect` that has requested `path`.
///
/// # Errors
/// None that a list could have.
pub fn local(dialect: DialectId, path: &str, models: Vec<Model>) -> Result<operation::LocalReply, ProxyError> {
    let plan = models::plan(None, dialect, path, models, Source::Backends);
    operation::local(plan.map_err(|_| unlisted())?, &[])
}

/// Whether `target` has models that its provider lists.
fn lists(target: &Target) -> bool {
    target.is_open() && target.path.is_none() && target.provider.info().dialect.dialect().lists_models()
}

/// What one provider has answered.
enum Listed {
    Models(Vec<String>),
    /// An error of the provider.
    Failed(Box<Answer>),
}

async fn ask(
    context: &RouteContext<'_>,
    ai: &AiUse,
    request: &ClassifiedRequest,
    parts: &Parts,
    target: &Target,
    record: &RequestRecord,
) -> Result<Listed, ProxyError> {
    let info = target.provider.info();
    let client = ClientRequest {
        api_request: &request.api,
        query: None,
        headers: &parts.headers,
        body: &bytes::Bytes::new(),
        top: None,
        inlined: false,
        endpoint_missing: false,
    };
    // Every provider's list is read in one form, whatever the client's is.
    let source = Source::Provider(info.dialect, info.name);
    let plan = models::plan(None, DialectId::Chat, "/v1/models", Vec::new(), source).map_err(|_| unlisted())?;
    let plan = operation::encode(plan, &client, target, ai.backend.strict)?;
    let caller = Caller::new(parts, &request.added);
    let sender = Sender::new(caller, target, context.attempt_timeout, context.deadline);
    let guard = Attempt::watched(&target.state, "", target.credential.is_own(), None);
    let mut files = Files::default();
    let prepared = Prepared::Operation(plan);
    match select::attempt(context, parts, prepared, &mut files, guard, &sender, record).await? {
        Answer::Local(reply) => {
            let ids = DialectId::Chat.dialect().read_models(reply.body(), true);
            ids.map(Listed::Models).ok_or_else(unlisted)
        }
        Answer::Upstream(mut reply) => {
            reply.attempt.ended(AttemptOutcome::Refused);
            Ok(Listed::Failed(Box::new(Answer::Upstream(reply))))
        }
    }
}

fn unlisted() -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamProtocol, "the upstream's reply holds no models")
}
