//! Rules of HTTPRoutes.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method};

use super::{
    Env, Objects,
    backend::{Backends, Compiled},
    backend_tls, client_keys,
    features::Feature,
    filters::{self, Filters, KGATEWAY},
    grants::{self, Grants, GroupKind, HTTP_ROUTE},
    policy::Merged,
    retry, service,
    unread::UnreadRule,
};
use crate::{
    api::{
        Kind, ObjectKey,
        condition::Reason,
        duration::GoDuration,
        gateway::{BackendRef, HeaderMatchType, MethodMatch, PathMatchType, QueryMatchType, RouteMatch, RouteRule},
    },
    policy::timeouts::Timeouts,
    snapshot::{
        Action, AiUse, Backend, Conditions, MODEL_HEADERS, PathPattern, Rule, RuleLabels, Split, UnavailableReason,
        ValuePattern, WeightedBackend,
    },
};

/// The data that rules are compiled with: all objects, and the backends they may refer to.
pub struct Context<'a> {
    pub objects: &'a Objects,
    pub env: &'a Env,
    pub grants: &'a Grants<'a>,
    pub backends: &'a Backends,
}

/// The problems of a rule.
#[derive(Default)]
pub struct Flaws {
    /// Values that can't be served: `Accepted=False`.
    pub unsupported: Vec<String>,
    /// Two filters of a rule can't be used together.
    pub incompatible: bool,
    /// References that don't resolve: `ResolvedRefs=False`. The first reason is the condition's.
    pub unresolved: Vec<(Reason, String)>,
    /// The parts of the rule that are ignored, or the reason why it serves nothing.
    pub ignored: Vec<String>,
}

/// The path and conditions of one match.
pub type Matching = (PathPattern, Conditions);

/// The matches of a rule; none written means every path. Those in `unread` are left out.
pub fn matches(rule: &RouteRule, unread: &mut UnreadRule, flaws: &mut Flaws) -> Vec<Matching> {
    let partly = !unread.dropped.is_empty();
    flaws.unsupported.append(&mut unread.dropped);
    match rule.matches.as_deref() {
        None | Some([]) if partly => Vec::new(),
        None | Some([]) => vec![(PathPattern::Prefix("/".into()), Conditions::default())],
        Some(written) => written
            .iter()
            .enumerate()
            .filter(|(index, _)| !unread.matches.contains(index))
            .filter_map(|(_, m)| match matching(m) {
                Ok(matching) => Some(matching),
                Err(why) => {
                    flaws.unsupported.push(why);
                    None
                }
            })
            .collect(),
    }
}

fn matching(written: &RouteMatch) -> Result<Matching, String> {
    let regex = |what: &str, pattern: &str| {
        ValuePattern::whole(pattern).map_err(|_| format!("{what}: '{pattern}' is not a regular expression we can run"))
    };
    let path = match &written.path {
        None => PathPattern::Prefix("/".into()),
        Some(path) => {
            let value = path.value.as_deref().unwrap_or("/");
            let absolute = || {
                value
                    .starts_with('/')
                    .then(|| value.to_owned())
                    .ok_or_else(|| format!("path '{value}' does not begin with '/'"))
            };
            match path.r#type {
                Some(PathMatchType::Exact) => PathPattern::Exact(absolute()?),
                Some(PathMatchType::RegularExpression) => PathPattern::Regex(regex("path", value)?),
                Some(PathMatchType::PathPrefix) | None => PathPattern::Prefix(absolute()?),
            }
        }
    };
    let mut problems = Vec::new();
    if written.method.is_some() {
        Feature::MethodMatching.allowed("matches.method", &mut problems);
    }
    if written.query_params.as_ref().is_some_and(|q| !q.is_empty()) {
        Feature::QueryParamMatching.allowed("matches.queryParams", &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let mut conditions = Conditions { method: written.method.as_ref().map(method), ..Conditions::default() };
    for header in written.headers.iter().flatten() {
        let name = HeaderName::try_from(header.name.as_str())
            .map_err(|_| format!("'{}' is not a header name", header.name))?;
        // Of two conditions on one header the first counts, as the Gateway API specifies.
        if conditions.headers.iter().chain(&conditions.model).any(|(n, _)| *n == name) {
            continue;
        }
        let pattern = match header.r#type {
            Some(HeaderMatchType::RegularExpression) => ValuePattern::Regex(regex("header", &header.value)?),
            Some(HeaderMatchType::Exact) | None => ValuePattern::Exact(header.value.clone()),
        };
        // Never the client's header: it could name another model than the body.
        let list = if MODEL_HEADERS.contains(&name) { &mut conditions.model } else { &mut conditions.headers };
        list.push((name, pattern));
    }
    for query in written.query_params.iter().flatten() {
        if conditions.query.iter().any(|(n, _)| *n == query.name) {
            continue;
        }
        let pattern = match query.r#type {
            Some(QueryMatchType::RegularExpression) => ValuePattern::Regex(regex("query parameter", &query.value)?),
            Some(QueryMatchType::Exact) | None => ValuePattern::Exact(query.value.clone()),
        };
        conditions.query.push((query.name.clone(), pattern));
    }
    Ok((path, conditions))
}

