//! Embeddings, rankings, token counts and lists of models for targets of another dialect: the requests to the target, and the one
//! reply that is combined from its replies.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, Method, Response, header, uri::PathAndQuery};

use super::{
    ErrorKind, ProxyError, RequestRecord,
    encode::{ClientRequest, Encoded, ReplyPlan, refused},
    heavy,
    relay::Reply,
    send::Sender,
    translate::{self, DROPPED, ReadLimits, Translation},
};
use crate::{
    conversation::Unsupported,
    dialect::{
        DialectId, Endpoint,
        observer::Totals,
        operation::{
            OperationError, OperationPlan, OperationReply, OperationTarget, UpstreamReply,
            models::{self, Model, Source},
        },
    },
    provider::{ModelNames, Refusal, TranslationNeeds},
    snapshot::{Action, AiBackend, Backend, Rule, Strictness, Target},
    upstream,
};

/// The header with the names of the values of the reply that are estimated.
const ESTIMATED: HeaderName = HeaderName::from_static("x-tollgate-estimated");

/// Most requests of one operation that are under way at a time.
const AT_ONCE: usize = 4;
/// Largest replies of one operation together: 2048 embeddings of 3072 numbers take some fifty megabytes.
const MAX_REPLIES: usize = 64 * 1024 * 1024;

/// The requests to a target for one operation.
pub struct Plan {
    operation: OperationPlan,
    encoded: Vec<Encoded>,
    method: Method,
    /// The header with the number of tokens of the prompt, if the target's dialect has one.
    token_count: Option<&'static str>,
}

/// A reply that the gateway has completed itself.
pub struct LocalReply {
    reply: OperationReply,
    dropped: Unsupported,
}

/// The requests to `target`, if this is an operation that the target does not accept as the client wrote it. `path` is
/// the client's.
pub fn plan(
    request: &ClientRequest<'_, '_>,
    path: &str,
    target: &Target,
    rule: &Rule,
    backend: &AiBackend,
) -> Option<Result<Plan, ProxyError>> {
    let (api_request, provider) = (request.api_request, &*target.provider);
    let name = provider.info().name;
    let operation = match (&api_request.endpoint, request.top) {
        (Endpoint::Models(one), _) => {
            let mut known = named(rule);
            let source = match one {
                Some(id) if backend.by_model && settles(target, id, &mut known) => Source::Backends,
                _ => match source(target, rule, backend, api_request.dialect)? {
                    Ok(source) => source,
                    Err(error) => return Some(Err(error)),
                },
            };
            models::plan(one.as_deref(), api_request.dialect, path, known, source)
        }
        (endpoint, Some(top)) if OperationPlan::is_for(endpoint) => {
            let model = target.model_for(api_request);
            if request.is_native(target, model) {
                return None;
            }
            // The client's dialect makes no difference: the provider does not support it.
            let Some((_, quirks)) = provider.translation(&TranslationNeeds::plain(model)) else {
                return Some(Err(refused(Refusal::Translation, api_request, name)));
            };
            let facts = target.models.facts(model);
            // Whatever conversations are translated to: a provider has one dialect for these operations.
            let dialect = provider.info().dialect;
            let to = OperationTarget { dialect, quirks, model, facts, has_paths: target.path.is_none() };
            OperationPlan::new(api_request, top, &to)
        }
        _ => return None,
    };
    let operation = operation.map_err(|why| match why {
        OperationError::Invalid(invalid) => ProxyError::new(ErrorKind::BadBody, invalid.to_string()),
        OperationError::Missing(message) => ProxyError::new(ErrorKind::NoEndpoint, message),
        OperationError::NoModel => refused(Refusal::ModelMissing, api_request, name),
        OperationError::UnknownModel(id) => ProxyError::unknown_model(&id),
    });
    Some(operation.and_then(|operation| encode(operation, request, target, backend.strict)))
}

