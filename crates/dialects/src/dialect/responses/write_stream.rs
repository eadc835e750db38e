//! A stream for a client.
//!
//! Every block becomes a separate item, so that blocks which alternate need not be held back. The text of an item is
//! written up to five times; it is kept as it was written, in quotes and escaped, and copied.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    HOME, IMAGE, REDACTED, SIGNS_CALL,
    client_tools::{Arguments, ClientTool},
    error, hosted,
    write_reply::{
        Ending, Envelope, Made, core_id, item_id, marked, write_annotation, write_item, write_logprobs, write_part,
        write_summary,
    },
};
use crate::{
    conversation::{
        BlockStart, Citation, ErrorClass, Failure, HostedCall, Media, Signature, Text, TokenLogprob, TokenUsage,
        ToolForm, ToolName, free_text::TextReader,
    },
    dialect::{
        ReplyHead,
        sequence::{Answer, Choice, Sequencer, WriteBlocks},
    },
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Writes a stream.
pub(super) type Writer = Sequencer<ResponseEvents>;

/// The shapes of the events of a response.
pub(super) struct ResponseEvents {
    wire: Wire,
    head: ReplyHead,
    /// The common part of the ids.
    core: String,
    model: String,
    /// In the order of `output_index`.
    items: Vec<Item>,
    /// Log-probabilities of the text that comes next: the elements of a JSON array.
    logprobs: Vec<u8>,
}

impl Writer {
    /// A writer of a stream with this head.
    pub(super) fn new(head: ReplyHead) -> Self {
        Self::of(ResponseEvents {
            wire: Wire::default(),
            core: head.id.clone(),
            model: head.model.clone(),
            head,
            items: Vec::new(),
            logprobs: Vec::new(),
        })
    }
}

/// Numbers events.
#[derive(Default)]
struct Wire {
    sequence: u64,
}

impl Wire {
    /// Appends an event.
    fn send(&mut self, out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
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
struct Item {
    id: String,
    at: usize,
    kind: Kind,
    /// The text so far, as a JSON string without its last quote.
    text: Vec<u8>,
    /// Elements of a JSON array.
    annotations: Vec<u8>,
    /// Number of annotations.
    cited: u64,
    /// Elements of a JSON array.
    logprobs: Vec<u8>,
    /// The item as it ended; empty before its end.
    whole: Vec<u8>,
}

enum Kind {
    Text,
    Refusal,
    /// With its signature, once that has come.
    Thinking(Option<Text<'static>>),
    Image(Box<Media<'static>>),
    Call(Text<'static>, ToolName<'static>, Progress),
    Hosted(Box<HostedCall<'static>>),
}

/// The state of the arguments of a call.
enum Progress {
    /// They are an object.
    Object,
    /// They hold free text, which this takes out of them.
    Free(Box<TextReader>),
    /// They held free text. `true` if it was whole.
    Read(bool),
}

impl WriteBlocks for ResponseEvents {
    type Choice = ();
    /// The item's index.
    type Block = usize;
    const STARTS_ERRORS: bool = true;

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, _: &TokenUsage, out: &mut Vec<u8>) {
        self.core = core_id(id, &self.head);
        if let Some(model) = model {
            self.model = model.decode().into_owned();
        }
        self.response(out, "response.created", None);
        self.response(out, "response.in_progress", None);
    }

    fn open(&mut self, _: &mut Choice<()>, start: &BlockStart<'_>, out: &mut Vec<u8>) -> Option<usize> {
        let kind = match start {
            BlockStart::Text => Kind::Text,
            BlockStart::Refusal => Kind::Refusal,
            BlockStart::Thinking => Kind::Thinking(None),
            BlockStart::Redacted(signature) => Kind::Thinking(Some(marked(REDACTED, signature))),
            BlockStart::Hosted(call) => {
                let at = self.begin(Kind::Hosted(Box::new((**call).clone().into_owned())), out);
                self.end_item(at, out);
                return None;
            }
            BlockStart::Media(media) => {
                self.image(media, out);
                return None;
            }
            BlockStart::Call { id, name, signature } => {
                if let Some(signature) = signature {
                    let at = self.begin(Kind::Thinking(Some(marked(SIGNS_CALL, signature))), out);
                    self.end_item(at, out);
                }
                let progress = match name.form {
                    ToolForm::Custom => Progress::Free(Box::default()),
                    _ => Progress::Object,
                };
                Kind::Call(id.clone().into_owned(), name.clone().into_owned(), progress)
            }
        };
        Some(self.begin(kind, out))
    }

    fn delta(&mut self, _: &mut Choice<()>, at: &mut usize, text: &Text<'_>, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(*at) else { return };
        let name = match &mut item.kind {
            Kind::Text => "response.output_text.delta",
            Kind::Refusal => "response.refusal.delta",
            Kind::Thinking(_) => "response.reasoning_summary_text.delta",
            Kind::Call(_, _, Progress::Free(reader)) => {
                let input = reader.push(&text.decode());
                return item.more_input(&input, &mut self.wire, out);
            }
            Kind::Call(_, name, _) if name.form == ToolForm::Function => "response.function_call_arguments.delta",
            // Other calls come whole.
            Kind::Call(..) | Kind::Image(_) | Kind::Hosted(_) => return item.append(text),
        };
        if matches!(item.kind, Kind::Thinking(_)) && item.is_blank() {
            self.wire.send(out, "response.reasoning_summary_part.added", |event| {
                item.place(event, "summary_index");
                write_summary(event.key("part"), None);
            });
        }
        let logprobs = &self.logprobs;
        self.wire.send(out, name, |event| {
            item.place(event, item.index());
            event.field("delta", text);
            if matches!(item.kind, Kind::Text) {
                array(event.key("logprobs"), logprobs);
            }
        });
        if matches!(item.kind, Kind::Text) {
            item.add_logprobs(&mut self.logprobs);
        }
        item.append(text);
    }

    fn signature(&mut self, _: &mut Choice<()>, at: &mut usize, signature: &Signature<'_>, _: &mut Vec<u8>) {
        // This dialect has no field for a text's signature, and no provider requires one.
        if let Some(Item { kind: Kind::Thinking(proof), .. }) = self.items.get_mut(*at) {
            *proof = Some(signature.tagged(HOME).into_owned());
        }
    }

    fn citation(&mut self, _: &mut Choice<()>, at: &mut usize, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(*at) else { return };
        if !matches!(item.kind, Kind::Text) || citation.url.is_none() {
            return;
        }
        let annotation = ArrayWriter::elements(|list| write_annotation(list, citation));
        self.wire.send(out, "response.output_text.annotation.added", |event| {
            item.place(event, "content_index");
            event.field("annotation_index", &item.cited);
            event.key("annotation").extend_from_slice(&annotation);
        });
        join(&mut item.annotations, &annotation);
        item.cited += 1;
    }

    fn logprobs(&mut self, _: u32, tokens: &[TokenLogprob<'_>], _: &mut Vec<u8>) {
        join(&mut self.logprobs, &ArrayWriter::elements(|list| write_logprobs(list, tokens)));
    }

    fn close(&mut self, _: &mut Choice<()>, at: usize, out: &mut Vec<u8>) {
        self.end_item(at, out);
    }

    fn end(&mut self, choices: &[Answer<Self>], usage: &TokenUsage, out: &mut Vec<u8>) {
        let ending = Ending::of(choices.first().map_or_else(Default::default, |answer| answer.choice.reason));
        let name = match ending {
            Ending::Completed => "response.completed",
            Ending::Incomplete(_) => "response.incomplete",
            Ending::Failed(..) => "response.failed",
        };
        self.response(out, name, Some((ending, usage)));
    }

    fn error(&mut self, failure: &Failure<'_>, usage: &TokenUsage, out: &mut Vec<u8>) {
        let code = error::code(failure);
        // The field in the response has few codes; the event after it has the real one.
        let short = match failure.class {
            ErrorClass::RateLimit | ErrorClass::Quota => "rate_limit_exceeded",
            ErrorClass::InvalidRequest | ErrorClass::TooLarge => "invalid_prompt",
            _ => "server_error",
        };
        self.response(out, "response.failed", Some((Ending::Failed(short, &failure.message), usage)));
        self.wire.send(out, "error", |event| {
            event.field("code", &code);
            event.field("message", &*failure.message);
            event.field("param", &failure.param);
        });
    }
}

impl ResponseEvents {
    /// Appends an event with the response in its current state; at its end, with the token counts.
    fn response(&mut self, out: &mut Vec<u8>, name: &str, ending: Option<(Ending<'_>, &TokenUsage)>) {
        let envelope = Envelope {
            id: &self.core,
            model: &self.model,
            created: self.head.created,
            ending: ending.map(|(ending, _)| ending),
            usage: ending.map(|(_, usage)| usage),
            service_tier: None,
        };
        let items = &self.items;
        self.wire.send(out, name, |event| {
            envelope.write(event.key("response"), |output| {
                for item in items.iter().filter(|item| !item.whole.is_empty()) {
                    output.element().extend_from_slice(&item.whole);
                }
            });
        });
    }

    /// Writes an image, which came whole. Its signature precedes it.
    fn image(&mut self, media: &Media<'_>, out: &mut Vec<u8>) {
        if media.image_data().is_none() {
            return;
        }
        if let Some(signature) = &media.signature {
            let at = self.begin(Kind::Thinking(Some(marked(SIGNS_CALL, signature))), out);
            self.end_item(at, out);
        }
        let at = self.begin(Kind::Image(Box::new(media.clone().into_owned())), out);
        for step in ["in_progress", "generating", "completed"] {
            let Some(item) = self.items.get(at) else { return };
            self.wire.send(out, &format!("response.{IMAGE}.{step}"), |event| item.place(event, None));
        }
        self.end_item(at, out);
    }

    /// Begins an item, and returns its index.
    fn begin(&mut self, kind: Kind, out: &mut Vec<u8>) -> usize {
        let at = self.items.len();
        let mut item = Item {
            id: String::new(),
            at,
            kind,
            text: vec![b'"'],
            annotations: Vec::new(),
            cited: 0,
            logprobs: Vec::new(),
            whole: Vec::new(),
        };
        let id = item.made(|made| item_id(&self.core, made, u32::try_from(at).unwrap_or(u32::MAX)));
        item.id = id;
        self.wire.send(out, "response.output_item.added", |event| {
            event.field("output_index", &at);
            item.made(|made| write_item(event.key("item"), &item.id, made, false));
        });
        if matches!(item.kind, Kind::Text | Kind::Refusal) {
            self.wire.send(out, "response.content_part.added", |event| {
                item.place(event, "content_index");
                item.made(|made| write_part(event.key("part"), made, false));
            });
        }
        self.items.push(item);
        at
    }

    /// Ends an item.
    fn end_item(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at) else { return };
        if matches!(item.kind, Kind::Text) {
            item.add_logprobs(&mut self.logprobs);
        }
        item.end_input(&mut self.wire, out);
        item.done(&mut self.wire, out);
        let mut whole = Vec::with_capacity(item.text.len() + 256);
        item.made(|made| write_item(&mut whole, &item.id, made, true));
        self.wire.send(out, "response.output_item.done", |event| {
            event.field("output_index", &at);
            event.key("item").extend_from_slice(&whole);
        });
        item.whole = whole;
        // The written item holds them now.
        if matches!(item.kind, Kind::Image(_)) {
            item.kind = Kind::Thinking(None);
        }
        (item.text, item.annotations, item.logprobs) = (Vec::new(), Vec::new(), Vec::new());
    }
}

impl Item {
    /// Passes the item to `show` in its written form.
    fn made<T>(&self, show: impl FnOnce(&Made<'_>) -> T) -> T {
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
    fn write_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text);
        out.push(b'"');
    }

    /// Whether there is no text yet.
    fn is_blank(&self) -> bool {
        self.text.len() <= 1
    }

    /// Whether the text so far is not a JSON object, which the arguments of a call must be.
    fn is_cut(&self) -> bool {
        let object = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().starts_with('{'));
        !object(self.decoded().trim())
    }

    /// The text so far, decoded.
    fn decoded(&self) -> String {
        let string = [&self.text, &b"\""[..]].concat();
        serde_json::from_slice::<Text<'_>>(&string).map_or_else(|_| String::new(), |text| text.decode().into_owned())
    }

    /// Writes more of the text that a call passes to its tool.
    fn more_input(&mut self, input: &str, wire: &mut Wire, out: &mut Vec<u8>) {
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
    fn end_input(&mut self, wire: &mut Wire, out: &mut Vec<u8>) {
        if let Kind::Call(_, _, progress @ Progress::Free(_)) = &mut self.kind
            && let Progress::Free(reader) = std::mem::replace(progress, Progress::Read(false))
        {
            let (rest, whole) = reader.finish();
            *progress = Progress::Read(whole);
            self.more_input(&rest, wire, out);
        }
    }

    /// The name of the index that counts parts of such an item.
    fn index(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Text | Kind::Refusal => Some("content_index"),
            Kind::Thinking(_) => Some("summary_index"),
            Kind::Image(_) | Kind::Call(..) | Kind::Hosted(_) => None,
        }
    }

    /// Writes the position that an event belongs to. Every item has one part.
    fn place(&self, event: &mut ObjectWriter<'_>, index: impl Into<Option<&'static str>>) {
        event.field("item_id", &self.id);
        event.field("output_index", &self.at);
        if let Some(index) = index.into() {
            event.raw(index, "0");
        }
    }

    fn append(&mut self, text: &Text<'_>) {
        let quote = self.text.len();
        text.write(&mut self.text);
        self.text.pop();
        self.text.remove(quote);
    }

    fn add_logprobs(&mut self, tokens: &mut Vec<u8>) {
        if !tokens.is_empty() {
            join(&mut self.logprobs, tokens);
            tokens.clear();
        }
    }

    /// Writes the events that complete the item's part.
    fn done(&self, wire: &mut Wire, out: &mut Vec<u8>) {
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
fn array(out: &mut Vec<u8>, inside: &[u8]) {
    out.push(b'[');
    out.extend_from_slice(inside);
    out.push(b']');
}

/// Adds elements to the inside of a JSON array.
fn join(list: &mut Vec<u8>, elements: &[u8]) {
    if !list.is_empty() && !elements.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(elements);
}
