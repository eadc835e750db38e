//! The forms of Google's embeddings: `embedContent`, `batchEmbedContents` and `predict`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conversation::{Failure, Invalid, Text, Unsupported},
    dialect::{
        Endpoint, GeminiVerb,
        operation::{Embeddings, EmbeddingsReply, EmbeddingsRequest, Input, UpstreamRequest},
        quirks::GeminiEmbeddings,
    },
    stream::{TopLevel, json::ObjectWriter},
};

/// Most texts that `batchEmbedContents` accepts.
const BATCH: usize = 100;

/// The settings of a request, which are in it or in its `embedContentConfig`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Config<'a> {
    #[serde(alias = "task_type")]
    task_type: Option<Text<'a>>,
    title: Option<Text<'a>>,
    #[serde(alias = "output_dimensionality")]
    output_dimensionality: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct EmbedRequest<'a> {
    content: Option<Contents<'a>>,
    #[serde(alias = "task_type")]
    task_type: Option<Text<'a>>,
    title: Option<Text<'a>>,
    #[serde(alias = "output_dimensionality")]
    output_dimensionality: Option<u64>,
    #[serde(alias = "embed_content_config")]
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
    /// The text with its settings, and the length of its embedding. `field` is where the request is.
    fn input(self, field: &str) -> Result<(Input<'a>, Option<u64>), Invalid> {
        let config = self.embed_content_config.unwrap_or_default();
        let mut texts = Vec::new();
        for (number, part) in self.content.map(|content| content.parts).unwrap_or_default().into_iter().enumerate() {
            let only = || Invalid::new(format!("{field}content.parts[{number}]"), "only text can be embedded here");
            texts.push(part.text.ok_or_else(only)?);
        }
        if texts.is_empty() {
            return Err(Invalid::new(format!("{field}content.parts"), "there is nothing to embed"));
        }
        // The model reads the parts as one text.
        let text = Text::join(texts, "\n");
        let (task, title) = (self.task_type.or(config.task_type), self.title.or(config.title));
        Ok((Input { text, task, title }, self.output_dimensionality.or(config.output_dimensionality)))
    }
}

fn parse<'a, T: Deserialize<'a>>(top: &TopLevel<'a>) -> Result<T, Invalid> {
    serde_json::from_slice(top.body()).map_err(|error| Invalid::new("", error.to_string()))
}

fn request<'a>(inputs: Vec<Input<'a>>, inputs_field: &'static str, dimensions: Option<u64>) -> EmbeddingsRequest<'a> {
    let dropped = Unsupported::default();
    let dimensions_field = "outputDimensionality";
    EmbeddingsRequest { inputs, inputs_field, dimensions, dimensions_field, base64: false, dropped }
}

/// Reads `embedContent`.
pub(super) fn read_one<'a>(top: &TopLevel<'a>) -> Result<EmbeddingsRequest<'a>, Invalid> {
    let (input, dimensions) = parse::<EmbedRequest<'a>>(top)?.input("")?;
    Ok(request(vec![input], "content", dimensions))
}

/// Reads `batchEmbedContents`.
pub(super) fn read_batch<'a>(top: &TopLevel<'a>) -> Result<EmbeddingsRequest<'a>, Invalid> {
    #[derive(Deserialize)]
    struct Requests<'a> {
        #[serde(borrow, default)]
        requests: Vec<EmbedRequest<'a>>,
    }
    let requests = parse::<Requests<'a>>(top)?.requests;
    let (mut inputs, mut dimensions) = (Vec::new(), None);
    for (number, one) in requests.into_iter().enumerate() {
        let field = format!("requests[{number}].");
        let (input, length) = one.input(&field)?;
        if number > 0 && length != dimensions {
            let message = "must be the same in all requests for this route's provider";
            return Err(Invalid::new(format!("{field}outputDimensionality"), message));
        }
        dimensions = length;
        inputs.push(input);
    }
    Ok(request(inputs, "requests", dimensions))
}

/// Reads `predict`.
pub(super) fn read_predict<'a>(top: &TopLevel<'a>) -> Result<EmbeddingsRequest<'a>, Invalid> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Instance<'a> {
        content: Option<Text<'a>>,
        #[serde(alias = "taskType")]
        task_type: Option<Text<'a>>,
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
    let inputs = instances.into_iter().enumerate().map(|(number, Instance { content, task_type, title })| {
        let only = || Invalid::new(format!("instances[{number}].content"), "only text can be embedded here");
        Ok(Input { text: content.ok_or_else(only)?, task: task_type, title })
    });
    let inputs = inputs.collect::<Result<_, Invalid>>()?;
    let mut request = request(inputs, "instances", parameters.output_dimensionality);
    request.dropped.add_if(parameters.auto_truncate.is_some(), "autoTruncate");
    Ok(request)
}

