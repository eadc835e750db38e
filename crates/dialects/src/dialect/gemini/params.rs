//! Parameters of `generationConfig`.

use super::wire::{Count as WireCount, Float, Int};
use crate::dialect::params::{
    Field,
    Form::{Count, Int32, Number, Several, Switch, Texts},
    Numbers, Param, param,
};

/// Most stop texts of a request.
const MAX_STOPS: usize = 5;
/// Most alternatives of a token.
const MAX_LOGPROBS: u64 = 20;

/// Every parameter.
pub(super) const PARAMS: &[Param] = &[
    param("temperature", Field::Temperature, Number(0.0, 2.0)),
    param("topP", Field::TopP, Number(0.0, 1.0)),
    param("presencePenalty", Field::PresencePenalty, Number(-2.0, 2.0)),
    param("frequencyPenalty", Field::FrequencyPenalty, Number(-2.0, 2.0)),
    param("topK", Field::TopK, Number(f64::MIN, f64::MAX)),
    param("candidateCount", Field::N, Several),
    param("seed", Field::Seed, Int32),
    param("stopSequences", Field::Stop, Texts(MAX_STOPS, false)),
    param("responseLogprobs", Field::Logprobs, Switch),
    param("logprobs", Field::TopLogprobs, Count(0, MAX_LOGPROBS)),
    param("maxOutputTokens", Field::MaxTokens, Count(0, u64::MAX)),
];

/// Numbers as proto3 allows them: as JSON numbers or as strings.
pub(super) struct Proto;

impl Numbers for Proto {
    type Float = Float;
    type Count = WireCount;
    type Integer = Int;
}
