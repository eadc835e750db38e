//! Token counts and the end of a stream.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{conversation::TokenUsage, dialect::Progress};

/// Counts on the wire. `input_tokens` does not include the cached ones.
#[derive(Clone, Copy, Deserialize, Default)]
pub(super) struct WireUsage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl WireUsage {
    /// Counts that `later` states replace earlier ones, the others stay.
    pub fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
    }
}

impl From<WireUsage> for TokenUsage {
    fn from(wire: WireUsage) -> Self {
        let cached = wire.cache_read_input_tokens.unwrap_or(0);
        let cache_write = wire.cache_creation_input_tokens.unwrap_or(0);
        Self {
            input: wire.input_tokens.map(|n| n.saturating_add(cached).saturating_add(cache_write)),
            cached: wire.cache_read_input_tokens,
            cache_write: wire.cache_creation_input_tokens,
            output: wire.output_tokens,
            reasoning: wire.output_tokens_details.and_then(|details| details.thinking_tokens),
        }
    }
}

/// Reads a `usage` value. `None` for `null` and for anything else that is not one.
pub(super) fn read(raw: &[u8]) -> Option<TokenUsage> {
    serde_json::from_slice::<WireUsage>(raw).ok().map(TokenUsage::from)
}

/// The fields of an event that concern usage and end.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    message: Option<MessageHead<'a>>,
}

#[derive(Deserialize)]
struct MessageHead<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    usage: Option<WireUsage>,
}

/// The type of the event that ends a stream. Without it the stream was cut.
pub(super) const END: &str = "message_stop";

/// Reads an event: `message_start` has the model and counts the prompt, `message_delta` has the final counts, which
/// replace earlier ones. The output count of `message_start` is only that of the first token.
pub(super) fn read_progress(data: &[u8]) -> Option<Progress> {
    let Event { kind, usage, message } = serde_json::from_slice(data).ok()?;
    let kind = kind?;
    let (model, first) = message.map_or((None, None), |m| (m.model.map(Cow::into_owned), m.usage));
    let first = first.map(|first| TokenUsage { output: None, ..first.into() });
    let usage = usage.map(TokenUsage::from).or(first);
    let failed = kind == "error";
    Some(Progress { ends: failed || &*kind == END, failed, usage, model, ..Progress::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_belong_to_the_prompt() {
        let counts = |raw: &str| read(raw.as_bytes()).map(|usage| (usage.input, usage.output));
        let raw =
            r#"{"input_tokens":10,"cache_creation_input_tokens":2,"cache_read_input_tokens":5,"output_tokens":1}"#;
        assert_eq!(counts(raw), Some((Some(17), Some(1))));
        assert_eq!(counts(r#"{"output_tokens":9}"#), Some((None, Some(9))));
    }

    #[test]
    fn events_carry_model_usage_and_end() {
        let start =
            br#"{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":3,"output_tokens":1}}}"#;
        let Progress { model, usage, .. } = read_progress(start).unwrap();
        assert_eq!(model.as_deref(), Some("claude-x"));
        assert_eq!(usage.map(|usage| (usage.input, usage.output)), Some((Some(3), None)));
        assert!(read_progress(br#"{"type":"message_stop"}"#).unwrap().ends);
        assert!(!read_progress(br#"{"type":"message_delta","usage":{"output_tokens":4}}"#).unwrap().ends);
    }
}
