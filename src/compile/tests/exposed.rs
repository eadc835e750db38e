//! Gateways in a cluster: Services, EndpointSlices, target ports, addresses.

use k8s_openapi::api::{
    core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service},
    discovery::v1::EndpointSlice,
};
use serde_json::{Value, json};

use super::*;
use crate::api::ObjectKey;

pub(super) const CLASS: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: c}, \
                                spec: {controllerName: tollgate.dev/gateway}}\n";

/// Where the tests' Tollgate is installed.
pub(super) fn env() -> Env {
    let install = Install {
        namespace: "system".into(),
        service: "tollgate".into(),
        selector: [("app".to_owned(), "tollgate".to_owned())].into(),
        admin_port: 9092,
    };
    Env { scope: Scope::Cluster, install: Some(Arc::new(install)), ..ENV.clone() }
}

/// A Gateway with its name as uid, created `age` seconds after the others.
pub(super) fn aged(key: &str, age: u32, spec: &str) -> String {
    let (namespace, name) = key.split_once('/').unwrap();
    format!(
        "{{apiVersion: {GATEWAY_API}, kind: Gateway, metadata: {{name: {name}, namespace: {namespace}, uid: {name}, \
         creationTimestamp: '2026-01-01T00:00:{age:02}Z'}}, spec: {{gatewayClassName: c, {spec}}}}}\n"
    )
}

fn listeners(ports: &[u16]) -> String {
    let listener = |port: &u16| format!("{{name: l-{port}, protocol: HTTP, port: {port}}}");
    format!("listeners: [{}]", ports.iter().map(listener).collect::<Vec<_>>().join(", "))
}

/// The EndpointSlice that Kubernetes keeps of Tollgate's own Service.
fn own_slice(family: &str, endpoints: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: tollgate-{}, namespace: system, \
         labels: {{kubernetes.io/service-name: tollgate}}}}, addressType: {family}, endpoints: [{endpoints}], \
         ports: [{{name: metrics, port: 9092}}]}}\n",
        family.to_lowercase()
    )
}

const POD: &str = "{addresses: [10.0.0.1], conditions: {ready: true, serving: true, terminating: false}, nodeName: node-1, \
                   zone: zone-1, targetRef: {kind: Pod, namespace: system, name: p}}";

impl World {
    pub(super) fn exposed(documents: &[String]) -> Self {
        let mut all = vec![CLASS.to_owned(), own_slice("IPv4", POD)];
        all.extend_from_slice(documents);
        Self::of(Self::new(&all).objects, &env())
    }

    /// The changes, as `KIND NAMESPACE/NAME`, with `-` before deletions.
    fn changes(&self) -> Vec<String> {
        let one = |c: &Change| format!("{}{} {}", if c.body.is_some() { "" } else { "-" }, c.kind, c.key);
        self.compiled.services.iter().map(one).collect()
    }

    pub(super) fn body(&self, kind: Kind, key: &str) -> Value {
        let found = self.compiled.services.iter().find(|c| c.kind == kind && c.key.to_string() == key);
        found.unwrap_or_else(|| panic!("{key} is not in {:?}", self.changes())).body.clone().unwrap()
    }

    /// The world after its changes were carried out by an API server.
    pub(super) fn carried_out(mut self) -> Self {
        for change in std::mem::take(&mut self.compiled.services) {
            let Change { kind, key, body } = change;
            match (kind, body) {
                (Kind::Service, None) => drop(self.objects.services.remove(&key)),
                (Kind::EndpointSlice, None) => drop(self.objects.endpoint_slices.remove(&key)),
                (Kind::Service, Some(body)) => {
                    let mut service: Service = serde_json::from_value(body).unwrap();
                    let before = self.objects.services.get(&key).cloned();
                    let spec = service.spec.as_mut().unwrap();
                    let given = before.as_ref().and_then(|s| s.spec.as_ref()?.cluster_ip.clone());
                    let ip = spec.cluster_ip.get_or_insert_with(|| given.unwrap_or("10.96.0.9".into())).clone();
                    spec.cluster_ips = Some(vec![ip]);
                    spec.session_affinity = Some("None".into());
                    for port in spec.ports.iter_mut().flatten() {
                        port.node_port.get_or_insert(31_000);
                    }
                    service.status = before.and_then(|s| s.status.clone());
                    self.objects.services.insert(key, Arc::new(service));
                }
                (_, Some(body)) => {
                    let slice: EndpointSlice = serde_json::from_value(body).unwrap();
                    self.objects.endpoint_slices.insert(key, Arc::new(slice));
                }
                other => panic!("{other:?}"),
            }
        }
        Self::of(self.objects, &env())
    }

    /// The world after all changes were carried out. No further change may be needed.
    #[track_caller]
    pub(super) fn settled(self) -> Self {
        let world = self.carried_out().carried_out();
        assert_eq!(world.changes(), [""; 0]);
        world
    }

