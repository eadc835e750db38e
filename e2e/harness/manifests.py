"""Manifests as users write them, in as few lines as a test needs."""

import yaml

from .kube import wait_for
from .release import SIMULATOR
from .traffic import chat, request


def secret(ns, name, key="a-key", **more):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns},
            "stringData": {"Authorization": key}, **more}


def backend(ns, name, spec=None, provider="openai", auth=None, host=SIMULATOR, port=80, model=None):
    """An AI Backend at the simulator; a Secret of its own name unless `auth` says otherwise."""
    if spec is None:
        auth = auth or {"kind": "SecretRef", "secretRef": {"name": name}}
        one = {"authToken": auth, **({"model": model} if model else {})}
        spec = {
            "type": "AI",
            "ai": {"llm": {"hostOverride": {"host": host, "port": port}, "provider": {provider: one},
                           "forwardHeaders": ["x-simulator-echo", "x-simulator-fault"]}},
        }
    return {"apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
            "metadata": {"name": name, "namespace": ns}, "spec": spec}


INLINE = {"kind": "Inline", "inline": "any-key"}


def to_backend(name, ns=None):
    return {"group": "gateway.kgateway.dev", "kind": "Backend", "name": name, **({"namespace": ns} if ns else {})}


def route(ns, name, parent, path="/openai", refs=None, rules=None, hostnames=None):
    """An HTTPRoute below `path` to the Backend of its own name. `parent` is a GatewayHandle or a parentRef."""
    parent = parent if isinstance(parent, dict) else {"name": parent.name, "namespace": parent.ns}
    rules = rules or [{"matches": [{"path": {"type": "PathPrefix", "value": path}}],
                       "backendRefs": refs or [to_backend(name)]}]
    spec = {"parentRefs": [parent], "rules": rules, **({"hostnames": hostnames} if hostnames else {})}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": ns}, "spec": spec}


def parameters(ns, name, **service):
    return {"apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "GatewayParameters",
            "metadata": {"name": name, "namespace": ns}, "spec": {"kube": {"service": service}}}


def policy(ns, name, **spec):
    return {"apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
            "metadata": {"name": name, "namespace": ns}, "spec": spec}


def http_listener(port=8080, name="http", **more):
    return {"name": name, "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "All"}}, **more}


def gateway(
    ns, name, listeners=None, port=8080, gateway_class="tollgate", parameters_name=None, infrastructure=None, **spec
):
    infrastructure = dict(infrastructure or {})
    if parameters_name:
        infrastructure["parametersRef"] = {
            "group": "gateway.kgateway.dev", "kind": "GatewayParameters", "name": parameters_name}
    spec = {"gatewayClassName": gateway_class, "listeners": listeners or [http_listener(port)], **spec,
            **({"infrastructure": infrastructure} if infrastructure else {})}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": ns}, "spec": spec}


class GatewayHandle:
    """A Gateway that was applied, and traffic through its Service."""

    def __init__(self, kube, ns, name, port):
        self.kube, self.ns, self.name, self.port = kube, ns, name, port

    def service(self):
        """Waits for the Gateway's Service."""
        return wait_for(f"Service {self.ns}/{self.name}", lambda: self.kube.get("Service", self.ns, self.name))

    def address(self):
        return self.service()["spec"]["clusterIP"]

    def target_port(self, port=None):
        port = port or self.port
        return next(p["targetPort"] for p in self.service()["spec"]["ports"] if p["port"] == port)

    def get(self, path, **more):
        return request(self.address(), self.port, path, **more)

    def chat(self, path="/openai/v1/chat/completions", body=None, **more):
        return chat(self.address(), self.port, path, body, **more)

    def serves(self, status=200, path="/openai/v1/chat/completions", timeout=90, body=None, **more):
        """Waits until a chat request gets this status; the reply.

        After an outage of the API server kube-proxy is told of a new Service up to a minute later."""
        address = self.address()

        def probe():
            reply = chat(address, self.port, path, body, **more)
            assert reply.status == status, repr(reply)
            return reply

        return wait_for(f"{status} at {self.ns}/{self.name}:{self.port}{path}", probe, timeout)


def serve(kube, ns, name="gw", port=8080, **more):
    """Applies a Gateway whose Service is of type ClusterIP, so that it needs no load balancer."""
    kube.apply(parameters(ns, f"{name}-parameters", type="ClusterIP"),
               gateway(ns, name, port=port, parameters_name=f"{name}-parameters", **more))
    return GatewayHandle(kube, ns, name, port)


def serve_openai(kube, ns, name="gw", port=8080):
    """A Gateway with one working route `/openai` to the simulator."""
    handle = serve(kube, ns, name, port)
    kube.apply(secret(ns, "openai"), backend(ns, "openai"), route(ns, "openai", handle))
    handle.serves()
    return handle


def documents(text):
    return [d for d in yaml.safe_load_all(text) if d]


# The guide "Cloud LLM providers", as it has them: Secret, Backend, route.
GUIDE = """
apiVersion: v1
kind: Secret
metadata:
  name: google-secret
  namespace: NAMESPACE
  labels:
    app: ai-gateway
type: Opaque
stringData:
  Authorization: a-key
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata:
  labels:
    app: ai-gateway
  name: google
  namespace: NAMESPACE
spec:
  ai:
    llm:
      provider:
        gemini:
          apiVersion: v1beta
          authToken:
            kind: SecretRef
            secretRef:
              name: google-secret
          model: gemini-1.5-flash-latest
  type: AI
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: google
  namespace: NAMESPACE
  labels:
    app: ai-gateway
spec:
  parentRefs:
    - name: ai-gateway
      namespace: NAMESPACE
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /gemini
    backendRefs:
    - name: google
      namespace: NAMESPACE
      group: gateway.kgateway.dev
      kind: Backend
"""
