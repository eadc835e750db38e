//! Gemini's generateContent, as Google AI Studio and Vertex AI speak it.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dialect::{Endpoint, GeminiVerb, Usage};

/// The endpoint that the last segment of `path` names: `models/MODEL:verb`.
pub(crate) fn endpoint(path: &str) -> Option<Endpoint> {
    let (before, last) = path.trim_end_matches('/').rsplit_once('/')?;
    let (model, verb) = last.rsplit_once(':')?;
    (before.ends_with("/models") && !model.is_empty())
        .then(|| GeminiVerb::parse(verb))?
        .map(|verb| Endpoint::Gemini(verb, Some(model.to_owned())))
}

/// Thoughts are billed as output but not part of `candidatesTokenCount`; tool-use prompts are input.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
struct WireUsage {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
}

/// Reads a `usageMetadata` value. `None` for `null` and for anything that is not understood.
pub(crate) fn usage(raw: &[u8]) -> Option<Usage> {
    let wire: WireUsage = serde_json::from_slice(raw).ok()?;
    let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    Some(Usage {
        prompt: sum(wire.prompt_token_count, wire.tool_use_prompt_token_count),
        completion: sum(wire.candidates_token_count, wire.thoughts_token_count),
    })
}

/// A stream event as far as the relay needs it: each is a partial response.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chunk<'a> {
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

impl Chunk<'_> {
    pub(crate) fn parse(data: &[u8]) -> Option<Chunk<'_>> {
        serde_json::from_slice(data).ok()
    }

    pub(crate) fn model(&self) -> Option<&str> {
        self.model_version.as_deref()
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        usage(self.usage_metadata?.get().as_bytes())
    }

    /// Whether this is an event of ours at all, and not just some JSON.
    pub(crate) fn is_known(&self) -> bool {
        self.candidates.is_some()
            || self.prompt_feedback.is_some()
            || self.usage_metadata.is_some()
            || self.error.is_some()
    }

    /// Whether the stream may end after this event: a finish reason, a blocked prompt, or an error.
    pub(crate) fn is_terminal(&self) -> bool {
        let finished = self.candidates.as_ref().is_some_and(|c| c.iter().any(|c| c.finish_reason.is_some()));
        let blocked = self.prompt_feedback.as_ref().is_some_and(|f| f.block_reason.is_some());
        finished || blocked || self.error.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_output_and_tool_use_is_input() {
        let raw =
            br#"{"promptTokenCount":5,"toolUsePromptTokenCount":1,"candidatesTokenCount":3,"thoughtsTokenCount":2}"#;
        assert_eq!(usage(raw), Some(Usage { prompt: Some(6), completion: Some(5) }));
        assert_eq!(usage(br#"{"promptTokenCount":5}"#), Some(Usage { prompt: Some(5), completion: None }));
    }

    #[test]
    fn chunks_tell_their_end() {
        let terminal = |data: &str| Chunk::parse(data.as_bytes()).unwrap().is_terminal();
        assert!(!terminal(r#"{"candidates":[{"content":{}}],"usageMetadata":{}}"#));
        assert!(terminal(r#"{"candidates":[{"finishReason":"STOP"}]}"#));
        assert!(terminal(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#));
        assert!(terminal(r#"{"error":{"code":500}}"#));
    }
}
