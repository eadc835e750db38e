"""Services as backends: endpoints that fail or end, names of other hosts, and rules with nothing to serve."""

import pytest

from harness.kube import wait_for
from harness.manifests import route, serve_openai
from harness.release import NAMESPACE


@pytest.fixture(scope="module")
def shared(kube, release, module_ns):
    release.ensure()
    return serve_openai(kube, module_ns)


def rewritten(ns, name, shared, refs):
    """A route that sends what is below its own name to the simulator's path."""
    prefix = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": f"/{ns}"}}], "filters": [prefix], "backendRefs": refs}
    return route(ns, name, shared, rules=[rule])


def manual(kube, ns, conditions, refuses=False):
    """A Service without a selector. Its endpoint is the simulator's; with `refuses` also one at a port of nobody's."""
    [pods] = kube.list("EndpointSlice", NAMESPACE, {"kubernetes.io/service-name": "tollgate-simulator"})
    address, port = pods["endpoints"][0]["addresses"][0], pods["ports"][0]["port"]

    def endpoints(name, port):
        return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": name, "namespace": ns, "labels": {"kubernetes.io/service-name": "it"}},
                "ports": [{"name": "web", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], "conditions": conditions}]}

    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it", "namespace": ns},
               "spec": {"ports": [{"name": "web", "port": 80, "targetPort": port}]}}
    kube.apply(service, endpoints("it-1", port), *([endpoints("it-2", 1)] if refuses else []))


READY = {"ready": True, "serving": True, "terminating": False}
ENDING = {"ready": False, "serving": True, "terminating": True}
SERVICE = [{"name": "it", "port": 80}]
# A Service gets what the client sends, its key too.
KEY = {"authorization": "Bearer a-key"}


def test_an_endpoint_that_refuses_connections_is_passed_over(kube, shared, ns):
    """Two endpoints, of which one has no listener at the port: no request fails."""
    manual(kube, ns, READY, refuses=True)
    kube.apply(rewritten(ns, "it", shared, SERVICE))
    path = f"/{ns}/v1/chat/completions"
    shared.serves(path=path, headers=KEY)
    answers = [shared.chat(path, headers=KEY).status for _ in range(12)]
    assert answers == [200] * 12, answers


def test_endpoints_that_end_serve_when_no_others_are_left(kube, shared, ns):
    manual(kube, ns, ENDING)
    kube.apply(rewritten(ns, "it", shared, SERVICE))
    path = f"/{ns}/v1/chat/completions"
    shared.serves(path=path, headers=KEY)
    manual(kube, ns, {"ready": False, "serving": False, "terminating": True})
    shared.serves(503, path=path)


def test_a_name_of_another_host_is_refused_with_the_reason(kube, shared, ns):
    kube.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it", "namespace": ns},
                "spec": {"type": "ExternalName", "externalName": "it.example.com", "ports": [{"port": 80}]}},
               rewritten(ns, "it", shared, SERVICE))
    kube.expect_condition("HTTPRoute", ns, "it", "ResolvedRefs", False, "InvalidKind", "is of type ExternalName")
    assert "ExternalName" in kube.describe("HTTPRoute", ns, "it")
    shared.serves(500, path=f"/{ns}/v1/chat/completions")


def test_a_rule_with_nothing_to_serve_says_so(kube, shared, ns):
    match = [{"path": {"value": f"/{ns}"}}]
    zero = [{"name": "openai", "namespace": shared.ns, "group": "gateway.kgateway.dev", "kind": "Backend", "weight": 0}]
    for rule, word in (({"matches": match}, "backendRefs"), ({"matches": match, "backendRefs": zero}, "weight")):
        kube.apply(route(shared.ns, ns, shared, rules=[rule]))

        def told():
            conditions = kube.conditions("HTTPRoute", shared.ns, ns)
            return any(word in c.get("message", "") for c in conditions.values())

        wait_for(f"a condition about {word}", told)
        assert word in kube.describe("HTTPRoute", shared.ns, ns)
    shared.serves(500, path=f"/{ns}/v1/chat/completions")
    kube.remove("HTTPRoute", shared.ns, ns)
