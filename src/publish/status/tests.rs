//! Tables of the present status, the report, and the patch that is sent.

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{shared::Route, *};
use crate::{
    api::{
        Kind, ObjectKey,
        condition::{ConditionType, Reason},
        gateway::HttpRoute,
    },
    compile::{AddressType, Condition, Controller, GatewayAddress, ListenerReport, ObjectReport, ParentReport},
    publish::events::Transition,
};

const OLD: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-02-02T02:02:02Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn accepted(status: bool, reason: Reason, message: &str) -> Condition {
    Condition::new(ConditionType::Accepted, status, reason, message)
}

/// A condition as status has it, of generation 2.
fn written(kind: &str, status: &str, reason: &str, message: &str, since: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": 2, "lastTransitionTime": since,
    })
}

fn report(kind: Kind) -> ObjectReport {
    ObjectReport::new(kind, ObjectKey::new("ns", "a"), Some(2))
}

/// An object of version 7 and generation 2.
fn object<T: DeserializeOwned>(spec: &Value, status: &Value) -> T {
    let metadata = json!({"name": "a", "namespace": "ns", "resourceVersion": "7", "generation": 2});
    let mut object = json!({"apiVersion": "x", "kind": "x", "metadata": metadata, "spec": spec, "status": status});
    if status.is_null() {
        object.as_object_mut().unwrap().remove("status");
    }
    serde_json::from_value(object).unwrap()
}

fn merge(update: Option<Update>) -> Option<Value> {
    update.map(|update| match update.patch {
        Patch::Merge(patch) => {
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
            patch["status"].clone()
        }
        Patch::Operations(patch) => panic!("not a merge patch: {patch}"),
    })
}

/// The operations less the guard.
fn operations(update: Option<Update>) -> Vec<Value> {
    match update.map(|update| update.patch) {
        None => Vec::new(),
        Some(Patch::Operations(Value::Array(mut operations))) => {
            let guard = operations.remove(0);
            assert_eq!(guard, json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}));
            operations
        }
        Some(other) => panic!("no operations: {other:?}"),
    }
}

fn event_texts(update: Option<&Update>) -> Vec<String> {
    let text = |t: &Transition| format!("{} {}: {}", if t.warning { "Warning" } else { "Normal" }, t.reason, t.note);
    update.map(|u| u.transitions.iter().map(text).collect()).unwrap_or_default()
}

#[test]
fn conditions_of_a_backend() {
    let spec = json!({"type": "Static", "static": {"hosts": [{"host": "h", "port": 80}]}});
    let good = || accepted(true, Reason::Accepted, "Backend accepted");
    let bad = || accepted(false, Reason::SecretNotFound, "Secret ns/s does not exist");
    let is_good = |since| written("Accepted", "True", "Accepted", "Backend accepted", since);
    let is_bad = |since| written("Accepted", "False", "SecretNotFound", "Secret ns/s does not exist", since);
    let other = written("Healthy", "False", "Theirs", "not ours", OLD);
    for (case, present, condition, expect, events) in [
        ("nothing there, fine", json!(null), good(), Some(json!([is_good(NOW)])), vec![]),
        (
            "nothing there, bad",
            json!(null),
            bad(),
            Some(json!([is_bad(NOW)])),
            vec!["Warning SecretNotFound: Secret ns/s does not exist"],
        ),
        ("status is current", json!([is_good(OLD)]), good(), None, vec![]),
        ("status is current, with another's", json!([other, is_bad(OLD)]), bad(), None, vec![]),
        (
            "goes bad",
            json!([is_good(OLD)]),
            bad(),
            Some(json!([is_bad(NOW)])),
            vec!["Warning SecretNotFound: Secret ns/s does not exist"],
        ),
        (
            "heals",
            json!([is_bad(OLD), other]),
            good(),
            Some(json!([is_good(NOW), other])),
            vec!["Normal Accepted: Backend accepted"],
        ),
        (
            "bad for another reason: the time stays",
            json!([is_bad(OLD)]),
            accepted(false, Reason::SecretInvalid, "empty"),
            Some(json!([written("Accepted", "False", "SecretInvalid", "empty", OLD)])),
            vec!["Warning SecretInvalid: empty"],
        ),
        (
            "bad with another message",
            json!([is_bad(OLD)]),
            accepted(false, Reason::SecretNotFound, "Secret ns/t does not exist"),
            Some(json!([written("Accepted", "False", "SecretNotFound", "Secret ns/t does not exist", OLD)])),
            vec!["Warning SecretNotFound: Secret ns/t does not exist"],
        ),
        (
            "a condition that is no longer reported is removed",
            json!([is_good(OLD), written("PartiallyInvalid", "True", "Unsupported", "x", OLD), other]),
            good(),
            Some(json!([is_good(OLD), other])),
            vec![],
        ),
        (
            "no controller had looked",
            json!([written("Accepted", "Unknown", "Pending", "Waiting", OLD)]),
            good(),
            Some(json!([is_good(NOW)])),
            vec![],
        ),
    ] {
        let status = if present.is_null() { present } else { json!({"conditions": present}) };
        let report = ObjectReport { conditions: vec![condition], ..report(Kind::Backend) };
        let update = backend(&report, &object(&spec, &status), now());
        assert_eq!(event_texts(update.as_ref()), events, "{case}");
        let expect = expect.map(|conditions| json!({"conditions": conditions, "healthy": null, "providers": null}));
        assert_eq!(merge(update), expect, "{case}");
    }
}

