//! Writes the messages of a request.

use std::{borrow::Cow, collections::HashMap};

use super::content::{is_upload, is_youtube};
use crate::{
    conversation::{
        Call, Content, Media, MediaKind, Part, Role, Signature, SignatureOrigin, Source, Text, ToolResult, Turn,
        Unsupported, object_text, safe_id,
    },
    dialect::{Destination, Thinking},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// The placeholder that Gemini 3 accepts for a lost signature, base64 of `skip_thought_signature_validator`: for calls
/// of another model, which never had one.
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>
pub(super) const NO_SIGNATURE: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
/// The text of a turn without supported content, since Gemini refuses a turn without parts.
const EMPTY: &str = "(empty)";
/// Longest id of a call that is sent.
const MAX_ID: usize = 64;

/// Writes `systemInstruction`.
pub(super) fn write_system(system: &[&Part<'_>], top: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
    if system.is_empty() {
        return;
    }
    let mut instruction = top.object("systemInstruction");
    let mut parts = instruction.array("parts");
    for part in system {
        dropped.add_if(part.cache.is_some(), "cache_control");
        match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) => write_text(text, &mut parts),
            Content::Media(media) => dropped.add(media.kind.as_str()),
            _ => {}
        }
    }
    if parts.is_empty() {
        write_text(&Text::from(EMPTY), &mut parts);
    }
}

/// Writes `contents`.
pub(super) fn write(
    turns: &[Turn<'_, '_>],
    to: &Destination<'_>,
    top: &mut ObjectWriter<'_>,
    dropped: &mut Unsupported,
) {
    let mut contents = top.array("contents");
    // Results must name their tool, which is in the turn before.
    let mut names = HashMap::new();
    for turn in turns {
        let mut content = contents.object().with("role", if turn.role == Role::Assistant { "model" } else { "user" });
        let mut parts = content.array("parts");
        let mut writer = TurnWriter { to, dropped, names: &names, calls: 0 };
        let is_result = |part: &&Cow<'_, Part<'_>>| matches!(part.content, Content::Result(_));
        let (results, others) = turn.parts.split_at(turn.parts.iter().take_while(is_result).count());
        for part in results {
            writer.part(part, &mut parts);
        }
        writer.media_of_results(results, &mut parts);
        for part in others {
            writer.part(part, &mut parts);
        }
        if parts.is_empty() {
            write_text(&Text::from(EMPTY), &mut parts);
        }
        parts.end();
        content.end();
        names = turn.parts.iter().filter_map(|part| call_name(part)).collect();
    }
}

fn call_name<'p>(part: &'p Part<'_>) -> Option<(Cow<'p, str>, Text<'p>)> {
    let Content::Call(call) = &part.content else { return None };
    Some((call.id.decode(), Text::reborrow(&call.name)))
}

fn write_text(text: &Text<'_>, parts: &mut ArrayWriter<'_>) {
    parts.object().with("text", &text);
}

/// The signature, if Google's models can read it.
fn own<'s, 'a>(signature: Option<&'s Signature<'a>>) -> Option<&'s Text<'a>> {
    signature.filter(|signature| signature.maker == SignatureOrigin::Google).map(|signature| &signature.value)
}

struct TurnWriter<'w, 't> {
    to: &'w Destination<'w>,
    dropped: &'w mut Unsupported,
    names: &'w HashMap<Cow<'t, str>, Text<'t>>,
    calls: u32,
}

impl TurnWriter<'_, '_> {
    fn part(&mut self, part: &Part<'_>, parts: &mut ArrayWriter<'_>) {
        self.dropped.add_if(part.cache.is_some(), "cache_control");
        match &part.content {
            Content::Text { text, signature, .. } => {
                parts.object().with("text", &text).with_maybe("thoughtSignature", own(signature.as_ref()));
            }
            Content::Refusal(text) => write_text(text, parts),
            Content::Media(media) => self.media(media, parts),
            Content::Thinking { text, signature } => {
                // Google requires its signatures, not the reasoning: unsigned reasoning can be left out.
                if let Some(signature) = own(signature.as_ref()) {
                    parts.object().with("text", &text).with("thought", &true).with("thoughtSignature", signature);
                } else {
                    self.dropped.add_if(signature.is_some(), "thinking");
                }
            }
            Content::Redacted(_) => self.dropped.add("thinking"),
            Content::Call(call) => self.call(call, parts),
            Content::Result(result) => self.result(result, parts),
            // Only replies have them.
            Content::Hosted(_) => {}
        }
    }

    fn call(&mut self, call: &Call<'_>, parts: &mut ArrayWriter<'_>) {
        let first = self.calls == 0;
        self.calls += 1;
        let mut part = parts.object();
        let mut written = part.object("functionCall");
        self.id(&call.id, &mut written);
        written.field("name", &call.name);
        written.raw("args", &object_text(&call.arguments).unwrap_or(Cow::Borrowed("{}")));
        written.end();
        match own(call.signature.as_ref()) {
            Some(signature) => part.field("thoughtSignature", signature),
            // The first call of a turn must have a signature.
            None if first && self.to.facts.thinking == Thinking::Level => part.field("thoughtSignature", NO_SIGNATURE),
            None => {}
        }
    }

    /// Writes the id of a call, if the server supports ids.
    fn id(&self, id: &Text<'_>, into: &mut ObjectWriter<'_>) {
        if self.to.quirks.gemini.call_ids {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            into.field("id", &*safe_id(&id.decode(), MAX_ID, fits));
        }
    }

