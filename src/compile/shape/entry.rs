//! One LLM provider of a Backend: its own fields, its credential, and what it overrides.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, header, uri::PathAndQuery};
use secrecy::ExposeSecret;

use super::{AuthHeader, AuthToken, Guardrail, Problems, ProviderEntry, ProviderSpec};
use crate::api::{
    auth::{AuthToken as WrittenToken, AuthTokenKind, LocalSecretRef},
    backend::{self, Bedrock, LlmProvider, PathOverride, ProviderRef, VertexAi},
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

/// The entry at `path`; `None` when it could not be read. `generated` makes a name for a provider's key.
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
    let (host, port, insecure_skip_verify) = address(written, path, problems);
    let replaced = replaced_path(written, path, problems);
    let auth_header = auth_header(written, path, problems);
    let routes = written.routes.iter().flatten().map(|(suffix, kind)| (suffix.clone(), *kind)).collect::<Vec<_>>();
    if routes.iter().any(|(suffix, _)| !suffix.starts_with('/')) {
        problems.push(format!("{path}.routes"), "each path must begin with '/'");
    }
    let provider = provider?;
    Some(ProviderEntry {
        name: written.name.clone().unwrap_or_else(|| generated(provider.key())),
        provider,
        host,
        port,
        insecure_skip_verify,
        path: replaced,
        auth_header,
        routes,
    })
}

