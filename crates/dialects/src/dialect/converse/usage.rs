//! Amazon Bedrock: paths and counts. Converse itself is in [`converse`](super).

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::dialect::{BedrockVerb, Endpoint, Usage};

/// The endpoint that the last segments of `path` name: `model/MODEL/verb`, the model percent-encoded as one segment.
pub(crate) fn endpoint(path: &str) -> Option<Endpoint> {
    let (before, verb) = path.trim_end_matches('/').rsplit_once('/')?;
    let verb = BedrockVerb::parse(verb)?;
    let (before, model) = before.rsplit_once('/')?;
    let model = percent_decode_str(model).decode_utf8().ok()?;
    (before.ends_with("/model") && !model.is_empty()).then(|| Endpoint::Bedrock(verb, Some(model.into_owned())))
}

/// `inputTokens` excludes cached tokens, so the prompt is the sum of the three.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "as the wire has them")]
struct WireUsage {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// Reads a `usage` value. `None` for `null` and for anything that is not understood.
pub(crate) fn usage(raw: &[u8]) -> Option<Usage> {
    let wire: WireUsage = serde_json::from_slice(raw).ok()?;
    let cached = wire.cache_read_input_tokens.unwrap_or(0).saturating_add(wire.cache_write_input_tokens.unwrap_or(0));
    Some(Usage { prompt: wire.input_tokens.map(|n| n.saturating_add(cached)), completion: wire.output_tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_one_segment() {
        let arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc";
        for (path, expected) in [
            ("/model/m/converse", Some((BedrockVerb::Converse, "m"))),
            (
                "/x/model/us.anthropic.claude-v1%3A0/converse-stream",
                Some((BedrockVerb::ConverseStream, "us.anthropic.claude-v1:0")),
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fabc/invoke",
                Some((BedrockVerb::Invoke, arn)),
            ),
            ("/model//converse", None),
            ("/model/converse", None),
            ("/model/m/fly", None),
        ] {
            let expected = expected.map(|(verb, model)| Endpoint::Bedrock(verb, Some(model.to_owned())));
            assert_eq!(endpoint(path), expected, "{path}");
        }
    }

    #[test]
    fn cached_tokens_belong_to_the_prompt() {
        let raw = br#"{"inputTokens":1,"outputTokens":2,"cacheReadInputTokens":3,"cacheWriteInputTokens":4}"#;
        assert_eq!(usage(raw), Some(Usage { prompt: Some(8), completion: Some(2) }));
    }
}
