//! Objects to snapshot and reports: pure, total, without IO.
//!
//! One kind per file. Nothing here fails: an object that can't be served becomes a report, and rules that depend on it
//! reply with an error of their own, so that one bad object never affects others.

mod backend;
mod backend_tls;
mod choice;
mod client_keys;
mod controller;
mod elsewhere;
mod credential;
mod expose;
pub mod features;
mod filters;
mod gateway;
mod grants;
mod health;
mod identity;
mod ledger;
mod listener;
mod load;
mod marks;
pub mod objects;
mod open;
mod parameters;
mod parent;
mod policy;
pub mod report;
mod retry;
mod route;
mod rule;
mod server_tls;
mod service;
pub mod shape;
mod tls;
mod unread;
mod unserved;

use std::{collections::BTreeMap, sync::Arc};

pub use controller::{Controller, DEFAULT_CONTROLLER_NAME, digest};
pub use identity::PodIdentity;
pub use marks::SLICE_MANAGED_BY;
pub use objects::{Objects, Rejected, Unread};
pub use report::{
    AddressType, Condition, GatewayAddress, ListenerReport, ObjectReport, ParentReport, Reports, Unattached,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    api::{Kind, ObjectKey},
    dialect::ModelTable,
    snapshot::{Endpoint, Snapshot},
    telemetry::Metrics,
    upstream::{
        Credentials, Origin, Pools,
        balance::{Balance, HealthReport},
    },
};

/// State that compiled parts refer to and that outlives every snapshot.
#[derive(Clone)]
pub struct Env {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Connections.
    pub pools: Arc<Pools>,
    /// Selection and health of targets.
    pub balance: Arc<Balance>,
    /// The targets that are left alone.
    pub health: watch::Receiver<Arc<HealthReport>>,
    /// What models accept: the last table that could be read.
    pub models: watch::Receiver<Arc<ModelTable>>,
    /// Credentials that are fetched. Compile registers them and reads their state, without IO of its own.
    pub credentials: Arc<Credentials>,
    /// Which Gateways are served.
    pub scope: Scope,
    /// The name by which their classes select this installation.
    pub controller: Controller,
    /// Which Backends may use the pod's identity, and for which hosts.
    pub identity: PodIdentity,
    /// Where the pod is installed, if it runs in one. Without it listeners bind their own ports and nothing is written.
    pub install: Option<Arc<Install>>,
    /// Other machines reach the ports of Gateways.
    pub exposed: bool,
}

impl Env {
    /// An endpoint of the plain backend `backend` at `origin`.
    ///
    /// # Errors
    /// When the host can't be in a `Host` header.
    pub fn endpoint(&self, backend: &str, origin: &Origin) -> Result<Endpoint, String> {
        let pool = self.pools.get(origin)?;
        let state = self.balance.endpoint(backend, &origin.to_string());
        Ok(Endpoint { pool, state })
    }
}

/// The installation in the cluster, to which the Services of Gateways must lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The namespace of Tollgate's pods.
    pub namespace: String,
    /// The Service of Tollgate itself: its EndpointSlices list the pods.
    pub service: String,
    /// The labels that select the pods.
    pub selector: BTreeMap<String, String>,
    /// The port of the pod that no listener can have.
    pub admin_port: u16,
}

/// A change of the cluster that is still needed, of an object that Tollgate owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Service or EndpointSlice.
    pub kind: Kind,
    /// Which one.
    pub key: ObjectKey,
    /// Every field that Tollgate owns, for server-side apply; `None` deletes the object.
    pub body: Option<Value>,
}

/// Which Gateways are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Files: every Gateway, unless its GatewayClass names another controller.
    Files,
    /// A cluster: Gateways whose GatewayClass names this controller.
    Cluster,
}

/// The result of compile.
pub struct Compiled {
    /// The configuration that requests read.
    pub snapshot: Snapshot,
    /// The conditions of each object.
    pub reports: Reports,
    /// Writes that are needed so that Gateways can be reached; empty once they are done.
    pub services: Vec<Change>,
}

/// Compiles `objects` into the snapshot of `generation` and a report for each object.
pub fn compile(objects: &Objects, env: &Env, generation: u64) -> Compiled {
    let grants = grants::Grants::new(objects);
    let backends = backend::compile_all(objects, env);
    let mut gateways = gateway::compile_all(objects, env, &grants);
    let mut policies = policy::Policies::new(objects);
    let context = rule::Context { objects, env, grants: &grants, backends: &backends };
    let (routes, mut unattached) = route::compile_all(&context, &mut gateways, &mut policies);
    let (unserved, unserved_parents) = unserved::reports(objects, &gateways);
    unattached.extend(unserved_parents);

    let elsewhere = elsewhere::Elsewhere::new(objects, env, &gateways);
    let backend_tls = backend_tls::reports(objects, env.scope, &gateways);
    let services = std::mem::take(&mut gateways.changes);
    let mut reports = Vec::new();
    let (ports, mut gateway_reports) = gateway::finish(gateways);
    if env.exposed {
        open::report(&ports, &mut gateway_reports);
    }
    reports.extend(gateway_reports);
    reports.extend(routes);
    reports.extend(unserved);
    reports.extend(backends.into_reports(&env.health.borrow()).filter(|report| !elsewhere.reports(&report.key)));
    reports.extend(policies.into_reports(&elsewhere));
    reports.extend(backend_tls);
    reports.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    Compiled { snapshot: Snapshot { generation, ports }, reports: Reports { objects: reports, unattached }, services }
}

#[cfg(test)]
mod tests;