    /// Changes objects, and compiles again.
    fn with(mut self, change: impl FnOnce(&mut Objects)) -> Self {
        change(&mut self.objects);
        Self::of(self.objects, &env())
    }

    /// Replaces the objects of these documents.
    fn replaced(self, documents: &[String]) -> Self {
        let new = Self::new(documents).objects;
        self.with(|objects| {
            objects.gateways.extend(new.gateways);
            objects.gateway_classes.extend(new.gateway_classes);
            objects.gateway_parameters.extend(new.gateway_parameters);
            objects.endpoint_slices.extend(new.endpoint_slices);
            objects.services.extend(new.services);
        })
    }

    fn balanced(self, key: &str, ingress: LoadBalancerIngress) -> Self {
        let key = self.objects.services.keys().find(|k| k.to_string() == key).unwrap().clone();
        self.with(|objects| {
            let service = Arc::make_mut(objects.services.get_mut(&key).unwrap());
            let balancer = LoadBalancerStatus { ingress: Some(vec![ingress]) };
            service.status.get_or_insert_default().load_balancer = Some(balancer);
        })
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.compiled.snapshot.ports.keys().copied().collect()
    }

    /// The Gateway that is served at a port of the pod.
    fn gateway_at(&self, port: u16) -> &str {
        &self.compiled.snapshot.ports[&port].listeners.iter().next().unwrap().1.gateway
    }

    pub(super) fn addresses(&self, key: &str) -> Vec<String> {
        let report = self.compiled.reports.objects.iter().find(|r| r.kind == Kind::Gateway && r.key.to_string() == key);
        report.unwrap().addresses.iter().map(|a| format!("{} {}", a.kind.as_str(), a.value)).collect()
    }
}

#[test]
fn a_gateway_is_bound_once_its_service_records_the_ports() {
    let world = World::exposed(&[aged("system/gw", 0, &listeners(&[80, 8080, 9092]))]);
    assert_eq!(world.ports(), [0; 0], "nothing before the Service is there");
    assert_eq!(world.changes(), ["Service system/gw"]);
    world.reports(Kind::Gateway, "system/gw", &["Accepted=True/Accepted"]);
    world.reports(Kind::Gateway, "system/gw", &["Programmed=False/Pending: Service system/gw is about to be written"]);
    world.reports(Kind::Gateway, "system/gw", &["listener l-80 Programmed=False/Pending"]);
    let body = world.body(Kind::Service, "system/gw");
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": target});
    assert_eq!(
        body["spec"],
        json!({"type": "LoadBalancer", "selector": {"app": "tollgate"},
            "ports": [port("l-80", 80, 10_000), port("l-8080", 8080, 8080), port("l-9092", 9092, 10_001)]})
    );
    assert_eq!(body["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"], "gw");
    assert_eq!(
        body["metadata"]["ownerReferences"],
        json!([{"apiVersion": GATEWAY_API, "kind": "Gateway", "name": "gw", "uid": "gw", "controller": true}])
    );

    let world = world.settled();
    assert_eq!(world.ports(), [8080, 10_000, 10_001]);
    world.reports(Kind::Gateway, "system/gw", &["listener l-80 Programmed=True"]);
    world.reports(
        Kind::Gateway,
        "system/gw",
        &[
            "Programmed=False/AddressNotAssigned",
            "Service system/gw",
            "kubectl -n system port-forward service/gw 80:80",
            "ClusterIP",
        ],
    );
    for (ingress, address) in [
        (LoadBalancerIngress { ip: Some("192.0.2.1".into()), ..Default::default() }, "IPAddress 192.0.2.1"),
        (LoadBalancerIngress { hostname: Some("lb.example".into()), ..Default::default() }, "Hostname lb.example"),
    ] {
        let world = World::of(world.objects.clone(), &env()).balanced("system/gw", ingress);
        world.is_fine(Kind::Gateway, "system/gw");
        assert_eq!(world.addresses("system/gw"), [address]);
        assert_eq!(world.changes(), [""; 0], "an address is nothing to write");
    }
}

#[test]
fn ports_that_come_and_go_leave_the_others_where_they_are() {
    let world = World::exposed(&[aged("system/gw", 0, &listeners(&[80, 81]))]).settled();
    assert_eq!(world.ports(), [10_000, 10_001]);
    let world = world.replaced(&[aged("system/gw", 0, &listeners(&[79, 81]))]);
    assert_eq!(world.ports(), [10_001], "recorded ports are bound, and no others");
    let world = world.settled();
    assert_eq!(world.ports(), [10_001, 10_002], "10000 was in use until this moment");
    // A Gateway without any valid listener keeps its Service: its address must not change because of a mistake.
    let world = world.replaced(&[aged("system/gw", 0, "listeners: [{name: bad, protocol: UDP, port: 81}]")]);
    assert_eq!((world.changes().len(), world.ports().len()), (0, 0));
}

