//! OpenAI Chat Completions as a conversation.
//!
//! More servers use this dialect than any other, and few of them are OpenAI's. [`Quirks`](super::Quirks) decide their
//! differences when a request is written; replies are read leniently.
//!
//! OpenAI's own API has no field for reasoning. It is carried as most servers write it: its text as
//! `reasoning_content`, and with its signatures as `thinking_blocks` in Anthropic's form and `reasoning_details` in
//! `OpenRouter`'s. Gemini's signature of a call is in the field of Google's server of this dialect,
//! `extra_content.google.thought_signature`. For other models that field has the reasoning that led to the call.

mod content;
pub mod endpoint;
pub(super) mod error;
mod options;
mod images;
mod order;
pub(super) mod operations;
mod params;
mod reasoning;
mod reply;
mod request;
pub(super) mod rerank;
mod steps;
mod stream;
pub mod text;
pub(super) mod usage;
mod wire;
mod write_content;
mod write_reply;
mod write_request;
mod write_stream;
#[cfg(test)]
mod tests;

use super::{
    ApiRequest, Claim, Destination, Dialect, DialectId, Edits, Endpoint, Progress, ReadEvents, ReplyGap, ReplyHead,
    RequestHead, StreamMode, Usage, WriteEvents,
    adapt::{Adapted, ModelField},
    enrichment::PromptPlaces,
    fields,
    hosted::mentions,
    responses::fit::is_unusual,
    text::TextSlots,
};
use crate::{
    conversation::{Failure, HostedKind, Invalid, Reply, Request, TokenUsage, Unsupported},
    stream::TopLevel,
};

/// OpenAI Chat Completions.
pub struct Chat;

impl Dialect for Chat {
    fn id(&self) -> DialectId {
        DialectId::Chat
    }

    fn name(&self) -> &'static str {
        "OpenAI Chat Completions"
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

    fn claims_client(&self, request: &RequestHead<'_>) -> Option<Claim> {
        endpoint::claims_client(request)
    }

    fn header_prefixes(&self) -> &'static [&'static str] {
        &["openai-", "x-stainless-"]
    }

    fn conversation_endpoint(&self, _model: &str, _stream: bool) -> (Endpoint, StreamMode) {
        (Endpoint::ChatCompletions, StreamMode::Sse)
    }

    fn usage_option(&self, request: &ApiRequest, body: &TopLevel<'_>) -> Option<Vec<u8>> {
        let has_chunks = matches!(request.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        if request.stream == StreamMode::Sse && has_chunks { options::with_usage(body) } else { None }
    }

    fn requests_usage(&self, body: &TopLevel<'_>) -> bool {
        options::requests_usage(body)
    }

    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
        request::read(body)
    }

    fn offers_tools(&self, body: &TopLevel<'_>) -> bool {
        body.contains("tools") || body.contains("functions")
    }

    fn offers_hosted(&self, body: &TopLevel<'_>) -> bool {
        body.contains("web_search_options") || mentions(body.get("modalities"), &["image"])
    }

    fn runs(&self, kind: HostedKind, _: &Request<'_>, to: &Destination<'_>) -> bool {
        kind == HostedKind::ImageGeneration && to.quirks.chat.images
    }

    fn fit(&self, body: &TopLevel<'_>, to: &Destination<'_>, _: &mut Unsupported) -> Edits {
        let refuses_order = !to.quirks.chat.user_after_tool;
        let messages = refuses_order.then(|| order::answer_results(body)).flatten();
        messages.map(|messages| ("messages", Some(messages))).into_iter().collect()
    }

    fn fit_model(&self, body: &TopLevel<'_>, _: &TopLevel<'_>, to: &Destination<'_>, adapted: &mut Adapted) {
        if !to.facts.verbosity && body.get("verbosity").is_some_and(is_unusual) {
            adapted.dropped.add("verbosity");
            adapted.set("verbosity", None);
        }
    }

    fn model_fields(&self) -> &'static [ModelField] {
        &[
            ("frequency_penalty", &[]),
            ("logprobs", &[]),
            ("max_completion_tokens", &[]),
            ("max_tokens", &[]),
            ("presence_penalty", &[]),
            ("reasoning_effort", &[]),
            ("temperature", &[]),
            ("top_logprobs", &[]),
            ("top_p", &[]),
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

    fn read_billed(&self, raw: &[u8]) -> Option<Usage> {
        rerank::read_meta(raw)
    }

    fn read_usage(&self, raw: &[u8]) -> Option<TokenUsage> {
        usage::read(std::str::from_utf8(raw).ok()?)
    }

    fn read_progress(&self, name: Option<&[u8]>, data: &[u8]) -> Option<Progress> {
        usage::read_progress(name, data)
    }

    fn reply_gaps(&self) -> &'static [ReplyGap] {
        use ReplyGap::{HostedCalls, OtherMedia, Quote, StreamedTextSignature, TextSignature};
        &[TextSignature, StreamedTextSignature, OtherMedia, HostedCalls, Quote]
    }

    fn prompt_places(&self) -> &'static PromptPlaces {
        &text::PROMPT
    }

    fn text_slots(&self) -> &'static TextSlots {
        &text::SLOTS
    }
}
