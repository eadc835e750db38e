//! Anthropic's own API.

mod config;
pub(super) mod quirks;

pub use config::{AnthropicSettings, Config};

use http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};

use super::{
    CredentialSlot, Docs, Info, Provider, ProviderDef, Refusal, TranslationNeeds, Usual, below_base, path_and_query,
    query, tail,
};
use crate::dialect::{ApiRequest, DialectId, Endpoint, Quirks, messages};

const INFO: Info = Info { name: "anthropic", llm: "anthropic", system: "anthropic", dialect: DialectId::Messages };

/// `anthropic` in Backends, metrics and documentation.
pub const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: None,
    example: "{}",
    usual: &[Usual::with_key("anthropic", &["ANTHROPIC_API_KEY"], &["claude-*"])],
    docs: Docs {
        section: "Anthropic",
        host: "`api.anthropic.com`",
        dialects: "Anthropic",
        credential: "`x-api-key: KEY`",
    },
};

/// The header with the version of Anthropic's API.
pub(super) const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// The version that is sent for clients that send none: it has every field that Tollgate supports, and still accepts
/// `temperature`.
pub(super) const DEFAULT_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// `anthropic` in a Backend.
#[derive(Debug)]
pub struct Anthropic {
    model: Option<String>,
    version: HeaderValue,
    /// The path before each endpoint's own, with the API's major version.
    base_path: String,
}

/// The base path of `api.anthropic.com`.
const BASE: &str = "/v1";

impl Anthropic {
    /// An entry that overrides the client's model with `model`. `api_version` is sent for clients that send none; a
    /// version that no header can hold falls back to the default.
    pub fn new(model: Option<String>, api_version: Option<&str>) -> Self {
        let version = api_version.and_then(|v| HeaderValue::from_str(v).ok()).unwrap_or(DEFAULT_VERSION);
        Self { model, version, base_path: BASE.to_owned() }
    }

    /// The entry with another base path.
    #[must_use]
    pub fn with_base_path(self, base_path: Option<String>) -> Self {
        Self { base_path: base_path.unwrap_or(self.base_path), ..self }
    }
}

impl Provider for Anthropic {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        "api.anthropic.com".into()
    }

    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: HeaderName::from_static("x-api-key"), prefix: String::new() }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn path(&self, request: &ApiRequest, _model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        let path = match &request.endpoint {
            Endpoint::Models(Some(id)) => format!("/models/{}", tail(id)?),
            endpoint => messages::endpoint::path(endpoint).ok_or(Refusal::Translation)?.to_owned(),
        };
        path_and_query(query::join(&format!("{}{path}", self.base_path), client, &[]))
    }

    fn other(&self, path: &str) -> String {
        below_base(path).map_or_else(|| path.to_owned(), |rest| format!("{}{rest}", self.base_path))
    }

    fn translation(&self, _needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        Some((DialectId::Messages, quirks::ANTHROPIC))
    }

    fn complete_headers(&self, headers: &mut HeaderMap) {
        headers.entry(VERSION).or_insert_with(|| self.version.clone());
    }
}
