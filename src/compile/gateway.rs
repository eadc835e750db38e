//! Gateways to listeners.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use gateway_api::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From, GatewayListenersTlsMode,
};
use rustls::sign::CertifiedKey;

use super::{
    CONTROLLER_NAME, Condition, Env, ListenerReport, ObjectReport, Objects, Scope,
    grants::{self, GATEWAY, Grants, GroupKind},
    tls,
};
use crate::{
    api::{
        Kind, ObjectKey,
        condition::{ConditionType, Reason},
        gateway::Gateway,
    },
    snapshot::{HostIndex, HostPattern, Listener, PathTable, Port, TlsTable},
};

/// What is wrong with a listener, as a condition says it.
type Flaw = (Reason, String);

/// The Gateways we serve, by key.
pub struct Gateways {
    pub by_key: BTreeMap<ObjectKey, GatewayState>,
    classes: Vec<ObjectReport>,
}

/// One Gateway while routes are attached to it.
pub struct GatewayState {
    generation: Option<i64>,
    pub name: Arc<str>,
    pub listeners: Vec<ListenerState>,
}

/// One listener while routes are attached to it.
pub struct ListenerState {
    pub name: String,
    pub port: u16,
    pub hostname: HostPattern,
    secure: bool,
    namespaces: Namespaces,
    kinds: Vec<Kind>,
    /// Why the listener is not accepted.
    accepted: Option<Flaw>,
    /// Whose listener it collides with.
    conflict: Option<Flaw>,
    /// Which reference does not resolve.
    unresolved: Option<Flaw>,
    certificate: Option<Arc<CertifiedKey>>,
    attached: u32,
    /// The route attached last.
    last: Option<Arc<str>>,
    /// Rules by host name, filled by routes.
    pub routes: HostIndex<PathTable>,
}

/// Which namespaces' routes may attach.
enum Namespaces {
    All,
    Same(String),
    /// These ones: the selector has been evaluated.
    Listed(Vec<String>),
}

impl ListenerState {
    /// Whether traffic reaches it.
    pub fn serves(&self) -> bool {
        self.accepted.is_none() && self.conflict.is_none() && (!self.secure || self.certificate.is_some())
    }

    /// Whether HTTPRoutes of `namespace` may attach.
    pub fn allows(&self, namespace: &str) -> bool {
        self.kinds.contains(&Kind::HttpRoute)
            && match &self.namespaces {
                Namespaces::All => true,
                Namespaces::Same(own) => own == namespace,
                Namespaces::Listed(names) => names.iter().any(|n| n == namespace),
            }
    }

    /// One more route is attached: false when it already was, because another of its parentRefs means this listener too.
    /// A route is attached to all its listeners before the next one is.
    pub fn attach(&mut self, route: &Arc<str>) -> bool {
        let fresh = self.last.as_ref() != Some(route);
        if fresh {
            self.attached += 1;
            self.last = Some(Arc::clone(route));
        }
        fresh
    }

    fn report(&self) -> ListenerReport {
        let flaw = |kind, flaw: Option<&Flaw>, good: Reason| match flaw {
            None => Condition::new(kind, true, good, ""),
            Some((reason, message)) => Condition::new(kind, false, *reason, message.clone()),
        };
        let conflicted = match &self.conflict {
            None => Condition::new(ConditionType::Conflicted, false, Reason::NoConflicts, ""),
            Some((reason, message)) => Condition::new(ConditionType::Conflicted, true, *reason, message.clone()),
        };
        let programmed = if self.serves() {
            Condition::new(ConditionType::Programmed, true, Reason::Programmed, "")
        } else {
            let first = self.accepted.as_ref().or(self.conflict.as_ref()).or(self.unresolved.as_ref());
            let why = first.map(|(_, message)| message.clone()).unwrap_or_default();
            Condition::new(ConditionType::Programmed, false, Reason::Invalid, why)
        };
        let accepted = self.accepted.as_ref().or(self.conflict.as_ref());
        ListenerReport {
            name: self.name.clone(),
            attached_routes: self.attached,
            supported_kinds: self.kinds.clone(),
            conditions: vec![
                flaw(ConditionType::Accepted, accepted, Reason::Accepted),
                conflicted,
                flaw(ConditionType::ResolvedRefs, self.unresolved.as_ref(), Reason::ResolvedRefs),
                programmed,
            ],
        }
    }
}

