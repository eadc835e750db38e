//! What a dialect must be able to do to be translated: read and write requests, replies, streams and errors.

use serde::de::IgnoredAny;

use super::{
    ModelFacts, StreamMode,
    fields::{self, Repair},
};
use crate::{
    conversation::{ErrorClass, Event, Failure, Invalid, Reply, Request, Unsupported},
    stream::TopLevel,
};

/// The dialects in which conversations are held, and which are translated into each other.
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

    /// The dialect's name for logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "OpenAI Chat Completions",
            Self::Responses => "OpenAI Responses",
            Self::Messages => "Anthropic Messages",
            Self::Gemini => "Gemini generateContent",
            Self::Converse => "Bedrock Converse",
        }
    }
}

/// One dialect's decoders and encoders. They do no IO, know no other dialect, and never panic.
pub trait Dialect: Sync {
    /// Reads a request.
    ///
    /// # Errors
    /// When a field that must be understood can't be; the error names it in this dialect's words. Fields that the
    /// conversation has no place for are no errors: they are named in [`Request::dropped`].
    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid>;

    /// Appends a request body for `to`. What the target can't take is left out and named in `dropped`.
    ///
    /// # Errors
    /// When what remains would not be the question that was asked.
    fn write_request(
        &self,
        request: &Request<'_>,
        to: &Destination<'_>,
        dropped: &mut Unsupported,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid>;

    /// Reads a reply that came in one piece with a status of 2xx. Lenient: what is not known is passed over.
    ///
    /// # Errors
    /// The provider's error when the body holds one in spite of its status, or an error of class `BadGateway` when the
    /// body is no reply of this dialect at all.
    fn read_reply<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, Failure<'a>>;

    /// A reply in one piece that [`read_reply`](Self::read_reply) can't read for members of types that nobody expected: without them, and
    /// their names. `None` if that does not help.
    fn repair_reply(&self, body: &[u8]) -> Option<(String, Unsupported)>;

    /// The error to answer with instead of a reply, where this dialect has no word for an answer that failed.
    fn failure_of(&self, _reply: &Reply<'_>) -> Option<Failure<'static>> {
        None
    }

    /// Appends a reply in one piece.
    fn write_reply(&self, reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>);

    /// A decoder for one stream.
    fn read_events(&self) -> Box<dyn ReadEvents>;

    /// An encoder for one stream.
    fn write_events(&self, head: ReplyHead) -> Box<dyn WriteEvents>;

    /// Reads the body of a reply whose status is an error. Bodies of any form are read as well as they can be: nested,
    /// flat, in an array, text, HTML, empty.
    fn read_error<'a>(&self, status: u16, body: &'a [u8]) -> Failure<'a>;

    /// Appends the body of an error, and gives the status that this dialect has for it.
    fn write_error(&self, failure: &Failure<'_>, request_id: &str, out: &mut Vec<u8>) -> u16;
}

/// Reads one stream, event by event.
pub trait ReadEvents: Send {
    /// Reads one event: the `data` of a server-sent event, or the payload of an event-stream frame, with its name
    /// (`event:`, `:event-type`, `:exception-type`). Lends what it says to `sink`, in order. Events that are not known say
    /// nothing; one that is no JSON ends the stream with an error (`unreadable`). `data` is UTF-8.
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn FnMut(Event<'_>));

    /// The provider's stream ended. Says what was held back: for dialects without a mark of the end, [`Event::End`] if
    /// the answer was complete; nothing if it was cut.
    fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>));
}

/// The end of a stream whose event can't be read: what was in it is lost, so the rest is no whole answer. `None` for what is
/// JSON but not what was expected, and for events that are none of the dialect's: empty, `[DONE]`, named and no object.
fn unreadable(name: Option<&[u8]>, data: &[u8]) -> Option<Failure<'static>> {
    let data = data.trim_ascii();
    let foreign = name.is_some() && !data.starts_with(b"{");
    if data.is_empty() || foreign || data.starts_with(b"[DONE]") {
        return None;
    }
    if serde_json::from_slice::<IgnoredAny>(data).is_ok() {
        return None;
    }
    Some(cut("the upstream's stream can't be read".into()))
}

