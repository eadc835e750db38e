//! The items of a client's `input` as messages.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    HOME, IMAGE, REDACTED, SIGNS_CALL,
    client_tools::{Arguments, ClientTool},
    tools::{self, Found},
    wire::{COMPACTED, Item, NO_COMPACTION, PASSED, STORED, joined, text},
};
use crate::{
    conversation::{
        Cache, Call, Content, Invalid, Media, MediaKind, Message, Part, Role, Signature, Source, Text, Tool, ToolForm,
        ToolResult, type_of_name,
    },
    dialect::{
        fields::{parse, parse_noting},
        foreign,
    },
    stream::ValueKind,
};

/// Reads `input`: a text, or items.
///
/// Returns the messages, and the tools that became available during the conversation.
pub(super) fn read<'a>(
    json: &'a str,
    kind: ValueKind,
    found: Found<'a, '_>,
) -> Result<(Vec<Message<'a>>, Vec<Tool<'a>>), Invalid> {
    match kind {
        ValueKind::String => {
            let text: Text<'a> = parse(json, || "input".to_owned())?;
            Ok((vec![Message { role: Role::User, parts: vec![Content::text(text).into()] }], Vec::new()))
        }
        ValueKind::Array => {
            let (items, mut unknown) = parse_noting::<Vec<Item<'a>>>(json, || "input".to_owned(), PASSED)?;
            let messages = Vec::with_capacity(items.len());
            let mut history = History {
                json,
                raw: None,
                messages,
                tools: Vec::new(),
                signature: None,
                shells: HashMap::new(),
                found,
            };
            for (at, item) in items.into_iter().enumerate() {
                if !history.item(&item, at)? {
                    unknown.discard(at);
                }
            }
            unknown.name(history.found.dropped);
            Ok((history.messages, history.tools))
        }
        _ => Err(Invalid::new("input", "must be a string or a list of items")),
    }
}

struct History<'a, 'd> {
    json: &'a str,
    /// The items as they are written; read when one of them has no type here.
    raw: Option<Vec<&'a RawValue>>,
    messages: Vec<Message<'a>>,
    tools: Vec<Tool<'a>>,
    /// Ids of the calls of local shells by those of their items, which results may name instead.
    shells: HashMap<String, Text<'a>>,
    /// The signature of the next call.
    signature: Option<Signature<'a>>,
    found: Found<'a, 'd>,
}

