//! An incremental decoder of server-sent events, after the WHATWG's "event stream interpretation".
//!
//! Events are passed to a closure together with the frame that ends them: an event inside one frame is not copied, only
//! one that is split over frames is collected. Line ends may be LF, CRLF or CR, also mixed, also split.

mod edit;
mod filter;
#[cfg(test)]
mod tests;

use std::ops::Range;

use memchr::memchr2;

pub use edit::write_with_data;
pub use filter::SseFilter;

/// Largest event that is observed, in bytes, its lines and their ends counted but not the blank line after it.
///
/// Images in one event reach 10 MiB. Larger events pass unobserved: they cost no memory and are not an error.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Capacity that a buffer may keep from one event to the next.
///
/// Streams live for minutes; one large event must not hold its memory for the rest of them.
const KEEP_CAPACITY: usize = 64 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event, borrowed for the time of the call.
#[derive(Debug)]
pub struct Event<'a> {
    /// The last `event:` field, unless it is absent or empty.
    pub name: Option<&'a [u8]>,
    /// The `data:` fields, joined with line feeds.
    pub data: &'a [u8],
    /// The range of the event, with the blank line that ends it, in the frame that is being pushed.
    pub raw: Range<usize>,
    /// How many bytes of the event came in earlier frames.
    pub carried: usize,
    /// How many events before it were too large to be observed.
    pub oversized: u64,
    /// Whether a blank line ended the event. False only in [`SseDecoder::finish`]: the stream was cut, or ended
    /// sloppily.
    pub terminated: bool,
}

/// Finds the events of a stream that comes in frames.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the stream; most combinations occur")]
pub struct SseDecoder {
    max_event: usize,
    /// The beginning of the unfinished event.
    carry: Vec<u8>,
    /// Several data lines of one event, joined.
    joined: Vec<u8>,
    /// An event has begun and not ended.
    open: bool,
    /// The unfinished event's next byte begins a line.
    line_start: bool,
    /// Whether the unfinished event is too large, so that only its end is searched for.
    skipping: bool,
    /// The last frame ended in CR: a LF that comes next belongs to it.
    after_cr: bool,
    /// No event has ended yet: the first line may begin with a byte order mark.
    first: bool,
    oversized: u64,
}

/// A run of lines up to a blank one: an event, or comments and fields that are not one.
struct Block<'a> {
    /// Where the block ends in the frame being pushed.
    end: usize,
    /// The block's bytes from earlier frames, unless it is too large.
    carried: &'a [u8],
    event: Option<Event<'a>>,
}

impl SseDecoder {
    /// A decoder that observes events of up to `max_event` bytes, for example [`MAX_EVENT_BYTES`].
    pub fn new(max_event: usize) -> Self {
        Self {
            max_event,
            carry: Vec::new(),
            joined: Vec::new(),
            open: false,
            line_start: true,
            skipping: false,
            after_cr: false,
            first: true,
            oversized: 0,
        }
    }

