//! How a Backend chooses among the providers of one priority, and when it asks a second one.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::GoDuration;

/// How requests are spread over the providers of one priority, in kgateway's words.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "[has(self.roundRobin), has(self.leastRequest), has(self.ringHash)].filter(x, x).size() == 1",
        "exactly one of roundRobin, leastRequest and ringHash must be set",
    ),
)]
pub struct LoadBalancer {
    /// In turn, by weight. This is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_robin: Option<Plain>,
    /// To the better of two that are drawn by weight: the one with less under way and a faster first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_request: Option<Plain>,
    /// To the one that the request's key belongs to, so that the provider's cache of prompts is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_hash: Option<RingHash>,
}

/// A choice without settings: `{}`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plain {}

/// Requests with the same key go to the same provider.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RingHash {
    /// What the key is made of. The first that the request has is its key; a request that has none is spread in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 16))]
    pub hash_policies: Option<Vec<HashPolicy>>,
}

/// What a key is made of.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "[has(self.header), has(self.credential), has(self.promptPrefix), has(self.sourceIP)].filter(x, x).size() == 1",
        "exactly one of header, credential, promptPrefix and sourceIP must be set",
    ),
)]
pub struct HashPolicy {
    /// The value of a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HashHeader>,
    /// The client's own credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Plain>,
    /// The beginning of the prompt: the client's `prompt_cache_key`, else 2 KiB of the instructions and 2 KiB of the
    /// conversation up to the first answer of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_prefix: Option<Plain>,
    /// The address that the connection comes from.
    #[serde(rename = "sourceIP", skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<Plain>,
}

/// A header with a key.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashHeader {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 256))]
    pub name: Option<String>,
}

/// A second provider is asked when the first one is slow to answer, and the first answer counts.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedge {
    /// How long the first provider may take to the first content of its answer. Without it that is the time in which 95
    /// of its last 100 answers had begun. `0s` asks both at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<GoDuration>,
}
