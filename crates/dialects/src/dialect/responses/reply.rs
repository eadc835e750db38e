//! A provider's buffered reply.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    HOME, IMAGE,
    chat::usage::WireUsage,
    error, hosted,
    wire::{Item, Paragraph, joined, lenient},
};
use crate::{
    conversation::{
        Call, Choice, Citation, Content, Failure, Finish, Part, Reply, Signature, Text, TokenLogprob, TokenUsage,
        Unsupported, call_arguments,
    },
    stream::TopLevel,
};

/// Fields that the meaning of an answer depends on. `delta` is not among them: many events have it, some of them new.
pub(super) const VITAL: &[&str] = &["output", "content", "text", "name", "arguments"];

/// A `response` object.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireResponse<'a> {
    pub id: Option<Text<'a>>,
    pub model: Option<Text<'a>>,
    created_at: Option<f64>,
    status: Option<Text<'a>>,
    pub error: Option<&'a RawValue>,
    incomplete_details: Option<WireIncomplete<'a>>,
    pub output: Option<Vec<&'a RawValue>>,
    usage: Option<WireUsage>,
    service_tier: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct WireIncomplete<'a> {
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

/// A part of a message item.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WirePart<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    refusal: Option<Text<'a>>,
    #[serde(default)]
    annotations: Option<Vec<&'a RawValue>>,
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireAnnotation<'a> {
    url: Option<Text<'a>>,
    title: Option<Text<'a>>,
    start_index: Option<u64>,
    end_index: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireLogprob<'a> {
    token: Option<Text<'a>>,
    logprob: Option<f64>,
    #[serde(default)]
    top_logprobs: Option<Vec<WireLogprob<'a>>>,
}

impl WireResponse<'_> {
    /// The finish reason.
    pub(super) fn finish(&self, calls: bool) -> Finish {
        let is = |text: &Option<Text<'_>>, word: &str| text.as_ref().is_some_and(|text| text.is(word));
        let reason = self.incomplete_details.as_ref().map(|details| &details.reason);
        let ended_by = |word: &str| reason.is_some_and(|reason| is(reason, word));
        if ended_by("max_output_tokens") {
            Finish::Length
        } else if ended_by("content_filter") {
            Finish::Filtered
        } else if is(&self.status, "failed") || is(&self.status, "cancelled") {
            Finish::Failed
        } else {
            Finish::Stop.with_calls(calls)
        }
    }

    /// The token counts.
    pub(super) fn usage(&self) -> TokenUsage {
        self.usage.map_or_else(TokenUsage::default, TokenUsage::from)
    }

    /// The error in it, or a general one for a response that failed without stating an error.
    pub(super) fn failure(&self) -> Option<Failure<'static>> {
        let failed = self.status.as_ref().is_some_and(|status| status.is("failed"));
        match self.error {
            Some(raw) => Some(error::read(200, raw.get().as_bytes()).into_owned()),
            None => failed.then(|| error::read(200, br#"{"code":"server_error","message":"the response failed"}"#)),
        }
    }
}

/// Reads a reply.
pub(super) fn read<'a>(body: &'a [u8]) -> Result<Reply<'a>, Failure<'a>> {
    let Ok(response) = serde_json::from_slice::<WireResponse<'a>>(body) else { return Err(unreadable(body)) };
    if let Some(failure) = response.failure() {
        return Err(failure);
    }
    let (finish, usage) = (response.finish(false), response.usage());
    let Some(output) = response.output else { return Err(unreadable(body)) };
    let mut choice = Choice { parts: Vec::new(), finish, stop_sequence: None, logprobs: Vec::new() };
    let (mut broken, mut lost) = (false, Unsupported::default());
    for item in output.into_iter().filter_map(|raw| serde_json::from_str::<Item<'a>>(raw.get()).ok()) {
        broken |= !read_item(&item, &mut choice.parts, &mut choice.logprobs, &mut lost);
    }
    let calls = choice.parts.iter().any(|part| matches!(part.content, Content::Call(_)));
    choice.finish = if broken && finish == Finish::Stop { Finish::Failed } else { finish.with_calls(calls) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; it is a date")]
    let created = response.created_at.map(|seconds| seconds as u64);
    let (id, model, service_tier) = (response.id, response.model, response.service_tier);
    Ok(Reply { id, model, created, choices: vec![choice], usage, service_tier, lost })
}

/// The failure of a body that is not a response: the error that it contains instead, if any.
fn unreadable(body: &[u8]) -> Failure<'static> {
    match TopLevel::scan(body) {
        Ok(top) if top.get("error").is_some_and(|error| !error.is_null()) => error::read(200, body).into_owned(),
        _ => Failure::bad_gateway("the provider's reply is no response of the Responses API"),
    }
}

