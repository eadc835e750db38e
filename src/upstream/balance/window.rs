//! How many of the last attempts have failed, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Parts of the window: the oldest is forgotten as a whole.
const SLOTS: u8 = 6;
/// The time of one part. The window is 30 seconds.
const SLOT: Duration = Duration::from_secs(5);
/// Bits of a count within a word. More attempts than fit are not counted.
const BITS: u32 = 20;
const MASK: u64 = (1 << BITS) - 1;

/// Attempts that ended within the last 30 seconds. Each part is one word: its number, and the counts of all attempts
/// and of those that failed, so that a part that is reused is reset at once.
#[derive(Debug, Default)]
pub(super) struct Window([AtomicU64; SLOTS as usize]);

impl Window {
    /// Counts an attempt that ended at `at`, the time since the window began.
    pub(super) fn record(&self, failed: bool, at: Duration) {
        let number = number(at);
        let Some(slot) = self.0.get(usize::try_from(number % u64::from(SLOTS)).unwrap_or_default()) else { return };
        let counted = |word: u64| {
            let word = if word >> (2 * BITS) == number { word } else { number << (2 * BITS) };
            let (all, bad) = (word >> BITS & MASK, word & MASK);
            (all < MASK).then(|| number << (2 * BITS) | (all + 1) << BITS | (bad + u64::from(failed)))
        };
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
    }

    /// All attempts of the window, and those that failed.
    pub(super) fn counts(&self, at: Duration) -> (u64, u64) {
        let number = number(at);
        let words = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        let fresh =
            words.filter(|word| number.checked_sub(word >> (2 * BITS)).is_some_and(|age| age < u64::from(SLOTS)));
        fresh.fold((0, 0), |(all, bad), word| (all + (word >> BITS & MASK), bad + (word & MASK)))
    }

    /// Forgets all attempts.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
    }
}

/// The number of the part at this time, within the 24 bits that a word has for it.
const fn number(at: Duration) -> u64 {
    (at.as_secs() / SLOT.as_secs()) & 0xFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_forgotten_after_half_a_minute() {
        let (window, second) = (Window::default(), Duration::from_secs);
        for at in [0, 4, 12] {
            window.record(false, second(at));
            window.record(true, second(at));
        }
        assert_eq!(window.counts(second(12)), (6, 3));
        assert_eq!(window.counts(second(29)), (6, 3));
        assert_eq!(window.counts(second(30)), (2, 1), "the first part is over");
        assert_eq!(window.counts(second(45)), (0, 0));
        window.record(true, second(61));
        assert_eq!(window.counts(second(61)), (1, 1), "a part that is used again begins anew");
        window.clear();
        assert_eq!(window.counts(second(61)), (0, 0));
    }
}
