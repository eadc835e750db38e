//! The Backend resource: the LLM providers or hosts that answer requests.

mod choosing;
mod circuit_breakers;
mod llm;
mod strict;

pub use choosing::{HashHeader, HashPolicy, Hedge, LoadBalancer, Plain, RingHash};
pub use circuit_breakers::CircuitBreakers;
pub use llm::{
    AuthHeader, CaCertificateKind, CaCertificateRef, HostOverride, HostTls, LlmProvider, PathOverride, Providers,
    RouteKind,
};
pub use strict::Strict;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::GoDuration,
    schema::{FreeForm, conditions},
};

/// A destination of requests: an LLM provider, several in order of priority, or fixed hosts.
#[allow(clippy::duplicated_attributes, reason = "columns of one type")]
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "Backend",
    namespaced,
    status = "BackendStatus",
    derive = "PartialEq",
    shortname = "be",
    category = "kgateway",
    doc = "Backend is a destination of requests: an LLM provider, several in order of priority, or fixed hosts. HTTPRoutes refer to it in `backendRefs`.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type", description = "Kind of backend"),
    printcolumn(
        name = "Providers",
        type_ = "string",
        json_path = ".status.providers",
        description = "LLM providers that answer"
    ),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.healthy",
        description = "How many of the LLM providers' entries are used; the others have failed lately"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the backend is served"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "self.type != 'AI' || has(self.ai)",
        "`ai` backend must be specified when type is 'AI': write spec.ai with llm, multipool or priorityGroups",
    ),
    validation = (
        "self.type == 'AI' || !has(self.ai)",
        "`ai` backend must be nil if the type is not 'AI': write `type: AI` or remove spec.ai",
    ),
    validation = (
        "self.type != 'Static' || has(self.static)",
        "`static` backend must be specified when type is 'Static': write spec.static with hosts",
    ),
    validation = (
        "self.type == 'Static' || !has(self.static)",
        "`static` backend must be nil if the type is not 'Static': write `type: Static` or remove spec.static",
    ),
    validation = (
        "self.type != 'AWS' || has(self.aws)",
        "`aws` backend must be specified when type is 'AWS': write spec.aws",
    ),
    validation = (
        "self.type == 'AWS' || !has(self.aws)",
        "`aws` backend must be nil if the type is not 'AWS': write `type: AWS` or remove spec.aws",
    ),
    validation = (
        "self.type != 'DynamicForwardProxy' || has(self.dynamicForwardProxy)",
        "`dynamicForwardProxy` backend must be specified when type is 'DynamicForwardProxy': write \
         spec.dynamicForwardProxy",
    ),
    validation = (
        "self.type == 'DynamicForwardProxy' || !has(self.dynamicForwardProxy)",
        "`dynamicForwardProxy` backend must be nil if the type is not 'DynamicForwardProxy': write `type: \
         DynamicForwardProxy` or remove spec.dynamicForwardProxy",
    ),
    validation = (
        "self.type != 'MCP' || has(self.mcp)",
        "`mcp` backend must be specified when type is 'MCP': write spec.mcp",
    ),
    validation = (
        "self.type == 'MCP' || !has(self.mcp)",
        "`mcp` backend must be nil if the type is not 'MCP': write `type: MCP` or remove spec.mcp",
    ),
)]
pub struct BackendSpec {
    /// The kind of backend. The field of the same name must be set beside it, and no other.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub kind: Option<BackendType>,
    /// LLM providers, for `type: AI`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ai: Option<AiBackend>,
    /// Fixed hosts, for `type: Static`.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_: Option<StaticBackend>,
    /// How many requests the backend has at a time, and how many wait. Without it, any number, as far as its providers
    /// or hosts have no `maxRequests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breakers: Option<CircuitBreakers>,
    /// An AWS Lambda function, for `type: AWS`. Accepted so that manifests apply; Tollgate does not serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<FreeForm>,
    /// Any host the client names, for `type: DynamicForwardProxy`. Accepted so that manifests apply; Tollgate does not
    /// serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_forward_proxy: Option<FreeForm>,
    /// MCP servers, for `type: MCP`. Accepted so that manifests apply; Tollgate does not serve them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp: Option<FreeForm>,
}

