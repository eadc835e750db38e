//! The TrafficPolicy resource: processing of requests and replies.

mod ai;
mod auth;
mod traffic;

pub use ai::{
    AiPolicy, Builtin, CustomResponse, FieldDefault, GuardScope, HeaderMatch, HeaderMatchType, Moderation,
    OpenAiModeration, PromptEnrichment, PromptGuard, PromptGuardRequest, PromptGuardResponse, PromptMessage, Regex,
    RegexAction, RegexMatch, RouteType, Webhook, WebhookHost,
};
pub use auth::{ApiKeyAuth, KeySource, SecretObjectReference, SecretSelector};
pub use traffic::{
    HeaderTransformation, LocalRateLimit, Priority, PriorityClass, RateLimit, Retry, RetryOn, Timeouts, TokenBucket,
    Transform, Transformation,
};

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::schema::{FreeForm, conditions};

/// Processing of requests and replies: AI policies, timeouts, retries, limits.
#[allow(clippy::duplicated_attributes, reason = "columns of one type")]
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    namespaced,
    status = "TrafficPolicyStatus",
    derive = "PartialEq",
    shortname = "tp",
    category = "kgateway",
    label("gateway.networking.k8s.io/policy", "Direct"),
    doc = "TrafficPolicy configures the processing of requests and replies: AI policies, timeouts, retries, limits. It applies to its targets, or to the HTTPRoute rules that name it in an `ExtensionRef` filter.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        // A policy without a target that is served has conditions of its own, and no ancestors.
        json_path = ".status..conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the policy is valid"
    ),
    printcolumn(
        name = "Attached",
        type_ = "string",
        json_path = ".status..conditions[?(@.type==\"Attached\")].status",
        description = "Whether the policy applies to its targets"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
// If the API server pruned it, a protection of a later version would be lost silently.
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[x_kube(
    validation = ("!has(self.retry) || !has(self.retry.perTryTimeout) || !has(self.timeouts) || !has(self.timeouts.request) || duration(self.timeouts.request) == duration('0s') || duration(self.retry.perTryTimeout) < duration(self.timeouts.request)", "retry.perTryTimeout must be shorter than timeouts.request"),
)]
pub struct TrafficPolicySpec {
    /// The targets of the policy, by name, in its own namespace. Without targets it applies where a rule names it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.all(r, (r.group == 'gateway.networking.k8s.io' && r.kind in ['Gateway', 'HTTPRoute']) || (r.group == 'gateway.networking.x-k8s.io' && r.kind == 'XListenerSet') || (r.group == 'gateway.kgateway.dev' && r.kind == 'Backend'))", "targetRefs may only reference Gateway or HTTPRoute (group gateway.networking.k8s.io), XListenerSet (group gateway.networking.x-k8s.io) or Backend (group gateway.kgateway.dev) resources"))]
    pub target_refs: Vec<TargetRef>,
    /// The targets of the policy, by labels, in its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = ("self.all(r, (r.group == 'gateway.networking.k8s.io' && r.kind in ['Gateway', 'HTTPRoute']) || (r.group == 'gateway.networking.x-k8s.io' && r.kind == 'XListenerSet') || (r.group == 'gateway.kgateway.dev' && r.kind == 'Backend'))", "targetSelectors may only select Gateway or HTTPRoute (group gateway.networking.k8s.io), XListenerSet (group gateway.networking.x-k8s.io) or Backend (group gateway.kgateway.dev) resources"))]
    pub target_selectors: Vec<TargetSelector>,
    /// Processing of LLM requests and replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ai: Option<AiPolicy>,
    /// How long requests may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// When and how often a failed request is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Which requests come first where a Backend has as many as it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How many requests are let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// The keys that clients must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_auth: Option<ApiKeyAuth>,
    /// Edits of headers. Templates and bodies are accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transformation: Option<Transformation>,
    /// An external processor. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<FreeForm>,
    /// An external authorisation service. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext_auth: Option<FreeForm>,
    /// Cross-origin requests. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<FreeForm>,
    /// Protection against forged cross-site requests. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csrf: Option<FreeForm>,
    /// Size limit of buffered requests. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<FreeForm>,
    /// Session affinity. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_policies: Option<Vec<FreeForm>>,
    /// Whether `Host` becomes the backend's own name. Accepted but not acted on: LLM providers always get their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_host_rewrite: Option<bool>,
    /// Access rules in CEL. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rbac: Option<FreeForm>,
    /// Header modifications. Accepted but not acted on, which the status reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_modifiers: Option<FreeForm>,
}

impl TrafficPolicySpec {
    /// The fields below `spec` that are set and accepted but not acted on, as manifests spell them.
    #[must_use]
    pub fn unsupported_fields(&self) -> Vec<&'static str> {
        let global = self.rate_limit.as_ref().is_some_and(|limit| limit.global.is_some());
        let (request, response) = match &self.transformation {
            Some(both) => (both.request.as_ref(), both.response.as_ref()),
            None => (None, None),
        };
        [
            ("transformation.request.body", request.is_some_and(|edits| edits.body.is_some())),
            ("transformation.request, its templates", request.is_some_and(Transform::has_templates)),
            ("transformation.response.body", response.is_some_and(|edits| edits.body.is_some())),
            ("transformation.response, its templates", response.is_some_and(Transform::has_templates)),
            ("extProc", self.ext_proc.is_some()),
            ("extAuth", self.ext_auth.is_some()),
            ("rateLimit.global", global),
            ("cors", self.cors.is_some()),
            ("csrf", self.csrf.is_some()),
            ("buffer", self.buffer.is_some()),
            ("hashPolicies", self.hash_policies.is_some()),
            ("autoHostRewrite", self.auto_host_rewrite.is_some()),
            ("rbac", self.rbac.is_some()),
            ("headerModifiers", self.header_modifiers.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }
}

/// One object that a policy applies to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// API group of the target.
    #[schemars(length(max = 253))]
    pub group: String,
    /// Kind of the target: Gateway, HTTPRoute, XListenerSet or Backend.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Part of the target: a Gateway's listener, an HTTPRoute's rule, or an entry of a Backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Objects that a policy applies to, by labels.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetSelector {
    /// API group of the targets.
    #[schemars(length(max = 253))]
    pub group: String,
    /// Kind of the targets: Gateway, HTTPRoute, XListenerSet or Backend.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Labels that a target has, all of them.
    pub match_labels: BTreeMap<String, String>,
    /// Part of each target: a Gateway's listener, an HTTPRoute's rule, or an entry of a Backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// The observed state of a policy: per ancestor as the Gateway API has it, or flat as kgateway 2.0 does.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficPolicyStatus {
    /// Conditions of the policy as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Conditions towards each Gateway, or other target, that the policy affects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// The state of a policy towards one ancestor.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The ancestor.
    pub ancestor_ref: AncestorRef,
    /// The controller that wrote this entry, as `DOMAIN/PATH`.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// `Accepted` reports whether the policy is valid, `Attached` whether it applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// An object that a policy affects.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorRef {
    /// API group, by default the Gateway API's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Kind, by default Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// Namespace, by default the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Part of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
    /// Port of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}