/// The requests of `operation` to `target`.
///
/// # Errors
/// When the target can't be sent them, or `strict` refuses what they leave out.
pub fn encode(
    operation: OperationPlan,
    request: &ClientRequest<'_, '_>,
    target: &Target,
    strict: Strictness,
) -> Result<Plan, ProxyError> {
    let (api_request, provider) = (request.api_request, &*target.provider);
    let info = provider.info();
    // Unsupported fields do not change a count.
    if api_request.endpoint.operation() != "count_tokens" {
        translate::refuse_dropped(strict, &operation.dropped, "to this route's provider")?;
    }
    let encoded = operation.requests.iter().map(|upstream| {
        let model = upstream.api_request.model.as_deref();
        let path = provider.path(&upstream.api_request, model, upstream.query);
        let path = path.map_err(|refusal| refused(refusal, api_request, info.name))?;
        let head = translate::head(api_request, model.unwrap_or_default(), false);
        let errors = Translation::of_errors(info.dialect, api_request.dialect, head);
        let plan = ReplyPlan { translation: Some(Box::new(errors)), ..ReplyPlan::default() };
        let reranks = upstream.api_request.endpoint.reranks();
        let path: PathAndQuery = target.path.clone().unwrap_or(path);
        Ok(Encoded { path, body: upstream.body.clone(), has_files: false, reranks, plan })
    });
    let encoded = encoded.collect::<Result<Vec<_>, ProxyError>>()?;
    let method = if api_request.endpoint.has_body() { Method::POST } else { Method::GET };
    Ok(Plan { operation, encoded, method, token_count: info.dialect.dialect().token_count_header() })
}

/// All targets of a rule, whatever backend they belong to.
fn targets(rule: &Rule) -> impl Iterator<Item = &Target> {
    let backends = match &rule.action {
        Action::Forward(split) => split.backends(),
        Action::Redirect(_) | Action::Unavailable(_) => &[],
    };
    backends
        .iter()
        .flat_map(|weighted| match &weighted.backend {
            Backend::Ai(ai) => ai.backend.groups.as_slice(),
            Backend::Http(_) | Backend::Unavailable(_) => &[],
        })
        .flatten()
}

/// The models that a rule's Backends name, each once.
pub fn named(rule: &Rule) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    let mut seen = HashSet::new();
    for target in targets(rule) {
        let own = target.provider.model().filter(|_| target.names.is_none());
        let listed = target.names.iter().flat_map(ModelNames::listed);
        for id in own.into_iter().chain(listed).filter(|id| seen.insert(*id)) {
            models.push(Model { id: id.to_owned(), owner: target.provider.info().name });
        }
    }
    models
}

/// Whether the manifests decide that there is the model `id`, which `target` serves. It is then among the known ones.
fn settles(target: &Target, id: &str, known: &mut Vec<Model>) -> bool {
    if known.iter().any(|model| model.id == id) {
        return true;
    }
    // It fits a pattern, and the provider does not know it by this name.
    let is_replaced = !target.is_open() || target.names.as_ref().is_some_and(|names| names.alias(id).is_some());
    if is_replaced {
        known.push(Model { id: id.to_owned(), owner: target.provider.info().name });
    }
    is_replaced
}

/// The source of the models when `target` serves a client of `dialect`. `None` when the target's own reply is returned
/// to the client.
fn source(target: &Target, rule: &Rule, backend: &AiBackend, dialect: DialectId) -> Option<Result<Source, ProxyError>> {
    let is_open = Target::is_open;
    let info = target.provider.info();
    if !targets(rule).any(is_open) || !backend.groups.iter().flatten().any(is_open) {
        return Some(Ok(Source::Backends));
    }
    if !is_open(target) {
        let message = "another provider of this route lists the models";
        return Some(Err(ProxyError::new(ErrorKind::NoEndpoint, message)));
    }
    if !info.dialect.dialect().lists_models() {
        return Some(Ok(Source::Backends));
    }
    if info.dialect.shares_api(dialect) {
        return None;
    }
    let is_listed = target.path.is_none();
    Some(Ok(if is_listed { Source::Provider(info.dialect, info.name) } else { Source::Backends }))
}

