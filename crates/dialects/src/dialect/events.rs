//! Traits of the readers and writers of streams in all dialects, and the head that a written reply needs.

use serde::de::IgnoredAny;

use super::{
    StreamMode,
    fields::{self, Repair},
};
use crate::conversation::{Event, Failure, Text, Unsupported};

/// Reads one stream, event by event.
pub trait ReadEvents: Send {
    /// Reads one event: the `data` of a server-sent event, or the payload of an event-stream frame, with its name
    /// (`event:`, `:event-type`, `:exception-type`). Passes the events that it contains to `sink`, in order. Unknown
    /// events give none; one that is not JSON ends the stream with an error (`unreadable`). `data` is UTF-8.
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn FnMut(Event<'_>));

    /// The provider's stream ended. Passes on the events that were held back. For dialects without a mark of the end
    /// that includes [`Event::End`] if the answer was complete, and not if it was cut.
    fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>));
}

/// The error that ends a stream when one of its events can't be read: its content is lost, so the answer would be
/// incomplete. `None` for JSON of an unexpected form, and for events that do not belong to the dialect: empty,
/// `[DONE]`, named and not an object.
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

/// The error that ends a stream that can't be translated any further.
pub(super) fn cut(message: String) -> Failure<'static> {
    Failure::bad_gateway(message)
}

/// Decides how to handle an event that can't be read: either read it without the fields of unexpected types, whose
/// names are returned with it, or end the stream, if one of them is `vital` or the event is not JSON. `None` for events
/// that do not belong to the dialect.
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
    /// Appends `event` in this dialect, framed for the wire: no event, one or several. After [`Event::Error`] or
    /// [`Event::End`] the stream is complete, and nothing more is written.
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>);
}

/// The properties of a reply that are used where the provider's reply does not state them.
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
    /// Approximate tokens of the prompt, for dialects that must state a number before the provider has counted.
    pub estimated_input: u64,
}

impl ReplyHead {
    /// The provider's id of the reply, or ours behind `prefix`.
    pub(super) fn id_or<'t>(&self, id: Option<&'t Text<'_>>, prefix: &str) -> Text<'t> {
        id.map_or_else(|| format!("{prefix}{}", self.id).into(), Text::reborrow)
    }

    /// The provider's name of the model, or that of the request.
    pub(super) fn model_or<'t>(&'t self, model: Option<&'t Text<'_>>) -> Text<'t> {
        model.map_or_else(|| self.model.as_str().into(), Text::reborrow)
    }
}
