//! Who answers: one file a provider, with its host, paths, credential and quirks.
//!
//! A provider here is one configured entry: `openai` with its model, `gemini` with its model and API version. It knows
//! where to send what it is asked and nothing of connections.

mod anthropic;
mod azure_openai;
mod bedrock;
mod claude;
mod gemini;
mod openai;
mod query;
mod vertex_ai;
mod vertex_claude;

pub use anthropic::Anthropic;
pub use azure_openai::AzureOpenAi;
pub use bedrock::Bedrock;
pub use gemini::Gemini;
pub use openai::OpenAi;
pub use query::credential_in_query;
pub use vertex_ai::VertexAi;
pub use vertex_claude::VertexClaude;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, uri::PathAndQuery};

use crate::{
    dialect::{ApiRequest, DialectId, Endpoint, Server, StreamMode},
    stream::TopLevel,
};

/// What is the same for every entry of a provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Info {
    /// The key in a Backend's manifest.
    pub name: &'static str,
    /// The `llm` label of the `ai_*` metrics.
    pub llm: &'static str,
    /// `gen_ai.provider.name` of the OpenTelemetry semantic conventions.
    pub system: &'static str,
    /// The dialect it speaks without translation, with the others of the same API.
    pub dialect: DialectId,
    /// Where it is documented for users.
    pub summary: &'static str,
}

/// Every provider, in the order of the documentation. A new one is a file and a line here.
pub const PROVIDERS: [&Info; 6] =
    [&openai::INFO, &azure_openai::INFO, &anthropic::INFO, &gemini::INFO, &vertex_ai::INFO, &bedrock::INFO];

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
    /// The request is in another dialect: it would need translation.
    Translation,
    /// The provider has no such endpoint; the message says so to the client.
    Endpoint(String),
    /// Neither the request nor the Backend names a model.
    ModelMissing,
    /// The model's name can't stand in a URL.
    ModelInvalid,
}

/// A change to the top level of a body that goes to a provider of its own dialect: the member's name, and its new value
/// as JSON text, or nothing to remove it.
pub type BodyEdit = (&'static str, Option<Cow<'static, [u8]>>);

/// How a provider frames the reply to a request that asks for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events. Replies in one piece have this too.
    Sse,
    /// One JSON array, element by element: Gemini without `alt=sse`.
    JsonArray,
    /// Frames of an AWS event stream, each an event of its own.
    Frames,
    /// Frames of an AWS event stream, each around one event of Anthropic's: what
    /// [`InvokeFilter`](crate::stream::InvokeFilter) unwraps.
    WrappedEvents,
}

impl Framing {
    /// The framing that was asked for.
    pub const fn of(mode: StreamMode) -> Self {
        match mode {
            StreamMode::No | StreamMode::Sse => Self::Sse,
            StreamMode::JsonArray => Self::JsonArray,
            StreamMode::EventStream => Self::Frames,
        }
    }
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
    fn path(&self, ask: &ApiRequest, model: Option<&str>, query: Option<&str>) -> Result<PathAndQuery, Refusal>;

    /// Whether `ask`, whose model has been settled as `model`, can be sent as the client wrote it: what
    /// [`path`](Self::path) does not refuse for its dialect.
    fn speaks(&self, ask: &ApiRequest, model: Option<&str>) -> bool {
        !matches!(self.path(ask, model, None), Err(Refusal::Translation))
    }

    /// The dialect in which this provider is asked what a client wrote in `dialect`, where it can't be sent as it is,
    /// and whose limits hold. `None` when the provider holds no conversations.
    fn translation(&self, _dialect: DialectId, _model: Option<&str>) -> Option<(DialectId, Server)> {
        None
    }

    /// What must change in a body that is otherwise sent as the client wrote it, beside the model and `stream_options`.
    /// `top` is the body, `headers` are the client's.
    fn body_edits(&self, _ask: &ApiRequest, _top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<BodyEdit> {
        Vec::new()
    }

    /// Members of the Backend's own, as JSON text without braces, for the body of a translated request; it has none of
    /// these names. A body of the client's gets them by [`body_edits`](Self::body_edits).
    fn extra_body_fields(&self, _ask: &ApiRequest) -> Option<&str> {
        None
    }

    /// How the reply to `ask` is framed.
    fn framing(&self, ask: &ApiRequest) -> Framing {
        Framing::of(ask.stream)
    }

    /// The path of an endpoint that Tollgate does not know, given what follows the route's prefix.
    fn other(&self, path: &str) -> String {
        path.to_owned()
    }

    /// Headers that this provider needs beside the credential. Overwrites what the client said only where that is no
    /// header of this provider's, or not the client's to say.
    fn complete_headers(&self, _headers: &mut HeaderMap) {}

    /// Whether its errors may come in another dialect than its replies, so that they are always written anew.
    fn has_foreign_errors(&self) -> bool {
        false
    }

    /// Whether streams are asked to end with a usage chunk (`stream_options.include_usage`).
    fn asks_for_usage(&self) -> bool {
        false
    }
}

/// Path and query for `ask`, whose model has been settled as `model`, whether or not the endpoint is known.
///
/// # Errors
/// When this provider can't be asked that without translation, or has no such endpoint.
pub fn path_of(
    provider: &dyn Provider,
    ask: &ApiRequest,
    model: Option<&str>,
    client: Option<&str>,
) -> Result<PathAndQuery, Refusal> {
    match &ask.endpoint {
        Endpoint::Other(path) => path_and_query(query::join(&provider.other(path), client, &[])),
        _ => provider.path(ask, model, client),
    }
}

/// The model that serves `ask`: the Backend's for text generation, else the client's, else the Backend's.
pub fn resolve_model<'a>(provider: &'a dyn Provider, ask: &'a ApiRequest) -> Option<&'a str> {
    let (own, asked) = (provider.model(), ask.model.as_deref());
    if ask.endpoint.generates() { own.or(asked) } else { asked.or(own) }
}

/// A translated request as [`Provider::path`] understands it: the endpoint of `dialect` where a conversation with `model`
/// is held, streaming in that dialect's own way.
pub fn native_request(dialect: DialectId, stream: bool, model: &str) -> ApiRequest {
    let (endpoint, mode) = dialect.dialect().conversation_endpoint(model, stream);
    let stream = if stream { mode } else { StreamMode::No };
    ApiRequest { endpoint, dialect, model: Some(model.to_owned()), stream }
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
