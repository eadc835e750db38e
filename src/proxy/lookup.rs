//! Embeddings, token counts and lists of models for targets of another dialect: what is sent, and the one answer that
//! is made of the replies.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, Method, Response, header, uri::PathAndQuery};

use super::{
    ErrorKind, ProxyError, RequestRecord,
    encode::{ClientRequest, Encoded, ReplyPlan, refused},
    finish::Reply,
    send::Sender,
    translate::{self, DROPPED, ReadLimits, Translation},
};
use crate::{
    conversation::Unsupported,
    dialect::{DialectId, Endpoint, observer::Totals},
    operation::{
        Answer, Lookup, Refused, Said, To,
        models::{self, Model, Shape, Source},
    },
    provider::{Refusal, resolve_model},
    snapshot::{Action, AiBackend, Backend, Rule, Target},
    upstream,
};

/// Says what of the answer is estimated.
const ESTIMATED: HeaderName = HeaderName::from_static("x-tollgate-estimated");
/// Where Bedrock counts what a model's own reply does not tell.
const COUNTED: &str = "x-amzn-bedrock-input-token-count";

/// Requests of one lookup that are under way at a time.
const AT_ONCE: usize = 4;
/// Largest replies of one lookup together: 2048 embeddings of 3072 numbers take some fifty megabytes.
const MAX_REPLIES: usize = 64 * 1024 * 1024;

/// What a target is sent for one lookup.
pub struct Plan {
    lookup: Lookup,
    encoded: Vec<Encoded>,
    method: Method,
}

/// An answer that is complete.
pub struct LocalReply {
    answer: Answer,
    dropped: Unsupported,
}

/// What is to be sent to `target`, if this is no conversation and the target is not asked as the client wrote it.
/// `path` is the client's.
pub fn plan(
    request: &ClientRequest<'_, '_>,
    path: &str,
    target: &Target,
    rule: &Rule,
    backend: &AiBackend,
) -> Option<Result<Plan, ProxyError>> {
    let (ask, provider) = (request.ask, &*target.provider);
    let name = provider.info().name;
    let lookup = match (&ask.endpoint, request.top) {
        (Endpoint::Models(one), _) => {
            let source = match source(target, rule, backend, ask.dialect)? {
                Ok(source) => source,
                Err(error) => return Some(Err(error)),
            };
            models::lookup(one.as_deref(), Shape::of(ask.dialect, path), named(rule), source)
        }
        (endpoint, Some(top)) if Lookup::is_for(endpoint) => {
            let model = resolve_model(provider, ask);
            if provider.speaks(ask, model) {
                return None;
            }
            // Any dialect does: it is not spoken here.
            match provider.translation(DialectId::Chat, model) {
                Some((_, server)) => Lookup::read(ask, top, &To { server, model, has_paths: target.path.is_none() }),
                None => return Some(Err(refused(Refusal::Translation, ask, name))),
            }
        }
        _ => return None,
    };
    let lookup = lookup.map_err(|why| match why {
        Refused::Invalid(invalid) => ProxyError::new(ErrorKind::BadBody, invalid.to_string()),
        Refused::Missing(message) => ProxyError::new(ErrorKind::NoEndpoint, message),
        Refused::NoModel => refused(Refusal::ModelMissing, ask, name),
        Refused::UnknownModel(id) => {
            ProxyError::new(ErrorKind::UnknownModel, format!("this route serves no model '{id}'"))
        }
    });
    Some(lookup.and_then(|lookup| encode(lookup, request, target, backend.strict)))
}

fn encode(lookup: Lookup, request: &ClientRequest<'_, '_>, target: &Target, strict: bool) -> Result<Plan, ProxyError> {
    let (ask, provider) = (request.ask, &*target.provider);
    let info = provider.info();
    // A count is the same without what does not count.
    if strict && !lookup.dropped.is_empty() && ask.endpoint.operation() == "embeddings" {
        let message = format!("{} can't be carried to this route's provider", lookup.dropped);
        return Err(ProxyError::new(ErrorKind::NotCarried, message));
    }
    let encoded = lookup.asks.iter().map(|sent| {
        let model = sent.ask.model.as_deref();
        let path = provider.path(&sent.ask, model, sent.query).map_err(|refusal| refused(refusal, ask, info.name))?;
        let head = translate::head(ask, model.unwrap_or_default(), false);
        let errors = Translation::of_errors(info.dialect, ask.dialect, head);
        let plan = ReplyPlan { translation: Some(Box::new(errors)), ..ReplyPlan::default() };
        let path: PathAndQuery = target.path.clone().unwrap_or(path);
        Ok(Encoded { path, body: sent.body.clone(), held: None, plan })
    });
    let encoded = encoded.collect::<Result<Vec<_>, ProxyError>>()?;
    let method = if ask.endpoint.has_body() { Method::POST } else { Method::GET };
    Ok(Plan { lookup, encoded, method })
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
fn named(rule: &Rule) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    for target in targets(rule) {
        if let Some(id) = target.provider.model()
            && !models.iter().any(|model| model.id == id)
        {
            models.push(Model { id: id.to_owned(), owner: target.provider.info().name });
        }
    }
    models
}

