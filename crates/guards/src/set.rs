//! Compiled rules, by the bytes that their matches can begin with.

use std::sync::Arc;

use regex_automata::util::primitives::StateID;
use smallvec::SmallVec;
use thiserror::Error;

use crate::{
    automaton::{Automaton, Stepped, TEXT_START},
    pattern::{self, PatternError},
    recogniser::{self, Builtin, Candidate, Recogniser},
};

/// Most rules of one set: more are a word list, for which one pattern with alternatives is the better form.
pub const MAX_RULES: usize = 1000;
/// Largest set. A thousand words take a tenth of it.
pub const MAX_SET_BYTES: usize = 64 * 1024 * 1024;

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A ready-made recogniser.
    Builtin(Builtin),
    /// A pattern of the user's own, and the name that its mask has.
    Pattern {
        /// The name; `CUSTOM` if absent.
        name: Option<String>,
        /// The regular expression.
        pattern: String,
    },
}

/// What happens to a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It is replaced by `<NAME>`.
    Mask,
    /// The text is refused.
    Reject,
}

impl Action {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Reject => "reject",
        }
    }
}

/// Why a set can't be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GuardError {
    /// A pattern can't be used.
    #[error("pattern {number}: {error}")]
    Pattern {
        /// Its number among the patterns, from 0.
        number: usize,
        /// The reason.
        error: PatternError,
    },
    /// There are more than [`MAX_RULES`].
    #[error("there are more than {MAX_RULES} rules")]
    TooMany,
    /// All automata together are larger than [`MAX_SET_BYTES`].
    #[error("the patterns take more than {} MiB together", MAX_SET_BYTES / (1024 * 1024))]
    TooLarge,
}

/// Rules, compiled. Shared by all texts that are checked with it.
pub struct GuardSet {
    rules: Vec<Compiled>,
    action: Action,
    /// Rules whose matches can begin with a byte.
    by_first: Box<[SmallVec<[u16; 8]>]>,
    /// By the byte before: the bytes with which a match can begin there.
    begins: Box<[[bool; 256]]>,
}

struct Compiled {
    name: Arc<str>,
    mask: String,
    kind: Kind,
}

enum Kind {
    Builtin(&'static Recogniser),
    /// Whether its matches have no longest length is in the flag.
    Pattern(Box<Automaton>, bool),
}

impl GuardSet {
    /// Compiles `rules`.
    ///
    /// # Errors
    /// When a pattern can't be used, or there are too many.
    pub fn compile(rules: &[Rule], action: Action) -> Result<Self, GuardError> {
        if rules.len() > MAX_RULES {
            return Err(GuardError::TooMany);
        }
        let (mut compiled, mut size, mut patterns) = (Vec::with_capacity(rules.len()), 0, 0);
        for rule in rules {
            let (name, kind) = match rule {
                Rule::Builtin(builtin) => (builtin.mask_name(), Kind::Builtin(recogniser::of(*builtin))),
                Rule::Pattern { name, pattern } => {
                    let read =
                        pattern::read(pattern).map_err(|error| GuardError::Pattern { number: patterns, error })?;
                    patterns += 1;
                    let name = name.as_deref().filter(|name| !name.is_empty()).unwrap_or("CUSTOM");
                    size += read.automaton.size();
                    (name, Kind::Pattern(Box::new(read.automaton), read.unbounded))
                }
            };
            if size > MAX_SET_BYTES {
                return Err(GuardError::TooLarge);
            }
            compiled.push(Compiled { name: name.into(), mask: format!("<{name}>"), kind });
        }
        let mut set = Self {
            rules: compiled,
            action,
            by_first: vec![SmallVec::new(); 256].into(),
            begins: vec![[false; 256]; TEXT_START + 1].into(),
        };
        set.index();
        Ok(set)
    }

    /// What happens to matches.
    pub const fn action(&self) -> Action {
        self.action
    }

    /// Whether there is no rule, so that nothing is ever found.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The names of the rules, in their order: what is inside `<...>` of their masks.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// The names of patterns whose matches have no longest length. Text that may become one is held until that is
    /// decided.
    pub fn unbounded(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|rule| matches!(rule.kind, Kind::Pattern(_, true))).map(|rule| &*rule.name)
    }

