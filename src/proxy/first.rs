//! Part of step 5: whether a target's reply begins with an answer. Until its first content was forwarded, another
//! target can still answer instead.
//!
//! It is looked at where another target follows, and nowhere else: the last target's reply is forwarded as it comes.
//! What was read is put back, byte for byte, and goes through the relay like everything behind it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::{
    ErrorKind, ProxyError, RouteContext,
    affinity::answer_kind,
    classify::ClassifiedRequest,
    record::BYTES_PER_TOKEN,
    retry::may_repeat,
    send::{UpstreamReply, no_first_token, too_slow},
};
use crate::{
    dialect::{
        DialectId, StreamMode,
        beginning::{Beginning, Framing, StreamBeginning, of_whole},
    },
    policy::timeouts::FirstToken,
    snapshot::{AiUse, Target},
    upstream::{
        self, Watch,
        balance::{AttemptOutcome, FirstContent},
        failure::{Meaning, Verdict},
    },
};

/// How long events that only announce an answer are held back, once the first of them has come. Providers that are
/// overloaded report it at once, and a client hardly notices a quarter of a second before the first token.
const HOLD: Duration = Duration::from_millis(250);
/// The bytes that are held back at most: events before the first content have a few kilobytes, and an error has less.
const MAX_HELD: usize = 64 * 1024;

/// What a reply has to show before the client gets it, and until when.
pub struct Gate {
    /// The dialect of the client's conversation.
    dialect: DialectId,
    mode: StreamMode,
    /// When the first content of a stream must have come.
    first_token: Option<Instant>,
    /// Whether the bound is configured. Then the reply is held back until its first content, because after that bound
    /// another target is to answer.
    is_strict: bool,
    idle: Duration,
    deadline: Option<Instant>,
}

/// Why another target should answer.
enum Fault {
    /// The reply has an error in it, with this meaning.
    Inside(Verdict),
    /// It broke off, or did not come in time.
    Broken(ProxyError),
}

impl From<ProxyError> for Fault {
    fn from(error: ProxyError) -> Self {
        Self::Broken(error)
    }
}

/// The reply as it is judged.
enum Judge {
    Stream(Box<StreamBeginning>),
    /// The bytes of a reply that is one JSON object, and whether another form of it is forwarded all the same.
    Whole(DialectId, bool),
}

impl Gate {
    /// The gate for an attempt that begins now. `None` where a reply can't be replaced: it is not of a conversation, or
    /// the answer is stored at the provider.
    pub fn new(context: &RouteContext<'_>, ai: &AiUse, request: &ClassifiedRequest) -> Option<Self> {
        let dialect = request.api.endpoint.dialect().or_else(|| request.api.endpoint.inner_dialect())?;
        if !may_repeat(request, &Method::POST) {
            return None;
        }
        let body = request.body.as_ref()?;
        let written = context.rule.timeouts.first_token.or(ai.backend.first_token);
        let tokens = body.bytes().len() as u64 / BYTES_PER_TOKEN;
        let streams = request.api.stream != StreamMode::No;
        let bound = FirstToken::bound(written, tokens).filter(|_| streams);
        Some(Self {
            dialect,
            mode: request.api.stream,
            first_token: bound.map(|bound| Instant::now() + bound),
            is_strict: bound.is_some() && written.is_some(),
            idle: context.idle_timeout,
            deadline: context.deadline,
        })
    }

    /// The same gate, which holds a reply back until its first content: another one may come earlier.
    #[must_use]
    pub const fn until_content(self) -> Self {
        Self { is_strict: true, ..self }
    }

    /// The same gate at a target after which no other follows: a slow answer is better than none.
    #[must_use]
    pub const fn unbounded(self) -> Self {
        Self { first_token: None, ..self }
    }

    /// When the first content of a stream must have come.
    pub const fn first_token(&self) -> Option<Instant> {
        self.first_token
    }

    /// Reads the beginning of `answer`, and puts it back.
    ///
    /// # Errors
    /// When it shows that another target should answer. The attempt has its outcome then.
    pub async fn pass(&self, answer: &mut UpstreamReply, target: &Target, model: &str) -> Result<(), ProxyError> {
        let Some(judge) = judge(self.dialect, self.mode, answer) else { return Ok(()) };
        let read = self.read(answer.reply.body_mut(), judge, target.credential.is_own()).await;
        read.map_err(|fault| match fault {
            Fault::Inside(verdict) => {
                let error = failed(verdict.meaning);
                answer.attempt.judged(verdict, model);
                error
            }
            Fault::Broken(error) => {
                // The server can be reached: its head has come.
                let is_cut = error.kind == ErrorKind::UpstreamClosed;
                answer.attempt.ended(if is_cut { AttemptOutcome::Broken } else { error.kind.attempt_outcome() });
                error
            }
        })
    }

