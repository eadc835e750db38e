//! Checks of fields that several providers have, and the problems that they find.
//!
//! Messages state what to write, and never repeat a value.

use std::net::IpAddr;

use kube::core::Rule;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{
    KeySource, PROVIDERS, ProviderDef,
    auth::{AuthToken, AuthTokenKind, LocalSecretRef},
};

/// A problem of a Backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShapeProblem {
    /// The field, such as `spec.ai.llm.openai.authToken`.
    pub path: String,
    /// The problem, and what to write instead. Holds no value of the manifest.
    pub message: String,
    /// The manifest is valid, but Tollgate does not serve this kind of backend.
    pub unsupported: bool,
}

/// The problems that were found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<ShapeProblem>);

impl Problems {
    /// Adds a problem of the field at `path`.
    pub fn push(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ShapeProblem { path: path.into(), message: message.into(), unsupported: false });
    }

    /// Adds a field whose value is valid, but not served.
    pub fn unsupported(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ShapeProblem { path: path.into(), message: message.into(), unsupported: true });
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were found.
    #[must_use]
    pub fn into_vec(self) -> Vec<ShapeProblem> {
        self.0
    }
}

/// The rule for `authToken` of providers without a cloud, in the schema.
pub fn no_workload() -> Rule {
    Rule::from(("self.kind != 'Workload'", workload_message().as_str()))
}

fn workload_message() -> String {
    let clouds = PROVIDERS.iter().filter(|def| def.cloud.is_some());
    let names: Vec<&str> = clouds.map(|def| def.info.name).collect();
    format!("kind Workload is of {} alone: write SecretRef, Inline or Passthrough", names.join(" and "))
}

/// Checks the credential of an entry of `def`. Providers without a cloud don't support identities of pods.
pub fn token(written: Option<&AuthToken>, def: &ProviderDef, path: &str, problems: &mut Problems) -> Option<KeySource> {
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
        Some(AuthTokenKind::Passthrough) => Some(KeySource::Passthrough),
        Some(AuthTokenKind::Workload) if def.cloud.is_none() => {
            problems.push(path, workload_message());
            None
        }
        Some(AuthTokenKind::Workload) => Some(KeySource::Workload),
        Some(AuthTokenKind::SecretRef) => {
            let missing = "kind SecretRef needs the Secret's name: write `secretRef: {name: NAME}` beside it";
            secret_name(written.secret_ref.as_ref(), &path, missing, problems).map(KeySource::SecretRef)
        }
        Some(AuthTokenKind::Inline) => match &written.inline {
            None => {
                problems.push(path, "kind Inline needs the token: write `inline: TOKEN` beside it");
                None
            }
            Some(inline) if inline.secret().expose_secret().trim().is_empty() => {
                let message = "inline is empty: write the token, or any word for a server that requires none";
                problems.push(format!("{path}.inline"), message);
                None
            }
            Some(inline) => Some(KeySource::Inline(inline.secret().clone())),
        },
    }
}

/// The name of a Secret; `missing` is the message where there is no reference.
pub fn secret_name(
    written: Option<&LocalSecretRef>,
    path: &str,
    missing: &str,
    problems: &mut Problems,
) -> Option<String> {
    let Some(written) = written else {
        problems.push(path, missing);
        return None;
    };
    required(written.name.as_deref(), &format!("{path}.secretRef"), "name", "the Secret's name", problems)
}

/// `text` as a host that a URI can hold: a DNS name, an IPv4 address, or an IPv6 address in brackets.
pub fn host(text: &str, path: &str, problems: &mut Problems) -> Option<String> {
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

/// The value, which must be there and not blank. `example` completes the sentence "write ...".
pub fn required(
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

/// Reports a value that is missing.
pub fn present(value: Option<&str>, path: &str, field: &str, example: &str, problems: &mut Problems) {
    if value.is_none() {
        problems.push(format!("{path}.{field}"), format!("{field} is missing: write {example}"));
    }
}

/// The text; `None` if it is empty, which means the same as absent.
#[must_use]
pub fn optional(value: Option<&str>) -> Option<String> {
    value.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether `text` is a name of objects in Kubernetes: a DNS name in lower case.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    is_host_name(text) && !text.contains(|c: char| c.is_ascii_uppercase() || c == '_') && !text.ends_with('.')
}

/// A DNS name in any form that occurs: any case, underscores, perhaps a dot at its end.
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
