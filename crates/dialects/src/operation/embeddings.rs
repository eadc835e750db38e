//! Embeddings: what clients ask, and how they are answered.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, BYTES_PER_TOKEN, Back as AnyBack, Lookup, Refused, Said, To, not_understood, vectors};
use crate::{
    conversation::{Failure, Invalid, Text, Unsupported},
    dialect::{Endpoint, GeminiVerb, Usage},
    stream::{
        TopLevel,
        json::{ObjectWriter, ValueKind},
    },
};

/// Most texts of one request: OpenAI's own limit.
const MAX_INPUTS: usize = 2048;
/// OpenAI's message for what only its own models understand.
const TOKENS: &str = "arrays of tokens mean nothing to this route's provider: send the text";

/// One text to embed.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub text: Text<'a>,
    /// What the embedding is for, in Gemini's words.
    pub task: Option<Text<'a>>,
    /// The title of the document that the text is.
    pub title: Option<Text<'a>>,
}

/// What a client wants.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// One or more, no more than a request may have.
    pub inputs: Vec<Input<'a>>,
    /// How many numbers.
    pub dimensions: Option<u64>,
    pub form: Form,
    pub dropped: Unsupported,
}

/// How the client asked, and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenAI; numbers as base64 of little-endian 32-bit floats, or as a list.
    OpenAi { base64: bool },
    /// Gemini's `embedContent`.
    One,
    /// Gemini's `batchEmbedContents`.
    Batch,
    /// Vertex AI's `predict`.
    Predict,
}

impl Form {
    /// The client's word for the number of numbers.
    pub const fn dimensions(self) -> &'static str {
        if matches!(self, Self::OpenAi { .. }) { "dimensions" } else { "outputDimensionality" }
    }
}

/// What is needed to answer.
#[derive(Debug)]
pub(super) struct Back {
    form: Form,
    model: String,
    /// Bytes of each text.
    sizes: Vec<usize>,
}

/// Reads what the client wants, and plans how the provider is asked.
pub(super) fn read(endpoint: &Endpoint, top: &TopLevel<'_>, to: &To<'_>) -> Result<Lookup, Refused> {
    let mut wanted = match endpoint {
        Endpoint::Gemini(GeminiVerb::Embed, _) => read_one(top),
        Endpoint::Gemini(GeminiVerb::BatchEmbed, _) => read_batch(top),
        Endpoint::Gemini(..) => read_predict(top),
        _ => read_openai(top),
    }?;
    let field = match wanted.form {
        Form::OpenAi { .. } => "input",
        Form::One => "content",
        Form::Batch => "requests",
        Form::Predict => "instances",
    };
    if wanted.inputs.is_empty() {
        return Err(Invalid::new(field, "there is nothing to embed").into());
    }
    if wanted.inputs.len() > MAX_INPUTS {
        return Err(Invalid::new(field, format!("more than {MAX_INPUTS} texts in one request")).into());
    }
    let model = to.model.ok_or(Refused::NoModel)?;
    let asks = vectors::asks(&mut wanted, to.server, model)?;
    let sizes = wanted.inputs.iter().map(|input| input.text.size().saturating_sub(2)).collect();
    let back = Back { form: wanted.form, model: model.to_owned(), sizes };
    Ok(Lookup { asks, dropped: wanted.dropped, back: AnyBack::Embeddings(back) })
}

fn read_openai<'a>(top: &TopLevel<'a>) -> Result<Wanted<'a>, Invalid> {
    let (mut inputs, mut dimensions, mut base64) = (Vec::new(), None, false);
    let mut dropped = Unsupported::default();
    for member in top.members().iter().filter(|member| !member.is_null()) {
        let name = member.name();
        match &*name {
            "model" => {}
            "input" => inputs = openai_inputs(member.kind, member.value)?,
            "dimensions" => {
                dimensions = Some(member.as_u64().ok_or_else(|| Invalid::new(&*name, "must be a positive integer"))?);
            }
            "encoding_format" => {
                base64 = match member.as_str().as_deref() {
                    Some("float") => false,
                    Some("base64") => true,
                    _ => return Err(Invalid::new(&*name, "must be 'float' or 'base64'")),
                }
            }
            _ => dropped.add(name.into_owned()),
        }
    }
    Ok(Wanted { inputs, dimensions, form: Form::OpenAi { base64 }, dropped })
}

