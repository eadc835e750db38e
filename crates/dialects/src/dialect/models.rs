//! What models accept and refuse: one table, for everything that is translated.
//!
//! Requests in the provider's own dialect do not use the table: what a client writes for its own provider is the
//! client's choice. A model without a row gets the row of its series, and an unknown series gets [`ModelFacts::PLAIN`].

use super::{ModelName, converse::models::ConverseFacts};
use crate::conversation::{Effort, Reasoning};

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a model")]
pub struct ModelFacts {
    /// The sampling settings it accepts.
    pub sampling: SamplingFacts,
    /// How its reasoning is controlled.
    pub thinking: Thinking,
    /// The lowest and the highest `reasoning_effort`, where it has one; efforts beyond these are refused.
    pub efforts: (Effort, Effort),
    /// Most tokens of an answer if the client does not set them: only for APIs that require a limit.
    pub max_tokens: u64,
    /// Most tokens of an answer, reasoning included, that it accepts at all; unbounded if the limit is not known.
    pub most_tokens: u64,
    /// Whether it supports structured output with a JSON schema (else it must call a tool for that).
    pub structured: bool,
    /// Whether the last turn may be the assistant's, as the beginning of the answer.
    pub prefill: bool,
    /// Whether schemas may be real JSON Schema. Gemini before 2.5 supports a part of `OpenAPI`'s instead.
    pub json_schema: bool,
    /// Whether its lowest level of thinking is `MINIMAL`: Gemini Flash from 3 on. Others begin at `LOW`.
    pub minimal: bool,
    /// Whether it signs its calls and requires the signatures back: Gemini since it reasons.
    pub signs_calls: bool,
    /// What it takes in Converse.
    pub converse: &'static ConverseFacts,
}

/// The sampling settings that a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingFacts {
    /// All of its API.
    All,
    /// `temperature` or `top_p`, not both.
    One,
    /// None: they are fixed, and sending one is an error.
    None,
}

/// How a model's reasoning is controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// It does not reason, or not on demand.
    Never,
    /// By `reasoning_effort` (OpenAI).
    Effort,
    /// By a budget in tokens (Claude up to 4.5, Gemini 2.5).
    Budget {
        /// Smallest budget.
        min: u64,
        /// Largest budget.
        max: u64,
        /// Whether it can be turned off.
        off: bool,
    },
    /// The model decides, guided by an effort (Claude from 4.6 on).
    Adaptive {
        /// Whether it can be turned off.
        off: bool,
    },
    /// By a level (Gemini from 3 on).
    Level,
    /// By Nova's `reasoningConfig`.
    Nova,
}

impl ModelFacts {
    /// A model without a row in the table.
    pub const PLAIN: Self = Self {
        sampling: SamplingFacts::All,
        thinking: Thinking::Never,
        efforts: (Effort::None, Effort::Max),
        max_tokens: 4096,
        most_tokens: u64::MAX,
        structured: true,
        prefill: true,
        json_schema: true,
        minimal: false,
        signs_calls: false,
        converse: &ConverseFacts::PLAIN,
    };

    /// The facts of the model of this name, however a provider spells it (`us.anthropic.claude-...-v1:0`,
    /// `claude-...@20250929`).
    pub fn of(model: &str) -> Self {
        let name = ModelName::of(model);
        ROWS.iter().find(|row| row.names(&name)).map_or(Self::PLAIN, |row| row.facts)
    }

    /// The effort nearest to `wanted` that the model accepts.
    pub(super) fn nearest_effort(&self, wanted: Effort) -> Effort {
        let (least, most) = self.efforts;
        wanted.clamp(least, most)
    }
}

