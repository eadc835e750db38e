//! Claude on Vertex AI: Messages, with the model in the URL.

use std::borrow::Cow;

use http::{HeaderMap, uri::PathAndQuery};

use super::{Place, quirks::VERTEX_CLAUDE};
use crate::{
    dialect::{ApiRequest, DialectId, Endpoint, Quirks, StreamMode},
    provider::{
        BodyEdit, CredentialSlot, Info, Provider, Refusal, TranslationNeeds, claude, model_segment, path_and_query,
        tail,
    },
    stream::TopLevel,
};

/// The same key and labels as for Gemini models on Vertex AI; only the dialect differs.
const INFO: Info = Info { dialect: DialectId::Messages, ..super::INFO };

/// The version of Messages in the body that every Claude on Vertex AI accepts.
const ANTHROPIC_VERSION: &str = r#""vertex-2023-10-16""#;

/// `vertexai` in a Backend, with the publisher `ANTHROPIC`.
#[derive(Debug)]
pub struct VertexClaude {
    model: String,
    place: Place,
    /// `modelPath`: replaces the verb.
    verb: Option<String>,
}

impl VertexClaude {
    /// An entry for one model in one project and location.
    pub fn new(model: String, api_version: String, project: String, location: String, verb: Option<String>) -> Self {
        Self { model, place: Place { api_version, project, location, publisher: "anthropic" }, verb }
    }
}

impl Provider for VertexClaude {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn host(&self) -> String {
        self.place.host()
    }

    fn credential_slot(&self) -> CredentialSlot {
        Place::credential_slot()
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model)
    }

    fn model_in_body(&self, _request: &ApiRequest) -> bool {
        false
    }

    /// The client's query is not forwarded: Google refuses unknown parameters, such as `beta=true`.
    fn path(&self, request: &ApiRequest, model: Option<&str>, _query: Option<&str>) -> Result<PathAndQuery, Refusal> {
        let models = self.place.models();
        path_and_query(match &request.endpoint {
            Endpoint::Messages => {
                let own = if request.stream == StreamMode::No { "rawPredict" } else { "streamRawPredict" };
                format!("{models}/{}:{}", model_segment(model)?, self.verb.as_deref().unwrap_or(own))
            }
            Endpoint::CountMessageTokens => format!("{models}/count-tokens:rawPredict"),
            Endpoint::Models(None) => self.place.list(),
            Endpoint::Models(Some(id)) => format!("{}/{}", self.place.list(), tail(id)?),
            _ => return Err(Refusal::Translation),
        })
    }

    fn translation(&self, _needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        Some((DialectId::Messages, VERTEX_CLAUDE))
    }

    fn body_edits(&self, request: &ApiRequest, top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<BodyEdit> {
        let model = match &request.endpoint {
            Endpoint::Messages => None,
            // This is the only endpoint that names the model in the body.
            Endpoint::CountMessageTokens => Some(Cow::Owned(serde_json::json!(self.model).to_string().into_bytes())),
            _ => return Vec::new(),
        };
        let mut edits = vec![("model", model)];
        edits.extend(claude::version(top, ANTHROPIC_VERSION));
        edits
    }

    fn unsupported_headers(&self, request: &ApiRequest, top: &TopLevel<'_>, headers: &HeaderMap) -> Vec<String> {
        claude::refused(request, top, headers, claude::Cloud::Vertex)
    }

    /// Google's own service in front of the model may send errors.
    fn has_foreign_errors(&self) -> bool {
        true
    }

    /// The version is in the body.
    fn complete_headers(&self, headers: &mut HeaderMap) {
        headers.remove(claude::VERSION_HEADER);
        claude::keep_betas(headers, claude::Cloud::Vertex);
    }
}
