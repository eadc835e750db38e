//! Translates a reply from one dialect to another incrementally: frames in, frames out, no IO.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    DialectId, ReadEvents, ReplyHead, StreamEnding, StreamMode, UnsupportedInReply, Usage, WriteEvents, events,
    observer::Totals,
};
use crate::{
    conversation::{BlockStart, ErrorClass, Event, Failure, Names, TokenUsage, Unwrap},
    stream::{AwsDecoder, SseDecoder, sse::MAX_EVENT_BYTES},
};

use super::text::{EventFilter, FilterChain};

/// Approximate bytes of text per token, for estimates when a provider counts nothing.
const BYTES_PER_TOKEN: u64 = 4;

/// The status of an error within a stream that states none.
const BAD_GATEWAY: u16 = 502;

/// Translates one stream.
pub struct Translator {
    frames: Frames,
    inner: Inner,
    from: DialectId,
    /// An error that is not an event, from its brace on. Gemini sends such errors within a stream.
    bare: Vec<u8>,
    /// Whether the next byte begins a line.
    line_start: bool,
}

/// Longest error outside an event that is read, in bytes.
const MAX_BARE: usize = 64 * 1024;
/// Most text and arguments of a stream, in bytes: several times as much as any model can write. They are kept, since
/// some dialects repeat them at the end.
const MAX_TEXT: u64 = 16 * 1024 * 1024;
/// Approximate size of a block beside its text, in bytes.
const BLOCK: u64 = 1024;

enum Frames {
    Sse(SseDecoder),
    Aws(AwsDecoder),
}

/// Handles one event: reader, then writer.
struct Inner {
    reader: Box<dyn ReadEvents>,
    sink: Sink,
}

struct Sink {
    writer: Box<dyn WriteEvents>,
    /// Tool names that were changed for the provider.
    names: Arc<Names>,
    out: Vec<u8>,
    usage: TokenUsage,
    model: Option<String>,
    /// The model that the client is shown, if it is not the provider's.
    shown: Option<String>,
    /// Bytes of text and arguments so far.
    text: u64,
    /// Approximate bytes that are kept beside text: of signatures, and of each block and source.
    beside: u64,
    /// The reply was buffered, so its size is bounded already.
    whole: bool,
    unsupported: UnsupportedInReply,
    /// Set if answers are in an envelope.
    wrapped: Option<Wrapped>,
    /// Set if filters see the text that the client gets.
    filter: Option<EventFilter>,
    ended: bool,
    failed: Option<ErrorClass>,
}

impl Translator {
    /// A translator from `from`, framed according to `mode`, to `to`.
    pub fn new(from: DialectId, mode: StreamMode, to: DialectId, head: ReplyHead, names: Arc<Names>) -> Self {
        let frames = if mode == StreamMode::EventStream {
            Frames::Aws(AwsDecoder::default())
        } else {
            Frames::Sse(SseDecoder::new(MAX_EVENT_BYTES))
        };
        let sink = Sink {
            writer: to.dialect().write_events(head),
            names,
            out: Vec::new(),
            usage: TokenUsage::default(),
            model: None,
            shown: None,
            text: 0,
            beside: 0,
            whole: false,
            unsupported: UnsupportedInReply::new(to),
            wrapped: None,
            filter: None,
            ended: false,
            failed: None,
        };
        Self {
            frames,
            inner: Inner { reader: from.dialect().read_events(), sink },
            from,
            bare: Vec::new(),
            line_start: true,
        }
    }

    /// The client's stream names this model instead of the provider's.
    pub fn show_model(&mut self, name: String) {
        self.inner.sink.shown = Some(name);
    }

    /// Answers are in an envelope, and are taken out of it.
    pub fn take_out_of_object(&mut self) {
        self.inner.sink.wrapped = Some(Wrapped::default());
    }

    /// Text goes through these filters before it is written.
    pub fn filter_text(&mut self, chain: FilterChain) {
        self.inner.sink.filter = (!chain.is_empty()).then(|| EventFilter::new(chain));
    }

