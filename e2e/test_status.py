"""Statuses are true: each mistake is refused with a remedy, or explained in conditions of `kubectl describe`."""

import glob
import os
import subprocess
import time

import pytest
import yaml

from harness.kube import CONTROLLER, ApiError, wait_for
from harness.manifests import (
    INLINE, backend, gateway, http_listener, parameters, policy, route, secret, serve, serve_openai, to_backend,
)
from harness.release import ROOT

OTHER = "example.com/another-controller"


@pytest.fixture(scope="module")
def shared(kube, release, module_ns):
    """A Gateway with a working route, beside which the mistakes are made; it must work after each of them."""
    release.ensure()
    return serve_openai(kube, module_ns)


# Refused by the API server


def samples(kind, folder):
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "crds", folder, f"{kind}.yaml"))):
        with open(path, encoding="utf-8") as file:
            yield from (d for d in yaml.safe_load_all(file) if d)


@pytest.mark.parametrize("kind", ["backends", "policies", "parameters"])
def test_what_the_definitions_refuse_is_refused_with_what_to_write(kube, tollgate, kind):
    wrong = []
    checked = 0
    for document in samples(kind, "refused"):
        expect = document["metadata"]["annotations"]["expect"]
        document["metadata"]["namespace"] = "default"
        checked += 1
        try:
            kube.create(document, dry_run=True)
            wrong.append(f"{document['metadata']['name']}: accepted")
        except ApiError as error:
            if expect not in error.message:
                wrong.append(f"{document['metadata']['name']}: {error.message} (wants {expect})")
    assert checked > 5 and not wrong, f"{len(wrong)} of {checked}:\n" + "\n".join(wrong)


def test_every_generation_of_manifests_is_accepted(kube, tollgate):
    wrong = []
    checked = 0
    for document in samples("*", "accepted"):
        document["metadata"].setdefault("namespace", "default")
        document["metadata"]["namespace"] = "default"
        checked += 1
        try:
            kube.create(document, dry_run=True)
        except ApiError as error:
            wrong.append(f"{document['metadata']['name']}: {error.message}")
    assert checked > 10 and not wrong, f"{len(wrong)} of {checked}:\n" + "\n".join(wrong)


REFUSED = {
    "no provider": (backend("default", "x", {"type": "AI", "ai": {"llm": {}}}), "exactly one provider must be set"),
    "two providers": (
        backend(
            "default",
            "x",
            {"type": "AI", "ai": {"llm": {"openai": {"authToken": INLINE}, "anthropic": {"authToken": INLINE}}}},
        ),
        "exactly one provider must be set",
    ),
    "YAML that does not parse": ("kind: Backend\nspec: {type: AI", "error parsing"),
    "a kind that nobody knows": (
        {"apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backed", "metadata": {"name": "x"}},
        "no matches for kind",
    ),
    "a field that does not exist": (
        backend("default", "x", {"type": "AI", "ai": {"llm": {"openai": {"authTokn": INLINE}}}}),
        "authTokn",
    ),
    "a reference to a Service without port": (
        route("default", "x", {"name": "gw"}, refs=[{"name": "some"}]),
        "Must have port for Service reference",
    ),
    "parameters that say nothing": (
        {**parameters("default", "x"), "spec": {}},
        "exactly one of kube and selfManaged must be set",
    ),
    "a policy on a Service": (
        policy("default", "x", targetRefs=[{"group": "", "kind": "Service", "name": "x"}]),
        "targetRefs may only reference Gateway or HTTPRoute",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_kubectl_apply_refuses(kube, tollgate, mistake):
    manifest, expect = REFUSED[mistake]
    text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
    done = kube.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text, check=False)
    assert done.returncode != 0, done.stdout
    assert expect in done.stderr, done.stderr


# Accepted and explained

KEY_WITH_NEWLINE = secret("NS", "it", "first\nsecond")
KEY_NOT_UTF8 = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "it", "namespace": "NS"},
                "data": {"Authorization": "//4="}}
