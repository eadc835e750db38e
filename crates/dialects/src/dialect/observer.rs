//! Observes a reply while it is relayed: token counts, the model that answered, and whether a stream is complete.
//!
//! Nothing is buffered for this. Buffered replies pass through a [`JsonTap`]; of a stream's events only the last one
//! that may hold usage and the last few are kept, in buffers that are reused.

mod aws;
mod text_meter;

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use smallvec::{SmallVec, smallvec};

use self::text_meter::TextMeter;
use super::{Dialect, DialectId, Progress, StreamEnding, Usage, classify::StreamMode};
use crate::{
    conversation::{ErrorClass, Unsupported},
    stream::{Event, JsonTap, SseDecoder, SseFilter, sse::MAX_EVENT_BYTES},
};

/// How many last events are kept to determine whether a stream ended. A closing chunk may be followed by a usage chunk,
/// an annotation and `[DONE]`.
const TAIL_EVENTS: usize = 4;
/// Events longer than this are judged as they pass instead of being kept.
const MAX_KEPT: usize = 64 * 1024;

/// Both `"usage"` and `"usageMetadata"` begin like this.
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage"));

/// The result of observing a finished or abandoned reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Token counts.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// The provider counted nothing: the gateway estimated the counts from the length of the text.
    pub estimated: bool,
    /// Fields of a translated reply that the client's dialect does not support.
    pub lost: Unsupported,
    /// Approximate bytes of text that have passed; absent if they were not counted.
    pub text: Option<u64>,
}

/// Observes one reply.
pub struct ReplyObserver {
    dialect: &'static dyn Dialect,
    view: View,
    known_end: bool,
}

enum View {
    /// The reply can't be read: it is compressed, or its format is unknown.
    Blind,
    Json(Box<JsonTap>),
    Sse(Box<Stream>),
    Aws(Box<aws::AwsStream>),
}

struct Stream {
    reader: Reader,
    seen: Seen,
}

enum Reader {
    Watch(SseDecoder),
    /// Drops usage chunks that the client did not request.
    Filter(SseFilter),
}

struct Seen {
    dialect: &'static dyn Dialect,
    totals: Totals,
    /// The last event that may hold usage, not read yet; empty if there is none.
    usage: Vec<u8>,
    text: TextMeter,
    /// The last events, in a ring buffer.
    tail: [Kept; TAIL_EVENTS],
    events: usize,
    /// Whether any byte has passed.
    begun: bool,
}

/// One of the last events.
#[derive(Default)]
struct Kept {
    data: Vec<u8>,
    /// For an event too large to keep.
    judged: Option<Progress>,
    /// Its error's class, if it is such an event and reports a failure.
    failure: Option<ErrorClass>,
    /// Whether the stream ended inside the event.
    half: bool,
}

/// The form of a reply, as far as the observer needs it.
#[derive(Clone, Copy, Debug)]
pub struct ReplyForm<'a> {
    /// The dialect the provider answers in.
    pub dialect: DialectId,
    /// `Content-Type`.
    pub content_type: &'a [u8],
    /// Whether there is a `Content-Encoding`: then the bytes can't be read.
    pub encoded: bool,
    /// Whether to drop the chunk that holds only usage, because the gateway requested it and the client did not.
    pub hide_usage: bool,
    /// Whether the end of streams is the dialect's: see [`Endpoint::has_known_end`](super::Endpoint::has_known_end).
    pub known_end: bool,
}

impl ReplyObserver {
    /// An observer for a reply of this form.
    pub fn new(form: ReplyForm<'_>) -> Self {
        let starts =
            |prefix: &[u8]| form.content_type.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
        let dialect = form.dialect.dialect();
        let view = if form.encoded {
            View::Blind
        } else if starts(b"text/event-stream") {
            let reader = if form.hide_usage {
                Reader::Filter(SseFilter::new(MAX_EVENT_BYTES, true))
            } else {
                Reader::Watch(SseDecoder::new(MAX_EVENT_BYTES))
            };
            let seen = Seen {
                dialect,
                totals: Totals::default(),
                usage: Vec::new(),
                text: TextMeter::default(),
                tail: Default::default(),
                events: 0,
                begun: false,
            };
            View::Sse(Box::new(Stream { reader, seen }))
        } else if starts(b"application/vnd.amazon.eventstream") {
            View::Aws(Box::new(aws::AwsStream::new(dialect)))
        } else if starts(b"application/json") || form.known_end {
            // A conversation has no other form, whatever type its reply has.
            View::Json(Box::new(JsonTap::new(dialect.reply_keys())))
        } else {
            View::Blind
        };
        Self { dialect, view, known_end: form.known_end }
    }