    /// Takes the next frame and passes every event that ends in it to `sink`, in order.
    pub fn push(&mut self, frame: &[u8], sink: &mut impl FnMut(Event<'_>)) {
        self.blocks(frame, &mut |block| {
            if let Some(event) = block.event {
                sink(event);
            }
        });
        if self.skipping {
            self.carry = Vec::new();
        }
    }

    /// The stream has ended: passes the rest to `sink` if it is an event, though no blank line ended it.
    pub fn finish(&mut self, sink: &mut impl FnMut(Event<'_>)) {
        let carry = std::mem::take(&mut self.carry);
        if std::mem::take(&mut self.skipping) {
            self.oversized += 1;
        } else if std::mem::take(&mut self.open)
            && let Some(mut event) = self.parse(&carry)
        {
            event.terminated = false;
            event.carried = carry.len();
            sink(event);
        }
        self.open = false;
        self.line_start = true;
    }

    /// Whether the stream is at its start or after a blank line, with no event begun.
    pub fn at_boundary(&self) -> bool {
        !self.open
    }

    /// How many events were too large to be observed.
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Whether this frame begins with the second half of a CRLF whose first half ended a block.
    fn owes_line_feed(&self, frame: &[u8]) -> bool {
        !self.open && self.after_cr && frame.first() == Some(&b'\n')
    }

    fn blocks(&mut self, frame: &[u8], on: &mut impl FnMut(Block<'_>)) {
        if frame.is_empty() {
            return;
        }
        let mut at = usize::from(std::mem::take(&mut self.after_cr) && frame.first() == Some(&b'\n'));
        if self.open {
            let Some(end) = self.resume(frame, at, on) else { return };
            at = end;
        }
        while at < frame.len() {
            let Some(end) = self.whole(frame, at, on) else { return };
            at = end;
        }
    }

    /// The usual case: a block that starts in this frame. Returns its end, if it ends in this frame.
    #[inline]
    fn whole(&mut self, frame: &[u8], start: usize, on: &mut impl FnMut(Block<'_>)) -> Option<usize> {
        let mut fields = Fields::default();
        let mut at = start;
        loop {
            if let Some(b'\n' | b'\r') = frame.get(at) {
                break;
            }
            let rest = frame.get(at..).unwrap_or_default();
            let Some(length) = memchr2(b'\n', b'\r', rest) else {
                self.line_start = rest.is_empty();
                self.open = true;
                self.collect(frame.get(start..).unwrap_or_default());
                return None;
            };
            let mut line = rest.get(..length).unwrap_or_default();
            if at == start {
                line = self.without_bom(line);
            }
            fields.line(line, &mut self.joined);
            at = self.next_line(frame, at + length);
        }
        let end = self.next_line(frame, at);
        self.first = false;
        let event = if at - start > self.max_event {
            self.oversized += 1;
            None
        } else {
            fields.event(&self.joined, start..end, self.oversized)
        };
        on(Block { end, carried: &[], event });
        self.give_back();
        Some(end)
    }

    /// Continues a block that began in earlier frames. Returns its end, if it ends in this frame.
    #[cold]
    fn resume(&mut self, frame: &[u8], from: usize, on: &mut impl FnMut(Block<'_>)) -> Option<usize> {
        let mut at = from;
        loop {
            if self.line_start
                && let Some(b'\n' | b'\r') = frame.get(at)
            {
                break;
            }
            let rest = frame.get(at..).unwrap_or_default();
            let Some(length) = memchr2(b'\n', b'\r', rest) else {
                self.line_start &= rest.is_empty();
                self.collect(frame);
                return None;
            };
            at = self.next_line(frame, at + length);
            self.line_start = true;
        }
        let earlier = self.carry.len();
        self.collect(frame.get(..at).unwrap_or_default());
        let end = self.next_line(frame, at);
        self.open = false;
        let mut carry = std::mem::take(&mut self.carry);
        let event = if std::mem::take(&mut self.skipping) {
            self.oversized += 1;
            None
        } else {
            self.parse(&carry).map(|event| Event { raw: 0..end, carried: earlier, ..event })
        };
        on(Block { end, carried: carry.get(..earlier).unwrap_or_default(), event });
        self.first = false;
        carry.clear();
        self.carry = carry;
        self.give_back();
        Some(end)
    }

    /// Adds to the unfinished event, or starts skipping it; the bytes collected so far are then left for the caller to
    /// take.
    fn collect(&mut self, part: &[u8]) {
        if self.carry.len() + part.len() > self.max_event {
            self.skipping = true;
        } else if !self.skipping {
            self.carry.extend_from_slice(part);
        }
    }

    /// Decodes a block that has been collected, its blank line left out.
    fn parse<'s>(&'s mut self, block: &'s [u8]) -> Option<Event<'s>> {
        let mut fields = Fields::default();
        let mut rest = self.without_bom(block);
        while let Some(length) = memchr2(b'\n', b'\r', rest) {
            let (line, after) = rest.split_at_checked(length)?;
            fields.line(line, &mut self.joined);
            rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
        }
        if !rest.is_empty() {
            fields.line(rest, &mut self.joined);
        }
        fields.event(&self.joined, 0..0, self.oversized)
    }

    /// The position after the line end at `at`.
    #[inline]
    fn next_line(&mut self, frame: &[u8], at: usize) -> usize {
        if frame.get(at) == Some(&b'\r') {
            match frame.get(at + 1) {
                Some(b'\n') => return at + 2,
                Some(_) => {}
                None => self.after_cr = true,
            }
        }
        at + 1
    }

    /// A block without the byte order mark that the stream's first one may begin with.
    ///
    /// A first line of nothing but the mark is taken for a field, not for a blank line; no event depends on that.
    #[inline]
    fn without_bom<'l>(&self, block: &'l [u8]) -> &'l [u8] {
        if self.first { block.strip_prefix(BOM).unwrap_or(block) } else { block }
    }

    #[inline]
    fn give_back(&mut self) {
        for buffer in [&mut self.carry, &mut self.joined] {
            if buffer.capacity() > KEEP_CAPACITY {
                *buffer = Vec::new();
            }
        }
    }
}

/// The fields of one block, as far as its lines have been read.
#[derive(Default)]
struct Fields<'a> {
    name: &'a [u8],
    data: Option<&'a [u8]>,
    /// Whether there were several data lines; they are in the decoder's buffer.
    joined: bool,
}

impl<'a> Fields<'a> {
    #[inline]
    fn line(&mut self, line: &'a [u8], joined: &mut Vec<u8>) {
        if let Some(value) = field(line, b"data") {
            if let Some(first) = self.data {
                if !self.joined {
                    self.joined = true;
                    joined.clear();
                    joined.extend_from_slice(first);
                }
                joined.push(b'\n');
                joined.extend_from_slice(value);
            } else {
                self.data = Some(value);
            }
        } else if let Some(value) = field(line, b"event") {
            self.name = value;
        }
    }

    /// The event of these fields; `None` without data.
    #[inline]
    fn event<'s>(self, joined: &'s [u8], raw: Range<usize>, oversized: u64) -> Option<Event<'s>>
    where
        'a: 's,
    {
        let data = self.data.map(|only| if self.joined { joined } else { only })?;
        let name = (!self.name.is_empty()).then_some(self.name);
        Some(Event { name, data, raw, carried: 0, oversized, terminated: true })
    }
}

/// The value of a line if it is the field of that name.
#[inline]
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}
