//! A stream for a client.
//!
//! Every block becomes an item of its own, so that blocks which alternate need no waiting. The text of an item is said up to
//! five times; it is kept as it was written, in quotes and escaped, and copied.

use serde_json::value::RawValue;

use super::{
    HOME, REDACTED, SIGNS_CALL, error,
    write_reply::{
        Ending, Envelope, Made, core_id, item_id, marked, write_annotation, write_item, write_logprobs, write_part,
        write_summary,
    },
};
use crate::{
    conversation::{
        BlockStart, Citation, ErrorClass, Event, Failure, Finish, Signature, Text, TokenLogprob, TokenUsage,
    },
    dialect::{ReplyHead, WriteEvents},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// Writes a stream.
pub(super) struct Writer {
    wire: Wire,
    head: ReplyHead,
    /// What the ids are made of.
    core: String,
    model: String,
    /// In the order of `output_index`.
    items: Vec<Item>,
    /// Where a block stands in `items`.
    blocks: Vec<Option<usize>>,
    /// Tokens of the text that comes next: inside of a JSON array.
    logprobs: Vec<u8>,
    usage: TokenUsage,
    finish: Finish,
    started: bool,
    ended: bool,
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
        let mut event = ObjectWriter::begin(out);
        event.field("type", name);
        event.field("sequence_number", &self.sequence);
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
    /// What has come, as a JSON string without its last quote.
    text: Vec<u8>,
    /// Inside of a JSON array.
    annotations: Vec<u8>,
    /// How many they are.
    cited: u64,
    /// Inside of a JSON array.
    logprobs: Vec<u8>,
    /// The item as it ended; empty before.
    whole: Vec<u8>,
}

enum Kind {
    Text,
    Refusal,
    /// With its proof, once that has come.
    Thinking(Option<Text<'static>>),
    Call(Text<'static>, Text<'static>),
}

impl Writer {
    /// A writer of a stream that says this about itself.
    pub(super) fn new(head: ReplyHead) -> Self {
        Self {
            wire: Wire::default(),
            core: head.id.clone(),
            model: head.model.clone(),
            head,
            items: Vec::new(),
            blocks: Vec::new(),
            logprobs: Vec::new(),
            usage: TokenUsage::default(),
            finish: Finish::Stop,
            started: false,
            ended: false,
        }
    }

    /// Appends an event that holds the response as it is.
    fn response(&mut self, out: &mut Vec<u8>, name: &str, ending: Option<Ending<'_>>) {
        let envelope = Envelope {
            id: &self.core,
            model: &self.model,
            created: self.head.created,
            ending,
            usage: ending.map(|_| &self.usage),
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

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.core = core_id(id, &self.head);
        if let Some(model) = model {
            self.model = model.decode().into_owned();
        }
        self.response(out, "response.created", None);
        self.response(out, "response.in_progress", None);
    }

    fn open(&mut self, block: u32, opened: &BlockStart<'_>, out: &mut Vec<u8>) {
        let kind = match opened {
            BlockStart::Text => Kind::Text,
            BlockStart::Refusal => Kind::Refusal,
            BlockStart::Thinking => Kind::Thinking(None),
            BlockStart::Redacted(signature) => Kind::Thinking(Some(marked(REDACTED, signature))),
            BlockStart::Call { id, name, signature } => {
                if let Some(signature) = signature {
                    let at = self.begin(Kind::Thinking(Some(marked(SIGNS_CALL, signature))), out);
                    self.close(at, out);
                }
                Kind::Call(id.clone().into_owned(), name.clone().into_owned())
            }
        };
        let at = self.begin(kind, out);
        let block = block as usize;
        // Blocks are dense; what skips far ahead is none of ours.
        if block <= self.blocks.len() + 64 {
            if self.blocks.len() <= block {
                self.blocks.resize(block + 1, None);
            }
            if let Some(place) = self.blocks.get_mut(block) {
                *place = Some(at);
            }
        }
    }

    /// Begins an item, and gives its place.
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

    /// Where the item of a block stands, if it is open.
    fn find(&self, block: u32) -> Option<usize> {
        let at = (*self.blocks.get(block as usize)?)?;
        self.items.get(at).filter(|item| item.whole.is_empty()).map(|_| at)
    }

    fn delta(&mut self, block: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.find(block) else { return };
        let Some(item) = self.items.get_mut(at) else { return };
        if text.is_empty() {
            return;
        }
        let name = match &item.kind {
            Kind::Text => "response.output_text.delta",
            Kind::Refusal => "response.refusal.delta",
            Kind::Call(..) => "response.function_call_arguments.delta",
            Kind::Thinking(_) => "response.reasoning_summary_text.delta",
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
                let out = event.key("logprobs");
                out.push(b'[');
                out.extend_from_slice(logprobs);
                out.push(b']');
            }
        });
        if matches!(item.kind, Kind::Text) {
            item.add_logprobs(&mut self.logprobs);
        }
        item.append(text);
    }

    fn sign(&mut self, block: u32, signature: &Signature<'_>) {
        let found = self.find(block).and_then(|at| self.items.get_mut(at));
        // A text's own proof has no place here; its maker can do without.
        if let Some(Item { kind: Kind::Thinking(proof), .. }) = found {
            *proof = Some(signature.tagged(HOME).into_owned());
        }
    }

    fn cite(&mut self, block: u32, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let Some(item) = self.find(block).and_then(|at| self.items.get_mut(at)) else { return };
        if !matches!(item.kind, Kind::Text) || citation.url.is_none() {
            return;
        }
        // The array's brackets are not ours.
        let mut list = Vec::new();
        write_annotation(&mut ArrayWriter::begin(&mut list), citation);
        let annotation = list.get(1..).unwrap_or_default();
        self.wire.send(out, "response.output_text.annotation.added", |event| {
            item.place(event, "content_index");
            event.field("annotation_index", &item.cited);
            event.key("annotation").extend_from_slice(annotation);
        });
        join(&mut item.annotations, annotation);
        item.cited += 1;
    }

    fn tokens(&mut self, tokens: &[TokenLogprob<'_>]) {
        let mut list = Vec::new();
        write_logprobs(&mut ArrayWriter::begin(&mut list), tokens);
        join(&mut self.logprobs, list.get(1..).unwrap_or_default());
    }

    /// Ends an item.
    fn close(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at).filter(|item| item.whole.is_empty()) else { return };
        if matches!(item.kind, Kind::Call(..)) && item.is_blank() {
            // Clients put arguments together from deltas.
            self.wire.send(out, "response.function_call_arguments.delta", |event| {
                item.place(event, None);
                event.field("delta", "{}");
            });
            item.append(&"{}".into());
        }
        if matches!(item.kind, Kind::Text) {
            item.add_logprobs(&mut self.logprobs);
        }
        item.done(&mut self.wire, out);
        let mut whole = Vec::with_capacity(item.text.len() + 256);
        item.made(|made| write_item(&mut whole, &item.id, made, true));
        self.wire.send(out, "response.output_item.done", |event| {
            event.field("output_index", &at);
            event.key("item").extend_from_slice(&whole);
        });
        item.whole = whole;
        // The item holds them now.
        (item.text, item.annotations, item.logprobs) = (Vec::new(), Vec::new(), Vec::new());
    }

    fn close_all(&mut self, out: &mut Vec<u8>) {
        for at in 0..self.items.len() {
            self.close(at, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.close_all(out);
        let ending = Ending::of(self.finish);
        let name = match ending {
            Ending::Completed => "response.completed",
            Ending::Incomplete(_) => "response.incomplete",
            Ending::Failed(..) => "response.failed",
        };
        self.response(out, name, Some(ending));
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        let code = error::code(failure);
        // The response's own field has few words; the event behind it says more.
        let short = match failure.class {
            ErrorClass::RateLimit | ErrorClass::Quota => "rate_limit_exceeded",
            ErrorClass::InvalidRequest | ErrorClass::TooLarge => "invalid_prompt",
            _ => "server_error",
        };
        let ending = Ending::Failed(short, &failure.message);
        self.response(out, "response.failed", Some(ending));
        self.wire.send(out, "error", |event| {
            event.field("code", &code);
            event.field("message", &*failure.message);
            event.field("param", &failure.param);
        });
    }
}

impl WriteEvents for Writer {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Start { id, model, usage } => {
                self.usage.update(*usage);
                self.start(id.as_ref(), model.as_ref(), out);
                return;
            }
            // Clients expect the response before anything in it.
            _ => self.start(None, None, out),
        }
        match event {
            Event::Open { choice: 0, block, opened } => self.open(*block, opened, out),
            Event::Delta { choice: 0, block, text } => self.delta(*block, text, out),
            Event::Signature { choice: 0, block, signature } => self.sign(*block, signature),
            Event::Citation { choice: 0, block, citation } => self.cite(*block, citation, out),
            Event::Logprobs { choice: 0, tokens } => self.tokens(tokens),
            Event::Close { choice: 0, block } => {
                if let Some(at) = self.find(*block) {
                    self.close(at, out);
                }
            }
            Event::Finish { choice: 0, reason, .. } => {
                self.finish = *reason;
                self.close_all(out);
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::End => {
                self.end(out);
                self.ended = true;
            }
            Event::Error(failure) => {
                self.fail(failure, out);
                self.ended = true;
            }
            // This dialect has one answer.
            _ => {}
        }
    }
}

impl Item {
    /// Shows the item as what is written.
    fn made<T>(&self, show: impl FnOnce(&Made<'_>) -> T) -> T {
        let text = |out: &mut Vec<u8>| {
            out.extend_from_slice(&self.text);
            out.push(b'"');
        };
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
            Kind::Call(id, name) => show(&Made::Call { id, name, arguments: &text, cut: self.is_cut() }),
        }
    }

    /// Whether nothing has come.
    fn is_blank(&self) -> bool {
        self.text.len() <= 1
    }

    /// Whether what has come is no JSON object, as the arguments of a call are.
    fn is_cut(&self) -> bool {
        let string = [&self.text, &b"\""[..]].concat();
        let object = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().starts_with('{'));
        !serde_json::from_slice::<Text<'_>>(&string).is_ok_and(|text| object(text.decode().trim()))
    }

    /// The name of the index that counts parts of such an item.
    fn index(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Text | Kind::Refusal => Some("content_index"),
            Kind::Thinking(_) => Some("summary_index"),
            Kind::Call(..) => None,
        }
    }

    /// Writes where an event belongs. Every item has one part.
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

    /// Writes that the item's part is complete.
    fn done(&self, wire: &mut Wire, out: &mut Vec<u8>) {
        let (name, part, key) = match &self.kind {
            Kind::Text => ("response.output_text.done", Some("response.content_part.done"), "text"),
            Kind::Refusal => ("response.refusal.done", Some("response.content_part.done"), "refusal"),
            Kind::Thinking(_) if self.is_blank() => return,
            Kind::Thinking(_) => {
                ("response.reasoning_summary_text.done", Some("response.reasoning_summary_part.done"), "text")
            }
            Kind::Call(..) => ("response.function_call_arguments.done", None, "arguments"),
        };
        let text = |out: &mut Vec<u8>| {
            out.extend_from_slice(&self.text);
            out.push(b'"');
        };
        wire.send(out, name, |event| {
            self.place(event, self.index());
            if let Kind::Call(_, name) = &self.kind {
                event.field("name", name);
            }
            text(event.key(key));
            if matches!(self.kind, Kind::Text) {
                let out = event.key("logprobs");
                out.push(b'[');
                out.extend_from_slice(&self.logprobs);
                out.push(b']');
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

/// Adds elements to the inside of a JSON array.
fn join(list: &mut Vec<u8>, elements: &[u8]) {
    if !list.is_empty() && !elements.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(elements);
}
