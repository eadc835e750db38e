//! Embeddings as providers are asked them, and what they reply.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Refused, Said, Sent,
    embeddings::{Input, Wanted},
    not_understood, sent,
};
use crate::{
    conversation::{Failure, Invalid, Text},
    dialect::{BedrockVerb, DialectId, Endpoint, GeminiVerb, Server},
    stream::json::{ObjectWriter, write_value},
};

/// Most texts that AI Studio takes at once.
const STUDIO_TEXTS: usize = 100;
/// Most texts that Vertex AI takes at once.
const VERTEX_TEXTS: usize = 250;
/// Most texts that Cohere takes at once.
const COHERE_TEXTS: usize = 96;

/// The requests that a provider is sent for what is wanted; what it can't be told is named in `wanted.dropped`.
///
/// # Errors
/// When it has no embeddings, or none of this model are known.
pub(super) fn asks(wanted: &mut Wanted<'_>, server: Server, model: &str) -> Result<Vec<Sent>, Refused> {
    let lower = model.to_ascii_lowercase();
    match server {
        Server::OpenAi | Server::Azure | Server::Mistral | Server::DeepSeek | Server::Compatible => {
            drop_hints(wanted, true);
            Ok(vec![sent(Endpoint::Embeddings, DialectId::Chat, model, openai(wanted, server, model))])
        }
        Server::AiStudio => Ok(studio(wanted, model)),
        Server::Vertex if lower.contains("gemini-embedding-001") => Ok(predict(wanted, model, 1)),
        Server::Vertex if lower.contains("gemini") || lower.contains("maas") => Ok(vertex(wanted, model)),
        Server::Vertex => Ok(predict(wanted, model, VERTEX_TEXTS)),
        Server::Bedrock if lower.contains("titan-embed") => Ok(titan(wanted, model, &lower)),
        Server::Bedrock if lower.contains("cohere") => Ok(cohere(wanted, model, &lower)),
        Server::Bedrock => {
            let message = format!("embeddings of '{model}' are not known; those of Titan and Cohere are");
            Err(Invalid::new("model", message).into())
        }
        Server::Anthropic | Server::VertexClaude => {
            Err(Refused::Missing("this route's provider has no embeddings".into()))
        }
    }
}

/// Names the hints of what a text is for that can't be given: its title, and with `task` its task.
fn drop_hints(wanted: &mut Wanted<'_>, task: bool) {
    let met = |of: fn(&Input<'_>) -> bool| wanted.inputs.iter().any(of);
    let (has_task, has_title) = (met(|input| input.task.is_some()), met(|input| input.title.is_some()));
    wanted.dropped.add_if(task && has_task, "taskType");
    wanted.dropped.add_if(has_title, "title");
}

fn openai(wanted: &Wanted<'_>, server: Server, model: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut top = ObjectWriter::begin(&mut body);
    top.field("model", model);
    let mut input = top.array("input");
    for one in &wanted.inputs {
        input.push(&one.text);
    }
    input.end();
    let name = if server == Server::Mistral { "output_dimension" } else { "dimensions" };
    top.maybe(name, wanted.dimensions.as_ref());
    top.end();
    body
}

fn gemini(verb: GeminiVerb, model: &str, body: Vec<u8>) -> Sent {
    sent(Endpoint::Gemini(verb, Some(model.to_owned())), DialectId::Gemini, model, body)
}

fn write_content(text: &Text<'_>, request: &mut ObjectWriter<'_>) {
    let mut content = request.object("content");
    let mut parts = content.array("parts");
    let mut part = parts.object();
    part.field("text", text);
    part.end();
    parts.end();
    content.end();
}

fn write_config(input: &Input<'_>, dimensions: Option<u64>, config: &mut ObjectWriter<'_>) {
    config.maybe("taskType", input.task.as_ref());
    config.maybe("title", input.title.as_ref());
    config.maybe("outputDimensionality", dimensions.as_ref());
}

/// AI Studio's `batchEmbedContents`.
fn studio(wanted: &Wanted<'_>, model: &str) -> Vec<Sent> {
    let name = format!("models/{model}");
    let batch = |inputs: &[Input<'_>]| {
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        let mut requests = top.array("requests");
        for input in inputs {
            let mut request = requests.object();
            request.field("model", &name);
            write_content(&input.text, &mut request);
            write_config(input, wanted.dimensions, &mut request);
            request.end();
        }
        requests.end();
        top.end();
        gemini(GeminiVerb::BatchEmbed, model, body)
    };
    wanted.inputs.chunks(STUDIO_TEXTS).map(batch).collect()
}

/// Vertex AI's `embedContent` for one text, `batchEmbedContents` for several.
fn vertex(wanted: &Wanted<'_>, model: &str) -> Vec<Sent> {
    let write = |input: &Input<'_>, request: &mut ObjectWriter<'_>| {
        write_content(&input.text, request);
        if input.task.is_some() || input.title.is_some() || wanted.dimensions.is_some() {
            let mut config = request.object("embedContentConfig");
            write_config(input, wanted.dimensions, &mut config);
            config.end();
        }
    };
    let batch = |inputs: &[Input<'_>]| {
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        if let [one] = inputs {
            write(one, &mut top);
            top.end();
            return gemini(GeminiVerb::Embed, model, body);
        }
        let mut requests = top.array("requests");
        for input in inputs {
            let mut request = requests.object();
            write(input, &mut request);
            request.end();
        }
        requests.end();
        top.end();
        gemini(GeminiVerb::BatchEmbed, model, body)
    };
    wanted.inputs.chunks(STUDIO_TEXTS).map(batch).collect()
}

/// Vertex AI's `predict`, with at most `most` texts a request.
fn predict(wanted: &Wanted<'_>, model: &str, most: usize) -> Vec<Sent> {
    let batch = |inputs: &[Input<'_>]| {
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        let mut instances = top.array("instances");
        for input in inputs {
            let mut instance = instances.object();
            instance.field("content", &input.text);
            instance.maybe("task_type", input.task.as_ref());
            instance.maybe("title", input.title.as_ref());
            instance.end();
        }
        instances.end();
        if let Some(dimensions) = wanted.dimensions {
            let mut parameters = top.object("parameters");
            parameters.field("outputDimensionality", &dimensions);
            parameters.end();
        }
        top.end();
        gemini(GeminiVerb::Predict, model, body)
    };
    wanted.inputs.chunks(most).map(batch).collect()
}

fn invoke(model: &str, body: Vec<u8>) -> Sent {
    sent(Endpoint::Bedrock(BedrockVerb::Invoke, Some(model.to_owned())), DialectId::Converse, model, body)
}

/// Titan, which takes one text at a time. Its first generation has one length only.
fn titan(wanted: &mut Wanted<'_>, model: &str, lower: &str) -> Vec<Sent> {
    drop_hints(wanted, true);
    let first = lower.contains("titan-embed-text-v1") || lower.contains("titan-embed-g1");
    wanted.dropped.add_if(first && wanted.dimensions.is_some(), wanted.form.dimensions());
    let (image, dimensions) = (lower.contains("titan-embed-image"), wanted.dimensions.filter(|_| !first));
    let one = |input: &Input<'_>| {
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        top.field("inputText", &input.text);
        match dimensions {
            Some(length) if image => {
                let mut config = top.object("embeddingConfig");
                config.field("outputEmbeddingLength", &length);
                config.end();
            }
            length => top.maybe("dimensions", length.as_ref()),
        }
        top.end();
        invoke(model, body)
    };
    wanted.inputs.iter().map(one).collect()
}

