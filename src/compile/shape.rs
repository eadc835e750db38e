//! Converts every way to write a Backend to one form, and reports all of its problems at once.
//!
//! Mistakes that the schema and its CEL rules refuse in a cluster are refused here again, with the same messages:
//! manifests from files do not pass through an API server, and a cluster may have kgateway's own definitions installed.

mod choosing;
mod entry;
mod limits;
mod names;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::HashSet;

use http::Method;

pub use self::tls::{AuthorityRef, TlsShape};
pub use crate::provider::check::ShapeProblem;
use crate::{
    api::backend::{AiBackend, AppProtocol, BackendSpec, BackendType, LlmProvider, RouteKind, StaticBackend},
    provider::{
        Checked, Forwarded, ModelNames, Server,
        check::{self, Problems},
    },
};

/// The most priority groups, and the most entries in one, as the schema defines them.
const MAX_GROUPS: usize = 32;

/// A Backend in one form.
#[derive(Clone, Debug)]
pub enum BackendShape {
    /// LLM providers in groups of falling priority. There is at least one group, and none is empty.
    Ai(Vec<Vec<ProviderEntry>>),
    /// Fixed hosts.
    Static {
        /// At least one.
        hosts: Vec<StaticEntry>,
        /// The hosts' protocol, if it is not HTTP/1.1.
        app_protocol: Option<AppProtocol>,
    },
}

impl BackendShape {
    /// The keys of its providers, each once, in order, joined with commas: `openai,anthropic`. Empty for fixed hosts.
    #[must_use]
    pub fn providers(&self) -> String {
        let Self::Ai(groups) = self else { return String::new() };
        let mut seen = Vec::new();
        for entry in groups.iter().flatten() {
            let key = entry.provider.def.info.name;
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
        seen.join(",")
    }
}

/// One fixed host.
#[derive(Clone, Debug)]
pub struct StaticEntry {
    /// Its name or address, spelled as in [`Server::host`].
    pub host: String,
    /// Its port, not 0.
    pub port: u16,
    /// Its TLS.
    pub tls: TlsShape,
    /// Requests at a time, not 0.
    pub max_requests: Option<u32>,
}

/// One LLM provider and how to reach it.
#[derive(Clone, Debug)]
pub struct ProviderEntry {
    /// Its name as written, or `PROVIDER_N` where N counts the Backend's entries from 0. Unique in the Backend.
    pub name: String,
    /// Its share of the requests of its group; 0 for none.
    pub weight: u32,
    /// The provider with its own fields.
    pub provider: Checked,
    /// What it states about the server. The host is set if and only if `port` is.
    pub server: Server,
    /// The port of the host, not 0.
    pub port: Option<u16>,
    /// Its TLS. On port 443 it is used in any case.
    pub tls: TlsShape,
    /// Requests at a time, not 0.
    pub max_requests: Option<u32>,
    /// The parts of a client's headers and query that are forwarded to it.
    pub forwarded: Forwarded,
    /// Another path, with its query if it has one, instead of the provider's own. Starts with `/` and is valid in a
    /// URI.
    pub path: Option<String>,
    /// Another place for the credential.
    pub auth_header: Option<AuthHeader>,
    /// The models that are listed for this entry, with the client's model as the choice, if any are.
    pub names: Option<ModelNames>,
    /// The model whose facts hold for every model of this entry.
    pub model_facts: Option<String>,
    /// The kind of request by method and path, which starts with `/`.
    pub routes: Vec<(Option<Method>, String, RouteKind)>,
}

/// Another place for the credential. At least one field is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHeader {
    /// Name of the header; a valid one.
    pub name: Option<String>,
    /// The text before the credential, space included; valid in a header. May be empty.
    pub prefix: Option<String>,
}

/// The Backend in one form.
///
/// # Errors
/// All of its problems, in the order of its fields; never empty.
pub fn shape(spec: &BackendSpec) -> Result<BackendShape, Vec<ShapeProblem>> {
    let mut problems = Problems::default();
    check_type(spec, &mut problems);
    limits::check(spec.circuit_breakers.as_ref(), &mut problems);
    let shape = match spec.kind {
        Some(BackendType::Ai) => spec.ai.as_ref().map(|ai| BackendShape::Ai(ai_groups(ai, &mut problems))),
        Some(BackendType::Static) => spec.static_.as_ref().map(|fixed| static_hosts(fixed, &mut problems)),
        Some(BackendType::Aws | BackendType::DynamicForwardProxy | BackendType::Mcp) | None => None,
    };
    match shape {
        Some(shape) if problems.is_empty() => Ok(shape),
        _ => Err(problems.into_vec()),
    }
}

