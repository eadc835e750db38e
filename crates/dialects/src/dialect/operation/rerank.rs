//! Reranking between two dialects: documents in the order of their relevance to a query.
//!
//! A request may have more documents than the provider takes at once. It is then sent in parts, and the results are
//! merged by their scores. A model scores each document by itself, so the scores of the parts can be compared.

use super::{
    OperationError, OperationPlan, OperationReply, OperationTarget, ReplyPlan as AnyPlan, UpstreamReply, client,
};
use crate::{
    conversation::{Failure, Invalid, Text, Unsupported},
    dialect::{DialectId, Endpoint, Usage},
    stream::{TopLevel, json::ObjectWriter},
};

/// Most documents of one request: Cohere's own limit, of all chunks together. It is fifty requests to Vertex AI.
pub const MAX_DOCUMENTS: usize = 10_000;

/// The field of a result that holds its place in the client's list: Cohere's and Bedrock's name for it.
pub(in crate::dialect) const INDEX: &str = "index";

/// Fields as JSON text, by their names.
pub type Fields = Vec<(&'static str, String)>;

/// One document to rank.
#[derive(Debug)]
pub struct Document<'a> {
    /// The text.
    pub text: Text<'a>,
    /// The title, in APIs that have one.
    pub title: Option<Text<'a>>,
    /// The fields that the document's result has beside place and score, in the client's form.
    pub returned: Fields,
}

impl Document<'_> {
    /// Title and text as one text, for APIs without titles.
    pub fn whole(&self) -> Text<'_> {
        match &self.title {
            None => self.text.reborrow(),
            Some(title) if self.text.is_empty() => title.reborrow(),
            Some(title) => Text::join([title.reborrow(), self.text.reborrow()], "\n"),
        }
    }
}

/// A request to rank documents.
#[derive(Debug)]
pub struct RerankRequest<'a> {
    /// The text to which documents are relevant, and the client's field for it.
    pub query: (Text<'a>, &'static str),
    /// The documents.
    pub documents: Vec<Document<'a>>,
    /// The client's field for the documents, for errors.
    pub documents_field: &'static str,
    /// How many results the client requests; `None` is all.
    pub top_n: Option<usize>,
    /// Most tokens that are read of each document.
    pub max_tokens: Option<u64>,
    /// Fields that are not supported.
    pub dropped: Unsupported,
}

impl RerankRequest<'_> {
    /// How many results of a part with `documents` documents can be among the requested ones.
    pub(in crate::dialect) fn top_of(&self, documents: usize) -> Option<usize> {
        self.top_n.map(|top| top.min(documents))
    }

    /// Fails where there is nothing to rank, where it is too much, or where a text is empty, which providers refuse
    /// each in its own words.
    fn check(&self) -> Result<(), Invalid> {
        let field = self.documents_field;
        if self.documents.is_empty() {
            return Err(Invalid::new(field, "there is nothing to rank"));
        }
        if self.documents.len() > MAX_DOCUMENTS {
            return Err(Invalid::new(field, format!("more than {MAX_DOCUMENTS} documents in one request")));
        }
        let (query, query_field) = &self.query;
        if query.is_empty() {
            return Err(Invalid::new(*query_field, "must not be empty"));
        }
        match self.documents.iter().position(|document| document.whole().is_empty()) {
            Some(number) => Err(Invalid::new(format!("{field}[{number}]"), "must not be empty")),
            None => Ok(()),
        }
    }
}

/// One result of a provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The document's place in the provider's request.
    pub index: usize,
    /// Its relevance.
    pub score: f64,
}

/// The content of one reply of a provider.
#[derive(Debug, Default)]
pub struct RerankReply {
    /// The results.
    pub scores: Vec<Score>,
    /// What the provider states of its use.
    pub usage: Usage,
    /// The model, as the provider names it.
    pub model: Option<String>,
}

/// The result for one document of the client's.
#[derive(Debug)]
pub struct Ranked {
    /// The document's place in the client's list.
    pub index: usize,
    /// Its relevance.
    pub score: f64,
    /// The other fields of the result, in the client's form.
    pub returned: Fields,
}

/// The results of a request.
#[derive(Debug)]
pub struct Ranking {
    /// The most relevant document first.
    pub results: Vec<Ranked>,
    /// What the provider states of its use.
    pub usage: Usage,
    /// The model, as the provider names it.
    pub model: String,
}

/// The data for making the reply.
#[derive(Debug)]
pub(super) struct ReplyPlan {
    /// The client's endpoint.
    endpoint: Endpoint,
    to: DialectId,
    model: String,
    top_n: Option<usize>,
    /// Documents in each request but the last.
    at_once: usize,
    /// What the result of each document returns.
    returned: Vec<Fields>,
}

/// Reads a client's request, and writes those for the provider.
pub(super) fn plan(
    endpoint: &Endpoint,
    top: &TopLevel<'_>,
    to: &OperationTarget<'_>,
) -> Result<OperationPlan, OperationError> {
    let mut request = client(endpoint).dialect().read_rerank(endpoint, top)?;
    request.check()?;
    let model = to.model.ok_or(OperationError::NoModel)?;
    let mut dropped = std::mem::take(&mut request.dropped);
    let dialect = to.dialect.dialect();
    let at_once = dialect.rerank_limit();
    let parts = request.documents.chunks(at_once);
    let written = parts.map(|documents| dialect.write_rerank(&request, documents, model, to.quirks, &mut dropped));
    let requests = written.collect::<Result<_, _>>()?;
    let reply = ReplyPlan {
        endpoint: endpoint.clone(),
        to: to.dialect,
        model: model.to_owned(),
        top_n: request.top_n,
        at_once,
        returned: request.documents.into_iter().map(|document| document.returned).collect(),
    };
    Ok(OperationPlan { requests, dropped, reply: AnyPlan::Rerank(reply) })
}

impl ReplyPlan {
    /// The reply in the client's form.
    pub fn reply(mut self, replies: &[UpstreamReply]) -> Result<OperationReply, Failure<'static>> {
        let bad = || Failure::bad_gateway("the upstream's reply holds no ranking");
        let (mut results, mut model) = (Vec::new(), None);
        let (mut units, mut tokens) = (None, None);
        let add = |sum: &mut Option<u64>, more: Option<u64>| {
            *sum = more.map(|more| sum.unwrap_or_default().saturating_add(more)).or(*sum);
        };
        for (number, reply) in replies.iter().enumerate() {
            let read = self.to.dialect().read_rerank_reply(&reply.body).ok_or_else(bad)?;
            add(&mut units, read.usage.search_units);
            add(&mut tokens, read.usage.prompt.or(reply.tokens));
            model = model.or(read.model);
            for Score { index, score } in read.scores {
                let start = number * self.at_once;
                let part =
                    self.returned.get_mut(start..).and_then(|rest| rest.iter_mut().take(self.at_once).nth(index));
                let (place, returned) = (start + index, part.ok_or_else(bad)?);
                results.push(Ranked { index: place, score, returned: std::mem::take(returned) });
            }
        }
        // Stable: documents of one score stay in the provider's order.
        results.sort_by(|a, b| b.score.total_cmp(&a.score));
        results.truncate(self.top_n.unwrap_or(usize::MAX));
        let usage = Usage { prompt: tokens, search_units: units, ..Usage::default() };
        let ranking = Ranking { results, usage, model: model.unwrap_or(self.model) };
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        client(&self.endpoint).dialect().write_rerank_reply(&self.endpoint, &ranking, &mut top);
        top.end();
        Ok(OperationReply { body, usage, model: Some(ranking.model), estimated: false })
    }
}
