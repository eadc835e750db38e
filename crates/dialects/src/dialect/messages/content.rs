//! Reads the content of messages.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    HOME,
    wire::{Block, parse, parse_all, parse_noting, within},
};
use crate::{
    conversation::{
        Cache, Call, Content, Invalid, Media, MediaKind, Part, Signature, SignatureOrigin, Source, Text, ToolResult,
        Unsupported, object_text,
    },
    dialect::{OTHER_STORE, foreign},
};

/// The reason why a compacted conversation without a summary is refused.
const COMPACTED: &str = "holds a conversation that was compacted at Anthropic, which only Anthropic can read: send \
                         the messages that it replaces";

/// Levels of blocks: the blocks of a message, and those in its results and documents. A search result in a result is
/// the deepest valid one.
pub(super) const MAX_LEVELS: u8 = 3;

/// Reads a string or an array of blocks; the field of an error is relative to it.
pub(super) fn parts<'a>(raw: &'a RawValue, dropped: &mut Unsupported) -> Result<Vec<Part<'a>>, Invalid> {
    level(raw, 1, dropped)
}

fn level<'a>(raw: &'a RawValue, depth: u8, dropped: &mut Unsupported) -> Result<Vec<Part<'a>>, Invalid> {
    if depth > MAX_LEVELS {
        return Err(Invalid::new("", "is nested too deep"));
    }
    if raw.get().starts_with('"') {
        return Ok(vec![Content::text(parse::<Text<'a>>(raw.get())?).into()]);
    }
    let (blocks, mut unknown) = parse_noting::<Block<'a>>(raw.get())?;
    let mut parts = Vec::with_capacity(blocks.len());
    let mut whole: Option<Vec<&'a RawValue>> = None;
    for (index, block) in blocks.into_iter().enumerate() {
        let read = read(block, depth, &mut parts, dropped);
        if let Some(kind) = read.map_err(|invalid| within(format_args!("[{index}]"))(invalid))? {
            // The fields that are not read are a part of the text, or left out with it.
            unknown.discard(index);
            if !foreign::is_of_tool(&kind) {
                dropped.add(kind);
                continue;
            }
            if whole.is_none() {
                whole = Some(parse(raw.get())?);
            }
            let block = whole.as_ref().and_then(|whole| whole.get(index)).map_or("{}", |block| block.get());
            parts.push(Content::text(foreign::text(&kind, block, &["cache_control"])).into());
        }
    }
    unknown.name(dropped);
    Ok(parts)
}

fn missing(field: &str) -> Invalid {
    Invalid::new(field, "is required")
}

/// Reads a block. Returns its kind if only Anthropic has it.
fn read<'a>(
    block: Block<'a>,
    depth: u8,
    parts: &mut Vec<Part<'a>>,
    dropped: &mut Unsupported,
) -> Result<Option<String>, Invalid> {
    let Some(kind) = &block.kind else { return Err(missing("type")) };
    let kind = kind.reborrow().into_decoded().into_owned();
    let mut block = block;
    let cache = block.cache_control.take().map(Cache::from);
    let content = match kind.as_str() {
        "text" => text(block, parts)?,
        "image" => {
            let source = block.source.ok_or_else(|| missing("source"))?;
            let source = parse_all(source.get(), dropped).and_then(source_of).map_err(within("source"))?;
            Content::Media(Media { kind: MediaKind::Image, source, name: None, detail: None, signature: None })
        }
        "document" => {
            let Some(content) = document(block, depth, parts, dropped)? else {
                if let Some(last) = parts.last_mut() {
                    last.cache = last.cache.take().or(cache);
                }
                return Ok(None);
            };
            content
        }
        "search_result" => search_result(&block, depth, dropped)?,
        "thinking" => {
            // Reasoning without a signature comes from models that don't sign.
            let signature = block.signature.take().filter(|text| !text.is_empty());
            let signature = signature.map(|text| Signature::untagged(text, HOME));
            Content::Thinking { text: block.thinking.unwrap_or_else(|| Text::from("")), signature }
        }
        "redacted_thinking" => Content::Redacted(Signature::untagged(block.data.ok_or_else(|| missing("data"))?, HOME)),
        "tool_use" => Content::Call(call(block, parts)?),
        "tool_result" => {
            let id = block.tool_use_id.ok_or_else(|| missing("tool_use_id"))?;
            let parts = match block.content {
                Some(content) => level(content, depth + 1, dropped).map_err(within("content"))?,
                None => Vec::new(),
            };
            Content::Result(ToolResult { id, name: None, parts, failed: block.is_error.unwrap_or(false) })
        }
        "compaction" => {
            let summary = block.content.and_then(Text::of);
            Content::text(summary.ok_or_else(|| Invalid::new("", COMPACTED))?)
        }
        "container_upload" => return Err(Invalid::new("file_id", OTHER_STORE)),
        _ => return Ok(Some(kind)),
    };
    parts.push(Part { content, cache });
    Ok(None)
}

/// Clients send Gemini's signatures as blocks before the block that they sign: removes such a block and returns its
/// signature.
fn google_signature<'a>(parts: &mut Vec<Part<'a>>, thinking_too: bool) -> Option<Signature<'a>> {
    let is_proof = match &parts.last()?.content {
        Content::Redacted(signature) => signature.maker == SignatureOrigin::Google,
        Content::Thinking { text, signature: Some(signature) } => {
            thinking_too && signature.maker == SignatureOrigin::Google && text.is_empty()
        }
        _ => false,
    };
    match parts.pop_if(|_| is_proof)?.content {
        Content::Redacted(signature) => Some(signature),
        Content::Thinking { signature, .. } => signature,
        _ => None,
    }
}