#[test]
fn how_many_targets_are_used_is_written_when_it_changes() {
    let spec = json!({"type": "Static", "static": {"hosts": [{"host": "a", "port": 1}]}});
    let good = written("Accepted", "True", "Accepted", "Backend accepted", OLD);
    let status = |healthy: &str| json!({"conditions": [good], "healthy": healthy});
    let report = |healthy: &str| {
        let healthy = Some(healthy.to_owned());
        ObjectReport {
            conditions: vec![accepted(true, Reason::Accepted, "Backend accepted")],
            healthy,
            ..report(Kind::Backend)
        }
    };
    assert_eq!(merge(backend(&report("1/2"), &object(&spec, &status("1/2")), now())), None);
    let written = merge(backend(&report("1/2"), &object(&spec, &status("2/2")), now())).unwrap();
    assert_eq!(written["healthy"], "1/2");
    // A definition without the field drops it from what was written.
    let dropped = json!({"conditions": [good]});
    assert_eq!(merge(backend(&report("1/2"), &object(&spec, &dropped), now())), None);
}

#[test]
fn a_new_generation_is_observed_and_is_no_transition() {
    let report = ObjectReport {
        conditions: vec![accepted(false, Reason::Invalid, "x")],
        generation: Some(3),
        ..report(Kind::Backend)
    };
    let status = json!({"conditions": [written("Accepted", "False", "Invalid", "x", OLD)]});
    let update = backend(&report, &object(&json!({}), &status), now());
    assert_eq!(event_texts(update.as_ref()), [""; 0]);
    let conditions = &merge(update).unwrap()["conditions"];
    assert_eq!((&conditions[0]["observedGeneration"], &conditions[0]["lastTransitionTime"]), (&json!(3), &json!(OLD)));
}

#[test]
fn a_backend_names_its_providers() {
    let token = json!({"kind": "Inline", "inline": "k"});
    let provider = |key: &str| json!({key: {"authToken": token, "model": "m"}});
    let groups =
        json!([{"providers": [provider("openai"), provider("anthropic")]}, {"providers": [provider("openai")]}]);
    let spec = json!({"type": "AI", "ai": {"priorityGroups": groups}});
    let report = ObjectReport { conditions: vec![accepted(true, Reason::Accepted, "")], ..report(Kind::Backend) };
    let status = merge(backend(&report, &object(&spec, &json!(null)), now())).unwrap();
    assert_eq!(status["providers"], "openai,anthropic");
    assert_eq!(merge(backend(&report, &object(&spec, &status), now())), None);
}

