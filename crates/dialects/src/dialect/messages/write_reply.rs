//! Writes buffered replies.

use super::{
    HOME,
    hosted::{self, Uses},
    wire::{write_citation, write_stop, write_usage},
    write_content::id,
};
use crate::{
    conversation::{Call, Choice, Citation, Content, Finish, Part, Reply, Signature, Text},
    dialect::ReplyHead,
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Writes a reply.
pub(super) fn write(reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
    let mut top = ObjectWriter::begin(out);
    write_head(reply.id.as_ref(), reply.model.as_ref(), head, &mut top);
    let choice = reply.choices.first();
    let mut content = top.array("content");
    let mut uses = Uses::default();
    for (number, part) in choice.iter().flat_map(|choice| &choice.parts).enumerate() {
        if let Content::Hosted(call) = &part.content {
            uses.add(call);
            let id = hosted::id(&head.id, number);
            hosted::write_use(call, &id, true, content.object());
            hosted::write_result(call, &id, content.object());
        } else {
            write_part(part, &mut content);
        }
    }
    content.end();
    let finish = choice.map_or(Finish::Stop, Choice::strict_finish);
    write_stop(finish, choice.and_then(|choice| choice.stop_sequence.as_ref()), &mut top);
    write_usage(&reply.usage, Some(head.estimated_input), uses, top.object("usage"));
}

/// Writes the metadata of a message, in replies and at the beginning of streams.
pub(super) fn write_head(
    id: Option<&Text<'_>>,
    model: Option<&Text<'_>>,
    head: &ReplyHead,
    top: &mut ObjectWriter<'_>,
) {
    top.field("id", &head.id_or(id.filter(|id| !id.is_empty()), "msg_"));
    top.field("type", "message");
    top.field("role", "assistant");
    top.field("model", &head.model_or(model.filter(|model| !model.is_empty())));
}

fn write_part(part: &Part<'_>, list: &mut ArrayWriter<'_>) {
    match &part.content {
        Content::Text { text, citations, signature } => {
            if let Some(signature) = signature {
                write_redacted(signature, list.object());
            }
            write_text(text, citations, list);
        }
        Content::Refusal(text) => write_text(text, &[], list),
        Content::Thinking { text, signature } => {
            list.object()
                .with("type", "thinking")
                .with("thinking", text)
                .with("signature", &signature.as_ref().map_or(Text::from(""), |signature| signature.tagged(HOME)));
        }
        Content::Redacted(signature) => write_redacted(signature, list.object()),
        Content::Call(call) => {
            // Arguments that are not an object are left out: with any other input the client would run the tool with
            // something else.
            let Some(input) = call.object() else { return };
            if let Some(signature) = &call.signature {
                write_redacted(signature, list.object());
            }
            write_call(call, input, list.object());
        }
        // A message of this dialect can't contain media, and only clients send results. Calls that the provider has run
        // are two blocks, which the caller writes.
        Content::Media(_) | Content::Result(_) | Content::Hosted(_) => {}
    }
}

fn write_text(text: &Text<'_>, citations: &[Citation<'_>], list: &mut ArrayWriter<'_>) {
    if text.is_empty() {
        return;
    }
    let mut object = list.object().with("type", "text").with("text", text);
    if !citations.is_empty() {
        let mut list = object.array("citations");
        for citation in citations {
            write_citation(citation, list.object());
        }
    }
}

/// Writes a signature that has no block of its own, or reasoning that can't be read.
pub(super) fn write_redacted(signature: &Signature<'_>, object: ObjectWriter<'_>) {
    object.with("type", "redacted_thinking").with("data", &signature.tagged(HOME));
}

fn write_call(call: &Call<'_>, input: &str, object: ObjectWriter<'_>) {
    // The client sends the id back, maybe to Anthropic.
    object
        .with("type", "tool_use")
        .with("id", &id(&call.id.decode()))
        .with("name", &call.name)
        .with_raw("input", input);
}
