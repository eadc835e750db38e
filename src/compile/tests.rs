//! Manifests, compiled: the conditions of each object, and the backends of requests.

use std::{
    fmt::Write as _,
    fs,
    sync::{Arc, LazyLock},
};

use http::{HeaderMap, Method, Uri};
use tempfile::TempDir;

use super::*;
use crate::{
    api::Kind,
    snapshot::{self, Action, Backend, RequestModel, RequestView, Routed, Rule, WeightedBackend},
    source::file::{self, LoadOptions},
    upstream::{Credentials, Dialer, DialerOptions},
};

mod backends;
mod choosing;
mod controllers;
mod credentials;
mod exposed;
mod gateways;
mod neighbours;
mod parameters;
mod policies;
mod routes;
mod services;
mod unserved;

/// One for all tests: reading the system's roots takes longer than any of them.
static ENV: LazyLock<Env> = LazyLock::new(|| env(&[]));

/// A pod with these environment variables.
fn env(variables: &'static [(&'static str, &'static str)]) -> Env {
    let metrics = Arc::new(Metrics::new().unwrap());
    let pools = Arc::new(Pools::new(Dialer::new(DialerOptions::default())));
    let get = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
    let credentials = Arc::new(Credentials::new(Arc::clone(&pools), Arc::clone(&metrics), Arc::new(get)));
    let identity = PodIdentity::default();
    Env {
        metrics,
        pools,
        balance: Arc::default(),
        credentials,
        health: tokio::sync::watch::channel(Arc::default()).1,
        models: tokio::sync::watch::channel(crate::dialect::ModelTable::built_in()).1,
        scope: Scope::Files,
        controller: Controller::default(),
        identity,
        install: None,
        exposed: false,
    }
}

/// Objects as they are read from files, and the result of compiling them.
struct World {
    objects: Objects,
    compiled: Compiled,
}

impl World {
    /// Reads and compiles `documents`, all of which must be readable.
    #[track_caller]
    fn new(documents: &[String]) -> Self {
        let world = Self::with_rejected(documents);
        assert!(world.objects.rejected.is_empty(), "{:?}", world.objects.rejected);
        world
    }

    /// Reads and compiles `documents`, of which some may be unreadable.
    fn with_rejected(documents: &[String]) -> Self {
        let dir = TempDir::new().unwrap();
        for (number, document) in documents.iter().enumerate() {
            fs::write(dir.path().join(format!("{number:04}.yaml")), document).unwrap();
        }
        let objects = file::load(&[dir.path().to_owned()], &|_| None, LoadOptions::default()).unwrap();
        // Separate turns: otherwise those of another test's Backend of the same name would continue here.
        Self::of(objects, &Env { balance: Arc::default(), ..ENV.clone() })
    }

    fn of(objects: Objects, env: &Env) -> Self {
        let compiled = compile(&objects, env, 1);
        Self { objects, compiled }
    }

    /// The same objects, compiled as if they came from a cluster.
    fn in_cluster(self) -> Self {
        Self::of(self.objects, &Env { scope: Scope::Cluster, ..ENV.clone() })
    }

    /// All conditions of the object, one a line: `[PARENT|listener NAME] TYPE=STATUS/REASON: MESSAGE`. Empty without a
    /// report.
    fn conditions(&self, kind: Kind, key: &str) -> String {
        let mut text = String::new();
        let reports = &self.compiled.reports.objects;
        let Some(report) = reports.iter().find(|r| r.kind == kind && r.key.to_string() == key) else { return text };
        let mut add = |owner: String, conditions: &[Condition]| {
            for c in conditions {
                let status = if c.status { "True" } else { "False" };
                writeln!(text, "{owner}{}={status}/{}: {}", c.kind, c.reason, c.message).unwrap();
            }
        };
        add(String::new(), &report.conditions);
        for parent in &report.parents {
            let section = parent.section_name.as_ref().map(|s| format!("#{s}")).unwrap_or_default();
            add(format!("{}{section} ", parent.key), &parent.conditions);
        }
        for listener in &report.listeners {
            add(format!("listener {} ", listener.name), &listener.conditions);
        }
        text
    }

