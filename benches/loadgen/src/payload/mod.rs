//! What goes over the wire: requests, replies and event streams of each dialect, all with the same text.
//!
//! Everything is built once at start; the measured path only copies bytes.

mod chat;
mod converse;
pub mod frame;
mod gemini;
mod messages;
mod responses;

use std::str::FromStr;

/// Tokens that every reply reports for its prompt; Tollgate must count exactly these.
pub const PROMPT_TOKENS: u64 = 181;
/// Tokens that every reply reports for its completion.
pub const COMPLETION_TOKENS: u64 = 254;
/// Pieces of text in one stream, each an event of its own.
pub const PIECES: usize = 254;
/// Events that the mock hands to the kernel in one write, unless told otherwise: a provider's front end batches.
pub const EVENTS_PER_WRITE: usize = 4;
/// How a stream of Chat Completions ends; the load generator checks it.
pub const STREAM_END: &[u8; 14] = b"data: [DONE]\n\n";

/// What a chat request and a chat reply aim at, in bytes, in Chat Completions. The other dialects have the same text.
const CHAT_BYTES: usize = 1024;
/// What a long prompt aims at, in bytes, in Chat Completions.
const PROMPT_BYTES: usize = 200 * 1024;
/// What the client asks of the model beside its question.
const SYSTEM: &str = "You are a helpful assistant.";

/// One kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// 1 KB in, 1 KB out.
    Chat,
    /// 200 KB in, 1 KB out.
    Prompt,
    /// 1 KB in, a stream of [`PIECES`] pieces of text out.
    Stream,
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "chat" => Ok(Self::Chat),
            "prompt" => Ok(Self::Prompt),
            "stream" => Ok(Self::Stream),
            other => Err(format!("no scenario {other:?}")),
        }
    }
}

/// The format of requests and replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialectId {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini generateContent, its streams as server-sent events.
    Gemini,
    /// Bedrock Converse, its streams as frames of an AWS event stream.
    Converse,
}

impl DialectId {
    /// Every dialect, with its name on the command line.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Chat, "chat"),
        (Self::Responses, "responses"),
        (Self::Messages, "messages"),
        (Self::Gemini, "gemini"),
        (Self::Converse, "converse"),
    ];

    /// The credential and version headers of a client, as its library sends them.
    const fn headers(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses | Self::Converse => "authorization: Bearer sk-client\r\n",
            Self::Messages => "x-api-key: sk-client\r\nanthropic-version: 2023-06-01\r\n",
            Self::Gemini => "x-goog-api-key: sk-client\r\n",
        }
    }

    /// The JSON body of a request.
    pub fn request_body(self, scenario: Scenario) -> String {
        let question = question(scenario);
        match self {
            Self::Chat => chat::request(scenario, &question),
            Self::Responses => responses::request(scenario, &question),
            Self::Messages => messages::request(scenario, &question),
            Self::Gemini => gemini::request(&question),
            Self::Converse => converse::request(&question),
        }
    }

    /// The JSON body of a buffered reply.
    fn reply_body(self) -> String {
        let text = reply_text();
        match self {
            Self::Chat => chat::reply(&text),
            Self::Responses => responses::reply(&text),
            Self::Messages => messages::reply(&text),
            Self::Gemini => gemini::reply(&text),
            Self::Converse => converse::reply(&text),
        }
    }

    /// The events of one stream as they go over the wire.
    fn events(self) -> Vec<Vec<u8>> {
        let piece = piece();
        match self {
            Self::Chat => chat::events(&piece),
            Self::Responses => responses::events(&piece),
            Self::Messages => messages::events(&piece),
            Self::Gemini => gemini::events(&piece),
            Self::Converse => converse::events(&piece),
        }
    }

    /// Bytes of the reply's body, HTTP framing not counted.
    pub fn reply_length(self, scenario: Scenario) -> usize {
        match scenario {
            Scenario::Stream => self.events().iter().map(Vec::len).sum(),
            Scenario::Chat | Scenario::Prompt => self.reply_body().len(),
        }
    }
}

impl FromStr for DialectId {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(dialect, _)| *dialect).ok_or_else(|| format!("no dialect {name:?}"))
    }
}

