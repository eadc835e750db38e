//! Manifests as JSON values, which YAML takes as they are.

use serde_json::{Value, json};
use tollgate::provider::PROVIDERS;

/// The key in the Secrets and `inline` tokens that the helpers here write.
pub const KEY: &str = "sk-of-the-provider-4f1d9c";
/// A key that a test's client sends.
pub const CLIENT_KEY: &str = "sk-of-the-client-83b0e2";
/// Secrets that must never be in the log, in metrics or in debug views.
pub const SECRETS: [&str; 2] = [KEY, CLIENT_KEY];

/// A document of a manifest file, with the separator before it.
pub fn yaml(document: &Value) -> String {
    format!("---\n{document}\n")
}

/// Gateway `default/gw` with the HTTP listener `http` on `port`, open to every namespace.
pub fn gateway_yaml(port: u16) -> String {
    yaml(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "default"},
        "spec": {"gatewayClassName": "tollgate", "listeners": [{
            "name": "http", "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "All"}},
        }]},
    }))
}

/// Secret `default/NAME` with `Authorization: VALUE`.
pub fn secret(name: &str, value: &str) -> String {
    yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "stringData": {"Authorization": value},
    }))
}

/// A provider in the guide's form, answered by `127.0.0.1:UPSTREAM`, with its key in the Secret NAME. `fields` are
/// more of the provider's own, such as `{"model": "m"}`. Its required fields are there already.
pub fn llm(provider: &str, secret: &str, upstream: u16, fields: &Value) -> Value {
    let def = PROVIDERS.iter().find(|def| def.info.name == provider);
    let def = def.unwrap_or_else(|| panic!("no provider {provider}"));
    let mut own: Value = serde_json::from_str(def.example).unwrap();
    own["authToken"] = json!({"kind": "SecretRef", "secretRef": {"name": secret}});
    for (name, value) in fields.as_object().unwrap() {
        own[name] = value.clone();
    }
    json!({"provider": {provider: own}, "hostOverride": {"host": "127.0.0.1", "port": upstream}})
}

/// Backend `default/NAME` of `type: AI`; `ai` is `{"llm": ...}`, `{"multipool": ...}` or `{"priorityGroups": ...}`.
pub fn backend(name: &str, ai: &Value) -> String {
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"type": "AI", "ai": ai},
    }))
}

/// HTTPRoute `default/NAME` on the Gateway, with these rules.
pub fn route(name: &str, rules: &Value) -> String {
    yaml(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": rules},
    }))
}

/// A rule that sends what is below `prefix` to the Backend `default/BACKEND`.
pub fn rule(prefix: &str, backend: &str) -> Value {
    json!({
        "matches": [{"path": {"type": "PathPrefix", "value": prefix}}],
        "backendRefs": [{"name": backend, "group": "gateway.kgateway.dev", "kind": "Backend"}],
    })
}

/// The guide's three documents: Secret, Backend and HTTPRoute, all named PROVIDER and below `prefix`.
pub fn s1(provider: &str, prefix: &str, upstream: u16) -> String {
    s1_with(provider, prefix, upstream, &json!({}))
}

/// The same, with more fields of the provider's.
pub fn s1_with(provider: &str, prefix: &str, upstream: u16, fields: &Value) -> String {
    let entry = llm(provider, provider, upstream, fields);
    secret(provider, KEY) + &s1_of(provider, prefix, &entry)
}

/// Backend and HTTPRoute `default/NAME` for one entry.
pub fn s1_of(name: &str, prefix: &str, entry: &Value) -> String {
    backend(name, &json!({"llm": entry})) + &route(name, &json!([rule(prefix, name)]))
}
