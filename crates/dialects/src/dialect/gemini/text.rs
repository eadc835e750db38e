//! Where text is in Gemini's `generateContent`, in both of its spellings.

use std::sync::LazyLock;

use crate::dialect::{
    enrichment::{PromptPlaces, SystemPlace},
    text::{DialectId, Number, Row, SlotRole, Table, TextKind, TextSlots, delta, end, erase, whole},
};

/// Where a gateway's messages are added.
pub static PROMPT: PromptPlaces = PromptPlaces {
    system: SystemPlace::Content("systemInstruction", "parts"),
    turns: "contents",
    roles: ["user", "model"],
    assistants: &[],
    content: "parts",
    block: Some(r#"{"text":"#),
    begins_with_user: true,
};

/// The text slots of this dialect.
pub static SLOTS: TextSlots = TextSlots {
    dialect: DialectId::Gemini,
    request: LazyLock::new(|| {
        Table::of(&[("", REQUEST), ("", OTHER), ("generateContentRequest.", REQUEST), ("requests[].", EMBEDDED)])
    }),
    reply: LazyLock::new(|| Table::of(&[("", REPLY), (CANDIDATE, WHOLE)])),
    event: LazyLock::new(|| Table::of(&[("", EVENT), (CANDIDATE, WHOLE)])),
    prompt: &["systemInstruction", "system_instruction", "contents"],
    cache_key: None,
};

/// Text that is to be embedded, by itself or in a batch.
const EMBEDDED: &[Row] = &[
    whole("content", TextKind::User),
    whole("content.parts[].text", TextKind::User),
    whole("content.parts.text", TextKind::User),
    whole("title", TextKind::User),
];

/// Text of requests that generate nothing: one that is to be embedded (here and on Vertex AI), and rankings.
const OTHER: &[Row] = &[
    whole("content", TextKind::User),
    whole("content.parts[].text", TextKind::User),
    whole("content.parts.text", TextKind::User),
    whole("title", TextKind::User),
    whole("instances[].content", TextKind::User),
    whole("instances[].title", TextKind::User),
    whole("query", TextKind::User),
    whole("records[].title", TextKind::User),
    whole("records[].content", TextKind::User),
];

/// Text in requests. Contents and parts may each be an object instead of a list of one.
const REQUEST: &[Row] = &[
    whole("systemInstruction", TextKind::System),
    whole("systemInstruction.parts[].text", TextKind::System),
    whole("systemInstruction.parts.text", TextKind::System),
    whole("system_instruction", TextKind::System),
    whole("system_instruction.parts[].text", TextKind::System),
    whole("system_instruction.parts.text", TextKind::System),
    whole("contents", TextKind::User),
    whole("contents[]", TextKind::User),
    whole("contents.parts[].text", TextKind::User).by_role(),
    whole("contents.parts.text", TextKind::User).by_role(),
    whole("contents[].parts.text", TextKind::User).by_role(),
    whole("contents[].parts[].text", TextKind::Reasoning).when("thought", "true").signed_by("thoughtSignature"),
    whole("contents[].parts[].text", TextKind::User).by_role().signed_by("thoughtSignature"),
    whole("contents[].parts[].functionResponse.response.**", TextKind::ToolResult),
    whole("contents[].parts[].function_response.response.**", TextKind::ToolResult),
    whole("contents[].parts[].codeExecutionResult.output", TextKind::ToolResult),
    whole("contents[].parts[].code_execution_result.output", TextKind::ToolResult),
    whole("contents[].parts[].functionCall.args.**", TextKind::Arguments).signed_by("thoughtSignature"),
    whole("contents[].parts[].function_call.args.**", TextKind::Arguments).signed_by("thought_signature"),
    whole("contents[].parts[].executableCode.code", TextKind::Arguments).signed_by("thoughtSignature"),
    whole("contents[].parts[].executable_code.code", TextKind::Arguments).signed_by("thought_signature"),
];

const CANDIDATE: &str = "candidates[].";
const CHOICE: Number = Number::Element(0, "index");

/// What is complete in itself in each candidate, in replies and in events.
const WHOLE: &[Row] = &[
    whole("content.parts[].functionCall.args.**", TextKind::Arguments).choice(CHOICE),
    whole("content.parts[].executableCode.code", TextKind::Arguments).choice(CHOICE),
    whole("content.parts[].codeExecutionResult.output", TextKind::ToolResult).choice(CHOICE),
    whole("finishMessage", TextKind::Answer).choice(CHOICE),
    whole("groundingMetadata.groundingSupports[].segment.text", TextKind::Citation).choice(CHOICE),
    whole("groundingMetadata.groundingChunks[].web.title", TextKind::Citation).choice(CHOICE),
    whole("groundingMetadata.groundingChunks[].retrievedContext.title", TextKind::Citation).choice(CHOICE),
    whole("groundingMetadata.groundingChunks[].retrievedContext.text", TextKind::Citation).choice(CHOICE),
    whole("groundingMetadata.searchEntryPoint.renderedContent", TextKind::Citation).choice(CHOICE),
    whole("groundingMetadata.webSearchQueries[]", TextKind::Citation).choice(CHOICE),
    whole("citationMetadata.citationSources[].title", TextKind::Citation).choice(CHOICE),
    whole("citationMetadata.citations[].title", TextKind::Citation).choice(CHOICE),
    erase("logprobsResult", "{}"),
];

const REPLY: &[Row] = &[
    delta("candidates[].content.parts[].text", TextKind::Reasoning).when("thought", "true").choice(CHOICE),
    delta("candidates[].content.parts[].text", TextKind::Answer).choice(CHOICE),
];

/// A chunk with one part.
macro_rules! chunk {
    ($part:literal) => {
        concat!(
            r#"{"candidates":[{"content":{"parts":["#,
            $part,
            r#"],"role":"model"},"index":$choice}],"modelVersion":@modelVersion,"responseId":@responseId}"#
        )
    };
}

const TEXT: &str = chunk!(r#"{"text":$text}"#);
const THOUGHT: &str = chunk!(r#"{"text":$text,"thought":true}"#);

/// Text in events. Models of older generations send `STOP` in every chunk, so that it ends an answer only if nothing
/// follows.
const EVENT: &[Row] = &[
    delta("candidates[].content.parts[].text", TextKind::Reasoning)
        .when("thought", "true")
        .choice(CHOICE)
        .shape(None, THOUGHT),
    delta("candidates[].content.parts[].text", TextKind::Answer).choice(CHOICE).shape(None, TEXT),
    whole("candidates[].content.parts[].functionCall.partialArgs[].stringValue", TextKind::Arguments).choice(CHOICE),
    end("candidates[].finishReason", SlotRole::EndChoice).choice(CHOICE),
    end("error", SlotRole::EndAll),
];
