//! Gemini models on Vertex AI.

use http::{header, uri::PathAndQuery};

use super::{CredentialSlot, Info, Provider, Refusal, gemini::with_alt, model_segment, path_and_query, query, tail};
use crate::dialect::{Ask, Endpoint, Family, GeminiVerb, StreamMode};

pub(super) const INFO: Info = Info {
    name: "vertexai",
    llm: "vertex-ai",
    system: "gcp.vertex_ai",
    family: Family::Gemini,
    summary: "Gemini models on Vertex AI",
};

/// `vertexai` in a Backend.
pub struct VertexAi {
    model: String,
    api_version: String,
    project: String,
    location: String,
    /// `modelPath`: replaces the verb, and with it the switch to streaming.
    verb: Option<String>,
}

impl VertexAi {
    /// An entry for one model in one project and location.
    pub fn new(model: String, api_version: String, project: String, location: String, verb: Option<String>) -> Self {
        Self { model, api_version, project, location, verb }
    }

    fn publisher(&self) -> String {
        format!("/{}/projects/{}/locations/{}/publishers/google/models", self.api_version, self.project, self.location)
    }
}

impl Provider for VertexAi {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        match self.location.as_str() {
            "global" => "aiplatform.googleapis.com".into(),
            "us" | "eu" => format!("aiplatform.{}.rep.googleapis.com", self.location),
            region => format!("{region}-aiplatform.googleapis.com"),
        }
    }

    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: header::AUTHORIZATION, prefix: "Bearer ".into() }
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model)
    }

    fn model_in_body(&self) -> bool {
        false
    }

    fn path(&self, ask: &Ask, model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        match &ask.endpoint {
            Endpoint::Gemini(verb, _) => {
                let fixed =
                    self.verb.as_deref().filter(|_| matches!(verb, GeminiVerb::Generate | GeminiVerb::StreamGenerate));
                let stream =
                    if fixed.is_some_and(|v| v != "streamGenerateContent") { StreamMode::No } else { ask.stream };
                let path = format!("{}/{}:{}", self.publisher(), model_segment(model)?, fixed.unwrap_or(verb.as_str()));
                path_and_query(with_alt(&path, stream, client))
            }
            // The list is not per project, and only the beta has it.
            Endpoint::Models(None) => path_and_query(query::join("/v1beta1/publishers/google/models", client, &[])),
            Endpoint::Models(Some(id)) => {
                path_and_query(query::join(&format!("/v1beta1/publishers/google/models/{}", tail(id)?), client, &[]))
            }
            _ => Err(Refusal::Translation),
        }
    }
}
