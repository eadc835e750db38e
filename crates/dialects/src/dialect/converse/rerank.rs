//! Reranking on Bedrock: a client's request has the form of `Rerank` of the agent runtime, and a provider's that of the
//! model, by `InvokeModel`. The agent runtime is at another host, and reaches the same models.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conversation::{Invalid, Text, Unsupported},
    dialect::{
        BedrockVerb, Endpoint, ModelName, Quirks,
        chat::rerank::write_texts,
        operation::{Document, INDEX, OperationError, Ranking, RerankRequest, UpstreamRequest},
        quirks::BedrockRerank,
    },
    stream::{TopLevel, json::ObjectWriter},
};

/// Most documents that a request may have.
pub(super) const MAX_DOCUMENTS: usize = 1000;
/// The version of Cohere's API in bodies for its models: the only one that they take.
const COHERE_VERSION: u8 = 2;
/// What the ARN of a foundation model has before the model's id.
const FOUNDATION_MODEL: &str = ":foundation-model/";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Wire<'a> {
    #[serde(default)]
    queries: Vec<Query<'a>>,
    #[serde(default)]
    sources: Vec<Source<'a>>,
    reranking_configuration: Option<Configuration<'a>>,
    next_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Query<'a> {
    text_query: Option<TextDocument<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct TextDocument<'a> {
    text: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Source<'a> {
    inline_document_source: Option<Inline<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Inline<'a> {
    text_document: Option<TextDocument<'a>>,
    json_document: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Configuration<'a> {
    bedrock_reranking_configuration: Option<BedrockConfiguration<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct BedrockConfiguration<'a> {
    model_configuration: Option<ModelConfiguration<'a>>,
    number_of_results: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct ModelConfiguration<'a> {
    model_arn: Option<Text<'a>>,
    additional_model_request_fields: Option<&'a RawValue>,
}

impl<'a> Source<'a> {
    /// The document. One of JSON is read as its text.
    fn document(self) -> Option<Document<'a>> {
        let Inline { text_document, json_document } = self.inline_document_source?;
        let text = match (text_document, json_document) {
            (Some(document), _) => document.text?,
            (None, Some(json)) => Text::from(json.get()),
            (None, None) => return None,
        };
        Some(Document { text, title: None, returned: Vec::new() })
    }
}

fn parse<'a>(body: &TopLevel<'a>) -> Result<Wire<'a>, Invalid> {
    serde_json::from_slice(body.body()).map_err(|error| Invalid::new("", error.to_string()))
}

/// The model that a body names, by its id where the ARN has it.
pub(super) fn model(body: &TopLevel<'_>) -> Option<String> {
    let configuration = parse(body).ok()?.reranking_configuration?.bedrock_reranking_configuration?;
    let arn = configuration.model_configuration?.model_arn?.decode().into_owned();
    Some(match arn.split_once(FOUNDATION_MODEL) {
        Some((_, id)) => id.to_owned(),
        None => arn,
    })
}

/// Reads a client's request.
pub(super) fn read<'a>(body: &TopLevel<'a>) -> Result<RerankRequest<'a>, Invalid> {
    let Wire { queries, sources, reranking_configuration, next_token } = parse(body)?;
    if next_token.is_some() {
        return Err(Invalid::new("nextToken", "all results came with the first reply"));
    }
    let [query]: [Query<'a>; 1] = queries.try_into().map_err(|_| Invalid::new("queries", "must be one query"))?;
    let query = query.text_query.and_then(|query| query.text);
    let query = query.ok_or_else(|| Invalid::new("queries[0].textQuery.text", "must be a string"))?;
    let documents = sources.into_iter().enumerate().map(|(number, source)| {
        let missing = || Invalid::new(format!("sources[{number}]"), "must have a textDocument or a jsonDocument");
        source.document().ok_or_else(missing)
    });
    let documents = documents.collect::<Result<_, _>>()?;
    let configuration = reranking_configuration.and_then(|any| any.bedrock_reranking_configuration);
    let (top_n, model) = configuration.map_or((None, None), |own| (own.number_of_results, own.model_configuration));
    let (mut dropped, mut max_tokens) = (Unsupported::default(), None);
    let additional = model.and_then(|model| model.additional_model_request_fields);
    for member in
        additional.and_then(|raw| TopLevel::scan(raw.get().as_bytes()).ok()).iter().flat_map(TopLevel::members)
    {
        match (member.is("max_tokens_per_doc"), member.as_u64()) {
            (true, Some(tokens)) => max_tokens = Some(tokens),
            _ => dropped.add(format!("additionalModelRequestFields.{}", member.name())),
        }
    }
    let (query, documents_field) = ((query, "queries[0].textQuery.text"), "sources");
    Ok(RerankRequest { query, documents, documents_field, top_n, max_tokens, dropped })
}

/// Writes a request for `documents` in the form of the model.
///
/// # Errors
/// When the form of the model is unknown.
pub(super) fn write(
    request: &RerankRequest<'_>,
    documents: &[Document<'_>],
    model: &str,
    quirks: &Quirks,
    dropped: &mut Unsupported,
) -> Result<UpstreamRequest, OperationError> {
    let name = ModelName::of(model);
    let row = quirks.converse.rerank.iter().find(|(pattern, _)| name.has(&[pattern, "rerank"]));
    let unknown = || {
        let message = format!("'{model}' is not known as a model that reranks; those of Cohere and Amazon are");
        Invalid::new("model", message)
    };
    let (_, form) = row.ok_or_else(unknown)?;
    let mut body = Vec::new();
    let mut top = ObjectWriter::begin(&mut body);
    write_texts(request, documents, &mut top);
    match form {
        BedrockRerank::Cohere => {
            top.field("api_version", &COHERE_VERSION);
            top.maybe("max_tokens_per_doc", request.max_tokens.as_ref());
        }
        BedrockRerank::Amazon => dropped.add_if(request.max_tokens.is_some(), "max_tokens_per_doc"),
    }
    top.end();
    let endpoint = Endpoint::Bedrock(BedrockVerb::Invoke, Some(model.to_owned()));
    Ok(UpstreamRequest::new(endpoint, model, body))
}

/// Writes the reply to a client of the agent runtime.
pub(super) fn write_reply(ranking: &Ranking, out: &mut ObjectWriter<'_>) {
    let mut results = out.array("results");
    for ranked in &ranking.results {
        results.object().with(INDEX, &ranked.index).with("relevanceScore", &ranked.score).end();
    }
}
