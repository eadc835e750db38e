//! Backends to targets.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use http::{HeaderName, Method, uri::PathAndQuery};

use super::{
    Condition, Env, ObjectReport, Objects, choice, credential,
    health::{self, Healthy},
    identity, load,
    server_tls::server_tls,
    shape::{AuthHeader, BackendShape, ProviderEntry, StaticEntry, TlsShape, shape},
};
use crate::{
    api::{
        Kind, ObjectKey,
        backend::{AppProtocol, Backend, RouteKind, Strict},
        condition::{ConditionType, Reason},
    },
    dialect::{DialectId, Endpoint, ListedPath},
    policy::{hedge::Hedge, timeouts::FirstToken},
    provider::{Auth, CredentialSlot, KeySource, ModelNames},
    snapshot::{self, AiBackend, Credential, HttpBackend, Strictness, Target, TargetModels},
    upstream::{
        Origin, OriginKind, Transport,
        balance::{HealthReport, KeyHash},
        server_name,
    },
};

/// A Backend that can be served.
#[derive(Clone)]
pub enum Compiled {
    Ai(Arc<AiBackend>),
    Http(Arc<HttpBackend>),
}

impl Compiled {
    /// The provider entries that have no credential at the moment, because it can't be fetched. They are still tried:
    /// the next attempt to fetch it may succeed at any time.
    fn credential_problem(&self) -> Option<String> {
        let Self::Ai(backend) = self else { return None };
        let targets = backend.groups.iter().flatten();
        let problems: Vec<String> = targets
            .filter_map(|target| target.credential.problem().map(|why| format!("provider {}: {why}", target.name)))
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// The provider entries whose key is sent without TLS over networks of others.
    fn keys_in_clear(&self) -> Option<String> {
        let Self::Ai(backend) = self else { return None };
        let targets = backend.groups.iter().flatten().filter(|target| {
            let origin = target.pool.origin();
            !matches!(origin.transport, Transport::Tls(_)) && !is_internal(&origin.host)
        });
        let names: Vec<&str> = targets.map(|target| target.name.as_str()).collect();
        let names = names.join(", ");
        let message =
            format!("provider {names}: keys and prompts leave in clear text; write `tls: {{}}` beside the port");
        (!names.is_empty()).then_some(message)
    }
}

/// Whether `host` is this machine, a private network, or inside a cluster, so that what is sent to it does not cross
/// networks of others. Names are not resolved.
fn is_internal(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => {
            let shared = matches!(v4.octets(), [100, 64..128, ..]);
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        Err(_) => {
            let inside = [".svc", ".local", ".internal", ".localhost", ".lan", ".home.arpa"];
            !host.contains('.') || inside.iter().any(|end| host.ends_with(end))
        }
    }
}

/// The reason why a Backend can't be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
}

/// All Backends, served or not, by key.
pub struct Backends {
    by_key: BTreeMap<ObjectKey, Outcome>,
}

/// The result for one Backend.
struct Outcome {
    generation: Option<i64>,
    compiled: Result<Compiled, Problem>,
    /// The provider entries or hosts that are left out, and the reason.
    left_out: Option<Problem>,
    /// Its status has reported that targets were left alone, so that the end of that is reported, too.
    was_degraded: bool,
}

impl Backends {
    /// The Backend at `key`, if there is one.
    pub fn get(&self, key: &ObjectKey) -> Option<&Result<Compiled, Problem>> {
        self.by_key.get(key).map(|outcome| &outcome.compiled)
    }

    pub fn into_reports(self, health: &HealthReport) -> impl Iterator<Item = ObjectReport> {
        self.by_key.into_iter().map(|(key, Outcome { generation, compiled, left_out, was_degraded })| {
            let state = compiled.as_ref().ok().and_then(|compiled| Healthy::of(compiled, health));
            let degraded = state.as_ref().and_then(|state| state.condition(was_degraded));
            let in_clear = compiled.as_ref().ok().and_then(Compiled::keys_in_clear);
            let accepted = match compiled {
                Ok(compiled) => compiled.credential_problem().map_or_else(
                    || Condition::new(ConditionType::Accepted, true, Reason::Accepted, "Backend accepted"),
                    |why| Condition::new(ConditionType::Accepted, false, Reason::CredentialsUnavailable, why),
                ),
                Err(p) => Condition::new(ConditionType::Accepted, false, p.reason, p.message),
            };
            let resolved = left_out.map(|p| Condition::new(ConditionType::ResolvedRefs, false, p.reason, p.message));
            let in_clear =
                in_clear.map(|why| Condition::new(ConditionType::TransportSecured, false, Reason::ClearText, why));
            let conditions = std::iter::once(accepted).chain(resolved).chain(in_clear).chain(degraded).collect();
            let healthy = state.map(|state| state.to_string());
            ObjectReport { conditions, healthy, ..ObjectReport::new(Kind::Backend, key, generation) }
        })
    }
}

