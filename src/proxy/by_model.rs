//! Part of step 2: the rule of a request where the model that it names decides.
//!
//! Rules that match on [`MODEL_HEADERS`] are compared with the model in the request's path or body, and never with a
//! header of the client's. So where a rule like that could serve a request, its body is read before the rule is chosen,
//! within the same limits as later. No other request comes here.

use axum::body::Body;
use http::{HeaderValue, Method, request::Parts};

use super::{
    ErrorKind, ProxyError, RequestRecord, Shared, body,
    budget::Share,
    classify::RequestBody,
    operation,
    peer::Peer,
    route::{self, Route},
};
use crate::{
    dialect::{Endpoint, operation::models::Model},
    snapshot::{Action, Backend, MODEL_HEADERS, Matched, RequestModel, Rule},
    stream::Member,
};

/// The longest name of a model that rules are compared with. Names of fine-tuned models have some 150 bytes.
const MAX_MODEL: usize = 1024;
/// The owner of models that no provider here serves.
const UNKNOWN_OWNER: &str = "tollgate";

/// What routing by the model has read or found out.
#[derive(Default)]
pub struct Early {
    /// The body.
    pub body: Option<RequestBody>,
    /// The memory that it takes.
    pub memory: Option<Share>,
    /// The model that it names.
    pub model: Option<String>,
    /// The models that the rules name, when the request is for their list.
    pub models: Option<Vec<Model>>,
}

/// Finds the rule by the request's model.
///
/// # Errors
/// When the body can't be read, or no rule matches.
pub async fn route(
    shared: &Shared,
    peer: &Peer,
    parts: &mut Parts,
    body: &mut Option<Body>,
    record: &mut RequestRecord,
) -> Result<(Matched, Early), ProxyError> {
    let endpoint = Endpoint::from_path(parts.uri.path()).filter(|endpoint| endpoint.allows(&parts.method));
    if endpoint == Some(Endpoint::Models(None))
        && let Some(listed) = list(shared, peer, parts, record)
    {
        return Ok(listed);
    }
    let mut early = Early::default();
    let in_url = endpoint.as_ref().and_then(Endpoint::model_in_url);
    let model = match in_url {
        Some(model) => Some(model.to_owned()),
        None if parts.method == Method::GET => None,
        None => {
            early = read(shared, parts, body).await?;
            let top = early.body.as_ref().and_then(RequestBody::top);
            top.and_then(|top| top.get("model")).and_then(Member::as_str).map(std::borrow::Cow::into_owned)
        }
    };
    let model = model.filter(|model| model.len() <= MAX_MODEL);
    name(parts, model.as_deref());
    match route::route(shared, peer, parts, RequestModel::Read(model.as_deref()), record) {
        Ok(Route::Rule(matched)) => Ok((matched, Early { model, ..early })),
        Ok(Route::ByModel) => Err(ProxyError::new(ErrorKind::NoRoute, "no route matches this request")),
        Err(error) if error.kind == ErrorKind::NoRoute => Err(match model {
            Some(model) => ProxyError { cause: error.cause, ..ProxyError::unknown_model(&model) },
            None => ProxyError { message: "name a model: no route matches without one".into(), ..error },
        }),
        Err(error) => Err(error),
    }
}

/// Reads the body, and the top level of its JSON if it is an object.
async fn read(shared: &Shared, parts: &Parts, body: &mut Option<Body>) -> Result<Early, ProxyError> {
    let settings = &shared.settings;
    let mut memory = settings.body_budget.share();
    let bytes = body::read(body, &mut memory, settings.max_body, settings.body_timeout).await?;
    let unread = RequestBody::unread(bytes.clone());
    // A body of another kind, such as a form, is the business of the rule that it gets to.
    let body = unread.scan(&parts.headers).await.unwrap_or_else(|_| RequestBody::unread(bytes));
    Ok(Early { body: Some(body), memory: Some(memory), ..Early::default() })
}

/// Puts the model in place of headers that claim to name it.
fn name(parts: &mut Parts, model: Option<&str>) {
    for header in &MODEL_HEADERS {
        parts.headers.remove(header);
    }
    let [header, _] = MODEL_HEADERS;
    if let Some(model) = model.and_then(|model| HeaderValue::from_str(model).ok()) {
        parts.headers.insert(header, model);
    }
}

/// The rule that answers a request for the list of models, and the models that it and the others name. `None` when none
/// of them has an AI backend.
fn list(shared: &Shared, peer: &Peer, parts: &Parts, record: &mut RequestRecord) -> Option<(Matched, Early)> {
    let snapshot = shared.snapshots.load();
    record.reads(snapshot.generation);
    let host = route::host(parts)?;
    let rules = snapshot.by_model(peer.port, &route::view(parts, &host, RequestModel::Unread));
    let mut models: Vec<Model> = Vec::new();
    for (conditions, matched) in &rules {
        let owner = owner(&matched.rule).unwrap_or(UNKNOWN_OWNER);
        let named = conditions.models().map(|id| Model { id: id.to_owned(), owner });
        for model in named.chain(operation::named(&matched.rule)) {
            if conditions.allow(&model.id) && !models.iter().any(|other| other.id == model.id) {
                models.push(model);
            }
        }
    }
    let (_, matched) = rules.into_iter().find(|(_, matched)| owner(&matched.rule).is_some())?;
    record.routed(&matched.rule);
    Some((matched, Early { models: Some(models), ..Early::default() }))
}

/// The first provider of a rule.
fn owner(rule: &Rule) -> Option<&'static str> {
    let Action::Forward(split) = &rule.action else { return None };
    split.backends().iter().find_map(|weighted| match &weighted.backend {
        Backend::Ai(ai) => Some(ai.backend.groups.first()?.first()?.provider.info().name),
        Backend::Http(_) | Backend::Unavailable(_) => None,
    })
}
