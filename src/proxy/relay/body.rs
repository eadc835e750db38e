//! The body of a reply that is relayed from the backend to the client: frames are forwarded as they arrive, and
//! observed.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::{
    super::{
        ErrorKind, ProxyError, RequestRecord,
        key_mask::{MaskedBody, MaskedEvents},
        watch::{Progress, Stall},
    },
    observer::Observer,
    pace::Pace,
};
use crate::{
    conversation::Failure,
    dialect::{
        DialectId, ErrorClass, StreamEnding, StreamMode, error_summary::ErrorSummary, rename::RenamedReply,
        text::TextFilteredStream, wrapped::WrappedStream,
    },
    stream::InvokeFilter,
    upstream::{
        self,
        balance::{Attempt, AttemptOutcome},
    },
};

/// The part of an error's body that is kept for the log.
const MAX_ERROR_BODY: usize = 256 * 1024;

/// How a reply is relayed.
pub struct RelayForm {
    /// The client's dialect, for an error inside a stream.
    pub dialect: DialectId,
    /// How the reply streams; an error event can only be written inside a stream.
    pub mode: StreamMode,
    /// Takes the events out of the frames that the provider wraps them in.
    pub unwrap: Option<InvokeFilter>,
    /// Masks the target's key, in errors.
    pub mask: Option<MaskedBody>,
    /// Masks the target's key in error events of a stream that has begun without an error.
    pub event_mask: Option<MaskedEvents>,
    /// The beginning of an error's body, for the log.
    pub error_body: Option<Vec<u8>>,
    /// Whether a reply that does not stream is an answer, going by its status.
    pub answers: bool,
    /// Filters the text of a stream that stays in its dialect; absent if no policy filters it.
    pub filter: Option<Box<TextFilteredStream>>,
    /// Writes the client's model into a reply that stays in its dialect.
    pub renamed: Option<Box<RenamedReply>>,
    /// Wraps the stream of an inner request in the client's framing.
    pub wrapped: Option<Box<WrappedStream>>,
    /// Longest pause of the backend.
    pub idle: Duration,
    /// When the reply must have ended.
    pub deadline: Option<Instant>,
}

/// The error of a reply with a good status that has an error of this class in place of an answer, and its cause.
pub const fn failure_inside(class: ErrorClass) -> (ErrorKind, &'static str) {
    match class {
        ErrorClass::BadGateway => (ErrorKind::UpstreamProtocol, "the upstream's reply is no answer"),
        _ => (ErrorKind::UpstreamError, "the upstream's reply reports that the answer has failed"),
    }
}

/// The parts of a relay.
pub struct RelayPlan {
    /// The backend's reply.
    pub body: upstream::ReplyBody,
    /// Absent for plain servers.
    pub observer: Option<Observer>,
    pub form: RelayForm,
    /// Reports how the attempt ended: only the relay can determine whether the reply was complete.
    pub attempt: Attempt,
}

/// A reply on its way to the client.
pub enum Reply {
    /// A complete reply that the gateway made or translated.
    Local(http::Response<Bytes>),
    /// The head of a reply; the body follows from a backend.
    Relayed(http::response::Parts, Box<RelayPlan>),
}

/// A reply that is being relayed.
pub struct Relay {
    body: Option<upstream::ReplyBody>,
    /// Frames that were changed or held back, in the order in which they are to be sent.
    pending: std::collections::VecDeque<Bytes>,
    observer: Option<Observer>,
    record: RequestRecord,
    attempt: Attempt,
    form: RelayForm,
    frames: u64,
    /// Absent for replies that don't stream.
    pace: Option<Pace>,
    silence: Option<Silence>,
    deadline: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

/// Detects silence without a timer per frame: the timer is set once, and set again only when it fires after frames have
/// passed.
struct Silence {
    timer: Pin<Box<Sleep>>,
    frames: u64,
}

impl Relay {
    /// Relays `plan`, and keeps `record` until the end.
    pub fn new(plan: RelayPlan, record: RequestRecord, progress: Arc<Progress>) -> Self {
        let RelayPlan { body, observer, form, attempt } = plan;
        progress.reply_begins(form.idle, form.deadline);
        let deadline = form.deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        let pace = (form.mode != StreamMode::No).then(Pace::default);
        let mut relay = Self {
            body: Some(body),
            deadline,
            pending: std::collections::VecDeque::new(),
            observer,
            record,
            attempt,
            form,
            frames: 0,
            pace,
            silence: None,
            progress,
        };
        if relay.body.as_ref().is_some_and(Body::is_end_stream) {
            relay.end();
        }
        relay
    }

