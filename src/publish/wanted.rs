//! Finds everything that has to be written, by comparing reports with the statuses that objects have.

use std::sync::Arc;

use ::kube::api::ObjectMeta;
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};

use super::{
    Published, Replica, Rival,
    events::Transition,
    queue::{Target, Write, WriteJob},
    status::{self, Update},
};
use crate::{
    api::{Kind, ObjectKey},
    compile::{Change, Controller, Objects, Rejected, Reports, Unread},
    source::resources,
};

/// All writes that bring the cluster's objects to their compiled state.
pub(super) fn wanted(published: &Published, controller: &Controller, now: Timestamp) -> Vec<WriteJob> {
    let Published { objects, reports, services } = published;
    let mut jobs = Vec::new();
    for (key, class) in &objects.gateway_classes {
        let update = reports.find(Kind::GatewayClass, key).and_then(|r| status::class(r, class, now));
        jobs.extend(update.map(|u| job(Kind::GatewayClass, key, &class.metadata, u)));
    }
    for (key, gateway) in &objects.gateways {
        let update = reports.find(Kind::Gateway, key).and_then(|r| status::gateway(r, gateway, now));
        jobs.extend(update.map(|u| job(Kind::Gateway, key, &gateway.metadata, u)));
    }
    for (key, parameters) in &objects.gateway_parameters {
        let report = reports.find(Kind::GatewayParameters, key);
        let update = report.and_then(|r| status::parameters(r, parameters, now));
        jobs.extend(update.map(|u| job(Kind::GatewayParameters, key, &parameters.metadata, u)));
    }
    for (key, route) in &objects.http_routes {
        let update = status::route(controller, reports.find(Kind::HttpRoute, key), &route.as_ref().into(), now);
        jobs.extend(update.map(|u| job(Kind::HttpRoute, key, &route.metadata, u)));
    }
    for (kind, unserved) in &objects.unserved {
        for (key, object) in unserved {
            let report = reports.find(*kind, key);
            let update = if kind.is_listener_set() {
                report.and_then(|r| status::listener_set(r, object, now))
            } else {
                status::route(controller, report, &object.as_ref().into(), now)
            };
            jobs.extend(update.map(|u| job(*kind, key, &object.metadata, u)));
        }
    }
    for (key, policy) in &objects.backend_tls_policies {
        let update = status::backend_tls(controller, reports.find(Kind::BackendTlsPolicy, key), policy, now);
        jobs.extend(update.map(|u| job(Kind::BackendTlsPolicy, key, &policy.metadata, u)));
    }
    for (key, backend) in &objects.backends {
        let update = reports.find(Kind::Backend, key).and_then(|r| status::backend(r, backend, now));
        jobs.extend(update.map(|u| job(Kind::Backend, key, &backend.metadata, u)));
    }
    for (key, policy) in &objects.traffic_policies {
        let update = status::policy(controller, reports.find(Kind::TrafficPolicy, key), policy, now);
        jobs.extend(update.map(|u| job(Kind::TrafficPolicy, key, &policy.metadata, u)));
    }
    // If a status can't be decoded in full, the entries of other controllers can't be kept in their places.
    jobs.retain(|job| !objects.unread(job.target.kind, &job.target.key).iter().any(Unread::is_status));
    jobs.extend(objects.rejected.iter().filter_map(undecodable));
    jobs.extend(unattached(objects, reports));
    for change in services.iter() {
        // A Service is deleted last, because it shows that the Gateway was Tollgate's.
        match left_gateway(change, published, now) {
            Some(first) => jobs.push(first),
            None => jobs.push(change_job(change, objects)),
        }
    }
    jobs
}

/// The write that has to come before the deletion of the Service of a Gateway that went to another controller.
fn left_gateway(change: &Change, published: &Published, now: Timestamp) -> Option<WriteJob> {
    if change.kind != Kind::Service || change.body.is_some() {
        return None;
    }
    let gateway = published.objects.gateways.get(&change.key)?;
    if published.reports.find(Kind::Gateway, &change.key).is_some() {
        return None;
    }
    let update = status::left_gateway(gateway, now)?;
    Some(job(Kind::Gateway, &change.key, &gateway.metadata, update))
}

