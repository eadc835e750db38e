//! Cohere's form of reranking, which Jina, vLLM and most other servers with OpenAI's API have too.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conversation::{Invalid, Text, Unsupported},
    dialect::{
        Endpoint, RerankApi, Usage,
        operation::{Document, INDEX, Ranking, RerankReply, RerankRequest, Score},
    },
    stream::{
        TopLevel,
        json::{Member, ObjectWriter, ValueKind},
    },
};

/// The client's field for the documents.
const DOCUMENTS: &str = "documents";
/// The client's field for the query.
const QUERY: &str = "query";

/// Reads a client's request. Documents are texts, or objects with a `text`.
pub(super) fn read<'a>(body: &TopLevel<'a>) -> Result<RerankRequest<'a>, Invalid> {
    let mut dropped = Unsupported::default();
    let (mut query, mut list, mut top_n, mut max_tokens, mut returns) = (None, None, None, None, false);
    for member in body.members().iter().filter(|member| !member.is_null()) {
        let name = member.name();
        let number = |member: &Member<'_>| member.as_u64().ok_or_else(|| Invalid::new(&*name, "must be a number"));
        match &*name {
            "model" => {}
            QUERY => query = Some(member),
            DOCUMENTS => list = Some(member),
            "top_n" => top_n = Some(number(member)?),
            "max_tokens_per_doc" => max_tokens = Some(number(member)?),
            "return_documents" => {
                returns = member.as_bool().ok_or_else(|| Invalid::new(&*name, "must be true or false"))?;
            }
            _ => dropped.add(name.into_owned()),
        }
    }
    let query = query.filter(|member| member.kind == ValueKind::String);
    let query = query.and_then(|member| serde_json::from_slice(member.value).ok());
    let query = query.ok_or_else(|| Invalid::new(QUERY, "must be a string"))?;
    let list = list.filter(|member| member.kind == ValueKind::Array);
    let list = list.and_then(|member| serde_json::from_slice::<Vec<&'a RawValue>>(member.value).ok());
    let list = list.ok_or_else(|| Invalid::new(DOCUMENTS, "must be a list of strings, or of objects with a 'text'"))?;
    let documents = list.into_iter().enumerate().map(|(number, raw)| read_document(number, raw, returns));
    Ok(RerankRequest {
        query: (query, QUERY),
        documents: documents.collect::<Result<_, _>>()?,
        documents_field: DOCUMENTS,
        // Servers such as vLLM have 0 for all.
        top_n: top_n.filter(|top| *top > 0).map(|top| usize::try_from(top).unwrap_or(usize::MAX)),
        max_tokens,
        dropped,
    })
}

fn read_document(number: usize, raw: &RawValue, returns: bool) -> Result<Document<'_>, Invalid> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        text: Text<'a>,
    }
    let text = Text::of(raw);
    let is_text = text.is_some();
    let text = text.or_else(|| Some(serde_json::from_str::<Fields<'_>>(raw.get()).ok()?.text));
    let only = || Invalid::new(format!("{DOCUMENTS}[{number}]"), "must be a string, or an object with a 'text'");
    let text = text.ok_or_else(only)?;
    let mut returned = Vec::new();
    if returns {
        // An object is returned with all of its fields.
        let document = if is_text { format!("{{\"text\":{}}}", raw.get()) } else { raw.get().to_owned() };
        returned.push(("document", document));
    }
    Ok(Document { text, title: None, returned })
}

/// Writes a request for `documents`.
pub(super) fn write(request: &RerankRequest<'_>, documents: &[Document<'_>], model: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut top = ObjectWriter::begin(&mut body).with("model", model);
    write_texts(request, documents, &mut top);
    top.maybe("max_tokens_per_doc", request.max_tokens.as_ref());
    top.end();
    body
}

/// Writes the fields that models on Bedrock have too.
pub(in crate::dialect) fn write_texts(
    request: &RerankRequest<'_>,
    documents: &[Document<'_>],
    top: &mut ObjectWriter<'_>,
) {
    top.field(QUERY, &request.query.0);
    let mut list = top.array(DOCUMENTS);
    for document in documents {
        list.push(&document.whole());
    }
    list.end();
    top.maybe("top_n", request.top_of(documents.len()).as_ref());
}

/// Reads a provider's reply, also that of a model on Bedrock. `data` is Fireworks' name for the results.
pub(in crate::dialect) fn read_reply(body: &[u8]) -> Option<RerankReply> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Wire<'a> {
        #[serde(alias = "data")]
        results: Vec<WireScore>,
        model: Option<Text<'a>>,
        usage: Option<WireUsage>,
        meta: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct WireScore {
        index: usize,
        relevance_score: f64,
    }
    /// Jina's and vLLM's.
    #[derive(Deserialize)]
    struct WireUsage {
        prompt_tokens: Option<u64>,
        total_tokens: Option<u64>,
    }
    let Wire { results, model, usage, meta } = serde_json::from_slice(body).ok()?;
    let mut stated = meta.and_then(|meta| read_meta(meta.get().as_bytes())).unwrap_or_default();
    stated.prompt = usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens)).or(stated.prompt);
    let score = |WireScore { index, relevance_score: score }| Score { index, score };
    Some(RerankReply {
        scores: results.into_iter().map(score).collect(),
        usage: stated,
        model: model.map(|model| model.decode().into_owned()),
    })
}

/// Reads the `meta` of a reply: what Cohere bills, and the tokens that it read.
pub(super) fn read_meta(raw: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Meta {
        billed_units: Option<Units>,
        tokens: Option<Tokens>,
    }
    // Cohere's counts are fractions by their type, and whole by their meaning.
    #[derive(Deserialize)]
    struct Units {
        search_units: Option<f64>,
    }
    #[derive(Deserialize)]
    struct Tokens {
        input_tokens: Option<f64>,
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    let whole = |count: f64| count.ceil() as u64;
    let Meta { billed_units, tokens } = serde_json::from_slice(raw).ok()?;
    let search_units = billed_units.and_then(|units| units.search_units).map(whole);
    let prompt = tokens.and_then(|tokens| tokens.input_tokens).map(whole);
    Some(Usage { prompt, search_units, ..Usage::default() })
}

/// Writes the reply to a client of `endpoint`. Clients of Jina and vLLM read `model` and `usage`.
pub(super) fn write_reply(endpoint: &Endpoint, ranking: &Ranking, out: &mut ObjectWriter<'_>) {
    out.field("model", &ranking.model);
    let mut results = out.array("results");
    for ranked in &ranking.results {
        let mut result = results.object().with(INDEX, &ranked.index).with("relevance_score", &ranked.score);
        for (name, value) in &ranked.returned {
            result.raw(name, value);
        }
    }
    results.end();
    let mut meta = out.object("meta");
    let version = if *endpoint == Endpoint::Rerank(RerankApi::V2) { "2" } else { "1" };
    meta.object("api_version").with("version", version).end();
    if let Some(units) = ranking.usage.search_units {
        meta.object("billed_units").with("search_units", &units).end();
    }
    meta.end();
    if let Some(tokens) = ranking.usage.prompt {
        out.object("usage").with("prompt_tokens", &tokens).with("total_tokens", &tokens).end();
    }
}
