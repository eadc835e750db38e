//! Converts Gateways to Services and EndpointSlices, by which traffic reaches the ports of the pods.
//!
//! In Tollgate's own namespace a Gateway's Service selects the pods. A Service can't select pods of another namespace:
//! there it has no selector, and its EndpointSlices mirror those that Kubernetes maintains for Tollgate's own Service:
//! which pods are ready, where they run, and which are terminating.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};
use serde_json::{Value, json};

use super::{
    AddressType, Change, Controller, GatewayAddress, Install, Objects,
    controller::digest,
    features::Feature,
    ledger::{self, Claim, Missing, Share},
    listener::Flaw,
    marks::{MANAGED_BY, Marks, SLICE_MANAGED_BY},
    objects::{Map, SERVICE_NAME},
    parameters::{Settings, is_dns_label},
};
use crate::api::{Kind, ObjectKey, condition::Reason, gateway::Gateway, gateway_parameters::ServiceType};

/// The Gateway a Service belongs to, as GEP-1762 defines it.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Annotation with a digest of the fields that were applied last: it shows when a field of Tollgate's must be removed.
const APPLIED: &str = "tollgate.dev/applied";
/// Most endpoints the API server takes in one EndpointSlice.
const MAX_ENDPOINTS: usize = 1_000;
/// Address families, as EndpointSlices spell them, and as names end.
const FAMILIES: [(&str, &str); 2] = [("IPv4", "ipv4"), ("IPv6", "ipv6")];

/// A Gateway that Tollgate serves, and how it should be exposed. They are in order of age.
pub struct Desired<'a> {
    pub key: &'a ObjectKey,
    pub gateway: &'a Gateway,
    /// `None` when the Gateway is refused: its Service and ports stay as they are.
    pub settings: Option<&'a Settings>,
    /// Its listeners' ports with the name of the first listener of each.
    pub ports: BTreeMap<u16, String>,
}

/// How a Gateway is exposed.
#[derive(Clone, Debug, Default)]
pub struct Exposed {
    /// Ports of the pod that are bound, by listener port.
    pub targets: BTreeMap<u16, u16>,
    /// The addresses for clients.
    pub addresses: Vec<GatewayAddress>,
    /// The part that is still missing.
    pub lacking: Option<Flaw>,
}

/// Exposes all Gateways: returns the exposure of each, in their order, and the writes and deletions that it needs.
pub fn expose(
    objects: &Objects,
    controller: &Controller,
    install: &Install,
    wanted: &[Desired<'_>],
) -> (Vec<Exposed>, Vec<Change>) {
    let marks = Marks::of(controller);
    let claims: Vec<Claim> = wanted.iter().map(|desired| claim(objects, &marks, desired)).collect();
    let shares = ledger::assign(&claims, install.admin_port, &targets_of_others(objects, &marks, wanted));
    // The EndpointSlices of Tollgate's own Service.
    let own = objects.slices_of(&install.namespace, &install.service).collect();
    let mut writer = Writer { objects, marks, install, own, in_use: BTreeSet::new(), changes: Vec::new() };
    let exposed = wanted.iter().zip(shares).map(|(desired, share)| writer.expose(desired, share)).collect();
    writer.remove_leftovers(wanted);
    (exposed, writer.changes)
}

fn claim(objects: &Objects, marks: &Marks<'_>, desired: &Desired<'_>) -> Claim {
    let self_managed = desired.settings.is_some_and(|s| s.self_managed);
    let service =
        objects.services.get(desired.key).filter(|s| !self_managed && marks.is_of(&s.metadata, desired.gateway));
    let recorded = service.into_iter().flat_map(|service| recorded(service));
    let missing = match desired.settings {
        Some(settings) if settings.self_managed => Missing::Own,
        Some(_) if obstacle(objects, marks, desired).is_none() => Missing::Allocate,
        Some(_) | None => Missing::Wait,
    };
    Claim { ports: desired.ports.keys().copied().collect(), recorded: recorded.collect(), missing }
}

/// Target port by listener port, as a Service records them.
fn recorded(service: &Service) -> impl Iterator<Item = (u16, u16)> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref()).into_iter().flatten();
    ports.filter_map(|port| {
        let Some(IntOrString::Int(target)) = port.target_port else { return None };
        Some((u16::try_from(port.port).ok()?, u16::try_from(target).ok()?))
    })
}

