//! Writes the content of messages: instructions and turns.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{HOME, wire::arguments};
use crate::{
    conversation::{
        Cache, Call, Content, Invalid, Media, MediaKind, Part, Role, Source, Text, ToolResult, Turn, Unsupported,
        is_text, safe_id,
    },
    dialect::Quirks,
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Most cache marks that a request may have.
const MAX_MARKS: u8 = 4;
/// Longest id of a call; the API states only the alphabet.
const MAX_ID: usize = 64;
/// The text of a user's turn that has no supported content.
const EMPTY: &str = "(empty)";
/// Image types that Claude accepts.
pub(super) const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Writes parts, and counts those whose number is limited.
pub(super) struct Encoder<'d> {
    quirks: &'static Quirks,
    marks: u8,
    /// The unsupported fields.
    pub dropped: &'d mut Unsupported,
}

/// The location of media in this dialect.
enum Place<'m> {
    Image { mime: &'m str, data: &'m Text<'m> },
    Pdf(&'m Text<'m>),
    PlainText(Text<'m>),
    Url(&'m Text<'m>),
    File(&'m Text<'m>),
}

impl<'d> Encoder<'d> {
    pub fn new(quirks: &'static Quirks, dropped: &'d mut Unsupported) -> Self {
        Self { quirks, marks: 0, dropped }
    }

    /// Writes `cache_control`, as long as the limit allows it.
    pub fn mark(&mut self, cache: Option<&Cache<'_>>, object: &mut ObjectWriter<'_>) {
        let Some(cache) = cache else { return };
        if self.marks == MAX_MARKS {
            return self.dropped.add("cache_control");
        }
        self.marks += 1;
        object
            .object("cache_control")
            .with("type", "ephemeral")
            .with_maybe("ttl", cache.ttl.as_ref().filter(|ttl| ttl.is("5m") || ttl.is("1h")));
    }

    /// Writes `system`: the client's instructions, and after them the gateway's.
    pub fn system(&mut self, parts: &[&Part<'_>], ours: Option<&str>, top: &mut ObjectWriter<'_>) {
        if let ([Part { content: Content::Text { text, .. }, cache: None }], None) = (parts, ours) {
            return top.field("system", text);
        }
        if parts.is_empty() && ours.is_none() {
            return;
        }
        let mut list = top.array("system");
        for part in parts {
            match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => self.text(text, part.cache.as_ref(), &mut list),
                Content::Media(media) => self.dropped.add(media.kind.as_str()),
                _ => {}
            }
        }
        if let Some(ours) = ours {
            self.text(&Text::from(ours), None, &mut list);
        }
    }

    /// Writes `messages`.
    ///
    /// # Errors
    /// When the last turn has no supported content, or arguments of a call are not an object.
    pub fn messages(&mut self, turns: &[Turn<'_, '_>], top: &mut ObjectWriter<'_>) -> Result<(), Invalid> {
        let mut list = top.array("messages");
        let final_turn = turns.len().saturating_sub(1);
        for (index, turn) in turns.iter().enumerate() {
            let is_final = index == final_turn;
            list.object_if(|message| self.message(turn, is_final, message))?;
        }
        list.end();
        Ok(())
    }

    /// Writes one message. Returns `false` if it has no supported content and is not needed.
    fn message(
        &mut self,
        turn: &Turn<'_, '_>,
        is_final: bool,
        message: &mut ObjectWriter<'_>,
    ) -> Result<bool, Invalid> {
        let assistant = turn.role == Role::Assistant;
        message.field("role", if assistant { "assistant" } else { "user" });
        let mut blocks = message.array("content");
        let end = turn.parts.len().saturating_sub(1);
        for (at, part) in turn.parts.iter().enumerate() {
            // Gemini's signatures of its texts and calls.
            let signed = matches!(
                part.content,
                Content::Text { signature: Some(_), .. } | Content::Call(Call { signature: Some(_), .. })
            );
            self.dropped.add_if(signed, "thinking");
            match &part.content {
                // The beginning of an answer that the model is to continue must not end in white space.
                Content::Text { text, .. } if is_final && at == end && assistant => {
                    self.text(&Text::from(text.decode().trim_end()), part.cache.as_ref(), &mut blocks);
                }
                _ => self.block(part, turn.role, &mut blocks)?,
            }
        }
        if blocks.is_empty() {
            if is_final {
                return Err(Invalid::new("messages", "the model can read nothing of the last message"));
            }
            if assistant {
                return Ok(false);
            }
            self.text(&Text::from(EMPTY), None, &mut blocks);
        }
        blocks.end();
        Ok(true)
    }

    fn block(&mut self, part: &Part<'_>, role: Role, list: &mut ArrayWriter<'_>) -> Result<(), Invalid> {
        let cache = part.cache.as_ref();
        match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) => self.text(text, cache, list),
            // A model's turn can't contain media.
            Content::Media(media) if role == Role::Assistant => self.dropped.add(media.kind.as_str()),
            Content::Media(media) => self.media(media, cache, list),
            Content::Thinking { text, signature: Some(signature) } if signature.maker == HOME => {
                list.object().with("type", "thinking").with("thinking", text).with("signature", &signature.value);
            }
            Content::Redacted(signature) if signature.maker == HOME => {
                list.object().with("type", "redacted_thinking").with("data", &signature.value);
            }
            Content::Thinking { .. } | Content::Redacted(_) => self.dropped.add("thinking"),
            Content::Call(call) => self.call(call, cache, list)?,
            Content::Result(result) => self.result(result, cache, list),
            // Only replies have them.
            Content::Hosted(_) => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &Text<'_>, cache: Option<&Cache<'_>>, list: &mut ArrayWriter<'_>) {
        // Blank texts are refused everywhere.
        if text.is_blank() {
            return;
        }
        let mut object = list.object().with("type", "text").with("text", text);
        self.mark(cache, &mut object);
    }

    fn call(&mut self, call: &Call<'_>, cache: Option<&Cache<'_>>, list: &mut ArrayWriter<'_>) -> Result<(), Invalid> {
        let Some(arguments) = arguments(&call.arguments) else {
            let message = format!("the arguments of the call '{}' are not a JSON object", call.id.decode());
            return Err(Invalid::new("messages", message));
        };
        let mut object = list.object().with("type", "tool_use").with("id", &id(&call.id.decode()));
        object.field("name", &call.name);
        object.raw("input", &arguments);
        self.mark(cache, &mut object);
        object.end();
        Ok(())
    }

    fn result(&mut self, result: &ToolResult<'_>, cache: Option<&Cache<'_>>, list: &mut ArrayWriter<'_>) {
        let mut object = list.object().with("type", "tool_result").with("tool_use_id", &id(&result.id.decode()));
        if let [Part { content: Content::Text { text, .. }, cache: None }] = result.parts.as_slice() {
            object.maybe("content", Some(text).filter(|text| !text.is_blank()));
        } else {
            let mut content = Vec::new();
            let mut blocks = ArrayWriter::begin(&mut content);
            for part in &result.parts {
                match &part.content {
                    Content::Text { text, .. } => self.text(text, part.cache.as_ref(), &mut blocks),
                    Content::Media(media) => self.media(media, part.cache.as_ref(), &mut blocks),
                    _ => {}
                }
            }
            let nothing = blocks.is_empty();
            blocks.end();
            if !nothing {
                object.key("content").append(&mut content);
            }
        }
        if result.failed {
            object.field("is_error", &true);
        }
        self.mark(cache, &mut object);
    }

    fn media(&mut self, media: &Media<'_>, cache: Option<&Cache<'_>>, list: &mut ArrayWriter<'_>) {
        self.dropped.add_if(media.detail.as_ref().is_some_and(|detail| !detail.is("auto")), "detail");
        let Some(place) = self.place(media) else { return };
        let is_image = match place {
            Place::Image { .. } => true,
            Place::Pdf(_) | Place::PlainText(_) => false,
            Place::Url(_) | Place::File(_) => media.kind == MediaKind::Image,
        };
        let mut object = list.object().with("type", if is_image { "image" } else { "document" });
        let mut source = object.object("source");
        match place {
            Place::Image { mime, data } => base64(mime, data, &mut source),
            Place::Pdf(data) => base64("application/pdf", data, &mut source),
            Place::PlainText(text) => {
                source.field("type", "text");
                source.field("media_type", "text/plain");
                source.field("data", &text);
            }
            Place::Url(url) => {
                source.field("type", "url");
                source.field("url", url);
            }
            Place::File(id) => {
                source.field("type", "file");
                source.field("file_id", id);
            }
        }
        source.end();
        if !is_image {
            object.maybe("title", media.name.as_ref().filter(|name| !name.is_blank()));
        }
        self.mark(cache, &mut object);
    }

    /// The location at which this server can read the media; reports media that it can't.
    fn place<'m>(&mut self, media: &'m Media<'m>) -> Option<Place<'m>> {
        let place = match &media.source {
            _ if matches!(media.kind, MediaKind::Audio | MediaKind::Video) => None,
            Source::Data { mime, data } => inline(mime, data),
            Source::Text(text) => (!text.is_blank()).then(|| Place::PlainText(text.reborrow())),
            // For servers that do not fetch, the gateway has already fetched all media that could be fetched.
            Source::Url { url, .. } => {
                (self.quirks.fetches.any() && url.decode().starts_with("https://")).then_some(Place::Url(url))
            }
            // Only an id that Anthropic has assigned can be one of its files.
            Source::File(id) if self.quirks.stored_files && id.decode().starts_with("file_") => Some(Place::File(id)),
            Source::File(_) => {
                self.dropped.add("file_id");
                return None;
            }
        };
        if place.is_none() {
            self.dropped.add(media.kind.as_str());
        }
        place
    }
}

/// Inline media, by their type: the client may call an image a file.
fn inline<'m>(mime: &'m str, data: &'m Text<'m>) -> Option<Place<'m>> {
    let mime = if mime == "image/jpg" { "image/jpeg" } else { mime };
    let kind = mime.split(';').next().unwrap_or_default();
    if IMAGES.contains(&kind) {
        return Some(Place::Image { mime: kind, data });
    }
    if kind == "application/pdf" {
        return Some(Place::Pdf(data));
    }
    if is_text(kind) {
        let text = String::from_utf8(BASE64_STANDARD.decode(data.decode().as_bytes()).ok()?).ok()?;
        return (!text.trim().is_empty()).then(|| Place::PlainText(text.into()));
    }
    None
}

fn base64(mime: &str, data: &Text<'_>, source: &mut ObjectWriter<'_>) {
    source.field("type", "base64");
    source.field("media_type", mime);
    source.field("data", data);
}

/// An id of a call that Anthropic accepts.
pub(super) fn id(id: &str) -> Cow<'_, str> {
    safe_id(id, MAX_ID, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
