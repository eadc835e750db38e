//! Where text is in Chat Completions, and in the older Completions.

use std::sync::LazyLock;

use crate::dialect::{
    enrichment::{PromptPlaces, SystemPlace},
    text::{DialectId, Number, Row, SlotRole, Table, TextKind, TextSlots, delta, end, erase, whole},
};

/// Where a gateway's messages are added: instructions are messages like any other.
pub static PROMPT: PromptPlaces = PromptPlaces {
    system: SystemPlace::Turn("system"),
    turns: "messages",
    roles: ["user", "assistant"],
    assistants: &[],
    content: "content",
    block: None,
    begins_with_user: false,
};

/// The text slots of this dialect.
pub static SLOTS: TextSlots = TextSlots {
    dialect: DialectId::Chat,
    request: LazyLock::new(|| Table::new(REQUEST)),
    reply: LazyLock::new(|| Table::new(REPLY)),
    event: LazyLock::new(|| Table::new(EVENT)),
    prompt: &["messages"],
    cache_key: Some("prompt_cache_key"),
};

/// Mistral writes content as a list of chunks; `DeepSeek` and vLLM have `reasoning_content`, Ollama has `reasoning`.
const REQUEST: &[Row] = &[
    whole("messages[].content", TextKind::User).by_role(),
    whole("messages[].content[].text", TextKind::User).by_role(),
    whole("messages[].content[].refusal", TextKind::Refusal),
    whole("messages[].content[].thinking[].text", TextKind::Reasoning).signed_by("signature"),
    whole("messages[].refusal", TextKind::Refusal),
    whole("messages[].reasoning_content", TextKind::Reasoning),
    whole("messages[].reasoning", TextKind::Reasoning),
    whole("messages[].thinking_blocks[].thinking", TextKind::Reasoning).signed_by("signature"),
    whole("messages[].reasoning_details[].text", TextKind::Reasoning).signed_by("signature"),
    whole("messages[].reasoning_details[].summary", TextKind::Reasoning),
    whole("messages[].tool_calls[].function.arguments", TextKind::Arguments).json(),
    whole("messages[].tool_calls[].function.arguments.**", TextKind::Arguments),
    whole("messages[].tool_calls[].custom.input", TextKind::Arguments),
    whole("messages[].function_call.arguments", TextKind::Arguments).json(),
    whole("prediction.content", TextKind::User),
    whole("prediction.content[].text", TextKind::User),
    whole("prompt", TextKind::User),
    whole("prompt[]", TextKind::User),
    whole("suffix", TextKind::User),
    whole("input", TextKind::User),
    whole("input[]", TextKind::User),
    whole("input[].text", TextKind::User),
    // Rankings, and documents beside a conversation.
    whole("query", TextKind::User),
    whole("documents[].**", TextKind::User),
];

const CHOICE: Number = Number::Element(0, "index");
const CALL: Number = Number::Element(1, "index");
/// Text of one kind in two fields is two texts.
const SECOND: Number = Number::Is(1);
const THIRD: Number = Number::Is(2);

const REPLY: &[Row] = &[
    delta("choices[].message.content", TextKind::Answer).choice(CHOICE),
    delta("choices[].message.content[].text", TextKind::Answer).choice(CHOICE),
    delta("choices[].message.content[].thinking[].text", TextKind::Reasoning).choice(CHOICE),
    delta("choices[].message.refusal", TextKind::Refusal).choice(CHOICE),
    delta("choices[].message.reasoning_content", TextKind::Reasoning).choice(CHOICE),
    delta("choices[].message.reasoning", TextKind::Reasoning).choice(CHOICE).part(SECOND),
    delta("choices[].message.reasoning_details[].text", TextKind::Reasoning).choice(CHOICE).block(CALL).part(THIRD),
    delta("choices[].message.reasoning_details[].summary", TextKind::Reasoning).choice(CHOICE).block(CALL).part(THIRD),
    whole("choices[].message.thinking_blocks[].thinking", TextKind::Reasoning).choice(CHOICE),
    delta("choices[].message.audio.transcript", TextKind::Answer).choice(CHOICE).part(SECOND),
    delta("choices[].message.tool_calls[].function.arguments", TextKind::Arguments).choice(CHOICE).block(CALL).json(),
    whole("choices[].message.tool_calls[].function.arguments.**", TextKind::Arguments).choice(CHOICE),
    delta("choices[].message.tool_calls[].custom.input", TextKind::Arguments).choice(CHOICE).block(CALL).part(SECOND),
    delta("choices[].message.function_call.arguments", TextKind::Arguments).choice(CHOICE).part(THIRD).json(),
    delta("choices[].text", TextKind::Answer).choice(CHOICE).part(THIRD),
    whole("choices[].message.annotations[].url_citation.title", TextKind::Citation).choice(CHOICE),
    whole("choices[].message.context.citations[].content", TextKind::Citation).choice(CHOICE),
    whole("choices[].message.context.citations[].title", TextKind::Citation).choice(CHOICE),
    erase("choices[].logprobs", "null"),
];

