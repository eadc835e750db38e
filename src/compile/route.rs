//! HTTPRoutes: which listeners they attach to, and their rules there.

use std::sync::Arc;

use super::{
    Condition, ObjectReport, Objects, ParentReport, Scope, Unattached, Unread,
    features::Feature,
    filters,
    gateway::Gateways,
    listener::ListenerState,
    parent::{is_gateway, parent_key},
    policy::{Merged, Policies, Subject},
    rule::{self, Context, Flaws, Place},
    unread, unserved,
};
use crate::{
    api::{
        Kind, ObjectKey,
        condition::{ConditionType, Reason},
        gateway::{HttpRoute, ParentRef},
    },
    snapshot::{HostPattern, Precedence},
};

/// Most Gateways that are suggested for one that is missing.
const MAX_HINTS: usize = 3;

/// Attaches every route and returns a report for each, and the parents that are not served.
pub fn compile_all(
    context: &Context<'_>,
    gateways: &mut Gateways,
    policies: &mut Policies<'_>,
) -> (Vec<ObjectReport>, Vec<Unattached>) {
    let mut unattached = Vec::new();
    let routes = context.objects.http_routes.iter();
    let reports = routes
        .filter_map(|(key, route)| {
            let missing = route.spec.parent_refs.iter().flatten().filter_map(|parent| {
                if is_gateway(parent) {
                    missing_gateway(context.objects, &parent_key(key, parent))
                } else {
                    unserved::parent_set(context.objects, gateways, key, parent)
                }
            });
            unattached.extend(missing.map(|message| Unattached {
                kind: Kind::HttpRoute,
                key: key.clone(),
                message,
                has_condition: false,
            }));
            compile(context, key, route, gateways, policies)
        })
        .collect();
    (reports, unattached)
}

/// The problem of a Gateway that does not exist. One that exists is served by its class's controller.
fn missing_gateway(objects: &Objects, wanted: &ObjectKey) -> Option<String> {
    if objects.gateways.contains_key(wanted) {
        return None;
    }
    let alike = |other: &&ObjectKey| other.name == wanted.name || other.namespace == wanted.namespace;
    // Gateways of the same name first: a forgotten namespace is the most common mistake.
    let mut others: Vec<&ObjectKey> = objects.gateways.keys().filter(alike).collect();
    others.sort_by_key(|other| (other.name != wanted.name, *other));
    let others: Vec<String> = others.into_iter().take(MAX_HINTS).map(ToString::to_string).collect();
    let hint = if others.is_empty() { String::new() } else { format!("; did you mean {}?", others.join(" or ")) };
    Some(format!("there is no Gateway {wanted}{hint}"))
}

/// The report of one route; `None` when none of its parents is Tollgate's.
fn compile(
    context: &Context<'_>,
    key: &ObjectKey,
    route: &HttpRoute,
    gateways: &mut Gateways,
    policies: &mut Policies<'_>,
) -> Option<ObjectReport> {
    let name: Arc<str> = key.to_string().into();
    let mut report = ObjectReport::new(Kind::HttpRoute, key.clone(), route.metadata.generation);
    let unread = context.objects.unread(Kind::HttpRoute, key);
    let parents = route.spec.parent_refs.iter().flatten().enumerate();
    for (index, parent) in parents.filter(|(_, p)| is_gateway(p)) {
        let gateway_key = parent_key(key, parent);
        let conditions = match gateways.by_key.get_mut(&gateway_key) {
            // Without the part it might attach to more listeners than intended.
            Some(_) if let Some(why) = unread::parent_problem(unread, index) => {
                vec![Condition::new(ConditionType::Accepted, false, Reason::UnsupportedValue, why)]
            }
            Some(gateway) => {
                let gateway_name = Arc::clone(&gateway.name);
                let subject =
                    RouteOf { key, name: &name, route, unread, gateway: &gateway_key, gateway_name: &gateway_name };
                attach(context, &subject, parent, &mut gateway.listeners, policies)
            }
            // In a cluster it may belong to another controller. For files, no other component would report it.
            None if context.env.scope == Scope::Files && !context.objects.gateways.contains_key(&gateway_key) => {
                let message = missing_gateway(context.objects, &gateway_key).unwrap_or_default();
                vec![Condition::new(ConditionType::Accepted, false, Reason::NoMatchingParent, message)]
            }
            None => continue,
        };
        report.parents.push(ParentReport {
            kind: Kind::Gateway,
            key: gateway_key,
            section_name: parent.section_name.clone(),
            port: parent.port.and_then(|p| u16::try_from(p).ok()),
            conditions,
        });
    }
    if report.parents.is_empty()
        && context.env.scope == Scope::Files
        && route.spec.parent_refs.iter().flatten().next().is_none()
    {
        let message = "the route has no parentRefs: it belongs to no Gateway";
        report.conditions = vec![Condition::new(ConditionType::Accepted, false, Reason::NoMatchingParent, message)];
        return Some(report);
    }
    (!report.parents.is_empty()).then_some(report)
}