pub fn compile_all(objects: &Objects, env: &Env) -> Backends {
    let outcome = |key, backend: &Backend| {
        let generation = backend.metadata.generation;
        let was_degraded = health::was_degraded(backend);
        match compile(key, backend, objects, env) {
            Ok((Some(compiled), left_out)) => Outcome { generation, compiled: Ok(compiled), left_out, was_degraded },
            Ok((None, left_out)) => {
                let none =
                    || Problem { reason: Reason::Invalid, message: "no provider and no host is left".to_owned() };
                Outcome { generation, compiled: Err(left_out.clone().unwrap_or_else(none)), left_out, was_degraded }
            }
            Err(problem) => Outcome { generation, compiled: Err(problem), left_out: None, was_degraded },
        }
    };
    Backends { by_key: objects.backends.iter().map(|(key, backend)| (key.clone(), outcome(key, backend))).collect() }
}

/// The Backend, if any of its entries can be used, and those that are left out.
fn compile(
    key: &ObjectKey,
    backend: &Backend,
    objects: &Objects,
    env: &Env,
) -> Result<(Option<Compiled>, Option<Problem>), Problem> {
    let name: Arc<str> = key.to_string().into();
    match shape(&backend.spec) {
        Err(problems) => {
            let unsupported = problems.iter().any(|p| p.unsupported);
            let messages: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
            let reason = if unsupported { Reason::Unsupported } else { Reason::Invalid };
            Err(Problem { reason, message: messages.join("; ") })
        }
        Ok(BackendShape::Static { hosts, app_protocol }) => {
            let clear = if app_protocol.is_some_and(is_http2) { Transport::Http2 } else { Transport::Http1 };
            let (mut endpoints, mut limits, mut problems) = (Vec::new(), Vec::new(), Vec::new());
            for entry in hosts {
                let address = format!("host {}:{}", entry.host, entry.port);
                let limit = entry.max_requests;
                match static_endpoint(entry, &clear, &name, key, objects, env) {
                    Ok(endpoint) => {
                        limits.push(limit);
                        endpoints.push(endpoint);
                    }
                    Err(problem) => problems.push((address, problem)),
                }
            }
            let left_out = left_out("hosts", &problems, endpoints.len());
            if endpoints.is_empty() {
                return Ok((None, left_out));
            }
            let (turns, retries) = (env.balance.turns(&name), env.balance.retries(&name));
            let states = endpoints.iter().map(|endpoint| &*endpoint.state);
            let load = load::load(&name, &backend.spec, states.zip(limits), env);
            let backend = HttpBackend { name, endpoints, turns, retries, load };
            Ok((Some(Compiled::Http(Arc::new(backend))), left_out))
        }
        Ok(BackendShape::Ai(groups)) => {
            let by_model = groups.iter().flatten().any(|entry| entry.names.is_some());
            let mut problems = Vec::new();
            let mut compiled = Vec::new();
            // Of the targets, in their order.
            let mut limits = Vec::new();
            let mut routes = Vec::new();
            for group in groups {
                let mut targets = Vec::new();
                for entry in group.into_iter().filter(|entry| entry.weight > 0) {
                    let listed = |(method, path, kind): &(Option<Method>, String, RouteKind)| ListedPath {
                        method: method.clone(),
                        path: path.clone(),
                        endpoint: endpoint(*kind),
                    };
                    routes.extend(entry.routes.iter().map(listed));
                    let entry_name = format!("provider {}", entry.name);
                    let limit = entry.max_requests;
                    match target(entry, by_model, key, objects, env) {
                        Ok(target) => {
                            limits.push(limit);
                            targets.push(target);
                        }
                        Err(p) => problems.push((entry_name, p)),
                    }
                }
                if !targets.is_empty() {
                    compiled.push(targets);
                }
            }
            let left_out = left_out("providers", &problems, compiled.iter().map(Vec::len).sum());
            if compiled.is_empty() {
                return Ok((None, left_out));
            }
            let dialect = compiled.iter().flatten().next().map_or(DialectId::Chat, |t| t.provider.info().dialect);
            let ai = backend.spec.ai.as_ref();
            let strict = strictness(ai.and_then(|ai| ai.strict));
            let first_token = ai.and_then(|ai| ai.timeouts.as_ref()?.first_token.as_ref()).map(FirstToken::of);
            let choice = choice::of(ai.and_then(|ai| ai.load_balancer.as_ref()));
            let hedge = ai.and_then(|ai| ai.hedge.as_ref()).map(Hedge::of);
            let (turns, retries) = (env.balance.turns(&name), env.balance.retries(&name));
            let hedges = env.balance.hedges(&name);
            let states = compiled.iter().flatten().map(|target: &Target| &*target.state);
            let load = load::load(&name, &backend.spec, states.zip(limits), env);
            let backend = AiBackend {
                name,
                dialect,
                groups: compiled,
                by_model,
                strict,
                first_token,
                routes,
                choice,
                turns,
                hedge,
                retries,
                hedges,
                load,
            };
            Ok((Some(Compiled::Ai(Arc::new(backend))), left_out))
        }
    }
}

