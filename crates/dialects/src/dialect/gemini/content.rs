//! Reads the messages of a request.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, VecDeque},
};

use serde_json::value::RawValue;

use super::{signature, wire};
use crate::{
    conversation::{
        Call, CarriedReasoning, Content, Invalid, Media, MediaKind, Message, Part, Role, SeenReasoning, Source, Text,
        ToolName, ToolResult, Unsupported, object_text,
    },
    dialect::foreign,
    stream::{TopLevel, ValueKind},
};

/// Reads messages in order, since a result is matched with a call that was read before.
#[derive(Default)]
pub(super) struct Contents<'a> {
    calls: u64,
    /// Ids of calls by the tool's name, the oldest first.
    asked: HashMap<String, VecDeque<Text<'a>>>,
    answered: HashSet<String>,
    /// The reasoning that the latest call carries.
    carried: Vec<Content<'a>>,
    seen: SeenReasoning,
    dropped: Unsupported,
}

impl<'a> Contents<'a> {
    /// The unsupported fields.
    pub(super) fn into_dropped(self) -> Unsupported {
        self.dropped
    }

    /// The messages of `contents`. Consecutive contents of the model are joined: SDKs keep every chunk of a stream as a
    /// message.
    pub(super) fn messages(&mut self, contents: Vec<wire::Content<'a>>) -> Result<Vec<Message<'a>>, Invalid> {
        let mut messages: Vec<Message<'a>> = Vec::with_capacity(contents.len());
        for (index, content) in contents.into_iter().enumerate() {
            let role = role(content.role.as_ref())
                .ok_or_else(|| Invalid::new(format!("contents[{index}].role"), "must be 'user' or 'model'"))?;
            let at = || format!("contents[{index}]");
            match messages.last_mut() {
                Some(last) if role == Role::Assistant && last.role == role => {
                    self.parts(role, content.parts, &mut last.parts, &at)?;
                }
                _ => {
                    let mut parts = Vec::with_capacity(content.parts.as_ref().map_or(0, |parts| parts.0.len()));
                    self.parts(role, content.parts, &mut parts, &at)?;
                    messages.push(Message { role, parts });
                }
            }
        }
        Ok(messages)
    }

    /// The message of the system instructions.
    pub(super) fn system(&mut self, content: wire::Content<'a>) -> Result<Message<'a>, Invalid> {
        let mut parts = Vec::new();
        self.parts(Role::System, content.parts, &mut parts, &|| "systemInstruction".to_owned())?;
        Ok(Message { role: Role::System, parts })
    }

    fn parts(
        &mut self,
        role: Role,
        parts: Option<wire::Many<wire::Part<'a>>>,
        into: &mut Vec<Part<'a>>,
        at: &dyn Fn() -> String,
    ) -> Result<(), Invalid> {
        for (index, part) in parts.into_iter().flat_map(|parts| parts.0).enumerate() {
            let at = || format!("{}.parts[{index}]", at());
            let Some(content) = self.part(part, &at)? else { continue };
            let mut carried = std::mem::take(&mut self.carried);
            // What the client has sent in its own place is not repeated.
            carried.retain(|content| self.seen.add(content));
            // It led to the text before the call, too.
            let said = into.iter().rev().take_while(|part| matches!(part.content, Content::Text { .. })).count();
            let at = into.len().saturating_sub(said);
            into.splice(at..at, carried.into_iter().map(Part::from));
            self.seen.add(&content);
            push(into, content, role == Role::Assistant);
        }
        Ok(())
    }

    /// The content of a part; `None` for unsupported parts, and for empty text.
    fn part(&mut self, part: wire::Part<'a>, at: &dyn Fn() -> String) -> Result<Option<Content<'a>>, Invalid> {
        self.dropped.add_if(part.video_metadata.is_some(), "videoMetadata");
        self.dropped.add_if(part.media_resolution.is_some(), "mediaResolution");
        let of_googles_tools = part.of_googles_tools();
        let mut proof = part.thought_signature.filter(|text| !text.is_empty());
        if part.function_call.is_some()
            && let Some(carried) = proof.as_ref().and_then(|text| CarriedReasoning::read(&text.decode()))
        {
            (self.carried, proof) = (carried, None);
        }
        let signature = proof.map(signature::read);
        if let Some(call) = part.function_call {
            return self.call(call, signature.map(|(signature, _)| signature), at).map(Some);
        }
        if let Some(response) = part.function_response {
            return self.result(response, at).map(Some);
        }
        if let Some(blob) = part.inline_data {
            let signature = signature.map(|(signature, _)| signature);
            return inline(blob, at).map(|media| Some(Content::Media(Media { signature, ..media })));
        }
        // A model has no files.
        self.dropped.add_if(signature.is_some() && part.file_data.is_some(), "thinking");
        if let Some(file) = part.file_data {
            return linked(file, at).map(|media| Some(Content::Media(media)));
        }
        if let Some((name, raw)) = of_googles_tools {
            // Texts beside it are joined with it.
            return Ok(Some(Content::text(format!("\n{}\n", foreign::text(name, raw.get(), &[])))));
        }
        if part.text.is_none() && signature.is_none() {
            self.dropped.add("part");
            return Ok(None);
        }
        let text = part.text.unwrap_or_else(|| Text::from(""));
        Ok(match (signature, part.thought == Some(true)) {
            (Some((signature, true)), _) => Some(Content::Redacted(signature)),
            (signature, true) => Some(Content::Thinking { text, signature: signature.map(|(signature, _)| signature) }),
            (None, false) if text.is_empty() => None,
            (signature, false) => {
                let signature = signature.map(|(signature, _)| signature);
                Some(Content::Text { text, citations: Vec::new(), signature })
            }
        })
    }

    fn call(
        &mut self,
        call: wire::FunctionCall<'a>,
        signature: Option<crate::conversation::Signature<'a>>,
        at: &dyn Fn() -> String,
    ) -> Result<Content<'a>, Invalid> {
        let name = call.name.ok_or_else(|| Invalid::new(format!("{}.functionCall.name", at()), "is required"))?;
        let arguments = match call.args {
            None => Cow::Borrowed("{}"),
            Some(args) => object_text(args.get()).ok_or_else(|| {
                Invalid::new(format!("{}.functionCall.args", at()), "must be an object, at most 128 levels deep")
            })?,
        };
        self.calls += 1;
        let id = given(call.id).unwrap_or_else(|| format!("call_{}", self.calls).into());
        self.asked.entry(name.decode().into_owned()).or_default().push_back(id.clone());
        Ok(Content::Call(Call { id, name: name.into(), arguments, signature }))
    }

    fn result(&mut self, result: wire::FunctionResponse<'a>, at: &dyn Fn() -> String) -> Result<Content<'a>, Invalid> {
        let name = result.name.filter(|name| !name.is_empty());
        let id = given(result.id).unwrap_or_else(|| self.answer(name.as_ref()));
        self.answered.insert(id.decode().into_owned());
        let (text, failed) = match result.response {
            None => (Text::from(""), false),
            Some(response) => {
                outcome(response, || Invalid::new(format!("{}.functionResponse.response", at()), "must be an object"))?
            }
        };
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(Content::text(text).into());
        }
        for (index, part) in result.parts.into_iter().flat_map(|parts| parts.0).enumerate() {
            let at = || format!("{}.functionResponse.parts[{index}]", at());
            parts.extend(self.part(part, &at)?.map(Part::from));
        }
        Ok(Content::Result(ToolResult { id, name: name.map(ToolName::from), parts, failed }))
    }

    /// The id of the call that a result without an id belongs to: the first of that name without a result.
    fn answer(&mut self, name: Option<&Text<'a>>) -> Text<'a> {
        if let Some(asked) = name.and_then(|name| self.asked.get_mut(&*name.decode())) {
            while let Some(id) = asked.pop_front() {
                if !self.answered.contains(&*id.decode()) {
                    return id;
                }
            }
        }
        self.calls += 1;
        format!("call_{}", self.calls).into()
    }
}

fn role(role: Option<&Text<'_>>) -> Option<Role> {
    let Some(role) = role.filter(|role| !role.is_empty()) else { return Some(Role::User) };
    match &*role.decode() {
        "user" | "function" | "tool" => Some(Role::User),
        "model" | "assistant" => Some(Role::Assistant),
        "system" => Some(Role::System),
        _ => None,
    }
}

fn given(id: Option<Text<'_>>) -> Option<Text<'_>> {
    id.filter(|id| !id.is_empty())
}

/// The result of a tool, and whether it is an error. Of an object with nothing but `output` or `error` the result is
/// that value.
fn outcome<'a>(response: &'a RawValue, invalid: impl Fn() -> Invalid) -> Result<(Text<'a>, bool), Invalid> {
    let text = response.get();
    let top = TopLevel::scan(text.as_bytes()).map_err(|_| invalid())?;
    let (value, failed) = match top.members() {
        [only] if only.is("output") => (only, false),
        [only] if only.is("error") => (only, true),
        _ => return Ok((Text::from(text), top.get("error").is_some_and(|error| !error.is_null()))),
    };
    let inside = text.get(value.span.clone()).unwrap_or_default();
    if value.kind == ValueKind::String
        && let Ok(text) = serde_json::from_str::<Text<'a>>(inside)
    {
        return Ok((text, failed));
    }
    Ok((Text::from(inside), failed))
}

/// Appends `content`. The model's text or reasoning continues the part before it if it has the same kind, up to a
/// signature.
pub(super) fn push<'a>(parts: &mut Vec<Part<'a>>, content: Content<'a>, join: bool) {
    if join && let Some(last) = parts.last_mut() {
        match (&mut last.content, &content) {
            (
                Content::Text { text, signature: signature @ None, .. },
                Content::Text { text: more, signature: proof, .. },
            )
            | (
                Content::Thinking { text, signature: signature @ None },
                Content::Thinking { text: more, signature: proof },
            ) => {
                append(text, more);
                signature.clone_from(proof);
                return;
            }
            _ => {}
        }
    }
    parts.push(content.into());
}

fn append<'a>(text: &mut Text<'a>, more: &Text<'a>) {
    if text.is_empty() {
        *text = more.clone();
    } else if !more.is_empty() {
        let mut joined = std::mem::replace(text, Text::from("")).into_decoded().into_owned();
        joined.push_str(&more.decode());
        *text = Text::from(joined);
    }
}

/// Inline media.
fn inline<'a>(blob: wire::Blob<'a>, at: &dyn Fn() -> String) -> Result<Media<'a>, Invalid> {
    let missing = |field: &str| Invalid::new(format!("{}.inlineData.{field}", at()), "is required");
    let mime = blob.mime_type.ok_or_else(|| missing("mimeType"))?.into_decoded();
    let data = blob.data.ok_or_else(|| missing("data"))?;
    let source = Source::Data { data: signature::standard_base64(data), mime };
    let source = source.typed_by(blob.display_name.as_ref());
    Ok(Media { kind: source.kind(), source, name: blob.display_name, detail: None, signature: None })
}

