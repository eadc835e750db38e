//! The whole writer: leads, writes what differs, and stops.

use std::{sync::Arc, time::Duration};

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::fake::FakeApi;
use crate::{
    api::{
        Kind, ObjectKey,
        condition::{ConditionType, Reason},
    },
    compile::{Change, Condition, Controller, ObjectReport, Objects, ParentReport, Rejected, Reports, Unattached},
    publish::{Published, Replica, Rival, leader::ElectionTiming, run_with},
    telemetry::Metrics,
};

/// As the real ones, a tenth or less; the Lease itself can't hold for less than a second.
const QUICK: ElectionTiming = ElectionTiming {
    lease_duration: Duration::from_secs(1),
    renew_deadline: Duration::from_millis(700),
    retry_period: Duration::from_millis(20),
    request_timeout: Duration::from_millis(300),
};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/sys/leases/tollgate";
const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes/r";

fn backend_path(name: &str) -> String {
    format!("/apis/gateway.kgateway.dev/v1alpha1/namespaces/ns/backends/{name}")
}

/// Waits until `hit` has something.
async fn until<T>(what: &str, mut hit: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = hit() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A cluster with a route `r` and Backends, and its compiled form.
struct World {
    api: FakeApi,
    metrics: Arc<Metrics>,
    published: watch::Sender<Option<Arc<Published>>>,
    reports: Vec<ObjectReport>,
}

/// One replica that runs.
struct Running {
    task: JoinHandle<Result<(), JoinError>>,
    cancel: CancellationToken,
    rival: watch::Receiver<Option<Rival>>,
}

impl Running {
    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl World {
    fn new() -> Self {
        let (published, _) = watch::channel(None);
        Self { api: FakeApi::default(), metrics: Arc::new(Metrics::new().unwrap()), published, reports: Vec::new() }
    }

    fn start(&self, pod: &str) -> Running {
        self.start_of(pod, Controller::default())
    }

    fn start_of(&self, pod: &str, controller: Controller) -> Running {
        self.start_in("sys", pod, controller)
    }

    /// A replica of the installation in a namespace.
    fn start_in(&self, namespace: &str, pod: &str, controller: Controller) -> Running {
        let cancel = CancellationToken::new();
        let replica = Replica { pod: pod.to_owned(), lease: ObjectKey::new(namespace, "tollgate"), controller };
        let (rival, refused) = watch::channel(None);
        let published = self.published.subscribe();
        let metrics = Arc::clone(&self.metrics);
        let task = tokio::spawn(run_with(self.api.client(), published, replica, metrics, rival, cancel.clone(), QUICK));
        Running { task, cancel, rival: refused }
    }

    fn backend(&mut self, name: &str, condition: Condition) {
        if self.api.get(&backend_path(name)).is_none() {
            let metadata = json!({"name": name, "namespace": "ns", "uid": name, "generation": 1});
            let object = json!({"metadata": metadata, "spec": {"type": "Static"}});
            self.api.put(&backend_path(name), object);
        }
        let report = ObjectReport::new(Kind::Backend, ObjectKey::new("ns", name), Some(1));
        self.report(ObjectReport { conditions: vec![condition], ..report });
    }

    fn route(&mut self, status: &Value) {
        let metadata = json!({"name": "r", "namespace": "ns", "uid": "r", "generation": 1});
        let spec = json!({"parentRefs": [{"name": "g"}]});
        self.api.put(ROUTE, json!({"metadata": metadata, "spec": spec, "status": status}));
        let key = ObjectKey::new("ns", "g");
        let parent =
            ParentReport { kind: Kind::Gateway, key, section_name: None, port: None, conditions: vec![good()] };
        let report = ObjectReport::new(Kind::HttpRoute, ObjectKey::new("ns", "r"), Some(1));
        self.report(ObjectReport { parents: vec![parent], ..report });
    }

    fn report(&mut self, report: ObjectReport) {
        self.reports.retain(|r| (r.kind, &r.key) != (report.kind, &report.key));
        self.reports.push(report);
        self.reports.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    }

    /// The objects as a watch would bring them now.
    fn watched(&self) -> Published {
        fn all<T: DeserializeOwned>(api: &FakeApi, kind: &str, of: &str) -> Vec<(ObjectKey, Arc<T>)> {
            let decode = |mut object: Value| {
                object["apiVersion"] = of.into();
                object["kind"] = kind.into();
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
                let key = ObjectKey::new(namespace, object["metadata"]["name"].as_str().unwrap());
                (key, Arc::new(serde_json::from_value(object).unwrap()))
            };
            api.list(&format!("/{}", kind.to_lowercase())).into_iter().map(decode).collect()
        }
        let mut objects = Objects::default();
        objects.backends.extend(all(&self.api, "Backend", "gateway.kgateway.dev/v1alpha1"));
        objects.http_routes.extend(all(&self.api, "HTTPRoute", "gateway.networking.k8s.io/v1"));
        objects.services.extend(all(&self.api, "Service", "v1"));
        objects.gateway_classes.extend(all(&self.api, "GatewayClass", "gateway.networking.k8s.io/v1"));
        let reports = Arc::new(Reports { objects: self.reports.clone(), unattached: Vec::new() });
        Published { objects: Arc::new(objects), reports, services: Arc::default() }
    }

    fn publish(&self) {
        self.publish_this(self.watched());
    }

    fn publish_this(&self, published: Published) {
        self.published.send_replace(Some(Arc::new(published)));
    }

    /// The reason of the Backend's condition.
    fn reason(&self, name: &str) -> Option<String> {
        let reason = self.api.get(&backend_path(name))?.pointer("/status/conditions/0/reason")?.clone();
        Some(reason.as_str()?.to_owned())
    }

    async fn has_reason(&self, name: &str, reason: &str) {
        until(&format!("Backend {name} has the reason {reason}"), || (self.reason(name)? == reason).then_some(()))
            .await;
    }

    /// The holder of the Lease, when it exists.
    fn holder(&self) -> Option<String> {
        Some(self.api.get(LEASE)?["spec"]["holderIdentity"].as_str()?.to_owned())
    }

    async fn held_by(&self, pod: &str) {
        until(&format!("the Lease is held by {pod:?}"), || (self.holder()? == pod).then_some(())).await;
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.encode().unwrap().lines().any(|l| l == line)
    }
}

fn good() -> Condition {
    Condition::new(ConditionType::Accepted, true, Reason::Accepted, "")
}

fn bad(reason: Reason) -> Condition {
    Condition::new(ConditionType::Accepted, false, reason, "why")
}

#[tokio::test]
async fn a_difference_is_written_once() {
    let mut world = World::new();
    let theirs = json!({
        "parentRef": {"name": "g", "weird": [1, {}]}, "controllerName": "example.com/c",
        "conditions": [{
            "type": "Accepted", "status": "False", "reason": "X", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00.5Z",
        }],
    });
    world.route(&json!({"parents": [theirs]}));
    world.backend("a", bad(Reason::SecretNotFound));
    let running = world.start("pod-1");
    world.publish();
    world.has_reason("a", "SecretNotFound").await;
    let parents = until("two parents", || {
        let parents = world.api.get(ROUTE)?["status"]["parents"].clone();
        (parents.as_array()?.len() == 2).then_some(parents)
    })
    .await;
    assert_eq!(parents[0], theirs, "to the last byte");
    assert_eq!(parents[1]["controllerName"], "tollgate.dev/gateway");
    // The watch delivers the written object, and another change: once that is written, nothing else was.
    world.backend("b", good());
    world.publish();
    world.has_reason("b", "Accepted").await;
    for path in [ROUTE, &backend_path("a")] {
        assert_eq!(world.api.sent(&["PATCH", path, " 200 "]).len(), 1, "{path}");
    }
    let events = until("an Event", || Some(world.api.list("/events/")).filter(|e| !e.is_empty())).await;
    assert_eq!(events.len(), 1, "an object that is accepted from the beginning has no Event: {events:?}");
    let event = &events[0];
    assert_eq!(
        (&event["type"], &event["reason"], &event["note"]),
        (&json!("Warning"), &json!("SecretNotFound"), &json!("why"))
    );
    assert_eq!(event["regarding"]["uid"], "a");
    assert_eq!(event["reportingInstance"], "pod-1");

    world.backend("a", good());
    world.publish();
    world.has_reason("a", "Accepted").await;
    until("an Event that it healed", || (world.api.list("/events/").len() == 2).then_some(())).await;
    running.stop().await;
    assert!(world.metric("tollgate_status_writes_total{kind=\"HTTPRoute\",outcome=\"written\"} 1"));
}

#[tokio::test]
async fn a_conflict_is_tried_again_with_the_new_object() {
    let mut world = World::new();
    world.backend("a", bad(Reason::Invalid));
    let old = world.watched();
    // Another client changes it before Tollgate writes; the watch is late.
    world.api.put(&backend_path("a"), world.api.get(&backend_path("a")).unwrap());
    let running = world.start("pod-1");
    world.publish_this(old.clone());
    let path = backend_path("a");
    until("a conflict", || (!world.api.sent(&["PATCH", &path, " 409 "]).is_empty()).then_some(())).await;
    // The same old object again, and another whose write shows that both were compared.
    world.backend("b", good());
    let mut late = old;
    let new = world.watched();
    let objects = Arc::make_mut(&mut late.objects);
    objects
        .backends
        .extend(new.objects.backends.iter().filter(|(k, _)| k.name == "b").map(|(k, b)| (k.clone(), b.clone())));
    world.publish_this(Published { reports: new.reports, ..late });
    world.has_reason("b", "Accepted").await;
    assert_eq!(world.api.sent(&["PATCH", &path]).len(), 1, "once for each version that is seen");
    world.publish();
    world.has_reason("a", "Invalid").await;
    assert!(world.metric("tollgate_status_writes_total{kind=\"Backend\",outcome=\"conflict\"} 1"));
    running.stop().await;
}

#[tokio::test]
async fn one_writes_and_the_next_takes_over_at_once() {
    let mut world = World::new();
    world.backend("a", good());
    let first = world.start("pod-1");
    world.held_by("pod-1").await;
    let second = world.start("pod-2");
    world.publish();
    world.has_reason("a", "Accepted").await;
    first.stop().await;
    world.held_by("pod-2").await;
    assert_eq!(world.api.get(LEASE).unwrap()["spec"]["leaseTransitions"], 1);
    // Changes of the meantime are written; earlier ones are not written again.
    world.backend("b", bad(Reason::Invalid));
    world.publish();
    world.has_reason("b", "Invalid").await;
    assert_eq!(world.api.sent(&["PATCH", &backend_path("a"), " 200 "]).len(), 1);
    second.stop().await;
    assert_eq!(world.holder().unwrap(), "", "free for any replica");
}

#[tokio::test]
async fn a_lease_that_has_changed_is_still_released() {
    let world = World::new();
    let only = world.start("pod-1");
    world.held_by("pod-1").await;
    // A renewal that was cancelled by the stop, or another client's label, has changed the version.
    world.api.put(LEASE, world.api.get(LEASE).unwrap());
    only.stop().await;
    assert_eq!(world.holder().unwrap(), "");
}

#[tokio::test]
async fn a_follower_writes_nothing() {
    let mut world = World::new();
    world.backend("a", good());
    let spec = |renewed: &str| json!({"holderIdentity": "other", "leaseDurationSeconds": 600, "renewTime": renewed});
    world.api.put(LEASE, json!({"metadata": {"name": "tollgate"}, "spec": spec("2020-01-01T00:00:00.000000Z")}));
    let running = world.start("pod-1");
    world.publish();
    until("it has looked a few times", || (world.api.sent(&["GET", LEASE]).len() > 5).then_some(())).await;
    assert_eq!(world.api.sent(&["PATCH"]), [json!(null); 0]);
    assert!(world.metric("tollgate_leader 0"));
    let mut free = spec("2020-01-01T00:00:01.000000Z");
    free["holderIdentity"] = "".into();
    world.api.put(LEASE, json!({"metadata": {"name": "tollgate"}, "spec": free}));
    world.has_reason("a", "Accepted").await;
    running.stop().await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_writing_until_it_can() {
    for code in [0, 403, 500] {
        let mut world = World::new();
        world.backend("a", good());
        let running = world.start("pod-1");
        world.publish();
        world.has_reason("a", "Accepted").await;
        world.api.fail(Method::PUT, LEASE, code);
        until("it leads no longer", || world.metric("tollgate_leader 0").then_some(())).await;
        world.backend("b", good());
        world.publish();
        let looks = world.api.sent(&["PUT", LEASE]).len();
        until("it tries on", || (world.api.sent(&["PUT", LEASE]).len() > looks).then_some(())).await;
        assert_eq!(world.reason("b"), None, "{code}");
        world.api.heal();
        world.has_reason("b", "Accepted").await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_forbidden_kind_does_not_block_others() {
    let mut world = World::new();
    world.route(&json!(null));
    world.backend("a", bad(Reason::Invalid));
    world.api.fail(Method::PATCH, "httproutes", 403);
    world.api.fail(Method::POST, "events", 403);
    let running = world.start("pod-1");
    world.publish();
    world.has_reason("a", "Invalid").await;
    until("it is tried again", || (world.api.sent(&["PATCH", ROUTE, " 403 "]).len() > 1).then_some(())).await;
    world.api.heal();
    until("allowed", || (!world.api.sent(&["PATCH", ROUTE, " 200 "]).is_empty()).then_some(())).await;
    running.stop().await;
    assert!(world.metric("tollgate_status_writes_total{kind=\"Event\",outcome=\"failed\"} 1"));
}

#[tokio::test]
async fn owned_objects_are_applied_and_deleted() {
    let world = World::new();
    let key = |name: &str| ObjectKey::new("ns", name);
    let old = json!({"metadata": {"name": "old", "namespace": "ns", "uid": "u1"}, "spec": {}});
    world.api.put("/api/v1/namespaces/ns/services/old", old);
    let body =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "new", "namespace": "ns"}, "spec": {}});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "s"}});
    let changes = || {
        vec![
            Change { kind: Kind::Service, key: key("new"), body: Some(body.clone()) },
            Change { kind: Kind::EndpointSlice, key: key("s"), body: Some(slice.clone()) },
            Change { kind: Kind::Service, key: key("old"), body: None },
        ]
    };
    let running = world.start("pod-1");
    world.publish_this(Published { services: Arc::new(changes()), ..world.watched() });
    let applied =
        ["PATCH", "/services/new 200 application/apply-patch+yaml", "fieldManager=tollgate.dev%2Fgateway&force=true"];
    until("the Service", || (world.api.sent(&applied) == std::slice::from_ref(&body)).then_some(())).await;
    until("the slice", || world.api.get("/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices/s")).await;
    let deleted = until("deleted", || world.api.sent(&["DELETE", "/services/old 200"]).pop()).await;
    assert_eq!(deleted["preconditions"]["uid"], "u1");
    // Another client changes the Service: the same change is needed, of another version.
    world.api.put("/api/v1/namespaces/ns/services/new", body.clone());
    world.publish_this(Published { services: Arc::new(changes()), ..world.watched() });
    until("applied again", || (world.api.sent(&applied).len() == 2).then_some(())).await;
    running.stop().await;
    let running = world.start_of("pod-2", "team-b.example.com/gateway".parse().unwrap());
    world.publish_this(Published { services: Arc::new(changes()), ..world.watched() });
    let by = ["PATCH", "/services/new 200", "fieldManager=team-b.example.com%2Fgateway&force=true"];
    until("applied by another manager", || (world.api.sent(&by).len() == 1).then_some(())).await;
    running.stop().await;
}

