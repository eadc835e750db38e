//! Turns: round robin, and shares by weight.

use std::sync::atomic::{AtomicU32, Ordering};

/// 2^32 divided by the golden ratio: multiples of it spread evenly over the whole range, in any run of turns.
const GOLDEN: u32 = 0x9E37_79B9;

/// Counts the turns of something with several parts.
#[derive(Debug, Default)]
pub struct Turns(AtomicU32);

impl Turns {
    /// The number of this turn, from 0. It wraps.
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The index of the next part of `count` in turn; `None` when there is no part.
    pub fn next_of(&self, count: usize) -> Option<usize> {
        // Where there is only one part, threads need not share the counter.
        let turn = if count < 2 { 0 } else { self.next() };
        usize::try_from(turn).unwrap_or_default().checked_rem(count)
    }

    /// A point in `0..total` for the next turn. Over any run of turns the points match the shares closely, not only on
    /// average.
    pub fn next_point(&self, total: u32) -> u32 {
        point(self.next(), total)
    }
}

/// The point in `0..total` of this turn.
pub(super) fn point(turn: u32, total: u32) -> u32 {
    // The high half of the product maps the full range evenly onto 0..total.
    u32::try_from((u64::from(turn.wrapping_mul(GOLDEN)) * u64::from(total)) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_in_turn() {
        let turns = Turns::default();
        let taken: Vec<_> = (0..5).map(|_| turns.next_of(3).unwrap()).collect();
        assert_eq!(taken, [0, 1, 2, 0, 1]);
        assert_eq!(turns.next_of(1), Some(0));
        assert_eq!(turns.next_of(0), None);
    }

    #[test]
    fn points_are_spread_evenly_over_short_runs() {
        let turns = Turns::default();
        let low = (0..100).filter(|_| turns.next_point(100) < 30).count();
        assert!((29..=31).contains(&low), "{low} of 100 fell into a share of 30");
        assert_eq!(turns.next_point(0), 0);
    }
}
