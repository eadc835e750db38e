//! The definition of a provider, and the forms of an entry before it is built.

use std::{any::Any, fmt::Debug, sync::Arc};

use secrecy::SecretString;

use super::{Provider, Server, ServerRules, check::Problems};
use crate::dialect::DialectId;

/// A provider: its names, and the data for its documentation and its tests.
#[derive(Debug, PartialEq, Eq)]
pub struct ProviderDef {
    /// Its names and labels.
    pub info: &'static Info,
    /// The cloud that issues tokens for it, in addition to the keys that it accepts. `kind: Workload` requires one.
    pub cloud: Option<Cloud>,
    /// The required fields, as a JSON object, without the credential.
    pub example: &'static str,
    /// The variables of the environment that enable it where there are no manifests: of itself first, then of servers
    /// with its API.
    pub usual: &'static [Usual],
    /// Its row in the table of `docs/providers.md`.
    pub docs: Docs,
}

/// The variables that a vendor's own SDKs read, and the entry of a Backend that they enable.
#[derive(Debug, PartialEq, Eq)]
pub struct Usual {
    /// The entry's name, which is also that of its Secret, and stands before a model's name: `NAME/MODEL`.
    pub name: &'static str,
    /// Variables with its key, of which the first one that is set counts.
    pub keys: &'static [&'static str],
    /// Variables that its credential consists of instead, all of which have to be set.
    pub credential: &'static [&'static str],
    /// Variables with its region, of which the first one that is set counts.
    pub region: &'static [&'static str],
    /// The provider's fields in the Backend, beside key and region, as YAML's flow style has them.
    pub fields: &'static str,
    /// The models that are known to be its own.
    pub models: &'static [&'static str],
}

impl Usual {
    /// One that has a key, and nothing else.
    #[must_use]
    pub const fn with_key(name: &'static str, keys: &'static [&'static str], models: &'static [&'static str]) -> Self {
        Self { name, keys, credential: &[], region: &[], fields: "", models }
    }
}

/// The properties that all entries of a provider share.
#[derive(Debug, PartialEq, Eq)]
pub struct Info {
    /// The key in a Backend's manifest.
    pub name: &'static str,
    /// The `llm` label of the `ai_*` metrics.
    pub llm: &'static str,
    /// `gen_ai.provider.name` of the OpenTelemetry semantic conventions.
    pub system: &'static str,
    /// The dialect in which it accepts requests without translation.
    pub dialect: DialectId,
}

/// A provider's row in the table of `docs/providers.md`, in Markdown.
#[derive(Debug, PartialEq, Eq)]
pub struct Docs {
    /// The heading of its section.
    pub section: &'static str,
    /// The host that answers.
    pub host: &'static str,
    /// The dialects that it accepts.
    pub dialects: &'static str,
    /// How requests are authenticated.
    pub credential: &'static str,
}

impl ProviderDef {
    /// Its row in the table of `docs/providers.md`.
    #[must_use]
    pub fn docs_row(&self) -> String {
        let (Info { name, llm, .. }, Docs { section, host, dialects, credential }) = (self.info, &self.docs);
        let anchor = section.to_lowercase().replace(' ', "-");
        format!("| [`{name}`](#{anchor}) | {host} | {dialects} | {credential} | `{llm}` |")
    }
}

/// A cloud whose identities are fetched as tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Microsoft Entra ID.
    Azure,
    /// Google Cloud.
    Google,
}

/// A provider's fields as a Backend has them.
pub trait ProviderConfig {
    /// The definition of the provider.
    fn def(&self) -> &'static ProviderDef;

    /// Checks the fields, which are at `path`. Checks all of them before it returns, so that every problem is reported.
    /// `None` means that there is at least one.
    fn check(&self, path: &str, problems: &mut Problems) -> Option<Checked>;
}

/// A provider's own fields after their checks. No text in them is empty.
pub trait Settings: Any + Debug + Send + Sync {
    /// What the entry may state about its server beside the host.
    fn server_rules(&self) -> ServerRules {
        ServerRules::default()
    }

    /// The configured provider. `server` is what the Backend states about the server, within these rules.
    ///
    /// # Errors
    /// When a value can't be sent. The message names the field and does not repeat the value.
    fn build(&self, server: &Server) -> Result<Box<dyn Provider>, String>;
}

/// One entry of a provider after its checks.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The provider.
    pub def: &'static ProviderDef,
    /// How requests are authenticated.
    pub auth: Auth,
    /// The provider's own fields.
    pub settings: Arc<dyn Settings>,
}

impl Checked {
    /// An entry of `def`.
    pub fn new(def: &'static ProviderDef, auth: Auth, settings: impl Settings) -> Self {
        Self { def, auth, settings: Arc::new(settings) }
    }

    /// An entry of `def` that sends a key.
    pub fn with_key(def: &'static ProviderDef, key: KeySource, settings: impl Settings) -> Self {
        Self::new(def, Auth::Key(key), settings)
    }
}

/// How requests are authenticated.
#[derive(Clone, Debug)]
pub enum Auth {
    /// With a key or token in a header.
    Key(KeySource),
    /// With a signature of AWS.
    Aws {
        /// Name of the Secret with `accessKey`, `secretKey` and optionally `sessionToken`; `None` means the pod's own
        /// credentials.
        secret: Option<String>,
        /// AWS region.
        region: String,
    },
}

/// Where a key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// The key as it is in the Backend; not blank.
    Inline(SecretString),
    /// Name of a Secret in the Backend's namespace.
    SecretRef(String),
    /// The client's own key.
    Passthrough,
    /// The identity of Tollgate's pod in the provider's cloud. Only for providers with a [`Cloud`].
    Workload,
}