    /// Some condition of the object has all of `parts` in its line.
    #[track_caller]
    fn reports(&self, kind: Kind, key: &str, parts: &[&str]) {
        let conditions = self.conditions(kind, key);
        let found = conditions.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no condition of {kind} {key} has {parts:?}:\n{conditions}");
    }

    /// Nothing is wrong with the object.
    #[track_caller]
    fn is_fine(&self, kind: Kind, key: &str) {
        let report = self.compiled.reports.objects.iter().find(|r| r.kind == kind && r.key.to_string() == key);
        let report = report.unwrap_or_else(|| panic!("no report of {kind} {key}"));
        assert_eq!(report.problems().next(), None, "{kind} {key}");
    }

    /// The number of routes attached to the listener, from the report.
    fn attached(&self, gateway: &str, listener: &str) -> u32 {
        let reports = self.compiled.reports.objects.iter();
        let mut listeners =
            reports.filter(|r| r.kind == Kind::Gateway && r.key.to_string() == gateway).flat_map(|r| &r.listeners);
        listeners.find(|l| l.name == listener).unwrap().attached_routes
    }

    /// The result of a GET of `url`: backends with their weights, or `STATUS why`, or why no rule was found.
    fn at(&self, url: &str) -> String {
        self.request(&Method::GET, url, &[])
    }

