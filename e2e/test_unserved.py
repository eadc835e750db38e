"""What nothing serves is told to its author: kinds, parents that are missing, and protection that is not built."""

import json

import pytest

from harness.kube import CONTROLLER, wait_for
from harness.manifests import gateway, parameters, route, serve_openai

GROUP = "gateway.networking.k8s.io"


@pytest.fixture(scope="module")
def shared(kube, release, module_ns):
    release.ensure()
    return serve_openai(kube, module_ns)


def events(kube, ns, name):
    """Our Events about an object: type, reason and note, the oldest first."""
    found = [e for e in kube.list("Event", ns)
             if e["regarding"]["name"] == name and e.get("reportingController") == CONTROLLER]
    found.sort(key=lambda e: e["eventTime"])
    return [(e["type"], e["reason"], e.get("note", "")) for e in found]


def unattached(release, ns):
    return [u for u in release.debug()["unattached"] if u["namespace"] == ns]


def installed(kube, plural, group=GROUP):
    return kube.get("CustomResourceDefinition", None, f"{plural}.{group}") is not None


def some_route(ns, kind, version, handle, **spec):
    return {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": {"name": "it", "namespace": ns},
            "spec": {"parentRefs": [{"name": handle.name, "namespace": handle.ns}], **spec}}


def check_refused(kube, release, shared, ns, kind):
    message = f"{kind}s are not supported: the listeners of Gateway {shared.ns}/gw serve HTTPRoutes only"
    plural = f"{kind.lower()}s.{GROUP}"

    def ours():
        it = json.loads(kube.kubectl("get", plural, "it", "-n", ns, "-o", "json"))
        [parent] = [p for p in it.get("status", {}).get("parents", []) if p["controllerName"] == CONTROLLER]
        [accepted] = [c for c in parent["conditions"] if c["type"] == "Accepted"]
        assert (accepted["status"], accepted["reason"]) == ("False", "NotAllowedByListeners"), accepted
        assert accepted["message"] == message, accepted
        assert accepted["observedGeneration"] == it["metadata"]["generation"], accepted
        return parent["parentRef"]["name"] == "gw"

    wait_for("its status", ours, 30)
    wait_for("an Event", lambda: events(kube, ns, "it") == [
        ("Warning", "NotAllowedByListeners", f"Gateway {shared.ns}/gw: {message}")])
    shown = " ".join(kube.kubectl("describe", plural, "it", "-n", ns).split())
    assert "Warning NotAllowedByListeners" in shown, shown
    assert [u["kind"] for u in unattached(release, ns)] == [kind]
    assert any(message in line for line in release.log()), "the log has it too"


ROUTES = {"GRPCRoute": {}, "TLSRoute": {"hostnames": ["a.example"]}, "TCPRoute": {}, "UDPRoute": {}}


@pytest.mark.parametrize("kind", ROUTES)
def test_a_route_that_nothing_serves_says_so(kube, release, shared, ns, kind):
    definition = kube.get("CustomResourceDefinition", None, f"{kind.lower()}s.{GROUP}")
    if definition is None:
        pytest.skip(f"this Gateway API has no {kind}")
    version = next(v["name"] for v in definition["spec"]["versions"] if v["served"])
    backends = [{"backendRefs": [{"name": "it", "port": 80}]}]
    kube.apply(some_route(ns, kind, version, shared, rules=backends, **ROUTES[kind]))
    check_refused(kube, release, shared, ns, kind)
    assert shared.chat().status == 200


