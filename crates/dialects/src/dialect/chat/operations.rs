//! OpenAI's embeddings and lists of models, and Cohere's rankings.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Chat, rerank};
use crate::{
    conversation::{Failure, Invalid, Text, Unsupported},
    dialect::{
        Endpoint, Quirks, RerankApi,
        operation::{
            Document, Embeddings, EmbeddingsReply, EmbeddingsRequest, Input, OperationError, Operations, Ranking,
            RerankReply, RerankRequest, UpstreamRequest, models::ModelList,
        },
    },
    stream::{
        TopLevel,
        json::{ObjectWriter, ValueKind},
    },
};

/// The error for input that only OpenAI's own models can read.
const TOKENS: &str = "arrays of tokens mean nothing to this route's provider: send the text";

/// OpenAI's lists of models, which most clients read.
pub(in crate::dialect) const MODELS: &ModelList = &ModelList {
    field: "data",
    head: |top| top.field("object", "list"),
    model: |model, object| {
        object.field("id", &model.id);
        object.field("object", "model");
        object.field("created", &0);
        object.field("owned_by", model.owner);
    },
    tail: |_, _| {},
};

impl Operations for Chat {
    fn read_embeddings<'a>(&self, _endpoint: &Endpoint, body: &TopLevel<'a>) -> Result<EmbeddingsRequest<'a>, Invalid> {
        let mut request = EmbeddingsRequest {
            inputs: Vec::new(),
            inputs_field: "input",
            dimensions: None,
            dimensions_field: "dimensions",
            base64: false,
            dropped: Unsupported::default(),
        };
        for member in body.members().iter().filter(|member| !member.is_null()) {
            let name = member.name();
            let invalid = |message| Invalid::new(&*name, message);
            match &*name {
                "model" => {}
                "input" => request.inputs = read_inputs(member.kind, member.value)?,
                "dimensions" => {
                    let length = member.as_u64().ok_or_else(|| invalid("must be a positive integer"))?;
                    request.dimensions = Some(length);
                }
                "encoding_format" => {
                    request.base64 = match member.as_str().as_deref() {
                        Some("float") => false,
                        Some("base64") => true,
                        _ => return Err(invalid("must be 'float' or 'base64'")),
                    }
                }
                _ => request.dropped.add(name.into_owned()),
            }
        }
        Ok(request)
    }

    fn write_embeddings(
        &self,
        request: &mut EmbeddingsRequest<'_>,
        model: &str,
        quirks: &Quirks,
    ) -> Result<Vec<UpstreamRequest>, OperationError> {
        request.drop_hints(true);
        let mut body = Vec::new();
        let mut top = ObjectWriter::begin(&mut body).with("model", model);
        let mut input = top.array("input");
        for one in &request.inputs {
            input.push(&one.text);
        }
        input.end();
        top.maybe(quirks.chat.embedding_length, request.dimensions.as_ref());
        top.end();
        Ok(vec![UpstreamRequest::new(Endpoint::Embeddings, model, body)])
    }

    fn read_embeddings_reply<'a>(&self, body: &'a [u8]) -> Option<EmbeddingsReply<'a>> {
        #[derive(Deserialize)]
        #[serde(bound(deserialize = "'de: 'a"))]
        struct Wire<'a> {
            data: Vec<Datum<'a>>,
            model: Option<Text<'a>>,
            usage: Option<WireUsage>,
        }
        #[derive(Deserialize)]
        struct Datum<'a> {
            index: Option<u64>,
            #[serde(borrow)]
            embedding: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct WireUsage {
            prompt_tokens: Option<u64>,
        }
        let Wire { mut data, model, usage } = serde_json::from_slice(body).ok()?;
        data.sort_by_key(|datum| datum.index);
        Some(EmbeddingsReply {
            vectors: data.into_iter().map(|datum| datum.embedding).collect(),
            tokens: usage.and_then(|usage| usage.prompt_tokens),
            model,
        })
    }

    fn write_embeddings_reply(
        &self,
        _endpoint: &Endpoint,
        reply: &Embeddings<'_>,
        out: &mut ObjectWriter<'_>,
    ) -> Result<(), Failure<'static>> {
        out.field("object", "list");
        let mut data = out.array("data");
        for (index, vector) in reply.vectors.iter().enumerate() {
            let mut datum = data.object().with("object", "embedding").with("index", &index);
            vector.write(reply.base64, datum.key("embedding"))?;
        }
        data.end();
        out.field("model", &reply.model);
        out.object("usage").with("prompt_tokens", &reply.tokens).with("total_tokens", &reply.tokens);
        Ok(())
    }

    fn read_rerank<'a>(&self, _endpoint: &Endpoint, body: &TopLevel<'a>) -> Result<RerankRequest<'a>, Invalid> {
        rerank::read(body)
    }

    fn write_rerank(
        &self,
        request: &RerankRequest<'_>,
        documents: &[Document<'_>],
        model: &str,
        _quirks: &Quirks,
        _dropped: &mut Unsupported,
    ) -> Result<UpstreamRequest, OperationError> {
        let body = rerank::write(request, documents, model);
        Ok(UpstreamRequest::new(Endpoint::Rerank(RerankApi::V2), model, body))
    }

    fn read_rerank_reply(&self, body: &[u8]) -> Option<RerankReply> {
        rerank::read_reply(body)
    }

    fn write_rerank_reply(&self, endpoint: &Endpoint, ranking: &Ranking, out: &mut ObjectWriter<'_>) {
        rerank::write_reply(endpoint, ranking, out);
    }

    fn model_list(&self, _path: &str) -> &'static ModelList {
        MODELS
    }
}

/// A text, or a list of texts.
fn read_inputs<'a>(kind: ValueKind, value: &'a [u8]) -> Result<Vec<Input<'a>>, Invalid> {
    let bad = || Invalid::new("input", "must be a string or a list of strings");
    let texts: Vec<&'a RawValue> = match kind {
        ValueKind::String => vec![serde_json::from_slice(value).map_err(|_| bad())?],
        ValueKind::Array => serde_json::from_slice(value).map_err(|_| bad())?,
        _ => return Err(bad()),
    };
    let read = |raw: &'a RawValue| {
        if matches!(raw.get().as_bytes().first(), Some(b'[' | b'-' | b'0'..=b'9')) {
            return Err(Invalid::new("input", TOKENS));
        }
        let text = serde_json::from_str::<Text<'a>>(raw.get()).map_err(|_| bad())?;
        Ok(Input { text, task: None, title: None })
    };
    texts.into_iter().map(read).collect()
}
