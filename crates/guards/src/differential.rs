//! What must hold for every text and every way of cutting it; for the property tests and the fuzz target.

use std::sync::{Arc, LazyLock};

use crate::{Action, Builtin, GuardSet, Guarded, MAX_HELD_BYTES, Rule, Stop};

/// Patterns of users beside the ready-made recognisers: bounded, unbounded, lazy, with boundaries and any script.
const PATTERNS: [&str; 6] = [r"\bcat\b", "a.*?b", "BEGIN.*END", "(a|ab)(c|bcd)*", "[é-ü]{2,5}x?", "^x.+$"];

static SETS: LazyLock<[Arc<GuardSet>; 3]> = LazyLock::new(|| {
    let builtins = Builtin::ALL.map(Rule::Builtin).to_vec();
    let patterns = PATTERNS.map(|pattern| Rule::Pattern { name: None, pattern: pattern.into() }).to_vec();
    let both = [builtins.clone(), patterns.clone()].concat();
    [builtins, patterns, both]
        .map(|rules| Arc::new(GuardSet::compile(&rules, Action::Mask).unwrap_or_else(|error| unreachable!("{error}"))))
});

/// Checks that `text` is masked alike as a whole and in pieces whose lengths are chosen by the bits of `cuts`, and that
/// the text that is held is bounded.
///
/// # Panics
/// When the two differ.
pub fn check(text: &str, cuts: u64) {
    for set in &*SETS {
        let whole = mask(set, &[text]);
        let mut pieces = Vec::new();
        let (mut rest, mut bits) = (text, cuts);
        while !rest.is_empty() {
            // Short pieces are more likely to cut a match.
            let length = usize::try_from(bits & if bits & 8 == 0 { 0x3 } else { 0x1f }).unwrap_or_default() + 1;
            bits = bits.rotate_right(5);
            let (piece, behind) = rest.split_at(rest.ceil_char_boundary(length.min(rest.len())));
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(mask(set, &pieces), whole, "{pieces:?}");
    }
}

fn mask(set: &Arc<GuardSet>, pieces: &[&str]) -> Result<String, Stop> {
    let (mut guarded, mut out) = (Guarded::new(Arc::clone(set)), String::new());
    for piece in pieces {
        guarded.push(piece, &mut out)?;
        assert!(guarded.held() <= MAX_HELD_BYTES + piece.len());
    }
    guarded.finish(&mut out)?;
    assert_eq!(guarded.held(), 0);
    Ok(out)
}
