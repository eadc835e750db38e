//! Reads buffered replies.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    HOME, JSON_TOOL, error, hosted,
    usage::WireUsage,
    wire::{Block, WireCitation, finish_of},
};
use crate::conversation::{
    Call, Choice, Citation, Content, Failure, Finish, Part, Reply, Signature, Text, TokenUsage, Unsupported,
};

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireReply<'a> {
    id: Option<Text<'a>>,
    model: Option<Text<'a>>,
    content: Option<Vec<Block<'a>>>,
    stop_reason: Option<Text<'a>>,
    stop_sequence: Option<Text<'a>>,
    usage: Option<ReplyUsage<'a>>,
}

/// Usage, with the class of service in it.
#[derive(Deserialize)]
struct ReplyUsage<'a> {
    #[serde(flatten)]
    counts: WireUsage,
    #[serde(borrow)]
    service_tier: Option<Cow<'a, str>>,
}

/// Reads a reply.
pub(super) fn read(body: &[u8]) -> Result<Reply<'_>, Failure<'_>> {
    let wire = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str::<WireReply<'_>>(text).ok());
    let Some(WireReply { id, model, content: Some(content), stop_reason, stop_sequence, usage }) = wire else {
        return Err(refused(body));
    };
    let mut parts = Vec::with_capacity(content.len());
    let (mut calls, mut answered, mut lost) = (false, false, Unsupported::default());
    let mut hosted_calls = Vec::new();
    for block in content {
        if hosted::read(&block, &mut hosted_calls, &mut parts) {
            continue;
        }
        let Some(content) = content_of(block, &mut answered, &mut lost) else { continue };
        calls |= matches!(content, Content::Call(_));
        parts.push(content.into());
    }
    let finish = finish_of(stop_reason.as_ref()).with_answer_tool(answered, calls);
    Ok(Reply {
        id,
        model,
        created: None,
        choices: vec![Choice { parts, finish, stop_sequence, logprobs: Vec::new() }],
        usage: usage.as_ref().map_or_else(TokenUsage::default, |usage| usage.counts.into()),
        service_tier: usage.and_then(|usage| usage.service_tier).map(Text::from),
        lost,
    })
}

/// The failure of a body that is not a reply: an error in spite of its status, or an unknown form.
fn refused(body: &[u8]) -> Failure<'static> {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let first = value.get(0).unwrap_or(&value);
    if first.get("error").is_some() {
        return error::of_value(200, first);
    }
    Failure::bad_gateway("the provider's reply is no message")
}

/// The content of a block; `None` for blocks that only the provider can use, which are reported in `lost`. Sets
/// `answered` for an answer that comes as a call.
fn content_of<'a>(block: Block<'a>, answered: &mut bool, lost: &mut Unsupported) -> Option<Content<'a>> {
    Some(match &*block.kind.as_ref()?.decode() {
        "text" => {
            let citations = block.citations.and_then(citations).unwrap_or_default();
            Content::Text { text: block.text?, citations, signature: None }
        }
        "thinking" => {
            let signature = block.signature.filter(|text| !text.is_empty());
            let signature = signature.map(|text| Signature::untagged(text, HOME));
            Content::Thinking { text: block.thinking.unwrap_or_else(|| Text::from("")), signature }
        }
        "redacted_thinking" => Content::Redacted(Signature::untagged(block.data?, HOME)),
        "tool_use" => {
            let arguments = block.input.map_or("{}", RawValue::get);
            let name = block.name?;
            if name.is(JSON_TOOL) {
                *answered = true;
                return Some(Content::text(arguments));
            }
            Content::Call(Call { id: block.id?, name: name.into(), arguments: arguments.into(), signature: None })
        }
        kind => {
            lost.add(kind.to_owned());
            return None;
        }
    })
}

fn citations(raw: &RawValue) -> Option<Vec<Citation<'_>>> {
    let wire: Vec<WireCitation<'_>> = serde_json::from_str(raw.get()).ok()?;
    Some(wire.into_iter().map(Citation::from).collect())
}

/// The error of an answer that failed without content: `stop_reason` can't express it, and an empty answer that ended
/// normally would be wrong.
pub(super) fn failure_of(reply: &Reply<'_>) -> Option<Failure<'static>> {
    let choice = reply.choices.first()?;
    let says = |part: &Part<'_>| match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => !text.is_empty(),
        Content::Call(call) => call.object().is_some(),
        _ => false,
    };
    (choice.strict_finish() == Finish::Failed && !choice.parts.iter().any(says)).then(failed)
}

/// The model failed before it sent any content.
pub(super) fn failed() -> Failure<'static> {
    Failure::bad_gateway(
        "the model's answer failed: it has no content, or calls a tool with arguments that are not a JSON object",
    )
}
