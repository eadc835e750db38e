//! Reads buffered replies.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ANSWER_TOOL, content, error, formats,
    wire::{AdditionalReply, Message, ServiceTier},
};
use crate::conversation::{Call, Choice, Content, Failure, Finish, Part, Reply, Text, Unsupported};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct WireReply<'a> {
    output: Option<Output<'a>>,
    stop_reason: Option<Text<'a>>,
    usage: Option<&'a RawValue>,
    additional_model_response_fields: Option<&'a RawValue>,
    service_tier: Option<&'a RawValue>,
    trace: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

/// Only a prompt router states which model has answered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    #[serde(borrow)]
    prompt_router: Option<Router<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Router<'a> {
    #[serde(borrow)]
    invoked_model_id: Option<Text<'a>>,
}

pub(super) fn read(body: &[u8]) -> Result<Reply<'_>, Failure<'_>> {
    let bad = || error::in_reply(body);
    let wire: WireReply<'_> = serde_json::from_slice(body).map_err(|_| bad())?;
    let Some(message) = wire.output.and_then(|output| output.message) else { return Err(bad()) };
    // Unknown fields are ignored.
    let mut lost = Unsupported::default();
    let parts = content::parts(message.content.unwrap_or_default(), false, &mut lost).map_err(|_| bad())?;
    let reason = wire.stop_reason.as_ref().map(Text::decode);
    let (parts, finish) = answered(parts, reason.map_or(Finish::Stop, |reason| formats::finish(&reason)));
    let stop_sequence = optional::<AdditionalReply<'_>>(wire.additional_model_response_fields)
        .and_then(|fields| fields.stop_sequence)
        .filter(|_| finish == Finish::Stop);
    Ok(Reply {
        id: None,
        model: optional::<Trace<'_>>(wire.trace).and_then(|t| t.prompt_router).and_then(|r| r.invoked_model_id),
        created: None,
        choices: vec![Choice { parts, finish, stop_sequence, logprobs: Vec::new() }],
        usage: optional::<super::usage::WireUsage>(wire.usage).map(|usage| usage.read()).unwrap_or_default(),
        service_tier: optional::<ServiceTier<'_>>(wire.service_tier).and_then(|tier| tier.kind),
        lost,
    })
}

/// A field that an answer does not depend on: if its form is unknown, the rest is still an answer.
fn optional<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Turns calls of the tool that takes the answer into the answer, and returns why it ended.
fn answered(parts: Vec<Part<'_>>, finish: Finish) -> (Vec<Part<'_>>, Finish) {
    let (mut answer, mut calls) = (false, false);
    let parts = parts.into_iter().map(|part| match part.content {
        Content::Call(Call { name, arguments, .. }) if name.is(ANSWER_TOOL) => {
            answer = true;
            Part::from(Content::text(arguments))
        }
        content => {
            calls |= matches!(content, Content::Call(_));
            Part { content, cache: part.cache }
        }
    });
    let parts = parts.collect();
    (parts, finish.with_answer_tool(answer, calls))
}
