//! Filters of HTTPRoutes. Rules and backend references have the same filters under different generated names; a macro
//! reads both.

use http::{HeaderName, HeaderValue, StatusCode};

use super::features::Feature;
use crate::{
    api::gateway::{BackendFilter, BackendFilterType, Filter, FilterType},
    policy::{Policies, header_modifier::HeaderModifier},
    snapshot::{PathRewrite, Redirect, Rewrite},
};

/// A list of filters, compiled.
#[derive(Default)]
pub struct Filters {
    pub request_headers: HeaderModifier,
    pub response_headers: HeaderModifier,
    pub rewrite: Option<Rewrite>,
    pub redirect: Option<Redirect>,
    /// TrafficPolicies named by `ExtensionRef`.
    pub policies: Vec<String>,
    /// Messages about filters that can't be served: the rule replies with 500.
    pub problems: Vec<String>,
    /// Two of them can't be used together.
    pub incompatible: bool,
}

impl Filters {
    /// The policies that these filters define.
    pub fn policies(&mut self) -> Policies {
        let mut policies = Policies::default();
        let [request, response] = [&mut self.request_headers, &mut self.response_headers].map(std::mem::take);
        if !request.is_empty() {
            policies.request.push(Box::new(request));
        }
        if !response.is_empty() {
            policies.reply.push(Box::new(response));
        }
        policies
    }
}

/// The group of Tollgate's policies.
pub const KGATEWAY: &str = "gateway.kgateway.dev";

/// Reads `set`, `add` and `remove` of either header modifier.
macro_rules! edits {
    ($modifier:expr, $name:literal, $into:expr, $problems:expr) => {
        if $modifier.is_none() {
            $problems.push(lacking($name));
        }
        if let Some(modifier) = $modifier {
            for entry in modifier.set.iter().flatten() {
                push(&mut $into.set, &entry.name, &entry.value, $problems);
            }
            for entry in modifier.add.iter().flatten() {
                push(&mut $into.add, &entry.name, &entry.value, $problems);
            }
            for name in modifier.remove.iter().flatten() {
                match HeaderName::try_from(name.as_str()) {
                    Ok(name) => $into.remove.push(name),
                    Err(_) => $problems.push(format!("'{name}' is not a header name")),
                }
            }
        }
    };
}

/// Reads a path modifier of either kind.
macro_rules! path_rewrite {
    ($path:expr) => {
        $path.as_ref().and_then(|p| {
            let full = p.replace_full_path.clone().map(PathRewrite::Full);
            full.or_else(|| p.replace_prefix_match.clone().map(PathRewrite::Prefix))
        })
    };
}

/// The message for a missing field, which the API server refuses in a cluster.
fn lacking(field: &str) -> String {
    format!("a filter lacks the field of its type, {field}")
}

fn push(into: &mut Vec<(HeaderName, HeaderValue)>, name: &str, value: &str, problems: &mut Vec<String>) {
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => into.push((name, value)),
        (Err(_), _) => problems.push(format!("'{name}' is not a header name")),
        (_, Err(_)) => problems.push(format!("the value for header '{name}' is not a header value")),
    }
}

fn host_value(host: Option<&str>, problems: &mut Vec<String>) -> Option<HeaderValue> {
    let host = host?;
    HeaderValue::try_from(host).map_err(|_| problems.push(format!("'{host}' is not a host name"))).ok()
}

