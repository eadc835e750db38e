//! Token counts with their parts.

/// Token counts of one reply. `None` where the provider states nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens of the prompt, those read from and written to a cache included.
    pub input: Option<u64>,
    /// Those of them that came from a cache.
    pub cached: Option<u64>,
    /// Those of them that were written to a cache.
    pub cache_write: Option<u64>,
    /// Tokens of the answer, reasoning included.
    pub output: Option<u64>,
    /// Those of them that were reasoning.
    pub reasoning: Option<u64>,
}

impl TokenUsage {
    /// Counts are cumulative in every dialect: counts that `later` states replace earlier ones, the others stay.
    pub fn update(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.cached = later.cached.or(self.cached);
        self.cache_write = later.cache_write.or(self.cache_write);
        self.output = later.output.or(self.output);
        self.reasoning = later.reasoning.or(self.reasoning);
    }

    /// Whether the provider stated no counts.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Prompt tokens that were neither read from a cache nor written to one.
    pub fn fresh_input(&self) -> u64 {
        let cached = self.cached.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0));
        self.input.unwrap_or(0).saturating_sub(cached)
    }

    /// Answer tokens that were not reasoning.
    pub fn visible_output(&self) -> u64 {
        self.output.unwrap_or(0).saturating_sub(self.reasoning.unwrap_or(0))
    }

    /// Prompt and answer together.
    pub fn total(&self) -> u64 {
        self.input.unwrap_or(0).saturating_add(self.output.unwrap_or(0))
    }
}