def test_a_listener_set_says_that_nothing_serves_it(kube, release, shared, ns):
    if not installed(kube, "listenersets"):
        pytest.skip("this Gateway API has no ListenerSet")
    listener = {"name": "more", "protocol": "HTTP", "port": 8088}
    kube.apply({"apiVersion": f"{GROUP}/v1", "kind": "ListenerSet", "metadata": {"name": "it", "namespace": ns},
                "spec": {"parentRef": {"name": shared.name, "namespace": shared.ns}, "listeners": [listener]}},
               route(ns, "of-the-set", {"group": GROUP, "kind": "ListenerSet", "name": "it"}))
    kube.expect_condition("ListenerSet", ns, "it", "Accepted", False, "NotAllowed", "ListenerSets are not supported")
    kube.expect_condition("ListenerSet", ns, "it", "Programmed", False)
    wait_for("an Event", lambda: [e[:2] for e in events(kube, ns, "it")] == [("Warning", "NotAllowed")])
    # Its route has no Gateway that may write its status.
    wait_for("an Event of the route", lambda: [e[1] for e in events(kube, ns, "of-the-set")] == ["NoMatchingParent"])
    assert {u["name"] for u in unattached(release, ns)} == {"it", "of-the-set"}
    assert "status" not in kube.get("HTTPRoute", ns, "of-the-set")


