"""The cluster: kubectl as users run it, and the API itself where a test asks often or much."""

import http.client
import json
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import yaml

CONTROLLER = "tollgate.dev/gateway"

GATEWAY_API = "apis/gateway.networking.k8s.io/v1"
KGATEWAY_API = "apis/gateway.kgateway.dev/v1alpha1"

# Where a kind lives in the API; `False` is cluster-wide.
KINDS = {
    "Namespace": ("api/v1", "namespaces", False),
    "Secret": ("api/v1", "secrets", True),
    "Service": ("api/v1", "services", True),
    "ConfigMap": ("api/v1", "configmaps", True),
    "Pod": ("api/v1", "pods", True),
    "Deployment": ("apis/apps/v1", "deployments", True),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices", True),
    "Lease": ("apis/coordination.k8s.io/v1", "leases", True),
    "Event": ("apis/events.k8s.io/v1", "events", True),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "GatewayClass": (GATEWAY_API, "gatewayclasses", False),
    "Gateway": (GATEWAY_API, "gateways", True),
    "HTTPRoute": (GATEWAY_API, "httproutes", True),
    "ListenerSet": (GATEWAY_API, "listenersets", True),
    "XListenerSet": ("apis/gateway.networking.x-k8s.io/v1alpha1", "xlistenersets", True),
    "BackendTLSPolicy": (GATEWAY_API, "backendtlspolicies", True),
    "ReferenceGrant": ("apis/gateway.networking.k8s.io/v1beta1", "referencegrants", True),
    "Backend": (KGATEWAY_API, "backends", True),
    "TrafficPolicy": (KGATEWAY_API, "trafficpolicies", True),
    "GatewayParameters": (KGATEWAY_API, "gatewayparameters", True),
}

# The names of kinds for `kubectl`, where the bare name could be another group's.
RESOURCES = {
    "Gateway": "gateways.gateway.networking.k8s.io",
    "HTTPRoute": "httproutes.gateway.networking.k8s.io",
    "GatewayClass": "gatewayclasses.gateway.networking.k8s.io",
    "Backend": "backends.gateway.kgateway.dev",
    "TrafficPolicy": "trafficpolicies.gateway.kgateway.dev",
    "GatewayParameters": "gatewayparameters.gateway.kgateway.dev",
}


