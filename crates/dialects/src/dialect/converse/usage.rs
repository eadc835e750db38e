//! Token counts and the end of a stream.

use serde::Deserialize;

use super::invoke;
use crate::{conversation::TokenUsage, dialect::Progress};

/// Token counts. `inputTokens` excludes the tokens that were read from and written to a cache. Replies of Claude to
/// `InvokeModel` have Anthropic's names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
pub(super) struct WireUsage {
    #[serde(alias = "input_tokens")]
    input_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    output_tokens: Option<u64>,
    #[serde(alias = "cache_read_input_tokens")]
    cache_read_input_tokens: Option<u64>,
    #[serde(alias = "cache_creation_input_tokens")]
    cache_write_input_tokens: Option<u64>,
}

impl WireUsage {
    pub(super) fn read(&self) -> TokenUsage {
        let cached =
            self.cache_read_input_tokens.unwrap_or(0).saturating_add(self.cache_write_input_tokens.unwrap_or(0));
        TokenUsage {
            input: self.input_tokens.map(|n| n.saturating_add(cached)),
            cached: self.cache_read_input_tokens,
            cache_write: self.cache_write_input_tokens,
            output: self.output_tokens,
            reasoning: None,
        }
    }
}

/// Reads a `usage` value. `None` for `null` and for anything else that is not one.
pub(super) fn read(raw: &[u8]) -> Option<TokenUsage> {
    serde_json::from_slice::<WireUsage>(raw).ok().map(|wire| wire.read())
}

/// The event after the end of an answer.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub usage: Option<WireUsage>,
}

/// The name of the frame that ends an answer. Without it the answer was cut.
pub(super) const END: &[u8] = b"messageStop";

/// Reads a frame. The answer ends with `messageStop`; its counts follow it. No frame names the model.
pub(super) fn read_progress(name: &[u8], data: &[u8]) -> Progress {
    if name == invoke::CHUNK {
        return invoke::read_progress(data);
    }
    let metadata = (name == b"metadata").then(|| serde_json::from_slice::<Metadata>(data).ok()).flatten();
    let usage = metadata.and_then(|metadata| metadata.usage).map(|usage| usage.read());
    Progress { ends: name == END, usage, ..Progress::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_belong_to_the_prompt() {
        let raw = br#"{"inputTokens":1,"outputTokens":2,"cacheReadInputTokens":3,"cacheWriteInputTokens":4}"#;
        assert_eq!(read(raw).map(|usage| (usage.input, usage.output)), Some((Some(8), Some(2))));
    }
}
