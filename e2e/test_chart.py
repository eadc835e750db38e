"""The chart on a real cluster: install, upgrade, rollback, uninstall, and what it is allowed to do."""

import json
import os
import re

from harness import traffic
from harness.kube import CONTROLLER, wait_for
from harness.manifests import GUIDE, GatewayHandle, documents, gateway, serve_openai
from harness.release import CHART, IMAGE, NAME, NAMESPACE, ROOT, defaults, helm

OUR_DEFINITIONS = {f"{plural}.gateway.kgateway.dev" for plural in ("backends", "trafficpolicies", "gatewayparameters")}


def our_definitions(kube):
    return {c["metadata"]["name"]: c for c in kube.list("CustomResourceDefinition")
            if c["metadata"]["name"] in OUR_DEFINITIONS}


def test_install_upgrade_rollback_uninstall_install(kube, release, ns):
    """The whole life of a release. What users applied survives all of it, and is served again in the end."""
    release.ensure()
    release.uninstall()
    assert kube.get("Deployment", NAMESPACE, NAME) is None
    repository, tag = IMAGE.rsplit(":", 1)
    image = ["--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}"]
    release.changed()
    # As the README has it.
    done = helm(
        "install",
        NAME,
        CHART,
        "-n",
        NAMESPACE,
        "--create-namespace",
        *image,
        "--set",
        "simulator.enabled=true",
        "--wait",
        "--timeout",
        "120s",
    )
    assert "kubectl" in done.stdout, f"the notes have the next command: {done.stdout}"
    release.settled()
    assert set(our_definitions(kube)) == OUR_DEFINITIONS
    handle = serve_openai(kube, ns)
    target = handle.target_port()

    load = traffic.Load(handle.address(), handle.port)
    helm("upgrade", NAME, CHART, "-n", NAMESPACE, *image, "--set", "simulator.enabled=true", "--set", "replicas=2",
         "--set", "podAnnotations.turn=two", "--wait", "--timeout", "120s")
    release.settled()
    assert len(release.pods()) == 2
    load.reach(50)
    helm("rollback", NAME, "1", "-n", NAMESPACE, "--wait", "--timeout", "120s")
    release.settled()
    pod = release.pod()
    assert "turn" not in pod["metadata"].get("annotations", {})
    load.reach(50)
    load.stop()

    done = release.uninstall()
    wait_for(
        "the pods to go", lambda: not [p for p in kube.list("Pod", NAMESPACE) if NAME in p["metadata"]["name"]], 90
    )
    # Definitions stay, and what users made with them; the rest is gone.
    assert set(our_definitions(kube)) == OUR_DEFINITIONS
    assert kube.get("Backend", ns, "openai") and kube.get("Gateway", ns, "gw") and kube.get("Service", ns, "gw")
    left = [f"{kind} {found['metadata']['name']}"
            for kind in ("ClusterRole", "Deployment", "Service", "ConfigMap", "GatewayClass")
            for found in kube.list(kind)
            if found["metadata"].get("annotations", {}).get("meta.helm.sh/release-name") == NAME]
    assert not left, left

    release.ensure()
    handle.serves()
    assert handle.target_port() == target, "the ledger survived"


def test_the_definitions_are_upgraded_with_the_chart(kube, release):
    """An older definition in the cluster, as a release before this one left it."""
    release.ensure()
    name = "backends.gateway.kgateway.dev"
    version = our_definitions(kube)[name]["spec"]["versions"][0]
    columns = version.get("additionalPrinterColumns")
    assert columns
    kube.patch(
        "CustomResourceDefinition",
        None,
        name,
        {"spec": {"versions": [{**version, "additionalPrinterColumns": columns[:1]}]}},
    )
    release.upgrade({**defaults(), "podAnnotations": {"e2e/turn": "definitions"}})
    assert our_definitions(kube)[name]["spec"]["versions"][0].get("additionalPrinterColumns") == columns


def test_the_guide_unchanged_with_providers_simulated(kube, release, ns):
    """The guide's own manifests, not a byte changed, with the chart's switch that answers for every provider."""
    release.ensure(simulateProviders=True)
    kube.apply(gateway(ns, "ai-gateway"), GUIDE.replace("NAMESPACE", ns))
    reply = GatewayHandle(kube, ns, "ai-gateway", 8080).serves(path="/gemini", body=traffic.GEMINI)
    assert reply.json()["usageMetadata"]["totalTokenCount"] == 17
    assert len(documents(GUIDE)) == 3


# Permissions