#[test]
fn parameters_report_unsupported_fields() {
    let mut report = report(Kind::GatewayParameters);
    report.conditions = vec![accepted(true, Reason::Accepted, "not acted on: kube.istio")];
    let present = json!([written("Accepted", "True", "Accepted", "not acted on: kube.istio", NOW)]);
    let spec = json!({"kube": {}});
    let update = parameters(&report, &object(&spec, &json!(null)), now());
    assert_eq!(merge(update), Some(json!({"conditions": present})));
    assert_eq!(parameters(&report, &object(&spec, &json!({"conditions": present})), now()), None);
}

#[test]
fn a_class_lists_its_features() {
    let report = ObjectReport {
        conditions: vec![accepted(true, Reason::Accepted, "")],
        supported_features: vec!["Gateway", "HTTPRoute"],
        ..report(Kind::GatewayClass)
    };
    let spec = json!({"controllerName": "tollgate.dev/gateway"});
    let waiting = written("Accepted", "Unknown", "Pending", "Waiting for controller", OLD);
    let update = class(&report, &object(&spec, &json!({"conditions": [waiting]})), now());
    let status = merge(update).unwrap();
    assert_eq!(
        status,
        json!({
            "conditions": [written("Accepted", "True", "Accepted", "", NOW)],
            "supportedFeatures": [{"name": "Gateway"}, {"name": "HTTPRoute"}],
        })
    );
    assert_eq!(class(&report, &object(&spec, &status), now()), None);
}

#[test]
fn a_gateway_has_listeners_and_addresses() {
    let listener = |name: &str, attached_routes, condition| ListenerReport {
        name: name.to_owned(),
        attached_routes,
        supported_kinds: vec![Kind::HttpRoute],
        conditions: vec![condition],
    };
    let mut report = ObjectReport {
        conditions: vec![accepted(true, Reason::Accepted, "")],
        listeners: vec![
            listener("http", 3, accepted(true, Reason::Accepted, "")),
            listener("tls", 0, accepted(false, Reason::PortUnavailable, "port 9092 is Tollgate's own")),
        ],
        addresses: vec![GatewayAddress { kind: AddressType::IPAddress, value: "10.0.0.1".into() }],
        ..report(Kind::Gateway)
    };
    let spec = json!({"gatewayClassName": "tollgate", "listeners": []});
    let good = written("Accepted", "True", "Accepted", "", OLD);
    let present = json!({
        "addresses": [],
        "conditions": [good],
        "listeners": [
            {"name": "gone", "attachedRoutes": 1, "supportedKinds": [], "conditions": [good]},
            {"name": "http", "attachedRoutes": 2, "supportedKinds": [], "conditions": [good]},
        ],
    });
    let update = gateway(&report, &object(&spec, &present), now());
    assert_eq!(event_texts(update.as_ref()), ["Warning PortUnavailable: listener tls: port 9092 is Tollgate's own"]);
    let status = merge(update).unwrap();
    let kinds = json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]);
    let bad = written("Accepted", "False", "PortUnavailable", "port 9092 is Tollgate's own", NOW);
    assert_eq!(
        status,
        json!({
            "addresses": [{"type": "IPAddress", "value": "10.0.0.1"}],
            "conditions": [good],
            "listeners": [
                {"name": "http", "attachedRoutes": 3, "supportedKinds": kinds, "conditions": [good]},
                {"name": "tls", "attachedRoutes": 0, "supportedKinds": kinds, "conditions": [bad]},
            ],
        })
    );
    let after = |report: &ObjectReport| merge(gateway(report, &object(&spec, &status), now()));
    assert_eq!(after(&report), None);
    report.addresses[0].kind = AddressType::Hostname;
    assert_eq!(after(&report).unwrap()["addresses"][0]["type"], "Hostname");
    report.addresses.clear();
    assert_eq!(after(&report).unwrap()["addresses"], json!([]));
}

fn parent(gateway: &str, section: Option<&str>, condition: Condition) -> ParentReport {
    ParentReport {
        kind: Kind::Gateway,
        key: ObjectKey::new("ns", gateway),
        section_name: section.map(str::to_owned),
        port: None,
        conditions: vec![condition],
    }
}