fn strictness(written: Option<Strict>) -> Strictness {
    match written.unwrap_or_default() {
        Strict::Never => Strictness::None,
        Strict::Losses => Strictness::Losses,
        Strict::Always => Strictness::All,
    }
}

/// The reason why entries are left out of a Backend. The other entries serve its requests, since one missing Secret
/// must not disable all of them. The first reason is the condition's.
fn left_out(entries: &str, problems: &[(String, Problem)], usable: usize) -> Option<Problem> {
    let (_, first) = problems.first()?;
    let mut messages: Vec<String> = problems.iter().map(|(entry, p)| format!("{entry}: {}", p.message)).collect();
    if usable > 0 {
        messages.insert(0, format!("{usable} of {} {entries} can be used", usable + problems.len()));
    }
    Some(Problem { reason: first.reason, message: messages.join("; ") })
}

/// Connections with the TLS that an entry of the Backend at `key` asks for.
fn tls_transport(tls: &TlsShape, key: &ObjectKey, objects: &Objects) -> Result<Transport, Problem> {
    let tls = server_tls(tls, &key.namespace, objects);
    tls.map(Transport::Tls).map_err(|message| Problem { reason: Reason::InvalidCACertificateRef, message })
}

/// The endpoint of a fixed host, which is reached over `clear` if it has no TLS.
fn static_endpoint(
    entry: StaticEntry,
    clear: &Transport,
    name: &str,
    key: &ObjectKey,
    objects: &Objects,
    env: &Env,
) -> Result<snapshot::Endpoint, Problem> {
    let transport = if entry.tls.required { tls_transport(&entry.tls, key, objects)? } else { clear.clone() };
    let origin = Origin { host: without_brackets(entry.host), port: entry.port, transport, kind: OriginKind::Server };
    env.endpoint(name, &origin).map_err(|message| Problem { reason: Reason::Invalid, message })
}

/// The models of an entry of a Backend that selects by the model: those that are listed, else the provider's own, else
/// every one.
fn names(listed: Option<ModelNames>, own: Option<&str>) -> Result<ModelNames, Problem> {
    match (listed, own) {
        (Some(names), Some(own)) if names.has_aliases() => Err(Problem {
            reason: Reason::Invalid,
            message: format!(
                "modelAliases: the provider's own model, '{own}', replaces every other: list the names in `models`"
            ),
        }),
        (Some(names), _) => Ok(names),
        (None, Some(own)) => Ok(ModelNames::new([own], [])),
        (None, None) => Ok(ModelNames::every()),
    }
}

