//! Converts the credential of a Backend to the form that requests use: a complete header, or a source from which it is
//! fetched.

use http::{HeaderValue, header};
use secrecy::ExposeSecret;

use super::{Env, Objects};
use crate::{
    api::{ObjectKey, SecretData, condition::Reason},
    provider::{Cloud, CredentialSlot, KeySource, ProviderDef},
    snapshot::{Credential, SigningKeys},
    upstream::{
        AwsKeys,
        credentials::{Source, aws, azure, google},
    },
};

/// The key in a Secret that holds the provider's key, as kgateway has it.
pub const SECRET_KEY: &str = "Authorization";
/// The key in a Secret that may hold the key of a Google service account instead, named as the file usually is.
const GOOGLE_KEY: &str = "credentials.json";

/// The reason why there is no usable credential. Never holds any part of the Secret.
#[derive(Debug, PartialEq, Eq)]
pub struct CredentialProblem {
    pub reason: Reason,
    pub message: String,
}

impl CredentialProblem {
    fn invalid(message: String) -> Self {
        Self { reason: Reason::SecretInvalid, message }
    }

    /// The pod itself lacks something.
    fn pod(message: String) -> Self {
        Self { reason: Reason::CredentialsUnavailable, message }
    }
}

/// The credential of a Backend in `namespace` whose key for `provider` is in `source`.
pub fn key(
    source: &KeySource,
    provider: &ProviderDef,
    namespace: &str,
    slot: CredentialSlot,
    objects: &Objects,
    env: &Env,
) -> Result<Credential, CredentialProblem> {
    match source {
        KeySource::Passthrough => Ok(Credential::Passthrough { header: slot.header, prefix: slot.prefix }),
        KeySource::Inline(text) => {
            let value = header(text.expose_secret().as_bytes(), &slot.prefix)
                .map_err(|why| CredentialProblem::invalid(format!("authToken.inline {why}")))?;
            Ok(Credential::Fixed(slot.header, value))
        }
        KeySource::SecretRef(name) => {
            let (key, secret) = find(name, namespace, objects)?;
            let invalid = |why| CredentialProblem::invalid(format!("Secret {key}: {why}"));
            if let Some(source) = source_in(secret, provider.cloud, env).map_err(invalid)? {
                return Ok(fetched(&source, slot, env));
            }
            Ok(Credential::Fixed(slot.header, from_secret(secret, &slot.prefix).map_err(invalid)?))
        }
        KeySource::Workload => {
            let source = match provider.cloud {
                Some(Cloud::Google) => google::chain(env.credentials.environment()),
                Some(Cloud::Azure) => azure::workload(env.credentials.environment()).map_err(CredentialProblem::pod)?,
                // The Backend's checks refuse this already.
                None => {
                    let message = format!("{} supports no pod identity", provider.info.name);
                    return Err(CredentialProblem { reason: Reason::Invalid, message });
                }
            };
            Ok(fetched(&source, slot, env))
        }
    }
}

/// The credential for AWS in `region`: the Secret's keys, or else those of the pod's own identity.
pub fn aws(
    secret: Option<&str>,
    region: &str,
    namespace: &str,
    objects: &Objects,
    env: &Env,
) -> Result<Credential, CredentialProblem> {
    let signed = |keys| Credential::Aws { keys, region: region.to_owned() };
    let Some(name) = secret else {
        return match aws::chain(env.credentials.environment(), region).map_err(CredentialProblem::pod)? {
            aws::Found::Keys(keys) => Ok(signed(SigningKeys::fixed(keys))),
            aws::Found::Fetched(source) => Ok(signed(SigningKeys::Fetched(env.credentials.get(&source)))),
            aws::Found::Bearer(token) => {
                let value = header(token.expose_secret().as_bytes(), "Bearer ")
                    .map_err(|why| CredentialProblem::pod(format!("AWS_BEARER_TOKEN_BEDROCK {why}")))?;
                Ok(Credential::Fixed(header::AUTHORIZATION, value))
            }
        };
    };
    let (key, secret) = find(name, namespace, objects)?;
    let invalid = |why| CredentialProblem::invalid(format!("Secret {key}: {why}"));
    // An API key of Bedrock is not an access key of AWS.
    if secret.get("accessKey").is_none() && secret.get(SECRET_KEY).is_some() {
        let value = from_secret(secret, "Bearer ").map_err(invalid)?;
        return Ok(Credential::Fixed(header::AUTHORIZATION, value));
    }
    let keys = keys_in(secret).map_err(invalid)?;
    Ok(signed(SigningKeys::fixed(keys)))
}

/// The keys of AWS in a Secret, named as kgateway has them.
fn keys_in(secret: &SecretData) -> Result<AwsKeys, String> {
    let session = text(secret, "sessionToken")?;
    if session.is_some_and(|token| HeaderValue::try_from(token).is_err()) {
        return Err("key \"sessionToken\" holds a line break or another character that no HTTP header may have".into());
    }
    Ok(AwsKeys::new(need(secret, "accessKey")?, need(secret, "secretKey")?, session.map(str::to_owned)))
}

fn find<'a>(
    name: &str,
    namespace: &str,
    objects: &'a Objects,
) -> Result<(ObjectKey, &'a SecretData), CredentialProblem> {
    let key = ObjectKey::new(namespace, name);
    match objects.secrets.get(&key) {
        Some(secret) => Ok((key, secret)),
        None => {
            Err(CredentialProblem { reason: Reason::SecretNotFound, message: format!("Secret {key} does not exist") })
        }
    }
}