fn entry(controller: &str, gateway: &str, conditions: &Value) -> Value {
    json!({"parentRef": {"name": gateway}, "controllerName": controller, "conditions": conditions})
}

#[test]
fn parents_of_a_route() {
    const OURS: &str = "tollgate.dev/gateway";
    let spec = json!({"parentRefs": [{"name": "g"}, {"name": "h", "sectionName": "s"}]});
    let good = |since| json!([written("Accepted", "True", "Accepted", "", since)]);
    let bad = |since| json!([written("Accepted", "False", "NotAllowedByListeners", "no", since)]);
    let theirs = entry("example.com/c", "g", &bad(OLD));
    let ours = |gateway, conditions: Value| entry(OURS, gateway, &conditions);
    let fine = || accepted(true, Reason::Accepted, "");
    let of = |operation: &str, path: &str, value: Value| json!({"op": operation, "path": path, "value": value});
    let mut section = ours("h", good(NOW));
    section["parentRef"]["sectionName"] = "s".into();
    for (case, present, parents, expect) in [
        ("status is current", json!([theirs, ours("g", good(OLD))]), vec![parent("g", None, fine())], vec![]),
        (
            "ours is added behind theirs",
            json!([theirs]),
            vec![parent("g", None, fine()), parent("h", Some("s"), fine())],
            vec![of("add", "/status/parents/-", ours("g", good(NOW))), of("add", "/status/parents/-", section.clone())],
        ),
        (
            "ours is changed in its place",
            json!([theirs, ours("g", bad(OLD)), theirs]),
            vec![parent("g", None, fine())],
            vec![of("replace", "/status/parents/1", ours("g", good(NOW)))],
        ),
        (
            "entries of removed parents are removed from the end",
            json!([ours("x", good(OLD)), theirs, ours("g", good(OLD)), ours("y", good(OLD))]),
            vec![parent("g", None, fine())],
            vec![
                json!({"op": "remove", "path": "/status/parents/3"}),
                json!({"op": "remove", "path": "/status/parents/0"}),
            ],
        ),
        (
            "changed, removed, added, in this order",
            json!([ours("x", good(OLD)), ours("g", bad(OLD))]),
            vec![parent("h", Some("s"), fine()), parent("g", None, fine())],
            vec![
                of("replace", "/status/parents/1", ours("g", good(NOW))),
                json!({"op": "remove", "path": "/status/parents/0"}),
                of("add", "/status/parents/-", section.clone()),
            ],
        ),
        (
            "a default namespace equals the explicit one",
            json!([{
                "parentRef": {"name": "g", "namespace": "ns", "kind": "Gateway", "group": "gateway.networking.k8s.io"},
                "controllerName": OURS,
                "conditions": good(OLD),
            }]),
            vec![parent("g", None, fine())],
            vec![],
        ),
        (
            "none is left",
            json!([theirs, ours("g", good(OLD))]),
            vec![],
            vec![json!({"op": "remove", "path": "/status/parents/1"})],
        ),
    ] {
        let report = (!parents.is_empty()).then(|| ObjectReport { parents, ..report(Kind::HttpRoute) });
        let update = route(
            &Controller::default(),
            report.as_ref(),
            &Route::from(&object::<HttpRoute>(&spec, &json!({"parents": present}))),
            now(),
        );
        assert_eq!(operations(update), expect, "{case}");
    }
}

#[test]
fn a_route_without_status_gets_one() {
    let spec = json!({"parentRefs": [{"name": "g", "port": 80}]});
    let mut parent = parent("g", None, accepted(false, Reason::NotAllowedByListeners, "no"));
    parent.port = Some(80);
    let report = ObjectReport { parents: vec![parent], ..report(Kind::HttpRoute) };
    for status in [json!(null), json!({"parents": []})] {
        let update =
            route(&Controller::default(), Some(&report), &Route::from(&object::<HttpRoute>(&spec, &status)), now());
        assert_eq!(event_texts(update.as_ref()), ["Warning NotAllowedByListeners: Gateway ns/g: no"]);
        let conditions = json!([written("Accepted", "False", "NotAllowedByListeners", "no", NOW)]);
        let entry = json!({
            "parentRef": {"name": "g", "port": 80}, "controllerName": "tollgate.dev/gateway", "conditions": conditions,
        });
        assert_eq!(merge(update), Some(json!({"parents": [entry]})));
    }
    assert_eq!(
        route(&Controller::default(), None, &Route::from(&object::<HttpRoute>(&spec, &json!(null))), now()),
        None,
        "no entry to remove"
    );
}

