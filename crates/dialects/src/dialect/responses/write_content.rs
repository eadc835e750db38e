//! Messages as the items of a provider's `input`.

use super::HOME;
use crate::{
    conversation::{
        Call, Content, Media, MediaKind, Message, Part, Role, Signature, Source, Text, ToolResult, Unsupported, safe_id,
    },
    dialect::Destination,
    stream::json::{ArrayWriter, ObjectWriter, write_string},
};

/// Longest id of a call.
const MAX_CALL_ID: usize = 64;

/// Appends the items of `messages`.
pub(super) fn write<'r, 'a: 'r>(
    messages: impl Iterator<Item = &'r Message<'a>>,
    to: &Destination<'_>,
    dropped: &mut Unsupported,
    items: &mut ArrayWriter<'_>,
) {
    let mut writer = Items { to, dropped, list: items };
    for message in messages {
        // Consecutive parts that share one message item; every other part is an item of its own.
        let together =
            |a: &Part<'_>, b: &Part<'_>| message.role != Role::Assistant && is_said(&a.content) && is_said(&b.content);
        for run in message.parts.chunk_by(together) {
            writer.run(message.role, run);
        }
    }
}

/// Whether it is part of a message item.
fn is_said(content: &Content<'_>) -> bool {
    matches!(content, Content::Text { .. } | Content::Refusal(_) | Content::Media(_))
}

/// Whether it has a signature that only its origin can read.
fn is_signed(content: &Content<'_>) -> bool {
    matches!(content, Content::Text { signature: Some(_), .. } | Content::Call(Call { signature: Some(_), .. }))
}

struct Items<'w, 'o> {
    to: &'w Destination<'w>,
    dropped: &'w mut Unsupported,
    list: &'w mut ArrayWriter<'o>,
}

