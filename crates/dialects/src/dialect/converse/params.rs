//! Parameters of `inferenceConfig`, and those that are in other fields.

use crate::dialect::params::{
    Field,
    Form::{Absent, Number, Own, Rounded, Texts, Word},
    Param, param,
};

/// Every parameter.
pub(super) const PARAMS: &[Param] = &[
    // It depends on the model's reasoning.
    param("maxTokens", Field::MaxTokens, Own),
    param("temperature", Field::Temperature, Number(0.0, 1.0)),
    param("topP", Field::TopP, Number(0.0, 1.0)),
    // Where a model takes it, it is in `additionalModelRequestFields`.
    param("", Field::TopK, Absent),
    param("stopSequences", Field::Stop, Texts(usize::MAX, false)),
    // In `requestMetadata`.
    param("", Field::User, Own),
    param("", Field::Metadata, Own),
    param("serviceTier.type", Field::ServiceTier, Word(TIERS)),
    // In Claude's `tool_choice`.
    param("", Field::ParallelToolCalls, Own),
];

/// Claude refuses stop texts of white space.
pub(super) const CLAUDE_PARAMS: &[Param] =
    &[param("stopSequences", Field::Stop, Texts(usize::MAX, true)), param("", Field::TopK, Own)];
pub(super) const CLAUDE_ADDITIONAL: &[Param] = &[param("top_k", Field::TopK, Rounded(0.0, 500.0))];
pub(super) const NOVA_PARAMS: &[Param] = &[param("", Field::TopK, Own)];
pub(super) const NOVA_ADDITIONAL: &[Param] = &[param("inferenceConfig.topK", Field::TopK, Rounded(0.0, 128.0))];

/// Classes of service. The default needs no word.
const TIERS: &[(&str, &str)] = &[
    ("auto", ""),
    ("standard", ""),
    ("standard_only", ""),
    ("default", "default"),
    ("priority", "priority"),
    ("flex", "flex"),
    ("reserved", "reserved"),
];
