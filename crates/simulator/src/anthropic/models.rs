//! What the generations of Claude take, as Anthropic documents it.
//!
//! The sources are the pages "Extended thinking", "Adaptive thinking", "Effort", "Structured outputs" and the migration
//! guides of <https://platform.claude.com/docs>.

/// A Claude model, as its name describes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Claude {
    opus: bool,
    /// Major and minor version; 0 where the name has none, as `claude-instant`.
    version: (u32, u32),
}

impl Claude {
    /// Reads the name of a model as any platform spells it: `claude-opus-4-7`, `claude-sonnet-4-5@20250929`,
    /// `us.anthropic.claude-3-7-sonnet-20250219-v1:0`. `None` for a model that is not a Claude.
    pub(crate) fn of(model: &str) -> Option<Self> {
        let model = model.to_ascii_lowercase();
        let (_, name) = model.split_once("claude")?;
        let mut words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).peekable();
        let opus = words.clone().any(|word| word == "opus");
        // A date has eight digits and is not a version.
        let number = |word: &str| word.parse().ok().filter(|number| *number < 100);
        let major = words.by_ref().find_map(|word| number(word.trim_start_matches('v')));
        let minor = major.and_then(|_| number(words.peek()?));
        Some(Self { opus, version: (major.unwrap_or(0), minor.unwrap_or(0)) })
    }

    /// Whether the sampling parameters are gone, and thinking has no budget: from Opus 4.7 on.
    pub(crate) fn is_newest(self) -> bool {
        self.version >= if self.opus { (4, 7) } else { (5, 0) }
    }

    /// Whether messages may have the role `system`: from Opus 4.8 on.
    pub(crate) fn takes_later_instructions(self) -> bool {
        self.version >= if self.opus { (4, 8) } else { (5, 0) }
    }

    /// Whether `temperature` and `top_p` exclude each other.
    pub(crate) fn takes_one_sampling_parameter(self) -> bool {
        self.version >= (3, 7) && !self.is_newest()
    }

    /// Whether it thinks by `adaptive`, without a budget: from 4.6 on.
    pub(crate) fn is_adaptive(self) -> bool {
        self.version >= (4, 6)
    }

    /// Whether `output_config.effort` is known: to the adaptive models, and to Opus 4.5.
    pub(crate) fn takes_effort(self) -> bool {
        self.is_adaptive() || self.opus && self.version == (4, 5)
    }

    /// Whether `output_config.format` is known: from 4.5 on.
    pub(crate) fn is_structured(self) -> bool {
        self.version >= (4, 5)
    }

    /// Whether the last message may be the beginning of the reply: until 4.5.
    pub(crate) fn takes_prefill(self) -> bool {
        self.version < (4, 6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_every_spelling() {
        let check = |model: &str, opus, version| {
            assert_eq!(Claude::of(model), Some(Claude { opus, version }), "{model}");
        };
        check("claude-opus-4-7", true, (4, 7));
        check("us.anthropic.claude-opus-4-7-20260101-v1:0", true, (4, 7));
        check("claude-sonnet-5", false, (5, 0));
        check("claude-sonnet-4-5@20250929", false, (4, 5));
        check("anthropic.claude-sonnet-4-20250514-v1:0", false, (4, 0));
        check("anthropic.claude-sonnet-5-v1:0", false, (5, 0));
        check("claude-3-5-haiku-20241022", false, (3, 5));
        check("claude-3-opus-20240229", true, (3, 0));
        check("anthropic.claude-v2:1", false, (2, 1));
        check("claude-instant", false, (0, 0));
        assert_eq!(Claude::of("gpt-4o"), None);
    }

    #[test]
    fn opus_comes_first() {
        let newest = |model: &str| Claude::of(model).is_some_and(Claude::is_newest);
        assert!(newest("claude-opus-4-7") && newest("claude-haiku-5") && newest("claude-opus-5-1"));
        assert!(!newest("claude-sonnet-4-7") && !newest("claude-opus-4-6"));
        let effort = |model: &str| Claude::of(model).is_some_and(Claude::takes_effort);
        assert!(effort("claude-opus-4-5") && effort("claude-sonnet-4-6") && !effort("claude-sonnet-4-5"));
    }
}
