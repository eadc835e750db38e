//! Keys of clients: `spec.apiKeyAuth` of TrafficPolicies.
//!
//! It is checked as soon as the rule is known, before the body is read: see `proxy::client`.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts, uri::PathAndQuery};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{PolicyField, RulePolicies, identity::Identity};
use crate::api::traffic_policy::{KeySource, TrafficPolicySpec};

/// The places in which SDKs of LLM providers put their keys.
static SDKS: LazyLock<Vec<Place>> = LazyLock::new(Place::of_sdks);

/// The longest key that is looked up: what is longer is no key, and costs no time.
const MAX_KEY: usize = 4096;

/// The hash of a key. Keys themselves are not kept. A key is looked up by its hash, so the time of a look-up
/// shows nothing of the keys that are there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of `key`.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads `sha256:HEX`.
    pub fn read(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii())?;
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

/// A place of a request where a key may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header, with or without the word `Bearer`.
    Header(HeaderName),
    /// A query parameter.
    Query(String),
    /// A cookie.
    Cookie(String),
}

impl Place {
    /// The places in which SDKs of LLM providers put their keys.
    pub fn of_sdks() -> Vec<Self> {
        let headers = [header::AUTHORIZATION.as_str(), "x-api-key", "api-key", "x-goog-api-key"];
        let headers = headers.map(|name| Self::Header(HeaderName::from_static(name)));
        headers.into_iter().chain([Self::Query("key".to_owned())]).collect()
    }

    /// The place that a manifest names.
    ///
    /// # Errors
    /// When it names none, or its header is not one.
    pub fn read(written: &KeySource) -> Result<Self, String> {
        match written {
            KeySource { header: Some(name), .. } => HeaderName::from_bytes(name.as_bytes())
                .map(Self::Header)
                .map_err(|_| format!("keySources: '{name}' is not a header's name")),
            KeySource { query: Some(name), .. } => Ok(Self::Query(name.clone())),
            KeySource { cookie: Some(name), .. } => Ok(Self::Cookie(name.clone())),
            KeySource { .. } => Err("keySources: write one of header, query and cookie".to_owned()),
        }
    }

    /// Calls `see` with what may be a key here.
    fn keys(&self, parts: &Parts, mut see: impl FnMut(&[u8])) {
        match self {
            Self::Header(name) => {
                for value in parts.headers.get_all(name) {
                    see(without_scheme(value.as_bytes()));
                }
            }
            Self::Query(name) => {
                for (_, value) in pairs(parts.uri.query().unwrap_or_default(), '&').filter(|(n, _)| decoded(n) == *name)
                {
                    see(decoded(value).as_bytes());
                }
            }
            Self::Cookie(name) => {
                for cookies in cookies(&parts.headers) {
                    pairs(cookies, ';').filter(|(n, _)| n == name).for_each(|(_, value)| see(value.as_bytes()));
                }
            }
        }
    }

    /// Removes what is here.
    fn clear(&self, parts: &mut Parts) {
        match self {
            Self::Header(name) => {
                parts.headers.remove(name);
            }
            Self::Query(name) => {
                let query = parts.uri.query().unwrap_or_default();
                let kept: Vec<&str> = query
                    .split('&')
                    .filter(|pair| decoded(pair.split_once('=').map_or(*pair, |p| p.0)) != *name)
                    .collect();
                let path = parts.uri.path();
                let text = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
                let mut uri = std::mem::take(&mut parts.uri).into_parts();
                // A part of what was valid before.
                uri.path_and_query = PathAndQuery::try_from(text).ok().or_else(|| Some(PathAndQuery::from_static("/")));
                parts.uri = http::Uri::from_parts(uri).unwrap_or_default();
            }
            Self::Cookie(name) => {
                let cookies = cookies(&parts.headers);
                let kept = cookies.flat_map(|cookies| cookies.split(';')).map(str::trim);
                let kept: Vec<&str> = kept.filter(|pair| pair.split_once('=').map_or(*pair, |p| p.0) != name).collect();
                match HeaderValue::from_str(&kept.join("; ")) {
                    Ok(value) if !kept.is_empty() => parts.headers.insert(header::COOKIE, value),
                    _ => parts.headers.remove(header::COOKIE),
                };
            }
        }
    }
}

