"""A removed object is reported, affects no other object, and everything recovers when it is back."""

import time

import pytest

from harness import traffic
from harness.kube import ApiError, wait_for
from harness.manifests import (
    INLINE, backend, route, secret, serve, serve_openai, to_backend,
)

GATEWAY_API_GROUP = "gateway.networking.k8s.io"
KGATEWAY_GROUP = "gateway.kgateway.dev"


def measure(what, since, limit):
    took = time.monotonic() - since
    print(f"{what}: {took * 1000:.0f} ms")
    assert took < limit, f"{what} took {took:.2f} s"


def test_a_secret_is_deleted_and_put_back(kube, tollgate, ns):
    handle = serve_openai(kube, ns)
    message = f"Secret {ns}/openai does not exist"
    kube.remove("Secret", ns, "openai")
    kube.expect_condition("Backend", ns, "openai", "Accepted", False, "SecretNotFound", message)
    # The route reports it too, so that its status is enough to find the cause.
    kube.expect_condition("HTTPRoute", ns, "openai", "ResolvedRefs", False, None, message)
    # Nothing is sent without its key.
    reply = handle.serves(500)
    assert "error" in reply.json() and "openai" not in reply.json()["error"]["message"].lower(), reply
    arrived = time.monotonic()
    kube.create(secret(ns, "openai"))
    handle.serves(200)
    measure("served again after the Secret's arrival", arrived, 5)
    kube.expect_condition("Backend", ns, "openai", "Accepted", True, "Accepted")
    kube.expect_condition("HTTPRoute", ns, "openai", "ResolvedRefs", True, "ResolvedRefs")
    measure("conditions healed after the Secret's arrival", arrived, 5)


def test_a_secret_that_comes_last_heals_what_waited_for_it(kube, tollgate, ns):
    """The guide's objects in the order that is wrong: route, Backend, then the Secret."""
    handle = serve(kube, ns)
    kube.apply(route(ns, "openai", handle))
    kube.expect_condition("HTTPRoute", ns, "openai", "ResolvedRefs", False, "BackendNotFound")
    kube.apply(backend(ns, "openai"))
    kube.expect_condition("HTTPRoute", ns, "openai", "ResolvedRefs", False, None, f"Secret {ns}/openai does not exist")
    arrived = time.monotonic()
    kube.create(secret(ns, "openai"))
    handle.serves(200)
    measure("served after the Secret's arrival", arrived, 5)


def test_a_backend_is_deleted_under_traffic(kube, tollgate, ns):
    """Its own route answers an error in the caller's dialect; the route beside it is not affected."""
    handle = serve_openai(kube, ns)
    kube.apply(backend(ns, "gone", auth=INLINE), route(ns, "gone", handle, "/gone"))
    handle.serves(200, "/gone")
    load = traffic.Load(handle.address(), handle.port)
    load.reach(20)
    kube.remove("Backend", ns, "gone")
    reply = handle.serves(500, "/gone")
    assert reply.json()["error"]["code"] == "misconfigured", reply
    kube.expect_condition("HTTPRoute", ns, "gone", "ResolvedRefs", False, "BackendNotFound")
    kube.apply(backend(ns, "gone", auth=INLINE))
    handle.serves(200, "/gone")
    load.reach(20)
    load.stop()


def test_a_namespace_is_deleted(kube, tollgate, ns, make_ns):
    """With Gateway, routes, Backends and Secret in it; a route elsewhere with a reference to it reports that."""
    handle = serve_openai(kube, ns)
    other = make_ns("doomed")
    serve_openai(kube, other)
    kube.apply({"apiVersion": f"{GATEWAY_API_GROUP}/v1beta1", "kind": "ReferenceGrant",
                "metadata": {"name": "all", "namespace": other},
                "spec": {"from": [{"group": GATEWAY_API_GROUP, "kind": "HTTPRoute", "namespace": ns}],
                         "to": [{"group": KGATEWAY_GROUP, "kind": "Backend"}]}},
               route(ns, "there", handle, "/there", refs=[to_backend("openai", other)]))
    handle.serves(200, "/there")
    load = traffic.Load(handle.address(), handle.port)
    kube.kubectl("delete", "namespace", other, "--timeout=60s")
    handle.serves(500, "/there")

    def reported():
        # On the way there the Secret may have gone before the Backend.
        found = kube.expect_condition("HTTPRoute", ns, "there", "ResolvedRefs", False)
        assert found["reason"] in ("BackendNotFound", "RefNotPermitted"), found
        return True

    wait_for("the reference's end to be reported", reported, 20)
    load.reach(20)
    load.stop()
    # Each kind has a watch of its own, and the last deletion may arrive after the reference's end was reported.
    wait_for(
        "its objects to be forgotten",
        lambda: not [o for o in tollgate.debug()["objects"] if o.get("namespace") == other],
        20,
    )