/// Compiles every Gateway that is ours. Where two want the same, the older wins, then the first by name.
pub fn compile_all(objects: &Objects, env: &Env, grants: &Grants<'_>) -> Gateways {
    let mut ours: Vec<(&ObjectKey, &Arc<Gateway>)> =
        objects.gateways.iter().filter(|(_, gateway)| is_ours(objects, env.scope, gateway)).collect();
    let age = |gateway: &Gateway| gateway.metadata.creation_timestamp.as_ref().map(|t| t.0.as_second());
    ours.sort_by_key(|(key, gateway)| (age(gateway).unwrap_or(i64::MAX), *key));
    let mut taken: HashMap<u16, &ObjectKey> = HashMap::new();
    let mut by_key = BTreeMap::new();
    for (key, gateway) in ours {
        let mut listeners: Vec<ListenerState> = Vec::new();
        for written in &gateway.spec.listeners {
            let mut listener = listener(key, written, objects, grants);
            // Asked to check client certificates, which is not built: nothing is served without the check.
            if listener.secure && gateway.spec.tls.as_ref().is_some_and(|tls| tls.frontend.is_some()) {
                let message =
                    "spec.tls.frontend (client certificates) is not supported yet; nothing is served without it";
                listener.accepted.get_or_insert((Reason::UnsupportedValue, message.to_owned()));
            }
            match taken.get(&listener.port) {
                Some(other) if *other != key && env.scope == Scope::Files => {
                    let message = format!("port {} is already used by Gateway {other}", listener.port);
                    listener.accepted.get_or_insert((Reason::PortUnavailable, message));
                }
                _ => {
                    listener.conflict = conflict(&listeners, &listener);
                    if listener.accepted.is_none() {
                        taken.insert(listener.port, key);
                    }
                }
            }
            listeners.push(listener);
        }
        let state = GatewayState { generation: gateway.metadata.generation, name: key.to_string().into(), listeners };
        by_key.insert(key.clone(), state);
    }
    Gateways { by_key, classes: class_reports(objects) }
}

fn is_ours(objects: &Objects, scope: Scope, gateway: &Gateway) -> bool {
    let class = objects.gateway_classes.get(&ObjectKey::cluster(&gateway.spec.gateway_class_name));
    match class {
        Some(class) => class.spec.controller_name == CONTROLLER_NAME,
        None => scope == Scope::Files,
    }
}

fn class_reports(objects: &Objects) -> Vec<ObjectReport> {
    let ours = objects.gateway_classes.iter().filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME);
    ours.map(|(key, class)| ObjectReport {
        conditions: vec![Condition::new(ConditionType::Accepted, true, Reason::Accepted, "")],
        ..ObjectReport::new(Kind::GatewayClass, key.clone(), class.metadata.generation)
    })
    .collect()
}

/// What an earlier listener of the same Gateway has that `listener` wants too.
fn conflict(earlier: &[ListenerState], listener: &ListenerState) -> Option<Flaw> {
    let same_port = || earlier.iter().filter(|l| l.port == listener.port && l.accepted.is_none());
    if let Some(other) = same_port().find(|l| l.secure != listener.secure) {
        let message = format!("port {} has another protocol in listener {}", listener.port, other.name);
        return Some((Reason::ProtocolConflict, message));
    }
    same_port().find(|l| l.hostname == listener.hostname).map(|other| {
        let message = format!(
            "port {} and hostname {} are already those of listener {}",
            listener.port, listener.hostname, other.name
        );
        (Reason::HostnameConflict, message)
    })
}

