//! OpenAI's dialects: Chat Completions, Completions, Responses, embeddings, moderations.

use serde::Deserialize;

use crate::dialect::{Endpoint, Usage};

/// The endpoint that the last segments of `path` name.
pub(crate) fn endpoint(path: &str) -> Option<Endpoint> {
    let path = path.trim_end_matches('/');
    if let Some((_, rest)) = path.rsplit_once("/responses/") {
        return (!rest.is_empty()).then(|| Endpoint::ResponseResource(rest.to_owned()));
    }
    let (before, last) = path.rsplit_once('/')?;
    match last {
        "completions" if before.ends_with("/chat") => Some(Endpoint::ChatCompletions),
        "completions" => Some(Endpoint::Completions),
        "responses" => Some(Endpoint::Responses),
        "embeddings" => Some(Endpoint::Embeddings),
        "moderations" => Some(Endpoint::Moderations),
        _ => None,
    }
}

/// The path of `endpoint` below the API's base (`/v1`), if OpenAI has it.
pub fn path(endpoint: &Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::ChatCompletions => Some("/chat/completions"),
        Endpoint::Completions => Some("/completions"),
        Endpoint::Responses => Some("/responses"),
        Endpoint::Embeddings => Some("/embeddings"),
        Endpoint::Moderations => Some("/moderations"),
        Endpoint::Models(None) => Some("/models"),
        _ => None,
    }
}

/// `usage` of Chat Completions, Completions and embeddings; `input_tokens` and `output_tokens` of Responses.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// Reads a `usage` value. `None` for `null` and for anything that is not understood.
pub(crate) fn usage(raw: &[u8]) -> Option<Usage> {
    let wire: WireUsage = serde_json::from_slice(raw).ok()?;
    Some(Usage {
        prompt: wire.prompt_tokens.or(wire.input_tokens),
        completion: wire.completion_tokens.or(wire.output_tokens),
    })
}

/// A stream event as far as the relay needs it: a Chat Completions chunk, or a Responses event.
#[derive(Deserialize)]
pub(crate) struct Chunk<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    response: Option<ResponseHead<'a>>,
    choices: Option<Vec<Choice>>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ResponseHead<'a> {
    #[serde(borrow)]
    model: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Choice {
    finish_reason: Option<serde::de::IgnoredAny>,
}

impl Chunk<'_> {
    pub(crate) fn parse(data: &[u8]) -> Option<Chunk<'_>> {
        serde_json::from_slice(data).ok()
    }

    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref().or(self.response.as_ref().and_then(|r| r.model.as_deref()))
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        let raw = self.usage.or(self.response.as_ref().and_then(|r| r.usage))?;
        usage(raw.get().as_bytes())
    }

    /// A chunk that holds usage and nothing else: what `stream_options.include_usage` adds.
    pub(crate) fn is_usage_only(&self) -> bool {
        self.choices.as_ref().is_some_and(Vec::is_empty) && self.usage().is_some()
    }

    /// Whether this is an event of ours at all, and not just some JSON.
    pub(crate) fn is_known(&self) -> bool {
        self.choices.is_some() || self.kind.is_some() || self.error.is_some() || self.usage.is_some()
    }

    /// Whether the stream may end after this event: a finish reason, an error, or a closing Responses event.
    pub(crate) fn is_terminal(&self) -> bool {
        let finished = self.choices.as_ref().is_some_and(|c| c.iter().any(|c| c.finish_reason.is_some()));
        let closed = self
            .kind
            .as_deref()
            .is_some_and(|k| matches!(k, "response.completed" | "response.incomplete" | "response.failed" | "error"));
        finished || closed || self.error.is_some() || self.is_usage_only()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_chat_and_responses() {
        assert_eq!(
            usage(br#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"new":{}}"#),
            Some(Usage { prompt: Some(3), completion: Some(4) })
        );
        assert_eq!(
            usage(br#"{"input_tokens":3,"output_tokens":4}"#),
            Some(Usage { prompt: Some(3), completion: Some(4) })
        );
        assert_eq!(usage(b"null"), None);
        assert_eq!(usage(br#"{"prompt_tokens":"3"}"#), None);
    }

    #[test]
    fn chunks_tell_their_end() {
        let terminal = |data: &str| Chunk::parse(data.as_bytes()).unwrap().is_terminal();
        assert!(!terminal(r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#));
        assert!(!terminal(r#"{"choices":[],"prompt_filter_results":[]}"#));
        assert!(terminal(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#));
        assert!(terminal(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#));
        assert!(terminal(r#"{"type":"response.completed","response":{"model":"m"}}"#));
        assert!(terminal(r#"{"error":{"message":"boom"}}"#));
        assert!(!terminal(r#"{"type":"response.output_text.delta","delta":"a"}"#));
    }
}
