"""Several installations in one cluster, and the end of one."""

import json

import pytest

from harness.kube import CONTROLLER, wait_for
from harness.manifests import backend, gateway, serve_openai
from harness.release import CHART, NAME, NAMESPACE, defaults, helm
from harness.traffic import Metrics, request

OTHER = "team-b.example.com/gateway"


def slices(kube, ns):
    return kube.list("EndpointSlice", ns, {"kubernetes.io/service-name": "gw"})


def install(release, name, namespace, *values, check=True):
    repository, tag = defaults()["image"]["repository"], defaults()["image"]["tag"]
    image = ["--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}"]
    return helm("install", name, CHART, "-n", namespace, *image, "--set", "crds.install=false", *values, "--wait",
                "--timeout", "120s", check=check)


@pytest.fixture
def team_b(release, make_ns):
    """A second installation with a class of its own; its namespace."""
    release.ensure()
    namespace = make_ns("team-b")
    install(release, "tollgate-b", namespace, "--set", f"controllerName={OTHER}", "--set", "gatewayClasses={team-b}")
    yield namespace
    helm("uninstall", "tollgate-b", "-n", namespace, "--ignore-not-found", "--wait", "--timeout", "120s")


def test_uninstall_leaves_no_dead_pod_as_an_endpoint(kube, release, ns):
    """Helm deletes the roles before the pods are told to stop."""
    release.ensure()
    handle = serve_openai(kube, ns)
    assert kube.endpoints(ns, "gw"), "a Gateway in another namespace has slices of Tollgate's"
    release.uninstall()
    assert slices(kube, ns) == [] and kube.get("Service", ns, "gw")
    assert release.lease() == "uninstall"
    wait_for("the pods and the Job to go", lambda: not [
        p for p in kube.list("Pod", NAMESPACE) if p["metadata"]["name"].startswith(NAME)], 90)
    assert slices(kube, ns) == [], "no pod wrote them again"
    release.ensure()
    handle.serves()


def test_an_uninstall_that_breaks_off_is_undone(kube, release, ns):
    """The pods live: they take the Lease again and restore their endpoints."""
    release.ensure()
    handle = serve_openai(kube, ns)
    handle.serves()
    release.changed()
    pod = release.pod()["metadata"]["name"]
    kube.kubectl("exec", "-n", NAMESPACE, pod, "--", "/app", "uninstall")
    assert slices(kube, ns) == []
    release.leader()
    wait_for("endpoints again", lambda: kube.endpoints(ns, "gw"), 10)
    handle.serves()


def test_two_installations_serve_their_own_classes(kube, release, team_b, ns):
    ours = serve_openai(kube, ns)
    kube.apply(gateway(ns, "b", port=8081, gateway_class="team-b"))
    route = kube.get("HTTPRoute", ns, "openai")
    route["spec"]["parentRefs"].append({"name": "b"})
    kube.patch("HTTPRoute", ns, "openai", {"spec": {"parentRefs": route["spec"]["parentRefs"]}})

    def parents():
        found = kube.get("HTTPRoute", ns, "openai")["status"]["parents"]
        return {(p["parentRef"]["name"], p["controllerName"]) for p in found} == {("gw", CONTROLLER), ("b", OTHER)}

    wait_for("an entry of each", parents)
    ours.serves()
    by = lambda name: {  # noqa: E731
        s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
        for s in kube.list("EndpointSlice", ns, {"kubernetes.io/service-name": name})
    }
    managers = ({"gateway.tollgate.dev"}, {"gateway.team-b.example.com"})
    wait_for("slices of both", lambda: (by("gw"), by("b")) == managers)
    assert not kube.endpoints(ns, "gw") & kube.endpoints(ns, "b"), "each leads to pods of its own"
    # Nothing is written in turns: the versions stay.
    kinds = (("HTTPRoute", "openai"), ("Backend", "openai"), ("Gateway", "gw"), ("Gateway", "b"), ("Service", "gw"),
             ("Service", "b"))
    versions = lambda: [kube.get(kind, ns, name)["metadata"]["resourceVersion"] for kind, name in kinds]  # noqa: E731

    def at_rest(last=[]):  # noqa: B006
        last[:] = [*last[-9:], versions()]
        return len(last) == 10 and all(seen == last[0] for seen in last)

    wait_for("no more writes", at_rest, 20, 0.3)
    helm("uninstall", "tollgate-b", "-n", team_b, "--wait", "--timeout", "120s")
    assert not kube.list("EndpointSlice", ns, {"kubernetes.io/service-name": "b"})
    assert slices(kube, ns), "those of the other installation stay"
    ours.serves()