/// How the mock cuts a stream into HTTP chunks and writes.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Events handed to the kernel at once.
    pub per_write: usize,
    /// Events inside one HTTP/1.1 chunk.
    pub per_chunk: usize,
}

/// Prose without quotes or backslashes, `bytes` long.
fn prose(bytes: usize) -> String {
    "The quick brown fox jumps over the lazy dog, and the gateway counts what that costs. "
        .chars()
        .cycle()
        .take(bytes)
        .collect()
}

/// What the user says.
fn question(scenario: Scenario) -> String {
    let wanted = if scenario == Scenario::Prompt { PROMPT_BYTES } else { CHAT_BYTES };
    prose(wanted - chat::request(scenario, "").len())
}

/// What a buffered reply says.
fn reply_text() -> String {
    prose(CHAT_BYTES - chat::reply("").len())
}

/// What one event of a stream says.
fn piece() -> String {
    prose(chat::PIECE_BYTES)
}

/// The text that a client must have got in the end.
pub fn answer(scenario: Scenario) -> String {
    match scenario {
        Scenario::Stream => piece().repeat(PIECES),
        Scenario::Chat | Scenario::Prompt => reply_text(),
    }
}

/// A server-sent event with a name.
fn named_event(name: &str, data: &str) -> Vec<u8> {
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

/// A whole request as a client library would send it.
pub fn request(dialect: DialectId, scenario: Scenario, path: &str, host: &str) -> Vec<u8> {
    let body = dialect.request_body(scenario);
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: loadgen/0.1\r\naccept: application/json\r\n\
         {}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        dialect.headers(),
        body.len()
    )
    .into_bytes()
}

/// A provider's two replies to whatever it is asked, ready to be written.
pub struct Replies {
    /// A whole buffered reply, head and body.
    pub buffered: Vec<u8>,
    /// A whole streamed reply, one element a write. The head is in the first write, the end in the last.
    pub stream: Vec<Vec<u8>>,
}

impl Replies {
    /// The replies of a provider that speaks `dialect`.
    pub fn of(dialect: DialectId, batching: &Batching) -> Self {
        let framed = dialect == DialectId::Converse;
        Self { buffered: buffered(&dialect.reply_body()), stream: streamed(&dialect.events(), framed, batching) }
    }

    /// The replies of Bedrock's `InvokeModel` for Claude: Messages, and for streams each event in a frame.
    pub fn invoked(batching: &Batching) -> Self {
        let events = messages::framed_events(&piece());
        Self { buffered: buffered(&DialectId::Messages.reply_body()), stream: streamed(&events, true, batching) }
    }
}

fn buffered(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_benchmark\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn streamed(events: &[Vec<u8>], framed: bool, batching: &Batching) -> Vec<Vec<u8>> {
    let mut writes: Vec<Vec<u8>> = Vec::new();
    for events in events.chunks(batching.per_write.max(1)) {
        let mut write = Vec::new();
        for chunk in events.chunks(batching.per_chunk.max(1)) {
            let data = chunk.concat();
            write.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            write.extend_from_slice(&data);
            write.extend_from_slice(b"\r\n");
        }
        writes.push(write);
    }
    if let Some(first) = writes.first_mut() {
        let kind = if framed { frame::CONTENT_TYPE } else { "text/event-stream" };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncache-control: no-cache\r\n\
             x-request-id: req_benchmark\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        first.splice(0..0, head.into_bytes());
    }
    if let Some(last) = writes.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    writes
}

/// Sizes in bytes and token counts of Chat Completions as one JSON object, for the scripts that check and print them.
pub fn shape() -> String {
    let dialect = DialectId::Chat;
    format!(
        "{{\"chat_request\":{},\"prompt_request\":{},\"chat_reply\":{},\"events\":{},\"stream_reply\":{},\
         \"prompt_tokens\":{PROMPT_TOKENS},\"completion_tokens\":{COMPLETION_TOKENS}}}",
        dialect.request_body(Scenario::Chat).len(),
        dialect.request_body(Scenario::Prompt).len(),
        dialect.reply_length(Scenario::Chat),
        dialect.events().len(),
        dialect.reply_length(Scenario::Stream),
    )
}

#[cfg(test)]
mod tests;