TLS_LISTENER = {"name": "tls", "protocol": "HTTPS", "port": 8443,
                "tls": {"certificateRefs": [{"name": "it"}]}}
PARENT = {"name": "gw", "namespace": "SHARED"}


def with_filter(**kind):
    return route("NS", "it", PARENT, rules=[{"matches": [{"path": {"value": "/it"}}], "filters": [kind],
                                             "backendRefs": [to_backend("it")]}])


# Each: the manifests (NS is the test's namespace, SHARED that of a Gateway that works), the object that must say it,
# the condition, its reason, and what the message must hold. `listener` is where a Gateway's listener must say it.
EXPLAINED = {
    "a Secret that is not there": (
        [backend("NS", "it")],
        "Backend", "Accepted", False, "SecretNotFound", "Secret NS/it does not exist"),
    "an empty key": (
        [secret("NS", "it", ""), backend("NS", "it")],
        "Backend", "Accepted", False, "SecretInvalid", 'Secret NS/it: key "Authorization" is empty'),
    "a key with a newline": (
        [KEY_WITH_NEWLINE, backend("NS", "it")],
        "Backend", "Accepted", False, "SecretInvalid", "holds a line break"),
    "a key that is not UTF-8": (
        [KEY_NOT_UTF8, backend("NS", "it")],
        "Backend", "Accepted", False, "SecretInvalid", "is not UTF-8"),
    "a Secret with the key under another name": (
        [{**secret("NS", "it"), "stringData": {"apiKey": "k"}}, backend("NS", "it")],
        "Backend", "Accepted", False, "SecretInvalid", 'has no key "Authorization"; it has apiKey'),
    "a host that is a URL": (
        [backend("NS", "it", auth=INLINE, host="https://api.example.com", port=443)],
        "Backend", "Accepted", False, "Invalid", "the host has a scheme: write the name alone"),
    "a type that is not ours": (
        [backend("NS", "it", {"type": "MCP", "mcp": {"targets": [
            {"name": "t", "static": {"host": "a", "port": 80}}]}})],
        "Backend", "Accepted", False, "Unsupported", "MCP backends are not served"),
    "a route to a Backend that is missing": (
        [route("NS", "it", PARENT, "/it")],
        "HTTPRoute", "ResolvedRefs", False, "BackendNotFound", 'Backend "it" not found in namespace "NS"'),
    "a route to a Backend whose Secret is missing": (
        [backend("NS", "it"), route("NS", "it", PARENT, "/it")],
        "HTTPRoute", "ResolvedRefs", False, None, "Secret NS/it does not exist"),
    "a route into another namespace without a grant": (
        [route("NS", "it", PARENT, "/it", refs=[to_backend("openai", "SHARED")])],
        "HTTPRoute", "ResolvedRefs", False, "RefNotPermitted", 'no ReferenceGrant in namespace "SHARED"'),
    "a route to a kind that nobody knows": (
        [route("NS", "it", PARENT, "/it", refs=[{"group": "example.com", "kind": "Nonsense", "name": "it"}])],
        "HTTPRoute", "ResolvedRefs", False, "InvalidKind", "Nonsense"),
    "a route to a Service that is missing": (
        [route("NS", "it", PARENT, "/it", refs=[{"name": "it", "port": 80}])],
        "HTTPRoute", "ResolvedRefs", False, "BackendNotFound", 'Service "it" not found in namespace "NS"'),
    "a route to a listener that is missing": (
        [route("NS", "it", {**PARENT, "sectionName": "nope"}, "/it")],
        "HTTPRoute", "Accepted", False, "NoMatchingParent", 'no listener "nope"'),
    "a route that the listener's namespaces keep out": (
        [gateway("SHARED", "closed-NS", [http_listener(allowedRoutes={"namespaces": {"from": "Same"}})]),
         route("NS", "it", {**PARENT, "name": "closed-NS"}, "/it")],
        "HTTPRoute", "Accepted", False, "NotAllowedByListeners", "does not allow HTTPRoutes of namespace"),
    "a route whose host no listener has": (
        [gateway("NS", "gw", [http_listener(hostname="a.example.com")]),
         route("NS", "it", {"name": "gw"}, "/it", hostnames=["b.example.org"])],
        "HTTPRoute", "Accepted", False, "NoMatchingListenerHostname", "no hostname of the route fits"),
    "a filter that nobody knows": (
        [with_filter(type="ExtensionRef", extensionRef={"group": "example.com", "kind": "Nonsense", "name": "it"})],
        "HTTPRoute", "Accepted", False, "UnsupportedValue", "ExtensionRef to example.com/Nonsense is not supported"),
    "a certificate that is no certificate": (
        [{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "it", "namespace": "NS"},
          "stringData": {"tls.crt": "none", "tls.key": "none"}}, gateway("NS", "it", [TLS_LISTENER])],
        "Gateway:tls", "ResolvedRefs", False, "InvalidCertificateRef", "Secret NS/it: tls.crt"),
    "a certificate that is missing": (
        [gateway("NS", "it", [TLS_LISTENER])],
        "Gateway:tls", "ResolvedRefs", False, "InvalidCertificateRef", "Secret NS/it does not exist"),
    "a protocol that is not served": (
        [gateway("NS", "it", [{"name": "udp", "protocol": "UDP", "port": 53}])],
        "Gateway:udp", "Accepted", False, "UnsupportedProtocol", "use HTTP or HTTPS"),
    "listeners of which none is valid": (
        [gateway("NS", "it", [{"name": "udp", "protocol": "UDP", "port": 53}])],
        "Gateway", "Accepted", False, "ListenersNotValid", "udp"),
    "a listener for kinds that are not served": (
        [gateway("NS", "it", [http_listener(allowedRoutes={"kinds": [{"kind": "TCPRoute"}]})])],
        "Gateway:http", "ResolvedRefs", False, "InvalidRouteKinds", "only HTTPRoute is supported, not TCPRoute"),
    "parameters that are missing": (
        [gateway("NS", "it", parameters_name="nowhere")],
        "Gateway", "Accepted", False, "InvalidParameters", "nowhere"),
    "a policy that protects and is not built": (
        [route("NS", "it", PARENT, "/it"),
         policy("NS", "it", targetRefs=[{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "it"}],
                csrf={"percentageEnabled": 100})],
        "TrafficPolicy", "Accepted", False, "Unsupported", "csrf"),
    "a field of a policy that is not acted on": (
        [route("NS", "it", PARENT, "/it"),
         policy("NS", "it", targetRefs=[{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "it"}],
                autoHostRewrite=True)],
        "TrafficPolicy", "PartiallyInvalid", True, None, "autoHostRewrite"),
}