/// Target ports of Tollgate's Services whose Gateways are not exposed now.
fn targets_of_others(objects: &Objects, marks: &Marks<'_>, wanted: &[Desired<'_>]) -> BTreeSet<u16> {
    let theirs: BTreeSet<&ObjectKey> = wanted.iter().map(|desired| desired.key).collect();
    let others = objects.services.iter().filter(|(key, s)| marks.owner(&s.metadata).is_some() && !theirs.contains(key));
    others.flat_map(|(_, service)| recorded(service)).map(|(_, target)| target).collect()
}

/// Whether a Gateway has a Service that Tollgate made for it.
pub fn has_service(objects: &Objects, controller: &Controller, key: &ObjectKey, gateway: &Gateway) -> bool {
    let marks = Marks::of(controller);
    objects.services.get(key).is_some_and(|service| marks.is_of(&service.metadata, gateway))
}

/// The reason why the Gateway can't have its Service.
fn obstacle(objects: &Objects, marks: &Marks<'_>, desired: &Desired<'_>) -> Option<Flaw> {
    let key = desired.key;
    let begins = key.name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !is_dns_label(&key.name) {
        let message = format!(
            "the Gateway's Service has its name, and \"{}\" is no name of a Service: it must begin with a letter and have \
             at most 63 lower-case letters, digits and '-'; create the Gateway under another name",
            key.name
        );
        return Some((Reason::Invalid, message));
    }
    let service = objects.services.get(key)?;
    if marks.is_of(&service.metadata, desired.gateway) {
        let fixed = desired.settings.and_then(|s| s.cluster_ip.as_deref());
        let present = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()).filter(|ip| !ip.is_empty());
        return match (fixed, present) {
            (Some(fixed), Some(present)) if fixed != present => Some((
                Reason::AddressNotUsable,
                format!(
                    "Service {key} has the cluster IP {present}, which can't be changed to {fixed} of the \
                     GatewayParameters; delete the Service, it is made anew at once"
                ),
            )),
            _ => None,
        };
    }
    let message = format!(
        "Service {key} exists and is not this Gateway's, so it is left alone; rename or delete it, or create the Gateway \
         under another name"
    );
    Some((Reason::AddressNotAssigned, message))
}

/// Compares the wanted objects with those of the cluster, and collects the changes.
struct Writer<'a> {
    objects: &'a Objects,
    marks: Marks<'a>,
    install: &'a Install,
    own: Vec<&'a EndpointSlice>,
    /// EndpointSlices that are still needed.
    in_use: BTreeSet<ObjectKey>,
    changes: Vec<Change>,
}

