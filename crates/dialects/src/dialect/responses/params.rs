//! Parameters of Responses.

use crate::dialect::params::{
    Field,
    Form::{Count, Id, Number, Object, Own, Word},
    Param, param,
};

/// The lowest token limit that OpenAI accepts.
const MIN_OUTPUT: u64 = 16;
/// Most alternatives of a token.
const MAX_TOP_LOGPROBS: u64 = 20;
/// Longest id of an end user.
const MAX_USER: usize = 64;
/// The older field for the end user, which more servers support.
pub(in crate::dialect) const USER: Param = param("user", Field::User, Id(MAX_USER));
/// Classes of service.
pub(super) const TIERS: &[(&str, &str)] = &[
    ("auto", "auto"),
    ("default", "default"),
    ("flex", "flex"),
    ("scale", "scale"),
    ("priority", "priority"),
    ("fast", "fast"),
    ("ultrafast", "ultrafast"),
];

/// Every parameter.
pub(super) const PARAMS: &[Param] = &[
    param("temperature", Field::Temperature, Number(0.0, 2.0)),
    param("top_p", Field::TopP, Number(0.0, 1.0)),
    param("top_logprobs", Field::TopLogprobs, Count(0, MAX_TOP_LOGPROBS)),
    // In `include`.
    param("", Field::Logprobs, Own),
    param("max_output_tokens", Field::MaxTokens, Count(MIN_OUTPUT, u64::MAX)),
    param("safety_identifier", Field::User, Id(MAX_USER)),
    param("service_tier", Field::ServiceTier, Word(TIERS)),
    param("metadata", Field::Metadata, Object),
    param("parallel_tool_calls", Field::ParallelToolCalls, Own),
];
