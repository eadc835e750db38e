//! Wire formats of LLM APIs, one folder a dialect. Nothing here does IO.
//!
//! A [`Dialect`] contains all code that is specific to its wire format, and all other code goes through the list
//! [`DIALECTS`]. The folders have the same files:
//!
//! | file | holds |
//! | --- | --- |
//! | `mod` | the dialect's `impl Dialect`, which leads to the others |
//! | `endpoint` | paths, keys of bodies and headers by which its requests are recognised |
//! | `wire` | types that readers and writers share |
//! | `request`, `content` | read a client's request, and the content of its messages |
//! | `write_request`, `write_content` | write a request for a provider |
//! | `reply`, `stream` | read a provider's reply, whole and as events |
//! | `write_reply`, `write_stream` | write a reply for a client, whole and as events |
//! | `error` | reads and writes errors |
//! | `operations` | reads and writes embeddings, rankings, token counts and lists of models |
//! | `usage` | reads token counts and the end of a stream, for replies that are relayed and that are translated |
//!
//! Other files are specific to one dialect (`citations`, `thinking`, ...).
//!
//! [`Dialect`]: crate::dialect::Dialect
//! [`DIALECTS`]: crate::dialect::DIALECTS

pub mod adapt;
pub mod beginning;
mod blocks;
pub mod chat;
pub mod classify;
pub mod converse;
pub mod endpoint;
pub mod enrichment;
pub mod error;
pub mod error_summary;
pub mod events;
mod fields;
mod foreign;
pub mod gemini;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod presets;
pub mod messages;
mod model_name;
mod foreign_turns;
mod hosted;
mod instructed;
mod prefill;
pub mod models;
pub mod observer;
pub mod operation;
pub mod params;
pub mod quirks;
pub mod responses;
pub mod rename;
mod schema;
mod sequence;
pub mod translator;
pub mod unsupported;
pub mod usage;
pub mod text;
pub mod wrapped;

use adapt::{Adapted, ModelField};
pub use classify::{ApiRequest, Claim, ClassifyError, ListedPath, RequestHead, StreamMode};
pub use converse::endpoint::BedrockVerb;
pub use endpoint::{Endpoint, RerankApi, TextPlaces};
use enrichment::PromptPlaces;
pub use error::ErrorClass;
pub use events::{ReadEvents, ReplyHead, WriteEvents};
pub use gemini::endpoint::GeminiVerb;
pub use model_name::ModelName;
pub use models::{Efforts, ModelFacts, ModelTable, OpenAiApi, SamplingFacts, TableError, Thinking};
pub use observer::ReplyObserver;
pub use operation::Operations;
pub use quirks::{Destination, Quirks};
pub use text::TextSlots;
pub use translator::Translator;
pub use unsupported::{ReplyGap, UnsupportedInReply};
pub use usage::{Progress, StreamEnding, Usage};
use wrapped::InnerRequest;

use std::ops::Range;

use crate::{
    conversation::{Failure, HostedKind, Invalid, Reply, Request, TokenUsage, Unsupported},
    stream::TopLevel,
};

/// Every dialect, in the order of the documentation. A new one is a folder, a line here, and its [`DialectId`].
pub const DIALECTS: [&dyn Dialect; 5] =
    [&chat::Chat, &responses::Responses, &messages::Messages, &gemini::Gemini, &converse::Converse];

/// The key of a dialect in [`DIALECTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialectId {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini `generateContent`.
    Gemini,
    /// Bedrock Converse.
    Converse,
}

impl DialectId {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Chat, Self::Responses, Self::Messages, Self::Gemini, Self::Converse];

    /// The dialect itself.
    pub fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Chat => &chat::Chat,
            Self::Responses => &responses::Responses,
            Self::Messages => &messages::Messages,
            Self::Gemini => &gemini::Gemini,
            Self::Converse => &converse::Converse,
        }
    }

    /// The dialect's name for logs and messages.
    pub fn as_str(self) -> &'static str {
        self.dialect().name()
    }

    /// The dialect that a client's headers name, if they do, independent of the path.
    pub fn of_headers(headers: &http::HeaderMap) -> Option<Self> {
        DIALECTS
            .iter()
            .find(|dialect| dialect.version_header().is_some_and(|name| headers.contains_key(name)))
            .map(|d| d.id())
    }

    /// Whether both dialects belong to the same API: see [`Dialect::api`].
    pub fn shares_api(self, other: Self) -> bool {
        self.dialect().api() == other.dialect().api()
    }
}

