//! Tests of the whole source without a connection: they inject the messages of watches, and time is paused.

use std::collections::BTreeMap;

use ::kube::api::{DynamicObject, ObjectMeta};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube_runtime::watcher;
use serde_json::{Value, json};

use super::*;
use crate::api::{ObjectKey, SecretData};

mod faults;
mod revisions;
mod secrets;
mod unknown;

fn row(kind: Kind) -> &'static KindRow {
    KINDS.iter().find(|row| row.kind == kind).unwrap()
}

fn object(name: &str, version: u32, data: Value) -> DynamicObject {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("ns".to_owned()),
        resource_version: Some(version.to_string()),
        ..ObjectMeta::default()
    };
    DynamicObject { types: None, metadata, data }
}

fn backend(name: &str, version: u32, secret: &str) -> DynamicObject {
    let token = json!({"kind": "SecretRef", "secretRef": {"name": secret}});
    let provider = json!({"openai": {"authToken": token}});
    object(name, version, json!({"spec": {"type": "AI", "ai": {"llm": {"provider": provider}}}}))
}

fn seen(name: &str, version: u32) -> ObjectMeta {
    object(name, version, json!({})).metadata
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

fn found(version: u32, value: &str) -> Fetched {
    let mut data = SecretData::default();
    data.insert("Authorization", value.as_bytes().to_vec());
    Fetched::Found(version.to_string(), data)
}

fn served() -> impl Iterator<Item = &'static KindRow> {
    KINDS.iter().filter(|row| !row.kind.is_unserved())
}

/// A source and the moment it is in.
struct Harness {
    source: Source,
    now: Instant,
}

impl Harness {
    fn new() -> Self {
        Self { source: Source::new(), now: Instant::now() }
    }

    /// One for which every kind was listed, empty, and that was published.
    fn synced() -> Self {
        let mut harness = Self::new();
        for row in KINDS {
            harness.list(row.kind, []);
        }
        harness.published().expect("everything is synced");
        harness
    }

    fn event(&mut self, kind: Kind, event: Event<DynamicObject>) {
        self.source.message(Message::Event(row(kind), event), self.now);
    }

    fn secret(&mut self, event: Event<ObjectMeta>) {
        self.metadata(Kind::Secret, event);
    }

    fn metadata(&mut self, kind: Kind, event: Event<ObjectMeta>) {
        self.source.message(Message::Metadata(row(kind), event), self.now);
    }

    fn failed(&mut self, kind: Kind, trouble: Trouble) {
        self.source.message(Message::Failed(row(kind), trouble, "no".to_owned()), self.now);
    }

    fn list<const N: usize>(&mut self, kind: Kind, objects: [DynamicObject; N]) {
        if row(kind).decode.is_none() {
            self.metadata(kind, Event::Init);
            for object in objects {
                self.metadata(kind, Event::InitApply(object.metadata));
            }
            return self.metadata(kind, Event::InitDone);
        }
        self.event(kind, Event::Init);
        for object in objects {
            self.event(kind, Event::InitApply(object));
        }
        self.event(kind, Event::InitDone);
    }

    /// The one `get` to start now.
    #[track_caller]
    fn get(&mut self) -> Fetch {
        let mut fetches = self.source.store.take_fetches();
        assert_eq!(fetches.len(), 1, "{fetches:?}");
        fetches.remove(0)
    }

    fn got(&mut self, fetch: &Fetch, fetched: Fetched) {
        self.source.fetched(fetch, fetched, self.now);
    }

    /// What is published next, if anything is going to be.
    fn published(&mut self) -> Option<Objects> {
        self.now = self.source.due()?;
        Some(self.source.publish())
    }
}

fn names<T>(map: &crate::compile::objects::Map<T>) -> Vec<&str> {
    map.keys().map(|key| key.name.as_str()).collect()
}

fn value<'a>(objects: &'a Objects, secret: &str) -> Option<&'a [u8]> {
    objects.secrets.get(&key(secret)).map(|data| data.get("Authorization").unwrap().unwrap())
}

