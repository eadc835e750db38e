//! Fields and values that this version does not support: what is read of their objects, and what is served of them.

use http::{HeaderMap, Method};

use super::*;
use crate::{
    compile::{self, Compiled, Controller, Env, PodIdentity, Scope},
    snapshot::{Action, RequestModel, RequestView, Routed},
    upstream::{Credentials, Dialer, DialerOptions, Pools},
};

/// The result of compiling these objects of namespace `ns`, beside a class and a Gateway `gw` of Tollgate.
struct World {
    objects: Objects,
    compiled: Compiled,
}

impl World {
    fn new(objects: &[(Kind, &str, Value)]) -> Self {
        let mut harness = Harness::synced();
        let mut class = object("c", 1, json!({"spec": {"controllerName": "tollgate.dev/gateway"}}));
        class.metadata.namespace = None;
        harness.event(Kind::GatewayClass, Event::Apply(class));
        harness.event(Kind::Gateway, Event::Apply(object("gw", 1, json!({"spec": gateway()}))));
        for (number, (kind, name, spec)) in (2..).zip(objects) {
            let mut object = object(name, number, json!({"spec": spec}));
            object.metadata.generation = Some(7);
            harness.event(*kind, Event::Apply(object));
        }
        let objects = harness.published().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let pools = Arc::new(Pools::new(Dialer::new(DialerOptions::default())));
        let credentials = Arc::new(Credentials::new(Arc::clone(&pools), Arc::clone(&metrics), Arc::new(|_| None)));
        let scope = Scope::Cluster;
        let env = Env {
            metrics,
            pools,
            balance: Arc::default(),
            credentials,
            health: tokio::sync::watch::channel(Arc::default()).1,
            models: tokio::sync::watch::channel(crate::dialect::ModelTable::built_in()).1,
            scope,
            controller: Controller::default(),
            install: None,
            exposed: false,
            identity: PodIdentity::default(),
        };
        let compiled = compile::compile(&objects, &env, 1);
        Self { objects, compiled }
    }

    /// The result of a GET of `path` at host `h`.
    fn at(&self, path: &str) -> String {
        let (headers, method) = (HeaderMap::new(), Method::GET);
        let view = RequestView {
            host: "h",
            path,
            query: None,
            method: &method,
            headers: &headers,
            model: RequestModel::Unread,
        };
        match self.compiled.snapshot.route(80, &view) {
            Routed::Rule(matched) => match &matched.rule.action {
                Action::Forward(_) => "forward".to_owned(),
                Action::Redirect(_) => "redirect".to_owned(),
                Action::Unavailable(reason) => format!("{} {}", reason.status, reason.why),
            },
            Routed::NoRule(_) => "no rule".to_owned(),
            Routed::NoListener => "no listener".to_owned(),
            Routed::NeedsModel => "needs the model".to_owned(),
        }
    }

