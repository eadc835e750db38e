//! The blocks of one reply: takes events or a whole body, sends their text through filters, and returns the changes.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use smallvec::SmallVec;

use super::{
    Block, FilterChain, TextKind, cut,
    filter::BlockChain,
    shape::{self, Carried, Made},
    table::{Row, SlotRole, Table, whole},
    walk::{self, Place, TooMany},
};
use crate::{
    conversation::Failure,
    stream::{
        JsonErrorKind, TopLevel,
        json::{unescape, write_string},
    },
};

/// Most text of one stream that filters examine, in bytes: several times as much as any model writes. Arguments are
/// held, and text that a dialect repeats is kept.
pub const MAX_STREAM_TEXT: usize = 16 * 1024 * 1024;

/// Most blocks of one reply that are kept at a time.
pub const MAX_BLOCKS: usize = 4096;

/// The blocks of one reply, in one dialect.
pub(super) struct Engine {
    table: &'static Table,
    chain: FilterChain,
    live: Vec<Live>,
    /// Bytes of text that filters have seen.
    bytes: usize,
    pending: Option<Pending>,
}

/// A block that has begun.
struct Live {
    block: Block,
    row: &'static Row,
    state: State,
    /// An escape of the first half of a character, whose other half comes with the next piece.
    half: String,
    /// The released text, if the dialect repeats it.
    released: String,
    /// Length and checksum of the original text, by which repetitions of it are recognised.
    original: Checksum,
    carried: Carried,
}

/// Length and checksum of a text that comes in pieces.
#[derive(Default)]
struct Checksum {
    length: usize,
    crc: crc32fast::Hasher,
}

enum State {
    /// No filter examines it.
    Unwatched,
    Text(BlockChain),
    /// The text of a JSON document so far.
    Json(String),
    /// It has ended; the released text is kept for repetitions.
    Ended,
}

/// An event that may be the last of some answers, held until the next one.
struct Pending {
    data: Vec<u8>,
    edits: Edits,
    choices: SmallVec<[u32; 1]>,
}

/// The changes to one event or body.
#[derive(Default)]
struct Edits {
    before: Vec<Made>,
    spots: SmallVec<[Spot; 2]>,
}

/// A value and its replacement.
struct Spot {
    range: Range<usize>,
    /// The block that text may be added to here.
    block: Option<Block>,
    new: New,
}

enum New {
    Text(String),
    Raw(&'static str),
}

/// An event to forward.
pub(super) struct Outgoing {
    /// Events to send before it.
    pub(super) before: Vec<Made>,
    /// Its data; `None` if it is forwarded unchanged.
    pub(super) data: Option<Vec<u8>>,
}

/// The treatment of the event that was just taken.
pub(super) enum Step {
    /// It is forwarded unchanged.
    Pass,
    /// It is forwarded in this form.
    Edit(Outgoing),
    /// It is returned with the next event, or at the end.
    Hold,
}

type Result<T> = std::result::Result<T, Failure<'static>>;

impl Engine {
    pub(super) fn new(table: &'static Table, chain: FilterChain) -> Self {
        Self { table, chain, live: Vec::new(), bytes: 0, pending: None }
    }

    /// Takes the next event. Also returns the event that was held, which precedes it.
    pub(super) fn event(&mut self, name: &[u8], data: &[u8]) -> Result<(Option<Outgoing>, Step)> {
        let Some(top) = scan(name, data)? else { return self.foreign(data) };
        let places = walk::places(self.table, &top, name).map_err(too_many)?;
        let held = self.settle(&places, Some(&top))?;
        if places.is_empty() {
            return Ok((held, Step::Pass));
        }
        let mut edits = Edits::default();
        for place in &places {
            self.take(place, &top, &mut edits)?;
        }
        let choices = self.ends(&places, &top, &mut edits)?;
        if choices.is_empty() {
            return Ok((held, edits.step(data)));
        }
        self.pending = Some(Pending { data: data.to_vec(), edits, choices });
        Ok((held, Step::Hold))
    }

    /// Takes a failure that the framing reports: all blocks end before it.
    pub(super) fn failure(&mut self) -> Result<(Option<Outgoing>, Step)> {
        let held = self.settle(&[], None)?;
        let mut edits = Edits::default();
        self.finish_blocks(|_| true, None, &mut edits)?;
        Ok((held, edits.step(b"")))
    }

    /// The stream has ended. Returns the event that was held, and events to send after it.
    pub(super) fn finish(&mut self) -> Result<(Option<Outgoing>, Vec<Made>)> {
        let held = self.settle(&[], None)?;
        let mut edits = Edits::default();
        self.finish_blocks(|_| true, None, &mut edits)?;
        Ok((held, edits.before))
    }

