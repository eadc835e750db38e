"""The chart, installed as a release: one for all tests, brought back to what a test needs before it begins."""

import json
import os
import subprocess
import tempfile

import yaml

from .kube import wait_for
from .traffic import Metrics, request

NAME = "tollgate"
NAMESPACE = "tollgate-system"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHART = os.environ.get("CHART", os.path.join(ROOT, "helm", "tollgate"))
IMAGE = os.environ.get("IMAGE", "tollgate:dev")
# Through the cluster's DNS, as a user would write it.
SIMULATOR = f"tollgate-simulator.{NAMESPACE}.svc.cluster.local"


def defaults():
    repository, tag = IMAGE.rsplit(":", 1)
    return {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "gatewayClasses": ["tollgate", "kgateway"],
        "simulator": {"enabled": True},
    }


def helm(*args, check=True, timeout=180):
    command = [os.environ.get("HELM", "helm"), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done


class Release:
    def __init__(self, kube):
        self.kube = kube
        self.values = None

    def ensure(self, **values):
        """Installs or upgrades to the tests' defaults with these values over them, unless that is what runs."""
        wanted = {**defaults(), **values}
        if wanted != self.values:
            self.upgrade(wanted)
        return self

    def upgrade(self, values):
        self.values = None
        self.discard_the_unfinished()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(values, file)
            file.flush()
            helm("upgrade", "--install", NAME, CHART, "-n", NAMESPACE, "--create-namespace", "-f", file.name,
                 "--wait", "--timeout", "120s")
        self.settled()
        self.values = values

    @staticmethod
    def discard_the_unfinished():
        """helm does not go on from an installation or removal that broke off, in a run before this one, say."""
        status = helm("status", NAME, "-n", NAMESPACE, "--output", "json", check=False)
        if status.returncode == 0 and json.loads(status.stdout)["info"]["status"] not in ("deployed", "failed"):
            helm("uninstall", NAME, "-n", NAMESPACE, "--wait", "--ignore-not-found", "--timeout", "120s")

    def uninstall(self):
        self.values = None
        return helm("uninstall", NAME, "-n", NAMESPACE, "--wait", "--timeout", "120s")

    def changed(self):
        """Something of the release was changed behind helm's back: the next test gets it installed anew."""
        self.values = None

    def settled(self):
        """Waits until every pod is of the present template, is ready, none is left of another, one leads, and the
        cluster has them as the endpoints of Tollgate's own Service.

        A pod that is deleted together with its Role can't release the Lease, which then has to expire. And after an
        outage of the API server, Kubernetes' own controllers come back up to a minute later than Tollgate does."""
        self.kube.kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=120s")
        wanted = self.deployment()["spec"]["replicas"]
        wait_for("the old pods to be gone", lambda: len(self.pods(all_of_them=True)) == wanted, 90)
        self.leader()
        addresses = lambda: {p["status"]["podIP"] for p in self.pods()}  # noqa: E731
        wait_for("the pods to be endpoints", lambda: self.kube.endpoints(NAMESPACE, NAME) == addresses(), 120)

    def restart(self):
        """New pods of the same template."""
        self.kube.kubectl("rollout", "restart", f"deployment/{NAME}", "-n", NAMESPACE)
        self.settled()

    def deployment(self):
        return self.kube.get("Deployment", NAMESPACE, NAME)

    def selector(self):
        return self.deployment()["spec"]["selector"]["matchLabels"]

    def pods(self, all_of_them=False):
        """The running pods; with `all_of_them` also those that are ending."""
        pods = self.kube.list("Pod", NAMESPACE, self.selector())
        return [p for p in pods if all_of_them or "deletionTimestamp" not in p["metadata"]]

    def pod(self):
        pods = self.pods()
        assert len(pods) == 1, [p["metadata"]["name"] for p in pods]
        return pods[0]

    def metrics(self, pod=None):
        return Metrics((pod or self.pod())["status"]["podIP"])

    def debug(self, view="objects", pod=None):
        return json.loads(request((pod or self.pod())["status"]["podIP"], 9092, f"/debug/{view}").body)

    def log(self, pod=None, container_args=()):
        """What the program said, but not its access log."""
        names = [pod["metadata"]["name"]] if pod else [p["metadata"]["name"] for p in self.pods(all_of_them=True)]
        lines = []
        for name in names:
            text = self.kube.kubectl("logs", name, "-n", NAMESPACE, *container_args, check=False).stdout
            lines += [line for line in text.splitlines() if '"tollgate::access"' not in line]
        return lines

    def lease(self):
        """The name of the pod that writes."""
        lease = self.kube.get("Lease", NAMESPACE, NAME)
        return (lease or {}).get("spec", {}).get("holderIdentity") or ""

    def leader(self):
        """Waits for a leader among the pods; the pod."""

        def probe():
            holder = self.lease()
            return next((p for p in self.pods() if p["metadata"]["name"] == holder), None)

        return wait_for("a leader", probe, 40)
