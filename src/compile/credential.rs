//! From a Secret to a header.

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::{Env, Objects, shape::AuthToken};
use crate::{
    api::{ObjectKey, SecretData, condition::Reason},
    provider::CredentialSlot,
    snapshot::Credential,
};

/// The key in a Secret that holds the provider's key, as kgateway has it.
pub const SECRET_KEY: &str = "Authorization";

/// Why there is no usable credential. Never holds any part of the Secret.
#[derive(Debug, PartialEq, Eq)]
pub struct CredentialProblem {
    pub reason: Reason,
    pub message: String,
}

/// The credential that `token` of a Backend in `namespace` stands for.
pub fn credential(
    token: &AuthToken,
    namespace: &str,
    slot: CredentialSlot,
    objects: &Objects,
) -> Result<Credential, CredentialProblem> {
    let invalid = |message: String| CredentialProblem { reason: Reason::SecretInvalid, message };
    match token {
        AuthToken::Passthrough => Ok(Credential::Passthrough { header: slot.header, prefix: slot.prefix }),
        AuthToken::Inline(text) => {
            let value = header(text.expose_secret().as_bytes(), &slot.prefix)
                .map_err(|why| invalid(format!("authToken.inline {why}")))?;
            Ok(Credential::Fixed(slot.header, value))
        }
        AuthToken::SecretRef(name) => {
            let key = ObjectKey::new(namespace, name);
            let secret = objects.secrets.get(&key).ok_or_else(|| CredentialProblem {
                reason: Reason::SecretNotFound,
                message: format!("Secret {key} does not exist"),
            })?;
            let value = from_secret(secret, &slot.prefix).map_err(|why| invalid(format!("Secret {key}: {why}")))?;
            Ok(Credential::Fixed(slot.header, value))
        }
    }
}

/// The credential with which requests to Bedrock in `region` are signed.
pub fn bedrock(
    _secret: Option<&str>,
    _region: &str,
    _namespace: &str,
    _objects: &Objects,
    _env: &Env,
) -> Result<Credential, CredentialProblem> {
    let message = "bedrock is not supported yet: requests can't be signed".into();
    Err(CredentialProblem { reason: Reason::Unsupported, message })
}

fn from_secret(secret: &SecretData, prefix: &str) -> Result<HeaderValue, String> {
    match secret.get(SECRET_KEY) {
        None => {
            let keys: Vec<&str> = secret.keys().collect();
            let has = if keys.is_empty() { "it is empty".to_owned() } else { format!("it has {}", keys.join(", ")) };
            Err(format!("has no key \"{SECRET_KEY}\"; {has}"))
        }
        Some(Err(why)) => Err(format!("key \"{SECRET_KEY}\": {why}")),
        Some(Ok(bytes)) => header(bytes, prefix).map_err(|why| format!("key \"{SECRET_KEY}\" {why}")),
    }
}

/// The header for a key as users paste it: surrounding white space (a trailing newline above all) and a leading
/// `Bearer ` don't belong to it.
fn header(raw: &[u8], prefix: &str) -> Result<HeaderValue, &'static str> {
    let text = std::str::from_utf8(raw).map_err(|_| "is not UTF-8 text")?.trim();
    // The space after a lone `Bearer` is gone by now.
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
    fn a_secret_says_what_it_lacks() {
        let mut secret = SecretData::default();
        assert_eq!(from_secret(&secret, "").unwrap_err(), "has no key \"Authorization\"; it is empty");
        secret.insert("token", b"x".to_vec());
        assert_eq!(from_secret(&secret, "").unwrap_err(), "has no key \"Authorization\"; it has token");
        secret.insert_problem("Authorization", "environment variable K is not set");
        assert_eq!(from_secret(&secret, "").unwrap_err(), "key \"Authorization\": environment variable K is not set");
    }
}