impl Plan {
    /// Whether the reply needs no request to the target.
    pub fn needs_no_request(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The reply of a plan that [needs no request](Self::needs_no_request).
    ///
    /// # Errors
    /// When it needs one.
    pub fn local(self) -> Result<LocalReply, ProxyError> {
        local(self.operation, &[])
    }

    /// Sends the requests to the target, and combines its replies into one. If one of them is an error, the client gets
    /// the first such reply.
    ///
    /// # Errors
    /// When the target can't be reached, or a reply does not contain the requested data.
    pub async fn run(self, sender: &Sender<'_>, limits: &ReadLimits) -> Result<Outcome, ProxyError> {
        let Self { operation, encoded, method, token_count } = self;
        let method = &method;
        let mut replies = Vec::with_capacity(encoded.len());
        let mut room = MAX_REPLIES;
        let send = |encoded| send(sender, method, encoded, token_count, limits);
        let mut waiting = stream::iter(encoded).map(send).buffered(AT_ONCE);
        while let Some(reply) = waiting.next().await {
            match reply? {
                Sent::Reply(reply) => {
                    let Some(left) = room.checked_sub(reply.body.len()) else {
                        let message = format!("the upstream's replies are larger than {MAX_REPLIES} bytes");
                        return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
                    };
                    room = left;
                    replies.push(reply);
                }
                Sent::Error(error) => {
                    let (error, plan) = *error;
                    return Ok(match operation.fallback(error.status().as_u16()) {
                        Some(reply) => Outcome::Local(LocalReply { reply, dropped: operation.dropped }),
                        None => Outcome::Reply(Box::new(error), plan),
                    });
                }
            }
        }
        drop(waiting);
        heavy::run(MAX_REPLIES - room, || local(operation, &replies)).await.map(Outcome::Local)
    }
}

/// The result of one request.
enum Sent {
    /// A whole reply.
    Reply(UpstreamReply),
    /// An error of the provider.
    Error(Box<(Response<upstream::ReplyBody>, ReplyPlan)>),
}

async fn send(
    sender: &Sender<'_>,
    method: &Method,
    encoded: Encoded,
    token_count: Option<&'static str>,
    limits: &ReadLimits,
) -> Result<Sent, ProxyError> {
    let (reply, plan) = sender.send(method, encoded).await?;
    if !reply.status().is_success() {
        return Ok(Sent::Error(Box::new((reply, plan))));
    }
    let count = token_count.and_then(|name| reply.headers().get(name));
    let tokens = count.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = translate::collect(reply.into_body(), MAX_REPLIES, limits).await?;
    Ok(Sent::Reply(UpstreamReply { body, tokens }))
}

/// The reply that `operation` makes of its requests' replies.
///
/// # Errors
/// When they do not contain what was requested.
pub fn local(mut operation: OperationPlan, replies: &[UpstreamReply]) -> Result<LocalReply, ProxyError> {
    let dropped = std::mem::take(&mut operation.dropped);
    let reply = operation
        .reply(replies)
        .map_err(|failure| ProxyError::new(ErrorKind::UpstreamProtocol, failure.message.into_owned()))?;
    Ok(LocalReply { reply, dropped })
}

/// The result of an operation.
pub enum Outcome {
    /// The provider's error, which is returned according to the plan.
    Reply(Box<Response<upstream::ReplyBody>>, ReplyPlan),
    /// The one reply.
    Local(LocalReply),
}

impl LocalReply {
    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.reply.body
    }

    /// The reply to the client.
    pub fn into_reply(self, record: &mut RequestRecord) -> Reply {
        let Self { reply: OperationReply { body, usage, model, estimated }, dropped } = self;
        record.dropped(&dropped);
        let estimated_usage = estimated && usage.prompt.is_some();
        record.counted(Totals { usage, model, estimated: estimated_usage, ..Totals::default() });
        let mut reply = Response::new(Bytes::from(body));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if estimated {
            headers.insert(ESTIMATED, HeaderValue::from_static("tokens"));
        }
        if !dropped.is_empty()
            && let Ok(names) = HeaderValue::try_from(dropped.to_string())
        {
            headers.insert(DROPPED, names);
        }
        Reply::Local(reply)
    }
}
