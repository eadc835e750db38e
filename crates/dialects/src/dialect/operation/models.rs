//! Lists of models.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{OperationError, OperationPlan, OperationReply, ReplyPlan as AnyPlan, UpstreamReply, UpstreamRequest};
use crate::{
    conversation::{Failure, Text, Unsupported},
    dialect::{ApiRequest, DialectId, Endpoint, StreamMode, Usage},
    stream::json::ObjectWriter,
};

/// Most models of a list: as many as one page of a provider's list may have.
const MAX_MODELS: usize = 1000;

/// One model that can be requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub id: String,
    /// The key of its provider in a Backend.
    pub owner: &'static str,
}

/// Where the models come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Backends name all of them.
    Backends,
    /// A provider of this dialect, with this key, lists more than the Backends name.
    Provider(DialectId, &'static str),
}

/// How a dialect writes lists of models.
#[derive(Debug)]
pub struct ModelList {
    /// The field that holds the list.
    pub field: &'static str,
    /// Writes the fields before the list.
    pub head: fn(&mut ObjectWriter<'_>),
    /// Writes the fields of one model.
    pub model: fn(&Model, &mut ObjectWriter<'_>),
    /// Writes the fields after the list.
    pub tail: fn(&[Model], &mut ObjectWriter<'_>),
}

/// The data for making the reply.
#[derive(Debug)]
pub(super) struct ReplyPlan {
    form: &'static ModelList,
    /// One model is requested, not the list.
    one: bool,
    known: Vec<Model>,
    source: Source,
}

/// The plan for a list of models, or for the one of name `one`, for a client of `client` that has requested `path`.
/// `known` are the models that the Backends name.
///
/// # Errors
/// When there is no such model.
pub fn plan(
    one: Option<&str>,
    client: DialectId,
    path: &str,
    mut known: Vec<Model>,
    source: Source,
) -> Result<OperationPlan, OperationError> {
    let mut requests = Vec::new();
    if let Some(id) = one {
        known.retain(|model| model.id == id);
    }
    match (source, one) {
        (Source::Provider(dialect, _), _) if one.is_none() || known.is_empty() => {
            let query = if one.is_none() { dialect.dialect().models_query() } else { None };
            let endpoint = Endpoint::Models(one.map(str::to_owned));
            let api_request = ApiRequest { endpoint, dialect, model: None, stream: StreamMode::No };
            requests.push(UpstreamRequest { api_request, query, body: bytes::Bytes::new() });
        }
        (_, Some(id)) if known.is_empty() => return Err(OperationError::UnknownModel(id.to_owned())),
        _ => {}
    }
    let reply = ReplyPlan { form: client.dialect().model_list(path), one: one.is_some(), known, source };
    Ok(OperationPlan { requests, dropped: Unsupported::default(), reply: AnyPlan::Models(reply) })
}

impl ReplyPlan {
    /// The reply in the client's form.
    pub fn reply(mut self, replies: &[UpstreamReply]) -> Result<OperationReply, Failure<'static>> {
        if let Source::Provider(dialect, owner) = self.source {
            for reply in replies {
                let listed = dialect.dialect().read_models(&reply.body, !self.one);
                let missing = || Failure::bad_gateway("the upstream's reply holds no models");
                for id in listed.ok_or_else(missing)? {
                    if self.known.len() < MAX_MODELS && !self.known.iter().any(|model| model.id == id) {
                        self.known.push(Model { id, owner });
                    }
                }
            }
        }
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        match (self.one, self.known.first()) {
            (true, Some(model)) => (self.form.model)(model, &mut top),
            (true, None) => return Err(Failure::bad_gateway("the upstream's reply holds no model")),
            (false, _) => self.form.write(&self.known, &mut top),
        }
        top.end();
        Ok(OperationReply { body, usage: Usage::default(), model: None, estimated: false })
    }
}

impl ModelList {
    fn write(&self, models: &[Model], top: &mut ObjectWriter<'_>) {
        (self.head)(top);
        let mut list = top.array(self.field);
        for model in models {
            let mut object = list.object();
            (self.model)(model, &mut object);
        }
        list.end();
        (self.tail)(models, top);
    }
}

/// The names in a list as OpenAI and Anthropic have it, or the one of a single model. Servers of local models also have
/// Ollama's list, `models`: it counts where there is no `data`, and its form is nobody's promise.
pub(super) fn read_ids(body: &[u8], is_list: bool) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Option<Text<'a>>,
    }
    #[derive(Deserialize)]
    struct Local<'a> {
        #[serde(borrow)]
        name: Option<Text<'a>>,
        #[serde(borrow)]
        model: Option<Text<'a>>,
    }
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        data: Option<Vec<Named<'a>>>,
        #[serde(borrow)]
        models: Option<&'a RawValue>,
    }
    let text = |text: Text<'_>| text.decode().into_owned();
    if !is_list {
        return Some(vec![serde_json::from_slice::<Named<'_>>(body).ok()?.id.map(text)?]);
    }
    let List { data, models } = serde_json::from_slice(body).ok()?;
    let local = || serde_json::from_str::<Vec<Local<'_>>>(models?.get()).ok();
    Some(match data {
        Some(data) => data.into_iter().filter_map(|named| named.id.map(text)).collect(),
        None => local().into_iter().flatten().filter_map(|local| local.name.or(local.model).map(text)).collect(),
    })
}
