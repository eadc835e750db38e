//! A stream for a client.
//!
//! Every block becomes a separate item, so that blocks which alternate need not be held back. The text of an item is
//! written up to five times; it is kept as it was written, in quotes and escaped, and copied.

use super::{
    HOME, IMAGE, REDACTED, SIGNS_CALL, error,
    stream_item::{Item, Kind, Progress, Wire, array, join},
    write_reply::{
        Ending, Envelope, core_id, item_id, marked, write_annotation, write_item, write_logprobs, write_part,
        write_summary,
    },
};
use crate::{
    conversation::{
        BlockStart, Citation, ErrorClass, Failure, Media, Signature, Text, TokenLogprob, TokenUsage, ToolForm,
    },
    dialect::{
        ReplyHead,
        sequence::{Answer, Choice, Sequencer, WriteBlocks},
    },
    stream::json::ArrayWriter,
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
