//! Token counts and the end of a stream.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::{error, wire::Int};
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
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    index: Option<u32>,
    finish_reason: Option<IgnoredAny>,
}

/// The judgement of the prompt.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    block_reason: Option<IgnoredAny>,
}

impl Feedback {
    /// Whether the prompt was refused.
    pub(super) const fn is_blocked(&self) -> bool {
        self.block_reason.is_some()
    }
}

/// The number of a candidate, which is its position where it has none.
pub(super) fn candidate_index(index: Option<u32>, position: usize) -> u32 {
    index.unwrap_or_else(|| u32::try_from(position).unwrap_or(u32::MAX))
}

/// Reads a partial response. A stream ends when all candidates have a finish reason, with a blocked prompt, or with an
/// error.
pub(super) fn read_progress(data: &[u8]) -> Option<Progress> {
    let chunk = serde_json::from_slice::<Chunk<'_>>(data).ok().filter(|chunk| chunk.error.is_none());
    let Some(Chunk { model_version, usage_metadata, candidates, prompt_feedback, .. }) = chunk else {
        return error::find(data).map(|_| Progress { ends: true, failed: true, ..Progress::default() });
    };
    if candidates.is_none() && prompt_feedback.is_none() && usage_metadata.is_none() {
        return None;
    }
    let ended = |(position, candidate): (usize, Candidate)| {
        (candidate_index(candidate.index, position).into(), candidate.finish_reason.is_some())
    };
    Some(Progress {
        ends: prompt_feedback.is_some_and(|feedback| feedback.is_blocked()),
        choices: candidates.into_iter().flatten().enumerate().map(ended).collect(),
        failed: false,
        usage: usage_metadata.and_then(|raw| read(raw.get().as_bytes())),
        usage_only: false,
        model: model_version.map(Cow::into_owned),
    })
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
        let progress = |data: &str| read_progress(data.as_bytes()).unwrap();
        let choices = |data: &str| progress(data).choices.to_vec();
        assert_eq!(choices(r#"{"candidates":[{"content":{}}],"usageMetadata":{}}"#), [(0, false)]);
        assert_eq!(choices(r#"{"candidates":[{"index":1,"finishReason":"STOP"},{}]}"#), [(1, true), (1, false)]);
        assert!(progress(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#).ends);
        assert!(progress(r#"{"error":{"code":500}}"#).failed);
        assert!(progress(r#"[{"error":{"code":500}}]"#).failed);
    }
}