/// Events on the classes of a controller that another installation serves too.
pub(super) fn refused(objects: &Objects, replica: &Replica, rival: &Rival) -> Vec<WriteJob> {
    let Replica { lease, controller, .. } = replica;
    let note = format!(
        "the installation in namespace {} (Lease {}) also serves {controller}, and writes: the one in namespace {} \
         (Lease {lease}) writes nothing; give one of them another controller name and other classes, or delete one",
        rival.lease.namespace, rival.lease, lease.namespace
    );
    let ours = objects.gateway_classes.iter().filter(|(_, class)| controller.has(class));
    ours.map(|(key, class)| WriteJob {
        target: Target { kind: Kind::GatewayClass, key: key.clone(), event: true },
        version: note.clone(),
        write: Arc::new(Write::Events {
            transitions: vec![Transition::refused(&note)],
            regarding: regarding(Kind::GatewayClass, &class.metadata),
        }),
    })
    .collect()
}

fn job(kind: Kind, key: &ObjectKey, metadata: &ObjectMeta, update: Update) -> WriteJob {
    WriteJob {
        target: Target { kind, key: key.clone(), event: false },
        version: version(metadata),
        write: Arc::new(Write::Status { update, regarding: regarding(kind, metadata) }),
    }
}

/// A reference to an object, for Events.
fn regarding(kind: Kind, metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: resources(kind).next().map(|resource| resource.api_version),
        kind: Some(kind.as_str().to_owned()),
        uid: metadata.uid.clone(),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        ..ObjectReference::default()
    }
}

/// Events about routes with a parent of which no status may be written.
fn unattached(objects: &Objects, reports: &Reports) -> Vec<WriteJob> {
    let mut jobs: Vec<WriteJob> = Vec::new();
    let missing = reports.unattached.iter().filter(|u| !u.has_condition);
    let mut missing = missing.peekable();
    while let Some(first) = missing.next() {
        let mut notes = vec![first.message.clone()];
        while let Some(next) = missing.next_if(|next| (next.kind, &next.key) == (first.kind, &first.key)) {
            notes.push(next.message.clone());
        }
        let Some(route) = objects.http_routes.get(&first.key).filter(|_| first.kind == Kind::HttpRoute) else {
            continue;
        };
        let transition = |note: &String| Transition::unattached(note);
        jobs.push(WriteJob {
            target: Target { kind: first.kind, key: first.key.clone(), event: true },
            version: notes.join("; "),
            write: Arc::new(Write::Events {
                transitions: notes.iter().map(transition).collect(),
                regarding: regarding(first.kind, &route.metadata),
            }),
        });
    }
    jobs
}

/// The write for an object that can't be decoded. Only kinds whose status has conditions of the object itself can show
/// the reason. Objects of the Gateway API's kinds are used as far as they can be decoded, and have a status.
fn undecodable(rejected: &Rejected) -> Option<WriteJob> {
    let kind =
        rejected.kind.filter(|kind| matches!(kind, Kind::Backend | Kind::TrafficPolicy | Kind::GatewayParameters))?;
    Some(WriteJob {
        target: Target { kind, key: rejected.key.clone()?, event: false },
        // The object's version is unknown, so the error replaces it: the same error is written once.
        version: rejected.error.clone(),
        write: Arc::new(Write::Undecodable { error: rejected.error.clone() }),
    })
}

fn change_job(change: &Change, objects: &Objects) -> WriteJob {
    let meta = match change.kind {
        Kind::EndpointSlice => objects.endpoint_slices.get(&change.key).map(|o| &o.metadata),
        _ => objects.services.get(&change.key).map(|o| &o.metadata),
    };
    let seen = meta.map(version).unwrap_or_default();
    let (version, write) = match &change.body {
        Some(body) => (format!("{seen} {body}"), Write::Apply(body.clone())),
        None => (seen, Write::Delete { uid: meta.and_then(|m| m.uid.clone()) }),
    };
    let target = Target { kind: change.kind, key: change.key.clone(), event: false };
    WriteJob { target, version, write: Arc::new(write) }
}

fn version(meta: &ObjectMeta) -> String {
    meta.resource_version.clone().unwrap_or_default()
}
