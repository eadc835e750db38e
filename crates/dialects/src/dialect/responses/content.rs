//! The items of a client's `input` as messages.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    HOME, REDACTED, SIGNS_CALL,
    wire::{Item, PASSED, STORED, joined, text},
};
use crate::{
    conversation::{
        Cache, Call, Content, Invalid, Media, MediaKind, Message, Part, Role, Signature, Source, Text, ToolResult,
        Unsupported, call_arguments,
    },
    dialect::fields::{parse, parse_noting},
    stream::ValueKind,
};

/// Reads `input`: a text, or items.
pub(super) fn read<'a>(json: &'a str, kind: ValueKind, dropped: &mut Unsupported) -> Result<Vec<Message<'a>>, Invalid> {
    match kind {
        ValueKind::String => {
            let text: Text<'a> = parse(json, || "input".to_owned())?;
            Ok(vec![Message { role: Role::User, parts: vec![Content::text(text).into()] }])
        }
        ValueKind::Array => {
            let (items, mut unknown) = parse_noting::<Vec<Item<'a>>>(json, || "input".to_owned(), PASSED)?;
            let mut history = History { messages: Vec::with_capacity(items.len()), signature: None, dropped };
            for (at, item) in items.into_iter().enumerate() {
                if !history.item(&item, at)? {
                    unknown.discard(at);
                }
            }
            unknown.name(history.dropped);
            Ok(history.messages)
        }
        _ => Err(Invalid::new("input", "must be a string or a list of items")),
    }
}

struct History<'a, 'd> {
    messages: Vec<Message<'a>>,
    /// The signature of the next call.
    signature: Option<Signature<'a>>,
    dropped: &'d mut Unsupported,
}

