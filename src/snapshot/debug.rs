//! A snapshot as JSON for operators. Its types hold no credentials: a [`Credential`] shows only its header's name
//! and where it comes from.

use http::uri::PathAndQuery;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Action, Backend, Credential, HttpBackend, Listener, Rule, SigningKeys, Snapshot, Target, WeightedBackend};
use crate::upstream::balance::HasApi;

/// The listeners and rules, port by port.
pub fn to_json(snapshot: &Snapshot) -> Value {
    let ports = snapshot.ports.iter().map(|(number, port)| {
        let listeners: Vec<Value> =
            sorted(port.listeners.iter().map(|(host, listener)| (host.to_string(), self::listener(listener))));
        json!({"port": number, "tls": port.tls.is_some(), "listeners": listeners})
    });
    json!({"generation": snapshot.generation, "ports": ports.collect::<Vec<_>>()})
}

/// `values` by name, each with its name as `host`.
fn sorted(values: impl Iterator<Item = (String, Value)>) -> Vec<Value> {
    let mut values: Vec<(String, Value)> = values.collect();
    values.sort_by(|a, b| a.0.cmp(&b.0));
    let named = values.into_iter().map(|(host, mut value)| {
        if let Some(object) = value.as_object_mut() {
            object.insert("host".into(), host.into());
        }
        value
    });
    named.collect()
}

fn listener(listener: &Listener) -> Value {
    let hosts = listener.routes.iter().map(|(host, table)| {
        let matches: Vec<Value> = table
            .describe()
            .into_iter()
            .map(|(path, rule)| json!({"match": path, "rule": self::rule(&rule)}))
            .collect();
        (host.to_string(), json!({"matches": matches}))
    });
    json!({"gateway": &*listener.gateway, "name": listener.name, "hosts": sorted(hosts)})
}

fn rule(rule: &Rule) -> Value {
    let action = match &rule.action {
        Action::Forward(split) => json!({"forward": split.backends().iter().map(weighted).collect::<Vec<_>>()}),
        Action::Redirect(to) => json!({"redirect": to.status.as_u16()}),
        Action::Unavailable(fail) => json!({"fail": {"status": fail.status, "why": fail.why}}),
    };
    json!({"route": &*rule.labels.route, "rule": rule.labels.rule, "action": action})
}

fn weighted(weighted: &WeightedBackend) -> Value {
    let backend = match &weighted.backend {
        Backend::Ai(ai) => {
            json!({"groups": ai.backend.groups.iter().map(|g| g.iter().map(target).collect()).collect::<Vec<Vec<_>>>()})
        }
        Backend::Http(http) => endpoints(http),
        Backend::Unavailable(fail) => json!({"unavailable": {"status": fail.status, "why": fail.why}}),
    };
    json!({"backend": &*weighted.name, "weight": weighted.weight, "to": backend})
}

fn endpoints(http: &HttpBackend) -> Value {
    json!({"endpoints": http.endpoints.iter().map(|e| e.pool.origin().to_string()).collect::<Vec<_>>()})
}

fn target(target: &Target) -> Value {
    let credential = match &target.credential {
        Credential::Fixed(header, _) => json!({"header": header.as_str(), "from": "gateway"}),
        Credential::Passthrough { header, .. } => json!({"header": header.as_str(), "from": "client"}),
        Credential::Fetched { handle, header, .. } => json!({"header": header.as_str(), "from": handle.label()}),
        Credential::Aws { keys, region } => {
            let from = match keys {
                SigningKeys::Fixed(_) => "gateway",
                SigningKeys::Fetched(handle) => handle.label(),
            };
            json!({"header": "authorization", "from": from, "signedFor": region})
        }
    };
    json!({
        "name": target.name,
        "provider": target.provider.info().name,
        "model": target.provider.model(),
        "origin": target.pool.origin().to_string(),
        // The query of an override may be a key.
        "path": target.path.as_ref().map(PathAndQuery::path),
        "credential": credential,
        // Only of servers that may lack it, once a reply has shown that.
        "hasResponses": target.server.has_responses(Instant::now()).map(|has| has == HasApi::Yes),
    })
}
