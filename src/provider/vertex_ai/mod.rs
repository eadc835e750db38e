//! Gemini models on Vertex AI, and the URLs of the models of any publisher.

mod claude;
mod config;
pub(super) mod quirks;

pub use claude::VertexClaude;
pub use config::{Config, Publisher, VertexAiSettings};

use std::borrow::Cow;

use http::{HeaderMap, header, uri::PathAndQuery};

use super::{
    BodyEdit, Cloud, CredentialSlot, Docs, Info, Provider, ProviderDef, Refusal, TranslationNeeds, gemini::with_alt,
    model_segment, path_and_query, query, tail,
};
use crate::{
    dialect::{ApiRequest, DialectId, Endpoint, GeminiVerb, Quirks, RerankApi, StreamMode},
    stream::TopLevel,
};

const INFO: Info = Info { name: "vertexai", llm: "vertex-ai", system: "gcp.vertex_ai", dialect: DialectId::Gemini };

/// `vertexai` in Backends, metrics and documentation.
pub const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: Some(Cloud::Google),
    example: r#"{
        "model": "gemini-2.5-pro", "apiVersion": "v1", "projectId": "our-project", "location": "us-central1"
    }"#,
    usual: &[],
    docs: Docs {
        section: "Vertex AI",
        host: "`LOCATION-aiplatform.googleapis.com`",
        dialects: "Gemini; Anthropic for Claude",
        credential: "`Authorization: Bearer TOKEN`",
    },
};

/// Discovery Engine, which ranks documents. Google documents its rankings in the location `global`.
const RERANK_HOST: &str = "discoveryengine.googleapis.com";

/// Where the models of a publisher are.
#[derive(Debug)]
pub(super) struct Place {
    pub api_version: String,
    pub project: String,
    pub location: String,
    /// The spelling in paths.
    pub publisher: &'static str,
}

impl Place {
    pub(super) fn host(&self) -> String {
        match self.location.as_str() {
            "global" => "aiplatform.googleapis.com".into(),
            "us" | "eu" => format!("aiplatform.{}.rep.googleapis.com", self.location),
            region => format!("{region}-aiplatform.googleapis.com"),
        }
    }

    pub(super) fn credential_slot() -> CredentialSlot {
        CredentialSlot { header: header::AUTHORIZATION, prefix: "Bearer ".into() }
    }

    /// The path before a model's name, without the last slash.
    pub(super) fn models(&self) -> String {
        let Self { api_version, project, location, publisher } = self;
        format!("/{api_version}/projects/{project}/locations/{location}/publishers/{publisher}/models")
    }

    /// The path of the project's only configuration for rankings.
    fn ranking(&self) -> String {
        format!("/v1/projects/{}/locations/global/rankingConfigs/default_ranking_config:rank", self.project)
    }

    /// The path of the publisher's models. They are not per project, and only the beta lists them.
    pub(super) fn list(&self) -> String {
        format!("/v1beta1/publishers/{}/models", self.publisher)
    }
}

/// `vertexai` in a Backend, with the publisher `GOOGLE` or none.
#[derive(Debug)]
pub struct VertexAi {
    model: String,
    place: Place,
    /// `modelPath`: replaces the verb, and with it the switch to streaming.
    verb: Option<String>,
}

impl VertexAi {
    /// An entry for one model in one project and location.
    pub fn new(model: String, api_version: String, project: String, location: String, verb: Option<String>) -> Self {
        Self { model, place: Place { api_version, project, location, publisher: "google" }, verb }
    }
}

impl Provider for VertexAi {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        self.place.host()
    }

    fn rerank_host(&self) -> Option<&'static str> {
        Some(RERANK_HOST)
    }

    fn credential_slot(&self) -> CredentialSlot {
        Place::credential_slot()
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model)
    }

    fn model_in_body(&self, _request: &ApiRequest) -> bool {
        false
    }

    fn path(&self, request: &ApiRequest, model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        match &request.endpoint {
            // Vertex AI has another verb for it, or another body.
            Endpoint::Gemini(GeminiVerb::BatchEmbed, _) => Err(Refusal::Translation),
            Endpoint::Gemini(verb, _) => {
                let fixed =
                    self.verb.as_deref().filter(|_| matches!(verb, GeminiVerb::Generate | GeminiVerb::StreamGenerate));
                let stream =
                    if fixed.is_some_and(|v| v != "streamGenerateContent") { StreamMode::No } else { request.stream };
                let path =
                    format!("{}/{}:{}", self.place.models(), model_segment(model)?, fixed.unwrap_or(verb.as_str()));
                path_and_query(with_alt(&path, stream, client))
            }
            Endpoint::Rerank(RerankApi::Google) => path_and_query(query::join(&self.place.ranking(), client, &[])),
            Endpoint::Models(None) => path_and_query(query::join(&self.place.list(), client, &[])),
            Endpoint::Models(Some(id)) => {
                path_and_query(query::join(&format!("{}/{}", self.place.list(), tail(id)?), client, &[]))
            }
            _ => Err(Refusal::Translation),
        }
    }

    fn translation(&self, _needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        Some((DialectId::Gemini, quirks::VERTEX))
    }

    /// Rankings have their model in the body.
    fn body_edits(&self, request: &ApiRequest, top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<BodyEdit> {
        let missing = request.endpoint.reranks() && !top.contains("model");
        let model = || serde_json::to_vec(&self.model).ok().map(Cow::Owned);
        if missing { vec![("model", model())] } else { Vec::new() }
    }
}
