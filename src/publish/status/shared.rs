//! Statuses with one entry for each controller and parent: those of routes and policies.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use serde_json::{Value, json};

use super::{
    Update,
    conditions::{is_current, merged},
    entries::{Present, Subject, Wanted, operations},
};
use crate::{
    api::{
        gateway::{
            BackendTlsPolicy, HttpRoute, ParentRef, PolicyAncestorRef, RouteStatus, RouteStatusParentRef, Unserved,
        },
        traffic_policy::{AncestorRef, TrafficPolicy},
    },
    compile::{Controller, ObjectReport, ParentReport},
    publish::events::{Transition, find_transitions},
};

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The most parents that the API accepts in a route's status.
const MAX_PARENTS: usize = 32;
/// The most ancestors that the API accepts in a policy's status.
const MAX_ANCESTORS: usize = 16;

/// The parts of a route that its status depends on. They are the same for every kind of route.
pub(in crate::publish) struct Route<'a> {
    metadata: &'a ObjectMeta,
    parents: &'a [ParentRef],
    status: &'a [RouteStatus],
}

impl<'a> From<&'a HttpRoute> for Route<'a> {
    fn from(route: &'a HttpRoute) -> Self {
        Self {
            metadata: &route.metadata,
            parents: route.spec.parent_refs.as_deref().unwrap_or_default(),
            status: route.status.as_ref().map(|status| status.parents.as_slice()).unwrap_or_default(),
        }
    }
}

impl<'a> From<&'a Unserved> for Route<'a> {
    fn from(route: &'a Unserved) -> Self {
        Self { metadata: &route.metadata, parents: &route.spec.parent_refs, status: &route.status.parents }
    }
}

/// The new status of a route; `None` when the status is current. Without a report none of Tollgate's Gateways is among
/// the route's parents, and Tollgate's entries are removed.
pub(in crate::publish) fn route(
    controller: &Controller,
    report: Option<&ObjectReport>,
    object: &Route<'_>,
    now: Timestamp,
) -> Option<Update> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let present: Vec<Present<'_>> = object
        .status
        .iter()
        .map(|p| Present {
            ours: p.controller_name == controller.name(),
            subject: parent_subject(&p.parent_ref, namespace),
            conditions: &p.conditions,
        })
        .collect();
    let wanted: Vec<Wanted<'_>> = report
        .map(|r| r.parents.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|parent| {
            let subject = report_subject(parent);
            // The reference is the one in the spec, because others compare with that.
            let written = object.parents.iter().find(|p| spec_subject(p, namespace) == subject);
            let reference = written.map_or_else(|| reference(&subject), |written| json!(written));
            let entry = json!({"parentRef": reference, "controllerName": controller.name()});
            Wanted { subject, conditions: &parent.conditions, entry }
        })
        .collect();
    let generation = report.and_then(|r| r.generation);
    let operations = operations("/status/parents", &present, &wanted, generation, MAX_PARENTS, now);
    update(object.metadata.resource_version.as_deref(), "parents", &present, &wanted, operations, None)
}

/// The new status of a policy; `None` when the status is current. Without a report it applies only to what another
/// controller serves, and Tollgate's entries are removed.
pub(in crate::publish) fn policy(
    controller: &Controller,
    report: Option<&ObjectReport>,
    object: &TrafficPolicy,
    now: Timestamp,
) -> Option<Update> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let status = object.status.as_ref();
    let present = status.map(|s| s.ancestors.as_slice()).unwrap_or_default().iter().map(|a| Present {
        ours: a.controller_name == controller.name(),
        subject: ancestor_subject(&a.ancestor_ref, namespace),
        conditions: &a.conditions,
    });
    let own = status.map(|s| s.conditions.as_slice()).unwrap_or_default();
    let changed = report.filter(|report| !is_current(own, &report.conditions, report.generation));
    let own = changed.map(|report| Own {
        conditions: json!(merged(own, &report.conditions, report.generation, now)),
        transitions: find_transitions("", own, &report.conditions).collect(),
    });
    ancestors(controller, report, &object.metadata, &present.collect::<Vec<_>>(), own, now)
}

/// The new status of a `BackendTLSPolicy`; `None` when the status is current. Without a report no route of Tollgate's
/// leads to its targets, and Tollgate's entries are removed.
pub(in crate::publish) fn backend_tls(
    controller: &Controller,
    report: Option<&ObjectReport>,
    object: &BackendTlsPolicy,
    now: Timestamp,
) -> Option<Update> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let written = object.status.as_ref().map(|status| status.ancestors.as_slice()).unwrap_or_default();
    let present = written.iter().map(|a| Present {
        ours: a.controller_name == controller.name(),
        subject: policy_subject(&a.ancestor_ref, namespace),
        conditions: &a.conditions,
    });
    ancestors(controller, report, &object.metadata, &present.collect::<Vec<_>>(), None, now)
}