    /// Takes a body that is not streamed. Returns `None` if it is unchanged.
    pub(super) fn body(&mut self, top: &TopLevel<'_>) -> Result<Option<Vec<u8>>> {
        let places = walk::places(self.table, top, b"").map_err(too_many)?;
        let mut edits = Edits::default();
        for place in &places {
            self.take(place, top, &mut edits)?;
        }
        self.finish_blocks(|_| true, Some(top), &mut edits)?;
        Ok(edits.apply(top.body()))
    }

    /// Handles an event that is not a JSON object.
    fn foreign(&mut self, data: &[u8]) -> Result<(Option<Outgoing>, Step)> {
        if data.trim_ascii_start().starts_with(b"[DONE]") { self.failure() } else { Ok((None, Step::Pass)) }
    }

    /// Decides about the event that was held, now that the next one has `places`.
    fn settle(&mut self, places: &[Place], top: Option<&TopLevel<'_>>) -> Result<Option<Outgoing>> {
        let Some(Pending { data, mut edits, choices }) = self.pending.take() else { return Ok(None) };
        let goes_on = |choice: u32| {
            let more = |place: &&Place| place.block.choice == choice && self.role(place) == Some(SlotRole::Delta);
            places.iter().find(more).is_some()
        };
        let over: SmallVec<[u32; 1]> = choices.into_iter().filter(|choice| !goes_on(*choice)).collect();
        self.finish_blocks(|live| over.contains(&live.block.choice), top, &mut edits)?;
        let changed = edits.apply(&data);
        Ok(Some(Outgoing { before: edits.before, data: changed }))
    }

    fn row(&self, place: &Place) -> Option<&'static Row> {
        self.table.rows().get(place.row)
    }

    fn role(&self, place: &Place) -> Option<SlotRole> {
        self.row(place).map(|row| row.role)
    }

    /// Takes the text of one place.
    fn take(&mut self, place: &Place, top: &TopLevel<'_>, edits: &mut Edits) -> Result<()> {
        let Some(row) = self.row(place) else { return Ok(()) };
        let (block, range) = (place.block, place.range.clone());
        match row.role {
            SlotRole::Delta => {
                if let Some(text) = self.delta(place, row, top)? {
                    edits.spots.push(Spot { range, block: Some(block), new: New::Text(text) });
                }
            }
            SlotRole::Repeat => {
                self.finish_blocks(|live| live.block == block, Some(top), edits)?;
                let text = walk::text(top.body(), range.clone());
                // Positions in a list may differ from the stream's numbers, so the block is identified by its text.
                let same = |live: &&Live| {
                    live.block.kind == block.kind && matches!(live.state, State::Ended) && live.original.is_of(&text)
                };
                let new = match self.live.iter().find(same) {
                    Some(live) => Some(live.released.clone()),
                    None => self.whole(row, block, &text)?,
                };
                edits.spots.extend(new.map(|text| Spot { range, block: None, new: New::Text(text) }));
            }
            SlotRole::Whole => {
                let new = self.whole(row, block, &walk::text(top.body(), range.clone()))?;
                // The vendor refuses signed text that was changed, so filters only examine it.
                let new = new.filter(|_| !place.signed);
                edits.spots.extend(new.map(|text| Spot { range, block: None, new: New::Text(text) }));
            }
            SlotRole::Erase(with) => {
                if !matches!(top.body().get(range.clone()), Some(b"null" | b"[]" | b"{}")) {
                    edits.spots.push(Spot { range, block: None, new: New::Raw(with) });
                }
            }
            SlotRole::EndBlock | SlotRole::EndChoice | SlotRole::EndAll => {}
        }
        Ok(())
    }

    /// Takes more text of a block. Returns the released text, or `None` if no filter examines it.
    fn delta(&mut self, place: &Place, row: &'static Row, top: &TopLevel<'_>) -> Result<Option<String>> {
        let block = place.block;
        let known = self.live.iter().position(|live| live.block == block && !matches!(live.state, State::Ended));
        let index = match known {
            Some(index) => index,
            None => self.begin(block, row, top)?,
        };
        let repeats = self.table.repeats;
        let Some(live) = self.live.get_mut(index) else { return Ok(None) };
        if matches!(live.state, State::Unwatched) {
            return Ok(None);
        }
        let text = live.decode(top.body(), place.range.clone());
        self.bytes += text.len();
        if self.bytes > MAX_STREAM_TEXT {
            return Err(cut(format!("the upstream's reply has more than {MAX_STREAM_TEXT} bytes of text")));
        }
        let mut out = String::with_capacity(text.len());
        match &mut live.state {
            State::Text(chain) => chain.push(&text, &mut out)?,
            State::Json(held) => held.push_str(&text),
            State::Unwatched | State::Ended => {}
        }
        if repeats {
            live.original.add(&text);
            live.released.push_str(&out);
        }
        Ok(Some(out))
    }

