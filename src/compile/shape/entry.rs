//! One LLM provider of a Backend, and its overrides. The provider's own fields are checked in `provider`.

use http::{HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use super::{AuthHeader, ProviderEntry, TlsShape, choosing, limits, names};
use crate::{
    api::backend::{LlmProvider, PathOverride, Providers, RouteKind},
    provider::{
        Api, Checked, Forwarded, Server,
        check::{Problems, host, is_dns_subdomain, optional, required},
        list_of_names, may_be_listed, may_be_listed_in_query,
    },
};

/// Headers that frame or route a request; a credential in one of them would break it.
const NOT_FOR_CREDENTIALS: [HeaderName; 7] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
];

/// The message for names that no list can forward.
const NOT_FORWARDED: &str = "this is where credentials or the message's framing are, which no list lets pass: remove it, \
                             and write `authToken: {kind: Passthrough}` to send the client's own credential";

/// Reads the entry at `path`; `None` when it could not be read. `generated` makes a name for a provider's key.
pub(super) fn entry(
    written: &LlmProvider,
    path: &str,
    generated: impl FnOnce(&str) -> String,
    problems: &mut Problems,
) -> Option<ProviderEntry> {
    if written.name.as_deref().is_some_and(|name| !is_dns_subdomain(name)) {
        let message = "not a name: write lower-case letters, digits, `-` and `.`, at most 253 of them";
        problems.push(format!("{path}.name"), message);
    }
    let provider = provider(written, path, problems);
    let (host, port) = address(written, path, problems);
    let over = written.host_override.as_ref();
    let (tls, tls_path) = match (&written.tls, over.and_then(|over| over.tls.as_ref())) {
        (Some(tls), _) => (Some(tls), "tls"),
        (None, tls) => (tls, "hostOverride.tls"),
    };
    let skip_verify = over.and_then(|over| over.insecure_skip_verify);
    let tls = TlsShape::read(tls, skip_verify, &format!("{path}.{tls_path}"), problems);
    let (full_path, base_path) = match replaced_path(written, path, problems) {
        Some(Replaced::Whole(full)) => (Some(full), None),
        Some(Replaced::Base(base)) => (None, Some(base)),
        None => (None, None),
    };
    let max_requests = limits::max_requests(written.max_requests, path, problems);
    let auth_header = auth_header(written, path, problems);
    let forwarded = forwarded(written, path, problems);
    let routes = written.routes.iter().flatten().filter_map(|(key, kind)| listed(key, *kind, path, problems)).collect();
    let apis = apis(written, path, problems);
    let names = names::names(written, path, problems);
    let provider = provider?;
    let server = Server { host, base_path, apis };
    check_server(&provider, &server, written, path, problems);
    Some(ProviderEntry {
        weight: choosing::weight(written.weight, path, problems),
        name: written.name.clone().unwrap_or_else(|| generated(provider.def.info.name)),
        provider,
        server,
        port,
        tls,
        path: full_path,
        auth_header,
        max_requests,
        forwarded,
        names,
        model_facts: written.model_facts.clone(),
        routes,
    })
}

/// The one provider that is set, in either place.
fn provider(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<Checked> {
    let under = written.provider.iter().flat_map(Providers::set);
    let under = under.map(|config| (format!("{path}.provider"), config));
    let found: Vec<_> = under.chain(written.set().map(|config| (path.to_owned(), config))).collect();
    // An empty `provider:` beside a direct key is refused too: the schema counts keys.
    let twice = written.provider.is_some() && written.set().next().is_some();
    match found.as_slice() {
        [(path, config)] if !twice => config.check(&format!("{path}.{}", config.def().info.name), problems),
        _ => {
            let names: Vec<_> = found.iter().map(|(_, config)| config.def().info.name).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(" and ") };
            let message = format!(
                "exactly one provider must be set: write one of {}, directly or under `provider`; set: {names}",
                list_of_names()
            );
            problems.push(path, message);
            None
        }
    }
}