/// The kind of a backend. The lower-case spellings are those of kgateway's betas; the schema does not list them.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendType {
    /// LLM providers.
    #[serde(rename = "AI", alias = "ai")]
    Ai,
    /// AWS Lambda.
    #[serde(rename = "AWS", alias = "aws")]
    Aws,
    /// Fixed hosts.
    #[serde(alias = "static")]
    Static,
    /// Any host the client names.
    #[serde(alias = "dynamicForwardProxy")]
    DynamicForwardProxy,
    /// MCP servers.
    #[serde(rename = "MCP", alias = "mcp")]
    Mcp,
}

impl BackendType {
    /// The type as manifests spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ai => "AI",
            Self::Aws => "AWS",
            Self::Static => "Static",
            Self::DynamicForwardProxy => "DynamicForwardProxy",
            Self::Mcp => "MCP",
        }
    }
}

/// LLM providers: one, or several in order of priority.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "[has(self.llm), has(self.multipool), has(self.priorityGroups)].filter(x, x).size() == 1",
        "exactly one of llm, multipool and priorityGroups must be set: llm for one provider, priorityGroups (or \
         multipool) for several",
    ),
)]
pub struct AiBackend {
    /// One provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmProvider>,
    /// Several providers in order of priority, as kgateway 2.0 spells it. The same as `priorityGroups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multipool: Option<MultiPool>,
    /// Several providers in order of priority: requests go to the first group with a usable provider, and fail over to
    /// the next ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub priority_groups: Option<Vec<PriorityGroup>>,
    /// When a request is translated to the provider's API: answer 400 if a field has no equivalent there. With `losses`
    /// only fields that change the meaning count, and hints do not, such as cache marks, metadata and verbosity. By
    /// default all such fields are left out, and reported in the reply's header `x-tollgate-dropped` and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<Strict>,
    /// How long the providers may take. The timeouts of a route take precedence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<AiTimeouts>,
    /// How requests are spread over the providers of one priority; by default in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// Asks a second provider when the first one is slow to answer: `hedge: {}`. Both may be billed. Off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
}

/// How long LLM providers may take.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AiTimeouts {
    /// Until the first text, reasoning or call of a streamed answer, from sending: after it the next provider is tried.
    /// Four minutes are added for each million tokens of input. The last provider has no such limit. By default `120s`;
    /// `0s` means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token: Option<GoDuration>,
}

/// Several providers in order of priority, as kgateway 2.0 spells it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MultiPool {
    /// The pools, first choice first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 32))]
    pub priorities: Option<Vec<Pool>>,
}

/// Providers of one priority, as kgateway 2.0 spells it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The providers, which share the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 32))]
    pub pool: Option<Vec<LlmProvider>>,
}

/// Providers of one priority.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PriorityGroup {
    /// The providers, which share the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 32))]
    pub providers: Option<Vec<LlmProvider>>,
}

/// Fixed hosts that share the load.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticBackend {
    /// The hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub hosts: Option<Vec<StaticHost>>,
    /// The protocol the hosts speak, where it is not HTTP/1.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
}

/// One host of a static backend.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticHost {
    /// Host name or IP address, without scheme and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1))]
    pub host: Option<String>,
    /// Port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Accept any certificate from this host. Manifests of mid-2025 may have it; without `tls` it means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// TLS to this host: `tls: {}`. Without it the host is reached in clear text, whatever its port is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<HostTls>,
    /// Requests that the host has at a time. While it has as many, others get the requests, or the requests wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_requests: Option<u32>,
}

/// The protocol that static hosts speak.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppProtocol {
    /// HTTP/2 without TLS.
    #[serde(rename = "http2")]
    Http2,
    /// gRPC.
    #[serde(rename = "grpc")]
    Grpc,
    /// gRPC-Web.
    #[serde(rename = "grpc-web")]
    GrpcWeb,
    /// HTTP/2 without TLS, in Kubernetes' spelling.
    #[serde(rename = "kubernetes.io/h2c")]
    H2c,
    /// WebSocket.
    #[serde(rename = "kubernetes.io/ws")]
    WebSocket,
}

/// The observed state of a Backend.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// `Accepted` reports whether the backend is served, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The LLM providers that answer, in order and joined with commas, such as `openai,anthropic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<String>,
    /// How many of the entries with LLM providers are used, such as `2/3`. The others have failed lately and are tried
    /// last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<String>,
}
