//! Bedrock's token counts, embeddings and rankings. It has no list of models: clients get OpenAI's form.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Converse, rerank};
use crate::{
    conversation::{Invalid, Text, Unsupported},
    dialect::{
        BedrockVerb, Destination, DialectId, Endpoint, ModelName, Quirks,
        chat::{self, operations::MODELS},
        operation::{
            self, CountedRequest, Document, EditConversation, EmbeddingsReply, EmbeddingsRequest, Input,
            OperationError, OperationPlan, Operations, Ranking, RerankReply, RerankRequest, UpstreamRequest,
            models::ModelList,
        },
        quirks::BedrockEmbeddings,
    },
    stream::{
        Splice, TopLevel,
        json::{Member, ObjectWriter},
    },
};

/// The fields that are counted.
const COUNTED: [&str; 4] = ["system", "messages", "toolConfig", "additionalModelRequestFields"];
/// Prefixes of inference profiles.
const GEOGRAPHIES: [&str; 9] = ["us", "us-gov", "eu", "apac", "ap", "global", "jp", "au", "ca"];
/// Most texts that Cohere takes at once.
const COHERE_TEXTS: usize = 96;
/// Cohere's purpose for texts without a task.
const COHERE_DOCUMENT: &str = "search_document";

impl Operations for Converse {
    fn write_embeddings(
        &self,
        request: &mut EmbeddingsRequest<'_>,
        model: &str,
        quirks: &Quirks,
    ) -> Result<Vec<UpstreamRequest>, OperationError> {
        let name = ModelName::of(model);
        let row = quirks.converse.embeddings.iter().find(|(pattern, _)| name.has(&[pattern]));
        let bodies = match row {
            Some((_, BedrockEmbeddings::Titan)) => titan(request, &name),
            Some((_, BedrockEmbeddings::Cohere)) => cohere(request, &name),
            None => {
                let message = format!("embeddings of '{model}' are not known; those of Titan and Cohere are");
                return Err(Invalid::new("model", message).into());
            }
        };
        let endpoint = Endpoint::Bedrock(BedrockVerb::Invoke, Some(model.to_owned()));
        Ok(bodies.into_iter().map(|body| UpstreamRequest::new(endpoint.clone(), model, body)).collect())
    }

