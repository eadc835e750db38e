//! TrafficPolicies: which rules each applies to, and how several are merged for one rule.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Condition, ObjectReport, Objects, ParentReport, Unread, elsewhere::Elsewhere};
use crate::{
    api::{
        Kind, ObjectKey,
        condition::{ConditionType, Reason},
        traffic_policy::TrafficPolicy,
    },
    policy::{FIELDS, RulePolicies, unbuilt},
};

/// All policies of one rule, merged.
#[derive(Default)]
pub struct Merged {
    /// Policies that the rule runs.
    pub rule: RulePolicies,
    /// The policy that decides how clients are authenticated.
    pub authenticates: Option<ObjectKey>,
    /// Protections that are requested and not implemented: the rule must not serve without them.
    pub blocked: Vec<String>,
}

/// All policies, by their targets.
pub struct Policies<'a> {
    objects: &'a Objects,
    by_target: HashMap<Target<'a>, Vec<&'a ObjectKey>>,
    /// Gateways that each policy has reached.
    reached: BTreeMap<&'a ObjectKey, BTreeSet<ObjectKey>>,
    /// Policies of which a field applies to some rule.
    effective: BTreeSet<&'a ObjectKey>,
    /// Policies of which an older one of the same target sets a field, and that one.
    overridden: BTreeMap<&'a ObjectKey, &'a ObjectKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Target<'a> {
    kind: Kind,
    namespace: &'a str,
    name: &'a str,
    section: Option<&'a str>,
}

/// The rule and listener that policies are merged for.
pub struct Subject<'s> {
    pub route: &'s ObjectKey,
    pub rule: Option<&'s str>,
    pub gateway: &'s ObjectKey,
    pub listener: &'s str,
    /// Policies named by `ExtensionRef`, in the route's namespace.
    pub named: &'s [String],
}

impl<'a> Policies<'a> {
    pub fn new(objects: &'a Objects) -> Self {
        let mut by_target: HashMap<Target<'a>, Vec<&'a ObjectKey>> = HashMap::new();
        for (key, policy) in &objects.traffic_policies {
            for target in targets(objects, key, policy) {
                by_target.entry(target).or_default().push(key);
            }
        }
        let created = |key: &ObjectKey| {
            let policy = objects.traffic_policies.get(key);
            policy.and_then(|p| p.metadata.creation_timestamp.as_ref()).map_or(i64::MAX, |t| t.0.as_second())
        };
        for keys in by_target.values_mut() {
            keys.sort_by_key(|key| (created(key), *key));
        }
        Self { objects, by_target, reached: BTreeMap::new(), effective: BTreeSet::new(), overridden: BTreeMap::new() }
    }