/// A text, or a list of texts.
fn openai_inputs(kind: ValueKind, value: &[u8]) -> Result<Vec<Input<'_>>, Invalid> {
    let bad = || Invalid::new("input", "must be a string or a list of strings");
    let texts: Vec<&RawValue> = match kind {
        ValueKind::String => vec![serde_json::from_slice(value).map_err(|_| bad())?],
        ValueKind::Array => serde_json::from_slice(value).map_err(|_| bad())?,
        _ => return Err(bad()),
    };
    let input = |raw: &'_ RawValue| match raw.get().as_bytes().first() {
        Some(b'[' | b'-' | b'0'..=b'9') => Err(Invalid::new("input", TOKENS)),
        _ => Ok(()),
    };
    texts
        .into_iter()
        .map(|raw| {
            input(raw)?;
            let text = serde_json::from_str::<Text<'_>>(raw.get()).map_err(|_| bad())?;
            Ok(Input { text, task: None, title: None })
        })
        .collect()
}

/// The settings of a Gemini request, which stand in it or in its `embedContentConfig`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    #[serde(borrow, alias = "task_type")]
    task_type: Option<Text<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(alias = "output_dimensionality")]
    output_dimensionality: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmbedRequest<'a> {
    #[serde(borrow)]
    content: Option<Contents<'a>>,
    #[serde(borrow, alias = "task_type")]
    task_type: Option<Text<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(alias = "output_dimensionality")]
    output_dimensionality: Option<u64>,
    #[serde(borrow, alias = "embed_content_config")]
    embed_content_config: Option<Config<'a>>,
}

#[derive(Deserialize)]
struct Contents<'a> {
    #[serde(borrow, default)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

impl<'a> EmbedRequest<'a> {
    /// The text with its settings, and how many numbers. `field` is where the request stands.
    fn input(self, field: &str) -> Result<(Input<'a>, Option<u64>), Invalid> {
        let config = self.embed_content_config.unwrap_or_default();
        let mut texts = Vec::new();
        for (number, part) in self.content.map(|content| content.parts).unwrap_or_default().into_iter().enumerate() {
            let only = || Invalid::new(format!("{field}content.parts[{number}]"), "only text can be embedded here");
            texts.push(part.text.ok_or_else(only)?);
        }
        let text = match texts.len() {
            0 => return Err(Invalid::new(format!("{field}content.parts"), "there is nothing to embed")),
            1 => texts.remove(0),
            // The model reads the parts as one text.
            _ => Text::from(texts.iter().map(Text::decode).collect::<Vec<_>>().join("\n")),
        };
        let (task, title) = (self.task_type.or(config.task_type), self.title.or(config.title));
        Ok((Input { text, task, title }, self.output_dimensionality.or(config.output_dimensionality)))
    }
}

fn parse<'a, T: Deserialize<'a>>(top: &TopLevel<'a>) -> Result<T, Invalid> {
    serde_json::from_slice(top.body()).map_err(|error| Invalid::new("", error.to_string()))
}

fn read_one<'a>(top: &TopLevel<'a>) -> Result<Wanted<'a>, Invalid> {
    let (input, dimensions) = parse::<EmbedRequest<'a>>(top)?.input("")?;
    Ok(Wanted { inputs: vec![input], dimensions, form: Form::One, dropped: Unsupported::default() })
}

fn read_batch<'a>(top: &TopLevel<'a>) -> Result<Wanted<'a>, Invalid> {
    #[derive(Deserialize)]
    struct Requests<'a> {
        #[serde(borrow, default)]
        requests: Vec<EmbedRequest<'a>>,
    }
    let requests = parse::<Requests<'a>>(top)?.requests;
    let (mut inputs, mut dimensions) = (Vec::with_capacity(requests.len().min(MAX_INPUTS)), None);
    for (number, request) in requests.into_iter().enumerate() {
        let field = format!("requests[{number}].");
        let (input, wanted) = request.input(&field)?;
        if number > 0 && wanted != dimensions {
            let message = "must be the same in all requests for this route's provider";
            return Err(Invalid::new(format!("{field}outputDimensionality"), message));
        }
        dimensions = wanted;
        inputs.push(input);
    }
    Ok(Wanted { inputs, dimensions, form: Form::Batch, dropped: Unsupported::default() })
}

