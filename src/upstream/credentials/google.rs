//! Access tokens of Google Cloud: for a key, for a user's own login, and from the metadata server.

#![expect(clippy::disallowed_methods, reason = "an assertion holds the time of its making")]

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::{
    FetchError, Fetched, Hidden, Source, Token,
    http::{Answer, Http, is_safe, read},
    variable,
};

/// The scope of tokens. Roles of the account restrict it.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The endpoint that exchanges keys for tokens, unless the key names another.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// The metadata server. Its name, `metadata.google.internal`, would need DNS.
const METADATA: &str = "169.254.169.254";
/// Life of an assertion, in seconds: the most that Google accepts.
const ASSERTION_SECONDS: u64 = 3600;

/// The pod's identity in Google Cloud, in the order of Application Default Credentials: the file that the environment
/// names, the file of `gcloud`, the metadata server.
pub fn chain(environment: &dyn Fn(&str) -> Option<String>) -> Source {
    let get = |name: &str| variable(environment, name);
    if let Some(path) = get("GOOGLE_APPLICATION_CREDENTIALS") {
        return Source::GoogleFile(path.into());
    }
    let config = get("CLOUDSDK_CONFIG").map(PathBuf::from);
    let config = config.or_else(|| get("HOME").map(|home| Path::new(&home).join(".config/gcloud")));
    let user_file = config.map(|config| config.join("application_default_credentials.json"));
    Source::GoogleMetadata { host: get("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned()), user_file }
}

/// A key file: of a service account, or of a user who has logged in with `gcloud`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    ServiceAccount { email: String, key_id: Option<String>, private_key: Hidden, token_uri: String },
    User { client: String, client_secret: Hidden, refresh_token: Hidden, token_uri: String },
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
    token_uri: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

impl Key {
    /// Parses the key `json`.
    ///
    /// # Errors
    /// When it is not a key, or of an unknown kind. The text holds no value.
    pub fn parse(json: &str) -> Result<Self, String> {
        // The error of the parser could repeat a value.
        let written: Written = serde_json::from_str(json).map_err(|e| {
            format!("is no JSON of a Google key: line {}, column {} is not what was expected", e.line(), e.column())
        })?;
        let token_uri = written.token_uri.filter(|uri| !uri.is_empty()).unwrap_or_else(|| TOKEN_URI.to_owned());
        if !is_safe(&token_uri) {
            return Err("has a token_uri that is no URL with https".into());
        }
        let need = |value: Option<String>, name: &str| {
            value.filter(|v| !v.trim().is_empty()).ok_or_else(|| format!("has no {name}, which a Google key needs"))
        };
        match written.kind.as_deref() {
            Some("service_account") => {
                let private_key = need(written.private_key, "private_key")?;
                EncodingKey::from_rsa_pem(private_key.as_bytes())
                    .map_err(|_| "has a private_key that is no RSA key in PEM")?;
                Ok(Self(Kind::ServiceAccount {
                    email: need(written.client_email, "client_email")?,
                    key_id: written.private_key_id,
                    private_key: private_key.as_str().into(),
                    token_uri,
                }))
            }
            Some("authorized_user") => Ok(Self(Kind::User {
                client: need(written.client_id, "client_id")?,
                client_secret: need(written.client_secret, "client_secret")?.as_str().into(),
                refresh_token: need(written.refresh_token, "refresh_token")?.as_str().into(),
                token_uri,
            })),
            _ => Err("is a Google credential whose type is neither service_account nor authorized_user".into()),
        }
    }

    pub(super) async fn fetch(&self, http: &Http) -> Result<Fetched, FetchError> {
        let answer = match &self.0 {
            Kind::ServiceAccount { email, key_id, private_key, token_uri } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let assertion = assertion(email, key_id.as_deref(), private_key, token_uri, now)?;
                let form =
                    [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.as_str())];
                http.post(token_uri, &form).await?
            }
            Kind::User { client, client_secret, refresh_token, token_uri } => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client),
                    ("client_secret", client_secret.expose()),
                    ("refresh_token", refresh_token.expose()),
                ];
                http.post(token_uri, &form).await?
            }
        };
        access_token(&answer)
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

/// A signed proof that the gateway holds the account's key.
fn assertion(email: &str, id: Option<&str>, key: &Hidden, audience: &str, now: u64) -> Result<String, FetchError> {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::RS256) };
    let claims = Claims { iss: email, scope: SCOPE, aud: audience, iat: now, exp: now + ASSERTION_SECONDS };
    let failed = |_| FetchError::new("the private key can't sign");
    let key = EncodingKey::from_rsa_pem(key.expose().as_bytes()).map_err(failed)?;
    jsonwebtoken::encode(&header, &claims, &key).map_err(failed)
}

/// A token for the key in a file.
pub(super) async fn from_file(path: &Path, http: &Http) -> Result<Fetched, FetchError> {
    let text = read(path).await?;
    let key = Key::parse(&text).map_err(|why| FetchError::new(format!("{} {why}", path.display())))?;
    key.fetch(http).await
}

/// A token for the user's own login if there is one, else of the service account that the machine or the pod has.
pub(super) async fn from_metadata(host: &str, user_file: Option<&Path>, http: &Http) -> Result<Fetched, FetchError> {
    if let Some(path) = user_file
        && tokio::fs::try_exists(path).await.unwrap_or(false)
    {
        return from_file(path, http).await;
    }
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let answer = http.get(&url, &[("metadata-flavor", "Google")]).await?;
    access_token(&answer)
}

/// The reply of an OAuth token endpoint, Google's or Entra ID's.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    /// Seconds: a number, or a text in old versions.
    expires_in: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct TokenError {
    error: Option<String>,
    error_description: Option<String>,
}

pub(super) fn access_token(answer: &Answer) -> Result<Fetched, FetchError> {
    if answer.status != StatusCode::OK {
        let said: TokenError = serde_json::from_slice(&answer.body).unwrap_or_default();
        return Err(answer.refused(said.error.as_deref(), said.error_description.as_deref()));
    }
    let said: TokenAnswer = answer.json()?;
    let Some(token) = said.access_token.filter(|t| !t.is_empty()) else {
        return Err(answer.refused(Some("the answer has no access_token"), None));
    };
    let seconds = said.expires_in.and_then(|v| v.as_u64().or_else(|| v.as_str().and_then(|text| text.parse().ok())));
    let Some(seconds) = seconds else {
        return Err(answer.refused(Some("the answer has no expires_in"), None));
    };
    Ok(Fetched { token: Token::Bearer(token.into()), life: Some(Duration::from_secs(seconds)) })
}