/// The source that a Secret describes: the key of a Google account, or an application of Entra ID. `None` when the
/// Secret holds a key that is sent as it is.
fn source_in(secret: &SecretData, cloud: Option<Cloud>, env: &Env) -> Result<Option<Source>, String> {
    let has = |key: &str| secret.get(key).is_some();
    match cloud {
        Some(Cloud::Google) => {
            let key = if has(GOOGLE_KEY) && !has(SECRET_KEY) { GOOGLE_KEY } else { SECRET_KEY };
            let Some(Ok(raw)) = secret.get(key) else { return Ok(None) };
            match std::str::from_utf8(raw).map(str::trim) {
                Ok(json) if key == GOOGLE_KEY || json.starts_with('{') => {
                    let parsed = google::Key::parse(json).map_err(|why| format!("key \"{key}\" {why}"))?;
                    Ok(Some(Source::GoogleKey(parsed)))
                }
                // Reported with the other problems of a key that is sent.
                _ => Ok(None),
            }
        }
        Some(Cloud::Azure) if !has(SECRET_KEY) && ["tenantId", "clientId", "clientSecret"].into_iter().any(has) => {
            let (tenant, client) = (need(secret, "tenantId")?, need(secret, "clientId")?);
            azure::with_secret(env.credentials.environment(), tenant, client, need(secret, "clientSecret")?).map(Some)
        }
        Some(Cloud::Azure) | None => Ok(None),
    }
}

/// A token of `source`, in the header that the provider expects for tokens: Azure uses another one than for its keys.
fn fetched(source: &Source, slot: CredentialSlot, env: &Env) -> Credential {
    let slot = if slot.header == "api-key" && slot.prefix.is_empty() {
        CredentialSlot { header: header::AUTHORIZATION, prefix: "Bearer ".into() }
    } else {
        slot
    };
    Credential::Fetched { handle: env.credentials.get(source), header: slot.header, prefix: slot.prefix }
}

/// The text at `key`, if there is one, without white space around it.
fn text<'a>(secret: &'a SecretData, key: &str) -> Result<Option<&'a str>, String> {
    let Some(value) = secret.get(key) else { return Ok(None) };
    let bytes = value.map_err(|why| format!("key \"{key}\": {why}"))?;
    let text = std::str::from_utf8(bytes).map_err(|_| format!("key \"{key}\" is not UTF-8 text"))?.trim();
    if text.is_empty() { Err(format!("key \"{key}\" is empty")) } else { Ok(Some(text)) }
}

/// The text at `key`, which has to be there.
fn need<'a>(secret: &'a SecretData, key: &str) -> Result<&'a str, String> {
    text(secret, key)?.ok_or_else(|| lacks(secret, key))
}

fn lacks(secret: &SecretData, key: &str) -> String {
    let keys: Vec<&str> = secret.keys().collect();
    let has = if keys.is_empty() { "it is empty".to_owned() } else { format!("it has {}", keys.join(", ")) };
    format!("has no key \"{key}\"; {has}")
}

fn from_secret(secret: &SecretData, prefix: &str) -> Result<HeaderValue, String> {
    match secret.get(SECRET_KEY) {
        None => Err(lacks(secret, SECRET_KEY)),
        Some(Err(why)) => Err(format!("key \"{SECRET_KEY}\": {why}")),
        Some(Ok(bytes)) => header(bytes, prefix).map_err(|why| format!("key \"{SECRET_KEY}\" {why}")),
    }
}

/// The header for a key as users paste it: surrounding white space (a trailing newline above all) and a leading
/// `Bearer ` don't belong to it.
fn header(raw: &[u8], prefix: &str) -> Result<HeaderValue, &'static str> {
    let text = std::str::from_utf8(raw).map_err(|_| "is not UTF-8 text")?.trim();
    // The space after a lone `Bearer` was trimmed above.
    let key = text.strip_prefix("Bearer").filter(|k| k.is_empty() || k.starts_with(' ')).unwrap_or(text).trim();
    if key.is_empty() {
        return Err("is empty");
    }
    if !key.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err("holds a line break or another character that no HTTP header may have");
    }
    let mut value = HeaderValue::try_from(format!("{prefix}{key}")).map_err(|_| "can't be an HTTP header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cleaned_and_checked() {
        for (raw, expected) in [
            (b"abc".as_slice(), Ok("Bearer abc")),
            (b" abc\n", Ok("Bearer abc")),
            (b"Bearer abc", Ok("Bearer abc")),
            (b"", Err("is empty")),
            (b"  \n", Err("is empty")),
            (b"Bearer ", Err("is empty")),
            (b"Bearer", Err("is empty")),
            (b"Bearers", Ok("Bearer Bearers")),
            (b"a\nb", Err("holds a line break or another character that no HTTP header may have")),
            ("ä".as_bytes(), Err("holds a line break or another character that no HTTP header may have")),
            (b"\xff\xfe", Err("is not UTF-8 text")),
        ] {
            let made = header(raw, "Bearer ");
            assert_eq!(made.as_ref().map(|v| v.to_str().unwrap()).map_err(|e| *e), expected, "{raw:?}");
            assert!(made.is_err() || made.is_ok_and(|v| v.is_sensitive()));
        }
    }

    #[test]
    fn problems_of_secrets_name_the_missing_key() {
        let mut secret = SecretData::default();
        assert_eq!(from_secret(&secret, "").unwrap_err(), "has no key \"Authorization\"; it is empty");
        secret.insert("token", b"x".to_vec());
        assert_eq!(from_secret(&secret, "").unwrap_err(), "has no key \"Authorization\"; it has token");
        secret.insert_problem("Authorization", "environment variable K is not set");
        assert_eq!(from_secret(&secret, "").unwrap_err(), "key \"Authorization\": environment variable K is not set");
    }
}
