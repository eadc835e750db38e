//! Token counts and the end of a stream. The counts of Responses are read here too: servers of either dialect use the
//! names of the other.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    conversation::{Text, TokenUsage},
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
