//! `bedrock` in a Backend: its fields, their checks, and the settings that are built from them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bedrock, DEF};
use crate::provider::{
    Auth, Checked, Provider, ProviderConfig, ProviderDef, Server, Settings,
    auth::LocalSecretRef,
    check::{self, Problems},
};

/// AWS Bedrock.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The AWS credentials. Without them, the pod's own: environment, web identity or EKS pod identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
    /// The model that answers, as model id, inference profile or ARN. Without it, the client's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub model: Option<String>,
    /// The AWS region.
    #[serde(default = "Config::default_region")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// The Bedrock guardrail applied to requests and replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardrail: Option<Guardrail>,
}

impl Config {
    fn default_region() -> String {
        "us-east-1".into()
    }
}

/// Where AWS credentials come from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "self.type != 'Secret' || has(self.secretRef)",
        "type Secret needs the Secret's name: write `secretRef: {name: NAME}` beside it",
    ),
)]
pub struct AwsAuth {
    /// The kind of source.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub kind: Option<AwsAuthKind>,
    /// The Secret, with the keys `accessKey`, `secretKey` and, for temporary credentials, `sessionToken`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalSecretRef>,
}

/// The kind of source of AWS credentials.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AwsAuthKind {
    /// A Secret.
    Secret,
}

/// A guardrail of AWS Bedrock.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guardrail {
    /// Identifier of the guardrail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub identifier: Option<String>,
    /// Version of the guardrail, or `DRAFT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub version: Option<String>,
}

impl ProviderConfig for Config {
    fn def(&self) -> &'static ProviderDef {
        &DEF
    }

    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked> {
        let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.region.is_empty() || self.region.len() > 63 || !self.region.chars().all(is_region) {
            problems.push(format!("{path}.region"), "not an AWS region: write one such as `us-east-1`");
        }
        if self.model.as_deref() == Some("") {
            let message = "model is empty: write the model, or leave it out to let the client choose";
            problems.push(format!("{path}.model"), message);
        }
        let secret = self.auth.as_ref().and_then(|auth| auth.check(&format!("{path}.auth"), problems));
        let guardrail = self.guardrail.as_ref().and_then(|g| g.check(&format!("{path}.guardrail"), problems));
        let auth = Auth::Aws { secret, region: self.region.clone() };
        let (region, model) = (self.region.clone(), check::optional(self.model.as_deref()));
        Some(Checked::new(&DEF, auth, BedrockSettings { region, model, guardrail }))
    }
}

impl AwsAuth {
    /// The name of the Secret.
    fn check(&self, path: &str, problems: &mut Problems) -> Option<String> {
        if self.kind.is_none() {
            problems.push(format!("{path}.type"), "type is missing: write `type: Secret`");
        }
        let missing = "type Secret needs the Secret's name: write `secretRef: {name: NAME}` beside it";
        check::secret_name(self.secret_ref.as_ref(), path, missing, problems)
    }
}

impl Guardrail {
    /// Identifier and version.
    fn check(&self, path: &str, problems: &mut Problems) -> Option<(String, String)> {
        let example = "the guardrail's identifier";
        let identifier = check::required(self.identifier.as_deref(), path, "identifier", example, problems);
        let example = "the guardrail's version, or `DRAFT`";
        let version = check::required(self.version.as_deref(), path, "version", example, problems);
        identifier.zip(version)
    }
}

/// The fields after their checks.
#[derive(Debug)]
pub struct BedrockSettings {
    /// AWS region.
    pub region: String,
    /// The model that answers; `None` leaves the choice to the client.
    pub model: Option<String>,
    /// Identifier and version of the guardrail.
    pub guardrail: Option<(String, String)>,
}

impl Settings for BedrockSettings {
    fn build(&self, _server: &Server) -> Result<Box<dyn Provider>, String> {
        let provider = Bedrock::new(self.region.clone(), self.model.clone());
        let Some((identifier, version)) = &self.guardrail else { return Ok(Box::new(provider)) };
        let provider = provider.with_guardrail(identifier, version);
        let message = |_| "bedrock.guardrail: identifier and version must be words that a header can hold".to_owned();
        Ok(Box::new(provider.map_err(message)?))
    }
}
