//! Token counts and the end of a stream. The counts of Responses are read here too: servers of either dialect use the
//! names of the other.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    conversation::{Text, TokenUsage},
    dialect::Progress,
};

/// `usage` of Chat Completions, Completions, embeddings (`prompt_tokens`) and Responses (`input_tokens`), with
/// `DeepSeek`'s names for the cache. One count that is not a number does not invalidate the others.
///
/// Every reply has one. What serde derives for these objects is 14 KB of code, a twelfth of what a request runs
/// through, and so most of it is never in the processor's cache.
#[derive(Clone, Copy, Default)]
pub(in crate::dialect) struct WireUsage {
    prompt: Option<u64>,
    input: Option<u64>,
    completion: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    cache_hit: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
}

/// The names in a usage object, and in the objects with details inside it.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    PromptTokens,
    CompletionTokens,
    InputTokens,
    OutputTokens,
    PromptCacheHitTokens,
    PromptTokensDetails,
    CompletionTokensDetails,
    InputTokensDetails,
    OutputTokensDetails,
    CachedTokens,
    CacheWriteTokens,
    ReasoningTokens,
    #[serde(other)]
    Other,
}

/// Reads the value of a member, which is `name` inside `outer`, into `usage`. The whole object has neither.
struct Member<'u> {
    usage: &'u mut WireUsage,
    outer: Option<Name>,
    name: Option<Name>,
}

impl WireUsage {
    fn count(&mut self, outer: Option<Name>, name: Name, count: u64) {
        use Name::{
            CacheWriteTokens, CachedTokens, CompletionTokens, CompletionTokensDetails, InputTokens, InputTokensDetails,
            OutputTokens, OutputTokensDetails, PromptCacheHitTokens, PromptTokens, PromptTokensDetails,
            ReasoningTokens,
        };
        let slot = match (outer, name) {
            (None, PromptTokens) => &mut self.prompt,
            (None, InputTokens) => &mut self.input,
            (None, CompletionTokens) => &mut self.completion,
            (None, OutputTokens) => &mut self.output,
            (None, PromptCacheHitTokens) => &mut self.cache_hit,
            (Some(PromptTokensDetails | InputTokensDetails), CachedTokens) => &mut self.cached,
            (Some(PromptTokensDetails | InputTokensDetails), CacheWriteTokens) => &mut self.cache_write,
            (Some(CompletionTokensDetails | OutputTokensDetails), ReasoningTokens) => &mut self.reasoning,
            _ => return,
        };
        *slot = Some(count);
    }
}

