//! Wire formats of LLM APIs: which endpoint a request means, what it asks for, how a reply is counted and how an
//! error looks. One file a family; nothing here does IO.

pub mod chat;
pub mod events;
pub mod converse;
pub mod error;
mod fields;
pub mod gemini;
#[cfg(test)]
mod golden;
pub mod unsupported;
pub mod messages;
pub mod models;
pub mod observer;
pub mod responses;
pub mod translator;
pub mod classify;
pub mod usage;

pub use self::{chat::usage as openai, messages::usage as anthropic};
pub use classify::{ApiRequest, RequestHead, StreamMode};
pub use error::{ErrorClass, ErrorShape};
pub use events::{Destination, Dialect, DialectId, ReadEvents, ReplyHead, Server, WriteEvents};
pub use models::{ModelFacts, SamplingFacts, Thinking, Vendor};
pub use observer::ReplyObserver;
pub use translator::Translator;
pub use unsupported::UnsupportedInReply;
pub use usage::Usage;

/// Whose conventions a client speaks: decides how errors look and which provider can be answered without translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI: Chat Completions, Responses, embeddings and everything compatible.
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini and Vertex AI generateContent.
    Gemini,
    /// Amazon Bedrock.
    Bedrock,
}

impl Family {
    /// The family's name for logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
            Self::Bedrock => "Bedrock",
        }
    }
}

/// What a Gemini URL asks of a model, the word after the colon.
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

/// What a Bedrock URL asks of a model, the last word.
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
    /// `count-tokens`.
    CountTokens,
}

impl BedrockVerb {
    /// Every verb, as URLs spell it.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Converse, "converse"),
        (Self::ConverseStream, "converse-stream"),
        (Self::Invoke, "invoke"),
        (Self::InvokeStream, "invoke-with-response-stream"),
        (Self::CountTokens, "count-tokens"),
    ];

    /// The verb as URLs spell it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(verb, _)| *verb == self).map_or("converse", |(_, word)| word)
    }

    /// The verb a URL spells, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(verb, _)| *verb)
    }

    /// Whether the reply comes as an event stream.
    pub const fn streams(self) -> bool {
        matches!(self, Self::ConverseStream | Self::InvokeStream)
    }
}

impl DialectId {
    /// The dialect itself.
    pub fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Chat => &chat::Chat,
            Self::Responses => &responses::Responses,
            Self::Messages => &messages::Messages,
            Self::Gemini => &gemini::Gemini,
            Self::Converse => &converse::Converse,
        }
    }
}

/// An operation of an LLM API, told from the URL or from the body's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// OpenAI `POST /chat/completions`.
    ChatCompletions,
    /// OpenAI `POST /completions`.
    Completions,
    /// OpenAI `POST /responses`.
    Responses,
    /// OpenAI stored responses: what follows `/responses/`.
    ResponseResource(String),
    /// OpenAI `POST /embeddings`.
    Embeddings,
    /// OpenAI `POST /moderations`.
    Moderations,
    /// Model list, or one model. Every family has it; whose it is depends on the provider.
    Models(Option<String>),
    /// Anthropic `POST /messages`.
    Messages,
    /// Anthropic `POST /messages/count_tokens`.
    CountMessageTokens,
    /// Gemini `models/MODEL:verb`. The model is absent when only the body told the endpoint.
    Gemini(GeminiVerb, Option<String>),
    /// Bedrock `model/MODEL/verb`; the model is decoded.
    Bedrock(BedrockVerb, Option<String>),
    /// An endpoint that Tollgate does not know and a Backend lists: its path behind the route's prefix.
    Other(String),
}

impl Endpoint {
    /// The endpoint that `path` names by its last segments, whatever stands before them (`/v1`, `/openai/v1`,
    /// `/openai/deployments/D`, `/v1beta`, `/v1/projects/P/locations/L/publishers/google`).
    pub fn from_path(path: &str) -> Option<Self> {
        openai::endpoint(path)
            .or_else(|| anthropic::endpoint(path))
            .or_else(|| gemini::usage::endpoint(path))
            .or_else(|| converse::usage::endpoint(path))
            .or_else(|| models(path))
    }

    /// The family whose shape the endpoint has; `None` for model lists, which every family has.
    pub const fn family(&self) -> Option<Family> {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::ResponseResource(_)
            | Self::Embeddings
            | Self::Moderations => Some(Family::OpenAi),
            Self::Messages | Self::CountMessageTokens => Some(Family::Anthropic),
            Self::Gemini(..) => Some(Family::Gemini),
            Self::Bedrock(..) => Some(Family::Bedrock),
            Self::Models(_) | Self::Other(_) => None,
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry semantic conventions.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::ChatCompletions
            | Self::Responses
            | Self::ResponseResource(_)
            | Self::Messages
            | Self::Bedrock(BedrockVerb::Converse | BedrockVerb::ConverseStream, _) => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings | Self::Gemini(GeminiVerb::Embed | GeminiVerb::BatchEmbed | GeminiVerb::Predict, _) => {
                "embeddings"
            }
            Self::Moderations => "moderation",
            Self::Other(_) => "passthrough",
            Self::Models(_) => "list_models",
            Self::CountMessageTokens
            | Self::Gemini(GeminiVerb::CountTokens, _)
            | Self::Bedrock(BedrockVerb::CountTokens, _) => "count_tokens",
            Self::Gemini(_, _) => "generate_content",
            Self::Bedrock(BedrockVerb::Invoke | BedrockVerb::InvokeStream, _) => "invoke_model",
        }
    }

    /// The dialect of a conversation, if this is the endpoint where one is held.
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

    /// Whether the endpoint generates text: what a Backend's `model` overrides. Embeddings and moderations keep the
    /// client's model, since a chat model could not serve them.
    pub const fn generates(&self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Responses
                | Self::Messages
                | Self::CountMessageTokens
                | Self::Gemini(GeminiVerb::Generate | GeminiVerb::StreamGenerate | GeminiVerb::CountTokens, _)
                | Self::Bedrock(BedrockVerb::Converse | BedrockVerb::ConverseStream | BedrockVerb::CountTokens, _)
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
            ("/v1/responses/resp_1/cancel", Some(Endpoint::ResponseResource("resp_1/cancel".into()))),
            ("/v1/embeddings", Some(Endpoint::Embeddings)),
            ("/v1/moderations", Some(Endpoint::Moderations)),
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
