//! Where text is in Bedrock Converse.

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
    block: Some(r#"{"text":"#),
    begins_with_user: true,
};

/// The text slots of this dialect.
pub static SLOTS: TextSlots = TextSlots {
    dialect: DialectId::Converse,
    request: LazyLock::new(|| Table::new(REQUEST)),
    reply: LazyLock::new(|| Table::new(REPLY)),
    event: LazyLock::new(|| Table::new(EVENT)),
    prompt: &["system", "messages"],
    cache_key: None,
};

const REQUEST: &[Row] = &[
    whole("system[].text", TextKind::System),
    whole("system[].guardContent.text.text", TextKind::System),
    whole("messages[].content[].text", TextKind::User).by_role(),
    whole("messages[].content[].guardContent.text.text", TextKind::User).by_role(),
    whole("messages[].content[].document.source.text", TextKind::User),
    whole("messages[].content[].document.source.content[].text", TextKind::User),
    whole("messages[].content[].document.context", TextKind::User),
    whole("messages[].content[].searchResult.content[].text", TextKind::User),
    whole("messages[].content[].searchResult.title", TextKind::User),
    whole("messages[].content[].citationsContent.content[].text", TextKind::User).by_role(),
    whole("messages[].content[].citationsContent.citations[].sourceContent[].text", TextKind::Citation),
    whole("messages[].content[].toolResult.content[].text", TextKind::ToolResult),
    whole("messages[].content[].toolResult.content[].json.**", TextKind::ToolResult),
    whole("messages[].content[].toolResult.content[].document.source.text", TextKind::ToolResult),
    whole("messages[].content[].toolResult.content[].document.source.content[].text", TextKind::ToolResult),
    whole("messages[].content[].toolResult.content[].searchResult.content[].text", TextKind::ToolResult),
    whole("messages[].content[].toolUse.input.**", TextKind::Arguments),
    whole("messages[].content[].reasoningContent.reasoningText.text", TextKind::Reasoning).signed_by("signature"),
    whole("promptVariables.**", TextKind::User),
    // Rankings.
    whole("queries[].textQuery.text", TextKind::User),
    whole("sources[].inlineDocumentSource.textDocument.text", TextKind::User),
    whole("sources[].inlineDocumentSource.jsonDocument.**", TextKind::User),
];

const BLOCK: Number = Number::Element(0, "");
const SECOND: Number = Number::Is(1);

const REPLY: &[Row] = &[
    delta("output.message.content[].text", TextKind::Answer).block(BLOCK),
    delta("output.message.content[].citationsContent.content[].text", TextKind::Answer).block(BLOCK).part(SECOND),
    delta("output.message.content[].reasoningContent.reasoningText.text", TextKind::Reasoning)
        .block(BLOCK)
        .signed_by("signature"),
    whole("output.message.content[].toolUse.input.**", TextKind::Arguments),
    whole("output.message.content[].toolResult.content[].text", TextKind::ToolResult),
    whole("output.message.content[].toolResult.content[].json.**", TextKind::ToolResult),
    whole("output.message.content[].citationsContent.citations[].title", TextKind::Citation),
    whole("output.message.content[].citationsContent.citations[].sourceContent[].text", TextKind::Citation),
];

const INDEX: Number = Number::Top("contentBlockIndex");
const DELTA: Option<&str> = Some("contentBlockDelta");

const EVENT: &[Row] = &[
    delta("delta.text", TextKind::Answer)
        .block(INDEX)
        .shape(DELTA, r#"{"contentBlockIndex":$block,"delta":{"text":$text}}"#),
    delta("delta.reasoningContent.text", TextKind::Reasoning)
        .block(INDEX)
        .shape(DELTA, r#"{"contentBlockIndex":$block,"delta":{"reasoningContent":{"text":$text}}}"#),
    delta("delta.toolUse.input", TextKind::Arguments)
        .block(INDEX)
        .json()
        .shape(DELTA, r#"{"contentBlockIndex":$block,"delta":{"toolUse":{"input":$text}}}"#),
    whole("delta.toolResult[].text", TextKind::ToolResult),
    whole("delta.toolResult[].json.**", TextKind::ToolResult),
    whole("delta.citation.title", TextKind::Citation),
    whole("delta.citation.sourceContent[].text", TextKind::Citation),
    end("contentBlockIndex", SlotRole::EndBlock).event("contentBlockStop").block(INDEX),
    end("stopReason", SlotRole::EndAll),
];
