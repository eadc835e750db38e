//! LLM providers as Backends write them: the fields of every provider, and the overrides.

use std::collections::BTreeMap;

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::provider::{self, Api, ProviderConfig, for_each_provider};

/// Adds one optional field for each provider to the fields of a struct, and the method `set`.
macro_rules! with_providers {
    ([$($key:ident: $folder:ident,)+] $(#[$($attribute:tt)+])* pub struct $name:ident { $($fields:tt)* }) => {
        $(#[$($attribute)+])*
        pub struct $name {
            $($fields)*
            $(
                #[allow(missing_docs, reason = "the documentation of the type is that of the field")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $key: Option<provider::$folder::Config>,
            )+
        }

        impl $name {
            /// The providers that are set here; a valid object has exactly one.
            pub fn set(&self) -> impl Iterator<Item = &dyn ProviderConfig> {
                [$(self.$key.as_ref().map(|config| config as &dyn ProviderConfig),)+].into_iter().flatten()
            }
        }
    };
}

for_each_provider! { with_providers
/// One LLM provider and how to reach it.
///
/// kgateway 2.0 writes the provider under `provider` and the overrides as `hostOverride`, `pathOverride` and
/// `authHeaderOverride`; 2.1 writes the provider's key directly, and `host`, `port`, `path` and `authHeader`. Both may
/// be mixed, but no field may be set twice.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = exactly_one(&["provider"], ", directly or under `provider`"),
    validation = ("has(self.host) == has(self.port)", "both host and port must be set together"),
    validation = (
        "!(has(self.hostOverride) && has(self.host))",
        "hostOverride and host are mutually exclusive: remove one of them",
    ),
    validation = (
        "!(has(self.pathOverride) && has(self.path))",
        "pathOverride and path are mutually exclusive: remove one of them",
    ),
    validation = (
        "!(has(self.authHeaderOverride) && has(self.authHeader))",
        "authHeaderOverride and authHeader are mutually exclusive: remove one of them",
    ),
    validation = (
        "!has(self.tls) || !(has(self.tls.insecureSkipVerify) && self.tls.insecureSkipVerify \
         && has(self.tls.caCertificateRefs))",
        "insecureSkipVerify and caCertificateRefs are mutually exclusive: remove one of them",
    ),
)]
pub struct LlmProvider {
    /// Name of this entry, unique in the Backend. Policies refer to it as `sectionName`. Without one, the entry is
    /// named after its provider and place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// The share of the requests that this entry gets among those of its priority, relative to theirs; 1 by default. An
    /// entry with 0 gets none, also when others fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<u32>,
    /// The provider, as kgateway 2.0 writes it: one key below this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Providers>,
    /// Another host instead of the provider's own, as kgateway 2.0 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_override: Option<HostOverride>,
    /// Another host instead of the provider's own, as name or address. TLS is used when the port is 443, or `tls` is
    /// set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub host: Option<String>,
    /// The port of `host`. TLS is used when it is 443, or `tls` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// TLS to `host` on any port: `tls: {}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<HostTls>,
    /// Another path instead of the provider's own, as kgateway 2.0 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = (
        "has(self.fullPath) || has(self.full) || has(self.prefix)",
        "pathOverride needs the path: write `fullPath: /PATH`",
    ))]
    pub path_override: Option<PathOverride>,
    /// Another path instead of the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = (
        "has(self.fullPath) || has(self.full) || has(self.prefix)",
        "path needs the path: write `full: /PATH`, or `prefix: /PATH`",
    ))]
    pub path: Option<PathOverride>,
    /// Requests that this entry has at a time. While it has as many, other entries get the requests, or the requests
    /// wait: see `circuitBreakers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_requests: Option<u32>,
    /// The APIs for conversations that the server has, for `openai`. A request is sent in its own API if that is listed,
    /// else it is translated to the first that fits. Without it, Chat Completions and Responses are tried, and a server
    /// that answers 404 or 405 to Responses gets Chat Completions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub apis: Option<Vec<Api>>,
    /// The models that this entry serves, by the names that clients use: names, and patterns with one `*`, such as
    /// `claude-*`. As soon as one entry of a Backend has this field or `modelAliases`, the client's model decides which
    /// entries get its requests, and other models are answered with 404. An entry without both serves its provider's
    /// `model`, or every model where none is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256)))]
    pub models: Option<Vec<String>>,
    /// Other names that clients may use, each with the provider's name for the model: `fast: gpt-5.4-mini`. A name with
    /// `*` has the model `*`, the part that it matches: `"openai/*": "*"`. For entries whose provider has no
    /// `model` of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_aliases: Option<BTreeMap<String, String>>,
    /// The model whose facts (limits, efforts, reasoning) hold for this entry, such as `claude-sonnet-4-5`. Needed where
    /// the model's own name is free text: a deployment of Azure, an inference profile of Bedrock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model_facts: Option<String>,
    /// Kinds of requests to other paths. A supported endpoint under another path is found by the path's suffix. With
    /// `passthrough`, an endpoint that is not supported (audio, images, files) is forwarded unchanged: the whole path
    /// behind the route's prefix must be equal, and the method POST, or the one before the path (`GET /v1/files`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<BTreeMap<String, RouteKind>>,
    /// Names of the client's headers that the provider gets beside those that every provider gets. Without it, headers
    /// that Tollgate does not know stay in the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub forward_headers: Option<Vec<String>>,
    /// Names of the client's query parameters that the provider gets beside those that every provider gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub forward_query_params: Option<Vec<String>>,
    /// Another header or prefix for the credential, as kgateway 2.0 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header_override: Option<AuthHeader>,
    /// Another header or prefix for the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("has(self.headerName) || has(self.prefix)", "authHeader needs headerName or prefix"))]
    pub auth_header: Option<AuthHeader>,
}
}