impl<'a> History<'a, '_> {
    /// Reads an item. Returns `false` if its fields need no report of their own.
    fn item(&mut self, item: &Item<'a>, at: usize) -> Result<bool, Invalid> {
        let kind = match &item.kind {
            Some(kind) => kind.decode(),
            None if item.role.is_some() => "message".into(),
            None if item.id.is_some() => "item_reference".into(),
            None => return Err(Invalid::new(format!("input[{at}].type"), "is required")),
        };
        match &*kind {
            "message" => self.message(item, at)?,
            "reasoning" => self.reasoning(item, at)?,
            "additional_tools" => self.more_tools(item, at)?,
            "item_reference" => return Err(Invalid::new(format!("input[{at}]"), STORED)),
            "compaction" | "compaction_summary" | "context_compaction" => {
                return Err(Invalid::new(format!("input[{at}]"), COMPACTED));
            }
            "compaction_trigger" => return Err(Invalid::new(format!("input[{at}]"), NO_COMPACTION)),
            // It sets parameters, and is no part of the conversation.
            "configuration_update" => {
                self.found.dropped.add("configuration_update");
                return Ok(false);
            }
            kind => {
                // A search of OpenAI's own has no id.
                let ran_there = kind.starts_with("tool_search") && item.call_id.is_none();
                if let Some(tool) = ClientTool::called(kind, item).filter(|_| !ran_there) {
                    self.call(item, at, tool)?;
                } else if let Some(tool) = ClientTool::answered(kind).filter(|_| !ran_there) {
                    self.result(item, at, tool)?;
                } else if foreign::is_of_tool(kind) {
                    self.foreign(item, kind, at)?;
                    return Ok(false);
                } else {
                    self.found.dropped.add(kind.to_owned());
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Tools that are available from this item on.
    fn more_tools(&mut self, item: &Item<'a>, at: usize) -> Result<(), Invalid> {
        let field = || format!("input[{at}].tools");
        let Some(list) = item.tools else { return Err(Invalid::new(field(), "is required")) };
        self.tools.extend(tools::read(list.get(), &field, &mut self.found)?);
        Ok(())
    }

    /// Reads an item of a tool that OpenAI ran as text, so that the model still sees it.
    fn foreign(&mut self, item: &Item<'a>, kind: &str, at: usize) -> Result<(), Invalid> {
        if self.raw.is_none() {
            self.raw = Some(parse(self.json, || "input".to_owned())?);
        }
        let raw = self.raw.as_ref().and_then(|raw| raw.get(at)).map_or("{}", |raw| raw.get());
        if kind == "tool_search_output" {
            self.more_tools(item, at)?;
        }
        if kind == IMAGE
            && let Some(image) = item.image()
        {
            let signature = self.signature.take();
            self.answer(Content::Media(Media { signature, ..image }).into());
            return Ok(());
        }
        let part = Part::from(Content::text(foreign::text(kind, raw, &[])));
        if kind.ends_with("_output") || kind.ends_with("_response") {
            self.messages.push(Message { role: Role::User, parts: vec![part] });
        } else {
            self.answer(part);
        }
        Ok(())
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

    fn call(&mut self, item: &Item<'a>, at: usize, tool: &ClientTool) -> Result<(), Invalid> {
        let field = |name: &str| format!("input[{at}].{name}");
        let required = |name: &str| Invalid::new(field(name), "is required");
        let id = text(item.call_id, || field("call_id"))?.ok_or_else(|| required("call_id"))?;
        if tool.form == ToolForm::LocalShell
            && let Some(item_id) = text(item.id, || field("id"))?
        {
            self.shells.insert(item_id.decode().into_owned(), id.clone());
        }
        let namespace = text(item.namespace, || field("namespace"))?;
        let name = tool.name(text(item.name, || field("name"))?, namespace).ok_or_else(|| required("name"))?;
        let arguments = tool.read_arguments(item, self.found.dropped).ok_or_else(|| {
            let expected = match tool.arguments {
                Arguments::Json(_) | Arguments::Free(_) => "must be a string",
                Arguments::Object(..) | Arguments::Member(_) => "must be an object, at most 128 levels deep",
            };
            Invalid::new(field(tool.arguments.field()), expected)
        })?;
        let signature = self.signature.take();
        self.answer(Content::Call(Call { id, name, arguments, signature }).into());
        Ok(())
    }

    fn result(&mut self, item: &Item<'a>, at: usize, tool: &ClientTool) -> Result<(), Invalid> {
        let field = |name: &str| format!("input[{at}].{name}");
        let mut id = text(item.call_id, || field("call_id"))?;
        if id.is_none() && tool.form == ToolForm::LocalShell {
            id = text(item.id, || field("id"))?;
            id = id.map(|id| self.shells.get(&*id.decode()).cloned().unwrap_or(id));
        }
        let Some(id) = id else { return Err(Invalid::new(field("call_id"), "is required")) };
        let parts = match (tool.form, item.output) {
            (ToolForm::ToolSearch, _) => vec![Content::text(self.found_tools(item, at)?).into()],
            (_, None) => Vec::new(),
            (ToolForm::Computer | ToolForm::ComputerPreview, Some(output)) => {
                vec![Content::Media(screenshot(output, || field("output"))?).into()]
            }
            // Output and exit code of each command: models read JSON.
            (ToolForm::Shell, Some(output)) if !output.get().starts_with('"') => {
                vec![Content::text(output.get()).into()]
            }
            (_, Some(output)) => self.content(output, || field("output"))?,
        };
        let failed =
            tool.form == ToolForm::ApplyPatch && item.status.and_then(Text::of).is_some_and(|s| s.is("failed"));
        let namespace = text(item.namespace, || field("namespace"))?;
        let name = text(item.name, || field("name"))?.and_then(|name| tool.name(Some(name), namespace));
        let part = Part::from(Content::Result(ToolResult { id, name, parts, failed }));
        // Results of parallel calls are one message.
        match self.messages.last_mut() {
            Some(last) if last.parts.last().is_some_and(|last| matches!(last.content, Content::Result(_))) => {
                last.parts.push(part);
            }
            _ => self.messages.push(Message { role: Role::User, parts: vec![part] }),
        }
        Ok(())
    }

    /// The names of the tools that a search has found, which are available from now on.
    fn found_tools(&mut self, item: &Item<'a>, at: usize) -> Result<String, Invalid> {
        let before = self.tools.len();
        self.more_tools(item, at)?;
        let names: Vec<String> =
            self.tools.get(before..).unwrap_or_default().iter().map(|tool| tool.name.flat()).collect();
        if names.is_empty() {
            return Ok("No tool was found.".to_owned());
        }
        Ok(format!("Found tools, which can be called now: {}", names.join(", ")))
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
        unknown.name(self.found.dropped);
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
                Content::Media(Media {
                    kind: MediaKind::Image,
                    source,
                    name: None,
                    detail: part.detail,
                    signature: None,
                })
            }
            "input_file" => {
                let source = match (part.file_data, part.file_url, part.file_id) {
                    (Some(data), ..) => file(data, part.filename.as_ref(), || format!("{}.file_data", field()))?,
                    (None, Some(url), _) => located(url, || format!("{}.file_url", field()))?,
                    (None, None, Some(id)) => Source::File(id),
                    (None, None, None) => return Err(required("file_data")),
                };
                self.found.dropped.add_if(part.detail.is_some_and(|word| !word.is("auto")), "detail");
                Content::Media(Media {
                    kind: source.kind(),
                    source,
                    name: part.filename,
                    detail: None,
                    signature: None,
                })
            }
            "input_audio" => {
                let audio = part.input_audio.ok_or_else(|| required("input_audio"))?;
                let data = audio.data.ok_or_else(|| required("input_audio.data"))?;
                let format = audio.format.ok_or_else(|| required("input_audio.format"))?;
                let source = Source::Data { mime: format!("audio/{}", format.decode()).into(), data };
                Content::Media(Media { kind: MediaKind::Audio, source, name: None, detail: None, signature: None })
            }
            other => {
                self.found.dropped.add(other.to_owned());
                return Ok(None);
            }
        }))
    }
}

/// The picture of a screen.
fn screenshot(output: &RawValue, field: impl Fn() -> String) -> Result<Media<'_>, Invalid> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Wire<'a> {
        image_url: Option<Text<'a>>,
        file_id: Option<Text<'a>>,
        detail: Option<Text<'a>>,
    }
    let wire: Wire<'_> = parse(output.get(), &field)?;
    let source = match (wire.image_url, wire.file_id) {
        (Some(url), _) => located(url, || format!("{}.image_url", field()))?,
        (None, Some(id)) => Source::File(id),
        (None, None) => return Err(Invalid::new(format!("{}.image_url", field()), "is required")),
    };
    Ok(Media { kind: MediaKind::Image, source, name: None, detail: wire.detail, signature: None })
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
        return located(data.into(), field).map(|source| source.typed_by(name));
    }
    let mime = name.and_then(|name| type_of_name(&name.decode())).unwrap_or("application/pdf");
    Ok(Source::Data { mime: mime.into(), data: data.into() })
}
