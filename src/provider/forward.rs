//! Which headers and query parameters of a client's request are forwarded to a provider.
//!
//! The gateway's credential pays for the request, so the list is an allow list: access proxies, vendors and clients
//! invent new names for credentials and identities, and an unknown name is not forwarded. A Backend extends the list by
//! `forwardHeaders` and `forwardQueryParams`.

use std::borrow::Cow;

use http::{HeaderName, header};

use super::query;

/// Headers about the body, the requested reply, the client's software, and the trace that the request belongs to.
const HEADERS: [&str; 16] = [
    "accept",
    "accept-language",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "idempotency-key",
    "openai-beta",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-client-request-id",
    "x-goog-api-client",
    "x-goog-request-params",
    "x-ms-client-request-id",
    "x-server-timeout",
];

/// Prefixes of such headers: versions and betas of Anthropic, information about OpenAI's and Anthropic's SDKs, and
/// options of Bedrock.
const PREFIXES: [&str; 3] = ["anthropic-", "x-stainless-", "x-amzn-bedrock-"];

/// Headers that name the account to bill. They go with the client's own credential, and with no other.
const ACCOUNT: [&str; 3] = ["openai-organization", "openai-project", "x-goog-user-project"];

/// Query parameters of the providers' APIs: framing, paging, partial replies, versions.
const QUERY: [&str; 20] = [
    "$alt",
    "$fields",
    "$prettyprint",
    "after",
    "after_id",
    "alt",
    "api-version",
    "before",
    "before_id",
    "beta",
    "fields",
    "include",
    "include_obfuscation",
    "limit",
    "order",
    "pagesize",
    "pagetoken",
    "prettyprint",
    "starting_after",
    "stream",
];

/// Headers in which clients send a credential to the gateway. No list of a Backend can forward them.
const CREDENTIALS: [&str; 10] = [
    "api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-api-key",
    "x-goog-api-key",
    "x-goog-iam-authorization-token",
];

/// Headers of one connection, not of the message (RFC 9110, section 7.6.1), and those that old clients send.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Headers that are set anew for the provider, or concern only the connection: its own host, the body's length, and no
/// compression, since replies are read as they are relayed.
#[must_use]
pub fn is_framing(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || [header::HOST, header::CONTENT_LENGTH, header::EXPECT, header::ACCEPT_ENCODING].contains(name)
}

/// Whether a Backend may list the header `name`: it must not concern framing or hold credentials.
#[must_use]
pub fn may_be_listed(name: &HeaderName) -> bool {
    !is_framing(name) && !CREDENTIALS.contains(&name.as_str())
}

/// Whether a Backend may list the query parameter `name`.
#[must_use]
pub fn may_be_listed_in_query(name: &str) -> bool {
    !name.is_empty() && !query::is_credential(name)
}

/// The parts of a client's request that are forwarded to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    headers: Vec<HeaderName>,
    query: Vec<String>,
    account: bool,
    simulated: bool,
}

impl Forwarded {
    /// A list of the known names, and those that a Backend adds. Names of query parameters are matched without case.
    #[must_use]
    pub fn new(headers: Vec<HeaderName>, query: &[String]) -> Self {
        let query = query.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { headers, query, account: false, simulated: false }
    }

    /// The same list for requests with the client's own credential: these may name the account.
    #[must_use]
    pub fn with_account(self, account: bool) -> Self {
        Self { account, ..self }
    }

    /// The same list for a target that the simulator replaces: headers select its faults.
    #[must_use]
    pub fn with_simulator(self, simulated: bool) -> Self {
        Self { simulated, ..self }
    }

    /// Whether the client's header `name` is forwarded.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        HEADERS.contains(&text)
            || PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || self.headers.contains(name)
            || (self.account && ACCOUNT.contains(&text))
            || (self.simulated && text.starts_with("x-simulator-"))
    }

    /// The part of the client's query that is forwarded; `None` when there is none.
    #[must_use]
    pub fn query<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query.filter(|query| !query.is_empty())?;
        let kept = || query.split('&').filter(|pair| self.parameter(&query::name(pair)));
        if kept().map(|pair| pair.len() + 1).sum::<usize>() == query.len() + 1 {
            return Some(query.into());
        }
        let kept: Vec<&str> = kept().collect();
        (!kept.is_empty()).then(|| kept.join("&").into())
    }

    /// `include[]` and `include[0]` are elements of `include`.
    fn parameter(&self, name: &str) -> bool {
        let name = name.split('[').next().unwrap_or_default().to_ascii_lowercase();
        QUERY.contains(&name.as_str()) || self.query.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_an_allow_list() {
        let known = Forwarded::default();
        let with_voice = Forwarded::new(Vec::new(), &["Voice".to_owned()]);
        for (query, expected, with) in [
            (None, None, None),
            (Some(""), None, None),
            (Some("alt=sse"), Some("alt=sse"), Some("alt=sse")),
            (
                Some("include[]=a&include%5B%5D=b"),
                Some("include[]=a&include%5B%5D=b"),
                Some("include[]=a&include%5B%5D=b"),
            ),
            (Some("api_key=s&token=s&limit=2&voice=v"), Some("limit=2"), Some("limit=2&voice=v")),
            (Some("%74oken=s&%61lt=sse"), Some("%61lt=sse"), Some("%61lt=sse")),
            (Some("key=s&apikey=s&sig=s&model=m"), None, None),
            (Some("limit=1&&alt=json"), Some("limit=1&alt=json"), Some("limit=1&alt=json")),
        ] {
            assert_eq!(known.query(query).as_deref(), expected, "{query:?}");
            assert_eq!(with_voice.query(query).as_deref(), with, "{query:?}");
        }
    }

    #[test]
    fn no_list_lets_credentials_or_framing_pass() {
        for name in CREDENTIALS.iter().chain(&["host", "content-length", "te", "connection", "accept-encoding"]) {
            assert!(!may_be_listed(&HeaderName::from_static(name)), "{name}");
        }
        assert!(may_be_listed(&HeaderName::from_static("x-title")));
        for name in ["", "key", "Key", "api-key", "access_token"] {
            assert!(!may_be_listed_in_query(name), "{name}");
        }
        assert!(may_be_listed_in_query("purpose"));
    }
}