    /// Begins a block.
    fn begin(&mut self, block: Block, row: &'static Row, top: &TopLevel<'_>) -> Result<usize> {
        // A block that continues after its end is a new one.
        self.live.retain(|live| live.block != block);
        if self.live.len() == MAX_BLOCKS {
            return Err(cut(format!("the upstream's reply has more than {MAX_BLOCKS} blocks of text")));
        }
        let state = match self.chain.start(block) {
            None => State::Unwatched,
            Some(_) if row.json => State::Json(String::new()),
            Some(chain) => State::Text(chain),
        };
        let carried = row.shape.map(|shape| shape::carry(shape, top)).unwrap_or_default();
        let (half, released, original) = Default::default();
        self.live.push(Live { block, row, state, half, released, original, carried });
        Ok(self.live.len() - 1)
    }

    /// Filters text that is complete in itself. Returns `None` if it is unchanged.
    fn whole(&self, row: &Row, block: Block, text: &str) -> Result<Option<String>> {
        if row.json { filter_json(&self.chain, block, text) } else { self.chain.whole(block, text) }
    }

    /// Ends the blocks that the places end. Returns the answers that end if nothing follows.
    fn ends(&mut self, places: &[Place], top: &TopLevel<'_>, edits: &mut Edits) -> Result<SmallVec<[u32; 1]>> {
        let mut choices = SmallVec::new();
        for place in places {
            let Some(role) = self.role(place) else { continue };
            let Block { choice, block, .. } = place.block;
            if matches!(top.body().get(place.range.clone()), Some(b"null" | b"\"\"" | b"false")) {
                continue;
            }
            match role {
                SlotRole::EndBlock => {
                    let ends = |live: &Live| live.block.choice == choice && live.block.block == block;
                    self.finish_blocks(ends, Some(top), edits)?;
                }
                SlotRole::EndAll => self.finish_blocks(|_| true, Some(top), edits)?,
                SlotRole::EndChoice => {
                    let watched = |live: &Live| matches!(live.state, State::Text(_) | State::Json(_));
                    if self.live.iter().any(|live| live.block.choice == choice && watched(live)) {
                        choices.push(choice);
                    }
                }
                _ => {}
            }
        }
        Ok(choices)
    }

    /// Ends the blocks for which `ends` is true. Held text goes into the current event, or before it.
    fn finish_blocks(
        &mut self,
        ends: impl Fn(&Live) -> bool,
        top: Option<&TopLevel<'_>>,
        edits: &mut Edits,
    ) -> Result<()> {
        for live in &mut self.live {
            if !ends(live) {
                continue;
            }
            let tail = live.finish(&self.chain)?;
            if tail.is_empty() {
                continue;
            }
            if self.table.repeats {
                live.released.push_str(&tail);
            }
            let own = edits.spots.iter_mut().rev().find(|spot| spot.block == Some(live.block));
            if let Some(Spot { new: New::Text(text), .. }) = own {
                text.push_str(&tail);
            } else if let Some(shape) = live.row.shape {
                edits.before.push(shape::make(shape, live.block, &tail, top, &live.carried));
            }
        }
        if !self.table.repeats {
            self.live.retain(|live| !ends(live));
        }
        Ok(())
    }
}

impl Checksum {
    fn add(&mut self, text: &str) {
        self.length += text.len();
        self.crc.update(text.as_bytes());
    }

    fn is_of(&self, text: &str) -> bool {
        self.length == text.len() && self.crc.clone().finalize() == crc32fast::hash(text.as_bytes())
    }
}

impl Live {
    /// The text of a piece, together with the half of a character that was held; a half at its end is held.
    fn decode<'b>(&mut self, body: &'b [u8], range: Range<usize>) -> Cow<'b, str> {
        let raw = body.get(range.clone()).and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or_default();
        let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return walk::text(body, range);
        };
        let cut = half_at_end(inner);
        if self.half.is_empty() && cut == inner.len() {
            return unescape(inner);
        }
        let (now, later) = inner.split_at_checked(cut).unwrap_or((inner, ""));
        let whole = std::mem::replace(&mut self.half, later.to_owned()) + now;
        Cow::Owned(unescape(&whole).into_owned())
    }

    /// Ends the block, and returns the text that was held back.
    fn finish(&mut self, chain: &FilterChain) -> Result<String> {
        let half = std::mem::take(&mut self.half);
        self.original.add(&unescape(&half));
        let mut tail = String::new();
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Text(mut filters) => {
                filters.push(&unescape(&half), &mut tail)?;
                filters.finish(&mut tail)?;
            }
            State::Json(mut held) => {
                held.push_str(&unescape(&half));
                tail = filter_json(chain, self.block, &held)?.unwrap_or(held);
            }
            other => self.state = other,
        }
        Ok(tail)
    }
}

