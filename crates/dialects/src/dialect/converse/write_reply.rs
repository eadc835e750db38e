//! Writes buffered replies.

use super::{HOME, content, formats, write_content};
use crate::{
    conversation::{Choice, Content, Finish, Reply, Signature, Source, Text, TokenUsage},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Writes a reply.
pub(super) fn write(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let choice = reply.choices.first();
    let parts = choice.map(|choice| choice.parts.as_slice()).unwrap_or_default();
    let finish = choice.map_or(Finish::Stop, Choice::strict_finish);
    let stop_text = choice.and_then(|choice| choice.stop_sequence.as_ref());

    let mut body = ObjectWriter::begin(out);
    let mut output = body.object("output");
    let mut message = output.object("message").with("role", "assistant");
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
        body.object("serviceTier").with("type", &*tier);
    }
}

/// Writes the stop text that ended the answer, in the field where clients of Claude expect it.
pub(super) fn write_stop_text(body: &mut ObjectWriter<'_>, text: Option<&Text<'_>>) {
    if let Some(text) = text {
        body.object("additionalModelResponseFields").with("stop_sequence", &text);
    }
}

/// Writes `usage`, whose first three fields are required.
pub(super) fn write_usage(body: &mut ObjectWriter<'_>, usage: &TokenUsage) {
    body.object("usage")
        .with("inputTokens", &usage.fresh_input())
        .with("outputTokens", &usage.output.unwrap_or(0))
        .with("totalTokens", &usage.total())
        .with_maybe("cacheReadInputTokens", usage.cached.as_ref())
        .with_maybe("cacheWriteInputTokens", usage.cache_write.as_ref());
}

fn write_part(content: &Content<'_>, list: &mut ArrayWriter<'_>) {
    match content {
        Content::Text { text, citations, .. } if !citations.is_empty() => {
            let mut block = list.object();
            let mut cited = block.object("citationsContent");
            cited.array("content").object().with("text", &text);
            let mut sources = cited.array("citations");
            for citation in citations {
                let mut source = sources.object();
                content::write_citation(&mut source, citation);
            }
        }
        Content::Text { text, .. } | Content::Refusal(text) if text.is_empty() => {}
        Content::Text { text, .. } | Content::Refusal(text) => {
            list.object().with("text", &text);
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
        }
        Content::Call(call) => {
            // Arguments that are not an object are left out: with any other input the client would run the tool with
            // something else.
            let Some(input) = call.object() else { return };
            // Converse has no field for the signature of a call: it precedes the call, as reasoning without text.
            if call.signature.is_some() {
                write_thinking(&"".into(), call.signature.as_ref(), list);
            }
            let mut block = list.object();
            // The client sends the id back, maybe to Bedrock.
            let decoded = call.id.decode();
            content::write_call(&mut block, &write_content::fitting(&decoded, &call.id), &call.name, input);
        }
        Content::Result(_) | Content::Hosted(_) => {}
    }
}

fn write_thinking(text: &Text<'_>, signature: Option<&Signature<'_>>, list: &mut ArrayWriter<'_>) {
    let mut block = list.object();
    content::write_thinking(&mut block, text, signature.map(|s| s.tagged(HOME)).as_ref());
}