#[test]
fn entries_of_others_count_towards_the_limit() {
    let theirs: Vec<Value> = (0..31).map(|n| entry("example.com/c", &format!("x{n}"), &json!([]))).collect();
    let parents = ["g", "h"].map(|g| parent(g, None, accepted(true, Reason::Accepted, ""))).to_vec();
    let report = ObjectReport { parents, ..report(Kind::HttpRoute) };
    let update = route(
        &Controller::default(),
        Some(&report),
        &Route::from(&object::<HttpRoute>(&json!({}), &json!({"parents": theirs}))),
        now(),
    );
    assert_eq!(operations(update).len(), 1, "32 is as many as the API takes");
}

#[test]
fn a_policy_has_ancestors_or_conditions() {
    let fine = || accepted(true, Reason::Valid, "Policy accepted");
    let is_fine = |since| written("Accepted", "True", "Valid", "Policy accepted", since);
    let reference = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "ns", "name": "g"});
    let ours = |since| {
        json!({
            "ancestorRef": reference, "controllerName": "tollgate.dev/gateway", "conditions": [is_fine(since)],
        })
    };
    let theirs = json!({"ancestorRef": {"name": "g"}, "controllerName": "example.com/c", "conditions": []});
    let loose = ObjectReport { conditions: vec![fine()], ..report(Kind::TrafficPolicy) };
    let tied = ObjectReport { parents: vec![parent("g", None, fine())], ..report(Kind::TrafficPolicy) };

    let of = Controller::default();
    let check = |report: &ObjectReport, status: &Value| policy(&of, Some(report), &object(&json!({}), status), now());
    assert_eq!(merge(check(&loose, &json!(null))), Some(json!({"conditions": [is_fine(NOW)]})));
    assert_eq!(merge(check(&tied, &json!(null))), Some(json!({"ancestors": [ours(NOW)]})));
    let own = json!({"conditions": [is_fine(OLD)]});
    assert_eq!(merge(check(&tied, &own)), Some(json!({"ancestors": [ours(NOW)], "conditions": []})));
    assert_eq!(check(&tied, &json!({"ancestors": [theirs, ours(OLD)]})), None);
    assert_eq!(
        operations(check(&loose, &json!({"ancestors": [theirs, ours(OLD)]}))),
        [
            json!({"op": "remove", "path": "/status/ancestors/1"}),
            json!({"op": "add", "path": "/status/conditions", "value": [is_fine(NOW)]}),
        ]
    );
}

#[test]
fn an_undecodable_object_is_not_accepted() {
    let theirs = written("Healthy", "True", "Theirs", "", OLD);
    let new = written("Accepted", "False", "Invalid", "spec.x: wrong", NOW);
    for (status, expect) in [
        (json!(null), Some(json!([new]))),
        (json!({"conditions": [theirs]}), Some(json!([new, theirs]))),
        (json!({"conditions": 7}), Some(json!([new]))),
        (json!({"conditions": [new]}), None),
    ] {
        let object: DynamicObject = object(&json!({"x": 1}), &status);
        let sent = merge(undecodable(&object, "spec.x: wrong", now()));
        assert_eq!(sent, expect.map(|conditions| json!({"conditions": conditions})), "{status}");
    }
}