class ApiError(Exception):
    """The API server's refusal, with its message."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


def wait_for(what, probe, timeout=10.0, interval=0.05):
    """What `probe` returns once it is true. An AssertionError in it counts as "not yet".

    The last one is reported when time is up."""
    started = time.monotonic()
    last = None
    while True:
        try:
            found = probe()
            if found:
                return found
            last = f"was {found!r}"
        except (AssertionError, ApiError, OSError, http.client.HTTPException) as error:
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() - started > timeout:
            raise AssertionError(f"waited {timeout:g} s for {what}; {last}")
        time.sleep(interval)


class Kube:
    """One cluster. `kubectl` for what users do; `get`, `create` and so on speak to the API through `kubectl proxy`."""

    def __init__(self):
        self.proxy = subprocess.Popen(
            ["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        line = self.proxy.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, f"kubectl proxy: {line}{self.proxy.stdout.read()}"
        self.port = int(found[1])
        self.local = threading.local()

    def close(self):
        self.proxy.terminate()
        self.proxy.wait()

    # kubectl

    def kubectl(self, *args, stdin=None, check=True, timeout=120):
        """Runs kubectl; its standard output, or the whole result with `check=False`."""
        done = subprocess.run(
            ["kubectl", *map(str, args)], input=stdin, capture_output=True, text=True, timeout=timeout
        )
        if not check:
            return done
        assert done.returncode == 0, f"kubectl {' '.join(map(str, args))}: {done.stderr.strip()}"
        return done.stdout

    def apply(self, *manifests, check=True):
        """`kubectl apply` of YAML texts or objects."""
        texts = [m if isinstance(m, str) else yaml.safe_dump(m) for m in manifests]
        return self.kubectl("apply", "-f", "-", stdin="\n---\n".join(texts), check=check)

    def delete(self, kind, namespace, name, wait=True):
        args = ["delete", RESOURCES.get(kind, kind), name, f"--wait={str(wait).lower()}"]
        return self.kubectl(*args, *(["-n", namespace] if namespace else []))

    def describe(self, kind, namespace, name):
        """`kubectl describe`, with white space made single so that a wrapped message can be found."""
        args = ["describe", RESOURCES.get(kind, kind), name]
        text = self.kubectl(*args, *(["-n", namespace] if namespace else []))
        return " ".join(text.split())

    # The API

    def request(self, method, path, body=None, kind="application/json", timeout=30):
        payload = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
                self.local.connection = connection
            try:
                connection.request(method, "/" + path, payload, {"content-type": kind} if payload else {})
                reply = connection.getresponse()
                text = reply.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                # A keep-alive connection may have been closed meanwhile.
                if attempt == 2:
                    raise
        try:
            parsed = json.loads(text) if text else {}
        except ValueError:
            parsed = {"message": text.decode(errors="replace")}
        if reply.status >= 400:
            raise ApiError(reply.status, parsed.get("message", ""))
        return parsed

    @staticmethod
    def path(kind, namespace, name=None):
        group, plural, namespaced = KINDS[kind]
        where = f"{group}/namespaces/{namespace}/{plural}" if namespaced and namespace else f"{group}/{plural}"
        return where if name is None else f"{where}/{name}"

    def get(self, kind, namespace, name):
        """The object, or None."""
        try:
            return self.request("GET", self.path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind, namespace=None, labels=None):
        query = "" if not labels else "?labelSelector=" + ",".join(f"{k}%3D{v}" for k, v in labels.items())
        return self.request("GET", self.path(kind, namespace) + query)["items"]

    def endpoints(self, namespace, service):
        """The addresses of a Service that are ready, from its EndpointSlices."""
        found = self.list("EndpointSlice", namespace, {"kubernetes.io/service-name": service})
        return {e["addresses"][0] for s in found for e in s["endpoints"] or [] if e["conditions"].get("ready")}

    def create(self, document, dry_run=False):
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        metadata = document["metadata"]
        return self.request("POST", self.path(document["kind"], metadata.get("namespace")) + query, document)

    def create_all(self, documents, threads=8):
        """Many objects at once."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.create, documents))

    def patch(self, kind, namespace, name, body, subresource=None):
        """A JSON merge patch."""
        path = self.path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def remove(self, kind, namespace, name):
        try:
            return self.request("DELETE", self.path(kind, namespace, name))
        except ApiError as error:
            if error.status != 404:
                raise

    # Status

    def conditions(self, kind, namespace, name, parent=None, listener=None):
        """Our conditions by type, each with the object's generation as `generation`.

        Of an HTTPRoute those of the parent (the only one of ours if no name is given), of a policy those of the first
        ancestor of ours, of a Gateway's listener with `listener`.
        """
        found = self.get(kind, namespace, name)
        assert found, f"{kind} {namespace}/{name} is not there"
        status = found.get("status") or {}
        if kind == "HTTPRoute":
            ours = [p for p in status.get("parents", []) if p["controllerName"] == CONTROLLER]
            ours = [p for p in ours if parent in (None, p["parentRef"]["name"])]
            conditions = ours[0]["conditions"] if ours else []
        elif kind == "TrafficPolicy" and "ancestors" in status:
            ours = [a for a in status["ancestors"] if a["controllerName"] == CONTROLLER]
            conditions = ours[0]["conditions"] if ours else []
        elif listener is not None:
            ours = [entry for entry in status.get("listeners", []) if entry["name"] == listener]
            conditions = ours[0]["conditions"] if ours else []
        else:
            conditions = status.get("conditions", [])
        generation = found["metadata"]["generation"]
        return {c["type"]: {**c, "generation": generation} for c in conditions}

    def expect_condition(
        self, kind, namespace, name, condition, status, reason=None, message=None, timeout=10, **where
    ):
        """Waits for a condition with this status, reason, and part of the message, of the current generation."""

        def probe():
            conditions = self.conditions(kind, namespace, name, **where)
            assert condition in conditions, f"has {conditions}"
            found = conditions[condition]
            seen = f"{found['status']} {found['reason']} {found.get('message', '')!r}"
            assert found["status"] == str(status), seen
            assert reason is None or found["reason"] == reason, seen
            assert message is None or message in found.get("message", ""), seen
            assert found.get("observedGeneration") == found["generation"], f"observedGeneration: {found}"
            return found

        what = f"{kind} {namespace}/{name} to be {condition}={status} {reason or ''} {message or ''}"
        return wait_for(what, probe, timeout)
