//! Bedrock Converse as a conversation.

mod content;
pub mod endpoint;
mod error;
mod fit;
mod formats;
mod invoke;
pub(super) mod models;
mod operations;
mod params;
mod reply;
mod request;
mod rerank;
mod schema;
mod stream;
pub mod text;
mod thinking;
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
    ApiRequest, BedrockVerb, Claim, ClassifyError, Destination, Dialect, DialectId, Edits, Endpoint, ErrorClass,
    Progress, ReadEvents, ReplyGap, ReplyHead, RequestHead, StreamMode, WriteEvents,
    adapt::{Adapted, ModelField},
    enrichment::PromptPlaces,
    fields,
    text::TextSlots,
    wrapped::InnerRequest,
};
use crate::{
    conversation::{Failure, Invalid, Reply, Request, SignatureOrigin, TokenUsage, Unsupported},
    stream::TopLevel,
};

/// The origin of signatures that have no tag in this dialect: on Bedrock, Claude signs.
const HOME: SignatureOrigin = SignatureOrigin::Anthropic;

/// Name of the tool that a model without structured output must call: its input is the answer.
const ANSWER_TOOL: &str = "json_output";

/// Bedrock Converse.
///
/// The URL has the model and whether the answer is streamed: neither is read nor written here.
pub struct Converse;

impl Dialect for Converse {
    fn id(&self) -> DialectId {
        DialectId::Converse
    }

    fn name(&self) -> &'static str {
        "Bedrock Converse"
    }

    fn api(&self) -> &'static str {
        "Bedrock"
    }

    fn endpoint_from_path(&self, path: &str) -> Option<Endpoint> {
        endpoint::from_path(path)
    }

    fn endpoint_from_body(&self, _request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
        endpoint::from_body(body)
    }

    fn classify(
        &self,
        request: &RequestHead<'_>,
        endpoint: Endpoint,
        by_path: bool,
        body: Option<&TopLevel<'_>>,
    ) -> Result<(Endpoint, Option<String>, StreamMode), ClassifyError> {
        let Endpoint::Bedrock(verb, model) = endpoint else {
            return Ok((endpoint, body.and_then(rerank::model), StreamMode::No));
        };
        let (verb, stream) = endpoint::framing(request, verb, by_path, body);
        Ok((Endpoint::Bedrock(verb, model.clone()), model, stream))
    }

    fn unwrap_request(&self, request: &ApiRequest, body: &TopLevel<'_>) -> Option<InnerRequest> {
        invoke::unwrap(request, body)
    }

    fn fields_in_headers(&self, headers: &http::HeaderMap) -> Vec<&'static str> {
        let found = invoke::HEADERS.iter().filter(|(header, _)| headers.contains_key(*header));
        found.map(|(_, field)| *field).collect()
    }

    fn wrap_event(&self, event: &[u8], last: Option<&TokenUsage>, out: &mut Vec<u8>) {
        invoke::wrap_event(event, last, out);
    }

    fn header_prefixes(&self) -> &'static [&'static str] {
        &["x-amz-", "x-amzn-", "amz-"]
    }

    fn conversation_endpoint(&self, model: &str, stream: bool) -> (Endpoint, StreamMode) {
        let verb = if stream { BedrockVerb::ConverseStream } else { BedrockVerb::Converse };
        (Endpoint::Bedrock(verb, Some(model.to_owned())), StreamMode::EventStream)
    }

    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
        request::read(body)
    }

    fn offers_tools(&self, body: &TopLevel<'_>) -> bool {
        body.contains("toolConfig")
    }

    fn fit(&self, body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
        fit::edits(body, to, dropped)
    }

    fn choice_field(&self) -> ModelField {
        ("toolConfig", &["toolChoice"])
    }

    fn fit_model(&self, body: &TopLevel<'_>, _: &TopLevel<'_>, to: &Destination<'_>, adapted: &mut Adapted) {
        fit::fit_model(body, to, adapted);
    }

    fn model_fields(&self) -> &'static [ModelField] {
        &[
            (
                "additionalModelRequestFields",
                &["inferenceConfig", "output_config", "reasoningConfig", "thinking", "top_k"],
            ),
            ("inferenceConfig", &["maxTokens", "temperature", "topP"]),
            ("outputConfig", &["textFormat"]),
        ]
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
        fields::repair_reply(body, fields::ANSWER, &|json| fields::find_type_error::<reply::WireReply<'_>>(json))
    }

    fn write_reply(&self, reply: &Reply<'_>, _: &ReplyHead, out: &mut Vec<u8>) {
        write_reply::write(reply, out);
    }

    fn read_events(&self) -> Box<dyn ReadEvents> {
        Box::new(stream::Reader::default())
    }

    fn write_events(&self, _: ReplyHead) -> Box<dyn WriteEvents> {
        Box::new(write_stream::Writer::default())
    }

    fn read_error<'a>(&self, status: u16, body: &'a [u8]) -> Failure<'a> {
        error::read(status, body)
    }

    fn write_error(&self, failure: &Failure<'_>, _request_id: Option<&str>, out: &mut Vec<u8>) -> u16 {
        error::write(failure, out)
    }

    fn write_error_event(&self, failure: &Failure<'_>, _mode: StreamMode, _elements: u64, out: &mut Vec<u8>) {
        error::write_frame(failure, out);
    }

    fn error_type_header(&self, class: ErrorClass) -> Option<(&'static str, &'static str)> {
        Some((error::TYPE_HEADER, error::exception(class)))
    }

    fn with_error_type(&self, headers: &http::HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
        error::with_type(headers, body)
    }

    fn request_id_header(&self) -> &'static str {
        "x-amzn-requestid"
    }

    fn read_usage(&self, raw: &[u8]) -> Option<TokenUsage> {
        usage::read(raw)
    }

    fn read_progress(&self, name: Option<&[u8]>, data: &[u8]) -> Option<Progress> {
        name.map(|name| usage::read_progress(name, data))
    }

    fn reply_gaps(&self) -> &'static [ReplyGap] {
        use ReplyGap::{
            Choices, HostedCalls, Logprobs, OpaqueArguments, Place, ReasoningCount, StreamedMedia,
            StreamedTextSignature, TextSignature,
        };
        &[
            TextSignature,
            StreamedTextSignature,
            StreamedMedia,
            HostedCalls,
            OpaqueArguments,
            Choices,
            Logprobs,
            Place,
            ReasoningCount,
        ]
    }

    fn prompt_places(&self) -> &'static PromptPlaces {
        &text::PROMPT
    }

    fn text_slots(&self) -> &'static TextSlots {
        &text::SLOTS
    }
}
