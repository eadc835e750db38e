//! `vertexai` in a Backend: its fields, their checks, and the settings that are built from them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DEF, VertexAi, claude::VertexClaude};
use crate::provider::{
    Checked, Provider, ProviderConfig, ProviderDef, Server, Settings,
    auth::AuthToken,
    check::{self, Problems},
};

/// Google Vertex AI.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The credential, sent as `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub auth_token: Option<AuthToken>,
    /// The model that answers, such as `gemini-2.5-pro` or `claude-sonnet-4-5@20250929`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub model: Option<String>,
    /// Version of the API, such as `v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub api_version: Option<String>,
    /// The Google Cloud project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub project_id: Option<String>,
    /// The Google Cloud region, such as `us-central1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub location: Option<String>,
    /// The method called on the model. Without it, `generateContent`, or `streamGenerateContent` for streams (for
    /// Claude, `rawPredict` or `streamRawPredict`); with it, always this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_path: Option<String>,
    /// Who publishes the model. Without it, Google.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Publisher>,
}

/// Who publishes a Vertex AI model: `GOOGLE`, whose models are Gemini, or `ANTHROPIC`, whose are Claude. Without it,
/// Google.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Publisher {
    /// Google.
    #[serde(rename = "GOOGLE")]
    Google,
    /// Anthropic.
    #[serde(rename = "ANTHROPIC")]
    Anthropic,
}

impl Publisher {
    /// The publisher's spelling in Vertex AI's paths.
    #[must_use]
    pub const fn as_path(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Anthropic => "anthropic",
        }
    }
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let key = check::token(self.auth_token.as_ref(), &DEF, path, problems);
        let mut need =
            |value: &Option<String>, field, example| check::required(value.as_deref(), path, field, example, problems);
        let model = need(&self.model, "model", "the model, such as `gemini-2.5-pro`");
        let api_version = need(&self.api_version, "apiVersion", "the API's version, such as `v1`");
        let project = need(&self.project_id, "projectId", "the Google Cloud project");
        let location = need(&self.location, "location", "the Google Cloud region, such as `us-central1`");
        if let Some(location) = &location
            && (!check::is_dns_subdomain(location) || location.contains('.'))
        {
            // It becomes part of the host.
            problems.push(format!("{path}.location"), "not a region: write one such as `us-central1`");
        }
        let settings = VertexAiSettings {
            model: model?,
            api_version: api_version?,
            project: project?,
            location: location?,
            model_path: check::optional(self.model_path.as_deref()),
            publisher: self.publisher,
        };
        Some(Checked::with_key(&DEF, key?, settings))
    }
}

/// The fields after their checks.
#[derive(Debug)]
pub struct VertexAiSettings {
    /// The model that answers.
    pub model: String,
    /// Version of the API.
    pub api_version: String,
    /// Google Cloud project.
    pub project: String,
    /// Google Cloud region.
    pub location: String,
    /// The method that is called on the model, whatever the client requests.
    pub model_path: Option<String>,
    /// Who publishes the model; `None` is Google.
    pub publisher: Option<Publisher>,
}

impl Settings for VertexAiSettings {
    fn build(&self, _server: &Server) -> Result<Box<dyn Provider>, String> {
        let (model, api_version) = (self.model.clone(), self.api_version.clone());
        let (project, location) = (self.project.clone(), self.location.clone());
        let method = self.model_path.clone();
        Ok(match self.publisher {
            Some(Publisher::Anthropic) => Box::new(VertexClaude::new(model, api_version, project, location, method)),
            Some(Publisher::Google) | None => Box::new(VertexAi::new(model, api_version, project, location, method)),
        })
    }
}