fn read_predict<'a>(top: &TopLevel<'a>) -> Result<Wanted<'a>, Invalid> {
    #[derive(Deserialize)]
    struct Instance<'a> {
        #[serde(borrow)]
        content: Option<Text<'a>>,
        #[serde(borrow, alias = "taskType")]
        task_type: Option<Text<'a>>,
        #[serde(borrow)]
        title: Option<Text<'a>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parameters {
        #[serde(alias = "output_dimensionality")]
        output_dimensionality: Option<u64>,
        #[serde(alias = "auto_truncate")]
        auto_truncate: Option<bool>,
    }
    #[derive(Deserialize)]
    struct Predict<'a> {
        #[serde(borrow, default)]
        instances: Vec<Instance<'a>>,
        parameters: Option<Parameters>,
    }
    let Predict { instances, parameters } = parse(top)?;
    let parameters = parameters.unwrap_or_default();
    let mut dropped = Unsupported::default();
    dropped.add_if(parameters.auto_truncate.is_some(), "autoTruncate");
    let inputs = instances.into_iter().enumerate().map(|(number, Instance { content, task_type, title })| {
        let only = || Invalid::new(format!("instances[{number}].content"), "only text can be embedded here");
        Ok(Input { text: content.ok_or_else(only)?, task: task_type, title })
    });
    let inputs = inputs.collect::<Result<_, Invalid>>()?;
    Ok(Wanted { inputs, dimensions: parameters.output_dimensionality, form: Form::Predict, dropped })
}

impl Back {
    /// The answer in the client's form.
    pub fn answer(self, replies: &[Said]) -> Result<Answer, Failure<'static>> {
        let found = vectors::read(replies)?;
        let (vectors, wanted) = (found.vectors, self.sizes.len());
        if vectors.len() != wanted {
            return Err(not_understood(format!("the upstream gave {} embeddings for {wanted} texts", vectors.len())));
        }
        let estimate = || self.sizes.iter().map(|size| tokens(*size)).sum();
        let used: u64 = found.tokens.unwrap_or_else(estimate);
        let model = found.model.unwrap_or(self.model);
        let mut body = Vec::with_capacity(vectors.iter().map(|v| v.size() + 64).sum::<usize>() + 256);
        let mut top = ObjectWriter::begin(&mut body);
        match self.form {
            Form::OpenAi { base64 } => {
                top.field("object", "list");
                let mut data = top.array("data");
                for (index, vector) in vectors.iter().enumerate() {
                    let mut datum = data.object();
                    datum.field("object", "embedding");
                    datum.field("index", &index);
                    vector.write(base64, datum.key("embedding"))?;
                    datum.end();
                }
                data.end();
                top.field("model", &model);
                let mut usage = top.object("usage");
                usage.field("prompt_tokens", &used);
                usage.field("total_tokens", &used);
                usage.end();
            }
            Form::One => {
                for vector in vectors.iter().take(1) {
                    let mut embedding = top.object("embedding");
                    vector.write(false, embedding.key("values"))?;
                    embedding.end();
                }
            }
            Form::Batch => {
                let mut embeddings = top.array("embeddings");
                for vector in &vectors {
                    let mut embedding = embeddings.object();
                    vector.write(false, embedding.key("values"))?;
                    embedding.end();
                }
                embeddings.end();
            }
            Form::Predict => {
                let mut predictions = top.array("predictions");
                for (vector, size) in vectors.iter().zip(&self.sizes) {
                    let mut prediction = predictions.object();
                    let mut embeddings = prediction.object("embeddings");
                    vector.write(false, embeddings.key("values"))?;
                    let mut statistics = embeddings.object("statistics");
                    statistics.field("token_count", &if wanted == 1 { used } else { tokens(*size) });
                    statistics.end();
                    embeddings.end();
                    prediction.end();
                }
                predictions.end();
            }
        }
        top.end();
        let usage = Usage { prompt: Some(used), completion: None };
        Ok(Answer { body, usage, model: Some(model), estimated: found.tokens.is_none() })
    }
}

/// Tokens that a text of this many bytes has, about.
fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}