    /// Translates the next frame. Returns the bytes to send for it, which may be empty.
    ///
    /// # Errors
    /// When the provider's framing is broken.
    pub fn frame(&mut self, frame: &[u8]) -> Result<Bytes, String> {
        let inner = &mut self.inner;
        // A translated event has about the size of the original.
        inner.sink.out.reserve(frame.len() + frame.len() / 2);
        match &mut self.frames {
            Frames::Sse(decoder) => {
                let begun = !self.bare.is_empty();
                let (events, bare) = if begun { (&[][..], frame) } else { split_bare(frame, self.line_start) };
                self.line_start = frame.last().map_or(self.line_start, |last| matches!(last, b'\n' | b'\r'));
                let room = MAX_BARE.saturating_sub(self.bare.len()).min(bare.len());
                self.bare.extend_from_slice(bare.get(..room).unwrap_or_default());
                // Without an event before it, the rest would be another answer.
                decoder.push(events, &mut |event| {
                    if event.oversized == 0 {
                        inner.event(event.name, event.data);
                    }
                });
                inner.refuse_oversized(decoder.oversized());
            }
            Frames::Aws(decoder) => decoder
                .push(frame, &mut |frame| match frame.error {
                    Some(message) => inner.sink.fail(frame.name, message),
                    None => inner.event(Some(frame.name), frame.payload),
                })
                .map_err(|error| error.to_string())?,
        }
        Ok(inner.sink.take())
    }

    /// The provider's stream has ended. Returns the bytes that were held back.
    pub fn finish(&mut self) -> Bytes {
        let inner = &mut self.inner;
        if let Frames::Sse(decoder) = &mut self.frames {
            decoder.finish(&mut |event| inner.event(event.name, event.data));
            inner.refuse_oversized(decoder.oversized());
        }
        let Inner { reader, sink } = inner;
        if !sink.ended && !self.bare.is_empty() {
            sink.event(Event::Error(self.from.dialect().read_error(BAD_GATEWAY, &self.bare)));
        }
        if !sink.ended {
            reader.finish(&mut |event| sink.event(event));
        }
        sink.take()
    }

    /// The ending of the client's stream, if it is closed here.
    pub const fn ending(&self) -> StreamEnding {
        match &self.inner.sink {
            Sink { failed: Some(class), .. } => StreamEnding::Failed(*class),
            Sink { ended: true, .. } => StreamEnding::Complete,
            _ => StreamEnding::Cut,
        }
    }

    /// Ends the client's stream with an error.
    pub fn fail(&mut self, failure: Failure<'_>) -> Bytes {
        self.inner.sink.event(Event::Error(failure));
        self.inner.sink.take()
    }

    /// Writes a whole reply as a stream, to its end.
    pub fn replay(&mut self, reply: &crate::conversation::Reply<'_>) -> Bytes {
        let sink = &mut self.inner.sink;
        sink.whole = true;
        reply.replay(&mut |event| sink.event(event));
        sink.take()
    }

    /// The totals of the stream so far.
    pub fn totals(&self) -> Totals {
        let sink = &self.inner.sink;
        let estimated = (sink.usage.output.is_none() && sink.text > 0).then(|| sink.text.div_ceil(BYTES_PER_TOKEN));
        let usage = Usage { prompt: sink.usage.input, completion: sink.usage.output.or(estimated), ..Usage::default() };
        Totals {
            usage,
            model: sink.model.clone(),
            estimated: estimated.is_some(),
            lost: sink.unsupported.names().clone(),
            text: Some(sink.text),
        }
    }
}

/// Splits a frame before a line that begins with a brace or a bracket, which no line of an event stream does.
/// `line_start`: whether the frame begins a line.
fn split_bare(frame: &[u8], line_start: bool) -> (&[u8], &[u8]) {
    let opens = |at: usize| matches!(frame.get(at), Some(b'{' | b'['));
    if line_start && opens(0) {
        return (b"", frame);
    }
    match memchr::memchr2_iter(b'\n', b'\r', frame).find(|at| opens(at + 1)) {
        Some(at) => frame.split_at(at + 1),
        None => (frame, b""),
    }
}

impl Inner {
    /// Ends the client's stream if any event was too large.
    fn refuse_oversized(&mut self, oversized: u64) {
        if oversized > 0 && !self.sink.ended {
            self.sink.refuse(format!("an event of the upstream's stream is larger than {MAX_EVENT_BYTES} bytes"));
        }
    }

    fn event(&mut self, name: Option<&[u8]>, data: &[u8]) {
        let Self { reader, sink } = self;
        if sink.ended {
            return;
        }
        // Nearly always UTF-8. Otherwise a character is lost, but not the event.
        let replaced;
        let data = if simdutf8::basic::from_utf8(data).is_ok() {
            data
        } else {
            replaced = String::from_utf8_lossy(data);
            replaced.as_bytes()
        };
        reader.event(name, data, &mut |event| sink.event(event));
    }
}

