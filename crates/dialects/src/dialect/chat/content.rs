//! Reads the messages of a request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{self, PASSED, WireCall, WireMessage, WirePart};
use crate::{
    conversation::{
        Call, Content, Invalid, Media, MediaKind, Message, Part, Role, Source, Text, ToolForm, ToolName, ToolResult,
        Unsupported, free_text,
    },
    dialect::fields::{parse, parse_all, parse_noting},
};

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireUrl<'a> {
    url: Text<'a>,
    detail: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireAudio<'a> {
    data: Text<'a>,
    format: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireFile<'a> {
    file_data: Option<Text<'a>>,
    file_id: Option<Text<'a>>,
    filename: Option<Text<'a>>,
}

/// Reads `messages`.
///
/// # Errors
/// When a message can't be read.
pub(super) fn read<'a>(json: &'a str, dropped: &mut Unsupported) -> Result<Vec<Message<'a>>, Invalid> {
    let wire: Vec<WireMessage<'a>> = parse_all(json, || "messages".to_owned(), PASSED, dropped)?;
    let mut messages: Vec<Message<'a>> = Vec::with_capacity(wire.len());
    let (mut function, mut in_results) = (None, false);
    for (index, mut message) in wire.into_iter().enumerate() {
        let reader = MessageReader { index, dropped: &mut *dropped };
        let role = message.role.take();
        let role = role.as_ref().map(Text::decode).unwrap_or_default();
        let cache = message.cache_control.map(wire::cache);
        let result = match &*role {
            "tool" => reader.tool(message)?,
            "function" => reader.function(message, function.take())?,
            role => {
                in_results = false;
                messages.push(reader.turn(role, message, &mut function)?);
                continue;
            }
        };
        let part = Part { content: Content::Result(result), cache };
        // The results of one turn are one message of the user.
        match messages.last_mut().filter(|_| in_results) {
            Some(last) => last.parts.push(part),
            None => messages.push(Message { role: Role::User, parts: vec![part] }),
        }
        in_results = true;
    }
    Ok(messages)
}

struct MessageReader<'d> {
    index: usize,
    dropped: &'d mut Unsupported,
}

