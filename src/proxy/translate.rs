//! Translates a request into the target's dialect, and the reply into the client's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::Body;
use http_body_util::BodyExt;

use super::{
    ErrorKind, ProxyError, body, headers, heavy,
    key_mask::KeyMask,
    media::{Files, Wanted},
};
use crate::{
    conversation::{
        Content, ErrorClass, Failure, Format, Invalid, Json, Media, Names, Request, Source, Text, Unsupported,
        schema_envelope,
    },
    dialect::{
        ApiRequest, Destination, Dialect, DialectId, Quirks, ReplyHead, StreamMode, Translator, UnsupportedInReply,
        Usage,
        observer::Totals,
        operation,
        text::{FilterChain, filter_reply},
    },
    snapshot::Strictness,
    stream::TopLevel,
    upstream::{self, Fetcher},
};

/// The header with the names of the fields that the target's dialect does not support.
pub const DROPPED: HeaderName = HeaderName::from_static("x-tollgate-dropped");

/// Largest buffered reply that is translated: images in replies reach tens of megabytes.
pub const MAX_REPLY: usize = 64 * 1024 * 1024;
/// Largest error that is read. Real errors are smaller.
const MAX_ERROR: usize = 1024 * 1024;
/// Most values, at any depth, of a body that is read whole. Ten thousand messages have half as many. Each may cost a
/// few hundred bytes, and as few as three in the body: without a bound a body of 32 MiB would take gigabytes.
pub const MAX_VALUES: usize = 250_000;
/// Replies of at least this size are checked for the number of their values before they are read. Smaller ones can't
/// hold too many.
const COUNTED: usize = 512 * 1024;

/// A client's request, parsed for a target that needs it translated.
pub struct ParsedRequest<'a> {
    dialect: DialectId,
    request: Request<'a>,
    names: Arc<Names>,
    /// The schema of the answer in an envelope, for targets that only accept the schema of an object.
    wrapped: Option<Json<'static>>,
    /// Bytes of the client's body: the target's has about the same size, so it need not be reallocated as it grows.
    size: usize,
    /// Media was fetched for it.
    has_files: bool,
}

impl<'a> ParsedRequest<'a> {
    /// Reads a request of `dialect`.
    ///
    /// # Errors
    /// When a field can't be read; the error names it.
    pub fn read(dialect: DialectId, api_request: &ApiRequest, top: &'a TopLevel<'_>) -> Result<Self, ProxyError> {
        if top.values() > MAX_VALUES {
            let message = format!("the body has more than {MAX_VALUES} values, which is too many to translate");
            return Err(ProxyError::new(ErrorKind::BodyTooLarge, message));
        }
        let mut request = dialect.dialect().read_request(top).map_err(|invalid| refused(dialect, invalid))?;
        // In some dialects the URL decides that.
        request.stream = api_request.stream != StreamMode::No;
        let names = Arc::new(Names::fit(&mut request));
        let wrapped = match &request.format {
            Some(Format::Schema { schema, .. }) => schema_envelope::close(schema),
            _ => None,
        };
        Ok(Self { dialect, request, names, wrapped, size: top.body().len(), has_files: false })
    }

