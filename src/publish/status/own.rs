//! Statuses that one controller writes: those of GatewayClass, Gateway, GatewayParameters and Backend.

use gateway_api::gateways::GatewayStatusListeners;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition as Written, Time},
    jiff::Timestamp,
};
use kube::api::{DynamicObject, ResourceExt};
use serde_json::{Value, json};

use super::{
    Update,
    conditions::{is_current, is_ours, merged},
};
use crate::{
    api::{
        Kind,
        backend::{Backend, BackendSpec},
        condition::{ConditionType, Reason},
        gateway::{Gateway, GatewayClass, Unserved},
        gateway_parameters::GatewayParameters,
    },
    compile::{
        Condition, GatewayAddress, ListenerReport, ObjectReport,
        shape::{BackendShape, shape},
    },
    publish::events::find_transitions,
};

/// The new status of a GatewayClass; `None` when the status is current.
pub(in crate::publish) fn class(report: &ObjectReport, object: &GatewayClass, now: Timestamp) -> Option<Update> {
    let status = object.status.as_ref();
    let present = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let features = status.and_then(|s| s.supported_features.as_deref()).unwrap_or_default();
    let same_features = features.iter().map(|f| f.name.as_str()).eq(report.supported_features.iter().copied());
    if same_features && is_current(present, &report.conditions, report.generation) {
        return None;
    }
    let features: Vec<Value> = report.supported_features.iter().map(|name| json!({"name": name})).collect();
    let status = json!({
        "conditions": merged(present, &report.conditions, report.generation, now),
        "supportedFeatures": features,
    });
    let transitions = find_transitions("", present, &report.conditions).collect();
    Some(Update::fields(object.metadata.resource_version.as_deref(), &status, transitions))
}

/// The new status of a Gateway; `None` when the status is current.
pub(in crate::publish) fn gateway(report: &ObjectReport, object: &Gateway, now: Timestamp) -> Option<Update> {
    let status = object.status.as_ref();
    let present = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let listeners = status.and_then(|s| s.listeners.as_deref()).unwrap_or_default();
    let addresses = status.and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    let same_addresses = addresses.len() == report.addresses.len()
        && addresses
            .iter()
            .zip(&report.addresses)
            .all(|(a, b)| a.r#type.as_deref() == Some(b.kind.as_str()) && a.value == b.value);
    let same_listeners = listeners.len() == report.listeners.len()
        && listeners.iter().zip(&report.listeners).all(|(a, b)| is_same_listener(a, b, report.generation));
    if same_addresses && same_listeners && is_current(present, &report.conditions, report.generation) {
        return None;
    }
    let mut transitions: Vec<_> = find_transitions("", present, &report.conditions).collect();
    let mut written = Vec::with_capacity(report.listeners.len());
    for listener in &report.listeners {
        let old = listeners.iter().find(|l| l.name == listener.name).map_or(&[][..], |l| &l.conditions);
        transitions.extend(find_transitions(&format!("listener {}", listener.name), old, &listener.conditions));
        written.push(json!({
            "name": listener.name,
            "attachedRoutes": listener.attached_routes,
            "supportedKinds": listener.supported_kinds.iter().map(|kind| route_kind(*kind)).collect::<Vec<_>>(),
            "conditions": merged(old, &listener.conditions, report.generation, now),
        }));
    }
    let address = |a: &GatewayAddress| json!({"type": a.kind.as_str(), "value": a.value});
    let status = json!({
        "addresses": report.addresses.iter().map(address).collect::<Vec<_>>(),
        "conditions": merged(present, &report.conditions, report.generation, now),
        "listeners": written,
    });
    Some(Update::fields(object.metadata.resource_version.as_deref(), &status, transitions))
}

/// The status of a Gateway that Tollgate has served and whose class another controller serves now: without what only
/// Tollgate can say. `None` when the status has nothing of Tollgate's, or the other controller has written it.
pub(in crate::publish) fn left_gateway(object: &Gateway, now: Timestamp) -> Option<Update> {
    let status = object.status.as_ref()?;
    let present = status.conditions.as_deref().unwrap_or_default();
    // The change of the class made a new generation, which Tollgate has not observed.
    let observed = present.iter().any(|c| c.observed_generation == object.metadata.generation);
    let said = |c: &Written| is_ours(c) && c.status != "Unknown";
    if observed || !present.iter().any(said) {
        return None;
    }
    let message = format!("waiting for the controller of class {}", object.spec.gateway_class_name);
    let waiting = [ConditionType::Accepted, ConditionType::Programmed].map(|kind| {
        json!({
            "type": kind.as_str(), "status": "Unknown", "reason": Reason::Pending.as_str(), "message": message,
            "lastTransitionTime": Time(now),
        })
    });
    let others = present.iter().filter(|c| !is_ours(c)).map(|c| json!(c));
    let conditions: Vec<Value> = waiting.into_iter().chain(others).collect();
    let status = json!({"addresses": [], "conditions": conditions, "listeners": []});
    Some(Update::fields(object.metadata.resource_version.as_deref(), &status, Vec::new()))
}

fn route_kind(kind: Kind) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": kind.as_str()})
}