    fn request(&self, method: &Method, url: &str, headers: &[(&'static str, &str)]) -> String {
        self.rule(method, url, headers).map_or_else(|nowhere| nowhere, |rule| landed(&rule))
    }

    /// The rule for a request, or why there is none.
    fn rule(&self, method: &Method, url: &str, headers: &[(&'static str, &str)]) -> Result<Arc<Rule>, String> {
        let uri: Uri = url.parse().unwrap();
        let headers: HeaderMap = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let view = RequestView {
            host: uri.host().unwrap(),
            path: uri.path(),
            query: uri.query(),
            method,
            headers: &headers,
            model: RequestModel::Unread,
        };
        match self.compiled.snapshot.route(uri.port_u16().unwrap_or(8080), &view) {
            Routed::Rule(matched) => Ok(matched.rule),
            Routed::NoRule(listener) => Err(format!("no rule at {} {}", listener.gateway, listener.name)),
            Routed::NoListener => Err("no listener".to_owned()),
            Routed::NeedsModel => Err("needs the model".to_owned()),
        }
    }

    /// The rule for a GET of `url`.
    #[track_caller]
    fn rule_at(&self, url: &str) -> Arc<Rule> {
        self.rule(&Method::GET, url, &[]).unwrap()
    }

    /// Everything that operators can see.
    fn visible(&self) -> String {
        let reports = &self.compiled.reports;
        let snapshot = snapshot::to_json(&self.compiled.snapshot);
        let (json, rejected) = (serde_json::to_string(reports).unwrap(), &self.objects.rejected);
        format!("{snapshot}\n{json}\n{reports:?}\n{rejected:?}")
    }

    fn snapshot_json(&self) -> String {
        format!("{:#}", snapshot::to_json(&self.compiled.snapshot))
    }
}

fn landed(rule: &Rule) -> String {
    let one = |backend: &WeightedBackend| match &backend.backend {
        Backend::Ai(_) => backend.name.to_string(),
        Backend::Http(http) => {
            let origins = http.endpoints.iter().map(|e| e.pool.origin().to_string());
            origins.collect::<Vec<_>>().join(",")
        }
        Backend::Unavailable(fail) => format!("{} {}", fail.status, fail.why),
    };
    match &rule.action {
        Action::Forward(split) => match split.backends() {
            [only] => one(only),
            all => all.iter().map(|b| format!("{}*{}", one(b), b.weight)).collect::<Vec<_>>().join(" "),
        },
        Action::Redirect(redirect) => format!("redirect {}", redirect.status.as_u16()),
        Action::Unavailable(fail) => format!("{} {}", fail.status, fail.why),
    }
}

// Manifests in YAML's flow style, one per line. Keys are `NAME` or `NAMESPACE/NAME`.

fn metadata(key: &str) -> String {
    key.split_once('/').map_or_else(|| format!("{{name: {key}}}"), |(ns, n)| format!("{{name: {n}, namespace: {ns}}}"))
}

fn document(version: &str, kind: &str, key: &str, rest: &str) -> String {
    format!("{{apiVersion: {version}, kind: {kind}, metadata: {}, {rest}}}\n", metadata(key))
}

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
const KGATEWAY_API: &str = "gateway.kgateway.dev/v1alpha1";

/// A Gateway with these listeners.
fn gateway(key: &str, listeners: &str) -> String {
    document(GATEWAY_API, "Gateway", key, &format!("spec: {{gatewayClassName: c, listeners: [{listeners}]}}"))
}

/// A Gateway that takes every route on port 8080.
fn open_gateway(key: &str) -> String {
    gateway(key, "{name: http, protocol: HTTP, port: 8080, allowedRoutes: {namespaces: {from: All}}}")
}

/// A route with these fields of its spec.
fn route(key: &str, spec: &str) -> String {
    document(GATEWAY_API, "HTTPRoute", key, &format!("spec: {{{spec}}}"))
}

/// A route of Gateway `default/gw` from a path to a backend reference.
fn simple_route(key: &str, path: &str, backend_ref: &str) -> String {
    let rule = format!("{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{backend_ref}]}}");
    route(key, &format!("parentRefs: [{{name: gw, namespace: default}}], rules: [{rule}]"))
}

/// A reference to a Backend of the route's own namespace.
fn to(backend: &str) -> String {
    format!("{{name: {backend}, group: gateway.kgateway.dev, kind: Backend}}")
}

fn backend(key: &str, spec: &str) -> String {
    document(KGATEWAY_API, "Backend", key, &format!("spec: {{{spec}}}"))
}

/// A Backend that needs nothing else.
fn good_backend(key: &str) -> String {
    backend(key, "type: AI, ai: {llm: {openai: {authToken: {kind: Passthrough}}}}")
}

fn secret(key: &str, string_data: &str) -> String {
    document("v1", "Secret", key, &format!("stringData: {{{string_data}}}"))
}

fn policy(key: &str, spec: &str) -> String {
    document(KGATEWAY_API, "TrafficPolicy", key, &format!("spec: {{{spec}}}"))
}

/// A ReferenceGrant in the namespace of `key`.
fn grant(key: &str, from: &str, to: &str) -> String {
    let version = "gateway.networking.k8s.io/v1beta1";
    document(version, "ReferenceGrant", key, &format!("spec: {{from: [{from}], to: [{to}]}}"))
}

#[test]
fn the_same_objects_come_to_the_same() {
    let mut documents = neighbours::guide();
    documents.extend([
        good_backend("good"),
        open_gateway("gw"),
        simple_route("a", "/a", &to("good")),
        simple_route("b", "/a", &to("missing")),
        policy(
            "p",
            "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}], timeouts: {request: 1s}",
        ),
    ]);
    let first = World::new(&documents);
    let again = World::of(first.objects.clone(), &ENV);
    assert_eq!(first.compiled.reports, again.compiled.reports);
    assert_eq!(first.snapshot_json(), again.snapshot_json());
    // And in whichever order they are read.
    documents.reverse();
    let reversed = World::new(&documents);
    assert_eq!(first.compiled.reports, reversed.compiled.reports);
    assert_eq!(first.snapshot_json(), reversed.snapshot_json());
}
