use super::*;
use crate::upstream::failure::TABLE;

/// The middle of the random range: own waits are then as the table has them.
const MIDDLE: u64 = 127;
const MODEL: &str = "m";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A target, and the time that a test plays.
struct Played {
    health: Health,
    now: Instant,
}

impl Played {
    fn new() -> Self {
        let health = Health::default();
        Self { now: health.began, health }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn fail_as(&self, failure: &Verdict, number: u32) {
        self.health.failed(failure, MODEL, number, self.now, MIDDLE);
    }

    /// An attempt that begins and fails now.
    fn fail(&self, meaning: Meaning) {
        self.fail_as(&Verdict::new(meaning), self.health.number());
    }

    fn fail_naming(&self, meaning: Meaning, wait: u64) {
        let failure = Verdict { wait: Some(seconds(wait)), ..Verdict::new(meaning) };
        self.fail_as(&failure, self.health.number());
    }

    fn succeed(&self) {
        self.health.succeeded(MODEL, self.health.number(), self.now);
    }

    fn admit(&self) -> Admission {
        self.health.admit(MODEL, false, self.now)
    }

    /// The rest of the wait in seconds, rounded; 0 without one.
    fn wait(&self) -> u64 {
        match self.admit() {
            Admission::Cooling(wait) => (wait.until - self.now + Duration::from_millis(500)).as_secs(),
            Admission::Ready | Admission::Probe(_) => 0,
        }
    }

    /// Lets the wait pass and fails again, so many times; the waits in seconds.
    fn waits(&mut self, meaning: Meaning, times: usize) -> Vec<u64> {
        let mut waits = Vec::new();
        for _ in 0..times {
            self.fail(meaning);
            let wait = self.wait();
            waits.push(wait);
            self.pass(seconds(wait + 1));
        }
        waits
    }
}

#[test]
fn each_row_cools_as_the_table_has_it() {
    for (meaning, waits) in [
        (Meaning::Rate, [5, 10, 20, 40, 60, 60]),
        (Meaning::Quota, [300, 900, 900, 900, 900, 900]),
        (Meaning::Overload, [5; 6]),
        (Meaning::Network, [1, 2, 4, 8, 16, 30]),
        (Meaning::Credential, [60; 6]),
        (Meaning::Permission, [60; 6]),
        (Meaning::ModelMissing, [60; 6]),
        (Meaning::Unsupported, [0; 6]),
        (Meaning::Conflict, [0; 6]),
        (Meaning::Client, [0; 6]),
        (Meaning::Content, [0; 6]),
        (Meaning::NotSent, [0; 6]),
    ] {
        assert_eq!(Played::new().waits(meaning, 6), waits, "{meaning:?}");
    }
    for meaning in [Meaning::Broken, Meaning::Timeout] {
        let mut target = Played::new();
        assert_eq!(target.waits(meaning, 4), [0; 4], "{meaning:?}");
        assert_eq!(target.waits(meaning, 6), [5, 10, 20, 40, 60, 60], "{meaning:?}");
    }
    assert_eq!(TABLE.len(), 14, "each row is above");
}

#[test]
fn a_success_ends_a_cooldown_and_its_growth() {
    for (meaning, first) in [(Meaning::Rate, 5), (Meaning::Quota, 300), (Meaning::Network, 1), (Meaning::Overload, 5)] {
        let mut target = Played::new();
        target.waits(meaning, 3);
        target.succeed();
        assert!(!target.health.is_troubled(), "{meaning:?}: a healthy target is one read");
        target.fail(meaning);
        assert_eq!(target.wait(), first, "{meaning:?}");
    }
}

#[test]
fn the_providers_own_wait_counts() {
    let target = Played::new();
    target.fail_naming(Meaning::Rate, 42);
    // Never earlier than it was named, and up to a tenth later.
    assert_eq!(target.wait(), 44);
    target.fail_naming(Meaning::Rate, 3);
    assert_eq!(target.wait(), 44, "the longer wait stays");
}

#[test]
fn waits_vary_by_a_tenth() {
    let time = seconds(100);
    assert_eq!((varied(time, 0, 10), varied(time, 255, 10)), (seconds(90), seconds(110)));
    assert_eq!((varied(time, 0, 0), varied(time, 255, 0)), (seconds(100), seconds(110)));
}

#[test]
fn a_limit_is_the_models_and_a_refused_key_the_targets() {
    let target = Played::new();
    target.fail(Meaning::Rate);
    assert_eq!(target.health.admit("other", false, target.now), Admission::Ready);
    target.fail(Meaning::Credential);
    assert!(matches!(target.health.admit("other", false, target.now), Admission::Cooling(_)));
}

#[test]
fn a_clients_key_cools_nothing() {
    let target = Played::new();
    for meaning in [Meaning::Rate, Meaning::Quota] {
        let failure = Verdict { of_clients_key: true, wait: Some(seconds(60)), ..Verdict::new(meaning) };
        target.fail_as(&failure, 0);
    }
    assert!(!target.health.is_troubled());
}

#[test]
fn attempts_that_were_under_way_neither_lengthen_nor_end_a_cooldown() {
    let mut target = Played::new();
    let before = target.health.number();
    for _ in 0..20 {
        target.fail_as(&Verdict::new(Meaning::Rate), before);
        target.fail_as(&Verdict::new(Meaning::Network), before);
    }
    assert_eq!(target.wait(), 5, "twenty at once are one");
    target.health.succeeded(MODEL, before, target.now);
    assert_eq!(target.wait(), 5, "it began before");
    target.pass(seconds(6));
    target.fail(Meaning::Rate);
    assert_eq!(target.wait(), 10, "one that began after it counts");
}

#[test]
fn a_breaker_opens_after_failures_in_a_row_only() {
    let target = Played::new();
    for _ in 0..20 {
        for _ in 0..4 {
            target.fail(Meaning::Broken);
        }
        // Of ten it would be more than half: successes are between them.
        for _ in 0..5 {
            target.succeed();
        }
    }
    assert_eq!(target.wait(), 0);
    target.succeed();
    for _ in 0..2 {
        target.fail(Meaning::Broken);
        target.fail(Meaning::Timeout);
    }
    assert_eq!(target.wait(), 0);
    target.fail(Meaning::Broken);
    assert_eq!(target.wait(), 5);
}

#[test]
fn a_breaker_opens_when_most_of_the_last_attempts_failed() {
    let mut target = Played::new();
    for _ in 0..3 {
        for _ in 0..2 {
            target.fail(Meaning::Broken);
        }
        target.succeed();
        target.pass(seconds(2));
        assert_eq!(target.wait(), 0, "nine are too few");
    }
    target.fail(Meaning::Broken);
    assert_eq!(target.wait(), 5, "seven of ten");
    // The same failures over a longer time.
    let mut target = Played::new();
    for _ in 0..30 {
        for _ in 0..2 {
            target.fail(Meaning::Broken);
        }
        target.succeed();
        target.pass(seconds(12));
    }
    assert_eq!(target.wait(), 0);
}

#[test]
fn limits_and_the_clients_errors_are_neither_failure_nor_success_for_the_breaker() {
    for between in [Meaning::Rate, Meaning::Overload, Meaning::Client, Meaning::Content, Meaning::NotSent] {
        let mut target = Played::new();
        for _ in 0..20 {
            target.fail(between);
            target.pass(seconds(120));
        }
        assert_eq!(target.health.breaker(target.now), (BreakerPhase::Closed, 0), "{between:?}");
        for _ in 0..5 {
            target.fail(between);
            target.fail(Meaning::Broken);
        }
        assert_eq!(target.health.breaker(target.now).0, BreakerPhase::Open, "{between:?}");
    }
}

/// A target whose breaker is half open.
fn half_open() -> Played {
    let mut target = Played::new();
    for _ in 0..5 {
        target.fail(Meaning::Broken);
    }
    target.pass(seconds(6));
    target
}

fn probe(target: &Played) -> u32 {
    let Admission::Probe(probe) = target.admit() else { panic!("{:?}", target.admit()) };
    probe
}

#[test]
fn a_half_open_breaker_lets_one_request_through() {
    let target = half_open();
    let first = probe(&target);
    assert!(matches!(target.admit(), Admission::Cooling(wait) if wait.until == target.now));
    // Whatever became of it, also nothing: its place is free.
    target.health.release(first);
    let second = probe(&target);
    for neutral in [Meaning::Rate, Meaning::Client, Meaning::NotSent] {
        target.health.failed(&Verdict::new(neutral), "other", target.health.number(), target.now, MIDDLE);
    }
    target.health.release(second);
    let third = probe(&target);
    target.fail(Meaning::Broken);
    target.health.release(third);
    assert_eq!(target.wait(), 10, "it failed: the breaker is open for longer");
}

#[test]
fn a_late_probe_frees_no_place_but_its_own() {
    let mut target = half_open();
    let first = probe(&target);
    target.fail(Meaning::Timeout);
    target.pass(seconds(11));
    let second = probe(&target);
    target.health.release(first);
    assert!(matches!(target.admit(), Admission::Cooling(_)), "the second is under way");
    target.health.release(second);
    probe(&target);
}

#[test]
fn a_reply_to_the_probe_opens_the_way_and_a_complete_one_closes_the_breaker() {
    let target = half_open();
    probe(&target);
    target.health.replied(target.health.number());
    // A stream may take minutes: others need not wait for its end.
    assert_eq!((target.admit(), target.health.breaker(target.now).0), (Admission::Ready, BreakerPhase::Trial));
    target.fail(Meaning::Broken);
    assert_eq!(target.wait(), 10, "one failure is enough now");
    let target = half_open();
    probe(&target);
    target.succeed();
    assert_eq!((target.admit(), target.health.breaker(target.now).0), (Admission::Ready, BreakerPhase::Closed));
    target.fail(Meaning::Broken);
    assert_eq!(target.wait(), 0);
}

#[test]
fn the_only_target_is_left_alone_only_after_three_failed_connections() {
    let target = Played::new();
    let admit = || target.health.admit(MODEL, true, target.now);
    for row in &TABLE {
        if row.meaning != Meaning::Network {
            for _ in 0..12 {
                target.fail(row.meaning);
            }
            assert_eq!(admit(), Admission::Ready, "{:?}", row.meaning);
        }
    }
    for _ in 0..2 {
        target.fail(Meaning::Network);
        assert_eq!(admit(), Admission::Ready);
    }
    // Any reply shows that connections can be made.
    target.fail(Meaning::Client);
    for _ in 0..2 {
        target.fail(Meaning::Network);
        assert_eq!(admit(), Admission::Ready);
    }
    target.fail(Meaning::Network);
    assert!(matches!(admit(), Admission::Cooling(wait) if wait.cause == Meaning::Network));
    target.succeed();
    assert_eq!(admit(), Admission::Ready);
}

#[test]
fn models_that_clients_invent_take_bounded_room_and_push_out_no_longer_wait() {
    let mut target = Played::new();
    target.fail(Meaning::Quota);
    let fail = |health: &Health, model: &str, now| {
        health.failed(&Verdict::new(Meaning::ModelMissing), model, health.number(), now, MIDDLE);
    };
    for index in 0..10 * MAX_MODELS {
        fail(&target.health, &format!("invented-{index}"), target.now);
    }
    fail(&target.health, &"x".repeat(10_000), target.now);
    assert_eq!(target.health.models(target.now).len(), MAX_MODELS);
    assert_eq!(target.wait(), 300, "the limit is remembered");
    assert!(target.health.trouble(target.now).is_some_and(|wait| wait.cause == Meaning::Quota));
    // They are forgotten by themselves.
    target.pass(seconds(3600));
    fail(&target.health, "last", target.now);
    assert_eq!(target.health.models(target.now).len(), 1);
    assert_eq!(target.health.trouble(target.now), None, "a name is no trouble of the target");
}
