//! Writes the messages of a request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use smallvec::SmallVec;

use super::{
    reasoning::{write_details, write_encrypted},
    steps::Steps,
};
use crate::{
    conversation::{
        Call, Content, Invalid, Media, MediaKind, Message, Part, Role, Signature, SignatureOrigin, Source, Text,
        ToolResult, Unsupported, is_text, safe_id,
    },
    dialect::{
        Destination,
        quirks::{CallIds, ChatMedia, ReasoningContent},
    },
    stream::json::{ArrayWriter, ObjectWriter},
};

/// The assistant's message between a tool's result and the user's, for servers that require one.
pub(super) const ACKNOWLEDGED: &str = "ok";
/// The content of a tool message whose result is entirely in the user message after it.
const FOLLOWS: &str = "(see the next user message)";

/// A piece of `content`.
enum Piece<'p> {
    Text(Text<'p>),
    Media(&'p Media<'p>),
}

type Pieces<'p> = SmallVec<[Piece<'p>; 2]>;

/// A list of messages that is being written.
pub(super) struct Messages<'o> {
    list: ArrayWriter<'o>,
    to: &'o Destination<'o>,
    dropped: &'o mut Unsupported,
    /// Whether the last message is a tool's.
    after_tool: bool,
    /// Whether any of the messages calls a tool.
    called: bool,
}

impl<'o> Messages<'o> {
    /// Begins to write into `list`.
    pub fn begin(list: ArrayWriter<'o>, to: &'o Destination<'o>, dropped: &'o mut Unsupported) -> Self {
        Self { list, to, dropped, after_tool: false, called: false }
    }