impl Edits {
    fn step(self, data: &[u8]) -> Step {
        let changed = self.apply(data);
        if changed.is_none() && self.before.is_empty() {
            return Step::Pass;
        }
        Step::Edit(Outgoing { before: self.before, data: changed })
    }

    /// The new data; `None` if it is unchanged.
    fn apply(&self, data: &[u8]) -> Option<Vec<u8>> {
        let stays = |spot: &&Spot| match &spot.new {
            New::Text(text) => walk::text(data, spot.range.clone()) == text.as_str(),
            New::Raw(_) => false,
        };
        let mut out: Option<Vec<u8>> = None;
        let mut at = 0;
        for spot in self.spots.iter().filter(|spot| !stays(spot)) {
            let out = out.get_or_insert_with(|| Vec::with_capacity(data.len() + 64));
            out.extend_from_slice(data.get(at..spot.range.start).unwrap_or_default());
            match &spot.new {
                New::Text(text) => write_string(out, text),
                New::Raw(raw) => out.extend_from_slice(raw.as_bytes()),
            }
            at = spot.range.end;
        }
        if let Some(out) = &mut out {
            out.extend_from_slice(data.get(at..).unwrap_or_default());
        }
        out
    }
}

/// The position of an escape at the end of the text that is the first half of a character; the text's length if there
/// is none.
fn half_at_end(inner: &str) -> usize {
    let Some(start) = inner.len().checked_sub(6) else { return inner.len() };
    let half = matches!(
        inner.as_bytes().get(start..),
        Some([b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _])
    );
    let before = inner.as_bytes().get(..start).unwrap_or_default();
    let escaped = before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    if half && !escaped { start } else { inner.len() }
}

/// The text of a JSON document with its strings and numbers filtered; `None` if it is unchanged. A document that is not
/// JSON is filtered as one text.
pub(super) fn filter_json(chain: &FilterChain, block: Block, text: &str) -> Result<Option<String>> {
    const ROWS: &[Row] = &[whole("a.**", TextKind::Arguments)];
    static LEAVES: LazyLock<Table> = LazyLock::new(|| Table::new(ROWS));
    if text.trim().is_empty() || chain.start(block).is_none() {
        return Ok(None);
    }
    // As the value of a field, a value of any kind can be scanned.
    let (open, close) = ("{\"a\":", "}");
    let wrapped = format!("{open}{text}{close}");
    let top = TopLevel::scan(wrapped.as_bytes()).ok().filter(|top| top.members().len() == 1);
    let Some(top) = top else { return chain.whole(block, text) };
    let places = walk::places(&LEAVES, &top, b"").map_err(too_many)?;
    let mut edits = Edits::default();
    for place in places {
        let leaf = walk::text(top.body(), place.range.clone());
        let new = chain.whole(block, &leaf)?;
        edits.spots.extend(new.map(|text| Spot { range: place.range, block: None, new: New::Text(text) }));
    }
    let new = edits.apply(top.body()).and_then(|new| String::from_utf8(new).ok());
    Ok(new.and_then(|new| Some(new.strip_prefix(open)?.strip_suffix(close)?.to_owned())))
}

/// The event as an object, `None` for events that do not belong to the dialect. An event that can't be read would
/// bypass the filters, so it ends the stream.
fn scan<'d>(name: &[u8], data: &'d [u8]) -> Result<Option<TopLevel<'d>>> {
    match TopLevel::scan(data) {
        Ok(top) => Ok(Some(top)),
        Err(error) => {
            let trimmed = data.trim_ascii_start();
            let other = matches!(error.kind, JsonErrorKind::Empty | JsonErrorKind::NotAnObject(_));
            let foreign = trimmed.starts_with(b"[DONE]") || (!name.is_empty() && !trimmed.starts_with(b"{"));
            if other || foreign { Ok(None) } else { Err(cut("the upstream's stream can't be read".into())) }
        }
    }
}

pub(super) fn too_many(_: TooMany) -> Failure<'static> {
    cut(format!("the body has more than {} texts", walk::MAX_PLACES))
}