    /// The first position at or after `from` where a match may begin. `before` is the byte before `from`.
    pub(crate) fn next_start(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut before = bytes_before(bytes, from);
        for (offset, byte) in bytes.get(from..)?.iter().enumerate() {
            if self.begins.get(before).is_some_and(|firsts| firsts.get(usize::from(*byte)) == Some(&true)) {
                return Some(from + offset);
            }
            before = usize::from(*byte);
        }
        None
    }

    /// The rules that may match from `at`, each with its state before the first byte.
    pub(crate) fn starting(&self, bytes: &[u8], at: usize) -> impl Iterator<Item = (u16, StateID)> {
        let before = bytes_before(bytes, at);
        let first = bytes.get(at).copied().unwrap_or_default();
        let rules = self.by_first.get(usize::from(first)).map(SmallVec::as_slice).unwrap_or_default();
        rules.iter().filter_map(move |rule| Some((*rule, self.automaton(*rule)?.start(before)?)))
    }

    pub(crate) fn automaton(&self, rule: u16) -> Option<&Automaton> {
        Some(match &self.rules.get(usize::from(rule))?.kind {
            Kind::Builtin(recogniser) => recogniser.automaton()?,
            Kind::Pattern(automaton, _) => automaton,
        })
    }

    /// Whether a match that was accepted stays one however much longer it gets.
    pub(crate) fn is_final(&self, rule: u16) -> bool {
        match self.rules.get(usize::from(rule)).map(|rule| &rule.kind) {
            Some(Kind::Builtin(recogniser)) => recogniser.is_final(),
            Some(Kind::Pattern(..)) => true,
            None => false,
        }
    }

    pub(crate) fn accepts(&self, rule: u16, candidate: &Candidate<'_>) -> bool {
        match self.rules.get(usize::from(rule)).map(|rule| &rule.kind) {
            Some(Kind::Builtin(recogniser)) => recogniser.accepts(candidate),
            Some(Kind::Pattern(..)) => true,
            None => false,
        }
    }

    pub(crate) fn mask(&self, rule: u16) -> &str {
        self.rules.get(usize::from(rule)).map_or("", |rule| &rule.mask)
    }

    pub(crate) fn name(&self, rule: u16) -> Arc<str> {
        self.rules.get(usize::from(rule)).map_or_else(|| Arc::from(""), |rule| Arc::clone(&rule.name))
    }

    /// Finds out with which bytes matches begin.
    fn index(&mut self) {
        for number in 0..u16::try_from(self.rules.len()).unwrap_or(u16::MAX) {
            let mut firsts = [false; 256];
            // Many bytes have one start state.
            let mut known: Vec<(StateID, [bool; 256])> = Vec::new();
            for before in 0..=TEXT_START {
                let Some((automaton, state)) =
                    self.automaton(number).and_then(|automaton| Some((automaton, automaton.start(before)?)))
                else {
                    continue;
                };
                let begins = if let Some((_, begins)) = known.iter().find(|(start, _)| *start == state) {
                    *begins
                } else {
                    let mut begins = [false; 256];
                    for (byte, begins) in (0..=u8::MAX).zip(&mut begins) {
                        *begins = automaton.step(state, byte) != Stepped::Dead;
                    }
                    known.push((state, begins));
                    begins
                };
                let Some(of_set) = self.begins.get_mut(before) else { continue };
                for ((of_set, of_rule), first) in of_set.iter_mut().zip(begins).zip(&mut firsts) {
                    *of_set |= of_rule;
                    *first |= of_rule;
                }
            }
            for (rules, first) in self.by_first.iter_mut().zip(firsts) {
                if first {
                    rules.push(number);
                }
            }
        }
    }
}

fn bytes_before(bytes: &[u8], at: usize) -> usize {
    at.checked_sub(1).and_then(|at| bytes.get(at)).map_or(TEXT_START, |byte| usize::from(*byte))
}

impl std::fmt::Debug for GuardSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardSet")
            .field("rules", &self.rules.len())
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}
