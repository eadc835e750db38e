//! GatewayParameters, and the infrastructure that Gateways request.

use serde_json::json;

use super::{
    exposed::{CLASS, aged},
    *,
};

const REFERENCE: &str = "parametersRef: {group: gateway.kgateway.dev, kind: GatewayParameters, name: p}";

fn parameters(key: &str, spec: &str) -> String {
    document(KGATEWAY_API, "GatewayParameters", key, &format!("spec: {{{spec}}}"))
}

fn listeners() -> &'static str {
    "listeners: [{name: http, protocol: HTTP, port: 8080}, {name: tls, protocol: HTTP, port: 443}]"
}

/// A Gateway with parameters of this spec.
fn world(spec: &str) -> World {
    let gateway = aged("system/gw", 0, &format!("infrastructure: {{{REFERENCE}}}, {}", listeners()));
    World::exposed(&[gateway, parameters("system/p", spec)])
}

#[test]
fn parameters_shape_the_service() {
    for (service, expected) in [
        ("{}", json!({"type": "LoadBalancer"})),
        ("{type: ClusterIP, clusterIP: 10.96.0.7}", json!({"type": "ClusterIP", "clusterIP": "10.96.0.7"})),
        (
            "{type: NodePort, externalTrafficPolicy: Local}",
            json!({"type": "NodePort", "externalTrafficPolicy": "Local"}),
        ),
        // Fields that the API server would refuse beside a cluster IP are not sent.
        (
            "{type: ClusterIP, externalTrafficPolicy: Local, ports: [{port: 443, nodePort: 30443}]}",
            json!({"type": "ClusterIP"}),
        ),
    ] {
        let mut spec = world(&format!("kube: {{service: {service}}}")).body(Kind::Service, "system/gw")["spec"].clone();
        let ports = spec.as_object_mut().unwrap().remove("ports").unwrap();
        spec.as_object_mut().unwrap().remove("selector");
        assert_eq!(spec, expected, "{service}");
        assert!(!ports.to_string().contains("nodePort"));
    }
    let body = world("kube: {service: {ports: [{port: 443, nodePort: 30443}]}}").body(Kind::Service, "system/gw");
    assert_eq!(body["spec"]["ports"][0]["nodePort"], 30443, "{body}");
    assert_eq!(body["spec"]["ports"][1].get("nodePort"), None);
}

#[test]
fn a_cluster_ip_is_the_address() {
    for kind in ["ClusterIP", "NodePort"] {
        let world = world(&format!("kube: {{service: {{type: {kind}}}}}")).settled();
        world.is_fine(Kind::Gateway, "system/gw");
        assert_eq!(world.addresses("system/gw"), ["IPAddress 10.96.0.9"], "{kind}");
    }
    // It can't be changed; the user must delete the Service.
    let world = world("kube: {service: {type: ClusterIP}}").settled();
    let mut objects = world.objects;
    let new = self::world("kube: {service: {type: ClusterIP, clusterIP: 10.96.0.8}}").objects;
    objects.gateway_parameters = new.gateway_parameters;
    let world = World::of(objects, &exposed::env());
    let why = "Programmed=False/AddressNotUsable: Service system/gw has the cluster IP 10.96.0.9";
    world.reports(Kind::Gateway, "system/gw", &[why, "10.96.0.8", "delete the Service"]);
    assert_eq!((world.compiled.services.len(), world.ports().len()), (0, 2), "and it is served meanwhile");
}

