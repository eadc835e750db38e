//! Whether anything of an answer has come yet: the beginning of a reply, read while it can still be replaced.
//!
//! The first events of a stream announce an answer: a role, an id, a ping. What comes after them shows whether there is
//! one. The reader of the dialect's streams decides what an event is, so that there is no second list of events.

#[cfg(test)]
mod tests;

use super::{Dialect, DialectId, ReadEvents};
use crate::{
    conversation::{BlockStart, ErrorClass, Event, Failure},
    stream::{
        AwsDecoder, InvokeFilter, Member, SseDecoder, TopLevel,
        elements::{ArrayDecoder, ArrayPart},
    },
};

/// Largest event that is read, in bytes. Events before the first content have a few hundred bytes, those of Responses
/// a few kilobytes, as they repeat the request's tools. A larger one counts as content.
const MAX_EVENT: usize = 64 * 1024;

/// How a reply begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing of the answer has come: at most what announces it.
    Announced,
    /// Text, reasoning, a call, an image, or the regular end of the answer. So is what can't be judged.
    Content,
    /// The answer has failed before any of it has come, with an error of this class.
    Failed(ErrorClass),
}

/// The framing of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// Frames of an AWS event stream.
    Aws,
    /// Anthropic's events, inside frames of an AWS event stream.
    Invoke,
    /// Elements of a JSON array.
    Array,
}

enum Frames {
    Sse(SseDecoder),
    Aws(AwsDecoder),
    Invoke(InvokeFilter, SseDecoder),
    Array(ArrayDecoder),
}

/// Reads the beginning of one stream.
pub struct StreamBeginning {
    frames: Frames,
    seen: Seen,
}

/// What the events so far have shown.
struct Seen {
    dialect: &'static dyn Dialect,
    reader: Box<dyn ReadEvents>,
    state: Beginning,
    /// Any event has come.
    any: bool,
    /// One of the dialect's has.
    known: bool,
}

impl StreamBeginning {
    /// The beginning of a stream of `dialect`.
    pub fn new(dialect: DialectId, framing: Framing) -> Self {
        let frames = match framing {
            Framing::Sse => Frames::Sse(SseDecoder::new(MAX_EVENT)),
            Framing::Aws => Frames::Aws(AwsDecoder::default()),
            Framing::Invoke => Frames::Invoke(InvokeFilter::default(), SseDecoder::new(MAX_EVENT)),
            Framing::Array => Frames::Array(ArrayDecoder::default()),
        };
        let dialect = dialect.dialect();
        let reader = dialect.read_events();
        Self { frames, seen: Seen { dialect, reader, state: Beginning::Announced, any: false, known: false } }
    }

    /// Reads the next piece, wherever the network cut it. What it returns is final unless it is
    /// [`Announced`](Beginning::Announced).
    pub fn push(&mut self, piece: &[u8]) -> Beginning {
        let seen = &mut self.seen;
        match &mut self.frames {
            Frames::Sse(decoder) => seen.sse(decoder, piece),
            Frames::Invoke(filter, decoder) => {
                let mut events = Vec::new();
                filter.push(piece, &mut events);
                seen.sse(decoder, &events);
            }
            Frames::Aws(decoder) => {
                let read = decoder.push(piece, &mut |frame| match frame.error {
                    Some(_) => seen.turn(Beginning::Failed(ErrorClass::Internal)),
                    None => seen.event(Some(frame.name), frame.payload),
                });
                if read.is_err() {
                    seen.turn(Beginning::Failed(ErrorClass::BadGateway));
                }
            }
            Frames::Array(decoder) => {
                let read = decoder.push(piece, &mut |part| {
                    if let ArrayPart::Object(object) = part {
                        seen.event(None, object);
                    }
                });
                if read.is_err() {
                    seen.turn(Beginning::Content);
                }
            }
        }
        seen.state
    }

    /// The provider's stream has ended: never returns [`Announced`](Beginning::Announced). One without any event of the
    /// dialect can't be judged; an empty one has failed.
    pub fn finish(&mut self) -> Beginning {
        let seen = &mut self.seen;
        if let Frames::Sse(decoder) | Frames::Invoke(_, decoder) = &mut self.frames {
            decoder.finish(&mut |event| seen.event(event.name, event.data));
        }
        if seen.state == Beginning::Announced {
            let Seen { reader, state, .. } = seen;
            reader.finish(&mut |event| *state = after(*state, &event));
        }
        let is_foreign = seen.any && !seen.known;
        seen.turn(if is_foreign { Beginning::Content } else { Beginning::Failed(ErrorClass::BadGateway) });
        seen.state
    }
}

impl Seen {
    fn sse(&mut self, decoder: &mut SseDecoder, piece: &[u8]) {
        decoder.push(piece, &mut |event| self.event(event.name, event.data));
        if decoder.oversized() > 0 {
            self.turn(Beginning::Content);
        }
    }

    fn event(&mut self, name: Option<&[u8]>, data: &[u8]) {
        if self.state != Beginning::Announced || data.is_empty() {
            return;
        }
        // Readers take UTF-8.
        let text = String::from_utf8_lossy(data);
        let (state, known) = (&mut self.state, &mut self.known);
        self.reader.event(name, text.as_bytes(), &mut |event| {
            *known = true;
            *state = after(*state, &event);
        });
        self.any = true;
        self.known = self.known || self.dialect.read_progress(name, data).is_some();
    }

    /// Sets a state that is final.
    fn turn(&mut self, to: Beginning) {
        if self.state == Beginning::Announced {
            self.state = to;
        }
    }
}

/// The state after an event of an answer. A call and redacted reasoning are content as they open, since their deltas
/// may be empty.
fn after(state: Beginning, event: &Event<'_>) -> Beginning {
    use BlockStart::{Refusal, Text, Thinking};
    if state != Beginning::Announced {
        return state;
    }
    match event {
        Event::Error(failure) => Beginning::Failed(failure.class),
        Event::Delta { text, .. } if text.is_empty() => state,
        Event::Open { opened: Text | Refusal | Thinking, .. }
        | Event::Start { .. }
        | Event::Usage(_)
        | Event::Close { .. } => state,
        _ => Beginning::Content,
    }
}

/// What a whole reply with a status of 2xx is, where one of `dialect` is expected: never
/// [`Announced`](Beginning::Announced). JSON of another form that is no error is content if `any_form` is true, because
/// nothing is known about it.
pub fn of_whole(dialect: DialectId, body: &[u8], any_form: bool) -> Beginning {
    let dialect = dialect.dialect();
    let failed = |failure: &Failure<'_>| Beginning::Failed(failure.class);
    let Err(failure) = dialect.read_reply(body) else { return Beginning::Content };
    let repaired = dialect.repair_reply(body);
    if repaired.is_some_and(|(text, _)| dialect.read_reply(text.as_bytes()).is_ok()) {
        return Beginning::Content;
    }
    let top = TopLevel::scan(body).ok();
    let says_error = |top: &TopLevel<'_>| {
        top.get("error").is_some_and(|error| !error.is_null())
            || top.get("type").and_then(Member::as_str).is_some_and(|kind| kind == "error")
    };
    match top {
        Some(top) if any_form && !says_error(&top) => Beginning::Content,
        _ => failed(&failure),
    }
}