const fn method(written: &MethodMatch) -> Method {
    match written {
        MethodMatch::Get => Method::GET,
        MethodMatch::Head => Method::HEAD,
        MethodMatch::Post => Method::POST,
        MethodMatch::Put => Method::PUT,
        MethodMatch::Delete => Method::DELETE,
        MethodMatch::Connect => Method::CONNECT,
        MethodMatch::Options => Method::OPTIONS,
        MethodMatch::Trace => Method::TRACE,
        MethodMatch::Patch => Method::PATCH,
    }
}

/// The route, Gateway and index of a rule.
pub struct Place<'a> {
    pub route: &'a ObjectKey,
    pub route_name: &'a Arc<str>,
    pub gateway: &'a Arc<str>,
    pub index: usize,
}

/// Compiles one rule, with its `filters` and the merged `policy`. A rule with anything that can't be served replies
/// with 500.
pub fn compile(
    context: &Context<'_>,
    place: &Place<'_>,
    written: &RouteRule,
    mut filters: Filters,
    policy: Merged,
    flaws: &mut Flaws,
) -> Rule {
    let Merged { rule: mut merged, authenticates, blocked } = policy;
    // Filters of the route are first: they are more specific to the rule.
    let policies = filters.policies().then(merged.policies);
    let mut problems = filters.problems;
    let timeouts = timeouts(written, merged.timeouts, &mut problems);
    let retry = retry::compile(written, place.index, merged.retry.take(), flaws);
    problems.extend(blocked);
    let client_keys = match (authenticates, merged.api_key_auth.take()) {
        (Some(policy), Some(auth)) => {
            client_keys::compile(context, &policy, &auth, flaws).map_err(|why| problems.push(why)).unwrap_or_default()
        }
        _ => None,
    };
    let action = if !problems.is_empty() {
        let why = problems.join("; ");
        flaws.unsupported.append(&mut problems);
        flaws.incompatible |= filters.incompatible;
        Action::Unavailable(UnavailableReason { status: 500, why })
    } else if let Some(redirect) = filters.redirect {
        Action::Redirect(redirect)
    } else {
        forward(context, place, written, flaws)
    };
    let forwards = matches!(action, Action::Forward(_));
    let labels = RuleLabels {
        gateway: Arc::clone(place.gateway),
        route: Arc::clone(place.route_name),
        rule: name(written).map_or_else(|| place.index.to_string(), str::to_owned),
    };
    Rule {
        labels,
        action,
        policies,
        client_keys,
        rewrite: filters.rewrite,
        timeouts,
        retry,
        priority: merged.priority,
        streams: merged.streams,
        metrics: (!forwards).then(|| context.env.metrics.requests.route(place.gateway, place.route_name, "")),
    }
}

/// The rule's name for policies and metrics.
pub fn name(rule: &RouteRule) -> Option<&str> {
    rule.name.as_deref().filter(|_| Feature::NamedRule.served())
}

fn timeouts(written: &RouteRule, policy: Timeouts, problems: &mut Vec<String>) -> Timeouts {
    let mut read = |feature: Feature, name: &str, text: Option<&String>| -> Option<Option<Duration>> {
        let text = text?;
        feature.allowed(&format!("timeouts.{name}"), problems);
        match text.parse::<GoDuration>() {
            // Zero switches the bound off.
            Ok(duration) => Some(Some(duration.get()).filter(|d| !d.is_zero())),
            Err(why) => {
                problems.push(format!("timeouts.{name}: '{text}': {why}"));
                None
            }
        }
    };
    let own = written.timeouts.as_ref();
    let request = read(Feature::RequestTimeout, "request", own.and_then(|t| t.request.as_ref()));
    let backend = read(Feature::BackendTimeout, "backendRequest", own.and_then(|t| t.backend_request.as_ref()));
    Timeouts {
        request: request.unwrap_or(policy.request),
        backend: backend.unwrap_or(policy.backend),
        first_token: policy.first_token,
        stream_idle: policy.stream_idle,
    }
}