/// Reads an item. Items without a counterpart here, such as those of hosted tools, are reported in `lost`. Returns
/// `false` if it is a call that no client supports.
pub(super) fn read_item<'a>(
    item: &Item<'a>,
    parts: &mut Vec<Part<'a>>,
    logprobs: &mut Vec<TokenLogprob<'a>>,
    lost: &mut Unsupported,
) -> bool {
    let kind = item.kind.as_ref().map_or("".into(), Text::decode);
    match &*kind {
        "message" => {
            let wire = item.content.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
            for raw in wire.into_iter().flatten() {
                let Ok(part) = serde_json::from_str::<WirePart<'a>>(raw.get()) else { continue };
                logprobs.extend(read_logprobs(part.logprobs));
                parts.extend(read_part(part, lost).map(Part::from));
            }
        }
        "function_call" => {
            let Some((id, name)) = lenient(item.call_id).or_else(|| lenient(item.id)).zip(lenient(item.name)) else {
                return false;
            };
            let written = lenient(item.arguments).unwrap_or_else(|| "".into());
            // What is no object stays as it is; the writers know what to do with it.
            let arguments = call_arguments(written.clone().into_decoded()).unwrap_or_else(|| written.into_decoded());
            parts.push(Content::Call(Call { id, name: name.into(), arguments, signature: None }).into());
        }
        "reasoning" => {
            let (text, signature) = read_thoughts(item);
            if !text.is_empty() || signature.is_some() {
                parts.push(Content::Thinking { text, signature }.into());
            }
        }
        IMAGE => match item.image() {
            Some(image) => parts.push(Content::Media(image).into()),
            None => lost.add(IMAGE),
        },
        kind => match hosted::read(item, lost) {
            Some(call) => parts.push(Content::Hosted(Box::new(call)).into()),
            None => lost.add(kind.to_owned()),
        },
    }
    true
}

/// The text of a reasoning item, the summary before the reasoning itself, and its signature.
pub(super) fn read_thoughts<'a>(item: &Item<'a>) -> (Text<'a>, Option<Signature<'a>>) {
    let paragraphs = |raw: Option<&'a RawValue>| {
        let list = raw.and_then(|raw| serde_json::from_str::<Vec<Paragraph<'a>>>(raw.get()).ok());
        joined(list.unwrap_or_default())
    };
    let mut text = paragraphs(item.summary);
    if text.is_empty() {
        text = paragraphs(item.content);
    }
    let proof = lenient(item.encrypted_content).filter(|text| !text.is_empty());
    (text, proof.map(|text| Signature::untagged(text, HOME)))
}

fn read_part<'a>(part: WirePart<'a>, lost: &mut Unsupported) -> Option<Content<'a>> {
    let kind = part.kind.as_ref().map(Text::decode).unwrap_or_default();
    match &*kind {
        "refusal" => return part.refusal.map(Content::Refusal),
        kind if part.text.is_none() => lost.add(kind.to_owned()),
        _ => {}
    }
    let citations = part.annotations.into_iter().flatten().filter_map(read_citation).collect();
    part.text.map(|text| Content::Text { text, citations, signature: None })
}

/// Reads an annotation that names a page. Those that name a stored file have no meaning for other providers.
pub(super) fn read_citation(raw: &RawValue) -> Option<Citation<'_>> {
    let wire: WireAnnotation<'_> = serde_json::from_str(raw.get()).ok()?;
    let url = Some(wire.url?);
    Some(Citation { url, title: wire.title, quote: None, start: wire.start_index, end: wire.end_index })
}

/// Tokens with their log-probabilities.
pub(super) fn read_logprobs<'a>(raw: Option<&'a RawValue>) -> Vec<TokenLogprob<'a>> {
    // Every delta has an empty list.
    let Some(raw) = raw.filter(|raw| raw.get() != "[]") else { return Vec::new() };
    let wire: Vec<WireLogprob<'a>> = serde_json::from_str(raw.get()).unwrap_or_default();
    let pair = |wire: WireLogprob<'a>| wire.token.zip(wire.logprob);
    let token = |mut wire: WireLogprob<'a>| {
        let top = wire.top_logprobs.take().unwrap_or_default().into_iter().filter_map(pair).collect();
        let (token, logprob) = pair(wire)?;
        Some(TokenLogprob { token, logprob, top })
    };
    wire.into_iter().filter_map(token).collect()
}
