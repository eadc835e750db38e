//! LLM providers as Backends write them: every provider's fields, and what may be overridden.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::auth::{AuthToken, LocalSecretRef};

/// One LLM provider and how to reach it.
///
/// kgateway 2.0 writes the provider under `provider` and the overrides as `hostOverride`, `pathOverride` and
/// `authHeaderOverride`; 2.1 writes the provider's key directly, and `host`, `port`, `path` and `authHeader`. Both may be mixed,
/// but nothing may be said twice.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("[has(self.provider), has(self.openai), has(self.azureopenai), has(self.anthropic), has(self.gemini), has(self.vertexai), has(self.bedrock)].filter(x, x).size() == 1", "exactly one provider must be set: write one of openai, azureopenai, anthropic, gemini, vertexai and bedrock, directly or under `provider`"),
    validation = ("has(self.host) == has(self.port)", "both host and port must be set together"),
    validation = ("!(has(self.hostOverride) && has(self.host))", "hostOverride and host say the same: remove one of them"),
    validation = ("!(has(self.pathOverride) && has(self.path))", "pathOverride and path say the same: remove one of them"),
    validation = ("!(has(self.authHeaderOverride) && has(self.authHeader))", "authHeaderOverride and authHeader say the same: remove one of them"),
)]
pub struct LlmProvider {
    /// Name of this entry, unique in the Backend. Policies refer to it as `sectionName`. Without one, the entry is named after its
    /// provider and place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// The provider, as kgateway 2.0 writes it: one key below this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Providers>,
    /// OpenAI, or anything that speaks its API at another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAi>,
    /// Azure OpenAI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azureopenai: Option<AzureOpenAi>,
    /// Anthropic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<Anthropic>,
    /// Google Gemini (AI Studio).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gemini: Option<Gemini>,
    /// Google Vertex AI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertexai: Option<VertexAi>,
    /// AWS Bedrock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,
    /// Another host instead of the provider's own, as kgateway 2.0 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_override: Option<HostOverride>,
    /// Another host instead of the provider's own, as name or address. TLS is used when the port is 443.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub host: Option<String>,
    /// The port of `host`. TLS is used when it is 443.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Another path instead of the provider's own, as kgateway 2.0 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("has(self.fullPath) || has(self.full)", "pathOverride needs the path: write `fullPath: /PATH`"))]
    pub path_override: Option<PathOverride>,
    /// Another path instead of the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("has(self.fullPath) || has(self.full)", "path needs the path: write `full: /PATH`"))]
    pub path: Option<PathOverride>,
    /// What requests to other paths mean, by the path's end: an endpoint that Tollgate knows under another path, or
    /// `passthrough` for one it does not know (audio, images, rerank), which is forwarded as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<BTreeMap<String, RouteKind>>,
    /// Another header or prefix for the credential, as kgateway 2.0 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header_override: Option<AuthHeader>,
    /// Another header or prefix for the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("has(self.headerName) || has(self.prefix)", "authHeader needs headerName or prefix"))]
    pub auth_header: Option<AuthHeader>,
}

/// What a request to a path means, as kgateway 2.2 spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// OpenAI Chat Completions.
    Completions,
    /// Anthropic Messages.
    Messages,
    /// A list of models.
    Models,
    /// Forwarded as it is.
    Passthrough,
    /// OpenAI Responses.
    Responses,
    /// Anthropic's token count.
    AnthropicTokenCount,
}

/// The provider, as kgateway 2.0 writes it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = ("[has(self.openai), has(self.azureopenai), has(self.anthropic), has(self.gemini), has(self.vertexai), has(self.bedrock)].filter(x, x).size() == 1", "exactly one provider must be set: write one of openai, azureopenai, anthropic, gemini, vertexai and bedrock"),
)]
pub struct Providers {
    /// OpenAI, or anything that speaks its API at another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAi>,
    /// Azure OpenAI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azureopenai: Option<AzureOpenAi>,
    /// Anthropic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<Anthropic>,
    /// Google Gemini (AI Studio).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gemini: Option<Gemini>,
    /// Google Vertex AI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertexai: Option<VertexAi>,
    /// AWS Bedrock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,
}