    /// Bytes of the client's body, with the files that were fetched for it.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Fetches media at URLs, for servers that don't.
    ///
    /// # Errors
    /// When one can't be fetched, or there are too many.
    pub async fn inline(&mut self, quirks: &Quirks, files: &mut Files, fetcher: &Fetcher) -> Result<(), ProxyError> {
        let (mut wanted, mut places) = (Vec::new(), Vec::new());
        for message in &mut self.request.messages {
            for part in &mut message.parts {
                let inside = match &mut part.content {
                    Content::Result(result) => result.parts.iter_mut().map(|part| &mut part.content).collect(),
                    content => vec![content],
                };
                for content in inside {
                    if let Content::Media(media) = content
                        && let Some(url) = remote(media, quirks)
                    {
                        wanted.push(Wanted { place: format!("media URL {}", wanted.len() + 1), url });
                        places.push(media);
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        files.fetch(&wanted, &mut self.size, fetcher).await?;
        self.has_files = true;
        for (one, media) in wanted.iter().zip(places) {
            let Some(file) = files.get(&one.url) else { continue };
            media.source = Source::Data { mime: file.mime.clone().into(), data: Text::from(file.base64.clone()) };
        }
        Ok(())
    }

    /// The body for a target, with the Backend's `extra` fields, and the unsupported fields.
    ///
    /// # Errors
    /// When the target can't accept this, or `strict` refuses the unsupported fields.
    pub fn write(
        &self,
        to: DialectId,
        destination: &Destination<'_>,
        extra: Option<&str>,
        strict: Strictness,
    ) -> Result<(Bytes, Unsupported), ProxyError> {
        let mut dropped = self.request.dropped.clone();
        let mut changed;
        let request = match &self.wrapped {
            Some(schema) if to.dialect().wants_object_schemas() => {
                changed = self.request.clone();
                if let Some(Format::Schema { schema: inner, .. }) = &mut changed.format {
                    *inner = schema.reborrow();
                }
                &changed
            }
            _ => &self.request,
        };
        let mut out = body::buffer(self.size + self.size / 16 + 512);
        destination.write(to, request, &mut dropped, &mut out).map_err(|invalid| refused(self.dialect, invalid))?;
        if let Some(fields) = extra {
            // The body is an object with at least its messages.
            out.pop();
            out.push(b',');
            out.extend_from_slice(fields.as_bytes());
            out.push(b'}');
        }
        refuse_dropped(strict, &dropped, &format!("in the {} API of this route's provider", to.as_str()))?;
        Ok((out.into(), dropped))
    }

    /// Whether files that were fetched are in it.
    pub const fn has_files(&self) -> bool {
        self.has_files
    }

    /// How a reply of `from`, with the framing `mode`, is returned to the client.
    pub fn back(&self, from: DialectId, mode: StreamMode, dropped: Unsupported, head: ReplyHead) -> Translation {
        let head = ReplyHead { estimated_input: operation::estimate(&self.request), ..head };
        let unwrap = self.wrapped.is_some() && from.dialect().wants_object_schemas();
        let names = Arc::clone(&self.names);
        Translation { from, to: self.dialect, mode, names, unwrap, dropped, head, shown_model: None }
    }
}

/// The error for a request that can't be read or written. Writers name the conversation's `messages`, for which the
/// client's dialect may have another name.
fn refused(dialect: DialectId, mut invalid: Invalid) -> ProxyError {
    if invalid.field == "messages" {
        invalid.field = dialect.dialect().messages_field().into();
    }
    ProxyError::new(ErrorKind::BadBody, invalid.to_string())
}

/// Refuses a request with unsupported fields where the Backend is strict. `place` completes the message.
///
/// # Errors
/// When there are fields that `strict` refuses; the message lists them.
pub fn refuse_dropped(strict: Strictness, dropped: &Unsupported, place: &str) -> Result<(), ProxyError> {
    let refused = match strict {
        Strictness::None => return Ok(()),
        Strictness::Losses => &dropped.losses(),
        Strictness::All => dropped,
    };
    if refused.is_empty() {
        return Ok(());
    }
    Err(ProxyError::new(ErrorKind::NotCarried, format!("{refused} can't be carried {place}")))
}

/// The URL of media if it is one that the server does not fetch.
fn remote(media: &Media<'_>, quirks: &Quirks) -> Option<String> {
    let Source::Url { url, .. } = &media.source else { return None };
    let url = url.decode();
    // Schemes have no case.
    let scheme = url.trim_start().split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase())?;
    let fetched = scheme == "http" || scheme == "https";
    (fetched && !quirks.fetches.takes(&url)).then(|| url.trim().to_owned())
}

/// The head for replies in which the provider leaves fields out.
pub fn head(api_request: &ApiRequest, model: &str, include_usage: bool) -> ReplyHead {
    static REPLIES: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "the time of the reply, made here")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let number = REPLIES.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:x}{:06x}{:04x}", now.as_secs(), now.subsec_micros(), number & 0xffff);
    ReplyHead {
        id,
        model: model.to_owned(),
        created: now.as_secs(),
        include_usage,
        mode: api_request.stream,
        estimated_input: 0,
    }
}

/// How a target's reply is returned to the client.
pub struct Translation {
    /// The dialect of the target.
    pub from: DialectId,
    to: DialectId,
    mode: StreamMode,
    names: Arc<Names>,
    /// Whether the answer comes in an envelope.
    unwrap: bool,
    /// Fields that the target's dialect does not support.
    pub dropped: Unsupported,
    head: ReplyHead,
    /// The model that the reply is to name.
    shown_model: Option<String>,
}

/// How a reply is to be read.
pub struct ReadLimits {
    /// Longest pause of the provider.
    pub idle: Duration,
    /// When the reply must have ended.
    pub deadline: Option<tokio::time::Instant>,
    /// For error messages to the client.
    pub request_id: String,
}

/// A reply, translated or about to be.
pub enum Translated {
    /// A whole reply.
    Whole(Response<Bytes>, Totals),
    /// The error that a whole reply is although its status is good, and its class.
    Failed(Response<Bytes>, ErrorClass),
    /// A reply to be relayed.
    Stream(Response<upstream::ReplyBody>, Box<Translator>, StreamMode),
}

impl Translation {
    /// A translation of errors only: from those of a provider of `from` to those for a client of `to`.
    pub fn of_errors(from: DialectId, to: DialectId, head: ReplyHead) -> Self {
        let (names, dropped) = (Arc::default(), Unsupported::default());
        Self { from, to, mode: StreamMode::No, names, unwrap: false, dropped, head, shown_model: None }
    }