    /// Some condition of the object has all of `parts`, with the generation of the object.
    #[track_caller]
    fn says(&self, kind: Kind, name: &str, parts: &[&str]) {
        let report = self.compiled.reports.find(kind, &key(name)).unwrap_or_else(|| panic!("no report of {name}"));
        assert_eq!(report.generation, Some(7));
        let own = report.conditions.iter();
        let parents = report.parents.iter().flat_map(|p| &p.conditions);
        let listeners = report.listeners.iter().flat_map(|l| &l.conditions);
        let lines: Vec<String> = own
            .chain(parents)
            .chain(listeners)
            .map(|c| format!("{}={}/{}: {}", c.kind, c.status, c.reason, c.message))
            .collect();
        let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no condition says {parts:?}: {lines:#?}");
    }
}

fn gateway() -> Value {
    let routes = json!({"namespaces": {"from": "All"}});
    json!({
        "gatewayClassName": "c",
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": routes}],
    })
}

const REDIRECT: &str = r#"{"type": "RequestRedirect", "requestRedirect": {"hostname": "x"}}"#;

/// A rule of `path` that redirects, with more fields.
fn rule(path: &str, more: Value) -> Value {
    let redirect: Value = serde_json::from_str(REDIRECT).unwrap();
    let mut rule = json!({"matches": [{"path": {"value": path}}], "filters": [redirect]});
    let Value::Object(more) = more else { panic!("no fields: {more}") };
    rule.as_object_mut().unwrap().extend(more);
    rule
}

fn route(rules: Vec<Value>) -> Value {
    let mut route = json!({"parentRefs": [{"name": "gw"}]});
    route["rules"] = Value::Array(rules);
    route
}

/// A rule with `more` replies with 500 for a reason that contains `why`; its neighbour is served.
#[track_caller]
fn closes_its_rule(more: Value, why: &str) {
    let rules = vec![rule("/fine", json!({})), rule("/new", more.clone())];
    let world = World::new(&[(Kind::HttpRoute, "r", route(rules))]);
    assert_eq!(world.objects.rejected, []);
    assert_eq!(world.at("/fine"), "redirect", "{more}");
    let answer = world.at("/new");
    assert!(answer.starts_with("500 ") && answer.contains(why), "{more}: {answer}");
    world.says(Kind::HttpRoute, "r", &["Accepted=true"]);
    world.says(Kind::HttpRoute, "r", &["PartiallyInvalid=true/UnsupportedValue: Dropped Rule(s)", "rule 1", why]);
    // Where there is no other rule, the route is not accepted.
    let world = World::new(&[(Kind::HttpRoute, "r", route(vec![rule("/new", more)]))]);
    assert!(world.at("/new").starts_with("500 "));
    world.says(Kind::HttpRoute, "r", &["Accepted=false/UnsupportedValue", why]);
}

#[tokio::test]
async fn an_unknown_filter_closes_its_rule_and_no_other() {
    let known = json!({"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "backendRef": {"name": "a"}}});
    closes_its_rule(json!({"filters": [known.clone()]}), "filter ExternalAuth is not supported yet");
    let filter = json!({"type": "Quota", "quota": {"protocol": "HTTP"}});
    closes_its_rule(json!({"filters": [filter.clone()]}), "filters[0].type: unknown variant `Quota`");
    let redirect: Value = serde_json::from_str(REDIRECT).unwrap();
    closes_its_rule(json!({"filters": [redirect, filter.clone(), filter.clone()]}), "filters[1].type");
    let reference = json!({"name": "s", "port": 80, "filters": [filter]});
    closes_its_rule(json!({"filters": [], "backendRefs": [reference]}), "backendRefs[0].filters[0].type");
    let scheme = json!({"type": "RequestRedirect", "requestRedirect": {"scheme": "gopher"}});
    closes_its_rule(json!({"filters": [scheme]}), "filters[0].requestRedirect.scheme");
    let path = json!({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceSuffix", "replaceSuffix": "/"}}});
    closes_its_rule(json!({"filters": [path]}), "filters[0].urlRewrite.path");
}

#[tokio::test]
async fn an_unknown_field_of_a_rule_closes_it_unless_it_only_shapes() {
    closes_its_rule(json!({"authorization": {"allow": []}}), "authorization: unknown field");
    let filter = json!({"type": "RequestRedirect", "requestRedirect": {"hostname": "x", "onlyIf": "y"}});
    closes_its_rule(json!({"filters": [filter]}), "filters[0].requestRedirect.onlyIf: unknown field");
    for (shaping, why) in [
        (json!({"sessionPersistence": {"type": "Cookie"}}), "sessionPersistence, which is not acted on"),
        (json!({"retry": {"attempts": 2, "hedge": true}}), "rules[0].retry.hedge: unknown field"),
        (json!({"retry": {"codes": ["5xx"]}}), "rules[0].retry.codes[0]"),
        (json!({"retry": {"codes": [302]}}), "rule 0: retry.codes: 302 is not a status from 400 to 599"),
        (json!({"retry": {"backoff": "soon"}}), "rule 0: retry.backoff: 'soon': not a duration"),
    ] {
        let world = World::new(&[(Kind::HttpRoute, "r", route(vec![rule("/new", shaping)]))]);
        assert_eq!(world.at("/new"), "redirect", "{why}");
        world.says(Kind::HttpRoute, "r", &["Accepted=true"]);
        world.says(Kind::HttpRoute, "r", &["PartiallyInvalid=true/UnsupportedValue", why]);
    }
}

#[tokio::test]
async fn default_gateways_are_not_attached_to_and_that_is_reported() {
    let mut spec = route(vec![rule("/new", json!({}))]);
    spec["useDefaultGateways"] = json!("All");
    let world = World::new(&[(Kind::HttpRoute, "r", spec)]);
    assert_eq!(world.at("/new"), "redirect");
    let why = "useDefaultGateways, which is not acted on";
    world.says(Kind::HttpRoute, "r", &["Accepted=true"]);
    world.says(Kind::HttpRoute, "r", &["PartiallyInvalid=true/UnsupportedValue", why]);
}

#[tokio::test]
async fn a_match_that_is_not_known_matches_nothing() {
    for (unknown, why) in [
        (json!({"path": {"type": "Glob", "value": "/new"}}), "path.type: unknown variant"),
        (json!({"path": {"value": "/new"}, "method": "QUERY"}), "method: unknown variant"),
        (
            json!({"path": {"value": "/new"}, "headers": [{"name": "a", "value": "b", "type": "Prefix"}]}),
            "headers[0].type",
        ),
        (
            json!({"path": {"value": "/new"}, "queryParams": [{"name": "a", "value": "b", "type": "Any"}]}),
            "queryParams[0]",
        ),
        (json!({"path": {"value": "/new"}, "cookies": [{"name": "a"}]}), "cookies: unknown field"),
    ] {
        let known = json!({"path": {"value": "/known"}});
        let both = rule("/", json!({"matches": [unknown.clone(), known]}));
        let world = World::new(&[(Kind::HttpRoute, "r", route(vec![both, rule("/fine", json!({}))]))]);
        assert_eq!((world.at("/new").as_str(), world.at("/known").as_str()), ("no rule", "redirect"), "{unknown}");
        assert_eq!(world.at("/fine"), "redirect");
        world.says(Kind::HttpRoute, "r", &["PartiallyInvalid=true/UnsupportedValue", "matches[0]", why]);
        // Having no known match does not mean matching every request.
        let only = rule("/", json!({"matches": [unknown.clone()]}));
        let world = World::new(&[(Kind::HttpRoute, "r", route(vec![only]))]);
        assert_eq!((world.at("/new").as_str(), world.at("/").as_str()), ("no rule", "no rule"), "{unknown}");
        world.says(Kind::HttpRoute, "r", &["Accepted=false/UnsupportedValue", why]);
    }
}

#[tokio::test]
async fn a_route_is_not_served_for_more_hosts_and_parents_than_it_asks_for() {
    let mut hosts = route(vec![rule("/x", json!({}))]);
    hosts["hostnames"] = json!([{"pattern": "a*"}]);
    let world = World::new(&[(Kind::HttpRoute, "r", hosts)]);
    assert_eq!(world.at("/x"), "no rule");
    world.says(Kind::HttpRoute, "r", &["Accepted=false", "spec.hostnames[0]"]);
    let mut parent = route(vec![rule("/x", json!({}))]);
    parent["parentRefs"][0]["sectionName"] = json!({"prefix": "h"});
    let world = World::new(&[(Kind::HttpRoute, "r", parent)]);
    assert_eq!(world.at("/x"), "no rule");
    world.says(Kind::HttpRoute, "r", &["Accepted=false/UnsupportedValue", "parentRefs[0].sectionName"]);
    let mut rules = route(vec![]);
    rules["rules"] = json!({"any": "thing"});
    World::new(&[(Kind::HttpRoute, "r", rules)]).says(Kind::HttpRoute, "r", &["Accepted=false", "spec.rules"]);
}

#[tokio::test]
async fn a_listener_that_is_not_understood_is_closed_and_its_neighbours_are_served() {
    let more = |name: &str, port: u16, more: Value| {
        let mut listener = json!({"name": name, "port": port, "protocol": "HTTP"});
        listener.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        listener
    };
    for (unknown, why) in [
        (
            json!({"allowedRoutes": {"namespaces": {"from": "Trusted"}}}),
            "allowedRoutes.namespaces.from: unknown variant",
        ),
        (json!({"allowedRoutes": {"identities": []}}), "allowedRoutes.identities: unknown field"),
        (json!({"protocol": "HTTPS", "tls": {"mode": "Mutual"}}), "tls.mode: unknown variant"),
        (json!({"clientAuth": {}}), "clientAuth: unknown field"),
    ] {
        let listeners = [more("new", 81, unknown.clone()), more("fine", 82, json!({}))];
        let spec = json!({"gatewayClassName": "c", "listeners": listeners});
        let route = json!({"parentRefs": [{"name": "gw"}, {"name": "it"}], "rules": [rule("/x", json!({}))]});
        let world = World::new(&[(Kind::Gateway, "it", spec), (Kind::HttpRoute, "r", route)]);
        assert_eq!(world.objects.rejected, []);
        assert!(!world.compiled.snapshot.ports.contains_key(&81), "{unknown}");
        assert!(world.compiled.snapshot.ports.contains_key(&82), "{unknown}");
        world.says(Kind::Gateway, "it", &["Accepted=false/UnsupportedValue", "spec.listeners[0]", why]);
        world.says(Kind::Gateway, "it", &["Accepted=true/ListenersNotValid", "not served: new"]);
    }
    // Fields below spec.tls protect all of them; the others are only reported in the status.
    for (field, open) in [("tls", false), ("defaultScope", true)] {
        let mut spec = json!({"gatewayClassName": "c", "listeners": [more("one", 81, json!({}))]});
        spec[field] = json!({"new": "thing"});
        let world = World::new(&[(Kind::Gateway, "it", spec)]);
        assert_eq!(world.compiled.snapshot.ports.contains_key(&81), open, "{field}");
        world.says(Kind::Gateway, "it", &["Accepted=", &format!("spec.{field}"), "unknown field"]);
    }
    let spec = json!({"gatewayClassName": "c", "listeners": {"from": "ListenerSets"}});
    World::new(&[(Kind::Gateway, "it", spec)]).says(Kind::Gateway, "it", &["Accepted=false/Invalid", "spec.listeners"]);
}

#[tokio::test]
async fn a_policy_that_is_not_understood_closes_its_rules() {
    for (unknown, why) in [
        (json!({"basicAuth": {}}), "spec.basicAuth: unknown field"),
        (json!({"jwtAuth": {}}), "spec.jwtAuth: unknown field"),
        (json!({"ratelimit": {}}), "spec.ratelimit: unknown field; did you mean `rateLimit`?"),
        (json!({"promptGuard": {}}), "did you mean `spec.ai.promptGuard`?"),
        (json!({"ai": {"promptguard": {}}}), "spec.ai.promptguard: unknown field; did you mean `promptGuard`?"),
        (json!({"ai": {"routeType": "EMBEDDINGS_ONLY"}}), "spec.ai.routeType: unknown variant"),
        (json!({"timeouts": {"request": {"seconds": 5}}}), "spec.timeouts.request"),
    ] {
        let mut spec =
            json!({"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r"}]});
        spec.as_object_mut().unwrap().extend(unknown.as_object().unwrap().clone());
        let route = route(vec![rule("/x", json!({}))]);
        let world = World::new(&[(Kind::HttpRoute, "r", route), (Kind::TrafficPolicy, "p", spec)]);
        assert_eq!(world.objects.rejected, []);
        let answer = world.at("/x");
        assert!(answer.starts_with("500 ") && answer.contains(why), "{unknown}: {answer}");
        world.says(Kind::TrafficPolicy, "p", &["Accepted=false/Unsupported", why]);
    }
}

#[tokio::test]
async fn a_grant_that_is_not_understood_permits_nothing() {
    let from = json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "x"}]);
    for to in
        [json!([{"group": "", "kind": "Service", "port": 80}]), json!([{"group": "", "kind": "Service", "name": 1}])]
    {
        let world = World::new(&[(Kind::ReferenceGrant, "g", json!({"from": from, "to": to}))]);
        assert!(world.objects.reference_grants.is_empty(), "{to}");
        assert_eq!(world.objects.rejected.len(), 1);
    }
}