def test_a_second_one_of_the_same_controller_is_refused(kube, release, make_ns):
    release.ensure()
    refused = install(release, "tollgate-b", make_ns("second"), "--set", "gatewayClasses={second}", check=False)
    assert refused.returncode != 0
    for word in (CONTROLLER, f"release {NAME} in namespace {NAMESPACE}", "controllerName"):
        assert word in refused.stderr, refused.stderr
    assert kube.get("GatewayClass", None, "second") is None


@pytest.fixture
def by_template(kube, release, make_ns):
    """A second installation of the same controller, as `helm template` and `kubectl apply` make it; its namespace."""
    release.ensure()
    namespace = make_ns("template")
    repository, tag = defaults()["image"]["repository"], defaults()["image"]["tag"]
    image = ["--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}"]
    less = ["--set", "crds.install=false", "--set", "gatewayClasses={}", "--set", "uninstallJob.enabled=false"]
    less += ["--kube-version", kube.request("GET", "version")["gitVersion"]]
    manifests = helm("template", "tollgate-c", CHART, "-n", namespace, *image, *less).stdout
    kube.apply(manifests)
    yield namespace
    kube.kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=manifests)


def test_one_of_two_without_helm_writes_nothing_until_the_other_is_gone(kube, release, by_template, ns):
    handle = serve_openai(kube, ns)

    def pod():
        [pod] = [p for p in kube.list("Pod", by_template) if "deletionTimestamp" not in p["metadata"]]
        assert all(c["ready"] for c in pod["status"]["containerStatuses"])
        return pod

    second = wait_for("its pod to be ready", pod, 60)
    ip = second["status"]["podIP"]
    other = lambda: json.loads(request(ip, 9092, "/debug/objects").body)["anotherInstallation"]  # noqa: E731
    found = wait_for("it to know of the first", other, 60)
    assert (found["lease"]["namespace"], found["holder"]) == (NAMESPACE, release.pod()["metadata"]["name"])
    assert Metrics(ip).sum("tollgate_another_installation") == 1 and Metrics(ip).sum("tollgate_leader") == 0
    assert release.metrics().sum("tollgate_another_installation") == 0
    log = kube.kubectl("logs", second["metadata"]["name"], "-n", by_template)
    assert "another installation with the same controller name writes" in log, log

    def told():
        return [e for e in kube.list("Event", "default") if e["reason"] == "AnotherInstallation"
                and e["regarding"]["name"] == "tollgate" and by_template in e["note"]]

    assert len(wait_for("an Event on the class", told)) == 1
    assert "AnotherInstallation" in kube.describe("GatewayClass", None, "tollgate")
    # One alone writes: a mistake is reported by one Event.
    kube.apply(backend(ns, "lonely"))
    kube.expect_condition("Backend", ns, "lonely", "Accepted", False, "SecretNotFound")
    about = lambda: [e["reportingInstance"] for e in kube.list("Event", ns)  # noqa: E731
                     if e["regarding"]["name"] == "lonely"]
    assert wait_for("its Event", about) == [release.pod()["metadata"]["name"]]
    handle.serves()

    # The first is gone: the second takes over, and stops when it is back.
    kube.kubectl("scale", "deployment", NAME, "-n", NAMESPACE, "--replicas=0")
    release.changed()

    def holder():
        lease = kube.get("Lease", by_template, "tollgate-c")
        assert lease, "it has never held its Lease"
        return lease["spec"].get("holderIdentity", "")

    wait_for("the second to lead", lambda: holder() == second["metadata"]["name"], 60)
    wait_for("its own pods to be the endpoints", lambda: kube.endpoints(ns, "gw") == {ip}, 30)
    handle.serves()
    assert other() is None
    release.ensure()
    wait_for("the second to stop", lambda: holder() == "" and other(), 60)
    wait_for("the first's pods to be the endpoints",
             lambda: kube.endpoints(ns, "gw") == {release.pod()["status"]["podIP"]}, 30)
    handle.serves()