def filled(value, **names):
    text = yaml.safe_dump(value)
    for name, it in names.items():
        text = text.replace(name, it)
    return yaml.safe_load(text)


@pytest.mark.parametrize("mistake", EXPLAINED)
def test_a_mistake_is_explained(kube, shared, ns, mistake):
    manifests, where, condition, status, reason, message = EXPLAINED[mistake]
    manifests = [filled(m, NS=ns, SHARED=shared.ns) for m in manifests]
    message = message.replace("NS", ns).replace("SHARED", shared.ns)
    kind, _, listener = where.partition(":")
    kube.apply(*manifests)
    more = {"listener": listener} if listener else {}
    found = kube.expect_condition(kind, ns, "it", condition, status, reason, message, **more)
    # `kubectl describe` alone is enough.
    shown = kube.describe(kind, ns, "it")
    assert " ".join(message.split()) in shown, shown
    assert f"Reason: {found['reason']}" in shown, shown
    # No other object is affected.
    assert shared.chat().status == 200
    for made in manifests:
        if made["metadata"]["namespace"] == shared.ns:
            kube.remove(made["kind"], shared.ns, made["metadata"]["name"])


def test_a_mistake_costs_its_own_rule_only(kube, shared, ns):
    rules = [{"matches": [{"path": {"value": "/bad"}}], "backendRefs": [to_backend("nowhere")]},
             {"matches": [{"path": {"value": "/good"}}], "backendRefs": [to_backend("it")]}]
    kube.apply(backend(ns, "it", auth=INLINE), route(ns, "it", shared, rules=rules))
    shared.serves(200, "/good")
    reply = shared.chat("/bad")
    assert reply.status == 500 and "error" in reply.json(), reply
    assert "nowhere" not in reply.body, "clients see no internals"