def definitions(kube, *groups):
    """Items of a list come without the kind that they are of."""
    named = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return [{**named, **c} for c in kube.list("CustomResourceDefinition") if c["spec"]["group"] in groups]


def bare(document):
    """An object as one would write it anew."""
    keep = {k: document["metadata"][k] for k in ("name", "labels", "annotations") if k in document["metadata"]}
    return {**{k: v for k, v in document.items() if k != "status"}, "metadata": keep}


def test_the_definitions_are_missing_at_the_start_and_come_later(kube, tollgate, make_ns):
    """Every definition of the Gateway API and of Tollgate: waited for, said, and served without a restart."""
    ns = make_ns("late")
    named = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass"}
    classes = [
        bare({**named, **c}) for c in kube.list("GatewayClass") if c["spec"]["controllerName"] == "tollgate.dev/gateway"
    ]
    saved = [bare(c) for c in definitions(kube, GATEWAY_API_GROUP, KGATEWAY_GROUP)]
    assert len(saved) >= 7 and classes
    # What guards the official definitions against being changed would also keep them away.
    tollgate.changed()
    try:
        for definition in saved:
            kube.remove("CustomResourceDefinition", None, definition["metadata"]["name"])
        wait_for("the definitions to go", lambda: not definitions(kube, GATEWAY_API_GROUP, KGATEWAY_GROUP), 60)
        tollgate.restart()
        pod = tollgate.pod()
        assert traffic.request(pod["status"]["podIP"], 9092, "/readyz").status == 200
        text = " ".join(tollgate.log(pod))
        assert "not installed" in text or "CustomResourceDefinition" in text, text[-2000:]
    finally:
        kube.create_all(saved)

        def established():
            for definition in saved:
                found = kube.get("CustomResourceDefinition", None, definition["metadata"]["name"])
                states = {c["type"]: c["status"] for c in found.get("status", {}).get("conditions") or []}
                assert states.get("Established") == "True", found["metadata"]["name"]
            return True

        wait_for("the definitions to be served", established, 30)

        def again():
            for document in classes:
                if kube.get("GatewayClass", None, document["metadata"]["name"]) is None:
                    kube.create(document)
            return True

        wait_for("the classes", again, 30)
    came = time.monotonic()
    handle = wait_for("a Gateway to be accepted by the API server", lambda: serve_openai(kube, ns), 30)
    handle.serves(200)
    measure("served after the definitions came", came, 30)
    assert tollgate.pod()["metadata"]["uid"] == pod["metadata"]["uid"], "no restart was needed"


@pytest.fixture
def without_secrets(kube, tollgate, ns):
    """Tollgate in a restart without any right on Secrets; `ns` holds what was applied before."""
    handle = serve_openai(kube, ns)
    kube.apply(backend(ns, "inline", auth=INLINE), route(ns, "inline", handle, "/inline"))
    handle.serves(200, "/inline")
    roles = [r for r in kube.list("ClusterRole") if r["metadata"]["name"].startswith("tollgate")]
    reads = lambda rule: "secrets" in rule.get("resources", [])  # noqa: E731
    [role] = [r for r in roles if any(map(reads, r.get("rules") or []))]
    name = role["metadata"]["name"]
    rules = []
    for rule in role["rules"]:
        left = [r for r in rule.get("resources", []) if r != "secrets"]
        if left or not reads(rule):
            rules.append({**rule, "resources": left} if reads(rule) else rule)
    tollgate.changed()
    kube.patch("ClusterRole", None, name, {"rules": rules})
    try:
        tollgate.restart()
        tollgate.leader()
        yield handle
    finally:
        kube.patch("ClusterRole", None, name, {"rules": role["rules"]})