/// The end of a stream that can't be told any further.
pub(super) fn cut(message: String) -> Failure<'static> {
    Failure {
        status: 502,
        class: ErrorClass::BadGateway,
        code: None,
        message: message.into(),
        param: None,
        retry_after: None,
    }
}

/// What to do about an event that can't be read: to read it without members of types that nobody expected, whose names are beside it;
/// or to end the stream, if one of them is `vital` or it is no JSON. `None` for events that are none of the dialect's.
pub(super) fn repaired(
    name: Option<&[u8]>,
    data: &[u8],
    vital: &[&str],
    wrong: &dyn Fn(&str) -> Option<fields::Place>,
) -> Option<Result<(String, Unsupported), Failure<'static>>> {
    let text = std::str::from_utf8(data).ok().filter(|text| text.trim_start().starts_with('{'));
    match text.and_then(|text| fields::repair(text, vital, wrong)) {
        Some(Repair::Mended(text, names)) => Some(Ok((text, names))),
        Some(Repair::Vital(name)) => {
            Some(Err(cut(format!("the upstream's stream can't be read: {name} is of another type"))))
        }
        None => unreadable(name, data).map(Err),
    }
}

/// Tells of what an event was read without.
pub(super) fn tell_lost(names: &Unsupported, sink: &mut dyn FnMut(Event<'_>)) {
    for name in names.names() {
        sink(Event::Unsupported(name.clone()));
    }
}

/// Writes one stream.
pub trait WriteEvents: Send {
    /// Appends what `event` is in this dialect, framed for the wire: nothing, one event or several. After
    /// [`Event::Error`] or [`Event::End`] the stream is complete, and nothing more is written.
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>);
}

/// What a reply says about itself where the provider's reply does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyHead {
    /// An id for the reply, unique: letters and digits.
    pub id: String,
    /// The model that was asked.
    pub model: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Chat Completions: the client asked for a chunk with usage.
    pub include_usage: bool,
    /// How the stream is framed.
    pub mode: StreamMode,
    /// Tokens of the prompt, about: for dialects that must say a number before the provider has counted.
    pub estimated_input: u64,
}

/// Who will read a request.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The model, as the provider names it.
    pub model: &'a str,
    /// What the model takes.
    pub facts: ModelFacts,
    /// Whose server reads it.
    pub server: Server,
}

/// Servers that speak one dialect with different limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// `api.openai.com`.
    OpenAi,
    /// Azure OpenAI.
    Azure,
    /// Mistral: ids of nine letters and digits, `random_seed`, refuses what it does not know.
    Mistral,
    /// `DeepSeek`: wants its `reasoning_content` back.
    DeepSeek,
    /// Any other server that speaks OpenAI's API (vLLM, Ollama, ...): knows `system` and `max_tokens` only.
    Compatible,
    /// `api.anthropic.com`.
    Anthropic,
    /// Claude on Vertex AI: the model is in the URL, `anthropic_version` in the body, media are inline.
    VertexClaude,
    /// Gemini on AI Studio.
    AiStudio,
    /// Gemini on Vertex AI.
    Vertex,
    /// Amazon Bedrock's Converse.
    Bedrock,
}

impl Server {
    /// Whether the server fetches an image or document from an `https:` URL itself.
    pub const fn fetches_urls(self) -> bool {
        matches!(self, Self::OpenAi | Self::Azure | Self::Mistral | Self::DeepSeek | Self::Anthropic)
    }

    /// Whether the server can be given this URL. Anthropic takes no `http:`.
    pub fn fetches(self, url: &str) -> bool {
        self.fetches_urls() && (self != Self::Anthropic || url.starts_with("https:"))
    }
}
