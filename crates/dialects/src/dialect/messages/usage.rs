//! Anthropic's Messages.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dialect::{Endpoint, Usage};

/// The endpoint that the last segments of `path` name.
pub(crate) fn endpoint(path: &str) -> Option<Endpoint> {
    let (before, last) = path.trim_end_matches('/').rsplit_once('/')?;
    match last {
        "messages" => Some(Endpoint::Messages),
        "count_tokens" if before.ends_with("/messages") => Some(Endpoint::CountMessageTokens),
        _ => None,
    }
}

/// The path of `endpoint` at `api.anthropic.com`, if Anthropic has it.
pub fn path(endpoint: &Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::Messages => Some("/v1/messages"),
        Endpoint::CountMessageTokens => Some("/v1/messages/count_tokens"),
        Endpoint::Models(None) => Some("/v1/models"),
        _ => None,
    }
}

/// `input_tokens` excludes cached tokens, so the prompt is the sum of the three.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
struct WireUsage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Self {
        let cached =
            wire.cache_creation_input_tokens.unwrap_or(0).saturating_add(wire.cache_read_input_tokens.unwrap_or(0));
        Self { prompt: wire.input_tokens.map(|input| input.saturating_add(cached)), completion: wire.output_tokens }
    }
}

/// Reads a `usage` value. `None` for `null` and for anything that is not understood.
pub(crate) fn usage(raw: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<WireUsage>(raw).ok().map(Usage::from)
}

/// A stream event as far as the relay needs it.
#[derive(Deserialize)]
pub(crate) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    message: Option<Head<'a>>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    usage: Option<WireUsage>,
}

impl Event<'_> {
    pub(crate) fn parse(data: &[u8]) -> Option<Event<'_>> {
        serde_json::from_slice(data).ok()
    }

    /// Usage and model of this event: `message_start` has the model and counts the prompt, `message_delta` has the final counts,
    /// which overwrite. What `message_start` says of the answer is about its first token.
    pub(crate) fn read(self) -> (Option<String>, Option<Usage>) {
        let (model, first) = self.message.map_or((None, None), |m| (m.model.map(Cow::into_owned), m.usage));
        let first = first.map(|first| Usage { completion: None, ..Usage::from(first) });
        (model, self.usage.map(Usage::from).or(first))
    }

    /// Whether this is an event of ours at all, and not just some JSON.
    pub(crate) fn is_known(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether the stream may end after this event.
    pub(crate) fn is_terminal(&self) -> bool {
        self.kind.as_deref().is_some_and(|k| matches!(k, "message_stop" | "error"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_belong_to_the_prompt() {
        let raw =
            br#"{"input_tokens":10,"cache_creation_input_tokens":2,"cache_read_input_tokens":5,"output_tokens":1}"#;
        assert_eq!(usage(raw), Some(Usage { prompt: Some(17), completion: Some(1) }));
        assert_eq!(usage(br#"{"output_tokens":9}"#), Some(Usage { prompt: None, completion: Some(9) }));
    }

    #[test]
    fn events_carry_model_usage_and_end() {
        let start =
            br#"{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":3,"output_tokens":1}}}"#;
        let (model, usage) = Event::parse(start).unwrap().read();
        assert_eq!(model.as_deref(), Some("claude-x"));
        assert_eq!(usage, Some(Usage { prompt: Some(3), completion: None }));
        assert!(Event::parse(br#"{"type":"message_stop"}"#).unwrap().is_terminal());
        assert!(!Event::parse(br#"{"type":"message_delta","usage":{"output_tokens":4}}"#).unwrap().is_terminal());
    }
}
