//! One pass over a JSON object that finds the places of a table.

use std::{borrow::Cow, ops::Range};

use smallvec::SmallVec;

use super::{
    Block, TextKind,
    table::{Number, ROOT, Row, SlotRole, Table, When},
};
use crate::stream::{TopLevel, json::unescape};

/// Most places of one body, so that a body of tiny strings does not take a multiple of its size.
pub const MAX_PLACES: usize = 65_536;

/// A place that was found: its row, and its block.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The row's number.
    pub(super) row: usize,
    /// The value, with its quotes if it is a string.
    pub(super) range: Range<usize>,
    /// The block of the text.
    pub(super) block: Block,
    /// Whether the text is signed.
    pub(super) signed: bool,
}

/// A value at the end of a path.
struct Hit {
    node: usize,
    leaf: bool,
    frame: usize,
    /// The position in the array that `frame` is.
    position: u32,
    range: Range<usize>,
}

/// A container on the path to places.
struct Frame {
    node: usize,
    parent: usize,
    object: bool,
    /// The container's position in the array around it.
    position: u32,
    /// The position of the current element, of arrays.
    element: u32,
    /// Fields of objects that rows need.
    facts: SmallVec<[(usize, Range<usize>); 3]>,
    /// How many hits there were when it began.
    hits: usize,
}

/// The object has more places than [`MAX_PLACES`].
#[derive(Debug)]
pub(super) struct TooMany;

/// Finds the places of `table` in the object that `top` has scanned, in their order. `event` is the event's name.
pub(super) fn places(table: &Table, top: &TopLevel<'_>, event: &[u8]) -> Result<SmallVec<[Place; 4]>, TooMany> {
    let mut walker = Walker { table, bytes: top.body(), frames: SmallVec::new(), hits: SmallVec::new() };
    walker.walk(top.open_brace() + 1)?;
    Ok(walker.found(event))
}

/// Finds the places of `table` in a part of the object that `top` has scanned: `range` begins with the key of one of its
/// fields, and may end anywhere in the value.
pub(super) fn places_from(
    table: &Table,
    top: &TopLevel<'_>,
    range: Range<usize>,
) -> Result<SmallVec<[Place; 4]>, TooMany> {
    let bytes = top.body().get(..range.end).unwrap_or_default();
    let mut walker = Walker { table, bytes, frames: SmallVec::new(), hits: SmallVec::new() };
    walker.walk(range.start)?;
    Ok(walker.found(b""))
}

struct Walker<'a> {
    table: &'a Table,
    bytes: &'a [u8],
    frames: SmallVec<[Frame; 6]>,
    hits: SmallVec<[Hit; 4]>,
}

impl<'a> Walker<'a> {
    /// The places of all hits.
    fn found(&self, event: &[u8]) -> SmallVec<[Place; 4]> {
        self.hits.iter().enumerate().filter_map(|(index, hit)| self.place(hit, index, event)).collect()
    }

