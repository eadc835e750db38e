//! `azureopenai` in a Backend: its fields, their checks, and the settings that are built from them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{AzureOpenAi, DEF};
use crate::provider::{
    Checked, Provider, ProviderConfig, ProviderDef, Server, Settings,
    auth::AuthToken,
    check::{self, Problems},
};

/// Azure OpenAI.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The credential, sent as `api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub auth_token: Option<AuthToken>,
    /// Host of the Azure resource, such as `my-resource.openai.azure.com`. A scheme in front of it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub endpoint: Option<String>,
    /// Name of the deployment, which determines the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub deployment_name: Option<String>,
    /// Version of the API, sent as `api-version`, such as `2024-10-21`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub api_version: Option<String>,
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let key = check::token(self.auth_token.as_ref(), &DEF, path, problems);
        let example = "the host of the Azure resource, such as `NAME.openai.azure.com`";
        let endpoint = check::required(self.endpoint.as_deref(), path, "endpoint", example, problems);
        let endpoint = endpoint.and_then(|text| endpoint_host(&text, &format!("{path}.endpoint"), problems));
        let example = "the name of the deployment";
        let deployment = check::required(self.deployment_name.as_deref(), path, "deploymentName", example, problems);
        let example = "the API's version, such as `2024-10-21`";
        let api_version = check::required(self.api_version.as_deref(), path, "apiVersion", example, problems);
        let (endpoint, deployment, api_version) = (endpoint?, deployment?, api_version?);
        Some(Checked::with_key(&DEF, key?, AzureOpenAiSettings { endpoint, deployment, api_version }))
    }
}

/// The host of an Azure endpoint. The documentation guarantees that its scheme and last slash are ignored.
fn endpoint_host(text: &str, path: &str, problems: &mut Problems) -> Option<String> {
    let bare = text.trim();
    let bare = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://")).unwrap_or(bare);
    check::host(bare.strip_suffix('/').unwrap_or(bare), path, problems)
}

/// The fields after their checks.
#[derive(Debug)]
pub struct AzureOpenAiSettings {
    /// Host, without scheme.
    pub endpoint: String,
    /// Deployment.
    pub deployment: String,
    /// `api-version`.
    pub api_version: String,
}

impl Settings for AzureOpenAiSettings {
    fn build(&self, _server: &Server) -> Result<Box<dyn Provider>, String> {
        let (endpoint, deployment) = (self.endpoint.clone(), self.deployment.clone());
        Ok(Box::new(AzureOpenAi::new(endpoint, deployment, self.api_version.clone())))
    }
}
