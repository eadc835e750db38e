//! Endpoints of Bedrock's runtime, and how requests to them are recognised.

use percent_encoding::percent_decode_str;

use super::invoke;
use crate::{
    dialect::{Claim, Endpoint, RequestHead, StreamMode},
    stream::TopLevel,
};

/// Keys that only Converse has, of the dialects with `messages` at the top level.
const CONVERSE_ONLY: [&str; 5] =
    ["inferenceConfig", "toolConfig", "additionalModelRequestFields", "guardrailConfig", "outputConfig"];

/// The operation that a Bedrock URL names, the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BedrockVerb {
    /// `converse`.
    Converse,
    /// `converse-stream`.
    ConverseStream,
    /// `invoke`: the model's own format.
    Invoke,
    /// `invoke-with-response-stream`.
    InvokeStream,
    /// `invoke` with a body of Anthropic's Messages.
    InvokeClaude,
    /// `invoke-with-response-stream` with a body of Anthropic's Messages.
    InvokeClaudeStream,
    /// `count-tokens`.
    CountTokens,
}

impl BedrockVerb {
    /// Every verb, as URLs spell it.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Converse, "converse"),
        (Self::ConverseStream, "converse-stream"),
        (Self::Invoke, "invoke"),
        (Self::InvokeStream, "invoke-with-response-stream"),
        (Self::InvokeClaude, "invoke"),
        (Self::InvokeClaudeStream, "invoke-with-response-stream"),
        (Self::CountTokens, "count-tokens"),
    ];

    /// The verb as URLs spell it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(verb, _)| *verb == self).map_or("converse", |(_, word)| word)
    }

    /// The verb a URL spells, if it is one. The body shows whether a model is invoked with Anthropic's Messages.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(verb, _)| *verb)
    }

    /// Whether the reply comes as an event stream.
    pub const fn streams(self) -> bool {
        matches!(self, Self::ConverseStream | Self::InvokeStream | Self::InvokeClaudeStream)
    }

    /// Whether the body is one of Anthropic's Messages.
    pub const fn is_messages(self) -> bool {
        matches!(self, Self::InvokeClaude | Self::InvokeClaudeStream)
    }
}

/// The endpoint that the last segments of `path` name: `model/MODEL/verb`, the model percent-encoded as one segment.
pub(super) fn from_path(path: &str) -> Option<Endpoint> {
    let (before, verb) = path.trim_end_matches('/').rsplit_once('/')?;
    let verb = BedrockVerb::parse(verb)?;
    let (before, model) = before.rsplit_once('/')?;
    let model = percent_decode_str(model).decode_utf8().ok()?;
    (before.ends_with("/model") && !model.is_empty()).then(|| Endpoint::Bedrock(verb, Some(model.into_owned())))
}

/// The endpoint of a body by its top-level keys.
pub(super) fn from_body(body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
    let has = |key: &str| body.get(key).is_some();
    let is_own = has("messages") && CONVERSE_ONLY.into_iter().any(has);
    is_own.then_some((Claim::Certain, Endpoint::Bedrock(BedrockVerb::Converse, None)))
}

/// How the reply is to be framed. The verb decides whether it streams; where the client's URL has no verb, the route's
/// type does. The body shows which format an invoked model has.
pub(super) fn framing(
    request: &RequestHead<'_>,
    verb: BedrockVerb,
    by_path: bool,
    body: Option<&TopLevel<'_>>,
) -> (BedrockVerb, StreamMode) {
    let verb = match verb {
        BedrockVerb::Converse if !by_path && request.route_streams => BedrockVerb::ConverseStream,
        BedrockVerb::Invoke if body.is_some_and(invoke::is_messages) => BedrockVerb::InvokeClaude,
        BedrockVerb::InvokeStream if body.is_some_and(invoke::is_messages) => BedrockVerb::InvokeClaudeStream,
        verb => verb,
    };
    (verb, if verb.streams() { StreamMode::EventStream } else { StreamMode::No })
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
            assert_eq!(from_path(path), expected, "{path}");
        }
    }
}