#[test]
fn labels_and_annotations_add_up_and_go_again() {
    let class = CLASS.replace(
        "controllerName",
        "parametersRef: {group: gateway.kgateway.dev, kind: GatewayParameters, name: q, namespace: system}, controllerName",
    );
    let of_class =
        "kube: {service: {type: NodePort, extraLabels: {a: class, b: class}, ports: [{port: 8080, nodePort: 30001}]}}";
    let of_gateway = "kube: {service: {extraLabels: {b: own}, extraAnnotations: {c: own}}}";
    let gateway = |labels: &str| {
        let infrastructure = format!("labels: {{{labels}}}, annotations: {{from: infra}}, {REFERENCE}");
        aged("system/gw", 0, &format!("infrastructure: {{{infrastructure}}}, {}", listeners()))
    };
    let documents = |labels: &str| {
        vec![
            gateway(labels),
            parameters("system/p", of_gateway),
            parameters("system/q", of_class),
            class.replace("name: c}", "name: d}"),
        ]
    };
    let with_class = |labels: &str| {
        let mut documents = documents(labels);
        documents[0] = documents[0].replace("gatewayClassName: c", "gatewayClassName: d");
        World::exposed(&documents)
    };
    let world = with_class("a: infra, i: infra, app.kubernetes.io/managed-by: me");
    let body = world.body(Kind::Service, "system/gw");
    let labels = &body["metadata"]["labels"];
    assert_eq!((&labels["a"], &labels["b"], &labels["i"]), (&json!("class"), &json!("own"), &json!("infra")));
    assert_eq!(labels["app.kubernetes.io/managed-by"], "tollgate", "ours can't be overwritten");
    let annotations = &body["metadata"]["annotations"];
    assert_eq!((&annotations["c"], &annotations["from"]), (&json!("own"), &json!("infra")));
    assert_eq!(body["spec"]["type"], "NodePort", "the class's, where the Gateway's own have none");
    assert_eq!(body["spec"]["ports"][1]["nodePort"], 30001);
    // Removing a label requires a change too, although all remaining ones are there.
    let mut objects = world.settled().objects;
    objects.gateways = with_class("a: infra").objects.gateways;
    let world = World::of(objects, &exposed::env());
    assert_eq!(world.body(Kind::Service, "system/gw")["metadata"]["labels"].get("i"), None);
    world.settled();
}

#[test]
fn self_managed_gateways_bind_their_own_ports() {
    let world = world("selfManaged: {}");
    assert_eq!((world.compiled.services.len(), world.ports()), (0, vec![443, 8080]));
    world.is_fine(Kind::Gateway, "system/gw");
    // One that had a Service loses it; a port that another Gateway's Service records is not free.
    let other = aged("system/other", 9, "listeners: [{name: http, protocol: HTTP, port: 8080}]");
    let mut objects = World::exposed(&[other]).settled().objects;
    objects.gateways.extend(world.objects.gateways);
    objects.gateway_parameters = world.objects.gateway_parameters;
    let world = World::of(objects, &exposed::env());
    world.reports(Kind::Gateway, "system/gw", &["listener http Accepted=False/PortUnavailable: port 8080"]);
    world.reports(Kind::Gateway, "system/gw", &["listener tls Programmed=True"]);
    let mut objects = self::world("kube: {}").settled().objects;
    objects.gateway_parameters = self::world("selfManaged: {}").objects.gateway_parameters;
    let world = World::of(objects, &exposed::env());
    assert!(matches!(&*world.compiled.services, [Change { kind: Kind::Service, body: None, .. }]));
}

