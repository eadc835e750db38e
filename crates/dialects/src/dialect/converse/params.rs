//! Parameters of `inferenceConfig`, and those that are in other fields.

use crate::dialect::params::{
    Field,
    Form::{Number, Own, Texts},
    Param, param,
};

/// Every parameter.
pub(super) const PARAMS: &[Param] = &[
    // It depends on the model's reasoning.
    param("maxTokens", Field::MaxTokens, Own),
    param("temperature", Field::Temperature, Number(0.0, 1.0)),
    param("topP", Field::TopP, Number(0.0, 1.0)),
    // In `additionalModelRequestFields`.
    param("", Field::TopK, Own),
    param("stopSequences", Field::Stop, Texts(usize::MAX, false)),
    // In `requestMetadata`.
    param("", Field::User, Own),
    param("", Field::Metadata, Own),
    // In `serviceTier`.
    param("", Field::ServiceTier, Own),
    // In Claude's `tool_choice`.
    param("", Field::ParallelToolCalls, Own),
];

/// Claude refuses stop texts of white space.
pub(super) const CLAUDE: &[Param] = &[param("stopSequences", Field::Stop, Texts(usize::MAX, true))];

/// Classes of service. The default is not written.
pub(super) const TIERS: &[(&str, &str)] = &[
    ("auto", ""),
    ("standard", ""),
    ("standard_only", ""),
    ("default", "default"),
    ("priority", "priority"),
    ("flex", "flex"),
    ("reserved", "reserved"),
];