impl MessageReader<'_> {
    fn field(&self, rest: &str) -> String {
        format!("messages[{}].{rest}", self.index)
    }

    /// A message of the system, the user or the assistant. `function` becomes the id of a call in the older form.
    fn turn<'a>(
        mut self,
        role: &str,
        message: WireMessage<'a>,
        function: &mut Option<String>,
    ) -> Result<Message<'a>, Invalid> {
        self.dropped.add_if(message.name.is_some(), "name");
        if message.audio.is_some() {
            let message =
                "it names an answer that is stored at OpenAI, which this route's provider can't read: send its text";
            return Err(Invalid::new(self.field("audio"), message));
        }
        let (role, mut parts) = match role {
            "system" | "developer" => (Role::System, self.content(message.content)?),
            "user" => (Role::User, self.content(message.content)?),
            "assistant" => {
                let parts = self.assistant(&message, function)?;
                let calls = message.tool_calls.into_iter().flatten().enumerate();
                let calls = calls.map(|(at, call)| self.call(at, call));
                let parts = parts.into_iter().map(Ok).chain(calls).collect::<Result<_, _>>()?;
                (Role::Assistant, parts)
            }
            other => {
                let message = format!("'{other}' is none of system, developer, user, assistant, tool and function");
                return Err(Invalid::new(self.field("role"), message));
            }
        };
        if let (Some(mark), Some(last)) = (message.cache_control, parts.last_mut()) {
            last.cache = last.cache.take().or_else(|| Some(wire::cache(mark)));
        }
        Ok(Message { role, parts })
    }

    /// The assistant's reasoning and text, and its call in the older form.
    fn assistant<'a>(
        &mut self,
        message: &WireMessage<'a>,
        function: &mut Option<String>,
    ) -> Result<Vec<Part<'a>>, Invalid> {
        let mut parts = message.thinking(self.dropped);
        // An empty text beside calls has no content.
        let calls = message.tool_calls.is_some() || message.function_call.is_some();
        let said = self.content(message.content)?;
        parts.extend(
            said.into_iter().filter(|p| !calls || !matches!(&p.content, Content::Text { text, .. } if text.is_empty())),
        );
        if let Some(refusal) = message.refusal.clone() {
            parts.push(Content::Refusal(refusal).into());
        }
        if let Some(called) = &message.function_call {
            let id = format!("call_{}", self.index);
            let name =
                called.name.clone().ok_or_else(|| Invalid::new(self.field("function_call.name"), "is missing"))?;
            let arguments = wire::arguments(called.arguments).ok_or_else(|| {
                Invalid::new(self.field("function_call.arguments"), "must be a JSON object, at most 128 levels deep")
            })?;
            *function = Some(id.clone());
            parts.push(Content::Call(Call { id: id.into(), name: name.into(), arguments, signature: None }).into());
        }
        Ok(parts)
    }

    fn call<'a>(&mut self, at: usize, call: WireCall<'a>) -> Result<Part<'a>, Invalid> {
        let field = |rest: &str| format!("messages[{}].tool_calls[{at}].{rest}", self.index);
        let signature = call.signature();
        self.dropped.add_if(signature.is_none() && call.extra_content.is_some(), "extra_content");
        let missing = |name: &str| Invalid::new(field(name), "is missing");
        let (name, arguments) = match (call.function, call.custom) {
            (Some(function), _) => {
                let name = function.name.ok_or_else(|| missing("function.name"))?;
                let arguments = wire::arguments(function.arguments).ok_or_else(|| {
                    let message = "must be the text of a JSON object, at most 128 levels deep";
                    Invalid::new(field("function.arguments"), message)
                })?;
                (ToolName::from(name), arguments)
            }
            (None, Some(custom)) => {
                let name = custom.name.ok_or_else(|| missing("custom.name"))?;
                let input = custom.input.unwrap_or_else(|| Text::from(""));
                (ToolName::of(ToolForm::Custom, name), free_text::arguments(&input))
            }
            (None, None) => return Err(missing("function")),
        };
        let id = match call.id {
            Some(id) if !id.is_empty() => id,
            _ => return Err(Invalid::new(field("id"), "is missing")),
        };
        Ok(Content::Call(Call { id, name, arguments, signature }).into())
    }

    fn tool(mut self, message: WireMessage<'_>) -> Result<ToolResult<'_>, Invalid> {
        let Some(id) = message.tool_call_id.filter(|id| !id.is_empty()) else {
            return Err(Invalid::new(self.field("tool_call_id"), "is missing"));
        };
        Ok(ToolResult {
            id,
            name: message.name.map(ToolName::from),
            parts: self.content(message.content)?,
            failed: false,
        })
    }

    fn function(mut self, message: WireMessage<'_>, call: Option<String>) -> Result<ToolResult<'_>, Invalid> {
        let Some(name) = message.name else { return Err(Invalid::new(self.field("name"), "is missing")) };
        let id = call.unwrap_or_else(|| format!("call_{}", name.decode()));
        Ok(ToolResult { id: id.into(), name: Some(name.into()), parts: self.content(message.content)?, failed: false })
    }

    /// `content`: a string or a list of parts.
    fn content<'a>(&mut self, raw: Option<&'a RawValue>) -> Result<Vec<Part<'a>>, Invalid> {
        let Some(raw) = raw else { return Ok(Vec::new()) };
        match raw.get().as_bytes().first() {
            Some(b'"') => Ok(vec![Content::text(parse::<Text<'a>>(raw.get(), || self.field("content"))?).into()]),
            Some(b'[') => {
                let field = || format!("messages[{}].content", self.index);
                let (wire, mut unknown) = parse_noting::<Vec<WirePart<'a>>>(raw.get(), field, PASSED)?;
                let mut parts = Vec::with_capacity(wire.len());
                for (at, part) in wire.into_iter().enumerate() {
                    match self.part(at, part)? {
                        Some(part) => parts.push(part),
                        None => unknown.discard(at),
                    }
                }
                unknown.name(self.dropped);
                Ok(parts)
            }
            _ => Err(Invalid::new(self.field("content"), "must be a string or a list of parts")),
        }
    }

    fn part<'a>(&mut self, at: usize, part: WirePart<'a>) -> Result<Option<Part<'a>>, Invalid> {
        let index = self.index;
        let field = |rest: &str| format!("messages[{index}].content[{at}]{rest}");
        let missing = |rest: &str| Invalid::new(field(rest), "is missing");
        let cache = part.cache();
        let Some(kind) = part.kind.clone() else { return Err(missing(".type")) };
        let kind = kind.decode();
        let content = match &*kind {
            "text" | "input_text" => Content::text(part.text.ok_or_else(|| missing(".text"))?),
            "refusal" => Content::Refusal(part.refusal.ok_or_else(|| missing(".refusal"))?),
            "image_url" => {
                let raw = part.image_url.ok_or_else(|| missing(".image_url"))?;
                Content::Media(url(MediaKind::Image, raw, || field(".image_url"), self.dropped)?)
            }
            "video_url" => {
                let raw = part.video_url.ok_or_else(|| missing(".video_url"))?;
                Content::Media(url(MediaKind::Video, raw, || field(".video_url"), self.dropped)?)
            }
            "input_audio" => {
                let raw = part.input_audio.ok_or_else(|| missing(".input_audio"))?;
                Content::Media(audio(parse_all(raw.get(), || field(".input_audio"), PASSED, self.dropped)?))
            }
            "file" => {
                let raw = part.file.ok_or_else(|| missing(".file"))?;
                let wire: WireFile<'a> = parse_all(raw.get(), || field(".file"), PASSED, self.dropped)?;
                Content::Media(file(wire).ok_or_else(|| {
                    Invalid::new(field(".file"), "must hold file_data, a data URL in base64, or file_id")
                })?)
            }
            "thinking" | "redacted_thinking" => match part.into_thinking() {
                Some(thinking) => thinking,
                None => return Ok(None),
            },
            other => {
                self.dropped.add(other.to_owned());
                return Ok(None);
            }
        };
        Ok(Some(Part { content, cache }))
    }
}

