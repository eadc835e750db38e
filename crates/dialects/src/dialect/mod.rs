//! Wire formats of LLM APIs, one folder a dialect. Nothing here does IO.
//!
//! A [`Dialect`] owns all that is special to its wire format, and [`DIALECTS`] is the list that everything else goes
//! through. The folders have the same files:
//!
//! | file | holds |
//! | --- | --- |
//! | `mod` | the dialect's `impl Dialect`, which leads to the others |
//! | `endpoint` | paths, keys of bodies and headers by which its requests are recognised |
//! | `wire` | types that readers and writers share |
//! | `request`, `content` | read a client's request, and what its messages hold |
//! | `write_request`, `write_content` | write a request for a provider |
//! | `reply`, `stream` | read a provider's reply, whole and as events |
//! | `write_reply`, `write_stream` | write a reply for a client, whole and as events |
//! | `error` | reads and writes errors |
//! | `operations` | reads and writes embeddings, token counts and lists of models |
//! | `usage` | reads token counts and the end of a stream, for replies that are relayed and that are translated |
//!
//! Files beside these hold what one dialect alone has (`citations`, `thinking`, ...).
//!
//! [`Dialect`]: crate::dialect::Dialect
//! [`DIALECTS`]: crate::dialect::DIALECTS

mod blocks;
pub mod chat;
pub mod classify;
pub mod converse;
pub mod endpoint;
pub mod error;
pub mod error_summary;
pub mod events;
mod fields;
pub mod gemini;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod presets;
pub mod messages;
mod model_name;
pub mod models;
pub mod observer;
pub mod operation;
pub mod params;
pub mod quirks;
pub mod responses;
mod schema;
mod sequence;
pub mod translator;
pub mod unsupported;
pub mod usage;
pub mod text;

pub use classify::{ApiRequest, Claim, ClassifyError, ListedPath, RequestHead, StreamMode};
pub use converse::endpoint::BedrockVerb;
pub use endpoint::Endpoint;
pub use error::ErrorClass;
pub use events::{ReadEvents, ReplyHead, WriteEvents};
pub use gemini::endpoint::GeminiVerb;
pub use model_name::ModelName;
pub use models::{ModelFacts, SamplingFacts, Thinking, Vendor};
pub use observer::ReplyObserver;
pub use operation::Operations;
pub use quirks::{Destination, Quirks};
pub use text::TextSlots;
pub use translator::Translator;
pub use unsupported::{ReplyGap, UnsupportedInReply};
pub use usage::{Progress, StreamEnding, Usage};

use std::ops::Range;

use crate::{
    conversation::{Failure, Invalid, Reply, Request, TokenUsage, Unsupported},
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

    /// The dialect that a client's headers name, where they do, whatever the path.
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

/// Whether a client's header belongs to its dialect: it means nothing, or something else, to a provider of another one.
pub fn is_of_one_dialect(name: &http::HeaderName) -> bool {
    let has = |prefix: &&str| name.as_str().starts_with(*prefix);
    DIALECTS.iter().any(|dialect| dialect.header_prefixes().iter().any(has))
        || matches!(*name, http::header::ACCEPT | http::header::USER_AGENT)
}

/// Media that a request names by URL.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is, for errors.
    pub place: String,
    /// The bytes that a file replaces, in the value of the top-level field.
    pub range: Range<usize>,
    /// The URL.
    pub url: String,
}

/// Finds the file of a URL: its type and its base64.
pub type FileOf<'f> = &'f dyn Fn(&str) -> Option<(&'f str, &'f str)>;

/// One wire format: how its requests are recognised, read and written, and the same for replies, streams and errors.
///
/// Its methods do no IO, know no other dialect, and never panic.
pub trait Dialect: Operations {
    /// The dialect's key.
    fn id(&self) -> DialectId;

    /// The dialect's name for logs and messages.
    fn name(&self) -> &'static str;

    /// The API that the dialect belongs to. Dialects of one API share the form of errors and model lists.
    fn api(&self) -> &'static str;

    // === Requests are recognised

    /// The endpoint that the last segments of `path` name, if it is one of this dialect's.
    fn endpoint_from_path(&self, path: &str) -> Option<Endpoint>;

    /// The endpoint that the body's top-level keys show, where the path names none, and how sure that is.
    fn endpoint_from_body(&self, request: &RequestHead<'_>, body: &TopLevel<'_>) -> Option<(Claim, Endpoint)>;