/// Filters of a rule. `listener_port` is the port that clients use, for redirects.
pub fn of_rule(filters: &[Filter], listener_port: u16) -> Filters {
    let mut out = Filters::default();
    for filter in filters {
        match filter.r#type {
            FilterType::RequestHeaderModifier => {
                edits!(
                    &filter.request_header_modifier,
                    "requestHeaderModifier",
                    out.request_headers,
                    &mut out.problems
                );
            }
            FilterType::ResponseHeaderModifier
                if Feature::ResponseHeaders.allowed("filter ResponseHeaderModifier", &mut out.problems) =>
            {
                edits!(
                    &filter.response_header_modifier,
                    "responseHeaderModifier",
                    out.response_headers,
                    &mut out.problems
                );
            }
            FilterType::UrlRewrite => match &filter.url_rewrite {
                Some(rewrite) => {
                    if rewrite.hostname.is_some() {
                        Feature::HostRewrite.allowed("urlRewrite.hostname", &mut out.problems);
                    }
                    if rewrite.path.is_some() {
                        Feature::PathRewrite.allowed("urlRewrite.path", &mut out.problems);
                    }
                    let host = host_value(rewrite.hostname.as_deref(), &mut out.problems);
                    out.rewrite = Some(Rewrite { host, path: path_rewrite!(rewrite.path) });
                }
                None => out.problems.push(lacking("urlRewrite")),
            },
            FilterType::RequestRedirect => match &filter.request_redirect {
                Some(redirect) => out.redirect = Some(self::redirect(redirect, listener_port, &mut out.problems)),
                None => out.problems.push(lacking("requestRedirect")),
            },
            FilterType::ExtensionRef => match &filter.extension_ref {
                Some(r) if r.group == KGATEWAY && r.kind == "TrafficPolicy" => out.policies.push(r.name.clone()),
                Some(r) => out.problems.push(format!(
                    "ExtensionRef to {}/{} is not supported; use a TrafficPolicy of {KGATEWAY}",
                    r.group, r.kind
                )),
                None => out.problems.push(lacking("extensionRef")),
            },
            // The table refuses them; code for them would be added here.
            FilterType::ResponseHeaderModifier => {}
            FilterType::RequestMirror => {
                Feature::RequestMirror.allowed("filter RequestMirror", &mut out.problems);
            }
            FilterType::Cors => {
                Feature::Cors.allowed("filter CORS", &mut out.problems);
            }
            // It protects, and is in no list of features.
            FilterType::ExternalAuth => out.problems.push("filter ExternalAuth is not supported yet".into()),
        }
    }
    if out.redirect.is_some() && out.rewrite.is_some() {
        out.incompatible = true;
        out.problems.push("RequestRedirect and URLRewrite can't be used together; use one of them in a rule".into());
    }
    out
}

/// Filters of a backend reference: header modifiers.
pub fn of_backend(filters: &[BackendFilter]) -> Filters {
    let mut out = Filters::default();
    for filter in filters {
        match filter.r#type {
            BackendFilterType::RequestHeaderModifier => {
                Feature::BackendRequestHeaders
                    .allowed("a backendRef's filter RequestHeaderModifier", &mut out.problems);
                edits!(
                    &filter.request_header_modifier,
                    "requestHeaderModifier",
                    out.request_headers,
                    &mut out.problems
                );
            }
            BackendFilterType::ResponseHeaderModifier => {
                edits!(
                    &filter.response_header_modifier,
                    "responseHeaderModifier",
                    out.response_headers,
                    &mut out.problems
                );
            }
            _ => out
                .problems
                .push("a backendRef's filters may only be RequestHeaderModifier or ResponseHeaderModifier".into()),
        }
    }
    out
}

fn redirect(
    written: &crate::api::gateway::RequestRedirect,
    listener_port: u16,
    problems: &mut Vec<String>,
) -> Redirect {
    use crate::api::gateway::RedirectScheme;
    let code = |code| written.status_code == Some(code);
    for (feature, set, field) in [
        (Feature::PortRedirect, written.port.is_some(), "requestRedirect.port"),
        (Feature::SchemeRedirect, written.scheme.is_some(), "requestRedirect.scheme"),
        (Feature::PathRedirect, written.path.is_some(), "requestRedirect.path"),
        (Feature::Redirect303, code(303), "requestRedirect.statusCode 303"),
        (Feature::Redirect307, code(307), "requestRedirect.statusCode 307"),
        (Feature::Redirect308, code(308), "requestRedirect.statusCode 308"),
    ] {
        if set {
            feature.allowed(field, problems);
        }
    }
    Redirect {
        status: written
            .status_code
            .and_then(|code| u16::try_from(code).ok())
            .and_then(|code| StatusCode::from_u16(code).ok())
            .unwrap_or(StatusCode::FOUND),
        scheme: written.scheme.as_ref().map(|s| match s {
            RedirectScheme::Http => "http",
            RedirectScheme::Https => "https",
        }),
        host: written.hostname.clone(),
        port: written.port.and_then(|p| u16::try_from(p).ok()),
        listener_port,
        path: path_rewrite!(written.path),
    }
}