# As small as the API server takes it. The Gateway API had this kind before ListenerSet.
X_GROUP = "gateway.networking.x-k8s.io"
X_LISTENER_SETS = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": f"xlistenersets.{X_GROUP}"},
    "spec": {
        "group": X_GROUP, "scope": "Namespaced", "names": {"kind": "XListenerSet", "plural": "xlistenersets"},
        "versions": [{
            "name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}


def test_a_kind_that_is_installed_later_is_noticed(kube, release, shared, ns):
    if installed(kube, "xlistenersets", X_GROUP):
        pytest.skip("XListenerSet is installed in this cluster")
    errors = lambda: release.metrics().sum("tollgate_watch_errors_total", kind="XListenerSet")  # noqa: E731
    assert errors() == 0, "a kind that most clusters do not have is no failure"
    kube.create(X_LISTENER_SETS)
    try:
        document = {"apiVersion": f"{X_GROUP}/v1alpha1", "kind": "XListenerSet",
                    "metadata": {"name": "it", "namespace": ns},
                    "spec": {"parentRef": {"name": shared.name, "namespace": shared.ns}, "listeners": []}}
        wait_for("the definition to be in use", lambda: kube.apply(document, check=False).returncode == 0, timeout=30)
        kube.expect_condition("XListenerSet", ns, "it", "Accepted", False, "NotAllowed", timeout=30)
        wait_for("an Event", lambda: [e[:2] for e in events(kube, ns, "it")] == [("Warning", "NotAllowed")])
        assert [u["kind"] for u in unattached(release, ns)] == ["XListenerSet"]
    finally:
        kube.remove("CustomResourceDefinition", None, X_LISTENER_SETS["metadata"]["name"])
    wait_for("its objects to be forgotten", lambda: not unattached(release, ns), 90)
    assert errors() <= 1, "the end of the definition"
    assert all(c["ready"] for c in release.pod()["status"]["containerStatuses"])


def test_without_the_right_to_read_such_kinds_everything_else_is_served(kube, release, shared, ns):
    """Roles of an earlier version do not name them."""
    role = kube.get("ClusterRole", None, "tollgate")
    rules = [r for r in role["rules"] if not {"grpcroutes", "xlistenersets"} & set(r["resources"])]
    kube.patch("ClusterRole", None, "tollgate", {"rules": rules})
    try:
        release.restart()
        shared.serves()
        assert all(c["ready"] for c in release.pod()["status"]["containerStatuses"])
        wait_for("the log", lambda: any("grpcroutes" in line and "RBAC" in line for line in release.log()))
    finally:
        kube.patch("ClusterRole", None, "tollgate", {"rules": role["rules"]})


def test_a_parent_that_is_not_there_is_told(kube, release, shared, ns):
    kube.apply(route(ns, "it", {"name": shared.name}), route(ns, "other", {"name": "no-such"}))
    meant = f"there is no Gateway {ns}/gw; did you mean {shared.ns}/gw"
    wait_for("an Event", lambda: any(
        e[:2] == ("Warning", "NoMatchingParent") and e[2].startswith(meant) for e in events(kube, ns, "it")))
    assert "Warning NoMatchingParent" in kube.describe("HTTPRoute", ns, "it")
    assert any(meant in line for line in release.log())
    assert {u["name"] for u in unattached(release, ns)} == {"it", "other"}
    # Another message is another Event; the same of another leader is none.
    kube.apply(route(ns, "it", {"name": "neither"}))
    wait_for("an Event of the change", lambda: events(kube, ns, "it")[-1][2] == f"there is no Gateway {ns}/neither")
    before = [events(kube, ns, name) for name in ("it", "other")]
    release.restart()
    kube.apply(route(ns, "last", {"name": "no-such"}))
    wait_for("the new leader to write Events", lambda: events(kube, ns, "last"))
    assert [events(kube, ns, name) for name in ("it", "other")] == before
    # One that is applied a moment before its Gateway is no mistake.
    kube.apply(route(ns, "early", {"name": "late"}), parameters(ns, "late-parameters", type="ClusterIP"),
               gateway(ns, "late", port=8085, parameters_name="late-parameters"))
    kube.expect_condition("HTTPRoute", ns, "early", "Accepted", True, parent="late")
    assert "NoMatchingParent" not in [e[1] for e in events(kube, ns, "early")]


def test_a_backend_that_must_be_reached_by_tls_is_closed(kube, shared, ns):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it", "namespace": ns},
               "spec": {"ports": [{"name": "web", "port": 80}]}}
    target = {"group": "", "kind": "Service", "name": "it"}
    validation = {"hostname": "it.internal", "wellKnownCACertificates": "System"}
    tls = {"apiVersion": f"{GROUP}/v1", "kind": "BackendTLSPolicy", "metadata": {"name": "tls", "namespace": ns},
           "spec": {"targetRefs": [target], "validation": validation}}
    unused = {**tls, "metadata": {"name": "unused", "namespace": ns},
              "spec": {**tls["spec"], "targetRefs": [{**target, "name": "other"}]}}
    kube.apply(service, tls, unused, route(ns, "it", shared, f"/{ns}", refs=[{"name": "it", "port": 80}]))
    kube.expect_condition("HTTPRoute", ns, "it", "ResolvedRefs", False, "UnsupportedProtocol", "BackendTLSPolicy")
    shared.serves(500, path=f"/{ns}/v1/chat/completions")

    def told():
        [ancestor] = kube.get("BackendTLSPolicy", ns, "tls")["status"]["ancestors"]
        assert ancestor["controllerName"] == CONTROLLER, ancestor
        reference = ancestor["ancestorRef"]
        named = (reference["kind"], reference["namespace"], reference["name"])
        assert named == ("Gateway", shared.ns, "gw"), reference
        [accepted] = ancestor["conditions"]
        return (accepted["type"], accepted["status"], accepted["reason"]) == ("Accepted", "False", "UnsupportedValue")

    wait_for("the policy's status", told)
    wait_for("an Event", lambda: [e[0] for e in events(kube, ns, "tls")] == ["Warning"])
    of_nobody = kube.get("BackendTLSPolicy", ns, "unused").get("status", {})
    assert not of_nobody.get("ancestors"), "no route of ours leads to its target"
    # The route goes, and with it our entry.
    kube.remove("HTTPRoute", ns, "it")
    wait_for("the entry to go", lambda: not kube.get("BackendTLSPolicy", ns, "tls")["status"]["ancestors"])


def test_a_gateway_with_a_certificate_for_backends_is_closed(kube, shared, ns):
    document = gateway(ns, "it", port=8086, tls={"backend": {"clientCertificateRef": {"name": "nowhere"}}})
    if kube.apply(document, check=False).returncode != 0:
        pytest.skip("this Gateway API has no spec.tls.backend")
    why = ("UnsupportedValue", "spec.tls.backend")
    kube.expect_condition("Gateway", ns, "it", "Accepted", False, *why, listener="http")
    kube.expect_condition("Gateway", ns, "it", "Programmed", False)
    assert shared.chat().status == 200
