//! Writes buffered replies, and the parts that streams share with them.

use std::borrow::Cow;

use super::{
    citations::{self, Cited},
    hosted,
    names::finish_reason,
    signature,
};
use crate::{
    conversation::{
        Call, CarriedReasoning, Choice, Content, HostedCall, Media, Part, Reply, Signature, Source, Text, TokenLogprob,
        TokenUsage, object_text,
    },
    dialect::ReplyHead,
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Appends a reply.
pub(super) fn write(reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
    let mut top = ObjectWriter::begin(out);
    let mut candidates = top.array("candidates");
    for (index, choice) in reply.choices.iter().enumerate() {
        write_choice(index, choice, candidates.object());
    }
    candidates.end();
    write_usage(reply.usage, &mut top);
    top.field("modelVersion", &head.model_or(reply.model.as_ref()));
    top.field("responseId", &head.id_or(reply.id.as_ref(), ""));
}

fn write_choice(index: usize, choice: &Choice<'_>, mut candidate: ObjectWriter<'_>) {
    let mut malformed = None;
    let mut content = candidate.object("content");
    let mut parts = content.array("parts");
    let mut carried = CarriedReasoning::default();
    for part in &choice.parts {
        carried.add_content(&part.content);
        write_part(part, &mut carried, &mut parts, &mut malformed);
    }
    parts.end();
    content.field("role", "model");
    content.end();
    let refused = choice.parts.iter().any(|part| matches!(part.content, Content::Refusal(_)));
    write_finish(finish_reason(choice.finish.with_refusal(refused)), malformed, &mut candidate);
    candidate.field("index", &index);
    let cited: Vec<Cited<'_, '_>> = choice.parts.iter().flat_map(cited).collect();
    let hosted: Vec<&HostedCall<'_>> = choice
        .parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Hosted(call) => Some(&**call),
            _ => None,
        })
        .collect();
    citations::write(&cited, &hosted, &mut candidate);
    hosted::write_fetched(&hosted, &mut candidate);
    if !choice.logprobs.is_empty() {
        write_logprobs(&choice.logprobs, &mut candidate);
    }
}

/// Writes why an answer ended. A call whose arguments are not a JSON object can't be written: Gemini has a finish
/// reason for that.
pub(super) fn write_finish(reason: &str, malformed: Option<&str>, candidate: &mut ObjectWriter<'_>) {
    match malformed {
        Some(tool) if reason == "STOP" => {
            candidate.field("finishReason", "MALFORMED_FUNCTION_CALL");
            candidate.field("finishMessage", &format!("the arguments of the call of {tool} are not a JSON object"));
        }
        _ => candidate.field("finishReason", reason),
    }
}

fn write_part<'p>(
    part: &'p Part<'_>,
    carried: &mut CarriedReasoning,
    parts: &mut ArrayWriter<'_>,
    malformed: &mut Option<&'p str>,
) {
    match &part.content {
        Content::Text { text, signature, .. } => write_text(text, false, signature.as_ref(), parts.object()),
        Content::Refusal(text) => write_text(text, false, None, parts.object()),
        Content::Thinking { text, signature } => write_text(text, true, signature.as_ref(), parts.object()),
        Content::Redacted(signature) => write_redacted(signature, parts.object()),
        Content::Call(Call { id, name, arguments, signature }) => {
            let carried = carried.take();
            let proof = signature.as_ref().or(carried.as_ref());
            if !write_call(id, name, arguments, proof, parts) {
                *malformed = Some(match &**name {
                    Text::Plain(name) => name,
                    Text::Json(raw) => raw.get().trim_matches('"'),
                });
            }
        }
        Content::Hosted(call) => hosted::write_parts(call, parts),
        Content::Media(media) => write_media(media, parts),
        Content::Result(_) => {}
    }
}

/// Writes media that are at hand.
pub(super) fn write_media(media: &Media<'_>, parts: &mut ArrayWriter<'_>) {
    let Source::Data { mime, data } = &media.source else { return };
    let mut part = parts.object();
    part.object("inlineData").with("mimeType", mime).with("data", data).end();
    part.maybe("thoughtSignature", media.signature.as_ref().map(|proof| signature::write(proof, false)).as_ref());
}

