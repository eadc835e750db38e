//! Who answers: one file a provider, with its host, paths, credential and quirks.
//!
//! A provider here is one configured entry: `openai` with its model, `gemini` with its model and API version. It knows
//! where to send what it is asked and nothing of connections.

mod anthropic;
mod azure_openai;
mod gemini;
mod openai;
mod query;
mod vertex_ai;

pub use anthropic::Anthropic;
pub use azure_openai::AzureOpenAi;
pub use gemini::Gemini;
pub use openai::OpenAi;
pub use query::credential_in_query;
pub use vertex_ai::VertexAi;

use http::{HeaderMap, HeaderName, uri::PathAndQuery};

use crate::dialect::{Ask, Family};

/// What is the same for every entry of a provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Info {
    /// The key in a Backend's manifest.
    pub name: &'static str,
    /// The `llm` label of the `ai_*` metrics.
    pub llm: &'static str,
    /// `gen_ai.provider.name` of the OpenTelemetry semantic conventions.
    pub system: &'static str,
    /// The dialects it speaks without translation.
    pub family: Family,
    /// Where it is documented for users.
    pub summary: &'static str,
}

/// Every provider, in the order of the documentation. A new one is a file and a line here.
pub const PROVIDERS: [&Info; 5] =
    [&openai::INFO, &azure_openai::INFO, &anthropic::INFO, &gemini::INFO, &vertex_ai::INFO];

/// Where a provider wants the credential: `header: prefix + key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSlot {
    /// The header.
    pub header: HeaderName,
    /// What stands before the key, with its space.
    pub prefix: String,
}

/// Why a provider can't take a request as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is in another family's dialect: it would need translation.
    Translation,
    /// The provider has no such endpoint; the message says so to the client.
    Endpoint(String),
    /// Neither the request nor the Backend names a model.
    ModelMissing,
    /// The model's name can't stand in a URL.
    ModelInvalid,
}

/// One configured provider entry.
pub trait Provider: Send + Sync {
    /// What is the same for every entry of this provider.
    fn info(&self) -> &'static Info;

    /// The host that answers unless a Backend overrides it.
    fn host(&self) -> String;

    /// Where the credential goes unless a Backend overrides it.
    fn credential_slot(&self) -> CredentialSlot;

    /// The model that replaces the client's in endpoints that generate text.
    fn model(&self) -> Option<&str>;

    /// Whether the model stands in the body (else in the URL).
    fn model_in_body(&self) -> bool {
        true
    }

    /// Path and query for `ask`, whose model has been settled as `model`.
    ///
    /// # Errors
    /// When this provider can't be asked that without translation, or has no such endpoint.
    fn path(&self, ask: &Ask, model: Option<&str>, query: Option<&str>) -> Result<PathAndQuery, Refusal>;

    /// Headers that this provider needs beside the credential. Never overwrites what the client said.
    fn complete_headers(&self, _headers: &mut HeaderMap) {}

    /// Whether streams are asked to end with a usage chunk (`stream_options.include_usage`).
    fn asks_for_usage(&self) -> bool {
        false
    }
}

/// The model that serves `ask`: the Backend's for text generation, else the client's, else the Backend's.
pub fn settle_model<'a>(provider: &'a dyn Provider, ask: &'a Ask) -> Option<&'a str> {
    let (own, asked) = (provider.model(), ask.model.as_deref());
    if ask.endpoint.generates() { own.or(asked) } else { asked.or(own) }
}

/// A path made of configuration and a client's model name.
fn path_and_query(text: String) -> Result<PathAndQuery, Refusal> {
    PathAndQuery::try_from(text).map_err(|_| Refusal::ModelInvalid)
}

/// What of a client's path goes on behind a provider's own: nothing that could be read as leaving it.
fn tail(rest: &str) -> Result<&str, Refusal> {
    let leaves = rest.contains('%') || rest.split('/').any(|segment| matches!(segment, "." | ".."));
    if leaves { Err(Refusal::ModelInvalid) } else { Ok(rest) }
}

/// A model name as one or more segments of a URL: a name that would leave its place (`..`, `?`, `#`) is refused.
fn model_segment(model: Option<&str>) -> Result<&str, Refusal> {
    let model = model.ok_or(Refusal::ModelMissing)?;
    let fits = !model.is_empty()
        && model.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~@:/+".contains(&b))
        && !model.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if fits { Ok(model) } else { Err(Refusal::ModelInvalid) }
}

#[cfg(test)]
mod tests;
