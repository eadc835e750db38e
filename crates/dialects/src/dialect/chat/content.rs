//! Reads the messages of a request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    images,
    reasoning::Reasoning,
    steps::arrange,
    wire::{self, CallProof, PASSED, WireCall, WireMessage, WirePart},
};
use crate::{
    conversation::{
        Call, Content, Invalid, Media, MediaKind, Message, Part, Role, SeenReasoning, Source, Text, ToolForm, ToolName,
        ToolResult, Unsupported, free_text,
    },
    dialect::fields::{parse, parse_all, parse_noting},
};

/// The reason why arguments are refused that are neither a text nor an object.
const NO_ARGUMENTS: &str = "must be the text of a JSON object";

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
        let cache = message.cache_control;
        let (role, mut parts) = match role {
            "system" | "developer" => (Role::System, self.content(message.content)?),
            "user" => (Role::User, self.content(message.content)?),
            "assistant" => (Role::Assistant, self.assistant(message, function)?),
            other => {
                let message = format!("'{other}' is none of system, developer, user, assistant, tool and function");
                return Err(Invalid::new(self.field("role"), message));
            }
        };
        if let (Some(mark), Some(last)) = (cache, parts.last_mut()) {
            last.cache = last.cache.take().or_else(|| Some(wire::cache(mark)));
        }
        Ok(Message { role, parts })
    }

    /// The assistant's reasoning, text and calls. `function` becomes the id of a call in the older form.
    fn assistant<'a>(
        &mut self,
        message: WireMessage<'a>,
        function: &mut Option<String>,
    ) -> Result<Vec<Part<'a>>, Invalid> {
        let Reasoning { thoughts, mut signatures, .. } = Reasoning::of(&message, self.dropped);
        let mut seen = SeenReasoning::default();
        for thought in &thoughts {
            seen.add(&thought.content);
        }
        // An empty text beside calls has no content.
        let has_calls = message.tool_calls.is_some() || message.function_call.is_some();
        let mut said = self.content(message.content)?;
        said.retain(|p| !has_calls || !matches!(&p.content, Content::Text { text, .. } if text.is_empty()));
        said.extend(message.refusal.map(|refusal| Content::Refusal(refusal).into()));
        if let Some(raw) = message.images {
            said.extend(images::read(raw, &self.field("images"), self.dropped)?);
        }
        let mut groups: Vec<Vec<Part<'a>>> = Vec::new();
        if let Some(called) = message.function_call {
            let id = format!("call_{}", self.index);
            let name = called.name.ok_or_else(|| Invalid::new(self.field("function_call.name"), "is missing"))?;
            let arguments = wire::earlier_arguments(called.arguments, self.dropped)
                .ok_or_else(|| Invalid::new(self.field("function_call.arguments"), NO_ARGUMENTS))?;
            *function = Some(id.clone());
            let call = Call { id: id.into(), name: name.into(), arguments, signature: None };
            groups.push(vec![Content::Call(call).into()]);
        }
        for (at, wire) in message.tool_calls.into_iter().flatten().enumerate() {
            let proof = wire.proof();
            let mut call = self.call(at, wire)?;
            // Clients may send the same signature in both places.
            let listed = signatures.take(&call.id);
            let mut group = Vec::with_capacity(1);
            match proof {
                Some(CallProof::Signature(signature)) => call.signature = Some(signature),
                // What the client has sent in its own place is not repeated.
                Some(CallProof::Reasoning(carried)) => {
                    group.extend(carried.into_iter().filter(|content| seen.add(content)).map(Part::from));
                }
                None => call.signature = listed,
            }
            group.push(Content::Call(call).into());
            groups.push(group);
        }
        self.dropped.add_if(!signatures.is_empty(), "thinking");
        Ok(arrange(thoughts, said, groups))
    }

    fn call<'a>(&mut self, at: usize, call: WireCall<'a>) -> Result<Call<'a>, Invalid> {
        let field = |rest: &str| format!("messages[{}].tool_calls[{at}].{rest}", self.index);
        self.dropped.add_if(call.extra_content.is_some() && call.signature_text().is_none(), "extra_content");
        let missing = |name: &str| Invalid::new(field(name), "is missing");
        let (name, arguments) = match (call.function, call.custom) {
            (Some(function), _) => {
                let name = function.name.ok_or_else(|| missing("function.name"))?;
                let arguments = wire::earlier_arguments(function.arguments, self.dropped)
                    .ok_or_else(|| Invalid::new(field("function.arguments"), NO_ARGUMENTS))?;
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
        Ok(Call { id, name, arguments, signature: None })
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
                Content::Media(media_at(MediaKind::Image, raw, || field(".image_url"), self.dropped)?)
            }
            "video_url" => {
                let raw = part.video_url.ok_or_else(|| missing(".video_url"))?;
                Content::Media(media_at(MediaKind::Video, raw, || field(".video_url"), self.dropped)?)
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
pub(super) fn media_at<'a>(
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
    Ok(Media { kind, source, name: None, detail: wire.detail, signature: None })
}

fn audio(wire: WireAudio<'_>) -> Media<'_> {
    let format = wire.format.map_or(Cow::Borrowed("wav"), Text::into_decoded);
    let mime = Cow::Owned(format!("audio/{format}"));
    Media {
        kind: MediaKind::Audio,
        source: Source::Data { mime, data: wire.data },
        name: None,
        detail: None,
        signature: None,
    }
}

fn file(wire: WireFile<'_>) -> Option<Media<'_>> {
    let source = match (wire.file_data, wire.file_id) {
        (Some(data), _) if is_data(&data) => Source::of_data_url(data).ok()?.typed_by(wire.filename.as_ref()),
        // Some clients leave the head out.
        (Some(data), _) => Source::Data { mime: Cow::Borrowed("application/pdf"), data },
        (None, Some(id)) => Source::File(id),
        (None, None) => return None,
    };
    Some(Media { kind: source.kind(), source, name: wire.filename, detail: None, signature: None })
}

fn is_data(url: &Text<'_>) -> bool {
    match url {
        Text::Json(raw) => raw.get().starts_with("\"data:"),
        Text::Plain(text) => text.starts_with("data:"),
    }
}
