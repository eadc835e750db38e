//! The items of a stream: their state while they are written, and their events.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    client_tools::{Arguments, ClientTool},
    hosted,
    write_reply::{Made, write_part, write_summary},
};
use crate::{
    conversation::{HostedCall, Media, Text, ToolName, free_text::TextReader},
    stream::json::ObjectWriter,
};

/// Numbers events.
#[derive(Default)]
pub(super) struct Wire {
    sequence: u64,
}

impl Wire {
    /// Appends an event.
    pub(super) fn send(&mut self, out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let mut event = ObjectWriter::begin(out).with("type", name).with("sequence_number", &self.sequence);
        self.sequence += 1;
        fill(&mut event);
        event.end();
        out.extend_from_slice(b"\n\n");
    }
}

/// An item of the output, while it is written and afterwards.
pub(super) struct Item {
    pub id: String,
    pub at: usize,
    pub kind: Kind,
    /// The text so far, as a JSON string without its last quote.
    pub text: Vec<u8>,
    /// Elements of a JSON array.
    pub annotations: Vec<u8>,
    /// Number of annotations.
    pub cited: u64,
    /// Elements of a JSON array.
    pub logprobs: Vec<u8>,
    /// The item as it ended; empty before its end.
    pub whole: Vec<u8>,
}