fn listener(gateway: &ObjectKey, written: &GatewayListeners, objects: &Objects, grants: &Grants<'_>) -> ListenerState {
    let port = u16::try_from(written.port).unwrap_or(0);
    let mut accepted =
        (port == 0).then(|| (Reason::PortUnavailable, format!("port {} is not between 1 and 65535", written.port)));
    let secure = written.protocol == "HTTPS";
    if !matches!(written.protocol.as_str(), "HTTP" | "HTTPS") {
        let message = format!("protocol {} is not supported; use HTTP or HTTPS", written.protocol);
        accepted.get_or_insert((Reason::UnsupportedProtocol, message));
    }
    let hostname = match written.hostname.as_deref().filter(|h| !h.is_empty()) {
        None => HostPattern::Any,
        Some(text) => HostPattern::valid(text).unwrap_or_else(|why| {
            accepted.get_or_insert((Reason::UnsupportedValue, why));
            // Nothing is served by it; a name that no request has keeps it out of others' way.
            HostPattern::Exact(text.to_owned())
        }),
    };
    let (kinds, mut unresolved) = route_kinds(written);
    let mut certificate = None;
    if secure {
        match self::certificate(gateway, written, objects, grants) {
            Ok(found) => certificate = Some(found),
            Err(flaw) => unresolved = Some(flaw),
        }
    }
    ListenerState {
        name: written.name.clone(),
        port,
        hostname,
        secure,
        namespaces: namespaces(gateway, written, objects),
        kinds,
        accepted,
        conflict: None,
        unresolved,
        certificate,
        attached: 0,
        last: None,
        routes: HostIndex::default(),
    }
}

/// The kinds a listener takes of those it names, and whether it names one that we don't have.
fn route_kinds(written: &GatewayListeners) -> (Vec<Kind>, Option<Flaw>) {
    let Some(kinds) = written.allowed_routes.as_ref().and_then(|a| a.kinds.as_deref()).filter(|k| !k.is_empty()) else {
        return (vec![Kind::HttpRoute], None);
    };
    let known = |k: &&gateway_api::gateways::GatewayListenersAllowedRoutesKinds| {
        k.group.as_deref().is_none_or(|g| g == "gateway.networking.k8s.io") && k.kind == "HTTPRoute"
    };
    let foreign: Vec<&str> = kinds.iter().filter(|k| !known(k)).map(|k| k.kind.as_str()).collect();
    let supported = if kinds.iter().any(|k| known(&k)) { vec![Kind::HttpRoute] } else { Vec::new() };
    let flaw = (!foreign.is_empty()).then(|| {
        (
            Reason::InvalidRouteKinds,
            format!("allowedRoutes.kinds: only HTTPRoute is supported, not {}", foreign.join(", ")),
        )
    });
    (supported, flaw)
}

fn namespaces(gateway: &ObjectKey, written: &GatewayListeners, objects: &Objects) -> Namespaces {
    let rule = written.allowed_routes.as_ref().and_then(|a| a.namespaces.as_ref());
    match rule.and_then(|r| r.from.as_ref()) {
        Some(From::All) => Namespaces::All,
        Some(From::Selector) => {
            let selector = rule.and_then(|r| r.selector.as_ref());
            let matches = |labels: &BTreeMap<String, String>| selector.is_some_and(|s| selects(s, labels));
            // In files a Namespace document is optional: every namespace has its own name as a label.
            let used = objects.http_routes.keys().map(|k| k.namespace.as_str());
            let mut names: Vec<&str> = used.chain(objects.namespaces.keys().map(|k| k.name.as_str())).collect();
            names.sort_unstable();
            names.dedup();
            let listed = names.into_iter().filter(|name| {
                let namespace = objects.namespaces.get(&ObjectKey::cluster(*name));
                let mut labels = namespace.and_then(|n| n.metadata.labels.clone()).unwrap_or_default();
                labels.entry("kubernetes.io/metadata.name".into()).or_insert_with(|| (*name).to_owned());
                matches(&labels)
            });
            Namespaces::Listed(listed.map(str::to_owned).collect())
        }
        Some(From::Same) | None => Namespaces::Same(gateway.namespace.clone()),
    }
}