    /// Walks over the fields of an object from `at` on. The text has been validated, so every container is closed,
    /// unless the bytes end before.
    fn walk(&mut self, mut at: usize) -> Result<(), TooMany> {
        let mut current = self.open(ROOT, 0, true);
        while let Some(byte) = self.bytes.get(at) {
            let Some(frame) = self.frames.get_mut(current) else { break };
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => at += 1,
                b',' => {
                    frame.element += 1;
                    at += 1;
                }
                b'}' | b']' => {
                    if current == 0 {
                        break;
                    }
                    let (parent, hits) = (frame.parent, frame.hits);
                    // No hit refers to a container in which none was found.
                    if hits == self.hits.len() && current + 1 == self.frames.len() {
                        self.frames.pop();
                    }
                    current = parent;
                    at += 1;
                }
                b'"' if frame.object => {
                    let node = frame.node;
                    let end = string_end(self.bytes, at);
                    let name = text(self.bytes, at..end);
                    at = self.value_start(end);
                    if let Some(fact) = self.table.fact_of(&name) {
                        let range = at..self.skip(at);
                        if let Some(frame) = self.frames.get_mut(current)
                            && !matches!(self.bytes.get(at), Some(b'{' | b'['))
                        {
                            frame.facts.push((fact, range));
                        }
                    }
                    (current, at) = self.value(self.table.child(node, &name), current, at)?;
                }
                _ => {
                    let child = self.table.nodes.get(frame.node).and_then(|node| node.element);
                    (current, at) = self.value(child, current, at)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the value at `at`, which is at `node` if it may have places. Returns the position to continue at, and the
    /// container, if it is one.
    fn value(&mut self, node: Option<usize>, current: usize, at: usize) -> Result<(usize, usize), TooMany> {
        let Some((index, node)) = node.and_then(|index| Some((index, self.table.nodes.get(index)?))) else {
            return Ok((current, self.skip(at)));
        };
        let first = self.bytes.get(at).copied().unwrap_or_default();
        let any_kind = |row: &usize| {
            let role = self.table.rows.get(*row).map(|row| row.role);
            !matches!(role, Some(SlotRole::Delta | SlotRole::Repeat | SlotRole::Whole))
        };
        if !node.rows.is_empty() && (first == b'"' || node.rows.iter().any(any_kind)) {
            self.hit(index, false, current, at..self.skip(at))?;
        }
        match first {
            b'{' if !node.fields.is_empty() => Ok((self.open(index, current, true), at + 1)),
            b'[' if node.element.is_some() => Ok((self.open(index, current, false), at + 1)),
            b'{' | b'[' if !node.leaves.is_empty() => self.leaves(index, current, at).map(|at| (current, at)),
            _ => {
                let end = self.skip(at);
                if !node.leaves.is_empty() && node.rows.is_empty() {
                    self.leaf(index, current, at..end)?;
                }
                Ok((current, end))
            }
        }
    }

    /// Takes every string and number of the container at `at`; returns the position after it.
    fn leaves(&mut self, node: usize, frame: usize, mut at: usize) -> Result<usize, TooMany> {
        let end = self.skip(at);
        while at < end {
            match self.bytes.get(at) {
                Some(b'"') => {
                    let close = string_end(self.bytes, at);
                    let behind = self.space_end(close);
                    if self.bytes.get(behind) != Some(&b':') {
                        self.leaf(node, frame, at..close)?;
                    }
                    at = close;
                }
                Some(b'-' | b'0'..=b'9') => {
                    let close = self.skip(at);
                    self.leaf(node, frame, at..close)?;
                    at = close;
                }
                _ => at += 1,
            }
        }
        Ok(end)
    }

    fn leaf(&mut self, node: usize, frame: usize, range: Range<usize>) -> Result<(), TooMany> {
        if matches!(self.bytes.get(range.start), Some(b'"' | b'-' | b'0'..=b'9')) {
            self.hit(node, true, frame, range)?;
        }
        Ok(())
    }

    fn hit(&mut self, node: usize, leaf: bool, frame: usize, range: Range<usize>) -> Result<(), TooMany> {
        if self.hits.len() == MAX_PLACES {
            return Err(TooMany);
        }
        self.hits.push(Hit { node, leaf, frame, position: self.element(frame), range });
        Ok(())
    }

    /// The position of the current element in a container.
    fn element(&self, frame: usize) -> u32 {
        self.frames.get(frame).map_or(0, |frame| frame.element)
    }

    fn open(&mut self, node: usize, parent: usize, object: bool) -> usize {
        let (hits, position) = (self.hits.len(), self.element(parent));
        self.frames.push(Frame { node, parent, object, position, element: 0, facts: SmallVec::new(), hits });
        self.frames.len() - 1
    }

    /// The position after the value at `at`.
    fn skip(&self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(b'"') => string_end(self.bytes, at),
            Some(b'{' | b'[') => container_end(self.bytes, at),
            _ => {
                let rest = self.bytes.get(at..).unwrap_or_default();
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                rest.iter().position(ends).map_or(self.bytes.len(), |length| at + length)
            }
        }
    }

    fn space_end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
    }

    /// The position of a field's value; the field's key ends at `at`.
    fn value_start(&self, at: usize) -> usize {
        self.space_end(self.space_end(at) + 1)
    }

    /// The place of a hit, from the first row whose condition holds.
    fn place(&self, hit: &Hit, index: usize, event: &[u8]) -> Option<Place> {
        let node = self.table.nodes.get(hit.node)?;
        let mut rows = if hit.leaf { &node.leaves } else { &node.rows }.iter();
        let (number, row) = rows.find_map(|number| {
            let row = self.table.rows.get(*number)?;
            let holds = match row.when {
                When::Always => true,
                When::Field(field, value) => self.fact(hit.frame, field).is_some_and(|found| found == value),
                When::Event(name) => name.as_bytes() == event,
            };
            holds.then_some((*number, row))
        })?;
        let own = u32::try_from(index).unwrap_or(u32::MAX);
        let number_of = |number| self.number(hit, number).unwrap_or(own);
        let block = Block {
            kind: self.kind(row, hit.frame),
            choice: number_of(row.choice),
            block: number_of(row.block),
            part: number_of(row.part),
        };
        // A signature counts for what models write beside their answers, in the part or item that has it: elsewhere it
        // would be a word with which clients take their text from filters.
        let may_be_signed = matches!(block.kind, TextKind::Reasoning | TextKind::Summary | TextKind::Arguments);
        let signed = row
            .signed_by
            .filter(|_| may_be_signed)
            .and_then(|field| self.up(hit.frame).filter(|frame| *frame > 0).find_map(|frame| self.fact(frame, field)))
            .is_some_and(|value| !value.is_empty() && value != "null");
        Some(Place { row: number, range: hit.range.clone(), block, signed })
    }

    fn kind(&self, row: &Row, frame: usize) -> TextKind {
        if !row.by_role {
            return row.kind;
        }
        let role = self.up(frame).find_map(|frame| self.fact(frame, "role"));
        match role.as_deref() {
            Some("system" | "developer") => TextKind::System,
            Some("assistant" | "model") => TextKind::Assistant,
            Some("tool" | "function") => TextKind::ToolResult,
            _ => row.kind,
        }
    }

    fn number(&self, hit: &Hit, number: Number) -> Option<u32> {
        match number {
            Number::Is(number) => Some(number),
            Number::Place => None,
            Number::Top(field) => Some(self.integer(ROOT, field).unwrap_or(0)),
            Number::Element(array, field) => {
                // The containers come from the innermost, while arrays count from the outermost.
                let path: SmallVec<[usize; 8]> = self.up(hit.frame).collect();
                let is_array = |at: &usize| self.frames.get(*at).is_some_and(|frame| !frame.object);
                let mut arrays = path.iter().enumerate().rev().filter(|(_, at)| is_array(at));
                let (depth, _) = arrays.nth(usize::from(array))?;
                let Some(element) = depth.checked_sub(1).and_then(|inner| path.get(inner)) else {
                    return Some(hit.position);
                };
                let named = if field.is_empty() { None } else { self.integer(*element, field) };
                named.or_else(|| self.frames.get(*element).map(|frame| frame.position))
            }
        }
    }

    fn integer(&self, frame: usize, field: &str) -> Option<u32> {
        self.fact(frame, field)?.parse().ok()
    }

    /// The field of an object; the last one counts.
    fn fact(&self, frame: usize, field: &str) -> Option<Cow<'a, str>> {
        let fact = self.table.fact_of(field)?;
        let facts = &self.frames.get(frame)?.facts;
        let (_, range) = facts.iter().rev().find(|(found, _)| *found == fact)?;
        Some(text(self.bytes, range.clone()))
    }

    /// The container and those around it, outwards.
    fn up(&self, frame: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(frame), |frame| {
            (*frame != ROOT).then(|| self.frames.get(*frame).map(|f| f.parent))?
        })
    }
}

/// A scalar's text: a string's without quotes and escapes, any other as it is written.
pub(super) fn text(bytes: &[u8], range: Range<usize>) -> Cow<'_, str> {
    let raw = bytes.get(range).and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or_default();
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => unescape(inner),
        None => Cow::Borrowed(raw),
    }
}

/// The position after the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// The position after the object or array that begins at `at`.
fn container_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
