//! What models accept and refuse: one table, for everything that is translated.
//!
//! The table is data, in `models.toml`; [`ModelTable`] reads it, and operators can add rows of their own. A model
//! without a row gets [`ModelFacts::PLAIN`]. Requests in the provider's own dialect do not use the table: what a client
//! writes for its own provider is the client's choice.

mod claude;
mod table;

use std::cmp::Reverse;

pub(super) use self::claude::{claude_budget, claude_effort, claude_limit};
pub use self::table::{ModelTable, TableError};
use super::converse::models::ConverseFacts;
use crate::conversation::Effort;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a model")]
pub struct ModelFacts {
    /// The sampling settings it accepts.
    pub sampling: SamplingFacts,
    /// How its reasoning is controlled.
    pub thinking: Thinking,
    /// The efforts of reasoning that it accepts, where it has them.
    pub efforts: Efforts,
    /// The same in Responses, where that API accepts more.
    pub efforts_in_responses: Efforts,
    /// Most tokens of an answer if the client does not set them: only for APIs that require a limit.
    pub default_output: u64,
    /// Most tokens of an answer, reasoning included, that it accepts at all; unbounded if the limit is not known.
    pub max_output: u64,
    /// Whether it supports structured output with a JSON schema (else it must call a tool for that).
    pub structured: bool,
    /// Whether it takes JSON as the form of its answer beside functions.
    pub json_with_tools: bool,
    /// Whether the length of its answers can be set by `verbosity`.
    pub verbosity: bool,
    /// Whether it can be asked to answer faster, by `speed`.
    pub fast_mode: bool,
    /// Whether it takes an effort beside a budget for thinking.
    pub effort_and_budget: bool,
    /// Whether the last turn may be the assistant's, as the beginning of the answer.
    pub prefill: bool,
    /// Whether Messages may have instructions between the turns, with the role `system`.
    pub later_instructions: bool,
    /// Whether it can be forced to call a tool.
    pub forced_tools: bool,
    /// Whether schemas may be real JSON Schema. Gemini before 2.5 supports a part of `OpenAPI`'s instead.
    pub json_schema: bool,
    /// Whether it signs its calls and requires the signatures back: Gemini since it reasons.
    pub signs_calls: bool,
    /// The API of OpenAI that serves it.
    pub api: OpenAiApi,
    /// The API of OpenAI that serves it with tools and reasoning.
    pub tools_api: OpenAiApi,
    /// What it takes in Converse.
    pub converse: &'static ConverseFacts,
}

/// The sampling settings that a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// One of OpenAI's APIs for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenAiApi {
    /// Chat Completions, and Responses too.
    Chat,
    /// Responses alone.
    Responses,
}

/// A set of efforts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Efforts(u8);

impl Efforts {
    /// Every effort.
    pub const ALL: Self = Self(u8::MAX);

    /// The set of these efforts.
    pub fn of(efforts: impl IntoIterator<Item = Effort>) -> Self {
        Self(efforts.into_iter().fold(0, |set, effort| set | Self::bit(effort)))
    }

    const fn bit(effort: Effort) -> u8 {
        1 << (effort as u8)
    }

    /// Whether the set has `effort`.
    pub const fn contains(self, effort: Effort) -> bool {
        self.0 & Self::bit(effort) != 0
    }

    /// The efforts, in order.
    pub fn iter(self) -> impl Iterator<Item = Effort> {
        Effort::ALL.into_iter().map(|(effort, _)| effort).filter(move |effort| self.contains(*effort))
    }

    /// The effort of the set that is nearest to `wanted`. Between two, it is the one nearer to the usual effort:
    /// `minimal` becomes `low`, and not `none`, which would turn the reasoning off. Else it is the higher one.
    pub fn nearest(self, wanted: Effort) -> Effort {
        let distance = |effort: Effort| (effort as u8).abs_diff(wanted as u8);
        let from_usual = |effort: Effort| (effort as u8).abs_diff(Effort::Medium as u8);
        let order = |effort: &Effort| (distance(*effort), from_usual(*effort), Reverse(*effort));
        self.iter().min_by_key(order).unwrap_or(wanted)
    }
}

impl ModelFacts {
    /// A model without a row in the table.
    pub const PLAIN: Self = Self {
        sampling: SamplingFacts::All,
        thinking: Thinking::Never,
        efforts: Efforts::ALL,
        efforts_in_responses: Efforts::ALL,
        default_output: 4096,
        max_output: u64::MAX,
        structured: true,
        json_with_tools: true,
        verbosity: true,
        fast_mode: true,
        effort_and_budget: false,
        prefill: true,
        later_instructions: true,
        forced_tools: true,
        json_schema: true,
        signs_calls: false,
        api: OpenAiApi::Chat,
        tools_api: OpenAiApi::Chat,
        converse: &ConverseFacts::PLAIN,
    };

    /// The facts that Tollgate comes with about the model of this name, at any provider.
    pub fn of(model: &str) -> Self {
        ModelTable::built_in().facts(model, "")
    }
}

#[cfg(test)]
mod tests;