impl Writer<'_> {
    fn expose(&mut self, desired: &Desired<'_>, share: Share) -> Exposed {
        let Some(settings) = desired.settings else {
            // Its Service stays as it is, and its endpoints follow the pods.
            let _ = self.write_slices(desired, &share.bound);
            return Exposed { addresses: self.addresses(desired), targets: share.bound, lacking: None };
        };
        if settings.self_managed {
            return Exposed { targets: share.bound, ..Exposed::default() };
        }
        let obstacle = obstacle(self.objects, &self.marks, desired);
        let in_the_way = if obstacle.is_some() || share.wanted.is_empty() {
            self.write_slices(desired, &share.bound)
        } else {
            self.write_service(desired, settings, &share.wanted);
            self.write_slices(desired, &share.wanted)
        };
        let addresses = self.addresses(desired);
        let lacking = obstacle.or(in_the_way).or_else(|| self.lacking(desired, settings, &share, addresses.is_empty()));
        Exposed { targets: share.bound, addresses, lacking }
    }

    fn lacking(&self, desired: &Desired<'_>, settings: &Settings, share: &Share, no_address: bool) -> Option<Flaw> {
        let key = desired.key;
        let Some(service) = self.objects.services.get(key) else {
            let message = format!(
                "Service {key} is about to be written; if this stays, the log of the Tollgate pod that leads has the cause"
            );
            return Some((Reason::Pending, message));
        };
        let own_namespace = key.namespace == self.install.namespace;
        if !own_namespace && self.own.is_empty() {
            let message = format!(
                "Service {}/{}, whose endpoints those of Service {key} are, has none: it is Tollgate's own and comes with \
                 its chart",
                self.install.namespace, self.install.service
            );
            return Some((Reason::Pending, message));
        }
        if no_address {
            let kind = service.spec.as_ref().and_then(|s| s.type_.as_deref()).unwrap_or(settings.kind.as_str());
            let meanwhile = match share.wanted.keys().next() {
                Some(port) if own_namespace => format!(
                    " Meanwhile this works: kubectl -n {} port-forward service/{} {port}:{port}.",
                    key.namespace, key.name
                ),
                _ => String::new(),
            };
            let message = format!(
                "Service {key} of type {kind} has no address yet; a load balancer of the cluster has to give it one.\
                 {meanwhile} Where there is no load balancer, GatewayParameters with spec.kube.service.type ClusterIP or \
                 NodePort, named in the Gateway's spec.infrastructure.parametersRef, need none"
            );
            return Some((Reason::AddressNotAssigned, message));
        }
        None
    }

    /// The addresses at which clients reach the Service, if it is Tollgate's.
    fn addresses(&self, desired: &Desired<'_>) -> Vec<GatewayAddress> {
        let service = self.objects.services.get(desired.key).filter(|s| self.marks.is_of(&s.metadata, desired.gateway));
        let Some(service) = service else { return Vec::new() };
        let ip = |value: &String| GatewayAddress { kind: AddressType::IPAddress, value: value.clone() };
        let spec = service.spec.as_ref();
        if spec.and_then(|s| s.type_.as_deref()) == Some(ServiceType::LoadBalancer.as_str()) {
            let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
            let ingress = balancer.and_then(|b| b.ingress.as_ref()).into_iter().flatten();
            let name = |value: &String| GatewayAddress { kind: AddressType::Hostname, value: value.clone() };
            let address = ingress.filter_map(|i| i.ip.as_ref().map(ip).or_else(|| i.hostname.as_ref().map(name)));
            return address.collect();
        }
        let all = spec.and_then(|s| s.cluster_ips.as_ref()).into_iter().flatten();
        let first = spec.and_then(|s| s.cluster_ip.as_ref()).into_iter();
        let mut found = Vec::new();
        for address in all.chain(first).filter(|a| !a.is_empty() && *a != "None").map(ip) {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        found
    }

    fn write_service(&mut self, desired: &Desired<'_>, settings: &Settings, targets: &BTreeMap<u16, u16>) {
        let selector = (desired.key.namespace == self.install.namespace).then_some(&self.install.selector);
        let body = service(desired, self.marks.service, settings, targets, selector);
        let present = self.objects.services.get(desired.key).and_then(|s| serde_json::to_value(&**s).ok());
        if !present.is_some_and(|present| covers(&present, &body)) {
            self.changes.push(Change { kind: Kind::Service, key: desired.key.clone(), body: Some(body) });
        }
    }

    /// Writes EndpointSlices, if the Service can't select the pods. Returns the obstacle, if there is one.
    fn write_slices(&mut self, desired: &Desired<'_>, targets: &BTreeMap<u16, u16>) -> Option<Flaw> {
        if desired.key.namespace == self.install.namespace {
            return None;
        }
        let mut in_the_way = None;
        if self.own.is_empty() || targets.is_empty() {
            // Unknown pods are not the same as no pods.
            self.in_use.extend(FAMILIES.map(|(_, suffix)| slice_key(desired.key, suffix)));
            return None;
        }
        for (family, suffix) in FAMILIES {
            let key = slice_key(desired.key, suffix);
            let Some(wanted) = self.mirror(desired, &key, family, targets) else { continue };
            self.in_use.insert(key.clone());
            let present = self.objects.endpoint_slices.get(&key);
            if present.is_some_and(|p| !self.marks.is_of(&p.metadata, desired.gateway)) {
                let message = format!(
                    "EndpointSlice {key} exists and is not this Gateway's, so it is left alone and Service {} leads to no \
                     pod; delete it, or create the Gateway under another name",
                    desired.key
                );
                in_the_way = Some((Reason::AddressNotUsable, message));
                continue;
            }
            if present.is_some_and(|p| same_slice(p, &wanted)) {
                continue;
            }
            // Types of k8s_openapi serialise without error.
            let body = serde_json::to_value(&wanted).ok();
            self.changes.extend(body.map(|body| Change { kind: Kind::EndpointSlice, key, body: Some(body) }));
        }
        in_the_way
    }

    /// The pods' addresses of one family, if there are any.
    fn mirror(
        &self,
        desired: &Desired<'_>,
        key: &ObjectKey,
        family: &str,
        targets: &BTreeMap<u16, u16>,
    ) -> Option<EndpointSlice> {
        let names = port_names(desired, targets);
        let slices = self.own.iter().filter(|slice| slice.address_type == family);
        let mut endpoints: Vec<Endpoint> = slices.flat_map(|slice| &slice.endpoints).cloned().collect();
        endpoints.retain(|endpoint| !endpoint.addresses.is_empty());
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        endpoints.dedup_by(|a, b| a.addresses == b.addresses);
        endpoints.truncate(MAX_ENDPOINTS);
        if endpoints.is_empty() {
            return None;
        }
        // Hints concern the zones of another Service's traffic.
        for endpoint in &mut endpoints {
            endpoint.hints = None;
        }
        let port = |(port, target): (&u16, &u16)| EndpointPort {
            name: names.get(port).cloned(),
            port: Some(i32::from(*target)),
            protocol: Some("TCP".into()),
            ..EndpointPort::default()
        };
        let labels = [(SERVICE_NAME, desired.key.name.as_str()), (SLICE_MANAGED_BY, self.marks.slice)];
        Some(EndpointSlice {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
                owner_references: Some(vec![owner_reference(desired)]),
                ..ObjectMeta::default()
            },
            address_type: family.to_owned(),
            endpoints,
            ports: Some(targets.iter().map(port).collect()),
        })
    }

    /// Deletes objects of Gateways that Tollgate does not expose any more. Kubernetes deletes those of deleted
    /// Gateways. A Gateway whose class was deleted keeps them: otherwise replacing a class would change every address.
    fn remove_leftovers(&mut self, wanted: &[Desired<'_>]) {
        let exposed = |gateway: &Gateway| wanted.iter().find(|w| w.gateway.metadata.uid == gateway.metadata.uid);
        for (key, service) in &self.objects.services {
            let Some(gateway) = self.owning_gateway(key, &service.metadata) else { continue };
            let unwanted = match exposed(gateway) {
                Some(desired) => desired.settings.is_some_and(|s| s.self_managed),
                None => self.is_anothers(gateway),
            };
            if unwanted {
                self.changes.push(Change { kind: Kind::Service, key: key.clone(), body: None });
            }
        }
        for (key, slice) in &self.objects.endpoint_slices {
            let Some(gateway) = self.owning_gateway(key, &slice.metadata) else { continue };
            let unwanted = exposed(gateway).is_some() || self.is_anothers(gateway);
            if unwanted && !self.in_use.contains(key) {
                self.changes.push(Change { kind: Kind::EndpointSlice, key: key.clone(), body: None });
            }
        }
    }

    /// The Gateway for which Tollgate made an object, if it still exists.
    fn owning_gateway(&self, key: &ObjectKey, metadata: &ObjectMeta) -> Option<&Gateway> {
        let owner = self.marks.owner(metadata)?;
        let gateway = self.objects.gateways.get(&ObjectKey::new(&key.namespace, &owner.name))?;
        (gateway.metadata.uid.as_ref() == Some(&owner.uid)).then_some(&**gateway)
    }

    /// Whether a Gateway's class exists and names another controller.
    fn is_anothers(&self, gateway: &Gateway) -> bool {
        let classes: &Map<_> = &self.objects.gateway_classes;
        let class = classes.get(&ObjectKey::cluster(&gateway.spec.gateway_class_name));
        class.is_some_and(|class| !self.marks.controller.has(class))
    }
}

