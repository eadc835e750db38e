//! Automata: a pattern, compiled so that it can be stepped byte by byte.

use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson::{self, WhichCaptures},
    util::{primitives::StateID, start},
};
use regex_syntax::hir::Hir;

/// Largest automaton of one pattern. Words, numbers and alternatives take kilobytes; 50 letters of any script take two
/// megabytes.
pub const MAX_AUTOMATON_BYTES: usize = 4 * 1024 * 1024;
/// Memory for making an automaton: the sets of states that become one state.
const MAX_BUILD_BYTES: usize = 16 * 1024 * 1024;

/// An automaton that finds the matches of one pattern that begin at a given position.
pub struct Automaton {
    dfa: dense::DFA<Vec<u32>>,
    /// The state before the first byte, by the byte before it; the last one is for the beginning of the text.
    starts: Box<[StateID]>,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// No further match is possible.
    Dead,
    /// A match may follow.
    Alive(StateID),
    /// A match ended before the byte of this step, and a longer one may follow.
    Matched(StateID),
    /// A match ended before the byte of this step, and it is the last one.
    Last,
}

/// The index in `starts` of the beginning of the text.
pub const TEXT_START: usize = 256;

impl Automaton {
    /// The automaton of `hir`. `None` if it would be larger than [`MAX_AUTOMATON_BYTES`].
    ///
    /// With [`MatchKind::All`] it finds every end of a match; with [`MatchKind::LeftmostFirst`] the last end that it
    /// finds is that of the match.
    pub fn new(hir: &Hir, kind: MatchKind) -> Option<Self> {
        let config = thompson::Config::new()
            .utf8(false)
            .nfa_size_limit(Some(MAX_AUTOMATON_BYTES))
            .which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).ok()?;
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(kind)
            .dfa_size_limit(Some(MAX_AUTOMATON_BYTES))
            .determinize_size_limit(Some(MAX_BUILD_BYTES));
        let dfa = dense::Builder::new().configure(config).build_from_nfa(&nfa).ok()?;
        let start = |before: Option<u8>| {
            dfa.start_state(&start::Config::new().anchored(Anchored::Yes).look_behind(before)).ok()
        };
        let starts = (0..=u8::MAX).map(Some).chain([None]).map(start).collect::<Option<Box<[_]>>>()?;
        Some(Self { dfa, starts })
    }

    /// The state before a match that begins after the byte `before`, [`TEXT_START`] at the beginning of the text.
    pub fn start(&self, before: usize) -> Option<StateID> {
        self.starts.get(before).copied()
    }

    /// The next state for `byte`.
    pub fn step(&self, state: StateID, byte: u8) -> Stepped {
        self.classify(self.dfa.next_state(state, byte))
    }

    /// The state at the end of the text.
    pub fn end(&self, state: StateID) -> Stepped {
        self.classify(self.dfa.next_eoi_state(state))
    }

    /// Memory in bytes.
    pub fn size(&self) -> usize {
        self.dfa.memory_usage() + size_of_val(&*self.starts)
    }

    /// Whether anything can follow a state. Without this look, each match would be held for one more byte.
    fn has_successor(&self, state: StateID) -> bool {
        let lives = |next: StateID| !self.dfa.is_dead_state(next);
        (0..=u8::MAX).any(|byte| lives(self.dfa.next_state(state, byte))) || lives(self.dfa.next_eoi_state(state))
    }

    fn classify(&self, state: StateID) -> Stepped {
        if !self.dfa.is_special_state(state) {
            return Stepped::Alive(state);
        }
        if self.dfa.is_match_state(state) {
            if self.has_successor(state) { Stepped::Matched(state) } else { Stepped::Last }
        } else if self.dfa.is_dead_state(state) || self.dfa.is_quit_state(state) {
            Stepped::Dead
        } else {
            Stepped::Alive(state)
        }
    }
}
