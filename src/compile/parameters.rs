//! GatewayParameters: how Gateways are exposed.

use std::{collections::BTreeMap, net::IpAddr};

use gateway_api::gatewayclasses::GatewayClassParametersRef;

use super::{Condition, ObjectReport, Objects, filters::KGATEWAY};
use crate::api::{
    Kind, ObjectKey,
    condition::{ConditionType, Reason},
    gateway::{Gateway, GatewayClass},
    gateway_parameters::{GatewayParametersSpec, ServiceParameters, ServiceType},
};

/// How a Gateway is exposed. Settings that the Gateway lacks come from its class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// No Service is made.
    pub self_managed: bool,
    pub kind: ServiceType,
    pub cluster_ip: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Node ports by listener port.
    pub node_ports: BTreeMap<u16, u16>,
    pub external_traffic_policy: Option<String>,
}

/// The settings of a Gateway, or the problem of the parameters it refers to, and how to fix it.
pub fn of_gateway(objects: &Objects, key: &ObjectKey, gateway: &Gateway) -> Result<Settings, String> {
    let class_key = ObjectKey::cluster(&gateway.spec.gateway_class_name);
    let class = match objects.gateway_classes.get(&class_key) {
        Some(class) => of_class(objects, class).map_err(|why| format!("GatewayClass {class_key}: {why}"))?,
        None => None,
    };
    let reference = gateway.spec.infrastructure.as_ref().and_then(|i| i.parameters_ref.as_ref());
    let own = match reference {
        Some(r) => {
            let place = "spec.infrastructure.parametersRef";
            Some(lookup(objects, place, &r.group, &r.kind, &ObjectKey::new(&key.namespace, &r.name))?)
        }
        None => None,
    };
    Ok(merge(class, own))
}

/// The parameters that a class refers to, or the problem of the reference.
pub fn of_class<'a>(objects: &'a Objects, class: &GatewayClass) -> Result<Option<&'a GatewayParametersSpec>, String> {
    let key = ObjectKey::cluster(class.metadata.name.as_deref().unwrap_or_default());
    let unread = objects.unread(Kind::GatewayClass, &key);
    if let Some(part) = unread.iter().find(|part| part.below("parametersRef").is_some()) {
        return Err(part.to_string());
    }
    let Some(reference) = &class.spec.parameters_ref else { return Ok(None) };
    let GatewayClassParametersRef { group, kind, name, namespace } = reference;
    let Some(namespace) = namespace else {
        return Err("spec.parametersRef needs the namespace of the GatewayParameters".into());
    };
    lookup(objects, "spec.parametersRef", group, kind, &ObjectKey::new(namespace, name)).map(Some)
}

fn lookup<'a>(
    objects: &'a Objects,
    place: &str,
    group: &str,
    kind: &str,
    key: &ObjectKey,
) -> Result<&'a GatewayParametersSpec, String> {
    if group != KGATEWAY || kind != Kind::GatewayParameters.as_str() {
        return Err(format!(
            "{place} names {kind} of group \"{group}\"; only GatewayParameters of group {KGATEWAY} are supported"
        ));
    }
    if let Some(parameters) = objects.gateway_parameters.get(key) {
        return match problem(&parameters.spec) {
            None => Ok(&parameters.spec),
            Some(why) => Err(format!("{place}: GatewayParameters {key}: {why}")),
        };
    }
    let is_it = |r: &&super::Rejected| r.kind == Some(Kind::GatewayParameters) && r.key.as_ref() == Some(key);
    Err(match objects.rejected.iter().find(is_it) {
        Some(rejected) => format!("{place}: GatewayParameters {key} can't be read: {}", rejected.error),
        None => format!("{place}: GatewayParameters {key} does not exist; create it or remove the reference"),
    })
}

/// The first problem of the fields that are implemented.
fn problem(spec: &GatewayParametersSpec) -> Option<String> {
    if spec.kube.is_some() == spec.self_managed.is_some() {
        return Some("exactly one of spec.kube and spec.selfManaged must be set".into());
    }
    let service = spec.kube.as_ref()?.service.as_ref()?;
    if service.kind == Some(ServiceType::ExternalName) {
        return Some(
            "spec.kube.service.type ExternalName can't lead to a gateway; use ClusterIP, NodePort or LoadBalancer"
                .into(),
        );
    }
    if let Some(ip) = service.cluster_ip.as_deref().filter(|ip| ip.parse::<IpAddr>().is_err()) {
        return Some(format!(
            "spec.kube.service.clusterIP '{ip}' is not an IP address; leave it out to get one assigned"
        ));
    }
    if let Some(policy) = service.external_traffic_policy.as_deref().filter(|p| !matches!(*p, "Local" | "Cluster")) {
        return Some(format!("spec.kube.service.externalTrafficPolicy '{policy}' is neither Local nor Cluster"));
    }
    let bad_value = |(_, value): &(&String, &String)| !is_label_value(value);
    if let Some((name, _)) = service.extra_labels.iter().find(bad_value) {
        return Some(format!(
            "spec.kube.service.extraLabels: the value of {name} is no label value: at most 63 letters, digits, '-', '_' and '.'"
        ));
    }
    let names = service.extra_labels.keys().map(|name| ("extraLabels", name));
    let names = names.chain(service.extra_annotations.keys().map(|name| ("extraAnnotations", name)));
    let bad = names.into_iter().find(|(_, name)| !is_qualified_name(name));
    bad.map(|(field, name)| format!("spec.kube.service.{field}: '{name}' is no name of a label or annotation"))
}

