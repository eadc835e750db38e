//! Blocks of content as parts of a message: code that requests and replies share, for reading and writing.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    HOME, formats,
    wire::{self, Block},
};
use crate::{
    conversation::{
        Cache, Call, Citation, Content, Media, MediaKind, Part, Signature, SignatureOrigin, Source, Text, ToolResult,
        Unsupported, object_text,
    },
    stream::json::ObjectWriter,
};

/// A block that can't be read: its place in the list, its field, and the reason.
pub(super) struct Wrong {
    pub block: usize,
    pub field: &'static str,
    pub message: &'static str,
}

/// The parts of `blocks`. Content that the conversation does not support is reported in `dropped`.
/// Calls of tools that Bedrock ran, and their results, become text if it is a `history`: the model has to see them.
pub(super) fn parts<'a>(
    blocks: Vec<Block<'a>>,
    history: bool,
    dropped: &mut Unsupported,
) -> Result<Vec<Part<'a>>, Wrong> {
    let mut parts: Vec<Part<'a>> = Vec::with_capacity(blocks.len());
    for (block, wire) in blocks.into_iter().enumerate() {
        let wrong = |(field, message)| Wrong { block, field, message };
        let content = match wire {
            Block::CachePoint(point) => {
                match parts.last_mut() {
                    Some(last) => last.cache = Some(Cache { ttl: point.ttl }),
                    None => dropped.add("cachePoint"),
                }
                continue;
            }
            Block::ToolUse(wire::ToolUse { kind: Some(kind), name, input, .. }) if history => {
                let name = name.as_ref().map(Text::decode).unwrap_or_default();
                Content::text(format!("[{}] {name} {}", kind.decode(), input.map_or("{}", |raw| raw.get())))
            }
            Block::ToolResult(wire::ToolResult { kind: Some(kind), content, .. }) if history => {
                parts.push(Content::text(format!("[{}]", kind.decode())).into());
                for block in content.unwrap_or_default() {
                    parts.extend(plain(block, dropped).map_err(wrong)?.map(Part::from));
                }
                continue;
            }
            Block::ToolUse(call) => {
                let Some(mut call) = self::call(call, dropped).map_err(wrong)? else { continue };
                call.signature = lent_signature(&mut parts);
                Content::Call(call)
            }
            Block::ToolResult(result) => match self::result(result, dropped).map_err(wrong)? {
                Some(result) => Content::Result(result),
                None => continue,
            },
            other => match plain(other, dropped).map_err(wrong)? {
                Some(content) => content,
                None => continue,
            },
        };
        parts.push(content.into());
    }
    Ok(parts)
}

/// Blocks that are neither calls, nor results, nor marks.
fn plain<'a>(block: Block<'a>, dropped: &mut Unsupported) -> Result<Option<Content<'a>>, (&'static str, &'static str)> {
    Ok(Some(match block {
        Block::Text(text) => Content::text(text),
        Block::Json(json) => Content::text(json.get().to_owned()),
        Block::Image(file) => return media(MediaKind::Image, file, dropped),
        Block::Document(file) => return media(MediaKind::Document, file, dropped),
        Block::Video(file) => return media(MediaKind::Video, file, dropped),
        Block::Audio(file) => return media(MediaKind::Audio, file, dropped),
        Block::Guard(guard) => {
            // Its text is kept; that a guardrail examines it is not.
            dropped.add("guardContent");
            match (guard.text.and_then(|t| t.text), guard.image) {
                (Some(text), _) => Content::text(text),
                (None, Some(image)) => return media(MediaKind::Image, image, dropped),
                (None, None) => return Ok(None),
            }
        }
        Block::Reasoning(wire::Reasoning { redacted_content: Some(data), .. }) => Content::Redacted(redacted(data)),
        Block::Reasoning(wire::Reasoning { reasoning_text: Some(thoughts), .. }) => Content::Thinking {
            text: thoughts.text.unwrap_or_else(|| "".into()),
            signature: thoughts.signature.filter(|s| !s.is_empty()).map(|s| Signature::untagged(s, HOME)),
        },
        Block::Citations(cited) => Content::Text {
            text: joined(cited.content.unwrap_or_default()),
            citations: cited.citations.unwrap_or_default().into_iter().map(citation).collect(),
            signature: None,
        },
        Block::SearchResult(found) => {
            dropped.add_if(found.citations.is_some_and(|c| c.enabled == Some(true)), "citations");
            let text = joined(found.content.unwrap_or_default());
            let text = match found.source {
                Some(source) => Text::from(format!("{}\n\n{}", source.decode(), text.decode())),
                None => text,
            };
            Content::Media(Media {
                kind: MediaKind::Document,
                source: Source::Text(text),
                name: found.title,
                detail: None,
                signature: None,
            })
        }
        Block::Unknown(name) => {
            dropped.add(name);
            return Ok(None);
        }
        Block::Reasoning(_) | Block::CachePoint(_) | Block::ToolUse(_) | Block::ToolResult(_) => return Ok(None),
    }))
}

