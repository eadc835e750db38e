//! What other vendors' models have left in the history of a body that stays in its dialect.
//!
//! A client sends back the reasoning of earlier answers. Where another vendor has given them, their signatures are
//! [tagged](crate::conversation::Signature::tagged), and the server would refuse the request because of them. They are
//! left out here, as a translation leaves them out.

use serde_json::value::RawValue;

use crate::{
    conversation::{Signature, SignatureOrigin, Text},
    stream::{Splice, TopLevel, json::ArrayWriter},
};

/// What becomes of a block of a turn.
pub(super) enum Kept {
    /// It stays as it is.
    AsItIs,
    /// It is left out.
    No,
    /// It is replaced by this JSON text.
    As(Vec<u8>),
}

/// Whether `text` has a string that begins with a tag, or an id that contains one. `wrapped` is what a tag begins with
/// in base64, where a dialect wraps signatures.
pub(super) fn mentioned(text: &[u8], wrapped: bool) -> bool {
    let begins = |needle: &[u8]| {
        memchr::memmem::find_iter(text, needle).any(|at| {
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            matches!(before, Some(b'"' | b'_'))
        })
    };
    begins(b"TG") || wrapped && begins(WRAPPED.as_bytes())
}

/// What a tag begins with in base64: all tags begin with `TG` and a lower-case letter.
pub(super) const WRAPPED: &str = "VEd";

/// Whether `text` has a signature that is empty: reasoning of a model that does not sign.
pub(super) fn has_unsigned(text: &[u8]) -> bool {
    const FIELD: &[u8] = b"\"signature\"";
    memchr::memmem::find_iter(text, FIELD).any(|at| {
        let value = text.get(at + FIELD.len()..).unwrap_or_default().trim_ascii_start();
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
        value.starts_with(b"\"\"")
    })
}

/// Whether a signature in a dialect of `home` is another vendor's, or of what the dialect has no field for.
pub(super) fn is_foreign(signature: &Text<'_>, home: SignatureOrigin) -> bool {
    Signature::untagged(signature.reborrow(), home).maker != home
}

/// The vendor's own turns.
pub(super) struct Own {
    /// A list, as JSON text.
    pub turns: Vec<u8>,
    /// Whether any block was left out.
    pub lost: bool,
}

/// Where the blocks of a turn are.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    /// The field of a turn that has them.
    pub field: &'static str,
    /// The JSON text that they become where none remains; without it the turn is left out.
    pub emptied: Option<&'static str>,
}

/// The turns without the blocks that `keep` leaves out; `None` if nothing changes. Without `blocks` the turns are the
/// blocks. Some servers take one turn or block in place of a list.
pub(super) fn own(turns: &[u8], blocks: Option<Blocks>, keep: &dyn Fn(&TopLevel<'_>) -> Kept) -> Option<Own> {
    let turns: Vec<&RawValue> = match turns.first() {
        Some(b'{') => vec![serde_json::from_slice(turns).ok()?],
        Some(b'[') => serde_json::from_slice(turns).ok()?,
        _ => return None,
    };
    let mut out = Vec::new();
    let mut written = ArrayWriter::begin(&mut out);
    let (mut changed, mut lost) = (false, false);
    for turn in turns {
        let turn = turn.get().as_bytes();
        let kept = TopLevel::scan(turn).map_or(Kept::AsItIs, |top| match blocks {
            None => keep(&top),
            Some(Blocks { field, emptied }) => {
                let inner = top.get(field).map(|member| member.value);
                match inner.and_then(|inner| own(inner, None, keep)) {
                    None => Kept::AsItIs,
                    Some(left) if left.turns == b"[]" && emptied.is_none() => Kept::No,
                    Some(mut left) => {
                        if left.turns == b"[]" {
                            left.turns = emptied.unwrap_or_default().into();
                        }
                        lost |= left.lost;
                        let mut splice = Splice::new(&top);
                        splice.set(field, left.turns);
                        Kept::As(splice.apply(&bytes::Bytes::new()).to_vec())
                    }
                }
            }
        });
        changed |= !matches!(kept, Kept::AsItIs);
        lost |= matches!(kept, Kept::No);
        match kept {
            Kept::AsItIs => written.element().extend_from_slice(turn),
            Kept::As(new) => written.element().extend_from_slice(&new),
            Kept::No => {}
        }
    }
    written.end();
    changed.then_some(Own { turns: out, lost })
}
