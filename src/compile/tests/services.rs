//! Services as backends: from ports and EndpointSlices to endpoints.

use super::*;

fn service(spec: &str) -> String {
    document("v1", "Service", "s", &format!("spec: {{{spec}}}"))
}

fn slice(key: &str, service: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {key}, \
         labels: {{kubernetes.io/service-name: {service}}}}}, addressType: IPv4, {rest}}}\n"
    )
}

/// The endpoints for a route to port 80 of the Service `s`.
fn world(documents: &[String]) -> World {
    let mut all = vec![open_gateway("gw"), simple_route("r", "/", "{name: s, port: 80}")];
    all.extend_from_slice(documents);
    World::new(&all)
}

#[test]
fn services_lead_to_their_ready_endpoints() {
    let ports = "ports: [{name: web, port: 80, targetPort: 8000}, {name: admin, port: 81}]";
    let web = "ports: [{name: web, port: 8000}, {name: admin, port: 8001}]";
    let endpoints = "endpoints: [{addresses: [10.0.0.2]}, {addresses: [10.0.0.1], conditions: {ready: true}}, \
                     {addresses: [10.0.0.3], conditions: {ready: false}}, {addresses: []}]";
    let full = slice("s-1", "s", &format!("{endpoints}, {web}"));
    let terminating = "{addresses: [10.0.0.7], conditions: {ready: false, serving: true, terminating: true}}";
    let gone = "{addresses: [10.0.0.8], conditions: {ready: false, serving: false, terminating: true}}";
    let none = "503 Service default/s has no ready endpoint";
    for (spec, slices, expected) in [
        (ports, vec![full.clone()], "http://10.0.0.1:8000,http://10.0.0.2:8000"),
        // Several slices are one set.
        (
            ports,
            vec![
                full.clone(),
                slice("s-2", "s", &format!("endpoints: [{{addresses: [10.0.0.2]}}, {{addresses: [10.0.0.9]}}], {web}")),
            ],
            "http://10.0.0.1:8000,http://10.0.0.2:8000,http://10.0.0.9:8000",
        ),
        (
            ports,
            vec![slice(
                "s-1",
                "s",
                &format!("endpoints: [{{addresses: [10.0.0.3], conditions: {{ready: false}}}}], {web}"),
            )],
            none,
        ),
        (ports, vec![slice("s-1", "s", &format!("{endpoints}, ports: [{{name: other, port: 1}}]"))], none),
        // A port without a name matches a port without a name.
        (
            "ports: [{port: 80}]",
            vec![slice("s-1", "s", &format!("{endpoints}, ports: [{{port: 9000}}]"))],
            "http://10.0.0.1:9000,http://10.0.0.2:9000",
        ),
        // In files, without any slice: the Service's own name or address.
        (ports, vec![], "http://s.default.svc:80"),
        ("clusterIP: 10.1.1.1, ports: [{port: 80, targetPort: 8000}]", vec![], "http://10.1.1.1:80"),
        ("clusterIP: None, ports: [{port: 80}]", vec![], "http://s.default.svc:80"),
        // Where none is ready, those that still serve; where one is, only that.
        (ports, vec![slice("s-1", "s", &format!("endpoints: [{terminating}, {gone}], {web}"))], "http://10.0.0.7:8000"),
        (
            ports,
            vec![slice("s-1", "s", &format!("endpoints: [{terminating}, {{addresses: [10.0.0.1]}}], {web}"))],
            "http://10.0.0.1:8000",
        ),
        // A slice of another Service is ignored.
        (ports, vec![slice("s-1", "t", &format!("{endpoints}, {web}"))], "http://s.default.svc:80"),
    ] {
        let world = world(&[vec![service(spec)], slices].concat());
        assert_eq!(world.at("http://h/"), expected, "{spec}");
        world.is_fine(Kind::HttpRoute, "default/r");
    }
}

#[test]
fn in_a_cluster_only_slices_count() {
    let world = world(&[
        service("ports: [{port: 80}]"),
        document(GATEWAY_API, "GatewayClass", "c", &format!("spec: {{controllerName: {DEFAULT_CONTROLLER_NAME}}}")),
    ]);
    assert_eq!(world.at("http://h/"), "http://s.default.svc:80");
    assert_eq!(world.in_cluster().at("http://h/"), "503 Service default/s has no ready endpoint");
}

#[test]
fn the_port_gives_the_protocol() {
    for (protocol, expected) in
        [("kubernetes.io/h2c", crate::upstream::Transport::Http2), ("http", crate::upstream::Transport::Http1)]
    {
        let world = world(&[service(&format!("ports: [{{port: 80, appProtocol: {protocol}}}]"))]);
        let rule = world.rule_at("http://h/");
        let Action::Forward(split) = &rule.action else { panic!("not forwarded") };
        let Backend::Http(http) = &split.backends()[0].backend else { panic!("no plain backend") };
        assert_eq!(http.endpoints[0].pool.origin().transport, expected, "{protocol}");
    }
}