#[tokio::test]
async fn an_object_that_cannot_be_decoded_is_not_accepted() {
    let mut world = World::new();
    world.backend("a", good());
    world.reports.clear();
    let mut published = world.watched();
    let objects = Arc::make_mut(&mut published.objects);
    objects.backends.clear();
    objects.rejected.push(Rejected {
        location: String::new(),
        kind: Some(Kind::Backend),
        key: Some(ObjectKey::new("ns", "a")),
        error: "spec.ai: wrong".to_owned(),
    });
    let running = world.start("pod-1");
    world.publish_this(published);
    world.has_reason("a", "Invalid").await;
    let condition = world.api.get(&backend_path("a")).unwrap()["status"]["conditions"][0].clone();
    assert_eq!((&condition["message"], &condition["observedGeneration"]), (&json!("spec.ai: wrong"), &json!(1)));
    running.stop().await;
}

/// A replica of another installation with the same name of the controller.
const OTHER_LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/zoo/leases/tollgate";

#[tokio::test]
async fn of_two_installations_with_one_controller_one_writes() {
    let mut world = World::new();
    let class = json!({"metadata": {"name": "c", "uid": "c"}, "spec": {"controllerName": "tollgate.dev/gateway"}});
    world.api.put("/apis/gateway.networking.k8s.io/v1/gatewayclasses/c", class);
    world.backend("a", good());
    let first = world.start("pod-1");
    world.held_by("pod-1").await;
    let mut second = world.start_in("zoo", "pod-2", Controller::default());
    world.publish();
    world.has_reason("a", "Accepted").await;
    let rival = second.rival.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!((rival.lease.to_string().as_str(), rival.holder.as_str()), ("sys/tollgate", "pod-1"));
    assert!(world.metric("tollgate_another_installation 1"));
    assert!(world.api.get(OTHER_LEASE).is_none(), "it has never held its own Lease");
    // The class shows it, once for all replicas.
    let third = world.start_in("zoo", "pod-3", Controller::default());
    let events = until("an Event", || Some(world.api.list("/events/")).filter(|e| !e.is_empty())).await;
    until("the other replica tries too", || {
        (world.api.sent(&["POST", "/namespaces/default/events 409"]).len() == 1).then_some(())
    })
    .await;
    assert_eq!(world.api.list("/events/").len(), 1);
    assert_eq!((&events[0]["reason"], &events[0]["type"]), (&json!("AnotherInstallation"), &json!("Warning")));
    assert_eq!(events[0]["regarding"]["uid"], "c");
    for part in ["namespace sys", "namespace zoo", "tollgate.dev/gateway"] {
        assert!(events[0]["note"].as_str().unwrap().contains(part), "{}", events[0]["note"]);
    }
    third.stop().await;
    // One of another controller is not concerned.
    let apart = world.start_in("apart", "pod-4", "team-b.example.com/gateway".parse().unwrap());
    until("it leads", || world.api.get("/apis/coordination.k8s.io/v1/namespaces/apart/leases/tollgate")).await;
    apart.stop().await;

    // The second takes over when the first is gone, and stops when it is back.
    first.stop().await;
    let api = world.api.clone();
    let holder = |path: &str| Some(api.get(path)?["spec"]["holderIdentity"].as_str()?.to_owned());
    until("the second leads", || (holder(OTHER_LEASE)? == "pod-2").then_some(())).await;
    second.rival.wait_for(Option::is_none).await.unwrap();
    world.backend("b", good());
    world.publish();
    world.has_reason("b", "Accepted").await;
    let first = world.start("pod-5");
    until("the first leads", || (holder(LEASE)? == "pod-5").then_some(())).await;
    second.rival.wait_for(Option::is_some).await.unwrap();
    assert_eq!(holder(OTHER_LEASE).unwrap(), "");
    for running in [first, second] {
        running.stop().await;
    }
}

