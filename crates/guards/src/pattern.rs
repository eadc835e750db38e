//! Patterns that users write, read and checked.

use regex_automata::MatchKind;
use regex_syntax::{
    ParserBuilder,
    hir::{Capture, Hir, HirKind, Look, Repetition},
};
use thiserror::Error;

use crate::automaton::{Automaton, MAX_AUTOMATON_BYTES};

/// Longest pattern. Longer ones are lists of words, which are better written as several patterns.
pub const MAX_PATTERN_BYTES: usize = 16 * 1024;

/// Why a pattern can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It is no regular expression, or uses what has no automaton: look-around and back-references.
    #[error("{0}")]
    Syntax(String),
    /// It matches the empty text, so it would match everywhere.
    #[error("it matches the empty text, and so everywhere")]
    Empty,
    /// It can never match.
    #[error("it can never match")]
    Never,
    /// It is longer than [`MAX_PATTERN_BYTES`].
    #[error("it has more than {MAX_PATTERN_BYTES} bytes")]
    Long,
    /// Its automaton would be larger than [`MAX_AUTOMATON_BYTES`].
    #[error(
        "its automaton would take more than {} MiB: use smaller repetitions, or `(?-u:...)` where only ASCII is meant",
        MAX_AUTOMATON_BYTES / (1024 * 1024)
    )]
    Large,
}

/// A user's pattern, compiled.
pub struct Pattern {
    /// Its automaton.
    pub automaton: Automaton,
    /// Whether its matches have no longest length: text that may become one can be held for long.
    pub unbounded: bool,
}

/// Reads a user's pattern. Letters have no case, `^` and `$` match at lines, and `.` matches line ends, as in kgateway.
/// `\b` is about ASCII letters.
pub fn read(pattern: &str) -> Result<Pattern, PatternError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(PatternError::Long);
    }
    let mut parser = ParserBuilder::new().case_insensitive(true).multi_line(true).dot_matches_new_line(true).build();
    let hir = parser.parse(pattern).map_err(|error| PatternError::Syntax(summary(&error)))?;
    match hir.properties().minimum_len() {
        Some(0) => return Err(PatternError::Empty),
        None => return Err(PatternError::Never),
        Some(_) => {}
    }
    let unbounded = hir.properties().maximum_len().is_none();
    let automaton = Automaton::new(&ascii_words(hir), MatchKind::LeftmostFirst).ok_or(PatternError::Large)?;
    Ok(Pattern { automaton, unbounded })
}

/// The parser's error in one line; its own text draws the pattern.
fn summary(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        error => error.to_string(),
    }
}

/// The same pattern with ASCII word boundaries. Automata have no others, because those depend on whole characters.
fn ascii_words(hir: Hir) -> Hir {
    if !hir.properties().look_set().contains_word_unicode() {
        return hir;
    }
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            other => other,
        }),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(ascii_words(*repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition })
        }
        HirKind::Capture(capture) => {
            let sub = Box::new(ascii_words(*capture.sub));
            Hir::capture(Capture { sub, ..capture })
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(ascii_words).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(ascii_words).collect()),
    }
}
