//! The quirks of the servers that `openai` reaches.

use tollgate_dialects::conversation::HostedKind;
use tollgate_dialects::dialect::{
    DialectId,
    params::{
        Field,
        Form::{Absent, Compact, Count, SamplingTexts, Unsigned, Word},
        Param, param,
    },
    quirks::{CallIds, ChatMedia, ChatQuirks, Fetches, Quirks, ReasoningContent, ReasoningParam, ResponsesQuirks},
};

/// OpenAI's parameters of Chat Completions. Reasoning models accept no stop texts, the others up to four.
const PARAMS: &[Param] = &[
    param("", Field::TopK, Absent),
    param("stop", Field::Stop, SamplingTexts(4)),
    param("max_completion_tokens", Field::MaxTokens, Count(0, u64::MAX)),
    param("service_tier", Field::ServiceTier, Word(TIERS)),
];
/// Classes of service, and Anthropic's name for one of them.
const TIERS: &[(&str, &str)] = &[
    ("auto", "auto"),
    ("default", "default"),
    ("flex", "flex"),
    ("scale", "scale"),
    ("priority", "priority"),
    ("fast", "fast"),
    ("standard_only", "default"),
];

/// `api.openai.com`.
pub const OPENAI: &Quirks = &Quirks {
    fetches: Fetches::Web,
    hosted: &[HostedKind::WebSearch, HostedKind::CodeExecution, HostedKind::ImageGeneration],
    stored_files: true,
    counts_tokens: Some(DialectId::Responses),
    later_instructions: true,
    chat: ChatQuirks {
        params: PARAMS,
        allowed_tools: true,
        text_lists: true,
        refusals: true,
        reasoning_content: ReasoningContent::Never,
        google_signatures: false,
        ..Quirks::PLAIN.chat
    },
    responses: ResponsesQuirks { params: &[], developer_role: true },
    ..Quirks::PLAIN
};

/// Azure OpenAI, by `openai` or `azureopenai`.
pub const AZURE: &Quirks = &Quirks {
    counts_tokens: None,
    responses: ResponsesQuirks { developer_role: true, ..Quirks::PLAIN.responses },
    ..*OPENAI
};

/// Mistral.
pub const MISTRAL: &Quirks = &Quirks {
    fetches: Fetches::Web,
    chat: ChatQuirks {
        params: &[
            param("temperature", Field::Temperature, Compact(0.0, 1.5)),
            param("random_seed", Field::Seed, Unsigned),
            param("", Field::Logprobs, Absent),
            param("", Field::TopLogprobs, Absent),
            param("", Field::User, Absent),
        ],
        stream_options: false,
        call_ids: CallIds::Exactly(9),
        user_after_tool: false,
        prefix: true,
        reasoning: ReasoningParam::NoneOrHigh,
        reasoning_content: ReasoningContent::Never,
        google_signatures: false,
        media: ChatMedia::Urls,
        embedding_length: "output_dimension",
        ..Quirks::PLAIN.chat
    },
    ..Quirks::PLAIN
};

/// `OpenRouter`, which forwards signed reasoning to the model's own vendor.
/// <https://openrouter.ai/docs/use-cases/reasoning-tokens>
pub const OPENROUTER: &Quirks = &Quirks {
    fetches: Fetches::Web,
    chat: ChatQuirks { google_signatures: false, images: true, reasoning_details: true, ..Quirks::PLAIN.chat },
    ..Quirks::PLAIN
};

/// `DeepSeek`.
pub const DEEPSEEK: &Quirks = &Quirks {
    fetches: Fetches::Web,
    chat: ChatQuirks {
        params: &[
            param("", Field::N, Absent),
            param("", Field::Seed, Absent),
            param("", Field::TopK, Absent),
            param("", Field::User, Absent),
        ],
        json_schema: false,
        strict_tools: false,
        parallel_tool_calls: false,
        reasoning: ReasoningParam::EffortOrDisabled,
        reasoning_content: ReasoningContent::WithCalls,
        google_signatures: false,
        media: ChatMedia::Unsupported,
        ..Quirks::PLAIN.chat
    },
    ..Quirks::PLAIN
};