    /// Writes all messages and ends the list. `ours` is an instruction of the gateway, which precedes the client's.
    ///
    /// # Errors
    /// When none of them can be written.
    pub fn write(mut self, messages: &[Message<'_>], ours: Option<&str>) -> Result<(), Invalid> {
        self.called = messages.iter().any(|message| calls(&message.parts).next().is_some());
        let joined = !self.to.quirks.later_instructions;
        if joined {
            self.instructions(messages, ours);
        } else if let Some(ours) = ours {
            self.list.object().with("role", "system").with("content", ours);
        }
        let mut rest = messages;
        while let Some(first) = rest.first() {
            if first.role == Role::Assistant {
                rest = rest.get(1..).unwrap_or_default();
                let last = rest.iter().all(|message| joined && message.role == Role::System);
                self.assistant(&first.parts, last);
                continue;
            }
            // Results must directly follow their calls, before all other messages up to the next answer.
            let others = rest.iter().take_while(|message| message.role != Role::Assistant).count();
            let (group, after) = rest.split_at(others);
            self.others(group, joined);
            rest = after;
        }
        if self.list.is_empty() {
            return Err(Invalid::new("messages", "nothing is left of them that the provider takes"));
        }
        self.list.end();
        Ok(())
    }

    /// Writes all instructions as the first message.
    fn instructions(&mut self, messages: &[Message<'_>], ours: Option<&str>) {
        let mut pieces: Pieces<'_> = ours.map(|text| Piece::Text(text.into())).into_iter().collect();
        for message in messages.iter().filter(|message| message.role == Role::System) {
            pieces.extend(self.pieces(&message.parts, false));
        }
        let several = pieces.len() > 1;
        pieces.retain(|piece| !several || !matches!(piece, Piece::Text(text) if text.is_blank()));
        if !pieces.is_empty() {
            self.message("system", &pieces);
        }
    }

    /// Writes the messages between two answers: those of the user, and instructions unless they are `joined`.
    fn others(&mut self, group: &[Message<'_>], joined: bool) {
        let parts = group.iter().flat_map(|message| &message.parts);
        let mut attached = Pieces::new();
        for part in parts {
            if let Content::Result(result) = &part.content {
                self.result(result, &mut attached);
                self.dropped.add_if(part.cache.is_some(), "cache_control");
            }
        }
        if !attached.is_empty() {
            self.message("user", &attached);
        }
        for message in group {
            if message.role == Role::System {
                if !joined {
                    self.speak("system", &message.parts);
                }
                continue;
            }
            let only_results = message.parts.iter().all(|part| matches!(part.content, Content::Result(_)));
            if !only_results || message.parts.is_empty() {
                self.speak("user", &message.parts);
            }
        }
    }

    /// Writes a result. Its media, which a tool's message can't contain, are added to `attached`.
    fn result<'p>(&mut self, result: &'p ToolResult<'_>, attached: &mut Pieces<'p>) {
        self.dropped.add_if(result.failed, "is_error");
        let (mut texts, mut media) = (Pieces::new(), Pieces::new());
        for piece in self.pieces(&result.parts, true) {
            if matches!(piece, Piece::Text(_)) { texts.push(piece) } else { media.push(piece) }
        }
        let mut message = self.list.object().with("role", "tool");
        message.field("tool_call_id", &*fit_id(&result.id.decode(), self.to.quirks.chat.call_ids));
        if texts.is_empty() {
            message.field("content", if media.is_empty() { "" } else { FOLLOWS });
        } else {
            join(message.key("content"), &texts, "\\n\\n");
        }
        message.end();
        self.after_tool = true;
        if !media.is_empty() {
            let head = format!("From the result of the tool call {}:", result.id.decode());
            attached.push(Piece::Text(head.into()));
            attached.extend(media);
        }
    }

    /// Writes a message of the user or the system.
    fn speak(&mut self, role: &'static str, parts: &[Part<'_>]) {
        let pieces = self.pieces(parts, role == "user");
        // A message that the client sent without content is kept.
        if !pieces.is_empty() || parts.is_empty() {
            self.message(role, &pieces);
        }
    }

    fn message(&mut self, role: &'static str, pieces: &Pieces<'_>) {
        if std::mem::take(&mut self.after_tool) && !self.to.quirks.chat.user_after_tool {
            self.list.object().with("role", "assistant").with("content", ACKNOWLEDGED);
        }
        let mut message = self.list.object().with("role", role);
        let plain = pieces.iter().all(|piece| matches!(piece, Piece::Text(_)));
        if plain && (pieces.len() < 2 || !self.to.quirks.chat.text_lists) {
            join(message.key("content"), pieces, "\\n\\n");
        } else {
            let mut list = message.array("content");
            for piece in pieces {
                let mut part = list.object();
                match piece {
                    Piece::Text(text) => {
                        part.field("type", "text");
                        text.write(part.key("text"));
                    }
                    Piece::Media(media) => write_media(media, self.to.quirks.chat.media, &mut part),
                }
            }
        }
    }

    /// The pieces that a message's content can contain. The others are reported.
    fn pieces<'p>(&mut self, parts: &'p [Part<'_>], media: bool) -> Pieces<'p> {
        let mut pieces = Pieces::new();
        for part in parts {
            self.dropped.add_if(part.cache.is_some() && !matches!(part.content, Content::Result(_)), "cache_control");
            match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => pieces.push(Piece::Text(text.reborrow())),
                Content::Media(found) => match (text_of(found), self.refused(found, media)) {
                    (Some(text), _) => pieces.push(Piece::Text(text)),
                    (None, None) => pieces.push(Piece::Media(found)),
                    (None, Some(name)) => self.dropped.add(name),
                },
                // The assistant's are written elsewhere, and other roles do not have them.
                Content::Thinking { .. }
                | Content::Redacted(_)
                | Content::Call(_)
                | Content::Result(_)
                | Content::Hosted(_) => {}
            }
        }
        pieces
    }

    /// The reason why `media` can't be sent, if there is one.
    fn refused(&self, media: &Media<'_>, here: bool) -> Option<&'static str> {
        let quirks = self.to.quirks;
        let name = media.kind.as_str();
        let file_id = matches!(media.source, Source::File(_));
        let takes = here
            && quirks.chat.media != ChatMedia::Unsupported
            && match (media.kind, &media.source) {
                (MediaKind::Image | MediaKind::Document, Source::Data { .. }) => true,
                (MediaKind::Image, Source::Url { url, .. }) => is_web(url),
                (MediaKind::Document, Source::Url { url, .. }) => quirks.chat.media == ChatMedia::Urls && is_web(url),
                // Only an id that OpenAI has assigned can be one of its files.
                (MediaKind::Document, Source::File(id)) => quirks.stored_files && id.decode().starts_with("file-"),
                (MediaKind::Audio, Source::Data { mime, .. }) => audio_format(mime).is_some(),
                _ => false,
            };
        (!takes).then_some(if file_id { "file_id" } else { name })
    }

    fn assistant(&mut self, parts: &[Part<'_>], continued: bool) {
        let calls = || calls(parts);
        let thoughts = self.thoughts(parts, calls().next().is_some());
        let refusal = parts.iter().find_map(|part| match &part.content {
            Content::Refusal(text) if self.to.quirks.chat.refusals => Some(text),
            _ => None,
        });
        let mut texts = Pieces::new();
        for part in parts {
            match &part.content {
                Content::Thinking { .. } | Content::Redacted(_) => {
                    self.dropped.add_if(part.cache.is_some(), "cache_control");
                }
                Content::Refusal(_) if refusal.is_some() => {}
                _ => texts.extend(self.pieces(std::slice::from_ref(part), false)),
            }
        }
        let details = self.to.quirks.chat.reasoning_details && parts.iter().any(|part| is_signed(&part.content));
        if texts.is_empty() && refusal.is_none() && calls().next().is_none() {
            self.dropped.add_if(thoughts.is_some() || details, "thinking");
            return;
        }
        self.after_tool = false;
        let mut message = self.list.object().with("role", "assistant");
        if texts.is_empty() && self.to.quirks.chat.refusals {
            message.raw("content", "null");
        } else {
            join(message.key("content"), &texts, "");
        }
        message.maybe("refusal", refusal);
        if let Some(thoughts) = thoughts.filter(|_| !details) {
            join(message.key("reasoning_content"), &thoughts, "\\n\\n");
        }
        if details {
            write_reasoning_details(parts, self.to, message.array("reasoning_details"));
        }
        if calls().next().is_some() {
            let mut list = message.array("tool_calls");
            calls().for_each(|call| write_call(call, self.to, list.object()));
        } else if continued && self.to.quirks.chat.prefix {
            message.field("prefix", &true);
        } else if continued {
            // Other servers take it for a finished turn.
            self.dropped.add("prefill");
        }
    }

    /// The reasoning that the server requires. Other reasoning is reported if it is signed: without a signature no
    /// server needs it again.
    fn thoughts<'p>(&mut self, parts: &'p [Part<'_>], calls: bool) -> Option<Pieces<'p>> {
        let (wanted, required) = match self.to.quirks.chat.reasoning_content {
            ReasoningContent::Never => (false, false),
            ReasoningContent::Always => (true, false),
            // The answer after a tool's result belongs to the turn of the call. The server ignores it in other turns.
            ReasoningContent::WithCalls => (self.called, calls),
        };
        let mut thoughts = Pieces::new();
        for part in parts {
            match &part.content {
                content if self.to.quirks.chat.reasoning_details && is_signed(content) => {}
                Content::Thinking { text, signature: None } if wanted => thoughts.push(Piece::Text(text.reborrow())),
                Content::Thinking { signature: Some(_), .. }
                | Content::Redacted(_)
                | Content::Text { signature: Some(_), .. } => {
                    self.dropped.add("thinking");
                }
                Content::Call(call) => {
                    self.dropped.add_if(call.signature.is_some() && signature(call, self.to).is_none(), "thinking");
                }
                _ => {}
            }
        }
        (!thoughts.is_empty() || required).then_some(thoughts)
    }
}

fn calls<'p, 'a>(parts: &'p [Part<'a>]) -> impl Iterator<Item = &'p Call<'a>> {
    parts.iter().filter_map(|part| if let Content::Call(call) = &part.content { Some(call) } else { None })
}

/// An id that the server accepts.
fn fit_id(id: &str, form: CallIds) -> std::borrow::Cow<'_, str> {
    match form {
        CallIds::AtMost(longest) => safe_id(id, longest, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
        // An id that is too short has to be changed, too.
        CallIds::Exactly(length) => safe_id(id, length, |b| id.len() == length && b.is_ascii_alphanumeric()),
    }
}

/// Whether `reasoning_details` can have its signature.
fn is_signed(content: &Content<'_>) -> bool {
    matches!(
        content,
        Content::Thinking { signature: Some(_), .. }
            | Content::Redacted(_)
            | Content::Call(Call { signature: Some(_), .. })
    )
}

/// Writes the reasoning of an earlier answer, and the signatures of its calls.
fn write_reasoning_details(parts: &[Part<'_>], to: &Destination<'_>, mut list: ArrayWriter<'_>) {
    let mut index = 0;
    for part in parts {
        if let Content::Call(Call { id, signature: Some(signature), .. }) = &part.content {
            let id = Text::from(fit_id(&id.decode(), to.quirks.chat.call_ids).into_owned());
            write_encrypted(signature, Some(&id), &mut Steps::default(), &mut index, &mut list);
        }
        // The server does not read steps.
        write_details(&part.content, &mut Steps::default(), &mut index, &mut list);
    }
}

/// The signature of a call, for servers that read it: Google's own server of this dialect requires those of Gemini.
fn signature<'c, 'a>(call: &'c Call<'a>, to: &Destination<'_>) -> Option<&'c Signature<'a>> {
    let read = to.quirks.chat.google_signatures && to.facts.signs_calls;
    call.signature.as_ref().filter(|signature| read && signature.maker == SignatureOrigin::Google)
}

fn write_call(call: &Call<'_>, to: &Destination<'_>, mut entry: ObjectWriter<'_>) {
    entry.field("id", &*fit_id(&call.id.decode(), to.quirks.chat.call_ids));
    entry.field("type", "function");
    entry.object("function").with("name", &call.name).with("arguments", &*call.arguments);
    if let Some(signature) = signature(call, to) {
        entry.object("extra_content").object("google").with("thought_signature", &signature.value);
    }
}

fn write_media(media: &Media<'_>, form: ChatMedia, part: &mut ObjectWriter<'_>) {
    match (media.kind, &media.source) {
        (MediaKind::Image, source) => {
            part.field("type", "image_url");
            let mut image = part.object("image_url");
            write_url(source, image.key("url"));
            let detail = media.detail.as_ref().map(Text::decode);
            let known = detail.filter(|detail| matches!(&**detail, "low" | "high" | "auto" | "original"));
            image.maybe("detail", known.as_deref());
        }
        (MediaKind::Audio, Source::Data { mime, data }) => {
            part.field("type", "input_audio");
            if form == ChatMedia::Urls {
                data.write(part.key("input_audio"));
                return;
            }
            part.object("input_audio").with("data", &data).with_maybe("format", audio_format(mime));
        }
        (_, source) if form == ChatMedia::Urls => {
            part.field("type", "document_url");
            write_url(source, part.key("document_url"));
            part.maybe("document_name", media.name.as_ref());
        }
        (_, source) => {
            part.field("type", "file");
            let mut file = part.object("file");
            if let Source::File(id) = source {
                id.write(file.key("file_id"));
            } else {
                match &media.name {
                    Some(name) => name.write(file.key("filename")),
                    None => file.field("filename", "document.pdf"),
                }
                write_url(source, file.key("file_data"));
            }
        }
    }
}

/// Writes media as a URL: their own, or a data URL.
fn write_url(source: &Source<'_>, out: &mut Vec<u8>) {
    match source {
        Source::Data { mime, data } => {
            // Parameters would end the head of the data URL too early.
            let kind = mime.split([';', ',']).next().unwrap_or_default();
            let head = Piece::Text(Text::from(format!("data:{kind};base64,")));
            join(out, &[head, Piece::Text(data.reborrow())], "");
        }
        Source::Url { url, .. } => url.write(out),
        Source::File(text) | Source::Text(text) => text.write(out),
    }
}

/// The content of a document that is text, which every model can read.
fn text_of<'p>(media: &'p Media<'_>) -> Option<Text<'p>> {
    let body = match &media.source {
        Source::Text(text) => text.reborrow(),
        Source::Data { mime, data } if media.kind == MediaKind::Document && is_text(mime) => {
            Text::from(String::from_utf8(STANDARD.decode(&*data.decode()).ok()?).ok()?)
        }
        _ => return None,
    };
    match &media.name {
        Some(name) => Some(Text::from(format!("{}:\n{}", name.decode(), body.decode()))),
        None => Some(body),
    }
}

/// OpenAI's name for an audio format, if it accepts the format.
fn audio_format(mime: &str) -> Option<&'static str> {
    match mime {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Some("wav"),
        "audio/mp3" | "audio/mpeg" | "audio/mpga" => Some("mp3"),
        _ => None,
    }
}

fn is_web(url: &Text<'_>) -> bool {
    let url = url.decode();
    url.starts_with("https:") || url.starts_with("http:")
}

/// Appends the texts as one JSON string; `between` is between them, escaped.
fn join(out: &mut Vec<u8>, pieces: &[Piece<'_>], between: &str) {
    out.push(b'"');
    let texts = pieces.iter().filter_map(|piece| if let Piece::Text(text) = piece { Some(text) } else { None });
    for (index, text) in texts.enumerate() {
        if index > 0 {
            out.extend_from_slice(between.as_bytes());
        }
        if let Text::Json(raw) = text {
            let raw = raw.get();
            out.extend_from_slice(raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default().as_bytes());
        } else {
            // The inner quotes are removed again.
            let start = out.len();
            text.write(out);
            out.remove(start);
            out.pop();
        }
    }
    out.push(b'"');
}
