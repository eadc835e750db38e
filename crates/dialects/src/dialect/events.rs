//! What readers and writers of streams have in common in all dialects, and what replies say about themselves.

use serde::de::IgnoredAny;

use super::{
    StreamMode,
    fields::{self, Repair},
};
use crate::conversation::{Event, Failure, Unsupported};

/// Reads one stream, event by event.
pub trait ReadEvents: Send {
    /// Reads one event: the `data` of a server-sent event, or the payload of an event-stream frame, with its name
    /// (`event:`, `:event-type`, `:exception-type`). Lends what it says to `sink`, in order. Events that are not known
    /// say nothing; one that is no JSON ends the stream with an error (`unreadable`). `data` is UTF-8.
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn FnMut(Event<'_>));

    /// The provider's stream ended. Says what was held back: for dialects without a mark of the end, [`Event::End`] if
    /// the answer was complete; nothing if it was cut.
    fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>));
}

/// The end of a stream whose event can't be read: what was in it is lost, so the rest is no whole answer. `None` for
/// what is JSON but not what was expected, and for events that are none of the dialect's: empty, `[DONE]`, named and no
/// object.
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

/// The end of a stream that can't be translated any further.
pub(super) fn cut(message: String) -> Failure<'static> {
    Failure::bad_gateway(message)
}

/// What to do about an event that can't be read: to read it without fields of unexpected types, whose names
/// are beside it; or to end the stream, if one of them is `vital` or it is no JSON. `None` for events that are none of
/// the dialect's.
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
    /// The model of the request.
    pub model: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Chat Completions: the client requested a chunk with usage.
    pub include_usage: bool,
    /// How the stream is framed.
    pub mode: StreamMode,
    /// Tokens of the prompt, about: for dialects that must say a number before the provider has counted.
    pub estimated_input: u64,
}
