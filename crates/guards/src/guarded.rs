//! One text on its way through a set.

use std::sync::Arc;

use regex_automata::util::primitives::StateID;
use smallvec::SmallVec;
use thiserror::Error;

use crate::{
    automaton::Stepped,
    recogniser::{CONTEXT_BYTES, Candidate},
    set::{Action, GuardSet},
};

/// Most bytes that a text holds back. Recognisers hold some tens of bytes; only patterns such as `BEGIN.*END` reach it.
/// What reaches it is masked or rejected as a match of the pattern: it may be one.
pub const MAX_HELD_BYTES: usize = 64 * 1024;

/// Steps of automata that each byte of a text may take, beside [`BASE_STEPS`]. Ordinary text takes one or two. A
/// pattern that matches nearly everything, and everywhere anew, takes as many as its matches are long.
pub const STEPS_PER_BYTE: u64 = 256;
/// Steps that every text may take: some milliseconds.
pub const BASE_STEPS: u64 = 4 * 1024 * 1024;

/// Released bytes that stay in memory before they are removed: more than the context, so that removal is rare.
const MAX_RELEASED_BYTES: usize = 4096;

/// Why a text ends here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Stop {
    /// A rule of a set that rejects has matched.
    #[error("the rule {0} matches")]
    Rejected(Arc<str>),
    /// The text takes too many steps for its length.
    #[error("checking the text takes more than {STEPS_PER_BYTE} steps a byte")]
    Steps,
}

/// How often a rule has matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's number in its set.
    pub rule: usize,
    /// How many matches it had.
    pub count: u64,
}

/// One text, from its first piece to its end.
pub struct Guarded {
    set: Arc<GuardSet>,
    /// The end of the text that was released, for rules that look back, and the text that is held.
    text: String,
    /// Where the text that is held begins.
    released: usize,
    /// Where the next match may begin.
    scan: usize,
    run: Option<Run>,
    findings: SmallVec<[Finding; 2]>,
    overflows: u64,
    /// Bytes that were removed from `text`.
    removed: u64,
    steps: u64,
}

/// An attempt to match from one position.
struct Run {
    start: usize,
    /// The next byte to step over.
    read: usize,
    /// Rules that may match yet.
    active: SmallVec<[(u16, StateID); 4]>,
    best: Option<Best>,
    /// The mask has been released already: it is certain, and only the match's end is not.
    opened: bool,
}

/// The best match so far.
#[derive(Clone, Copy)]
struct Best {
    end: usize,
    rule: u16,
}

impl Guarded {
    /// A text that is checked with `set`.
    pub fn new(set: Arc<GuardSet>) -> Self {
        Self {
            set,
            text: String::new(),
            released: 0,
            scan: 0,
            run: None,
            findings: SmallVec::new(),
            overflows: 0,
            removed: 0,
            steps: 0,
        }
    }

    /// Takes the next piece, and appends what is released to `out`.
    ///
    /// # Errors
    /// When the text is refused. Nothing more may be pushed; what was released before it is in `out`.
    pub fn push(&mut self, piece: &str, out: &mut String) -> Result<(), Stop> {
        self.text.push_str(piece);
        self.advance(false, out)?;
        self.remove_released();
        Ok(())
    }