/// A route towards one Gateway.
struct RouteOf<'a> {
    key: &'a ObjectKey,
    name: &'a Arc<str>,
    route: &'a HttpRoute,
    unread: &'a [Unread],
    gateway: &'a ObjectKey,
    gateway_name: &'a Arc<str>,
}

fn attach(
    context: &Context<'_>,
    subject: &RouteOf<'_>,
    parent: &ParentRef,
    listeners: &mut [ListenerState],
    policies: &mut Policies<'_>,
) -> Vec<Condition> {
    if parent.port.is_some() && !Feature::ParentRefPort.served() {
        let message = "parentRefs.port is not supported yet; remove it";
        return vec![Condition::new(ConditionType::Accepted, false, Reason::UnsupportedValue, message)];
    }
    let (mut named, mut allowed, mut attached) = (false, false, Vec::new());
    let mut flaws = Vec::new();
    let mut refusals = Vec::new();
    let (hostnames, bad_hostnames) = hostnames(subject);
    let mut first = true;
    for (index, listener) in listeners.iter_mut().enumerate() {
        let wanted = parent.section_name.as_ref().is_none_or(|s| *s == listener.name)
            && parent.port.is_none_or(|p| p == i32::from(listener.port));
        if !wanted {
            continue;
        }
        named = true;
        if let Some(why) = listener.refusal(&subject.key.namespace) {
            refusals.push(why);
            continue;
        }
        allowed = true;
        let mut hosts: Vec<HostPattern> = hostnames.iter().filter_map(|h| h.intersect(&listener.hostname)).collect();
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() {
            continue;
        }
        let fresh = listener.attach(subject.name);
        attached.push((index, fresh));
        if !fresh {
            hosts.clear();
        }
        // Flaws are the same at every listener: collect them once.
        let here = add_rules(context, subject, listener, &hosts, policies);
        if std::mem::take(&mut first) {
            flaws = here;
        }
    }
    let refused = |reason, message: String| {
        let resolved = resolved_refs(references(context, subject));
        vec![Condition::new(ConditionType::Accepted, false, reason, message), resolved]
    };
    if !named {
        let what = match (&parent.section_name, parent.port) {
            (Some(name), Some(port)) => format!("listener \"{name}\" with port {port}"),
            (Some(name), None) => format!("listener \"{name}\""),
            (None, port) => format!("listener with port {}", port.unwrap_or(0)),
        };
        return refused(Reason::NoMatchingParent, format!("Gateway {} has no {what}", subject.gateway));
    }
    if !allowed {
        let message = format!("Gateway {} does not take the route: {}", subject.gateway, refusals.join("; "));
        return refused(Reason::NotAllowedByListeners, message);
    }
    if attached.is_empty() {
        let mut message = format!("no hostname of the route fits a listener of Gateway {}", subject.gateway);
        for bad in bad_hostnames {
            message.push_str("; ");
            message.push_str(&bad);
        }
        return refused(Reason::NoMatchingListenerHostname, message);
    }
    let mut ignored = unread::of_route(subject.unread);
    if subject.route.spec.use_default_gateways.is_some() {
        ignored.push("useDefaultGateways, which is not acted on".into());
    }
    let conditions = conditions(bad_hostnames, flaws, ignored);
    // The Gateway API requires that routes that are not accepted are not counted.
    if conditions.iter().any(|c| c.kind == ConditionType::Accepted && c.status) {
        for (index, _) in attached.into_iter().filter(|(_, fresh)| *fresh) {
            if let Some(listener) = listeners.get_mut(index) {
                listener.count();
            }
        }
    }
    conditions
}

/// The route's references that don't resolve, for a route that is not attached to any listener.
fn references(context: &Context<'_>, subject: &RouteOf<'_>) -> Vec<(Reason, String)> {
    let mut unresolved = Vec::new();
    for (index, written) in subject.route.spec.rules.iter().flatten().enumerate() {
        let mut flaws = Flaws::default();
        let place = Place { route: subject.key, route_name: subject.name, gateway: subject.gateway_name, index };
        let filters = filters::of_rule(written.filters.as_deref().unwrap_or_default(), 0);
        rule::compile(context, &place, written, filters, Merged::default(), &mut flaws);
        unresolved.append(&mut flaws.unresolved);
    }
    unresolved
}

