//! The end of an installation: the Lease is taken from its holder, and slices go.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::fake::FakeApi;
use crate::{api::ObjectKey, compile::Controller, publish::uninstall::uninstall_after};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/sys/leases/tollgate";

fn slice_path(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/gw-tollgate-ipv4")
}

/// A Lease with a holder, and slices of two controllers.
fn world() -> FakeApi {
    let api = FakeApi::default();
    let spec = json!({"holderIdentity": "pod-1", "leaseDurationSeconds": 11, "leaseTransitions": 4});
    api.put(LEASE, json!({"metadata": {"name": "tollgate", "namespace": "sys"}, "spec": spec}));
    for (namespace, manager) in
        [("a", "gateway.tollgate.dev"), ("b", "gateway.team-b.example.com"), ("c", "gateway.tollgate.dev")]
    {
        let labels = json!({"endpointslice.kubernetes.io/managed-by": manager});
        let metadata = json!({"name": "gw-tollgate-ipv4", "namespace": namespace, "uid": namespace, "labels": labels});
        api.put(&slice_path(namespace), json!({"metadata": metadata, "addressType": "IPv4", "endpoints": []}));
    }
    api
}

async fn uninstall(api: &FakeApi) -> Result<usize, kube::Error> {
    let lease = ObjectKey::new("sys", "tollgate");
    uninstall_after(Duration::ZERO, api.client(), &lease, &Controller::default()).await
}

#[tokio::test]
async fn the_lease_is_taken_and_the_controllers_slices_go() {
    let api = world();
    assert_eq!(uninstall(&api).await.unwrap(), 2);
    let spec = api.get(LEASE).unwrap()["spec"].clone();
    assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&json!("uninstall"), &json!(5)));
    assert!(spec["renewTime"].is_string() && spec["leaseDurationSeconds"] == 15, "{spec}");
    assert_eq!(["a", "b", "c"].map(|n| api.get(&slice_path(n)).is_some()), [false, true, false]);
    let deleted: Vec<Value> = api.sent(&["DELETE", " 200"]);
    assert_eq!(deleted.iter().map(|body| body["preconditions"]["uid"].clone()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(uninstall(&api).await.unwrap(), 0, "it may be done again");
}

#[tokio::test]
async fn what_is_refused_is_an_error_and_what_is_gone_is_not() {
    let api = world();
    api.fail(Method::DELETE, "/namespaces/a/", 404);
    assert_eq!(uninstall(&api).await.unwrap(), 1);
    let api = world();
    api.fail(Method::PUT, "/leases/", 409);
    assert!(uninstall(&api).await.is_err(), "the leader would write them again");
    assert_eq!(api.sent(&["PUT", " 409"]).len(), 5);
    assert!(api.get(&slice_path("a")).is_some());
    let api = world();
    api.fail(Method::GET, "/leases/", 404);
    assert_eq!(uninstall(&api).await.unwrap(), 2, "nobody writes without a Lease");
}