/// Whether a client's header belongs to its dialect: to a provider of another one it has no meaning, or another one.
pub fn is_of_one_dialect(name: &http::HeaderName) -> bool {
    let has = |prefix: &&str| name.as_str().starts_with(*prefix);
    DIALECTS.iter().any(|dialect| dialect.header_prefixes().iter().any(has))
        || matches!(*name, http::header::ACCEPT | http::header::USER_AGENT)
}

/// The name of a file that is stored elsewhere, in reports of writers.
const FILE_ID: &str = "file_id";
/// The reason why a reference to data at another vendor is refused.
const OTHER_STORE: &str = "it is stored at another vendor, and this route's provider can't read it: send its content";

/// Media that a request names by URL.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// The field with the URL, for errors.
    pub place: String,
    /// The range in the value of the top-level field that the file replaces.
    pub range: Range<usize>,
    /// The URL.
    pub url: String,
}

/// Returns the file of a URL: its media type and its base64.
pub type FileOf<'f> = &'f dyn Fn(&str) -> Option<(&'f str, &'f str)>;

/// Top-level fields with their new values as JSON text, or `None` to remove them.
pub type Edits = Vec<(&'static str, Option<Vec<u8>>)>;

/// One wire format: how its requests, replies, streams and errors are recognised, read and written.
///
/// Its methods do no IO, do not depend on another dialect, and never panic.
pub trait Dialect: Operations {
    /// The dialect's key.
    fn id(&self) -> DialectId;

    /// The dialect's name for logs and messages.
    fn name(&self) -> &'static str;

    /// The API that the dialect belongs to. Dialects of one API share the form of errors and model lists.
    fn api(&self) -> &'static str;

    // === Recognising requests

    /// The endpoint that the last segments of `path` name, if it is one of this dialect's.
    fn endpoint_from_path(&self, path: &str) -> Option<Endpoint>;

    /// The endpoint that the body's top-level keys show, where the path names none, and how certain that is.
    fn endpoint_from_body(&self, request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)>;

    /// The header that all clients of this dialect send, and no others.
    fn version_header(&self) -> Option<&'static str> {
        None
    }

    /// Prefixes of headers that only this dialect's API has.
    fn header_prefixes(&self) -> &'static [&'static str];

    /// How certain it is that the client uses this dialect, by its headers, path and query: for operations that every
    /// dialect has at the same path.
    fn claims_client(&self, _request: &RequestHead<'_>) -> Option<Claim> {
        None
    }

    /// The operation of a request to `endpoint`, with its model and framing. `by_path` is true if the path named the
    /// endpoint.
    ///
    /// # Errors
    /// When the body's `model` is not a string.
    fn classify(
        &self,
        _request: &RequestHead<'_>,
        endpoint: Endpoint,
        _by_path: bool,
        body: Option<&TopLevel<'_>>,
    ) -> Result<(Endpoint, Option<String>, StreamMode), ClassifyError> {
        classify::by_body(endpoint, body)
    }

    /// The endpoint for a conversation with `model`, and the framing of its reply.
    fn conversation_endpoint(&self, model: &str, stream: bool) -> (Endpoint, StreamMode);

    // === Requests

    /// Reads a request.
    ///
    /// # Errors
    /// When a field that is required for the meaning can't be read; the error names it as this dialect spells it.
    /// Fields that the conversation does not support are not errors: they are reported in [`Request::dropped`].
    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid>;

    /// Appends a request body for `to`. Fields that the target does not support are left out and reported in `dropped`.
    ///
    /// # Errors
    /// When the remaining request would have another meaning.
    fn write_request(
        &self,
        request: &Request<'_>,
        to: &Destination<'_>,
        dropped: &mut Unsupported,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        request.report_hosted(|kind| self.runs(kind, request, to), dropped)?;
        self.write_conversation(request, to, dropped, out)?;
        // Without the file the answer would be about something else.
        if dropped.names().iter().any(|name| name == FILE_ID) {
            return Err(Invalid::new(FILE_ID, OTHER_STORE));
        }
        Ok(())
    }

    /// Writes a request as [`write_request`](Self::write_request) does, except for the tools that the target runs.
    ///
    /// # Errors
    /// As there.
    fn write_conversation(
        &self,
        request: &Request<'_>,
        to: &Destination<'_>,
        dropped: &mut Unsupported,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid>;

    /// Whether a server of this dialect runs a tool of this kind itself, beside what else `request` has.
    fn runs(&self, _kind: HostedKind, _request: &Request<'_>, _to: &Destination<'_>) -> bool {
        false
    }

    /// Whether the assistant's messages in a history may have media, as a model has made them.
    fn answers_in_media(&self) -> bool {
        false
    }

    /// Whether the body may offer a tool that the client's vendor runs. It is true for some bodies that only mention
    /// one.
    fn offers_hosted(&self, _body: &TopLevel<'_>) -> bool {
        false
    }

    /// The changes to a body that otherwise stays as the client wrote it, where the server of `to` refuses what this
    /// dialect allows: top-level fields with their new values, or `None` to remove them. Lost fields are added to
    /// `dropped`.
    fn fit(&self, _body: &TopLevel<'_>, _to: &Destination<'_>, _dropped: &mut Unsupported) -> Edits {
        Edits::new()
    }

    /// The request of another dialect that a request of this one has as its body.
    fn unwrap_request(&self, _request: &ApiRequest, _body: &TopLevel<'_>) -> Option<InnerRequest> {
        None
    }

    /// The fields of this dialect that such a request has in its headers, by the names that reports have for them. A
    /// server that has this dialect, but not the client's endpoint, gets the headers.
    fn fields_in_headers(&self, _headers: &http::HeaderMap) -> Vec<&'static str> {
        Vec::new()
    }

    /// Appends an event of the reply to such a request in this dialect's framing; `last` has the counts of the whole
    /// reply, if it is the last event.
    fn wrap_event(&self, _event: &[u8], _last: Option<&TokenUsage>, _out: &mut Vec<u8>) {}

    /// The top-level fields that not every model takes.
    fn model_fields(&self) -> &'static [ModelField];

    /// The field with the choice among tools.
    fn choice_field(&self) -> ModelField {
        ("tool_choice", &[])
    }

    /// Changes what else a model refuses that replaces the client's: fields that the conversation does not have, and
    /// those that need a setting that is gone. `written` is the request as it is written for that model.
    fn fit_model(&self, _body: &TopLevel<'_>, _written: &TopLevel<'_>, _to: &Destination<'_>, _adapted: &mut Adapted) {}

    /// Whether its clients compare the model in a reply with that of their request. Claude Code discards the
    /// thinking of another model.
    fn compares_models(&self) -> bool {
        false
    }

    /// The clients' name for the field with the messages, for errors that name the conversation's `messages`.
    fn messages_field(&self) -> &'static str {
        "messages"
    }

    /// Whether the schema of an answer must describe an object, so that other schemas are put in an envelope.
    fn wants_object_schemas(&self) -> bool {
        true
    }

    /// The new value of `stream_options` that makes a stream of this request end with its usage; `None` if it does so
    /// anyway.
    fn usage_option(&self, _request: &ApiRequest, _body: &TopLevel<'_>) -> Option<Vec<u8>> {
        None
    }

    /// Whether the client requested an event with usage, in dialects that let it choose.
    fn requests_usage(&self, _body: &TopLevel<'_>) -> bool {
        false
    }

    /// Whether the body offers tools.
    fn offers_tools(&self, body: &TopLevel<'_>) -> bool {
        body.contains("tools")
    }

    /// Whether the body names media by URL, which some servers do not fetch.
    fn names_urls(&self, _body: &TopLevel<'_>) -> bool {
        false
    }

    /// The media that the body names by URL, in order. Of interest where [`names_urls`](Self::names_urls) is true.
    fn links(&self, _body: &TopLevel<'_>) -> Vec<Link> {
        Vec::new()
    }

    /// The top-level field that has the `links`, and its value with the files in their place. A link without a file is
    /// kept.
    ///
    /// # Errors
    /// The link whose file is of a type that this dialect does not support.
    fn write_linked<'l>(
        &self,
        _body: &TopLevel<'_>,
        _links: &'l [Link],
        _file: FileOf<'_>,
    ) -> Result<Option<(&'static str, Vec<u8>)>, &'l Link> {
        Ok(None)
    }

    // === Replies

    /// Reads a buffered reply with a status of 2xx. Unknown fields are ignored.
    ///
    /// # Errors
    /// The provider's error when the body holds one in spite of its status, or an error of class `BadGateway` when the
    /// body is not a reply of this dialect at all.
    fn read_reply<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, Failure<'a>>;

    /// Reads a buffered reply that [`read_reply`](Self::read_reply) refuses because of fields of unexpected types:
    /// returns the body without them, and their names. `None` if that does not help.
    fn repair_reply(&self, body: &[u8]) -> Option<(String, Unsupported)>;

    /// The error to reply with instead, where this dialect can't express an answer that failed.
    fn failure_of(&self, _reply: &Reply<'_>) -> Option<Failure<'static>> {
        None
    }

    /// Appends a buffered reply.
    fn write_reply(&self, reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>);

    /// A decoder for one stream.
    fn read_events(&self) -> Box<dyn ReadEvents>;

    /// An encoder for one stream.
    fn write_events(&self, head: ReplyHead) -> Box<dyn WriteEvents>;

    /// Reads the body of a reply whose status is an error. Bodies of any form are read as well as they can be: nested,
    /// flat, in an array, text, HTML, empty.
    fn read_error<'a>(&self, status: u16, body: &'a [u8]) -> Failure<'a>;

    /// Appends the body of an error, and returns the status that this dialect uses for it. Dialects that have a field
    /// for `request_id` write it.
    fn write_error(&self, failure: &Failure<'_>, request_id: Option<&str>, out: &mut Vec<u8>) -> u16;

    /// Appends an error as the last event of a stream. `elements` is how many elements of a JSON array have passed.
    fn write_error_event(&self, failure: &Failure<'_>, _mode: StreamMode, _elements: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        self.write_error(failure, None, out);
        out.extend_from_slice(b"\n\n");
    }

    /// The header that states an error's type, and its value, if the dialect has one.
    fn error_type_header(&self, _class: ErrorClass) -> Option<(&'static str, &'static str)> {
        None
    }

    /// The body of an error with the type that only its header states, if the dialect has such a header.
    fn with_error_type(&self, _headers: &http::HeaderMap, _body: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// The header in which replies carry their id.
    fn request_id_header(&self) -> &'static str {
        "x-request-id"
    }

    // === Usage and end

    /// Top-level keys of a buffered reply that hold the usage, the model's name, what is
    /// [billed](Self::read_billed), and an error in place of an answer.
    fn reply_keys(&self) -> &'static [&'static str; 4] {
        // `meta` is Cohere's.
        &["usage", "model", "meta", "error"]
    }

    /// Reads the value of a usage object. `None` for `null` and for anything else that is not one.
    fn read_usage(&self, raw: &[u8]) -> Option<TokenUsage>;

    /// Reads the value of the object with what a provider bills, where that is not in the usage object.
    fn read_billed(&self, _raw: &[u8]) -> Option<Usage> {
        None
    }

    /// Reads usage, model and end from one event of a stream. `name` is the event's, in streams of frames. `None` for
    /// events that do not belong to this dialect.
    fn read_progress(&self, name: Option<&[u8]>, data: &[u8]) -> Option<Progress>;

    /// Whether usage comes in parts, in several events; otherwise the last event that has any counts is complete.
    fn has_partial_usage(&self) -> bool {
        false
    }

    /// The parts of a reply that this dialect can't express.
    fn reply_gaps(&self) -> &'static [ReplyGap];

    // === Text

    /// Whether a body's field of this name is the one that the dialect's documentation calls `field`.
    fn is_field(&self, name: &str, field: &str) -> bool {
        name == field
    }

    /// The fields of its requests that a gateway's own messages are added to.
    fn prompt_places(&self) -> &'static PromptPlaces;

    /// The fields of its requests, replies and events that hold text.
    fn text_slots(&self) -> &'static TextSlots;
}
