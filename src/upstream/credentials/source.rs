//! Where a fetched credential comes from.

use std::{
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use super::{FetchError, Fetched, Token, aws, azure, google, handle::Fetch, http::Http};
use crate::upstream::AwsKeys;

/// The placeholder for a fetched credential while providers are simulated.
const SIMULATED: &str = "simulated-key";

/// A secret that distinguishes sources. Zeroed on drop; has no `Debug`.
#[derive(Clone)]
pub struct Hidden(SecretString);

impl Hidden {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Hidden {}

impl Hash for Hidden {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

/// Where a fetched credential comes from: everything that decides what is fetched, so that equal sources share it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A role of AWS, for a token that the cluster has put into a file (IRSA).
    AwsWebIdentity(aws::WebIdentity),
    /// The agent of ECS, or of EKS pod identity.
    AwsContainer(aws::Container),
    /// The role of the instance.
    AwsInstance {
        /// The metadata service, as a URL without a last slash.
        endpoint: String,
    },
    /// A Google key from a Secret.
    GoogleKey(google::Key),
    /// A Google key from the file that `GOOGLE_APPLICATION_CREDENTIALS` names.
    GoogleFile(PathBuf),
    /// The metadata server of Google Cloud.
    GoogleMetadata {
        /// Its host, with a port if it is not 80.
        host: String,
        /// The file of `gcloud auth application-default login`, which takes precedence if it exists.
        user_file: Option<PathBuf>,
    },
    /// An application of Entra ID with its secret or with a token from a file.
    Azure(azure::Application),
}

impl Source {
    /// Its label in metrics and the log.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AwsWebIdentity(_) => "aws_web_identity",
            Self::AwsContainer(_) => "aws_container",
            Self::AwsInstance { .. } => "aws_instance",
            Self::GoogleKey(_) => "google_key",
            Self::GoogleFile(_) => "google_file",
            Self::GoogleMetadata { .. } => "google_metadata",
            Self::Azure(application) => match application.credential {
                azure::ClientCredential::Secret(_) => "azure_client_secret",
                azure::ClientCredential::File(_) => "azure_workload_identity",
            },
        }
    }

    /// Fetches the credential once.
    pub(super) async fn fetch(&self, http: &Http) -> Result<Fetched, FetchError> {
        match self {
            Self::AwsWebIdentity(identity) => identity.fetch(http).await,
            Self::AwsContainer(container) => container.fetch(http).await,
            Self::AwsInstance { endpoint } => aws::from_instance(endpoint, http).await,
            Self::GoogleKey(key) => key.fetch(&http.restricted()).await,
            Self::GoogleFile(path) => google::from_file(path, http).await,
            Self::GoogleMetadata { host, user_file } => google::from_metadata(host, user_file.as_deref(), http).await,
            Self::Azure(application) => application.fetch(http).await,
        }
    }

    fn simulated(&self) -> Token {
        match self {
            Self::AwsWebIdentity(_) | Self::AwsContainer(_) | Self::AwsInstance { .. } => {
                Token::Aws(AwsKeys::new(SIMULATED, SIMULATED, None))
            }
            Self::GoogleKey(_) | Self::GoogleFile(_) | Self::GoogleMetadata { .. } | Self::Azure(_) => {
                Token::Bearer(SIMULATED.into())
            }
        }
    }
}

/// Fetches from a source.
pub(super) struct Fetcher {
    source: Source,
    http: Arc<Http>,
    simulated: bool,
}

impl Fetcher {
    pub(super) fn new(source: Source, http: Arc<Http>, simulated: bool) -> Self {
        Self { source, http, simulated }
    }
}

impl Fetch for Fetcher {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(async {
            if self.simulated {
                return Ok(Fetched { token: self.source.simulated(), life: None });
            }
            self.source.fetch(&self.http).await
        })
    }
}