fn is_same_listener(present: &GatewayStatusListeners, wanted: &ListenerReport, generation: Option<i64>) -> bool {
    let kinds = present.supported_kinds.as_deref().unwrap_or_default();
    present.name == wanted.name
        && i64::from(present.attached_routes) == i64::from(wanted.attached_routes)
        && kinds.iter().map(|k| k.kind.as_str()).eq(wanted.supported_kinds.iter().map(|k| k.as_str()))
        && is_current(&present.conditions, &wanted.conditions, generation)
}

/// The new status of a Backend; `None` when the status is current.
pub(in crate::publish) fn backend(report: &ObjectReport, object: &Backend, now: Timestamp) -> Option<Update> {
    let status = object.status.as_ref();
    let present = status.map(|s| s.conditions.as_slice()).unwrap_or_default();
    let providers = providers(&object.spec);
    // A cluster with an older definition drops the field from what is written. Its absence alone is no difference, or
    // no status would ever be current there.
    let same_health = status
        .and_then(|status| status.healthy.as_ref())
        .is_none_or(|present| Some(present) == report.healthy.as_ref());
    if status.and_then(|s| s.providers.as_ref()) == providers.as_ref()
        && same_health
        && is_current(present, &report.conditions, report.generation)
    {
        return None;
    }
    let status = json!({
        "conditions": merged(present, &report.conditions, report.generation, now),
        "providers": providers,
        "healthy": report.healthy,
    });
    let transitions = find_transitions("", present, &report.conditions).collect();
    Some(Update::fields(object.metadata.resource_version.as_deref(), &status, transitions))
}

/// The new status of GatewayParameters; `None` when the status is current.
pub(in crate::publish) fn parameters(
    report: &ObjectReport,
    object: &GatewayParameters,
    now: Timestamp,
) -> Option<Update> {
    let present = object.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    if is_current(present, &report.conditions, report.generation) {
        return None;
    }
    let status = json!({"conditions": merged(present, &report.conditions, report.generation, now)});
    let transitions = find_transitions("", present, &report.conditions).collect();
    Some(Update::fields(object.metadata.resource_version.as_deref(), &status, transitions))
}

/// The new status of a set of listeners, none of which is served; `None` when the status is current.
pub(in crate::publish) fn listener_set(report: &ObjectReport, object: &Unserved, now: Timestamp) -> Option<Update> {
    let present = &object.status.conditions;
    if is_current(present, &report.conditions, report.generation) {
        return None;
    }
    let status = json!({"conditions": merged(present, &report.conditions, report.generation, now)});
    let transitions = find_transitions("", present, &report.conditions).collect();
    Some(Update::fields(object.metadata.resource_version.as_deref(), &status, transitions))
}

/// The keys of the providers in order, each once, such as `openai,anthropic`.
fn providers(spec: &BackendSpec) -> Option<String> {
    let shape = shape(spec).ok()?;
    matches!(shape, BackendShape::Ai(_)).then(|| shape.providers())
}

/// The new status of an object that the API server accepted and Tollgate can't decode: not accepted, with the reason.
/// `None` when the status is current.
pub(in crate::publish) fn undecodable(object: &DynamicObject, error: &str, now: Timestamp) -> Option<Update> {
    // Conditions that can't be decoded either are replaced.
    let present: Vec<Written> = object
        .data
        .pointer("/status/conditions")
        .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
        .unwrap_or_default();
    let wanted = [Condition::new(ConditionType::Accepted, false, Reason::Invalid, error)];
    if is_current(&present, &wanted, object.metadata.generation) {
        return None;
    }
    let status = json!({"conditions": merged(&present, &wanted, object.metadata.generation, now)});
    let transitions = find_transitions("", &present, &wanted).collect();
    Some(Update::fields(object.resource_version().as_deref(), &status, transitions))
}
