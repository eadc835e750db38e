//! OpenAI Responses as a conversation.

mod client_tools;
mod content;
mod endpoint;
mod error;
pub(super) mod fit;
mod hosted;
mod images;
mod operations;
pub(super) mod params;
mod reply;
mod request;
mod stream;
mod stream_item;
pub mod text;
mod tools;
mod usage;
pub mod websocket;
mod wire;
mod write_content;
mod write_reply;
mod write_request;
mod write_stream;
#[cfg(test)]
mod tests;

use super::{
    Claim, Destination, Dialect, DialectId, Edits, Endpoint, Progress, ReadEvents, ReplyGap, ReplyHead, RequestHead,
    StreamMode, WriteEvents,
    adapt::{Adapted, ModelField},
    chat,
    enrichment::PromptPlaces,
    fields,
    text::TextSlots,
};
use crate::{
    conversation::{Failure, HostedKind, Invalid, Reply, Request, SignatureOrigin, TokenUsage, Unsupported},
    stream::TopLevel,
};

/// The origin of signatures that have no tag in `encrypted_content`.
const HOME: SignatureOrigin = SignatureOrigin::OpenAi;
/// Prefix of an `encrypted_content` that holds redacted reasoning of another origin.
const REDACTED: &str = "TGre";
/// Prefix of the ids of reasoning that another vendor's model has written.
const FOREIGN_REASONING: &str = "rs_TG";
/// The kind of items that hold an image.
const IMAGE: &str = "image_generation_call";
/// Prefix of an `encrypted_content` that signs the call after the reasoning item, not the reasoning.
const SIGNS_CALL: &str = "TGca";

/// OpenAI Responses.
pub struct Responses;

impl Dialect for Responses {
    fn id(&self) -> DialectId {
        DialectId::Responses
    }

    fn name(&self) -> &'static str {
        "OpenAI Responses"
    }

    fn api(&self) -> &'static str {
        "OpenAI"
    }

    fn endpoint_from_path(&self, path: &str) -> Option<Endpoint> {
        endpoint::from_path(path)
    }

    fn endpoint_from_body(&self, request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
        endpoint::from_body(request, body)
    }

    fn header_prefixes(&self) -> &'static [&'static str] {
        &["openai-", "x-stainless-"]
    }

    fn conversation_endpoint(&self, _model: &str, _stream: bool) -> (Endpoint, StreamMode) {
        (Endpoint::Responses, StreamMode::Sse)
    }

    fn messages_field(&self) -> &'static str {
        "input"
    }

    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
        request::read(body)
    }

    fn runs(&self, kind: HostedKind, _: &Request<'_>, to: &Destination<'_>) -> bool {
        let known = matches!(kind, HostedKind::WebSearch | HostedKind::CodeExecution | HostedKind::ImageGeneration);
        known && to.quirks.hosted.contains(&kind)
    }

    fn fit(&self, body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
        fit::edits(body, to, dropped)
    }

    fn fit_model(&self, body: &TopLevel<'_>, _: &TopLevel<'_>, to: &Destination<'_>, adapted: &mut Adapted) {
        fit::fit_model(body, to, adapted);
    }

    fn model_fields(&self) -> &'static [ModelField] {
        &[("max_output_tokens", &[]), ("reasoning", &[]), ("temperature", &[]), ("top_logprobs", &[]), ("top_p", &[])]
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
        fields::repair_reply(body, reply::VITAL, &|json| fields::find_type_error::<reply::WireResponse<'_>>(json))
    }

    fn write_reply(&self, reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
        write_reply::write(reply, head, out);
    }

    fn read_events(&self) -> Box<dyn ReadEvents> {
        Box::<stream::Reader>::default()
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

    fn read_usage(&self, raw: &[u8]) -> Option<TokenUsage> {
        chat::usage::read(std::str::from_utf8(raw).ok()?)
    }

    fn read_progress(&self, _name: Option<&[u8]>, data: &[u8]) -> Option<Progress> {
        usage::read_progress(data)
    }

    fn reply_gaps(&self) -> &'static [ReplyGap] {
        use ReplyGap::{Choices, OtherMedia, Quote, StopSequence, StreamedTextSignature, TextSignature};
        &[TextSignature, StreamedTextSignature, OtherMedia, Choices, StopSequence, Quote]
    }

    fn prompt_places(&self) -> &'static PromptPlaces {
        &text::PROMPT
    }

    fn text_slots(&self) -> &'static TextSlots {
        &text::SLOTS
    }
}