/// A text. The sources of an earlier answer are not sent to models.
fn text<'a>(block: Block<'a>, parts: &mut Vec<Part<'a>>) -> Result<Content<'a>, Invalid> {
    let text = block.text.ok_or_else(|| missing("text"))?;
    Ok(Content::Text { text, citations: Vec::new(), signature: google_signature(parts, false) })
}

fn call<'a>(block: Block<'a>, parts: &mut Vec<Part<'a>>) -> Result<Call<'a>, Invalid> {
    let id = block.id.ok_or_else(|| missing("id"))?;
    let name = block.name.ok_or_else(|| missing("name"))?;
    let arguments = object_text(block.input.map_or("{}", RawValue::get))
        .ok_or_else(|| Invalid::new("input", "must be an object, at most 128 levels deep"))?;
    Ok(Call { id, name: name.into(), arguments, signature: google_signature(parts, true) })
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireSource<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    media_type: Option<Text<'a>>,
    data: Option<Text<'a>>,
    url: Option<Text<'a>>,
    file_id: Option<Text<'a>>,
    content: Option<&'a RawValue>,
}

fn source_of(wire: WireSource<'_>) -> Result<Source<'_>, Invalid> {
    let kind = wire.kind.ok_or_else(|| missing("type"))?;
    Ok(match &*kind.decode() {
        "base64" => Source::Data {
            mime: wire.media_type.ok_or_else(|| missing("media_type"))?.into_decoded(),
            data: wire.data.ok_or_else(|| missing("data"))?,
        },
        "url" => Source::Url { url: wire.url.ok_or_else(|| missing("url"))?, mime: None },
        "file" => Source::File(wire.file_id.ok_or_else(|| missing("file_id"))?),
        "text" => Source::Text(wire.data.ok_or_else(|| missing("data"))?),
        other => return Err(Invalid::new("type", format!("'{other}' is no kind of source"))),
    })
}

/// Whether citations are requested.
fn enabled(citations: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Enabled {
        enabled: Option<bool>,
    }
    serde_json::from_str::<Enabled>(citations.get()).is_ok_and(|citations| citations.enabled == Some(true))
}

/// Reads a document; one that consists of blocks becomes these blocks.
fn document<'a>(
    block: Block<'a>,
    depth: u8,
    parts: &mut Vec<Part<'a>>,
    dropped: &mut Unsupported,
) -> Result<Option<Content<'a>>, Invalid> {
    dropped.add_if(block.citations.is_some_and(enabled), "citations");
    dropped.add_if(block.context.is_some(), "context");
    let raw = block.source.ok_or_else(|| missing("source"))?;
    let mut wire: WireSource<'a> = parse_all(raw.get(), dropped).map_err(within("source"))?;
    if wire.kind.as_ref().is_some_and(|kind| kind.is("content")) {
        let content = wire.content.take().ok_or_else(|| missing("source.content"))?;
        dropped.add_if(block.title.is_some_and(|title| !title.is_empty()), "title");
        parts.extend(level(content, depth + 1, dropped).map_err(within("source.content"))?);
        return Ok(None);
    }
    let source = source_of(wire).map_err(within("source"))?;
    Ok(Some(Content::Media(Media {
        kind: MediaKind::Document,
        source,
        name: block.title,
        detail: None,
        signature: None,
    })))
}

/// Reads a search result: a text with a title and a source.
fn search_result<'a>(block: &Block<'a>, depth: u8, dropped: &mut Unsupported) -> Result<Content<'a>, Invalid> {
    let source: Option<Text<'a>> = match block.source {
        Some(raw) => parse(raw.get()).map_err(within("source"))?,
        None => None,
    };
    dropped.add_if(block.citations.is_some_and(enabled), "citations");
    let mut text = String::new();
    for line in [block.title.as_ref(), source.as_ref()].into_iter().flatten() {
        text.push_str(&line.decode());
        text.push('\n');
    }
    if let Some(content) = block.content {
        for part in level(content, depth + 1, dropped).map_err(within("content"))? {
            dropped.add_if(part.cache.is_some(), "cache_control");
            if let Content::Text { text: part, .. } = part.content {
                text.push('\n');
                text.push_str(&part.decode());
            } else {
                dropped.add("search_result");
            }
        }
    }
    Ok(Content::text(text))
}