def allowed(kube, account):
    """What the API server says the account may do in Tollgate's namespace: (group/resource, verb)."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": NAMESPACE},
    }
    done = kube.kubectl("create", "--raw", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "-f", "-",
                        f"--as=system:serviceaccount:{NAMESPACE}:{account}", "--as-group=system:authenticated",
                        "--as-group=system:serviceaccounts", stdin=json.dumps(review))
    rules = json.loads(done)["status"]["resourceRules"]
    return {(f"{group}/{resource}", verb) for rule in rules for group in rule["apiGroups"]
            for resource in rule["resources"] for verb in rule["verbs"]}


READ = {"get", "list", "watch"}
# Kinds that are not served, which is reported.
UNSERVED = ("grpcroutes", "tlsroutes", "tcproutes", "udproutes", "listenersets")
# The most that the code has a use for; each right beyond it would be one too many.
USED = {
    **{f"gateway.networking.k8s.io/{r}": READ for r in ("gatewayclasses", "gateways", "httproutes", "referencegrants",
                                                             "backendtlspolicies")},
    **{f"gateway.kgateway.dev/{r}": READ for r in ("backends", "trafficpolicies", "gatewayparameters")},
    **{f"gateway.networking.k8s.io/{r}": READ for r in UNSERVED},
    **{
        f"gateway.networking.k8s.io/{r}/status": {"patch", "update"}
        for r in ("gatewayclasses", "gateways", "httproutes", "backendtlspolicies", *UNSERVED)
    },
    "gateway.networking.x-k8s.io/xlistenersets": READ,
    "gateway.networking.x-k8s.io/xlistenersets/status": {"patch", "update"},
    **{
        f"gateway.kgateway.dev/{r}/status": {"patch", "update"}
        for r in ("backends", "trafficpolicies", "gatewayparameters")
    },
    "/namespaces": READ,
    "/secrets": READ,
    "/configmaps": READ,
    "/services": READ | {"create", "patch", "delete"},
    "discovery.k8s.io/endpointslices": READ | {"create", "patch", "delete"},
    "events.k8s.io/events": {"create", "patch"},
    "/events": {"create", "patch"},
    "coordination.k8s.io/leases": {"get", "list", "watch", "create", "update", "patch"},
}


def test_it_may_do_no_more_than_it_needs(kube, tollgate):
    account = tollgate.pod()["spec"]["serviceAccountName"]
    # Less what every account of this cluster may do.
    has = allowed(kube, account) - allowed(kube, "default")
    assert not any("*" in part for pair in has for part in pair), has
    needless = sorted((resource, verb) for resource, verb in has if verb not in USED.get(resource, set()))
    assert not needless, needless
    assert ("/secrets", "get") in has and ("gateway.networking.k8s.io/gateways/status", "patch") in has


def test_it_may_do_all_that_it_needs(kube, tollgate, ns):
    """After work of every kind, no request of its own was refused: neither in the log nor in the metrics."""
    handle = serve_openai(kube, ns)
    kube.apply(gateway(ns, "balanced"))
    handle.serves()
    kube.remove("Secret", ns, "openai")
    kube.expect_condition("Backend", ns, "openai", "Accepted", False, "SecretNotFound")
    wait_for("an Event", lambda: [e for e in kube.list("Event", ns) if e.get("reportingController") == CONTROLLER])
    kube.kubectl("delete", "gateway", "--all", "-n", ns)
    wait_for("the Services to go", lambda: not kube.list("Service", ns), 30)
    words = re.compile(r"forbidden|\b403\b|cannot (get|list|watch|patch|create|delete|update)", re.I)
    forbidden = [line for line in tollgate.log() if words.search(line)]
    assert not forbidden, forbidden[:3]
    metrics = tollgate.metrics()
    failed = [
        s for s in metrics.samples if s[0] == "tollgate_status_writes_total" and s[1]["outcome"] == "failed" and s[2]
    ]
    assert not failed, failed
    errors = [
        s
        for s in metrics.samples
        if s[0] == "tollgate_watch_errors_total" and "forbidden" in str(s[1]).lower() and s[2]
    ]
    assert not errors, errors
    written = {
        s[1]["kind"] for s in metrics.samples if s[0] == "tollgate_status_writes_total" and s[1]["outcome"] == "written"
    }
    assert {"Gateway", "HTTPRoute", "Backend", "Service", "EndpointSlice"} <= written, written


def test_the_pods_are_confined(kube, tollgate):
    pods = [p for p in kube.list("Pod", NAMESPACE) if p["metadata"]["name"].startswith(NAME)]
    assert len(pods) == 2, "Tollgate and its simulator"
    for pod in pods:
        assert pod["spec"]["securityContext"].get("runAsNonRoot") is True
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True and context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]
            assert container["resources"]["requests"] and container["readinessProbe"]
    assert tollgate.pod()["spec"]["containers"][0]["livenessProbe"]


def test_the_definitions_are_those_of_the_repository(kube, tollgate):
    for folder in ("crds",):
        files = sorted(os.listdir(os.path.join(ROOT, folder)))
        assert len(files) == 3, files
    for name, found in our_definitions(kube).items():
        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", name
        states = {c["type"]: c["status"] for c in found["status"]["conditions"]}
        assert states["Established"] == "True" and states.get("NonStructuralSchema", "False") == "False", states
