//! Gateways: listeners, their conflicts, certificates, and which routes may attach.

use super::*;

const ALL: &str = "allowedRoutes: {namespaces: {from: All}}";

fn certificate(key: &str, host: &str) -> String {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let (crt, tls) = (serde_json::json!(made.cert.pem()), serde_json::json!(made.signing_key.serialize_pem()));
    secret(key, &format!("tls.crt: {crt}, tls.key: {tls}"))
}

/// A Gateway `default/gw` with `listeners`, a route `default/r` for every path, and `more`.
fn world(listeners: &str, more: &[String]) -> World {
    let mut documents = vec![gateway("gw", listeners), good_backend("good"), simple_route("r", "/", &to("good"))];
    documents.extend_from_slice(more);
    World::new(&documents)
}

#[test]
fn the_class_selects_the_controller() {
    let class = |controller: &str| {
        document(GATEWAY_API, "GatewayClass", "c", &format!("spec: {{controllerName: {controller}}}"))
    };
    let listener = "{name: http, protocol: HTTP, port: 8080}";
    let unknown = world(listener, &[]);
    assert_eq!(unknown.at("http://h/"), "default/good", "files need no class");
    assert_eq!(unknown.in_cluster().at("http://h/"), "no listener", "a cluster does");

    let ours = world(listener, &[class(DEFAULT_CONTROLLER_NAME)]);
    ours.reports(Kind::GatewayClass, "c", &["Accepted=True/Accepted"]);
    let report = ours.compiled.reports.objects.iter().find(|r| r.kind == Kind::GatewayClass).unwrap();
    assert_eq!(report.supported_features, features::Feature::supported());
    ours.is_fine(Kind::Gateway, "default/gw");
    assert_eq!(ours.attached("default/gw", "http"), 1);
    assert_eq!(ours.at("http://h/"), "default/good");
    assert_eq!(ours.in_cluster().at("http://h/"), "default/good");

    let other = world(listener, &[class("example.com/other")]);
    assert_eq!(other.at("http://h/"), "no listener");
    assert!(other.compiled.snapshot.ports.is_empty());
    for (kind, key) in [(Kind::GatewayClass, "c"), (Kind::Gateway, "default/gw"), (Kind::HttpRoute, "default/r")] {
        assert_eq!(other.conditions(kind, key), "", "{kind} {key} is another controller's to speak of");
    }
}

#[test]
fn a_gateway_that_asks_for_client_certificates_serves_nothing_by_https() {
    let both = "listeners: [{name: https, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: cert}]}}, \
                {name: http, protocol: HTTP, port: 8080}]";
    let gateway = |tls: &str| {
        format!(
            "{{apiVersion: {GATEWAY_API}, kind: Gateway, metadata: {{name: gw}}, \
             spec: {{gatewayClassName: c, {tls}{both}}}}}\n"
        )
    };
    let frontend =
        "tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}}, ";
    let made = |tls: &str| World::new(&[gateway(tls), certificate("cert", "h")]);
    assert_eq!(made("").at("https://h:8443/"), "no rule at default/gw https");
    let world = made(frontend);
    assert_eq!(world.at("https://h:8443/"), "no listener");
    assert_eq!(world.at("http://h:8080/"), "no rule at default/gw http", "plain listeners have no such check to miss");
    assert!(world.conditions(Kind::Gateway, "default/gw").contains("spec.tls.frontend"), "its condition names it");
}

#[test]
fn overlapping_host_names_are_reported_where_there_is_tls() {
    let https = |name: &str, host: &str| {
        format!(
            "{{name: {name}, protocol: HTTPS, port: 8443, hostname: '{host}', tls: {{certificateRefs: [{{name: cert}}]}}}}"
        )
    };
    let all = [https("wild", "*.example.com"), https("one", "a.example.com"), https("apart", "b.test")].join(", ");
    let world = world(
        &format!("{all}, {{name: http, protocol: HTTP, port: 80, hostname: a.example.com}}"),
        &[certificate("cert", "a.example.com")],
    );
    for (listener, other) in [("wild", "one"), ("one", "wild")] {
        let condition = format!("listener {listener} OverlappingTLSConfig=True/OverlappingHostnames");
        world.reports(Kind::Gateway, "default/gw", &[&condition, &format!("of listener {other}")]);
    }
    let conditions = world.conditions(Kind::Gateway, "default/gw");
    assert_eq!(conditions.matches("OverlappingTLSConfig").count(), 2, "{conditions}");
    world.is_fine(Kind::Gateway, "default/gw");
}

