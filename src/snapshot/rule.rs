//! Rules: the action and policies of a request that matched.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode};

use super::Split;
use crate::{
    policy::{Policies, client_keys::ClientKeys, priority::RulePriority, retry::Retry, timeouts::Timeouts},
    telemetry::requests::RouteMetrics,
};

/// Names of a rule for metrics, logs and debug output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleLabels {
    /// The Gateway, as `namespace/name`.
    pub gateway: Arc<str>,
    /// The HTTPRoute, as `namespace/name`.
    pub route: Arc<str>,
    /// The rule's name, or its number counted from 0.
    pub rule: String,
}

/// One rule of an HTTPRoute as one listener serves it, with its policies merged.
#[derive(Default)]
pub struct Rule {
    /// Its names.
    pub labels: RuleLabels,
    /// The action on requests.
    pub action: Action,
    /// Policies of its requests.
    pub policies: Policies,
    /// The keys that clients must have, if they must.
    pub client_keys: Option<Arc<ClientKeys>>,
    /// Edits of the request's URL, for plain Services. A provider's own path takes precedence.
    pub rewrite: Option<Rewrite>,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Which failures are retried, if any.
    pub retry: Option<Retry>,
    /// The place of its requests among those that wait.
    pub priority: RulePriority,
    /// `routeType: CHAT_STREAMING`.
    pub streams: bool,
    /// Counters for requests that get a reply before a backend is chosen.
    pub metrics: Option<Arc<RouteMetrics>>,
}

impl Rule {
    /// How long one attempt may take until the head of its reply, if the rule bounds it.
    pub fn try_timeout(&self) -> Option<Duration> {
        let per_try = self.retry.as_ref().and_then(|retry| retry.per_try);
        [self.timeouts.backend, per_try].into_iter().flatten().min()
    }
}

/// The action on a request.
pub enum Action {
    /// The request is sent to one of several backends.
    Forward(Split),
    /// The reply is a redirect.
    Redirect(Redirect),
    /// The reply is an error: the rule, or all its backends, can't be served.
    Unavailable(UnavailableReason),
}

impl Default for Action {
    fn default() -> Self {
        Self::Unavailable(UnavailableReason { status: 500, why: "the rule has no backend".into() })
    }
}

/// The reason why a rule or backend can't be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnavailableReason {
    /// HTTP status: 500 for bad references, 501 for features that are not implemented, 503 for objects that are
    /// missing.
    pub status: u16,
    /// For the log.
    pub why: String,
}

/// How a path is rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The whole path.
    Full(String),
    /// The matched prefix.
    Prefix(String),
}

impl PathRewrite {
    /// `path`, of which the first `matched` bytes are the matched prefix, rewritten.
    pub fn apply(&self, path: &str, matched: usize) -> String {
        match self {
            Self::Full(full) => full.clone(),
            Self::Prefix(prefix) => {
                let rest = path.get(matched..).unwrap_or_default().trim_start_matches('/');
                let prefix = prefix.trim_end_matches('/');
                match (prefix, rest) {
                    ("", "") => "/".to_owned(),
                    (prefix, "") if path.get(matched..) == Some("/") => format!("{prefix}/"),
                    (prefix, "") => prefix.to_owned(),
                    (prefix, rest) => format!("{prefix}/{rest}"),
                }
            }
        }
    }
}

/// Edits of a request's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The new `Host`.
    pub host: Option<HeaderValue>,
    /// The new path.
    pub path: Option<PathRewrite>,
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status: 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// `http` or `https`; the request's own if absent.
    pub scheme: Option<&'static str>,
    /// The host; the request's own if absent.
    pub host: Option<String>,
    /// The port. If absent: the scheme's own when a scheme is given, else the listener's.
    pub port: Option<u16>,
    /// The listener's port that clients use.
    pub listener_port: u16,
    /// The path; the request's own if absent.
    pub path: Option<PathRewrite>,
}

impl Redirect {
    /// The `Location` for a request to `host` by `scheme`.
    pub fn location(&self, scheme: &str, host: &str, path: &str, matched: usize, query: Option<&str>) -> String {
        let target = self.scheme.unwrap_or(scheme);
        let default = |scheme: &str| if scheme == "https" { 443 } else { 80 };
        let port = self.port.unwrap_or_else(|| self.scheme.map_or(self.listener_port, default));
        let host = self.host.as_deref().unwrap_or(host);
        let path = self.path.as_ref().map_or_else(|| path.to_owned(), |p| p.apply(path, matched));
        let port = if port == default(target) { String::new() } else { format!(":{port}") };
        let query = query.map(|q| format!("?{q}")).unwrap_or_default();
        format!("{target}://{host}{port}{path}{query}")
    }
}

impl fmt::Display for RuleLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTPRoute {} rule {} on Gateway {}", self.route, self.rule, self.gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_replaced_by_elements() {
        // The table of the Gateway API's documentation of ReplacePrefixMatch, and its edges.
        for (path, matched, replacement, expected) in [
            ("/foo/bar", 4, "/xyz", "/xyz/bar"),
            ("/foo/bar", 4, "/xyz/", "/xyz/bar"),
            ("/foo", 4, "/xyz", "/xyz"),
            ("/foo/", 4, "/xyz", "/xyz/"),
            ("/foo/bar", 4, "", "/bar"),
            ("/foo/", 4, "", "/"),
            ("/foo", 4, "/", "/"),
            ("/bar", 0, "/xyz", "/xyz/bar"),
        ] {
            assert_eq!(PathRewrite::Prefix(replacement.into()).apply(path, matched), expected, "{path} {replacement}");
        }
    }

    #[test]
    fn redirects_keep_what_they_do_not_name() {
        let plain = Redirect {
            status: StatusCode::FOUND,
            scheme: None,
            host: None,
            port: None,
            listener_port: 8080,
            path: None,
        };
        let at = |r: &Redirect| r.location("http", "h", "/a", 0, Some("q=1"));
        assert_eq!(at(&plain), "http://h:8080/a?q=1");
        assert_eq!(at(&Redirect { listener_port: 80, ..plain.clone() }), "http://h/a?q=1");
        assert_eq!(at(&Redirect { scheme: Some("https"), ..plain.clone() }), "https://h/a?q=1");
        assert_eq!(at(&Redirect { scheme: Some("https"), port: Some(8443), ..plain.clone() }), "https://h:8443/a?q=1");
        let moved = Redirect { host: Some("x".into()), path: Some(PathRewrite::Full("/b".into())), ..plain };
        assert_eq!(at(&moved), "http://x:8080/b?q=1");
    }
}
