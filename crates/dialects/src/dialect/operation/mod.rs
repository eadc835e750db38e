//! Operations other than conversations: embeddings, rankings, token counts and lists of models.
//!
//! Where the provider's dialect differs from the client's, an [`OperationPlan`] holds the requests for the provider:
//! none, one or several. It combines the provider's replies into one reply in the client's dialect. Each dialect reads
//! and writes its own forms by [`Operations`], in its file `operations`. Nothing here does IO.

mod count_tokens;
mod embeddings;
pub mod models;
mod rerank;
mod vector;

pub use count_tokens::{CountedRequest, EditConversation, estimate};
pub use embeddings::{Embeddings, EmbeddingsReply, EmbeddingsRequest, Input};
pub(in crate::dialect) use rerank::INDEX;
pub use rerank::{Document, Fields, Ranked, Ranking, RerankReply, RerankRequest, Score};
pub use vector::Vector;

use std::borrow::Cow;

use bytes::Bytes;

use super::{ApiRequest, Destination, DialectId, Endpoint, ModelFacts, Quirks, StreamMode, Usage};
use crate::{
    conversation::{Failure, Invalid, Unsupported},
    stream::{
        Splice, TopLevel, ValueKind,
        json::{Member, ObjectWriter},
    },
};
use models::{ModelList, read_ids};

/// Most documents that a server ranks at once, unless its dialect has another limit: Cohere advises against more.
const RERANK_LIMIT: usize = 1000;
/// The message about a provider that does not rank.
pub const NO_RERANK: &str = "this route's provider does not rank documents";
/// Approximate bytes of text per token, for estimates.
const BYTES_PER_TOKEN: usize = 4;

/// The forms of one dialect for embeddings, rankings, token counts and lists of models. A dialect without an operation keeps the
/// default of the method.
pub trait Operations: Sync {
    // === Embeddings