fn target(
    entry: ProviderEntry,
    by_model: bool,
    key: &ObjectKey,
    objects: &Objects,
    env: &Env,
) -> Result<Target, Problem> {
    let invalid = |message: String| Problem { reason: Reason::Invalid, message };
    let checked = entry.provider;
    let provider = checked.settings.build(&entry.server).map_err(invalid)?;
    let uses_pod = matches!(checked.auth, Auth::Key(KeySource::Workload) | Auth::Aws { secret: None, .. });
    let credential = match checked.auth {
        Auth::Key(source) => {
            let slot = credential_slot(provider.credential_slot(), entry.auth_header)?;
            credential::key(&source, checked.def, &key.namespace, slot, objects, env)
        }
        Auth::Aws { .. } if entry.auth_header.is_some() => {
            return Err(invalid(format!("authHeader: requests to {} are signed; remove it", checked.def.info.name)));
        }
        Auth::Aws { secret, region } => credential::aws(secret.as_deref(), &region, &key.namespace, objects, env),
    };
    let credential = credential.map_err(|p| Problem { reason: p.reason, message: p.message })?;
    let host = without_brackets(entry.server.host.clone().unwrap_or_else(|| provider.host()));
    let port = entry.port.unwrap_or(443);
    server_name(&host).map_err(|why| invalid(format!("host: {why}")))?;
    // As kgateway has it: 443 means TLS, any other port is in clear unless the entry has `tls`.
    let transport =
        if port == 443 || entry.tls.required { tls_transport(&entry.tls, key, objects)? } else { Transport::Http1 };
    if uses_pod && !env.pools.simulates_providers() {
        let target = identity::Target { def: checked.def, host: &host, transport: transport.clone() };
        env.identity.check(&key.namespace, &target).map_err(invalid)?;
    }
    // An operator's own host, or path, is for every endpoint.
    let own = entry.server.host.is_some() || entry.path.is_some();
    let rerank_host = provider.rerank_host().filter(|_| !own).map(str::to_owned);
    let pool =
        |host, transport| env.pools.get(&Origin { host, port, transport, kind: OriginKind::Provider }).map_err(invalid);
    let rerank_pool = rerank_host.map(|host| pool(host, transport.clone())).transpose()?;
    let pool = pool(host, transport)?;
    let path = match entry.path {
        Some(path) => Some(
            PathAndQuery::try_from(path.as_str())
                .ok()
                .filter(|_| path.starts_with('/'))
                .ok_or_else(|| invalid(format!("path: '{path}' is not a path; begin it with '/'")))?,
        ),
        None => None,
    };
    let state = env.balance.target(&key.to_string(), &entry.name);
    state.count_in(&env.metrics.targets, &key.to_string(), &entry.name);
    let address = format!("{}{}", pool.origin(), entry.server.base_path.as_deref().unwrap_or_default());
    let server = env.balance.server(&key.to_string(), &entry.name, &address);
    let names = by_model.then(|| names(entry.names, provider.model())).transpose()?;
    let models = TargetModels {
        table: Arc::clone(&env.models.borrow()),
        provider: checked.def.info.name,
        named: entry.model_facts,
    };
    let own_account = matches!(credential, Credential::Passthrough { .. });
    let forwarded = entry.forwarded.with_account(own_account).with_simulator(env.pools.simulates_providers());
    let (name_hash, weight) = (KeyHash::of(entry.name.as_bytes()), entry.weight);
    Ok(Target {
        name: entry.name,
        name_hash,
        weight,
        provider,
        pool,
        rerank_pool,
        path,
        credential,
        forwarded,
        models,
        names,
        state,
        server,
    })
}

/// The header and prefix of the credential: the entry's, or else the provider's.
fn credential_slot(own: CredentialSlot, written: Option<AuthHeader>) -> Result<CredentialSlot, Problem> {
    let (name, prefix) = written.map_or((None, None), |h| (h.name, h.prefix));
    let header = match name {
        Some(name) => HeaderName::try_from(name.as_str()).map_err(|_| Problem {
            reason: Reason::Invalid,
            message: format!("authHeader.headerName: '{name}' is not a header name"),
        })?,
        None => own.header,
    };
    Ok(CredentialSlot { header, prefix: prefix.unwrap_or(own.prefix) })
}

/// The endpoint for an entry of `routes`.
const fn endpoint(kind: RouteKind) -> Endpoint {
    match kind {
        RouteKind::Completions => Endpoint::ChatCompletions,
        RouteKind::Messages => Endpoint::Messages,
        RouteKind::Models => Endpoint::Models(None),
        RouteKind::Passthrough => Endpoint::Other(String::new()),
        RouteKind::Responses => Endpoint::Responses,
        RouteKind::AnthropicTokenCount => Endpoint::CountMessageTokens,
    }
}

/// IPv6 addresses have brackets, as in URLs; connections and certificates need them without.
fn without_brackets(host: String) -> String {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inner) => inner.to_owned(),
        None => host,
    }
}

const fn is_http2(protocol: AppProtocol) -> bool {
    matches!(protocol, AppProtocol::Http2 | AppProtocol::Grpc | AppProtocol::GrpcWeb | AppProtocol::H2c)
}