#[tokio::test]
async fn nothing_is_published_before_every_kind_is_synced() {
    let mut harness = Harness::new();
    for row in served() {
        assert!(harness.source.due().is_none(), "{} is not synced", row.kind);
        harness.list(row.kind, []);
    }
    assert!(harness.published().is_some(), "an empty cluster is published too");
    assert!(harness.published().is_none(), "once");
}

#[tokio::test]
async fn a_missing_definition_counts_as_synced_and_is_picked_up_later() {
    let mut harness = Harness::new();
    for row in KINDS {
        if row.group == "gateway.kgateway.dev" {
            harness.failed(row.kind, Trouble::Missing);
        } else {
            harness.list(row.kind, []);
        }
    }
    assert!(harness.published().unwrap().backends.is_empty());
    harness.failed(Kind::Backend, Trouble::Missing);
    assert!(harness.published().is_none(), "still missing is no change");
    harness.list(Kind::Backend, [object("a", 1, json!({"spec": {"type": "Static"}}))]);
    assert_eq!(names(&harness.published().unwrap().backends), ["a"]);
}

#[tokio::test]
async fn kinds_that_are_not_served_hold_up_nothing() {
    let forbidden = Trouble::Forbidden(health::Verb::List);
    let route = || object("r", 1, json!({"spec": {"parentRefs": [{"name": "gw"}]}}));
    let all = [None, Some(Trouble::Missing), Some(forbidden), Some(Trouble::Refused), Some(Trouble::Unreachable)];
    for trouble in all {
        let mut harness = Harness::new();
        for row in KINDS {
            match trouble {
                Some(trouble) if row.kind.is_unserved() => harness.failed(row.kind, trouble),
                None if row.kind.is_unserved() => {}
                _ => harness.list(row.kind, []),
            }
        }
        assert!(harness.published().is_some(), "{trouble:?}");
        harness.list(Kind::TlsRoute, []);
        assert!(harness.published().is_none(), "an empty list is no change");
        // The definition is installed later, and deleted again.
        harness.list(Kind::GrpcRoute, [route()]);
        assert_eq!(names(&harness.published().unwrap().unserved[&Kind::GrpcRoute]), ["r"]);
        harness.failed(Kind::GrpcRoute, Trouble::Unreachable);
        assert!(harness.published().is_none(), "the API server is back in a moment");
        harness.failed(Kind::GrpcRoute, Trouble::Missing);
        assert!(harness.published().unwrap().unserved.values().all(BTreeMap::is_empty));
    }
}

#[test]
fn a_kind_that_is_not_installed_is_no_failed_watch() {
    let metrics = Metrics::new().unwrap();
    for kind in [Kind::TcpRoute, Kind::Backend] {
        let failed = Message::Failed(row(kind), Trouble::Missing, String::new());
        count(&metrics, &failed, SystemTime::now());
    }
    let text = metrics.encode().unwrap();
    assert!(text.contains("tollgate_watch_errors_total{error=\"missing\",kind=\"Backend\"} 1"), "{text}");
    assert!(!text.contains("TCPRoute"), "{text}");
}

#[tokio::test]
async fn only_secrets_may_be_forbidden() {
    for (kind, serves) in [(Kind::Secret, true), (Kind::TrafficPolicy, false), (Kind::ReferenceGrant, false)] {
        let mut harness = Harness::new();
        for row in KINDS.iter().filter(|row| row.kind != kind) {
            harness.list(row.kind, []);
        }
        for trouble in [Trouble::Unreachable, Trouble::Refused, Trouble::Lost] {
            harness.failed(kind, trouble);
            assert!(harness.published().is_none(), "{kind} {trouble:?}");
        }
        harness.failed(kind, Trouble::Forbidden(health::Verb::List));
        assert_eq!(harness.published().is_some(), serves, "{kind}");
    }
}