def test_without_the_right_to_read_secrets_it_says_so_and_serves_the_rest(kube, tollgate, ns, without_secrets):
    handle = without_secrets
    # What needs no Secret is served.
    handle.serves(200, "/inline")
    # What needs one answers an error, and its status says what is missing: the right, not the Secret.
    handle.serves(500)
    found = kube.expect_condition("Backend", ns, "openai", "Accepted", False)
    assert "forbidden" in found["message"].lower() or "not allowed" in found["message"].lower() \
        or "rbac" in found["message"].lower() or "permission" in found["message"].lower(), found
    lines = [line for line in tollgate.log() if "ecrets" in line]
    assert lines, "the log does not report it"
    assert len(lines) < 40, f"the log repeats itself: {len(lines)} lines"


def test_when_the_right_to_read_secrets_comes_back_it_heals(kube, tollgate, ns, without_secrets):
    roles = [r for r in kube.list("ClusterRole") if r["metadata"]["name"].startswith("tollgate")]
    [role] = [r for r in roles if any("backends" in x.get("resources", []) for x in r.get("rules") or [])]
    rules = role["rules"] + [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]
    given = time.monotonic()
    kube.patch("ClusterRole", None, role["metadata"]["name"], {"rules": rules})
    without_secrets.serves(200, timeout=60)
    measure("served after the right was given back", given, 45)


def test_one_object_that_is_refused_by_nobody_hurts_only_itself(kube, tollgate, ns):
    """Definitions without our schema let anything in: the object is reported, the others are served."""
    handle = serve_openai(kube, ns)
    definition = kube.get("CustomResourceDefinition", None, "backends.gateway.kgateway.dev")
    version = definition["spec"]["versions"][0]
    lax = {**version, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    try:
        kube.patch("CustomResourceDefinition", None, definition["metadata"]["name"], {"spec": {"versions": [lax]}})

        def accepted():
            kube.create(backend(ns, "broken", {"type": 5, "ai": "nothing"}))
            return True

        wait_for("the API server to take anything", accepted, 20)
        wait_for("it to be reported", lambda: any(f"{ns}/broken" in str(r) for r in tollgate.debug()["rejected"]))
        kube.apply(backend(ns, "fine", auth=INLINE), route(ns, "fine", handle, "/fine"))
        handle.serves(200, "/fine")
        handle.serves(200)
    finally:
        kube.remove("Backend", ns, "broken")
        kube.patch("CustomResourceDefinition", None, definition["metadata"]["name"], {"spec": {"versions": [version]}})
    wait_for("the API server to refuse it again", lambda: refused(kube, ns), 20)


def refused(kube, ns):
    try:
        kube.create(backend(ns, "broken", {"type": 5}), dry_run=True)
    except ApiError as error:
        return error.status in (400, 422)


def test_an_empty_apply_of_everything_changes_nothing(kube, tollgate, ns):
    """`kubectl apply` of what is there already: no request is lost, no snapshot is made."""
    handle = serve_openai(kube, ns)

    def generation():
        return tollgate.metrics().sum("tollgate_config_generation")

    # What earlier tests made may still be going.
    wait_for("the namespaces of other tests to go", lambda: not [
        n for n in kube.list("Namespace") if "deletionTimestamp" in n["metadata"]], 120, 0.5)
    since = [generation(), time.monotonic()]

    def quiet():
        if generation() != since[0]:
            since[:] = [generation(), time.monotonic()]
        return time.monotonic() - since[1] > 3

    wait_for("nothing else to change", quiet, 60)
    before = generation()
    load = traffic.Load(handle.address(), handle.port)
    for _ in range(3):
        kube.apply(backend(ns, "openai"), route(ns, "openai", handle))
    load.reach(20)
    load.stop()
    assert generation() == before
