//! Gemini at Google AI Studio.

mod config;
pub(super) mod quirks;

pub use config::{Config, GeminiSettings};

use http::{HeaderName, uri::PathAndQuery};

use super::{
    CredentialSlot, Docs, Info, Provider, ProviderDef, Refusal, TranslationNeeds, Usual, model_segment, path_and_query,
    query, tail,
};
use crate::dialect::{ApiRequest, DialectId, Endpoint, GeminiVerb, Quirks, StreamMode};

const INFO: Info = Info { name: "gemini", llm: "gemini", system: "gcp.gemini", dialect: DialectId::Gemini };

/// `gemini` in Backends, metrics and documentation.
pub const DEF: ProviderDef = ProviderDef {
    info: &INFO,
    cloud: None,
    example: r#"{"model": "gemini-1.5-flash-latest", "apiVersion": "v1beta"}"#,
    usual: &[Usual {
        fields: "model: \"\", apiVersion: v1beta",
        ..Usual::with_key("gemini", &["GEMINI_API_KEY", "GOOGLE_API_KEY"], &["gemini-*", "gemma-*", "learnlm-*"])
    }],
    docs: Docs {
        section: "Gemini",
        host: "`generativelanguage.googleapis.com`",
        dialects: "Gemini",
        credential: "`x-goog-api-key: KEY`",
    },
};

/// The version that Google's documentation uses, and the only one with every model.
const DEFAULT_VERSION: &str = "v1beta";

/// `gemini` in a Backend.
#[derive(Debug)]
pub struct Gemini {
    model: Option<String>,
    api_version: String,
    /// The usual URLs of the configured model, built once.
    generate: Option<PathAndQuery>,
    stream: Option<PathAndQuery>,
}

impl Gemini {
    /// An entry that overrides the client's model with `model`.
    pub fn new(model: Option<String>, api_version: Option<String>) -> Self {
        let api_version = api_version.filter(|v| !v.is_empty()).unwrap_or_else(|| DEFAULT_VERSION.into());
        let mut entry = Self { model, api_version, generate: None, stream: None };
        let model = entry.model.as_deref();
        let generate = entry.model_path(model, GeminiVerb::Generate, StreamMode::No, None).ok();
        let stream = entry.model_path(model, GeminiVerb::StreamGenerate, StreamMode::Sse, None).ok();
        (entry.generate, entry.stream) = (generate, stream);
        entry
    }

    fn model_path(
        &self,
        model: Option<&str>,
        verb: GeminiVerb,
        stream: StreamMode,
        client: Option<&str>,
    ) -> Result<PathAndQuery, Refusal> {
        let model = model_segment(model)?;
        path_and_query(with_alt(&format!("/{}/models/{model}:{}", self.api_version, verb.as_str()), stream, client))
    }
}

/// `path` with the client's query, and `alt=sse` if the reply is to be streamed as server-sent events.
pub(super) fn with_alt(path: &str, stream: StreamMode, client: Option<&str>) -> String {
    let added: &[(&str, &str)] = if stream == StreamMode::Sse { &[("alt", "sse")] } else { &[] };
    query::join(path, client, added)
}

impl Provider for Gemini {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        "generativelanguage.googleapis.com".into()
    }

    /// Uses the header rather than `?key=`, since URLs are written to logs.
    fn credential_slot(&self) -> CredentialSlot {
        CredentialSlot { header: HeaderName::from_static("x-goog-api-key"), prefix: String::new() }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn model_in_body(&self, _request: &ApiRequest) -> bool {
        false
    }

    fn path(&self, request: &ApiRequest, model: Option<&str>, client: Option<&str>) -> Result<PathAndQuery, Refusal> {
        match &request.endpoint {
            Endpoint::Gemini(verb, _) => {
                let made = match (verb, request.stream) {
                    (GeminiVerb::Generate, _) => &self.generate,
                    (GeminiVerb::StreamGenerate, StreamMode::Sse) => &self.stream,
                    _ => &None,
                };
                match made {
                    Some(made) if client.is_none_or(|q| q == "alt=sse") => Ok(made.clone()),
                    _ => self.model_path(model, *verb, request.stream, client),
                }
            }
            Endpoint::Models(id) => {
                let id = id.as_deref().map(tail).transpose()?.map(|id| format!("/{id}")).unwrap_or_default();
                path_and_query(query::join(&format!("/{}/models{id}", self.api_version), client, &[]))
            }
            _ => Err(Refusal::Translation),
        }
    }

    fn translation(&self, _needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        Some((DialectId::Gemini, quirks::AI_STUDIO))
    }
}
