//! The endpoints of LLM APIs, and the properties that all requests to one of them share.

use super::{BedrockVerb, DIALECTS, DialectId, GeminiVerb};
use crate::stream::TopLevel;

/// An endpoint of an LLM API, as the URL or the shape of the body names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// OpenAI `POST /chat/completions`.
    ChatCompletions,
    /// OpenAI `POST /completions`.
    Completions,
    /// OpenAI `POST /responses`.
    Responses,
    /// OpenAI `POST /responses/input_tokens`.
    CountResponseTokens,
    /// OpenAI `POST /responses/compact`.
    CompactResponse,
    /// OpenAI stored responses: what follows `/responses/`.
    ResponseResource(String),
    /// OpenAI `POST /embeddings`.
    Embeddings,
    /// OpenAI `POST /moderations`.
    Moderations,
    /// Documents by their relevance to a query, in one of the forms that vendors have for it.
    Rerank(RerankApi),
    /// Model list, or one model. Every dialect has this endpoint; the provider decides which form it has.
    Models(Option<String>),
    /// Anthropic `POST /messages`.
    Messages,
    /// Anthropic `POST /messages/count_tokens`.
    CountMessageTokens,
    /// Gemini `models/MODEL:verb`. The model is absent when only the body shows the endpoint.
    Gemini(GeminiVerb, Option<String>),
    /// Bedrock `model/MODEL/verb`; the model is decoded.
    Bedrock(BedrockVerb, Option<String>),
    /// An endpoint that Tollgate does not support and a Backend lists: its path after the route's prefix.
    Other(String),
}

/// A form of requests that rank documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RerankApi {
    /// Cohere's `POST /v1/rerank`, which Jina, vLLM and others have too, some of them as `/rerank`.
    V1,
    /// Cohere's `POST /v2/rerank`.
    V2,
    /// `POST /rerank` of Bedrock's agent runtime.
    Bedrock,
    /// `POST rankingConfigs/ID:rank` of Google's Discovery Engine.
    Google,
}

/// Where the text of requests or replies is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextPlaces {
    /// There is none.
    Nowhere,
    /// In the slots of this dialect; see [`text`](super::text).
    In(DialectId),
    /// There may be some, and its places are not known.
    Unknown,
}

impl Endpoint {
    /// The endpoint that `path` names by its last segments, whatever comes before them (`/v1`, `/openai/v1`,
    /// `/openai/deployments/D`, `/v1beta`, `/v1/projects/P/locations/L/publishers/google`).
    pub fn from_path(path: &str) -> Option<Self> {
        DIALECTS.iter().find_map(|dialect| dialect.endpoint_from_path(path)).or_else(|| models(path))
    }

    /// The endpoint of a request to this one's path with the fields of `body`: two APIs have the path `/rerank`, and no
    /// field in common.
    pub(super) fn of_body(self, body: Option<&TopLevel<'_>>) -> Self {
        let is_bedrock = |body: &TopLevel<'_>| body.contains("queries") && !body.contains("query");
        match self {
            Self::Rerank(RerankApi::V1) if body.is_some_and(is_bedrock) => Self::Rerank(RerankApi::Bedrock),
            endpoint => endpoint,
        }
    }

    /// The model that the URL names.
    pub fn model_in_url(&self) -> Option<&str> {
        match self {
            Self::Gemini(_, model) | Self::Bedrock(_, model) | Self::Models(model) => model.as_deref(),
            _ => None,
        }
    }

    /// Whether the endpoint ranks documents.
    pub const fn reranks(&self) -> bool {
        matches!(self, Self::Rerank(_))
    }

