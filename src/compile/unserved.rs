//! Objects of kinds that may belong to a Gateway and that Tollgate does not serve: their authors are informed.

use super::{
    Condition, ObjectReport, Objects, ParentReport, Unattached,
    gateway::Gateways,
    parent::{is_gateway, parent_key},
};
use crate::api::{
    Kind, ObjectKey,
    condition::{ConditionType, Reason},
    gateway::{ParentRef, Unserved},
};

/// A report for each object whose parent is a Gateway of Tollgate. Those of other controllers' Gateways are theirs.
pub fn reports(objects: &Objects, gateways: &Gateways) -> (Vec<ObjectReport>, Vec<Unattached>) {
    let (mut reports, mut unattached) = (Vec::new(), Vec::new());
    for (kind, map) in &objects.unserved {
        for (key, object) in map {
            let parents: Vec<_> = our_parents(key, object, gateways).collect();
            let Some((_, first)) = parents.first() else { continue };
            let generation = object.metadata.generation;
            let mut report = ObjectReport::new(*kind, key.clone(), generation);
            unattached.push(Unattached {
                kind: *kind,
                key: key.clone(),
                message: message(*kind, first),
                has_condition: true,
            });
            if kind.is_listener_set() {
                let why = message(*kind, first);
                report.conditions = vec![
                    Condition::new(ConditionType::Accepted, false, Reason::NotAllowed, why.clone()),
                    Condition::new(ConditionType::Programmed, false, Reason::Invalid, why),
                ];
            } else {
                report.parents = parents.into_iter().map(|(parent, gateway)| refused(*kind, parent, gateway)).collect();
            }
            reports.push(report);
        }
    }
    (reports, unattached)
}

/// The problem of a route's parent that is a set of listeners; `None` when it is none, or another controller's.
pub fn parent_set(objects: &Objects, gateways: &Gateways, key: &ObjectKey, parent: &ParentRef) -> Option<String> {
    let kind = match parent.kind.as_deref() {
        Some("ListenerSet") => Kind::ListenerSet,
        Some("XListenerSet") => Kind::XListenerSet,
        _ => return None,
    };
    let set = parent_key(key, parent);
    let known = objects.unserved.get(&kind).and_then(|sets| sets.get(&set));
    let anothers = known.is_some_and(|known| our_parents(&set, known, gateways).next().is_none());
    (!anothers).then(|| format!("parentRef to {kind} {}: {kind}s are not supported; name the Gateway", parent.name))
}

/// The parents that are Gateways of Tollgate.
fn our_parents<'a>(
    key: &ObjectKey,
    object: &'a Unserved,
    gateways: &Gateways,
) -> impl Iterator<Item = (&'a ParentRef, ObjectKey)> {
    let parents = object.parents().filter(|parent| is_gateway(parent));
    parents.map(|parent| (parent, parent_key(key, parent))).filter(|(_, key)| gateways.by_key.contains_key(key))
}

fn refused(kind: Kind, parent: &ParentRef, gateway: ObjectKey) -> ParentReport {
    let why = message(kind, &gateway);
    ParentReport {
        kind: Kind::Gateway,
        key: gateway,
        section_name: parent.section_name.clone(),
        port: parent.port.and_then(|port| u16::try_from(port).ok()),
        // No listener has this kind among its `supportedKinds`.
        conditions: vec![Condition::new(ConditionType::Accepted, false, Reason::NotAllowedByListeners, why)],
    }
}

fn message(kind: Kind, gateway: &ObjectKey) -> String {
    if kind.is_listener_set() {
        format!("{kind}s are not supported: Gateway {gateway} serves the listeners of its own spec; move them there")
    } else {
        format!("{kind}s are not supported: the listeners of Gateway {gateway} serve HTTPRoutes only")
    }
}
