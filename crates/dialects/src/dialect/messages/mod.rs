//! Anthropic Messages as a conversation.

mod client_tools;
mod content;
pub mod endpoint;
mod error;
mod fit;
mod fit_model;
mod hosted;
mod linked;
mod operations;
mod params;
mod reply;
mod request;
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
    Claim, Destination, Dialect, DialectId, Edits, Endpoint, FileOf, Link, Progress, ReadEvents, ReplyGap, ReplyHead,
    RequestHead, StreamMode, WriteEvents,
    adapt::{Adapted, ModelField},
    enrichment::PromptPlaces,
    fields,
    hosted::mentions,
    text::TextSlots,
};
use crate::{
    conversation::{Failure, HostedKind, Invalid, Reply, Request, SignatureOrigin, TokenUsage, Unsupported},
    stream::TopLevel,
};

/// The origin of signatures that have no tag in this dialect.
const HOME: SignatureOrigin = SignatureOrigin::Anthropic;

/// The tool that a model without structured outputs must call, so that its arguments are the answer. The readers of
/// replies turn the call back into text.
const JSON_TOOL: &str = "json_output";

/// Anthropic Messages.
pub struct Messages;

impl Dialect for Messages {
    fn id(&self) -> DialectId {
        DialectId::Messages
    }

    fn name(&self) -> &'static str {
        "Anthropic Messages"
    }

    fn api(&self) -> &'static str {
        "Anthropic"
    }

    fn endpoint_from_path(&self, path: &str) -> Option<Endpoint> {
        endpoint::from_path(path)
    }

    fn endpoint_from_body(&self, request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
        endpoint::from_body(request, body)
    }

    fn version_header(&self) -> Option<&'static str> {
        Some(endpoint::VERSION_HEADER)
    }

    fn claims_client(&self, request: &RequestHead<'_>) -> Option<Claim> {
        endpoint::claims_client(request)
    }

    fn header_prefixes(&self) -> &'static [&'static str] {
        &["anthropic-", "x-stainless-"]
    }

    fn conversation_endpoint(&self, _model: &str, _stream: bool) -> (Endpoint, StreamMode) {
        (Endpoint::Messages, StreamMode::Sse)
    }

    fn names_urls(&self, body: &TopLevel<'_>) -> bool {
        linked::names_urls(body)
    }

    fn links(&self, body: &TopLevel<'_>) -> Vec<Link> {
        linked::links(body)
    }

    fn write_linked<'l>(
        &self,
        body: &TopLevel<'_>,
        links: &'l [Link],
        file: FileOf<'_>,
    ) -> Result<Option<(&'static str, Vec<u8>)>, &'l Link> {
        linked::write(body, links, file).map(|messages| Some(("messages", messages)))
    }

    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
        request::read(body)
    }

    fn runs(&self, kind: HostedKind, _: &Request<'_>, to: &Destination<'_>) -> bool {
        to.quirks.hosted.contains(&kind)
    }

    fn offers_hosted(&self, body: &TopLevel<'_>) -> bool {
        mentions(body.get("tools"), &["\"web_search_", "\"code_execution_"])
    }

    fn fit(&self, body: &TopLevel<'_>, to: &Destination<'_>, dropped: &mut Unsupported) -> Edits {
        fit::edits(body, to, dropped)
    }

    fn fit_model(&self, body: &TopLevel<'_>, written: &TopLevel<'_>, to: &Destination<'_>, adapted: &mut Adapted) {
        fit_model::fit(body, written, to, adapted);
    }

    fn model_fields(&self) -> &'static [ModelField] {
        &[
            ("max_tokens", &[]),
            ("output_config", &["effort", "format"]),
            ("temperature", &[]),
            ("thinking", &[]),
            ("top_k", &[]),
            ("top_p", &[]),
        ]
    }

    fn compares_models(&self) -> bool {
        true
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

    fn failure_of(&self, reply: &Reply<'_>) -> Option<Failure<'static>> {
        reply::failure_of(reply)
    }

    fn repair_reply(&self, body: &[u8]) -> Option<(String, Unsupported)> {
        fields::repair_reply(body, fields::ANSWER, &|json| fields::find_type_error::<reply::WireReply<'_>>(json))
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

    fn write_error(&self, failure: &Failure<'_>, request_id: Option<&str>, out: &mut Vec<u8>) -> u16 {
        error::write(failure, request_id, out)
    }

    fn write_error_event(&self, failure: &Failure<'_>, _mode: StreamMode, _elements: u64, out: &mut Vec<u8>) {
        error::write_event(failure, out);
    }

    fn request_id_header(&self) -> &'static str {
        "request-id"
    }

    fn read_usage(&self, raw: &[u8]) -> Option<TokenUsage> {
        usage::read(raw)
    }

    fn read_progress(&self, _name: Option<&[u8]>, data: &[u8]) -> Option<Progress> {
        usage::read_progress(data)
    }

    /// The prompt is counted in the first event, the answer near the end.
    fn has_partial_usage(&self) -> bool {
        true
    }

    fn reply_gaps(&self) -> &'static [ReplyGap] {
        use ReplyGap::{Choices, Logprobs, Media, OpaqueArguments, Place, StreamedTextSignature};
        // A buffered reply has blocks that may hold the signature of a text.
        &[StreamedTextSignature, Media, OpaqueArguments, Choices, Logprobs, Place]
    }

    fn prompt_places(&self) -> &'static PromptPlaces {
        &text::PROMPT
    }

    fn text_slots(&self) -> &'static TextSlots {
        &text::SLOTS
    }
}
