//! Compiles Gateways to ports and reports.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    sync::Arc,
};

use super::{
    Change, Condition, Controller, Env, GatewayAddress, ObjectReport, Objects, Scope,
    expose::{self, Desired, Exposed},
    features::Feature,
    grants::Grants,
    listener::{self, Flaw, ListenerState},
    parameters::{self, Settings},
    unread,
};
use crate::{
    api::{
        Kind, ObjectKey,
        condition::{ConditionType, Reason},
        gateway::{Gateway, GatewayClass},
    },
    snapshot::{Listener, PathTable, Port, TlsTable},
};

/// The Gateways that Tollgate serves, by key.
pub struct Gateways {
    pub by_key: BTreeMap<ObjectKey, GatewayState>,
    /// Reports of classes and parameters.
    others: Vec<ObjectReport>,
    /// Writes that they need.
    pub changes: Vec<Change>,
}

/// One Gateway while routes are attached to it.
pub struct GatewayState {
    generation: Option<i64>,
    pub name: Arc<str>,
    pub listeners: Vec<ListenerState>,
    /// The reason why it is refused as a whole.
    refused: Option<Flaw>,
    /// The parts that are ignored, as text.
    ignored: String,
    /// Its address, or the part that is still missing. Both are empty without a cluster.
    addresses: Vec<GatewayAddress>,
    lacking: Option<Flaw>,
}

/// A Gateway that Tollgate serves, with its settings and listeners.
struct Candidate<'a> {
    key: &'a ObjectKey,
    gateway: &'a Gateway,
    settings: Result<Settings, Flaw>,
    listeners: Vec<ListenerState>,
}

/// Compiles every Gateway that Tollgate serves. If two need the same port, the older has precedence, then the first by
/// name.
pub fn compile_all(objects: &Objects, env: &Env, grants: &Grants<'_>) -> Gateways {
    let mut ours: Vec<(&ObjectKey, &Arc<Gateway>)> =
        objects.gateways.iter().filter(|(key, gateway)| is_ours(objects, env, key, gateway)).collect();
    let age = |gateway: &Gateway| gateway.metadata.creation_timestamp.as_ref().map(|t| t.0.as_second());
    ours.sort_by_key(|(key, gateway)| (age(gateway).unwrap_or(i64::MAX), *key));
    let others = other_reports(objects, &env.controller, &ours);
    let candidates: Vec<Candidate<'_>> = ours
        .into_iter()
        .map(|(key, gateway)| Candidate {
            key,
            gateway,
            settings: settings(objects, key, gateway),
            listeners: listeners(key, gateway, objects, grants),
        })
        .collect();
    let mut holders = HashMap::new();
    let (exposed, changes) = match &env.install {
        Some(install) => expose::expose(objects, &env.controller, install, &wanted(&candidates)),
        None => (own_ports(&candidates, &mut holders), Vec::new()),
    };
    let by_key = candidates.into_iter().zip(exposed).map(|(candidate, exposed)| {
        let Candidate { key, gateway, settings, mut listeners } = candidate;
        let Exposed { targets, addresses, lacking } = exposed;
        let waits = env.install.is_some() && !settings.as_ref().is_ok_and(|s| s.self_managed);
        for listener in &mut listeners {
            listener.target = targets.get(&listener.port).copied();
            if listener.target.is_none() && !waits && listener.is_valid() {
                let holder = holders.get(&listener.port);
                let whom = holder.map_or_else(
                    || "another Gateway, or by Tollgate itself".to_owned(),
                    |holder| format!("Gateway {holder}"),
                );
                let message = format!("port {} is already used by {whom}; use another", listener.port);
                listener.accepted = Some((Reason::PortUnavailable, message));
            }
        }
        let state = GatewayState {
            generation: gateway.metadata.generation,
            name: key.to_string().into(),
            listeners,
            refused: settings.err(),
            ignored: unread::ignored_by_gateway(objects.unread(Kind::Gateway, key)),
            addresses,
            lacking,
        };
        (key.clone(), state)
    });
    Gateways { by_key: by_key.collect(), others, changes }
}