    /// The same, where the reply names `model` instead of the provider's, if there is one.
    #[must_use]
    pub fn showing(self, model: Option<String>) -> Self {
        Self { shown_model: model, ..self }
    }

    /// Translates a target's reply: at once, or as it arrives.
    ///
    /// # Errors
    /// When it breaks off, or can't be read.
    pub async fn reply(
        self,
        reply: Response<upstream::ReplyBody>,
        mask: Option<&KeyMask>,
        reading: &ReadLimits,
        chain: FilterChain,
    ) -> Result<Translated, ProxyError> {
        let (mut parts, body) = reply.into_parts();
        let said = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default().to_vec();
        let streams = said.starts_with(b"text/event-stream") || said.starts_with(b"application/vnd.amazon.eventstream");
        let encoded = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity");
        if encoded {
            let message = "the upstream compressed its reply, which was not requested";
            return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
        }
        let error_headers = if parts.status.is_success() { HeaderMap::new() } else { parts.headers.clone() };
        self.settle_headers(&mut parts.headers, mask);
        let wants_stream = self.head.mode != StreamMode::No;
        if parts.status.is_success() && streams && wants_stream {
            let mode = self.head.mode;
            let mut translator = Translator::new(self.from, self.mode, self.to, self.head, self.names);
            if self.unwrap {
                translator.take_out_of_object();
            }
            if let Some(model) = self.shown_model {
                translator.show_model(model);
            }
            translator.filter_text(chain);
            return Ok(Translated::Stream(Response::from_parts(parts, body), Box::new(translator), mode));
        }
        let limit = if parts.status.is_success() { MAX_REPLY } else { MAX_ERROR };
        let bytes = collect(body, limit, reading).await?;
        if !parts.status.is_success() {
            let bytes = self.source().with_error_type(&error_headers, &bytes).map_or(bytes, Bytes::from);
            let mut failure = self.source().read_error(parts.status.as_u16(), &bytes);
            if parts.status.is_redirection() {
                // The redirect leads to another place of the provider, in the provider's dialect.
                failure.message = format!("the upstream redirects, with status {}", parts.status.as_u16()).into();
                (failure.status, failure.class, failure.code) = (502, ErrorClass::BadGateway, None);
            }
            return Ok(Translated::Whole(self.failed(parts, &failure, &reading.request_id, mask), Totals::default()));
        }
        heavy::run(bytes.len(), || self.whole(parts, &bytes, mask, reading, &chain)).await
    }

    /// Translates a whole reply that is not an error.
    fn whole(
        self,
        mut parts: Parts,
        bytes: &[u8],
        mask: Option<&KeyMask>,
        reading: &ReadLimits,
        chain: &FilterChain,
    ) -> Result<Translated, ProxyError> {
        let wants_stream = self.head.mode != StreamMode::No;
        if bytes.len() > COUNTED && TopLevel::scan(bytes).is_ok_and(|top| top.values() > MAX_VALUES) {
            let message = format!("the upstream's reply has more than {MAX_VALUES} values");
            return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
        }
        let repaired;
        let mut answer = match self.source().read_reply(bytes) {
            Ok(answer) => answer,
            Err(failure) => {
                // A reply with new kinds of fields is read without these fields.
                repaired = self.source().repair_reply(bytes);
                let read = repaired.as_ref().map(|(text, names)| (self.source().read_reply(text.as_bytes()), names));
                let Some((Ok(mut answer), names)) = read else {
                    let class = failure.class;
                    let error = self.failed(parts, &failure, &reading.request_id, mask);
                    return Ok(Translated::Failed(error, class));
                };
                answer.lost.extend(names);
                answer
            }
        };
        if !wants_stream && let Some(failure) = self.to.dialect().failure_of(&answer) {
            return Ok(Translated::Whole(self.failed(parts, &failure, &reading.request_id, mask), Totals::default()));
        }
        for choice in &mut answer.choices {
            for part in &mut choice.parts {
                if let Content::Call(call) = &mut part.content {
                    self.names.restore(&mut call.name);
                }
            }
            if self.unwrap {
                schema_envelope::open_parts(&mut choice.parts);
            }
        }
        if !chain.is_empty() {
            filter_reply(&mut answer, chain)?;
        }
        let usage = Usage::from(answer.usage);
        let model = answer.model.as_ref().map(|m| m.decode().into_owned());
        if let Some(shown) = &self.shown_model {
            answer.model = Some(shown.as_str().into());
        }
        let (out, lost) = if wants_stream {
            let mut translator = Translator::new(self.from, self.mode, self.to, self.head, self.names);
            (translator.replay(&answer), translator.totals().lost)
        } else {
            let mut lost = UnsupportedInReply::new(self.to);
            lost.reply(&answer);
            let mut out = Vec::with_capacity(bytes.len() + 256);
            self.to.dialect().write_reply(&answer, &self.head, &mut out);
            (Bytes::from(out), lost.names().clone())
        };
        if !lost.is_empty() {
            let mut all = self.dropped;
            all.extend(&lost);
            name_dropped(&all, &mut parts.headers);
        }
        let totals = Totals { usage, model, lost, text: Some(answer.text_bytes()), ..Totals::default() };
        Ok(Translated::Whole(Response::from_parts(parts, out), totals))
    }

