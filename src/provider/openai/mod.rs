//! OpenAI, and all other servers with its API.

mod config;
pub(super) mod quirks;

pub use config::{Config, OpenAiSettings};

use http::{HeaderMap, header, uri::PathAndQuery};

use super::{
    BodyEdit, CredentialSlot, Docs, Info, Provider, ProviderDef, Refusal, TranslationNeeds, path_and_query, query, tail,
};
use crate::{
    dialect::{ApiRequest, DialectId, Endpoint, OpenAiApi, Quirks, chat},
    stream::TopLevel,
};

const INFO: Info = Info { name: "openai", llm: "openai", system: "openai", dialect: DialectId::Chat };

/// `openai` in Backends, metrics and documentation.
pub const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: None,
    example: "{}",
    docs: Docs {
        section: "OpenAI",
        host: "`api.openai.com`",
        dialects: "OpenAI",
        credential: "`Authorization: Bearer KEY`",
    },
};

/// Path of the API's base.
const BASE: &str = "/v1";

/// `openai` in a Backend.
#[derive(Debug)]
pub struct OpenAi {
    model: Option<String>,
    /// The server's quirks, which its host determines.
    preset: &'static Preset,
}

impl OpenAi {
    /// An entry that overrides the client's model with `model`. `host` is the override, if there is one.
    pub fn new(model: Option<String>, host: Option<&str>) -> Self {
        Self { model, preset: host.map_or(OPENAI, preset) }
    }
}

/// Servers with OpenAI's API.
#[derive(Debug)]
struct Preset {
    /// The domain; servers in it have the same quirks (`eu.api.openai.com`).
    domain: &'static str,
    /// Whether the server has Responses.
    responses: bool,
    /// Whether the models are OpenAI's, some of which only Responses serves.
    is_openai: bool,
    quirks: &'static Quirks,
}

const OPENAI: &Preset = &Preset { domain: "api.openai.com", responses: true, is_openai: true, quirks: quirks::OPENAI };
const PRESETS: [&Preset; 6] = [
    OPENAI,
    &Preset { domain: "openai.azure.com", responses: true, is_openai: true, quirks: quirks::AZURE },
    &Preset { domain: "services.ai.azure.com", responses: true, is_openai: true, quirks: quirks::AZURE },
    &Preset { domain: "mistral.ai", responses: false, is_openai: false, quirks: quirks::MISTRAL },
    &Preset { domain: "deepseek.com", responses: false, is_openai: false, quirks: quirks::DEEPSEEK },
    &Preset { domain: "openrouter.ai", responses: false, is_openai: false, quirks: quirks::OPENROUTER },
];
/// Any other server (vLLM, Ollama, ...). Whether it has Responses is unknown, so requests for it are sent.
const COMPATIBLE: &Preset = &Preset { domain: "", responses: true, is_openai: false, quirks: &Quirks::PLAIN };

/// The server at this host. Users may write the host in any case.
fn preset(host: &str) -> &'static Preset {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    PRESETS.into_iter().find(|preset| is(preset.domain)).unwrap_or(COMPATIBLE)
}

impl Provider for OpenAi {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        "api.openai.com".into()
    }

    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: header::AUTHORIZATION, prefix: "Bearer ".into() }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn path(&self, request: &ApiRequest, _model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        if request.endpoint == Endpoint::ChatCompletions && client.is_none() {
            return Ok(PathAndQuery::from_static("/v1/chat/completions"));
        }
        let path = match &request.endpoint {
            Endpoint::Responses | Endpoint::CountResponseTokens | Endpoint::CompactResponse
                if !self.preset.responses =>
            {
                return Err(Refusal::Translation);
            }
            Endpoint::ResponseResource(_) if !self.preset.responses => {
                return Err(Refusal::Endpoint("this route's provider stores no responses".into()));
            }
            Endpoint::Models(Some(id)) => format!("/models/{}", tail(id)?),
            Endpoint::ResponseResource(rest) => format!("/responses/{}", tail(rest)?),
            endpoint => chat::endpoint::path(endpoint).ok_or(Refusal::Translation)?.to_owned(),
        };
        path_and_query(query::join(&format!("{BASE}{path}"), client, &[]))
    }

    fn translation(&self, needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        // Other servers need not have Responses, whatever their models are called.
        let responses = self.preset.is_openai && needs.openai_api() == OpenAiApi::Responses;
        Some((if responses { DialectId::Responses } else { DialectId::Chat }, self.preset.quirks))
    }

    fn other(&self, path: &str) -> String {
        if path.starts_with("/v1/") { path.to_owned() } else { format!("{BASE}{path}") }
    }

    /// Mistral replies with 422 to `stream_options`, which agents always send.
    fn body_edits(&self, _request: &ApiRequest, top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<BodyEdit> {
        let refused = !self.preset.quirks.chat.stream_options && top.contains("stream_options");
        if refused { vec![("stream_options", None)] } else { Vec::new() }
    }

    fn asks_for_usage(&self) -> bool {
        self.preset.quirks.chat.stream_options
    }
}
