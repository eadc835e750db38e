//! Which headers are forwarded.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::key_mask::KeyMask;
use crate::{
    dialect::is_of_one_dialect,
    provider::{Forwarded, is_framing, is_hop_by_hop},
};

/// Names that the `Connection` header makes hop-by-hop.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let names = values.flat_map(|v| v.split(',')).map(str::trim);
    names
        .filter(|n| !n.is_empty() && !n.eq_ignore_ascii_case("close") && !n.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|n| HeaderName::try_from(n).ok())
        // A client must not be able to remove headers that the message requires.
        .filter(|n| !matches!(*n, header::HOST | header::CONTENT_TYPE | header::AUTHORIZATION | header::COOKIE))
        .collect()
}

/// The headers from which those of a provider's request are made.
#[derive(Clone, Copy)]
pub struct ClientHeaders<'a> {
    /// The client's headers, as policies have changed them.
    pub all: &'a HeaderMap,
    /// Those that policies of the route have set or added. The operator wrote them, so no list blocks them.
    pub added: &'a HeaderMap,
}

impl ClientHeaders<'_> {
    /// The headers for a provider. With `translated`, headers that belong to the client's dialect are left out.
    /// Capacity is reserved for host, credential, version and type.
    pub fn to_provider(self, forwarded: &Forwarded, translated: bool) -> HeaderMap {
        let Self { all, added } = self;
        let named = if all.contains_key(header::CONNECTION) { named_by_connection(all) } else { Vec::new() };
        let passes = |name: &HeaderName| {
            forwarded.header(name) && !named.contains(name) && !(translated && is_of_one_dialect(name))
        };
        let mut out = HeaderMap::with_capacity(all.len() + 4);
        for (name, value) in all {
            if passes(name) {
                out.append(name.clone(), value.clone());
            }
        }
        for (name, value) in added {
            if !passes(name) && !is_framing(name) {
                out.append(name.clone(), value.clone());
            }
        }
        out
    }
}

/// A client's headers for a plain server: all that do not concern the connection, and the request's origin.
pub fn to_server(client: &HeaderMap, peer: std::net::IpAddr, scheme: &'static str) -> HeaderMap {
    let named = named_by_connection(client);
    let mut out = HeaderMap::with_capacity(client.len() + 4);
    for (name, value) in client {
        if !is_hop_by_hop(name) && !named.contains(name) && name != header::EXPECT {
            out.append(name.clone(), value.clone());
        }
    }
    if let Ok(peer) = HeaderValue::try_from(peer.to_canonical().to_string()) {
        out.append("x-forwarded-for", peer);
    }
    if let Some(host) = client.get(header::HOST) {
        out.insert("x-forwarded-host", host.clone());
    }
    out.insert("x-forwarded-proto", HeaderValue::from_static(scheme));
    out
}

/// Headers of a provider that concern its own site or the gateway's account there: cookies, credentials, the account,
/// and promises about the host, which is not the gateway's.
const NOT_FOR_CLIENTS: [&str; 18] = [
    "alt-svc",
    "anthropic-organization-id",
    "api-key",
    "authentication-info",
    "authorization",
    "clear-site-data",
    "nel",
    "openai-organization",
    "openai-project",
    "report-to",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-goog-user-project",
];

/// Prepares a provider's headers for the client. One that holds the target's key is dropped, whatever its name.
pub fn from_provider(headers: &mut HeaderMap, mask: Option<&KeyMask>) {
    // One pass: to look for each name costs more than all else that is done with a reply's head.
    remove_where(headers, |name, value| {
        NOT_FOR_CLIENTS.contains(&name.as_str()) || mask.is_some_and(|mask| mask.is_in(value.as_bytes()))
    });
}

/// Prepares a server's headers for the client.
pub fn from_server(headers: &mut HeaderMap) {
    remove_where(headers, |_, _| false);
}

/// Removes what is of the connection, and what `drop` decides.
fn remove_where(headers: &mut HeaderMap, drop: impl Fn(&HeaderName, &HeaderValue) -> bool) {
    let mut names = if headers.contains_key(header::CONNECTION) { named_by_connection(headers) } else { Vec::new() };
    let dropped = headers.iter().filter(|(name, value)| is_hop_by_hop(name) || drop(name, value));
    names.extend(dropped.map(|(name, _)| name.clone()));
    for name in names {
        headers.remove(name);
    }
}

