//! Replies in one piece.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ANSWER_TOOL, HOME, content, error, formats,
    wire::{AdditionalReply, Message, ServiceTier},
};
use crate::{
    conversation::{
        Call, Choice, Content, Failure, Finish, Part, Reply, Signature, Source, Text, TokenUsage, Unsupported,
    },
    stream::json::{ArrayWriter, ObjectWriter},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireReply<'a> {
    #[serde(borrow)]
    output: Option<Output<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    additional_model_response_fields: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    trace: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

/// Only a prompt router says which model has answered.
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
    // What is not known is passed over.
    let mut lost = Unsupported::default();
    let parts = content::parts(message.content.unwrap_or_default(), &mut lost).map_err(|_| bad())?;
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

/// A member that an answer does not depend on: when it is new, the answer is still one.
fn optional<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Turns calls of the tool that takes the answer into the answer, and says why it ended.
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
    (parts, end_of(finish, answer, calls))
}

/// Why an answer ended whose call was perhaps the answer itself.
pub(super) fn end_of(finish: Finish, answer: bool, calls: bool) -> Finish {
    match finish {
        Finish::ToolCalls if answer && !calls => Finish::Stop,
        finish => finish.with_calls(calls),
    }
}

pub(super) fn write(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let choice = reply.choices.first();
    let parts = choice.map(|choice| choice.parts.as_slice()).unwrap_or_default();
    let finish = choice.map_or(Finish::Stop, Choice::strict_finish);
    let stop_text = choice.and_then(|choice| choice.stop_sequence.as_ref());

    let mut body = ObjectWriter::begin(out);
    let mut output = body.object("output");
    let mut message = output.object("message");
    message.field("role", "assistant");
    let mut list = message.array("content");
    for part in parts {
        write_part(&part.content, &mut list);
    }
    list.end();
    message.end();
    output.end();
    let left_out = finish == Finish::Failed && choice.is_some_and(|choice| choice.finish != Finish::Failed);
    let reason = if left_out { "malformed_tool_use" } else { formats::stop_reason(finish, stop_text.is_some()) };
    body.field("stopReason", reason);
    write_stop_text(&mut body, stop_text.filter(|_| finish == Finish::Stop));
    write_usage(&mut body, &reply.usage);
    body.raw("metrics", r#"{"latencyMs":0}"#);
    let tier = reply.service_tier.as_ref().map(Text::decode);
    if let Some(tier) = tier.filter(|tier| ["default", "priority", "flex", "reserved"].contains(&&**tier)) {
        let mut object = body.object("serviceTier");
        object.field("type", &*tier);
        object.end();
    }
    body.end();
}

/// Which text it was that ended the answer: where clients of Claude look for it.
pub(super) fn write_stop_text(body: &mut ObjectWriter<'_>, text: Option<&Text<'_>>) {
    if let Some(text) = text {
        let mut fields = body.object("additionalModelResponseFields");
        text.write(fields.key("stop_sequence"));
        fields.end();
    }
}

/// Writes `usage`, whose three first members are required.
pub(super) fn write_usage(body: &mut ObjectWriter<'_>, usage: &TokenUsage) {
    let mut object = body.object("usage");
    object.field("inputTokens", &usage.fresh_input());
    object.field("outputTokens", &usage.output.unwrap_or(0));
    object.field("totalTokens", &usage.total());
    object.maybe("cacheReadInputTokens", usage.cached.as_ref());
    object.maybe("cacheWriteInputTokens", usage.cache_write.as_ref());
    object.end();
}

fn write_part(content: &Content<'_>, list: &mut ArrayWriter<'_>) {
    match content {
        Content::Text { text, citations, .. } if !citations.is_empty() => {
            let mut block = list.object();
            let mut cited = block.object("citationsContent");
            let mut texts = cited.array("content");
            let mut only = texts.object();
            text.write(only.key("text"));
            only.end();
            texts.end();
            let mut sources = cited.array("citations");
            for citation in citations {
                let mut source = sources.object();
                content::write_citation(&mut source, citation);
                source.end();
            }
            sources.end();
            cited.end();
            block.end();
        }
        Content::Text { text, .. } | Content::Refusal(text) if text.is_empty() => {}
        Content::Text { text, .. } | Content::Refusal(text) => {
            let mut block = list.object();
            text.write(block.key("text"));
            block.end();
        }
        Content::Media(media) => {
            if let Source::Data { mime, data } = &media.source {
                let mut written = Vec::new();
                let mut block = ObjectWriter::begin(&mut written);
                let known = content::write_file(&mut block, media.kind, mime, data);
                block.end();
                if known {
                    list.element().extend_from_slice(&written);
                }
            }
        }
        Content::Thinking { text, signature } => write_thinking(text, signature.as_ref(), list),
        Content::Redacted(signature) => {
            let mut block = list.object();
            content::write_redacted(&mut block, &content::redacted_blob(signature));
            block.end();
        }
        Content::Call(call) => {
            // What a model wrote that is no object is no input: a client would run the tool with something else.
            let Some(input) = call.object() else { return };
            // Converse has no place for the signature of a call: it stands in front, as thoughts without text.
            if call.signature.is_some() {
                write_thinking(&"".into(), call.signature.as_ref(), list);
            }
            let mut block = list.object();
            content::write_call(&mut block, &call.id, &call.name, input);
            block.end();
        }
        Content::Result(_) => {}
    }
}

fn write_thinking(text: &Text<'_>, signature: Option<&Signature<'_>>, list: &mut ArrayWriter<'_>) {
    let mut block = list.object();
    content::write_thinking(&mut block, text, signature.map(|s| s.tagged(HOME)).as_ref());
    block.end();
}
