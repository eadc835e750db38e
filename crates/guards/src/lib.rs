//! Guards of text: finds secrets and personal data in text that arrives in pieces, and masks or rejects it.
//!
//! ```text
//! rules ─> GuardSet (compiled once, shared) ─> Guarded (one text) ─ push, push, ..., finish ─> released text
//! ```
//!
//! The released text does not depend on where the text was cut into pieces, and text is held back only while a match
//! that begins there may still complete.
//!
//! ```
//! use std::sync::Arc;
//! use tollgate_guards::{Action, Builtin, GuardSet, Guarded, Rule};
//!
//! let set = GuardSet::compile(&[Rule::Builtin(Builtin::CreditCard)], Action::Mask).unwrap();
//! let (mut text, mut out) = (Guarded::new(Arc::new(set)), String::new());
//! text.push("My card is 4111-11", &mut out).unwrap();
//! assert_eq!(out, "My card is ");
//! text.push("11-1111-1111.", &mut out).unwrap();
//! assert_eq!(out, "My card is <CREDIT_CARD>.");
//! ```
//!
//! **What is found.** From left to right: at the first position where any rule matches, the longest match is taken; of
//! equally long ones, that of the rule that is listed first. The search goes on behind it. A pattern that a user wrote
//! matches what it would match with the `regex` crate from that position: lazy quantifiers stay lazy.
//!
//! **Bounds.** A pattern has at most [`MAX_PATTERN_BYTES`] bytes and its automaton [`MAX_AUTOMATON_BYTES`], a set
//! [`MAX_RULES`] rules. A text holds at most [`MAX_HELD_BYTES`] back: what is longer and may still match is masked as a
//! whole. A text that takes more than [`STEPS_PER_BYTE`] steps for each of its bytes is refused.
//!
//! The modules are in dependency order: each uses only those above it.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like"))]

#[cfg(test)]
extern crate self as tollgate_guards;

/// Automata: a pattern, compiled so that it can be stepped byte by byte.
mod automaton;
/// Patterns that users write, read and checked.
mod pattern;
/// Ready-made recognisers: their patterns and the checks of what these match.
mod recogniser;
/// Compiled rules, by the bytes that their matches can begin with.
mod set;
/// One text on its way through a set.
mod guarded;
/// What must hold for every text.
#[cfg(any(test, fuzzing))]
pub mod differential;
#[cfg(test)]
mod tests;

pub use automaton::MAX_AUTOMATON_BYTES;
pub use guarded::{BASE_STEPS, Finding, Guarded, MAX_HELD_BYTES, STEPS_PER_BYTE, Stop};
pub use pattern::{MAX_PATTERN_BYTES, PatternError};
pub use recogniser::Builtin;
pub use set::{Action, GuardError, GuardSet, MAX_RULES, MAX_SET_BYTES, Rule};
