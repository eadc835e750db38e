//! Objects to snapshot and reports: pure, total, without IO.
//!
//! One kind a file. Nothing here fails: an object that can't be served becomes a report, and what depends on it answers
//! with an error of its own, so that one bad object never hurts its neighbours.

mod backend;
mod credential;
mod filters;
mod gateway;
mod grants;
pub mod objects;
mod policy;
pub mod report;
mod route;
mod rule;
mod service;
pub mod shape;
mod tls;

use std::sync::Arc;

pub use objects::{Objects, Rejected};
pub use report::{Condition, ListenerReport, ObjectReport, ParentReport, Reports};

use crate::{snapshot::Snapshot, telemetry::Metrics, upstream::Pools};

/// The name in `GatewayClass.spec.controllerName` that makes a class ours.
pub const CONTROLLER_NAME: &str = "tollgate.dev/gateway";

/// What compiled parts are tied to: it outlives every snapshot.
#[derive(Clone)]
pub struct Env {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Connections.
    pub pools: Arc<Pools>,
    /// Which Gateways are served.
    pub scope: Scope,
}

/// Which Gateways are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Files: every Gateway, unless its GatewayClass names another controller.
    Files,
    /// A cluster: Gateways whose GatewayClass names us.
    Cluster,
}

/// What compile makes.
pub struct Compiled {
    /// What requests read.
    pub snapshot: Snapshot,
    /// What to say about each object.
    pub reports: Reports,
}

/// Compiles `objects` into the snapshot of `generation` and a report for each object.
pub fn compile(objects: &Objects, env: &Env, generation: u64) -> Compiled {
    let grants = grants::Grants::new(objects);
    let backends = backend::compile_all(objects, env);
    let mut gateways = gateway::compile_all(objects, env, &grants);
    let mut policies = policy::Policies::new(objects);
    let context = rule::Context { objects, env, grants: &grants, backends: &backends };
    let routes = route::compile_all(&context, &mut gateways, &mut policies);

    let mut reports = Vec::new();
    let (ports, gateway_reports) = gateway::finish(gateways);
    reports.extend(gateway_reports);
    reports.extend(routes);
    reports.extend(backends.into_reports());
    reports.extend(policies.into_reports());
    reports.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    Compiled { snapshot: Snapshot { generation, ports }, reports: Reports { objects: reports } }
}

#[cfg(test)]
mod tests;
