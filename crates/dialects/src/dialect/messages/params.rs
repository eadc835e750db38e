//! Parameters of Messages.

use crate::dialect::params::{
    Field,
    Form::{Number, Opaque, Own, Rounded, Texts, Word},
    Param, param,
};

/// Every parameter.
pub(super) const PARAMS: &[Param] = &[
    param("temperature", Field::Temperature, Number(0.0, 1.0)),
    param("top_p", Field::TopP, Number(0.0, 1.0)),
    param("top_k", Field::TopK, Rounded(1.0, 1e9)),
    param("stop_sequences", Field::Stop, Texts(usize::MAX, true)),
    // It depends on the budget of reasoning.
    param("max_tokens", Field::MaxTokens, Own),
    // The API refuses what names a person.
    param("metadata.user_id", Field::User, Opaque(256)),
    param("service_tier", Field::ServiceTier, Word(TIERS)),
    // In `tool_choice`.
    param("", Field::ParallelToolCalls, Own),
];

/// Classes of service, and OpenAI's names for them.
const TIERS: &[(&str, &str)] = &[
    ("auto", "auto"),
    ("default", "standard_only"),
    ("standard", "standard_only"),
    ("standard_only", "standard_only"),
];