/// A budget of reasoning for Claude, whose limit of an answer includes it: it must stay below the limit. `limit` is the
/// client's. `None` where the limit has no room for the smallest budget.
pub(super) fn claude_budget(reasoning: Reasoning, limit: Option<u64>, (min, max): (u64, u64)) -> Option<u64> {
    let (wanted, most) = match reasoning.budget {
        Some(exact) => (exact, limit.map(|n| n.saturating_sub(1))),
        // A client that sets only an effort, not a budget, expects an answer too.
        None => (reasoning.effort.unwrap_or(Effort::Medium).budget(), limit.map(|n| n / 2)),
    };
    let room = limit.is_none_or(|n| n > min);
    room.then(|| wanted.min(most.unwrap_or(u64::MAX)).clamp(min, max.max(min)))
}

/// The limit of an answer for Claude: the client's, or room for the reasoning and an answer of the usual
/// length.
pub(super) fn claude_limit(facts: &ModelFacts, budget: u64, limit: Option<u64>) -> u64 {
    limit.unwrap_or(budget.saturating_add(facts.max_tokens).min(facts.most_tokens))
}

/// Claude's name for an effort: it has none below `low`, and has `xhigh` since Opus 4.7, the version that also dropped
/// the sampling settings.
pub(super) fn claude_effort(effort: Effort, facts: &ModelFacts) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::XHigh if facts.sampling != SamplingFacts::None => "high",
        other => other.as_str(),
    }
}

/// One row of the table: models whose name has all of `parts`, and whose version is `version` or later.
struct Row {
    parts: &'static [&'static str],
    version: Option<(u32, u32)>,
    facts: ModelFacts,
}

impl Row {
    fn names(&self, model: &ModelName) -> bool {
        // Claude 3 has its version in front of its kind, later ones behind it: the first number counts.
        let own = || self.parts.first().and_then(|family| model.version_after(family));
        model.has(self.parts) && self.version.is_none_or(|least| own().is_some_and(|own| own >= least))
    }
}

const CLAUDE: ModelFacts = ModelFacts {
    sampling: SamplingFacts::One,
    thinking: Thinking::Budget { min: 1024, max: 60_000, off: true },
    max_tokens: 8192,
    most_tokens: 64_000,
    structured: false,
    converse: &ConverseFacts::CLAUDE,
    ..ModelFacts::PLAIN
};
const NOVA: ModelFacts = ModelFacts { structured: false, converse: &ConverseFacts::NOVA, ..ModelFacts::PLAIN };
const NOVA_2: ModelFacts = ModelFacts { thinking: Thinking::Nova, ..NOVA };
const GEMINI: ModelFacts = ModelFacts { max_tokens: 8192, prefill: false, ..ModelFacts::PLAIN };
const THINKING_GEMINI: ModelFacts = ModelFacts { signs_calls: true, ..GEMINI };
const REASONING: ModelFacts = ModelFacts {
    sampling: SamplingFacts::None,
    thinking: Thinking::Effort,
    efforts: (Effort::Low, Effort::High),
    ..ModelFacts::PLAIN
};

