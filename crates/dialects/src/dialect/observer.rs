//! Watches a reply on its way past: token counts, the model that answered, and whether a stream came to its end.
//!
//! Nothing is buffered for this. Buffered replies go by a [`JsonTap`]; of a stream's events only the last one that may
//! hold usage and the last few are kept, in buffers that are used again.

mod aws;
mod text_meter;

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use smallvec::{SmallVec, smallvec};

use self::text_meter::TextMeter;
use super::{Dialect, DialectId, Progress, StreamEnding, Usage, classify::StreamMode};
use crate::{
    conversation::Unsupported,
    stream::{Event, JsonTap, SseDecoder, SseFilter, sse::MAX_EVENT_BYTES},
};

/// How many last events are kept to tell whether a stream ended. A closing chunk may be followed by a usage chunk,
/// an annotation and `[DONE]`.
const TAIL_EVENTS: usize = 4;
/// Events beyond this are judged as they pass instead of being kept.
const MAX_KEPT: usize = 64 * 1024;

/// Both `"usage"` and `"usageMetadata"` begin so.
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage"));

/// What was read of a finished or abandoned reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Token counts.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// The provider counted nothing: the counts are ours, from the length of the text.
    pub estimated: bool,
    /// Fields of a translated reply that the client's dialect does not support.
    pub lost: Unsupported,
    /// Bytes of text that have passed, about; absent where they were not read.
    pub text: Option<u64>,
}

/// Watches one reply.
pub struct ReplyObserver {
    dialect: &'static dyn Dialect,
    view: View,
    known_end: bool,
}

enum View {
    /// Nothing can be read: compressed, or not a format we know.
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
    /// The last events, written round and round.
    tail: [Kept; TAIL_EVENTS],
    events: usize,
    /// Any byte has passed.
    begun: bool,
}

/// One of the last events.
#[derive(Default)]
struct Kept {
    data: Vec<u8>,
    /// For an event too large to keep.
    judged: Option<Verdict>,
}

/// What an event says about the end of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The stream may end after it.
    Closes,
    /// The answer has failed.
    Fails,
    /// More must come.
    Goes,
    /// Half of it is missing.
    Half,
    /// It is of no form we know.
    Unknown,
}

/// What the relay should know of the reply's form.
#[derive(Clone, Copy, Debug)]
pub struct ReplyForm<'a> {
    /// The dialect the provider answers in.
    pub dialect: DialectId,
    /// `Content-Type`.
    pub content_type: &'a [u8],
    /// Whether there is a `Content-Encoding`: then the bytes can't be read.
    pub encoded: bool,
    /// Drop the chunk that holds only usage: the gateway requested it, the client did not.
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
        } else if starts(b"application/json") {
            View::Json(Box::new(JsonTap::new(dialect.reply_keys())))
        } else {
            View::Blind
        };
        Self { dialect, view, known_end: form.known_end }
    }

    /// Looks at `frame` and gives what to forward now: the frame itself, unless a part of it is to be dropped.
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

    /// The reply ended: gives what was held back.
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

    /// Elements of a JSON array that have passed.
    pub fn elements(&self) -> u64 {
        match &self.view {
            View::Json(tap) => tap.elements(),
            View::Blind | View::Sse(_) | View::Aws(_) => 0,
        }
    }

    /// What was read of the reply so far.
    pub fn totals(&mut self) -> Totals {
        match &mut self.view {
            View::Blind => Totals::default(),
            View::Json(tap) => Totals {
                usage: tap.value(0).and_then(|raw| self.dialect.read_usage(raw)).map(Usage::from).unwrap_or_default(),
                model: tap.value(1).and_then(|raw| serde_json::from_slice(raw).ok()),
                ..Totals::default()
            },
            View::Sse(stream) => stream.seen.totals(),
            View::Aws(stream) => stream.totals(),
        }
    }
}

impl Seen {
    /// Looks at an event; true when it may hold usage.
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
            kept.judged = (data.len() > MAX_KEPT).then(|| verdict(self.dialect, data));
            // Half an object at the very end: whatever it was, there was more of it.
            let half = || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err();
            if !event.terminated && data.starts_with(b"{") && half() {
                kept.judged = Some(Verdict::Half);
            }
            if kept.judged.is_none() {
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

    /// Reads what was kept for later.
    fn totals(&mut self) -> Totals {
        let usage = std::mem::take(&mut self.usage);
        if !usage.is_empty() {
            self.read(&usage);
        }
        if self.totals.model.is_none() {
            let tail = std::mem::take(&mut self.tail);
            let named = tail.iter().find_map(|kept| self.dialect.read_progress(None, &kept.data)?.model);
            (self.totals.model, self.tail) = (named, tail);
        }
        self.totals.text = Some(self.text.bytes());
        self.totals.clone()
    }

    /// Whether half an event is the last.
    fn is_inside_event(&self) -> bool {
        let last = self.events.checked_sub(1).and_then(|n| self.tail.get(n % TAIL_EVENTS));
        last.is_some_and(|kept| kept.judged == Some(Verdict::Half))
    }

    fn ending(&self) -> StreamEnding {
        let verdict = |kept: &Kept| kept.judged.unwrap_or_else(|| verdict(self.dialect, &kept.data));
        // Not even a beginning: no provider answers so.
        if !self.begun {
            return StreamEnding::Cut;
        }
        let verdicts = self.tail.each_ref().map(verdict);
        let last = self.events.checked_sub(1).and_then(|n| verdicts.get(n % TAIL_EVENTS));
        if verdicts.contains(&Verdict::Fails) {
            StreamEnding::Failed
        } else if verdicts.contains(&Verdict::Closes) {
            StreamEnding::Complete
        } else if last.is_none_or(|last| *last == Verdict::Unknown) {
            StreamEnding::Unknown
        } else {
            StreamEnding::Cut
        }
    }
}

/// What this event says about the end of its stream.
fn verdict(dialect: &dyn Dialect, data: &[u8]) -> Verdict {
    if data.starts_with(b"[DONE]") {
        return Verdict::Closes;
    }
    match dialect.read_progress(None, data) {
        Some(progress) if progress.failed => Verdict::Fails,
        Some(progress) if progress.ends => Verdict::Closes,
        Some(_) => Verdict::Goes,
        None => Verdict::Unknown,
    }
}

/// Whether `data` has a usage member that is not `null` (providers repeat `"usage":null` in every chunk). Linear: what
/// follows a hit is looked at for a few bytes only, since a model's own text may be full of hits.
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