/// Host and port.
fn address(written: &LlmProvider, path: &str, problems: &mut Problems) -> (Option<String>, Option<u16>) {
    if written.tls.is_some() && written.host.is_none() {
        problems.push(format!("{path}.tls"), "tls is that of host and port: write it below hostOverride, or remove it");
    }
    let direct = written.host.is_some() || written.port.is_some();
    if let Some(over) = &written.host_override {
        if written.host.is_some() {
            problems.push(path, "hostOverride and host are mutually exclusive: remove one of them");
        } else if direct {
            problems.push(path, "both host and port must be set together");
        }
        let path = format!("{path}.hostOverride");
        let name = required(over.host.as_deref(), &path, "host", "the host's name or address", problems);
        let name = name.and_then(|name| host(&name, &format!("{path}.host"), problems));
        let port = port(over.port, &path, problems);
        return (name, port);
    }
    if !direct {
        return (None, None);
    }
    let (Some(name), Some(_)) = (&written.host, written.port) else {
        problems.push(path, "both host and port must be set together");
        return (None, None);
    };
    (host(name, &format!("{path}.host"), problems), port(written.port, path, problems))
}

/// The APIs that the server has.
fn apis(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<Vec<Api>> {
    let apis = written.apis.as_ref()?;
    let path = format!("{path}.apis");
    if apis.is_empty() {
        problems.push(path, "no API is there: write at least one of chat, responses and messages, or remove it");
        return None;
    }
    let twice = apis.iter().enumerate().find(|(i, api)| apis.iter().take(*i).any(|other| other == *api));
    if let Some((_, api)) = twice {
        problems.push(path, format!("{} is there twice: remove one of them", api.as_str()));
        return None;
    }
    Some(apis.clone())
}

/// Reports what is stated about a server and does not hold for its provider.
fn check_server(provider: &Checked, server: &Server, written: &LlmProvider, path: &str, problems: &mut Problems) {
    let rules = provider.settings.server_rules();
    let name = provider.def.info.name;
    if server.base_path.is_some() && !rules.base_path {
        let field = if written.path_override.is_some() { "pathOverride" } else { "path" };
        problems.push(format!("{path}.{field}.prefix"), format!("{name} has paths of its own: write the full path"));
    }
    if server.apis.is_some() && !rules.apis {
        problems.push(format!("{path}.apis"), format!("the API of {name} is known: remove it"));
    }
    let has_host = written.host.is_some() || written.host_override.is_some();
    if let Some(kind) = rules.needs_host.filter(|_| !has_host) {
        problems.push(path, format!("{kind} has no host of its own: write `host` and `port` of your server"));
    }
}

/// What replaces the provider's own path.
enum Replaced {
    /// Another path for every endpoint.
    Whole(String),
    /// Another path before each endpoint's own, without a slash at its end.
    Base(String),
}

/// The path that replaces the provider's own.
fn replaced_path(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<Replaced> {
    if written.path_override.is_some() && written.path.is_some() {
        problems.push(path, "pathOverride and path are mutually exclusive: remove one of them");
    }
    let (field, spelling, over) = match (&written.path_override, &written.path) {
        (Some(over), _) => ("pathOverride", "`fullPath: /PATH`", over),
        (None, Some(over)) => ("path", "`full: /PATH`, or `prefix: /PATH`", over),
        (None, None) => return None,
    };
    let path = format!("{path}.{field}");
    let PathOverride { full_path, full, prefix } = over;
    if full_path.is_some() && full.is_some() {
        problems.push(path, "fullPath and full are mutually exclusive: remove one of them");
        return None;
    }
    match (full_path.as_deref().or(full.as_deref()), prefix.as_deref()) {
        (Some(_), Some(_)) => {
            let message = "prefix and the full path are mutually exclusive: prefix is for every endpoint, the full path \
                           for one";
            problems.push(path, message);
            None
        }
        (None, None) => {
            problems.push(path, format!("{field} needs the path: write {spelling}"));
            None
        }
        (Some(text), None) => {
            let valid = text.starts_with('/') && !text.contains('#') && PathAndQuery::try_from(text).is_ok();
            if !valid {
                let message =
                    "not a path: write one that starts with `/`, such as `/v1/chat/completions`, percent-encoded";
                problems.push(path, message);
            }
            valid.then(|| Replaced::Whole(text.to_owned()))
        }
        (None, Some(text)) => {
            let base = text.strip_suffix('/').unwrap_or(text);
            if !text.starts_with('/') || !is_base_path(base) {
                let message =
                    "not a base path: write one such as `/openai/v1`, without query, empty segments and escapes";
                problems.push(format!("{path}.prefix"), message);
                return None;
            }
            Some(Replaced::Base(base.to_owned()))
        }
    }
}

/// The longest base path.
const MAX_BASE_PATH: usize = 1024;

/// Whether `text` is empty or segments that every server reads as they are written. The schema has the same rule.
fn is_base_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_~!$&'()*+,=:@.-".contains(&b);
    let mut segments = text.split('/').skip(1);
    text.len() <= MAX_BASE_PATH
        && segments.all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
}

/// The place that replaces the provider's own for the credential.
fn auth_header(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<AuthHeader> {
    if written.auth_header_override.is_some() && written.auth_header.is_some() {
        problems.push(path, "authHeaderOverride and authHeader are mutually exclusive: remove one of them");
    }
    let (field, over) = match (&written.auth_header_override, &written.auth_header) {
        (Some(over), _) => ("authHeaderOverride", over),
        (None, Some(over)) => ("authHeader", over),
        (None, None) => return None,
    };
    let path = format!("{path}.{field}");
    // The 2.0 spelling may be empty; the 2.1 schema requires at least one.
    if field == "authHeader" && over.header_name.is_none() && over.prefix.is_none() {
        problems.push(&path, "authHeader needs headerName or prefix");
    }
    let name = optional(over.header_name.as_deref());
    if let Some(name) = &name {
        match HeaderName::from_bytes(name.as_bytes()) {
            Err(_) => {
                problems.push(format!("{path}.headerName"), "not a header's name: write one such as `Authorization`");
            }
            Ok(name) if NOT_FOR_CREDENTIALS.contains(&name) => {
                problems
                    .push(format!("{path}.headerName"), "this header frames the request and can't carry a credential");
            }
            Ok(_) => {}
        }
    }
    if over.prefix.as_deref().is_some_and(|prefix| HeaderValue::from_str(prefix).is_err() || !prefix.is_ascii()) {
        problems.push(format!("{path}.prefix"), "not valid in a header: write visible ASCII characters and spaces");
    }
    (name.is_some() || over.prefix.is_some()).then(|| AuthHeader { name, prefix: over.prefix.clone() })
}

/// Reads one entry of `routes`: a path, for `passthrough` preceded by a method if that is not POST.
fn listed(
    key: &str,
    kind: RouteKind,
    path: &str,
    problems: &mut Problems,
) -> Option<(Option<Method>, String, RouteKind)> {
    let (method, suffix) = match key.split_once(' ') {
        Some((method, suffix)) if kind == RouteKind::Passthrough => {
            (Method::from_bytes(method.as_bytes()).ok(), suffix)
        }
        Some(_) => (None, ""),
        None => (Some(Method::POST), key),
    };
    let known = method.as_ref().is_some_and(|method| method.as_str().bytes().all(|b| b.is_ascii_uppercase()));
    if !known || !suffix.starts_with('/') {
        let message = "each path must begin with '/'; one of `passthrough` may have a method in front of it, as in \
                       `GET /v1/files`";
        problems.push(format!("{path}.routes"), message);
        return None;
    }
    Some((method.filter(|_| kind == RouteKind::Passthrough), suffix.to_owned(), kind))
}

/// The names that the entry adds to the headers and query parameters that are forwarded to a provider.
fn forwarded(written: &LlmProvider, path: &str, problems: &mut Problems) -> Forwarded {
    let (headers, query) = (written.forward_headers.as_deref(), written.forward_query_params.as_deref());
    let mut names = Vec::new();
    for (i, name) in headers.unwrap_or_default().iter().enumerate() {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if may_be_listed(&name) => names.push(name),
            Ok(_) => problems.push(format!("{path}.forwardHeaders[{i}]"), NOT_FORWARDED),
            Err(_) => {
                problems
                    .push(format!("{path}.forwardHeaders[{i}]"), "not a header's name: write one such as `X-Title`");
            }
        }
    }
    let query = query.unwrap_or_default();
    for i in query.iter().enumerate().filter(|(_, name)| !may_be_listed_in_query(name)).map(|(i, _)| i) {
        problems.push(format!("{path}.forwardQueryParams[{i}]"), NOT_FORWARDED);
    }
    Forwarded::new(names, query)
}

pub(super) fn port(written: Option<u16>, path: &str, problems: &mut Problems) -> Option<u16> {
    let message = match written {
        Some(0) => "port is out of range: write 1 to 65535",
        None => "port is missing: write 1 to 65535",
        port => return port,
    };
    problems.push(format!("{path}.port"), message);
    None
}