#[test]
fn references_to_services_are_checked() {
    let ports = service("ports: [{port: 80}]");
    let app = |protocol: &str| service(&format!("ports: [{{port: 80, appProtocol: {protocol}}}]"));
    for (reference, documents, reason, message) in [
        ("{name: s, port: 80}", vec![], "BackendNotFound", "Service \"s\" not found in namespace \"default\""),
        ("{name: s, port: 80}", vec![good_backend("s")], "BackendNotFound", "a Backend has this name"),
        ("{name: s}", vec![ports.clone()], "BackendNotFound", "reference to Service default/s has no port"),
        ("{name: s, port: 81}", vec![ports.clone()], "BackendNotFound", "Service default/s has no port 81"),
        (
            "{name: s, port: 80}",
            vec![app("kubernetes.io/ws")],
            "UnsupportedProtocol",
            "appProtocol kubernetes.io/ws, which",
        ),
        ("{name: s, port: 80}", vec![app("https")], "UnsupportedProtocol", "use http or kubernetes.io/h2c"),
        (
            "{name: s, port: 80}",
            vec![service("type: ExternalName, externalName: web.example, ports: [{port: 80}]")],
            "InvalidKind",
            "Service default/s is of type ExternalName",
        ),
        ("{name: s, port: 80, namespace: other}", vec![ports], "RefNotPermitted", "reference to Service other/s"),
    ] {
        let world = World::new(&[vec![open_gateway("gw"), simple_route("r", "/", reference)], documents].concat());
        world.reports(Kind::HttpRoute, "default/r", &[&format!("ResolvedRefs=False/{reason}"), message]);
        world.reports(Kind::HttpRoute, "default/r", &["Accepted=True"]);
        let landed = world.at("http://h/");
        assert!(landed.starts_with("500 ") && landed.contains(message), "{reference}: {landed}");
    }
}

#[test]
fn what_must_be_reached_by_tls_is_not_reached_in_clear() {
    let tls = |target: &str| {
        let validation = "validation: {hostname: h, wellKnownCACertificates: System}";
        document(GATEWAY_API, "BackendTLSPolicy", "p", &format!("spec: {{targetRefs: [{target}], {validation}}}"))
    };
    let ports = "ports: [{name: web, port: 80}, {name: admin, port: 81}]";
    let to_service = "{group: '', kind: Service, name: s}";
    for (target, closed) in [
        (to_service.to_owned(), true),
        (to_service.replace('}', ", sectionName: web}"), true),
        (to_service.replace('}', ", sectionName: admin}"), false),
        (to_service.replace("name: s", "name: t"), false),
    ] {
        let world = world(&[service(ports), tls(&target)]);
        let landed = world.at("http://h/");
        assert_eq!(
            landed.starts_with("500 BackendTLSPolicy default/p asks for TLS to Service default/s"),
            closed,
            "{landed}"
        );
        // Towards each Gateway whose routes lead to the target, as the Gateway API requires; else of files alone.
        let used = !target.contains("name: t");
        let owner = if used { "default/gw " } else { "" };
        let line = format!("{owner}Accepted=False/UnsupportedValue: BackendTLSPolicy is not supported yet");
        assert!(world.conditions(Kind::BackendTlsPolicy, "default/p").starts_with(&line));
        if closed {
            world.reports(
                Kind::HttpRoute,
                "default/r",
                &["ResolvedRefs=False/UnsupportedProtocol", "nothing is sent in clear"],
            );
        } else {
            world.is_fine(Kind::HttpRoute, "default/r");
        }
        // In a cluster another controller may serve those.
        let class = document(GATEWAY_API, "GatewayClass", "c", "spec: {controllerName: tollgate.dev/gateway}");
        let cluster = self::world(&[service(ports), tls(&target), class]).in_cluster();
        assert_eq!(!cluster.conditions(Kind::BackendTlsPolicy, "default/p").is_empty(), used, "{target}");
    }
    // A policy that can't be read in full still protects.
    let broken = tls(to_service).replace("hostname: h", "hostname: h, pinnedKeys: []");
    let all = [open_gateway("gw"), simple_route("r", "/", "{name: s, port: 80}"), service(ports), broken];
    let world = World::with_rejected(&all);
    assert!(world.objects.rejected[0].error.contains("pinnedKeys: unknown field"), "{:?}", world.objects.rejected);
    assert!(world.at("http://h/").starts_with("500 BackendTLSPolicy"));
    // And a policy for a Backend.
    let target = "{group: gateway.kgateway.dev, kind: Backend, name: b}";
    let world = World::new(&[open_gateway("gw"), simple_route("r", "/", &to("b")), good_backend("b"), tls(target)]);
    assert!(world.at("http://h/").starts_with("500 BackendTLSPolicy"));
}
