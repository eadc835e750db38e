//! The structures of Converse, as they are read. All fields are optional: code that uses a field checks whether it is
//! there.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};

use crate::{
    conversation::{Invalid, Json, Text, Unsupported},
    dialect::fields,
};

/// Fields of a request that are ignored without a report: tags, and the parts of `guardContent`, which itself is
/// reported.
const PASSED: &[&str] = &[
    "type",
    "qualifiers",
    // Fields of citations, which no model reads, and of images in earlier answers.
    "domain",
    "documentChar",
    "documentPage",
    "documentChunk",
    "searchResultLocation",
];

/// Parses `value`. Unknown fields inside it are reported.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    field: &str,
    value: &'a [u8],
    dropped: &mut Unsupported,
) -> Result<T, Invalid> {
    // The scan has checked the body's encoding.
    let json = std::str::from_utf8(value).unwrap_or("null");
    fields::parse_all(json, || field.to_owned(), PASSED, dropped)
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct Message<'a> {
    pub role: Option<Text<'a>>,
    pub content: Option<Vec<Block<'a>>>,
}

/// A block of content: an object with exactly one field, whose name is the block's kind. It is also the form of
/// `system` and of the results of tools.
pub(super) enum Block<'a> {
    Text(Text<'a>),
    Image(File<'a>),
    Document(File<'a>),
    Video(File<'a>),
    Audio(File<'a>),
    ToolUse(ToolUse<'a>),
    ToolResult(ToolResult<'a>),
    Guard(Guard<'a>),
    CachePoint(CachePoint<'a>),
    Reasoning(Reasoning<'a>),
    Citations(Citations<'a>),
    SearchResult(SearchResult<'a>),
    Json(Json<'a>),
    /// An unknown field, or none.
    Unknown(Cow<'static, str>),
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Key {
    Text,
    Image,
    Document,
    Video,
    Audio,
    ToolUse,
    ToolResult,
    GuardContent,
    CachePoint,
    ReasoningContent,
    CitationsContent,
    SearchResult,
    Json,
    Other(String),
}

impl<'de: 'a, 'a> Deserialize<'de> for Block<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BlockVisitor(PhantomData))
    }
}

struct BlockVisitor<'a>(PhantomData<Block<'a>>);

impl<'de: 'a, 'a> Visitor<'de> for BlockVisitor<'a> {
    type Value = Block<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with exactly one member")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block<'a>, A::Error> {
        let (mut found, mut unknown) = (None, None);
        while let Some(key) = map.next_key()? {
            let block = match key {
                Key::Text => map.next_value::<Option<_>>()?.map(Block::Text),
                Key::Image => map.next_value::<Option<_>>()?.map(Block::Image),
                Key::Document => map.next_value::<Option<_>>()?.map(Block::Document),
                Key::Video => map.next_value::<Option<_>>()?.map(Block::Video),
                Key::Audio => map.next_value::<Option<_>>()?.map(Block::Audio),
                Key::ToolUse => map.next_value::<Option<_>>()?.map(Block::ToolUse),
                Key::ToolResult => map.next_value::<Option<_>>()?.map(Block::ToolResult),
                Key::GuardContent => map.next_value::<Option<_>>()?.map(Block::Guard),
                Key::CachePoint => map.next_value::<Option<_>>()?.map(Block::CachePoint),
                Key::ReasoningContent => map.next_value::<Option<_>>()?.map(Block::Reasoning),
                Key::CitationsContent => map.next_value::<Option<_>>()?.map(Block::Citations),
                Key::SearchResult => map.next_value::<Option<_>>()?.map(Block::SearchResult),
                // `null` is a valid value of a tool's result.
                Key::Json => Some(Block::Json(map.next_value()?)),
                Key::Other(name) => {
                    map.next_value::<IgnoredAny>()?;
                    unknown.get_or_insert(name);
                    None
                }
            };
            if let Some(block) = block
                && found.replace(block).is_some()
            {
                return Err(A::Error::custom("a block has exactly one member"));
            }
        }
        Ok(found.unwrap_or_else(|| Block::Unknown(unknown.map_or(Cow::Borrowed("content"), Cow::Owned))))
    }
}

/// An image, a document, a video or an audio file.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct File<'a> {
    pub format: Option<Text<'a>>,
    pub name: Option<Text<'a>>,
    pub source: Option<Source<'a>>,
    pub context: Option<IgnoredAny>,
    pub citations: Option<CitationsConfig>,
    pub error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct CitationsConfig {
    pub enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Source<'a> {
    pub bytes: Option<Text<'a>>,
    pub s3_location: Option<S3Location<'a>>,
    pub text: Option<Text<'a>>,
    pub content: Option<Vec<OnlyText<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct S3Location<'a> {
    #[serde(borrow)]
    pub uri: Text<'a>,
    pub bucket_owner: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct OnlyText<'a> {
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
pub(super) struct ToolUse<'a> {
    pub tool_use_id: Option<Text<'a>>,
    pub name: Option<Text<'a>>,
    pub input: Option<&'a serde_json::value::RawValue>,
    /// `server_tool_use`: Bedrock called the tool itself.
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct ToolResult<'a> {
    pub tool_use_id: Option<Text<'a>>,
    pub content: Option<Vec<Block<'a>>>,
    pub status: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct Guard<'a> {
    pub text: Option<OnlyText<'a>>,
    pub image: Option<File<'a>>,
}

#[derive(Deserialize)]
pub(super) struct CachePoint<'a> {
    #[serde(borrow)]
    pub ttl: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Reasoning<'a> {
    pub reasoning_text: Option<ReasoningText<'a>>,
    pub redacted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct ReasoningText<'a> {
    pub text: Option<Text<'a>>,
    pub signature: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct Citations<'a> {
    pub content: Option<Vec<OnlyText<'a>>>,
    pub citations: Option<Vec<Citation<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Citation<'a> {
    pub title: Option<Text<'a>>,
    pub source: Option<Text<'a>>,
    pub source_content: Option<Vec<OnlyText<'a>>>,
    pub location: Option<Location<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Location<'a> {
    #[serde(borrow)]
    pub web: Option<Web<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Web<'a> {
    #[serde(borrow)]
    pub url: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct SearchResult<'a> {
    pub source: Option<Text<'a>>,
    pub citations: Option<CitationsConfig>,
    pub title: Option<Text<'a>>,
    pub content: Option<Vec<OnlyText<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct ServiceTier<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Option<Text<'a>>,
}

/// The fields that `additionalModelResponseFieldPaths` requested.
#[derive(Deserialize)]
pub(super) struct AdditionalReply<'a> {
    #[serde(borrow)]
    pub stop_sequence: Option<Text<'a>>,
}
