//! Filters of streams that stay in their dialect: bytes in, bytes out.

use super::{
    BodyKind, DialectId, FilterChain, TextSlots, cut,
    engine::{Engine, Outgoing, Step},
    framing,
};
use crate::{
    conversation::Failure,
    dialect::StreamMode,
    stream::{
        AwsDecoder, Event, SseDecoder, TopLevel,
        elements::{ArrayDecoder, ArrayPart, MAX_ELEMENT_BYTES},
        sse::MAX_EVENT_BYTES,
    },
};

/// A stream whose text goes through filters.
///
/// Events without text are forwarded byte by byte, but an event is held until it is complete. Text that a filter
/// holds back comes with a later event of its block, or in an event of the block's form before the event that ends
/// the block. An event that may be the last of an answer (`finish_reason`) is held until the next one shows whether
/// it is.
pub struct TextFilteredStream {
    decoder: Decoder,
    sink: Sink,
}

enum Decoder {
    Sse(SseDecoder),
    Array(ArrayDecoder),
    Aws(AwsDecoder),
}

struct Sink {
    engine: Engine,
    mode: StreamMode,
    held: Option<Held>,
    /// The failure that ended the stream early.
    failed: Option<Failure<'static>>,
}

/// An event that is held, and the bytes that follow it.
#[derive(Default)]
struct Held {
    raw: Vec<u8>,
    behind: Vec<u8>,
}

impl TextFilteredStream {
    /// A stream of `dialect` with the framing `mode`. `chain` is not empty.
    pub fn new(dialect: DialectId, mode: StreamMode, chain: FilterChain) -> Self {
        let decoder = match mode {
            StreamMode::EventStream => Decoder::Aws(AwsDecoder::default()),
            StreamMode::JsonArray => Decoder::Array(ArrayDecoder::default()),
            StreamMode::Sse | StreamMode::No => Decoder::Sse(SseDecoder::new(MAX_EVENT_BYTES)),
        };
        let engine = Engine::new(TextSlots::of(dialect).table(BodyKind::Event), chain);
        Self { decoder, sink: Sink { engine, mode, held: None, failed: None } }
    }

    /// Takes the provider's next bytes and appends the bytes to forward to `out`.
    ///
    /// # Errors
    /// When a filter refuses, or the stream can't be read. `out` has the bytes before that; the caller adds the
    /// dialect's error event and ends both streams. Every later call returns the same error.
    pub fn push(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Failure<'static>> {
        let Self { decoder, sink } = self;
        match decoder {
            Decoder::Sse(decoder) => {
                decoder.push_raw(frame, &mut |before, now, event| sink.block(before, now, event, out));
                if decoder.oversized() > 0 || decoder.is_skipping() {
                    sink.too_large(MAX_EVENT_BYTES);
                }
            }
            Decoder::Array(decoder) => {
                if decoder.push(frame, &mut |part| sink.part(part, out)).is_err() {
                    sink.too_large(MAX_ELEMENT_BYTES);
                }
            }
            Decoder::Aws(decoder) => {
                let read = decoder.push_raw(frame, &mut |frame, raw| {
                    if frame.is_failure() {
                        sink.failure(raw, out);
                    } else {
                        sink.event(raw, frame.name, frame.payload, out);
                    }
                });
                if let Err(error) = read {
                    sink.fail(cut(error.to_string()));
                }
            }
        }
        sink.result()
    }

    /// The provider's stream has ended: appends the bytes that were held back.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failure<'static>> {
        let Self { decoder, sink } = self;
        match decoder {
            Decoder::Sse(decoder) => {
                let mut unterminated = false;
                decoder.finish_raw(&mut |before, now, event| {
                    unterminated = event.is_some();
                    // No client accepts an event that was cut, and its text can't be filtered.
                    let cut = |event: &Event<'_>| {
                        event.data.trim_ascii_start().starts_with(b"{") && TopLevel::scan(event.data).is_err()
                    };
                    if !event.as_ref().is_some_and(cut) {
                        sink.block(before, now, event, out);
                    }
                });
                sink.end(if unterminated { b"\n\n" } else { b"" }, out);
            }
            Decoder::Array(decoder) => {
                sink.end(b"", out);
                // An object that was cut is not an event: its text can't be filtered.
                drop(decoder.finish());
            }
            Decoder::Aws(_) => sink.end(b"", out),
        }
        sink.result()
    }
}

