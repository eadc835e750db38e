//! OpenAI, and all other servers with its API.

mod compatible;
mod config;
pub mod presets;
mod usual;
pub(super) mod quirks;

pub use config::{Config, OpenAiSettings};

use http::{HeaderMap, HeaderName, uri::PathAndQuery};

use super::{
    Api, BodyEdit, CredentialSlot, Docs, Info, Provider, ProviderDef, Refusal, Server, TranslationNeeds, anthropic,
    below_base, path_and_query, query, tail,
};
use crate::{
    dialect::{ApiRequest, DialectId, Endpoint, OpenAiApi, Quirks, RerankApi, chat, messages, operation::NO_RERANK},
    stream::TopLevel,
};

use presets::{Preset, Rerank};

const INFO: Info = Info { name: "openai", llm: "openai", system: "openai", dialect: DialectId::Chat };

/// `openai` in Backends, metrics and documentation.
pub const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: None,
    example: "{}",
    usual: usual::USUAL,
    docs: Docs {
        section: "OpenAI",
        host: "`api.openai.com`",
        dialects: "OpenAI",
        credential: "`Authorization: Bearer KEY`",
    },
};

/// `openai` in a Backend.
#[derive(Debug)]
pub struct OpenAi {
    model: Option<String>,
    preset: &'static Preset,
    base_path: String,
    /// The APIs that the server has for conversations, the preferred one first.
    apis: Vec<Api>,
    /// Whether the server may lack one of them.
    may_lack_responses: bool,
    /// The path that most requests have, ready.
    chat: Option<PathAndQuery>,
}

impl OpenAi {
    /// An entry that overrides the client's model with `model`, for the server that `preset` names, or else for the one
    /// that the host shows.
    pub fn new(model: Option<String>, preset: Option<&'static Preset>, server: &Server) -> Self {
        let preset = preset.or_else(|| server.host.as_deref().map(presets::at_host)).unwrap_or(presets::OPENAI);
        let base_path = server.base_path.clone().unwrap_or_else(|| preset.base_path.to_owned());
        let chat = path_and_query(format!("{base_path}/chat/completions")).ok();
        // A Backend that lists the APIs states that the server has them.
        let may_lack_responses = preset.may_lack_responses && server.apis.is_none();
        let apis = server.apis.clone().unwrap_or_else(|| preset.apis.to_vec());
        Self { model, preset, base_path, apis, may_lack_responses, chat }
    }

    fn has(&self, api: Api) -> bool {
        self.apis.contains(&api)
    }

    /// The path of rankings.
    fn rerank_path(&self, api: RerankApi) -> Result<String, Refusal> {
        match (self.preset.rerank, api) {
            (_, RerankApi::Bedrock | RerankApi::Google) => Err(Refusal::Translation),
            (None, _) => Err(Refusal::Endpoint(NO_RERANK.into())),
            (Some(Rerank::BelowBase), _) => Ok(format!("{}/rerank", self.base_path)),
            (Some(Rerank::Versioned), RerankApi::V1) => Ok("/v1/rerank".into()),
            (Some(Rerank::Versioned), RerankApi::V2) => Ok("/v2/rerank".into()),
        }
    }

    /// Whether `api` serves the request: some of OpenAI's models, or tools for them, need Responses.
    fn serves(&self, api: Api, needs: &TranslationNeeds<'_>) -> bool {
        let needs_responses = self.preset.is_openai && needs.openai_api() == OpenAiApi::Responses;
        !(needs_responses && api == Api::Chat)
    }
}

impl Provider for OpenAi {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        self.preset.host.or(presets::OPENAI.host).unwrap_or_default().to_owned()
    }

    fn credential_slot(&self) -> CredentialSlot {
        let (header, prefix) = self.preset.key;
        CredentialSlot { header: HeaderName::from_static(header), prefix: prefix.to_owned() }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn path(&self, request: &ApiRequest, _model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        let own = match &request.endpoint {
            Endpoint::ChatCompletions => Some(Api::Chat),
            Endpoint::Responses
            | Endpoint::CountResponseTokens
            | Endpoint::CompactResponse
            | Endpoint::ResponseResource(_) => Some(Api::Responses),
            Endpoint::Messages => Some(Api::Messages),
            _ => None,
        };
        let path = match &request.endpoint {
            Endpoint::ResponseResource(_) if !self.has(Api::Responses) => {
                return Err(Refusal::Endpoint("this route's provider stores no responses".into()));
            }
            _ if own.is_some_and(|api| !self.has(api)) => return Err(Refusal::Translation),
            // Few servers count tokens for this API: counts are estimated.
            Endpoint::CountMessageTokens => return Err(Refusal::Translation),
            Endpoint::Rerank(api) => return path_and_query(query::join(&self.rerank_path(*api)?, client, &[])),
            Endpoint::ChatCompletions if client.is_none() => return self.chat.clone().ok_or(Refusal::ModelInvalid),
            Endpoint::Models(Some(id)) => format!("/models/{}", tail(id)?),
            Endpoint::ResponseResource(rest) => format!("/responses/{}", tail(rest)?),
            endpoint => {
                let path = chat::endpoint::path(endpoint).or_else(|| messages::endpoint::path(endpoint));
                path.ok_or(Refusal::Translation)?.to_owned()
            }
        };
        path_and_query(query::join(&format!("{}{path}", self.base_path), client, &[]))
    }

    fn may_lack(&self, endpoint: &Endpoint) -> bool {
        let responses =
            matches!(endpoint, Endpoint::Responses | Endpoint::CountResponseTokens | Endpoint::CompactResponse);
        responses && self.may_lack_responses
    }

    fn translation(&self, needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        let fitting = self.apis.iter().find(|api| self.serves(**api, needs));
        let api = fitting.or_else(|| self.apis.first())?;
        Some((api.dialect(), self.preset.quirks))
    }

    fn other(&self, path: &str) -> String {
        format!("{}{}", self.base_path, below_base(path).unwrap_or(path))
    }

    fn complete_headers(&self, headers: &mut HeaderMap) {
        if self.has(Api::Messages) {
            headers.entry(anthropic::VERSION).or_insert(anthropic::DEFAULT_VERSION);
        }
    }

    /// Some servers refuse `stream_options`, which agents always send: Mistral replies with 422.
    fn body_edits(&self, _request: &ApiRequest, top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<BodyEdit> {
        let refused = !self.preset.quirks.chat.stream_options && top.contains("stream_options");
        if refused { vec![("stream_options", None)] } else { Vec::new() }
    }

    fn asks_for_usage(&self) -> bool {
        self.preset.quirks.chat.stream_options
    }
}
