//! OpenAI, and everything that speaks its API under another host.

mod config;

pub use config::{Config, OpenAiSettings};

use http::{HeaderMap, header, uri::PathAndQuery};

use super::{BodyEdit, CredentialSlot, Docs, Info, Provider, ProviderDef, Refusal, path_and_query, query, tail};
use crate::{
    dialect::{ApiRequest, DialectId, Endpoint, Server, chat},
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
    /// Whose server answers, known by its host.
    server: Server,
}

impl OpenAi {
    /// An entry that overrides the client's model with `model`. `host` is the override, if there is one.
    pub fn new(model: Option<String>, host: Option<&str>) -> Self {
        Self { model, server: host.map_or(Server::OpenAi, server) }
    }

    /// Whether the server has Responses. Mistral and `DeepSeek` have none. Others are unknown, and requests go there.
    const fn has_responses(&self) -> bool {
        !matches!(self.server, Server::Mistral | Server::DeepSeek)
    }
}

/// Whose server has this host, which is spelled as users spell it.
fn server(host: &str) -> Server {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // `eu.api.openai.com` is OpenAI's as well.
    let is = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if is("api.openai.com") {
        Server::OpenAi
    } else if is("openai.azure.com") || is("services.ai.azure.com") {
        Server::Azure
    } else if is("mistral.ai") {
        Server::Mistral
    } else if is("deepseek.com") {
        Server::DeepSeek
    } else {
        Server::Compatible
    }
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

    fn path(&self, ask: &ApiRequest, _model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        if ask.endpoint == Endpoint::ChatCompletions && client.is_none() {
            return Ok(PathAndQuery::from_static("/v1/chat/completions"));
        }
        let path = match &ask.endpoint {
            Endpoint::Responses if !self.has_responses() => return Err(Refusal::Translation),
            Endpoint::ResponseResource(_) if !self.has_responses() => {
                return Err(Refusal::Endpoint("this route's provider stores no responses".into()));
            }
            Endpoint::Models(Some(id)) => format!("/models/{}", tail(id)?),
            Endpoint::ResponseResource(rest) => format!("/responses/{}", tail(rest)?),
            endpoint => chat::endpoint::path(endpoint).ok_or(Refusal::Translation)?.to_owned(),
        };
        path_and_query(query::join(&format!("{BASE}{path}"), client, &[]))
    }

    fn translation(&self, _dialect: DialectId, _model: Option<&str>) -> Option<(DialectId, Server)> {
        Some((DialectId::Chat, self.server))
    }

    fn other(&self, path: &str) -> String {
        if path.starts_with("/v1/") { path.to_owned() } else { format!("{BASE}{path}") }
    }

    /// Mistral answers 422 to `stream_options`, which agents always send.
    fn body_edits(&self, _ask: &ApiRequest, top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<BodyEdit> {
        let refused = self.server == Server::Mistral && top.contains("stream_options");
        if refused { vec![("stream_options", None)] } else { Vec::new() }
    }

    /// Mistral sends usage with the last chunk in any case.
    fn asks_for_usage(&self) -> bool {
        self.server != Server::Mistral
    }
}
