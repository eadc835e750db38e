"""One installed chart for all tests, a namespace of its own for each."""

import os
import re
import secrets
import shlex
import socket
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import release as chart  # noqa: E402
from harness.kube import Kube, wait_for  # noqa: E402
from harness.traffic import Load  # noqa: E402


@pytest.fixture(scope="session")
def kube():
    kube = Kube()
    address = kube.get("Service", "default", "kubernetes")["spec"]["clusterIP"]
    try:
        socket.create_connection((address, 443), 5).close()
    except OSError as error:
        pytest.exit(f"Service addresses can't be reached from here ({address}:443: {error}); run on a node", 2)
    if kube.get("CustomResourceDefinition", None, "gateways.gateway.networking.k8s.io") is None:
        pytest.exit("the Gateway API is not installed in this cluster", 2)
    yield kube
    kube.close()


@pytest.fixture(scope="session")
def release(kube):
    """The installed chart, as the last test left it: for tests that install it themselves."""
    release = chart.Release(kube)
    yield release
    if not os.environ.get("E2E_KEEP"):
        if kube.get("Deployment", chart.NAMESPACE, chart.NAME):
            release.uninstall()
        kube.kubectl("delete", "namespace", chart.NAMESPACE, "--wait=false", "--ignore-not-found")


@pytest.fixture
def tollgate(release):
    """The installed chart, with the tests' default values."""
    return release.ensure()


@pytest.fixture(autouse=True)
def no_load_is_left():
    yield
    Load.end_all()


def new_namespace(kube, stem):
    name = f"e2e-{stem}-{secrets.token_hex(3)}"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"e2e": "tollgate"}}})
    return name


@pytest.fixture
def make_ns(kube):
    """A function that makes namespaces, which go when the test ends."""
    made = []

    def make(stem="other"):
        made.append(new_namespace(kube, stem))
        return made[-1]

    yield make
    for name in made:
        kube.remove("Namespace", None, name)


@pytest.fixture
def ns(make_ns, request):
    """A namespace for this test."""
    return make_ns(re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:30].strip("-").removeprefix("test-"))


@pytest.fixture(scope="module")
def module_ns(kube, request):
    """A namespace for this file's tests."""
    name = new_namespace(kube, re.sub(r"[^a-z0-9]+", "-", request.module.__name__))
    yield name
    kube.remove("Namespace", None, name)


@pytest.fixture
def address(kube):
    """A function that waits for a LoadBalancer Service's address, which the cluster must give."""

    def address(ns, name):
        command = os.environ.get("LB_COMMAND")

        def probe():
            if command:
                subprocess.run(shlex.split(command), check=True, stdout=subprocess.DEVNULL)
            ingress = kube.get("Service", ns, name)["status"].get("loadBalancer", {}).get("ingress")
            return ingress and (ingress[0].get("ip") or ingress[0].get("hostname"))

        try:
            return wait_for(f"an address of Service {ns}/{name}", probe, 20 if command else 90, 0.5)
        except AssertionError:
            if command:
                raise
            pytest.skip("nobody gives LoadBalancer Services an address here; LB_COMMAND can (e2e/lb)")

    return address


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    # A failed test shows the program's log.
    if report.when == "call" and report.failed and "release" in item.fixturenames:
        sections = {
            "Tollgate's log": lambda: item.funcargs["release"].log(container_args=("--tail=5000",))[-80:],
            "EndpointSlices": lambda: item.funcargs["kube"].kubectl("get", "endpointslices", "-A").splitlines(),
            "neighbours": lambda: subprocess.run(
                ["ip", "neighbour"], capture_output=True, text=True
            ).stdout.splitlines(),
        }
        for title, lines in sections.items():
            try:
                report.sections.append((title, "\n".join(lines())))
            except Exception as error:  # noqa: BLE001: the failure itself must be told
                report.sections.append((title, f"can't be read: {error}"))