def test_a_mended_mistake_is_taken_back(kube, shared, ns):
    kube.apply(backend(ns, "it", {"type": "AI", "ai": {"llm": {"hostOverride": {"host": "a b", "port": 80},
                                                               "openai": {"authToken": INLINE}}}}))
    bad = kube.expect_condition("Backend", ns, "it", "Accepted", False, "Invalid")
    kube.apply(backend(ns, "it", auth=INLINE))
    good = kube.expect_condition("Backend", ns, "it", "Accepted", True, "Accepted")
    assert good["observedGeneration"] == bad["observedGeneration"] + 1
    assert good["lastTransitionTime"] >= bad["lastTransitionTime"]


# What fine objects say


def test_fine_objects_say_so_with_the_present_generation(kube, shared):
    ns = shared.ns
    kube.expect_condition("GatewayClass", None, "tollgate", "Accepted", True, "Accepted")
    kube.expect_condition("Gateway", ns, "gw", "Accepted", True, "Accepted")
    kube.expect_condition("Gateway", ns, "gw", "Programmed", True, "Programmed")
    for condition, status, reason in [("Accepted", True, "Accepted"), ("Programmed", True, "Programmed"),
                                      ("ResolvedRefs", True, "ResolvedRefs"), ("Conflicted", False, "NoConflicts")]:
        kube.expect_condition("Gateway", ns, "gw", condition, status, reason, listener="http")
    kube.expect_condition("HTTPRoute", ns, "openai", "Accepted", True, "Accepted")
    kube.expect_condition("HTTPRoute", ns, "openai", "ResolvedRefs", True, "ResolvedRefs")
    kube.expect_condition("Backend", ns, "openai", "Accepted", True, "Accepted")
    [listener] = kube.get("Gateway", ns, "gw")["status"]["listeners"]
    assert {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"} in listener["supportedKinds"]
    [parent] = kube.get("HTTPRoute", ns, "openai")["status"]["parents"]
    assert parent["parentRef"] == {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": "gw",
        "namespace": ns,
    }


def test_attached_routes_are_counted(kube, shared, ns):
    handle = serve(kube, ns)

    def count(wanted):
        def probe():
            [listener] = kube.get("Gateway", ns, "gw").get("status", {}).get("listeners") or [{"attachedRoutes": None}]
            assert listener["attachedRoutes"] == wanted, listener
            return True
        wait_for(f"{wanted} attached routes", probe)

    count(0)
    # Attached although its backend does not resolve.
    kube.apply(route(ns, "one", handle, "/one"), route(ns, "two", handle, "/two", refs=[to_backend("one")]))
    count(2)
    kube.remove("HTTPRoute", ns, "two")
    count(1)


def test_the_class_lists_the_features_that_are_served(kube, shared):
    def probe():
        features = kube.get("GatewayClass", None, "tollgate")["status"].get("supportedFeatures")
        assert features
        return [f["name"] for f in features]

    names = wait_for("supportedFeatures", probe)
    assert names == sorted(set(names)), names
    assert {"Gateway", "HTTPRoute", "ReferenceGrant"} <= set(names), names
    print(len(names), "features:", " ".join(names))


def test_status_is_written_only_on_change(kube, tollgate, ns):
    """A label on a Gateway is a change of the object, and none of what status says."""
    # Its own Gateway: routes of tests before this one may still leave a shared one, which counts them.
    serve_openai(kube, ns).serves()
    versions = lambda: {k: kube.get(k, ns, n)["metadata"]["resourceVersion"]  # noqa: E731
                        for k, n in (("Gateway", "gw"), ("HTTPRoute", "openai"), ("Backend", "openai"))}

    def settled():
        seen = versions()
        time.sleep(2)
        return seen == versions()

    wait_for("the statuses to settle", settled, 30)
    before = versions()
    kube.patch("Gateway", ns, "gw", {"metadata": {"labels": {"touched": ns}}})
    touched = kube.get("Gateway", ns, "gw")["metadata"]["resourceVersion"]
    # Something after it that is written: what came before has been seen.
    kube.apply(backend(ns, "marker"))
    kube.expect_condition("Backend", ns, "marker", "Accepted", False, "SecretNotFound")
    assert versions() == {**before, "Gateway": touched}


# Beside others


def test_another_controllers_entry_on_a_route_is_kept(kube, shared, ns):
    """Both write the same list; each keeps its own entries, in either order."""
    kube.apply(backend(ns, "it", auth=INLINE), route(ns, "it", shared, "/it"))
    kube.expect_condition("HTTPRoute", ns, "it", "Accepted", True)
    other = {"parentRef": {"name": "elsewhere", "group": "example.com", "kind": "Mesh"}, "controllerName": OTHER,
             "conditions": [{"type": "Accepted", "status": "False", "reason": "Whatever", "message": "as it was",
                             "lastTransitionTime": "2020-01-02T03:04:05Z", "observedGeneration": 1}]}

    def entries():
        return kube.get("HTTPRoute", ns, "it")["status"]["parents"]

    def write_theirs():
        """As a well-behaved controller does: read, change its own entry, write with the version that was read."""
        found = kube.get("HTTPRoute", ns, "it")
        parents = [p for p in found["status"]["parents"] if p["controllerName"] != OTHER] + [other]
        body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "status": {"parents": parents}}
        kube.patch("HTTPRoute", ns, "it", body, "status")
        return True

    wait_for("the other controller's write", write_theirs)
    # Ours must be written again: the route changes, and so do the conditions.
    for turn in range(5):
        broken = turn % 2 == 0
        kube.apply(route(ns, "it", shared, "/it", refs=[to_backend("nowhere" if broken else "it")]))
        other["conditions"][0]["observedGeneration"] = turn + 2
        wait_for("the other controller's write", write_theirs)
        kube.expect_condition("HTTPRoute", ns, "it", "ResolvedRefs", not broken)
        assert [p for p in entries() if p["controllerName"] == OTHER] == [other]
    # Our Gateway is no parent any more: our entry goes, theirs stays.
    kube.apply(route(ns, "it", {"name": "elsewhere", "group": "example.com", "kind": "Mesh"}, "/it"))
    wait_for("our entry to go", lambda: [p["controllerName"] for p in entries()] == [OTHER])
    assert entries() == [other]


