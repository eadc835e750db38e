//! Embeddings between two dialects.

use serde_json::value::RawValue;

use super::{
    BYTES_PER_TOKEN, OperationError, OperationPlan, OperationReply, OperationTarget, ReplyPlan as AnyPlan,
    UpstreamReply, Vector, client,
};
use crate::{
    conversation::{Failure, Invalid, Text, Unsupported},
    dialect::{Endpoint, Usage},
    stream::{TopLevel, json::ObjectWriter},
};

/// Most texts of one request: OpenAI's own limit.
pub const MAX_INPUTS: usize = 2048;

/// One text to embed.
#[derive(Debug)]
pub struct Input<'a> {
    /// The text.
    pub text: Text<'a>,
    /// The purpose of the embedding, as one of Gemini's task types.
    pub task: Option<Text<'a>>,
    /// The title of the document that the text is.
    pub title: Option<Text<'a>>,
}

/// A request for embeddings.
#[derive(Debug)]
pub struct EmbeddingsRequest<'a> {
    /// The texts.
    pub inputs: Vec<Input<'a>>,
    /// The client's field for the texts, for errors.
    pub inputs_field: &'static str,
    /// The length of each embedding.
    pub dimensions: Option<u64>,
    /// The client's field for the length, for reports.
    pub dimensions_field: &'static str,
    /// Whether the client requests the numbers as base64 of little-endian 32-bit floats.
    pub base64: bool,
    /// Fields that are not supported.
    pub dropped: Unsupported,
}

impl EmbeddingsRequest<'_> {
    /// Reports the titles, and with `task` the tasks, which the provider does not accept.
    pub(in crate::dialect) fn drop_hints(&mut self, task: bool) {
        let has = |of: fn(&Input<'_>) -> bool| self.inputs.iter().any(of);
        let (has_task, has_title) = (has(|input| input.task.is_some()), has(|input| input.title.is_some()));
        self.dropped.add_if(task && has_task, "taskType");
        self.dropped.add_if(has_title, "title");
    }

    /// Reports the length of embeddings, which the model does not accept.
    pub(in crate::dialect) fn drop_dimensions(&mut self) {
        self.dropped.add_if(self.dimensions.take().is_some(), self.dimensions_field);
    }
}

/// The content of one reply of a provider.
#[derive(Debug)]
pub struct EmbeddingsReply<'a> {
    /// The embeddings, in the order of the texts.
    pub vectors: Vec<&'a RawValue>,
    /// Tokens of the texts.
    pub tokens: Option<u64>,
    /// The model, as the provider names it.
    pub model: Option<Text<'a>>,
}

/// All embeddings of a request.
#[derive(Debug)]
pub struct Embeddings<'a> {
    /// In the order of the texts.
    pub vectors: Vec<Vector<'a>>,
    /// Bytes of each text.
    pub sizes: Vec<usize>,
    /// Tokens of all texts.
    pub tokens: u64,
    /// The model, as the provider names it.
    pub model: String,
    /// Whether the client requests the numbers as base64.
    pub base64: bool,
}

impl Embeddings<'_> {
    /// Tokens of the text at `index`, estimated where there are several.
    pub fn tokens_of(&self, index: usize) -> u64 {
        match self.sizes.as_slice() {
            [_] => self.tokens,
            sizes => sizes.get(index).map_or(0, |size| tokens(*size)),
        }
    }
}

/// The data for making the reply.
#[derive(Debug)]
pub(super) struct ReplyPlan {
    /// The client's endpoint.
    endpoint: Endpoint,
    to: crate::dialect::DialectId,
    model: String,
    base64: bool,
    /// Bytes of each text.
    sizes: Vec<usize>,
}

/// Reads a client's request, and writes those for the provider.
pub(super) fn plan(
    endpoint: &Endpoint,
    top: &TopLevel<'_>,
    to: &OperationTarget<'_>,
) -> Result<OperationPlan, OperationError> {
    let mut request = client(endpoint).dialect().read_embeddings(endpoint, top)?;
    if request.inputs.is_empty() {
        return Err(Invalid::new(request.inputs_field, "there is nothing to embed").into());
    }
    if request.inputs.len() > MAX_INPUTS {
        let message = format!("more than {MAX_INPUTS} texts in one request");
        return Err(Invalid::new(request.inputs_field, message).into());
    }
    let model = to.model.ok_or(OperationError::NoModel)?;
    let requests = to.dialect.dialect().write_embeddings(&mut request, model, to.quirks)?;
    let reply = ReplyPlan {
        endpoint: endpoint.clone(),
        to: to.dialect,
        model: model.to_owned(),
        base64: request.base64,
        sizes: request.inputs.iter().map(|input| input.text.size().saturating_sub(2)).collect(),
    };
    Ok(OperationPlan { requests, dropped: request.dropped, reply: AnyPlan::Embeddings(reply) })
}

impl ReplyPlan {
    /// The reply in the client's form.
    pub fn reply(self, replies: &[UpstreamReply]) -> Result<OperationReply, Failure<'static>> {
        let bad = || Failure::bad_gateway("the upstream's reply holds no embeddings");
        let (mut vectors, mut counted, mut model) = (Vec::new(), Some(0_u64), None);
        for reply in replies {
            let read = self.to.dialect().read_embeddings_reply(&reply.body).ok_or_else(bad)?;
            let tokens = read.tokens.or(reply.tokens);
            counted = counted.zip(tokens).map(|(sum, tokens)| sum.saturating_add(tokens));
            model = model.or_else(|| read.model.map(|model| model.decode().into_owned()));
            for raw in read.vectors {
                vectors.push(Vector::of(raw).ok_or_else(bad)?);
            }
        }
        if vectors.len() != self.sizes.len() {
            let message = format!("the upstream gave {} embeddings for {} texts", vectors.len(), self.sizes.len());
            return Err(Failure::bad_gateway(message));
        }
        let estimate = || self.sizes.iter().map(|size| tokens(*size)).sum();
        let embeddings = Embeddings {
            tokens: counted.unwrap_or_else(estimate),
            vectors,
            sizes: self.sizes,
            model: model.unwrap_or(self.model),
            base64: self.base64,
        };
        let mut body = Vec::with_capacity(embeddings.vectors.iter().map(|v| v.size() + 64).sum::<usize>() + 256);
        let mut top = ObjectWriter::begin(&mut body);
        client(&self.endpoint).dialect().write_embeddings_reply(&self.endpoint, &embeddings, &mut top)?;
        top.end();
        let usage = Usage { prompt: Some(embeddings.tokens), ..Usage::default() };
        Ok(OperationReply { body, usage, model: Some(embeddings.model), estimated: counted.is_none() })
    }
}

/// Approximate tokens of a text of this many bytes.
fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}