fn resolved_refs(mut unresolved: Vec<(Reason, String)>) -> Condition {
    unresolved.dedup();
    match unresolved.first() {
        None => Condition::new(ConditionType::ResolvedRefs, true, Reason::ResolvedRefs, ""),
        Some((reason, _)) => {
            let reason = *reason;
            let messages: Vec<String> = unresolved.into_iter().map(|(_, message)| message).collect();
            Condition::new(ConditionType::ResolvedRefs, false, reason, messages.join("; "))
        }
    }
}

/// The route's host names, and the problems of invalid ones, which are left out.
fn hostnames(subject: &RouteOf<'_>) -> (Vec<HostPattern>, Vec<String>) {
    let names = subject.route.spec.hostnames.as_deref().unwrap_or_default();
    let mut bad = unread::of_hostnames(subject.unread);
    if names.is_empty() && bad.is_empty() {
        return (vec![HostPattern::Any], bad);
    }
    let mut good = Vec::new();
    for name in names {
        match HostPattern::valid(name) {
            Ok(pattern) => good.push(pattern),
            Err(why) => bad.push(why),
        }
    }
    (good, bad)
}

/// The conditions of an attached route: from its invalid host names, the problems of each of its rules, and the parts
/// that are ignored.
fn conditions(bad_hostnames: Vec<String>, rules: Vec<Flaws>, mut ignored: Vec<String>) -> Vec<Condition> {
    let total = rules.len();
    let incompatible = rules.iter().any(|flaws| flaws.incompatible);
    let (mut bad, mut unresolved) = (Vec::new(), Vec::new());
    for (index, mut flaws) in rules.into_iter().enumerate() {
        ignored.append(&mut flaws.ignored);
        flaws.unsupported.dedup();
        if !flaws.unsupported.is_empty() {
            bad.push(format!("rule {index}: {}", flaws.unsupported.join("; ")));
        }
        unresolved.append(&mut flaws.unresolved);
    }
    let reason = if incompatible { Reason::IncompatibleFilters } else { Reason::UnsupportedValue };
    let mut conditions = Vec::new();
    if !bad_hostnames.is_empty() || (total > 0 && bad.len() == total) {
        let reason = if bad_hostnames.is_empty() { reason } else { Reason::UnsupportedValue };
        let message = bad_hostnames.into_iter().chain(bad).collect::<Vec<_>>().join("; ");
        conditions.push(Condition::new(ConditionType::Accepted, false, reason, message));
    } else {
        conditions.push(Condition::new(ConditionType::Accepted, true, Reason::Accepted, ""));
        bad.append(&mut ignored);
        if !bad.is_empty() {
            // The Gateway API requires the message to begin like this.
            let message = format!("Dropped Rule(s), in whole or in part: {}", bad.join("; "));
            conditions.push(Condition::new(ConditionType::PartiallyInvalid, true, reason, message));
        }
    }
    conditions.push(resolved_refs(unresolved));
    conditions
}

/// Adds the route's rules to `listener` under each of `hosts`; without hosts, it only collects the rules' problems.
fn add_rules(
    context: &Context<'_>,
    subject: &RouteOf<'_>,
    listener: &mut ListenerState,
    hosts: &[HostPattern],
    policies: &mut Policies<'_>,
) -> Vec<Flaws> {
    let created = subject.route.metadata.creation_timestamp.as_ref().map(|t| t.0.as_second());
    let mut all = Vec::new();
    for (index, written) in subject.route.spec.rules.iter().flatten().enumerate() {
        let mut flaws = Flaws::default();
        let mut unread = unread::of_rule(subject.unread, index);
        let mut filters = filters::of_rule(written.filters.as_deref().unwrap_or_default(), listener.port);
        filters.problems.append(&mut unread.problems);
        flaws.ignored.append(&mut unread.ignored);
        let merged = policies.merged(&Subject {
            route: subject.key,
            rule: rule::name(written),
            gateway: subject.gateway,
            listener: &listener.name,
            named: &filters.policies,
        });
        let policy = merged.unwrap_or_else(|problem| {
            filters.problems.push(problem);
            Merged::default()
        });
        let place = Place { route: subject.key, route_name: subject.name, gateway: subject.gateway_name, index };
        let matches = rule::matches(written, &mut unread, &mut flaws);
        let rule = Arc::new(rule::compile(context, &place, written, filters, policy, &mut flaws));
        for (number, (path, conditions)) in matches.into_iter().enumerate() {
            let precedence = Precedence::new(&conditions, created, subject.name.to_string(), index, number);
            for host in hosts {
                let table = listener.routes.entry(host);
                table.insert(path.clone(), conditions.clone(), precedence.clone(), Arc::clone(&rule));
            }
        }
        all.push(flaws);
    }
    all
}
