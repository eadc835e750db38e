//! Writes a buffered reply, and the parts that it shares with chunks.

use super::{
    images,
    reasoning::{call_signature, write_details, write_encrypted},
    steps::Steps,
    wire::HOME,
};
use crate::{
    conversation::{
        Call, CarriedReasoning, Choice, Citation, Content, Finish, Reply, Signature, SignatureOrigin, Text,
        TokenLogprob, TokenUsage, ToolForm, free_text,
    },
    dialect::ReplyHead,
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Appends a reply.
pub(super) fn write(reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
    let mut top = ObjectWriter::begin(out);
    names(&mut top, reply.id.as_ref(), reply.model.as_ref(), "chat.completion", head, reply.created);
    let mut choices = top.array("choices");
    for (index, choice) in reply.choices.iter().enumerate() {
        let mut object = choices.object().with("index", &index);
        message(choice, object.object("message"));
        match choice.logprobs.as_slice() {
            [] => object.raw("logprobs", "null"),
            tokens => logprobs(tokens, object.object("logprobs")),
        }
        ending(&mut object, choice.finish, choice.stop_sequence.as_ref());
    }
    choices.end();
    usage(&reply.usage, top.object("usage"));
    top.maybe("service_tier", reply.service_tier.as_ref());
}

/// Writes the fields that a reply and every chunk begin with.
pub(super) fn names(
    top: &mut ObjectWriter<'_>,
    id: Option<&Text<'_>>,
    model: Option<&Text<'_>>,
    object: &str,
    head: &ReplyHead,
    created: Option<u64>,
) {
    top.field("id", &head.id_or(id, "chatcmpl-"));
    top.field("object", object);
    top.field("created", &created.unwrap_or(head.created));
    top.field("model", &head.model_or(model));
}

/// Writes why an answer ended. The stop text that ended it is in vLLM's field.
pub(super) fn ending(choice: &mut ObjectWriter<'_>, finish: Finish, stop_sequence: Option<&Text<'_>>) {
    let reason = match finish {
        Finish::Stop | Finish::Failed => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered => "content_filter",
    };
    choice.field("finish_reason", reason);
    choice.maybe("stop_reason", stop_sequence);
}

fn message(choice: &Choice<'_>, mut message: ObjectWriter<'_>) {
    let contents = || choice.parts.iter().map(|part| &part.content);
    message.field("role", "assistant");
    joined(
        &mut message,
        "content",
        contents().filter_map(|c| if let Content::Text { text, .. } = c { Some(text) } else { None }),
    );
    joined(
        &mut message,
        "refusal",
        contents().filter_map(|c| if let Content::Refusal(text) = c { Some(text) } else { None }),
    );
    images::write_all(contents(), &mut message);
    let thoughts = contents()
        .filter_map(|c| if let Content::Thinking { text, .. } = c { Some(text) } else { None })
        .filter(|t| !t.is_empty());
    if thoughts.clone().next().is_some() {
        joined(&mut message, "reasoning_content", thoughts);
    }
    lists_of_reasoning(choice, &mut message);
    annotations(choice, &mut message);
    let calls = contents().filter_map(|c| if let Content::Call(call) = c { Some(call) } else { None });
    if calls.clone().next().is_some() {
        let mut carried = CarriedReasoning::default();
        let mut list = message.array("tool_calls");
        for content in contents() {
            carried.add_content(content);
            let Content::Call(call) = content else { continue };
            let mut entry = list.object();
            call.id.write(entry.key("id"));
            if call.name.form == ToolForm::Custom {
                let (input, _) = free_text::text_of(&call.arguments);
                entry.field("type", "custom");
                entry.object("custom").with("name", &call.name).with("input", &input);
            } else {
                entry.field("type", "function");
                entry.object("function").with("name", &call.name).with("arguments", &*call.arguments);
            }
            write_call_signature(call_signature(call.signature.as_ref(), &mut carried).as_ref(), &mut entry);
        }
    }
}

/// Writes signed reasoning in the forms that clients send back.
fn lists_of_reasoning(choice: &Choice<'_>, message: &mut ObjectWriter<'_>) {
    let contents = || choice.parts.iter().map(|part| &part.content);
    let signed = |c: &Content<'_>| matches!(c, Content::Thinking { signature: Some(_), .. } | Content::Redacted(_));
    if contents().any(signed) {
        let (mut list, mut steps) = (message.array("thinking_blocks"), Steps::default());
        for content in contents() {
            match content {
                Content::Thinking { text, signature } => thinking(text, signature.as_ref(), &mut steps, list.object()),
                Content::Redacted(data) => redacted(data, &mut steps, list.object()),
                other => steps.part(other),
            }
        }
    }
    let signs = |c: &Content<'_>| matches!(c, Content::Call(Call { signature: Some(_), .. }));
    if contents().any(|content| signed(content) || signs(content)) {
        let (mut list, mut steps, mut index) = (message.array("reasoning_details"), Steps::default(), 0);
        for content in contents() {
            if let Content::Call(Call { id, signature: Some(signature), .. }) = content {
                write_encrypted(signature, Some(id), &mut Steps::default(), &mut index, &mut list);
            }
            // Streams have the text of other reasoning already, and no server needs it back.
            if signed(content) {
                write_details(content, &mut steps, &mut index, &mut list);
            }
            steps.part(content);
        }
    }
}

/// Writes a field with all `texts` joined; `null` if there are none.
fn joined<'t>(object: &mut ObjectWriter<'_>, key: &str, mut texts: impl Iterator<Item = &'t Text<'t>>) {
    match (texts.next(), texts.next()) {
        (None, _) => object.raw(key, "null"),
        (Some(only), None) => only.write(object.key(key)),
        (Some(first), Some(second)) => {
            let mut all = format!("{}{}", first.decode(), second.decode());
            texts.for_each(|text| all.push_str(&text.decode()));
            object.field(key, &all);
        }
    }
}