#[test]
fn unusable_parameters_report_the_fix() {
    let reference =
        |group: &str, kind: &str, name: &str| format!("parametersRef: {{group: {group}, kind: {kind}, name: {name}}}");
    for (infrastructure, spec, message) in [
        (REFERENCE.replace("name: p", "name: none"), "kube: {}", "GatewayParameters system/none does not exist"),
        (reference("''", "ConfigMap", "p"), "kube: {}", "only GatewayParameters of group gateway.kgateway.dev"),
        (REFERENCE.to_owned(), "kube: {service: {type: ExternalName}}", "use ClusterIP, NodePort or LoadBalancer"),
        (REFERENCE.to_owned(), "kube: {service: {clusterIP: None}}", "'None' is not an IP address"),
        (
            REFERENCE.to_owned(),
            "kube: {service: {externalTrafficPolicy: local}}",
            "'local' is neither Local nor Cluster",
        ),
        (REFERENCE.to_owned(), "kube: {service: {extraLabels: {a: 'b c'}}}", "extraLabels: the value of a is no label"),
        (REFERENCE.to_owned(), "kube: {service: {extraAnnotations: {'a b': c}}}", "extraAnnotations: 'a b' is no name"),
        (REFERENCE.to_owned(), "kube: {}, selfManaged: {}", "exactly one of spec.kube and spec.selfManaged"),
    ] {
        let gateway = |infrastructure: &str| {
            aged("system/gw", 0, &format!("infrastructure: {{{infrastructure}}}, {}", listeners()))
        };
        let documents = [gateway(&infrastructure), parameters("system/p", spec)];
        let world = World::exposed(&documents);
        world.reports(Kind::Gateway, "system/gw", &["Accepted=False/InvalidParameters", message]);
        world.reports(Kind::Gateway, "system/gw", &["Programmed=False/Invalid", message]);
        assert_eq!((world.compiled.services.len(), world.ports().len()), (0, 0), "{message}");
        // A Gateway that was served is still served.
        let mut objects = World::exposed(&[gateway("")]).settled().objects;
        objects.gateways = world.objects.gateways;
        objects.gateway_parameters = world.objects.gateway_parameters;
        let world = World::of(objects, &exposed::env());
        world.reports(Kind::Gateway, "system/gw", &["Accepted=False/InvalidParameters", message]);
        assert_eq!((world.compiled.services.len(), world.ports()), (0, vec![8080, 10_000]), "{message}");
    }
}

#[test]
fn a_class_tells_of_its_parameters_too() {
    for (reference, message) in [
        ("{group: gateway.kgateway.dev, kind: GatewayParameters, name: p}", "needs the namespace"),
        (
            "{group: gateway.kgateway.dev, kind: GatewayParameters, name: none, namespace: system}",
            "GatewayParameters system/none does not exist",
        ),
    ] {
        let class = CLASS
            .replace("{name: c}", "{name: d}")
            .replace("controllerName", &format!("parametersRef: {reference}, controllerName"));
        let gateway = aged("system/gw", 0, listeners()).replace("ClassName: c", "ClassName: d");
        let world = World::exposed(&[class, gateway]);
        world.reports(Kind::GatewayClass, "d", &["Accepted=False/InvalidParameters", message]);
        world.reports(Kind::Gateway, "system/gw", &["Accepted=False/InvalidParameters: GatewayClass d: ", message]);
        world.is_fine(Kind::GatewayClass, "c");
    }
}

#[test]
fn parameters_report_fields_that_are_not_acted_on() {
    let world = world("kube: {deployment: {replicas: 3}, envoyContainer: {}, service: {type: ClusterIP}}");
    world.reports(
        Kind::GatewayParameters,
        "system/p",
        &["Accepted=True/Accepted: not acted on: spec.kube.deployment, spec.kube.envoyContainer"],
    );
    self::world("kube: {service: {type: ExternalName}}").reports(
        Kind::GatewayParameters,
        "system/p",
        &["Accepted=False"],
    );
    let unused = World::exposed(&[parameters("system/p", "kube: {}")]);
    assert_eq!(unused.conditions(Kind::GatewayParameters, "system/p"), "", "it may be another controller's");
}

#[test]
fn fixed_addresses_are_refused() {
    for (addresses, refused) in [
        ("[{value: 192.0.2.1}]", true),
        ("[{type: Hostname, value: a.example}]", true),
        ("[{type: example.com/pool}]", true),
        // Any address: the Service provides one.
        ("[{type: IPAddress}]", false),
        ("[]", false),
    ] {
        let world = World::exposed(&[aged("system/gw", 0, &format!("addresses: {addresses}, {}", listeners()))]);
        if refused {
            world.reports(
                Kind::Gateway,
                "system/gw",
                &["Accepted=False/UnsupportedAddress", "spec.addresses", "remove it"],
            );
        } else {
            world.reports(Kind::Gateway, "system/gw", &["Accepted=True/Accepted"]);
        }
        assert_eq!(world.compiled.services.is_empty(), refused, "{addresses}");
    }
}