#[tokio::test]
async fn changes_become_objects() {
    let mut harness = Harness::synced();
    let service = |name, version| object(name, version, json!({"spec": {"type": "ClusterIP"}}));
    harness.event(Kind::Service, Event::Apply(service("a", 1)));
    harness.event(Kind::Service, Event::Apply(service("b", 2)));
    let first = harness.published().unwrap();
    assert_eq!(names(&first.services), ["a", "b"]);
    harness.event(Kind::Service, Event::Apply(service("b", 2)));
    assert!(harness.published().is_none(), "the same version is no change");
    harness.event(Kind::Service, Event::Delete(service("a", 3)));
    harness.event(Kind::Service, Event::Delete(service("x", 3)));
    let second = harness.published().unwrap();
    assert_eq!(names(&second.services), ["b"]);
    assert!(Arc::ptr_eq(&first.services[&key("b")], &second.services[&key("b")]), "what stays is the same memory");
}

#[tokio::test]
async fn a_partial_list_is_never_used_and_a_lost_watch_keeps_objects() {
    let mut harness = Harness::synced();
    let service = |name, version| object(name, version, json!({"spec": {}}));
    harness.list(Kind::Service, [service("a", 1), service("b", 1)]);
    let before = harness.published().unwrap();
    harness.event(Kind::Service, Event::Init);
    harness.event(Kind::Service, Event::InitApply(service("c", 2)));
    assert!(harness.published().is_none());
    // The list breaks off; the API server is gone, then it has even forgotten the kind.
    for trouble in [Trouble::Lost, Trouble::Unreachable, Trouble::Missing] {
        harness.failed(Kind::Service, trouble);
    }
    harness.event(Kind::Namespace, Event::Apply(object("x", 1, json!({}))));
    assert_eq!(names(&harness.published().unwrap().services), ["a", "b"]);
    harness.list(Kind::Service, [service("b", 1), service("d", 2)]);
    let after = harness.published().unwrap();
    assert_eq!(names(&after.services), ["b", "d"], "c was of a list that never ended");
    assert!(Arc::ptr_eq(&before.services[&key("b")], &after.services[&key("b")]));
    harness.list(Kind::Service, [service("b", 1), service("d", 2)]);
    assert!(harness.published().is_none(), "the same list is no change");
}

#[tokio::test]
async fn an_undecodable_object_affects_only_itself() {
    let mut harness = Harness::synced();
    let good = object("good", 1, json!({"spec": {"type": "Static"}}));
    let mut broken = object("broken", 2, json!({"spec": {"type": "Static"}}));
    harness.list(Kind::Backend, [good.clone(), broken.clone()]);
    assert_eq!(names(&harness.published().unwrap().backends), ["broken", "good"]);

    broken.metadata.resource_version = Some("3".to_owned());
    broken.data = json!({"spec": {"type": "AI", "ai": {"llm": {"provider": {"openai": {"model": 17}}}}}});
    harness.event(Kind::Backend, Event::Apply(broken.clone()));
    let objects = harness.published().unwrap();
    assert_eq!(names(&objects.backends), ["good"], "the last good version is not kept");
    let rejected = &objects.rejected[0];
    assert_eq!(rejected.location, "gateway.kgateway.dev/v1alpha1 backends ns/broken");
    assert_eq!((rejected.kind, rejected.key.as_ref()), (Some(Kind::Backend), Some(&key("broken"))));
    assert!(rejected.error.starts_with("spec.ai.llm"), "{}", rejected.error);
    assert!(!rejected.error.contains("17"), "no values in the log: {}", rejected.error);

    broken.metadata.resource_version = Some("4".to_owned());
    broken.data = good.data;
    harness.event(Kind::Backend, Event::Apply(broken));
    let objects = harness.published().unwrap();
    assert_eq!((names(&objects.backends), objects.rejected.len()), (vec!["broken", "good"], 0));
}

#[tokio::test]
async fn unused_fields_are_dropped() {
    let mut harness = Harness::synced();
    let mut service = object("a", 1, json!({"spec": {}}));
    service.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
    let annotation = |name: &str| (name.to_owned(), "x".to_owned());
    service.metadata.annotations =
        Some([annotation("kubectl.kubernetes.io/last-applied-configuration"), annotation("mine")].into());
    harness.event(Kind::Service, Event::Apply(service));
    let objects = harness.published().unwrap();
    let metadata = &objects.services[&key("a")].metadata;
    assert_eq!(metadata.managed_fields, None);
    assert_eq!(metadata.annotations, Some([annotation("mine")].into()));
}