impl Items<'_, '_> {
    fn run(&mut self, role: Role, run: &[Part<'_>]) {
        self.dropped.add_if(run.iter().any(|part| part.cache.is_some()), "cache_control");
        // Gemini's signatures of its texts and calls.
        self.dropped.add_if(run.iter().any(|part| is_signed(&part.content)), "thinking");
        match run {
            [Part { content: Content::Call(call), .. }] => self.call(call),
            [Part { content: Content::Result(result), .. }] => self.result(result),
            [Part { content: Content::Redacted(signature), .. }] => self.thoughts(&Text::from(""), Some(signature)),
            [Part { content: Content::Thinking { text, signature }, .. }] => self.thoughts(text, signature.as_ref()),
            _ => self.message(role, run),
        }
    }

    fn message(&mut self, role: Role, parts: &[Part<'_>]) {
        let word = match role {
            Role::System if self.to.quirks.responses.developer_role => "developer",
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        if let [Part { content: Content::Text { text, .. }, .. }] = parts {
            if !text.is_empty() {
                self.list.object().with("role", word).with("content", text);
            }
            return;
        }
        if let (Role::Assistant, [Part { content: Content::Refusal(text), .. }]) = (role, parts) {
            return self.refusal(text);
        }
        let kept: Vec<_> = parts.iter().filter(|part| self.takes(role, &part.content)).collect();
        if kept.is_empty() {
            return;
        }
        let mut item = self.list.object().with("role", word);
        let mut content = item.array("content");
        for part in kept {
            write_part(&part.content, &mut content);
        }
    }

    /// Writes a refusal, which has no short form. Its item's id is left out, since OpenAI looks up every id.
    fn refusal(&mut self, text: &Text<'_>) {
        self.list
            .object()
            .with("type", "message")
            .with("role", "assistant")
            .with("status", "completed")
            .array("content")
            .object()
            .with("type", "refusal")
            .with("refusal", text);
    }

    fn call(&mut self, call: &Call<'_>) {
        self.list
            .object()
            .with("type", "function_call")
            .with("call_id", &*call_id(&call.id.decode()))
            .with("name", &call.name)
            .with("arguments", &*call.arguments);
    }

    fn result(&mut self, result: &ToolResult<'_>) {
        self.dropped.add_if(result.failed, "is_error");
        self.dropped.add_if(result.parts.iter().any(|part| part.cache.is_some()), "cache_control");
        let kept: Vec<_> = result.parts.iter().filter(|part| self.takes(Role::User, &part.content)).collect();
        let mut item = self.list.object().with("type", "function_call_output");
        item.field("call_id", &*call_id(&result.id.decode()));
        match kept.as_slice() {
            [] => item.field("output", ""),
            [Part { content: Content::Text { text, .. }, .. }] => item.field("output", text),
            parts => {
                let mut output = item.array("output");
                for part in parts {
                    write_part(&part.content, &mut output);
                }
            }
        }
    }

    /// Writes reasoning, only for the model's own vendor, which can't use it without the signature. Reasoning of other
    /// vendors is of no use here, so leaving it out loses nothing.
    fn thoughts(&mut self, text: &Text<'_>, signature: Option<&Signature<'_>>) {
        let Some(own) = signature.filter(|signature| signature.maker == HOME) else {
            self.dropped.add_if(signature.is_some(), "thinking");
            return;
        };
        // Without an id: OpenAI checks it against the one in the encrypted content.
        let mut item = self.list.object().with("type", "reasoning");
        let mut summary = item.array("summary");
        if !text.is_empty() {
            summary.object().with("type", "summary_text").with("text", text);
        }
        summary.end();
        item.field("encrypted_content", &own.value);
    }

    /// Whether the part can be written; reports it if it can't.
    fn takes(&mut self, role: Role, content: &Content<'_>) -> bool {
        match content {
            Content::Text { text, .. } | Content::Refusal(text) => !text.is_empty(),
            Content::Media(media) => {
                let missing = if role == Role::Assistant { Some(media.kind.as_str()) } else { self.refuses(media) };
                if let Some(name) = missing {
                    self.dropped.add(name);
                }
                let detail = media.detail.as_ref().filter(|_| media.kind == MediaKind::Image);
                self.dropped
                    .add_if(missing.is_none() && detail.is_some_and(|word| detail_word(word).is_none()), "detail");
                missing.is_none()
            }
            _ => false,
        }
    }

    /// The name in reports of media that the target does not accept.
    fn refuses(&self, media: &Media<'_>) -> Option<&'static str> {
        let name = media.kind.as_str();
        if matches!(media.kind, MediaKind::Audio | MediaKind::Video) {
            return Some(name);
        }
        match &media.source {
            Source::Data { .. } | Source::Text(_) => None,
            Source::Url { url, .. } => {
                let url = url.decode();
                let web = url.starts_with("https://") || url.starts_with("http://");
                (!web || !self.to.quirks.fetches.any()).then_some(name)
            }
            // Ids of other vendors have another form, and no meaning here.
            Source::File(id) => {
                let id = id.decode();
                (!id.starts_with("file-") && !id.starts_with("assistant-")).then_some("file_id")
            }
        }
    }
}

/// OpenAI's name for the resolution at which to look at an image.
fn detail_word(word: &Text<'_>) -> Option<&'static str> {
    ["auto", "low", "high", "original"].into_iter().find(|known| word.is(known))
}

fn call_id(id: &str) -> std::borrow::Cow<'_, str> {
    safe_id(id, MAX_CALL_ID, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn write_part(content: &Content<'_>, parts: &mut ArrayWriter<'_>) {
    let mut part = parts.object();
    match content {
        Content::Media(Media { source: Source::Text(text), .. })
        | Content::Text { text, .. }
        | Content::Refusal(text) => {
            part.field("type", "input_text");
            part.field("text", text);
        }
        Content::Media(media) if media.kind == MediaKind::Image => image(media, &mut part),
        Content::Media(media) => document(media, &mut part),
        _ => {}
    }
}

fn image(media: &Media<'_>, part: &mut ObjectWriter<'_>) {
    part.field("type", "input_image");
    match &media.source {
        Source::Data { mime, data } => data_url(part.key("image_url"), mime, data),
        Source::Url { url, .. } => part.field("image_url", url),
        Source::File(id) => part.field("file_id", id),
        Source::Text(_) => {}
    }
    part.field("detail", media.detail.as_ref().and_then(detail_word).unwrap_or("auto"));
}

fn document(media: &Media<'_>, part: &mut ObjectWriter<'_>) {
    part.field("type", "input_file");
    match &media.source {
        Source::Data { mime, data } => {
            match &media.name {
                Some(name) => part.field("filename", name),
                // Without a name OpenAI refuses the data.
                None => part.field("filename", file_name(mime)),
            }
            data_url(part.key("file_data"), mime, data);
        }
        Source::Url { url, .. } => part.field("file_url", url),
        Source::File(id) => part.field("file_id", id),
        Source::Text(_) => {}
    }
}

fn file_name(mime: &str) -> &'static str {
    match mime {
        "application/pdf" => "document.pdf",
        "text/markdown" => "document.md",
        "text/csv" => "document.csv",
        "text/html" => "document.html",
        _ => "document.txt",
    }
}

/// Appends `data` as a data URL, without decoding it.
fn data_url(out: &mut Vec<u8>, mime: &str, data: &Text<'_>) {
    // Parameters would end the head of the data URL too early.
    let kind = mime.split([';', ',']).next().unwrap_or_default();
    write_string(out, &format!("data:{kind};base64,"));
    out.pop();
    let quote = out.len();
    data.write(out);
    out.remove(quote);
}