#[tokio::test]
async fn an_installation_that_may_not_look_for_others_writes() {
    let mut world = World::new();
    world.backend("a", good());
    world.api.fail(Method::GET, "/apis/coordination.k8s.io/v1/leases", 403);
    let running = world.start("pod-1");
    world.publish();
    world.has_reason("a", "Accepted").await;
    running.stop().await;
}

#[tokio::test]
async fn a_parent_that_is_not_there_has_an_event_once() {
    let mut world = World::new();
    world.route(&json!(null));
    world.reports.clear();
    let missing = |message: &str, has_condition| Unattached {
        kind: Kind::HttpRoute,
        key: ObjectKey::new("ns", "r"),
        message: message.to_owned(),
        has_condition,
    };
    let publish = |unattached: Vec<Unattached>| {
        let reports = Arc::new(Reports { objects: Vec::new(), unattached });
        world.publish_this(Published { reports, ..world.watched() });
    };
    let first = world.start("pod-1");
    publish(vec![missing("there is no Gateway ns/x", false), missing("in its conditions", true)]);
    let events = until("an Event", || Some(world.api.list("/events/")).filter(|e| !e.is_empty())).await;
    assert_eq!(
        (&events[0]["reason"], &events[0]["note"]),
        (&json!("NoMatchingParent"), &json!("there is no Gateway ns/x"))
    );
    assert_eq!((&events[0]["regarding"]["kind"], &events[0]["regarding"]["uid"]), (&json!("HTTPRoute"), &json!("r")));
    first.stop().await;
    // Another leader can't know of it, and the API server does.
    let second = world.start("pod-2");
    until("it tries", || (!world.api.sent(&["POST", "/events 409"]).is_empty()).then_some(())).await;
    publish(vec![missing("there is no Gateway ns/y", false)]);
    until("an Event with another message", || (world.api.list("/events/").len() == 2).then_some(())).await;
    second.stop().await;
    assert!(!world.metrics.encode().unwrap().contains("kind=\"Event\",outcome=\"failed\"} 1"));
}

#[tokio::test]
async fn a_panic_of_the_election_or_of_a_write_ends_the_writer() {
    for path in [LEASE, ROUTE] {
        let mut world = World::new();
        world.route(&json!(null));
        world.api.panic_at(path);
        let running = world.start("pod-1");
        world.publish();
        let ended = running.task.await;
        assert!(
            ended.as_ref().is_err_and(JoinError::is_panic) || ended.is_ok_and(|r| r.is_err_and(|e| e.is_panic())),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_event_in_a_namespace_that_is_deleted_is_no_failed_write() {
    let mut world = World::new();
    world.backend("a", bad(Reason::Invalid));
    world.api.fail(Method::POST, "/namespaces/ns/events", 404);
    let running = world.start("pod-1");
    world.publish();
    until("it tries", || (!world.api.sent(&["POST", "/events 404"]).is_empty()).then_some(())).await;
    until("it is counted", || {
        world.metric("tollgate_status_writes_total{kind=\"Event\",outcome=\"conflict\"} 1").then_some(())
    })
    .await;
    running.stop().await;
    assert!(world.metric("tollgate_status_writes_total{kind=\"Event\",outcome=\"failed\"} 0"));
}
