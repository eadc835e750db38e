//! Token counts of one exchange.

use super::{Family, anthropic, converse::usage as bedrock, gemini::usage as gemini, openai};

/// Token counts as the provider states them. `None` where it states nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt: Option<u64>,
    /// Tokens of the answer, reasoning included.
    pub completion: Option<u64>,
}

impl Usage {
    /// Reads the family's usage object. `None` when it can't be understood.
    pub fn parse(family: Family, raw: &[u8]) -> Option<Self> {
        match family {
            Family::OpenAi => openai::usage(raw),
            Family::Anthropic => anthropic::usage(raw),
            Family::Gemini => gemini::usage(raw),
            Family::Bedrock => bedrock::usage(raw),
        }
    }

    /// Counts are cumulative in every dialect: what `later` states overwrites, what it omits stays.
    pub fn update(&mut self, later: Self) {
        self.prompt = later.prompt.or(self.prompt);
        self.completion = later.completion.or(self.completion);
    }
}
