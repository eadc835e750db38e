//! Where text is in OpenAI Responses. Its streams repeat the text of each part up to four times.

use std::sync::LazyLock;

use crate::dialect::{
    enrichment::{PromptPlaces, SystemPlace},
    text::{DialectId, Number, Row, SlotRole, Table, TextKind, TextSlots, delta, end, erase, repeat, whole},
};

/// Where a gateway's messages are added. Instructions are in a field of their own, since a stored conversation keeps
/// its items and would have them once for each request.
pub static PROMPT: PromptPlaces = PromptPlaces {
    system: SystemPlace::Text("instructions"),
    turns: "input",
    roles: ["user", "assistant"],
    assistants: &["reasoning"],
    content: "content",
    block: None,
    begins_with_user: false,
};

/// The text slots of this dialect.
pub static SLOTS: TextSlots = TextSlots {
    dialect: DialectId::Responses,
    request: LazyLock::new(|| Table::of(&[("", REQUEST), ("input[].", RESULTS)])),
    reply: LazyLock::new(|| {
        Table::of(&[("", REPLY), ("output[].", RESULTS), ("data[].", ITEMS), ("data[].", RESULTS)])
    }),
    event: LazyLock::new(|| Table::of(&[("", EVENT), ("item.", RESULTS), ("response.output[].", RESULTS)])),
    prompt: &["instructions", "input"],
    cache_key: Some("prompt_cache_key"),
};

/// Results of tools in an item, some of which the provider ran.
const RESULTS: &[Row] = &[
    whole("output", TextKind::ToolResult),
    whole("output[].text", TextKind::ToolResult),
    whole("output[].stdout", TextKind::ToolResult),
    whole("output[].stderr", TextKind::ToolResult),
    whole("outputs[].logs", TextKind::ToolResult),
    whole("results[].text", TextKind::ToolResult),
];

const REQUEST: &[Row] = &[
    whole("instructions", TextKind::System),
    whole("input", TextKind::User),
    whole("input[]", TextKind::User),
    whole("input[].content", TextKind::User).by_role(),
    whole("input[].content[].text", TextKind::Reasoning).when("type", "reasoning_text").signed_by("encrypted_content"),
    whole("input[].content[].text", TextKind::User).by_role(),
    whole("input[].content[].refusal", TextKind::Refusal),
    whole("input[].summary[].text", TextKind::Summary).signed_by("encrypted_content"),
    whole("input[].arguments", TextKind::Arguments).json(),
    whole("input[].input", TextKind::Arguments),
    whole("input[].code", TextKind::Arguments),
    whole("prompt.variables.**", TextKind::User),
];

/// The items of a stored response, as `GET /responses/ID/input_items` lists them.
const ITEMS: &[Row] = &[
    whole("content", TextKind::Assistant).by_role(),
    whole("content[].text", TextKind::Assistant).by_role(),
    whole("content[].refusal", TextKind::Refusal),
    whole("summary[].text", TextKind::Summary),
    whole("arguments", TextKind::Arguments).json(),
    whole("input", TextKind::Arguments),
    whole("code", TextKind::Arguments),
];

const ITEM: Number = Number::Element(0, "");
const PART: Number = Number::Element(1, "");

const REPLY: &[Row] = &[
    delta("output[].content[].text", TextKind::Reasoning).when("type", "reasoning_text").block(ITEM).part(PART),
    delta("output[].content[].text", TextKind::Answer).block(ITEM).part(PART),
    delta("output[].content[].refusal", TextKind::Refusal).block(ITEM).part(PART),
    delta("output[].summary[].text", TextKind::Summary).block(ITEM).part(PART),
    delta("output[].arguments", TextKind::Arguments).json().block(ITEM),
    delta("output[].input", TextKind::Arguments).block(ITEM),
    delta("output[].code", TextKind::Arguments).block(ITEM),
    whole("output[].content[].annotations[].title", TextKind::Citation),
    whole("output_text", TextKind::Answer),
    erase("output[].content[].logprobs", "[]"),
];

const OUTPUT: Number = Number::Top("output_index");
const CONTENT: Number = Number::Top("content_index");
const SUMMARY: Number = Number::Top("summary_index");
/// The position in `item.content` and `item.summary`.
const INNER: Number = Number::Element(0, "");

/// A delta of this type, whose block these fields number.
macro_rules! shape {
    ($kind:literal, $place:literal) => {
        concat!(
            r#"{"type":""#,
            $kind,
            r#"","item_id":@item_id,"output_index":$block,"#,
            $place,
            r#""delta":$text,"sequence_number":@sequence_number}"#
        )
    };
}