    /// Reads a client's request for embeddings.
    ///
    /// # Errors
    /// When a field can't be read; the error names it.
    fn read_embeddings<'a>(
        &self,
        _endpoint: &Endpoint,
        _body: &TopLevel<'a>,
    ) -> Result<EmbeddingsRequest<'a>, Invalid> {
        Err(Invalid::new("", "this API has no embeddings"))
    }

    /// Writes the requests for a provider's `model`. Unsupported fields are added to the request's `dropped`.
    ///
    /// # Errors
    /// When the provider has no embeddings, or the form for this model is unknown.
    fn write_embeddings(
        &self,
        _request: &mut EmbeddingsRequest<'_>,
        _model: &str,
        _quirks: &Quirks,
    ) -> Result<Vec<UpstreamRequest>, OperationError> {
        Err(OperationError::Missing("this route's provider has no embeddings".into()))
    }

    /// Reads a provider's reply. `None` when it has no embeddings.
    fn read_embeddings_reply<'a>(&self, _body: &'a [u8]) -> Option<EmbeddingsReply<'a>> {
        None
    }

    /// Writes the fields of the reply to a client that has sent its request to `endpoint`.
    ///
    /// # Errors
    /// When the provider's embeddings are not numbers.
    fn write_embeddings_reply(
        &self,
        _endpoint: &Endpoint,
        _reply: &Embeddings<'_>,
        _out: &mut ObjectWriter<'_>,
    ) -> Result<(), Failure<'static>> {
        Ok(())
    }

    /// The header of replies with the number of tokens of the prompt, if the body does not have it.
    fn token_count_header(&self) -> Option<&'static str> {
        None
    }

    // === Rankings

    /// Reads a client's request to rank documents.
    ///
    /// # Errors
    /// When a field can't be read; the error names it.
    fn read_rerank<'a>(&self, _endpoint: &Endpoint, _body: &TopLevel<'a>) -> Result<RerankRequest<'a>, Invalid> {
        Err(Invalid::new("", "this API does not rank documents"))
    }

    /// Most documents of one request to a provider.
    fn rerank_limit(&self) -> usize {
        RERANK_LIMIT
    }

    /// Writes the request for a provider's `model` with some of the request's documents. Unsupported fields are added
    /// to `dropped`.
    ///
    /// # Errors
    /// When the provider does not rank, or the form for this model is unknown.
    fn write_rerank(
        &self,
        _request: &RerankRequest<'_>,
        _documents: &[Document<'_>],
        _model: &str,
        _quirks: &Quirks,
        _dropped: &mut Unsupported,
    ) -> Result<UpstreamRequest, OperationError> {
        Err(OperationError::Missing(NO_RERANK.into()))
    }

    /// Reads a provider's reply. `None` when it has no ranking.
    fn read_rerank_reply(&self, _body: &[u8]) -> Option<RerankReply> {
        None
    }

    /// Writes the fields of the reply to a client that has sent its request to `endpoint`.
    fn write_rerank_reply(&self, _endpoint: &Endpoint, _ranking: &Ranking, _out: &mut ObjectWriter<'_>) {}

    // === Token counts

    /// Reads the conversation that a client sent to be counted, and passes it to `counted`.
    ///
    /// # Errors
    /// When there is none, and those of `counted`.
    fn read_count(&self, _body: &TopLevel<'_>, _counted: CountedRequest<'_>) -> Result<OperationPlan, OperationError> {
        Err(Invalid::new("", "this API counts no tokens").into())
    }

    /// The body of a request to count a conversation, with the conversation as `edit` returns it.
    ///
    /// # Errors
    /// Those of `edit`, and when there is no conversation to be found.
    fn edit_counted(&self, body: &Bytes, _edit: EditConversation<'_>) -> Result<Bytes, Invalid> {
        Ok(body.clone())
    }

    /// The name under which the provider counts for `model`. `None` when it can't be determined.
    fn counted_model<'m>(&self, model: &'m str) -> Option<&'m str> {
        Some(model)
    }

    /// Writes the fields of a request to count a conversation; `written` is the conversation in this dialect. Returns
    /// the endpoint, if the dialect has one.
    fn write_count(
        &self,
        _written: &TopLevel<'_>,
        _to: &Destination<'_>,
        _out: &mut ObjectWriter<'_>,
    ) -> Option<Endpoint> {
        None
    }

    /// The `object` of replies with a count, in dialects whose objects have one.
    fn count_object(&self) -> Option<&'static str> {
        None
    }

    /// The field of replies that holds the count.
    fn count_field(&self) -> &'static str {
        "input_tokens"
    }

    /// Whether an error of this status means that the provider does not count for this model.
    fn is_count_missing(&self, status: u16) -> bool {
        matches!(status, 404 | 405 | 501)
    }

    // === Lists of models

    /// Whether providers of this dialect list their models.
    fn lists_models(&self) -> bool {
        true
    }

    /// The query for the whole list at a provider.
    fn models_query(&self) -> Option<&'static str> {
        None
    }

    /// Reads the names in a provider's list, or the name of a single model. `None` when the reply is neither.
    fn read_models(&self, body: &[u8], is_list: bool) -> Option<Vec<String>> {
        read_ids(body, is_list)
    }

    /// The form of lists for a client that has requested `path`.
    fn model_list(&self, path: &str) -> &'static ModelList;
}

/// An operation for a provider of another dialect.
#[derive(Debug)]
pub struct OperationPlan {
    /// The requests to the provider. [`reply`](Self::reply) takes the replies in the same order.
    pub requests: Vec<UpstreamRequest>,
    /// The client's fields that the provider's dialect does not support.
    pub dropped: Unsupported,
    reply: ReplyPlan,
}

/// One request to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// The endpoint, with the model as the provider names it.
    pub api_request: ApiRequest,
    /// The query, without `?`.
    pub query: Option<&'static str>,
    /// JSON; empty for requests without a body.
    pub body: Bytes,
}

impl UpstreamRequest {
    /// A request with a JSON body and a buffered reply.
    pub(super) fn new(endpoint: Endpoint, model: &str, body: Vec<u8>) -> Self {
        let dialect = endpoint.owner().unwrap_or(DialectId::Chat);
        let api_request = ApiRequest { endpoint, dialect, model: Some(model.to_owned()), stream: StreamMode::No };
        Self { api_request, query: None, body: body.into() }
    }
}

/// One reply of a provider, with a status of 2xx.
#[derive(Clone, Debug, Default)]
pub struct UpstreamReply {
    /// The whole body.
    pub body: Bytes,
    /// Tokens of the prompt, if a [header](Operations::token_count_header) has them.
    pub tokens: Option<u64>,
}

/// The reply to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationReply {
    /// JSON in the client's dialect.
    pub body: Vec<u8>,
    /// Tokens that were used; counting tokens uses none.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// The provider has not counted the tokens: they are estimated from the text.
    pub estimated: bool,
}

