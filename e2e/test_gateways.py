"""Many Gateways in one pod: a Service for each, that leads to target ports of its own, and what becomes of them."""

import pytest

from harness import traffic
from harness.kube import wait_for
from harness.manifests import (
    INLINE, GatewayHandle, backend, gateway, http_listener, parameters, route, serve, serve_openai,
)
from harness.release import NAMESPACE

MANAGED = {"app.kubernetes.io/managed-by": "tollgate"}


def slices(kube, ns, name):
    return kube.list("EndpointSlice", ns, {"kubernetes.io/service-name": name})


def owner(document):
    [reference] = document["metadata"]["ownerReferences"]
    assert reference["controller"] is True
    return reference["kind"], reference["name"], reference["uid"]


@pytest.fixture
def cleaned(kube):
    """Names of Gateways that a test makes in Tollgate's own namespace, removed when it ends."""
    names = []
    yield names
    for name in names:
        kube.remove("HTTPRoute", NAMESPACE, name)
        kube.remove("Backend", NAMESPACE, name)
        kube.remove("Gateway", NAMESPACE, name)
        kube.remove("GatewayParameters", NAMESPACE, f"{name}-parameters")


def test_in_tollgates_own_namespace_the_service_selects_the_pods(kube, tollgate, cleaned, ns):
    name = ns.removeprefix("e2e-")[-20:].strip("-")
    cleaned.append(name)
    handle = serve(kube, NAMESPACE, name)
    service = handle.service()
    assert service["spec"]["selector"] == tollgate.selector()
    assert MANAGED.items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"] == name
    found = kube.get("Gateway", NAMESPACE, name)
    assert owner(service) == ("Gateway", name, found["metadata"]["uid"])
    kube.apply(backend(NAMESPACE, name, auth=INLINE), route(NAMESPACE, name, handle))
    handle.serves()