    /// The dialect that the endpoint belongs to; `None` for model lists, which every dialect has.
    pub const fn owner(&self) -> Option<DialectId> {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Moderations
            | Self::Rerank(RerankApi::V1 | RerankApi::V2) => Some(DialectId::Chat),
            Self::Responses | Self::CountResponseTokens | Self::CompactResponse | Self::ResponseResource(_) => {
                Some(DialectId::Responses)
            }
            Self::Messages | Self::CountMessageTokens => Some(DialectId::Messages),
            Self::Gemini(..) | Self::Rerank(RerankApi::Google) => Some(DialectId::Gemini),
            Self::Bedrock(..) | Self::Rerank(RerankApi::Bedrock) => Some(DialectId::Converse),
            Self::Models(_) | Self::Other(_) => None,
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry semantic conventions.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::ChatCompletions
            | Self::Responses
            | Self::CompactResponse
            | Self::ResponseResource(_)
            | Self::Messages
            | Self::Bedrock(
                BedrockVerb::Converse
                | BedrockVerb::ConverseStream
                | BedrockVerb::InvokeClaude
                | BedrockVerb::InvokeClaudeStream,
                _,
            ) => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings | Self::Gemini(GeminiVerb::Embed | GeminiVerb::BatchEmbed | GeminiVerb::Predict, _) => {
                "embeddings"
            }
            Self::Moderations => "moderation",
            Self::Rerank(_) => "rerank",
            Self::Other(_) => "passthrough",
            Self::Models(_) => "list_models",
            Self::CountMessageTokens
            | Self::CountResponseTokens
            | Self::Gemini(GeminiVerb::CountTokens, _)
            | Self::Bedrock(BedrockVerb::CountTokens, _) => "count_tokens",
            Self::Gemini(_, _) => "generate_content",
            Self::Bedrock(BedrockVerb::Invoke | BedrockVerb::InvokeStream, _) => "invoke_model",
        }
    }

    /// The dialect of a conversation, if the endpoint is one for conversations.
    pub const fn dialect(&self) -> Option<DialectId> {
        match self {
            Self::ChatCompletions => Some(DialectId::Chat),
            Self::Responses => Some(DialectId::Responses),
            Self::Messages => Some(DialectId::Messages),
            Self::Gemini(GeminiVerb::Generate | GeminiVerb::StreamGenerate, _) => Some(DialectId::Gemini),
            Self::Bedrock(BedrockVerb::Converse | BedrockVerb::ConverseStream, _) => Some(DialectId::Converse),
            _ => None,
        }
    }

    /// Whether the endpoint counts the tokens of a conversation.
    pub const fn counts(&self) -> bool {
        matches!(
            self,
            Self::CountMessageTokens
                | Self::CountResponseTokens
                | Self::Gemini(GeminiVerb::CountTokens, _)
                | Self::Bedrock(BedrockVerb::CountTokens, _)
        )
    }

    /// The dialect of the conversation whose tokens the endpoint counts, if its body is that of a request.
    pub const fn counted_dialect(&self) -> Option<DialectId> {
        match self {
            Self::CountMessageTokens => Some(DialectId::Messages),
            Self::CountResponseTokens => Some(DialectId::Responses),
            Self::Gemini(GeminiVerb::CountTokens, _) => Some(DialectId::Gemini),
            _ => None,
        }
    }

    /// Where the text of the endpoint's requests is.
    pub const fn request_text(&self) -> TextPlaces {
        match self {
            Self::Models(_) | Self::ResponseResource(_) => TextPlaces::Nowhere,
            Self::Bedrock(verb, _) if verb.is_messages() => TextPlaces::In(DialectId::Messages),
            Self::Bedrock(BedrockVerb::Invoke | BedrockVerb::InvokeStream | BedrockVerb::CountTokens, _) => {
                TextPlaces::Unknown
            }
            _ => match self.owner() {
                Some(dialect) => TextPlaces::In(dialect),
                None => TextPlaces::Unknown,
            },
        }
    }

    /// Where the text of the endpoint's replies is. Vectors, counts and lists of models have none, and rankings repeat
    /// documents of the client.
    pub const fn reply_text(&self) -> TextPlaces {
        match self {
            Self::Completions => TextPlaces::In(DialectId::Chat),
            Self::CompactResponse | Self::ResponseResource(_) => TextPlaces::In(DialectId::Responses),
            Self::Embeddings
            | Self::Moderations
            | Self::Rerank(_)
            | Self::Models(_)
            | Self::CountMessageTokens
            | Self::CountResponseTokens
            | Self::Bedrock(BedrockVerb::CountTokens, _) => TextPlaces::Nowhere,
            _ => match self.dialect() {
                Some(dialect) => TextPlaces::In(dialect),
                None => match self {
                    Self::Gemini(..) => TextPlaces::Nowhere,
                    _ => TextPlaces::Unknown,
                },
            },
        }
    }

    /// The dialect of the request that is the endpoint's body, where it is not the endpoint's own: see
    /// [`wrapped`](super::wrapped).
    pub const fn inner_dialect(&self) -> Option<DialectId> {
        match self {
            Self::Bedrock(verb, _) if verb.is_messages() => Some(DialectId::Messages),
            _ => None,
        }
    }

    /// Whether the end of its streams is known. Others end with events of their own: images and speech of endpoints that
    /// a Backend lists, and what a model of any vendor writes behind `invoke-with-response-stream`.
    pub const fn has_known_end(&self) -> bool {
        self.dialect().is_some()
            || matches!(
                self,
                Self::Completions | Self::ResponseResource(_) | Self::Bedrock(BedrockVerb::InvokeClaudeStream, _)
            )
    }

    /// Whether the endpoint generates text: a Backend's `model` overrides the client's for these. Embeddings and
    /// moderations keep the client's model, since a chat model could not serve them.
    pub const fn generates(&self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Responses
                | Self::CountResponseTokens
                | Self::CompactResponse
                | Self::Messages
                | Self::CountMessageTokens
                | Self::Gemini(GeminiVerb::Generate | GeminiVerb::StreamGenerate | GeminiVerb::CountTokens, _)
                | Self::Bedrock(
                    BedrockVerb::Converse
                        | BedrockVerb::ConverseStream
                        | BedrockVerb::InvokeClaude
                        | BedrockVerb::InvokeClaudeStream
                        | BedrockVerb::CountTokens,
                    _
                )
        )
    }

    /// Whether the body must name a model, unless the Backend does.
    pub const fn needs_model(&self) -> bool {
        matches!(
            self,
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Messages | Self::CountMessageTokens
        )
    }

    /// The methods the endpoint has.
    pub const fn allows(&self, method: &http::Method) -> bool {
        match (self, method) {
            (Self::Models(_), m) => matches!(*m, http::Method::GET | http::Method::HEAD),
            (Self::ResponseResource(_), m) => {
                matches!(*m, http::Method::GET | http::Method::POST | http::Method::DELETE)
            }
            (Self::Other(_), _) => true,
            (_, m) => matches!(*m, http::Method::POST),
        }
    }

    /// `Allow` for 405 replies.
    pub const fn allow_header(&self) -> &'static str {
        match self {
            Self::Models(_) => "GET, HEAD",
            Self::ResponseResource(_) => "GET, POST, DELETE",
            _ => "POST",
        }
    }

    /// Whether the request has a JSON body.
    pub const fn has_body(&self) -> bool {
        !matches!(self, Self::Models(_) | Self::ResponseResource(_) | Self::Other(_))
    }
}

