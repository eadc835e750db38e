//! Token counts: from the provider if it counts, else estimated.

use bytes::Bytes;

use super::{
    BYTES_PER_TOKEN, OperationError, OperationPlan, OperationReply, OperationTarget, ReplyPlan as AnyPlan,
    UpstreamReply, UpstreamRequest, client,
};
use crate::{
    conversation::{Content, Failure, Invalid, Names, Part, Request, Source, Text, Unsupported},
    dialect::{Destination, DialectId, Endpoint, Usage},
    stream::{TopLevel, json::ObjectWriter},
};

/// The estimate for an image, a document, audio or video, in tokens.
const TOKENS_PER_MEDIUM: u64 = 256;

/// Receives the conversation that is to be counted: its dialect and its body.
pub type CountedRequest<'p> = &'p mut dyn FnMut(DialectId, &TopLevel<'_>) -> Result<OperationPlan, OperationError>;

/// Edits a conversation, given its dialect and its body.
pub type EditConversation<'e> = &'e mut dyn FnMut(DialectId, &Bytes) -> Result<Bytes, Invalid>;

/// The data for making the reply.
#[derive(Debug)]
pub(super) struct ReplyPlan {
    /// The client's dialect.
    client: DialectId,
    /// The dialect in which the provider counts, if it does.
    counter: Option<DialectId>,
    /// The estimate, for providers without a count.
    estimate: u64,
}

/// Reads the conversation that the client sent to be counted, and writes it for the provider.
pub(super) fn plan(
    endpoint: &Endpoint,
    top: &TopLevel<'_>,
    to: &OperationTarget<'_>,
) -> Result<OperationPlan, OperationError> {
    let client = client(endpoint);
    client.dialect().read_count(top, &mut |dialect, body| {
        let mut request = dialect.dialect().read_request(body)?;
        let _ = Names::fit(&mut request);
        let mut dropped = request.dropped.clone();
        let mut plan = ReplyPlan { client, counter: None, estimate: estimate(&request) };
        let mut requests = Vec::new();
        if let Some((counter, model)) = counter(to, &request)
            && let Some(written) = write(&request, counter, to, model, &mut dropped)?
        {
            plan.counter = Some(counter);
            requests.push(written);
        }
        Ok(OperationPlan { requests, dropped, reply: AnyPlan::Count(plan) })
    })
}

/// The dialect in which the provider counts, and the model's name there. `None` when it can't count this.
fn counter<'a>(to: &OperationTarget<'a>, request: &Request<'_>) -> Option<(DialectId, &'a str)> {
    let counter = to.quirks.counts_tokens?;
    let model = counter.dialect().counted_model(to.model.filter(|_| to.has_paths)?)?;
    // Media are not fetched for a count.
    (to.quirks.fetches.any() || !media(request).any(|source| matches!(source, Source::Url { .. })))
        .then_some((counter, model))
}

/// The request that counts.
fn write(
    request: &Request<'_>,
    counter: DialectId,
    to: &OperationTarget<'_>,
    model: &str,
    dropped: &mut Unsupported,
) -> Result<Option<UpstreamRequest>, Invalid> {
    let destination = Destination { model, facts: to.facts, quirks: to.quirks };
    let mut written = Vec::new();
    destination.write(counter, request, dropped, &mut written)?;
    let written = TopLevel::scan(&written).map_err(|error| Invalid::new("", error.to_string()))?;
    let mut body = Vec::with_capacity(written.body().len() + 64);
    let mut out = ObjectWriter::begin(&mut body);
    let endpoint = counter.dialect().write_count(&written, &destination, &mut out);
    out.end();
    Ok(endpoint.map(|endpoint| UpstreamRequest::new(endpoint, model, body)))
}

/// Approximate tokens of a conversation.
pub fn estimate(request: &Request<'_>) -> u64 {
    let messages: usize = request.messages.iter().flat_map(|message| &message.parts).map(size).sum();
    let tools = request.tools.iter().map(|tool| {
        let schema = tool.schema.as_ref().map_or(0, |schema| schema.get().len());
        tool.name.size() + tool.description.as_ref().map_or(0, Text::size) + schema
    });
    let bytes = messages + tools.sum::<usize>();
    bytes.div_ceil(BYTES_PER_TOKEN) as u64 + media(request).count() as u64 * TOKENS_PER_MEDIUM
}

/// Bytes of text in a part. Media are counted elsewhere, except documents that are text.
fn size(part: &Part<'_>) -> usize {
    let quoted = |text: &Text<'_>| text.size().saturating_sub(2);
    match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) | Content::Thinking { text, .. } => quoted(text),
        Content::Media(media) => match &media.source {
            Source::Text(text) => quoted(text),
            _ => 0,
        },
        Content::Redacted(_) | Content::Hosted(_) => 0,
        Content::Call(call) => quoted(&call.name) + call.arguments.len(),
        Content::Result(result) => result.parts.iter().map(size).sum(),
    }
}

/// The sources of the media of a conversation, including those in tool results. Documents that are text are not among
/// them.
fn media<'r, 'a>(request: &'r Request<'a>) -> impl Iterator<Item = &'r Source<'a>> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let parts = parts.flat_map(|part| match &part.content {
        Content::Result(result) => result.parts.as_slice(),
        _ => std::slice::from_ref(part),
    });
    parts.filter_map(|part| match &part.content {
        Content::Media(media) => Some(&media.source).filter(|source| !matches!(source, Source::Text(_))),
        _ => None,
    })
}

impl ReplyPlan {
    /// The reply in the client's form.
    pub fn reply(self, replies: &[UpstreamReply]) -> Result<OperationReply, Failure<'static>> {
        let Some(counter) = self.counter else { return Ok(self.write(self.estimate, true)) };
        let tokens = replies.first().and_then(|reply| {
            let top = TopLevel::scan(&reply.body).ok()?;
            top.get(counter.dialect().count_field())?.as_u64()
        });
        let missing = || Failure::bad_gateway("the upstream's reply holds no count of tokens");
        Ok(self.write(tokens.ok_or_else(missing)?, false))
    }

    /// The estimate, if the provider does not count for this model.
    pub fn fallback(&self, status: u16) -> Option<OperationReply> {
        let missing = self.counter.is_some_and(|counter| counter.dialect().is_count_missing(status));
        missing.then(|| self.write(self.estimate, true))
    }

    fn write(&self, tokens: u64, estimated: bool) -> OperationReply {
        let client = self.client.dialect();
        let mut body = Vec::new();
        ObjectWriter::begin(&mut body).with_maybe("object", client.count_object()).with(client.count_field(), &tokens);
        OperationReply { body, usage: Usage::default(), model: None, estimated }
    }
}
