use super::*;

const DRAWS: u64 = 100_000;

fn candidate(name: &str, weight: u32) -> Candidate {
    Candidate { weight, in_flight: 0, latency: None, name: KeyHash::of(name.as_bytes()), left_alone: false }
}

fn group(weights: &[u32]) -> Vec<Candidate> {
    weights.iter().enumerate().map(|(index, weight)| candidate(&format!("target-{index}"), *weight)).collect()
}

/// The same random numbers in each run.
fn random(number: u64) -> u64 {
    mixed(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The part of 100,000 requests that each target gets first.
fn shares(candidates: &[Candidate], ranks: impl Fn(&[Candidate], u64) -> Ranks) -> Vec<f64> {
    let mut counts = vec![0.0; candidates.len()];
    for number in 0..DRAWS {
        let ranks = ranks(candidates, random(number));
        assert_eq!(ranks.len(), candidates.len(), "each is there");
        counts[usize::from(ranks[0])] += 1.0;
    }
    counts.into_iter().map(|count: f64| count / 100_000.0).collect()
}

#[track_caller]
fn assert_close(shares: &[f64], expected: &[f64]) {
    // Of 100,000 draws a share of a half varies by 0.0016 (one standard deviation).
    let close = shares.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 0.01);
    assert!(close && shares.len() == expected.len(), "{shares:?} instead of {expected:?}");
}

#[test]
fn each_target_has_its_share_while_nothing_tells_them_apart() {
    for (weights, expected) in [
        (&[1, 1, 1, 1][..], &[0.25, 0.25, 0.25, 0.25][..]),
        (&[3, 1], &[0.75, 0.25]),
        (&[100, 50, 50], &[0.5, 0.25, 0.25]),
        (&[1_000_000; 2], &[0.5, 0.5]),
        (&[7], &[1.0]),
    ] {
        assert_close(&shares(&group(weights), by_cost), expected);
        assert_close(&shares(&group(weights), by_key), expected);
        let turn = std::cell::Cell::new(0);
        let next = |group: &[Candidate], _| in_turn(group.iter().map(|c| c.weight), turn.replace(turn.get() + 1));
        assert_close(&shares(&group(weights), next), expected);
    }
    for ranks in [by_cost(&[], 3), by_key(&[], 3), in_turn([].into_iter(), 7)] {
        assert!(ranks.is_empty());
    }
}

#[test]
fn a_busy_or_slow_target_gets_only_what_others_do_not_take() {
    let mut busy = group(&[1, 1, 1]);
    busy[0].in_flight = 10;
    assert_close(&shares(&busy, by_cost), &[0.0, 0.5, 0.5]);
    let mut slow = group(&[1, 1]);
    (slow[0].latency, slow[1].latency) = (Some(2.0), Some(0.5));
    assert_close(&shares(&slow, by_cost), &[0.0, 1.0]);
    slow[1].in_flight = 6;
    assert_close(&shares(&slow, by_cost), &[1.0, 0.0]);
    (slow[0].latency, slow[1].latency, slow[1].in_flight) = (Some(0.55), Some(0.5), 0);
    assert_close(&shares(&slow, by_cost), &[0.5, 0.5]);
    let order = by_cost(&busy, 0);
    assert_eq!(order.last(), Some(&0), "the busy one is tried after all others");
    let mut heavy = group(&[3, 1]);
    (heavy[0].in_flight, heavy[1].in_flight) = (30, 10);
    assert_close(&shares(&heavy, by_cost), &[0.75, 0.25]);
}

#[test]
fn a_target_without_an_estimate_is_an_average_one() {
    let mut new = group(&[1, 1, 1]);
    (new[0].latency, new[1].latency) = (Some(1.0), Some(1.0));
    assert_close(&shares(&new, by_cost), &[0.333, 0.333, 0.333]);
    new[2].in_flight = 3;
    assert_close(&shares(&new, by_cost), &[0.5, 0.5, 0.0]);
}

/// Each request ends when its target has worked for as long as it takes.
#[test]
fn requests_are_spread_as_targets_can_take_them() {
    let mut group = group(&[1, 1]);
    (group[0].latency, group[1].latency) = (Some(3.0), Some(1.0));
    let mut ends: Vec<(u64, usize)> = Vec::new();
    let mut counts = [0_u32; 2];
    for time in 0..20_000 {
        ends.retain(|(end, target)| {
            let over = *end <= time;
            group[*target].in_flight -= u32::from(over);
            !over
        });
        let target = usize::from(by_cost(&group, random(time))[0]);
        counts[target] += 1;
        group[target].in_flight += 1;
        ends.push((time + if target == 0 { 120 } else { 40 }, target));
    }
    // Both what a request takes and how many wait for it count, as in Finagle's Peak EWMA.
    let part = f64::from(counts[1]) / f64::from(counts[0]);
    assert!((3.0..10.0).contains(&part), "the faster one gets more, and the other one some: {counts:?}");
}

#[test]
fn those_that_are_left_alone_are_last_and_their_share_goes_to_all_others() {
    let mut ill = group(&[2, 1, 1]);
    ill[0].left_alone = true;
    for ranks in [by_cost, by_key] {
        assert_close(&shares(&ill, ranks), &[0.0, 0.5, 0.5]);
        assert_eq!(ranks(&ill, 7).last(), Some(&0));
    }
    let all = [1, 2].map(|weight| Candidate { left_alone: true, ..candidate("x", weight) });
    for ranks in [by_cost, by_key] {
        assert_eq!(ranks(&all, 7).len(), 2);
    }
}

#[test]
fn a_target_that_comes_or_goes_moves_its_own_keys_only() {
    let five = group(&[1, 1, 1, 1, 2]);
    let (four, mut moved) = (&five[..4], 0.0_f64);
    for number in 0..DRAWS {
        let (before, after) = (by_key(four, random(number)), by_key(&five, random(number)));
        if before[0] != after[0] {
            assert_eq!(after[0], 4, "it moved to the new one");
            assert_eq!(after[1], before[0], "and goes back when that leaves");
            moved += 1.0;
        }
    }
    assert!((moved / 100_000.0 - 2.0 / 6.0).abs() < 0.01, "{moved}");
    // The order of the list makes no difference.
    let turned = [five[3], five[0], five[4], five[1], five[2]];
    for number in 0..1000 {
        let (one, other) = (by_key(&five, random(number))[0], by_key(&turned, random(number))[0]);
        assert_eq!(five[usize::from(one)].name, turned[usize::from(other)].name);
    }
}

#[test]
fn a_key_that_everyone_has_is_spread_within_the_bound() {
    let mut group = group(&[1, 1, 1, 1]);
    for sent in 1..=1000_u32 {
        let target = usize::from(by_key(&group, 42)[0]);
        group[target].in_flight += 1;
        let most = (f64::from(sent) * BOUND / 4.0).ceil();
        assert!(f64::from(group[target].in_flight) <= most, "{group:?}");
    }
    let mut loads: Vec<u32> = group.iter().map(|candidate| candidate.in_flight).collect();
    loads.sort_unstable();
    assert_eq!(loads.iter().sum::<u32>(), 1000);
    assert_eq!(loads[3], 313, "the target of the key has as many as it may");
    // A quiet one keeps its keys, whatever the numbers are.
    let first = by_key(&group, 42)[0];
    for candidate in &mut group {
        candidate.in_flight = 0;
    }
    assert!((0..10).all(|_| by_key(&group, 42) == by_key(&group, 42)));
    assert_ne!(first, by_key(&group, 42)[0], "it was full, and now it is not");
}

#[test]
fn hashes_are_the_same_for_ever() {
    // FNV-1a of "foobar" from its authors' test vectors, before it is mixed.
    let mut hash = KeyHash::default();
    hash.write(b"foo");
    hash.write(b"bar");
    assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    assert_eq!(hash.finish(), KeyHash::of(b"foobar"));
}
