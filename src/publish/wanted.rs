//! Finds everything that has to be written, by comparing reports with the statuses that objects have.

use std::sync::Arc;

use ::kube::{Resource, ResourceExt, api::ObjectMeta};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};

use super::{
    Published,
    queue::{Target, Write, WriteJob},
    status::{self, Update},
};
use crate::{
    api::{Kind, ObjectKey},
    compile::{Change, Controller, Objects, Rejected, Unread},
};

/// All writes that bring the cluster's objects to their compiled state.
pub(super) fn wanted(published: &Published, controller: &Controller, now: Timestamp) -> Vec<WriteJob> {
    let Published { objects, reports, services } = published;
    let mut jobs = Vec::new();
    for (key, class) in &objects.gateway_classes {
        let update = reports.find(Kind::GatewayClass, key).and_then(|r| status::class(r, class, now));
        jobs.extend(update.map(|u| job(Kind::GatewayClass, key, class.as_ref(), u)));
    }
    for (key, gateway) in &objects.gateways {
        let update = reports.find(Kind::Gateway, key).and_then(|r| status::gateway(r, gateway, now));
        jobs.extend(update.map(|u| job(Kind::Gateway, key, gateway.as_ref(), u)));
    }
    for (key, parameters) in &objects.gateway_parameters {
        let report = reports.find(Kind::GatewayParameters, key);
        let update = report.and_then(|r| status::parameters(r, parameters, now));
        jobs.extend(update.map(|u| job(Kind::GatewayParameters, key, parameters.as_ref(), u)));
    }
    for (key, route) in &objects.http_routes {
        let update = status::route(controller, reports.find(Kind::HttpRoute, key), route, now);
        jobs.extend(update.map(|u| job(Kind::HttpRoute, key, route.as_ref(), u)));
    }
    for (key, backend) in &objects.backends {
        let update = reports.find(Kind::Backend, key).and_then(|r| status::backend(r, backend, now));
        jobs.extend(update.map(|u| job(Kind::Backend, key, backend.as_ref(), u)));
    }
    for (key, policy) in &objects.traffic_policies {
        let update = status::policy(controller, reports.find(Kind::TrafficPolicy, key), policy, now);
        jobs.extend(update.map(|u| job(Kind::TrafficPolicy, key, policy.as_ref(), u)));
    }
    // If a status can't be decoded in full, the entries of other controllers can't be kept in their places.
    jobs.retain(|job| !objects.unread(job.target.kind, &job.target.key).iter().any(Unread::is_status));
    jobs.extend(objects.rejected.iter().filter_map(undecodable));
    jobs.extend(services.iter().map(|change| change_job(change, objects)));
    jobs
}

fn job<K: Resource<DynamicType = ()>>(kind: Kind, key: &ObjectKey, object: &K, update: Update) -> WriteJob {
    let regarding = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        uid: object.uid(),
        namespace: object.namespace(),
        name: Some(object.name_any()),
        ..ObjectReference::default()
    };
    WriteJob {
        target: Target { kind, key: key.clone() },
        version: version(object.meta()),
        write: Arc::new(Write::Status { update, regarding }),
    }
}

/// The write for an object that can't be decoded. Only kinds whose status has conditions of the object itself can show
/// the reason. Objects of the Gateway API's kinds are used as far as they can be decoded, and have a status.
fn undecodable(rejected: &Rejected) -> Option<WriteJob> {
    let kind =
        rejected.kind.filter(|kind| matches!(kind, Kind::Backend | Kind::TrafficPolicy | Kind::GatewayParameters))?;
    Some(WriteJob {
        target: Target { kind, key: rejected.key.clone()? },
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
    WriteJob { target: Target { kind: change.kind, key: change.key.clone() }, version, write: Arc::new(write) }
}

fn version(meta: &ObjectMeta) -> String {
    meta.resource_version.clone().unwrap_or_default()
}