def test_a_class_of_another_controller_is_left_alone(kube, shared, ns):
    theirs = f"theirs-{ns}"
    kube.apply({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": theirs},
                "spec": {"controllerName": OTHER}})
    try:
        kube.apply(gateway(ns, "it", gateway_class=theirs), route(ns, "it", {"name": "it"}, "/it"))
        # A later object of ours is served, so theirs have been seen.
        serve(kube, ns, "ours")
        kube.expect_condition("Gateway", ns, "ours", "Programmed", True)
        untouched = [
            kube.get("GatewayClass", None, theirs),
            kube.get("Gateway", ns, "it"),
            kube.get("HTTPRoute", ns, "it"),
        ]
        for found in untouched:
            managers = {m["manager"] for m in found["metadata"]["managedFields"]}
            assert CONTROLLER not in managers and not any("tollgate" in m for m in managers), managers
            # Only the defaults of the definitions may be there.
            conditions = found.get("status", {}).get("conditions", [])
            assert all(c["reason"] in ("Pending", "Waiting") for c in conditions), conditions
            assert not found.get("status", {}).get("parents"), found["status"]
        assert kube.get("Service", ns, "it") is None
    finally:
        kube.remove("GatewayClass", None, theirs)


# Events


def events(kube, ns, name):
    found = kube.list("Event", ns)
    return [(e["type"], e["reason"], e.get("note", "")) for e in found
            if e["regarding"]["name"] == name and e.get("reportingController") == CONTROLLER]


