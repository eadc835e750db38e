//! Providers: one folder per provider, and one line in the list below.
//!
//! A [`Provider`] is one configured entry of a Backend: `openai` with its model, `gemini` with its model and API
//! version. It decides where requests go, and is independent of connections. An entry goes through three forms: the
//! fields as they are written ([`ProviderConfig`]), the fields after their checks ([`Checked`]), and the provider that
//! is built from them.
//!
//! # How to add a provider
//!
//! Four files are written by hand, `NAME` being the folder and `KEY` the field in Backends:
//!
//! 1. `src/provider/NAME/config.rs`: `Config`, the fields with their rules, its checks, and the settings that are built
//!    from it.
//! 2. `src/provider/NAME/mod.rs`: `DEF` with names, labels and documentation, and the `impl Provider`. The server's
//!    differences from others of its dialect are data, in `quirks.rs` beside it.
//! 3. `src/provider/mod.rs`: the line `KEY: NAME,` in the list, and the declaration `pub mod NAME;`.
//! 4. `docs/providers.md`: its row in the table, and its section.
//!
//! `just crds` then writes the definitions and the chart's copy of them. Nothing else names a provider: Backends get
//! their field, schemas their rules, messages and tests the names from the list. `tests/providers.rs` holds this
//! recipe, and `tests/providers/example.rs` is a provider in one file.
//!
//! A server with OpenAI's API needs no provider, only a row in `openai/presets.rs`.
//!
//! [`Provider`]: crate::provider::Provider
//! [`ProviderConfig`]: crate::provider::ProviderConfig
//! [`Checked`]: crate::provider::Checked

pub mod anthropic;
pub mod auth;
pub mod azure_openai;
pub mod bedrock;
pub mod check;
mod claude;
mod definition;
mod forward;
pub mod gemini;
mod model_names;
pub mod openai;
mod query;
mod server;
pub mod vertex_ai;

pub use definition::{Auth, Checked, Cloud, Docs, Info, KeySource, ProviderConfig, ProviderDef, Settings, Usual};
pub use forward::{Forwarded, is_framing, is_hop_by_hop, may_be_listed, may_be_listed_in_query};
pub use model_names::{Fit, ModelNames};
pub use query::credential_in_query;
pub use server::{Api, Server, ServerRules};

use std::{borrow::Cow, fmt::Debug};

use http::{HeaderMap, HeaderName, uri::PathAndQuery};

use crate::{
    dialect::{ApiRequest, DialectId, Endpoint, ModelFacts, OpenAiApi, Quirks, StreamMode},
    stream::TopLevel,
};

/// Calls a macro with the list of all providers, in the order of the documentation: the field in Backends, and the
/// folder. Arguments after the macro's name are passed on after the list.
macro_rules! for_each_provider {
    ($then:ident $($rest:tt)*) => {
        $then! {
            [
                openai: openai,
                azureopenai: azure_openai,
                anthropic: anthropic,
                gemini: gemini,
                vertexai: vertex_ai,
                bedrock: bedrock,
            ]
            $($rest)*
        }
    };
}
pub(crate) use for_each_provider;

/// Declares the list as a constant.
macro_rules! definitions {
    ([$($key:ident: $folder:ident,)+]) => {
        /// Every provider, in the order of the documentation.
        pub const PROVIDERS: &[&ProviderDef] = &[$(&$folder::DEF,)+];
    };
}
for_each_provider!(definitions);

/// The keys of all providers in manifests.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|def| def.info.name)
}

