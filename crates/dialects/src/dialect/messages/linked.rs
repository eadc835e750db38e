//! Files that a request names by URL, for servers that fetch nothing. Their ranges are located so that the files can be
//! written into a body that is otherwise unchanged.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{content::MAX_LEVELS, write_content::IMAGES};
use crate::{
    conversation::Text,
    dialect::{FileOf, Link},
    stream::{TopLevel, json::ObjectWriter},
};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Block<'a> {
    source: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Source<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    url: Option<Text<'a>>,
    content: Option<&'a RawValue>,
}

/// The value of `messages`. The scan has checked the body's encoding.
fn messages<'a>(body: &TopLevel<'a>) -> &'a str {
    body.get("messages").and_then(|member| std::str::from_utf8(member.value).ok()).unwrap_or_default()
}

/// The sources of type `url` in a body, in order.
pub(super) fn links(body: &TopLevel<'_>) -> Vec<Link> {
    find(messages(body))
}

/// The sources of type `url` in the value of `messages`, in order. A value of another form has none, and the provider
/// refuses it.
fn find(messages: &str) -> Vec<Link> {
    let mut found = Vec::new();
    let list: Vec<Message<'_>> = serde_json::from_str(messages).unwrap_or_default();
    for (message, content) in list.iter().enumerate().filter_map(|(at, message)| Some((at, message.content?))) {
        walk(content, 1, &mut |source: &RawValue, url| {
            let start = source.get().as_ptr().addr() - messages.as_ptr().addr();
            let range = start..start + source.get().len();
            found.push(Link { place: format!("messages[{message}]"), range, url });
        });
    }
    found
}

fn walk<'a>(content: &'a RawValue, level: u8, found: &mut dyn FnMut(&'a RawValue, String)) {
    if level > MAX_LEVELS || !content.get().starts_with('[') {
        return;
    }
    let blocks: Vec<Block<'a>> = serde_json::from_str(content.get()).unwrap_or_default();
    for block in blocks {
        if let Some(raw) = block.source.filter(|raw| raw.get().starts_with('{'))
            && let Ok(source) = serde_json::from_str::<Source<'a>>(raw.get())
        {
            match source {
                Source { kind: Some(kind), url: Some(url), .. } if kind.is("url") => {
                    found(raw, url.into_decoded().into_owned());
                }
                Source { content: Some(inner), .. } => walk(inner, level + 1, found),
                Source { .. } => {}
            }
        }
        if let Some(inner) = block.content {
            walk(inner, level + 1, found);
        }
    }
}

/// The value of `messages` with files in the place of `links`.
///
/// # Errors
/// The link whose file is of a type that Messages does not support.
pub(super) fn write<'l>(body: &TopLevel<'_>, links: &'l [Link], file: FileOf<'_>) -> Result<Vec<u8>, &'l Link> {
    let messages = messages(body).as_bytes();
    let (mut out, mut done) = (Vec::with_capacity(messages.len()), 0);
    for link in links {
        let Some((mime, data)) = file(&link.url) else { continue };
        out.extend_from_slice(messages.get(done..link.range.start).unwrap_or_default());
        if !write_source(mime, data, &mut out) {
            return Err(link);
        }
        done = link.range.end;
    }
    out.extend_from_slice(messages.get(done..).unwrap_or_default());
    Ok(out)
}

/// Appends the source for a file in base64. Returns `false`, and writes nothing, for types that Messages does not
/// support.
fn write_source(mime: &str, data: &str, out: &mut Vec<u8>) -> bool {
    let kind = mime.split(';').next().unwrap_or_default().trim();
    let kind = if kind == "image/jpg" { "image/jpeg" } else { kind };
    let text = (kind.starts_with("text/") || matches!(kind, "application/json" | "application/xml"))
        .then(|| String::from_utf8(BASE64_STANDARD.decode(data).ok()?).ok())
        .flatten();
    if text.is_none() && !IMAGES.contains(&kind) && kind != "application/pdf" {
        return false;
    }
    let mut source = ObjectWriter::begin(out).with("type", if text.is_some() { "text" } else { "base64" });
    source.field("media_type", if text.is_some() { "text/plain" } else { kind });
    source.field("data", text.as_deref().unwrap_or(data));
    source.end();
    true
}

/// Whether a body of Messages has a source of type `url`.
pub(super) fn names_urls(body: &TopLevel<'_>) -> bool {
    let Some(messages) = body.get("messages") else { return false };
    memchr::memmem::find_iter(messages.value, br#""url""#).any(|at| {
        let before = messages.value.get(..at).unwrap_or_default().trim_ascii_end();
        before.strip_suffix(b":").is_some_and(|before| before.trim_ascii_end().ends_with(br#""type""#))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_sources_are_found() {
        for (messages, expected) in [
            (r#"[{"content":[{"type":"image","source":{"type":"url","url":"https://a"}}]}]"#, true),
            (r#"[{"content":[{"source":{"type" : "url"}}]}]"#, true),
            (r#"[{"content":[{"type":"text","text":"\"type\":\"url\""}]}]"#, false),
            (r#"[{"content":"\"url\""}]"#, false),
        ] {
            let body = format!(r#"{{"messages":{messages}}}"#);
            assert_eq!(names_urls(&TopLevel::scan(body.as_bytes()).unwrap()), expected, "{messages}");
        }
    }

    #[test]
    fn sources_are_found_where_blocks_have_them() {
        let messages = r#"[{"role":"user","content":"\"type\":\"url\""},{"role":"user","content":[
            {"type":"image","source":{"type":"url","url":"https://e.com/a\u002fb"}},
            {"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"url":"https://e.com/2","type":"url"}}]},
            {"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"url","url":"https://e.com/3"}}]}},
            {"type":"tool_use","id":"u","name":"f","input":{"source":{"type":"url","url":"https://e.com/no"}}},
            {"type":"search_result","source":"https://e.com/no","content":[]},
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"eA=="}}]}]"#;
        let found = find(messages);
        let urls: Vec<&str> = found.iter().map(|one| &*one.url).collect();
        assert_eq!(urls, ["https://e.com/a/b", "https://e.com/2", "https://e.com/3"]);
        assert!(found.iter().all(|one| one.place == "messages[1]"));
        assert_eq!(&messages[found[1].range.clone()], r#"{"url":"https://e.com/2","type":"url"}"#);
        assert_eq!(find("[7"), []);
        assert_eq!(find(r#"[{"content":[7]},{"content":{}}]"#), []);
    }

    #[test]
    fn files_become_sources_of_their_type() {
        let made = |mime: &str, data: &str| {
            let mut out = Vec::new();
            let written = write_source(mime, data, &mut out);
            assert_eq!(written, !out.is_empty());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(made("image/jpg", "eA=="), r#"{"type":"base64","media_type":"image/jpeg","data":"eA=="}"#);
        assert_eq!(
            made("application/pdf", "eA=="),
            r#"{"type":"base64","media_type":"application/pdf","data":"eA=="}"#
        );
        assert_eq!(
            made("text/markdown; charset=utf-8", "IyBo"),
            r##"{"type":"text","media_type":"text/plain","data":"# h"}"##
        );
        assert_eq!(made("text/plain", "/w=="), "", "no UTF-8");
        assert_eq!(made("audio/wav", "eA=="), "");
    }
}