impl Sink {
    fn event(&mut self, mut event: Event<'_>) {
        if self.ended {
            return;
        }
        match &mut event {
            Event::Start { model, usage, .. } => {
                self.model = model.as_ref().map(|m| m.decode().into_owned());
                if let Some(shown) = &self.shown {
                    *model = Some(shown.clone().into());
                }
                // Output counts before the answer begins are ignored.
                self.usage.update(TokenUsage { output: None, ..*usage });
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Delta { text, .. } => self.text += text.size().saturating_sub(2) as u64,
            Event::Signature { signature, .. } => self.beside += signature.value.size() as u64,
            Event::Open { opened, .. } => {
                self.beside += BLOCK;
                match opened {
                    BlockStart::Call { id, name, .. } => {
                        self.beside += (id.size() + name.size()) as u64;
                        self.names.restore(name);
                    }
                    BlockStart::Redacted(data) => self.beside += data.value.size() as u64,
                    BlockStart::Hosted(call) => self.beside += call.size() as u64,
                    BlockStart::Media(media) => self.beside += media.size() as u64,
                    _ => {}
                }
            }
            Event::Citation { .. } => self.beside += BLOCK,
            Event::Error(failure) => (self.ended, self.failed) = (true, Some(failure.class)),
            Event::End => self.ended = true,
            _ => {}
        }
        if !self.ended && !self.whole && self.text + self.beside > MAX_TEXT {
            return self.refuse(format!("the upstream's stream has more than {MAX_TEXT} bytes of text"));
        }
        let Self { wrapped, filter, writer, out, ended, .. } = self;
        let mut write = |event: &Event<'_>| match filter {
            None => writer.event(event, out),
            Some(filter) => {
                filter.event(event, &mut |event| writer.event(event, out));
                *ended |= filter.is_over();
            }
        };
        if let Some(wrapped) = wrapped
            && !wrapped.event(&mut event, &mut write)
        {
            return;
        }
        write(&event);
        self.unsupported.event(&event);
    }

    /// A message of type `error` of an AWS event stream, which has no payload.
    fn fail(&mut self, code: &[u8], message: &[u8]) {
        self.event(Event::Error(Failure {
            code: Some(String::from_utf8_lossy(code)),
            ..Failure::new(500, ErrorClass::Internal, String::from_utf8_lossy(message))
        }));
    }

    /// Ends the client's stream, because the provider's can't be translated.
    fn refuse(&mut self, message: String) {
        self.event(Event::Error(events::cut(message)));
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }
}

/// Takes answers out of their envelopes.
#[derive(Default)]
struct Wrapped {
    /// Open text blocks, by choice and block.
    texts: Vec<(u32, u32)>,
    /// The state of each choice: reasoning and calls may be between its texts.
    answers: Vec<(u32, Unwrap)>,
}

