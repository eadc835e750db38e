//! Query strings of requests to a provider.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Query parameters that carry a credential. They are never forwarded.
const CREDENTIALS: [&str; 3] = ["key", "api-key", "access_token"];

/// The decoded name of a parameter.
pub(super) fn name(pair: &str) -> Cow<'_, str> {
    percent_decode_str(pair.split_once('=').map_or(pair, |(name, _)| name)).decode_utf8_lossy()
}

/// Whether a parameter of this name carries a credential.
pub(super) fn is_credential(name: &str) -> bool {
    CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential))
}

/// `path` with the parameters of the client's `query` that may be forwarded, and those that the provider adds.
pub(super) fn join(path: &str, query: Option<&str>, added: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(path.len() + query.map_or(0, str::len) + 32);
    out.push_str(path);
    let mut separator = if path.contains('?') { '&' } else { '?' };
    let mut push = |pair: &str| {
        out.push(separator);
        out.push_str(pair);
        separator = '&';
    };
    for (name, value) in added {
        push(&format!("{name}={value}"));
    }
    for pair in query.into_iter().flat_map(|q| q.split('&')).filter(|p| !p.is_empty()) {
        let name = name(pair);
        if !is_credential(&name) && !added.iter().any(|(n, _)| *n == name) {
            push(pair);
        }
    }
    out
}

/// The value of the first parameter that carries a credential, decoded.
pub fn credential_in_query(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let value = pair.split_once('=')?.1;
        (name(pair) == "key").then(|| percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_travel_on() {
        let cases = [
            (None, "/p"),
            (Some(""), "/p"),
            (Some("key=secret"), "/p"),
            (Some("a=1&key=secret&b=2"), "/p?a=1&b=2"),
            (Some("%6Bey=secret&KEY=x&access_token=t&api-key=q"), "/p"),
            (Some("keys=1"), "/p?keys=1"),
        ];
        for (query, expected) in cases {
            assert_eq!(join("/p", query, &[]), expected, "{query:?}");
        }
    }

    #[test]
    fn what_a_provider_adds_replaces_what_the_client_wrote() {
        assert_eq!(join("/p", Some("alt=json&a=1"), &[("alt", "sse")]), "/p?alt=sse&a=1");
        assert_eq!(join("/p", Some("api-version=1"), &[("api-version", "2")]), "/p?api-version=2");
    }

    #[test]
    fn the_key_in_a_query_is_found_and_decoded() {
        assert_eq!(credential_in_query("a=b&key=a%2Bb").as_deref(), Some("a+b"));
        assert_eq!(credential_in_query("keys=a"), None);
    }
}
