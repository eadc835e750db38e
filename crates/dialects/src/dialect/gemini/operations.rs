//! Gemini's embeddings, rankings, token counts and lists of models, on AI Studio and on Vertex AI.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::{Gemini, embeddings, names::camel, rerank};
use crate::{
    conversation::{Failure, Invalid, Text, Unsupported},
    dialect::{
        Destination, DialectId, Endpoint, GeminiVerb, ModelName, Quirks, RerankApi,
        operation::{
            self, CountedRequest, Document, EditConversation, Embeddings, EmbeddingsReply, EmbeddingsRequest,
            NO_RERANK, OperationError, OperationPlan, Operations, Ranking, RerankReply, RerankRequest, UpstreamRequest,
            models::ModelList,
        },
    },
    stream::{Member, Splice, TopLevel, json::ObjectWriter},
};

/// The fields that Vertex AI counts.
const COUNTED: [&str; 4] = ["systemInstruction", "contents", "tools", "generationConfig"];

/// Lists of models on AI Studio.
const MODELS: &ModelList = &ModelList {
    field: "models",
    head: |_| {},
    model: |model, object| {
        object.field("name", &format!("models/{}", model.id));
        object.field("displayName", &model.id);
        let embeds = ModelName::of(&model.id).has_part_beginning("embed");
        let methods: &[&str] =
            if embeds { &["embedContent", "batchEmbedContents"] } else { &["generateContent", "countTokens"] };
        object.field("supportedGenerationMethods", methods);
    },
    tail: |_, _| {},
};
/// Lists of models on Vertex AI.
const PUBLISHER_MODELS: &ModelList = &ModelList {
    field: "publisherModels",
    head: |_| {},
    model: |model, object| object.field("name", &format!("publishers/google/models/{}", model.id)),
    tail: |_, _| {},
};