/// Who knows the models when `target` is asked by a client of `dialect`; nothing when the target itself answers.
fn source(target: &Target, rule: &Rule, backend: &AiBackend, dialect: DialectId) -> Option<Result<Source, ProxyError>> {
    let is_open = |target: &Target| target.provider.model().is_none();
    let info = target.provider.info();
    if !targets(rule).any(is_open) || !backend.groups.iter().flatten().any(is_open) {
        return Some(Ok(Source::Known));
    }
    if !is_open(target) {
        let message = "another provider of this route lists the models";
        return Some(Err(ProxyError::new(ErrorKind::NoEndpoint, message)));
    }
    // Where it lists none it is not asked.
    if !info.dialect.dialect().lists_models() {
        return Some(Ok(Source::Known));
    }
    if info.dialect.shares_api(dialect) {
        return None;
    }
    let is_listed = target.path.is_none();
    Some(Ok(if is_listed { Source::Provider(info.dialect, info.name) } else { Source::Known }))
}

impl Plan {
    /// Whether the answer is known without the target.
    pub fn needs_no_request(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The answer of a plan that [needs no request](Self::needs_no_request).
    ///
    /// # Errors
    /// When it needs one.
    pub fn known(self) -> Result<LocalReply, ProxyError> {
        known(self.lookup, &[])
    }

    /// Asks the target, several times if need be, and makes one answer of its replies. The first reply that is an error
    /// is what the client gets.
    ///
    /// # Errors
    /// When the target can't be reached, or what it replies is no answer.
    pub async fn run(self, sender: &Sender<'_>, reading: &ReadLimits) -> Result<Outcome, ProxyError> {
        let Self { lookup, encoded, method } = self;
        let method = &method;
        let mut replies = Vec::with_capacity(encoded.len());
        let mut room = MAX_REPLIES;
        let mut waiting = stream::iter(encoded).map(|encoded| ask(sender, method, encoded, reading)).buffered(AT_ONCE);
        while let Some(reply) = waiting.next().await {
            match reply? {
                Asked::Said(said) => {
                    let Some(left) = room.checked_sub(said.body.len()) else {
                        let message = format!("the upstream's replies are larger than {MAX_REPLIES} bytes");
                        return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
                    };
                    room = left;
                    replies.push(said);
                }
                Asked::Refused(refused) => {
                    let (reply, plan) = *refused;
                    return Ok(match lookup.without(reply.status().as_u16()) {
                        Some(answer) => Outcome::Local(LocalReply { answer, dropped: lookup.dropped }),
                        None => Outcome::Reply(Box::new(reply), plan),
                    });
                }
            }
        }
        drop(waiting);
        known(lookup, &replies).map(Outcome::Local)
    }
}

/// What one request came to.
enum Asked {
    /// A whole reply.
    Said(Said),
    /// An error of the provider's.
    Refused(Box<(Response<upstream::ReplyBody>, ReplyPlan)>),
}

async fn ask(
    sender: &Sender<'_>,
    method: &Method,
    encoded: Encoded,
    reading: &ReadLimits,
) -> Result<Asked, ProxyError> {
    let reply = sender.send(method, &encoded).await?;
    if !reply.status().is_success() {
        return Ok(Asked::Refused(Box::new((reply, encoded.plan))));
    }
    let tokens = reply.headers().get(COUNTED).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = translate::collect(reply.into_body(), MAX_REPLIES, reading).await?;
    Ok(Asked::Said(Said { body, tokens }))
}

fn known(mut lookup: Lookup, replies: &[Said]) -> Result<LocalReply, ProxyError> {
    let dropped = std::mem::take(&mut lookup.dropped);
    let answer = lookup
        .answer(replies)
        .map_err(|failure| ProxyError::new(ErrorKind::UpstreamProtocol, failure.message.into_owned()))?;
    Ok(LocalReply { answer, dropped })
}

/// What a lookup came to.
pub enum Outcome {
    /// The provider's error, which goes back as the plan says.
    Reply(Box<Response<upstream::ReplyBody>>, ReplyPlan),
    /// The one answer.
    Local(LocalReply),
}

impl LocalReply {
    /// The reply to the client.
    pub fn into_reply(self, record: &mut RequestRecord) -> Reply {
        let Self { answer: Answer { body, usage, model, estimated }, dropped } = self;
        record.dropped(&dropped);
        let told = usage.prompt.is_some();
        record.counted(Totals { usage, model, estimated: estimated && told, ..Totals::default() });
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
