//! The order in which the targets of one group are tried by one request.
//!
//! Pure functions of what is known about the targets. Those that are left alone come last in each of them, so that
//! their share goes to all others, and not to the one behind them.

use smallvec::SmallVec;

use super::turns;

/// Targets of a group that need no allocation: the most that a Backend may list.
const INLINE: usize = 32;
/// Another target is chosen for its lower cost only if that is lower than this part: smaller differences are noise.
const CLEARLY: f64 = 0.8;
/// A key's target may have so many times the requests that it would have if all had their share. It is the bound of
/// "Consistent Hashing with Bounded Loads" (Mirrokni, Thorup, Zadimoghaddam, 2018) which proxies use as well.
const BOUND: f64 = 1.25;

/// Numbers of targets in their group, first choice first.
pub type Ranks = SmallVec<[u8; INLINE]>;

/// What is known about a target.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its share of the group's requests, relative to others; not 0.
    pub weight: u32,
    /// Its attempts under way.
    pub in_flight: u32,
    /// The estimate of the time to its first content, in seconds.
    pub latency: Option<f64>,
    /// The hash of its name.
    pub name: u64,
    /// It has failed lately.
    pub left_alone: bool,
}

/// Begins with the target of this turn, and goes on with those behind it. Targets of different weights have as many
/// turns as their weights allow.
pub fn in_turn(weights: impl ExactSizeIterator<Item = u32> + Clone, turn: u32) -> Ranks {
    let (first, count) = (weights.clone().next(), weights.len());
    let start = if weights.clone().all(|weight| Some(weight) == first) {
        usize::try_from(turn).unwrap_or_default().checked_rem(count).unwrap_or_default()
    } else {
        let total = weights.clone().fold(0_u32, u32::saturating_add);
        at(weights, turns::point(turn, total))
    };
    (0..count).filter_map(|offset| rank((start + offset).checked_rem(count)?)).collect()
}

/// Begins with the better of two targets that are drawn by weight ("the power of two choices"), and goes on by cost.
/// Where their costs hardly differ, the first one drawn is chosen, so that weights are kept while no request waits.
pub fn by_cost(candidates: &[Candidate], random: u64) -> Ranks {
    let costs = costs(candidates);
    let cost = |index: usize| costs.get(index).copied().unwrap_or(f64::MAX);
    let draw = |random: u64, without: Option<usize>| {
        let weights = candidates.iter().enumerate();
        let weights = weights.map(|(index, c)| if c.left_alone || without == Some(index) { 0 } else { c.weight });
        let total: u64 = weights.clone().map(u64::from).sum();
        let point = ((random & u64::from(u32::MAX)) * total) >> 32;
        (total > 0).then(|| at(weights, u32::try_from(point).unwrap_or(u32::MAX)))
    };
    let first = draw(random >> 32, None);
    let second = draw(random, first);
    let chosen = match (first, second) {
        (Some(first), Some(second)) if cost(second) < cost(first) * CLEARLY => Some(second),
        (first, _) => first,
    };
    let late = |index: usize| candidates.get(index).is_some_and(|candidate| candidate.left_alone);
    let key = |index: &usize| (chosen != Some(*index), late(*index), cost(*index));
    sorted(candidates.len(), |one, other| {
        let (one, other) = (key(one), key(other));
        (one.0, one.1).cmp(&(other.0, other.1)).then(one.2.total_cmp(&other.2))
    })
}

/// The cost of one more request at each target: its latency, for it and for all that are under way. A target without an
/// estimate counts as an average one.
fn costs(candidates: &[Candidate]) -> SmallVec<[f64; INLINE]> {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        if count > 0.0 { sum / count } else { 1.0 }
    };
    let weight = mean(&mut candidates.iter().map(|candidate| f64::from(candidate.weight)));
    let latency = mean(&mut candidates.iter().filter_map(|candidate| candidate.latency));
    let cost = |candidate: &Candidate| {
        let load = f64::from(candidate.in_flight) * weight / f64::from(candidate.weight.max(1));
        candidate.latency.unwrap_or(latency) * (1.0 + load)
    };
    candidates.iter().map(cost).collect()
}

/// Begins with the target that `key` belongs to, and goes on with those that it would belong to without it.
///
/// Each target draws a number from the key and its own name, and the best one has the key (weighted rendezvous
/// hashing). So a target that comes or goes moves its own keys and no others, each key has its own next target, and
/// every replica of the gateway has the same order. A target with more than its bounded share under way comes behind
/// those that have room.
pub fn by_key(candidates: &[Candidate], key: u64) -> Ranks {
    let usable = || candidates.iter().filter(|candidate| !candidate.left_alone);
    let in_flight: f64 = usable().map(|candidate| f64::from(candidate.in_flight)).sum();
    let total: f64 = usable().map(|candidate| f64::from(candidate.weight)).sum();
    // The request itself counts, so that one target always has room.
    let most = |candidate: &Candidate| ((in_flight + 1.0) * BOUND * f64::from(candidate.weight) / total).ceil();
    let scored: SmallVec<[(bool, bool, f64); INLINE]> = candidates
        .iter()
        .map(|candidate| {
            let full = !candidate.left_alone && f64::from(candidate.in_flight) >= most(candidate);
            (candidate.left_alone, full, score(candidate, key))
        })
        .collect();
    let score_of = |index: usize| scored.get(index).copied().unwrap_or((true, true, f64::MAX));
    sorted(candidates.len(), |one, other| {
        let (one, other) = (score_of(*one), score_of(*other));
        (one.0, one.1).cmp(&(other.0, other.1)).then(one.2.total_cmp(&other.2))
    })
}

/// The number that a target draws; the lowest one wins. It is distributed exponentially with the weight as its rate, so
/// that each target has the lowest one for its share of the keys.
fn score(candidate: &Candidate, key: u64) -> f64 {
    let drawn = u32::try_from(mixed(key ^ candidate.name) >> 32).unwrap_or_default();
    let uniform = (f64::from(drawn) + 1.0) / (f64::from(u32::MAX) + 1.0);
    -uniform.ln() / f64::from(candidate.weight.max(1))
}

/// The numbers up to `count` in this order. Equal ones keep theirs.
fn sorted(count: usize, compare: impl Fn(&usize, &usize) -> std::cmp::Ordering) -> Ranks {
    let mut order: SmallVec<[usize; INLINE]> = (0..count).collect();
    order.sort_by(|one, other| compare(one, other));
    order.into_iter().filter_map(rank).collect()
}

/// The number of the part that has this point.
fn at(weights: impl Iterator<Item = u32>, mut point: u32) -> usize {
    for (index, weight) in weights.enumerate() {
        if point < weight {
            return index;
        }
        point -= weight;
    }
    0
}

fn rank(index: usize) -> Option<u8> {
    // A group has at most 32 targets.
    u8::try_from(index).ok()
}

/// A hash that every replica of every version computes alike: FNV-1a, whose bits are mixed at the end.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash(u64);

impl Default for KeyHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl KeyHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut hash = Self::default();
        hash.write(bytes);
        hash.finish()
    }

    /// Adds bytes. How they are cut makes no difference.
    pub fn write(&mut self, bytes: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 = bytes.iter().fold(self.0, step);
    }

    /// The hash of all bytes.
    pub const fn finish(self) -> u64 {
        mixed(self.0)
    }
}

/// The mixing step of `SplitMix64`: each bit of the result depends on all bits.
const fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests;