/// The texts joined; a single text is not copied.
fn joined(texts: Vec<wire::OnlyText<'_>>) -> Text<'_> {
    Text::join(texts.into_iter().filter_map(|text| text.text), "\n")
}

pub(super) fn citation(wire: wire::Citation<'_>) -> Citation<'_> {
    let url = wire.location.and_then(|l| l.web).and_then(|w| w.url);
    let source = wire.source.filter(|s| s.decode().starts_with("http"));
    let quote = wire.source_content.map(joined).filter(|quote| !quote.is_empty());
    Citation { url: url.or(source), title: wire.title, quote, start: None, end: None }
}

/// Returns `None` for media that an earlier answer failed to generate; these are reported.
fn media<'a>(
    kind: MediaKind,
    file: wire::File<'a>,
    dropped: &mut Unsupported,
) -> Result<Option<Content<'a>>, (&'static str, &'static str)> {
    dropped.add_if(file.context.is_some(), "context");
    dropped.add_if(file.citations.is_some_and(|c| c.enabled == Some(true)), "citations");
    let format = file.format.as_ref().map(Text::decode);
    let mime = format.map(|format| formats::mime(kind, &format));
    let source = match file.source {
        Some(wire::Source { bytes: Some(data), .. }) => {
            let mime = match (mime, kind) {
                (Some(mime), _) => mime,
                (None, MediaKind::Document) => "application/pdf".into(),
                (None, _) => return Err((kind.as_str(), "a format is required")),
            };
            Source::Data { mime, data }
        }
        Some(wire::Source { s3_location: Some(at), .. }) => {
            dropped.add_if(at.bucket_owner.is_some(), "bucketOwner");
            Source::Url { url: at.uri, mime }
        }
        Some(wire::Source { text: Some(text), .. }) => Source::Text(text),
        Some(wire::Source { content: Some(texts), .. }) => Source::Text(joined(texts)),
        _ if file.error.is_some() => {
            dropped.add(kind.as_str());
            return Ok(None);
        }
        _ => return Err((kind.as_str(), "a source with bytes or a location is required")),
    };
    Ok(Some(Content::Media(Media { kind, source, name: file.name, detail: None, signature: None })))
}

fn call<'a>(
    wire: wire::ToolUse<'a>,
    dropped: &mut Unsupported,
) -> Result<Option<Call<'a>>, (&'static str, &'static str)> {
    if let Some(kind) = wire.kind {
        dropped.add(kind.decode().into_owned());
        return Ok(None);
    }
    let input = wire.input.map_or("{}", |raw| raw.get());
    let arguments = match input {
        "null" | "\"\"" => Cow::Borrowed("{}"),
        object => object_text(object).ok_or(("toolUse.input", "expected an object, at most 128 levels deep"))?,
    };
    Ok(Some(Call {
        id: wire.tool_use_id.ok_or(("toolUse.toolUseId", "an id is required"))?,
        name: wire.name.ok_or(("toolUse.name", "a name is required"))?.into(),
        arguments,
        signature: None,
    }))
}