impl Wrapped {
    /// Takes the text of `event` out of its envelope. Text that was held back and turns out not to be in one goes to
    /// `emit`. Returns `false` when nothing is left of the event.
    fn event(&mut self, event: &mut Event<'_>, emit: &mut dyn FnMut(&Event<'_>)) -> bool {
        match event {
            Event::Open { choice, block, opened: BlockStart::Text } => {
                self.texts.push((*choice, *block));
                if !self.answers.iter().any(|answer| answer.0 == *choice) {
                    self.answers.push((*choice, Unwrap::default()));
                }
            }
            Event::Delta { choice, block, text } if self.texts.contains(&(*choice, *block)) => {
                let answer = self.answers.iter_mut().find(|answer| answer.0 == *choice);
                let answer = answer.map(|(_, unwrap)| unwrap.push(&text.decode())).unwrap_or_default();
                if answer.is_empty() {
                    return false;
                }
                *text = answer.into();
            }
            Event::Close { choice, block } if self.texts.contains(&(*choice, *block)) => {
                self.texts.retain(|text| *text != (*choice, *block));
                let answer = self.answers.iter_mut().find(|answer| answer.0 == *choice);
                let held = answer.map(|(_, unwrap)| unwrap.finish()).unwrap_or_default();
                if !held.is_empty() {
                    emit(&Event::Delta { choice: *choice, block: *block, text: held.into() });
                }
            }
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translate(frames: &[&str]) -> String {
        let frames: Vec<&[u8]> = frames.iter().map(|frame| frame.as_bytes()).collect();
        translate_from(DialectId::Gemini, DialectId::Chat, &frames)
    }

    fn translate_from(from: DialectId, to: DialectId, frames: &[&[u8]]) -> String {
        let head = ReplyHead {
            id: "made1".into(),
            model: "m".into(),
            created: 0,
            include_usage: false,
            mode: StreamMode::Sse,
            estimated_input: 9,
        };
        let mut translator = Translator::new(from, StreamMode::Sse, to, head, Arc::default());
        let mut out = Vec::new();
        for frame in frames {
            out.extend_from_slice(&translator.frame(frame).unwrap());
        }
        out.extend_from_slice(&translator.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_error_without_the_form_of_an_event_is_told() {
        let chunk = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}]}\r\n\r\n";
        let error =
            "{\n  \"error\": {\"code\": 429, \"message\": \"slow down\", \"status\": \"RESOURCE_EXHAUSTED\"}\n}";
        let (a, b) = error.split_at(20);
        for frames in [vec![chunk, error], vec![chunk, a, b], vec![&*format!("{chunk}{error}")]] {
            let seen = translate(&frames);
            assert!(seen.contains("\"hi\"") && seen.contains("slow down"), "{frames:?}: {seen}");
            assert!(!seen.contains("finish_reason\":\"stop"), "{seen}");
        }
        let fine = chunk.replace("}]}}]", "}]},\"finishReason\":\"STOP\"}]");
        assert!(translate(&[&fine]).ends_with("data: [DONE]\n\n"));
    }

    #[test]
    fn where_the_network_cuts_a_stream_means_nothing() {
        let stream =
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]},\"finishReason\":\"STOP\"}]}\r\n\r\n";
        let errors = [
            "",
            "{\"error\":{\"code\":500,\"message\":\"late\"}}",
            "[{\n\"error\":{\"code\":500,\"message\":\"late\"}}]",
        ];
        for whole in errors.map(|error| format!("{stream}{error}")) {
            let expected = translate(&[&whole]);
            assert_eq!(expected.contains("late"), whole.contains("late"), "{expected}");
            for at in 0..=whole.len() {
                let (a, b) = whole.split_at(at);
                assert_eq!(translate(&[a, b]), expected, "cut at {at}: {a:?} | {b:?}");
            }
        }
    }

    #[test]
    fn a_stream_that_goes_on_and_on_is_ended() {
        let piece = "a".repeat(1024 * 1024);
        let event = format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{piece}\"}}]}}}}]}}\n\n");
        let seen = translate(&[&*event; 20]);
        assert!((15 << 20..18 << 20).contains(&seen.len()), "{} bytes", seen.len());
        let end = seen.get(seen.len() - 400..).unwrap();
        assert!(end.contains("\"error\"") && end.contains("bytes of text"), "{end}");
    }

    #[test]
    fn an_event_that_is_too_large_is_not_passed_over() {
        let text = |text: &str| {
            format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}]}}\n\n")
        };
        let end = text("two").replace("}]}}]", "}]},\"finishReason\":\"STOP\"}]");
        let large = text(&"a".repeat(MAX_EVENT_BYTES + 1));
        // The network cuts the stream anywhere.
        let rest = format!("{large}{end}");
        let (head, tail) = rest.split_at(large.len() - 5);
        for frames in [vec![&*large, &*end], vec![&*rest], vec![head, tail]] {
            let seen = translate(&[&[&*text("one")], &*frames].concat());
            assert!(seen.contains("one") && seen.contains("larger than") && !seen.contains("two"), "{seen}");
            assert!(!seen.contains("\"stop\""), "{seen}");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_stream_with_an_error() {
        let good = br#"data: {"id":"a","choices":[{"index":0,"delta":{"content":"one"}}]}"#;
        let done = b"data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let end: &[u8] = b"\n\n";
        let broken: &[u8] = b"data: {bad json\n\n";
        for (middle, failed) in [
            (broken, true),
            (b"data: hello\n\n", true),
            (b"data: {\"id\":5}\n\n", false),
            (b"event: ping\ndata: now\n\n", false),
            (b"data:\n\n", false),
        ] {
            let seen = translate_from(DialectId::Chat, DialectId::Messages, &[good, end, middle, done]);
            assert_eq!(seen.contains("the upstream's stream can't be read"), failed, "{seen}");
            assert_eq!(seen.contains("message_stop"), !failed, "{seen}");
        }
        for from in [DialectId::Messages, DialectId::Responses, DialectId::Gemini] {
            let seen = translate_from(from, DialectId::Chat, &[broken]);
            assert!(seen.contains("the upstream's stream can't be read"), "{from:?}: {seen}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        let event = b"data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\xff\xfeb\"}}]}\n\n";
        let seen = translate_from(DialectId::Chat, DialectId::Messages, &[event, b"data: [DONE]\n\n"]);
        assert!(seen.contains("a\u{fffd}\u{fffd}b") && seen.contains("message_stop"), "{seen}");
    }
}