#[tokio::test]
async fn changes_are_gathered() {
    let ms = Duration::from_millis;
    let mut harness = Harness::synced();
    let start = harness.now;
    let mut version = 0;
    let mut apply = |harness: &mut Harness, at| {
        version += 1;
        harness.now = start + ms(at);
        harness.event(Kind::Service, Event::Apply(object("a", version, json!({"spec": {}}))));
        harness.source.due().unwrap() - start
    };
    assert_eq!(apply(&mut harness, 1_000), ms(1_050));
    assert_eq!(apply(&mut harness, 1_040), ms(1_090), "50 ms of quiet");
    for at in (1_080..1_440).step_by(40) {
        apply(&mut harness, at);
    }
    assert_eq!(apply(&mut harness, 1_480), ms(1_500), "500 ms at most");
    harness.published().unwrap();
    assert_eq!(harness.source.due(), None);
    // A Backend waits for its Secret, but not forever.
    harness.now = start + ms(2_000);
    harness.event(Kind::Backend, Event::Apply(backend("b", 1, "s")));
    assert_eq!(harness.source.due(), Some(start + ms(4_000)));
    harness.now = start + ms(2_010);
    let get = harness.get();
    harness.got(&get, Fetched::Absent);
    assert_eq!(harness.source.due(), Some(start + ms(2_060)));
}

#[test]
fn troubles_are_logged_once() {
    use health::Verb;
    let mut health = Health::default();
    assert!(!health.failed(Kind::Gateway, Trouble::Lost), "made anew at once");
    assert!(health.failed(Kind::Gateway, Trouble::Unreachable));
    assert!(!health.failed(Kind::Gateway, Trouble::Unreachable));
    assert!(!health.failed(Kind::Service, Trouble::Unreachable), "one outage, many kinds");
    assert_eq!(health.works(Kind::Gateway, true), None, "not all are back");
    assert_eq!(health.works(Kind::Service, true), Some(Trouble::Unreachable));
    assert_eq!(health.works(Kind::Service, true), None);

    assert!(health.failed(Kind::Gateway, Trouble::Missing));
    assert!(health.failed(Kind::Backend, Trouble::Missing), "each kind is logged");
    assert!(!health.failed(Kind::Backend, Trouble::Missing));
    assert_eq!(health.works(Kind::Backend, true), Some(Trouble::Missing));

    let forbidden = Trouble::Forbidden(Verb::Watch);
    assert!(health.failed(Kind::Secret, forbidden));
    assert_eq!(health.works(Kind::Secret, true), None, "the list works, the watch does not");
    assert!(!health.failed(Kind::Secret, forbidden));
    assert!(health.is_forbidden(Kind::Secret));
    assert_eq!(health.works(Kind::Secret, false), Some(forbidden));
}

#[test]
fn errors_are_distinguished() {
    use health::Verb;
    use watcher::Error;
    let status = |code| {
        let mut status = ::kube::core::Status::failure("no", "");
        status.code = code;
        Box::new(status)
    };
    let check = |error: Error, expect| assert_eq!(Trouble::of(&error), expect, "{error:?}");
    let api = |code| ::kube::Error::Api(status(code));
    check(Error::InitialListFailed(api(404)), Trouble::Missing);
    check(Error::InitialListFailed(api(403)), Trouble::Forbidden(Verb::List));
    check(Error::WatchStartFailed(api(403)), Trouble::Forbidden(Verb::Watch));
    check(Error::WatchStartFailed(api(410)), Trouble::Lost);
    check(Error::WatchError(status(410)), Trouble::Lost);
    check(Error::WatchError(status(403)), Trouble::Forbidden(Verb::Watch));
    check(Error::InitialListFailed(api(429)), Trouble::Refused);
    check(Error::InitialListFailed(::kube::Error::Service("refused".into())), Trouble::Unreachable);
}