    /// The gateway's code has panicked in [`poll_frame`](Self::poll_frame): nothing more is sent.
    pub fn panicked(&mut self) {
        self.body = None;
        self.record.failed(ErrorKind::Panic, "a panic while the reply was relayed");
    }

    /// The next frame for the client.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = if self.form.wrapped.is_some() { self.poll_wrapped(cx) } else { self.poll_next(cx) };
        match &polled {
            Poll::Pending => self.progress.client_waits(),
            Poll::Ready(_) => self.progress.handed_over(),
        }
        polled
    }

    /// The next frame, in the framing of the outer dialect.
    fn poll_wrapped(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let next = ready!(self.poll_next(cx)).transpose()?;
            let Some(wrapped) = &mut self.form.wrapped else { return Poll::Ready(None) };
            let ended = next.is_none();
            let out = match next {
                Some(frame) => wrapped.push(&frame.into_data().unwrap_or_default()),
                None => wrapped.finish(),
            };
            if let Some(cause) = wrapped.take_failure() {
                self.attempt.ended(AttemptOutcome::Broken);
                self.record.failed(ErrorKind::UpstreamProtocol, &cause);
            }
            if ended {
                self.form.wrapped = None;
            }
            if ended || !out.is_empty() {
                return Poll::Ready((!out.is_empty()).then(|| Ok(Frame::data(out))));
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(bytes) = self.pending.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            if let Some(pace) = &mut self.pace {
                ready!(pace.poll(cx));
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => {
                    if let Some(pace) = &mut self.pace {
                        pace.drained();
                    }
                    let message = match (self.poll_silence(cx), self.poll_deadline(cx)) {
                        (Poll::Pending, Poll::Pending) => return Poll::Pending,
                        (Poll::Ready(()), _) => "the upstream fell silent in mid-reply",
                        (_, Poll::Ready(())) => "the reply took longer than this route allows",
                    };
                    if let Err(error) = self.cut(ProxyError::new(ErrorKind::UpstreamTimeout, message)) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        let ended = body.is_end_stream();
                        let first = match self.pass(data) {
                            Ok(first) => first,
                            Err(error) => return Poll::Ready(Some(Err(error))),
                        };
                        if ended && self.body.is_some() {
                            self.end();
                        }
                        if let Some(out) = first {
                            return Poll::Ready(Some(Ok(Frame::data(out))));
                        }
                    }
                    // Trailers of plain servers are forwarded; they are small and bounded by hyper.
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Ready(Some(Err(error))) => {
                    let message = "the upstream closed the connection in mid-reply";
                    let error = ProxyError::with_cause(ErrorKind::UpstreamClosed, message, error.to_string());
                    if let Err(error) = self.cut(error) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Poll::Ready(None) => self.end(),
            }
        }
    }

    /// Passes `data` to the observer; returns the bytes to forward at once.
    fn pass(&mut self, mut data: Bytes) -> Result<Option<Bytes>, io::Error> {
        self.frames += 1;
        if let Some(pace) = &mut self.pace {
            pace.received(Instant::now);
        }
        if let Some(unwrap) = &mut self.form.unwrap {
            let mut out = Vec::with_capacity(data.len());
            unwrap.push(&data, &mut out);
            data = out.into();
        }
        if let Some(mask) = &mut self.form.mask {
            data = mask.push(&data).into();
        }
        if let Some(mask) = &mut self.form.event_mask {
            data = mask.push(data);
        }
        if let Some(error_body) = &mut self.form.error_body {
            let room = MAX_ERROR_BODY.saturating_sub(error_body.len()).min(data.len());
            error_body.extend_from_slice(data.get(..room).unwrap_or_default());
        }
        let Some(observer) = &mut self.observer else {
            self.record.passed(data.len());
            return Ok(Some(data));
        };
        // Events that a filter drops were still received in time; those of a translator count when they are written.
        if let Observer::Watch(_) = observer {
            self.record.passed(data.len());
        }
        let out = match observer.frame(data) {
            Ok(out) => out,
            Err(cause) => {
                let message = "the upstream's stream can't be read";
                self.cut(ProxyError::with_cause(ErrorKind::UpstreamProtocol, message, cause))?;
                return Ok(None);
            }
        };
        if let Some(Observer::Translate(_)) = &self.observer {
            self.record.passed(out.iter().map(Bytes::len).sum());
        }
        let out: smallvec::SmallVec<[Bytes; 2]> = match &mut self.form.renamed {
            Some(renamed) => out.into_iter().map(|frame| renamed.push(frame)).collect(),
            None => out,
        };
        if self.form.filter.is_some() {
            let filtered = self.filter(out);
            if let Err(failure) = filtered {
                self.cut(failure.into())?;
            }
            return Ok(None);
        }
        let mut out = out.into_iter().filter(|b| !b.is_empty());
        let first = out.next();
        self.pending.extend(out);
        Ok(first)
    }

    /// Passes the observer's output to the filter, and the filter's output to the client.
    fn filter(&mut self, frames: impl IntoIterator<Item = Bytes>) -> Result<(), Failure<'static>> {
        let Some(filter) = &mut self.form.filter else {
            self.pending.extend(frames.into_iter().filter(|b| !b.is_empty()));
            return Ok(());
        };
        let mut out = Vec::new();
        let filtered = frames.into_iter().try_for_each(|frame| filter.push(&frame, &mut out));
        // The text that was released before an error is still sent.
        self.release(out);
        filtered
    }

