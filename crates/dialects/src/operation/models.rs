//! Lists of models, in the shape that the client reads.

use serde::Deserialize;

use super::{Answer, Back as AnyBack, Lookup, Refused, Said, Sent, not_understood};
use crate::{
    conversation::{Failure, Text, Unsupported},
    dialect::{ApiRequest, DialectId, Endpoint, StreamMode, Usage},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Most models that are told of: what one page of a provider's list may have.
const MAX_MODELS: usize = 1000;
/// Anthropic's value for a date that is not known.
const NO_DATE: &str = "1970-01-01T00:00:00Z";

/// One model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub id: String,
    /// Whose it is: the key of its provider in a Backend.
    pub owner: &'static str,
}

/// Who knows the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Backends name all there are.
    Known,
    /// A provider of this dialect, with this key; what it lists stands beside what the Backends name.
    Provider(DialectId, &'static str),
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// OpenAI's, which most clients read.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Gemini's on AI Studio.
    Gemini,
    /// Gemini's on Vertex AI.
    Vertex,
}

impl Shape {
    /// The shape that a client of `dialect` reads, which asked for `path`.
    pub fn of(dialect: DialectId, path: &str) -> Self {
        match dialect {
            DialectId::Chat | DialectId::Responses | DialectId::Converse => Self::OpenAi,
            DialectId::Messages => Self::Anthropic,
            DialectId::Gemini if path.contains("/publishers/") => Self::Vertex,
            DialectId::Gemini => Self::Gemini,
        }
    }
}

/// What is needed to answer.
#[derive(Debug)]
pub(super) struct Back {
    shape: Shape,
    /// One model is asked for, not the list.
    one: Option<String>,
    known: Vec<Model>,
    source: Source,
}

/// The list of models, or the one of name `one`. `known` are those that the Backends name.
///
/// # Errors
/// When there is no such model.
pub fn lookup(one: Option<&str>, shape: Shape, mut known: Vec<Model>, source: Source) -> Result<Lookup, Refused> {
    let mut asks = Vec::new();
    if let Some(id) = one {
        known.retain(|model| model.id == id);
    }
    match source {
        Source::Provider(dialect, _) if one.is_none() || known.is_empty() => {
            let query = match dialect {
                _ if one.is_some() => None,
                DialectId::Messages => Some("limit=1000"),
                DialectId::Gemini => Some("pageSize=1000"),
                DialectId::Chat | DialectId::Responses | DialectId::Converse => None,
            };
            let endpoint = Endpoint::Models(one.map(str::to_owned));
            let ask = ApiRequest { endpoint, dialect, model: None, stream: StreamMode::No };
            asks.push(Sent { ask, query, body: bytes::Bytes::new() });
        }
        _ => {
            if let Some(id) = one.filter(|_| known.is_empty()) {
                return Err(Refused::UnknownModel(id.to_owned()));
            }
        }
    }
    let back = Back { shape, one: one.map(str::to_owned), known, source };
    Ok(Lookup { asks, dropped: Unsupported::default(), back: AnyBack::Models(back) })
}

impl Back {
    /// The answer in the client's shape.
    pub fn answer(mut self, replies: &[Said]) -> Result<Answer, Failure<'static>> {
        if let Source::Provider(_, owner) = self.source {
            for reply in replies {
                let listed = listed(&reply.body, self.one.is_some());
                let listed = listed.ok_or_else(|| not_understood("the upstream's reply holds no models"))?;
                for id in listed {
                    if self.known.len() < MAX_MODELS && !self.known.iter().any(|model| model.id == id) {
                        self.known.push(Model { id, owner });
                    }
                }
            }
        }
        let mut body = Vec::new();
        match (self.one, self.known.first()) {
            (Some(_), Some(model)) => {
                let mut top = ObjectWriter::begin(&mut body);
                write_model(self.shape, model, &mut top);
                top.end();
            }
            (Some(_), None) => return Err(not_understood("the upstream's reply holds no model")),
            (None, _) => write_list(self.shape, &self.known, &mut body),
        }
        Ok(Answer { body, usage: Usage::default(), model: None, estimated: false })
    }
}

fn write_list(shape: Shape, models: &[Model], body: &mut Vec<u8>) {
    let mut top = ObjectWriter::begin(body);
    if shape == Shape::OpenAi {
        top.field("object", "list");
    }
    let mut list = top.array(match shape {
        Shape::OpenAi | Shape::Anthropic => "data",
        Shape::Gemini => "models",
        Shape::Vertex => "publisherModels",
    });
    push_all(shape, models, &mut list);
    list.end();
    if shape == Shape::Anthropic {
        let id = |model: Option<&Model>| model.map(|model| model.id.clone());
        top.field("has_more", &false);
        top.field("first_id", &id(models.first()));
        top.field("last_id", &id(models.last()));
    }
    top.end();
}

fn push_all(shape: Shape, models: &[Model], list: &mut ArrayWriter<'_>) {
    for model in models {
        let mut object = list.object();
        write_model(shape, model, &mut object);
        object.end();
    }
}

fn write_model(shape: Shape, model: &Model, object: &mut ObjectWriter<'_>) {
    let Model { id, owner } = model;
    match shape {
        Shape::OpenAi => {
            object.field("id", id);
            object.field("object", "model");
            object.field("created", &0);
            object.field("owned_by", owner);
        }
        Shape::Anthropic => {
            object.field("type", "model");
            object.field("id", id);
            object.field("display_name", id);
            object.field("created_at", NO_DATE);
        }
        Shape::Gemini => {
            object.field("name", &format!("models/{id}"));
            object.field("displayName", id);
            let embeds = id.to_ascii_lowercase().contains("embed");
            let methods: &[&str] =
                if embeds { &["embedContent", "batchEmbedContents"] } else { &["generateContent", "countTokens"] };
            object.field("supportedGenerationMethods", methods);
        }
        Shape::Vertex => object.field("name", &format!("publishers/google/models/{id}")),
    }
}

/// The models in a provider's list, or the one that the reply is.
fn listed(body: &[u8], one: bool) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Option<Text<'a>>,
        #[serde(borrow)]
        name: Option<Text<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a> {
        #[serde(borrow, alias = "models", alias = "publisherModels")]
        data: Option<Vec<Named<'a>>>,
    }
    let name = |named: Named<'_>| match (named.id, named.name) {
        (Some(id), _) => Some(id.decode().into_owned()),
        // `models/X`, `publishers/P/models/X`.
        (None, Some(name)) => name.decode().rsplit('/').next().map(str::to_owned),
        (None, None) => None,
    };
    if one {
        return Some(vec![name(serde_json::from_slice(body).ok()?)?]);
    }
    // Google leaves out what is empty.
    let list = serde_json::from_slice::<List<'_>>(body).ok()?.data.unwrap_or_default();
    Some(list.into_iter().filter_map(name).collect())
}