/// An image or a video: an object with a URL, or the URL alone.
fn url<'a>(
    kind: MediaKind,
    raw: &'a RawValue,
    field: impl Fn() -> String,
    dropped: &mut Unsupported,
) -> Result<Media<'a>, Invalid> {
    let wire = match Text::of(raw) {
        Some(url) => WireUrl { url, detail: None },
        None => parse_all(raw.get(), &field, PASSED, dropped)?,
    };
    let source = if is_data(&wire.url) {
        Source::of_data_url(wire.url).map_err(|_| Invalid::new(field(), "the data URL must be in base64"))?
    } else {
        Source::Url { url: wire.url, mime: None }
    };
    Ok(Media { kind, source, name: None, detail: wire.detail })
}

fn audio(wire: WireAudio<'_>) -> Media<'_> {
    let format = wire.format.map_or(Cow::Borrowed("wav"), Text::into_decoded);
    let mime = Cow::Owned(format!("audio/{format}"));
    Media { kind: MediaKind::Audio, source: Source::Data { mime, data: wire.data }, name: None, detail: None }
}

fn file(wire: WireFile<'_>) -> Option<Media<'_>> {
    let source = match (wire.file_data, wire.file_id) {
        (Some(data), _) if is_data(&data) => Source::of_data_url(data).ok()?,
        // Some clients leave the head out.
        (Some(data), _) => Source::Data { mime: Cow::Borrowed("application/pdf"), data },
        (None, Some(id)) => Source::File(id),
        (None, None) => return None,
    };
    Some(Media { kind: source.kind(), source, name: wire.filename, detail: None })
}

fn is_data(url: &Text<'_>) -> bool {
    match url {
        Text::Json(raw) => raw.get().starts_with("\"data:"),
        Text::Plain(text) => text.starts_with("data:"),
    }
}
