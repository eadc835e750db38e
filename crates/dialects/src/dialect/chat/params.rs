//! Parameters of Chat Completions. The differences of servers are in their quirks.

use crate::dialect::params::{
    Field,
    Form::{Absent, Capped, Compact, Count, Integer, Own, Several, Short, Switch, Texts, Word},
    Param, param,
};

/// Longest id of an end user, in characters: the limit of `OpenRouter`, Zhipu and Doubao, and of OpenAI's
/// `safety_identifier`, which replaces it.
const MAX_USER: usize = 128;

/// Every parameter, as most servers accept it.
pub(super) const PARAMS: &[Param] = &[
    param("temperature", Field::Temperature, Compact(0.0, 2.0)),
    param("top_p", Field::TopP, Compact(0.0, 1.0)),
    param("presence_penalty", Field::PresencePenalty, Compact(-2.0, 2.0)),
    param("frequency_penalty", Field::FrequencyPenalty, Compact(-2.0, 2.0)),
    param("top_k", Field::TopK, Compact(-1.0, 1e9)),
    param("stop", Field::Stop, Texts(usize::MAX, false)),
    param("n", Field::N, Several),
    param("seed", Field::Seed, Integer),
    param("logprobs", Field::Logprobs, Switch),
    param("top_logprobs", Field::TopLogprobs, Capped(20)),
    param("max_tokens", Field::MaxTokens, Count(0, u64::MAX)),
    param("user", Field::User, Short(MAX_USER)),
    // Every server's default.
    param("service_tier", Field::ServiceTier, Word(&[("auto", "")])),
    // OpenAI takes them only for requests that it stores.
    param("metadata", Field::Metadata, Absent),
    param("parallel_tool_calls", Field::ParallelToolCalls, Own),
];