/// The table. The first row that matches a model counts.
const ROWS: &[Row] = &[
    // No sampling settings any more, and thinking is adaptive; Opus 4.7 is the first of these.
    row(&["claude"], Some((5, 0)), ModelFacts { sampling: SamplingFacts::None, prefill: false, ..ADAPTIVE }),
    row(&["claude", "opus"], Some((4, 7)), ModelFacts { sampling: SamplingFacts::None, prefill: false, ..ADAPTIVE }),
    row(&["claude"], Some((4, 6)), ModelFacts { prefill: false, ..ADAPTIVE }),
    row(&["claude"], Some((4, 5)), ModelFacts { structured: true, ..CLAUDE }),
    // Opus 4 and 4.1 answer with 32,000 tokens at most, reasoning included.
    row(
        &["claude", "opus"],
        Some((4, 0)),
        ModelFacts { thinking: Thinking::Budget { min: 1024, max: 31_000, off: true }, most_tokens: 32_000, ..CLAUDE },
    ),
    row(&["claude"], Some((4, 0)), CLAUDE),
    row(&["claude", "3-7"], None, CLAUDE),
    row(
        &["claude"],
        None,
        ModelFacts { sampling: SamplingFacts::All, thinking: Thinking::Never, max_tokens: 4096, ..CLAUDE },
    ),
    row(&["gemini", "flash"], Some((3, 0)), ModelFacts { thinking: Thinking::Level, minimal: true, ..THINKING_GEMINI }),
    row(&["gemini"], Some((3, 0)), ModelFacts { thinking: Thinking::Level, ..THINKING_GEMINI }),
    row(
        &["gemini-2.5", "flash-lite"],
        None,
        ModelFacts { thinking: Thinking::Budget { min: 512, max: 24_576, off: true }, ..THINKING_GEMINI },
    ),
    row(
        &["gemini-2.5", "flash"],
        None,
        ModelFacts { thinking: Thinking::Budget { min: 1, max: 24_576, off: true }, ..THINKING_GEMINI },
    ),
    row(
        &["gemini-2.5", "pro"],
        None,
        ModelFacts { thinking: Thinking::Budget { min: 128, max: 32_768, off: false }, ..THINKING_GEMINI },
    ),
    row(&["gemini"], Some((2, 5)), GEMINI),
    row(&["gemini"], None, ModelFacts { json_schema: false, ..GEMINI }),
    // `gpt-5-chat` does not think.
    row(&["gpt", "chat"], None, ModelFacts::PLAIN),
    row(
        &["gpt-oss"],
        None,
        ModelFacts { thinking: Thinking::Effort, efforts: (Effort::Low, Effort::High), ..ModelFacts::PLAIN },
    ),
    row(&["gpt"], Some((5, 2)), ModelFacts { efforts: (Effort::None, Effort::XHigh), ..REASONING }),
    row(&["gpt"], Some((5, 1)), ModelFacts { efforts: (Effort::None, Effort::High), ..REASONING }),
    row(&["gpt"], Some((5, 0)), ModelFacts { efforts: (Effort::Minimal, Effort::High), ..REASONING }),
    row(&["o1"], None, REASONING),
    row(&["o3"], None, REASONING),
    row(&["o4"], None, REASONING),
    row(&["deepseek"], None, ModelFacts { thinking: Thinking::Effort, structured: false, ..ModelFacts::PLAIN }),
    // The first Nova does not think.
    row(&["nova", "omni"], Some((2, 0)), ModelFacts { converse: &ConverseFacts::NOVA_AUDIO, ..NOVA_2 }),
    row(&["nova", "sonic"], Some((2, 0)), ModelFacts { converse: &ConverseFacts::NOVA_AUDIO, ..NOVA_2 }),
    row(&["nova"], Some((2, 0)), NOVA_2),
    row(&["nova", "omni"], None, ModelFacts { converse: &ConverseFacts::NOVA_AUDIO, ..NOVA }),
    row(&["nova", "sonic"], None, ModelFacts { converse: &ConverseFacts::NOVA_AUDIO, ..NOVA }),
    row(&["nova"], None, NOVA),
    row(&["magistral"], None, ModelFacts { thinking: Thinking::Effort, ..ModelFacts::PLAIN }),
];

const ADAPTIVE: ModelFacts =
    ModelFacts { thinking: Thinking::Adaptive { off: true }, structured: true, max_tokens: 16_384, ..CLAUDE };