    /// The header that all clients of this dialect send, and no others.
    fn version_header(&self) -> Option<&'static str> {
        None
    }

    /// Prefixes of headers that only this dialect's API knows.
    fn header_prefixes(&self) -> &'static [&'static str];

    /// How sure it is that the client speaks this dialect, by its headers, path and query: for operations that every
    /// dialect has at the same path.
    fn claims_client(&self, _request: &RequestHead<'_>) -> Option<Claim> {
        None
    }

    /// Model and framing of a request to `endpoint`, which is completed by what the request says. `by_path` says
    /// whether the path named it.
    ///
    /// # Errors
    /// When the body's `model` is no string.
    fn classify(
        &self,
        _request: &RequestHead<'_>,
        endpoint: Endpoint,
        _by_path: bool,
        body: Option<&TopLevel<'_>>,
    ) -> Result<(Endpoint, Option<String>, StreamMode), ClassifyError> {
        classify::by_body(endpoint, body)
    }

    /// The endpoint at which a conversation with `model` is held, and how its reply is framed.
    fn conversation_endpoint(&self, model: &str, stream: bool) -> (Endpoint, StreamMode);

    // === Requests

    /// Reads a request.
    ///
    /// # Errors
    /// When a field that must be understood can't be; the error names it in this dialect's words. Fields that the
    /// conversation has no place for are no errors: they are named in [`Request::dropped`].
    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid>;

    /// Appends a request body for `to`. What the target can't take is left out and named in `dropped`.
    ///
    /// # Errors
    /// When the remaining request would have another meaning.
    fn write_request(
        &self,
        request: &Request<'_>,
        to: &Destination<'_>,
        dropped: &mut Unsupported,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid>;

    /// The name that the dialect's clients know messages by, where an error names the conversation's `messages`.
    fn messages_field(&self) -> &'static str {
        "messages"
    }

    /// Whether an answer may only have the schema of an object, so that other schemas are put in an envelope.
    fn wants_object_schemas(&self) -> bool {
        true
    }

    /// The new value of `stream_options` that makes a stream of this request end with its usage; `None` where it does
    /// without.
    fn usage_option(&self, _request: &ApiRequest, _body: &TopLevel<'_>) -> Option<Vec<u8>> {
        None
    }

    /// Whether the client requested an event with usage, where that is a choice.
    fn requests_usage(&self, _body: &TopLevel<'_>) -> bool {
        false
    }

    /// Whether the body names media by URL, which some servers do not fetch.
    fn names_urls(&self, _body: &TopLevel<'_>) -> bool {
        false
    }

    /// The media that the body names by URL, in order. Of interest where [`names_urls`](Self::names_urls) is true.
    fn links(&self, _body: &TopLevel<'_>) -> Vec<Link> {
        Vec::new()
    }

    /// The top-level field that has the `links`, and its value with the files in their place. A link without a file
    /// stays.
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

    /// Reads a buffered reply with a status of 2xx. Lenient: unknown fields are ignored.
    ///
    /// # Errors
    /// The provider's error when the body holds one in spite of its status, or an error of class `BadGateway` when the
    /// body is no reply of this dialect at all.
    fn read_reply<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, Failure<'a>>;

    /// A buffered reply that [`read_reply`](Self::read_reply) can't read because of fields of unexpected types:
    /// without them, and their names. `None` if that does not help.
    fn repair_reply(&self, body: &[u8]) -> Option<(String, Unsupported)>;

    /// The error to answer with instead of a reply, where this dialect has no word for an answer that failed.
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

    /// Appends the body of an error, and gives the status that this dialect has for it. `request_id` is written by
    /// dialects that have a field for it.
    fn write_error(&self, failure: &Failure<'_>, request_id: Option<&str>, out: &mut Vec<u8>) -> u16;

    /// Appends an error as the last event of a stream. `elements` is how many elements of a JSON array have passed.
    fn write_error_event(&self, failure: &Failure<'_>, _mode: StreamMode, _elements: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        self.write_error(failure, None, out);
        out.extend_from_slice(b"\n\n");
    }

    /// The header that says an error's type, and its value, where the dialect has one.
    fn error_type_header(&self, _class: ErrorClass) -> Option<(&'static str, &'static str)> {
        None
    }

    /// The body of an error with the type that only its header says, where the dialect has such a header.
    fn with_error_type(&self, _headers: &http::HeaderMap, _body: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// The header in which replies carry their id.
    fn request_id_header(&self) -> &'static str {
        "x-request-id"
    }

    // === Usage and end

    /// Top-level keys of a buffered reply that hold the usage and the model's name.
    fn reply_keys(&self) -> &'static [&'static str] {
        &["usage", "model"]
    }

    /// Reads the value of a usage object. `None` for `null` and for anything that is no usage.
    fn read_usage(&self, raw: &[u8]) -> Option<TokenUsage>;

    /// Reads what one event of a stream says about usage, model and end. `name` is the event's, in streams of frames.
    /// `None` for events that are none of this dialect's.
    fn read_progress(&self, name: Option<&[u8]>, data: &[u8]) -> Option<Progress>;

    /// Whether usage comes in parts, in several events: else the last one that has any counts.
    fn has_partial_usage(&self) -> bool {
        false
    }

    /// What replies of this dialect have no place for.
    fn reply_gaps(&self) -> &'static [ReplyGap];

    /// Where the text of its requests, replies and events is.
    fn text_slots(&self) -> &'static TextSlots;
}
