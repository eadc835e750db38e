"""What this version does not know never hides an object, and what protects is never ignored."""

import copy
import json

import pytest

from harness.kube import wait_for
from harness.manifests import policy, route, serve_openai, to_backend

ROUTES = "httproutes.gateway.networking.k8s.io"
FUTURE = {"type": "FutureAuth"}


@pytest.fixture(scope="module")
def shared(kube, release, module_ns):
    release.ensure()
    return serve_openai(kube, module_ns)


@pytest.fixture
def later_release(kube):
    """The definition of HTTPRoute, with a filter that a later release of the Gateway API may bring."""
    before = json.loads(kube.kubectl("get", "crd", ROUTES, "-o", "json"))
    after = copy.deepcopy(before)
    for version in after["spec"]["versions"]:
        rules = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rules"]
        filters = rules["items"]["properties"]["filters"]["items"]["properties"]
        filters["type"]["enum"].append(FUTURE["type"])
    for document in (before, after):
        for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
            document["metadata"].pop(field, None)
        document.pop("status", None)
    kube.kubectl("replace", "-f", "-", stdin=json.dumps(after))
    yield
    kube.kubectl("replace", "-f", "-", stdin=json.dumps(before))


def test_a_filter_of_a_later_release_closes_its_rule_and_no_other(kube, shared, ns, later_release):
    name = ns
    rule = {"matches": [{"path": {"value": f"/{name}-fine"}}], "backendRefs": [to_backend("openai", shared.ns)]}
    new = {**rule, "matches": [{"path": {"value": f"/{name}-new"}}], "filters": [FUTURE]}
    document = route(shared.ns, name, shared, rules=[rule, rule])
    kube.apply(document)
    kube.expect_condition("HTTPRoute", shared.ns, name, "Accepted", True)
    document = route(shared.ns, name, shared, rules=[rule, new])
    wait_for("the definition to be in use", lambda: kube.apply(document, check=False).returncode == 0, timeout=30)
    kube.expect_condition("HTTPRoute", shared.ns, name, "PartiallyInvalid", True, "UnsupportedValue")
    kube.expect_condition("HTTPRoute", shared.ns, name, "Accepted", True)
    assert "FutureAuth" in kube.describe("HTTPRoute", shared.ns, name)
    shared.serves(path=f"/{name}-fine/v1/chat/completions")
    shared.serves(500, path=f"/{name}-new/v1/chat/completions")
    kube.delete("HTTPRoute", shared.ns, name)


def test_a_policy_with_an_unknown_field_closes_its_route(kube, shared, ns):
    target = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "openai"}]
    kube.apply(policy(shared.ns, "unknown", targetRefs=target, ratelimit={}))
    try:
        kube.expect_condition("TrafficPolicy", shared.ns, "unknown", "Accepted", False, "Unsupported")
        shared.serves(500)
        assert "did you mean `rateLimit`?" in kube.describe("TrafficPolicy", shared.ns, "unknown")
    finally:
        kube.delete("TrafficPolicy", shared.ns, "unknown")
    shared.serves()
