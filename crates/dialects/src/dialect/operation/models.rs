//! Lists of models.

use serde::Deserialize;

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

/// The names in a list in the form of OpenAI and Anthropic, or the name of a single model.
pub(super) fn read_ids(body: &[u8], is_list: bool) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Option<Text<'a>>,
    }
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        data: Option<Vec<Named<'a>>>,
    }
    let name = |named: Named<'_>| named.id.map(|id| id.decode().into_owned());
    if !is_list {
        return Some(vec![name(serde_json::from_slice(body).ok()?)?]);
    }
    let list = serde_json::from_slice::<List<'_>>(body).ok()?.data.unwrap_or_default();
    Some(list.into_iter().filter_map(name).collect())
}