impl Sink {
    fn result(&self) -> Result<(), Failure<'static>> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, failure: Failure<'static>) {
        self.failed.get_or_insert(failure);
    }

    fn too_large(&mut self, limit: usize) {
        self.fail(cut(format!("an event of the upstream's stream is larger than {limit} bytes")));
    }

    /// Handles a run of lines of server-sent events.
    fn block(&mut self, before: &[u8], now: &[u8], event: Option<Event<'_>>, out: &mut Vec<u8>) {
        let joined;
        let raw = if before.is_empty() {
            now
        } else {
            joined = [before, now].concat();
            &joined
        };
        match event {
            // A character that is not UTF-8 is lost, but not the event.
            Some(event) if std::str::from_utf8(event.data).is_err() => {
                let data = String::from_utf8_lossy(event.data);
                self.event(raw, event.name.unwrap_or_default(), data.as_bytes(), out);
            }
            Some(event) => self.event(raw, event.name.unwrap_or_default(), event.data, out),
            None => self.other(raw, out),
        }
    }

    /// Handles a part of a JSON array.
    fn part(&mut self, part: ArrayPart<'_>, out: &mut Vec<u8>) {
        match part {
            ArrayPart::Object(object) => self.event(object, b"", object, out),
            ArrayPart::Other(other) => self.other(other, out),
            ArrayPart::Close => {
                self.end(b"", out);
                self.other(b"]", out);
            }
        }
    }

    fn event(&mut self, raw: &[u8], name: &[u8], data: &[u8], out: &mut Vec<u8>) {
        if self.failed.is_none() {
            let step = self.engine.event(name, data);
            self.step(raw, step, out);
        }
    }

    /// Handles a frame that reports a failure.
    fn failure(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        if self.failed.is_none() {
            let step = self.engine.failure();
            self.step(raw, step, out);
        }
    }

    /// Handles bytes that are not an event.
    fn other(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        match &mut self.held {
            _ if self.failed.is_some() => {}
            Some(held) => held.behind.extend_from_slice(raw),
            None => out.extend_from_slice(raw),
        }
    }

    fn step(&mut self, raw: &[u8], step: Result<(Option<Outgoing>, Step), Failure<'static>>, out: &mut Vec<u8>) {
        match step {
            Err(failure) => self.fail(failure),
            Ok((settled, step)) => {
                self.release(settled, out);
                match step {
                    Step::Pass => self.other(raw, out),
                    Step::Edit(outgoing) => self.write(raw, &outgoing, out),
                    Step::Hold => self.held = Some(Held { raw: raw.to_vec(), behind: Vec::new() }),
                }
            }
        }
    }

    /// Forwards the event that was held, once it is decided.
    fn release(&mut self, settled: Option<Outgoing>, out: &mut Vec<u8>) {
        let Some(outgoing) = settled else { return };
        let Held { raw, behind } = self.held.take().unwrap_or_default();
        self.write(&raw, &outgoing, out);
        out.extend_from_slice(&behind);
    }

    fn write(&self, raw: &[u8], outgoing: &Outgoing, out: &mut Vec<u8>) {
        for made in &outgoing.before {
            framing::write_made(self.mode, made, out);
        }
        match &outgoing.data {
            Some(data) => framing::write_changed(self.mode, raw, data, out),
            None => out.extend_from_slice(raw),
        }
    }

    /// The stream has ended. `boundary` ends its last event.
    fn end(&mut self, boundary: &[u8], out: &mut Vec<u8>) {
        if self.failed.is_some() {
            return;
        }
        match self.engine.finish() {
            Err(failure) => self.fail(failure),
            Ok((settled, made)) => {
                self.release(settled, out);
                if !made.is_empty() {
                    out.extend_from_slice(boundary);
                }
                for made in made {
                    framing::write_behind(self.mode, &made, out);
                }
            }
        }
    }
}