#[test]
fn gateways_share_a_port_and_stay_apart() {
    let documents = [aged("system/young", 9, &listeners(&[8080])), aged("other/old", 1, &listeners(&[8080]))];
    let world = World::exposed(&documents).settled();
    assert_eq!(world.ports(), [8080, 10_000]);
    assert_eq!((world.gateway_at(8080), world.gateway_at(10_000)), ("other/old", "system/young"));
    // A Gateway that is older but created later takes no port away.
    let world = world.replaced(&[aged("other/oldest", 0, &listeners(&[8080]))]).settled();
    assert_eq!((world.gateway_at(8080), world.gateway_at(10_001)), ("other/old", "other/oldest"));
    // Two Services that record one port, as after a restore from two backups: the older Gateway keeps it.
    let young = world.objects.services.keys().find(|k| k.name == "young").unwrap().clone();
    let world = world.with(|objects| {
        let service = Arc::make_mut(objects.services.get_mut(&young).unwrap());
        let port = service.spec.as_mut().unwrap().ports.as_mut().unwrap().first_mut().unwrap();
        port.target_port = Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(8080));
    });
    assert_eq!((world.gateway_at(8080), world.changes()), ("other/old", vec!["Service system/young".to_owned()]));
    let world = world.settled();
    assert_eq!((world.gateway_at(8080), world.gateway_at(10_000)), ("other/old", "system/young"));
}

#[test]
fn a_port_that_a_service_still_leads_to_is_not_assigned_again() {
    let other = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: other}, \
                 spec: {controllerName: example.com/other}}\n";
    let moved = aged("apps/gw", 0, &listeners(&[80])).replace("ClassName: c", "ClassName: other");
    let world = World::exposed(&[aged("apps/gw", 0, &listeners(&[80]))]).settled();
    // Its Service will be deleted, but still exists: its clients must not reach the new Gateway.
    let world = world.replaced(&[other.to_owned(), moved, aged("apps/new", 1, &listeners(&[80]))]);
    let target = &world.body(Kind::Service, "apps/new")["spec"]["ports"][0]["targetPort"];
    assert_eq!((target, world.ports()), (&json!(10_001), vec![]));
}

#[test]
fn an_endpoint_slice_that_is_not_ours_is_named() {
    let foreign = own_slice("IPv4", POD)
        .replace("name: tollgate-ipv4, namespace: system", "name: gw-tollgate-ipv4, namespace: apps");
    let world = World::exposed(&[aged("apps/gw", 0, &listeners(&[80])), foreign]).settled();
    let why = "Programmed=False/AddressNotUsable: EndpointSlice apps/gw-tollgate-ipv4 exists and is not this Gateway's";
    world.reports(Kind::Gateway, "apps/gw", &[why, "delete it"]);
}

#[test]
fn in_other_namespaces_endpoint_slices_follow_the_pods() {
    let world = World::exposed(&[aged("apps/gw", 0, &listeners(&[80]))]);
    assert_eq!(world.changes(), ["Service apps/gw", "EndpointSlice apps/gw-tollgate-ipv4"]);
    assert_eq!(world.body(Kind::Service, "apps/gw")["spec"].get("selector"), None);
    let body = world.body(Kind::EndpointSlice, "apps/gw-tollgate-ipv4");
    assert_eq!(body["ports"], json!([{"name": "l-80", "port": 10_000, "protocol": "TCP"}]));
    assert_eq!(body["endpoints"][0]["targetRef"]["name"], "p");
    assert_eq!(
        (&body["endpoints"][0]["zone"], &body["endpoints"][0]["nodeName"]),
        (&json!("zone-1"), &json!("node-1"))
    );
    assert_eq!(
        body["metadata"]["labels"],
        json!({"kubernetes.io/service-name": "gw", "endpointslice.kubernetes.io/managed-by": "gateway.tollgate.dev"})
    );
    let world = world.settled();
    assert!(!world.conditions(Kind::Gateway, "apps/gw").contains("port-forward"), "which would find no pod");

    // One pod is terminating, another is added, and there is IPv6.
    let going = POD.replace("ready: true", "ready: false").replace("terminating: false", "terminating: true");
    let world = world.replaced(&[
        own_slice("IPv4", &format!("{{addresses: [10.0.0.2]}}, {going}")),
        own_slice("IPv6", "{addresses: ['fd00::1']}"),
    ]);
    assert_eq!(world.changes(), ["EndpointSlice apps/gw-tollgate-ipv4", "EndpointSlice apps/gw-tollgate-ipv6"]);
    let body = world.body(Kind::EndpointSlice, "apps/gw-tollgate-ipv4");
    assert_eq!(body["endpoints"][0]["conditions"]["terminating"], true, "kube-proxy drains by it: {body}");
    assert_eq!(body["endpoints"][1]["addresses"], json!(["10.0.0.2"]));
    let world = world.settled();

    // IPv6 was removed, and so are its endpoints. When all pods are unknown, no slice is emptied.
    let world = world.with(|objects| objects.endpoint_slices.retain(|key, _| key.name != "tollgate-ipv6"));
    assert_eq!(world.changes(), ["-EndpointSlice apps/gw-tollgate-ipv6"]);
    let world = world.settled().with(|objects| objects.endpoint_slices.retain(|key, _| key.namespace == "apps"));
    assert_eq!(world.changes(), [""; 0]);
    world.reports(Kind::Gateway, "apps/gw", &["Programmed=False/Pending: Service system/tollgate", "Service apps/gw"]);
}

