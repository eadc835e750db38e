//! How much a Backend gets at a time, in the words of kgateway's circuit breakers.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::GoDuration;

/// How many requests a Backend has at a time, and what becomes of others. They wait, in a queue.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreakers {
    /// Requests at a time, from the first attempt to the end of the reply, in each replica of the gateway. Without it,
    /// any number, as far as its providers and hosts have limits of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_requests: Option<u32>,
    /// Requests that wait for room. Others get 503 with `Retry-After`. By default 1024; with 0, none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_pending_requests: Option<u32>,
    /// How long a request waits for room, at least `1ms`. By default `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = (
        "duration(self) >= duration('1ms')",
        "pendingTimeout must be at least 1ms: write `maxPendingRequests: 0` for no queue",
    ))]
    pub pending_timeout: Option<GoDuration>,
}