/// Kubernetes label selectors; an operator that isn't known matches nothing.
fn selects(
    selector: &gateway_api::gateways::GatewayListenersAllowedRoutesNamespacesSelector,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v))
        && selector.match_expressions.iter().flatten().all(|e| {
            let value = labels.get(&e.key);
            let listed = || value.is_some_and(|v| e.values.iter().flatten().any(|x| x == v));
            match e.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

fn certificate(
    gateway: &ObjectKey,
    written: &GatewayListeners,
    objects: &Objects,
    grants: &Grants<'_>,
) -> Result<Arc<CertifiedKey>, Flaw> {
    let invalid = |message: String| (Reason::InvalidCertificateRef, message);
    let config = written.tls.as_ref().ok_or_else(|| invalid("an HTTPS listener needs tls.certificateRefs".into()))?;
    if matches!(config.mode, Some(GatewayListenersTlsMode::Passthrough)) {
        return Err(invalid("tls.mode Passthrough is not supported for HTTPS; use Terminate".into()));
    }
    // The first is served; the Gateway API leaves the meaning of more than one to each implementation.
    let reference = config
        .certificate_refs
        .iter()
        .flatten()
        .next()
        .ok_or_else(|| invalid("an HTTPS listener needs tls.certificateRefs".into()))?;
    let (group, kind) = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or("Secret"));
    if !group.is_empty() || kind != "Secret" {
        return Err(invalid(format!("certificateRefs: only a Secret is supported, not {group}/{kind}")));
    }
    let key = ObjectKey::new(reference.namespace.as_deref().unwrap_or(&gateway.namespace), &reference.name);
    if !grants.allow(GATEWAY, &gateway.namespace, GroupKind { group: "", kind: "Secret" }, &key) {
        return Err((Reason::RefNotPermitted, grants::missing(Kind::Secret, &key, "Gateways of this namespace")));
    }
    let secret = objects.secrets.get(&key).ok_or_else(|| invalid(format!("Secret {key} does not exist")))?;
    tls::certified_key(secret).map_err(|why| invalid(format!("Secret {key}: {why}")))
}

/// Ports to bind and what to say, once all routes are attached.
pub fn finish(gateways: Gateways) -> (BTreeMap<u16, Port>, Vec<ObjectReport>) {
    let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
    let mut reports = gateways.classes;
    for (key, state) in gateways.by_key {
        let mut report = ObjectReport::new(Kind::Gateway, key, state.generation);
        report.conditions = gateway_conditions(&state.listeners);
        report.listeners = state.listeners.iter().map(ListenerState::report).collect();
        reports.push(report);
        let mut certificates: BTreeMap<u16, TlsTable> = BTreeMap::new();
        for mut listener in state.listeners.into_iter().filter(ListenerState::serves) {
            listener.routes.values_mut().for_each(PathTable::sort);
            if let Some(certificate) = listener.certificate {
                let table = certificates.entry(listener.port).or_default();
                *table.certificates.entry(&listener.hostname) = Some(certificate);
            }
            let port = ports.entry(listener.port).or_default();
            *port.listeners.entry(&listener.hostname) =
                Listener { gateway: Arc::clone(&state.name), name: listener.name, routes: listener.routes };
        }
        for (number, table) in certificates {
            match (table.into_config(), ports.get_mut(&number)) {
                (Ok(config), Some(port)) => port.tls = Some(config),
                // Never in clear what was to be secured.
                _ => drop(ports.remove(&number)),
            }
        }
    }
    (ports, reports)
}

fn gateway_conditions(listeners: &[ListenerState]) -> Vec<Condition> {
    let serving = listeners.iter().filter(|l| l.serves()).count();
    let invalid: Vec<&str> = listeners.iter().filter(|l| !l.serves()).map(|l| l.name.as_str()).collect();
    let message = if invalid.is_empty() {
        String::new()
    } else {
        format!("not served: {}; see the listeners' conditions", invalid.join(", "))
    };
    let accepted = match (serving, invalid.is_empty()) {
        (_, true) => Condition::new(ConditionType::Accepted, true, Reason::Accepted, ""),
        (0, false) => Condition::new(ConditionType::Accepted, false, Reason::ListenersNotValid, message.clone()),
        (_, false) => Condition::new(ConditionType::Accepted, true, Reason::ListenersNotValid, message.clone()),
    };
    let programmed = if serving > 0 {
        Condition::new(ConditionType::Programmed, true, Reason::Programmed, "")
    } else {
        Condition::new(ConditionType::Programmed, false, Reason::Invalid, message)
    };
    vec![accepted, programmed]
}