#[test]
fn a_message_is_cut_where_the_api_ends() {
    let long = "é".repeat(40_000);
    let report = ObjectReport { conditions: vec![accepted(false, Reason::Invalid, &long)], ..report(Kind::Backend) };
    let update = backend(&report, &object(&json!({}), &json!(null)), now());
    assert_eq!(update.as_ref().unwrap().transitions[0].note.len(), 1024);
    let status = merge(update).unwrap();
    assert_eq!(status["conditions"][0]["message"].as_str().unwrap().len(), 32_768);
    assert_eq!(merge(backend(&report, &object(&json!({}), &status), now())), None, "the truncated message is current");
}

#[test]
fn one_mistake_makes_one_event() {
    let both = |kind| Condition::new(kind, false, Reason::Invalid, "the same words");
    let report = ObjectReport {
        conditions: vec![
            both(ConditionType::Accepted),
            both(ConditionType::Programmed),
            Condition::new(ConditionType::ResolvedRefs, false, Reason::AddressNotAssigned, "passes"),
        ],
        ..report(Kind::Backend)
    };
    let update = backend(&report, &object(&json!({}), &json!(null)), now());
    assert_eq!(event_texts(update.as_ref()), ["Warning Invalid: the same words", "Normal AddressNotAssigned: passes"]);
}

#[test]
fn entries_belong_to_the_controller_of_their_name() {
    let other: Controller = "team-b.example.com/gateway".parse().unwrap();
    let spec = json!({"parentRefs": [{"name": "g"}]});
    let default = entry("tollgate.dev/gateway", "g", &json!([written("Accepted", "True", "Accepted", "", OLD)]));
    let status = json!({"parents": [default]});
    assert_eq!(route(&other, None, &Route::from(&object::<HttpRoute>(&spec, &status)), now()), None, "not its entry");
    let parents = vec![parent("g", None, accepted(true, Reason::Accepted, ""))];
    let report = ObjectReport { parents, ..report(Kind::HttpRoute) };
    let added = operations(route(&other, Some(&report), &Route::from(&object::<HttpRoute>(&spec, &status)), now()));
    assert_eq!(added.len(), 1);
    assert_eq!((&added[0]["op"], &added[0]["path"]), (&json!("add"), &json!("/status/parents/-")));
    assert_eq!(added[0]["value"]["controllerName"], other.name());
    // A policy that applies only to what another serves: entries of this controller go, and nothing else changes.
    let reference = json!({"name": "g", "namespace": "ns"});
    let of = |controller: &str| json!({"ancestorRef": reference, "controllerName": controller, "conditions": []});
    let status = json!({"ancestors": [of("tollgate.dev/gateway"), of(other.name())], "conditions": []});
    let update = policy(&other, None, &object(&json!({}), &status), now());
    assert_eq!(operations(update), [json!({"op": "remove", "path": "/status/ancestors/1"})]);
}

#[test]
fn a_gateway_of_another_controller_keeps_nothing_that_was_ours() {
    let listener = json!({"name": "http", "attachedRoutes": 1, "conditions": []});
    let status = |conditions: Value| {
        json!({
            "addresses": [{"type": "IPAddress", "value": "10.0.0.1"}], "listeners": [listener],
            "conditions": conditions,
        })
    };
    let observed = |generation: i64, kind: &str| {
        let mut condition = written(kind, "True", kind, "", OLD);
        condition["observedGeneration"] = generation.into();
        condition
    };
    let theirs = observed(1, "Theirs");
    let left = |conditions: Value| {
        let spec = json!({"gatewayClassName": "other", "listeners": []});
        merge(left_gateway(&object(&spec, &status(conditions)), now()))
    };
    let waiting = |kind: &str| {
        json!({
            "type": kind, "status": "Unknown", "reason": "Pending", "lastTransitionTime": NOW,
            "message": "waiting for the controller of class other",
        })
    };
    let both = json!([waiting("Accepted"), waiting("Programmed"), theirs]);
    let expected = json!({"addresses": [], "conditions": both, "listeners": []});
    assert_eq!(left(json!([observed(1, "Accepted"), observed(1, "Programmed"), theirs])), Some(expected));
    assert_eq!(left(both), None, "once");
    assert_eq!(left(json!([observed(2, "Accepted"), observed(1, "Programmed")])), None, "the other has written it");
}