/// One provider that is set, in whichever place it was written.
#[derive(Clone, Copy, Debug)]
pub enum ProviderRef<'a> {
    /// `openai`.
    OpenAi(&'a OpenAi),
    /// `azureopenai`.
    AzureOpenAi(&'a AzureOpenAi),
    /// `anthropic`.
    Anthropic(&'a Anthropic),
    /// `gemini`.
    Gemini(&'a Gemini),
    /// `vertexai`.
    VertexAi(&'a VertexAi),
    /// `bedrock`.
    Bedrock(&'a Bedrock),
}

impl ProviderRef<'_> {
    /// The provider's key in manifests.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::OpenAi(_) => "openai",
            Self::AzureOpenAi(_) => "azureopenai",
            Self::Anthropic(_) => "anthropic",
            Self::Gemini(_) => "gemini",
            Self::VertexAi(_) => "vertexai",
            Self::Bedrock(_) => "bedrock",
        }
    }
}

/// The same walk over the same six fields, for both places where they can stand.
macro_rules! set_providers {
    ($holder:expr) => {
        [
            $holder.openai.as_ref().map(ProviderRef::OpenAi),
            $holder.azureopenai.as_ref().map(ProviderRef::AzureOpenAi),
            $holder.anthropic.as_ref().map(ProviderRef::Anthropic),
            $holder.gemini.as_ref().map(ProviderRef::Gemini),
            $holder.vertexai.as_ref().map(ProviderRef::VertexAi),
            $holder.bedrock.as_ref().map(ProviderRef::Bedrock),
        ]
        .into_iter()
        .flatten()
    };
}

impl Providers {
    /// The providers that are set; a valid object has exactly one.
    pub fn set(&self) -> impl Iterator<Item = ProviderRef<'_>> {
        set_providers!(self)
    }
}

impl LlmProvider {
    /// The providers that are set directly, not under `provider`.
    pub fn set(&self) -> impl Iterator<Item = ProviderRef<'_>> {
        set_providers!(self)
    }
}

/// OpenAI, or anything that speaks its API at another host.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAi {
    /// The credential, sent as `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    #[x_kube(validation = ("self.kind != 'Workload'", "kind Workload is of azureopenai and vertexai alone: write SecretRef, Inline or Passthrough"))]
    pub auth_token: Option<AuthToken>,
    /// The model that answers, whatever the client asks for. Without it, the client's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Azure OpenAI.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureOpenAi {
    /// The credential, sent as `api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub auth_token: Option<AuthToken>,
    /// Host of the Azure resource, such as `my-resource.openai.azure.com`. A scheme in front of it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub endpoint: Option<String>,
    /// Name of the deployment, which stands for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub deployment_name: Option<String>,
    /// Version of the API, sent as `api-version`, such as `2024-10-21`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub api_version: Option<String>,
}

/// Anthropic.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Anthropic {
    /// The credential, sent as `x-api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    #[x_kube(validation = ("self.kind != 'Workload'", "kind Workload is of azureopenai and vertexai alone: write SecretRef, Inline or Passthrough"))]
    pub auth_token: Option<AuthToken>,
    /// Version of the API, sent as `anthropic-version` when the client sends none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The model that answers, whatever the client asks for. Without it, the client's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Google Gemini (AI Studio).
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gemini {
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    #[x_kube(validation = ("self.kind != 'Workload'", "kind Workload is of azureopenai and vertexai alone: write SecretRef, Inline or Passthrough"))]
    pub auth_token: Option<AuthToken>,
    /// The model that answers, such as `gemini-2.5-flash`. Empty leaves the choice to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub model: Option<String>,
    /// Version of the API: `v1` or `v1beta`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub api_version: Option<String>,
}

/// Google Vertex AI.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VertexAi {
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
    /// The method called on the model. Without it, `generateContent`, or `streamGenerateContent` for streams (for Claude,
    /// `rawPredict` or `streamRawPredict`); with it, always this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_path: Option<String>,
    /// Who publishes the model. Without it, Google.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Publisher>,
}

/// Who publishes a Vertex AI model: `GOOGLE`, whose models are Gemini, or `ANTHROPIC`, whose are Claude. Without it, Google.
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
    /// The publisher as it stands in Vertex AI's paths.
    #[must_use]
    pub const fn as_path(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Anthropic => "anthropic",
        }
    }
}

/// AWS Bedrock.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bedrock {
    /// The AWS credentials. Without them, the pod's own: environment, web identity or EKS pod identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
    /// The model that answers, as model id, inference profile or ARN. Without it, the client's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub model: Option<String>,
    /// The AWS region.
    #[serde(default = "Bedrock::default_region")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// The Bedrock guardrail applied to requests and replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardrail: Option<Guardrail>,
}

impl Bedrock {
    fn default_region() -> String {
        "us-east-1".into()
    }
}

/// Where AWS credentials come from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.type != 'Secret' || has(self.secretRef)", "type Secret needs the Secret's name: write `secretRef: {name: NAME}` beside it"),
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

/// Another host instead of the provider's own.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostOverride {
    /// Host name or IP address, without scheme and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub host: Option<String>,
    /// Port. TLS is used when it is 443.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Accept any certificate from this host. Only for tests: whoever is in between reads the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// Another path instead of the provider's own. `fullPath` and `full` are two spellings of the same.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(has(self.fullPath) && has(self.full))", "fullPath and full say the same: remove one of them"))]
pub struct PathOverride {
    /// The whole path, with its query if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub full_path: Option<String>,
    /// The whole path, with its query if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub full: Option<String>,
}

/// Where the credential goes in the request.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthHeader {
    /// Name of the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_name: Option<String>,
    /// What stands before the credential in the header's value. Written as it is: a space must be part of it, as in `"Token "`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}
