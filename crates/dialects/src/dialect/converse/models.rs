//! What models take in Converse, where each maker's models have their own form: the wire is Bedrock's, and its fields
//! are checked by the models.

use super::params::{CLAUDE_ADDITIONAL, CLAUDE_PARAMS, NOVA_ADDITIONAL, NOVA_PARAMS};
use crate::dialect::{
    params::Param,
    schema::root::{self, Root},
};

/// What the models of one maker take.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about models")]
pub struct ConverseFacts {
    /// Parameters that differ from the dialect's table.
    pub params: &'static [Param],
    /// Parameters in `additionalModelRequestFields`.
    pub additional: &'static [Param],
    /// Whether `tool_choice` in `additionalModelRequestFields` can forbid several calls at once.
    pub single_calls: bool,
    /// The form of the root of a tool's schema.
    pub(in crate::dialect) root: Root,
    /// Whether schemas are closed where the model keeps to them, as Claude's.
    pub closed_schemas: bool,
    /// Whether prompts may be marked for the cache.
    pub cached_prompts: bool,
    /// Whether tools may be marked for the cache.
    pub cached_tools: bool,
    /// Whether Claude's reasoning is taken back, as it was signed.
    pub reasoning: bool,
    /// Whether the result of a tool may say that it failed.
    pub failed_results: bool,
    /// Whether audio is taken.
    pub audio: bool,
    /// Whether video is taken.
    pub video: bool,
}

impl ConverseFacts {
    /// Models of which nothing is known.
    pub(in crate::dialect) const PLAIN: Self = Self {
        params: &[],
        additional: &[],
        single_calls: false,
        root: root::PLAIN,
        closed_schemas: false,
        cached_prompts: false,
        cached_tools: false,
        reasoning: false,
        failed_results: false,
        audio: true,
        video: true,
    };
    /// Claude.
    pub(in crate::dialect) const CLAUDE: Self = Self {
        params: CLAUDE_PARAMS,
        additional: CLAUDE_ADDITIONAL,
        single_calls: true,
        root: Root { properties: false, ..root::CLAUDE },
        closed_schemas: true,
        cached_prompts: true,
        cached_tools: true,
        reasoning: true,
        failed_results: true,
        audio: false,
        video: false,
    };
    /// Nova, which caches prompts but not tools.
    pub(in crate::dialect) const NOVA: Self = Self {
        params: NOVA_PARAMS,
        additional: NOVA_ADDITIONAL,
        root: root::NOVA,
        cached_prompts: true,
        failed_results: true,
        audio: false,
        ..Self::PLAIN
    };
    /// The Novas that are made for audio.
    pub(in crate::dialect) const NOVA_AUDIO: Self = Self { audio: true, ..Self::NOVA };
}
