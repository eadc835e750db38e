//! Token counts of one exchange, and what a stream's events say about them.

use crate::conversation::TokenUsage;

/// Token counts as the provider states them. `None` where it states nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt: Option<u64>,
    /// Tokens of the answer, reasoning included.
    pub completion: Option<u64>,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self { prompt: usage.input, completion: usage.output }
    }
}

impl Usage {
    /// Counts are cumulative in every dialect: what `later` states overwrites, what it omits stays.
    pub fn update(&mut self, later: Self) {
        self.prompt = later.prompt.or(self.prompt);
        self.completion = later.completion.or(self.completion);
    }
}

/// The state of a stream at a point at which it may be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnding {
    /// It has come to its own end.
    Complete,
    /// An event says that the answer has failed.
    Failed,
    /// More must come.
    Cut,
    /// It is of no form that can be judged.
    Unknown,
}

impl StreamEnding {
    /// Whether a stream that is closed here was not cut.
    pub fn may_end(self) -> bool {
        self != Self::Cut
    }
}

/// What one event of a stream says about the stream's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the stream may end after this event.
    pub ends: bool,
    /// Whether it says that the answer has failed.
    pub failed: bool,
    /// The usage that it states.
    pub usage: Option<TokenUsage>,
    /// Whether it holds usage and nothing else: what a client that did not request usage does not expect.
    pub usage_only: bool,
    /// The model that it names.
    pub model: Option<String>,
}
