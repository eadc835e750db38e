//! Token counts and the end of a stream. The counts of Responses are read here too: servers of either dialect use the
//! names of the other.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conversation::TokenUsage,
    dialect::{Progress, fields},
};

/// `usage` of Chat Completions, Completions, embeddings (`prompt_tokens`) and Responses (`input_tokens`), with
/// `DeepSeek`'s names for the cache.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(in crate::dialect) struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    prompt_cache_hit_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    input_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
struct Details {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

impl From<WireUsage> for TokenUsage {
    fn from(wire: WireUsage) -> Self {
        let input = wire.prompt_tokens_details.or(wire.input_tokens_details).unwrap_or_default();
        let output = wire.completion_tokens_details.or(wire.output_tokens_details).unwrap_or_default();
        Self {
            input: wire.prompt_tokens.or(wire.input_tokens),
            cached: input.cached_tokens.or(wire.prompt_cache_hit_tokens),
            cache_write: input.cache_write_tokens,
            output: wire.completion_tokens.or(wire.output_tokens),
            reasoning: output.reasoning_tokens,
        }
    }
}

/// Reads a `usage` value; `None` if it has no counts. One count that is not a number does not invalidate the others.
pub(in crate::dialect) fn read(raw: &str) -> Option<TokenUsage> {
    // A list would be read by position.
    if !raw.trim_start().starts_with('{') {
        return None;
    }
    let parse = |json: &str| serde_json::from_str::<Option<WireUsage>>(json).ok();
    let repaired = || fields::repair(raw, &[], &|json| fields::find_type_error::<Option<WireUsage>>(json))?.mended();
    let wire = parse(raw).or_else(|| parse(&repaired()?.0)).flatten()?;
    Some(TokenUsage::from(wire)).filter(|usage| !usage.is_empty())
}

/// The fields of a chunk that concern usage and end.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    model: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    choices: Option<Vec<Choice>>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    finish_reason: Option<serde::de::IgnoredAny>,
}

/// Reads a chunk. A stream ends with a finish reason, with the usage after it, or with an error.
pub(super) fn read_progress(data: &[u8]) -> Option<Progress> {
    let Chunk { model, usage, choices, error } = serde_json::from_slice(data).ok()?;
    if choices.is_none() && error.is_none() && usage.is_none() {
        return None;
    }
    let usage = usage.and_then(|raw| read(raw.get()));
    let finished = choices.as_ref().is_some_and(|c| c.iter().any(|c| c.finish_reason.is_some()));
    let usage_only = choices.as_ref().is_some_and(Vec::is_empty) && usage.is_some();
    let failed = error.is_some();
    let ends = finished || usage_only || failed;
    Some(Progress { ends, failed, usage, usage_only, model: model.map(std::borrow::Cow::into_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_chat_and_responses() {
        let counts = |raw: &str| read(raw).map(|usage| (usage.input, usage.output));
        let expected = Some((Some(3), Some(4)));
        assert_eq!(counts(r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"new":{}}"#), expected);
        assert_eq!(counts(r#"{"input_tokens":3,"output_tokens":4}"#), expected);
        assert_eq!(counts("null"), None);
        assert_eq!(counts("[1,2]"), None);
        assert_eq!(counts(r#"{"prompt_tokens":"3"}"#), None);
    }

    #[test]
    fn chunks_tell_their_end() {
        let terminal = |data: &str| read_progress(data.as_bytes()).unwrap().ends;
        assert!(!terminal(r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#));
        assert!(!terminal(r#"{"choices":[],"prompt_filter_results":[]}"#));
        assert!(terminal(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#));
        assert!(terminal(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#));
        assert!(terminal(r#"{"error":{"message":"boom"}}"#));
    }
}