/// Cohere, which must know what the texts are for. From its fourth generation on it has several lengths.
fn cohere(wanted: &mut Wanted<'_>, model: &str, lower: &str) -> Vec<Sent> {
    drop_hints(wanted, false);
    let fixed = lower.contains("-v3");
    wanted.dropped.add_if(fixed && wanted.dimensions.is_some(), wanted.form.dimensions());
    let dimensions = wanted.dimensions.filter(|_| !fixed);
    let batch = |inputs: &[Input<'_>]| {
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        let mut texts = top.array("texts");
        for input in inputs {
            texts.push(&input.text);
        }
        texts.end();
        top.field("input_type", inputs.first().map_or(COHERE_DOCUMENT, purpose));
        let mut types = top.array("embedding_types");
        types.push("float");
        types.end();
        top.maybe("output_dimension", dimensions.as_ref());
        top.end();
        invoke(model, body)
    };
    let alike = wanted.inputs.chunk_by(|a, b| purpose(a) == purpose(b));
    alike.flat_map(|inputs| inputs.chunks(COHERE_TEXTS)).map(batch).collect()
}

/// What Cohere is told when the client says nothing.
const COHERE_DOCUMENT: &str = "search_document";

/// Cohere's word for what a text is for.
fn purpose(input: &Input<'_>) -> &'static str {
    let task = input.task.as_ref().map(Text::decode).unwrap_or_default();
    match &*task {
        "RETRIEVAL_QUERY" | "QUESTION_ANSWERING" | "FACT_VERIFICATION" | "CODE_RETRIEVAL_QUERY" => "search_query",
        "CLASSIFICATION" => "classification",
        "CLUSTERING" => "clustering",
        _ => COHERE_DOCUMENT,
    }
}

/// The numbers of one text.
#[derive(Debug)]
pub(super) enum Vector<'a> {
    /// A list, as the provider wrote it.
    List(&'a str),
    /// Base64 of little-endian 32-bit floats.
    Base64(Text<'a>),
}

impl<'a> Vector<'a> {
    fn of(raw: &'a RawValue) -> Option<Self> {
        match raw.get().as_bytes().first() {
            Some(b'[') => Some(Self::List(raw.get())),
            Some(b'"') => serde_json::from_str(raw.get()).ok().map(Self::Base64),
            _ => None,
        }
    }

    /// Bytes that it takes in a reply, about.
    pub fn size(&self) -> usize {
        match self {
            Self::List(text) => text.len(),
            Self::Base64(text) => text.size(),
        }
    }

    /// Appends the numbers, in the form that the client wants.
    ///
    /// # Errors
    /// When they are no numbers.
    pub fn write(&self, base64: bool, out: &mut Vec<u8>) -> Result<(), Failure<'static>> {
        let bad = || not_understood("the upstream's embeddings are no numbers");
        match (self, base64) {
            (Self::List(text), false) => out.extend_from_slice(text.as_bytes()),
            (Self::List(text), true) => {
                let numbers: Vec<f32> = serde_json::from_str(text).map_err(|_| bad())?;
                let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
                write_value(out, &BASE64_STANDARD.encode(bytes));
            }
            (Self::Base64(text), true) => text.write(out),
            (Self::Base64(text), false) => {
                let bytes = BASE64_STANDARD.decode(&*text.decode()).map_err(|_| bad())?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(bad());
                }
                let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                write_value(out, &numbers);
            }
        }
        Ok(())
    }
}