    async fn read(&self, body: &mut upstream::ReplyBody, mut judge: Judge, own_key: bool) -> Result<(), Fault> {
        let mut held: Vec<Bytes> = Vec::new();
        let mut size = 0;
        let mut release = None;
        loop {
            let idle = Instant::now() + self.idle;
            let until = [self.first_token, self.deadline, release].into_iter().flatten().fold(idle, Instant::min);
            let beginning = match tokio::time::timeout_at(until, body.frame()).await {
                Err(_) if self.first_token == Some(until) => return Err(no_first_token().into()),
                Err(_) if release == Some(until) => break,
                Err(_) if self.deadline == Some(until) => return Err(too_slow().into()),
                Err(_) => {
                    let message = "the upstream fell silent before its answer";
                    return Err(ProxyError::new(ErrorKind::UpstreamTimeout, message).into());
                }
                Ok(Some(Err(error))) => {
                    let message = "the upstream closed the connection before its answer";
                    return Err(ProxyError::with_cause(ErrorKind::UpstreamClosed, message, error.to_string()).into());
                }
                Ok(Some(Ok(frame))) => {
                    // Trailers have no meaning behind an LLM's reply.
                    let Ok(data) = frame.into_data() else { continue };
                    size += data.len();
                    let beginning = judge.push(&data);
                    held.push(data);
                    beginning
                }
                Ok(None) => judge.finish(&held),
            };
            match beginning {
                Beginning::Failed(class) if Verdict::of_error_inside(class, own_key).meaning.row().tries_other() => {
                    return Err(Fault::Inside(Verdict::of_error_inside(class, own_key)));
                }
                Beginning::Announced if size < MAX_HELD => {
                    // A client can do nothing with half of a JSON object: it is held back until it is whole.
                    if !self.is_strict && size > 0 && matches!(judge, Judge::Stream(_)) {
                        release.get_or_insert_with(|| Instant::now() + HOLD);
                    }
                }
                Beginning::Announced | Beginning::Content | Beginning::Failed(_) => break,
            }
        }
        body.put_back(joined(held));
        Ok(())
    }
}

/// How a reply with this head is judged; `None` if it is not. `own` is the dialect of the
/// client's conversation.
fn judge(own: DialectId, mode: StreamMode, answer: &UpstreamReply) -> Option<Judge> {
    let (reply, plan) = (&answer.reply, &answer.plan);
    if reply.status() != StatusCode::OK || is_encoded(reply.headers()) {
        return None;
    }
    let wrapped = plan.wrapped.as_ref().map(|wrapped| wrapped.api.dialect);
    let is_native = plan.translation.is_none() && wrapped.is_none();
    let dialect = plan.translation.as_ref().map(|translation| translation.from).or(wrapped);
    let dialect = dialect.unwrap_or(own);
    let kind = reply.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let is = |name: &[u8]| kind.get(..name.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(name));
    let framing = if is(b"text/event-stream") {
        Framing::Sse
    } else if is(b"application/vnd.amazon.eventstream") {
        // Where the client's request has another one inside, the frames do as well.
        let inside = plan.unwrap || (is_native && mode == StreamMode::EventStream && dialect != DialectId::Converse);
        if inside { Framing::Invoke } else { Framing::Aws }
    } else if is_native && mode == StreamMode::JsonArray && is(b"application/json") {
        Framing::Array
    } else {
        return Some(Judge::Whole(dialect, is_native));
    };
    Some(Judge::Stream(Box::new(StreamBeginning::new(dialect, framing))))
}

impl Judge {
    fn push(&mut self, data: &[u8]) -> Beginning {
        match self {
            Self::Stream(stream) => stream.push(data),
            Self::Whole(..) => Beginning::Announced,
        }
    }

    fn finish(&mut self, held: &[Bytes]) -> Beginning {
        match self {
            Self::Stream(stream) => stream.finish(),
            Self::Whole(dialect, any_form) => of_whole(*dialect, &joined(held.to_vec()), *any_form),
        }
    }
}

/// Measures how long an attempt takes to the first content of its answer. It is measured where the Backend chooses or
/// hedges by it.
pub struct Measure {
    content: FirstContent,
    dialect: DialectId,
    mode: StreamMode,
}

impl Measure {
    /// Begins to measure an attempt at `target`.
    pub fn begin(ai: &AiUse, request: &ClassifiedRequest, target: &Target) -> Option<Self> {
        if !ai.backend.measures() {
            return None;
        }
        let endpoint = &request.api.endpoint;
        let dialect = endpoint.dialect().or_else(|| endpoint.inner_dialect())?;
        let content = FirstContent::begin(&target.state, answer_kind(request));
        Some(Self { content, dialect, mode: request.api.stream })
    }

    /// The attempt has this reply, in which the content is yet to come.
    pub fn watch(self, answer: &mut UpstreamReply) {
        if answer.attempt.verdict().is_none() {
            let judge = judge(self.dialect, self.mode, answer);
            answer.reply.body_mut().watch(Box::new(Watched { judge, content: Some(self.content) }));
        }
    }
}

struct Watched {
    judge: Option<Judge>,
    content: Option<FirstContent>,
}

impl Watch for Watched {
    fn sees(&mut self, data: &[u8]) -> bool {
        let beginning = match &mut self.judge {
            Some(Judge::Stream(stream)) => stream.push(data),
            Some(Judge::Whole(..)) | None => Beginning::Content,
        };
        let content = if beginning == Beginning::Announced { None } else { self.content.take() };
        if let Some(content) = content.filter(|_| beginning == Beginning::Content) {
            content.came();
        }
        beginning == Beginning::Announced
    }
}

/// The pieces as one; the usual single one is not copied.
fn joined(held: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(held) {
        Ok([only]) => only,
        Err(pieces) => pieces.concat().into(),
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity")
}

/// The error for a reply that has failed before its first content. The provider's text is not in it: it may repeat the
/// key.
fn failed(meaning: Meaning) -> ProxyError {
    let message = "the upstream's reply has failed before any of its answer";
    ProxyError::with_cause(ErrorKind::UpstreamError, message, format!("{message}: {}", meaning.row().word))
}
