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
use super::{Family, Usage, anthropic, classify::StreamMode, gemini::usage as gemini, openai};
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

const OPENAI_KEYS: &[&str] = &["usage", "model"];
const GEMINI_KEYS: &[&str] = &["usageMetadata", "modelVersion"];
/// Converse names no model in its reply.
const BEDROCK_KEYS: &[&str] = &["usage"];

/// What a finished or abandoned reply has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Token counts.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// The provider counted nothing: the counts are ours, from the length of the text.
    pub estimated: bool,
    /// What of a translated reply the client was not told.
    pub lost: Unsupported,
    /// Bytes of text that have passed, about; absent where nobody looked.
    pub text: Option<u64>,
}

/// Watches one reply.
pub struct ReplyObserver {
    family: Family,
    view: View,
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
    /// Drops usage chunks that the client did not ask for.
    Filter(SseFilter),
}

struct Seen {
    family: Family,
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
    /// More must come.
    Goes,
    /// It is of no form we know.
    Unknown,
}

/// What the relay should know of the reply's form.
#[derive(Clone, Copy, Debug)]
pub struct ReplyForm<'a> {
    /// The dialect the provider answers in.
    pub family: Family,
    /// `Content-Type`.
    pub content_type: &'a [u8],
    /// Whether there is a `Content-Encoding`: then the bytes can't be read.
    pub encoded: bool,
    /// Drop the chunk that holds only usage: we asked for it, the client did not.
    pub hide_usage: bool,
}

impl ReplyObserver {
    /// An observer for a reply of this form.
    pub fn new(form: ReplyForm<'_>) -> Self {
        let starts =
            |prefix: &[u8]| form.content_type.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
        let view = if form.encoded {
            View::Blind
        } else if starts(b"text/event-stream") {
            let reader = if form.hide_usage {
                Reader::Filter(SseFilter::new(MAX_EVENT_BYTES, true))
            } else {
                Reader::Watch(SseDecoder::new(MAX_EVENT_BYTES))
            };
            let seen = Seen {
                family: form.family,
                totals: Totals::default(),
                usage: Vec::new(),
                text: TextMeter::default(),
                tail: Default::default(),
                events: 0,
                begun: false,
            };
            View::Sse(Box::new(Stream { reader, seen }))
        } else if starts(b"application/vnd.amazon.eventstream") {
            View::Aws(Box::default())
        } else if starts(b"application/json") {
            View::Json(Box::new(JsonTap::new(match form.family {
                Family::OpenAi | Family::Anthropic => OPENAI_KEYS,
                Family::Gemini => GEMINI_KEYS,
                Family::Bedrock => BEDROCK_KEYS,
            })))
        } else {
            View::Blind
        };
        Self { family: form.family, view }
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

    /// Whether the reply may end here. A stream whose last event is of a known dialect and does not close it was cut;
    /// a shape nobody knows is taken as it is.
    pub fn may_end(&self, mode: StreamMode) -> bool {
        match &self.view {
            View::Blind => true,
            View::Json(tap) => mode != StreamMode::JsonArray || tap.failed() || tap.complete(),
            View::Sse(stream) => stream.seen.may_end(),
            View::Aws(stream) => stream.may_end(),
        }
    }

    /// Elements of a JSON array that have passed.
    pub fn elements(&self) -> u64 {
        match &self.view {
            View::Json(tap) => tap.elements(),
            View::Blind | View::Sse(_) | View::Aws(_) => 0,
        }
    }

    /// What the reply has told so far.
    pub fn totals(&mut self) -> Totals {
        match &mut self.view {
            View::Blind => Totals::default(),
            View::Json(tap) => Totals {
                usage: tap.value(0).and_then(|raw| Usage::parse(self.family, raw)).unwrap_or_default(),
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
            // Anthropic's usage comes in two halves, in the first event and near the end; elsewhere the last counts.
            if self.family == Family::Anthropic || data.len() > MAX_KEPT {
                self.read(data);
            } else {
                self.usage.clear();
                self.usage.extend_from_slice(data);
            }
        }
        if let Some(kept) = self.tail.get_mut(self.events % TAIL_EVENTS) {
            kept.data.clear();
            kept.judged = (data.len() > MAX_KEPT).then(|| verdict(self.family, data));
            // Half an object at the very end: whatever it was, there was more of it.
            let half = || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err();
            if !event.terminated && data.starts_with(b"{") && half() {
                kept.judged = Some(Verdict::Goes);
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
        !(usage && openai::Chunk::parse(event.data).is_some_and(|c| c.is_usage_only()))
    }

    fn read(&mut self, data: &[u8]) {
        let (model, usage) = match self.family {
            Family::OpenAi => openai::Chunk::parse(data).map(|c| (c.model().map(str::to_owned), c.usage())),
            Family::Anthropic => anthropic::Event::parse(data).map(anthropic::Event::read),
            Family::Gemini => gemini::Chunk::parse(data).map(|c| (c.model().map(str::to_owned), c.usage())),
            // Its streams are no server-sent events.
            Family::Bedrock => None,
        }
        .unwrap_or_default();
        self.totals.model = self.totals.model.take().or(model);
        if let Some(usage) = usage {
            self.totals.usage.update(usage);
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
            let named = tail.iter().find_map(|kept| match self.family {
                Family::OpenAi => openai::Chunk::parse(&kept.data)?.model().map(str::to_owned),
                Family::Gemini => gemini::Chunk::parse(&kept.data)?.model().map(str::to_owned),
                Family::Anthropic | Family::Bedrock => None,
            });
            (self.totals.model, self.tail) = (named, tail);
        }
        self.totals.text = Some(self.text.bytes());
        self.totals.clone()
    }

    fn may_end(&self) -> bool {
        let verdict = |kept: &Kept| kept.judged.unwrap_or_else(|| verdict(self.family, &kept.data));
        let last = self.events.checked_sub(1).and_then(|n| self.tail.get(n % TAIL_EVENTS));
        // Not even a beginning: no provider answers so.
        if !self.begun {
            return false;
        }
        self.tail.iter().any(|kept| verdict(kept) == Verdict::Closes)
            || last.is_none_or(|kept| verdict(kept) == Verdict::Unknown)
    }
}

/// What this event says about the end of its stream.
fn verdict(family: Family, data: &[u8]) -> Verdict {
    if data.starts_with(b"[DONE]") {
        return Verdict::Closes;
    }
    let closes = match family {
        Family::OpenAi => openai::Chunk::parse(data).filter(openai::Chunk::is_known).map(|c| c.is_terminal()),
        Family::Anthropic => anthropic::Event::parse(data).filter(anthropic::Event::is_known).map(|e| e.is_terminal()),
        Family::Gemini => gemini::Chunk::parse(data).filter(gemini::Chunk::is_known).map(|c| c.is_terminal()),
        Family::Bedrock => None,
    };
    match closes {
        Some(true) => Verdict::Closes,
        Some(false) => Verdict::Goes,
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
        // Spaces are legal here, and nobody writes many.
        let mut next = rest.iter().take(16).skip_while(|b| b.is_ascii_whitespace());
        next.next() == Some(&b':') && next.find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b != b'n')
    })
}

#[cfg(test)]
mod tests;
