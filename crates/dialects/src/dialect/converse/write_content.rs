//! Writing the turns and instructions of a request.

use std::{borrow::Cow, collections::HashSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{content, formats, models::ConverseFacts};
use crate::{
    conversation::{
        Cache, Call, Content, Media, MediaKind, Part, Role, Signature, SignatureOrigin, Source, Text, ToolResult, Turn,
        Unsupported, safe_id,
    },
    dialect::Destination,
    stream::json::{ArrayWriter, ObjectWriter},
};

/// The content of a block that Converse requires where nothing else is left.
const EMPTY: &str = "(empty)";
/// The text that Converse requires beside a document, for clients that sent none.
const BESIDE_DOCUMENT: &str = "See the document.";
/// Longest id of a call.
const MAX_ID: usize = 64;
/// Longest name of a document that is kept, in characters; Converse accepts 200.
const MAX_DOCUMENT_NAME: usize = 180;

/// Writes content blocks for one model.
pub(super) struct Blocks<'w> {
    facts: &'static ConverseFacts,
    dropped: &'w mut Unsupported,
    /// Names of documents, which must differ.
    documents: HashSet<String>,
}

/// Appends a mark for prompt caching. A duration of five minutes is the default and is not written, since older models
/// do not accept it.
pub(super) fn write_cache(list: &mut ArrayWriter<'_>, cache: &Cache<'_>) {
    let hour = cache.ttl.as_ref().is_some_and(|ttl| ttl.is("1h"));
    let ttl: &[u8] = if hour { br#","ttl":"1h""# } else { b"" };
    let out = list.element();
    out.extend_from_slice(br#"{"cachePoint":{"type":"default""#);
    out.extend_from_slice(ttl);
    out.extend_from_slice(b"}}");
}

impl<'w> Blocks<'w> {
    pub(super) fn new(to: &Destination<'_>, dropped: &'w mut Unsupported) -> Self {
        Self { facts: to.facts.converse, dropped, documents: HashSet::new() }
    }

    /// Writes `messages`.
    pub(super) fn messages(&mut self, turns: &[Turn<'_, '_>], body: &mut ObjectWriter<'_>) {
        let mut messages = body.array("messages");
        for turn in turns {
            let mut message = messages.object();
            message.field("role", if turn.role == Role::Assistant { "assistant" } else { "user" });
            let mut list = message.array("content");
            self.turn(turn, &mut list);
        }
    }

    /// Writes `system` unless it would be empty; `extra` is an instruction from the gateway.
    pub(super) fn system(&mut self, parts: &[&Part<'_>], extra: Option<&str>, body: &mut ObjectWriter<'_>) {
        if parts.is_empty() && extra.is_none() {
            return;
        }
        let mut list = body.array("system");
        for part in parts {
            match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => {
                    write_text(&mut list, text);
                    self.cache(part.cache.as_ref(), &mut list);
                }
                Content::Media(media) => self.dropped.add(media.kind.as_str()),
                _ => self.dropped.add("system"),
            }
        }
        if let Some(extra) = extra {
            write_text(&mut list, &extra.into());
        }
    }

    fn turn(&mut self, turn: &Turn<'_, '_>, list: &mut ArrayWriter<'_>) {
        let (mut has_text, mut has_document) = (false, false);
        for part in &turn.parts {
            // Gemini's signatures of its texts and calls.
            let signed = matches!(
                &part.content,
                Content::Text { signature: Some(_), .. } | Content::Call(Call { signature: Some(_), .. })
            );
            self.dropped.add_if(signed, "thinking");
            let written = match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => {
                    let visible = !text.is_blank();
                    if visible {
                        write_text(list, text);
                    }
                    has_text |= visible;
                    visible
                }
                Content::Media(media) if turn.role == Role::User => {
                    let written = self.media(media, list);
                    has_document |= written && media.kind == MediaKind::Document;
                    written
                }
                // Images are input of models: a model's own turn can't contain them.
                Content::Media(media) => {
                    self.dropped.add(media.kind.as_str());
                    false
                }
                Content::Thinking { text, signature } => self.thinking(text, signature.as_ref(), list),
                Content::Redacted(signature) => self.redacted(signature, list),
                Content::Call(call) => {
                    let id = call.id.decode();
                    let mut block = list.object();
                    content::write_call(&mut block, &fitting(&id, &call.id), &call.name, &call.arguments);
                    block.end();
                    true
                }
                // Only replies have them.
                Content::Hosted(_) => false,
                Content::Result(result) => {
                    self.result(result, list);
                    self.cache(part.cache.as_ref().or_else(|| inner_cache(result)), list);
                    continue;
                }
            };
            if written {
                self.cache(part.cache.as_ref(), list);
            }
        }
        if has_document && !has_text {
            write_text(list, &BESIDE_DOCUMENT.into());
        }
        if list.is_empty() {
            write_text(list, &EMPTY.into());
        }
    }

    fn cache(&mut self, cache: Option<&Cache<'_>>, list: &mut ArrayWriter<'_>) {
        match cache {
            None => {}
            Some(cache) if self.facts.cached_prompts => write_cache(list, cache),
            Some(_) => self.dropped.add("cache_control"),
        }
    }

    /// Claude requires its reasoning as it was signed. No other model accepts any; leaving out unsigned reasoning loses
    /// nothing.
    fn thinking(&mut self, text: &Text<'_>, signature: Option<&Signature<'_>>, list: &mut ArrayWriter<'_>) -> bool {
        let Some(own) = signature.filter(|s| self.reads(s)) else {
            self.dropped.add_if(self.facts.reasoning || signature.is_some(), "thinking");
            return false;
        };
        let mut block = list.object();
        content::write_thinking(&mut block, text, Some(&own.value));
        block.end();
        // A cache mark can't follow reasoning.
        false
    }

    fn redacted(&mut self, signature: &Signature<'_>, list: &mut ArrayWriter<'_>) -> bool {
        if self.reads(signature) {
            let mut block = list.object();
            content::write_redacted(&mut block, &signature.value);
        } else {
            self.dropped.add("thinking");
        }
        false
    }

    fn reads(&self, signature: &Signature<'_>) -> bool {
        signature.maker == SignatureOrigin::Anthropic && self.facts.reasoning
    }

    fn result(&mut self, result: &ToolResult<'_>, list: &mut ArrayWriter<'_>) {
        let mut block = list.object();
        let mut object = block.object("toolResult");
        let id = result.id.decode();
        fitting(&id, &result.id).write(object.key("toolUseId"));
        let mut inner = object.array("content");
        for part in &result.parts {
            match &part.content {
                Content::Text { text, .. } if !text.is_blank() => write_text(&mut inner, text),
                Content::Media(media) if media.kind != MediaKind::Audio => {
                    self.media(media, &mut inner);
                }
                Content::Media(media) => self.dropped.add(media.kind.as_str()),
                _ => {}
            }
        }
        if inner.is_empty() {
            write_text(&mut inner, &EMPTY.into());
        }
        inner.end();
        if result.failed {
            if self.facts.failed_results { object.field("status", "error") } else { self.dropped.add("is_error") }
        }
    }

    /// Writes media; returns whether they could be written. Media that could not are reported.
    fn media(&mut self, media: &Media<'_>, list: &mut ArrayWriter<'_>) -> bool {
        let kind = media.kind;
        let member = kind.as_str();
        let refused = match kind {
            MediaKind::Audio => !self.facts.audio,
            MediaKind::Video => !self.facts.video,
            MediaKind::Image | MediaKind::Document => false,
        };
        if refused {
            self.dropped.add(member);
            return false;
        }
        self.dropped.add_if(media.detail.as_ref().is_some_and(|detail| !detail.is("auto")), "detail");
        let (format, place, value) = match &media.source {
            Source::Data { mime, data } => (formats::format(kind, mime), "bytes", data.reborrow()),
            Source::Url { url, mime } if url.decode().starts_with("s3://") => {
                let format = mime.as_deref().and_then(|mime| formats::format(kind, mime));
                let format = format.or_else(|| formats::format_of_url(kind, &url.decode()));
                (format, "s3Location", url.reborrow())
            }
            Source::Text(text) if kind == MediaKind::Document && !text.is_blank() => {
                (Some("txt"), "bytes", STANDARD.encode(text.decode().as_bytes()).into())
            }
            Source::File(_) => {
                self.dropped.add("file_id");
                return false;
            }
            Source::Url { .. } | Source::Text(_) => (None, "", "".into()),
        };
        let Some(format) = format else {
            self.dropped.add(member);
            return false;
        };
        let mut block = list.object();
        let mut file = block.object(member);
        file.field("format", format);
        if kind == MediaKind::Document {
            file.field("name", &self.document_name(media.name.as_ref()));
        }
        let mut source = file.object("source");
        if place == "bytes" {
            value.write(source.key(place));
        } else {
            let mut location = source.object(place);
            value.write(location.key("uri"));
        }
        source.end();
        file.end();
        block.end();
        true
    }

    /// A unique name of letters, digits, single spaces, hyphens and brackets.
    fn document_name(&mut self, name: Option<&Text<'_>>) -> String {
        let written = name.map(Text::decode).unwrap_or_default();
        let keep = |c: char| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' };
        let kept: String = written.chars().take(MAX_DOCUMENT_NAME).map(keep).collect();
        let words: Vec<&str> = kept.split_ascii_whitespace().collect();
        let name = if words.is_empty() { "document".to_owned() } else { words.join(" ") };
        // Each name that is taken leads to the next number, so the loop ends; it starts with the count of documents, so
        // it ends at once.
        let mut unique = name.clone();
        let mut count = self.documents.len();
        while !self.documents.insert(unique.clone()) {
            count += 1;
            unique = format!("{name} {count}");
        }
        unique
    }
}

/// A mark inside a result, where Converse has no place for it: it moves behind the result.
fn inner_cache<'r, 'a>(result: &'r ToolResult<'a>) -> Option<&'r Cache<'a>> {
    result.parts.iter().rev().find_map(|part| part.cache.as_ref())
}

/// The id as it is, or one that Converse accepts.
pub(super) fn fitting<'i>(decoded: &'i str, id: &'i Text<'_>) -> Text<'i> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    match safe_id(decoded, MAX_ID, fits) {
        Cow::Borrowed(_) => id.reborrow(),
        Cow::Owned(made) => made.into(),
    }
}

fn write_text(list: &mut ArrayWriter<'_>, text: &Text<'_>) {
    list.object().with("text", &text);
}