/// The keys of all providers as a list in prose: `openai, azureopenai and anthropic`.
#[must_use]
pub fn list_of_names() -> String {
    let names: Vec<&str> = names().collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The header in which a provider expects the credential: `header: prefix + key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSlot {
    /// The header.
    pub header: HeaderName,
    /// The text before the key, with its space.
    pub prefix: String,
}

/// The reason why a provider can't accept a request as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is in another dialect: it would need translation.
    Translation,
    /// The provider has no such endpoint; the message is for the client.
    Endpoint(String),
    /// Neither the request nor the Backend names a model.
    ModelMissing,
    /// A URL can't hold the model's name.
    ModelInvalid,
}

/// The parts of a request that decide to which dialect it is translated.
#[derive(Clone, Copy, Debug)]
pub struct TranslationNeeds<'a> {
    /// The model, as the provider names it.
    pub model: Option<&'a str>,
    /// What the model accepts.
    pub facts: ModelFacts,
    /// Whether the request offers tools.
    pub tools: bool,
    /// Whether it offers tools that the client's vendor runs, which OpenAI has in Responses only.
    pub hosted: bool,
}

impl<'a> TranslationNeeds<'a> {
    /// A request without tools to `model`, of which nothing is known.
    pub const fn plain(model: Option<&'a str>) -> Self {
        Self { model, facts: ModelFacts::PLAIN, tools: false, hosted: false }
    }

    /// The API of OpenAI that serves the request.
    pub fn openai_api(&self) -> OpenAiApi {
        let tools = self.tools && self.facts.tools_api == OpenAiApi::Responses;
        if tools || self.hosted { OpenAiApi::Responses } else { self.facts.api }
    }
}

/// A change to the top level of a body for a provider of its own dialect: the field's name, and its new value as JSON
/// text, or `None` to remove it.
pub type BodyEdit = (&'static str, Option<Cow<'static, [u8]>>);

/// How a provider frames the reply to a request for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events. Buffered replies have this too.
    Sse,
    /// One JSON array, element by element: Gemini without `alt=sse`.
    JsonArray,
    /// Frames of an AWS event stream, each an event of its own.
    Frames,
    /// Frames of an AWS event stream, each with one event of Anthropic's stream.
    /// [`InvokeFilter`](crate::stream::InvokeFilter) unwraps them.
    WrappedEvents,
}

impl Framing {
    /// The framing of replies in this mode.
    pub const fn of(mode: StreamMode) -> Self {
        match mode {
            StreamMode::No | StreamMode::Sse => Self::Sse,
            StreamMode::JsonArray => Self::JsonArray,
            StreamMode::EventStream => Self::Frames,
        }
    }
}

/// One configured provider entry.
pub trait Provider: Debug + Send + Sync {
    /// The properties that all entries of this provider share.
    fn info(&self) -> &'static Info;

    /// The host that answers unless a Backend overrides it.
    fn host(&self) -> String;

    /// The host that [ranks documents](Endpoint::reranks) where that is another one, unless a Backend overrides the
    /// host. It gets the same credential, so it must be the vendor's own.
    fn rerank_host(&self) -> Option<&'static str> {
        None
    }

    /// The header for the credential unless a Backend overrides it.
    fn credential_slot(&self) -> CredentialSlot;

    /// The model that replaces the client's in endpoints that generate text.
    fn model(&self) -> Option<&str>;

    /// Whether the model of `request` is in the body; otherwise it is in the URL.
    fn model_in_body(&self, _request: &ApiRequest) -> bool {
        true
    }

    /// Path and query for `request`, whose model was resolved to `model`.
    ///
    /// # Errors
    /// When this provider can't accept the request without translation, or has no such endpoint.
    fn path(&self, request: &ApiRequest, model: Option<&str>, query: Option<&str>) -> Result<PathAndQuery, Refusal>;

    /// Whether `request`, whose model was resolved to `model`, can be sent as the client wrote it: [`path`](Self::path)
    /// does not refuse it because of its dialect.
    fn speaks(&self, request: &ApiRequest, model: Option<&str>) -> bool {
        !matches!(self.path(request, model, None), Err(Refusal::Translation))
    }

    /// Whether it is unknown that the server has `endpoint`. A reply of 404 or 405 may then mean that it does not, and
    /// [`translation`](Self::translation) names the dialect that it has instead.
    fn may_lack(&self, _endpoint: &Endpoint) -> bool {
        false
    }

    /// The dialect to which a client's request is translated where it can't be sent as it is, and the server's quirks.
    /// `None` when the provider has no endpoint for conversations.
    fn translation(&self, _needs: &TranslationNeeds<'_>) -> Option<(DialectId, &'static Quirks)> {
        None
    }

    /// The changes to a body that is otherwise sent as the client wrote it, in addition to the model and
    /// `stream_options`. `top` is the body, `headers` are the client's.
    fn body_edits(&self, _request: &ApiRequest, _top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<BodyEdit> {
        Vec::new()
    }

    /// The client's settings in headers that this provider does not take, by their names in reports.
    fn unsupported_headers(&self, _request: &ApiRequest, _top: &TopLevel<'_>, _headers: &HeaderMap) -> Vec<String> {
        Vec::new()
    }

    /// Fields that the Backend adds, as JSON text without braces, for the body of a translated request, which has no
    /// fields of these names. A client's body gets them by [`body_edits`](Self::body_edits).
    fn extra_body_fields(&self, _request: &ApiRequest) -> Option<&str> {
        None
    }

    /// How the reply to `request` is framed.
    fn framing(&self, request: &ApiRequest) -> Framing {
        Framing::of(request.stream)
    }

    /// The path of an endpoint that Tollgate does not support, given the path after the route's prefix.
    fn other(&self, path: &str) -> String {
        path.to_owned()
    }

    /// Adds the headers that this provider needs in addition to the credential. A client's header is overwritten or
    /// removed only where the provider does not accept it, or where the operator decides its value.
    fn complete_headers(&self, _headers: &mut HeaderMap) {}

    /// Whether its errors may be in another dialect than its replies, so that they are always rewritten.
    fn has_foreign_errors(&self) -> bool {
        false
    }

    /// Whether requests for streams request a usage chunk at the end (`stream_options.include_usage`).
    fn asks_for_usage(&self) -> bool {
        false
    }
}

/// Path and query for `request`, whose model was resolved to `model`, for supported and other endpoints.
///
/// # Errors
/// When this provider can't accept the request without translation, or has no such endpoint.
pub fn path_of(
    provider: &dyn Provider,
    request: &ApiRequest,
    model: Option<&str>,
    client: Option<&str>,
) -> Result<PathAndQuery, Refusal> {
    match &request.endpoint {
        Endpoint::Other(path) => path_and_query(query::join(&provider.other(path), client, &[])),
        _ => provider.path(request, model, client),
    }
}

/// The model for `request`: the Backend's for text generation, else the client's, else the Backend's.
pub fn resolve_model<'a>(provider: &'a dyn Provider, request: &'a ApiRequest) -> Option<&'a str> {
    let (own, requested) = (provider.model(), request.model.as_deref());
    if request.endpoint.generates() { own.or(requested) } else { requested.or(own) }
}

/// A translated request in the form for [`Provider::path`]: the endpoint of `dialect` for a conversation with `model`,
/// streaming in that dialect's own framing.
pub fn native_request(dialect: DialectId, stream: bool, model: &str) -> ApiRequest {
    let (endpoint, mode) = dialect.dialect().conversation_endpoint(model, stream);
    let stream = if stream { mode } else { StreamMode::No };
    ApiRequest { endpoint, dialect, model: Some(model.to_owned()), stream }
}

/// A path made of configuration and a client's model name.
fn path_and_query(text: String) -> Result<PathAndQuery, Refusal> {
    PathAndQuery::try_from(text).map_err(|_| Refusal::ModelInvalid)
}

/// The part of a client's path behind `/v1`, which is the usual base of an API.
fn below_base(path: &str) -> Option<&str> {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/'))
}

/// The part of a client's path that is appended to a provider's own. A part that could be read as leaving that path is
/// refused.
fn tail(rest: &str) -> Result<&str, Refusal> {
    let leaves = rest.contains(['%', ';', '\\']) || rest.split('/').any(|segment| matches!(segment, "." | ".."));
    if leaves { Err(Refusal::ModelInvalid) } else { Ok(rest) }
}

/// A model name as one or more segments of a URL: a name that could change the rest of the URL (`..`, `?`, `#`) is
/// refused.
fn model_segment(model: Option<&str>) -> Result<&str, Refusal> {
    let model = model.ok_or(Refusal::ModelMissing)?;
    let fits = !model.is_empty()
        && model.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~@:/+".contains(&b))
        && !model.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if fits { Ok(model) } else { Err(Refusal::ModelInvalid) }
}

#[cfg(test)]
mod tests;