/// A header's value without the word `Bearer`, which has any case.
fn without_scheme(value: &[u8]) -> &[u8] {
    match value.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key.trim_ascii(),
        _ => value,
    }
}

fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    text.split(separator).filter_map(|pair| pair.trim().split_once('='))
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok())
}

/// The keys of a rule's clients.
#[derive(Default)]
pub struct ClientKeys {
    /// The clients; `None` for a key that several have, which is refused.
    pub clients: HashMap<KeyHash, Option<Arc<Identity>>>,
    /// Where keys may be, the first place first.
    pub places: Vec<Place>,
    /// Whether plain servers get the key.
    pub forwards: bool,
    /// The header in which plain servers get the client's id.
    pub id_header: Option<HeaderName>,
}

/// A client that has a key.
pub struct Authenticated {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The numbers of the places with its key.
    places: SmallVec<[usize; 2]>,
}

/// Why a request is of no client. Never holds any part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// It has no key.
    Missing,
    /// No client has its key.
    Unknown,
    /// It has keys of several clients.
    Ambiguous,
}

impl ClientKeys {
    /// Where keys may be, and then the places of SDKs: a key of the gateway's there does not count, and is removed all
    /// the same, as it would reach a provider in place of the client's own.
    fn all_places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().chain(SDKS.iter().filter(|place| !self.places.contains(place)))
    }

    /// The client whose key is in the request.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn authenticate(&self, parts: &Parts) -> Result<Authenticated, Unauthenticated> {
        let (mut found, mut places, mut is_there) = (None::<Arc<Identity>>, SmallVec::new(), false);
        let mut is_ambiguous = false;
        for (number, place) in self.all_places().enumerate() {
            let counts = number < self.places.len();
            place.keys(parts, |key| {
                is_there |= counts && !key.is_empty();
                if key.is_empty() || key.len() > MAX_KEY {
                    return;
                }
                let Some(Some(identity)) = self.clients.get(&KeyHash::of(key)) else { return };
                is_ambiguous |= found.as_ref().is_some_and(|other| !Arc::ptr_eq(other, identity));
                if counts {
                    found = Some(Arc::clone(identity));
                }
                places.push(number);
            });
        }
        match found {
            Some(_) if is_ambiguous => Err(Unauthenticated::Ambiguous),
            Some(identity) => Ok(Authenticated { identity, places }),
            None if is_there => Err(Unauthenticated::Unknown),
            None => Err(Unauthenticated::Missing),
        }
    }

    /// Removes the key of `client` from its request, and puts its id there. `is_plain` states that a plain server gets
    /// the request.
    pub fn hide(&self, client: &Authenticated, is_plain: bool, parts: &mut Parts) {
        if !(is_plain && self.forwards) {
            client
                .places
                .iter()
                .filter_map(|number| self.all_places().nth(*number))
                .for_each(|place| place.clear(parts));
        }
        if let Some(name) = &self.id_header {
            parts.headers.remove(name);
            if let Some(id) = HeaderValue::from_str(&client.identity.id).ok().filter(|_| is_plain) {
                parts.headers.insert(name, id);
            }
        }
    }
}

/// The field.
pub struct ApiKeyAuthField;

impl PolicyField for ApiKeyAuthField {
    fn is_set(&self, spec: &TrafficPolicySpec) -> bool {
        spec.api_key_auth.is_some()
    }