    /// Observes `frame` and returns the bytes to forward: the frame itself, unless a part of it is dropped.
    pub fn frame(&mut self, frame: Bytes) -> SmallVec<[Bytes; 2]> {
        match &mut self.view {
            View::Blind => {}
            View::Json(tap) => tap.push(&frame),
            View::Aws(stream) => stream.push(&frame),
            View::Sse(stream) => {
                let seen = &mut stream.seen;
                seen.begun |= !frame.is_empty();
                match &mut stream.reader {
                    Reader::Watch(decoder) => decoder.push(&frame, &mut |event| {
                        seen.event(&event);
                    }),
                    Reader::Filter(filter) => return filter.push(frame, &mut |event: &Event<'_>| seen.keep(event)),
                }
            }
        }
        smallvec![frame]
    }

    /// The reply ended: returns the bytes that were held back.
    pub fn finish(&mut self) -> SmallVec<[Bytes; 2]> {
        if let View::Sse(stream) = &mut self.view {
            let seen = &mut stream.seen;
            match &mut stream.reader {
                Reader::Watch(decoder) => {
                    decoder.finish(&mut |event| {
                        seen.event(&event);
                    });
                }
                Reader::Filter(filter) => {
                    return filter.finish(&mut |event: &Event<'_>| seen.keep(event)).into_iter().collect();
                }
            }
        }
        SmallVec::new()
    }

    /// How the reply would end here. A stream whose last event is of a known dialect and does not close it was cut; an
    /// unknown form is taken as it is, unless it ends inside an event.
    pub fn ending(&self, mode: StreamMode) -> StreamEnding {
        let (ending, inside_event) = match &self.view {
            View::Blind => (StreamEnding::Unknown, false),
            View::Json(tap) if mode != StreamMode::JsonArray || tap.failed() => (StreamEnding::Unknown, false),
            View::Json(tap) if tap.complete() => (StreamEnding::Complete, false),
            View::Json(_) => (StreamEnding::Cut, true),
            View::Sse(stream) => (stream.seen.ending(), stream.seen.is_inside_event()),
            View::Aws(stream) => (stream.ending(), stream.is_inside_event()),
        };
        match ending {
            StreamEnding::Cut | StreamEnding::Complete if !self.known_end && !inside_event => StreamEnding::Unknown,
            ending => ending,
        }
    }

    /// The class of the error that a whole reply is, in place of an answer: an error object, or something else than a
    /// whole JSON document. `None` for an answer, and for what can't be judged.
    pub fn failure(&self) -> Option<ErrorClass> {
        let View::Json(tap) = &self.view else { return None };
        if !self.known_end {
            return None;
        }
        if !tap.complete() {
            return Some(ErrorClass::BadGateway);
        }
        // An answer has its usage, whatever else is in it.
        let error = tap.value(3).filter(|error| error.starts_with(b"{") && tap.value(0).is_none())?;
        let body = [&b"{\"error\":"[..], error, b"}"].concat();
        Some(self.dialect.read_error(200, &body).class)
    }

    /// Elements of a JSON array that have passed.
    pub fn elements(&self) -> u64 {
        match &self.view {
            View::Json(tap) => tap.elements(),
            View::Blind | View::Sse(_) | View::Aws(_) => 0,
        }
    }

    /// The results so far.
    pub fn totals(&mut self) -> Totals {
        match &mut self.view {
            View::Blind => Totals::default(),
            View::Json(tap) => Totals {
                usage: buffered_usage(tap, self.dialect),
                model: tap.value(1).and_then(|raw| serde_json::from_slice(raw).ok()),
                ..Totals::default()
            },
            View::Sse(stream) => stream.seen.totals(),
            View::Aws(stream) => stream.totals(),
        }
    }
}

/// The token counts of a buffered reply, and what it is billed by.
fn buffered_usage(tap: &JsonTap, dialect: &dyn Dialect) -> Usage {
    let counted = tap.value(0).and_then(|raw| dialect.read_usage(raw)).map(Usage::from);
    let mut usage = tap.value(2).and_then(|raw| dialect.read_billed(raw)).unwrap_or_default();
    usage.update(counted.unwrap_or_default());
    usage
}

impl Seen {
    /// Observes an event; true when it may hold usage.
    fn event(&mut self, event: &Event<'_>) -> bool {
        let data = event.data;
        if data.is_empty() {
            return false;
        }
        self.text.event(data);
        let usage = has_usage(data);
        if usage {
            if self.dialect.has_partial_usage() || data.len() > MAX_KEPT {
                self.read(data);
            } else {
                self.usage.clear();
                self.usage.extend_from_slice(data);
            }
        }
        if let Some(kept) = self.tail.get_mut(self.events % TAIL_EVENTS) {
            kept.data.clear();
            (kept.judged, kept.failure, kept.half) = (None, None, false);
            let half = || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err();
            if !event.terminated && data.starts_with(b"{") && half() {
                // Half an object at the very end: whatever it was, there was more of it.
                kept.judged = Some(Progress::default());
                kept.half = true;
            } else if data.len() > MAX_KEPT || event.name == Some(b"error") {
                kept.judged = Progress::of(self.dialect, event.name, data);
                let failed = kept.judged.as_ref().is_some_and(|progress| progress.failed);
                kept.failure = failed.then(|| Progress::class_of_failure(self.dialect, event.name, data));
            } else {
                kept.data.extend_from_slice(data);
            }
        }
        self.events += 1;
        usage
    }

    /// Whether the client gets this event.
    fn keep(&mut self, event: &Event<'_>) -> bool {
        let usage = self.event(event);
        !(usage && self.dialect.read_progress(None, event.data).is_some_and(|progress| progress.usage_only))
    }

    fn read(&mut self, data: &[u8]) {
        let Some(Progress { model, usage, .. }) = self.dialect.read_progress(None, data) else { return };
        self.totals.model = self.totals.model.take().or(model);
        if let Some(usage) = usage {
            self.totals.usage.update(usage.into());
        }
    }

    /// Reads the events that were kept.
    fn totals(&mut self) -> Totals {
        let usage = std::mem::take(&mut self.usage);
        if !usage.is_empty() {
            self.read(&usage);
        }
        if self.totals.model.is_none() {
            let tail = std::mem::take(&mut self.tail);
            self.totals.model = tail.iter().find_map(|kept| kept.progress(self.dialect)?.model);
            self.tail = tail;
        }
        self.totals.text = Some(self.text.bytes());
        self.totals.clone()
    }

    /// Whether half an event is the last.
    fn is_inside_event(&self) -> bool {
        let last = self.events.checked_sub(1).and_then(|n| self.tail.get(n % TAIL_EVENTS));
        last.is_some_and(|kept| kept.half)
    }

    fn ending(&self) -> StreamEnding {
        // Not even a beginning: no provider answers so.
        if !self.begun {
            return StreamEnding::Cut;
        }
        let tail = self.tail.each_ref().map(|kept| kept.progress(self.dialect));
        let last = self.events.checked_sub(1).and_then(|n| tail.get(n % TAIL_EVENTS)?.as_ref());
        let mut choices: SmallVec<[(i64, bool); TAIL_EVENTS]> = SmallVec::new();
        for (choice, ended) in tail.iter().flatten().flat_map(|progress| &progress.choices) {
            match choices.iter_mut().find(|(known, _)| known == choice) {
                Some((_, known)) => *known |= ended,
                None => choices.push((*choice, *ended)),
            }
        }
        let failed = |progress: &Option<Progress>| progress.as_ref().is_some_and(|progress| progress.failed);
        if let Some((_, kept)) = tail.iter().zip(&self.tail).find(|(progress, _)| failed(progress)) {
            StreamEnding::Failed(kept.class_of_failure(self.dialect))
        } else if tail.iter().flatten().any(|progress| progress.ends)
            || (!choices.is_empty() && choices.iter().all(|(_, ended)| *ended))
        {
            StreamEnding::Complete
        } else if last.is_none() && self.events > 0 {
            StreamEnding::Unknown
        } else {
            // More events must follow, or something else came than events.
            StreamEnding::Cut
        }
    }
}

impl Kept {
    /// The progress of the stream at this event; `None` if the dialect has no event of its form.
    fn progress(&self, dialect: &dyn Dialect) -> Option<Progress> {
        self.judged.clone().or_else(|| dialect.read_progress(None, &self.data))
    }

    /// The class of the error in it, if it reports a failure.
    fn class_of_failure(&self, dialect: &dyn Dialect) -> ErrorClass {
        self.failure.unwrap_or_else(|| Progress::class_of_failure(dialect, None, &self.data))
    }
}

/// Whether `data` has a usage field that is not `null` (providers repeat `"usage":null` in every chunk). Linear: after
/// a match only a few bytes are examined, since a model's own text may be full of matches.
fn has_usage(data: &[u8]) -> bool {
    USAGE.find_iter(data).any(|at| {
        let rest = data.get(at + USAGE.needle().len()..).unwrap_or_default();
        let rest = rest.strip_prefix(b"Metadata").unwrap_or(rest);
        let Some(rest) = rest.strip_prefix(b"\"") else { return false };
        // Spaces are legal here, and providers write few.
        let mut next = rest.iter().take(16).skip_while(|b| b.is_ascii_whitespace());
        next.next() == Some(&b':') && next.find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b != b'n')
    })
}

#[cfg(test)]
mod tests;
