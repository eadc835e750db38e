//! Gateways that spend the gateway's keys for every client that reaches them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Condition, ObjectReport};
use crate::{
    api::{
        Kind,
        condition::{ConditionType, Reason},
    },
    snapshot::{Action, Backend, PathTable, Port, Rule},
};

const MESSAGE: &str = "who reaches this Gateway uses the gateway's keys for providers, and no client is authenticated: \
                       write a TrafficPolicy with apiKeyAuth, or let only your own clients reach it";

/// Adds a condition to the reports of such Gateways.
pub fn report(ports: &BTreeMap<u16, Port>, reports: &mut [ObjectReport]) {
    let open = open(ports);
    for report in reports.iter_mut().filter(|report| report.kind == Kind::Gateway) {
        if open.contains(report.key.to_string().as_str()) {
            let kind = ConditionType::ClientsAuthenticated;
            report.conditions.push(Condition::new(kind, false, Reason::OpenToAll, MESSAGE));
        }
    }
}

/// The names of those that have a rule which leads to one of the gateway's own keys.
fn open(ports: &BTreeMap<u16, Port>) -> BTreeSet<Arc<str>> {
    let listeners = ports.values().flat_map(|port| port.listeners.iter()).map(|(_, listener)| listener);
    let spends = |table: &PathTable| table.rules().any(spends_key);
    let open = listeners.filter(|listener| listener.routes.iter().any(|(_, table)| spends(table)));
    open.map(|listener| Arc::clone(&listener.gateway)).collect()
}

fn spends_key(rule: &Rule) -> bool {
    let Action::Forward(split) = &rule.action else { return false };
    rule.client_keys.is_none()
        && split.backends().iter().any(|weighted| match &weighted.backend {
            Backend::Ai(ai) => ai.backend.groups.iter().flatten().any(|target| target.credential.is_own()),
            Backend::Http(_) | Backend::Unavailable(_) => false,
        })
}