    fn source(&self) -> &'static dyn Dialect {
        self.from.dialect()
    }

    /// The provider's error in the client's dialect. `request_id` is the gateway's, for a reply without one.
    pub fn failed(
        &self,
        mut parts: Parts,
        failure: &Failure<'_>,
        request_id: &str,
        mask: Option<&KeyMask>,
    ) -> Response<Bytes> {
        let mut out = Vec::new();
        let id_of = |name| parts.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let name = self.to.dialect().request_id_header();
        let id = id_of(name).unwrap_or(request_id).to_owned();
        let status = self.to.dialect().write_error(failure, Some(&id), &mut out);
        parts.status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = &mut parts.headers;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.entry(name).or_insert(id);
        }
        if let Some(seconds) = failure.retry_after {
            headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.to.dialect().error_type_header(failure.class) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let out = Bytes::from(out);
        let out = match mask {
            Some(mask) => mask.mask(out),
            None => out,
        };
        Response::from_parts(parts, out)
    }

    /// Converts the provider's headers to those of the client's dialect.
    pub fn settle_headers(&self, headers: &mut HeaderMap, mask: Option<&KeyMask>) {
        headers::from_provider(headers, mask);
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::LOCATION);
        if let Some((name, _)) = self.from.dialect().error_type_header(ErrorClass::Internal) {
            headers.remove(name);
        }
        self.rename_request_id(headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.head.mode.content_type()));
        if self.head.mode != StreamMode::No {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        name_dropped(&self.dropped, headers);
    }

    /// Moves the provider's id of the request to the header in which the client's dialect has it.
    pub fn rename_request_id(&self, headers: &mut HeaderMap) {
        let (from, to) = (self.from.dialect().request_id_header(), self.to.dialect().request_id_header());
        if from != to
            && let Some(id) = headers.remove(from)
        {
            headers.insert(to, id);
        }
    }
}

/// Names the fields that were left out, if any were.
pub fn name_dropped(dropped: &Unsupported, headers: &mut HeaderMap) {
    if !dropped.is_empty()
        && let Ok(names) = HeaderValue::try_from(dropped.to_string())
    {
        headers.insert(DROPPED, names);
    }
}

/// Reads a whole reply.
///
/// # Errors
/// When it breaks off, falls silent, or is over `limit` bytes.
pub async fn collect(mut body: upstream::ReplyBody, limit: usize, reading: &ReadLimits) -> Result<Bytes, ProxyError> {
    let mut out = BytesMut::with_capacity(usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit));
    let slow = || ProxyError::new(ErrorKind::UpstreamTimeout, "the upstream fell silent in mid-reply");
    loop {
        let idle = tokio::time::Instant::now() + reading.idle;
        let until = reading.deadline.map_or(idle, |deadline| deadline.min(idle));
        match tokio::time::timeout_at(until, body.frame()).await {
            Err(_) => return Err(slow()),
            Ok(None) => return Ok(out.freeze()),
            Ok(Some(Err(error))) => {
                let message = "the upstream closed the connection in mid-reply";
                return Err(ProxyError::with_cause(ErrorKind::UpstreamClosed, message, error.to_string()));
            }
            Ok(Some(Ok(frame))) => {
                let Some(data) = frame.data_ref() else { continue };
                if out.len() + data.len() > limit {
                    let message = format!("the upstream's reply is larger than {limit} bytes");
                    return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
                }
                out.extend_from_slice(data);
            }
        }
    }
}