/// The client's own key, from any place in which SDKs send it.
pub fn client_credential(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim).filter(|v| !v.is_empty());
    // An AWS client signs for the gateway's address: no other server would accept that signature.
    let signed = |v: &&str| v.starts_with("AWS4-HMAC-SHA256 ");
    let bearer = text("authorization").filter(|v| !signed(v)).map(without_scheme).filter(|v| !v.is_empty());
    bearer
        .or_else(|| ["x-api-key", "api-key", "x-goog-api-key"].into_iter().find_map(text))
        .map(str::to_owned)
        .or_else(|| query.and_then(crate::provider::credential_in_query).filter(|k| !k.is_empty()))
}

/// The token of an `Authorization` header; SDKs with an empty key send the scheme alone.
fn without_scheme(value: &str) -> &str {
    match value.split_at_checked("bearer".len()) {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && (token.is_empty() || token.starts_with(' ')) =>
        {
            token.trim_start()
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn no_secret_and_nothing_of_the_connection_reaches_a_provider() {
        let client = map(&[
            ("authorization", "Bearer a"),
            ("x-api-key", "b"),
            ("api-key", "c"),
            ("x-goog-api-key", "d"),
            ("cookie", "e"),
            ("connection", "close, x-hop"),
            ("x-hop", "f"),
            ("transfer-encoding", "chunked"),
            ("host", "gateway"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-client-cert", "g"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("true-client-ip", "10.0.0.1"),
            ("cf-connecting-ip", "10.0.0.1"),
            ("via", "1.1 inner"),
            ("x-auth-token", "h"),
            ("x-amz-security-token", "i"),
            ("x-goog-iam-authorization-token", "j"),
            ("x-goog-user-project", "k"),
            ("accept-encoding", "gzip"),
            ("anthropic-beta", "kept"),
            ("user-agent", "kept"),
            ("x-custom", "m"),
        ]);
        let added = map(&[("x-of-the-route", "kept"), ("x-hop", "kept"), ("te", "l")]);
        let headers = ClientHeaders { all: &client, added: &added };
        let names = |translated| {
            let sent = headers.to_provider(&Forwarded::default(), translated);
            let mut names: Vec<String> = sent.keys().map(ToString::to_string).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(false), ["anthropic-beta", "user-agent", "x-hop", "x-of-the-route"]);
        assert_eq!(names(true), ["x-hop", "x-of-the-route"], "what means the client's dialect stays here");
    }

    #[test]
    fn what_is_the_providers_own_does_not_reach_clients() {
        let mut reply: HeaderMap =
            NOT_FOR_CLIENTS.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("a"))).collect();
        let others = map(&[("x-request-id", "kept"), ("retry-after", "1"), ("x-echo", "was Bearer sk-0123456789")]);
        reply.extend(others);
        let mask = KeyMask::Header(HeaderValue::from_static("Bearer sk-0123456789"));
        from_provider(&mut reply, Some(&mask));
        assert_eq!(reply, map(&[("x-request-id", "kept"), ("retry-after", "1")]));
    }

    #[test]
    fn plain_servers_get_credentials_and_the_origin() {
        let client = map(&[
            ("authorization", "Bearer a"),
            ("host", "h"),
            ("connection", "keep-alive"),
            ("x-forwarded-for", "1.1.1.1"),
        ]);
        let sent = to_server(&client, "::ffff:10.0.0.2".parse().unwrap(), "https");
        assert_eq!(sent["authorization"], "Bearer a");
        assert_eq!(sent["x-forwarded-proto"], "https");
        assert_eq!(sent["x-forwarded-host"], "h");
        assert_eq!(sent.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["1.1.1.1", "10.0.0.2"]);
        assert!(!sent.contains_key("connection"));
    }

    #[test]
    fn a_clients_key_is_found_wherever_it_stands() {
        for (pairs, query, expected) in [
            (&[("authorization", "Bearer a")][..], None, Some("a")),
            (&[("authorization", "a")], None, Some("a")),
            (&[("authorization", "bearer  a")], None, Some("a")),
            (&[("authorization", "bearers")], None, Some("bearers")),
            (&[("authorization", "Bearer ")], None, None),
            (&[("authorization", "Bearer"), ("api-key", "c")], None, Some("c")),
            (&[("x-api-key", "b")], None, Some("b")),
            (&[("api-key", "c")], None, Some("c")),
            (&[("x-goog-api-key", "d")], None, Some("d")),
            (&[], Some("key=e"), Some("e")),
            (&[("authorization", " ")], Some("key="), None),
            (&[("authorization", "AWS4-HMAC-SHA256 Credential=a, Signature=b")], None, None),
            (&[], None, None),
        ] {
            assert_eq!(client_credential(&map(pairs), query).as_deref(), expected);
        }
    }
}