    /// Merges the policies of `subject`: per top-level field the most specific policy that has it, the older among
    /// equals. An `ExtensionRef` to a policy that does not exist is an error, for the rule.
    pub fn merged(&mut self, subject: &Subject<'_>) -> Result<Merged, String> {
        if self.by_target.is_empty() && subject.named.is_empty() {
            return Ok(Merged::default());
        }
        // With each its level: policies of one level have one target.
        let mut order: Vec<(usize, &'a ObjectKey)> = Vec::new();
        for name in subject.named {
            let key = ObjectKey::new(&subject.route.namespace, name);
            let (key, _) = self
                .objects
                .traffic_policies
                .get_key_value(&key)
                .ok_or_else(|| format!("ExtensionRef: TrafficPolicy {key} does not exist"))?;
            order.push((0, key));
        }
        let route = |section| (Kind::HttpRoute, subject.route, section);
        let gateway = |section| (Kind::Gateway, subject.gateway, section);
        let levels = [
            subject.rule.map(|r| route(Some(r))),
            Some(route(None)),
            Some(gateway(Some(subject.listener))),
            Some(gateway(None)),
        ];
        for (level, (kind, key, section)) in (1..).zip(levels.into_iter().flatten()) {
            let target = Target { kind, namespace: &key.namespace, name: &key.name, section };
            let by_target: &HashMap<Target<'_>, Vec<&'a ObjectKey>> = &self.by_target;
            order.extend(by_target.get(&target).into_iter().flatten().map(|key| (level, *key)));
        }
        let mut merged = Merged::default();
        let mut decided: [Option<(usize, &'a ObjectKey)>; FIELDS.len()] = [None; FIELDS.len()];
        for (level, key) in order {
            self.reached.entry(key).or_default().insert(subject.gateway.clone());
            let Some(policy) = self.objects.traffic_policies.get(key) else { continue };
            let spec = &policy.spec;
            for (field, decided) in FIELDS.iter().zip(&mut decided) {
                if !field.is_set(spec) {
                    continue;
                }
                match decided {
                    None => {
                        let had_auth = merged.rule.api_key_auth.is_some();
                        let invalid = field.invalid(spec);
                        if invalid.is_empty() {
                            field.build(spec, &mut merged.rule);
                        }
                        merged.blocked.extend(invalid.iter().map(|why| format!("TrafficPolicy {key}: {why}")));
                        if merged.rule.api_key_auth.is_some() && !had_auth {
                            merged.authenticates = Some(key.clone());
                        }
                        *decided = Some((level, key));
                        self.effective.insert(key);
                    }
                    // More specific ones take precedence by design; of equals only the older one applies.
                    Some((of, winner)) if *of == level && *winner != key => {
                        self.overridden.insert(key, *winner);
                    }
                    Some(_) => {}
                }
            }
            let missing = unbuilt::protecting(spec);
            if !missing.is_empty() {
                merged.blocked.push(format!(
                    "TrafficPolicy {key} requests {}, which is not supported yet; nothing is served without it",
                    missing.join(", ")
                ));
            }
            // An unknown field may be a protection.
            for part in self.objects.unread(Kind::TrafficPolicy, key).iter().filter(|part| !part.is_status()) {
                merged.blocked.push(format!("TrafficPolicy {key}: {part}; nothing is served without it"));
            }
        }
        Ok(merged)
    }

    /// The reports, but not those of policies that reach only what another controller serves.
    pub fn into_reports(self, elsewhere: &Elsewhere<'_>) -> Vec<ObjectReport> {
        let Self { objects, by_target, mut reached, effective, overridden } = self;
        let of_others =
            by_target.iter().filter(|(t, _)| elsewhere.serves(t.kind, &ObjectKey::new(t.namespace, t.name)));
        let of_others: BTreeSet<&ObjectKey> = of_others.flat_map(|(_, keys)| keys).copied().collect();
        let is_anothers = |key: &ObjectKey| of_others.contains(key) || elsewhere.names(key);
        let mut reports = Vec::new();
        for (key, policy) in &objects.traffic_policies {
            let gateways = reached.remove(key).unwrap_or_default();
            if gateways.is_empty() && is_anothers(key) {
                continue;
            }
            let unread = objects.unread(Kind::TrafficPolicy, key);
            let winner = overridden.get(key).map(|winner| (*winner, effective.contains(key)));
            reports.push(report(key, policy, unread, gateways, winner));
        }
        reports
    }
}

fn targets<'a>(objects: &'a Objects, key: &'a ObjectKey, policy: &'a TrafficPolicy) -> Vec<Target<'a>> {
    let kind = |kind: &str| match kind {
        "Gateway" => Some(Kind::Gateway),
        "HTTPRoute" => Some(Kind::HttpRoute),
        _ => None,
    };
    let named = policy.spec.target_refs.iter().filter_map(|t| {
        Some(Target {
            kind: kind(&t.kind)?,
            namespace: &key.namespace,
            name: &t.name,
            section: t.section_name.as_deref(),
        })
    });
    let mut found: Vec<Target<'a>> = named.collect();
    for selector in &policy.spec.target_selectors {
        let Some(kind) = kind(&selector.kind) else { continue };
        let matches = |labels: Option<&BTreeMap<String, String>>| {
            selector.match_labels.iter().all(|(k, v)| labels.is_some_and(|l| l.get(k) == Some(v)))
        };
        let gateways = objects.gateways.iter().map(|(k, g)| (Kind::Gateway, k, g.metadata.labels.as_ref()));
        let routes = objects.http_routes.iter().map(|(k, r)| (Kind::HttpRoute, k, r.metadata.labels.as_ref()));
        for (k, target, labels) in gateways.chain(routes) {
            if k == kind && target.namespace == key.namespace && matches(labels) {
                let section = selector.section_name.as_deref();
                found.push(Target { kind, namespace: &target.namespace, name: &target.name, section });
            }
        }
    }
    found
}

/// Whether a policy that reaches its targets applies there. `winner` is an older policy of the same target that sets
/// the same field, and whether another field of this policy applies nevertheless.
fn attached(winner: Option<(&ObjectKey, bool)>) -> Condition {
    match winner {
        None => Condition::new(ConditionType::Attached, true, Reason::Attached, "Attached to all targets"),
        Some((winner, true)) => {
            let message = format!("TrafficPolicy {winner}, which is older, sets some of the same fields of a target");
            Condition::new(ConditionType::Attached, true, Reason::Merged, message)
        }
        Some((winner, false)) => {
            let message = format!("TrafficPolicy {winner}, which is older, sets the same fields of the same target");
            Condition::new(ConditionType::Attached, false, Reason::Overridden, message)
        }
    }
}

fn report(
    key: &ObjectKey,
    policy: &TrafficPolicy,
    unread: &[Unread],
    gateways: BTreeSet<ObjectKey>,
    winner: Option<(&ObjectKey, bool)>,
) -> ObjectReport {
    let spec = &policy.spec;
    let foreign: Vec<&str> = spec
        .target_refs
        .iter()
        .filter(|t| !matches!(t.kind.as_str(), "Gateway" | "HTTPRoute"))
        .map(|t| t.kind.as_str())
        .collect();
    let (blocked, partly) = (unbuilt::protecting(spec), unbuilt::shaping(spec));
    let invalid: Vec<String> = FIELDS.iter().flat_map(|field| field.invalid(spec)).collect();
    let unread: Vec<String> = unread.iter().filter(|part| !part.is_status()).map(ToString::to_string).collect();
    let mut conditions = vec![if !unread.is_empty() {
        let message = format!("{}; the rules it applies to answer 500 rather than serve without", unread.join("; "));
        Condition::new(ConditionType::Accepted, false, Reason::Unsupported, message)
    } else if !blocked.is_empty() {
        let message = format!(
            "not supported yet: {}; the rules it applies to answer 500 rather than serve without",
            blocked.join(", ")
        );
        Condition::new(ConditionType::Accepted, false, Reason::Unsupported, message)
    } else if !invalid.is_empty() {
        let message = format!("{}; the rules it applies to answer 500 rather than serve without", invalid.join("; "));
        Condition::new(ConditionType::Accepted, false, Reason::Invalid, message)
    } else if !foreign.is_empty() {
        let message = format!("targetRefs may only name Gateways and HTTPRoutes, not {}", foreign.join(", "));
        Condition::new(ConditionType::Accepted, false, Reason::Invalid, message)
    } else {
        let remarks = FIELDS.iter().filter_map(|field| field.remark(spec));
        let message = std::iter::once("Policy accepted".to_owned()).chain(remarks).collect::<Vec<_>>().join("; ");
        Condition::new(ConditionType::Accepted, true, Reason::Valid, message)
    }];
    let ignored = (!partly.is_empty()).then(|| format!("accepted but not acted on yet: {}", partly.join(", ")));
    let ineffective: Vec<String> = FIELDS.iter().flat_map(|field| field.ineffective(spec)).collect();
    if ignored.is_some() || !ineffective.is_empty() {
        let reason = if ignored.is_some() { Reason::Unsupported } else { Reason::Invalid };
        let message = ignored.into_iter().chain(ineffective).collect::<Vec<_>>().join("; ");
        conditions.push(Condition::new(ConditionType::PartiallyInvalid, true, reason, message));
    }
    let targeted = !spec.target_refs.is_empty() || !spec.target_selectors.is_empty();
    conditions.push(if gateways.is_empty() {
        let message = if targeted {
            "no rule that is served is among its targets"
        } else {
            "it has no targets, and no HTTPRoute names it in an ExtensionRef filter"
        };
        Condition::new(ConditionType::Attached, false, Reason::TargetNotFound, message)
    } else {
        attached(winner)
    });
    let parents = gateways.into_iter().map(|gateway| ParentReport {
        kind: Kind::Gateway,
        key: gateway,
        section_name: None,
        port: None,
        conditions: conditions.clone(),
    });
    let parents: Vec<_> = parents.collect();
    // Without a parent there are no per-parent conditions.
    let own = if parents.is_empty() { conditions } else { Vec::new() };
    ObjectReport {
        conditions: own,
        parents,
        ..ObjectReport::new(Kind::TrafficPolicy, key.clone(), policy.metadata.generation)
    }
}