/// The update of a policy with these entries at present.
fn ancestors(
    controller: &Controller,
    report: Option<&ObjectReport>,
    metadata: &ObjectMeta,
    present: &[Present<'_>],
    own: Option<Own>,
    now: Timestamp,
) -> Option<Update> {
    let parents = report.map(|r| r.parents.as_slice()).unwrap_or_default();
    let wanted = parents.iter().map(|parent| {
        let subject = report_subject(parent);
        let entry = json!({"ancestorRef": reference(&subject), "controllerName": controller.name()});
        Wanted { subject, conditions: &parent.conditions, entry }
    });
    let wanted: Vec<Wanted<'_>> = wanted.collect();
    let generation = report.and_then(|r| r.generation);
    let operations = operations("/status/ancestors", present, &wanted, generation, MAX_ANCESTORS, now);
    update(metadata.resource_version.as_deref(), "ancestors", present, &wanted, operations, own)
}

/// Conditions of the object itself that differ from what they should be.
struct Own {
    conditions: Value,
    transitions: Vec<Transition>,
}

fn update(
    version: Option<&str>,
    list: &str,
    present: &[Present<'_>],
    wanted: &[Wanted<'_>],
    mut operations: Vec<Value>,
    own: Option<Own>,
) -> Option<Update> {
    if operations.is_empty() && own.is_none() {
        return None;
    }
    let mut transitions = Vec::new();
    for new in wanted {
        let old = present.iter().find(|p| p.ours && p.subject == new.subject).map_or(&[][..], |p| p.conditions);
        let Subject { kind, namespace, name, section, .. } = &new.subject;
        let section = section.as_ref().map(|s| format!(" listener {s}")).unwrap_or_default();
        transitions.extend(find_transitions(&format!("{kind} {namespace}/{name}{section}"), old, new.conditions));
    }
    let own = own.map(|own| {
        transitions.extend(own.transitions);
        own.conditions
    });
    if present.is_empty() {
        // The object may have no status, and a JSON Patch operation needs an existing parent.
        let new: Vec<Value> = operations.into_iter().filter_map(|mut o| o.get_mut("value").map(Value::take)).collect();
        let mut status = serde_json::Map::new();
        if !new.is_empty() {
            status.insert(list.to_owned(), new.into());
        }
        status.extend(own.map(|conditions| ("conditions".to_owned(), conditions)));
        return Some(Update::fields(version, &Value::Object(status), transitions));
    }
    operations.extend(own.map(|value| json!({"op": "add", "path": "/status/conditions", "value": value})));
    Some(Update::operations(version, operations, transitions))
}

fn subject(
    (group, kind): (Option<&str>, Option<&str>),
    (namespace, name): (&str, &str),
    section: Option<&String>,
    port: Option<i32>,
) -> Subject {
    Subject {
        group: group.unwrap_or(GATEWAY_GROUP).to_owned(),
        kind: kind.unwrap_or("Gateway").to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        section: section.cloned(),
        port,
    }
}

fn parent_subject(p: &RouteStatusParentRef, namespace: &str) -> Subject {
    let place = (p.namespace.as_deref().unwrap_or(namespace), p.name.as_str());
    subject((p.group.as_deref(), p.kind.as_deref()), place, p.section_name.as_ref(), p.port)
}

fn spec_subject(p: &ParentRef, namespace: &str) -> Subject {
    let place = (p.namespace.as_deref().unwrap_or(namespace), p.name.as_str());
    subject((p.group.as_deref(), p.kind.as_deref()), place, p.section_name.as_ref(), p.port)
}

fn policy_subject(a: &PolicyAncestorRef, namespace: &str) -> Subject {
    let place = (a.namespace.as_deref().unwrap_or(namespace), a.name.as_str());
    subject((a.group.as_deref(), a.kind.as_deref()), place, a.section_name.as_ref(), a.port)
}

fn ancestor_subject(a: &AncestorRef, namespace: &str) -> Subject {
    let place = (a.namespace.as_deref().unwrap_or(namespace), a.name.as_str());
    subject((a.group.as_deref(), a.kind.as_deref()), place, a.section_name.as_ref(), a.port.map(i32::from))
}

/// The subject of a report's parent, which is a Gateway or route of the Gateway API.
fn report_subject(parent: &ParentReport) -> Subject {
    let place = (parent.key.namespace.as_str(), parent.key.name.as_str());
    let kind = Some(parent.kind.as_str());
    subject((None, kind), place, parent.section_name.as_ref(), parent.port.map(i32::from))
}

fn reference(subject: &Subject) -> Value {
    let mut value = json!({
        "group": subject.group,
        "kind": subject.kind,
        "namespace": subject.namespace,
        "name": subject.name,
    });
    if let Some(map) = value.as_object_mut() {
        map.extend(subject.section.as_ref().map(|s| ("sectionName".to_owned(), json!(s))));
        map.extend(subject.port.map(|p| ("port".to_owned(), json!(p))));
    }
    value
}
