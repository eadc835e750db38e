//! Skipping uninteresting bytes, many at a time.
//!
//! `memchr` searches for up to three needles and pays a call through a pointer each time; JSON needs classes of bytes
//! (control characters, brackets) and mostly finds them within a few bytes. So these searches are inlined: eight bytes
//! at a time in one register where a hit is near, and blocks that the compiler turns into vector instructions where it
//! is far.

/// The position of the first quote, backslash or control character from `from` on; the length if there is none.
#[inline]
pub(super) fn string_stop(bytes: &[u8], from: usize) -> usize {
    find::<StringStop>(bytes, from)
}

/// The position of the first quote or backslash from `from` on; the length if there is none.
#[inline]
pub(super) fn string_end(bytes: &[u8], from: usize) -> usize {
    find::<StringEnd>(bytes, from)
}

/// The position of the first quote or bracket from `from` on; the length if there is none.
#[inline]
pub(super) fn structure(bytes: &[u8], from: usize) -> usize {
    // Between two strings there is mostly a colon or a comma.
    for at in from..from + 2 {
        if bytes.get(at).is_none_or(|&byte| Structure::holds(byte)) {
            return at.min(bytes.len());
        }
    }
    find::<Structure>(bytes, from + 2)
}

/// One in every byte.
const ONES: u64 = u64::MAX / 0xff;

/// The highest bit of every byte.
const HIGHS: u64 = ONES << 7;

/// A class of bytes, in two spellings that must agree.
trait Class {
    fn holds(byte: u8) -> bool;

    /// Sets the highest bit of bytes in the class. Bytes above the lowest hit may be set wrongly; all others are right.
    fn hits(word: u64) -> u64;
}

struct StringStop;

impl Class for StringStop {
    #[inline]
    fn holds(byte: u8) -> bool {
        byte < 0x20 || StringEnd::holds(byte)
    }

    #[inline]
    fn hits(word: u64) -> u64 {
        StringEnd::hits(word) | below(word, 0x20)
    }
}

struct StringEnd;

impl Class for StringEnd {
    #[inline]
    fn holds(byte: u8) -> bool {
        matches!(byte, b'"' | b'\\')
    }

    #[inline]
    fn hits(word: u64) -> u64 {
        equal(word, b'"') | equal(word, b'\\')
    }
}

struct Structure;

impl Class for Structure {
    #[inline]
    fn holds(byte: u8) -> bool {
        matches!(byte, b'"' | b'{' | b'}' | b'[' | b']')
    }

    #[inline]
    fn hits(word: u64) -> u64 {
        // `[` and `{`, `]` and `}` differ in one bit only.
        let folded = word | (ONES * 0x20);
        equal(word, b'"') | equal(folded, b'{') | equal(folded, b'}')
    }
}

/// Bytes less than `limit`, which is at most 128.
///
/// The subtraction borrows from the next byte only after a hit, so the lowest hit is exact.
#[inline]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS
}

#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

#[inline]
fn find<C: Class>(bytes: &[u8], from: usize) -> usize {
    let mut rest = bytes.get(from..).unwrap_or_default();
    // Most strings are short: a few bytes are examined before larger steps are used.
    for _ in 0..NEAR_WORDS {
        let Some((word, tail)) = rest.split_first_chunk() else { break };
        if let Some(at) = first::<C>(*word) {
            return bytes.len() - rest.len() + at;
        }
        rest = tail;
    }
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        if any::<C>(block) {
            break;
        }
        rest = tail;
    }
    while let Some((word, tail)) = rest.split_first_chunk() {
        if let Some(at) = first::<C>(*word) {
            return bytes.len() - rest.len() + at;
        }
        rest = tail;
    }
    let tail = bytes.len() - rest.len();
    rest.iter().position(|&byte| C::holds(byte)).map_or(bytes.len(), |at| tail + at)
}

/// Keys, short values and lines of a text (their ends being escapes) end within this many words.
///
/// Measured: from 2 to 8, bodies with many escapes gain a tenth and others nothing.
const NEAR_WORDS: usize = 8;

/// Bytes that are examined in one step through a long string; 32 are slower by a quarter.
const BLOCK: usize = 64;

#[inline]
fn first<C: Class>(word: [u8; 8]) -> Option<usize> {
    let hits = C::hits(u64::from_le_bytes(word));
    (hits != 0).then(|| hits.trailing_zeros() as usize / 8)
}

/// Without an early exit, so that it is compiled to vector instructions.
#[inline]
fn any<C: Class>(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(0, |found, &byte| found | u8::from(C::holds(byte))) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<C: Class>(members: &[u8]) {
        for byte in 0..=u8::MAX {
            assert_eq!(C::holds(byte), members.contains(&byte), "byte {byte:#x}");
            // In every lane, in every tail, and with a decoy in front of the start.
            for length in [1, 15, 16, 17, 31, 64, 79, 80, 81, 150] {
                for at in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let expect = if C::holds(byte) { at } else { length };
                    assert_eq!(find::<C>(&bytes, 0), expect, "byte {byte:#x} at {at} of {length}");
                    assert_eq!(find::<C>(&bytes, at), expect);
                    assert_eq!(find::<C>(&bytes, at + 1), length);
                }
            }
        }
    }

    #[test]
    fn each_class_is_found_at_every_place() {
        let control: Vec<u8> = (0..0x20).chain([b'"', b'\\']).collect();
        check::<StringStop>(&control);
        check::<StringEnd>(b"\"\\");
        check::<Structure>(b"\"{}[]\x02"[..5].as_ref());
    }

    #[test]
    fn the_first_of_several_wins() {
        assert_eq!(string_stop(b"abc\\\"", 0), 3);
        assert_eq!(structure(b"0123456789012345678]}", 3), 19);
        assert_eq!(string_end(b"", 0), 0);
        assert_eq!(string_end(b"a", 7), 1);
    }
}