    fn build(&self, spec: &TrafficPolicySpec, rule: &mut RulePolicies) {
        // Compile resolves its Secret.
        rule.api_key_auth.clone_from(&spec.api_key_auth);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn keys() -> ClientKeys {
        let client = |id: &str| {
            let (name, id) = (format!("ns/secret/{id}").into(), id.into());
            Some(Arc::new(Identity { name, id, models: None }))
        };
        let (one, two) = (client("one"), client("two"));
        let clients = [("key-of-one", one.clone()), ("old-key-of-one", one), ("key-of-two", two), ("shared", None)];
        ClientKeys {
            clients: clients.into_iter().map(|(key, client)| (KeyHash::of(key.as_bytes()), client)).collect(),
            places: Place::of_sdks(),
            ..ClientKeys::default()
        }
    }

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn keys_are_found_where_sdks_put_them_and_removed() {
        let keys = keys();
        for (uri, headers) in [
            ("/p", &[("authorization", "Bearer key-of-one")][..]),
            ("/p", &[("authorization", "bearer  key-of-one")]),
            ("/p", &[("x-api-key", "key-of-one")]),
            ("/p", &[("api-key", "key-of-one")]),
            ("/p", &[("x-goog-api-key", "key-of-one")]),
            ("/p?key=key%2Dof-one", &[]),
            ("/p?key=key-of-one", &[("x-api-key", "old-key-of-one")]),
        ] {
            let mut parts = parts(uri, headers);
            let client = keys.authenticate(&parts).unwrap_or_else(|why| panic!("{uri} {headers:?}: {why:?}"));
            assert_eq!(&*client.identity.id, "one");
            keys.hide(&client, true, &mut parts);
            assert_eq!((parts.headers.len(), parts.uri.to_string()), (0, "/p".to_owned()), "{uri} {headers:?}");
        }
        // The rest of the query, and other credentials, are not the gateway's.
        let mut kept = parts("/p?a=1&key=key-of-one&b=%20", &[("authorization", "Bearer of-the-server")]);
        let client = keys.authenticate(&kept).unwrap_or_else(|why| panic!("{why:?}"));
        keys.hide(&client, true, &mut kept);
        assert_eq!((kept.headers.len(), kept.uri.to_string()), (1, "/p?a=1&b=%20".to_owned()));
    }

    #[test]
    fn a_key_in_a_place_that_does_not_count_is_no_key_and_is_removed() {
        let keys = ClientKeys { places: vec![Place::Header(HeaderName::from_static("x-my-key"))], ..keys() };
        let mut both =
            parts("/p?key=key-of-one", &[("x-my-key", "key-of-one"), ("authorization", "Bearer key-of-one")]);
        let client = keys.authenticate(&both).unwrap_or_else(|why| panic!("{why:?}"));
        keys.hide(&client, false, &mut both);
        assert_eq!((both.headers.len(), both.uri.to_string()), (0, "/p".to_owned()));
        let refused = |headers: &[(&str, &str)]| keys.authenticate(&parts("/p", headers)).err();
        assert_eq!(refused(&[("x-api-key", "key-of-one")]), Some(Unauthenticated::Missing));
        let of_others = [("x-my-key", "key-of-one"), ("x-api-key", "key-of-two")];
        assert_eq!(refused(&of_others), Some(Unauthenticated::Ambiguous));
    }

    #[test]
    fn what_is_no_key_of_one_client_is_refused() {
        let keys = keys();
        let long = "k".repeat(MAX_KEY + 1);
        for (headers, why) in [
            (&[][..], Unauthenticated::Missing),
            (&[("authorization", "Bearer ")], Unauthenticated::Missing),
            (&[("x-api-key", "key-of-three")], Unauthenticated::Unknown),
            (&[("x-api-key", "shared")], Unauthenticated::Unknown),
            (&[("x-api-key", &*long)], Unauthenticated::Unknown),
            (&[("cookie", "key=key-of-one")], Unauthenticated::Missing),
            (&[("x-api-key", "key-of-one"), ("api-key", "key-of-two")], Unauthenticated::Ambiguous),
        ] {
            assert_eq!(keys.authenticate(&parts("/p", headers)).err(), Some(why), "{headers:?}");
        }
    }

    #[test]
    fn sources_narrow_the_places() {
        let source = |cookie: &str| KeySource { cookie: Some(cookie.to_owned()), ..KeySource::default() };
        let keys = ClientKeys { places: vec![Place::read(&source("k")).unwrap()], ..keys() };
        let mut parts = parts("/p", &[("cookie", "a=1; k=key-of-two; b=2"), ("x-api-key", "of-the-server")]);
        let client = keys.authenticate(&parts).unwrap_or_else(|why| panic!("{why:?}"));
        assert_eq!(&*client.identity.id, "two");
        keys.hide(&client, false, &mut parts);
        assert_eq!(parts.headers[header::COOKIE], "a=1; b=2");
        assert!(Place::read(&KeySource::default()).is_err());
    }

    #[test]
    fn hashes_are_read() {
        // echo -n abc | sha256sum
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(KeyHash::read(abc) == Some(KeyHash::of(b"abc")));
        for odd in ["", "sha256:", "sha256:ba78", &abc.replace("ba", "zz"), &abc.replace("sha256", "md5")] {
            assert!(KeyHash::read(odd).is_none(), "{odd}");
        }
    }
}
