//! Access tokens of Entra ID, for Azure OpenAI.

use std::path::PathBuf;

use super::{
    FetchError, Fetched, Hidden, Source,
    google::access_token,
    http::{Http, is_safe, read},
    variable,
};

/// The scope of tokens.
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
/// Entra ID of the public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// An application of Entra ID.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Application {
    authority: String,
    tenant: String,
    client: String,
    pub(super) credential: ClientCredential,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum ClientCredential {
    Secret(Hidden),
    File(PathBuf),
}

/// The pod's identity in Azure: workload identity, as its webhook sets the environment.
///
/// # Errors
/// When a variable is missing or wrong. The text holds no value.
pub fn workload(environment: &dyn Fn(&str) -> Option<String>) -> Result<Source, String> {
    let need = |name: &str| {
        variable(environment, name).ok_or_else(|| {
            format!("{name} is not set: the pod has no workload identity (its label azure.workload.identity/use)")
        })
    };
    let (tenant, client) = (need("AZURE_TENANT_ID")?, need("AZURE_CLIENT_ID")?);
    application(environment, tenant, client, ClientCredential::File(need("AZURE_FEDERATED_TOKEN_FILE")?.into()))
}

/// An application with its secret. The environment may name another authority.
///
/// # Errors
/// When the tenant or the authority's URL is invalid. The text holds no value.
pub fn with_secret(
    environment: &dyn Fn(&str) -> Option<String>,
    tenant: &str,
    client: &str,
    secret: &str,
) -> Result<Source, String> {
    application(environment, tenant.to_owned(), client.to_owned(), ClientCredential::Secret(secret.into()))
}

fn application(
    environment: &dyn Fn(&str) -> Option<String>,
    tenant: String,
    client: String,
    credential: ClientCredential,
) -> Result<Source, String> {
    // It becomes part of a path.
    if tenant.is_empty() || !tenant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        return Err("the tenant is neither an id nor a domain".into());
    }
    let authority = variable(environment, "AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
    if !is_safe(&authority) {
        return Err("AZURE_AUTHORITY_HOST is no URL with https".into());
    }
    let authority = authority.trim_end_matches('/').to_owned();
    Ok(Source::Azure(Application { authority, tenant, client, credential }))
}

impl Application {
    pub(super) async fn fetch(&self, http: &Http) -> Result<Fetched, FetchError> {
        let url = format!("{}/{}/oauth2/v2.0/token", self.authority, self.tenant);
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", &self.client), ("scope", SCOPE)];
        let token;
        match &self.credential {
            ClientCredential::Secret(secret) => form.push(("client_secret", secret.expose())),
            ClientCredential::File(path) => {
                token = read(path).await?;
                form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                form.push(("client_assertion", token.trim()));
            }
        }
        access_token(&http.post(&url, &form).await?)
    }
}