const fn row(parts: &'static [&'static str], version: Option<(u32, u32)>, facts: ModelFacts) -> Row {
    Row { parts, version, facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_however_they_are_spelled() {
        let check = |model: &str, sampling, thinking: Thinking| {
            let facts = ModelFacts::of(model);
            assert_eq!((facts.sampling, facts.thinking), (sampling, thinking), "{model}");
        };
        let budget = Thinking::Budget { min: 1024, max: 60_000, off: true };
        let adaptive = Thinking::Adaptive { off: true };
        check("claude-opus-4-7", SamplingFacts::None, adaptive);
        check("us.anthropic.claude-opus-4-7-20260101-v1:0", SamplingFacts::None, adaptive);
        check("claude-sonnet-4-6", SamplingFacts::One, adaptive);
        check("claude-sonnet-5", SamplingFacts::None, adaptive);
        check("claude-sonnet-4-5@20250929", SamplingFacts::One, budget);
        check("anthropic.claude-sonnet-4-20250514-v1:0", SamplingFacts::One, budget);
        check("claude-opus-4-5", SamplingFacts::One, budget);
        check("claude-opus-4-1", SamplingFacts::One, Thinking::Budget { min: 1024, max: 31_000, off: true });
        check("claude-3-7-sonnet-latest", SamplingFacts::One, budget);
        check("claude-3-5-haiku-20241022", SamplingFacts::All, Thinking::Never);
        check("gemini-1.5-flash-latest", SamplingFacts::All, Thinking::Never);
        check("gemini-2.5-pro", SamplingFacts::All, Thinking::Budget { min: 128, max: 32_768, off: false });
        check("gemini-2.5-flash-lite", SamplingFacts::All, Thinking::Budget { min: 512, max: 24_576, off: true });
        check("gemini-3-pro-preview", SamplingFacts::All, Thinking::Level);
        check("gpt-4o", SamplingFacts::All, Thinking::Never);
        check("gpt-5.6-mini", SamplingFacts::None, Thinking::Effort);
        check("gpt-5-chat-latest", SamplingFacts::All, Thinking::Never);
        check("o3-mini", SamplingFacts::None, Thinking::Effort);
        check("us.amazon.nova-lite-v1:0", SamplingFacts::All, Thinking::Never);
        check("us.amazon.nova-2-lite-v1:0", SamplingFacts::All, Thinking::Nova);
        check("openai.gpt-oss-120b-1:0", SamplingFacts::All, Thinking::Effort);
        check("my-deployment", SamplingFacts::All, Thinking::Never);
        check("anthropic/claude-3.7-sonnet", SamplingFacts::One, budget);
        check("azure/prod-o3-mini", SamplingFacts::None, Thinking::Effort);
        // What only looks like one of these.
        check("demo3", SamplingFacts::All, Thinking::Never);
        check("solo1-chat", SamplingFacts::All, Thinking::Never);
        check("gpt-4o-1", SamplingFacts::All, Thinking::Never);
        check("gpt-35-turbo", SamplingFacts::All, Thinking::Never);
        check("gpt-neox-20b", SamplingFacts::All, Thinking::Never);
        check("supernova-2", SamplingFacts::All, Thinking::Never);
        check("deepseek-team/llama-3", SamplingFacts::All, Thinking::Never);
        assert_eq!(ModelFacts::of("claudette"), ModelFacts::PLAIN);
        let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x9o1k2";
        check(profile, SamplingFacts::All, Thinking::Never);
        check(
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-7-v1",
            SamplingFacts::None,
            adaptive,
        );
    }

    #[test]
    fn makers_differ_in_what_they_take_in_converse() {
        let check = |model: &str, single_calls, prompts, tools, audio| {
            let facts = ModelFacts::of(model).converse;
            let found = (facts.single_calls, facts.cached_prompts, facts.cached_tools, facts.audio);
            assert_eq!(found, (single_calls, prompts, tools, audio), "{model}");
        };
        check("us.anthropic.claude-sonnet-4-5-20250929-v1:0", true, true, true, false);
        check("us.amazon.nova-2-lite-v1:0", false, true, false, false);
        check("us.amazon.nova-2-omni-v1:0", false, true, false, true);
        check("amazon.nova-sonic-v1:0", false, true, false, true);
        check("mistral.voxtral-small-24b-2507", false, false, false, true);
    }

    #[test]
    fn gemini_has_its_own_steps() {
        let check = |model: &str, json_schema, minimal| {
            let facts = ModelFacts::of(model);
            assert_eq!((facts.json_schema, facts.minimal), (json_schema, minimal), "{model}");
        };
        check("gemini-1.5-flash-latest", false, false);
        check("gemini-2.0-flash", false, false);
        check("gemini-2.5-flash", true, false);
        check("gemini-2.5-computer-use", true, false);
        check("gemini-3-pro-preview", true, false);
        check("gemini-3-flash-preview", true, true);
        check("gemini-3.1-flash-lite", true, true);
    }
}
