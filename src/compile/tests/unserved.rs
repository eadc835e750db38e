//! Objects of the Gateway API's kinds that are not served: the reports about them.

use super::*;
use crate::api::ObjectKey;

const X_GROUP: &str = "gateway.networking.x-k8s.io/v1alpha1";

fn class(name: &str, controller: &str) -> String {
    document(GATEWAY_API, "GatewayClass", name, &format!("spec: {{controllerName: {controller}}}"))
}

/// A route of any kind with these parents.
fn route_of(kind: &str, parents: &str) -> String {
    let version =
        if matches!(kind, "TCPRoute" | "UDPRoute") { "gateway.networking.k8s.io/v1alpha2" } else { GATEWAY_API };
    document(version, kind, "apps/r", &format!("spec: {{parentRefs: [{parents}], rules: [{{future: [1, 2]}}]}}"))
}

fn set_of(version: &str, kind: &str, key: &str, gateway: &str) -> String {
    let listeners = "listeners: [{name: more, protocol: HTTP, port: 8081}]";
    document(version, kind, key, &format!("spec: {{parentRef: {{name: {gateway}, namespace: infra}}, {listeners}}}"))
}

/// Gateways `ours` and `theirs`, with classes of Tollgate and of another controller.
fn world(documents: &[String]) -> World {
    let theirs = open_gateway("infra/theirs").replace("gatewayClassName: c", "gatewayClassName: other");
    let mut all = vec![class("c", DEFAULT_CONTROLLER_NAME), class("other", "example.com/other")];
    all.extend([open_gateway("infra/ours"), theirs]);
    all.extend_from_slice(documents);
    World::new(&all)
}

fn unattached(world: &World) -> Vec<(Kind, String, String)> {
    let all = world.compiled.reports.unattached.iter();
    all.map(|u| (u.kind, u.key.to_string(), u.message.clone())).collect()
}

#[test]
fn a_route_of_a_kind_that_is_not_served_is_refused_by_our_gateways_only() {
    let parents = "{name: ours, namespace: infra, sectionName: http}, {name: theirs, namespace: infra}, \
                   {group: '', kind: Service, name: ours, namespace: infra}, {name: gone, namespace: infra}";
    for kind in ["GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"] {
        let files = world(&[route_of(kind, parents)]);
        for world in [files.in_cluster(), world(&[route_of(kind, parents)])] {
            let [(unserved, key, message)] = &unattached(&world)[..] else { panic!("{:?}", unattached(&world)) };
            assert_eq!((unserved.as_str(), key.as_str()), (kind, "apps/r"));
            assert_eq!(
                *message,
                format!("{kind}s are not supported: the listeners of Gateway infra/ours serve HTTPRoutes only")
            );
            let expected = format!("infra/ours#http Accepted=False/NotAllowedByListeners: {message}\n");
            assert_eq!(world.conditions(*unserved, key), expected, "{kind}");
        }
    }
    let theirs = world(&[route_of("GRPCRoute", "{name: theirs, namespace: infra}")]).in_cluster();
    assert_eq!(unattached(&theirs), []);
    assert_eq!(theirs.conditions(Kind::GrpcRoute, "apps/r"), "");
}

#[test]
fn a_set_of_listeners_is_refused_and_routes_of_it_are_listed() {
    for (version, kind) in [(GATEWAY_API, "ListenerSet"), (X_GROUP, "XListenerSet")] {
        let group = version.split_once('/').unwrap().0;
        let of = |set: &str| {
            let parent = format!("{{group: {group}, kind: {kind}, name: {set}}}");
            route(
                &format!("apps/{set}"),
                &format!("parentRefs: [{parent}], rules: [{{backendRefs: [{}]}}]", to("good")),
            )
        };
        let sets = [set_of(version, kind, "apps/set", "ours"), set_of(version, kind, "apps/theirs", "theirs")];
        let documents = [&sets[..], &[of("set"), of("theirs"), good_backend("apps/good")]].concat();
        let world = world(&documents).in_cluster();
        let told = unattached(&world);
        let [(_, route, of_route), (set, key, of_set)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((route.as_str(), key.as_str(), set.as_str()), ("apps/set", "apps/set", kind));
        assert_eq!(*of_route, format!("parentRef to {kind} set: {kind}s are not supported; name the Gateway"));
        world.reports(*set, key, &["Accepted=False/NotAllowed: ", of_set]);
        world.reports(*set, key, &["Programmed=False/Invalid: ", "Gateway infra/ours"]);
        assert!(world.compiled.reports.find(*set, &ObjectKey::new("apps", "theirs")).is_none());
    }
}
