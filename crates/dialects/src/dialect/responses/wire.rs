//! Types on the wire that are read in more than one place.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conversation::{Invalid, Media, MediaKind, Source, Text},
    dialect::fields::parse,
};

/// The reason why a field that refers to data stored at OpenAI is refused.
pub(super) const STORED: &str = "what it names is stored at OpenAI, and this route's provider can't read it: send the whole \
                                 conversation as `input`";

/// The reason why a compacted conversation is refused.
pub(super) const COMPACTED: &str = "holds a conversation that was compacted at OpenAI, which only OpenAI can \
                                    read: send the messages that it replaces";

/// The reason why a request to compact the conversation is refused.
pub(super) const NO_COMPACTION: &str =
    "this route's provider can't compact a conversation: leave it out, and shorten the conversation";

/// Fields of a request that are ignored without a report: tags, and metadata of items of earlier answers.
pub(super) const PASSED: &[&str] = &[
    "type",
    "id",
    "status",
    "index",
    "phase",
    "end_turn",
    "recipient",
    "caller",
    "created_by",
    // Of calls that the client runs: where, and what the user has agreed to.
    "execution",
    "environment",
    "pending_safety_checks",
    "acknowledged_safety_checks",
    "max_output_length",
    "annotations",
    "logprobs",
    // OpenAI's client adds this to the replies that it has parsed.
    "parsed",
    "parsed_arguments",
    // Codex sends this.
    "internal_chat_message_metadata_passthrough",
    // `explicit`, the only mode of a cache mark.
    "mode",
];

/// An item of `input` or `output`. Only the kind is read at first, because items of hosted tools use the names of the
/// other fields for other types.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct Item<'a> {
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    pub id: Option<&'a RawValue>,
    pub role: Option<&'a RawValue>,
    pub content: Option<&'a RawValue>,
    pub call_id: Option<&'a RawValue>,
    pub name: Option<&'a RawValue>,
    pub arguments: Option<&'a RawValue>,
    pub output: Option<&'a RawValue>,
    pub summary: Option<&'a RawValue>,
    pub encrypted_content: Option<&'a RawValue>,
    pub namespace: Option<&'a RawValue>,
    pub input: Option<&'a RawValue>,
    pub action: Option<&'a RawValue>,
    pub actions: Option<&'a RawValue>,
    pub operation: Option<&'a RawValue>,
    pub tools: Option<&'a RawValue>,
    pub result: Option<&'a RawValue>,
    pub output_format: Option<&'a RawValue>,
    pub status: Option<&'a RawValue>,
    pub code: Option<&'a RawValue>,
    pub outputs: Option<&'a RawValue>,
}

impl<'a> Item<'a> {
    /// The image that a tool of OpenAI's has made, if it is there.
    pub(super) fn image(&self) -> Option<Media<'a>> {
        let data = lenient(self.result).filter(|data| !data.is_empty())?;
        let format = lenient(self.output_format);
        let format = format.as_ref().map_or("png".into(), Text::decode);
        let mime = if format == "svg" { "image/svg+xml".into() } else { format!("image/{format}") };
        Some(Media::new(MediaKind::Image, Source::Data { mime: mime.into(), data }))
    }

    /// A field that holds the arguments of a call.
    pub(super) fn field(&self, name: &str) -> Option<&'a RawValue> {
        match name {
            "arguments" => self.arguments,
            "input" => self.input,
            "action" => self.action,
            "actions" => self.actions,
            "operation" => self.operation,
            _ => None,
        }
    }
}

/// A paragraph of a reasoning item: `summary_text` or `reasoning_text`.
#[derive(Deserialize)]
pub(super) struct Paragraph<'a> {
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
}

/// Paragraphs as one text.
pub(super) fn joined(paragraphs: Vec<Paragraph<'_>>) -> Text<'_> {
    Text::join(paragraphs.into_iter().filter_map(|p| p.text).filter(|text| !text.is_empty()), "\n\n")
}

/// The text of a field that must be a string; `None` if it is absent.
pub(super) fn text(raw: Option<&RawValue>, field: impl FnOnce() -> String) -> Result<Option<Text<'_>>, Invalid> {
    raw.map(|raw| parse(raw.get(), field)).transpose()
}

/// The text of a field, or `None` if it is not a string.
pub(super) fn lenient(raw: Option<&RawValue>) -> Option<Text<'_>> {
    serde_json::from_str(raw?.get()).ok()
}