/// Writes a part of text or reasoning.
pub(super) fn write_text(text: &Text<'_>, thought: bool, proof: Option<&Signature<'_>>, mut part: ObjectWriter<'_>) {
    text.write(part.key("text"));
    if thought {
        part.field("thought", &true);
    }
    part.maybe("thoughtSignature", proof.map(|proof| signature::write(proof, false)).as_ref());
}

/// Writes reasoning that only its model can read.
pub(super) fn write_redacted(proof: &Signature<'_>, part: ObjectWriter<'_>) {
    part.with("text", "").with("thought", &true).with("thoughtSignature", &signature::write(proof, true));
}

/// Writes a call. Returns `false`, and writes nothing, if its arguments are not an object.
pub(super) fn write_call(
    id: &Text<'_>,
    name: &Text<'_>,
    arguments: &str,
    proof: Option<&Signature<'_>>,
    parts: &mut ArrayWriter<'_>,
) -> bool {
    let blank = arguments.trim().is_empty();
    let Some(arguments) = object_text(if blank { "{}" } else { arguments }) else { return false };
    // An event must be one line. Between the tokens of JSON a line break is ordinary white space, and inside of strings
    // it is escaped.
    let arguments = if memchr::memchr2(b'\r', b'\n', arguments.as_bytes()).is_some() {
        Cow::Owned(arguments.replace(['\r', '\n'], " "))
    } else {
        arguments
    };
    let mut part = parts.object();
    part.object("functionCall").with("id", id).with("name", name).with_raw("args", &arguments);
    part.maybe("thoughtSignature", proof.map(|proof| signature::write(proof, false)).as_ref());
    part.end();
    true
}

/// The sources of a text, with their positions in bytes.
fn cited<'c, 'a>(part: &'c Part<'a>) -> Vec<Cited<'c, 'a>> {
    let Content::Text { text, citations, .. } = &part.content else { return Vec::new() };
    if citations.is_empty() {
        return Vec::new();
    }
    let text = text.decode();
    let ascii = text.is_ascii();
    let place = |character: u64| {
        let character = usize::try_from(character).ok()?;
        let byte = if ascii {
            character.min(text.len())
        } else {
            text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
        };
        u64::try_from(byte).ok()
    };
    let bytes = |start: Option<u64>, end: Option<u64>| Some((place(start?)?, place(end?)?));
    citations.iter().map(|citation| Cited { citation, bytes: bytes(citation.start, citation.end) }).collect()
}

/// Writes `logprobsResult`.
pub(super) fn write_logprobs(tokens: &[TokenLogprob<'_>], candidate: &mut ObjectWriter<'_>) {
    let write_token = |token: &Text<'_>, logprob: f64, mut object: ObjectWriter<'_>| {
        object.field("token", token);
        object.field("logProbability", &logprob);
        object.end();
    };
    let mut result = candidate.object("logprobsResult");
    let mut chosen = result.array("chosenCandidates");
    for token in tokens {
        write_token(&token.token, token.logprob, chosen.object());
    }
    chosen.end();
    let mut tops = result.array("topCandidates");
    for token in tokens {
        let mut top = tops.object();
        let mut candidates = top.array("candidates");
        for (token, logprob) in &token.top {
            write_token(token, *logprob, candidates.object());
        }
    }
}

/// Writes `usageMetadata`, if anything is known.
pub(super) fn write_usage(usage: TokenUsage, top: &mut ObjectWriter<'_>) {
    if usage.is_empty() {
        return;
    }
    top.object("usageMetadata")
        .with("promptTokenCount", &usage.input.unwrap_or(0))
        .with_maybe("cachedContentTokenCount", usage.cached.filter(|cached| *cached > 0).as_ref())
        .with("candidatesTokenCount", &usage.visible_output())
        .with_maybe("thoughtsTokenCount", usage.reasoning.filter(|thoughts| *thoughts > 0).as_ref())
        .with("totalTokenCount", &usage.total());
}
