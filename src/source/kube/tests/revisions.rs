//! Which changes are compiled, and which are only published.

use super::*;

/// An object of a kind with this metadata and the rest of its fields.
fn written(version: u32, metadata: &Value, rest: &Value) -> DynamicObject {
    let mut object = object("a", version, rest.clone());
    let mut all = serde_json::to_value(&object.metadata).unwrap();
    all.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    object.metadata = serde_json::from_value(all).unwrap();
    object
}

#[tokio::test]
async fn only_what_matters_counts_up() {
    let spec = || json!({"gatewayClassName": "c", "listeners": []});
    let slice = |address: &str| json!({"addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": []});
    let ingress = |ip: &str| json!({"spec": {}, "status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
    let conditions = |reason: &str| {
        json!({"conditions": [{
            "type": "Accepted", "reason": reason, "status": "True", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]})
    };
    let none = || json!({});
    let applied = |text: &str| json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}});
    let fields = |time: &str| json!({"managedFields": [{"manager": "m", "time": time}]});
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    for (kind, old, new, matters) in [
        (
            Kind::Gateway,
            (none(), json!({"spec": spec(), "status": conditions("A")})),
            (none(), json!({"spec": spec(), "status": conditions("B")})),
            false,
        ),
        (
            Kind::Gateway,
            (none(), json!({"spec": spec()})),
            (none(), json!({"spec": {"gatewayClassName": "d", "listeners": []}})),
            true,
        ),
        (Kind::Gateway, (fields(early), json!({"spec": spec()})), (fields(late), json!({"spec": spec()})), false),
        (Kind::Gateway, (applied("1"), json!({"spec": spec()})), (applied("2"), json!({"spec": spec()})), false),
        (
            Kind::Gateway,
            (none(), json!({"spec": spec()})),
            (json!({"labels": {"a": "b"}}), json!({"spec": spec()})),
            true,
        ),
        // Reports name a generation.
        (
            Kind::Gateway,
            (json!({"generation": 1}), json!({"spec": spec()})),
            (json!({"generation": 2}), json!({"spec": spec()})),
            true,
        ),
        (
            Kind::Namespace,
            (none(), json!({"status": {"phase": "Active"}})),
            (none(), json!({"status": {"phase": "Terminating"}})),
            false,
        ),
        (Kind::Service, (none(), ingress("192.0.2.1")), (none(), ingress("192.0.2.2")), true),
        (
            Kind::Service,
            (none(), json!({"spec": {}, "status": conditions("A")})),
            (none(), json!({"spec": {}, "status": conditions("B")})),
            false,
        ),
        (Kind::EndpointSlice, (none(), slice("10.0.0.1")), (none(), slice("10.0.0.2")), true),
        (
            Kind::EndpointSlice,
            (
                json!({"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": early}, "generation": 1}),
                slice("10.0.0.1"),
            ),
            (
                json!({"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": late}, "generation": 2}),
                slice("10.0.0.1"),
            ),
            false,
        ),
    ] {
        for listed in [false, true] {
            let mut harness = Harness::synced();
            let apply = |harness: &mut Harness, object: DynamicObject| {
                if listed {
                    harness.list(kind, [object]);
                } else {
                    harness.event(kind, Event::Apply(object));
                }
                harness.published().unwrap().revision
            };
            let first = apply(&mut harness, written(1, &old.0, &old.1));
            assert_eq!(first, 2, "after the empty cluster");
            let second = apply(&mut harness, written(2, &new.0, &new.1));
            assert_eq!(second > first, matters, "{kind} {} {} to {} {}, listed: {listed}", old.0, old.1, new.0, new.1);
            assert_eq!(apply(&mut harness, written(3, &old.0, &old.1)) > second, matters, "and back");
        }
    }
}

#[tokio::test]
async fn a_change_of_status_is_published_all_the_same() {
    let mut harness = Harness::synced();
    let gateway = |version, status: &str| {
        let condition = json!({
            "type": "Accepted", "reason": status, "status": "True", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        object(
            "a",
            version,
            json!({"spec": {"gatewayClassName": "c", "listeners": []}, "status": {"conditions": [condition]}}),
        )
    };
    harness.event(Kind::Gateway, Event::Apply(gateway(1, "A")));
    let first = harness.published().unwrap();
    harness.event(Kind::Gateway, Event::Apply(gateway(2, "B")));
    let second = harness.published().unwrap();
    assert_eq!(first.revision, second.revision);
    let gateway = &second.gateways[&key("a")];
    assert_eq!(gateway.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].reason, "B");
    assert_eq!(gateway.metadata.resource_version.as_deref(), Some("2"), "writes of status need the latest version");
    // Together with a change that matters, it counts.
    harness.event(
        Kind::Gateway,
        Event::Apply(self::object("b", 3, json!({"spec": {"gatewayClassName": "c", "listeners": []}}))),
    );
    harness.event(
        Kind::Gateway,
        Event::Apply(object("a", 4, json!({"spec": {"gatewayClassName": "c", "listeners": []}}))),
    );
    assert_eq!(harness.published().unwrap().revision, second.revision + 1);
}

#[tokio::test]
async fn secrets_and_deletions_count() {
    let mut harness = Harness::synced();
    harness.event(Kind::Backend, Event::Apply(backend("b", 1, "s")));
    let get = harness.get();
    harness.got(&get, found(1, "one"));
    assert_eq!(harness.published().unwrap().revision, 2);
    harness.secret(Event::Apply(seen("s", 2)));
    let get = harness.get();
    harness.got(&get, found(2, "two"));
    assert_eq!(harness.published().unwrap().revision, 3);
    harness.event(Kind::Backend, Event::Delete(backend("b", 3, "s")));
    assert_eq!(harness.published().unwrap().revision, 4);
    harness.list(Kind::Service, [object("a", 1, json!({"spec": {}}))]);
    assert_eq!(harness.published().unwrap().revision, 5);
    harness.list(Kind::Service, []);
    assert_eq!(harness.published().unwrap().revision, 6);
}
