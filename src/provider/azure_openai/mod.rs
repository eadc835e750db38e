//! Azure OpenAI with dated API versions: the path names the deployment.

mod config;

pub use config::{AzureOpenAiSettings, Config};

use http::{HeaderName, uri::PathAndQuery};

use super::{
    Cloud, CredentialSlot, Docs, Info, Provider, ProviderDef, Refusal, TranslationNeeds, model_segment,
    openai::quirks::AZURE, path_and_query, query, tail,
};
use crate::dialect::{ApiRequest, DialectId, Endpoint, OpenAiApi, Quirks, RerankApi, chat, operation::NO_RERANK};

const INFO: Info =
    Info { name: "azureopenai", llm: "azure_openai", system: "azure.ai.openai", dialect: DialectId::Chat };

/// `azureopenai` in Backends, metrics and documentation.
pub const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: Some(Cloud::Azure),
    example: r#"{"endpoint": "ours.openai.azure.com", "deploymentName": "our-gpt", "apiVersion": "2024-10-21"}"#,
    usual: &[],
    docs: Docs {
        section: "Azure OpenAI",
        host: "`endpoint` of the Backend",
        dialects: "OpenAI",
        credential: "`api-key: KEY`",
    },
};

/// `azureopenai` in a Backend.
#[derive(Debug)]
pub struct AzureOpenAi {
    endpoint: String,
    deployment: String,
    api_version: String,
    chat: Option<PathAndQuery>,
}

/// The first version of Azure's API that has Responses.
const FIRST_WITH_RESPONSES: &str = "2025-03-01";

impl AzureOpenAi {
    /// An entry for one deployment at `endpoint` (a host name).
    pub fn new(endpoint: String, deployment: String, api_version: String) -> Self {
        let mut entry = Self { endpoint, deployment, api_version, chat: None };
        entry.chat = entry.deployed(&entry.deployment, "/chat/completions").ok();
        entry
    }

    fn deployed(&self, deployment: &str, path: &str) -> Result<PathAndQuery, Refusal> {
        let deployment = model_segment(Some(deployment))
            .and_then(|d| if d.contains('/') { Err(Refusal::ModelInvalid) } else { Ok(d) })?;
        self.versioned(&format!("/openai/deployments/{deployment}{path}"))
    }

    /// Whether the version of the API has Responses: it is a date, or a word such as `preview`, which is newer.
    fn has_responses(&self) -> bool {
        self.api_version.as_str() >= FIRST_WITH_RESPONSES
    }

    /// The client's own query is not forwarded: it may be for another API version.
    fn versioned(&self, path: &str) -> Result<PathAndQuery, Refusal> {
        path_and_query(query::join(path, None, &[("api-version", &self.api_version)]))
    }
}

impl Provider for AzureOpenAi {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        self.endpoint.clone()
    }

    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: HeaderName::from_static("api-key"), prefix: String::new() }
    }

    fn model(&self) -> Option<&str> {
        Some(&self.deployment)
    }

    /// In Responses the body names the deployment. Elsewhere the path does, and the body stays as the client wrote it.
    fn model_in_body(&self, request: &ApiRequest) -> bool {
        matches!(request.endpoint, Endpoint::Responses | Endpoint::CountResponseTokens | Endpoint::CompactResponse)
    }

    fn path(&self, request: &ApiRequest, model: Option<&str>, _query: Option<&str>) -> Result<PathAndQuery, Refusal> {
        match &request.endpoint {
            Endpoint::ChatCompletions => self.chat.clone().ok_or(Refusal::ModelInvalid),
            Endpoint::Completions => self.deployed(&self.deployment, "/completions"),
            // A chat deployment can't embed: the client's model names the deployment that can.
            Endpoint::Embeddings => self.deployed(model.unwrap_or(&self.deployment), "/embeddings"),
            Endpoint::Responses => self.versioned("/openai/responses"),
            Endpoint::CountResponseTokens => self.versioned("/openai/responses/input_tokens"),
            Endpoint::CompactResponse => self.versioned("/openai/responses/compact"),
            Endpoint::ResponseResource(rest) => self.versioned(&format!("/openai/responses/{}", tail(rest)?)),
            Endpoint::Models(None) => self.versioned("/openai/models"),
            Endpoint::Models(Some(id)) => self.versioned(&format!("/openai/models/{}", tail(id)?)),
            endpoint if chat::endpoint::path(endpoint).is_some() => {
                Err(Refusal::Endpoint("Azure OpenAI has no such endpoint".into()))
            }
            Endpoint::Rerank(RerankApi::V1 | RerankApi::V2) => Err(Refusal::Endpoint(NO_RERANK.into())),
            _ => Err(Refusal::Translation),
        }
    }

    fn translation(&self, needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        let responses = needs.openai_api() == OpenAiApi::Responses && self.has_responses();
        Some((if responses { DialectId::Responses } else { DialectId::Chat }, AZURE))
    }

    /// The path is below the deployment, unless it is already one of Azure's own.
    fn other(&self, path: &str) -> String {
        if path.starts_with("/openai/") {
            return path.to_owned();
        }
        let path = path.strip_prefix("/v1").unwrap_or(path);
        format!("/openai/deployments/{}{path}?api-version={}", self.deployment, self.api_version)
    }

    fn asks_for_usage(&self) -> bool {
        true
    }
}
