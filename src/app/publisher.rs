//! Compiles objects, and publishes the snapshot and the reports.

#![expect(clippy::disallowed_methods, reason = "the time of a publication, read as it happens")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::tasks::Ended;
use crate::{
    api::{Kind, condition::Reason},
    compile::{self, Change, Compiled, Env, Objects, Rejected, Reports},
    publish::Published,
    snapshot::Snapshots,
    telemetry::operator::ObjectStates,
};

/// The last published state.
pub(super) type Latest = Arc<ArcSwapOption<Published>>;

/// Compiles objects and publishes the result.
pub(super) struct Publisher {
    pub env: Env,
    pub snapshots: Arc<Snapshots>,
    pub latest: Latest,
    /// The generation of the snapshot, for the listeners.
    pub changed: watch::Sender<u64>,
    /// The published state, for the cluster writer.
    pub published: watch::Sender<Option<Arc<Published>>>,
}

impl Publisher {
    /// Compiles each change of `updates` until their sender is dropped.
    pub(super) async fn run(self, mut updates: watch::Receiver<Arc<Objects>>) -> Ended {
        let mut generation = 0;
        let mut credentials = self.env.credentials.changes();
        let mut models = self.env.models.clone();
        let mut health = self.env.health.clone();
        loop {
            // Nothing is published before the source's first objects: the gateway would be ready without routes.
            let has_begun = self.latest.load().is_some();
            let (anew, only_health) = tokio::select! {
                changed = updates.changed() => match changed {
                    Ok(()) => (false, false),
                    Err(_) => return Ended::InputClosed,
                },
                // Reports about Backends are out of date; objects have not changed. The sender lives as long as `env`.
                Ok(()) = credentials.changed(), if has_begun => (true, false),
                Ok(()) = health.changed(), if has_begun => (true, true),
                // Without a file of model facts there is no sender.
                Ok(()) = models.changed(), if has_begun => (true, false),
            };
            let received = Instant::now();
            let objects = Arc::clone(&updates.borrow_and_update());
            if let Some(last) = self.latest.load_full().filter(|last| !anew && same(&last.objects, &objects)) {
                // Only statuses have changed, perhaps by Tollgate's own writes. The cluster writer needs the new
                // versions.
                self.send(Published { objects, ..Published::clone(&last) });
                continue;
            }
            // Only the conditions of Backends have changed: what is served stays.
            let has_objects = |last: &Published| Arc::ptr_eq(&last.objects, &objects) || same(&last.objects, &objects);
            let only_reports = only_health && self.latest.load().as_deref().is_some_and(has_objects);
            if !only_reports {
                generation += 1;
            }
            let env = self.env.clone();
            let input = Arc::clone(&objects);
            // Compile runs on a blocking thread, because thousands of routes take milliseconds.
            let compile = tokio::task::spawn_blocking(move || {
                let start = Instant::now();
                let compiled = compile::compile(&input, &env, generation);
                (compiled, start.elapsed())
            });
            // A panic is counted and logged by its hook. The last snapshot is still served.
            let Ok((compiled, took)) = compile.await else { continue };
            if only_reports {
                self.publish_reports(objects, compiled.reports, compiled.services);
            } else {
                self.publish(objects, compiled, generation, took);
                self.env.metrics.operator.published(received.elapsed());
            }
        }
    }

    fn publish(&self, objects: Arc<Objects>, compiled: Compiled, generation: u64, took: Duration) {
        let Compiled { snapshot, reports, services } = compiled;
        // What the last change has removed; what this one removes may be shown once.
        self.env.metrics.prune();
        self.snapshots.store(Arc::new(snapshot));
        let metrics = &self.env.metrics;
        let rejected = objects.rejected.iter().map(|r| r.kind);
        metrics.config.published(generation, counts(&objects), rejected, took, SystemTime::now());
        self.publish_reports(objects, reports, services);
        self.changed.send_replace(generation);
        tracing::info!(
            generation,
            compile_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "configuration published"
        );
    }

    fn publish_reports(&self, objects: Arc<Objects>, reports: Reports, services: Vec<Change>) {
        report(&reports, &objects.rejected, self.latest.load_full().as_deref());
        self.env.metrics.operator.objects(states(&reports, &objects.rejected));
        self.send(Published { objects, reports: Arc::new(reports), services: Arc::new(services) });
    }