    fn result(&mut self, result: &ToolResult<'_>, parts: &mut ArrayWriter<'_>) {
        let mut part = parts.object();
        let mut written = part.object("functionResponse");
        self.id(&result.id, &mut written);
        match self.tool_of(result) {
            Some(name) => written.field("name", &name),
            None => written.field("name", "unknown"),
        }
        write_response(result, written.key("response"));
        for part in &result.parts {
            self.dropped.add_if(part.cache.is_some(), "cache_control");
        }
        if self.has_media_in_results() && media_of(result).next().is_some() {
            let mut inner = written.array("parts");
            media_of(result).for_each(|media| self.media(media, &mut inner));
        }
        written.end();
        part.end();
    }

    /// The tool that gave a result.
    fn tool_of<'r>(&'r self, result: &'r ToolResult<'_>) -> Option<Text<'r>> {
        self.names.get(&*result.id.decode()).or(result.name.as_deref()).map(Text::reborrow)
    }

    /// Whether results may contain media: not before Gemini 3.
    fn has_media_in_results(&self) -> bool {
        self.to.facts.thinking == Thinking::Level
    }

    /// Writes the media of `results` behind all of them where they can't be inside: a turn that answers calls begins
    /// with the results. With several results a text names the tool of each.
    fn media_of_results(&mut self, results: &[Cow<'_, Part<'_>>], parts: &mut ArrayWriter<'_>) {
        if self.has_media_in_results() {
            return;
        }
        for part in results {
            let Content::Result(result) = &part.content else { continue };
            if results.len() > 1 && media_of(result).next().is_some() {
                let tool = self.tool_of(result).unwrap_or_else(|| "a tool".into());
                write_text(&Text::from(format!("From the result of {}:", tool.decode())), parts);
            }
            media_of(result).for_each(|media| self.media(media, parts));
        }
    }

    fn media(&mut self, media: &Media<'_>, parts: &mut ArrayWriter<'_>) {
        self.dropped.add_if(media.detail.as_ref().is_some_and(|detail| !detail.is("auto")), "detail");
        let has_name = media.name.as_ref().is_some_and(|name| !name.is_blank());
        let named = self.to.quirks.gemini.media_names && matches!(media.source, Source::Data { .. });
        self.dropped.add_if(has_name && !named, "filename");
        match &media.source {
            Source::Text(text) => write_text(text, parts),
            Source::Data { mime, data } => {
                let mut part = parts.object();
                let mut blob = part.object("inlineData").with("mimeType", mime);
                blob.maybe("displayName", media.name.as_ref().filter(|_| named));
                data.write(blob.key("data"));
                blob.end();
                part.maybe("thoughtSignature", own(media.signature.as_ref()));
            }
            Source::Url { url, mime } if self.fetches(&url.decode()) => {
                let mime = mime.as_deref().unwrap_or_else(|| guess_mime(media.kind, &url.decode()));
                write_file(url, Some(mime), parts);
            }
            Source::Url { .. } => self.dropped.add(media.kind.as_str()),
            Source::File(id) if self.to.quirks.stored_files && is_upload(&id.decode()) => {
                // Google has stored the type with the upload.
                write_file(id, None, parts);
            }
            Source::File(_) => self.dropped.add("file_id"),
        }
    }

    /// Whether Google fetches this URL itself.
    fn fetches(&self, url: &str) -> bool {
        let web = if self.to.quirks.gemini.https_uris { url.starts_with("https://") } else { is_youtube(url) };
        web || url.starts_with("gs://")
    }
}

/// The media in a result, except documents that are text.
fn media_of<'r, 'a>(result: &'r ToolResult<'a>) -> impl Iterator<Item = &'r Media<'a>> {
    result.parts.iter().filter_map(|part| match &part.content {
        Content::Media(media) if !matches!(media.source, Source::Text(_)) => Some(media),
        _ => None,
    })
}

fn write_file(uri: &Text<'_>, mime: Option<&str>, parts: &mut ArrayWriter<'_>) {
    parts.object().object("fileData").with_maybe("mimeType", mime).with("fileUri", uri);
}

/// Writes the result of a tool as an object: unchanged if it is one.
fn write_response(result: &ToolResult<'_>, out: &mut Vec<u8>) {
    let mut texts = result.parts.iter().filter_map(|part| match &part.content {
        Content::Text { text, .. }
        | Content::Refusal(text)
        | Content::Media(Media { source: Source::Text(text), .. }) => Some(text),
        _ => None,
    });
    let text = match (texts.next(), texts.next()) {
        (None, _) => Text::from(""),
        (Some(only), None) => only.reborrow(),
        (Some(first), Some(second)) => {
            let mut joined = format!("{}\n{}", first.decode(), second.decode());
            for more in texts {
                joined.push('\n');
                joined.push_str(&more.decode());
            }
            Text::from(joined)
        }
    };
    if !result.failed
        && let Some(object) = object_text(&text.decode())
    {
        out.extend_from_slice(object.as_bytes());
        return;
    }
    let mut response = ObjectWriter::begin(out);
    text.write(response.key(if result.failed { "error" } else { "output" }));
}

/// A media type, which Google requires: from the URL's ending, or else the most common one.
fn guess_mime(kind: MediaKind, url: &str) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match (ending.as_str(), kind) {
        ("png", _) => "image/png",
        ("webp", _) => "image/webp",
        ("gif", _) => "image/gif",
        ("jpg" | "jpeg", _) | (_, MediaKind::Image) => "image/jpeg",
        ("txt", _) => "text/plain",
        ("html" | "htm", _) => "text/html",
        ("wav", _) => "audio/wav",
        ("mp3", _) | (_, MediaKind::Audio) => "audio/mpeg",
        ("webm", _) => "video/webm",
        ("mp4", _) | (_, MediaKind::Video) => "video/mp4",
        (_, MediaKind::Document) => "application/pdf",
    }
}
