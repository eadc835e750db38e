//! Listeners of Gateways: the port and protocol of each, the routes that may attach to it, and its problems.

use std::{collections::BTreeMap, sync::Arc};

use gateway_api::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From, GatewayListenersTlsCertificateRefs,
    GatewayListenersTlsMode,
};
use rustls::sign::CertifiedKey;

use super::{
    Condition, ListenerReport, Objects,
    grants::{self, GATEWAY, Grants, GroupKind},
    tls,
};
use crate::{
    api::{
        Kind, ObjectKey,
        condition::{ConditionType, Reason},
    },
    snapshot::{HostIndex, HostPattern, PathTable},
};

/// A problem, as the reason and message of a condition.
pub type Flaw = (Reason, String);

/// One listener while routes are attached to it.
pub struct ListenerState {
    pub name: String,
    /// The port that clients use.
    pub port: u16,
    /// The port of the pod that is bound for it, once it is assigned.
    pub target: Option<u16>,
    pub hostname: HostPattern,
    pub secure: bool,
    namespaces: Namespaces,
    kinds: Vec<Kind>,
    /// The reason why the listener is not accepted.
    pub accepted: Option<Flaw>,
    /// The listener of another Gateway that has the same port.
    pub conflict: Option<Flaw>,
    /// The listener whose host name overlaps with its own, on a port with TLS.
    overlap: Option<String>,
    /// Which reference does not resolve.
    unresolved: Option<Flaw>,
    pub certificate: Option<Arc<CertifiedKey>>,
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
    /// The state of `written` by itself, without regard to other listeners.
    pub fn new(gateway: &ObjectKey, written: &GatewayListeners, objects: &Objects, grants: &Grants<'_>) -> Self {
        let port = u16::try_from(written.port).unwrap_or(0);
        let mut accepted = (port == 0).then(|| {
            (Reason::PortUnavailable, format!("port {} is not between 1 and 65535; use another", written.port))
        });
        let secure = written.protocol == "HTTPS";
        let (mut kinds, mut unresolved) = route_kinds(written);
        if !matches!(written.protocol.as_str(), "HTTP" | "HTTPS") {
            let message = format!("protocol {} is not supported; use HTTP or HTTPS", written.protocol);
            accepted.get_or_insert((Reason::UnsupportedProtocol, message));
            kinds.clear();
        }
        let hostname = match written.hostname.as_deref().filter(|h| !h.is_empty()) {
            None => HostPattern::Any,
            Some(text) => HostPattern::valid(text).unwrap_or_else(|why| {
                accepted.get_or_insert((Reason::UnsupportedValue, why));
                // Nothing is served by it; a name that no request has keeps it from conflicting with others.
                HostPattern::Exact(text.to_owned())
            }),
        };
        let mut certificate = None;
        if secure {
            match certificates(gateway, written, objects, grants) {
                Ok((first, more)) => (certificate, unresolved) = (Some(first), more.or(unresolved)),
                Err(flaw) => unresolved = Some(flaw),
            }
        }
        Self {
            name: written.name.clone(),
            port,
            target: None,
            hostname,
            secure,
            namespaces: namespaces(gateway, written, objects),
            kinds,
            accepted,
            conflict: None,
            overlap: None,
            unresolved,
            certificate,
            attached: 0,
            last: None,
            routes: HostIndex::default(),
        }
    }

    /// Whether traffic may reach it: the manifest has no problem.
    pub fn is_valid(&self) -> bool {
        self.accepted.is_none() && self.conflict.is_none() && (!self.secure || self.certificate.is_some())
    }

    /// Whether traffic reaches it.
    pub fn serves(&self) -> bool {
        self.is_valid() && self.target.is_some()
    }

    /// The reason why HTTPRoutes of `namespace` may not attach, and which change would allow it.
    pub fn refusal(&self, namespace: &str) -> Option<String> {
        let name = &self.name;
        if !self.kinds.contains(&Kind::HttpRoute) {
            let why = match &self.accepted {
                Some((Reason::UnsupportedProtocol, why)) => why.as_str(),
                _ => "its allowedRoutes.kinds does not name HTTPRoute",
            };
            return Some(format!("listener \"{name}\" takes no HTTPRoutes: {why}"));
        }
        let allows = match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Same(own) => own == namespace,
            Namespaces::Listed(names) => names.iter().any(|n| n == namespace),
        };
        (!allows).then(|| {
            format!(
                "listener \"{name}\" does not allow HTTPRoutes of namespace \"{namespace}\"; the Gateway's owner can allow \
                 them in its allowedRoutes.namespaces"
            )
        })
    }

    /// Attaches a route. Returns `false` when it already was attached, because another of its parentRefs selects this
    /// listener too. A route is attached to all its listeners before the next one is.
    pub fn attach(&mut self, route: &Arc<str>) -> bool {
        let fresh = self.last.as_ref() != Some(route);
        if fresh {
            self.last = Some(Arc::clone(route));
        }
        fresh
    }

    /// Counts the route that was attached.
    pub fn count(&mut self) {
        self.attached += 1;
    }

    /// Its conditions. `refused` is the reason why its Gateway as a whole is not set up.
    pub fn report(&self, refused: Option<&str>) -> ListenerReport {
        let flaw = |kind, flaw: Option<&Flaw>, good: Reason| match flaw {
            None => Condition::new(kind, true, good, ""),
            Some((reason, message)) => Condition::new(kind, false, *reason, message.clone()),
        };
        let conflicted = match &self.conflict {
            None => Condition::new(ConditionType::Conflicted, false, Reason::NoConflicts, ""),
            Some((reason, message)) => Condition::new(ConditionType::Conflicted, true, *reason, message.clone()),
        };
        let accepted = self.accepted.as_ref().or(self.conflict.as_ref());
        let overlap = self.overlap.as_ref().map(|why| {
            Condition::new(ConditionType::OverlappingTLSConfig, true, Reason::OverlappingHostnames, why.clone())
        });
        let conditions = vec![
            flaw(ConditionType::Accepted, accepted, Reason::Accepted),
            conflicted,
            flaw(ConditionType::ResolvedRefs, self.unresolved.as_ref(), Reason::ResolvedRefs),
            self.programmed(refused),
        ];
        ListenerReport {
            name: self.name.clone(),
            attached_routes: self.attached,
            supported_kinds: self.kinds.clone(),
            conditions: conditions.into_iter().chain(overlap).collect(),
        }
    }

    fn programmed(&self, refused: Option<&str>) -> Condition {
        let not = |reason, why: String| Condition::new(ConditionType::Programmed, false, reason, why);
        if self.serves() {
            return Condition::new(ConditionType::Programmed, true, Reason::Programmed, "");
        }
        if !self.is_valid() {
            let first = self.accepted.as_ref().or(self.conflict.as_ref()).or(self.unresolved.as_ref());
            return not(Reason::Invalid, first.map(|(_, message)| message.clone()).unwrap_or_default());
        }
        match refused {
            Some(why) => not(Reason::Invalid, why.to_owned()),
            None => not(
                Reason::Pending,
                format!("port {} waits for the Gateway's Service; see the Gateway's conditions", self.port),
            ),
        }
    }
}