    /// The text ends: appends what was held.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn finish(&mut self, out: &mut String) -> Result<(), Stop> {
        self.advance(true, out)
    }

    /// The rules that have matched so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How often [`MAX_HELD_BYTES`] was reached.
    pub const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.text.len() - self.released
    }

    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity()
    }

    fn advance(&mut self, ends: bool, out: &mut String) -> Result<(), Stop> {
        loop {
            let Some(mut run) = self.run.take().or_else(|| self.begin()) else {
                self.release(self.text.len(), out);
                self.scan = self.text.len();
                return Ok(());
            };
            let is_over = self.step(&mut run, ends, out)?;
            if !is_over {
                if !run.opened {
                    self.release(run.start, out);
                }
                self.run = Some(run);
                return Ok(());
            }
            self.settle(&run, out)?;
        }
    }

    /// The next attempt, if the text has a position where a match may begin.
    fn begin(&self) -> Option<Run> {
        let bytes = self.text.as_bytes();
        let start = self.set.next_start(bytes, self.scan)?;
        let active = self.set.starting(bytes, start).collect();
        Some(Run { start, read: start, active, best: None, opened: false })
    }

    /// Steps over the bytes that are there. Returns whether the attempt is over.
    fn step(&mut self, run: &mut Run, ends: bool, out: &mut String) -> Result<bool, Stop> {
        while let Some(byte) = self.text.as_bytes().get(run.read).copied() {
            self.steps += run.active.len() as u64;
            self.move_on(run, Some(byte));
            if run.active.is_empty() {
                return Ok(true);
            }
            self.open(run, out)?;
            run.read += 1;
            if run.read - self.released.max(run.start) >= MAX_HELD_BYTES {
                self.overflows += 1;
                let rule = run.active.first().map_or(0, |(rule, _)| *rule);
                run.best = Some(Best { end: run.read, rule: run.best.filter(|_| run.opened).map_or(rule, |b| b.rule) });
                return Ok(true);
            }
            let allowed = BASE_STEPS + STEPS_PER_BYTE * (self.removed + self.released.max(run.start) as u64);
            if self.steps > allowed {
                return Err(Stop::Steps);
            }
        }
        if ends {
            self.move_on(run, None);
            run.active.clear();
        }
        Ok(ends)
    }

    /// Moves every rule over `byte`, or over the end of the text, and keeps the best match.
    fn move_on(&self, run: &mut Run, byte: Option<u8>) {
        let Run { start, read, active, best, .. } = run;
        active.retain(|(rule, state)| {
            let Some(automaton) = self.set.automaton(*rule) else { return false };
            let stepped = byte.map_or_else(|| automaton.end(*state), |byte| automaton.step(*state, byte));
            if matches!(stepped, Stepped::Matched(_) | Stepped::Last) {
                let is_better = best.is_none_or(|best| *read > best.end || (*read == best.end && *rule < best.rule));
                if is_better && self.accepts(*rule, *start, *read, byte, *best) {
                    *best = Some(Best { end: *read, rule: *rule });
                }
            }
            match stepped {
                Stepped::Alive(next) | Stepped::Matched(next) => *state = next,
                Stepped::Dead | Stepped::Last => return false,
            }
            true
        });
    }

    fn accepts(&self, rule: u16, start: usize, end: usize, next: Option<u8>, best: Option<Best>) -> bool {
        if self.set.is_final(rule) && best.is_some_and(|best| best.rule == rule) {
            return true;
        }
        let Some(text) = self.text.get(start..end) else { return false };
        let before = self.text.get(..start).unwrap_or_default();
        let from = before.ceil_char_boundary(before.len().saturating_sub(CONTEXT_BYTES));
        let before = before.get(from..).unwrap_or_default();
        self.set.accepts(rule, &Candidate { before, text, next })
    }

    /// Releases the mask of a match that is certain, so that its text need not be held: one rule is left, and it has
    /// matched for good.
    fn open(&mut self, run: &mut Run, out: &mut String) -> Result<(), Stop> {
        let (Some(best), [(rule, _)]) = (run.best, run.active.as_slice()) else { return Ok(()) };
        if best.rule != *rule || !self.set.is_final(*rule) {
            return Ok(());
        }
        if !run.opened {
            self.replace(run.start, best.rule, out)?;
            run.opened = true;
        }
        self.released = best.end;
        Ok(())
    }

    /// The attempt is over: takes its match, or goes on at the next position.
    fn settle(&mut self, run: &Run, out: &mut String) -> Result<(), Stop> {
        let Some(best) = run.best else {
            // No match begins inside a character, so the next byte will do.
            self.scan = run.start + 1;
            return Ok(());
        };
        if !run.opened {
            self.replace(run.start, best.rule, out)?;
        }
        // An overflow may end inside a character; the rest of it belongs to what is masked.
        let end = self.text.ceil_char_boundary(best.end);
        (self.released, self.scan) = (end, end);
        Ok(())
    }

    /// Releases the text before a match that begins at `start`, and its mask.
    fn replace(&mut self, start: usize, rule: u16, out: &mut String) -> Result<(), Stop> {
        self.release(start, out);
        let number = usize::from(rule);
        match self.findings.iter_mut().find(|finding| finding.rule == number) {
            Some(finding) => finding.count += 1,
            None => self.findings.push(Finding { rule: number, count: 1 }),
        }
        if self.set.action() == Action::Reject {
            return Err(Stop::Rejected(self.set.name(rule)));
        }
        out.push_str(self.set.mask(rule));
        Ok(())
    }

    fn release(&mut self, to: usize, out: &mut String) {
        out.push_str(self.text.get(self.released..to).unwrap_or_default());
        self.released = self.released.max(to);
    }

    /// Removes text that was released and that no rule looks back at.
    fn remove_released(&mut self) {
        // With one byte more, so that the text's beginning is never at hand again.
        let keep = self.released.saturating_sub(CONTEXT_BYTES + 1);
        if keep < MAX_RELEASED_BYTES {
            return;
        }
        let remove = self.text.floor_char_boundary(keep);
        self.text.drain(..remove);
        self.removed += remove as u64;
        self.released -= remove;
        self.scan = self.scan.saturating_sub(remove);
        if let Some(run) = &mut self.run {
            // An attempt whose mask was released may have begun in what is removed; its beginning is not needed again.
            run.start = run.start.saturating_sub(remove);
            run.read -= remove;
            if let Some(best) = &mut run.best {
                best.end = best.end.saturating_sub(remove);
            }
        }
    }
}
