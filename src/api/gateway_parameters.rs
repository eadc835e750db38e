//! The GatewayParameters resource: how a Gateway is set up in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{FreeForm, conditions};

/// How a Gateway is set up in the cluster. A Gateway refers to it in `infrastructure.parametersRef`, a GatewayClass in
/// `parametersRef`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    namespaced,
    status = "GatewayParametersStatus",
    derive = "PartialEq",
    shortname = "gwp",
    category = "kgateway",
    doc = "GatewayParameters configures how a Gateway is set up in the cluster, above all which type of Service it gets.",
    printcolumn(
        name = "Service",
        type_ = "string",
        json_path = ".spec.kube.service.type",
        description = "Type of the Gateway's Service"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.kube) != has(self.selfManaged)", "exactly one of kube and selfManaged must be set"))]
pub struct GatewayParametersSpec {
    /// The Gateway's Service and its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube: Option<KubeParameters>,
    /// No Service is made for the Gateway: you make one that points at the gateway's ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_managed: Option<FreeForm>,
}

/// The Gateway's Service and its settings.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[x_kube(validation = ("!(has(self.agentGateway) && has(self.agentgateway))", "agentGateway and agentgateway are mutually exclusive: remove one of them"))]
pub struct KubeParameters {
    /// The Gateway's Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceParameters>,
    /// The proxy's Deployment. One Tollgate serves all Gateways, so its replicas are set where Tollgate is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentParameters>,
    /// The proxy's own metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<StatsParameters>,
    /// The AI part of the gateway. Tollgate has it always; its labels for metrics are read here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ai_extension: Option<AiExtension>,
    /// The data plane `agentgateway`, in the spelling of mid-2025. Accepted; Tollgate is its own data plane.
    #[serde(rename = "agentGateway", skip_serializing_if = "Option::is_none")]
    pub agent_gateway: Option<AgentGateway>,
    /// The data plane `agentgateway`. Accepted; Tollgate is its own data plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agentgateway: Option<AgentGateway>,
    /// Envoy's container. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy_container: Option<FreeForm>,
    /// The certificate sidecar. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sds_container: Option<FreeForm>,
    /// The proxy's pods. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<FreeForm>,
    /// The proxy's service account. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<FreeForm>,
    /// Istio's part. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istio: Option<FreeForm>,
    /// Whether the platform chooses the user id. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floating_user_id: Option<bool>,
    /// Whether to leave out security contexts. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omit_default_security_context: Option<bool>,
}

impl KubeParameters {
    /// The data plane `agentgateway`, in whichever spelling.
    #[must_use]
    pub fn agentgateway(&self) -> Option<&AgentGateway> {
        self.agentgateway.as_ref().or(self.agent_gateway.as_ref())
    }

    /// The labels that the user adds to token metrics.
    #[must_use]
    pub fn custom_labels(&self) -> &[CustomLabel] {
        self.ai_extension.as_ref().and_then(|ai| ai.stats.as_ref()).map_or(&[], |stats| &stats.custom_labels)
    }

    /// The fields below `spec.kube` that are set and describe a proxy pod that Tollgate does not have, as manifests spell them.
    #[must_use]
    pub fn unsupported_fields(&self) -> Vec<&'static str> {
        [
            ("agentGateway", self.agent_gateway.is_some()),
            ("agentgateway", self.agentgateway.is_some()),
            ("envoyContainer", self.envoy_container.is_some()),
            ("sdsContainer", self.sds_container.is_some()),
            ("podTemplate", self.pod_template.is_some()),
            ("serviceAccount", self.service_account.is_some()),
            ("istio", self.istio.is_some()),
            ("floatingUserId", self.floating_user_id.is_some()),
            ("omitDefaultSecurityContext", self.omit_default_security_context.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }
}

/// The Gateway's Service.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceParameters {
    /// Type of the Service. Without it, `LoadBalancer`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ServiceType>,
    /// A fixed cluster IP.
    #[serde(rename = "clusterIP", alias = "clusterIp", skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<String>,
    /// Labels added to the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_labels: BTreeMap<String, String>,
    /// Annotations added to the Service, for example for a cloud's load balancer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_annotations: BTreeMap<String, String>,
    /// Node ports of listeners, where they shall be fixed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Whether traffic from outside keeps its source address: `Local` or `Cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<String>,
}

/// Type of a Service.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// Reached within the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reached at a port of every node.
    NodePort,
    /// Reached through a load balancer outside.
    #[default]
    LoadBalancer,
    /// A DNS alias.
    ExternalName,
}

impl ServiceType {
    /// The type as a Service spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

/// The node port of one listener.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// The listener's port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The port of every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<u16>,
}

/// The proxy's Deployment.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DeploymentParameters {
    /// How many pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub replicas: Option<u32>,
}

/// The proxy's own metrics.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsParameters {
    /// Whether metrics are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Path that metrics are rewritten to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_prefix_rewrite: Option<String>,
    /// Whether a second route serves statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_stats_route: Option<bool>,
    /// Path that the second route is rewritten to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats_route_prefix_rewrite: Option<String>,
}

/// The AI part of the gateway.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AiExtension {
    /// Whether AI is served. Tollgate always does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The sidecar's image. Tollgate has no sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The sidecar's security context. Tollgate has no sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<FreeForm>,
    /// The sidecar's resources. Tollgate has no sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<FreeForm>,
    /// The sidecar's environment. Tollgate has no sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<FreeForm>>,
    /// The sidecar's ports. Tollgate serves metrics at its admin port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<FreeForm>>,
    /// Token metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<AiStats>,
    /// Tracing. Accepted but not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<FreeForm>,
}

/// A container image.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Repository in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Digest, as `sha256:...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<String>,
}

/// Token metrics.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AiStats {
    /// Labels added to the token metrics, with values from each request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_labels: Vec<CustomLabel>,
}

/// A label added to the token metrics.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomLabel {
    /// Name of the label.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Where the value comes from.
    #[serde(default)]
    pub metadata_namespace: MetadataNamespace,
    /// The path to the value, such as `principal:sub` for the subject of the client's token.
    #[schemars(length(min = 1))]
    pub metadata_key: String,
    /// The separator of the parts of `metadataKey`.
    #[serde(default = "CustomLabel::default_key_delimiter")]
    pub key_delimiter: String,
}

impl CustomLabel {
    fn default_key_delimiter() -> String {
        ":".into()
    }
}

/// Where a label's value comes from, in Envoy's words.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataNamespace {
    /// The client's verified JWT.
    #[default]
    #[serde(rename = "envoy.filters.http.jwt_authn")]
    JwtAuthn,
    /// Metadata that a transformation set.
    #[serde(rename = "io.solo.transformation")]
    Transformation,
}

/// The data plane `agentgateway`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AgentGateway {
    /// Whether it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Its log level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Its resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<FreeForm>,
    /// Its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<FreeForm>>,
    /// A ConfigMap whose key `config.yaml` replaces its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_config_map_name: Option<String>,
    /// Further volume mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_volume_mounts: Option<Vec<FreeForm>>,
}

/// The observed state of GatewayParameters.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayParametersStatus {
    /// `Accepted` reports whether the parameters are valid, and which of them are not acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