const TEXT: &str = shape!("response.output_text.delta", r#""content_index":$part,"logprobs":[],"#);
const REFUSAL: &str = shape!("response.refusal.delta", r#""content_index":$part,"#);
const SUMMARIES: &str = shape!("response.reasoning_summary_text.delta", r#""summary_index":$part,"#);
const REASONING: &str = shape!("response.reasoning_text.delta", r#""content_index":$part,"#);
const ARGUMENTS: &str = shape!("response.function_call_arguments.delta", "");
const MCP_ARGUMENTS: &str = shape!("response.mcp_call_arguments.delta", "");
const CUSTOM: &str = shape!("response.custom_tool_call_input.delta", "");
const CODE: &str = shape!("response.code_interpreter_call_code.delta", "");

const EVENT: &[Row] = &[
    delta("delta", TextKind::Answer)
        .when("type", "response.output_text.delta")
        .block(OUTPUT)
        .part(CONTENT)
        .shape(Some("response.output_text.delta"), TEXT),
    delta("delta", TextKind::Refusal)
        .when("type", "response.refusal.delta")
        .block(OUTPUT)
        .part(CONTENT)
        .shape(Some("response.refusal.delta"), REFUSAL),
    delta("delta", TextKind::Summary)
        .when("type", "response.reasoning_summary_text.delta")
        .block(OUTPUT)
        .part(SUMMARY)
        .shape(Some("response.reasoning_summary_text.delta"), SUMMARIES),
    delta("delta", TextKind::Reasoning)
        .when("type", "response.reasoning_text.delta")
        .block(OUTPUT)
        .part(CONTENT)
        .shape(Some("response.reasoning_text.delta"), REASONING),
    delta("delta", TextKind::Arguments)
        .when("type", "response.function_call_arguments.delta")
        .block(OUTPUT)
        .json()
        .shape(Some("response.function_call_arguments.delta"), ARGUMENTS),
    delta("delta", TextKind::Arguments)
        .when("type", "response.mcp_call_arguments.delta")
        .block(OUTPUT)
        .json()
        .shape(Some("response.mcp_call_arguments.delta"), MCP_ARGUMENTS),
    delta("delta", TextKind::Arguments)
        .when("type", "response.custom_tool_call_input.delta")
        .block(OUTPUT)
        .shape(Some("response.custom_tool_call_input.delta"), CUSTOM),
    delta("delta", TextKind::Arguments)
        .when("type", "response.code_interpreter_call_code.delta")
        .block(OUTPUT)
        .shape(Some("response.code_interpreter_call_code.delta"), CODE),
    delta("delta", TextKind::Answer).when("type", "response.audio.transcript.delta").part(Number::Is(1)).shape(
        Some("response.audio.transcript.delta"),
        r#"{"type":"response.audio.transcript.delta","delta":$text,"sequence_number":@sequence_number}"#,
    ),
    // Repeats, from the smallest to the largest.
    repeat("text", TextKind::Answer).when("type", "response.output_text.done").block(OUTPUT).part(CONTENT),
    repeat("refusal", TextKind::Refusal).when("type", "response.refusal.done").block(OUTPUT).part(CONTENT),
    repeat("text", TextKind::Summary).when("type", "response.reasoning_summary_text.done").block(OUTPUT).part(SUMMARY),
    repeat("text", TextKind::Reasoning).when("type", "response.reasoning_text.done").block(OUTPUT).part(CONTENT),
    repeat("arguments", TextKind::Arguments).when("type", "response.function_call_arguments.done").json().block(OUTPUT),
    repeat("arguments", TextKind::Arguments).when("type", "response.mcp_call_arguments.done").json().block(OUTPUT),
    repeat("input", TextKind::Arguments).when("type", "response.custom_tool_call_input.done").block(OUTPUT),
    repeat("code", TextKind::Arguments).when("type", "response.code_interpreter_call_code.done").block(OUTPUT),
    repeat("part.text", TextKind::Summary).when("type", "summary_text").block(OUTPUT).part(SUMMARY),
    repeat("part.text", TextKind::Reasoning).when("type", "reasoning_text").block(OUTPUT).part(CONTENT),
    repeat("part.text", TextKind::Answer).block(OUTPUT).part(CONTENT),
    repeat("part.refusal", TextKind::Refusal).block(OUTPUT).part(CONTENT),
    repeat("item.content[].text", TextKind::Reasoning).when("type", "reasoning_text").block(OUTPUT).part(INNER),
    repeat("item.content[].text", TextKind::Answer).block(OUTPUT).part(INNER),
    repeat("item.content[].refusal", TextKind::Refusal).block(OUTPUT).part(INNER),
    repeat("item.summary[].text", TextKind::Summary).block(OUTPUT).part(INNER),
    repeat("item.arguments", TextKind::Arguments).json().block(OUTPUT),
    repeat("item.input", TextKind::Arguments).block(OUTPUT),
    repeat("item.code", TextKind::Arguments).block(OUTPUT),
    repeat("response.output[].content[].text", TextKind::Reasoning)
        .when("type", "reasoning_text")
        .block(ITEM)
        .part(PART),
    repeat("response.output[].content[].text", TextKind::Answer).block(ITEM).part(PART),
    repeat("response.output[].content[].refusal", TextKind::Refusal).block(ITEM).part(PART),
    repeat("response.output[].summary[].text", TextKind::Summary).block(ITEM).part(PART),
    repeat("response.output[].arguments", TextKind::Arguments).json().block(ITEM),
    repeat("response.output[].input", TextKind::Arguments).block(ITEM),
    repeat("response.output[].code", TextKind::Arguments).block(ITEM),
    whole("response.output_text", TextKind::Answer),
    // What repeats text in other forms.
    whole("annotation.title", TextKind::Citation),
    whole("part.annotations[].title", TextKind::Citation),
    whole("item.content[].annotations[].title", TextKind::Citation),
    whole("response.output[].content[].annotations[].title", TextKind::Citation),
    erase("logprobs", "[]"),
    erase("part.logprobs", "[]"),
    erase("item.content[].logprobs", "[]"),
    erase("response.output[].content[].logprobs", "[]"),
    end("type", SlotRole::EndAll).when("type", "response.completed"),
    end("type", SlotRole::EndAll).when("type", "response.incomplete"),
    end("type", SlotRole::EndAll).when("type", "response.failed"),
    end("type", SlotRole::EndAll).when("type", "error"),
];