#[test]
fn of_two_gateways_with_one_port_the_older_or_first_by_name_is_served() {
    let listener = "listeners: [{name: http, protocol: HTTP, port: 8080}, {name: own, protocol: HTTP, port: PORT}]";
    let aged = |name: &str, created: &str, port: &str| {
        let created = if created.is_empty() { String::new() } else { format!(", creationTimestamp: {created}") };
        format!(
            "{{apiVersion: {GATEWAY_API}, kind: Gateway, metadata: {{name: {name}{created}}}, \
             spec: {{gatewayClassName: c, {}}}}}\n",
            listener.replace("PORT", port)
        )
    };
    let check = |a: &str, b: &str, first: &str, second: &str| {
        let world = World::new(&[aged("a", a, "8081"), aged("b", b, "8082")]);
        assert_eq!(world.at("http://h/"), format!("no rule at default/{first} http"));
        world.is_fine(Kind::Gateway, &format!("default/{first}"));
        let (second, first) = (format!("default/{second}"), format!("already used by Gateway default/{first}"));
        world.reports(Kind::Gateway, &second, &["listener http Accepted=False/PortUnavailable", "port 8080", &first]);
        world.reports(Kind::Gateway, &second, &["listener http Programmed=False"]);
        // Its other listener is still served.
        world.reports(Kind::Gateway, &second, &["listener own Programmed=True"]);
        world.reports(Kind::Gateway, &second, &["Accepted=True/ListenersNotValid", "not served: http"]);
        assert_eq!(world.compiled.snapshot.ports.keys().copied().collect::<Vec<_>>(), [8080, 8081, 8082]);
    };
    check("", "", "a", "b");
    check("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "b", "a");
    check("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "a", "b");
    check("", "2026-01-01T00:00:00Z", "b", "a");
}

#[test]
fn listeners_of_one_gateway_share_a_port_by_host_name() {
    let world = world(
        "{name: a, protocol: HTTP, port: 8080, hostname: a.example}, \
         {name: any, protocol: HTTP, port: 8080}, \
         {name: wild, protocol: HTTP, port: 8080, hostname: '*.example'}",
        &[],
    );
    for good in ["a", "any", "wild"] {
        world.reports(Kind::Gateway, "default/gw", &[&format!("listener {good} Programmed=True")]);
        world.reports(Kind::Gateway, "default/gw", &[&format!("listener {good} Conflicted=False/NoConflicts")]);
    }
    for (url, listener) in [("http://a.example/", "a"), ("http://b.example/", "wild"), ("http://c/", "any")] {
        assert_eq!(world.at(url), "default/good");
        let uri: Uri = url.parse().unwrap();
        let port = &world.compiled.snapshot.ports[&8080];
        assert_eq!(port.listeners.matching(uri.host().unwrap()).next().unwrap().name, listener);
    }
}

#[test]
fn of_listeners_that_want_the_same_none_is_served() {
    let tls = "protocol: HTTPS, tls: {certificateRefs: [{name: s}]}";
    for (one, two, reason) in [
        ("protocol: HTTP, hostname: a.example", "protocol: HTTP, hostname: A.EXAMPLE", "HostnameConflict"),
        ("protocol: HTTP", "protocol: HTTP", "HostnameConflict"),
        ("protocol: HTTP, hostname: b.example", tls, "ProtocolConflict"),
    ] {
        let listeners = format!(
            "{{name: one, port: 8080, {one}}}, {{name: two, port: 8080, {two}}}, \
             {{name: own, protocol: HTTP, port: 8081}}"
        );
        let world = world(&listeners, &[certificate("s", "b.example")]);
        for (name, other) in [("one", "two"), ("two", "one")] {
            let conflicted = format!("listener {name} Conflicted=True/{reason}");
            world.reports(Kind::Gateway, "default/gw", &[&conflicted, &format!("listener {other}"), "8080", "neither"]);
            world.reports(Kind::Gateway, "default/gw", &[&format!("listener {name} Accepted=False/{reason}")]);
            world.reports(Kind::Gateway, "default/gw", &[&format!("listener {name} Programmed=False/Invalid")]);
        }
        world.reports(Kind::Gateway, "default/gw", &["Accepted=True/ListenersNotValid: not served: one, two"]);
        assert_eq!(world.compiled.snapshot.ports.keys().collect::<Vec<_>>(), [&8081], "{reason}");
    }
}

#[test]
fn unserved_listeners_report_why_and_leave_the_others_alone() {
    let elsewhere = "{name: s, namespace: other}";
    let from = "{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}";
    let tls = |reference: &str| format!("protocol: HTTPS, port: 8443, tls: {{certificateRefs: [{reference}]}}");
    let bad = |crt: &str| vec![secret("s", &format!("tls.crt: '{crt}', tls.key: x"))];
    let cert = |key: &str| certificate(key, "a.example");
    let granted = |from: &str, to: &str| vec![cert("other/s"), grant("other/g", from, to)];
    for (listener, more, expected) in [
        ("protocol: TCP, port: 8443".to_owned(), vec![], "Accepted=False/UnsupportedProtocol"),
        (
            "protocol: HTTP, port: 8081, hostname: '*'".to_owned(),
            vec![],
            "Accepted=False/UnsupportedValue: hostname '*'",
        ),
        ("protocol: HTTP, port: 0".to_owned(), vec![], "Accepted=False/PortUnavailable"),
        ("protocol: HTTP, port: 70000".to_owned(), vec![], "Accepted=False/PortUnavailable"),
        ("protocol: HTTPS, port: 8443".to_owned(), vec![], "ResolvedRefs=False/InvalidCertificateRef"),
        (
            "protocol: HTTPS, port: 8443, tls: {mode: Passthrough, certificateRefs: [{name: s}]}".to_owned(),
            vec![cert("s")],
            "ResolvedRefs=False/InvalidCertificateRef",
        ),
        (tls("{name: s}"), vec![], "ResolvedRefs=False/InvalidCertificateRef: Secret default/s does not exist"),
        (
            tls("{name: s}"),
            bad("no certificate"),
            "ResolvedRefs=False/InvalidCertificateRef: Secret default/s: tls.crt holds no certificate",
        ),
        (
            tls("{name: s}"),
            vec![secret("s", "other: x")],
            "ResolvedRefs=False/InvalidCertificateRef: Secret default/s: has no key \"tls.crt\"",
        ),
        (
            tls("{name: s, kind: ConfigMap}"),
            vec![cert("s")],
            "ResolvedRefs=False/InvalidCertificateRef: certificateRefs: only a Secret is supported",
        ),
        (
            tls(elsewhere),
            vec![cert("other/s")],
            "ResolvedRefs=False/RefNotPermitted: reference to Secret other/s in another namespace is not allowed",
        ),
        (tls(elsewhere), granted(from, "{group: '', kind: Secret, name: t}"), "ResolvedRefs=False/RefNotPermitted"),
        (
            tls(elsewhere),
            granted(&from.replace("kind: Gateway", "kind: HTTPRoute"), "{group: '', kind: Secret}"),
            "ResolvedRefs=False/RefNotPermitted",
        ),
    ] {
        let world = world(&format!("{{name: bad, {listener}}}, {{name: http, protocol: HTTP, port: 8080}}"), &more);
        world.reports(Kind::Gateway, "default/gw", &[&format!("listener bad {expected}")]);
        world.reports(Kind::Gateway, "default/gw", &["listener bad Programmed=False/Invalid"]);
        world.reports(Kind::Gateway, "default/gw", &["Accepted=True/ListenersNotValid: not served: bad"]);
        world.reports(Kind::Gateway, "default/gw", &["listener http Programmed=True"]);
        assert_eq!(world.compiled.snapshot.ports.keys().collect::<Vec<_>>(), [&8080], "{listener}");
        assert_eq!(world.at("http://h/"), "default/good");
    }
    // And with a grant.
    for to in ["{group: '', kind: Secret}", "{group: '', kind: Secret, name: s}"] {
        let world = world(&format!("{{name: tls, {}}}", tls(elsewhere)), &granted(from, to));
        world.is_fine(Kind::Gateway, "default/gw");
        assert!(world.compiled.snapshot.ports[&8443].tls.is_some());
    }
}

#[test]
fn a_gateway_without_any_good_listener_is_not_accepted() {
    let world = world("{name: bad, protocol: TCP, port: 8080}", &[]);
    world.reports(Kind::Gateway, "default/gw", &["Accepted=False/ListenersNotValid: not served: bad"]);
    world.reports(Kind::Gateway, "default/gw", &["Programmed=False/Invalid"]);
    assert!(world.compiled.snapshot.ports.is_empty());
}

#[test]
fn listeners_limit_the_namespaces_of_routes() {
    let namespaces = [
        document("v1", "Namespace", "ignored", "spec: {}")
            .replace("{name: ignored}", "{name: red, labels: {team: red}}"),
        document("v1", "Namespace", "ignored", "spec: {}")
            .replace("{name: ignored}", "{name: blue, labels: {team: blue, ai: 'yes'}}"),
    ];
    let selector = |s: &str| format!("from: Selector, selector: {{{s}}}");
    let expression = |key: &str, operator: &str, values: &str| {
        selector(&format!("matchExpressions: [{{key: {key}, operator: {operator}{values}}}]"))
    };
    let name = "kubernetes.io/metadata.name";
    for (allowed, expected) in [
        (String::new(), "default"),
        ("from: Same".to_owned(), "default"),
        ("from: All".to_owned(), "default red blue"),
        (selector("matchLabels: {team: red}"), "red"),
        (selector("matchLabels: {team: blue, ai: 'yes'}"), "blue"),
        (selector("matchLabels: {team: red, ai: 'yes'}"), ""),
        (selector(&format!("matchLabels: {{{name}: default}}")), "default"),
        (expression("team", "In", ", values: [red, blue]"), "red blue"),
        (expression("team", "NotIn", ", values: [red]"), "default blue"),
        (expression("ai", "Exists", ""), "blue"),
        (expression("ai", "DoesNotExist", ""), "default red"),
        (expression("team", "Like", ", values: [r]"), ""),
        // A missing selector selects nothing: such a mistake must not open the listener.
        ("from: Selector".to_owned(), ""),
    ] {
        let mut documents = vec![gateway(
            "gw",
            &format!("{{name: http, protocol: HTTP, port: 8080, allowedRoutes: {{namespaces: {{{allowed}}}}}}}"),
        )];
        documents.extend(namespaces.clone());
        let all = ["default", "red", "blue"];
        for ns in all {
            documents.push(good_backend(&format!("{ns}/b")));
            documents.push(simple_route(&format!("{ns}/r"), &format!("/{ns}"), &to("b")));
        }
        let world = World::new(&documents);
        let served: Vec<&str> =
            all.into_iter().filter(|ns| world.at(&format!("http://h/{ns}")) == format!("{ns}/b")).collect();
        assert_eq!(served.join(" "), expected, "{allowed}");
        assert_eq!(world.attached("default/gw", "http") as usize, served.len());
        for ns in all {
            let key = format!("{ns}/r");
            if served.contains(&ns) {
                world.is_fine(Kind::HttpRoute, &key);
            } else {
                let why = format!("namespace \"{ns}\"");
                world.reports(Kind::HttpRoute, &key, &["Accepted=False/NotAllowedByListeners", &why]);
            }
        }
    }
}

#[test]
fn listeners_limit_the_kinds_of_routes() {
    let check = |kinds: &str, serves: bool, complaint: Option<&str>| {
        let world =
            world(&format!("{{name: http, protocol: HTTP, port: 8080, allowedRoutes: {{kinds: [{kinds}]}}}}"), &[]);
        assert_eq!(world.at("http://h/") == "default/good", serves, "{kinds}");
        if !serves {
            world.reports(Kind::HttpRoute, "default/r", &["Accepted=False/NotAllowedByListeners"]);
        }
        match complaint {
            None => world.is_fine(Kind::Gateway, "default/gw"),
            Some(text) => world.reports(Kind::Gateway, "default/gw", &["ResolvedRefs=False/InvalidRouteKinds", text]),
        }
    };
    check("", true, None);
    check("{kind: HTTPRoute}", true, None);
    let kinds = |listener: &str| {
        let world = world(&format!("{{name: http, port: 8080, {listener}}}"), &[]);
        let report = world.compiled.reports.objects.iter().find(|r| r.kind == Kind::Gateway).unwrap();
        report.listeners[0].supported_kinds.clone()
    };
    assert_eq!(kinds("protocol: HTTP"), [Kind::HttpRoute]);
    assert_eq!(
        kinds("protocol: HTTP, allowedRoutes: {kinds: [{kind: TCPRoute}, {kind: HTTPRoute}]}"),
        [Kind::HttpRoute]
    );
    assert_eq!(kinds("protocol: HTTP, allowedRoutes: {kinds: [{kind: TCPRoute}]}"), []);
    assert_eq!(kinds("protocol: TCP"), [], "none of the kinds we have goes with it");
    check("{group: gateway.networking.k8s.io, kind: HTTPRoute}", true, None);
    check("{kind: TCPRoute}", false, Some("not TCPRoute"));
    check("{kind: HTTPRoute}, {kind: GRPCRoute}", true, Some("not GRPCRoute"));
    check("{group: example.com, kind: HTTPRoute}", false, Some("not HTTPRoute"));
}

#[test]
fn routes_choose_listeners_by_name_and_port() {
    let listeners =
        format!("{{name: one, protocol: HTTP, port: 8081, {ALL}}}, {{name: two, protocol: HTTP, port: 8082, {ALL}}}");
    let check = |parent: &str, expected: &[u16], complaint: Option<(&str, &str)>| {
        let rules = format!("rules: [{{backendRefs: [{}]}}]", to("good"));
        let world = World::new(&[
            gateway("gw", &listeners),
            good_backend("good"),
            route("r", &format!("parentRefs: [{{{parent}}}], {rules}")),
        ]);
        let served: Vec<u16> =
            [8081, 8082].into_iter().filter(|p| world.at(&format!("http://h:{p}/")) == "default/good").collect();
        assert_eq!(served, expected, "{parent}");
        match complaint {
            None => world.is_fine(Kind::HttpRoute, "default/r"),
            Some((reason, text)) => {
                world.reports(Kind::HttpRoute, "default/r", &[&format!("Accepted=False/{reason}"), text]);
                if parent.starts_with("name: gw,") && !parent.contains("other") {
                    // The Gateway API requires this for every parent.
                    world.reports(Kind::HttpRoute, "default/r", &["ResolvedRefs=True"]);
                }
            }
        }
    };
    check("name: gw", &[8081, 8082], None);
    check("name: gw, sectionName: two", &[8082], None);
    check("name: gw, port: 8081", &[8081], None);
    check("name: gw, sectionName: two, port: 8082", &[8082], None);
    let missing = "NoMatchingParent";
    check("name: gw, sectionName: three", &[], Some((missing, "Gateway default/gw has no listener \"three\"")));
    check("name: gw, port: 80", &[], Some((missing, "Gateway default/gw has no listener with port 80")));
    let other_port = "Gateway default/gw has no listener \"one\" with port 8082";
    check("name: gw, sectionName: one, port: 8082", &[], Some((missing, other_port)));
    check("name: none", &[], Some((missing, "there is no Gateway default/none")));
    check("name: gw, namespace: other", &[], Some((missing, "there is no Gateway other/gw")));
}

#[test]
fn every_certificate_reference_counts() {
    let tls = "{name: https, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: s}, {name: none}]}}";
    let world = world(&format!("{tls}, {{name: http, protocol: HTTP, port: 8080}}"), &[certificate("s", "a.example")]);
    let message = "Secret default/none does not exist";
    world.reports(Kind::Gateway, "default/gw", &["listener https ResolvedRefs=False/InvalidCertificateRef", message]);
    // The first is served.
    world.reports(Kind::Gateway, "default/gw", &["listener https Programmed=True"]);
}

#[test]
fn a_client_certificate_for_backends_that_is_not_built_closes_the_gateway() {
    let spec = "gatewayClassName: c, tls: {backend: {clientCertificateRef: {name: s}}}, \
                listeners: [{name: http, protocol: HTTP, port: 8080}]";
    let world = World::new(&[document(GATEWAY_API, "Gateway", "gw", &format!("spec: {{{spec}}}"))]);
    assert_eq!(world.at("http://h/"), "no listener");
    world.reports(Kind::Gateway, "default/gw", &["listener http Accepted=False/UnsupportedValue", "spec.tls.backend"]);
    world.reports(Kind::Gateway, "default/gw", &["Accepted=False/ListenersNotValid"]);
}
