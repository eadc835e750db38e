//! Objects of which another controller must speak. Routes have an entry for each controller in their status; Backends
//! and TrafficPolicies also have conditions of their own, which two controllers would overwrite in turns.

use std::collections::{BTreeMap, BTreeSet};

use super::{Env, Objects, Scope, filters::KGATEWAY, gateway::Gateways};
use crate::api::{Kind, ObjectKey, gateway::HttpRoute};

/// What Gateways of other controllers use.
#[derive(Default)]
pub struct Elsewhere<'a> {
    /// Gateways of other controllers' classes.
    gateways: BTreeMap<&'a ObjectKey, &'a str>,
    /// Routes with such a parent.
    routes: BTreeSet<&'a ObjectKey>,
    /// Policies that rules of these routes name.
    named: BTreeSet<ObjectKey>,
    /// Backends that another controller reports.
    backends: BTreeSet<ObjectKey>,
}

impl<'a> Elsewhere<'a> {
    pub fn new(objects: &'a Objects, env: &'a Env, ours: &Gateways) -> Self {
        let mut elsewhere = Self::default();
        if env.scope == Scope::Files {
            return elsewhere;
        }
        for (key, gateway) in &objects.gateways {
            let class = objects.gateway_classes.get(&ObjectKey::cluster(&gateway.spec.gateway_class_name));
            if let Some(class) = class.filter(|class| !env.controller.has(class)) {
                elsewhere.gateways.insert(key, &class.spec.controller_name);
            }
        }
        if elsewhere.gateways.is_empty() {
            return elsewhere;
        }
        let mut users: BTreeMap<ObjectKey, BTreeSet<&str>> = BTreeMap::new();
        for (key, route) in &objects.http_routes {
            let mut controllers = BTreeSet::new();
            for parent in route.spec.parent_refs.iter().flatten() {
                let parent = ObjectKey::new(parent.namespace.as_deref().unwrap_or(&key.namespace), &parent.name);
                controllers.extend(elsewhere.gateways.get(&parent).copied());
                controllers.extend(ours.by_key.contains_key(&parent).then(|| env.controller.name()));
            }
            if controllers.iter().any(|name| *name != env.controller.name()) {
                elsewhere.routes.insert(key);
                elsewhere.named.extend(named(key, route));
            }
            for backend in backends(key, route) {
                users.entry(backend).or_default().extend(&controllers);
            }
        }
        // Of several the first by name, so that all of them choose the same one.
        let of_others =
            users.into_iter().filter(|(_, users)| users.first().is_some_and(|n| *n != env.controller.name()));
        elsewhere.backends = of_others.map(|(key, _)| key).collect();
        elsewhere
    }

    /// Whether another controller reports this Backend.
    pub fn reports(&self, backend: &ObjectKey) -> bool {
        self.backends.contains(backend)
    }

    /// Whether another controller serves this target of a policy.
    pub fn serves(&self, kind: Kind, target: &ObjectKey) -> bool {
        if kind == Kind::Gateway { self.gateways.contains_key(target) } else { self.routes.contains(target) }
    }

    /// Whether a route that another controller serves names this policy.
    pub fn names(&self, policy: &ObjectKey) -> bool {
        self.named.contains(policy)
    }
}

fn backends(key: &ObjectKey, route: &HttpRoute) -> impl Iterator<Item = ObjectKey> {
    let references = route.spec.rules.iter().flatten().flat_map(|rule| rule.backend_refs.iter().flatten());
    let backends = references.filter(|r| r.group.as_deref() == Some(KGATEWAY) && r.kind.as_deref() == Some("Backend"));
    backends.map(|r| ObjectKey::new(r.namespace.as_deref().unwrap_or(&key.namespace), &r.name))
}

fn named(key: &ObjectKey, route: &HttpRoute) -> impl Iterator<Item = ObjectKey> {
    let filters = route.spec.rules.iter().flatten().flat_map(|rule| rule.filters.iter().flatten());
    let references = filters.filter_map(|filter| filter.extension_ref.as_ref());
    references.map(|r| ObjectKey::new(&key.namespace, &r.name))
}