#[tokio::test]
async fn a_class_with_parameters_that_are_not_understood_is_not_accepted() {
    let mut harness = Harness::synced();
    let spec = json!({"controllerName": "tollgate.dev/gateway", "parametersRef": {"name": "x", "kind": 3}});
    let mut class = object("c", 1, json!({"spec": spec}));
    class.metadata.namespace = None;
    harness.event(Kind::GatewayClass, Event::Apply(class));
    let objects = harness.published().unwrap();
    assert_eq!(objects.gateway_classes.len(), 1);
    let unread = objects.unread(Kind::GatewayClass, &ObjectKey::cluster("c"));
    assert!(unread.iter().any(|part| part.below("parametersRef").is_some()), "{unread:?}");
}

#[tokio::test]
async fn a_status_that_is_not_understood_is_served_and_not_written() {
    let mut harness = Harness::synced();
    let status = json!({"parents": [{"parentRef": {"name": "gw"}, "controllerName": 5, "conditions": []}]});
    harness.event(Kind::HttpRoute, Event::Apply(object("r", 1, json!({"spec": route(vec![]), "status": status}))));
    let objects = harness.published().unwrap();
    assert_eq!(names(&objects.http_routes), ["r"]);
    assert!(objects.unread(Kind::HttpRoute, &key("r")).iter().any(crate::compile::Unread::is_status));
}
