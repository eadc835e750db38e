//! Text slots and filters: filters for tests, and streams as their clients read them.

mod bodies;
mod golden;
mod streams;
mod tables;

use std::sync::Arc;

use super::{Block, BlockFilter, DialectId, FilterChain, TextFilter, TextFilteredStream, TextKind};
use crate::{
    conversation::{ErrorClass, Event, Failure},
    dialect::StreamMode,
    stream::{AwsDecoder, SseDecoder, aws, sse::MAX_EVENT_BYTES},
};

/// Replaces a word in text of all kinds except those of `except`.
struct Word {
    find: &'static str,
    by: &'static str,
    except: &'static [TextKind],
}

/// The filter of one block: text that may be the beginning of the word is held.
struct WordInBlock {
    find: &'static str,
    by: &'static str,
    held: String,
}

impl TextFilter for Word {
    fn start(&self, block: Block) -> Option<Box<dyn BlockFilter>> {
        let looks = !self.except.contains(&block.kind);
        looks.then(|| Box::new(WordInBlock { find: self.find, by: self.by, held: String::new() }) as Box<_>)
    }
}

impl BlockFilter for WordInBlock {
    fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
        self.held.push_str(text);
        while let Some(at) = self.held.find(self.find) {
            out.push_str(&self.held[..at]);
            out.push_str(self.by);
            self.held.drain(..at + self.find.len());
        }
        let ends = |at: &usize| self.held.is_char_boundary(*at) && self.find.starts_with(&self.held[*at..]);
        let keep = (0..=self.held.len()).find(ends).unwrap_or(self.held.len());
        out.push_str(&self.held[..keep]);
        self.held.drain(..keep);
        Ok(())
    }

    fn finish(&mut self, out: &mut String) -> Result<(), Failure<'static>> {
        out.push_str(&std::mem::take(&mut self.held));
        Ok(())
    }
}

/// Holds all text of a block and releases it in capitals at its end.
struct HoldAll;

struct Held(String);

impl TextFilter for HoldAll {
    fn start(&self, _: Block) -> Option<Box<dyn BlockFilter>> {
        Some(Box::new(Held(String::new())))
    }
}

impl BlockFilter for Held {
    fn push(&mut self, text: &str, _: &mut String) -> Result<(), Failure<'static>> {
        self.0.push_str(text);
        Ok(())
    }

    fn finish(&mut self, out: &mut String) -> Result<(), Failure<'static>> {
        out.push_str(&self.0.to_uppercase());
        Ok(())
    }
}

/// Refuses text with a word in it.
struct Refuse(&'static str);

struct RefuseInBlock(&'static str, String);

impl TextFilter for Refuse {
    fn start(&self, _: Block) -> Option<Box<dyn BlockFilter>> {
        Some(Box::new(RefuseInBlock(self.0, String::new())))
    }
}

impl BlockFilter for RefuseInBlock {
    fn push(&mut self, text: &str, out: &mut String) -> Result<(), Failure<'static>> {
        self.1.push_str(text);
        if self.1.contains(self.0) {
            return Err(Failure {
                code: Some("guarded".into()),
                ..Failure::new(403, ErrorClass::Permission, "refused by a test")
            });
        }
        out.push_str(text);
        Ok(())
    }

    fn finish(&mut self, _: &mut String) -> Result<(), Failure<'static>> {
        Ok(())
    }
}

fn chain(filters: Vec<Arc<dyn TextFilter>>) -> FilterChain {
    FilterChain::new(filters)
}

fn word(word: &'static str, by: &'static str) -> FilterChain {
    chain(vec![Arc::new(Word { find: word, by, except: &[] })])
}

/// The stream after the filters, for each way of splitting its bytes.
fn splice(dialect: DialectId, mode: StreamMode, chain: &FilterChain, pieces: &[&[u8]]) -> Result<Vec<u8>, Vec<u8>> {
    let (mut stream, mut out) = (TextFilteredStream::new(dialect, mode, chain.clone()), Vec::new());
    for piece in pieces {
        if stream.push(piece, &mut out).is_err() {
            return Err(out);
        }
    }
    if stream.finish(&mut out).is_err() { Err(out) } else { Ok(out) }
}

/// The events that a client reads from a stream.
fn read(dialect: DialectId, mode: StreamMode, wire: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
    let mut reader = dialect.dialect().read_events();
    match mode {
        StreamMode::EventStream => {
            let mut frames = AwsDecoder::default();
            frames.push(wire, &mut |frame| reader.event(Some(frame.name), frame.payload, sink)).unwrap();
            assert!(frames.at_boundary());
        }
        StreamMode::JsonArray => {
            let elements: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(wire).unwrap();
            for element in elements {
                reader.event(None, element.get().as_bytes(), sink);
            }
        }
        _ => {
            let mut events = SseDecoder::new(MAX_EVENT_BYTES);
            events.push(wire, &mut |event| reader.event(event.name, event.data, sink));
            events.finish(&mut |event| reader.event(event.name, event.data, sink));
        }
    }
    reader.finish(sink);
}

/// Texts of a stream by choice and block, with the events that begin the blocks.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    blocks: Vec<(u32, u32, String, String)>,
    finished: Vec<String>,
}

impl Seen {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Open { choice, block, opened } => {
                self.blocks.push((*choice, *block, format!("{opened:?}"), String::new()));
            }
            Event::Delta { choice, block, text } => {
                let open = self.blocks.iter_mut().find(|open| (open.0, open.1) == (*choice, *block));
                open.expect("a delta belongs to a block").3.push_str(&text.decode());
            }
            Event::Finish { .. } | Event::Usage(_) | Event::Error(_) | Event::End => {
                self.finished.push(format!("{event:?}"));
            }
            _ => {}
        }
    }

    fn of(dialect: DialectId, mode: StreamMode, wire: &[u8]) -> Self {
        let mut seen = Self::default();
        read(dialect, mode, wire, &mut |event| seen.event(&event));
        seen
    }

    fn text(&self) -> String {
        self.blocks.iter().map(|block| block.3.as_str()).collect()
    }
}

/// The framing of a dialect's streams.
fn mode(dialect: DialectId) -> StreamMode {
    if dialect == DialectId::Converse { StreamMode::EventStream } else { StreamMode::Sse }
}

/// Frames, from lines of a name and JSON.
fn frames(lines: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let (name, json) = line.split_once(' ').unwrap_or((line, "{}"));
        let payload = |out: &mut Vec<u8>| out.extend_from_slice(json.as_bytes());
        match name.strip_prefix('!') {
            Some(name) => aws::write_exception(&mut out, name, payload),
            None => aws::write_event(&mut out, name, payload),
        }
    }
    out
}