/// Marks every listener that conflicts with another of the same Gateway. The Gateway API has no winner among them.
pub fn mark_conflicts(listeners: &mut [ListenerState]) {
    let conflicts: Vec<Option<Flaw>> =
        listeners.iter().enumerate().map(|(index, listener)| conflict(listeners, index, listener)).collect();
    for (listener, conflict) in listeners.iter_mut().zip(conflicts) {
        listener.conflict = conflict;
    }
}

/// Marks listeners with TLS whose host names overlap with another's of the same port: a client that has a connection to
/// one may reuse it for a name of the other.
pub fn mark_overlaps(listeners: &mut [ListenerState]) {
    let takes_part = |l: &ListenerState| l.secure && l.accepted.is_none() && l.conflict.is_none();
    let overlaps: Vec<Option<String>> = listeners
        .iter()
        .map(|listener| {
            let other = listeners.iter().find(|other| {
                other.name != listener.name
                    && other.port == listener.port
                    && takes_part(other)
                    && takes_part(listener)
                    && other.hostname.intersect(&listener.hostname).is_some()
            })?;
            Some(format!("hostname {} overlaps with {} of listener {}", listener.hostname, other.hostname, other.name))
        })
        .collect();
    for (listener, overlap) in listeners.iter_mut().zip(overlaps) {
        listener.overlap = overlap;
    }
}

/// The conflict of `listener`, the one at `index`, with another listener of the same Gateway.
fn conflict(all: &[ListenerState], index: usize, listener: &ListenerState) -> Option<Flaw> {
    if listener.accepted.is_some() {
        return None;
    }
    let others = || {
        let others = all.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
        others.filter(|other| other.port == listener.port && other.accepted.is_none())
    };
    if let Some(other) = others().find(|l| l.secure != listener.secure) {
        let message = format!(
            "port {} has another protocol in listener {}; neither is served: give one of them another port",
            listener.port, other.name
        );
        return Some((Reason::ProtocolConflict, message));
    }
    others().find(|l| l.hostname == listener.hostname).map(|other| {
        let message = format!(
            "listener {} has the same port {} and hostname {}; neither is served: change one of them",
            other.name, listener.port, listener.hostname
        );
        (Reason::HostnameConflict, message)
    })
}

/// The kinds a listener allows of those it names, and whether it names one that Tollgate does not support.
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

/// Kubernetes label selectors; an unknown operator matches nothing.
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

/// The certificate that is served, which is the first, and the problem of one of the others.
fn certificates(
    gateway: &ObjectKey,
    written: &GatewayListeners,
    objects: &Objects,
    grants: &Grants<'_>,
) -> Result<(Arc<CertifiedKey>, Option<Flaw>), Flaw> {
    let invalid = |message: &str| (Reason::InvalidCertificateRef, message.to_owned());
    let config = written.tls.as_ref().ok_or_else(|| invalid("an HTTPS listener needs tls.certificateRefs"))?;
    if matches!(config.mode, Some(GatewayListenersTlsMode::Passthrough)) {
        return Err(invalid("tls.mode Passthrough is not supported for HTTPS; use Terminate"));
    }
    // The Gateway API leaves the meaning of more than one to each implementation.
    let mut references = config.certificate_refs.iter().flatten();
    let first = references.next().ok_or_else(|| invalid("an HTTPS listener needs tls.certificateRefs"))?;
    let first = certificate(gateway, first, objects, grants)?;
    let more = references.find_map(|reference| certificate(gateway, reference, objects, grants).err());
    Ok((first, more))
}

fn certificate(
    gateway: &ObjectKey,
    reference: &GatewayListenersTlsCertificateRefs,
    objects: &Objects,
    grants: &Grants<'_>,
) -> Result<Arc<CertifiedKey>, Flaw> {
    let invalid = |message: String| (Reason::InvalidCertificateRef, message);
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