/// Writes requests in `form`.
pub(super) fn write(request: &EmbeddingsRequest<'_>, form: GeminiEmbeddings, model: &str) -> Vec<UpstreamRequest> {
    let dimensions = request.dimensions;
    let most = if let GeminiEmbeddings::Predict(most) = form { most } else { BATCH };
    let write = |inputs: &[Input<'_>]| {
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body);
        let verb = match (form, inputs) {
            (GeminiEmbeddings::Config, [one]) => {
                write_with_config(one, dimensions, &mut top);
                GeminiVerb::Embed
            }
            (GeminiEmbeddings::Config, _) => {
                write_batch(inputs, &mut top, |input, request| write_with_config(input, dimensions, request));
                GeminiVerb::BatchEmbed
            }
            (GeminiEmbeddings::Batch, _) => {
                let name = format!("models/{model}");
                write_batch(inputs, &mut top, |input, request| {
                    request.field("model", &name);
                    write_content(&input.text, request);
                    write_settings(input, dimensions, request);
                });
                GeminiVerb::BatchEmbed
            }
            (GeminiEmbeddings::Predict(_), _) => {
                write_predict(inputs, dimensions, &mut top);
                GeminiVerb::Predict
            }
        };
        top.end();
        UpstreamRequest::new(Endpoint::Gemini(verb, Some(model.to_owned())), model, body)
    };
    request.inputs.chunks(most).map(write).collect()
}

fn write_batch(inputs: &[Input<'_>], top: &mut ObjectWriter<'_>, write: impl Fn(&Input<'_>, &mut ObjectWriter<'_>)) {
    let mut requests = top.array("requests");
    for input in inputs {
        let mut request = requests.object();
        write(input, &mut request);
    }
}

fn write_predict(inputs: &[Input<'_>], dimensions: Option<u64>, top: &mut ObjectWriter<'_>) {
    let mut instances = top.array("instances");
    for input in inputs {
        instances
            .object()
            .with("content", &input.text)
            .with_maybe("task_type", input.task.as_ref())
            .with_maybe("title", input.title.as_ref());
    }
    instances.end();
    if let Some(dimensions) = dimensions {
        top.object("parameters").with("outputDimensionality", &dimensions);
    }
}

fn write_content(text: &Text<'_>, request: &mut ObjectWriter<'_>) {
    request.object("content").array("parts").object().with("text", text);
}

fn write_settings(input: &Input<'_>, dimensions: Option<u64>, config: &mut ObjectWriter<'_>) {
    config.maybe("taskType", input.task.as_ref());
    config.maybe("title", input.title.as_ref());
    config.maybe("outputDimensionality", dimensions.as_ref());
}

fn write_with_config(input: &Input<'_>, dimensions: Option<u64>, request: &mut ObjectWriter<'_>) {
    write_content(&input.text, request);
    if input.task.is_some() || input.title.is_some() || dimensions.is_some() {
        let mut config = request.object("embedContentConfig");
        write_settings(input, dimensions, &mut config);
    }
}

/// Reads a reply in any form: the fields of the forms have different names.
pub(super) fn read_reply(body: &[u8]) -> Option<EmbeddingsReply<'_>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
    struct Wire<'a> {
        embeddings: Option<Vec<Values<'a>>>,
        embedding: Option<Values<'a>>,
        predictions: Option<Vec<Prediction<'a>>>,
        usage_metadata: Option<WireUsage>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct WireUsage {
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
    let wire: Wire<'_> = serde_json::from_slice(body).ok()?;
    let all = match (wire.predictions, wire.embedding) {
        (Some(predictions), _) => predictions.into_iter().map(|one| one.embeddings).collect(),
        (None, Some(one)) => vec![one],
        (None, None) => wire.embeddings?,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of tokens")]
    let count = |one: &Values<'_>| one.statistics.as_ref()?.token_count.map(|count| count as u64);
    let stated = wire.usage_metadata.and_then(|usage| usage.prompt_token_count);
    let tokens = stated.or_else(|| all.iter().map(count).sum());
    Some(EmbeddingsReply { vectors: all.into_iter().map(|one| one.values).collect(), tokens, model: None })
}

/// Writes the reply for a client of `endpoint`.
///
/// # Errors
/// When the provider's embeddings are not numbers.
pub(super) fn write_reply(
    endpoint: &Endpoint,
    reply: &Embeddings<'_>,
    out: &mut ObjectWriter<'_>,
) -> Result<(), Failure<'static>> {
    match endpoint {
        Endpoint::Gemini(GeminiVerb::Embed, _) => {
            for vector in reply.vectors.iter().take(1) {
                let mut embedding = out.object("embedding");
                vector.write(false, embedding.key("values"))?;
            }
        }
        Endpoint::Gemini(GeminiVerb::BatchEmbed, _) => {
            let mut embeddings = out.array("embeddings");
            for vector in &reply.vectors {
                let mut embedding = embeddings.object();
                vector.write(false, embedding.key("values"))?;
            }
        }
        _ => {
            let mut predictions = out.array("predictions");
            for (index, vector) in reply.vectors.iter().enumerate() {
                let mut prediction = predictions.object();
                let mut embeddings = prediction.object("embeddings");
                vector.write(false, embeddings.key("values"))?;
                embeddings.object("statistics").with("token_count", &reply.tokens_of(index));
            }
        }
    }
    Ok(())
}
