//! Token counts and the end of a stream.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::Int;
use crate::{conversation::TokenUsage, dialect::Progress};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
pub(super) struct UsageMetadata {
    prompt_token_count: Option<Int>,
    cached_content_token_count: Option<Int>,
    candidates_token_count: Option<Int>,
    thoughts_token_count: Option<Int>,
    tool_use_prompt_token_count: Option<Int>,
}

impl UsageMetadata {
    /// The token counts. `candidatesTokenCount` excludes reasoning, and `promptTokenCount` excludes the prompts of
    /// tools that Google runs.
    pub(super) fn read(&self) -> TokenUsage {
        let count = |count: Option<Int>| count.and_then(Int::count);
        let sum = |a: Option<Int>, b: Option<Int>| match (count(a), count(b)) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        TokenUsage {
            input: sum(self.prompt_token_count, self.tool_use_prompt_token_count),
            cached: count(self.cached_content_token_count),
            cache_write: None,
            output: sum(self.candidates_token_count, self.thoughts_token_count),
            reasoning: count(self.thoughts_token_count),
        }
    }
}

/// Reads a `usageMetadata` value. `None` for `null` and for anything else that is not one.
pub(super) fn read(raw: &[u8]) -> Option<TokenUsage> {
    serde_json::from_slice::<UsageMetadata>(raw).ok().map(|wire| wire.read())
}

/// The fields of a partial response that concern usage and end.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow)]
    model_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    usage_metadata: Option<&'a serde_json::value::RawValue>,
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<Feedback>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    finish_reason: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<serde::de::IgnoredAny>,
}

/// Reads a partial response. A stream ends with a finish reason, a blocked prompt, or an error.
pub(super) fn read_progress(data: &[u8]) -> Option<Progress> {
    let Chunk { model_version, usage_metadata, candidates, prompt_feedback, error } =
        serde_json::from_slice(data).ok()?;
    if candidates.is_none() && prompt_feedback.is_none() && usage_metadata.is_none() && error.is_none() {
        return None;
    }
    let finished = candidates.is_some_and(|c| c.iter().any(|c| c.finish_reason.is_some()));
    let blocked = prompt_feedback.is_some_and(|f| f.block_reason.is_some());
    let usage = usage_metadata.and_then(|raw| read(raw.get().as_bytes()));
    let failed = error.is_some();
    let ends = finished || blocked || failed;
    Some(Progress { ends, failed, usage, usage_only: false, model: model_version.map(Cow::into_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_output_and_tool_use_is_input() {
        let counts = |raw: &str| read(raw.as_bytes()).map(|usage| (usage.input, usage.output));
        let raw =
            r#"{"promptTokenCount":5,"toolUsePromptTokenCount":1,"candidatesTokenCount":3,"thoughtsTokenCount":2}"#;
        assert_eq!(counts(raw), Some((Some(6), Some(5))));
        assert_eq!(counts(r#"{"promptTokenCount":5}"#), Some((Some(5), None)));
    }

    #[test]
    fn chunks_tell_their_end() {
        let terminal = |data: &str| read_progress(data.as_bytes()).unwrap().ends;
        assert!(!terminal(r#"{"candidates":[{"content":{}}],"usageMetadata":{}}"#));
        assert!(terminal(r#"{"candidates":[{"finishReason":"STOP"}]}"#));
        assert!(terminal(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#));
        assert!(terminal(r#"{"error":{"code":500}}"#));
    }
}
