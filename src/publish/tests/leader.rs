//! The leader election, step by step, with times passed in.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::time::Instant;

use crate::{
    api::ObjectKey,
    publish::leader::{ELECTION_TIMING, LeaderElector, Step},
};

/// A Lease of `holder`, renewed at `renewed`.
fn lease(holder: &str, renewed: &str) -> Lease {
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed.parse().unwrap())),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    }
}

const T0: &str = "2026-01-01T00:00:00Z";

/// An elector, the Leases that it sees and when (in seconds), and the step that it takes then.
fn check(case: &str, seen: &[(u64, Option<Lease>)], at: u64, step: Step) {
    let start = Instant::now();
    let mut elector = LeaderElector::new("me".to_owned(), ELECTION_TIMING);
    for (seconds, lease) in seen {
        elector.observe(lease.clone(), start + Duration::from_secs(*seconds));
    }
    assert_eq!(elector.step(start + Duration::from_secs(at)), step, "{case}");
}

#[test]
fn a_candidate_takes_a_free_lease() {
    let other = |renewed| Some(lease("other", renewed));
    check("there is no Lease", &[(0, None)], 0, Step::Create);
    check("it was released", &[(0, Some(lease("", T0)))], 0, Step::Take);
    check("it was ours before a restart", &[(0, Some(lease("me", T0)))], 0, Step::Renew);
    check("another holds it", &[(0, other(T0))], 14, Step::Wait);
    check("another has not renewed", &[(0, other(T0)), (8, other(T0))], 15, Step::Take);
    check("another has renewed", &[(0, other(T0)), (10, other("2026-01-01T00:00:10Z"))], 24, Step::Wait);
    check("another has renewed once", &[(0, other(T0)), (10, other("2026-01-01T00:00:10Z"))], 25, Step::Take);
    check("no spec", &[(0, Some(Lease::default()))], 0, Step::Take);
}

#[test]
fn a_candidate_takes_the_lease_of_a_pod_that_is_gone() {
    let start = Instant::now();
    let step = |lists: &[&[&str]]| {
        let mut elector = LeaderElector::new("me".to_owned(), ELECTION_TIMING);
        elector.observe(Some(lease("other", T0)), start);
        for pods in lists {
            elector.observe_pods(pods.iter().copied());
        }
        elector.step(start)
    };
    assert_eq!(step(&[&["me", "other"], &["me"]]), Step::Take);
    assert_eq!(step(&[&["me", "other"]]), Step::Wait);
    assert_eq!(step(&[&["me"]]), Step::Wait, "it leads, and is not listed yet");
    assert_eq!(step(&[&["me", "other"], &[]]), Step::Wait, "the list is gone, not the pod");
    assert_eq!(step(&[]), Step::Wait, "there is no list");
}

#[test]
fn clocks_that_differ_do_no_harm() {
    // The holder's clock is a year behind, or ahead: its renewals count all the same, and so does their absence.
    for renewed in ["2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"] {
        let other = || Some(lease("other", renewed));
        check("just seen", &[(0, other())], 0, Step::Wait);
        check("holds", &[(0, other())], 14, Step::Wait);
        check("expired", &[(0, other())], 15, Step::Take);
    }
    // The clock even runs backwards.
    let (first, second) = (Some(lease("other", "2026-01-01T00:01:00Z")), Some(lease("other", T0)));
    check("set back", &[(0, first), (14, second)], 28, Step::Wait);
}

#[test]
fn a_leader_that_does_not_renew_stops_before_the_lease_is_free() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut leader = LeaderElector::new("me".to_owned(), ELECTION_TIMING);
    leader.observe(None, at(0));
    leader.record_written(lease("me", T0), at(0));
    let mut other = LeaderElector::new("other".to_owned(), ELECTION_TIMING);
    other.observe(Some(lease("me", T0)), at(0));
    let stops = ELECTION_TIMING.renew_deadline.as_secs();
    assert!(leader.is_leader(at(stops - 1)));
    assert!(!leader.is_leader(at(stops)));
    assert_eq!((leader.leads_until(at(stops - 1)), leader.leads_until(at(stops))), (Some(at(stops)), None));
    assert!(stops < ELECTION_TIMING.lease_duration.as_secs(), "the leader stops before another may begin");
    assert_eq!(other.step(at(14)), Step::Wait, "for the record's duration");
    assert_eq!(other.step(at(15)), Step::Take);
    // The Lease is still its own, so it may continue when it can write again.
    assert_eq!(leader.step(at(14)), Step::Renew);
    leader.record_written(lease("me", "2026-01-01T00:00:14Z"), at(14));
    assert!(leader.is_leader(at(14 + stops - 1)));
}

#[test]
fn a_leader_that_sees_another_stops() {
    let start = Instant::now();
    let mut leader = LeaderElector::new("me".to_owned(), ELECTION_TIMING);
    leader.record_written(lease("me", T0), start);
    leader.observe(Some(lease("other", T0)), start);
    assert!(!leader.is_leader(start));
    assert_eq!(leader.step(start), Step::Wait);
    let mut robbed = LeaderElector::new("me".to_owned(), ELECTION_TIMING);
    robbed.record_written(lease("me", T0), start);
    robbed.observe(None, start);
    assert!(!robbed.is_leader(start), "someone has deleted the Lease: any elector may take it");
    assert_eq!(robbed.step(start), Step::Create);
}

#[test]
fn a_takeover_is_counted_and_a_renewal_is_not() {
    let key = ObjectKey::new("ns", "tollgate");
    let now: Timestamp = "2026-03-03T03:03:03Z".parse().unwrap();
    let start = Instant::now();
    let mut elector = LeaderElector::new("me".to_owned(), ELECTION_TIMING);
    let created = elector.lease(&key, Step::Create, now);
    let spec = created.spec.clone().unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("me"), Some(0)));
    assert_eq!((spec.acquire_time, spec.lease_duration_seconds), (Some(MicroTime(now)), Some(11)));

    let mut found = lease("other", T0);
    found.metadata.resource_version = Some("7".to_owned());
    elector.observe(Some(found), start);
    let taken = elector.lease(&key, Step::Take, now);
    assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"), "only if it is still the one that was seen");
    assert_eq!(taken.spec.as_ref().unwrap().lease_transitions, Some(5));

    elector.record_written(taken, start);
    let later: Timestamp = "2026-03-03T03:03:05Z".parse().unwrap();
    let renewed = elector.lease(&key, Step::Renew, later).spec.unwrap();
    assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(5), Some(MicroTime(now))));
    assert_eq!(renewed.renew_time, Some(MicroTime(later)));

    let released = elector.released_lease(&key, later).unwrap().spec.unwrap();
    assert_eq!((released.holder_identity.as_deref(), released.lease_duration_seconds), (Some(""), Some(1)));
    elector.observe(Some(lease("other", T0)), start);
    assert_eq!(elector.released_lease(&key, later), None, "another holder's Lease can't be released");
}