/// The settings from the Gateway's parameters, or why it is refused as a whole.
fn settings(objects: &Objects, key: &ObjectKey, gateway: &Gateway) -> Result<Settings, Flaw> {
    let mut requested = gateway.spec.addresses.iter().flatten();
    if !Feature::GatewayStaticAddresses.served()
        && let Some(address) = requested.find(|a| {
            a.value.as_ref().is_some_and(|v| !v.is_empty()) || a.r#type.as_deref().is_some_and(|t| t != "IPAddress")
        })
    {
        let message = format!(
            "spec.addresses requests {} {}, but fixed addresses are not supported; remove it. The Gateway's addresses are \
             those of its Service, which GatewayParameters (spec.kube.service.clusterIP, extraAnnotations) can fix",
            address.r#type.as_deref().unwrap_or("IPAddress"),
            address.value.as_deref().unwrap_or("any"),
        );
        return Err((Reason::UnsupportedAddress, message));
    }
    if let Some(flaw) = unread::of_gateway(objects.unread(Kind::Gateway, key)) {
        return Err(flaw);
    }
    parameters::of_gateway(objects, key, gateway).map_err(|why| (Reason::InvalidParameters, why))
}

fn listeners(key: &ObjectKey, gateway: &Gateway, objects: &Objects, grants: &Grants<'_>) -> Vec<ListenerState> {
    let client_certificates = gateway.spec.tls.as_ref().is_some_and(|tls| tls.frontend.is_some());
    let own_certificate = gateway.spec.tls.as_ref().is_some_and(|tls| tls.backend.is_some());
    let listener = |written| {
        let mut listener = ListenerState::new(key, written, objects, grants);
        // It requires client certificates: nothing is served without that check.
        if listener.secure && client_certificates && !Feature::GatewayFrontendClientCertificate.served() {
            let message = "spec.tls.frontend (client certificates) is not supported yet; nothing is served without it";
            listener.accepted.get_or_insert((Reason::UnsupportedValue, message.to_owned()));
        }
        // It requires that Tollgate shows backends a client certificate: without it nothing is sent to them.
        if own_certificate && !Feature::GatewayBackendClientCertificate.served() {
            let message = "spec.tls.backend (a client certificate for backends) is not supported yet; nothing is served \
                           without it";
            listener.accepted.get_or_insert((Reason::UnsupportedValue, message.to_owned()));
        }
        listener
    };
    let mut listeners: Vec<ListenerState> = gateway.spec.listeners.iter().map(listener).collect();
    unread::close_listeners(objects.unread(Kind::Gateway, key), &mut listeners);
    listener::mark_conflicts(&mut listeners);
    listener::mark_overlaps(&mut listeners);
    listeners
}

fn wanted<'a>(candidates: &'a [Candidate<'a>]) -> Vec<Desired<'a>> {
    let desired = |candidate: &'a Candidate<'a>| {
        let mut ports = BTreeMap::new();
        // A listener whose certificate is missing keeps its port: the certificate may arrive at any moment.
        for l in candidate.listeners.iter().filter(|l| l.accepted.is_none() && l.conflict.is_none()) {
            ports.entry(l.port).or_insert_with(|| l.name.clone());
        }
        Desired { key: candidate.key, gateway: candidate.gateway, settings: candidate.settings.as_ref().ok(), ports }
    };
    candidates.iter().map(desired).collect()
}

/// Assigns ports without Services: every listener binds its own port, which only one Gateway can have.
fn own_ports<'a>(candidates: &[Candidate<'a>], holders: &mut HashMap<u16, &'a ObjectKey>) -> Vec<Exposed> {
    let exposed = candidates.iter().map(|candidate| {
        let free = candidate.listeners.iter().filter(|l| l.accepted.is_none() && l.conflict.is_none()).map(|l| l.port);
        let own: BTreeSet<u16> =
            free.filter(|port| *holders.entry(*port).or_insert(candidate.key) == candidate.key).collect();
        Exposed { targets: own.into_iter().map(|port| (port, port)).collect(), ..Exposed::default() }
    });
    exposed.collect()
}

fn is_ours(objects: &Objects, env: &Env, key: &ObjectKey, gateway: &Gateway) -> bool {
    let class = objects.gateway_classes.get(&ObjectKey::cluster(&gateway.spec.gateway_class_name));
    match class {
        Some(class) => env.controller.has(class),
        // Deleting a class takes nothing away from the Gateways that it has served: it may be about to be replaced.
        None => env.scope == Scope::Files || expose::has_service(objects, &env.controller, key, gateway),
    }
}