/// The one provider that is set, in whichever place.
fn provider(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<ProviderSpec> {
    let under = written.provider.iter().flat_map(backend::Providers::set);
    let under = under.map(|p| (format!("{path}.provider.{}", p.key()), p));
    let found: Vec<_> = under.chain(written.set().map(|p| (format!("{path}.{}", p.key()), p))).collect();
    // An empty `provider:` beside a direct key is refused too: the schema counts keys.
    let twice = written.provider.is_some() && written.set().next().is_some();
    match found.as_slice() {
        [(path, provider)] if !twice => spec(*provider, path, problems),
        _ => {
            let names: Vec<_> = found.iter().map(|(_, provider)| provider.key()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(" and ") };
            problems.push(
                path,
                format!(
                    "exactly one provider must be set: write one of openai, azureopenai, anthropic, gemini, vertexai and \
                     bedrock, directly or under `provider`; set: {names}"
                ),
            );
            None
        }
    }
}

/// The provider's own fields. Reads all of them before giving up, so that every problem is reported.
fn spec(provider: ProviderRef<'_>, path: &str, problems: &mut Problems) -> Option<ProviderSpec> {
    match provider {
        ProviderRef::OpenAi(p) => {
            let auth = token(p.auth_token.as_ref(), path, problems)?;
            Some(ProviderSpec::OpenAi { auth, model: optional(p.model.as_deref()) })
        }
        ProviderRef::AzureOpenAi(p) => {
            let auth = cloud_token(p.auth_token.as_ref(), path, problems);
            let example = "the host of the Azure resource, such as `NAME.openai.azure.com`";
            let endpoint = required(p.endpoint.as_deref(), path, "endpoint", example, problems);
            let endpoint = endpoint.and_then(|text| azure_host(&text, &format!("{path}.endpoint"), problems));
            let deployment =
                required(p.deployment_name.as_deref(), path, "deploymentName", "the name of the deployment", problems);
            let example = "the API's version, such as `2024-10-21`";
            let api_version = required(p.api_version.as_deref(), path, "apiVersion", example, problems);
            Some(ProviderSpec::AzureOpenAi {
                auth: auth?,
                endpoint: endpoint?,
                deployment: deployment?,
                api_version: api_version?,
            })
        }
        ProviderRef::Anthropic(p) => {
            let auth = token(p.auth_token.as_ref(), path, problems)?;
            let (api_version, model) = (optional(p.api_version.as_deref()), optional(p.model.as_deref()));
            Some(ProviderSpec::Anthropic { auth, api_version, model })
        }
        ProviderRef::Gemini(p) => {
            let auth = token(p.auth_token.as_ref(), path, problems);
            // Both keys must be there, but the schema allows them to be empty.
            present(p.model.as_deref(), path, "model", "the model, such as `gemini-2.5-flash`", problems);
            present(p.api_version.as_deref(), path, "apiVersion", "the API's version, such as `v1beta`", problems);
            let (model, api_version) = (optional(p.model.as_deref()), optional(p.api_version.as_deref()));
            Some(ProviderSpec::Gemini { auth: auth?, model, api_version })
        }
        ProviderRef::VertexAi(p) => vertex(p, path, problems),
        ProviderRef::Bedrock(p) => Some(bedrock(p, path, problems)),
    }
}

fn vertex(p: &VertexAi, path: &str, problems: &mut Problems) -> Option<ProviderSpec> {
    let auth = cloud_token(p.auth_token.as_ref(), path, problems);
    let mut need = |value: &Option<String>, field, example| required(value.as_deref(), path, field, example, problems);
    let model = need(&p.model, "model", "the model, such as `gemini-2.5-pro`");
    let api_version = need(&p.api_version, "apiVersion", "the API's version, such as `v1`");
    let project = need(&p.project_id, "projectId", "the Google Cloud project");
    let location = need(&p.location, "location", "the Google Cloud region, such as `us-central1`");
    if let Some(location) = &location
        && (!is_dns_subdomain(location) || location.contains('.'))
    {
        // It becomes part of the host.
        problems.push(format!("{path}.location"), "not a region: write one such as `us-central1`");
    }
    Some(ProviderSpec::VertexAi {
        auth: auth?,
        model: model?,
        api_version: api_version?,
        project: project?,
        location: location?,
        model_path: optional(p.model_path.as_deref()),
        publisher: p.publisher.map(|publisher| publisher.as_path().to_owned()),
    })
}

fn bedrock(p: &Bedrock, path: &str, problems: &mut Problems) -> ProviderSpec {
    let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if p.region.is_empty() || p.region.len() > 63 || !p.region.chars().all(is_region) {
        problems.push(format!("{path}.region"), "not an AWS region: write one such as `us-east-1`");
    }
    if p.model.as_deref() == Some("") {
        problems
            .push(format!("{path}.model"), "model is empty: write the model, or leave it out to let the client choose");
    }
    let secret = p.auth.as_ref().and_then(|auth| {
        let path = format!("{path}.auth");
        if auth.kind.is_none() {
            problems.push(format!("{path}.type"), "type is missing: write `type: Secret`");
        }
        let missing = "type Secret needs the Secret's name: write `secretRef: {name: NAME}` beside it";
        secret_name(auth.secret_ref.as_ref(), &path, missing, problems)
    });
    let guardrail = p.guardrail.as_ref().and_then(|guardrail| {
        let path = format!("{path}.guardrail");
        let example = "the guardrail's identifier";
        let identifier = required(guardrail.identifier.as_deref(), &path, "identifier", example, problems);
        let example = "the guardrail's version, or `DRAFT`";
        let version = required(guardrail.version.as_deref(), &path, "version", example, problems);
        Some(Guardrail { identifier: identifier?, version: version? })
    });
    ProviderSpec::Bedrock { secret, model: optional(p.model.as_deref()), region: p.region.clone(), guardrail }
}

/// The credential for a provider that knows API keys alone.
fn token(written: Option<&WrittenToken>, path: &str, problems: &mut Problems) -> Option<AuthToken> {
    match cloud_token(written, path, problems) {
        Some(AuthToken::Workload) => {
            let message = "kind Workload is of azureopenai and vertexai alone: write SecretRef, Inline or Passthrough";
            problems.push(format!("{path}.authToken"), message);
            None
        }
        token => token,
    }
}

/// The credential for a provider that knows the identities of pods too.
fn cloud_token(written: Option<&WrittenToken>, path: &str, problems: &mut Problems) -> Option<AuthToken> {
    let path = format!("{path}.authToken");
    let Some(written) = written else {
        let message = "authToken is missing: write `authToken: {kind: SecretRef, secretRef: {name: NAME}}`";
        problems.push(path, message);
        return None;
    };
    if written.inline.is_some() && written.secret_ref.is_some() {
        let message = "at most one of inline and secretRef may be set: remove the one that `kind` does not name";
        problems.push(&path, message);
    }
    match written.kind {
        None => {
            problems.push(format!("{path}.kind"), "kind is missing: write SecretRef, Inline or Passthrough");
            None
        }
        Some(AuthTokenKind::Passthrough) => Some(AuthToken::Passthrough),
        Some(AuthTokenKind::Workload) => Some(AuthToken::Workload),
        Some(AuthTokenKind::SecretRef) => {
            let missing = "kind SecretRef needs the Secret's name: write `secretRef: {name: NAME}` beside it";
            secret_name(written.secret_ref.as_ref(), &path, missing, problems).map(AuthToken::SecretRef)
        }
        Some(AuthTokenKind::Inline) => match &written.inline {
            None => {
                problems.push(path, "kind Inline needs the token: write `inline: TOKEN` beside it");
                None
            }
            Some(inline) if inline.secret().expose_secret().trim().is_empty() => {
                let message = "inline is empty: write the token, or any word for a server that asks for none";
                problems.push(format!("{path}.inline"), message);
                None
            }
            Some(inline) => Some(AuthToken::Inline(inline.secret().clone())),
        },
    }
}

fn secret_name(written: Option<&LocalSecretRef>, path: &str, missing: &str, problems: &mut Problems) -> Option<String> {
    let Some(written) = written else {
        problems.push(path, missing);
        return None;
    };
    required(written.name.as_deref(), &format!("{path}.secretRef"), "name", "the Secret's name", problems)
}

/// Host, port, and whether any certificate will do.
fn address(written: &LlmProvider, path: &str, problems: &mut Problems) -> (Option<String>, Option<u16>, bool) {
    let direct = written.host.is_some() || written.port.is_some();
    if let Some(over) = &written.host_override {
        if written.host.is_some() {
            problems.push(path, "hostOverride and host say the same: remove one of them");
        } else if direct {
            problems.push(path, "both host and port must be set together");
        }
        let path = format!("{path}.hostOverride");
        let name = required(over.host.as_deref(), &path, "host", "the host's name or address", problems);
        let name = name.and_then(|name| host(&name, &format!("{path}.host"), problems));
        let port = port(over.port, &path, problems);
        return (name, port, over.insecure_skip_verify.unwrap_or(false));
    }
    if !direct {
        return (None, None, false);
    }
    let (Some(name), Some(_)) = (&written.host, written.port) else {
        problems.push(path, "both host and port must be set together");
        return (None, None, false);
    };
    (host(name, &format!("{path}.host"), problems), port(written.port, path, problems), false)
}

/// The path that replaces the provider's own.
fn replaced_path(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<String> {
    if written.path_override.is_some() && written.path.is_some() {
        problems.push(path, "pathOverride and path say the same: remove one of them");
    }
    let (field, spelling, over) = match (&written.path_override, &written.path) {
        (Some(over), _) => ("pathOverride", "fullPath", over),
        (None, Some(over)) => ("path", "full", over),
        (None, None) => return None,
    };
    let path = format!("{path}.{field}");
    let PathOverride { full_path, full } = over;
    let text = match (full_path.as_deref(), full.as_deref()) {
        (Some(_), Some(_)) => {
            problems.push(path, "fullPath and full say the same: remove one of them");
            return None;
        }
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => {
            problems.push(path, format!("{field} needs the path: write `{spelling}: /PATH`"));
            return None;
        }
    };
    let valid = text.starts_with('/') && !text.contains('#') && PathAndQuery::try_from(text).is_ok();
    if !valid {
        let message = "not a path: write one that starts with `/`, such as `/v1/chat/completions`, percent-encoded";
        problems.push(path, message);
        return None;
    }
    Some(text.to_owned())
}

/// The place that replaces the provider's own for the credential.
fn auth_header(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<AuthHeader> {
    if written.auth_header_override.is_some() && written.auth_header.is_some() {
        problems.push(path, "authHeaderOverride and authHeader say the same: remove one of them");
    }
    let (field, over) = match (&written.auth_header_override, &written.auth_header) {
        (Some(over), _) => ("authHeaderOverride", over),
        (None, Some(over)) => ("authHeader", over),
        (None, None) => return None,
    };
    let path = format!("{path}.{field}");
    // The 2.0 spelling may be empty; the 2.1 schema asks for at least one.
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

/// `text` as a host that can stand in a URI: a DNS name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn host(text: &str, path: &str, problems: &mut Problems) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => return Some(format!("[{address}]")),
        Ok(IpAddr::V4(_)) if bare == text => return Some(text.to_owned()),
        _ => {}
    }
    let message = if text.contains("://") {
        "the host has a scheme: write the name alone, such as `api.example.com`; TLS is used on port 443"
    } else if text.contains('/') {
        "the host has a path: write the name alone, such as `api.example.com`, and the path in `pathOverride` or `path`"
    } else if text.contains(':') {
        "the host has a port: write the name alone, such as `api.example.com`, and the port in `port`"
    } else if is_host_name(text) {
        return Some(text.to_owned());
    } else {
        "not a host: write a DNS name such as `api.example.com`, or an IP address"
    };
    problems.push(path, message);
    None
}

/// The host of an Azure endpoint, whose scheme and last slash the documentation promises to ignore.
fn azure_host(text: &str, path: &str, problems: &mut Problems) -> Option<String> {
    let bare = text.trim();
    let bare = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://")).unwrap_or(bare);
    host(bare.strip_suffix('/').unwrap_or(bare), path, problems)
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

/// The value, which must be there and not blank.
pub(super) fn required(
    value: Option<&str>,
    path: &str,
    field: &str,
    example: &str,
    problems: &mut Problems,
) -> Option<String> {
    present(value, path, field, example, problems);
    let value = value?;
    if value.trim().is_empty() {
        problems.push(format!("{path}.{field}"), format!("{field} is empty: write {example}"));
        return None;
    }
    Some(value.to_owned())
}

/// Reports a value that is not there.
fn present(value: Option<&str>, path: &str, field: &str, example: &str, problems: &mut Problems) {
    if value.is_none() {
        problems.push(format!("{path}.{field}"), format!("{field} is missing: write {example}"));
    }
}

/// An empty text says nothing.
fn optional(value: Option<&str>) -> Option<String> {
    value.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn is_dns_subdomain(text: &str) -> bool {
    is_host_name(text) && !text.contains(|c: char| c.is_ascii_uppercase() || c == '_') && !text.ends_with('.')
}

/// A DNS name as it occurs: any case, underscores, perhaps a dot at its end.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}