/// What an item is.
pub(super) enum Kind {
    Text,
    Refusal,
    /// With its signature, once that has come.
    Thinking(Option<Text<'static>>),
    Image(Box<Media<'static>>),
    Call(Text<'static>, ToolName<'static>, Progress),
    Hosted(Box<HostedCall<'static>>),
}

/// The state of the arguments of a call.
pub(super) enum Progress {
    /// They are an object.
    Object,
    /// They hold free text, which this takes out of them.
    Free(Box<TextReader>),
    /// They held free text. `true` if it was whole.
    Read(bool),
}

impl Item {
    /// Passes the item to `show` in its written form.
    pub(super) fn made<T>(&self, show: impl FnOnce(&Made<'_>) -> T) -> T {
        let text = |out: &mut Vec<u8>| self.write_text(out);
        let array = |inside: &[u8]| [b"[", inside, b"]"].concat();
        match &self.kind {
            Kind::Text => {
                let (annotations, logprobs) = (array(&self.annotations), array(&self.logprobs));
                show(&Made::Text { text: &text, annotations: &annotations, logprobs: &logprobs })
            }
            Kind::Refusal => show(&Made::Refusal { text: &text }),
            Kind::Thinking(proof) => {
                let text = if self.is_blank() { None } else { Some(&text as super::write_reply::Put<'_>) };
                show(&Made::Thinking { text, proof: proof.as_ref() })
            }
            Kind::Image(media) => {
                let data = |out: &mut Vec<u8>| media.image_data().map_or((), |(_, data)| data.write(out));
                show(&Made::Image { mime: media.image_data().map_or("", |(mime, _)| mime), data: &data })
            }
            Kind::Call(id, name, progress) => {
                let cut = match progress {
                    Progress::Object => self.is_cut(),
                    Progress::Free(_) => true,
                    Progress::Read(whole) => !whole,
                };
                let arguments = self.decoded();
                show(&Made::Call { id, name, arguments: &|| Cow::Borrowed(&arguments), cut })
            }
            Kind::Hosted(call) => show(&Made::Hosted(call)),
        }
    }

    /// Appends the text so far, as a JSON string.
    pub(super) fn write_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text);
        out.push(b'"');
    }

    /// Whether there is no text yet.
    pub(super) fn is_blank(&self) -> bool {
        self.text.len() <= 1
    }

    /// Whether the text so far is not a JSON object, which the arguments of a call must be.
    pub(super) fn is_cut(&self) -> bool {
        let object = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().starts_with('{'));
        !object(self.decoded().trim())
    }

    /// The text so far, decoded.
    pub(super) fn decoded(&self) -> String {
        let string = [&self.text, &b"\""[..]].concat();
        serde_json::from_slice::<Text<'_>>(&string).map_or_else(|_| String::new(), |text| text.decode().into_owned())
    }

    /// Writes more of the text that a call passes to its tool.
    pub(super) fn more_input(&mut self, input: &str, wire: &mut Wire, out: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        wire.send(out, "response.custom_tool_call_input.delta", |event| {
            self.place(event, None);
            event.field("delta", input);
        });
        self.append(&Text::from(input));
    }

    /// The arguments of a call have ended.
    pub(super) fn end_input(&mut self, wire: &mut Wire, out: &mut Vec<u8>) {
        if let Kind::Call(_, _, progress @ Progress::Free(_)) = &mut self.kind
            && let Progress::Free(reader) = std::mem::replace(progress, Progress::Read(false))
        {
            let (rest, whole) = reader.finish();
            *progress = Progress::Read(whole);
            self.more_input(&rest, wire, out);
        }
    }

    /// The name of the index that counts parts of such an item.
    pub(super) fn index(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Text | Kind::Refusal => Some("content_index"),
            Kind::Thinking(_) => Some("summary_index"),
            Kind::Image(_) | Kind::Call(..) | Kind::Hosted(_) => None,
        }
    }

    /// Writes the position that an event belongs to. Every item has one part.
    pub(super) fn place(&self, event: &mut ObjectWriter<'_>, index: impl Into<Option<&'static str>>) {
        event.field("item_id", &self.id);
        event.field("output_index", &self.at);
        if let Some(index) = index.into() {
            event.raw(index, "0");
        }
    }

    pub(super) fn append(&mut self, text: &Text<'_>) {
        let quote = self.text.len();
        text.write(&mut self.text);
        self.text.pop();
        self.text.remove(quote);
    }

    pub(super) fn add_logprobs(&mut self, tokens: &mut Vec<u8>) {
        if !tokens.is_empty() {
            join(&mut self.logprobs, tokens);
            tokens.clear();
        }
    }

    /// Writes the events that complete the item's part.
    pub(super) fn done(&self, wire: &mut Wire, out: &mut Vec<u8>) {
        let (name, part, key) = match &self.kind {
            Kind::Text => ("response.output_text.done", Some("response.content_part.done"), "text"),
            Kind::Refusal => ("response.refusal.done", Some("response.content_part.done"), "refusal"),
            Kind::Image(_) => return,
            Kind::Thinking(_) if self.is_blank() => return,
            Kind::Hosted(call) => {
                for name in hosted::events(call) {
                    wire.send(out, name, |event| {
                        self.place(event, None);
                        hosted::write_code(call, name, event);
                    });
                }
                return;
            }
            Kind::Thinking(_) => {
                ("response.reasoning_summary_text.done", Some("response.reasoning_summary_part.done"), "text")
            }
            Kind::Call(_, name, _) => match ClientTool::of(name.form).map(|tool| tool.arguments) {
                Some(Arguments::Json(field)) => ("response.function_call_arguments.done", None, field),
                Some(Arguments::Free(field)) => ("response.custom_tool_call_input.done", None, field),
                _ => return,
            },
        };
        let text = |out: &mut Vec<u8>| self.write_text(out);
        wire.send(out, name, |event| {
            self.place(event, self.index());
            if let Kind::Call(_, name, Progress::Object) = &self.kind {
                event.field("name", name);
            }
            text(event.key(key));
            if matches!(self.kind, Kind::Text) {
                array(event.key("logprobs"), &self.logprobs);
            }
        });
        let Some(part) = part else { return };
        wire.send(out, part, |event| {
            self.place(event, self.index());
            let out = event.key("part");
            match &self.kind {
                Kind::Thinking(_) => write_summary(out, Some(&text)),
                _ => self.made(|made| write_part(out, made, true)),
            }
        });
    }
}

/// Appends a JSON array that contains `inside`.
pub(super) fn array(out: &mut Vec<u8>, inside: &[u8]) {
    out.push(b'[');
    out.extend_from_slice(inside);
    out.push(b']');
}

/// Adds elements to the inside of a JSON array.
pub(super) fn join(list: &mut Vec<u8>, elements: &[u8]) {
    if !list.is_empty() && !elements.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(elements);
}
