//! Authentication of clients.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema::FreeForm;

/// Clients have keys of the gateway's own.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.secretRef), has(self.secretSelector), has(self.disable)].filter(x, x).size() == 1",
    "exactly one of secretRef, secretSelector and disable must be set",
))]
pub struct ApiKeyAuth {
    /// The Secret with the keys: each entry is a client. Its value is the client's key, or a JSON object with `key`, or
    /// `keyHash` (`sha256:HEX`), and with `models`: the names and patterns of the models that the client may request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretObjectReference>,
    /// The Secrets with the keys, by labels. Not supported: rules are closed with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_selector: Option<SecretSelector>,
    /// Lifts the authentication that a wider policy requires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable: Option<FreeForm>,
    /// Where the key may be. Without it, where SDKs put it: `Authorization: Bearer`, `x-api-key`, `api-key`,
    /// `x-goog-api-key` and the query parameter `key`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub key_sources: Vec<KeySource>,
    /// Whether a plain server gets the key. An LLM provider never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_credential: Option<bool>,
    /// The header in which a plain server gets the name of the client's entry. A client's own header of that name never
    /// counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub client_id_header: Option<String>,
}

/// A Secret, which may be in another namespace if a ReferenceGrant there allows it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretObjectReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace, by default that of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Empty: Secrets are of the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 0))]
    pub group: Option<String>,
    /// `Secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^Secret$"))]
    pub kind: Option<String>,
}

/// Secrets by their labels.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretSelector {
    /// Labels that a Secret has, all of them.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// One place for a key: of its fields the first that is set counts.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "has(self.header) || has(self.query) || has(self.cookie)",
    "one of header, query and cookie must be set",
))]
pub struct KeySource {
    /// The name of a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,
    /// The name of a query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub query: Option<String>,
    /// The name of a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub cookie: Option<String>,
}