#[test]
fn objects_of_others_are_left_alone() {
    let foreign = |metadata: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: gw, namespace: system{metadata}}}, spec: {{ports: [{{port: 80, targetPort: 8080}}]}}}}\n"
        )
    };
    let owner = |uid: &str, controller: &str| {
        format!(
            ", ownerReferences: [{{apiVersion: {GATEWAY_API}, kind: Gateway, name: gw, uid: {uid}, controller: {controller}}}]"
        )
    };
    let label = ", labels: {app.kubernetes.io/managed-by: tollgate}";
    for metadata in [
        String::new(),
        label.to_owned(),
        owner("gw", "true"),
        format!("{label}{}", owner("former", "true")),
        format!("{label}{}", owner("gw", "false")),
    ] {
        let world = World::exposed(&[aged("system/gw", 0, &listeners(&[80])), foreign(&metadata)]);
        assert_eq!((world.changes().len(), world.ports().len()), (0, 0), "{metadata}");
        let why = "Programmed=False/AddressNotAssigned: Service system/gw exists and is not this Gateway's";
        world.reports(Kind::Gateway, "system/gw", &[why, "rename or delete it"]);
        assert!(world.addresses("system/gw").is_empty());
    }
    for name in ["1st", "a.b", &"a".repeat(64)] {
        let world = World::exposed(&[aged(&format!("system/{name}"), 0, &listeners(&[80]))]);
        assert_eq!(world.changes(), [""; 0]);
        world.reports(Kind::Gateway, &format!("system/{name}"), &["Programmed=False/Invalid", "another name"]);
    }
}

#[test]
fn manual_changes_and_deletions_are_reverted() {
    let world = World::exposed(&[aged("apps/gw", 0, &listeners(&[80]))]).settled();
    let key = ObjectKey::new("apps", "gw");
    let edit = |edit: &dyn Fn(&mut Service)| {
        World::of(world.objects.clone(), &env())
            .with(|objects| edit(Arc::make_mut(objects.services.get_mut(&key).unwrap())))
            .changes()
    };
    let mended = ["Service apps/gw"];
    assert_eq!(edit(&|s| s.spec.as_mut().unwrap().type_ = Some("NodePort".into())), mended);
    assert_eq!(
        edit(&|s| drop(s.metadata.labels.as_mut().unwrap().remove("gateway.networking.k8s.io/gateway-name"))),
        mended
    );
    let others = edit(&|s| drop(s.metadata.annotations.as_mut().unwrap().insert("cloud/id".into(), "x".into())));
    assert_eq!(others, [""; 0], "fields of others stay");
    let world = world.with(|objects| {
        objects.services.remove(&key);
        objects.endpoint_slices.retain(|key, _| key.namespace != "apps");
    });
    assert_eq!(world.changes(), ["Service apps/gw", "EndpointSlice apps/gw-tollgate-ipv4"]);
}

#[test]
fn objects_that_no_gateway_of_ours_needs_are_deleted() {
    let spec = listeners(&[80]);
    let world = || World::exposed(&[aged("apps/gw", 0, &spec)]).settled();
    let gone = ["-Service apps/gw", "-EndpointSlice apps/gw-tollgate-ipv4"];
    let other = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: other}, \
                 spec: {controllerName: example.com/other}}\n";
    let moved =
        world().replaced(&[other.to_owned(), aged("apps/gw", 0, &spec).replace("ClassName: c", "ClassName: other")]);
    assert_eq!(moved.changes(), gone);
    let class_gone = world().with(|objects| objects.gateway_classes.clear());
    assert_eq!(class_gone.changes(), [""; 0], "a class that is replaced must not cost every Gateway its address");
    assert_eq!(class_gone.ports(), [10_000], "nor close its ports");
    class_gone.reports(Kind::Gateway, "apps/gw", &["Accepted=True"]);
    let gateway_gone = world().with(|objects| objects.gateways.clear());
    assert_eq!(gateway_gone.changes(), [""; 0], "Kubernetes deletes its objects");
}