/// A chunk that adds to one field of a delta.
macro_rules! chunk {
    ($delta:literal) => {
        concat!(
            r#"{"id":@id,"object":"chat.completion.chunk","created":@created,"model":@model,"#,
            r#""choices":[{"index":$choice,"delta":"#,
            $delta,
            r#","finish_reason":null}]}"#
        )
    };
}

const CONTENT: &str = chunk!(r#"{"content":$text}"#);
const REASONING: &str = chunk!(r#"{"reasoning_content":$text}"#);
const THINKING: &str = chunk!(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":$text}]}]}"#);
const ARGUMENTS: &str = chunk!(r#"{"tool_calls":[{"index":$block,"function":{"arguments":$text}}]}"#);
const CUSTOM: &str = chunk!(r#"{"tool_calls":[{"index":$block,"custom":{"input":$text}}]}"#);
const COMPLETION: &str = concat!(
    r#"{"id":@id,"object":"text_completion","created":@created,"model":@model,"#,
    r#""choices":[{"index":$choice,"text":$text,"logprobs":null,"finish_reason":null}]}"#
);

const EVENT: &[Row] = &[
    delta("choices[].delta.content", TextKind::Answer).choice(CHOICE).shape(None, CONTENT),
    delta("choices[].delta.content[].text", TextKind::Answer).choice(CHOICE).shape(None, CONTENT),
    delta("choices[].delta.content[].thinking[].text", TextKind::Reasoning).choice(CHOICE).shape(None, THINKING),
    delta("choices[].delta.refusal", TextKind::Refusal).choice(CHOICE).shape(None, chunk!(r#"{"refusal":$text}"#)),
    delta("choices[].delta.reasoning_content", TextKind::Reasoning).choice(CHOICE).shape(None, REASONING),
    delta("choices[].delta.reasoning", TextKind::Reasoning)
        .choice(CHOICE)
        .part(SECOND)
        .shape(None, chunk!(r#"{"reasoning":$text}"#)),
    delta("choices[].delta.reasoning_details[].text", TextKind::Reasoning)
        .choice(CHOICE)
        .block(CALL)
        .part(THIRD)
        .shape(None, chunk!(r#"{"reasoning_details":[{"type":"reasoning.text","index":$block,"text":$text}]}"#)),
    delta("choices[].delta.reasoning_details[].summary", TextKind::Reasoning)
        .choice(CHOICE)
        .block(CALL)
        .part(Number::Is(3))
        .shape(None, chunk!(r#"{"reasoning_details":[{"type":"reasoning.summary","index":$block,"summary":$text}]}"#)),
    delta("choices[].delta.thinking_blocks[].thinking", TextKind::Reasoning)
        .choice(CHOICE)
        .part(Number::Is(4))
        .shape(None, chunk!(r#"{"thinking_blocks":[{"type":"thinking","thinking":$text}]}"#)),
    delta("choices[].delta.audio.transcript", TextKind::Answer)
        .choice(CHOICE)
        .part(SECOND)
        .shape(None, chunk!(r#"{"audio":{"transcript":$text}}"#)),
    delta("choices[].delta.tool_calls[].function.arguments", TextKind::Arguments)
        .choice(CHOICE)
        .block(CALL)
        .json()
        .shape(None, ARGUMENTS),
    whole("choices[].delta.tool_calls[].function.arguments.**", TextKind::Arguments).choice(CHOICE),
    delta("choices[].delta.tool_calls[].custom.input", TextKind::Arguments)
        .choice(CHOICE)
        .block(CALL)
        .part(SECOND)
        .shape(None, CUSTOM),
    delta("choices[].delta.function_call.arguments", TextKind::Arguments)
        .choice(CHOICE)
        .part(THIRD)
        .json()
        .shape(None, chunk!(r#"{"function_call":{"arguments":$text}}"#)),
    delta("choices[].text", TextKind::Answer).choice(CHOICE).part(THIRD).shape(None, COMPLETION),
    // Some servers send the last chunk with the whole message once more.
    whole("choices[].message.content", TextKind::Answer).choice(CHOICE),
    whole("choices[].message.reasoning_content", TextKind::Reasoning).choice(CHOICE),
    whole("choices[].delta.annotations[].url_citation.title", TextKind::Citation).choice(CHOICE),
    whole("choices[].delta.context.citations[].content", TextKind::Citation).choice(CHOICE),
    whole("choices[].delta.context.citations[].title", TextKind::Citation).choice(CHOICE),
    erase("choices[].logprobs", "null"),
    end("choices[].finish_reason", SlotRole::EndChoice).choice(CHOICE),
    end("error", SlotRole::EndAll),
];