/// `.../models` and `.../models/ID`.
fn models(path: &str) -> Option<Endpoint> {
    let mut segments = path.trim_matches('/').rsplit('/');
    match (segments.next()?, segments.next()) {
        ("models", _) => Some(Endpoint::Models(None)),
        (id, Some("models")) if !id.is_empty() && !id.contains(':') => Some(Endpoint::Models(Some(id.to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_endpoints_whatever_stands_before_them() {
        let cases = [
            ("/v1/chat/completions", Some(Endpoint::ChatCompletions)),
            ("/chat/completions/", Some(Endpoint::ChatCompletions)),
            ("/openai/deployments/gpt/chat/completions", Some(Endpoint::ChatCompletions)),
            ("/v1/completions", Some(Endpoint::Completions)),
            ("/v1/responses", Some(Endpoint::Responses)),
            ("/v1/responses/input_tokens", Some(Endpoint::CountResponseTokens)),
            ("/v1/responses/compact/", Some(Endpoint::CompactResponse)),
            ("/v1/responses/resp_1/cancel", Some(Endpoint::ResponseResource("resp_1/cancel".into()))),
            ("/v1/embeddings", Some(Endpoint::Embeddings)),
            ("/v1/moderations", Some(Endpoint::Moderations)),
            ("/v1/rerank", Some(Endpoint::Rerank(RerankApi::V1))),
            ("/x/rerank", Some(Endpoint::Rerank(RerankApi::V1))),
            ("/v2/rerank", Some(Endpoint::Rerank(RerankApi::V2))),
            (
                "/v1/projects/p/locations/global/rankingConfigs/default_ranking_config:rank",
                Some(Endpoint::Rerank(RerankApi::Google)),
            ),
            ("/v1/rankingConfigs/:rank", None),
            ("/v1/models/m:rank", None),
            ("/v1/models", Some(Endpoint::Models(None))),
            ("/v1/models/gpt-4o", Some(Endpoint::Models(Some("gpt-4o".into())))),
            ("/v1/messages", Some(Endpoint::Messages)),
            ("/v1/messages/count_tokens", Some(Endpoint::CountMessageTokens)),
            (
                "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
                Some(Endpoint::Gemini(GeminiVerb::StreamGenerate, Some("gemini-2.5-pro".into()))),
            ),
            (
                "/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
                Some(Endpoint::Gemini(GeminiVerb::Generate, Some("g".into()))),
            ),
            ("/v1beta/models/g:fly", None),
            ("/", None),
            ("", None),
            ("/v1/audio/speech", None),
            ("/gemini", None),
        ];
        for (path, expected) in cases {
            assert_eq!(Endpoint::from_path(path), expected, "{path}");
        }
    }
}
