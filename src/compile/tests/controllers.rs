//! Two installations in one cluster: each serves the Gateways of its own classes, and leaves the other's objects alone.

use super::{exposed::env, *};
use crate::api::ObjectKey;

const OTHER: &str = "team-b.example.com/gateway";

fn class(name: &str, controller: &str) -> String {
    document(GATEWAY_API, "GatewayClass", name, &format!("spec: {{controllerName: {controller}}}"))
}

fn gateway_of(class: &str, name: &str) -> String {
    gateway(&format!("apps/{name}"), "{name: http, protocol: HTTP, port: 8080}")
        .replace("gatewayClassName: c", &format!("gatewayClassName: {class}"))
        .replace("metadata: {", &format!("metadata: {{uid: {name}, "))
}

fn route_of(gateway: &str, name: &str, backend: &str, more: &str) -> String {
    let parents = gateway.split(' ').map(|gateway| format!("{{name: {gateway}}}")).collect::<Vec<_>>().join(", ");
    let rule = format!("{{{more}backendRefs: [{}]}}", to(backend));
    route(&format!("apps/{name}"), &format!("parentRefs: [{parents}], rules: [{rule}]"))
}

fn installed(controller: &str) -> Env {
    let mut install = (*env().install.unwrap()).clone();
    install.namespace = format!("system-{}", controller.len());
    Env { controller: controller.parse().unwrap(), install: Some(Arc::new(install)), ..env() }
}

/// Gateways `a` of the default controller and `b` of another, each with a route, a Backend and a policy of its own, and
/// one of each for both and for none. Returns what each controller makes of it.
fn both() -> [World; 2] {
    let named = "filters: [{type: ExtensionRef, extensionRef: {group: gateway.kgateway.dev, kind: TrafficPolicy, \
                 name: named-b}}], ";
    let at = |kind: &str, name: &str| {
        format!(
            "targetRefs: [{{group: gateway.networking.k8s.io, kind: {kind}, name: {name}}}], timeouts: {{request: 1s}}"
        )
    };
    let mut documents = vec![class("a", DEFAULT_CONTROLLER_NAME), class("b", OTHER)];
    documents.extend(["a", "b"].map(|name| gateway_of(name, name)));
    documents.extend(["a", "b", "both", "none"].map(|name| good_backend(&format!("apps/{name}"))));
    documents.extend([
        route_of("a", "a", "a", ""),
        route_of("b", "b", "b", named),
        route_of("a b", "both", "both", ""),
    ]);
    documents.extend([
        policy("apps/of-a", &at("Gateway", "a")),
        policy("apps/of-b", &at("Gateway", "b")),
        policy("apps/route-b", &at("HTTPRoute", "b")),
        policy("apps/of-both", &at("HTTPRoute", "both")),
        policy("apps/named-b", "timeouts: {request: 1s}"),
        policy("apps/none", "timeouts: {request: 1s}"),
    ]);
    let compiled = |controller| World::of(World::new(&documents).objects, &installed(controller));
    [compiled(DEFAULT_CONTROLLER_NAME), compiled(OTHER)]
}

fn reported(world: &World, kind: Kind) -> Vec<&str> {
    world.compiled.reports.objects.iter().filter(|r| r.kind == kind).map(|r| r.key.name.as_str()).collect()
}

#[test]
fn each_reports_its_own_objects() {
    let [ours, theirs] = both();
    for (kind, by_us, by_them) in [
        (Kind::GatewayClass, vec!["a"], vec!["b"]),
        (Kind::Gateway, vec!["a"], vec!["b"]),
        (Kind::HttpRoute, vec!["a", "both"], vec!["b", "both"]),
        // Of what both use, the conditions are those of the first by name; of what none uses, both say the same.
        (Kind::Backend, vec!["a", "none"], vec!["b", "both", "none"]),
        (Kind::TrafficPolicy, vec!["none", "of-a", "of-both"], vec!["named-b", "none", "of-b", "of-both", "route-b"]),
    ] {
        assert_eq!((reported(&ours, kind), reported(&theirs, kind)), (by_us, by_them), "{kind}");
    }
    for (world, gateway) in [(&ours, "apps/a"), (&theirs, "apps/b")] {
        for report in world.compiled.reports.objects.iter().filter(|r| r.key.name.ends_with("both")) {
            let parents: Vec<String> = report.parents.iter().map(|p| p.key.to_string()).collect();
            assert!(report.kind == Kind::Backend || parents == [gateway], "{parents:?}");
        }
    }
}

#[test]
fn each_leaves_the_others_services_alone() {
    let [ours, theirs] = both();
    let mut objects = ours.objects;
    for world in [&ours.compiled, &theirs.compiled] {
        for change in &world.services {
            let service = serde_json::from_value(change.body.clone().unwrap()).unwrap();
            objects.services.insert(change.key.clone(), Arc::new(service));
        }
    }
    let keys: Vec<String> = objects.services.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["apps/a", "apps/b"]);
    let managed_by = |name| {
        let labels = objects.services[&ObjectKey::new("apps", name)].metadata.labels.clone();
        labels.unwrap().remove("app.kubernetes.io/managed-by").unwrap()
    };
    assert_eq!((managed_by("a").as_str(), managed_by("b").as_str()), ("tollgate", "gateway.team-b.example.com"));
    for controller in [DEFAULT_CONTROLLER_NAME, OTHER] {
        let world = World::of(objects.clone(), &installed(controller));
        assert_eq!(world.compiled.services, [], "{controller}");
    }
    // A Gateway that changes to the other's class: one deletes its Service, so that the other can make its own.
    let gateway = Arc::make_mut(objects.gateways.get_mut(&ObjectKey::new("apps", "a")).unwrap());
    gateway.spec.gateway_class_name = "b".into();
    let changes = |objects: &Objects, controller| {
        let services = World::of(objects.clone(), &installed(controller)).compiled.services;
        services.iter().map(|c| (c.key.name.clone(), c.body.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(changes(&objects, DEFAULT_CONTROLLER_NAME), [("a".to_owned(), false)]);
    assert_eq!(changes(&objects, OTHER), [], "it waits for that");
    objects.services.remove(&ObjectKey::new("apps", "a"));
    assert_eq!(changes(&objects, OTHER), [("a".to_owned(), true)]);
}