for_each_provider! { with_providers
/// The provider, as kgateway 2.0 writes it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = exactly_one(&[], ""))]
pub struct Providers {}
}

/// The rule that exactly one of all providers and of the fields `others` is set. `places` ends its message.
fn exactly_one(others: &[&'static str], places: &str) -> Rule {
    let fields = others.iter().copied().chain(provider::names());
    let fields: Vec<String> = fields.map(|field| format!("has(self.{field})")).collect();
    let rule = format!("[{}].filter(x, x).size() == 1", fields.join(", "));
    let message = format!("exactly one provider must be set: write one of {}{places}", provider::list_of_names());
    Rule::from((rule.as_str(), message.as_str()))
}

/// The kind of requests to a path, as kgateway 2.2 spells it.
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

/// Another host instead of the provider's own.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.tls) || !(has(self.tls.insecureSkipVerify) && self.tls.insecureSkipVerify \
     && has(self.tls.caCertificateRefs))",
    "insecureSkipVerify and caCertificateRefs are mutually exclusive: remove one of them",
))]
pub struct HostOverride {
    /// Host name or IP address, without scheme and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub host: Option<String>,
    /// Port. TLS is used when it is 443, or `tls` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Accept any certificate from this host. Only for tests: an attacker on the network path can read the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// TLS on any port: `tls: {}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<HostTls>,
}

/// TLS to a host, whatever its port is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
// A rule here would be evaluated for every host of a static backend, of which there is no limit.
pub struct HostTls {
    /// Accept any certificate from this host. Only for tests: the credential can be read on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// The authorities that the host's certificate may be from, instead of the system's: ConfigMaps, or Secrets, of the
    /// Backend's namespace with certificates in PEM at the key `ca.crt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub ca_certificate_refs: Option<Vec<CaCertificateRef>>,
    /// The name that the host's certificate must have, which is sent as SNI too. By default it is the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub sni: Option<String>,
}

/// An object with certificates of authorities at the key `ca.crt`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificateRef {
    /// Empty: both kinds are of the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 0))]
    pub group: Option<String>,
    /// ConfigMap, if it is not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<CaCertificateKind>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// The kind of an object with certificates of authorities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaCertificateKind {
    /// A ConfigMap.
    #[default]
    ConfigMap,
    /// A Secret.
    Secret,
}

/// Another path instead of the provider's own. `fullPath` and `full` are two spellings of the same.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "!(has(self.fullPath) && has(self.full))",
        "fullPath and full are mutually exclusive: remove one of them",
    ),
    validation = (
        "!(has(self.prefix) && (has(self.fullPath) || has(self.full)))",
        "prefix and the full path are mutually exclusive: prefix is for every endpoint, the full path for one",
    ),
)]
pub struct PathOverride {
    /// The whole path, with its query if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub full_path: Option<String>,
    /// The whole path, with its query if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub full: Option<String>,
    /// The path before each endpoint's own, instead of `/v1`: with `/openai/v1`, Chat Completions are at
    /// `/openai/v1/chat/completions`. For `openai` and `anthropic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^(/[A-Za-z0-9_~!$&'()*+,=:@.-]+)+/?$|^/$"))]
    pub prefix: Option<String>,
}

/// Where the credential goes in the request.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthHeader {
    /// Name of the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_name: Option<String>,
    /// Text before the credential in the header's value. It is used unchanged: a space must be part of it, as in
    /// `"Token "`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}