/// Media in a reply; `None` if they are empty.
pub(super) fn blob(blob: wire::Blob<'_>) -> Option<Media<'_>> {
    inline(blob, &String::new).ok()
}

/// Media at a URI: uploaded to Google before, or anywhere on the web.
fn linked<'a>(file: wire::FileData<'a>, at: &dyn Fn() -> String) -> Result<Media<'a>, Invalid> {
    let url = file.file_uri.ok_or_else(|| Invalid::new(format!("{}.fileData.fileUri", at()), "is required"))?;
    let mime = file.mime_type.map(Text::into_decoded);
    let (uploaded, youtube) = {
        let url = url.decode();
        (is_upload(&url), is_youtube(&url))
    };
    let kind = match &mime {
        Some(mime) => kind(mime),
        None if youtube => MediaKind::Video,
        None => MediaKind::Document,
    };
    let source = if uploaded { Source::File(url) } else { Source::Url { url, mime } };
    Ok(Media { kind, source, name: file.display_name, detail: None, signature: None })
}

/// Whether `uri` names a file that was uploaded to AI Studio.
pub(super) fn is_upload(uri: &str) -> bool {
    uri.starts_with("files/") || uri.starts_with("https://generativelanguage.googleapis.com/")
}

/// Whether `url` is a video that AI Studio fetches itself.
pub(super) fn is_youtube(url: &str) -> bool {
    ["https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"].iter().any(|host| url.starts_with(host))
}

fn kind(mime: &str) -> MediaKind {
    match mime.split('/').next().unwrap_or_default() {
        "image" => MediaKind::Image,
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        _ => MediaKind::Document,
    }
}
