//! Credentials as Backends and policies write them.

use std::{borrow::Cow, fmt};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Visitor},
};

/// The credential for a provider.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "self.kind != 'SecretRef' || has(self.secretRef)",
        "kind SecretRef needs the Secret's name: write `secretRef: {name: NAME}` beside it",
    ),
    validation = (
        "self.kind != 'Inline' || has(self.inline)",
        "kind Inline needs the token: write `inline: TOKEN` beside it",
    ),
    validation = (
        "!(has(self.inline) && has(self.secretRef))",
        "at most one of inline and secretRef may be set: remove the one that `kind` does not name",
    ),
)]
pub struct AuthToken {
    /// Where the credential comes from: `SecretRef` reads a Secret, `Inline` has it in this object, `Passthrough` sends
    /// the client's own, `Workload` (of `azureopenai` and `vertexai`) uses the identity of Tollgate's pod in the
    /// provider's cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub kind: Option<AuthTokenKind>,
    /// The credential itself, for `kind: Inline`. Anyone who may read this object can read it: prefer a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineToken>,
    /// The Secret, for `kind: SecretRef`. Its key `Authorization` holds the credential, with or without a leading
    /// `Bearer `. For `vertexai` it may hold the JSON key of a service account; for `azureopenai` the keys `tenantId`,
    /// `clientId` and `clientSecret` may be used instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalSecretRef>,
}

/// Where a credential comes from.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthTokenKind {
    /// Written in the object.
    Inline,
    /// In a Secret of the object's namespace.
    SecretRef,
    /// Taken from the client's request.
    Passthrough,
    /// A token for the identity of Tollgate's pod in the provider's cloud.
    Workload,
}

/// A Secret in the namespace of the object that refers to it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSecretRef {
    /// The Secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// A credential in a manifest. Zeroed on drop; `Debug` does not show it. `Serialize` does, because otherwise the object
/// would lose it when it is written back.
#[derive(Clone)]
pub struct InlineToken(SecretString);

impl InlineToken {
    /// The credential.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

impl From<&str> for InlineToken {
    fn from(token: &str) -> Self {
        Self(token.into())
    }
}

impl fmt::Debug for InlineToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl PartialEq for InlineToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Serialize for InlineToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for InlineToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_str`: JSON's would refuse a number before the visitor sees it, and repeat it.
        deserializer.deserialize_any(InlineTokenVisitor)
    }
}

/// Refuses everything but text, with an error that doesn't repeat the value: serde's own would write a numeric token to
/// the log.
struct InlineTokenVisitor;

impl InlineTokenVisitor {
    fn refuse<E: serde::de::Error>() -> E {
        E::custom("the token is not a string: put it in quotes")
    }
}

impl<'de> Visitor<'de> for InlineTokenVisitor {
    type Value = InlineToken;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token in quotes")
    }

    fn visit_str<E: serde::de::Error>(self, token: &str) -> Result<InlineToken, E> {
        Ok(token.into())
    }

    fn visit_string<E: serde::de::Error>(self, token: String) -> Result<InlineToken, E> {
        Ok(InlineToken(token.into()))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<InlineToken, E> {
        Err(Self::refuse())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<InlineToken, E> {
        Err(Self::refuse())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<InlineToken, E> {
        Err(Self::refuse())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<InlineToken, E> {
        Err(Self::refuse())
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<InlineToken, E> {
        Err(Self::refuse())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<InlineToken, A::Error> {
        Err(A::Error::custom("the token is a list: write it as one string"))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<InlineToken, A::Error> {
        Err(A::Error::custom("the token is an object: write it as one string"))
    }
}

impl JsonSchema for InlineToken {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "InlineToken".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inline_token_is_in_no_debug_output_and_in_no_error() {
        let auth: AuthToken = serde_json::from_str(r#"{"kind":"Inline","inline":"sk-hush"}"#).unwrap();
        assert_eq!(format!("{auth:?}"), "AuthToken { kind: Some(Inline), inline: Some([REDACTED]), secret_ref: None }");
        assert_eq!(serde_json::to_string(&auth).unwrap(), r#"{"kind":"Inline","inline":"sk-hush"}"#);

        for number in ["4711", "-4711", "4711.5", "true", "[4711]", r#"{"4711":4711}"#] {
            let error =
                serde_json::from_str::<AuthToken>(&format!(r#"{{"inline":{number}}}"#)).unwrap_err().to_string();
            assert!(error.contains("the token is") && !error.contains("4711"), "{error}");
        }
    }
}
