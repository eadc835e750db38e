//! Types that requests, replies and streams share on the wire.

use std::{borrow::Cow, fmt::Display};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::hosted::{self, Uses};
use crate::{
    conversation::{Cache, Citation, Finish, Invalid, Text, TokenUsage, Unsupported, object_text},
    dialect::fields::{self, Unknown},
    stream::json::ObjectWriter,
};

/// Fields of a request that are ignored without a report: tags, metadata of earlier answers, hints for faster
/// streaming, and the scope of a cache.
const PASSED: &[&str] = &["type", "index", "caller", "parsed_output", "partial_json", "eager_input_streaming", "scope"];

/// Any content block: a flat union, since tagged enums of serde can't borrow raw values.
#[derive(Deserialize, Default)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct Block<'a> {
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    pub text: Option<Text<'a>>,
    /// An array in `text`, `{"enabled"}` in `document`.
    pub citations: Option<&'a RawValue>,
    /// An object in `image` and `document`, a string in `search_result`.
    pub source: Option<&'a RawValue>,
    pub title: Option<Text<'a>>,
    pub context: Option<Text<'a>>,
    pub thinking: Option<Text<'a>>,
    pub signature: Option<Text<'a>>,
    pub data: Option<Text<'a>>,
    pub id: Option<Text<'a>>,
    pub name: Option<Text<'a>>,
    pub input: Option<&'a RawValue>,
    pub tool_use_id: Option<Text<'a>>,
    /// A string or blocks.
    pub content: Option<&'a RawValue>,
    pub is_error: Option<bool>,
    pub cache_control: Option<CacheControl<'a>>,
}

/// `{"type":"ephemeral","ttl":"5m"}`.
#[derive(Deserialize)]
pub(super) struct CacheControl<'a> {
    #[serde(borrow)]
    ttl: Option<Text<'a>>,
}

impl<'a> From<CacheControl<'a>> for Cache<'a> {
    fn from(wire: CacheControl<'a>) -> Self {
        Self { ttl: wire.ttl }
    }
}

/// A citation, whatever its source.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct WireCitation<'a> {
    cited_text: Option<Text<'a>>,
    url: Option<Text<'a>>,
    source: Option<Text<'a>>,
    title: Option<Text<'a>>,
    document_title: Option<Text<'a>>,
}

impl<'a> From<WireCitation<'a>> for Citation<'a> {
    /// Positions are left out: these are positions in the source, the conversation's are in the answer.
    fn from(wire: WireCitation<'a>) -> Self {
        Self {
            url: wire.url.or(wire.source),
            title: wire.title.or(wire.document_title),
            quote: wire.cited_text,
            start: None,
            end: None,
        }
    }
}

/// Writes a citation in the form that fits its source.
pub(super) fn write_citation(citation: &Citation<'_>, mut object: ObjectWriter<'_>) {
    let none = Text::from("");
    let quote = citation.quote.as_ref().unwrap_or(&none);
    if let Some(url) = &citation.url {
        object.field("type", "web_search_result_location");
        object.field("cited_text", quote);
        object.field("url", url);
        object.field("title", &citation.title);
        object.field("encrypted_index", hosted::FOREIGN_INDEX);
    } else {
        object.field("type", "char_location");
        object.field("cited_text", quote);
        object.field("document_index", &0);
        object.field("document_title", &citation.title);
        object.field("start_char_index", &0);
        object.field("end_char_index", &0);
    }
}

/// Writes `usage`. Clients add the counts up without checking whether they are there, so a whole message has an
/// `estimate` of its prompt if the provider has not counted; other unknown counts are zero.
pub(super) fn write_usage(usage: &TokenUsage, estimate: Option<u64>, uses: Uses, mut object: ObjectWriter<'_>) {
    let counted = usage.input.map(|_| usage.fresh_input());
    if let Some(input) = counted.or(estimate) {
        object.field("input_tokens", &input);
        object.field("cache_creation_input_tokens", &usage.cache_write.unwrap_or(0));
        object.field("cache_read_input_tokens", &usage.cached.unwrap_or(0));
    }
    object.field("output_tokens", &usage.output.unwrap_or(0));
    if let Some(reasoning) = usage.reasoning {
        object.object("output_tokens_details").with("thinking_tokens", &reasoning);
    }
    uses.write(&mut object);
}

/// The meaning of a `stop_reason`; unknown ones count as a normal end.
pub(super) fn finish_of(stop_reason: Option<&Text<'_>>) -> Finish {
    let Some(reason) = stop_reason else { return Finish::Stop };
    match &*reason.decode() {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Filtered,
        _ => Finish::Stop,
    }
}

/// Writes `stop_reason` and `stop_sequence`.
pub(super) fn write_stop(finish: Finish, stop_sequence: Option<&Text<'_>>, object: &mut ObjectWriter<'_>) {
    let reason = match finish {
        Finish::Stop if stop_sequence.is_some() => "stop_sequence",
        Finish::Stop | Finish::Failed => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::Filtered => "refusal",
    };
    object.field("stop_reason", reason);
    object.field("stop_sequence", &stop_sequence);
}

/// Arguments of a call as the object that this dialect requires: unchanged, or `{}` for none. `None` if they are not an
/// object.
pub(super) fn arguments(text: &str) -> Option<Cow<'_, str>> {
    if text.trim().is_empty() { Some(Cow::Borrowed("{}")) } else { object_text(text) }
}

/// Parses a value; the field of an error is relative to it.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Invalid> {
    fields::parse(json, String::new)
}

/// Parses a value. Unknown fields inside it are reported.
pub(super) fn parse_all<'a, T: Deserialize<'a>>(json: &'a str, dropped: &mut Unsupported) -> Result<T, Invalid> {
    fields::parse_all(json, String::new, PASSED, dropped)
}

/// Parses a list whose elements may be left out as a whole.
pub(super) fn parse_noting<'a, T: Deserialize<'a>>(json: &'a str) -> Result<(Vec<T>, Unknown<'a>), Invalid> {
    fields::parse_noting(json, String::new, PASSED)
}

/// Puts `outer` before the name of the field that is wrong.
pub(super) fn within(outer: impl Display) -> impl FnOnce(Invalid) -> Invalid {
    move |mut invalid| {
        let dot = if invalid.field.is_empty() || invalid.field.starts_with('[') { "" } else { "." };
        invalid.field = format!("{outer}{dot}{}", invalid.field);
        invalid
    }
}