/// Reports of Tollgate's classes, and of the parameters that they and the Gateways refer to.
fn other_reports(
    objects: &Objects,
    controller: &Controller,
    gateways: &[(&ObjectKey, &Arc<Gateway>)],
) -> Vec<ObjectReport> {
    let ours = || objects.gateway_classes.iter().filter(|(_, class)| controller.has(class));
    let mut reports: Vec<ObjectReport> = ours().map(|(key, class)| class_report(objects, key, class)).collect();
    let gateways = gateways.iter().map(|(key, gateway)| (*key, &***gateway));
    reports.extend(parameters::reports(objects, ours().map(|(_, class)| &**class), gateways));
    reports
}

fn class_report(objects: &Objects, key: &ObjectKey, class: &GatewayClass) -> ObjectReport {
    let accepted = match parameters::of_class(objects, class) {
        Ok(_) => Condition::new(ConditionType::Accepted, true, Reason::Accepted, ""),
        Err(why) => Condition::new(ConditionType::Accepted, false, Reason::InvalidParameters, why),
    };
    ObjectReport {
        conditions: vec![accepted],
        supported_features: Feature::supported(),
        ..ObjectReport::new(Kind::GatewayClass, key.clone(), class.metadata.generation)
    }
}

/// Ports to bind and reports, once all routes are attached.
pub fn finish(gateways: Gateways) -> (BTreeMap<u16, Port>, Vec<ObjectReport>) {
    let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
    let mut reports = gateways.others;
    for (key, state) in gateways.by_key {
        let mut report = ObjectReport::new(Kind::Gateway, key, state.generation);
        report.conditions = gateway_conditions(&state);
        // A Gateway that waits for something that can't happen reports that.
        let never = state.lacking.as_ref().filter(|(reason, _)| *reason == Reason::Invalid);
        let refused = state.refused.as_ref().or(never).map(|(_, why)| why.as_str());
        report.listeners = state.listeners.iter().map(|l| l.report(refused)).collect();
        report.addresses = state.addresses;
        reports.push(report);
        let mut certificates: BTreeMap<u16, TlsTable> = BTreeMap::new();
        for mut listener in state.listeners {
            let Some(target) = listener.target.filter(|_| listener.serves()) else { continue };
            listener.routes.values_mut().for_each(PathTable::sort);
            if let Some(certificate) = listener.certificate {
                let table = certificates.entry(target).or_default();
                *table.certificates.entry(&listener.hostname) = Some(certificate);
            }
            let port = ports.entry(target).or_default();
            *port.listeners.entry(&listener.hostname) =
                Listener { gateway: Arc::clone(&state.name), name: listener.name, routes: listener.routes };
        }
        for (number, table) in certificates {
            let Entry::Occupied(mut port) = ports.entry(number) else { continue };
            match table.into_config() {
                Ok(config) => port.get_mut().tls = Some(config),
                // Traffic that should be encrypted is never served in clear.
                Err(_) => drop(port.remove()),
            }
        }
    }
    (ports, reports)
}

fn gateway_conditions(state: &GatewayState) -> Vec<Condition> {
    let accepted = |status, reason, why: &str| Condition::new(ConditionType::Accepted, status, reason, why);
    let programmed = |status, reason, why: &str| Condition::new(ConditionType::Programmed, status, reason, why);
    if let Some((reason, why)) = &state.refused {
        let until = format!("{why}; until that is mended nothing changes for it, and ports that were served still are");
        return vec![accepted(false, *reason, why), programmed(false, Reason::Invalid, &until)];
    }
    let listeners = &state.listeners;
    let valid = listeners.iter().any(ListenerState::is_valid);
    let invalid: Vec<&str> = listeners.iter().filter(|l| !l.is_valid()).map(|l| l.name.as_str()).collect();
    let message = format!("not served: {}; see the listeners' conditions", invalid.join(", "));
    let first = if invalid.is_empty() {
        accepted(true, Reason::Accepted, &state.ignored)
    } else {
        accepted(valid, Reason::ListenersNotValid, &message)
    };
    let waiting: Vec<&str> =
        listeners.iter().filter(|l| l.is_valid() && !l.serves()).map(|l| l.name.as_str()).collect();
    let second = if !valid {
        programmed(false, Reason::Invalid, &message)
    } else if let Some((reason, why)) = &state.lacking {
        programmed(false, *reason, why)
    } else if waiting.len() == listeners.len() - invalid.len() {
        let why = format!("the Service is about to be written for: {}", waiting.join(", "));
        programmed(false, Reason::Pending, &why)
    } else {
        programmed(true, Reason::Programmed, "")
    };
    vec![first, second]
}
