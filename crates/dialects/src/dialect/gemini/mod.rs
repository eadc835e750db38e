//! Gemini `generateContent` as a conversation, in the form of Google AI Studio and Vertex AI.
//!
//! Keys are read in camelCase and in `snake_case`, as proto3's JSON mapping defines it; only camelCase is written.

mod citations;
mod config;
mod content;
mod embeddings;
pub mod endpoint;
mod error;
mod fit;
mod hosted;
mod names;
mod operations;
mod params;
mod reply;
mod request;
mod rerank;
mod schema;
mod signature;
mod stream;
pub mod text;
mod tools;

mod usage;
mod wire;
mod write_content;
mod write_reply;
mod write_request;
mod write_stream;
mod write_tools;
#[cfg(test)]
mod tests;

use super::{
    Claim, ClassifyError, Destination, Dialect, DialectId, Edits, Endpoint, GeminiVerb, ModelName, Progress,
    ReadEvents, ReplyGap, ReplyHead, RequestHead, StreamMode, WriteEvents, adapt::ModelField, classify,
    enrichment::PromptPlaces, fields, hosted::mentions, text::TextSlots,
};
use crate::{
    conversation::{Failure, HostedKind, Invalid, Reply, Request, TokenUsage, Unsupported},
    stream::TopLevel,
};

/// Gemini `generateContent`.
pub struct Gemini;

impl Dialect for Gemini {
    fn id(&self) -> DialectId {
        DialectId::Gemini
    }

    fn name(&self) -> &'static str {
        "Gemini generateContent"
    }

    fn api(&self) -> &'static str {
        "Gemini"
    }

    fn endpoint_from_path(&self, path: &str) -> Option<Endpoint> {
        endpoint::from_path(path)
    }

    fn endpoint_from_body(&self, _request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
        endpoint::from_body(body)
    }

    fn claims_client(&self, request: &RequestHead<'_>) -> Option<Claim> {
        endpoint::claims_client(request)
    }

    fn classify(
        &self,
        request: &RequestHead<'_>,
        endpoint: Endpoint,
        by_path: bool,
        body: Option<&TopLevel<'_>>,
    ) -> Result<(Endpoint, Option<String>, StreamMode), ClassifyError> {
        let Endpoint::Gemini(verb, model) = endpoint else { return classify::by_body(endpoint, body) };
        let (verb, stream) = endpoint::framing(request, verb, by_path);
        Ok((Endpoint::Gemini(verb, model.clone()), model, stream))
    }

    fn header_prefixes(&self) -> &'static [&'static str] {
        &["x-goog-"]
    }

    fn conversation_endpoint(&self, model: &str, stream: bool) -> (Endpoint, StreamMode) {
        let verb = if stream { GeminiVerb::StreamGenerate } else { GeminiVerb::Generate };
        (Endpoint::Gemini(verb, Some(model.to_owned())), StreamMode::Sse)
    }

    fn messages_field(&self) -> &'static str {
        "contents"
    }

    fn wants_object_schemas(&self) -> bool {
        false
    }

    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
        request::read(body)
    }

    fn runs(&self, kind: HostedKind, request: &Request<'_>, to: &Destination<'_>) -> bool {
        let fits = match kind {
            // Others refuse any modality but text. Google's names state which models make images.
            HostedKind::ImageGeneration => ModelName::of(to.model).has(&["image"]),
            // Most models refuse functions, and a form of the answer, beside them.
            _ => request.tools.is_empty() && request.format.is_none(),
        };
        fits && to.quirks.hosted.contains(&kind)
    }

    fn offers_hosted(&self, body: &TopLevel<'_>) -> bool {
        mentions(body.get("tools"), &["googleSearch", "google_search", "codeExecution", "code_execution"])
            || mentions(body.get("generationConfig"), &["\"IMAGE\"", "\"Image\"", "\"image\""])
    }

    fn answers_in_media(&self) -> bool {
        true
    }

    fn fit(&self, body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
        fit::edits(body, to, dropped)
    }

    fn choice_field(&self) -> ModelField {
        ("toolConfig", &["functionCallingConfig"])
    }

    fn model_fields(&self) -> &'static [ModelField] {
        &[(
            "generationConfig",
            &[
                "frequencyPenalty",
                "logprobs",
                "maxOutputTokens",
                "presencePenalty",
                "responseLogprobs",
                "temperature",
                "thinkingConfig",
                "topK",
                "topP",
            ],
        )]
    }

    fn write_conversation(
        &self,
        request: &Request<'_>,
        to: &Destination<'_>,
        dropped: &mut Unsupported,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        write_request::write(request, to, dropped, out)
    }

    fn read_reply<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, Failure<'a>> {
        reply::read(body)
    }

    fn repair_reply(&self, body: &[u8]) -> Option<(String, Unsupported)> {
        fields::repair_reply(body, fields::ANSWER, &|json| fields::find_type_error::<reply::Wire<'_>>(json))
    }

    fn write_reply(&self, reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
        write_reply::write(reply, head, out);
    }

    fn read_events(&self) -> Box<dyn ReadEvents> {
        Box::new(stream::Reader::default())
    }

    fn write_events(&self, head: ReplyHead) -> Box<dyn WriteEvents> {
        Box::new(write_stream::Writer::new(head))
    }

    fn read_error<'a>(&self, status: u16, body: &'a [u8]) -> Failure<'a> {
        error::read(status, body)
    }

    fn write_error(&self, failure: &Failure<'_>, _request_id: Option<&str>, out: &mut Vec<u8>) -> u16 {
        error::write(failure, out)
    }

    fn write_error_event(&self, failure: &Failure<'_>, mode: StreamMode, elements: u64, out: &mut Vec<u8>) {
        error::write_event(failure, mode, elements, out);
    }

    fn reply_keys(&self) -> &'static [&'static str; 4] {
        &["usageMetadata", "modelVersion", "meta", "error"]
    }

    fn read_usage(&self, raw: &[u8]) -> Option<TokenUsage> {
        usage::read(raw)
    }

    fn read_progress(&self, _name: Option<&[u8]>, data: &[u8]) -> Option<Progress> {
        usage::read_progress(data)
    }

    fn reply_gaps(&self) -> &'static [ReplyGap] {
        use ReplyGap::{CacheWriteCount, OpaqueArguments, Quote, StopSequence};
        &[OpaqueArguments, StopSequence, Quote, CacheWriteCount]
    }

    /// Google's servers accept names with underscores, too.
    fn is_field(&self, name: &str, field: &str) -> bool {
        names::camel(name) == names::camel(field)
    }

    fn prompt_places(&self) -> &'static PromptPlaces {
        &text::PROMPT
    }

    fn text_slots(&self) -> &'static TextSlots {
        &text::SLOTS
    }
}