impl<'a> History<'a, '_> {
    /// Reads an item. Returns `false` if it is left out and reported.
    fn item(&mut self, item: &Item<'a>, at: usize) -> Result<bool, Invalid> {
        let kind = match &item.kind {
            Some(kind) => kind.decode(),
            None if item.role.is_some() => "message".into(),
            None if item.id.is_some() => "item_reference".into(),
            None => return Err(Invalid::new(format!("input[{at}].type"), "is required")),
        };
        match &*kind {
            "message" => self.message(item, at)?,
            "function_call" => self.call(item, at)?,
            "function_call_output" => self.result(item, at)?,
            "reasoning" => self.reasoning(item, at)?,
            "item_reference" => return Err(Invalid::new(format!("input[{at}]"), STORED)),
            other => {
                self.dropped.add(other.to_owned());
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn message(&mut self, item: &Item<'a>, at: usize) -> Result<(), Invalid> {
        let field = |name: &str| format!("input[{at}].{name}");
        let role = text(item.role, || field("role"))?.unwrap_or_else(|| "".into());
        let role = match &*role.decode() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" | "developer" => Role::System,
            _ => return Err(Invalid::new(field("role"), "must be user, assistant, system or developer")),
        };
        let Some(content) = item.content else { return Err(Invalid::new(field("content"), "is required")) };
        let parts = self.content(content, || field("content"))?;
        if role == Role::Assistant {
            for part in parts {
                self.answer(part);
            }
        } else if !parts.is_empty() {
            self.messages.push(Message { role, parts });
        }
        Ok(())
    }

    /// Adds a part to the model's turn: reasoning, texts and calls are separate items here, and one message in other
    /// dialects.
    fn answer(&mut self, part: Part<'a>) {
        match self.messages.last_mut() {
            Some(last) if last.role == Role::Assistant => last.parts.push(part),
            _ => self.messages.push(Message { role: Role::Assistant, parts: vec![part] }),
        }
    }

    fn call(&mut self, item: &Item<'a>, at: usize) -> Result<(), Invalid> {
        let field = |name: &str| format!("input[{at}].{name}");
        let required = |name: &str| Invalid::new(field(name), "is required");
        let id = text(item.call_id, || field("call_id"))?.ok_or_else(|| required("call_id"))?;
        let name = text(item.name, || field("name"))?.ok_or_else(|| required("name"))?;
        let written = text(item.arguments, || field("arguments"))?.unwrap_or_else(|| "".into());
        let arguments = call_arguments(written.into_decoded()).ok_or_else(|| {
            Invalid::new(field("arguments"), "must be the text of a JSON object, at most 128 levels deep")
        })?;
        let signature = self.signature.take();
        self.answer(Content::Call(Call { id, name, arguments, signature }).into());
        Ok(())
    }

    fn result(&mut self, item: &Item<'a>, at: usize) -> Result<(), Invalid> {
        let field = |name: &str| format!("input[{at}].{name}");
        let id = text(item.call_id, || field("call_id"))?;
        let Some(id) = id else { return Err(Invalid::new(field("call_id"), "is required")) };
        let parts = match item.output {
            Some(output) => self.content(output, || field("output"))?,
            None => Vec::new(),
        };
        let part = Part::from(Content::Result(ToolResult {
            id,
            name: text(item.name, || field("name"))?,
            parts,
            failed: false,
        }));
        // Results of parallel calls are one message.
        match self.messages.last_mut() {
            Some(last) if last.parts.last().is_some_and(|last| matches!(last.content, Content::Result(_))) => {
                last.parts.push(part);
            }
            _ => self.messages.push(Message { role: Role::User, parts: vec![part] }),
        }
        Ok(())
    }

    fn reasoning(&mut self, item: &Item<'a>, at: usize) -> Result<(), Invalid> {
        let field = |name: &str| format!("input[{at}].{name}");
        let paragraphs = |raw: Option<&'a RawValue>, name: &str| match raw {
            Some(raw) => parse(raw.get(), || field(name)).map(joined),
            None => Ok(Text::from("")),
        };
        let mut thoughts = paragraphs(item.summary, "summary")?;
        if thoughts.is_empty() {
            thoughts = paragraphs(item.content, "content")?;
        }
        let proof = text(item.encrypted_content, || field("encrypted_content"))?.filter(|text| !text.is_empty());
        let marked = |mark: &str| {
            let decoded = proof.as_ref()?.decode();
            decoded.strip_prefix(mark).map(|rest| Signature::untagged(Text::from(rest.to_owned()), HOME))
        };
        if let Some(signature) = marked(SIGNS_CALL) {
            self.signature = Some(signature);
        } else if let Some(signature) = marked(REDACTED) {
            self.answer(Content::Redacted(signature).into());
        } else if proof.is_some() || !thoughts.is_empty() {
            let signature = proof.map(|text| Signature::untagged(text, HOME));
            self.answer(Content::Thinking { text: thoughts, signature }.into());
        }
        Ok(())
    }

    /// A text or a list of parts.
    fn content(&mut self, raw: &'a RawValue, field: impl Fn() -> String) -> Result<Vec<Part<'a>>, Invalid> {
        let json = raw.get();
        if json.starts_with('"') {
            return Ok(vec![Content::text(parse::<Text<'a>>(json, field)?).into()]);
        }
        let (wire, mut unknown) = parse_noting::<Vec<WirePart<'a>>>(json, &field, PASSED)?;
        let mut parts = Vec::with_capacity(wire.len());
        for (at, part) in wire.into_iter().enumerate() {
            let cache = part.prompt_cache_breakpoint.as_ref().map(|mark| Cache { ttl: mark.ttl.clone() });
            match self.part(part, || format!("{}[{at}]", field()))? {
                Some(content) => parts.push(Part { content, cache }),
                None => unknown.discard(at),
            }
        }
        unknown.name(self.dropped);
        Ok(parts)
    }

    fn part(&mut self, part: WirePart<'a>, field: impl Fn() -> String) -> Result<Option<Content<'a>>, Invalid> {
        let required = |name: &str| Invalid::new(format!("{}.{name}", field()), "is required");
        let kind = part.kind.ok_or_else(|| required("type"))?;
        Ok(Some(match &*kind.decode() {
            "input_text" | "output_text" | "text" | "summary_text" => {
                Content::text(part.text.ok_or_else(|| required("text"))?)
            }
            "refusal" => Content::Refusal(part.refusal.ok_or_else(|| required("refusal"))?),
            "input_image" => {
                let source = match (part.image_url, part.file_id) {
                    (Some(url), _) => located(url, || format!("{}.image_url", field()))?,
                    (None, Some(id)) => Source::File(id),
                    (None, None) => return Err(required("image_url")),
                };
                Content::Media(Media { kind: MediaKind::Image, source, name: None, detail: part.detail })
            }
            "input_file" => {
                let source = match (part.file_data, part.file_url, part.file_id) {
                    (Some(data), ..) => file(data, part.filename.as_ref(), || format!("{}.file_data", field()))?,
                    (None, Some(url), _) => located(url, || format!("{}.file_url", field()))?,
                    (None, None, Some(id)) => Source::File(id),
                    (None, None, None) => return Err(required("file_data")),
                };
                self.dropped.add_if(part.detail.is_some_and(|word| !word.is("auto")), "detail");
                Content::Media(Media { kind: source.kind(), source, name: part.filename, detail: None })
            }
            "input_audio" => {
                let audio = part.input_audio.ok_or_else(|| required("input_audio"))?;
                let data = audio.data.ok_or_else(|| required("input_audio.data"))?;
                let format = audio.format.ok_or_else(|| required("input_audio.format"))?;
                let source = Source::Data { mime: format!("audio/{}", format.decode()).into(), data };
                Content::Media(Media { kind: MediaKind::Audio, source, name: None, detail: None })
            }
            other => {
                self.dropped.add(other.to_owned());
                return Ok(None);
            }
        }))
    }
}

/// A part of a message or of a tool's result.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WirePart<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    refusal: Option<Text<'a>>,
    image_url: Option<Text<'a>>,
    detail: Option<Text<'a>>,
    file_id: Option<Text<'a>>,
    file_data: Option<Text<'a>>,
    file_url: Option<Text<'a>>,
    filename: Option<Text<'a>>,
    input_audio: Option<WireAudio<'a>>,
    prompt_cache_breakpoint: Option<WireBreakpoint<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireAudio<'a> {
    data: Option<Text<'a>>,
    format: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct WireBreakpoint<'a> {
    #[serde(borrow)]
    ttl: Option<Text<'a>>,
}

/// The source of a URL: the URL itself, or the data that it contains.
fn located(url: Text<'_>, field: impl FnOnce() -> String) -> Result<Source<'_>, Invalid> {
    match Source::of_data_url(url) {
        Ok(source) => Ok(source),
        Err(url) if url.contains("://") => Ok(Source::Url { url: url.into(), mime: None }),
        Err(_) => Err(Invalid::new(field(), "must be an https: URL or a data: URL in base64")),
    }
}

/// The content of `file_data`: a data URL, or plain base64, whose type only the file name shows.
fn file<'a>(data: Text<'a>, name: Option<&Text<'a>>, field: impl FnOnce() -> String) -> Result<Source<'a>, Invalid> {
    let data = data.into_decoded();
    if data.starts_with("data:") {
        return located(data.into(), field);
    }
    let name = name.map(|name| name.decode().to_ascii_lowercase()).unwrap_or_default();
    let mime = match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" => "text/html",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        _ => "application/pdf",
    };
    Ok(Source::Data { mime: mime.into(), data: data.into() })
}
