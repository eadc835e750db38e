//! The order and times of writes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use crate::{
    api::{Kind, ObjectKey},
    publish::queue::{JobOutcome, Queue, Target, Write, WriteJob},
};

fn job(name: &str, version: &str) -> WriteJob {
    WriteJob {
        target: Target { kind: Kind::Service, key: ObjectKey::new("ns", name), event: false },
        version: version.to_owned(),
        write: Arc::new(Write::Apply(json!({}))),
    }
}

/// A queue and the time since its start.
struct Harness {
    queue: Queue,
    now: Instant,
}

impl Harness {
    fn new() -> Self {
        Self { queue: Queue::default(), now: Instant::now() }
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn want(&mut self, jobs: &[(&str, &str)]) {
        self.queue.replace(jobs.iter().map(|(name, version)| job(name, version)).collect(), self.now);
    }

    /// The writes that are due now, as `NAME@VERSION`.
    fn due(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.queue.next(self.now))
            .map(|j| format!("{}@{}", j.target.key.name, j.version))
            .collect()
    }

    fn ended(&mut self, name: &str, version: &str, outcome: JobOutcome) {
        self.queue.ended(&job(name, version), outcome, self.now);
    }
}

#[test]
fn a_version_is_written_once() {
    let mut h = Harness::new();
    h.want(&[("a", "1"), ("b", "1")]);
    assert_eq!(h.due(), ["a@1", "b@1"]);
    assert_eq!(h.due(), [""; 0], "under way");
    h.want(&[("a", "1"), ("b", "1")]);
    assert_eq!(h.due(), [""; 0], "still under way");
    h.ended("a", "1", JobOutcome::Settled);
    h.want(&[("a", "1"), ("b", "1")]);
    assert_eq!(h.due(), [""; 0], "the watch has not brought it yet");
    h.want(&[("a", "2"), ("b", "1")]);
    assert_eq!(h.due(), ["a@2"], "it brought another");
    h.ended("b", "1", JobOutcome::Settled);
    h.want(&[]);
    h.want(&[("b", "1")]);
    assert_eq!(h.due(), ["b@1"], "it was as it should be, and is not any more");
}

#[test]
fn services_are_written_before_statuses() {
    let mut h = Harness::new();
    let status = |name: &str| {
        let mut job = job(name, "1");
        job.target.kind = Kind::Backend;
        job
    };
    h.queue.replace(vec![status("status-a"), status("status-b")], h.now);
    h.queue.replace(vec![status("status-a"), status("status-b"), job("service-a", "1"), job("service-b", "1")], h.now);
    assert_eq!(h.due(), ["service-a@1", "service-b@1", "status-a@1", "status-b@1"]);
}

#[test]
fn an_object_that_changes_during_a_write_is_written_again() {
    let mut h = Harness::new();
    h.want(&[("a", "1")]);
    assert_eq!(h.due(), ["a@1"]);
    h.want(&[("a", "2")]);
    assert_eq!(h.due(), [""; 0], "never two writes of one object at a time");
    h.ended("a", "1", JobOutcome::Settled);
    assert_eq!(h.due(), ["a@2"]);
    h.want(&[]);
    h.ended("a", "2", JobOutcome::Failed);
    h.wait(100.0);
    assert_eq!(h.due(), [""; 0], "the write is not needed any more");
}

#[test]
fn the_pause_between_retries_grows() {
    let mut h = Harness::new();
    h.want(&[("a", "1")]);
    assert_eq!(h.due(), ["a@1"]);
    for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        h.ended("a", "1", JobOutcome::Failed);
        assert_eq!(h.queue.due(), Some(h.now + Duration::from_secs(pause)));
        h.wait(f64::from(u32::try_from(pause).unwrap()) - 0.1);
        h.want(&[("a", "1")]);
        assert_eq!(h.due(), [""; 0], "pause of {pause} s");
        h.wait(0.1);
        assert_eq!(h.due(), ["a@1"], "after {pause} s");
    }
    h.ended("a", "1", JobOutcome::Failed);
    h.want(&[("a", "2")]);
    assert_eq!(h.due(), ["a@2"], "a new version is a new try");
    h.ended("a", "2", JobOutcome::Failed);
    assert!(h.queue.due().unwrap() <= h.now + Duration::from_mins(1));
}

#[test]
fn a_fight_with_another_controller_is_slow() {
    let mut h = Harness::new();
    for version in 0..10 {
        let version = version.to_string();
        h.want(&[("a", &version), ("b", "1")]);
        h.due();
        h.ended("a", &version, JobOutcome::Settled);
    }
    h.want(&[("a", "x"), ("b", "1"), ("c", "1")]);
    assert_eq!(h.due(), ["c@1"], "others do not wait for it");
    h.wait(1.0);
    assert_eq!(h.due(), ["a@x"]);
    h.ended("a", "x", JobOutcome::Settled);
    h.want(&[]);
    h.wait(10.0);
    h.want(&[("a", "y")]);
    assert_eq!(h.due(), ["a@y"], "over");
}

#[test]
fn an_event_that_no_status_records_waits_for_what_is_applied_next() {
    let mut harness = Harness::new();
    let event = |version: &str| {
        let mut job = job("a", version);
        job.target.event = true;
        job
    };
    harness.queue.replace(vec![event("there is no Gateway"), job("a", "1")], harness.now);
    assert_eq!(harness.due(), ["a@1"], "the status of the same object does not wait");
    harness.wait(1.0);
    harness.want(&[("a", "1")]);
    harness.wait(60.0);
    assert_eq!(harness.due(), [""; 0], "the Gateway was applied a moment later");
    harness.queue.replace(vec![event("there is no Gateway")], harness.now);
    harness.wait(3.0);
    assert_eq!(harness.due(), ["a@there is no Gateway"]);
    harness.queue.ended(&event("there is no Gateway"), JobOutcome::Settled, harness.now);
    harness.queue.replace(vec![event("there is no Gateway")], harness.now);
    harness.wait(60.0);
    assert_eq!(harness.due(), [""; 0], "once");
    harness.queue.replace(vec![event("there is no listener")], harness.now);
    assert_eq!(harness.due(), ["a@there is no listener"], "another message is another Event");
}