fn slice_key(gateway: &ObjectKey, suffix: &str) -> ObjectKey {
    ObjectKey::new(&gateway.namespace, format!("{}-tollgate-{suffix}", gateway.name))
}

fn owner_reference(desired: &Desired<'_>) -> OwnerReference {
    OwnerReference {
        api_version: "gateway.networking.k8s.io/v1".into(),
        kind: "Gateway".into(),
        name: desired.key.name.clone(),
        uid: desired.gateway.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        // `true` would require a permission on the Gateway's finalizers.
        block_owner_deletion: None,
    }
}

/// The name of each port: that of its first listener where it can be one, else of its number.
fn port_names(desired: &Desired<'_>, targets: &BTreeMap<u16, u16>) -> BTreeMap<u16, String> {
    let mut used = BTreeSet::new();
    let mut names = BTreeMap::new();
    for port in targets.keys() {
        let written = desired.ports.get(port).filter(|name| is_dns_label(name)).cloned();
        let candidates = written.into_iter().chain([format!("port-{port}"), format!("listener-port-{port}")]);
        if let Some(name) = candidates.into_iter().find(|name| !used.contains(name)) {
            used.insert(name.clone());
            names.insert(*port, name);
        }
    }
    names
}

/// The Gateway's Service with every field that Tollgate owns, and no other.
fn service(
    desired: &Desired<'_>,
    managed_by: &str,
    settings: &Settings,
    targets: &BTreeMap<u16, u16>,
    selector: Option<&BTreeMap<String, String>>,
) -> Value {
    let names = port_names(desired, targets);
    let infrastructure =
        desired.gateway.spec.infrastructure.as_ref().filter(|_| Feature::GatewayInfrastructure.served());
    let mut labels = infrastructure.and_then(|i| i.labels.clone()).unwrap_or_default();
    labels.extend(settings.labels.clone());
    labels.insert(MANAGED_BY.into(), managed_by.into());
    labels.insert(GATEWAY_NAME.into(), desired.key.name.clone());
    let mut annotations = infrastructure.and_then(|i| i.annotations.clone()).unwrap_or_default();
    annotations.extend(settings.annotations.clone());
    let outside = settings.kind != ServiceType::ClusterIp;
    let ports = targets.iter().map(|(port, target)| {
        let mut entry = json!({"name": names.get(port), "port": port, "protocol": "TCP", "targetPort": target});
        if let (Some(node_port), Some(entry)) =
            (settings.node_ports.get(port).filter(|_| outside), entry.as_object_mut())
        {
            entry.insert("nodePort".into(), (*node_port).into());
        }
        entry
    });
    let mut spec = json!({"type": settings.kind.as_str(), "ports": ports.collect::<Vec<_>>()});
    if let Some(spec) = spec.as_object_mut() {
        spec.extend(selector.map(|selector| ("selector".into(), json!(selector))));
        spec.extend(settings.cluster_ip.as_ref().map(|ip| ("clusterIP".into(), json!(ip))));
        let policy = settings.external_traffic_policy.as_ref().filter(|_| outside);
        spec.extend(policy.map(|policy| ("externalTrafficPolicy".into(), json!(policy))));
    }
    let digest = digest(&json!([labels, annotations, spec]).to_string());
    annotations.insert(APPLIED.into(), digest);
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": desired.key.name,
            "namespace": desired.key.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(desired)],
        },
        "spec": spec,
    })
}

/// Whether `present` has all fields of `wanted`; a selector must be equal.
fn covers(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            present.get(name).is_some_and(|p| if name == "selector" { p == wanted } else { covers(p, wanted) })
        }),
        (Value::Array(present), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| present.iter().any(|present| covers(present, wanted)))
        }
        _ => present == wanted,
    }
}

fn same_slice(present: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let labels = |slice: &EndpointSlice| slice.metadata.labels.clone().unwrap_or_default();
    let present_labels = labels(present);
    present.address_type == wanted.address_type
        && present.endpoints == wanted.endpoints
        && present.ports == wanted.ports
        && labels(wanted).iter().all(|(name, value)| present_labels.get(name) == Some(value))
}
