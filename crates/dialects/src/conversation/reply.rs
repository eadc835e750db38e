//! A model's buffered reply.

use super::{Content, Part, Text, TokenUsage, Unsupported};

/// A buffered reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply<'a> {
    /// The provider's id of it.
    pub id: Option<Text<'a>>,
    /// The model that answered, as the provider names it.
    pub model: Option<Text<'a>>,
    /// When it was created, in seconds since 1970.
    pub created: Option<u64>,
    /// One answer, or as many as were requested.
    pub choices: Vec<Choice<'a>>,
    /// Its token counts.
    pub usage: TokenUsage,
    /// The class of service it was given.
    pub service_tier: Option<Text<'a>>,
    /// Fields of the reply that the conversation does not support, by their names in the provider's dialect.
    pub lost: Unsupported,
}

impl Reply<'_> {
    /// Approximate bytes of reasoning, text and calls, of all answers.
    pub fn text_bytes(&self) -> u64 {
        let said = |part: &Part<'_>| match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) | Content::Thinking { text, .. } => {
                text.size().saturating_sub(2)
            }
            Content::Call(call) => call.arguments.len(),
            _ => 0,
        };
        self.choices.iter().flat_map(|choice| &choice.parts).map(|part| said(part) as u64).sum()
    }
}

/// One answer of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice<'a> {
    /// Text, reasoning, calls, in order.
    pub parts: Vec<Part<'a>>,
    /// Why it ended.
    pub finish: Finish,
    /// The stop text that ended it, if the provider reports which.
    pub stop_sequence: Option<Text<'a>>,
    /// Its tokens with their log-probabilities.
    pub logprobs: Vec<TokenLogprob<'a>>,
}

impl Choice<'_> {
    /// Why the answer ended, for dialects in which arguments are objects and a refusal is a finish reason. Calls whose
    /// arguments are not an object are left out there.
    pub fn strict_finish(&self) -> Finish {
        let has = |test: &dyn Fn(&Content<'_>) -> bool| self.parts.iter().any(|part| test(&part.content));
        if has(&|content| matches!(content, Content::Call(call) if call.object().is_none())) {
            return self.finish.with_broken_call();
        }
        let refused = has(&|content| matches!(content, Content::Refusal(_)));
        self.finish.with_calls(has(&|content| matches!(content, Content::Call(_)))).with_refusal(refused)
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// The model had finished, or met a stop text.
    #[default]
    Stop,
    /// It reached its limit of tokens, or the model's own.
    Length,
    /// It calls tools.
    ToolCalls,
    /// The model refused, or a filter stopped it.
    Filtered,
    /// The model failed (a malformed call, an error of its server).
    Failed,
}

impl Finish {
    /// The effective reason: some servers report `stop` although the answer ends in calls.
    #[must_use]
    pub const fn with_calls(self, calls: bool) -> Self {
        match self {
            Self::Stop if calls => Self::ToolCalls,
            other => other,
        }
    }

    /// The reason of an answer that may itself have come as a call (`answered`), so that such a call is none.
    #[must_use]
    pub const fn with_answer_tool(self, answered: bool, calls: bool) -> Self {
        match self {
            Self::ToolCalls if answered && !calls => Self::Stop,
            other => other.with_calls(calls),
        }
    }

    /// The reason where a refusal in words is one: OpenAI reports `stop` for it.
    #[must_use]
    pub const fn with_refusal(self, refused: bool) -> Self {
        match self {
            Self::Stop if refused => Self::Filtered,
            other => other,
        }
    }

    /// The reason where a call had to be left out: the answer is incomplete.
    #[must_use]
    pub const fn with_broken_call(self) -> Self {
        match self {
            Self::Stop | Self::ToolCalls => Self::Failed,
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
    /// The most likely tokens at its position.
    pub top: Vec<(Text<'a>, f64)>,
}
