//! Endpoints of Gemini, as Google AI Studio and Vertex AI have them, and how requests to them are recognised.

use crate::{
    dialect::{Claim, Endpoint, RequestHead, RerankApi, StreamMode},
    stream::TopLevel,
};

/// The operation that a Gemini URL names, the word after the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GeminiVerb {
    /// `generateContent`.
    Generate,
    /// `streamGenerateContent`.
    StreamGenerate,
    /// `countTokens`.
    CountTokens,
    /// `embedContent`.
    Embed,
    /// `batchEmbedContents`.
    BatchEmbed,
    /// `predict`, Vertex AI's older embeddings.
    Predict,
}

impl GeminiVerb {
    /// Every verb, as URLs spell it.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Generate, "generateContent"),
        (Self::StreamGenerate, "streamGenerateContent"),
        (Self::CountTokens, "countTokens"),
        (Self::Embed, "embedContent"),
        (Self::BatchEmbed, "batchEmbedContents"),
        (Self::Predict, "predict"),
    ];

    /// The verb as URLs spell it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(verb, _)| *verb == self).map_or("generateContent", |(_, word)| word)
    }

    /// The verb a URL spells, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(verb, _)| *verb)
    }
}

/// The verb of rankings, which is no verb of models.
const RANK: &str = "rank";

/// The endpoint that the last segment of `path` names: `models/MODEL:verb`, or `rankingConfigs/ID:rank`.
pub(super) fn from_path(path: &str) -> Option<Endpoint> {
    let (before, last) = path.trim_end_matches('/').rsplit_once('/')?;
    let (model, verb) = last.rsplit_once(':')?;
    if before.ends_with("/rankingConfigs") && verb == RANK && !model.is_empty() {
        return Some(Endpoint::Rerank(RerankApi::Google));
    }
    (before.ends_with("/models") && !model.is_empty())
        .then(|| GeminiVerb::parse(verb))?
        .map(|verb| Endpoint::Gemini(verb, Some(model.to_owned())))
}

/// The endpoint of a body by its top-level keys.
pub(super) fn from_body(body: &TopLevel<'_>) -> Option<(Claim, Endpoint)> {
    body.get("contents").map(|_| (Claim::Certain, Endpoint::Gemini(GeminiVerb::Generate, None)))
}

/// Whether the client sends its key, or writes its path, like Google's clients.
pub(super) fn claims_client(request: &RequestHead<'_>) -> Option<Claim> {
    let google = ["/v1beta", "/publishers/"].iter().any(|part| request.path.contains(part))
        || request.query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("key=")));
    (google || request.headers.contains_key("x-goog-api-key")).then_some(Claim::Certain)
}

/// How the reply is to be framed. The verb decides whether it streams; where the client's URL has no verb, the route's
/// type or `alt=sse` do.
pub(super) fn framing(request: &RequestHead<'_>, verb: GeminiVerb, by_path: bool) -> (GeminiVerb, StreamMode) {
    let sse = request.query.is_some_and(|q| q.split('&').any(|pair| pair == "alt=sse"));
    match verb {
        GeminiVerb::StreamGenerate => (verb, if sse { StreamMode::Sse } else { StreamMode::JsonArray }),
        GeminiVerb::Generate if !by_path && (sse || request.route_streams) => {
            (GeminiVerb::StreamGenerate, StreamMode::Sse)
        }
        verb => (verb, StreamMode::No),
    }
}
