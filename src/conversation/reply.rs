//! What a model answers, in one piece.

use super::{Part, Text, TokenUsage};

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply<'a> {
    /// The provider's id of it.
    pub id: Option<Text<'a>>,
    /// The model that answered, as the provider names it.
    pub model: Option<Text<'a>>,
    /// When, in seconds since 1970.
    pub created: Option<u64>,
    /// One answer, or as many as were asked for.
    pub choices: Vec<Choice<'a>>,
    /// What it cost.
    pub usage: TokenUsage,
    /// The class of service it was given.
    pub service_tier: Option<Text<'a>>,
}

/// One answer of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice<'a> {
    /// Text, thoughts, calls, in order.
    pub parts: Vec<Part<'a>>,
    /// Why it ended.
    pub finish: Finish,
    /// The stop text that ended it, where the provider says which.
    pub stop_sequence: Option<Text<'a>>,
    /// Its tokens with their log-probabilities.
    pub logprobs: Vec<TokenLogprob<'a>>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// The model was done, or met a stop text.
    #[default]
    Stop,
    /// It reached its limit of tokens, or the model's own.
    Length,
    /// It calls tools.
    ToolCalls,
    /// The model refused, or a filter stopped it.
    Filtered,
    /// The model went wrong (a malformed call, an error of its server).
    Failed,
}

impl Finish {
    /// The reason that counts: some servers say `stop` although the answer ends in calls.
    #[must_use]
    pub const fn with_calls(self, calls: bool) -> Self {
        match self {
            Self::Stop if calls => Self::ToolCalls,
            other => other,
        }
    }
}

/// A token with its log-probability.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob<'a> {
    /// The token.
    pub token: Text<'a>,
    /// Its natural logarithm of probability.
    pub logprob: f64,
    /// The most likely tokens at its place.
    pub top: Vec<(Text<'a>, f64)>,
}
