//! Reading streams: the bookkeeping that is the same in every dialect.
//!
//! A dialect implements [`ReadShapes`], the shapes that events have on its wire. This module decides what happens to an
//! event that can't be read, and reports nothing after the end or an error.

use std::mem;

use super::{
    ReadEvents,
    events::repaired,
    fields::{ANSWER, Place},
};
use crate::conversation::{BlockKind, BlockStart, Event, Failure, Finish, Text, TokenUsage};

/// Receives the events that a reader finds.
pub(super) type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// Most open blocks of one choice. Providers open one at a time. Beyond this limit the oldest is closed, so that no
/// stream can grow the list.
const MAX_OPEN: usize = 64;

/// Reads the events of one dialect.
pub(super) trait ReadShapes: Send {
    /// Fields without which an event can't be read.
    const VITAL: &'static [&'static str] = ANSWER;
    /// Whether every event has a name that decides the type of its content.
    const NAMED: bool = false;
    /// Whether the start precedes an error.
    const STARTS_ERRORS: bool = false;

    /// The state of the stream.
    fn progress(&mut self) -> &mut Progress;

    /// Reads one event. Returns `false` if the dialect has no event of this form.
    fn read(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> bool;

    /// The field of an unread event that is of another type than expected.
    fn wrong(name: Option<&[u8]>, json: &str) -> Option<Place>;

    /// The provider's stream ended without a mark of its end.
    fn cut(&mut self, _sink: Sink<'_>) {}
}

impl<R: ReadShapes> ReadEvents for R {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) {
        if self.progress().ended || self.read(name, data, sink) {
            return;
        }
        let label = name.filter(|_| !R::NAMED);
        match repaired(label, data, R::VITAL, &|json| R::wrong(name, json)) {
            Some(Ok((text, names))) => {
                let read = self.read(name, text.as_bytes(), sink);
                if read && self.progress().started && !self.progress().ended {
                    names.names().iter().for_each(|name| sink(Event::Unsupported(name.clone())));
                }
            }
            Some(Err(failure)) => {
                if R::STARTS_ERRORS {
                    self.progress().start(None, None, TokenUsage::default(), sink);
                }
                self.progress().fail(failure, sink);
            }
            None => {}
        }
    }

    fn finish(&mut self, sink: Sink<'_>) {
        if !self.progress().ended {
            self.cut(sink);
        }
    }
}

/// The state of a stream.
#[derive(Default)]
pub(super) struct Progress {
    pub started: bool,
    pub ended: bool,
}

impl Progress {
    /// The stream begins, if it has not.
    pub fn start(&mut self, id: Option<Text<'_>>, model: Option<Text<'_>>, usage: TokenUsage, sink: Sink<'_>) {
        if !mem::replace(&mut self.started, true) {
            sink(Event::Start { id, model, usage });
        }
    }

    /// The provider failed.
    pub fn fail(&mut self, failure: Failure<'_>, sink: Sink<'_>) {
        self.ended = true;
        sink(Event::Error(failure));
    }

    /// The stream is complete.
    pub fn end(&mut self, sink: Sink<'_>) {
        self.ended = true;
        sink(Event::End);
    }
}

/// The blocks of one choice, numbered without gaps in the order in which they open. `K` is the dialect's key for a
/// block.
pub(super) struct Blocks<K> {
    /// The choice's number.
    pub choice: u32,
    count: u32,
    open: Vec<(K, u32)>,
}

impl<K> Default for Blocks<K> {
    fn default() -> Self {
        Self::of(0)
    }
}

impl<K> Blocks<K> {
    /// A choice without blocks.
    pub const fn of(choice: u32) -> Self {
        Self { choice, count: 0, open: Vec::new() }
    }
}

impl<K: Copy + PartialEq> Blocks<K> {
    /// Whether no block has opened yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of an open block.
    pub fn find(&self, key: K) -> Option<u32> {
        self.open.iter().find(|(open, _)| *open == key).map(|(_, block)| *block)
    }

    /// Opens a block, and returns its number.
    pub fn open(&mut self, key: K, start: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        if self.open.len() >= MAX_OPEN {
            let (_, block) = self.open.remove(0);
            sink(Event::Close { choice: self.choice, block });
        }
        let block = self.unlisted(start, sink);
        self.open.push((key, block));
        block
    }

    /// Opens a block that the dialect itself closes.
    pub fn unlisted(&mut self, start: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        let block = self.count;
        self.count = block.saturating_add(1);
        sink(Event::Open { choice: self.choice, block, opened: start });
        block
    }

    /// Opens a block that is complete with that, and closes it.
    pub fn whole(&mut self, start: BlockStart<'_>, sink: Sink<'_>) {
        let block = self.unlisted(start, sink);
        sink(Event::Close { choice: self.choice, block });
    }

    /// Closes the first block whose key matches `is`.
    pub fn close(&mut self, is: impl Fn(K) -> bool, sink: Sink<'_>) {
        if let Some(at) = self.open.iter().position(|(key, _)| is(*key)) {
            let (_, block) = self.open.remove(at);
            sink(Event::Close { choice: self.choice, block });
        }
    }

    /// Closes all blocks.
    pub fn close_all(&mut self, sink: Sink<'_>) {
        for (_, block) in self.open.drain(..) {
            sink(Event::Close { choice: self.choice, block });
        }
    }

    /// Closes all blocks and finishes the choice.
    pub fn finish(&mut self, reason: Finish, stop_sequence: Option<Text<'_>>, sink: Sink<'_>) {
        self.close_all(sink);
        sink(Event::Finish { choice: self.choice, reason, stop_sequence });
    }
}

impl Blocks<BlockKind> {
    /// Returns the open block of this kind. If there is none, every other block is closed and it is opened.
    pub fn turn_to(&mut self, start: BlockStart<'_>, sink: Sink<'_>) -> u32 {
        let kind = start.kind();
        self.find(kind).unwrap_or_else(|| {
            self.close_all(sink);
            self.open(kind, start, sink)
        })
    }
}