/// The provider that gets the requests.
#[derive(Clone, Copy, Debug)]
pub struct OperationTarget<'a> {
    /// The dialect to which requests are translated.
    pub dialect: DialectId,
    /// The server's quirks.
    pub quirks: &'static Quirks,
    /// The model, as the provider names it.
    pub model: Option<&'a str>,
    /// The settings that the model accepts.
    pub facts: ModelFacts,
    /// Whether endpoints have paths of their own. Where all requests go to one path, it can't be the one that counts.
    pub has_paths: bool,
}

/// Why a provider can't serve an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationError {
    /// A field of the request can't be carried to this provider.
    Invalid(Invalid),
    /// The provider has no such operation; the message is for the client.
    Missing(Cow<'static, str>),
    /// Neither the request nor the Backend names a model.
    NoModel,
    /// No such model is served.
    UnknownModel(String),
}

impl From<Invalid> for OperationError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// The data for making the reply.
#[derive(Debug)]
enum ReplyPlan {
    Embeddings(embeddings::ReplyPlan),
    Rerank(rerank::ReplyPlan),
    Count(count_tokens::ReplyPlan),
    Models(models::ReplyPlan),
}

impl OperationPlan {
    /// Whether requests to `endpoint` can be planned. Lists of models have [`models::plan`], since every dialect has
    /// them at the same endpoint.
    pub fn is_for(endpoint: &Endpoint) -> bool {
        matches!(endpoint.operation(), "embeddings" | "rerank" | "count_tokens")
    }

    /// The plan for a client's request, whose body is `top`.
    ///
    /// # Errors
    /// When the provider can't serve it.
    pub fn new(api_request: &ApiRequest, top: &TopLevel<'_>, to: &OperationTarget<'_>) -> Result<Self, OperationError> {
        match api_request.endpoint.operation() {
            "count_tokens" => count_tokens::plan(&api_request.endpoint, top, to),
            "rerank" => rerank::plan(&api_request.endpoint, top, to),
            _ => embeddings::plan(&api_request.endpoint, top, to),
        }
    }

    /// The reply to the client, made from the provider's replies in the order of [`requests`](Self::requests).
    ///
    /// # Errors
    /// When a reply does not contain the requested data.
    pub fn reply(self, replies: &[UpstreamReply]) -> Result<OperationReply, Failure<'static>> {
        match self.reply {
            ReplyPlan::Embeddings(plan) => plan.reply(replies),
            ReplyPlan::Rerank(plan) => plan.reply(replies),
            ReplyPlan::Count(plan) => plan.reply(replies),
            ReplyPlan::Models(plan) => plan.reply(replies),
        }
    }

    /// The reply without the provider's, which has replied with `status` because it does not support the operation.
    pub fn fallback(&self, status: u16) -> Option<OperationReply> {
        match &self.reply {
            ReplyPlan::Count(plan) => plan.fallback(status),
            ReplyPlan::Embeddings(_) | ReplyPlan::Rerank(_) | ReplyPlan::Models(_) => None,
        }
    }
}

/// The dialect of the clients that use `endpoint`.
fn client(endpoint: &Endpoint) -> DialectId {
    endpoint.owner().unwrap_or(DialectId::Chat)
}

/// The fields of an object in a body.
///
/// # Errors
/// When it is not an object.
pub(super) fn object<'a>(member: &Member<'a>) -> Result<TopLevel<'a>, Invalid> {
    TopLevel::scan(member.value).map_err(|_| Invalid::new(member.name(), "must be an object"))
}

/// `body` with the object in the field `name` as `edit` returns it.
///
/// # Errors
/// Those of `edit`, and when the field is no object.
pub(super) fn edit_inside(
    body: &Bytes,
    name: &str,
    edit: &mut dyn FnMut(&Bytes) -> Result<Bytes, Invalid>,
) -> Result<Bytes, Invalid> {
    let invalid = || Invalid::new(name, "must be an object");
    let top = TopLevel::scan(body).map_err(|error| Invalid::new("", error.to_string()))?;
    let member = top.get(name).filter(|member| member.kind == ValueKind::Object).ok_or_else(invalid)?;
    let mut splice = Splice::new(&top);
    splice.set(name, edit(&Bytes::copy_from_slice(member.value))?.to_vec());
    Ok(splice.apply(body))
}

/// Copies the fields whose names are in `wanted`.
pub(super) fn copy(body: &TopLevel<'_>, wanted: &[&str], out: &mut ObjectWriter<'_>) {
    for member in body.members().iter().filter(|member| !member.key_escaped && wanted.contains(&member.key)) {
        out.key(member.key).extend_from_slice(member.value);
    }
}

#[cfg(test)]
mod tests;