    fn send(&self, published: Published) {
        let published = Arc::new(published);
        self.latest.store(Some(Arc::clone(&published)));
        self.published.send_replace(Some(published));
    }
}

/// Whether compile would find no difference. Revision 0 marks a source without revisions.
const fn same(last: &Objects, new: &Objects) -> bool {
    new.revision != 0 && new.revision == last.revision
}

/// The number of objects of each kind in each state.
fn states(reports: &Reports, rejected: &[Rejected]) -> BTreeMap<Kind, ObjectStates> {
    let mut states: BTreeMap<Kind, ObjectStates> = BTreeMap::new();
    for report in &reports.objects {
        let state = states.entry(report.kind).or_default();
        let bad = report.problems().next().is_some();
        *(if bad { &mut state.problem } else { &mut state.ok }) += 1;
    }
    for kind in rejected.iter().filter_map(|r| r.kind) {
        states.entry(kind).or_default().rejected += 1;
    }
    states
}

/// Logs problems that are new and problems that are solved, once each.
fn report(reports: &Reports, rejected: &[Rejected], previous: Option<&Published>) {
    for document in rejected.iter().filter(|r| previous.is_none_or(|p| !p.objects.rejected.contains(r))) {
        let kind = document.kind.map(Kind::as_str);
        let object = document.key.as_ref().map(ToString::to_string);
        tracing::error!(location = document.location, kind, object, error = document.error, "document rejected");
    }
    for missing in &reports.unattached {
        if !missing.has_condition && previous.is_none_or(|p| !p.reports.unattached.contains(missing)) {
            let (kind, object) = (missing.kind.as_str(), missing.key.to_string());
            tracing::warn!(kind, object, detail = missing.message, "a parent of the route is not served");
        }
    }
    for object in &reports.objects {
        let before = previous.and_then(|p| p.reports.find(object.kind, &object.key));
        if before == Some(object) {
            continue;
        }
        let name = object.key.to_string();
        if object.problems().next().is_none() && before.is_some_and(|b| b.problems().next().is_some()) {
            tracing::info!(kind = object.kind.as_str(), object = name, "healed");
        }
        // A report may differ only in a count.
        let known = |problem: &&compile::Condition| before.is_some_and(|b| b.problems().any(|old| old == *problem));
        let is_open = |condition: &&compile::Condition| condition.reason == Reason::OpenToAll;
        let was_open = before.is_some_and(|before| before.conditions.iter().any(|condition| is_open(&condition)));
        if let Some(open) = object.conditions.iter().find(is_open).filter(|_| !was_open) {
            tracing::warn!(kind = object.kind.as_str(), object = name, detail = open.message, "open to all clients");
        }
        // The first state of a Gateway is not a problem.
        let begins = |problem: &&compile::Condition| problem.reason == Reason::Pending;
        // Two conditions may have one cause.
        let repeated =
            |at: usize, problem: &compile::Condition| object.problems().take(at).any(|p| p.message == problem.message);
        let problems =
            object.problems().enumerate().filter(|(at, problem)| !repeated(*at, problem)).map(|(_, problem)| problem);
        for problem in problems.filter(|problem| !known(problem) && !begins(problem)) {
            tracing::warn!(
                kind = object.kind.as_str(),
                object = name,
                condition = problem.kind.as_str(),
                status = problem.status,
                reason = problem.reason.as_str(),
                detail = problem.message,
                "object has a problem"
            );
        }
    }
}

fn counts(objects: &Objects) -> [(Kind, usize); 13] {
    [
        (Kind::GatewayClass, objects.gateway_classes.len()),
        (Kind::Gateway, objects.gateways.len()),
        (Kind::HttpRoute, objects.http_routes.len()),
        (Kind::ReferenceGrant, objects.reference_grants.len()),
        (Kind::BackendTlsPolicy, objects.backend_tls_policies.len()),
        (Kind::Backend, objects.backends.len()),
        (Kind::TrafficPolicy, objects.traffic_policies.len()),
        (Kind::GatewayParameters, objects.gateway_parameters.len()),
        (Kind::Secret, objects.secrets.len()),
        (Kind::ConfigMap, objects.config_maps.len()),
        (Kind::Namespace, objects.namespaces.len()),
        (Kind::Service, objects.services.len()),
        (Kind::EndpointSlice, objects.endpoint_slices.len()),
    ]
}
