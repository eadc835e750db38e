//! Policies on the content of requests and replies, tested from outside the process: what a provider gets.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod common;

#[path = "content/defaults.rs"]
mod defaults;
#[path = "content/enrichment.rs"]
mod enrichment;
#[path = "content/transformation.rs"]
mod transformation;

use common::{Gateway, Start, Upstream, manifests::s1_with, yaml};
use serde_json::{Value, json};

const CHAT: &str = "/x/v1/chat/completions";
const MESSAGES: &str = "/x/v1/messages";

/// A TrafficPolicy with this spec on the HTTPRoute `route`.
fn policy(route: &str, spec: &Value) -> String {
    let mut spec = spec.clone();
    spec["targetRefs"] = json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": route}]);
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "content", "namespace": "default"}, "spec": spec,
    }))
}

/// A gateway with a `provider` behind `/x`, whose Backend has these `fields`, and a policy on its route.
fn start(provider: &str, upstream: &Upstream, fields: &Value, spec: &Value) -> Gateway {
    let manifests = s1_with(provider, "/x", upstream.port, fields) + &policy(provider, spec);
    Start::new().manifest("x.yaml", &manifests).run()
}

/// What the provider gets of a request with this body. Whether it is answered well does not matter.
fn sent(provider: &str, fields: &Value, spec: &Value, path: &str, body: &Value) -> Value {
    let upstream = Upstream::json("{}");
    let gateway = start(provider, &upstream, fields, spec);
    gateway.post(path, body.to_string());
    upstream.only().json()
}