    /// The backend's reply has ended: sends the frames that observer and filter have held back.
    fn flush(&mut self) -> Result<(), Failure<'static>> {
        let mut held = self.observer.as_mut().map(Observer::finish).unwrap_or_default();
        if let Some(mut renamed) = self.form.renamed.take() {
            held = held.into_iter().map(|frame| renamed.push(frame)).collect();
            held.push(renamed.finish());
        }
        self.filter(held)?;
        let Some(mut filter) = self.form.filter.take() else { return Ok(()) };
        let mut out = Vec::new();
        let finished = filter.finish(&mut out);
        self.release(out);
        finished
    }

    fn release(&mut self, out: Vec<u8>) {
        if !out.is_empty() {
            self.pending.push_back(out.into());
        }
    }

    /// The backend's reply has ended: a stream that is not complete is ended with an error.
    fn end(&mut self) {
        self.body = None;
        if let Some(mut unwrap) = self.form.unwrap.take() {
            let mut out = Vec::new();
            unwrap.finish(&mut out);
            // Only an error can be left.
            if let Ok(Some(out)) = self.pass(out.into()) {
                self.pending.push_back(out);
            }
        }
        let mut rest = self.form.event_mask.take().map(|mut mask| mask.finish()).unwrap_or_default();
        rest.extend(self.form.mask.take().map(|mut mask| mask.finish()).unwrap_or_default());
        if !rest.is_empty()
            && let Ok(Some(out)) = self.pass(rest.into())
        {
            self.pending.push_back(out);
        }
        if let Err(failure) = self.flush() {
            self.say(&failure.into());
        } else {
            match self.ending() {
                Some(StreamEnding::Cut) => {
                    let message = "the upstream ended the stream before its end";
                    self.attempt.ended(AttemptOutcome::Broken);
                    self.say(&ProxyError::new(ErrorKind::UpstreamClosed, message));
                }
                Some(StreamEnding::Failed(class)) => self.failed_inside(class),
                Some(StreamEnding::Complete | StreamEnding::Unknown) => {}
                None => {
                    if let Some(class) = self.form.answers.then(|| self.observer.as_ref()?.failure()).flatten() {
                        self.failed_inside(class);
                    }
                }
            }
        }
        self.attempt.ended(AttemptOutcome::Answered);
        self.record.complete();
    }

    /// The ending of the stream, if it is closed here; `None` for replies that don't stream.
    fn ending(&self) -> Option<StreamEnding> {
        let observer = self.observer.as_ref().filter(|_| self.form.mode != StreamMode::No)?;
        Some(observer.ending(self.form.mode))
    }

    /// Records that the reply reports a failed answer, although its status is good. The client gets it as it is.
    fn failed_inside(&mut self, class: ErrorClass) {
        self.attempt.failed_inside(class, self.record.model());
        let (kind, cause) = failure_inside(class);
        self.record.failed(kind, cause);
    }

    /// The backend's reply broke: writes an error event inside a stream, and closes the connection otherwise.
    fn cut(&mut self, error: ProxyError) -> Result<(), io::Error> {
        self.body = None;
        self.attempt.ended(match error.kind {
            ErrorKind::UpstreamTimeout => AttemptOutcome::TimedOut,
            kind if kind.is_refusal() => AttemptOutcome::Answered,
            _ => AttemptOutcome::Broken,
        });
        if self.form.mode == StreamMode::No || self.observer.is_none() {
            self.record.failed(error.kind, &error.cause);
            return Err(io::Error::other(error.message));
        }
        if error.kind.is_refusal() {
            self.form.filter = None;
        } else if let Err(failure) = self.flush() {
            self.say(&failure.into());
            return Ok(());
        }
        self.say(&error);
        Ok(())
    }

    /// The client has disconnected, or its connection was closed, before the backend ended the reply.
    fn left(&mut self) {
        match (self.progress.stall(), self.ending()) {
            (Some(Stall::Client), _) => self.record.failed(ErrorKind::ClientStalled, "the client has stopped reading"),
            (Some(Stall::Timeout), _) => {
                self.attempt.ended(AttemptOutcome::TimedOut);
                self.record.failed(ErrorKind::UpstreamTimeout, "the time is over, and the client does not read");
            }
            // Many clients disconnect after the last event, and don't wait for the end of the body.
            (None, Some(StreamEnding::Complete)) => {
                self.attempt.ended(AttemptOutcome::Answered);
                self.record.complete();
            }
            (None, Some(StreamEnding::Failed(class))) => self.failed_inside(class),
            (None, _) => {}
        }
    }

    /// Ends the stream with an error event. The bytes before it may be half an event, so a blank line comes first.
    fn say(&mut self, error: &ProxyError) {
        let failure = error.failure();
        if let Some(Observer::Translate(translator)) = &mut self.observer {
            self.pending.extend(Some(translator.fail(failure)).filter(|b| !b.is_empty()));
        } else {
            let elements = match &self.observer {
                Some(Observer::Watch(observer)) => observer.elements(),
                _ => 0,
            };
            if self.form.mode == StreamMode::Sse {
                self.pending.push_back(Bytes::from_static(b"\n\n"));
            }
            let mut event = Vec::new();
            self.form.dialect.dialect().write_error_event(&failure, self.form.mode, elements, &mut event);
            self.pending.push_back(event.into());
        }
        self.record.failed(error.kind, &error.cause);
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.form.idle;
        let silence = self
            .silence
            .get_or_insert_with(|| Silence { timer: Box::pin(tokio::time::sleep(idle)), frames: self.frames });
        while silence.timer.as_mut().poll(cx).is_ready() {
            if silence.frames == self.frames {
                return Poll::Ready(());
            }
            silence.frames = self.frames;
            silence.timer.as_mut().reset(Instant::now() + idle);
        }
        Poll::Pending
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().map_or(Poll::Pending, |deadline| deadline.as_mut().poll(cx))
    }

    /// Whether nothing more will come.
    pub fn is_end_stream(&self) -> bool {
        self.body.is_none() && self.pending.is_empty() && self.form.wrapped.is_none()
    }

    /// The length, if it is known and nothing can be dropped or added.
    pub fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body)
                if self.form.mode == StreamMode::No
                    && self.form.mask.is_none()
                    && self.form.renamed.is_none()
                    && self.pending.is_empty() =>
            {
                body.size_hint()
            }
            Some(_) => SizeHint::default(),
            None if self.form.wrapped.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(self.pending.iter().map(|b| b.len() as u64).sum()),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(body) = &self.form.error_body {
            self.record.refused(ErrorSummary::read(body));
        }
        if self.body.is_some() {
            self.left();
        }
        if let Some(observer) = &mut self.observer {
            self.record.counted(match observer {
                Observer::Watch(observer) => observer.totals(),
                Observer::Translate(translator) => translator.totals(),
            });
        }
    }
}