impl<'de> Deserialize<'de> for WireUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut usage = Self::default();
        deserializer.deserialize_any(Member { usage: &mut usage, outer: None, name: None })?;
        Ok(usage)
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token counts")
    }

    fn visit_u64<E>(self, count: u64) -> Result<(), E> {
        if let Some(name) = self.name {
            self.usage.count(self.outer, name, count);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { usage, outer, name } = self;
        while let Some(inner) = map.next_key()? {
            // Deeper objects have no counts.
            if outer.is_some() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Member { usage: &mut *usage, outer: name, name: Some(inner) })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl From<WireUsage> for TokenUsage {
    fn from(wire: WireUsage) -> Self {
        Self {
            input: wire.prompt.or(wire.input),
            cached: wire.cached.or(wire.cache_hit),
            cache_write: wire.cache_write,
            output: wire.completion.or(wire.output),
            reasoning: wire.reasoning,
        }
    }
}

/// Reads a `usage` value; `None` if it has no counts.
pub(in crate::dialect) fn read(raw: &str) -> Option<TokenUsage> {
    let usage = serde_json::from_str::<WireUsage>(raw).ok()?;
    Some(TokenUsage::from(usage)).filter(|usage| !usage.is_empty())
}

/// The fields of a chunk that concern usage and end.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Chunk<'a> {
    model: Option<Text<'a>>,
    object: Option<Text<'a>>,
    usage: Option<&'a RawValue>,
    choices: Option<Vec<Choice<'a>>>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<i64>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

/// Whether the data of an event is the mark behind the last chunk.
pub(super) fn is_done(data: &[u8]) -> bool {
    data.trim_ascii_start().starts_with(b"[DONE]")
}

/// The name of an event that is an error, whatever its data is.
pub(super) const ERROR_EVENT: &[u8] = b"error";

/// Whether a reply or a chunk is an error: nested in `error`, or flat as Mistral writes it.
pub(super) fn is_error(has_error: bool, object: Option<&Text<'_>>) -> bool {
    has_error || object.is_some_and(|object| object.is("error"))
}

/// Why a choice has ended, if it has. Some servers send an empty reason in every chunk.
pub(super) fn end_reason<'r, 'a>(reason: Option<&'r Text<'a>>) -> Option<&'r Text<'a>> {
    reason.filter(|reason| !reason.is_empty())
}

/// Whether a chunk without choices has the usage, which comes when all choices have ended.
pub(super) fn is_usage_only<C>(choices: Option<&[C]>, usage: Option<&TokenUsage>) -> bool {
    choices.is_some_and(<[C]>::is_empty) && usage.is_some()
}

/// Reads an event. A stream ends when all choices have a finish reason, with the usage or the mark behind them, or with
/// an error.
pub(super) fn read_progress(name: Option<&[u8]>, data: &[u8]) -> Option<Progress> {
    if is_done(data) {
        return Some(Progress { ends: true, ..Progress::default() });
    }
    let chunk = serde_json::from_slice::<Chunk<'_>>(data).ok();
    if name == Some(ERROR_EVENT) || chunk.as_ref().is_some_and(|c| is_error(c.error.is_some(), c.object.as_ref())) {
        return Some(Progress { ends: true, failed: true, ..Progress::default() });
    }
    let Chunk { model, usage, choices, .. } = chunk?;
    if choices.is_none() && usage.is_none() {
        return None;
    }
    let usage = usage.and_then(|raw| read(raw.get()));
    let usage_only = is_usage_only(choices.as_deref(), usage.as_ref());
    let ended = |choice: Choice<'_>| (choice.index.unwrap_or(0), end_reason(choice.finish_reason.as_ref()).is_some());
    let choices = choices.into_iter().flatten().map(ended).collect();
    let model = model.map(|model| model.decode().into_owned());
    Some(Progress { ends: usage_only, choices, failed: false, usage, usage_only, model })
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
        assert_eq!(
            counts(r#"{"prompt_tokens":[3],"completion_tokens":4,"x":{"prompt_tokens":9}}"#),
            Some((None, Some(4)))
        );
        assert_eq!(counts(r#"{"prompt_tokens":-1,"completion_tokens":1.5,"output_tokens":4}"#), Some((None, Some(4))));
        let details = r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":5,"deep":{"cached_tokens":1}},
            "completion_tokens_details":{"reasoning_tokens":2,"cached_tokens":7}}"#;
        let usage = read(details).unwrap();
        assert_eq!((usage.input, usage.cached, usage.reasoning, usage.output), (Some(9), Some(5), Some(2), None));
    }

    #[test]
    fn chunks_tell_their_end() {
        let progress = |data: &str| read_progress(None, data.as_bytes()).unwrap();
        let choices = |data: &str| progress(data).choices.to_vec();
        assert_eq!(choices(r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#), [(0, false)]);
        assert_eq!(choices(r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#), [(0, false)]);
        assert_eq!(choices(r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#), [(1, true)]);
        assert!(!progress(r#"{"choices":[],"prompt_filter_results":[]}"#).ends);
        assert!(progress(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#).ends);
        assert!(progress(r#"{"error":{"message":"boom"}}"#).failed);
        assert!(progress(r#"{"object":"error","message":"boom"}"#).failed);
        assert!(progress(" [DONE]").ends);
        assert!(read_progress(Some(b"error"), b"boom").unwrap().failed);
    }
}