def test_elsewhere_tollgate_keeps_the_endpoints(kube, tollgate, ns):
    handle = serve_openai(kube, ns)
    service = handle.service()
    assert not service["spec"].get("selector")
    found = kube.get("Gateway", ns, "gw")
    assert owner(service) == ("Gateway", "gw", found["metadata"]["uid"])
    [ours] = slices(kube, ns, "gw")
    assert ours["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "gateway.tollgate.dev"
    assert ours["metadata"].get("ownerReferences"), "a slice without owner outlives its Gateway"
    pod = tollgate.pod()
    [endpoint] = ours["endpoints"]
    assert endpoint["addresses"] == [pod["status"]["podIP"]]
    assert endpoint["conditions"]["ready"] is True
    assert endpoint["nodeName"] == pod["spec"]["nodeName"]
    assert endpoint["targetRef"]["name"] == pod["metadata"]["name"]
    [port] = ours["ports"]
    [of_service] = service["spec"]["ports"]
    assert (port["name"], port["port"]) == (of_service["name"], of_service["targetPort"])


def test_two_gateways_on_one_port_stay_apart(kube, tollgate, make_ns):
    one, two = make_ns("one"), make_ns("two")
    handles = []
    for ns, model in ((one, "model-of-one"), (two, "model-of-two")):
        handle = serve(kube, ns, port=8080)
        # The model of the Backend is in the simulator's reply: it identifies the Gateway.
        kube.apply(backend(ns, "openai", auth=INLINE, model=model), route(ns, "openai", handle))
        handles.append((handle, model))
    for handle, model in handles:
        assert handle.serves().json()["model"] == model
        kube.expect_condition("Gateway", handle.ns, "gw", "Programmed", True)
        kube.expect_condition("Gateway", handle.ns, "gw", "Conflicted", False, listener="http")
    ports = {handle.target_port() for handle, _ in handles}
    assert len(ports) == 2, f"one target port for both: {ports}"
    # A second Gateway in the same namespace is apart as well.
    third = serve(kube, one, "third", port=8080)
    third.serves(404)
    assert third.target_port() not in ports


def test_a_privileged_port_needs_no_privileges(kube, tollgate, ns):
    handle = serve(kube, ns, port=80)
    handle.serves(404)
    assert handle.target_port() >= 1024


def test_the_admin_port_is_not_given_away(kube, tollgate, ns):
    """A listener on 9092 gets another port in the pod; the admin port keeps answering there."""
    handle = serve(kube, ns, port=9092)
    handle.serves(404)
    assert handle.target_port() != 9092
    assert traffic.request(tollgate.pod()["status"]["podIP"], 9092, "/readyz").status == 200
    assert handle.get("/metrics").status == 404


def test_two_listeners_of_one_port_share_it(kube, tollgate, ns):
    handle = serve(kube, ns, listeners=[http_listener(name="a", hostname="a.example.com"),
                                        http_listener(name="b", hostname="b.example.com")])
    kube.apply(backend(ns, "a", auth=INLINE), route(ns, "a", handle, "/", hostnames=["a.example.com"]))
    handle.serves(200, headers={"host": "a.example.com"})
    handle.serves(404, headers={"host": "b.example.com"})
    assert len(handle.service()["spec"]["ports"]) == 1


def test_a_port_changes_while_it_serves(kube, tollgate, ns):
    """The new port is live, the old one is gone, and the other listener loses no request meanwhile."""
    listeners = [http_listener(8080, "changes"), http_listener(8090, "stays")]
    handle = serve(kube, ns, listeners=listeners)
    kube.apply(backend(ns, "openai", auth=INLINE), route(ns, "openai", handle))
    handle.serves()
    stays = GatewayHandle(kube, ns, "gw", 8090)
    stays.serves()
    load = traffic.Load(stays.address(), 8090)
    listeners[0]["port"] = 8081
    kube.apply(gateway(ns, "gw", listeners, parameters_name="gw-parameters"))
    GatewayHandle(kube, ns, "gw", 8081).serves()
    load.reach(50)

    def old_port_is_gone():
        assert [p["port"] for p in handle.service()["spec"]["ports"]] == [8081, 8090]
        try:
            return not traffic.request(handle.address(), 8080, "/", timeout=1)
        except OSError:
            return True

    wait_for("the old port to be closed", old_port_is_gone)
    load.stop()


def test_a_listener_is_added_and_removed_live(kube, tollgate, ns):
    handle = serve_openai(kube, ns)
    before = handle.target_port()
    load = traffic.Load(handle.address(), handle.port)
    kube.apply(gateway(ns, "gw", [http_listener(), http_listener(8081, "second")], parameters_name="gw-parameters"))
    GatewayHandle(kube, ns, "gw", 8081).serves()
    kube.apply(gateway(ns, "gw", [http_listener()], parameters_name="gw-parameters"))
    wait_for("one port", lambda: len(handle.service()["spec"]["ports"]) == 1)
    load.reach(20)
    load.stop()
    assert handle.target_port() == before, "a port that stays keeps its target port"


# Parameters and addresses


def test_parameters_shape_the_service(kube, tollgate, ns):
    kube.apply(parameters(ns, "it", type="NodePort", extraLabels={"team": "ai"}, extraAnnotations={"note": "yes"},
                          externalTrafficPolicy="Local"),
               gateway(ns, "gw", parameters_name="it",
                       infrastructure={"labels": {"from": "gateway"}, "annotations": {"also": "gateway"}}))
    service = GatewayHandle(kube, ns, "gw", 8080).service()
    assert service["spec"]["type"] == "NodePort" and service["spec"]["externalTrafficPolicy"] == "Local"
    assert {"team": "ai", "from": "gateway", **MANAGED}.items() <= service["metadata"]["labels"].items()
    assert {"note": "yes", "also": "gateway"}.items() <= service["metadata"]["annotations"].items()
    node_port = service["spec"]["ports"][0]["nodePort"]

    def addresses(*wanted):
        def probe():
            found = kube.get("Gateway", ns, "gw")["status"].get("addresses", [])
            assert [(a["type"], a["value"]) for a in found] == list(wanted), found
            return True
        wait_for(f"addresses {wanted}", probe)

    addresses(*[("IPAddress", ip) for ip in service["spec"]["clusterIPs"]])
    kube.expect_condition("Gateway", ns, "gw", "Programmed", True)
    # Another type, live; what was given by the cluster stays.
    kube.apply(parameters(ns, "it", type="ClusterIP"))
    wait_for("type ClusterIP", lambda: kube.get("Service", ns, "gw")["spec"]["type"] == "ClusterIP")
    now = kube.get("Service", ns, "gw")
    assert now["spec"]["clusterIP"] == service["spec"]["clusterIP"]
    assert "team" not in now["metadata"]["labels"] and "note" not in now["metadata"].get("annotations", {})
    assert node_port and "nodePort" not in now["spec"]["ports"][0]


def test_a_load_balancers_address_is_the_gateways(kube, tollgate, ns, address):
    kube.apply(gateway(ns, "gw"))
    handle = GatewayHandle(kube, ns, "gw", 8080)
    assert handle.service()["spec"]["type"] == "LoadBalancer", "the default"
    if not handle.service()["status"].get("loadBalancer", {}).get("ingress"):
        # Waiting is said, with what is waited for and what helps meanwhile.
        found = kube.expect_condition("Gateway", ns, "gw", "Programmed", False, "AddressNotAssigned")
        assert "gw" in found["message"] and "ClusterIP" in found["message"], found
    given = address(ns, "gw")
    kube.expect_condition("Gateway", ns, "gw", "Programmed", True, "Programmed")
    assert [a["value"] for a in kube.get("Gateway", ns, "gw")["status"]["addresses"]] == [given]
    kube.apply(backend(ns, "openai", auth=INLINE), route(ns, "openai", handle))
    wait_for(f"200 at {given}", lambda: traffic.chat(given, 8080).status == 200, 15)


def test_an_address_that_is_asked_for_and_cannot_be_given(kube, tollgate, ns):
    kube.apply(gateway(ns, "gw", addresses=[{"type": "Hostname", "value": "gw.example.com"}]))
    kube.expect_condition("Gateway", ns, "gw", "Accepted", False, "UnsupportedAddress")


def test_self_managed_has_no_service(kube, tollgate, ns):
    """The listener is bound at its own port in the pod, for a Service that the user makes."""
    document = parameters(ns, "it")
    document["spec"] = {"selfManaged": {}}
    kube.apply(document, gateway(ns, "gw", [http_listener(18080)], parameters_name="it"))
    kube.expect_condition("Gateway", ns, "gw", "Accepted", True)
    pod = tollgate.pod()["status"]["podIP"]
    wait_for("the listener at its own port", lambda: traffic.request(pod, 18080, "/").status == 404)
    assert kube.get("Service", ns, "gw") is None


# The end of a Gateway


def test_a_gateway_that_goes_takes_its_service_and_endpoints_along(kube, tollgate, ns):
    handle = serve_openai(kube, ns)
    target, pod = handle.target_port(), tollgate.pod()["status"]["podIP"]
    assert traffic.chat(pod, target).status == 200
    kube.delete("Gateway", ns, "gw")
    wait_for("the Service to go", lambda: kube.get("Service", ns, "gw") is None, 30)
    wait_for("the endpoints to go", lambda: not slices(kube, ns, "gw"), 30)

    def closed():
        try:
            traffic.chat(pod, target, timeout=2)
        except OSError:
            return True

    wait_for("the target port to be closed", closed)
    # A missing Gateway has no known controller, so no controller may write a status about it.
    wait_for("the route's entry to go", lambda: not kube.get("HTTPRoute", ns, "openai")["status"]["parents"])


def test_a_gateway_of_another_class_gives_its_service_back(kube, tollgate, ns):
    """The class is changed to one of another controller: what we made for it goes."""
    handle = serve_openai(kube, ns)
    handle.service()
    wait_for("its endpoints", lambda: slices(kube, ns, "gw"))
    name = f"somebody-elses-{ns}"
    kube.apply({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
                "spec": {"controllerName": "example.com/other"}})
    try:
        kube.apply(gateway(ns, "gw", gateway_class=name, parameters_name="gw-parameters"))
        wait_for("the Service to go", lambda: kube.get("Service", ns, "gw") is None, 30)
        wait_for("the endpoints to go", lambda: not slices(kube, ns, "gw"), 30)
        status = kube.get("Gateway", ns, "gw")["status"]
        assert not status.get("addresses") and not status.get("listeners"), status
        known = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
        assert known == {"Accepted": ("Unknown", "Pending"), "Programmed": ("Unknown", "Pending")}, known
        wait_for("the route's entry to go", lambda: not kube.get("HTTPRoute", ns, "openai")["status"]["parents"])
        # And back: everything is made again.
        kube.apply(gateway(ns, "gw", parameters_name="gw-parameters"))
        kube.expect_condition("Gateway", ns, "gw", "Programmed", True)
        handle.serves()
    finally:
        kube.remove("GatewayClass", None, name)


def test_a_service_that_is_not_ours_is_not_touched(kube, tollgate, ns):
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gw", "namespace": ns},
              "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 8080}]}}
    before = kube.create(theirs)
    handle = serve(kube, ns)
    found = kube.expect_condition("Gateway", ns, "gw", "Programmed", False)
    assert "Service" in found["message"] and "gw" in found["message"], found
    after = kube.get("Service", ns, "gw")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    # Given back, it heals.
    kube.remove("Service", ns, "gw")
    kube.expect_condition("Gateway", ns, "gw", "Programmed", True)
    handle.serves(404)


def test_a_service_of_ours_that_somebody_deletes_comes_back(kube, tollgate, ns):
    handle = serve_openai(kube, ns)
    kube.remove("Service", ns, "gw")
    wait_for("a new Service", lambda: kube.get("Service", ns, "gw"))
    handle.serves()


def test_target_ports_survive_a_restart(kube, tollgate, ns, make_ns):
    """The Service is the ledger: new pods bind what it records, although both Gateways want one port."""
    handles = [serve_openai(kube, ns), serve_openai(kube, make_ns("second"))]
    before = [handle.target_port() for handle in handles]
    tollgate.restart()
    for handle in handles:
        handle.serves()
    assert [handle.target_port() for handle in handles] == before