fn is_label_value(value: &str) -> bool {
    value.len() <= 63 && (value.is_empty() || is_word(value))
}

/// `[PREFIX/]NAME`, as names of labels and annotations are.
fn is_qualified_name(name: &str) -> bool {
    let (prefix, name) = name.rsplit_once('/').map_or((None, name), |(prefix, name)| (Some(prefix), name));
    let is_domain = |text: &str| text.len() <= 253 && text.split('.').all(is_dns_label);
    name.len() <= 63 && is_word(name) && prefix.is_none_or(is_domain)
}

/// Letters, digits and `-_.`, beginning and ending with a letter or digit.
pub(super) fn is_word(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// One part of a DNS name, as ports and namespaces are called.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
        && text.bytes().all(|c| inner(c) || c == b'-')
}

/// Merges parameters: the Gateway's own take precedence over its class's, field by field.
fn merge(class: Option<&GatewayParametersSpec>, own: Option<&GatewayParametersSpec>) -> Settings {
    let nearest = own.or(class);
    let mut settings =
        Settings { self_managed: nearest.is_some_and(|p| p.self_managed.is_some()), ..Settings::default() };
    // The class's first, so that the Gateway's own overwrite them.
    for spec in [class, own].into_iter().flatten() {
        let Some(service) = spec.kube.as_ref().and_then(|k| k.service.as_ref()) else { continue };
        let ServiceParameters { kind, cluster_ip, extra_labels, extra_annotations, ports, external_traffic_policy } =
            service;
        settings.kind = kind.unwrap_or(settings.kind);
        settings.cluster_ip = cluster_ip.clone().or(settings.cluster_ip);
        settings.external_traffic_policy = external_traffic_policy.clone().or(settings.external_traffic_policy);
        settings.labels.extend(extra_labels.clone());
        settings.annotations.extend(extra_annotations.clone());
        settings.node_ports.extend(ports.iter().filter_map(|p| Some((p.port, p.node_port?))));
    }
    settings
}

/// Reports of the parameters that `classes` and `gateways` refer to: others may belong to another controller.
pub fn reports<'a>(
    objects: &Objects,
    classes: impl Iterator<Item = &'a GatewayClass>,
    gateways: impl Iterator<Item = (&'a ObjectKey, &'a Gateway)>,
) -> Vec<ObjectReport> {
    let of_classes = classes.filter_map(|class| {
        let reference = class.spec.parameters_ref.as_ref()?;
        let key = ObjectKey::new(reference.namespace.as_deref()?, &reference.name);
        (reference.kind == Kind::GatewayParameters.as_str() && reference.group == KGATEWAY).then_some(key)
    });
    let of_gateways = gateways.filter_map(|(key, gateway)| {
        let reference = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
        let named = ObjectKey::new(&key.namespace, &reference.name);
        (reference.kind == Kind::GatewayParameters.as_str() && reference.group == KGATEWAY).then_some(named)
    });
    let mut keys: Vec<ObjectKey> = of_classes.chain(of_gateways).collect();
    keys.sort();
    keys.dedup();
    let report = |key: ObjectKey| {
        let parameters = objects.gateway_parameters.get(&key)?;
        let condition = match problem(&parameters.spec) {
            Some(why) => Condition::new(ConditionType::Accepted, false, Reason::Invalid, why),
            None => Condition::new(ConditionType::Accepted, true, Reason::Accepted, idle_fields(&parameters.spec)),
        };
        Some(ObjectReport {
            conditions: vec![condition],
            ..ObjectReport::new(Kind::GatewayParameters, key, parameters.metadata.generation)
        })
    };
    keys.into_iter().filter_map(report).collect()
}

/// The fields that are set and not implemented, as text; empty without any.
fn idle_fields(spec: &GatewayParametersSpec) -> String {
    let Some(kube) = &spec.kube else { return String::new() };
    let more = [
        ("deployment", kube.deployment.is_some()),
        ("stats", kube.stats.is_some()),
        ("aiExtension", kube.ai_extension.is_some()),
    ];
    let mut names: Vec<String> =
        more.iter().filter(|(_, set)| *set).map(|(name, _)| format!("spec.kube.{name}")).collect();
    names.extend(kube.unsupported_fields().iter().map(|name| format!("spec.kube.{name}")));
    if names.is_empty() {
        return String::new();
    }
    format!("not acted on: {}; one Tollgate serves all Gateways and is set up where it is installed", names.join(", "))
}