/// Checks that the type matches the field that is set, and that Tollgate serves it.
fn check_type(spec: &BackendSpec, problems: &mut Problems) {
    let fields = [
        (BackendType::Ai, "ai", "with llm, multipool or priorityGroups", spec.ai.is_some()),
        (BackendType::Static, "static", "with hosts", spec.static_.is_some()),
        (BackendType::Aws, "aws", "with the Lambda function", spec.aws.is_some()),
        (BackendType::DynamicForwardProxy, "dynamicForwardProxy", "as an object", spec.dynamic_forward_proxy.is_some()),
        (BackendType::Mcp, "mcp", "with targets", spec.mcp.is_some()),
    ];
    let Some(written) = spec.kind else {
        let guess = fields.iter().find(|field| field.3).map_or("AI", |field| field.0.as_str());
        problems.push("spec.type", format!("type is missing: write `type: {guess}`"));
        return;
    };
    for (kind, field, content, set) in fields {
        let name = kind.as_str();
        if kind == written && !set {
            let message =
                format!("`{field}` backend must be specified when type is '{name}': write spec.{field} {content}");
            problems.push(format!("spec.{field}"), message);
        }
        if kind != written && set {
            let message = format!(
                "`{field}` backend must be nil if the type is not '{name}': write `type: {name}` or remove spec.{field}"
            );
            problems.push(format!("spec.{field}"), message);
        }
    }
    let what = match written {
        BackendType::Ai | BackendType::Static => return,
        BackendType::Aws => "AWS Lambda backends are not served: for models on AWS write `type: AI` with bedrock",
        BackendType::DynamicForwardProxy => {
            "dynamic forward proxies are not served: write `type: Static` with the hosts"
        }
        BackendType::Mcp => "MCP backends are not served",
    };
    problems.unsupported("spec.type", what);
}

/// The entries in groups of falling priority. Entries that can't be read are left out and are in `problems`.
fn ai_groups(ai: &AiBackend, problems: &mut Problems) -> Vec<Vec<ProviderEntry>> {
    let groups = match (&ai.llm, &ai.multipool, &ai.priority_groups) {
        (Some(llm), None, None) => vec![vec![("spec.ai.llm".to_owned(), llm)]],
        (None, Some(multipool), None) => {
            let pools = multipool.priorities.as_deref().unwrap_or_default();
            let pools = pools.iter().map(|p| p.pool.as_deref().unwrap_or_default());
            written_groups("spec.ai.multipool.priorities", "pool", pools, problems)
        }
        (None, None, Some(groups)) => {
            let groups = groups.iter().map(|g| g.providers.as_deref().unwrap_or_default());
            written_groups("spec.ai.priorityGroups", "providers", groups, problems)
        }
        _ => {
            problems.push(
                "spec.ai",
                "exactly one of llm, multipool and priorityGroups must be set: llm for one provider, priorityGroups \
                 (or multipool) for several",
            );
            return Vec::new();
        }
    };
    choosing::check(ai, problems);
    let groups = named(groups, problems);
    choosing::check_weights(&groups, problems);
    groups
}

/// Every entry of every group with its path. Reports groups that are missing, empty or too many.
fn written_groups<'a>(
    path: &str,
    field: &str,
    groups: impl ExactSizeIterator<Item = &'a [LlmProvider]>,
    problems: &mut Problems,
) -> Vec<Vec<(String, &'a LlmProvider)>> {
    match groups.len() {
        0 => problems.push(path, format!("no group is there: write at least one with `{field}`")),
        n if n > MAX_GROUPS => problems.push(path, format!("{n} groups are too many: at most {MAX_GROUPS}")),
        _ => {}
    }
    groups
        .enumerate()
        .map(|(i, group)| {
            let path = format!("{path}[{i}].{field}");
            match group.len() {
                0 => problems.push(&path, "no provider is there: write at least one"),
                n if n > MAX_GROUPS => {
                    problems.push(&path, format!("{n} providers are too many: at most {MAX_GROUPS}"));
                }
                _ => {}
            }
            group.iter().enumerate().map(|(j, provider)| (format!("{path}[{j}]"), provider)).collect()
        })
        .collect()
}

/// Reads the entries and gives each a name of its own.
fn named(groups: Vec<Vec<(String, &LlmProvider)>>, problems: &mut Problems) -> Vec<Vec<ProviderEntry>> {
    let mut taken = HashSet::new();
    let mut count = 0;
    let mut shaped = Vec::with_capacity(groups.len());
    for group in groups {
        let mut entries = Vec::with_capacity(group.len());
        for (path, provider) in group {
            if let Some(name) = provider.name.as_deref()
                && !taken.insert(name)
            {
                problems.push(format!("{path}.name"), "another entry has this name: write one of its own");
            }
            // Written names have no `_`, so these names are never in use.
            let generated = |key: &str| format!("{key}_{count}");
            entries.extend(entry::entry(provider, &path, generated, problems));
            count += 1;
        }
        shaped.push(entries);
    }
    shaped
}

fn static_hosts(fixed: &StaticBackend, problems: &mut Problems) -> BackendShape {
    let path = "spec.static.hosts";
    let written = fixed.hosts.as_deref().unwrap_or_default();
    if written.is_empty() {
        problems.push(path, "no host is there: write `hosts: [{host: NAME, port: PORT}]`");
    }
    let mut hosts = Vec::with_capacity(written.len());
    for (i, host) in written.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let name = check::required(host.host.as_deref(), &path, "host", "the host's name or address", problems);
        let name = name.and_then(|name| check::host(&name, &format!("{path}.host"), problems));
        let port = entry::port(host.port, &path, problems);
        let tls = TlsShape::read(host.tls.as_ref(), host.insecure_skip_verify, &format!("{path}.tls"), problems);
        let max_requests = limits::max_requests(host.max_requests, &path, problems);
        hosts.extend(name.zip(port).map(|(host, port)| StaticEntry { host, port, tls, max_requests }));
    }
    BackendShape::Static { hosts, app_protocol: fixed.app_protocol }
}