/// Writes the citations of all texts, with positions in the joined text.
fn annotations(choice: &Choice<'_>, message: &mut ObjectWriter<'_>) {
    let texts = choice.parts.iter().filter_map(|part| match &part.content {
        Content::Text { text, citations, .. } => Some((text, citations)),
        _ => None,
    });
    if !texts.clone().any(|(_, citations)| citations.iter().any(|c| c.url.is_some())) {
        return;
    }
    let mut list = message.array("annotations");
    let mut before = 0;
    for (text, citations) in texts {
        let length = text.decode().chars().count() as u64;
        for cited in citations {
            citation(cited, before, length, &mut list, None);
        }
        before += length;
    }
}

/// Writes a citation of a text of `length` characters that follows `before` others. The dialect only has citations of
/// URLs.
pub(super) fn citation(cited: &Citation<'_>, before: u64, length: u64, list: &mut ArrayWriter<'_>, index: Option<u32>) {
    let Some(url) = &cited.url else { return };
    let mut entry = list.object().with_maybe("index", index.as_ref()).with("type", "url_citation");
    let mut inner = entry.object("url_citation");
    url.write(inner.key("url"));
    cited.title.as_ref().unwrap_or(url).write(inner.key("title"));
    let start = cited.start.unwrap_or(0);
    inner.field("start_index", &before.saturating_add(start));
    inner.field("end_index", &before.saturating_add(cited.end.unwrap_or(length).max(start)));
}

/// An element of `thinking_blocks`. Its signature has the `steps` that precede it.
pub(super) fn thinking(
    text: &Text<'_>,
    signature: Option<&Signature<'_>>,
    steps: &mut Steps,
    mut entry: ObjectWriter<'_>,
) {
    entry.field("type", "thinking");
    text.write(entry.key("thinking"));
    if let Some(signature) = signature {
        steps.sign(signature.tagged(HOME)).write(entry.key("signature"));
    }
}

/// An element of `thinking_blocks` that only its model can read.
pub(super) fn redacted(data: &Signature<'_>, steps: &mut Steps, mut entry: ObjectWriter<'_>) {
    entry.field("type", "redacted_thinking");
    steps.sign(data.tagged(HOME)).write(entry.key("data"));
}

/// The signature of a model's call, or what it carries, in Google's field.
pub(super) fn write_call_signature(signature: Option<&Signature<'_>>, call: &mut ObjectWriter<'_>) {
    let Some(signature) = signature else { return };
    let mut extra = call.object("extra_content");
    let mut google = extra.object("google");
    signature.tagged(SignatureOrigin::Google).write(google.key("thought_signature"));
}

/// `logprobs` of a choice.
pub(super) fn logprobs(tokens: &[TokenLogprob<'_>], mut object: ObjectWriter<'_>) {
    fn token(text: &Text<'_>, logprob: f64, entry: &mut ObjectWriter<'_>) {
        text.write(entry.key("token"));
        entry.field("logprob", &logprob);
        entry.field("bytes", text.decode().as_bytes());
    }
    let mut list = object.array("content");
    for one in tokens {
        let mut entry = list.object();
        token(&one.token, one.logprob, &mut entry);
        let mut top = entry.array("top_logprobs");
        for (text, logprob) in &one.top {
            let mut entry = top.object();
            token(text, *logprob, &mut entry);
        }
    }
    list.end();
    object.raw("refusal", "null");
    object.end();
}

/// Writes `usage`. Unknown counts are written as zero, since clients expect numbers.
pub(super) fn usage(usage: &TokenUsage, mut object: ObjectWriter<'_>) {
    object.field("prompt_tokens", &usage.input.unwrap_or(0));
    object.field("completion_tokens", &usage.output.unwrap_or(0));
    object.field("total_tokens", &usage.total());
    if usage.cached.is_some() || usage.cache_write.is_some() {
        object
            .object("prompt_tokens_details")
            .with("cached_tokens", &usage.cached.unwrap_or(0))
            .with_maybe("cache_write_tokens", usage.cache_write.as_ref());
    }
    if let Some(reasoning) = usage.reasoning {
        object.object("completion_tokens_details").with("reasoning_tokens", &reasoning);
    }
}
