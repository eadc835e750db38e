//! Everything that has to be written, found by comparing reports with the statuses that objects have.

use std::sync::Arc;

use ::kube::{Resource, ResourceExt, api::ObjectMeta};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};

use super::{
    Published,
    queue::{Job, Target, Write},
    status::{self, Update},
};
use crate::{
    api::{Kind, ObjectKey},
    compile::{Change, Objects, Rejected},
};

/// All writes that would make the cluster say what was compiled.
pub(super) fn wanted(published: &Published, now: Timestamp) -> Vec<Job> {
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
        let update = status::route(reports.find(Kind::HttpRoute, key), route, now);
        jobs.extend(update.map(|u| job(Kind::HttpRoute, key, route.as_ref(), u)));
    }
    for (key, backend) in &objects.backends {
        let update = reports.find(Kind::Backend, key).and_then(|r| status::backend(r, backend, now));
        jobs.extend(update.map(|u| job(Kind::Backend, key, backend.as_ref(), u)));
    }
    for (key, policy) in &objects.traffic_policies {
        let update = reports.find(Kind::TrafficPolicy, key).and_then(|r| status::policy(r, policy, now));
        jobs.extend(update.map(|u| job(Kind::TrafficPolicy, key, policy.as_ref(), u)));
    }
    jobs.extend(objects.rejected.iter().filter_map(undecodable));
    jobs.extend(services.iter().map(|change| change_job(change, objects)));
    jobs
}

fn job<K: Resource<DynamicType = ()>>(kind: Kind, key: &ObjectKey, object: &K, update: Update) -> Job {
    let regarding = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        uid: object.uid(),
        namespace: object.namespace(),
        name: Some(object.name_any()),
        ..ObjectReference::default()
    };
    Job {
        target: Target { kind, key: key.clone() },
        version: version(object.meta()),
        write: Arc::new(Write::Status { update, regarding }),
    }
}

/// Kinds whose status has conditions of the object itself, so that there is a place to say why it can't be read. A Gateway
/// or class that can't be read may be another controller's.
fn undecodable(rejected: &Rejected) -> Option<Job> {
    let kind = rejected.kind.filter(|kind| matches!(kind, Kind::Backend | Kind::TrafficPolicy))?;
    Some(Job {
        target: Target { kind, key: rejected.key.clone()? },
        // Its own version is not known; the same mistake is told once.
        version: rejected.error.clone(),
        write: Arc::new(Write::Undecodable { error: rejected.error.clone() }),
    })
}

fn change_job(change: &Change, objects: &Objects) -> Job {
    let meta = match change.kind {
        Kind::EndpointSlice => objects.endpoint_slices.get(&change.key).map(|o| &o.metadata),
        _ => objects.services.get(&change.key).map(|o| &o.metadata),
    };
    let seen = meta.map(version).unwrap_or_default();
    let (version, write) = match &change.body {
        Some(body) => (format!("{seen} {body}"), Write::Apply(body.clone())),
        None => (seen, Write::Delete { uid: meta.and_then(|m| m.uid.clone()) }),
    };
    Job { target: Target { kind: change.kind, key: change.key.clone() }, version, write: Arc::new(write) }
}

fn version(meta: &ObjectMeta) -> String {
    meta.resource_version.clone().unwrap_or_default()
}