impl Operations for Gemini {
    fn read_embeddings<'a>(&self, endpoint: &Endpoint, body: &TopLevel<'a>) -> Result<EmbeddingsRequest<'a>, Invalid> {
        match endpoint {
            Endpoint::Gemini(GeminiVerb::Embed, _) => embeddings::read_one(body),
            Endpoint::Gemini(GeminiVerb::BatchEmbed, _) => embeddings::read_batch(body),
            _ => embeddings::read_predict(body),
        }
    }

    fn write_embeddings(
        &self,
        request: &mut EmbeddingsRequest<'_>,
        model: &str,
        quirks: &Quirks,
    ) -> Result<Vec<UpstreamRequest>, OperationError> {
        let name = ModelName::of(model);
        let row = quirks.gemini.embeddings.iter().find(|(pattern, _)| name.has(&[pattern]));
        let missing = || OperationError::Missing("this route's provider has no embeddings".into());
        let (_, form) = row.ok_or_else(missing)?;
        Ok(embeddings::write(request, *form, model))
    }

    fn read_embeddings_reply<'a>(&self, body: &'a [u8]) -> Option<EmbeddingsReply<'a>> {
        embeddings::read_reply(body)
    }

    fn write_embeddings_reply(
        &self,
        endpoint: &Endpoint,
        reply: &Embeddings<'_>,
        out: &mut ObjectWriter<'_>,
    ) -> Result<(), Failure<'static>> {
        embeddings::write_reply(endpoint, reply, out)
    }

    fn read_rerank<'a>(&self, _endpoint: &Endpoint, body: &TopLevel<'a>) -> Result<RerankRequest<'a>, Invalid> {
        rerank::read(body)
    }

    fn rerank_limit(&self) -> usize {
        rerank::MAX_RECORDS
    }

    fn write_rerank(
        &self,
        request: &RerankRequest<'_>,
        documents: &[Document<'_>],
        model: &str,
        quirks: &Quirks,
        dropped: &mut Unsupported,
    ) -> Result<UpstreamRequest, OperationError> {
        if !quirks.gemini.ranks {
            return Err(OperationError::Missing(NO_RERANK.into()));
        }
        let body = rerank::write(request, documents, model, dropped);
        Ok(UpstreamRequest::new(Endpoint::Rerank(RerankApi::Google), model, body))
    }

    fn read_rerank_reply(&self, body: &[u8]) -> Option<RerankReply> {
        rerank::read_reply(body)
    }

    fn write_rerank_reply(&self, _endpoint: &Endpoint, ranking: &Ranking, out: &mut ObjectWriter<'_>) {
        rerank::write_reply(ranking, out);
    }

    fn read_count(&self, body: &TopLevel<'_>, counted: CountedRequest<'_>) -> Result<OperationPlan, OperationError> {
        match body.get("generateContentRequest").or_else(|| body.get("generate_content_request")) {
            Some(whole) => counted(DialectId::Gemini, &operation::object(whole)?),
            None => counted(DialectId::Gemini, body),
        }
    }

    /// A body without a whole request has no place for instructions on AI Studio: they are counted as a turn.
    fn edit_counted(&self, body: &Bytes, edit: EditConversation<'_>) -> Result<Bytes, Invalid> {
        let top = TopLevel::scan(body).map_err(|error| Invalid::new("", error.to_string()))?;
        let has = |top: &TopLevel<'_>, name: &str| {
            top.members().iter().map(Member::name).find(|member| camel(member) == name).map(Cow::into_owned)
        };
        if let Some(whole) = has(&top, "generateContentRequest") {
            return operation::edit_inside(body, &whole, &mut |body| edit(DialectId::Gemini, body));
        }
        let edited = edit(DialectId::Gemini, body)?;
        let top_after = TopLevel::scan(&edited).map_err(|error| Invalid::new("", error.to_string()))?;
        let (None, Some(system)) = (has(&top, "systemInstruction"), top_after.get("systemInstruction")) else {
            return Ok(edited);
        };
        let turns = top_after.get("contents").map_or("", Member::as_json);
        let turns = turns.strip_prefix('[').and_then(|turns| turns.strip_suffix(']')).unwrap_or(turns);
        let comma = if turns.trim().is_empty() { "" } else { "," };
        let mut splice = Splice::new(&top_after);
        splice.set("contents", format!("[{}{comma}{turns}]", system.as_json()).into_bytes());
        splice.remove("systemInstruction");
        Ok(splice.apply(&edited))
    }

    fn write_count(
        &self,
        written: &TopLevel<'_>,
        to: &Destination<'_>,
        out: &mut ObjectWriter<'_>,
    ) -> Option<Endpoint> {
        if to.quirks.gemini.nested_count {
            let mut whole = out.object("generateContentRequest").with("model", &format!("models/{}", to.model));
            let names: Vec<&str> = written.members().iter().map(|member| member.key).collect();
            operation::copy(written, &names, &mut whole);
        } else {
            operation::copy(written, &COUNTED, out);
        }
        Some(Endpoint::Gemini(GeminiVerb::CountTokens, Some(to.model.to_owned())))
    }

    fn count_field(&self) -> &'static str {
        "totalTokens"
    }

    fn models_query(&self) -> Option<&'static str> {
        Some("pageSize=1000")
    }

    /// Names are `models/X` or `publishers/P/models/X`.
    fn read_models(&self, body: &[u8], is_list: bool) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            name: Option<Text<'a>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct List<'a> {
            #[serde(borrow, alias = "publisherModels")]
            models: Option<Vec<Named<'a>>>,
        }
        let name = |named: Named<'_>| named.name?.decode().rsplit('/').next().map(str::to_owned);
        if !is_list {
            return Some(vec![name(serde_json::from_slice(body).ok()?)?]);
        }
        // Google leaves out empty fields.
        let list = serde_json::from_slice::<List<'_>>(body).ok()?.models.unwrap_or_default();
        Some(list.into_iter().filter_map(name).collect())
    }

    fn model_list(&self, path: &str) -> &'static ModelList {
        if path.contains("/publishers/") { PUBLISHER_MODELS } else { MODELS }
    }
}
