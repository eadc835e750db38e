//! Keys of clients: the Secret of `apiKeyAuth` to a table of hashes.

use std::{collections::hash_map::Entry, sync::Arc};

use http::HeaderName;
use serde::{Deserialize, Deserializer};

use super::{
    grants::{self, GroupKind},
    rule::{Context, Flaws},
};
use crate::{
    api::{Kind, ObjectKey, traffic_policy::ApiKeyAuth},
    policy::{
        client_keys::{ClientKeys, KeyHash, Place},
        identity::Identity,
    },
    provider::ModelNames,
};

/// Shorter keys can be guessed: they are served, and reported.
const MIN_KEY: usize = 16;
/// The most models of one client, as in Backends.
const MAX_MODELS: usize = 256;

/// The value of an entry that is a JSON object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    key: Option<String>,
    key_hash: Option<String>,
    #[serde(default, deserialize_with = "written")]
    models: Option<Vec<String>>,
    /// Free text of the operator's.
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
}

/// A list that is there: `null` is no list, and would be taken for all models.
fn written<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(value).map(Some)
}

/// One entry of the Secret.
struct Client {
    hash: KeyHash,
    /// The length of its key, if that is known.
    length: Option<usize>,
    models: Option<ModelNames>,
}

/// The keys that `auth` of the policy at `policy` requires; `None` where it lifts the authentication.
///
/// # Errors
/// When the keys can't be found: nothing may be served without them.
pub fn compile(
    context: &Context<'_>,
    policy: &ObjectKey,
    auth: &ApiKeyAuth,
    flaws: &mut Flaws,
) -> Result<Option<Arc<ClientKeys>>, String> {
    let problem = |why: String| format!("TrafficPolicy {policy}: apiKeyAuth: {why}");
    let reference = match (&auth.secret_ref, auth.secret_selector.is_some(), auth.disable.is_some()) {
        (Some(reference), false, false) => reference,
        (None, false, true) => return Ok(None),
        _ => return Err(problem("write one of secretRef and disable".to_owned())),
    };
    if !matches!((reference.group.as_deref(), reference.kind.as_deref()), (None | Some(""), None | Some("Secret"))) {
        return Err(problem("secretRef leads to something that is no Secret".to_owned()));
    }
    let key = ObjectKey::new(reference.namespace.as_deref().unwrap_or(&policy.namespace), &reference.name);
    let from = GroupKind { group: "gateway.kgateway.dev", kind: "TrafficPolicy" };
    if !context.grants.allow(from, &policy.namespace, GroupKind { group: "", kind: "Secret" }, &key) {
        return Err(problem(grants::missing(Kind::Secret, &key, "TrafficPolicies of this namespace")));
    }
    let secret = context.objects.secrets.get(&key).ok_or_else(|| problem(format!("Secret {key} does not exist")))?;
    let places = match &*auth.key_sources {
        [] => Place::of_sdks(),
        sources => sources.iter().map(Place::read).collect::<Result<_, _>>().map_err(problem)?,
    };
    let id_header = auth.client_id_header.as_deref().map(|name| {
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("clientIdHeader: '{name}' is not a header's name"))
    });
    let id_header = id_header.transpose().map_err(problem)?;
    let mut keys = ClientKeys {
        places,
        forwards: auth.forward_credential.unwrap_or_default(),
        id_header,
        ..ClientKeys::default()
    };
    let mut report = |why: String| flaws.ignored.push(problem(format!("Secret {key}: {why}")));
    for id in secret.keys() {
        let value = secret.get(id).unwrap_or(Err("there is no value"));
        let client = match value.map_err(str::to_owned).and_then(read) {
            Ok(client) => client,
            Err(why) => {
                report(format!("{id}: {why}; this client is refused"));
                continue;
            }
        };
        if client.length.is_some_and(|length| length < MIN_KEY) {
            report(format!("{id}: the key has less than {MIN_KEY} bytes, and can be guessed"));
        }
        let identity = Identity { name: format!("{key}/{id}").into(), id: id.into(), models: client.models };
        match keys.clients.entry(client.hash) {
            Entry::Vacant(entry) => {
                entry.insert(Some(Arc::new(identity)));
            }
            Entry::Occupied(mut entry) => {
                report(format!("{id}: another client has the same key; all of them are refused"));
                entry.insert(None);
            }
        }
    }
    Ok(Some(Arc::new(keys)))
}

/// Reads the value of an entry. The error never holds any part of it.
fn read(value: &[u8]) -> Result<Client, String> {
    let value = value.trim_ascii();
    if value.first() != Some(&b'{') {
        return plain(value, None);
    }
    let odd = || "the value is no JSON object with key or keyHash, and models".to_owned();
    let Written { key, key_hash, models, .. } = serde_json::from_slice(value).map_err(|_| odd())?;
    let models = models.map(|models| names(&models)).transpose()?;
    match (key, key_hash) {
        (Some(key), None) => plain(key.as_bytes(), models),
        (None, Some(hash)) => {
            let hash = KeyHash::read(&hash).ok_or("keyHash is not `sha256:` with 64 hexadecimal digits")?;
            Ok(Client { hash, length: None, models })
        }
        _ => Err("exactly one of key and keyHash must be there".to_owned()),
    }
}

fn plain(key: &[u8], models: Option<ModelNames>) -> Result<Client, String> {
    if key.is_empty() {
        return Err("the key is empty".to_owned());
    }
    Ok(Client { hash: KeyHash::of(key), length: Some(key.len()), models })
}

/// The models of a client. An empty list is none of them.
fn names(models: &[String]) -> Result<ModelNames, String> {
    if models.len() > MAX_MODELS || models.iter().any(|model| model.is_empty() || model.matches('*').count() > 1) {
        return Err(format!("models: write at most {MAX_MODELS} names, or patterns with one `*`"));
    }
    Ok(ModelNames::new(models.iter().map(String::as_str), []))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_keys_or_objects() {
        let hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for text in ["abc", " abc\n", r#"{"key":"abc"}"#, &format!(r#"{{"keyHash":"{hash}","metadata":{{"a":1}}}}"#)] {
            assert!(read(text.as_bytes()).is_ok_and(|client| client.hash == KeyHash::of(b"abc")), "{text}");
        }
        for text in ["", "\n", "{", "{}", r#"{"key":"a","keyHash":"b"}"#, r#"{"key":""}"#, r#"{"key":"a","model":"b"}"#]
        {
            let why = read(text.as_bytes()).err();
            assert!(why.is_some_and(|why| text.len() < 4 || !why.contains(text)), "{text}");
        }
        let models = read(br#"{"key":"abc","models":["gpt-*"]}"#).ok().and_then(|client| client.models).unwrap();
        assert!(models.fit("gpt-5").is_some() && models.fit("claude").is_none());
    }
}