/// What the replies hold.
pub(super) struct Found<'a> {
    /// In the order of the texts.
    pub vectors: Vec<Vector<'a>>,
    /// Their sum, where every reply tells it.
    pub tokens: Option<u64>,
    /// The model, as the provider names it.
    pub model: Option<String>,
}

/// A reply of any provider: their members don't collide.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    /// OpenAI.
    #[serde(borrow)]
    data: Option<Vec<Datum<'a>>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    usage: Option<OpenAiUsage>,
    /// Gemini's batches, and Cohere.
    #[serde(borrow)]
    embeddings: Option<&'a RawValue>,
    /// Gemini's single ones, and Titan.
    #[serde(borrow)]
    embedding: Option<&'a RawValue>,
    usage_metadata: Option<GeminiUsage>,
    input_text_token_count: Option<u64>,
    /// Vertex AI.
    #[serde(borrow)]
    predictions: Option<Vec<Prediction<'a>>>,
}

#[derive(Deserialize)]
struct Datum<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

#[derive(Deserialize)]
struct OpenAiUsage {
    prompt_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeminiUsage {
    prompt_token_count: Option<u64>,
}

#[derive(Deserialize)]
struct Prediction<'a> {
    #[serde(borrow)]
    embeddings: Values<'a>,
}

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
    statistics: Option<Statistics>,
}

#[derive(Deserialize)]
struct Statistics {
    /// A count, which some versions write as a fraction.
    token_count: Option<f64>,
}

#[derive(Deserialize)]
struct Floats<'a> {
    #[serde(borrow)]
    float: Vec<&'a RawValue>,
}

/// Reads the replies of any provider.
///
/// # Errors
/// When one of them holds no embeddings.
pub(super) fn read(replies: &[Said]) -> Result<Found<'_>, Failure<'static>> {
    let mut found = Found { vectors: Vec::new(), tokens: Some(0), model: None };
    for reply in replies {
        let bad = || not_understood("the upstream's reply holds no embeddings");
        let wire: Wire<'_> = serde_json::from_slice(&reply.body).map_err(|_| bad())?;
        let tokens = wire.tokens().or(reply.tokens);
        found.tokens = found.tokens.zip(tokens).map(|(sum, tokens)| sum.saturating_add(tokens));
        found.model = found.model.or_else(|| wire.model.as_ref().map(|model| model.decode().into_owned()));
        let vectors = wire.vectors().ok_or_else(bad)?;
        for raw in vectors {
            found.vectors.push(Vector::of(raw).ok_or_else(bad)?);
        }
    }
    Ok(found)
}

impl<'a> Wire<'a> {
    fn tokens(&self) -> Option<u64> {
        let openai = self.usage.as_ref().and_then(|usage| usage.prompt_tokens);
        let gemini = || self.usage_metadata.as_ref().and_then(|usage| usage.prompt_token_count);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of tokens")]
        let vertex = || {
            let counts = self.predictions.as_ref()?.iter().map(|one| one.embeddings.statistics.as_ref()?.token_count);
            counts.map(|count| count.map(|count| count as u64)).sum()
        };
        openai.or_else(gemini).or(self.input_text_token_count).or_else(vertex)
    }

    fn vectors(self) -> Option<Vec<&'a RawValue>> {
        if let Some(mut data) = self.data {
            data.sort_by_key(|datum| datum.index);
            return Some(data.into_iter().map(|datum| datum.embedding).collect());
        }
        if let Some(predictions) = self.predictions {
            return Some(predictions.into_iter().map(|one| one.embeddings.values).collect());
        }
        if let Some(one) = self.embedding {
            return Some(vec![values(one)?]);
        }
        let many = self.embeddings?;
        if let Ok(floats) = serde_json::from_str::<Floats<'a>>(many.get()) {
            return Some(floats.float);
        }
        let list: Vec<&'a RawValue> = serde_json::from_str(many.get()).ok()?;
        list.into_iter().map(values).collect()
    }
}

/// A vector that may stand in an object's `values`.
fn values(raw: &RawValue) -> Option<&RawValue> {
    if raw.get().starts_with('{') {
        serde_json::from_str::<Values<'_>>(raw.get()).ok().map(|inner| inner.values)
    } else {
        Some(raw)
    }
}
