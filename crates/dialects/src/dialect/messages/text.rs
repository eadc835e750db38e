//! Where text is in Anthropic Messages.

use std::sync::LazyLock;

use crate::dialect::{
    enrichment::{PromptPlaces, SystemPlace},
    text::{DialectId, Number, Row, SlotRole, Table, TextKind, TextSlots, delta, end, whole},
};

/// Where a gateway's messages are added.
pub static PROMPT: PromptPlaces = PromptPlaces {
    system: SystemPlace::Blocks("system"),
    turns: "messages",
    roles: ["user", "assistant"],
    assistants: &[],
    content: "content",
    block: Some(r#"{"type":"text","text":"#),
    begins_with_user: true,
};

/// The text slots of this dialect.
pub static SLOTS: TextSlots = TextSlots {
    dialect: DialectId::Messages,
    request: LazyLock::new(|| Table::of(&[("", REQUEST), ("messages[].content[].", RESULTS)])),
    reply: LazyLock::new(|| Table::of(&[("", REPLY), ("content[].", RESULTS)])),
    event: LazyLock::new(|| Table::of(&[("", EVENT), ("content_block.", RESULTS)])),
    prompt: &["system", "messages"],
    cache_key: None,
};

/// Results of tools in a block: a string or blocks, the output of code that the provider ran, or a page it fetched.
const RESULTS: &[Row] = &[
    whole("content", TextKind::ToolResult),
    whole("content[].text", TextKind::ToolResult),
    whole("content[].title", TextKind::ToolResult),
    whole("content.stdout", TextKind::ToolResult),
    whole("content.stderr", TextKind::ToolResult),
    whole("content.content.source.data", TextKind::ToolResult).when("type", "text"),
];

const REQUEST: &[Row] = &[
    whole("system", TextKind::System),
    whole("system[].text", TextKind::System),
    whole("messages[].content", TextKind::User).by_role(),
    whole("messages[].content[].text", TextKind::User).by_role(),
    whole("messages[].content[].thinking", TextKind::Reasoning).signed_by("signature"),
    whole("messages[].content[].input.**", TextKind::Arguments),
    whole("messages[].content[].citations[].cited_text", TextKind::Citation),
    // Documents and search results.
    whole("messages[].content[].title", TextKind::User),
    whole("messages[].content[].context", TextKind::User),
    whole("messages[].content[].source.data", TextKind::User).when("type", "text"),
    whole("messages[].content[].source.content", TextKind::User),
    whole("messages[].content[].source.content[].text", TextKind::User),
    // Results of tools may be documents and search results again.
    whole("messages[].content[].content[].context", TextKind::ToolResult),
    whole("messages[].content[].content[].source.data", TextKind::ToolResult).when("type", "text"),
    whole("messages[].content[].content[].source.content", TextKind::ToolResult),
    whole("messages[].content[].content[].source.content[].text", TextKind::ToolResult),
    whole("messages[].content[].content[].content[].text", TextKind::ToolResult),
];

const BLOCK: Number = Number::Element(0, "");

const REPLY: &[Row] = &[
    delta("content[].text", TextKind::Answer).block(BLOCK),
    delta("content[].thinking", TextKind::Reasoning).block(BLOCK).signed_by("signature"),
    whole("content[].input.**", TextKind::Arguments),
    whole("content[].citations[].cited_text", TextKind::Citation),
    whole("content[].citations[].document_title", TextKind::Citation),
    whole("content[].citations[].title", TextKind::Citation),
];

const INDEX: Number = Number::Top("index");
const DELTA: Option<&str> = Some("content_block_delta");
const TEXT: &str = r#"{"type":"content_block_delta","index":$block,"delta":{"type":"text_delta","text":$text}}"#;
const THINKING: &str =
    r#"{"type":"content_block_delta","index":$block,"delta":{"type":"thinking_delta","thinking":$text}}"#;
const INPUT: &str =
    r#"{"type":"content_block_delta","index":$block,"delta":{"type":"input_json_delta","partial_json":$text}}"#;

const EVENT: &[Row] = &[
    delta("content_block.text", TextKind::Answer).block(INDEX).shape(DELTA, TEXT),
    delta("content_block.thinking", TextKind::Reasoning).block(INDEX).shape(DELTA, THINKING),
    delta("delta.text", TextKind::Answer).block(INDEX).shape(DELTA, TEXT),
    delta("delta.thinking", TextKind::Reasoning).block(INDEX).shape(DELTA, THINKING),
    delta("delta.partial_json", TextKind::Arguments).block(INDEX).json().shape(DELTA, INPUT),
    whole("content_block.input.**", TextKind::Arguments),
    // Anthropic's are empty; others may begin with text.
    whole("message.content[].text", TextKind::Answer),
    whole("message.content[].thinking", TextKind::Reasoning),
    whole("delta.citation.cited_text", TextKind::Citation),
    whole("delta.citation.document_title", TextKind::Citation),
    whole("delta.citation.title", TextKind::Citation),
    whole("content_block.citations[].cited_text", TextKind::Citation),
    end("type", SlotRole::EndBlock).when("type", "content_block_stop").block(INDEX),
    end("type", SlotRole::EndAll).when("type", "message_delta"),
    end("type", SlotRole::EndAll).when("type", "message_stop"),
    end("type", SlotRole::EndAll).when("type", "error"),
];