fn result<'a>(
    wire: wire::ToolResult<'a>,
    dropped: &mut Unsupported,
) -> Result<Option<ToolResult<'a>>, (&'static str, &'static str)> {
    if let Some(kind) = wire.kind {
        dropped.add(kind.decode().into_owned());
        return Ok(None);
    }
    let mut parts: Vec<Part<'a>> = Vec::new();
    for block in wire.content.unwrap_or_default() {
        let content = plain(block, dropped).map_err(|(_, message)| ("toolResult.content", message))?;
        parts.extend(content.map(Part::from));
    }
    Ok(Some(ToolResult {
        id: wire.tool_use_id.ok_or(("toolResult.toolUseId", "an id is required"))?,
        name: None,
        parts,
        failed: wire.status.is_some_and(|s| s.is("error")),
    }))
}

/// Takes back the signature of a call. Gemini signs calls, for which Converse has no field: replies have the signature
/// before the call, as reasoning without text.
fn lent_signature<'a>(parts: &mut Vec<Part<'a>>) -> Option<Signature<'a>> {
    let last = parts.pop()?;
    match last.content {
        Content::Thinking { text, signature: Some(signature) }
            if text.is_empty() && signature.maker == SignatureOrigin::Google =>
        {
            Some(signature)
        }
        content => {
            parts.push(Part { content, cache: last.cache });
            None
        }
    }
}

/// Redacted reasoning is bytes, which clients decode: a foreign tag must be inside the base64.
pub(super) fn redacted(data: Text<'_>) -> Signature<'_> {
    let tagged = {
        let text = data.decode();
        // All tags begin with `TG`.
        text.starts_with("VE").then(|| STANDARD.decode(&*text).ok()).flatten()
    };
    tagged
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(|text| Signature::untagged(text.into(), HOME))
        .filter(|signature| signature.maker != HOME)
        .unwrap_or(Signature { maker: HOME, value: data })
}

/// The blob for redacted reasoning.
pub(super) fn redacted_blob<'s>(signature: &'s Signature<'_>) -> Text<'s> {
    let tagged = signature.tagged(HOME);
    if signature.maker == HOME { tagged } else { STANDARD.encode(tagged.decode().as_bytes()).into() }
}

/// Writes the one field of a block: reasoning. Its text is a required field.
pub(super) fn write_thinking(block: &mut ObjectWriter<'_>, text: &Text<'_>, signature: Option<&Text<'_>>) {
    let mut reasoning = block.object("reasoningContent");
    let mut thoughts = reasoning.object("reasoningText");
    text.write(thoughts.key("text"));
    if let Some(signature) = signature {
        signature.write(thoughts.key("signature"));
    }
}

/// Writes the one field of a block: redacted reasoning.
pub(super) fn write_redacted(block: &mut ObjectWriter<'_>, blob: &Text<'_>) {
    block.object("reasoningContent").with("redactedContent", &blob);
}

/// Writes the fields of a citation.
pub(super) fn write_citation(object: &mut ObjectWriter<'_>, citation: &Citation<'_>) {
    object.maybe("title", citation.title.as_ref());
    if let Some(quote) = &citation.quote {
        object.array("sourceContent").object().with("text", &quote);
    }
    if let Some(url) = &citation.url {
        object.object("location").object("web").with("url", &url);
    }
}

/// Writes the one field of a block: inline media. Returns `false`, and writes nothing, if Converse has no format for
/// them.
pub(super) fn write_file(block: &mut ObjectWriter<'_>, kind: MediaKind, mime: &str, data: &Text<'_>) -> bool {
    let Some(format) = formats::format(kind, mime) else { return false };
    let mut file = block.object(kind.as_str());
    file.field("format", format);
    file.object("source").with("bytes", &data);
    file.end();
    true
}

/// Writes the one field of a block: a call. `input` is the text of an object.
pub(super) fn write_call(block: &mut ObjectWriter<'_>, id: &Text<'_>, name: &Text<'_>, input: &str) {
    let mut call = block.object("toolUse");
    id.write(call.key("toolUseId"));
    name.write(call.key("name"));
    // Servers that stream arguments leave them empty if there are none.
    call.raw("input", &object_text(input).unwrap_or(Cow::Borrowed("{}")));
}