fn forward(context: &Context<'_>, place: &Place<'_>, written: &RouteRule, flaws: &mut Flaws) -> Action {
    let references = written.backend_refs.as_deref().unwrap_or_default();
    let backends: Vec<WeightedBackend> =
        references.iter().map(|reference| weighted(context, place, reference, flaws)).collect();
    if backends.iter().all(|b| b.weight == 0) {
        let why = if references.is_empty() { "the rule has no backendRefs" } else { "every backendRef has weight 0" };
        flaws.ignored.push(format!("rule {}: {why}; it answers 500", place.index));
        return Action::Unavailable(UnavailableReason { status: 500, why: why.into() });
    }
    let name = format!("{}/{}/{}", place.gateway, place.route_name, place.index);
    Action::Forward(Split::new(backends, context.env.balance.turns(&name)))
}

fn weighted(context: &Context<'_>, place: &Place<'_>, reference: &BackendRef, flaws: &mut Flaws) -> WeightedBackend {
    let mut filters = filters::of_backend(reference.filters.as_deref().unwrap_or_default());
    let policies = filters.policies();
    let key = ObjectKey::new(reference.namespace.as_deref().unwrap_or(&place.route.namespace), &reference.name);
    let name: Arc<str> = key.to_string().into();
    let backend = if filters.problems.is_empty() {
        resolve(context, place, reference, &key).unwrap_or_else(|(reason, message)| {
            let why = message.clone();
            flaws.unresolved.push((reason, message));
            // The manifest is valid, but requests a feature that is not implemented.
            let status = if reason == Reason::Unsupported { 501 } else { 500 };
            Backend::Unavailable(UnavailableReason { status, why })
        })
    } else {
        let why = filters.problems.join("; ");
        flaws.unsupported.extend(filters.problems);
        Backend::Unavailable(UnavailableReason { status: 500, why })
    };
    WeightedBackend {
        weight: u32::try_from(reference.weight.unwrap_or(1)).unwrap_or(0),
        backend,
        policies,
        metrics: context.env.metrics.requests.route(place.gateway, place.route_name, &name),
        name,
    }
}

fn resolve(
    context: &Context<'_>,
    place: &Place<'_>,
    reference: &BackendRef,
    key: &ObjectKey,
) -> Result<Backend, (Reason, String)> {
    let (group, kind) =
        (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or("Service"));
    let ours = match (group, kind) {
        ("", "Service") => Kind::Service,
        (KGATEWAY, "Backend") => Kind::Backend,
        _ => {
            let message = format!(
                "backendRef {key} is of unknown kind {kind} in group \"{group}\"; use a Service, or a Backend of group {KGATEWAY}"
            );
            return Err((Reason::InvalidKind, message));
        }
    };
    if !context.grants.allow(HTTP_ROUTE, &place.route.namespace, GroupKind { group, kind }, key) {
        return Err((Reason::RefNotPermitted, grants::missing(ours, key, "HTTPRoutes of this namespace")));
    }
    if ours == Kind::Service {
        return service::compile(context.objects, context.env, key, reference.port).map_err(|p| (p.reason, p.message));
    }
    if let Some(message) = backend_tls::protects(context.objects, (KGATEWAY, "Backend"), key, "") {
        return Err((Reason::UnsupportedProtocol, message));
    }
    match context.backends.get(key) {
        None => {
            let message = match context.objects.rejection(Kind::Backend, key) {
                Some(rejected) => format!("Backend {key} can't be read: {}", rejected.error),
                None => format!("Backend \"{}\" not found in namespace \"{}\"", key.name, key.namespace),
            };
            Err((Reason::BackendNotFound, message))
        }
        Some(Err(problem)) => Err((problem.reason, format!("Backend {key} is not accepted: {}", problem.message))),
        Some(Ok(Compiled::Http(http))) => Ok(Backend::Http(Arc::clone(http))),
        Some(Ok(Compiled::Ai(ai))) => {
            let cache = |target: &crate::snapshot::Target| {
                let info = target.provider.info();
                context.env.metrics.tokens.models(info.llm, info.system, place.gateway, place.route_name)
            };
            let models = ai.groups.iter().map(|g| g.iter().map(cache).collect()).collect();
            Ok(Backend::Ai(AiUse { backend: Arc::clone(ai), models }))
        }
    }
}