def test_events_tell_what_went_bad_and_what_healed(kube, shared, ns):
    kube.apply(backend(ns, "it"))
    kube.expect_condition("Backend", ns, "it", "Accepted", False, "SecretNotFound")

    def bad():
        warnings = [e for e in events(kube, ns, "it") if e[0] == "Warning"]
        assert warnings and warnings[0][1] == "SecretNotFound", warnings
        assert f"Secret {ns}/it does not exist" in warnings[0][2], warnings
        return True

    wait_for("an Event of the mistake", bad)
    kube.apply(secret(ns, "it"))
    kube.expect_condition("Backend", ns, "it", "Accepted", True)
    wait_for("an Event that it healed", lambda: [e for e in events(kube, ns, "it") if e[0] == "Normal"])
    shown = kube.describe("Backend", ns, "it")
    assert "Warning SecretNotFound" in shown, shown


def columns(kube, ns, name):
    """What `kubectl get` shows of a policy."""
    header, row = kube.kubectl("get", "trafficpolicies.gateway.kgateway.dev", name, "-n", ns).splitlines()
    return dict(zip(header.split(), row.split()))


def test_kubectl_get_shows_the_state_of_a_policy(kube, shared, ns):
    """Also of one without a target that is served: its conditions are its own."""
    target = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "it"}]
    kube.apply(policy(ns, "it", targetRefs=target, timeouts={"request": "10s"}), policy(ns, "bare"))
    for name in ("it", "bare"):
        kube.expect_condition("TrafficPolicy", ns, name, "Attached", False, "TargetNotFound")
        shown = columns(kube, ns, name)
        assert (shown["ACCEPTED"], shown["ATTACHED"]) == ("True", "False"), shown
    kube.apply(backend(ns, "it", auth=INLINE), route(ns, "it", shared, f"/{ns}"))
    kube.expect_condition("TrafficPolicy", ns, "it", "Attached", True)
    shown = columns(kube, ns, "it")
    assert (shown["ACCEPTED"], shown["ATTACHED"]) == ("True", "True"), shown
    kube.apply(policy(ns, "it", targetRefs=target, csrf={"percentageEnabled": 100}))
    kube.expect_condition("TrafficPolicy", ns, "it", "Accepted", False, "Unsupported")
    assert columns(kube, ns, "it")["ACCEPTED"] == "False"


def test_a_changed_message_is_an_event_of_its_own(kube, shared, ns):
    kube.apply(backend(ns, "it"))
    kube.expect_condition("Backend", ns, "it", "Accepted", False, "SecretNotFound", f"Secret {ns}/it does not exist")
    auth = {"kind": "SecretRef", "secretRef": {"name": "another"}}
    kube.apply(backend(ns, "it", auth=auth))
    message = f"Secret {ns}/another does not exist"
    kube.expect_condition("Backend", ns, "it", "Accepted", False, "SecretNotFound", message)
    for name in ("it", "another"):
        wait_for(f"an Event about {name}", lambda: any(
            f"Secret {ns}/{name} does not exist" in e[2] for e in events(kube, ns, "it")))  # noqa: B023
        assert f"Secret {ns}/{name} does not exist" in kube.describe("Backend", ns, "it")


def test_an_object_that_decodes_only_in_part_hurts_only_itself(kube, shared, ns):
    """Every object that the API server accepts by the definitions must be readable, or be reported."""
    done = subprocess.run(["kubectl", "apply", "-f", "-"], capture_output=True, text=True, check=False,
                          input=yaml.safe_dump(route(ns, "it", shared, rules=[{"timeouts": {"request": "never"}}])))
    if done.returncode == 0:
        kube.expect_condition("HTTPRoute", ns, "it", "Accepted", False)
    else:
        assert "timeouts" in done.stderr, done.stderr
    assert shared.chat().status == 200