    fn read_embeddings_reply<'a>(&self, body: &'a [u8]) -> Option<EmbeddingsReply<'a>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
        struct Wire<'a> {
            /// Titan's.
            embedding: Option<&'a RawValue>,
            /// Cohere's.
            embeddings: Option<&'a RawValue>,
            input_text_token_count: Option<u64>,
        }
        /// Cohere's lists, by the type of the numbers.
        #[derive(Deserialize)]
        struct Types<'a> {
            #[serde(borrow)]
            float: Vec<&'a RawValue>,
        }
        let wire: Wire<'a> = serde_json::from_slice(body).ok()?;
        let vectors = match (wire.embedding, wire.embeddings) {
            (Some(one), _) => vec![one],
            (None, Some(many)) => match serde_json::from_str::<Types<'a>>(many.get()) {
                Ok(types) => types.float,
                Err(_) => serde_json::from_str(many.get()).ok()?,
            },
            (None, None) => return None,
        };
        Some(EmbeddingsReply { vectors, tokens: wire.input_text_token_count, model: None })
    }

    fn token_count_header(&self) -> Option<&'static str> {
        Some("x-amzn-bedrock-input-token-count")
    }

    fn read_rerank<'a>(&self, _endpoint: &Endpoint, body: &TopLevel<'a>) -> Result<RerankRequest<'a>, Invalid> {
        rerank::read(body)
    }

    fn rerank_limit(&self) -> usize {
        rerank::MAX_DOCUMENTS
    }

    fn write_rerank(
        &self,
        request: &RerankRequest<'_>,
        documents: &[Document<'_>],
        model: &str,
        quirks: &Quirks,
        dropped: &mut Unsupported,
    ) -> Result<UpstreamRequest, OperationError> {
        rerank::write(request, documents, model, quirks, dropped)
    }

    /// Models reply in Cohere's form.
    fn read_rerank_reply(&self, body: &[u8]) -> Option<RerankReply> {
        chat::rerank::read_reply(body)
    }

    fn write_rerank_reply(&self, _endpoint: &Endpoint, ranking: &Ranking, out: &mut ObjectWriter<'_>) {
        rerank::write_reply(ranking, out);
    }

    /// Reads a conversation of Converse, or the `InvokeModel` body of a request to Claude.
    fn read_count(&self, body: &TopLevel<'_>, counted: CountedRequest<'_>) -> Result<OperationPlan, OperationError> {
        let missing = || Invalid::new("input", "must have a member 'converse' or 'invokeModel'");
        let input = operation::object(body.get("input").ok_or_else(missing)?)?;
        if let Some(converse) = input.get("converse") {
            return counted(DialectId::Converse, &operation::object(converse)?);
        }
        let invoke = operation::object(input.get("invokeModel").ok_or_else(missing)?)?;
        let bad = |why: &str| Invalid::new("input.invokeModel.body", why.to_owned());
        let body = invoke.get("body").and_then(Member::as_str).ok_or_else(|| bad("must be a string"))?;
        let body = BASE64_STANDARD.decode(&*body).map_err(|_| bad("must be base64"))?;
        let claude = TopLevel::scan(&body).map_err(|error| bad(&error.to_string()))?;
        if !claude.contains("messages") {
            return Err(bad("only Anthropic's Messages are known to this route's provider").into());
        }
        counted(DialectId::Messages, &claude)
    }

    fn edit_counted(&self, body: &Bytes, edit: EditConversation<'_>) -> Result<Bytes, Invalid> {
        operation::edit_inside(body, "input", &mut |input| {
            if TopLevel::scan(input).is_ok_and(|input| input.contains("converse")) {
                return operation::edit_inside(input, "converse", &mut |body| edit(DialectId::Converse, body));
            }
            operation::edit_inside(input, "invokeModel", &mut |invoke| {
                let invalid = |why: String| Invalid::new("input.invokeModel.body", why);
                let top = TopLevel::scan(invoke).map_err(|error| invalid(error.to_string()))?;
                let body = top.get("body").and_then(Member::as_str).unwrap_or_default();
                let body = BASE64_STANDARD.decode(&*body).map_err(|_| invalid("must be base64".into()))?;
                let edited = edit(DialectId::Messages, &body.into())?;
                let mut splice = Splice::new(&top);
                splice.set_str("body", &BASE64_STANDARD.encode(edited));
                Ok(splice.apply(invoke))
            })
        })
    }

    /// The foundation model of an inference profile, which is the model that Bedrock counts for. The ARN of an
    /// application's own profile does not contain it.
    fn counted_model<'m>(&self, model: &'m str) -> Option<&'m str> {
        let model = if model.starts_with("arn:") {
            let (kind, name) = model.rsplit_once('/')?;
            (kind.ends_with(":foundation-model") || kind.ends_with(":inference-profile")).then_some(name)?
        } else {
            model
        };
        match model.split_once('.') {
            Some((geography, rest)) if GEOGRAPHIES.contains(&geography) => Some(rest),
            _ => Some(model),
        }
    }

    fn write_count(
        &self,
        written: &TopLevel<'_>,
        to: &Destination<'_>,
        out: &mut ObjectWriter<'_>,
    ) -> Option<Endpoint> {
        let mut input = out.object("input");
        let mut converse = input.object("converse");
        operation::copy(written, &COUNTED, &mut converse);
        converse.end();
        input.end();
        Some(Endpoint::Bedrock(BedrockVerb::CountTokens, Some(to.model.to_owned())))
    }

    fn count_field(&self) -> &'static str {
        "inputTokens"
    }

    /// Bedrock replies with 400 for models that it can't count for.
    fn is_count_missing(&self, status: u16) -> bool {
        matches!(status, 400 | 404 | 405 | 501)
    }

    fn lists_models(&self) -> bool {
        false
    }

    fn model_list(&self, _path: &str) -> &'static ModelList {
        MODELS
    }
}

/// Titan's bodies, one for each text. Its first generation supports only one length.
fn titan(request: &mut EmbeddingsRequest<'_>, model: &ModelName) -> Vec<Vec<u8>> {
    request.drop_hints(true);
    if model.has(&["titan-embed-text-v1"]) || model.has(&["titan-embed-g1"]) {
        request.drop_dimensions();
    }
    let is_image = model.has(&["titan-embed-image"]);
    let write = |input: &Input<'_>| {
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body).with("inputText", &input.text);
        match request.dimensions {
            Some(length) if is_image => {
                top.object("embeddingConfig").with("outputEmbeddingLength", &length);
            }
            length => top.maybe("dimensions", length.as_ref()),
        }
        top.end();
        body
    };
    request.inputs.iter().map(write).collect()
}

/// Cohere's bodies, which state the purpose of their texts. Its fourth and later generations support several lengths.
fn cohere(request: &mut EmbeddingsRequest<'_>, model: &ModelName) -> Vec<Vec<u8>> {
    request.drop_hints(false);
    if model.has(&["v3"]) {
        request.drop_dimensions();
    }
    let write = |inputs: &[Input<'_>]| {
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
        top.maybe("output_dimension", request.dimensions.as_ref());
        top.end();
        body
    };
    let alike = request.inputs.chunk_by(|a, b| purpose(a) == purpose(b));
    alike.flat_map(|inputs| inputs.chunks(COHERE_TEXTS)).map(write).collect()
}

/// Cohere's name for Gemini's task.
fn purpose(input: &Input<'_>) -> &'static str {
    let task = input.task.as_ref().map(Text::decode).unwrap_or_default();
    match &*task {
        "RETRIEVAL_QUERY" | "QUESTION_ANSWERING" | "FACT_VERIFICATION" | "CODE_RETRIEVAL_QUERY" => "search_query",
        "CLASSIFICATION" => "classification",
        "CLUSTERING" => "clustering",
        _ => COHERE_DOCUMENT,
    }
}
